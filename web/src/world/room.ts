/** The room itself: walls of stone, a floor of planks, shelves, a hearth, a window. Two draw calls. */

import { BoxGeometry, type BufferGeometry, CylinderGeometry } from "three";
import { chance, DARK_WOOD, GOLD, LEATHER, STONE, WOOD } from "./palette";
import { ball, band, block, plate, Sculpture, sheet, star, taper, hoop, lathe } from "./sculpture";
import { arch } from "./sky";

export const WINDOW = { wide: 2.7, tall: 4.1, at: [0, 1.75, -6.55] as [number, number, number] };
export const HEARTH: [number, number, number] = [-5.7, 0, -2.6];
export const LANTERN: [number, number, number] = [3.35, 4.35, -1.2];
export const BALL = { at: [0, 1.5, 1.3] as [number, number, number], radius: 0.5 };

const RADIUS = 7;
const HEIGHT = 7.4;
const BOOKCASES = [[0.56, 3], [-0.56, 9], [1.08, 17]] as const; // where along the wall, and what makes each its own
const ALONG = 10; // stones of a wall's straight part
const COURSES = 12;
const COURSES_ABOVE = 0;
const STONE_HIGH = HEIGHT / COURSES;
const TOP = HEIGHT + COURSES_ABOVE * STONE_HIGH;
const PLANK = 0.52;
const FLOOR_ENDS = 15.6; // towards us: behind the lower edge of the tallest picture

export interface Room {
  solid: BufferGeometry;
  bright: BufferGeometry; // what shines by itself: potions, embers, candle flames
}

export function makeRoom(): Room {
  const random = chance(7);
  const solid = new Sculpture(random);
  const bright = new Sculpture(random);
  walls(solid, random);
  const ends = floor(solid, random);
  windowFrame(solid);
  for (const [angle, seed] of BOOKCASES) shelves(solid, bright, angle, chance(seed));
  hearth(solid, bright, random);
  table(solid);
  lantern(solid, bright);
  telescope(solid);
  clutter(solid, bright, random);
  further(solid, random, ends); // last: what is made by chance before it stays as it was
  return { solid: solid.done(), bright: bright.done() };
}

/** Courses of stones, each a little different, with the wall's back towards us. */
function walls(to: Sculpture, random: () => number): void {
  for (let row = 0; row < COURSES; row++) round(to, row, random);
  // And straight on towards us: where a panel takes the room on one side, this is what is seen beside it.
  for (const side of [-1, 1]) {
    for (let row = 0; row < COURSES; row++) straight(to, side, row, random);
    to.add(new BoxGeometry(0.1, TOP, ALONG), 0x2a231b, { at: [side * (RADIUS + 0.05), TOP / 2, ALONG / 2] });
  }
  to.add(new CylinderGeometry(RADIUS + 0.12, RADIUS + 0.12, TOP, 24, 1, true, Math.PI * 0.5, Math.PI), 0x2a231b, { at: [0, TOP / 2, 0] });
  for (const x of [-3.6, 0, 3.6]) to.add(new BoxGeometry(0.34, 0.4, 12), DARK_WOOD, { at: [x, 6.75, -1], rough: 0.2, flat: true });
  to.add(new BoxGeometry(13, 0.36, 0.34), WOOD[3] ?? 0, { at: [0, 6.4, -3.4], rough: 0.2, flat: true });
}

function round(to: Sculpture, row: number, random: () => number): void {
  const around = 21;
  for (let n = 0; n < around; n++) {
    const angle = Math.PI * 0.5 * (((n + (row % 2) * 0.5) / around) * 2 - 1);
    const y = (row + 0.5) * STONE_HIGH;
    if (Math.abs(angle) < 0.235 && y > 1.6 && y < 6.05) continue; // the window
    if (y < 4.3 && BOOKCASES.some(([before]) => Math.abs(angle - before) < 0.12)) continue; // nobody sees it
    const stone = STONE[Math.floor(random() * STONE.length)] ?? 0;
    const out = RADIUS + random() * 0.07;
    const [wide, high] = [(RADIUS * Math.PI) / around - 0.025, STONE_HIGH - 0.025];
    to.add(row < COURSES ? block(wide, high, 0.3) : plate(wide, high), stone, { at: [Math.sin(angle) * out, y, -Math.cos(angle) * out], turn: [(random() - 0.5) * 0.03, -angle + (random() - 0.5) * 0.04, 0], flat: true, rough: 0.08, shade: 0.12 });
  }
}

