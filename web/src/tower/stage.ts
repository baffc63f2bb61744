/** Between the page and the 3D scene. The scene may come later, or never; nothing here waits for it. */

import { need, isReduced } from "../page/dom";
import { without3d } from "../page/memory";
import type { Point } from "./bubble";
import type { AgentId, AgentState, JobNews } from "./messages";
import type { Panel } from "./panel";
import type { Scene } from "../world/scene";

const IDLE_PATIENCE_MS = 1_500;

export class Stage {
  onNote: (text: string) => void = () => undefined;
  onMove: () => void = () => undefined;
  private scene: Scene | null = null;
  private canvas = need<HTMLCanvasElement>("#world");
  private readonly toggle = need<HTMLButtonElement>("#scene-switch");
  private readonly states = new Map<AgentId, AgentState>();
  private level = 0;

  constructor(private readonly panel: Panel) {
    panel.onChange(() => this.scene?.makeRoom(this.room()));
    window.addEventListener("resize", () => this.scene?.makeRoom(this.room()));
    this.toggle.addEventListener("click", () => {
      const off = without3d.get() === null;
      without3d.set(off ? "off" : null);
      if (off) this.lower();
      else void this.raise();
    });
  }

  /** Starts the scene where it is wanted and possible: after the page stands, and with one context, on the real canvas. */
  async raise(): Promise<void> {
    const asked = new URLSearchParams(location.search);
    if (asked.has("no3d") || without3d.get() !== null) return this.without("off");
    await new Promise<void>((ready) => {
      // Safari has no requestIdleCallback.
      if (typeof requestIdleCallback === "function") requestIdleCallback(() => ready(), { timeout: IDLE_PATIENCE_MS });
      else setTimeout(ready, 200);
    });
    const context = this.canvas.getContext("webgl2", { antialias: devicePixelRatio < 2, alpha: false, powerPreference: "low-power" });
    if (context === null) {
      this.without("none");
      return this.onNote("This browser shows no 3D. Everything else works.");
    }
    try {
      const { createScene } = await import("../world/scene");
      this.scene = createScene(this.canvas, context, {
        still: asked.has("still"),
        reduced: isReduced(),
        moving: asked.has("moving"),
        hour: asked.has("hour") ? Number(asked.get("hour")) : null,
        onMove: () => this.onMove(),
      });
    } catch (trouble) {
      console.error(trouble);
      this.without("failed");
      return this.onNote("The 3D view could not start. Everything else works.");
    }
    (window as unknown as { __scene: Scene }).__scene = this.scene; // for tests, and for whoever is curious
    for (const [agentId, state] of this.states) this.scene.agent(agentId, state);
    this.scene.pool(this.level);
    this.scene.makeRoom(this.room());
    this.tell("ready");
  }

  agent(agentId: AgentId, state: AgentState): void {
    this.states.set(agentId, state);
    this.scene?.agent(agentId, state);
  }

  pool(level: number): void {
    this.level = level;
    this.scene?.pool(level);
  }

  payment(way: "in" | "out", amountSats: number): void {
    this.scene?.payment(way, amountSats);
    const ring = need("#ring");
    ring.classList.remove("shown");
    void ring.offsetWidth; // begins the animation anew
    ring.classList.add("shown");
  }

  job(state: JobNews["state"]): void {
    this.scene?.job(state);
  }

  spoke(agentId: string): void {
    this.scene?.spoke(agentId);
  }

  over(agentId: string): Point {
    return this.scene?.over(agentId) ?? { x: innerWidth / 2, y: innerHeight * 0.4 };
  }

  private room(): number {
    // On a phone the panel lies over everything, so there is nothing to make room for.
    return this.panel.width > innerWidth * 0.6 ? 0 : this.panel.width;
  }

  private lower(): void {
    this.scene?.dispose();
    this.scene = null;
    // A context that was given up cannot be taken again: another canvas takes its place.
    const fresh = this.canvas.cloneNode() as HTMLCanvasElement;
    this.canvas.replaceWith(fresh);
    this.canvas = fresh;
    this.without("off");
  }

  private without(why: string): void {
    this.tell(why);
  }

  private tell(world: string): void {
    document.documentElement.dataset.world = world;
    const isOn = world === "ready";
    this.toggle.textContent = isOn ? "3D is on" : "3D is off";
    this.toggle.setAttribute("aria-pressed", String(isOn));
  }
}
