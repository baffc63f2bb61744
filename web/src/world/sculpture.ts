/** Many simple shapes, painted and pressed into one geometry: one draw call, however much there is to see. */

import { BoxGeometry, BufferGeometry, Color, Euler, Float32BufferAttribute, Matrix4, Quaternion, Vector3 } from "three";

export interface Placing {
  at?: [number, number, number];
  turn?: [number, number, number];
  size?: number | [number, number, number];
  /** How much darker it is at its foot: 0 not at all, 1 black. */
  shade?: number;
  flat?: boolean;
  /** How much the colour differs from face to face. */
  rough?: number;
}

const colour = new Color();
const point = new Vector3();

export class Sculpture {
  private readonly positions: number[] = [];
  private readonly normals: number[] = [];
  private readonly colours: number[] = [];
  private readonly indices: number[] = [];
  private readonly frame = new Matrix4();

  constructor(private readonly random: () => number = () => 0.5) {}

  /** Everything that is added from now on stands within this frame. */
  within(at: [number, number, number], turnY = 0, size = 1): this {
    this.frame.compose(new Vector3(...at), new Quaternion().setFromEuler(new Euler(0, turnY, 0)), new Vector3(size, size, size));
    return this;
  }

  add(shape: BufferGeometry, paint: number, placing: Placing = {}): this {
    const { at = [0, 0, 0], turn = [0, 0, 0], size = 1, shade = 0, flat = false, rough = 0 } = placing;
    const scale = typeof size === "number" ? new Vector3(size, size, size) : new Vector3(...size);
    const matrix = new Matrix4().compose(new Vector3(...at), new Quaternion().setFromEuler(new Euler(...turn)), scale).premultiply(this.frame);
    const made = flat && shape.index ? shape.toNonIndexed() : shape.clone();
    if (flat) made.computeVertexNormals();
    made.computeBoundingBox();
    const low = made.boundingBox?.min.y ?? 0;
    const high = made.boundingBox?.max.y ?? 1;
    const own = made.getAttribute("position");
    const heights = Array.from({ length: own.count }, (_, n) => (own.getY(n) - low) / (high - low || 1));
    made.applyMatrix4(matrix);
    this.press(made, paint, heights, shade, rough);
    return this;
  }

  private press(made: BufferGeometry, paint: number, heights: number[], shade: number, rough: number): void {
    const base = this.positions.length / 3;
    const position = made.getAttribute("position");
    const normal = made.getAttribute("normal");
    let light = 1;
    for (let n = 0; n < position.count; n++) {
      if (n % 3 === 0) light = 1 + (this.random() - 0.5) * rough;
      point.fromBufferAttribute(position, n);
      this.positions.push(point.x, point.y, point.z);
      point.fromBufferAttribute(normal, n);
      this.normals.push(point.x, point.y, point.z);
      colour.setHex(paint).multiplyScalar(light * (1 - shade * (1 - (heights[n] ?? 1))));
      this.colours.push(colour.r, colour.g, colour.b);
    }
    if (made.index) for (const index of made.index.array) this.indices.push(base + index);
    else for (let n = 0; n < position.count; n++) this.indices.push(base + n);
  }

  done(): BufferGeometry {
    const whole = new BufferGeometry();
    whole.setAttribute("position", new Float32BufferAttribute(this.positions, 3));
    whole.setAttribute("normal", new Float32BufferAttribute(this.normals, 3));
    whole.setAttribute("color", new Float32BufferAttribute(this.colours, 3));
    whole.setIndex(this.indices);
    return whole;
  }
}

type At = [number, number, number];

/** A tube whose width changes on its way: sleeves, hats, tails, beards. The points are where it goes, the radii how wide it is there. */
export function taper(points: At[], radii: number[], sides = 12, rings = points.length > 2 ? points.length * 2 : 1): BufferGeometry {
  const positions: number[] = [];
  const indices: number[] = [];
  const way = new Vector3();
  const normal = new Vector3();
  const binormal = new Vector3();
  for (let ring = 0; ring <= rings; ring++) {
    const along = ring / rings;
    const centre = onCurve(points, along);
    way.copy(onCurve(points, Math.min(1, along + 0.01))).sub(onCurve(points, Math.max(0, along - 0.01))).normalize();
    // Carried along from ring to ring, so that the tube does not twist.
    if (ring === 0) normal.set(Math.abs(way.y) > 0.9 ? 1 : 0, Math.abs(way.y) > 0.9 ? 0 : 1, 0);
    normal.addScaledVector(way, -normal.dot(way)).normalize();
    binormal.crossVectors(way, normal);
    const radius = between(radii, along);
    for (let side = 0; side <= sides; side++) {
      const angle = (side / sides) * Math.PI * 2;
      point.copy(centre).addScaledVector(normal, Math.cos(angle) * radius).addScaledVector(binormal, Math.sin(angle) * radius);
      positions.push(point.x, point.y, point.z);
      if (ring === rings || side === sides) continue;
      const here = ring * (sides + 1) + side;
      indices.push(here, here + 1, here + sides + 1, here + 1, here + sides + 2, here + sides + 1);
    }
  }
  return surface(positions, indices);
}