function straight(to: Sculpture, side: number, row: number, random: () => number): void {
  for (let n = 0; n < ALONG; n++) {
    const at: [number, number, number] = [side * (RADIUS - 0.15 + random() * 0.07), (row + 0.5) * STONE_HIGH, n + (row % 2) * 0.5];
    to.add(plate(0.975, STONE_HIGH - 0.025), STONE[Math.floor(random() * STONE.length)] ?? 0, { at, turn: [0, (-side * Math.PI) / 2, 0], rough: 0.08, shade: 0.12 });
  }
}

/** Planks in rows; how far each row has come. */
function floor(to: Sculpture, random: () => number): [number, number][] {
  const ends: [number, number][] = [];
  to.add(plate(18, 26), 0x1a0e06, { at: [0, -0.02, 0], turn: [-Math.PI / 2, 0, 0] });
  for (let row = -14; row < 15; row++) ends.push([row, planks(to, row, -7.2, 12, random)]);
  const bands: [number, number, number][] = [[0, 2.35, 0x3a2a6e], [2.35, 2.5, GOLD], [2.5, 3.0, 0x6e2430], [3.0, 3.1, GOLD], [3.1, 3.3, 0x31205a]];
  for (const [inner, outer, paint] of bands) to.add(inner ? lathe([[outer, 0], [inner, 0]], 56) : sheet(star(28, outer, outer)), paint, { at: [0, 0.012, 0.55], turn: [inner ? 0 : -Math.PI / 2, 0, 0] });
  to.add(sheet(star(8, 2.2, 1.35)), 0xb98a2e, { at: [0, 0.014, 0.55], turn: [-Math.PI / 2, 0, 0] });
  to.add(sheet(star(8, 1.95, 1.2)), 0x31205a, { at: [0, 0.018, 0.55], turn: [-Math.PI / 2, 0, 0] });
  return ends;
}

/** One row, from here until it has come at least there. */
function planks(to: Sculpture, row: number, from: number, until: number, random: () => number): number {
  let z = from;
  while (z < until) {
    const long = 2.2 + random() * 2.6;
    to.add(plate(PLANK - 0.022, long - 0.03), WOOD[Math.floor(random() * WOOD.length)] ?? 0, { at: [row * PLANK, 0, z + long / 2], turn: [-Math.PI / 2, 0, 0], rough: 0.16 });
    z += long;
  }
  return z;
}

/** What only a picture that is taller than wide shows: the walls go on upwards, and the floor towards us. */
function further(to: Sculpture, random: () => number, ends: [number, number][]): void {
  for (let row = COURSES; row < COURSES + COURSES_ABOVE; row++) {
    round(to, row, random);
    for (const side of [-1, 1]) straight(to, side, row, random);
  }
  to.add(plate(18, FLOOR_ENDS - 13), 0x1a0e06, { at: [0, -0.02, (FLOOR_ENDS + 13) / 2], turn: [-Math.PI / 2, 0, 0] });
  for (const [row, z] of ends) if (Math.abs(row) < 11) planks(to, row, z, FLOOR_ENDS, random);
}

