/** What the server says over the WebSocket, and what may be said to it; the shapes are the server's own. */

import type { ChatNews, JobNews, PaymentNews, PoolSaid, ServerMessage, WorldAgent } from "../generated/socket";

export type AgentId = WorldAgent["agentId"];
export type AgentState = WorldAgent["state"];
export type Recent = ChatNews | JobNews | PaymentNews;
export type PoolFigures = PoolSaid;

export type { ChatNews, ClientMessage, JobNews, PaymentNews, ServerMessage, WorldState } from "../generated/socket";

export const NAMES: Record<string, string> = { timmy: "Timmy", alpha: "Alpha", beta: "Beta", gamma: "Gamma", delta: "Delta", visitor: "a visitor" };

/** Every kind of message there is: a kind that is added on the server does not compile here until it is met. */
export function unmet(message: never): void {
  console.warn("a message of an unknown kind", (message as ServerMessage).type);
}