/** Through all the points, smoothly (Catmull and Rom, uniform). */
function onCurve(points: At[], along: number): Vector3 {
  const place = along * (points.length - 1);
  const n = Math.min(points.length - 2, Math.floor(place));
  const t = place - n;
  const at = (index: number): At => points[Math.max(0, Math.min(points.length - 1, index))] as At;
  const one = (axis: 0 | 1 | 2): number => {
    const [a, b, c, d] = [at(n - 1)[axis], at(n)[axis], at(n + 1)[axis], at(n + 2)[axis]];
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t * t * t);
  };
  return new Vector3(one(0), one(1), one(2));
}

function surface(positions: number[], indices: number[]): BufferGeometry {
  const made = new BufferGeometry();
  made.setAttribute("position", new Float32BufferAttribute(positions, 3));
  made.setIndex(indices);
  made.computeVertexNormals();
  return made;
}

const POLE = 1e-6; // where a profile meets its axis there is nothing to go around

/** A profile, turned around the upright axis; it closes at the back. */
export function lathe(profile: [number, number][], around: number): BufferGeometry {
  const positions: number[] = [];
  const indices: number[] = [];
  const tall = profile.length;
  for (let n = 0; n <= around; n++) {
    const angle = (n / around) * Math.PI * 2 + Math.PI;
    profile.forEach(([out, y], step) => {
      positions.push(out * Math.sin(angle), y, out * Math.cos(angle));
      const here = n * tall + step;
      if (n === around || step === tall - 1) return;
      if (out > POLE) indices.push(here, here + tall, here + 1);
      if ((profile[step + 1]?.[0] ?? 0) > POLE) indices.push(here + 1, here + tall, here + tall + 1);
    });
  }
  return surface(positions, indices);
}

export function hoop(radius: number, thick: number, sides: number, around: number): BufferGeometry {
  const positions: number[] = [];
  const indices: number[] = [];
  for (let side = 0; side <= sides; side++) {
    for (let n = 0; n <= around; n++) {
      const [turn, angle] = [(side / sides) * Math.PI * 2, (n / around) * Math.PI * 2];
      const out = radius + thick * Math.cos(turn);
      positions.push(out * Math.cos(angle), out * Math.sin(angle), thick * Math.sin(turn));
      const here = side * (around + 1) + n;
      if (side < sides && n < around) indices.push(here, here + 1, here + around + 1, here + 1, here + around + 2, here + around + 1);
    }
  }
  return surface(positions, indices);
}

export type Outline = [number, number][];

/** A flat shape that is filled from a point in its middle. */
export function sheet(outline: Outline, middle: [number, number] = [0, 0]): BufferGeometry {
  const positions = [...middle, 0, ...outline.flatMap(([x, y]) => [x, y, 0])];
  const indices = outline.flatMap((_, n) => [0, n + 1, ((n + 1) % outline.length) + 1]);
  return surface(positions, indices);
}

/** A face that looks towards us: what stands in a row needs no back. */
export const plate = (wide: number, tall: number): BufferGeometry => sheet([[-wide / 2, -tall / 2], [wide / 2, -tall / 2], [wide / 2, tall / 2], [-wide / 2, tall / 2]]);

const FACES_SEEN = [0, 1, 2, 4]; // of a box: right, left, top, front
const INDICES_PER_FACE = 6;

/** A box that stands against something: without its back and its bottom. */
export function block(wide: number, tall: number, deep: number): BufferGeometry {
  const box = new BoxGeometry(wide, tall, deep);
  const indices = [...(box.index?.array ?? [])];
  box.setIndex(FACES_SEEN.flatMap((face) => indices.slice(face * INDICES_PER_FACE, (face + 1) * INDICES_PER_FACE)));
  return box;
}

export function star(points: number, outer: number, inner: number): Outline {
  return Array.from({ length: points * 2 }, (_, n) => {
    const angle = (-n / points) * Math.PI;
    const out = n % 2 ? inner : outer;
    return [Math.sin(angle) * out, Math.cos(angle) * out];
  });
}

/** Between an outline and a larger one with as many points: a frame that stands out by `deep`. */
export function band(inner: Outline, outer: Outline, deep: number): BufferGeometry {
  const positions: number[] = [];
  const indices: number[] = [];
  inner.forEach(([x, y], n) => {
    const [ox, oy] = outer[n] ?? [x, y];
    positions.push(x, y, 0, x, y, deep, ox, oy, deep, ox, oy, 0);
    if (n === inner.length - 1) return;
    for (let edge = 0; edge < 3; edge++) {
      const here = n * 4 + edge;
      indices.push(here, here + 4, here + 1, here + 1, here + 4, here + 5);
    }
  });
  return surface(positions, indices);
}

function between(values: number[], along: number): number {
  const place = along * (values.length - 1);
  const before = Math.min(values.length - 2, Math.floor(place));
  const [a = 0, b = 0] = [values[before], values[before + 1]];
  return a + (b - a) * (place - before);
}

/** `from` its lowest part: 0 is a whole ball, 0.5 the upper half of one. */
export function ball(radius: number, detail = 14, from = 0): BufferGeometry {
  const rings = Math.max(2, Math.ceil(detail * 0.7 * (1 - from)));
  const profile = Array.from({ length: rings + 1 }, (_, n): [number, number] => {
    const angle = Math.PI * (from + (n / rings) * (1 - from));
    return [radius * Math.sin(angle), -radius * Math.cos(angle)];
  });
  return lathe(profile, detail);
}
