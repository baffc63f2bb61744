/** The crystal ball: how full it is, is how much the pool holds; it pulses when sats come in and swirls when Timmy works. */

import { Mesh, ShaderMaterial } from "three";
import { ball } from "./sculpture";

const VERTEX = /* glsl */ `
varying vec3 vAt; varying vec3 vNormal; varying vec3 vView;
void main() {
  vAt = position;
  vec4 seen = modelViewMatrix * vec4(position, 1.0);
  vNormal = normalize(normalMatrix * normal);
  vView = normalize(-seen.xyz);
  gl_Position = projectionMatrix * seen;
}`;

const FRAGMENT = /* glsl */ `
uniform float uTime, uLevel, uPulse, uBusy;
varying vec3 vAt; varying vec3 vNormal; varying vec3 vView;
float hash(vec3 p) { return fract(sin(dot(p, vec3(17.1, 113.5, 71.7))) * 43758.5453); }
float noise(vec3 p) {
  vec3 i = floor(p), f = fract(p); f = f * f * (3.0 - 2.0 * f);
  return mix(mix(mix(hash(i), hash(i + vec3(1,0,0)), f.x), mix(hash(i + vec3(0,1,0)), hash(i + vec3(1,1,0)), f.x), f.y),
             mix(mix(hash(i + vec3(0,0,1)), hash(i + vec3(1,0,1)), f.x), mix(hash(i + vec3(0,1,1)), hash(i + vec3(1,1,1)), f.x), f.y), f.z);
}
void main() {
  float facing = clamp(dot(vNormal, vView), 0.0, 1.0);
  float rim = pow(1.0 - facing, 2.4);
  float swirl = uTime * (0.25 + uBusy * 1.6);
  float a = atan(vAt.x, vAt.z) + vAt.y * 2.0 * (0.4 + uBusy) + swirl;
  vec3 p = vec3(cos(a), vAt.y * 2.6, sin(a)) * 1.5 + vec3(0.0, -swirl * 0.6, 0.0);
  float cloud = noise(p * 1.05) * 0.68 + noise(p * 2.3) * 0.32;
  float surface = (uLevel * 2.0 - 1.0) * 0.86 + sin(vAt.x * 7.0 + uTime * 1.7) * 0.028 + sin(vAt.z * 9.0 - uTime * 1.3) * 0.02;
  float filled = smoothstep(surface + 0.03, surface - 0.03, vAt.y);
  float line = exp(-pow((vAt.y - surface) * 16.0, 2.0));
  vec3 gold = mix(vec3(0.42, 0.11, 0.0), vec3(1.0, 0.5, 0.03), smoothstep(0.2, 0.75, cloud * 0.8 + facing * 0.22));
  gold += vec3(1.0, 0.62, 0.18) * pow(cloud, 3.0) * (0.55 + uBusy * 0.8);
  vec3 empty = mix(vec3(0.05, 0.035, 0.06), vec3(0.26, 0.17, 0.3), cloud * 0.7 + uBusy * 0.25 * cloud);
  vec3 colour = mix(empty, gold, filled) + vec3(1.0, 0.85, 0.45) * line * 0.5;
  colour += vec3(1.0, 0.6, 0.16) * rim * (0.5 + uPulse * 1.4);
  colour *= 0.92 + uPulse * 1.1;
  float shine = pow(clamp(dot(reflect(-vView, vNormal), normalize(vec3(-0.55, 0.75, 0.45))), 0.0, 1.0), 42.0);
  colour += vec3(1.0, 0.97, 0.9) * shine;
  gl_FragColor = vec4(colour, 1.0);
  #include <colorspace_fragment>
}`;

export interface Crystal {
  mesh: Mesh;
  move(seconds: number, level: number, pulse: number, busy: number): void;
}

export function makeCrystal(radius: number): Crystal {
  const uniforms = { uTime: { value: 0 }, uLevel: { value: 0 }, uPulse: { value: 0 }, uBusy: { value: 0 } };
  const mesh = new Mesh(ball(1, 26), new ShaderMaterial({ uniforms, vertexShader: VERTEX, fragmentShader: FRAGMENT, toneMapped: false, fog: false }));
  mesh.scale.setScalar(radius);
  return {
    mesh,
    move(seconds, level, pulse, busy) {
      uniforms.uTime.value = seconds;
      uniforms.uLevel.value = level;
      uniforms.uPulse.value = pulse;
      uniforms.uBusy.value = busy;
      mesh.scale.setScalar(radius * (1 + Math.sin(seconds * 2) * 0.008 + pulse * 0.09));
    },
  };
}
