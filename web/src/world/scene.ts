/** The workshop as a picture. It shows what the page says in words, and the page can do without it. */

import { Color, DoubleSide, Fog, Mesh, NeutralToneMapping, PerspectiveCamera, Scene as World, Vector3, WebGLRenderer, type Object3D, type Material } from "three";
import type { AgentId, AgentState, JobNews } from "../tower/messages";
import type { Point } from "../tower/bubble";
import { makeCrystal } from "./crystal";
import { Effects, softLight } from "./effects";
import { Governor, isSoftware } from "./governor";
import { makeHelper, type Helper, type HelperId } from "./helpers";
import { Lighting } from "./lighting";
import { AMBER, clay, IDENTITY, mesh, shining } from "./palette";
import { BALL, HEARTH, makeRoom, WINDOW } from "./room";
import { makeSky } from "./sky";
import { makeWizard } from "./wizard";

export interface Scene {
  agent(agentId: AgentId, state: AgentState): void;
  pool(level: number): void;
  payment(way: "in" | "out", amountSats: number): void;
  job(state: JobNews["state"]): void;
  spoke(agentId: string): void;
  over(agentId: string): Point;
  makeRoom(widthPx: number): void;
  /** Of a still scene: go on by so many seconds, and draw that. */
  step(seconds: number): void;
  stats(): Record<string, number>;
  frames: number[];
  dispose(): void;
}

export interface Wishes {
  still: boolean; // one moment, the same each time
  reduced: boolean; // no motion: a new picture only when something has changed
  moving: boolean; // go on drawing whatever draws
  hour: number | null; // of the day, where it is not the visitor's own
  onMove(): void;
}

const STILL_SECONDS = 2.2;
const STEP_SECONDS_MAX = 0.3; // after a longer pause things go on where they were
const AWAKE_SECONDS = 3; // how long a slow machine goes on drawing after something has happened
const FOV = 40;
const HALF_WIDTH = 5.5;
const HALF_WIDTH_NARROW = 3.1;
const NARROWEST = 0.36; // of the height: any narrower, and we would stand so far off that we see where the room ends
const FRAMES_KEPT = 600;
const DOOR: [number, number, number] = [0.6, 2.6, 8.5];

interface Seat {
  wide: [number, number, number];
  narrow: [number, number, number];
  turn: number;
}

const SEATS: Record<HelperId, Seat> = {
  alpha: { wide: [-4.5, 0, -0.2], narrow: [-2.45, 0, -1], turn: 0.42 },
  beta: { wide: [-2.6, 0, 0.95], narrow: [-1.3, 0, 3.7], turn: 0.3 },
  gamma: { wide: [2.6, 0, 0.95], narrow: [1.3, 0, 3.7], turn: -0.3 },
  delta: { wide: [4.5, 0, -0.2], narrow: [2.45, 0, -1], turn: -0.42 },
};

export function createScene(canvas: HTMLCanvasElement, context: WebGL2RenderingContext, wishes: Wishes): Scene {
  return new Workshop(canvas, context, wishes);
}

class Workshop implements Scene {
  readonly frames: number[] = [];
  private readonly renderer: WebGLRenderer;
  private readonly world = new World();
  private readonly camera = new PerspectiveCamera(FOV, 1, 0.5, 60);
  private readonly wizard = makeWizard();
  private readonly helpers = new Map<HelperId, Helper>();
  private readonly crystal = makeCrystal(BALL.radius);
  private readonly sky = makeSky(WINDOW.wide, WINDOW.tall);
  private readonly glow = softLight();
  private readonly effects = new Effects(this.glow);
  private readonly lighting = new Lighting(this.glow, this.wizard.staffTip);
  private readonly governor: Governor;
  private readonly calm: boolean;
  private readonly watchers: (() => void)[] = [];
  private level = 0;
  private shownLevel = 0;
  private pulse = 0;
  private busy = 0;
  private look = 0;
  private lookAt = 0;
  private seconds = 0;
  private lastDraw = 0;
  private awakeUntil = 0;
  private isSeen = true;
  private isRunning = false;
  private isGone = false;
  private isAsked = false;
  private stepped = STILL_SECONDS;
  private roomPx = 0;
  private timmyState: AgentState = "idle";

