/** The four helpers: an owl that reads, a golem that works, a spirit that answers the door, a toad that minds the till. */

import { BoxGeometry, type BufferGeometry, CanvasTexture, CylinderGeometry, Group, type Mesh, MeshBasicMaterial, SRGBColorSpace, Sprite, SpriteMaterial, Color } from "three";
import type { AgentId, AgentState } from "../tower/messages";
import { chance, clay, DARK_WOOD, GOLD, IDENTITY, LEATHER, mesh, WOOD } from "./palette";
import { ball, Sculpture, taper, hoop, lathe } from "./sculpture";

export type HelperId = Exclude<AgentId, "timmy">;

export interface Helper {
  group: Group;
  state: AgentState;
  /** `seconds` of the scene, and of the clock that hops go by. */
  move(seconds: number, now: number): void;
  /** A little jump: something of theirs has happened. */
  hop(seconds: number): void;
}

interface Made {
  body: BufferGeometry;
  part: BufferGeometry; // what moves by itself: a lens, a hammer, a horn, a coin
  partAt: [number, number, number];
  tall: number;
  rest(part: Mesh, seconds: number): void;
  busy(part: Mesh, seconds: number, body: Mesh): void;
  floats?: boolean;
}

const OWN_LIGHT = 0.34; // bright enough by themselves to keep their colour in lamp light
const HOP_SECONDS = 0.7;
const GLYPHS: Record<HelperId, string> = { alpha: "α", beta: "β", gamma: "γ", delta: "δ" };

function eyes(to: Sculpture, at: [number, number, number], apart: number, size: number, look = 0): void {
  for (const side of [-1, 1]) {
    to.add(ball(size, 10), 0xfffaf0, { at: [at[0] + side * apart, at[1], at[2]], size: [1, 1.1, 0.6] });
    to.add(ball(size * 0.5, 7), 0x160d05, { at: [at[0] + side * apart + look, at[1], at[2] + size * 0.48], size: [1, 1.1, 0.5] });
    to.add(ball(size * 0.17, 4), 0xffffff, { at: [at[0] + side * apart + look + size * 0.18, at[1] + size * 0.22, at[2] + size * 0.7] });
  }
}

function desk(to: Sculpture, wide: number): void {
  to.add(new BoxGeometry(wide, 0.09, 0.62), WOOD[2] ?? 0, { at: [0, 0.66, 0.72], rough: 0.25, flat: true });
  for (const side of [-1, 1]) to.add(new BoxGeometry(0.1, 0.64, 0.5), DARK_WOOD, { at: [side * (wide / 2 - 0.12), 0.32, 0.72], shade: 0.4 });
  to.add(new BoxGeometry(wide - 0.25, 0.34, 0.05), WOOD[1] ?? 0, { at: [0, 0.46, 0.98], shade: 0.4 });
}

/** A stool of books, so that small people can see over their desks. */
function books(to: Sculpture, random: () => number): void {
  for (let n = 0; n < 4; n++) to.add(new BoxGeometry(0.62 - random() * 0.1, 0.11, 0.5), LEATHER[(n * 3) % LEATHER.length] ?? 0, { at: [0, 0.06 + n * 0.115, 0], turn: [0, (random() - 0.5) * 0.5, 0] });
}

