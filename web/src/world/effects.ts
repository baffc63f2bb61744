/** What flies and glows: coins, sparks, dust in the light, halos around the lamps. */

import { AdditiveBlending, BufferGeometry, CanvasTexture, Color, CylinderGeometry, DynamicDrawUsage, Float32BufferAttribute, Group, InstancedMesh, Matrix4, MeshLambertMaterial, Points, PointsMaterial, Quaternion, Sprite, SpriteMaterial, Vector3, Euler } from "three";
import { chance } from "./palette";

type Spot = [number, number, number];

const COINS_MAX = 24;
const COIN_SECONDS = 1.35;
const COIN_APART_SECONDS = 0.09;
const SPARKS_MAX = 220;
const MOTES = 90;
const GRAVITY = 1.6;

/** A soft round light, painted once. */
export function softLight(): CanvasTexture {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const pen = canvas.getContext("2d");
  if (pen) {
    const fade = pen.createRadialGradient(32, 32, 0, 32, 32, 32);
    fade.addColorStop(0, "rgba(255,255,255,1)");
    fade.addColorStop(0.25, "rgba(255,255,255,.45)");
    fade.addColorStop(1, "rgba(255,255,255,0)");
    pen.fillStyle = fade;
    pen.fillRect(0, 0, 64, 64);
  }
  return new CanvasTexture(canvas);
}

export function halo(map: CanvasTexture, colour: number, size: number, opacity: number): Sprite {
  const sprite = new Sprite(new SpriteMaterial({ map, color: colour, opacity, transparent: true, blending: AdditiveBlending, depthWrite: false, toneMapped: false, fog: false }));
  sprite.scale.setScalar(size);
  return sprite;
}

interface Flight {
  from: Vector3;
  to: Vector3;
  at: number;
  land?: () => void;
}

interface Spark {
  life: number;
  lasts: number;
  at: Vector3;
  speed: Vector3;
  colour: Color;
  idle?: boolean;
}

export class Effects {
  readonly group = new Group();
  private readonly coins: InstancedMesh;
  private flights: Flight[] = [];
  private sparks: Spark[] = [];
  private readonly points: Points;
  private readonly positions: Float32BufferAttribute;
  private readonly colours: Float32BufferAttribute;
  private readonly motes: { at: Vector3; phase: number }[];
  private readonly random = chance(99);
  private readonly matrix = new Matrix4();
  private readonly turn = new Quaternion();
  private readonly one = new Vector3(1, 1, 1);
  private readonly none = new Matrix4().makeScale(0, 0, 0);
  moteColour = new Color(0xffd9a0);

  constructor(map: CanvasTexture) {
    this.coins = new InstancedMesh(new CylinderGeometry(0.13, 0.13, 0.035, 11), new MeshLambertMaterial({ color: 0xffc93c, emissive: 0xa86a00 }), COINS_MAX);
    this.coins.frustumCulled = false;
    for (let n = 0; n < COINS_MAX; n++) this.coins.setMatrixAt(n, this.none);
    this.motes = Array.from({ length: MOTES }, () => ({ at: new Vector3((this.random() - 0.5) * 11, this.random() * 5.4, (this.random() - 0.7) * 8), phase: this.random() * 6.28 }));
    const count = SPARKS_MAX + MOTES;
    this.positions = new Float32BufferAttribute(new Float32Array(count * 3).fill(-99), 3);
    this.colours = new Float32BufferAttribute(new Float32Array(count * 3), 3);
    this.positions.setUsage(DynamicDrawUsage);
    this.colours.setUsage(DynamicDrawUsage);
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", this.positions);
    geometry.setAttribute("color", this.colours);
    this.points = new Points(geometry, new PointsMaterial({ map, size: 0.16, vertexColors: true, transparent: true, blending: AdditiveBlending, depthWrite: false, toneMapped: false, fog: false }));
    this.points.frustumCulled = false;
    this.group.add(this.coins, this.points);
  }

  /** Whether something flies that somebody has caused; a hearth always sparks a little. */
  get isBusy(): boolean {
    return this.flights.length > 0 || this.sparks.some((spark) => !spark.idle);
  }

