/** The window: the sky at the visitor's own hour, and the light that falls in. */

import { Color, Mesh, ShaderMaterial } from "three";
import { sheet, type Outline } from "./sculpture";

const VERTEX = /* glsl */ `varying vec2 vAt; void main() { vAt = position.xy; gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); }`;

const FRAGMENT = /* glsl */ `
uniform vec3 uTop, uLow, uDisc; uniform vec2 uDiscAt; uniform float uNight, uTime;
varying vec2 vAt;
float hash(vec2 p) { return fract(sin(dot(p, vec2(41.3, 289.1))) * 43758.5453); }
float noise(vec2 p) { vec2 i = floor(p), f = fract(p); f = f*f*(3.0-2.0*f); return mix(mix(hash(i), hash(i+vec2(1,0)), f.x), mix(hash(i+vec2(0,1)), hash(i+vec2(1,1)), f.x), f.y); }
void main() {
  vec3 colour = mix(uLow, uTop, smoothstep(0.0, 3.4, vAt.y));
  vec2 cell = floor(vAt * 9.0);
  float star = step(0.93, hash(cell)) * smoothstep(0.16, 0.0, length(fract(vAt * 9.0) - 0.5 - (vec2(hash(cell + 3.0), hash(cell + 7.0)) - 0.5) * 0.6));
  colour += vec3(1.0, 0.95, 0.85) * star * uNight * (0.6 + 0.4 * sin(uTime * 1.5 + hash(cell) * 40.0));
  float away = length(vAt - uDiscAt);
  float craters = uNight * 0.13 * noise(vAt * 9.0);
  colour = mix(colour, uDisc * (1.0 - craters), smoothstep(0.35, 0.33, away));
  colour += uDisc * exp(-away * 2.3) * 0.32;
  float cloud = noise(vec2(vAt.x * 1.3 + uTime * 0.02, vAt.y * 3.2)) * 0.65 + noise(vec2(vAt.x * 3.0 + uTime * 0.03, vAt.y * 7.0)) * 0.35;
  colour = mix(colour, mix(uLow, vec3(1.0), 0.35 * (1.0 - uNight)), smoothstep(0.56, 0.86, cloud) * 0.6);
  float hill = 0.42 + sin(vAt.x * 2.1 + 0.6) * 0.17 + sin(vAt.x * 5.0) * 0.05;
  colour = mix(colour, mix(vec3(0.16, 0.22, 0.14), vec3(0.02, 0.03, 0.06), uNight), smoothstep(hill + 0.01, hill - 0.01, vAt.y));
  gl_FragColor = vec4(colour, 1.0);
  #include <colorspace_fragment>
}`;

interface Hour {
  top: number;
  low: number;
  disc: number;
  night: number;
  light: number; // of the beam that falls in
  strength: number;
  lamps: number; // how bright the lamps burn
}

const NIGHT: Hour = { top: 0x070b26, low: 0x1d2a5c, disc: 0xf6ecd2, night: 1, light: 0x7d93ff, strength: 0.55, lamps: 1 };
const DUSK: Hour = { top: 0x2b2a62, low: 0xff8a4a, disc: 0xffc27a, night: 0.25, light: 0xffa066, strength: 1.1, lamps: 0.9 };
const DAY: Hour = { top: 0x4d9be6, low: 0xcfe7f5, disc: 0xfff5d0, night: 0, light: 0xfff0d0, strength: 2.2, lamps: 0.6 };
const TIMES: [number, Hour][] = [[0, NIGHT], [5, NIGHT], [6.5, DUSK], [8.5, DAY], [16.5, DAY], [19, DUSK], [20.5, NIGHT], [24, NIGHT]];

export interface Light {
  colour: Color;
  strength: number;
  lamps: number;
  night: number;
}

export interface Sky {
  mesh: Mesh;
  move(seconds: number): void;
  set(hour: number): Light;
}

const ARCH_STEPS = 8;

/** A window with a pointed top, from its lower left corner around; it stands on y = 0. */
export function arch(wide: number, tall: number): Outline {
  const half = wide / 2;
  const spring = tall - half * 1.15;
  const right: Outline = Array.from({ length: ARCH_STEPS + 1 }, (_, n) => {
    const part = (n / ARCH_STEPS) * (Math.PI / 2);
    return [half * Math.cos(part) ** 0.85, spring + half * 1.15 * Math.sin(part) ** 1.1];
  });
  const left: Outline = right.slice(0, -1).reverse().map(([x, y]) => [-x, y]);
  return [[half, 0], ...right, ...left, [-half, 0]];
}

export function makeSky(wide: number, tall: number): Sky {
  const uniforms = {
    uTop: { value: new Color() }, uLow: { value: new Color() }, uDisc: { value: new Color() },
    uDiscAt: { value: { x: 0.5, y: 2.6 } }, uNight: { value: 1 }, uTime: { value: 0 },
  };
  const material = new ShaderMaterial({ uniforms, vertexShader: VERTEX, fragmentShader: FRAGMENT, toneMapped: false, fog: false });
  const light: Light = { colour: new Color(), strength: 1, lamps: 1, night: 1 };
  const other = new Color();
  return {
    mesh: new Mesh(sheet(arch(wide, tall), [0, tall / 2]), material),
    move: (seconds) => (uniforms.uTime.value = seconds),
    set(hour) {
      const after = Math.max(1, TIMES.findIndex(([at]) => at > hour));
      const [from, a] = TIMES[after - 1] ?? [0, NIGHT];
      const [to, b] = TIMES[after] ?? [24, NIGHT];
      const part = (hour - from) / (to - from || 1);
      const blend = (into: Color, one: number, two: number): Color => into.setHex(one).lerp(other.setHex(two), part);
      const mixed = (one: number, two: number): number => one + (two - one) * part;
      blend(uniforms.uTop.value, a.top, b.top);
      blend(uniforms.uLow.value, a.low, b.low);
      blend(uniforms.uDisc.value, a.disc, b.disc);
      blend(light.colour, a.light, b.light);
      uniforms.uNight.value = light.night = mixed(a.night, b.night);
      [light.strength, light.lamps] = [mixed(a.strength, b.strength), mixed(a.lamps, b.lamps)];
      // The sun goes over from left to right between six and half past six in the evening; the moon has the night.
      const day = hour > 6 && hour < 19.5;
      const way = day ? (hour - 6) / 13.5 : (((hour + 24 - 19.5) % 24) / 10.5);
      uniforms.uDiscAt.value = { x: (way - 0.5) * wide * 0.85, y: 1.1 + Math.sin(Math.min(1, Math.max(0, way)) * Math.PI) * 1.9 };
      return light;
    },
  };
}