function owl(): Made {
  const c = IDENTITY.alpha;
  const body = new Sculpture(chance(21));
  desk(body, 1.35);
  books(body, chance(8));
  body.add(ball(0.44, 20), c, { at: [0, 0.98, 0], size: [1, 1.12, 0.95], shade: 0.35 });
  body.add(ball(0.34, 16), 0xffe1a0, { at: [0, 0.92, 0.17], size: [0.9, 1.05, 0.85], shade: 0.2 });
  for (let row = 0; row < 3; row++) for (let n = -1; n <= 1; n++) body.add(new CylinderGeometry(0, 0.045, 0.09, 5), 0xd98c1c, { at: [n * 0.14 + (row % 2 ? 0.07 : 0), 0.78 + row * 0.12, 0.45 - Math.abs(n) * 0.04], turn: [2.9, 0, 0] });
  for (const side of [-1, 1]) {
    body.add(taper([[side * 0.4, 1.12, 0], [side * 0.54, 0.9, 0.06], [side * 0.42, 0.62, 0.14]], [0.12, 0.16, 0.02], 8), 0xcf860f);
    body.add(new CylinderGeometry(0, 0.11, 0.32, 6), 0xcf860f, { at: [side * 0.26, 1.62, 0.02], turn: [0, 0, side * -0.42] });
    body.add(hoop(0.185, 0.028, 6, 20), GOLD, { at: [side * 0.185, 1.32, 0.335] });
  }
  body.add(ball(0.4, 18), c, { at: [0, 1.32, 0], size: [1.08, 0.88, 0.95] });
  eyes(body, [0, 1.32, 0.31], 0.185, 0.155);
  body.add(new CylinderGeometry(0, 0.07, 0.16, 5), 0x7a3d10, { at: [0, 1.2, 0.43], turn: [2.6, 0, 0] });
  body.add(new BoxGeometry(0.72, 0.03, 0.44), 0xf2e3bd, { at: [-0.12, 0.72, 0.72], turn: [0, 0.08, 0] });
  for (let n = 0; n < 5; n++) body.add(new BoxGeometry(0.5 - (n % 3) * 0.1, 0.01, 0.025), 0x6b4a22, { at: [-0.14, 0.74, 0.58 + n * 0.07], turn: [0, 0.08, 0] });
  body.add(taper([[-0.5, 0.75, 0.5], [-0.5, 0.75, 0.94]], [0.05, 0.05], 8, 2), 0xe8d3a0);
  const lens = new Sculpture();
  lens.add(hoop(0.17, 0.028, 8, 22), GOLD).add(taper([[0, -0.17, 0], [0, -0.46, 0]], [0.028, 0.04], 7, 2), DARK_WOOD).add(new CylinderGeometry(0.155, 0.155, 0.015, 20), 0xbfe3ff, { turn: [Math.PI / 2, 0, 0] });
  return {
    body: body.done(), part: lens.done(), partAt: [0.44, 1.0, 0.62], tall: 1.75,
    rest: (part) => part.rotation.set(-0.9, 0, 0.5),
    busy: (part, s) => {
      part.position.set(0.1 + Math.sin(s * 1.6) * 0.34, 1.04, 0.74 + Math.cos(s * 3.2) * 0.06);
      part.rotation.set(-0.95, 0, Math.sin(s * 1.6) * 0.2);
    },
  };
}

function golem(): Made {
  const c = IDENTITY.beta;
  const body = new Sculpture(chance(31));
  const stone = { flat: true, rough: 0.22 };
  for (const side of [-1, 1]) {
    body.add(new BoxGeometry(0.3, 0.34, 0.36), 0x2f8fc0, { at: [side * 0.23, 0.17, -0.05], ...stone });
    body.add(ball(0.17, 8), c, { at: [side * 0.52, 1.12, -0.02], ...stone });
  }
  body.add(new BoxGeometry(0.88, 0.78, 0.6), c, { at: [0, 0.74, -0.05], shade: 0.3, ...stone });
  body.add(new BoxGeometry(0.52, 0.44, 0.05), 0x9fe2ff, { at: [0, 0.82, 0.27], ...stone });
  body.add(hoop(0.13, 0.045, 6, 8), GOLD, { at: [0, 0.82, 0.31], flat: true });
  body.add(new BoxGeometry(0.56, 0.42, 0.46), c, { at: [0, 1.36, 0], ...stone });
  body.add(new BoxGeometry(0.62, 0.1, 0.52), 0x2f8fc0, { at: [0, 1.56, 0], ...stone });
  eyes(body, [0, 1.38, 0.22], 0.14, 0.1);
  body.add(new BoxGeometry(0.22, 0.04, 0.04), 0x123a50, { at: [0, 1.23, 0.24] });
  body.add(taper([[0, 1.6, 0], [0, 1.74, 0]], [0.025, 0.02], 6, 2), GOLD).add(ball(0.06, 8), 0xffe28a, { at: [0, 1.78, 0] });
  body.add(taper([[-0.52, 1.1, 0], [-0.64, 0.86, 0.12], [-0.5, 0.74, 0.42]], [0.13, 0.12, 0.15], 7), c, stone);
  // The anvil, on a block.
  body.add(new CylinderGeometry(0.3, 0.36, 0.42, 9), WOOD[1] ?? 0, { at: [0.02, 0.21, 0.78], shade: 0.4 });
  body.add(new BoxGeometry(0.24, 0.14, 0.24), 0x4b4f58, { at: [0.02, 0.48, 0.78] }).add(new BoxGeometry(0.58, 0.15, 0.3), 0x646a75, { at: [0.02, 0.62, 0.78] });
  body.add(new CylinderGeometry(0, 0.12, 0.3, 8), 0x646a75, { at: [-0.4, 0.63, 0.78], turn: [0, 0, Math.PI / 2] });
  body.add(new BoxGeometry(0.3, 0.05, 0.12), 0xff8a3c, { at: [0.04, 0.72, 0.78] });
  const hammer = new Sculpture(chance(2));
  hammer.add(taper([[0, 0, -0.1], [0.06, -0.12, 0.24], [-0.02, 0, 0.5]], [0.14, 0.12, 0.14], 7), c, stone);
  hammer.add(taper([[-0.02, -0.24, 0.52], [-0.02, 0.42, 0.52]], [0.035, 0.035], 6, 2), DARK_WOOD).add(new BoxGeometry(0.2, 0.19, 0.42), 0x8a8f99, { at: [-0.02, 0.44, 0.54], flat: true });
  return {
    body: body.done(), part: hammer.done(), partAt: [0.54, 1.1, 0], tall: 1.95,
    rest: (part) => part.rotation.set(0.25, -0.1, 0),
    busy: (part, s, all) => {
      const blow = Math.max(0, Math.sin(s * 5.2));
      part.rotation.set(-0.75 + (1 - blow) * 1.25, -0.35, 0);
      all.position.y = blow * 0.03;
    },
  };
}

