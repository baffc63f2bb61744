/** What the workshop is lit by: the fire, the lanterns, the ball, the sky through the window, and the glow around each. */

import { Color, CylinderGeometry, HemisphereLight, type Mesh, type MeshBasicMaterial, PointLight, type Object3D, type CanvasTexture } from "three";
import { halo } from "./effects";
import { AMBER, haze, mesh } from "./palette";
import { BALL, HEARTH, LANTERN, WINDOW } from "./room";
import { Sculpture } from "./sculpture";
import type { Light } from "./sky";

const FIRE = 26;
const MOONLIT = new Color(0x9fb0ff);

export class Lighting {
  private readonly fire = new PointLight(0xff8a3a, FIRE, 11, 1.6);
  private readonly lamp = new PointLight(0xffc27a, 30, 15, 1.5);
  private readonly orb = new PointLight(0xffb544, 9, 7, 1.6);
  private readonly beam = new PointLight(0xffffff, 60, 13, 1.2);
  private readonly air = new HemisphereLight(0xffdfb0, 0x3a2412, 1);
  private readonly shaft: Mesh = mesh(shaftOfLight(), haze(0.07));
  private readonly halos;
  private lamps = 1;

  constructor(glow: CanvasTexture, staffTip: [number, number, number]) {
    this.halos = { fire: halo(glow, 0xff7a2a, 4.2, 0.4), lamp: halo(glow, 0xffc46a, 2.6, 0.5), lamp2: halo(glow, 0xffc46a, 2.2, 0.4), orb: halo(glow, AMBER, 3.1, 0.34), staff: halo(glow, 0xffb84a, 1.1, 0.6) };
    this.fire.position.set(HEARTH[0] + 1.2, 1.1, HEARTH[2] + 0.9);
    this.lamp.position.set(LANTERN[0] - 1.2, LANTERN[1] + 0.3, LANTERN[2] + 3);
    this.orb.position.set(BALL.at[0], BALL.at[1] + 0.35, BALL.at[2] + 0.55);
    this.beam.position.set(0, WINDOW.at[1] + 2.6, WINDOW.at[2] + 1.1);
    const [x, y, z] = LANTERN;
    this.halos.fire.position.set(HEARTH[0] + 0.35, 0.9, HEARTH[2] + 0.25);
    this.halos.lamp.position.set(x, y, z);
    this.halos.lamp2.position.set(-x, y + 0.35, z - 0.4);
    this.halos.orb.position.set(...BALL.at);
    this.halos.staff.position.set(...staffTip);
    this.halos.staff.position.z -= 0.35;
  }

  get all(): Object3D[] {
    return [this.fire, this.lamp, this.orb, this.beam, this.air, this.shaft, ...Object.values(this.halos)];
  }

  /** By the light that comes through the window. */
  set(light: Light): void {
    const shaft = this.shaft.material as MeshBasicMaterial;
    this.lamps = light.lamps;
    this.beam.color.copy(light.colour);
    this.beam.intensity = 12 * light.strength;
    this.air.intensity = 1.15 - light.night * 0.55;
    this.air.color.set(0xffe2b8).lerp(MOONLIT, light.night * 0.35);
    shaft.color.copy(light.colour);
    shaft.opacity = 0.05 + 0.05 * light.strength;
  }

  /** All from 0 to 1: how full the ball is, what has just come in, how much is being worked on. */
  move(seconds: number, level: number, pulse: number, busy: number): void {
    const flicker = 1 + Math.sin(seconds * 11) * 0.05 + Math.sin(seconds * 7.3) * 0.05 + Math.sin(seconds * 23) * 0.02;
    this.fire.intensity = FIRE * flicker * (0.6 + 0.4 * this.lamps);
    this.lamp.intensity = 34 * this.lamps * (1 + Math.sin(seconds * 2.1) * 0.02);
    this.orb.intensity = 7 + 5 * level + pulse * 14 + busy * 3;
    this.halos.orb.material.opacity = 0.14 + level * 0.1 + pulse * 0.4;
    this.halos.fire.material.opacity = 0.36 * flicker;
    this.halos.staff.material.opacity = 0.4 + busy * 0.3 + Math.sin(seconds * 3) * 0.08;
  }
}

/** From the window down to the floor, fading. */
function shaftOfLight(): Mesh["geometry"] {
  const shaft = new CylinderGeometry(1.25, 2.6, 9.5, 20, 6, true);
  const made = new Sculpture().add(shaft, 0xffffff, { at: [0.2, 2.1, -2.6], turn: [-0.98, 0, 0] }).done();
  const colours = made.getAttribute("color");
  const along = shaft.getAttribute("uv");
  for (let n = 0; n < colours.count; n++) {
    const fade = Math.pow(Math.sin(Math.min(1, along.getY(n)) * Math.PI), 0.8) * 0.55 * (0.3 + along.getY(n) * 0.7);
    colours.setXYZ(n, fade, fade, fade);
  }
  return made;
}
