/** Timmy: a robe with stars, a crooked hat, a beard that has seen things, one hand at his staff and one over the ball. */

import { type BufferGeometry, CylinderGeometry, Group, type Mesh } from "three";
import { AMBER, chance, clay, DARK_WOOD, GOLD, HAIR, mesh, ROBE, ROBE_DARK, shining, SKIN } from "./palette";
import { ball, sheet, star, Sculpture, taper, hoop, lathe } from "./sculpture";

const OWN_LIGHT = 0.16;
const BLINK_EVERY_SECONDS = 4.3;

export interface Wizard {
  group: Group;
  /** Seconds since the beginning; how busy he is, 0 to 1; where he looks, in radians to the side. */
  move(seconds: number, busy: number, look: number): void;
  staffTip: [number, number, number];
}

const PROFILE: [number, number][] = [
  [1.16, 0], [1.12, 0.1], [0.98, 0.45], [0.8, 0.95], [0.66, 1.35], [0.6, 1.55], [0.64, 1.75], [0.66, 1.95], [0.5, 2.14], [0.26, 2.24],
];

function widthAt(height: number): number {
  const above = PROFILE.findIndex(([, y]) => y >= height);
  const [[lowWidth, low], [highWidth, high]] = [PROFILE[Math.max(0, above - 1)] ?? [1, 0], PROFILE[above] ?? [0.5, 2]];
  return lowWidth + (highWidth - lowWidth) * ((height - low) / (high - low || 1));
}

function robe(): BufferGeometry {
  const random = chance(11);
  const cloth = new Sculpture(random);
  cloth.add(lathe(PROFILE, 24), ROBE, { shade: 0.5 });
  cloth.add(hoop(1.13, 0.055, 4, 26), GOLD, { at: [0, 0.07, 0], turn: [Math.PI / 2, 0, 0] });
  cloth.add(hoop(0.61, 0.06, 5, 22), GOLD, { at: [0, 1.52, 0], turn: [Math.PI / 2, 0, 0] });
  cloth.add(taper([[0.1, 1.5, 0.6], [0.2, 1.2, 0.78], [0.16, 0.85, 0.92]], [0.05, 0.06, 0.02], 6), GOLD);
  for (let n = 0; n < 26; n++) {
    const height = 0.25 + random() * 1.15;
    const angle = (n / 26) * Math.PI * 2 + random() * 0.3;
    const out = widthAt(height) + 0.02;
    const size = 0.05 + random() * 0.06;
    cloth.add(sheet(star(5, 1, 0.42)), n % 4 ? GOLD : 0xf6e7b0, { at: [Math.sin(angle) * out, height, Math.cos(angle) * out], turn: [-0.2, angle, 0], size });
  }
  cloth.add(lathe([[0.72, 1.9], [0.74, 2.0], [0.56, 2.2], [0.34, 2.36], [0.2, 2.38]], 24), ROBE_DARK);
  cloth.add(hoop(0.72, 0.03, 4, 22), GOLD, { at: [0, 1.92, 0], turn: [Math.PI / 2, 0, 0] });
  return cloth.done();
}

function headAndHat(): BufferGeometry {
  const head = new Sculpture(chance(5));
  head.add(ball(0.44, 22), SKIN, { at: [0, 0, 0], size: [1, 1.08, 0.98], shade: 0.15 });
  head.add(ball(0.115, 12), 0xe39f7a, { at: [0, -0.06, 0.46], size: [1, 0.95, 1.15] });
  for (const side of [-1, 1]) {
    head.add(ball(0.1, 10), 0xe8a07c, { at: [side * 0.24, -0.11, 0.34], size: [1.1, 0.8, 0.5] });
    head.add(ball(0.11, 10), SKIN, { at: [side * 0.44, 0, 0], size: [0.5, 1, 0.8] });
    head.add(ball(0.098, 14), 0xfffaf0, { at: [side * 0.165, 0.075, 0.375], size: [1, 1.12, 0.62] });
    head.add(taper([[side * 0.05, 0.21, 0.45], [side * 0.18, 0.27, 0.43], [side * 0.33, 0.2, 0.32]], [0.04, 0.062, 0.02], 7), HAIR);
    // The moustache, and hair beside the ears.
    head.add(taper([[side * 0.01, -0.16, 0.56], [side * 0.16, -0.2, 0.6], [side * 0.34, -0.33, 0.56], [side * 0.47, -0.25, 0.46]], [0.07, 0.1, 0.07, 0.01], 8), HAIR);
    head.add(taper([[side * 0.4, 0.12, 0.02], [side * 0.47, -0.15, 0.03], [side * 0.42, -0.42, 0.1], [side * 0.44, -0.68, 0.12]], [0.08, 0.12, 0.1, 0.015], 8), HAIR);
  }
  // The beard: a body, and strands that end at different lengths.
  head.add(ball(0.33, 14), 0xcbc3b4, { at: [0, -0.42, 0.34], size: [1.1, 1.15, 0.95], shade: 0.12 });
  for (let n = -3; n <= 3; n++) {
    const x = n * 0.095;
    const long = 1.12 - Math.abs(n) * 0.15 + (n % 2 ? 0.06 : 0);
    const swing = n % 2 ? 0.05 : -0.05;
    head.add(taper([[x * 0.9, -0.32, 0.4], [x * 1.35, -0.56, 0.66], [x * 1.15 + swing, -0.34 - long * 0.58, 0.79], [x * 0.5 + swing * 2, -0.3 - long, 0.86]], [0.13, 0.145, 0.1, 0.008], 8), n % 2 ? 0xbdb5a6 : 0xd4ccbd);
  }
  head.add(ball(0.07, 8), 0x6b2a22, { at: [0, -0.285, 0.655], size: [1.25, 0.6, 0.4] });
  hat(head);
  return head.done();
}