function spirit(): Made {
  const c = IDENTITY.gamma;
  const body = new Sculpture(chance(41));
  body.add(lathe([[0.02, 0.1], [0.2, 0.14], [0.33, 0.3], [0.36, 0.6], [0.32, 0.95], [0.33, 1.25], [0.26, 1.5], [0.12, 1.62], [0.0, 1.64]], 20), c, { shade: 0.45 });
  for (let n = 0; n < 6; n++) {
    const angle = (n / 6) * Math.PI * 2;
    body.add(taper([[Math.sin(angle) * 0.24, 0.34, Math.cos(angle) * 0.24], [Math.sin(angle + 0.3) * 0.27, 0.14, Math.cos(angle + 0.3) * 0.27], [Math.sin(angle + 0.9) * 0.2, -0.06 - (n % 2) * 0.07, Math.cos(angle + 0.9) * 0.2]], [0.11, 0.09, 0.01], 7), 0x8b6ee0);
  }
  eyes(body, [0, 1.26, 0.27], 0.125, 0.105);
  body.add(ball(0.05, 8), 0x3a2a66, { at: [0, 1.06, 0.325], size: [1, 0.8, 0.4] });
  for (const side of [-1, 1]) body.add(ball(0.05, 8), 0xff9ec4, { at: [side * 0.2, 1.13, 0.25], size: [1, 0.6, 0.4] });
  // A herald's beret with a feather.
  body.add(ball(0.34, 16), 0x51389c, { at: [0.04, 1.6, 0], size: [1.1, 0.42, 1.05], turn: [0, 0, -0.18] });
  body.add(taper([[-0.2, 1.66, 0.05], [-0.44, 1.94, 0], [-0.64, 1.92, -0.06]], [0.05, 0.075, 0.01], 7), 0xffe3a3);
  body.add(taper([[-0.3, 0.98, 0.05], [-0.46, 0.8, 0.2], [-0.3, 0.84, 0.38]], [0.08, 0.075, 0.06], 7), c);
  // A door bell on a post, and letters.
  body.add(taper([[0.58, 0, 0.5], [0.58, 1.05, 0.5], [0.5, 1.22, 0.5], [0.36, 1.2, 0.5]], [0.04, 0.035, 0.03, 0.025], 7), DARK_WOOD);
  body.add(lathe([[0.0, 0.2], [0.06, 0.2], [0.09, 0.1], [0.15, 0]], 14), GOLD, { at: [0.36, 0.96, 0.5] });
  for (let n = 0; n < 3; n++) body.add(new BoxGeometry(0.28, 0.02, 0.2), n % 2 ? 0xf6ecd2 : 0xe6d4a8, { at: [-0.48 + n * 0.05, 0.02 + n * 0.025, 0.62], turn: [0, n * 0.7, 0] });
  const horn = new Sculpture();
  horn.add(taper([[0, 0, 0], [0.02, -0.02, 0.3], [0.02, 0.02, 0.52], [0.02, 0.04, 0.6]], [0.03, 0.045, 0.1, 0.19], 14), GOLD).add(taper([[-0.1, -0.16, -0.08], [0.06, -0.12, 0.1], [0.02, -0.03, 0.22]], [0.08, 0.075, 0.06], 7), c);
  return {
    body: body.done(), part: horn.done(), partAt: [0.14, 0.86, 0.34], tall: 2.0, floats: true,
    rest: (part) => part.rotation.set(0.65, 0.3, 0),
    busy: (part, s) => {
      part.position.y = 1.04;
      part.rotation.set(-0.12 + Math.sin(s * 9) * 0.05, 0.15, Math.sin(s * 4.5) * 0.08);
    },
  };
}