  constructor(
    private readonly canvas: HTMLCanvasElement,
    context: WebGL2RenderingContext,
    private readonly wishes: Wishes,
  ) {
    this.renderer = new WebGLRenderer({ canvas, context, powerPreference: "low-power" });
    this.renderer.toneMapping = NeutralToneMapping;
    this.renderer.toneMappingExposure = 1.05;
    this.governor = new Governor(Math.min(2, devicePixelRatio), () => this.resize());
    this.calm = wishes.reduced || wishes.still || (isSoftware(context) && !wishes.moving);
    this.build();
    this.setHour();
    this.watch();
    this.resize();
    this.play();
  }

  // Building ---------------------------------------------------------------------------------------------------

  private build(): void {
    const { world } = this;
    world.background = new Color(0x0b0805);
    const room = makeRoom();
    const solid = mesh(room.solid, clay(0.03));
    (solid.material as Material).side = DoubleSide;
    world.add(solid, mesh(room.bright, shining()), this.wizard.group, this.crystal.mesh, this.sky.mesh, this.effects.group);
    this.wizard.group.position.set(0, 0, -0.35);
    this.crystal.mesh.position.set(...BALL.at);
    this.sky.mesh.position.set(WINDOW.at[0], WINDOW.at[1], WINDOW.at[2] - 0.02);
    for (const id of Object.keys(SEATS) as HelperId[]) {
      const helper = makeHelper(id);
      this.helpers.set(id, helper);
      world.add(helper.group);
    }
    world.add(...this.lighting.all);
  }

  private setHour(): void {
    const now = new Date();
    const light = this.sky.set(this.wishes.hour ?? now.getHours() + now.getMinutes() / 60);
    this.lighting.set(light);
    this.effects.moteColour.copy(light.colour).lerp(new Color(0xffc98a), 0.6);
  }

  private watch(): void {
    const { canvas } = this;
    const on = (target: EventTarget, name: string, listener: (event: Event) => void): void => {
      target.addEventListener(name, listener);
      this.watchers.push(() => target.removeEventListener(name, listener));
    };
    on(document, "visibilitychange", () => this.play());
    on(canvas, "webglcontextlost", (event) => {
      event.preventDefault(); // or it never comes back
      this.isRunning = false;
      this.renderer.setAnimationLoop(null);
    });
    on(canvas, "webglcontextrestored", () => this.play());
    const resized = new ResizeObserver(() => this.resize());
    resized.observe(canvas);
    const seen = new IntersectionObserver((entries) => {
      this.isSeen = entries.at(-1)?.isIntersecting ?? true;
      this.play();
    });
    seen.observe(canvas);
    const hourly = window.setInterval(() => {
      if (this.wishes.hour === null) this.setHour();
      this.touch();
    }, 60_000);
    this.watchers.push(() => resized.disconnect(), () => seen.disconnect(), () => clearInterval(hourly));
  }

  // Drawing ----------------------------------------------------------------------------------------------------

  private resize(): void {
    const { clientWidth: wide, clientHeight: tall } = this.canvas;
    if (!wide || !tall || this.isGone) return;
    this.renderer.setPixelRatio(this.governor.ratio);
    this.renderer.setSize(wide, tall, false);
    const usable = Math.min(wide, Math.max(wide - this.roomPx, tall * NARROWEST));
    const narrow = Math.min(1, Math.max(0, (1.35 - usable / tall) / 0.65));
    const half = HALF_WIDTH + (HALF_WIDTH_NARROW - HALF_WIDTH) * narrow;
    const spread = Math.tan((FOV * Math.PI) / 360);
    const away = Math.max(9.8, (half / (spread * (usable / tall))) * 0.97 + 1.2);
    this.camera.aspect = wide / tall;
    this.camera.position.set(0, 3.05 + away * 0.045 + narrow * 2.6, away + 0.8);
    this.camera.lookAt(0, 1.72 + narrow * 0.25, 0);
    // What the panel covers is no part of the picture; and the box at the bottom covers some as well.
    this.camera.setViewOffset(wide, tall, (wide - usable) / 2, tall * (0.035 + narrow * 0.075), wide, tall);
    this.world.fog = new Fog(0x0b0805, away + 3, away + 15);
    for (const [id, helper] of this.helpers) {
      const { wide: far, narrow: near, turn } = SEATS[id];
      helper.group.position.set(far[0] + (near[0] - far[0]) * narrow, 0, far[2] + (near[2] - far[2]) * narrow);
      helper.group.rotation.y = turn;
    }
    this.touch();
  }