function hat(head: Sculpture): void {
  head.add(lathe([[0.3, 0.3], [0.5, 0.275], [0.74, 0.24], [0.86, 0.27], [0.86, 0.285], [0.72, 0.28], [0.48, 0.33]], 32), ROBE, { turn: [-0.1, 0, 0.03] });
  head.add(taper([[0, 0.26, -0.01], [0, 0.62, -0.03], [0.05, 0.98, -0.07], [0.2, 1.27, -0.11], [0.44, 1.36, -0.1], [0.58, 1.24, -0.06]], [0.47, 0.37, 0.26, 0.17, 0.1, 0.02], 16, 15), ROBE, { shade: 0.25 });
  head.add(taper([[0, 0.3, -0.01], [0, 0.42, -0.015]], [0.475, 0.445], 24, 2), GOLD);
  head.add(ball(0.06, 10), AMBER, { at: [0.6, 1.21, -0.05] });
  for (const [x, y, z, size] of [[0.05, 0.64, 0.34, 0.1], [-0.19, 0.86, 0.18, 0.06], [0.22, 0.52, 0.35, 0.05], [-0.24, 0.55, 0.28, 0.055], [0.17, 0.98, 0.2, 0.05]] as const) {
    head.add(sheet(star(5, 1, 0.42)), 0xffd777, { at: [x, y, z + 0.03], turn: [-0.3, x * 1.6, 0.3], size: size * 1.25 });
  }
}

function pupils(): BufferGeometry {
  const eyes = new Sculpture();
  for (const side of [-1, 1]) {
    eyes.add(ball(0.05, 10), 0x5a3a12, { at: [side * 0.158, 0.07, 0.425], size: [1, 1.1, 0.45] });
    eyes.add(ball(0.028, 8), 0x140d06, { at: [side * 0.158, 0.07, 0.445], size: [1, 1.1, 0.4] });
    eyes.add(ball(0.014, 6), 0xffffff, { at: [side * 0.158 + 0.02, 0.095, 0.455] });
  }
  return eyes.done();
}

function lids(): BufferGeometry {
  const lid = new Sculpture();
  for (const side of [-1, 1]) lid.add(ball(0.104, 12, 0.5), 0xdba27b, { at: [side * 0.165, 0.075, 0.375], size: [1.02, 1.15, 0.66] });
  return lid.done();
}

function hand(arm: Sculpture, at: [number, number, number], grips: boolean, side: number): void {
  arm.add(ball(0.115, 10), SKIN, { at, size: [1, 0.75, 1.05] });
  for (let finger = 0; finger < 4; finger++) {
    const x = at[0] + (finger - 1.5) * 0.058;
    const points: [number, number, number][] = grips
      ? [[at[0] + 0.02 * side, at[1] + (finger - 1.5) * 0.05, at[2] + 0.09], [at[0] - 0.08 * side, at[1] + (finger - 1.5) * 0.05, at[2] + 0.1], [at[0] - 0.1 * side, at[1] + (finger - 1.5) * 0.05, at[2] + 0.01]]
      : [[x, at[1] + 0.01, at[2] + 0.08], [x * 1.02, at[1] + 0.02, at[2] + 0.17], [x * 1.04, at[1] - 0.06, at[2] + 0.24]];
    arm.add(taper(points, [0.036, 0.034, 0.02], 6, 5), SKIN);
  }
  arm.add(taper([[at[0] - 0.09 * side, at[1], at[2]], [at[0] - 0.16 * side, at[1] + 0.03, at[2] + 0.08]], [0.042, 0.022], 6, 3), SKIN);
}