function toad(): Made {
  const c = IDENTITY.delta;
  const body = new Sculpture(chance(51));
  desk(body, 1.4);
  body.add(new CylinderGeometry(0.42, 0.48, 0.42, 14), 0x5a3a68, { at: [0, 0.21, 0], shade: 0.35 }).add(hoop(0.44, 0.04, 4, 18), GOLD, { at: [0, 0.4, 0], turn: [Math.PI / 2, 0, 0] });
  body.add(lathe([[0.0, 0], [0.46, 0.03], [0.56, 0.25], [0.5, 0.52], [0.42, 0.66], [0.46, 0.84], [0.36, 1.0], [0.0, 1.06]], 20), c, { at: [0, 0.42, 0], shade: 0.3 });
  body.add(ball(0.4, 16), 0xd9f7c2, { at: [0, 0.72, 0.22], size: [0.95, 0.8, 0.8] });
  body.add(taper([[-0.34, 1.14, 0.34], [-0.12, 1.08, 0.46], [0.12, 1.08, 0.46], [0.34, 1.14, 0.34]], [0.012, 0.03, 0.03, 0.012], 6), 0x2f6b3a);
  for (const side of [-1, 1]) {
    body.add(ball(0.17, 12), c, { at: [side * 0.23, 1.42, 0.12] });
    body.add(taper([[side * 0.46, 0.92, 0.1], [side * 0.62, 0.76, 0.34], [side * 0.42, 0.76, 0.6]], [0.11, 0.1, 0.1], 7), 0x5fbf74);
    body.add(ball(0.05, 6), 0x4fae64, { at: [side * 0.36, 1.3, -0.12] });
  }
  eyes(body, [0, 1.45, 0.21], 0.23, 0.12);
  // A top hat, as behoves a treasurer.
  body.add(new CylinderGeometry(0.3, 0.3, 0.03, 18), 0x231a14, { at: [0, 1.58, -0.05], turn: [-0.08, 0, 0] }).add(new CylinderGeometry(0.2, 0.18, 0.34, 18), 0x2e221a, { at: [0, 1.75, -0.07], turn: [-0.08, 0, 0] }).add(new CylinderGeometry(0.187, 0.185, 0.07, 18), GOLD, { at: [0, 1.62, -0.055], turn: [-0.08, 0, 0] });
  // The till: a chest that stands open, full of coins, and stacks beside it.
  body.add(new BoxGeometry(0.5, 0.24, 0.34), WOOD[0] ?? 0, { at: [-0.34, 0.83, 0.74], flat: true, rough: 0.2 }).add(new BoxGeometry(0.52, 0.05, 0.36), GOLD, { at: [-0.34, 0.93, 0.74] });
  body.add(new CylinderGeometry(0.18, 0.18, 0.5, 12, 1, false, 0, Math.PI), WOOD[2] ?? 0, { at: [-0.34, 1.02, 0.55], turn: [0.5, 0, Math.PI / 2] });
  for (let n = 0; n < 12; n++) body.add(new CylinderGeometry(0.065, 0.065, 0.025, 8), 0xffc93c, { at: [-0.5 + (n % 4) * 0.11, 0.965 + (n % 3) * 0.02, 0.66 + Math.floor(n / 4) * 0.08], turn: [(n % 3) * 0.4, n, (n % 2) * 0.5] });
  for (let stack = 0; stack < 3; stack++) for (let n = 0; n < 3 + stack; n++) body.add(new CylinderGeometry(0.075, 0.075, 0.032, 9), n % 2 ? 0xffc93c : 0xe0a020, { at: [0.14 + stack * 0.18, 0.73 + n * 0.034, 0.84 - (stack % 2) * 0.16] });
  const coin = new Sculpture().add(new CylinderGeometry(0.13, 0.13, 0.035, 20), 0xffc93c, { turn: [Math.PI / 2, 0, 0] }).add(hoop(0.125, 0.018, 6, 20), 0xfff0b0).add(new BoxGeometry(0.04, 0.12, 0.01), 0xb87a1a, { at: [0, 0, 0.022] });
  return {
    body: body.done(), part: coin.done(), partAt: [0.3, 1.02, 0.66], tall: 1.95,
    rest: (part, s) => {
      part.position.y = 1.0;
      part.rotation.y = Math.sin(s * 0.8) * 0.5;
    },
    busy: (part, s) => {
      const toss = Math.abs(Math.sin(s * 3.1));
      part.position.y = 1.0 + toss * 0.62;
      part.rotation.set(s * 11, 0, 0);
    },
  };
}

