/** Colours and materials of the scene. Few materials make few programs and few draw calls. */

import { AdditiveBlending, type BufferGeometry, Color, Mesh, MeshBasicMaterial, MeshLambertMaterial } from "three";
import type { AgentId } from "../tower/messages";

export const IDENTITY: Record<AgentId, number> = { timmy: 0xffd27a, alpha: 0xffb000, beta: 0x4fc3f7, gamma: 0xb79bff, delta: 0x7bd88f };

export const WOOD = [0x6b4424, 0x5c3a1e, 0x744a28, 0x533318];
export const DARK_WOOD = 0x3d2512;
export const STONE = [0x6f6455, 0x7a6d5c, 0x645a4c, 0x80735f, 0x5b5145];
export const LEATHER = [0x7d2f2a, 0x2f4f6b, 0x3f5f3a, 0x8a6a2c, 0x5b3a68, 0x6e3f22, 0x2c5a5a, 0x94482c, 0x3b3f73];
export const ROBE = 0x3d2f86;
export const ROBE_DARK = 0x2a2060;
export const GOLD = 0xe0a83c;
export const SKIN = 0xe9b48c;
export const HAIR = 0xe9e4da;
export const AMBER = 0xffb000;

/** Painted clay: lit, coloured by its vertices, and a little bright by itself, so that warm lamps do not turn green to brown. */
export function clay(ownLight: number): MeshLambertMaterial {
  const material = new MeshLambertMaterial({ vertexColors: true, emissive: new Color(ownLight, ownLight, ownLight) });
  material.onBeforeCompile = (shader) => {
    shader.fragmentShader = shader.fragmentShader.replace("#include <emissivemap_fragment>", "totalEmissiveRadiance *= vColor.rgb;");
  };
  return material;
}

/** What shines: no lamp, fog or tone changes it. */
export function shining(): MeshBasicMaterial {
  return new MeshBasicMaterial({ vertexColors: true, toneMapped: false, fog: false });
}

export function haze(opacity: number): MeshBasicMaterial {
  return new MeshBasicMaterial({
    vertexColors: true, toneMapped: false, fog: false, transparent: true, opacity, blending: AdditiveBlending, depthWrite: false, side: 2,
  });
}

export const mesh = (geometry: BufferGeometry, material: MeshLambertMaterial | MeshBasicMaterial): Mesh => new Mesh(geometry, material);

/** The same room for everybody: chance that is the same each time. */
export function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 16_807) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