function windowFrame(to: Sculpture): void {
  const { wide, tall, at } = WINDOW;
  const [x, y, z] = at;
  to.add(band(arch(wide, tall), arch(wide + 0.55, tall + 0.3), 0.42), 0x8c7d68, { at: [x, y - 0.05, z - 0.05], flat: true, rough: 0.1 });
  to.add(new BoxGeometry(wide + 0.9, 0.18, 0.8), 0x94846e, { at: [x, y - 0.1, z + 0.3] });
  for (const bar of [-wide / 6, wide / 6]) to.add(new BoxGeometry(0.06, tall - 0.3, 0.06), 0x1d150d, { at: [x + bar, y + tall / 2 - 0.15, z + 0.06] });
  for (const bar of [1, 2, 2.95]) to.add(new BoxGeometry(wide - (bar > 2.5 ? 0.5 : 0), 0.05, 0.06), 0x1d150d, { at: [x, y + bar, z + 0.06] });
  // On the sill: a plant, and a book that was left open.
  to.add(new CylinderGeometry(0.16, 0.12, 0.24, 10), 0xa5532f, { at: [x - 0.95, y + 0.1, z + 0.45] });
  for (let n = 0; n < 7; n++) to.add(taper([[x - 0.95, y + 0.2, z + 0.45], [x - 0.95 + Math.sin(n * 0.9) * 0.16, y + 0.46, z + 0.45 + Math.cos(n * 0.9) * 0.1], [x - 0.95 + Math.sin(n * 0.9) * 0.36, y + 0.42 + (n % 3) * 0.1, z + 0.45 + Math.cos(n * 0.9) * 0.2]], [0.02, 0.05, 0.005], 5, 6), n % 2 ? 0x4d8a45 : 0x3d7440);
}

/** A bookcase against the wall at this angle from the window. */
function shelves(to: Sculpture, bright: Sculpture, angle: number, random: () => number): void {
  const out = RADIUS - 0.42;
  const place: [number, number, number] = [Math.sin(angle) * out, 0, -Math.cos(angle) * out];
  for (const one of [to, bright]) one.within(place, -angle);
  const [wide, tall, boards] = [2.5, 4.7, 6];
  to.add(new BoxGeometry(wide, tall, 0.08), 0x2c1a0d, { at: [0, tall / 2, -0.2] });
  for (const side of [-1, 1]) to.add(new BoxGeometry(0.13, tall + 0.15, 0.58), WOOD[1] ?? 0, { at: [side * (wide / 2), tall / 2, 0], flat: true, rough: 0.15 });
  to.add(new BoxGeometry(wide + 0.35, 0.15, 0.66), WOOD[0] ?? 0, { at: [0, tall + 0.1, 0.02] });
  for (let board = 0; board < boards; board++) {
    const y = 0.12 + board * (tall / boards);
    to.add(new BoxGeometry(wide, 0.075, 0.54), WOOD[board % WOOD.length] ?? 0, { at: [0, y, 0], flat: true, rough: 0.15 });
    fill(to, bright, y + 0.04, wide, random);
  }
  for (let n = 0; n < 3; n++) to.add(taper([[-0.9 + n * 0.14, tall + 0.24 + (n % 2) * 0.1, -0.2], [-0.9 + n * 0.14, tall + 0.24 + (n % 2) * 0.1, 0.3]], [0.07, 0.07], 8, 2), 0xe6d3a6);
  to.add(ball(0.27, 14), 0x3f6f86, { at: [0.6, tall + 0.52, 0.05], shade: 0.3 }).add(hoop(0.33, 0.02, 5, 24), GOLD, { at: [0.6, tall + 0.52, 0.05], turn: [0.3, 0.9, 0.4] }).add(new CylinderGeometry(0.06, 0.16, 0.16, 8), DARK_WOOD, { at: [0.6, tall + 0.22, 0.05] });
  for (const one of [to, bright]) one.within([0, 0, 0]);
}