  private readonly tick = (now: number): void => {
    if (!this.governor.admits(now)) return;
    this.governor.drawn(now);
    if (this.lastDraw) {
      this.frames.push(now - this.lastDraw);
      if (this.frames.length > FRAMES_KEPT) this.frames.shift();
    }
    const step = this.lastDraw ? Math.min(STEP_SECONDS_MAX, (now - this.lastDraw) / 1000) : 0;
    this.lastDraw = now;
    this.seconds += step;
    this.draw(step);
    if (this.calm && this.seconds > this.awakeUntil && !this.effects.isBusy) this.play();
  };

  private draw(step: number): void {
    if (this.isGone) return;
    const { wishes, effects } = this;
    const t = wishes.still ? this.stepped : this.seconds;
    const ease = (wishes.still && !step) || wishes.reduced ? 1 : Math.min(1, step * 3);
    const isBusy = this.timmyState !== "idle" || [...this.helpers.values()].some((helper) => helper.state !== "idle");
    this.busy += ((isBusy ? 1 : 0) - this.busy) * ease;
    this.shownLevel += (this.level - this.shownLevel) * ease;
    this.look += (this.lookAt - this.look) * ease;
    this.pulse = Math.max(0, this.pulse - step * 0.8);
    this.lighting.move(t, this.shownLevel, this.pulse, this.busy);
    this.wizard.move(t, this.busy, this.look);
    this.crystal.move(t, this.shownLevel, this.pulse, this.busy);
    this.sky.move(t);
    for (const [id, helper] of this.helpers) {
      helper.move(t, this.seconds);
      if (step && id === "beta" && helper.state !== "idle" && Math.sin((t + 98) * 5.2) > 0.97) effects.sparksFly([helper.group.position.x, 0.85, helper.group.position.z + 0.75], 0xffb45a, 5, 1.1, 1.3, 0.5);
    }
    if (step && Math.random() < step * 5) effects.sparksFly([HEARTH[0] + 0.4 + Math.random() * 0.3, 0.4, HEARTH[2] + 0.3], 0xff7a2a, 1, 0.16, 1.5, 1.3, true);
    effects.move(wishes.still ? this.seconds : t, step);
    this.renderer.render(this.world, this.camera);
    wishes.onMove();
  }

  /** Something has changed: a calm scene draws for a little while, a still one draws once. */
  private touch(): void {
    if (this.isGone) return;
    if (this.calm && !this.wishes.still && !this.wishes.reduced) {
      this.awakeUntil = this.seconds + AWAKE_SECONDS;
      this.play();
    }
    if (this.isRunning || this.isAsked) return;
    this.isAsked = true; // many things may change at once, and one picture shows them all
    requestAnimationFrame(() => {
      this.isAsked = false;
      if (!this.isRunning) this.draw(0);
    });
  }

  private play(): void {
    const wanted = this.isSeen && !document.hidden && !this.isGone && !this.wishes.still && !this.wishes.reduced && (!this.calm || this.seconds <= this.awakeUntil || this.effects.isBusy);
    if (wanted === this.isRunning) return;
    this.isRunning = wanted;
    this.lastDraw = 0;
    this.governor.restart();
    this.renderer.setAnimationLoop(wanted ? this.tick : null);
  }

  // What happens -------------------------------------------------------------------------------------------------

  agent(agentId: AgentId, state: AgentState): void {
    if (agentId === "timmy") this.timmyState = state;
    else {
      const helper = this.helpers.get(agentId);
      if (!helper) return;
      if (helper.state === "idle" && state !== "idle") this.begins(agentId);
      helper.state = state;
      if (state !== "idle") this.lookAt = Math.max(-0.5, Math.min(0.5, helper.group.position.x * 0.12));
      else if (![...this.helpers.values()].some((other) => other.state !== "idle")) this.lookAt = 0;
    }
    this.touch();
  }