/** A tag above the head: the glyph and the name, so that nobody is told apart by colour alone. */
function tag(id: HelperId): Sprite {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [320, 96];
  const pen = canvas.getContext("2d");
  if (pen) {
    const own = `#${IDENTITY[id].toString(16).padStart(6, "0")}`;
    pen.beginPath();
    pen.roundRect(6, 6, 308, 84, 20);
    pen.fillStyle = "rgba(11,8,5,.82)";
    pen.fill();
    [pen.strokeStyle, pen.lineWidth] = [own, 4];
    pen.stroke();
    pen.textBaseline = "middle";
    pen.font = "700 54px ui-monospace, 'DejaVu Sans Mono', monospace";
    pen.fillStyle = own;
    pen.fillText(GLYPHS[id], 30, 50);
    pen.font = "600 46px ui-monospace, 'DejaVu Sans Mono', monospace";
    pen.fillStyle = "#f4e3c3";
    pen.fillText(id, 96, 50);
  }
  const map = new CanvasTexture(canvas);
  map.colorSpace = SRGBColorSpace;
  const sprite = new Sprite(new SpriteMaterial({ map, toneMapped: false, fog: false, depthWrite: false }));
  sprite.scale.set(0.92, 0.276, 1);
  sprite.renderOrder = 5;
  return sprite;
}

const MAKERS: Record<HelperId, () => Made> = { alpha: owl, beta: golem, gamma: spirit, delta: toad };

export function makeHelper(id: HelperId): Helper {
  const made = MAKERS[id]();
  const group = new Group();
  const paint = clay(OWN_LIGHT);
  const body = mesh(made.body, paint);
  const part = mesh(made.part, paint);
  part.position.set(...made.partAt);
  const ring = mesh(new Sculpture().add(hoop(0.86, 0.03, 4, 36), IDENTITY[id]).done(), new MeshBasicMaterial({ vertexColors: true, toneMapped: false, fog: false }));
  ring.position.y = 0.03;
  ring.rotation.x = Math.PI / 2;
  const name = tag(id);
  name.position.set(0, made.tall + 0.32, 0);
  group.add(body, part, ring, name);
  const bright = new Color(1, 1, 1);
  const faint = new Color(0.32, 0.32, 0.32);
  const ringPaint = ring.material as MeshBasicMaterial;
  const phase = id.charCodeAt(0);
  let hoppedAt = -10;
  const helper: Helper = {
    group,
    state: "idle",
    hop: (seconds) => (hoppedAt = seconds),
    move(seconds, now) {
      const isBusy = helper.state !== "idle";
      const s = seconds + phase;
      const hop = Math.max(0, 1 - (now - hoppedAt) / HOP_SECONDS);
      const lift = (made.floats ? 0.22 + Math.sin(s * 1.4) * 0.07 : 0) + Math.sin(hop * Math.PI) * 0.35;
      body.position.set(0, lift, 0);
      body.scale.set(1, 1 + Math.sin(s * (isBusy ? 6 : 1.7)) * (isBusy ? 0.02 : 0.008), 1);
      part.position.set(...made.partAt);
      part.rotation.set(0, 0, 0);
      if (isBusy) made.busy(part, s, body);
      else made.rest(part, s);
      part.position.y += lift;
      name.position.y = made.tall + 0.32 + (made.floats ? 0.22 : 0);
      ringPaint.color.copy(isBusy ? bright : faint);
      const swell = isBusy ? 1 + Math.sin(seconds * 5) * 0.05 : 1;
      ring.scale.set(swell, swell, 1);
    },
  };
  return helper;
}