function fill(to: Sculpture, bright: Sculpture, y: number, wide: number, random: () => number): void {
  let x = -wide / 2 + 0.12;
  while (x < wide / 2 - 0.16) {
    const kind = random();
    if (kind < 0.1) {
      flask(to, bright, [x + 0.14, y, 0.04], random);
      x += 0.34;
    } else if (kind < 0.15) {
      for (let n = 0; n < 3; n++) to.add(block(0.44 - n * 0.04, 0.085, 0.32), LEATHER[Math.floor(random() * LEATHER.length)] ?? 0, { at: [x + 0.24, y + 0.045 + n * 0.088, 0.03], turn: [0, (random() - 0.5) * 0.4, 0] });
      x += 0.5;
    } else {
      const thick = 0.085 + random() * 0.085;
      const high = 0.4 + random() * 0.2;
      const lean = random() < 0.08 ? 0.16 : 0;
      const paint = LEATHER[Math.floor(random() * LEATHER.length)] ?? 0;
      to.add(block(thick, high, 0.34), paint, { at: [x + thick / 2 + lean * 0.3, y + high / 2, 0], turn: [0, 0, -lean], shade: 0.3, rough: 0.1 });
      if (random() < 0.45) to.add(plate(thick, 0.03), GOLD, { at: [x + thick / 2 + lean * 0.3, y + high * 0.78, 0.172], turn: [0, 0, -lean] });
      x += thick + 0.012 + lean * 0.8;
    }
  }
}

const POTIONS = [0x39d98a, 0x5cc8ff, 0xff6f61, 0xc58bff, 0xffc14d];

function flask(to: Sculpture, bright: Sculpture, at: [number, number, number], random: () => number): void {
  const paint = POTIONS[Math.floor(random() * POTIONS.length)] ?? 0;
  bright.add(ball(0.11, 7), paint, { at: [at[0], at[1] + 0.11, at[2]], size: [1, 0.95, 1], shade: 0.65 });
  to.add(new CylinderGeometry(0.035, 0.04, 0.14, 6, 1, true), 0xbfb8a4, { at: [at[0], at[1] + 0.26, at[2]] }).add(new CylinderGeometry(0.04, 0.04, 0.05, 6), 0x7a5230, { at: [at[0], at[1] + 0.35, at[2]] });
}

function hearth(to: Sculpture, bright: Sculpture, random: () => number): void {
  for (const one of [to, bright]) one.within(HEARTH, Math.PI * 0.36);
  for (const side of [-1, 1]) for (let n = 0; n < 6; n++) to.add(new BoxGeometry(0.46 + random() * 0.06, 0.33, 0.7), STONE[n % STONE.length] ?? 0, { at: [side * 0.92, 0.17 + n * 0.34, 0], flat: true, rough: 0.1 });
  to.add(new BoxGeometry(2.5, 0.3, 0.85), 0x8c7d68, { at: [0, 2.18, 0.05], flat: true, rough: 0.1 }).add(new CylinderGeometry(0.5, 1.0, 4.4, 4, 1), 0x6f6455, { at: [0, 4.5, -0.1], turn: [0, Math.PI / 4, 0], flat: true, rough: 0.1 });
  to.add(new BoxGeometry(1.5, 2.0, 0.1), 0x17100a, { at: [0, 1.05, -0.28] }).add(new BoxGeometry(2.6, 0.12, 1.3), 0x5b5145, { at: [0, 0.04, 0.25], flat: true, rough: 0.1 });
  for (const [x, turn] of [[-0.28, 0.3], [0.25, -0.25], [0, 1.2]] as const) to.add(taper([[x - 0.4, 0.2, Math.sin(turn) * 0.2], [x + 0.4, 0.24, -Math.sin(turn) * 0.2]], [0.11, 0.09], 8, 3), 0x3b2413, { rough: 0.4 });
  for (let n = 0; n < 10; n++) bright.add(ball(0.05 + random() * 0.05, 5), n % 2 ? 0xff5a14 : 0xffa030, { at: [(random() - 0.5) * 0.9, 0.13, (random() - 0.5) * 0.34], flat: true });
  // Over the fire, a cauldron on its chain; on the mantel, candles and a skull.
  to.add(ball(0.38, 14), 0x26262b, { at: [0, 0.98, 0.02], size: [1, 0.85, 1] }).add(hoop(0.34, 0.05, 6, 20), 0x34343a, { at: [0, 1.22, 0.02], turn: [Math.PI / 2, 0, 0] }).add(taper([[0, 1.25, 0], [0, 2.1, 0]], [0.02, 0.02], 5, 2), 0x34343a);
  bright.add(sheet(star(8, 0.31, 0.31)), 0x45c77a, { at: [0, 1.24, 0.02], turn: [-Math.PI / 2, 0, 0] });
  for (const [x, high] of [[-0.95, 0.34], [-0.76, 0.22], [0.9, 0.3]] as const) candle(to, bright, [x, 2.33, 0.15], high);
  to.add(ball(0.15, 12), 0xe8ddc4, { at: [0.25, 2.48, 0.15], size: [0.95, 1, 1.1] }).add(new BoxGeometry(0.15, 0.1, 0.12), 0xdccfb2, { at: [0.25, 2.37, 0.24] });
  for (const side of [-1, 1]) to.add(ball(0.042, 7), 0x120c07, { at: [0.25 + side * 0.06, 2.49, 0.28] });
  for (const one of [to, bright]) one.within([0, 0, 0]);
}