  /** Whether time stands: then nothing may begin that would never end. */
  private get stands(): boolean {
    return this.wishes.reduced || (this.wishes.still && this.seconds === 0);
  }

  private begins(id: HelperId): void {
    const at = this.helpers.get(id)?.group.position;
    if (at && !this.stands) this.effects.thread([BALL.at[0], BALL.at[1], BALL.at[2]], [at.x, 1.2, at.z + 0.3], IDENTITY[id]);
  }

  pool(level: number): void {
    this.level = level;
    this.touch();
  }

  payment(way: "in" | "out", amountSats: number): void {
    if (this.stands) return;
    const till = this.helpers.get("delta")?.group.position ?? new Vector3();
    const chest: [number, number, number] = [till.x - 0.4, 1, till.z + 0.6];
    const count = Math.max(2, Math.min(14, Math.ceil(Math.log2(amountSats + 1) * 1.4)));
    this.touch(); // the clock of a calm scene stands until it is woken
    if (way === "out") this.effects.coinsFly(this.seconds, chest, DOOR, count);
    else this.effects.coinsFly(this.seconds, DOOR, chest, count, () => this.arrived(chest));
    this.helpers.get("delta")?.hop(this.seconds);
    this.touch();
  }

  private arrived(chest: [number, number, number]): void {
    this.pulse = 1;
    this.effects.sparksFly(chest, 0xffd27a, 16, 1.2, 1.6);
    this.effects.thread(chest, [BALL.at[0], BALL.at[1] + 0.4, BALL.at[2]], AMBER);
  }

  job(state: JobNews["state"]): void {
    if (this.stands) return;
    const of = (id: HelperId): Vector3 => this.helpers.get(id)?.group.position ?? new Vector3();
    const burst = (id: HelperId, colour: number, count: number): void => {
      this.effects.sparksFly([of(id).x, 1.7, of(id).z + 0.3], colour, count, 1.9, 2);
      this.helpers.get(id)?.hop(this.seconds);
    };
    if (state === "complete") burst("beta", IDENTITY.beta, 40);
    if (state === "rejected") burst("alpha", 0x8a7a60, 14);
    if (state === "failed") burst("beta", 0x8a5a50, 14);
    this.touch();
  }

  spoke(agentId: string): void {
    if (this.stands) return;
    if (agentId === "timmy") this.pulse = Math.max(this.pulse, 0.5);
    else if (this.helpers.has(agentId as HelperId)) this.helpers.get(agentId as HelperId)?.hop(this.seconds);
    else {
      this.pulse = Math.max(this.pulse, 0.35);
      this.helpers.get("gamma")?.hop(this.seconds);
    }
    this.touch();
  }

  over(agentId: string): Point {
    const helper = this.helpers.get(agentId as HelperId);
    const at = helper ? helper.group.position.clone() : this.wizard.group.position.clone();
    at.y = helper ? 2.55 : 4.2;
    at.project(this.camera);
    return { x: (at.x * 0.5 + 0.5) * this.canvas.clientWidth, y: (-at.y * 0.5 + 0.5) * this.canvas.clientHeight };
  }

  makeRoom(widthPx: number): void {
    this.roomPx = widthPx;
    this.resize();
  }

  step(seconds: number): void {
    this.seconds += seconds;
    this.stepped = STILL_SECONDS + this.seconds;
    this.draw(seconds);
  }

  stats(): Record<string, number> {
    const { render, memory, programs } = this.renderer.info;
    return { calls: render.calls, triangles: render.triangles, geometries: memory.geometries, textures: memory.textures, programs: programs?.length ?? 0, ratio: this.renderer.getPixelRatio(), slow: Number(this.governor.isSlow) };
  }

  dispose(): void {
    this.isGone = true;
    this.isRunning = false;
    this.renderer.setAnimationLoop(null);
    for (const forget of this.watchers) forget();
    this.world.traverse((object: Object3D) => {
      const drawn = object as Mesh;
      drawn.geometry?.dispose();
      for (const material of [drawn.material].flat()) material?.dispose();
    });
    this.effects.dispose();
    this.glow.dispose();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }
}
