import type { AgentId, AgentState, JobNews } from "../tower/messages";
import type { Point } from "../tower/bubble";

export interface Scene {
  agent(agentId: AgentId, state: AgentState): void;
  pool(level: number): void;
  payment(way: "in" | "out", amountSats: number): void;
  job(state: JobNews["state"]): void;
  spoke(agentId: string): void;
  over(agentId: string): Point;
  makeRoom(widthPx: number): void;
  dispose(): void;
}

export interface Wishes {
  still: boolean;
  reduced: boolean;
  hour: number | null;
  onMove(): void;
}

export function createScene(_canvas: HTMLCanvasElement, _context: WebGL2RenderingContext, _wishes: Wishes): Scene {
  throw new Error("later");
}