  coinsFly(seconds: number, from: Spot, to: Spot, count: number, land?: () => void): void {
    for (let n = 0; n < count && this.flights.length < COINS_MAX; n++) {
      const spread = (): number => (this.random() - 0.5) * 0.5;
      const flight: Flight = { from: new Vector3(from[0] + spread(), from[1] + spread(), from[2]), to: new Vector3(...to), at: seconds + n * COIN_APART_SECONDS };
      if (n === 0 && land) flight.land = land;
      this.flights.push(flight);
    }
  }

  sparksFly(at: Spot, colour: number, count: number, speed = 1.5, lift = 1.2, lasts = 1, idle = false): void {
    for (let n = 0; n < count && this.sparks.length < SPARKS_MAX; n++) {
      const angle = this.random() * Math.PI * 2;
      const out = this.random() * speed;
      this.sparks.push({
        life: 0, lasts: lasts * (0.6 + this.random() * 0.7), at: new Vector3(...at),
        speed: new Vector3(Math.cos(angle) * out, lift * (0.4 + this.random()), Math.sin(angle) * out), colour: new Color(colour), idle,
      });
    }
  }

  /** A line of light from one to the other: work is handed over. */
  thread(from: Spot, to: Spot, colour: number): void {
    for (let n = 0; n < 34 && this.sparks.length < SPARKS_MAX; n++) {
      const along = n / 34;
      const at = new Vector3(...from).lerp(new Vector3(...to), along);
      at.y += Math.sin(along * Math.PI) * 0.9;
      this.sparks.push({ life: -along * 0.7, lasts: 0.9, at, speed: new Vector3(0, 0.18, 0), colour: new Color(colour) });
    }
  }

  move(seconds: number, step: number): void {
    this.moveCoins(seconds);
    let n = 0;
    this.sparks = this.sparks.filter((spark) => (spark.life += step) < spark.lasts);
    for (const spark of this.sparks) {
      if (spark.life < 0) continue;
      spark.at.addScaledVector(spark.speed, step);
      spark.speed.y -= GRAVITY * step * 0.6;
      const bright = 1 - spark.life / spark.lasts;
      this.positions.setXYZ(n, spark.at.x, Math.max(0.03, spark.at.y), spark.at.z);
      this.colours.setXYZ(n++, spark.colour.r * bright, spark.colour.g * bright, spark.colour.b * bright);
    }
    for (; n < SPARKS_MAX; n++) this.positions.setY(n, -99);
    this.motes.forEach(({ at, phase }, mote) => {
      const y = (((at.y + seconds * 0.07) % 5.4) + 5.4) % 5.4;
      const glow = (0.12 + 0.1 * Math.sin(seconds * 0.9 + phase)) * Math.min(1, y, 5.4 - y);
      this.positions.setXYZ(SPARKS_MAX + mote, at.x + Math.sin(seconds * 0.3 + phase) * 0.3, y, at.z);
      this.colours.setXYZ(SPARKS_MAX + mote, this.moteColour.r * glow, this.moteColour.g * glow, this.moteColour.b * glow);
    });
    this.positions.needsUpdate = this.colours.needsUpdate = true;
  }

  private moveCoins(seconds: number): void {
    this.flights = this.flights.filter((flight) => {
      if (seconds - flight.at < COIN_SECONDS) return true;
      flight.land?.();
      return false;
    });
    const at = new Vector3();
    for (let n = 0; n < COINS_MAX; n++) {
      const flight = this.flights[n];
      const part = flight ? (seconds - flight.at) / COIN_SECONDS : -1;
      if (!flight || part < 0) {
        this.coins.setMatrixAt(n, this.none);
        continue;
      }
      at.lerpVectors(flight.from, flight.to, part * part * (3 - 2 * part));
      at.y += Math.sin(part * Math.PI) * 1.5;
      this.turn.setFromEuler(new Euler(seconds * 7 + n, n, seconds * 3));
      this.coins.setMatrixAt(n, this.matrix.compose(at, this.turn, this.one));
    }
    this.coins.instanceMatrix.needsUpdate = true;
  }

  dispose(): void {
    this.coins.dispose();
  }
}