function candle(to: Sculpture, bright: Sculpture, at: [number, number, number], high: number): void {
  to.add(new CylinderGeometry(0.055, 0.065, high, 9), 0xf1e4c4, { at: [at[0], at[1] + high / 2, at[2]], shade: 0.2 });
  bright.add(new CylinderGeometry(0, 0.032, 0.12, 7), 0xffd27a, { at: [at[0], at[1] + high + 0.075, at[2]] }).add(ball(0.03, 6), 0xfff3d0, { at: [at[0], at[1] + high + 0.03, at[2]] });
}

/** The round table of the ball, with its stand, an open book and candles. */
function table(to: Sculpture): void {
  const [x, y, z] = BALL.at;
  const top = y - BALL.radius - 0.26;
  to.add(lathe([[0.66, 0], [0.62, 0.07], [0.26, 0.2], [0.17, 0.4], [0.22, top - 0.16], [0.94, top - 0.1], [1.0, top - 0.06], [0.98, top], [0.0, top]], 22), WOOD[0] ?? 0, { at: [x, 0, z], shade: 0.45 });
  to.add(hoop(0.97, 0.035, 4, 32), GOLD, { at: [x, top - 0.03, z], turn: [Math.PI / 2, 0, 0] });
  to.add(lathe([[0.4, 0], [0.42, 0.05], [0.26, 0.1], [0.2, 0.18], [0.3, 0.27], [0.34, 0.33]], 24), GOLD, { at: [x, top, z] });
  for (let n = 0; n < 3; n++) {
    const angle = n * 2.094 + 0.5;
    to.add(taper([[Math.sin(angle) * 0.3, top + 0.26, z + Math.cos(angle) * 0.3], [Math.sin(angle) * 0.5, top + 0.45, z + Math.cos(angle) * 0.5], [Math.sin(angle) * 0.47, top + 0.66, z + Math.cos(angle) * 0.47]], [0.05, 0.04, 0.015], 6, 6), 0xb07f26);
  }
}

function lantern(to: Sculpture, bright: Sculpture): void {
  for (const [x, y, z] of [LANTERN, [-LANTERN[0], LANTERN[1] + 0.35, LANTERN[2] - 0.4]] as [number, number, number][]) {
    to.add(taper([[x, 6.5, z], [x, y + 0.42, z]], [0.018, 0.018], 5, 2), 0x2c2419).add(new CylinderGeometry(0, 0.3, 0.26, 6), 0x3a2c18, { at: [x, y + 0.38, z], flat: true }).add(new CylinderGeometry(0.24, 0.2, 0.07, 6), 0x3a2c18, { at: [x, y - 0.28, z], flat: true });
    for (let n = 0; n < 6; n++) to.add(new BoxGeometry(0.025, 0.5, 0.025), 0x3a2c18, { at: [x + Math.sin((n / 6) * 6.283) * 0.21, y, z + Math.cos((n / 6) * 6.283) * 0.21] });
    bright.add(ball(0.15, 10), 0xffd88a, { at: [x, y, z], size: [1, 1.3, 1] });
  }
}