/** The arm that waves over the ball; its shoulder is where the group stands. */
function wavingArm(): BufferGeometry {
  const arm = new Sculpture();
  arm.add(taper([[-0.08, 0.02, -0.05], [0.26, -0.14, 0.2], [0.34, -0.08, 0.55], [0.24, 0.06, 0.86]], [0.19, 0.2, 0.21, 0.28], 14), ROBE, { shade: 0.2 });
  arm.add(taper([[0.25, 0.055, 0.84], [0.235, 0.065, 0.88]], [0.285, 0.29], 14, 2), GOLD);
  arm.add(taper([[0.28, 0.0, 0.7], [0.2, 0.12, 0.98]], [0.1, 0.08], 8, 3), SKIN);
  hand(arm, [0.18, 0.15, 1.04], false, 1);
  return arm.done();
}

function staffArm(): BufferGeometry {
  const arm = new Sculpture(chance(3));
  arm.add(taper([[0.1, 0.02, -0.05], [-0.22, -0.2, 0.1], [-0.5, -0.36, 0.34], [-0.66, -0.3, 0.5]], [0.19, 0.2, 0.2, 0.26], 14), ROBE, { shade: 0.2 });
  arm.add(taper([[-0.645, -0.305, 0.485], [-0.67, -0.298, 0.51]], [0.265, 0.27], 14, 2), GOLD);
  arm.add(taper([[-0.6, -0.32, 0.44], [-0.74, -0.26, 0.58]], [0.1, 0.08], 8, 3), SKIN);
  hand(arm, [-0.79, -0.24, 0.62], true, -1);
  arm.add(taper([[-0.86, -2.0, 0.6], [-0.84, -1.0, 0.63], [-0.8, 0.2, 0.66], [-0.83, 0.72, 0.66], [-0.72, 0.98, 0.66]], [0.045, 0.055, 0.05, 0.06, 0.035], 8, 20), DARK_WOOD, { rough: 0.3 });
  // The claw that holds the crystal.
  for (const turn of [0, 2.1, 4.2]) {
    arm.add(taper([[-0.82, 0.66, 0.66], [-0.82 + Math.sin(turn) * 0.19, 0.84, 0.66 + Math.cos(turn) * 0.19], [-0.82 + Math.sin(turn) * 0.12, 1.08, 0.66 + Math.cos(turn) * 0.12]], [0.05, 0.035, 0.012], 6, 8), DARK_WOOD);
  }
  return arm.done();
}

export function makeWizard(): Wizard {
  const group = new Group();
  const cloth = clay(OWN_LIGHT);
  const body = mesh(robe(), cloth);
  const head = new Group();
  head.position.set(0, 2.68, 0.1);
  head.scale.setScalar(1.12);
  const look = mesh(pupils(), cloth);
  const closed = mesh(lids(), cloth);
  head.add(mesh(headAndHat(), cloth), look, closed);
  const wave = new Group();
  wave.position.set(0.56, 2.06, 0.12);
  wave.add(mesh(wavingArm(), cloth));
  const hold = new Group();
  hold.position.set(-0.56, 2.06, 0.12);
  const crystal: Mesh = mesh(new Sculpture().add(ball(0.14, 6), 0xffc14d, { flat: true, rough: 0.5, size: [0.8, 1.25, 0.8] }).done(), shining());
  crystal.position.set(-0.82, 0.92, 0.66);
  hold.add(mesh(staffArm(), cloth), crystal);
  group.add(body, head, wave, hold);
  const feet = mesh(new Sculpture().add(new CylinderGeometry(1.3, 1.3, 0.02, 24), 0x120b06, { at: [0, 0.015, 0] }).done(), cloth);
  group.add(feet);

  return {
    group,
    staffTip: [-1.38, 2.98, 0.78],
    move(seconds, busy, side) {
      const breath = Math.sin(seconds * 1.3);
      body.scale.set(1 + breath * 0.006, 1 + breath * 0.008, 1 + breath * 0.006);
      head.position.y = 2.68 + breath * 0.018;
      head.rotation.set(0.14 + busy * 0.08 + Math.sin(seconds * 0.7) * 0.02, side, Math.sin(seconds * 0.5) * 0.025);
      look.position.x = side * 0.05;
      look.position.y = -0.012 - busy * 0.012;
      const blink = seconds % BLINK_EVERY_SECONDS;
      closed.rotation.x = blink < 0.16 ? 0 : -1.15 + busy * 0.3;
      closed.position.set(0, blink < 0.16 ? -0.02 : 0.02, blink < 0.16 ? 0.03 : -0.02);
      const speed = 0.9 + busy * 2.4;
      wave.rotation.set(Math.sin(seconds * speed) * (0.05 + busy * 0.1), Math.cos(seconds * speed) * (0.08 + busy * 0.22) - 0.12, 0.1 + Math.sin(seconds * speed * 0.5) * 0.05);
      hold.rotation.z = Math.sin(seconds * 0.6) * 0.012;
      crystal.rotation.y = seconds * (0.4 + busy * 2);
    },
  };
}
