/* Made by scripts/web_types.py from docs/reference/websocket.json: edit neither, `./run docs` writes them. */

export interface AgentNews {
  type: "agent_state";
  agentId: "timmy" | "alpha" | "beta" | "gamma" | "delta";
  state: "idle" | "evaluating" | "working" | "processing";
  doing: string;
  /** ISO 8601 in UTC. */
  at: string;
}

export interface ChatNews {
  type: "chat";
  agentId: "timmy" | "visitor" | "alpha" | "beta" | "gamma" | "delta";
  /** Plain text on one line. */
  text: string;
  /** Only to whoever said it. */
  mine?: true;
  /** Absent where the words are for one visitor only, and not kept. */
  cursor?: number;
  /** ISO 8601 in UTC. */
  at: string;
}

export type ClientMessage = VisitorMessage | Ping;

/** To one visitor: what was wrong with what they sent, and what to do. */
export interface ErrorNews {
  type: "error";
  code: "binary" | "not_json" | "type_unknown" | "text_missing" | "message_empty" | "message_too_long" | "too_many_messages" | "too_busy" | "not_said";
  error: string;
  /** ISO 8601 in UTC. */
  at: string;
}

export interface JobNews {
  type: "job";
  state: "awaiting_eval_payment" | "evaluating" | "rejected" | "awaiting_work_payment" | "executing" | "complete" | "failed" | "expired";
  /** The same for the same piece of work; it leads to no id. */
  ref: string;
  /** What it was charged, where it was paid from a balance. */
  amountSats?: number;
  /** The number of the event; it grows. */
  cursor: number;
  /** ISO 8601 in UTC. */
  at: string;
}

export interface Limits {
  messageCharsMax: number;
  repliesPerMinute: number;
}

export interface PaymentNews {
  type: "payment";
  /** `refund` went out; all others came in. */
  purpose: "eval" | "work" | "session" | "topup" | "call" | "node" | "refund";
  amountSats: number;
  /** The number of the event; it grows. */
  cursor: number;
  /** ISO 8601 in UTC. */
  at: string;
}

export interface Ping {
  type: "ping";
}

export interface Pong {
  type: "pong";
  /** ISO 8601 in UTC. */
  at: string;
}

export interface PoolNews {
  balanceSats: number;
  reservedSats: number;
  earnedSats: number;
  givenSats: number;
  type: "pool";
  /** ISO 8601 in UTC. */
  at: string;
}

export interface PoolSaid {
  balanceSats: number;
  reservedSats: number;
  earnedSats: number;
  givenSats: number;
}

export type ServerMessage = WorldState | AgentNews | ChatNews | JobNews | PaymentNews | PoolNews | VisitorsNews | ErrorNews | Pong;

export interface VisitorMessage {
  type: "visitor_message";
  text: string;
}

export interface VisitorsNews {
  type: "visitors";
  /** In front of all processes together. */
  count: number;
  /** ISO 8601 in UTC. */
  at: string;
}

export interface WorldAgent {
  agentId: "timmy" | "alpha" | "beta" | "gamma" | "delta";
  name: string;
  /** alpha evaluates, delta processes, the others work; or it is idle, and `doing` says why. */
  state: "idle" | "evaluating" | "working" | "processing";
  /** A few words for a person. */
  doing: string;
  since: string;
}

/** The first message, and what `GET /api/world/state` answers. */
export interface WorldState {
  type: "world_state";
  /** ISO 8601 in UTC. */
  at: string;
  /** The number of the event; it grows. */
  cursor: number;
  agents: (WorldAgent)[];
  /** All of what GET /api/pool answers. */
  pool: PoolSaid;
  visitors: number;
  /** Oldest first. */
  recent: (ChatNews | JobNews | PaymentNews)[];
  limits: Limits;
}