function telescope(to: Sculpture): void {
  to.within([2.35, 0, -4.6], 0.5);
  for (const angle of [0, 2.1, 4.2]) to.add(taper([[0, 1.5, 0], [Math.sin(angle) * 0.5, 0, Math.cos(angle) * 0.5]], [0.05, 0.04], 6, 2), DARK_WOOD);
  to.add(taper([[0.55, 1.15, 0.5], [0, 1.62, 0], [-0.62, 2.18, -0.55]], [0.09, 0.12, 0.17], 12, 6), GOLD).add(hoop(0.17, 0.035, 6, 16), 0x8a6420, { at: [-0.6, 2.16, -0.53], turn: [0.7, 0.75, 0] });
  to.within([0, 0, 0]);
}

function clutter(to: Sculpture, bright: Sculpture, random: () => number): void {
  // Books in piles, a barrel of scrolls, and the cat, who has seen it all.
  for (const [x, z, count] of [[-2.7, -4.7, 7], [-2.15, -5, 4], [4.6, -3.5, 6], [5.2, -2.6, 3]] as const) for (let n = 0; n < count; n++) to.add(new BoxGeometry(0.62 + random() * 0.14, 0.11, 0.46), LEATHER[Math.floor(random() * LEATHER.length)] ?? 0, { at: [x, 0.06 + n * 0.112, z], turn: [0, (random() - 0.5) * 0.9, 0] });
  candle(to, bright, [-2.7, 0.84, -4.7], 0.3);
  candle(to, bright, [4.6, 0.72, -3.5], 0.36);
  to.add(new CylinderGeometry(0.36, 0.3, 0.8, 12), WOOD[0] ?? 0, { at: [-3.7, 0.4, -3.9], flat: true, rough: 0.2 }).add(hoop(0.36, 0.03, 5, 20), 0x3a3630, { at: [-3.7, 0.6, -3.9], turn: [Math.PI / 2, 0, 0] });
  for (let n = 0; n < 6; n++) to.add(taper([[-3.7 + Math.sin(n) * 0.16, 0.5, -3.9 + Math.cos(n) * 0.16], [-3.7 + Math.sin(n) * 0.3, 1.15 + (n % 3) * 0.12, -3.9 + Math.cos(n) * 0.26]], [0.06, 0.06], 8, 2), n % 2 ? 0xe8d6ab : 0xd8c190);
  const [x, z] = [1.75, 3.0];
  to.within([x, 0, z], -0.5, 0.8);
  to.add(ball(0.34, 14), 0x2b2430, { at: [0, 0.22, 0], size: [1.35, 0.68, 0.95] }).add(ball(0.19, 12), 0x2b2430, { at: [0.42, 0.24, 0.14] });
  for (const side of [-1, 1]) to.add(new CylinderGeometry(0, 0.075, 0.15, 4), 0x2b2430, { at: [0.42 + side * 0.1, 0.43, 0.12] }).add(new CylinderGeometry(0, 0.04, 0.08, 4), 0xb0798a, { at: [0.42 + side * 0.1, 0.42, 0.155] }).add(taper([[0.4 + side * 0.09, 0.27, 0.32], [0.4 + side * 0.12, 0.25, 0.325]], [0.012, 0.012], 4, 2), 0xffc14d);
  to.add(taper([[-0.4, 0.12, 0], [-0.52, 0.1, 0.3], [-0.2, 0.09, 0.46], [0.2, 0.1, 0.42]], [0.08, 0.075, 0.065, 0.03], 8), 0x2b2430).add(ball(0.03, 6), 0xd98a9a, { at: [0.42, 0.22, 0.33] });
  to.within([0, 0, 0]);
}
