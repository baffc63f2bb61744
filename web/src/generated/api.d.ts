/* Made by scripts/web_types.py from docs/reference/openapi.json: edit neither, `./run docs` writes them. */

export interface ApiKey {
  object: "key";
  state: SessionState;
  balance_msat: number;
  held_msat: number;
  minimum_balance_msat: number;
  limits: (KeyLimit)[];
  max_msat_per_request: number | null;
  expires_at: string;
  trust_tier: string;
  /** Null for a narrowed key. */
  topup_url: string | null;
}

/** Everything about an order of a node. What does not exist, or not yet, is null. */
export interface Bootstrap {
  bootstrapJobId: string;
  state: BootstrapState;
  createdAt: string;
  completedAt: string | null;
  rehearsal: boolean;
  rehearsalNote: string | null;
  invoice: Invoice;
  /** How far it has got, for a person. */
  progress: string | null;
  /** Why it has failed or expired. */
  reason: string | null;
  /** What became of a ready machine later: the cloud has stopped it, or lost it. */
  trouble: string | null;
  address: string | null;
  tailscaleName: string | null;
  lnbitsUrl: string | null;
  sshUser: string | null;
  sshKey: SshKey;
  /** In OpenSSH's format, in one answer: see sshKey. Never in a stream of events. */
  sshPrivateKey: string | null;
  nextSteps: (string)[];
  refund: BootstrapRefund;
  refundTo: string | null;
}

export interface BootstrapCreated {
  /** Unguessable: whoever knows it may see the order, collect its key and claim its refund. */
  bootstrapJobId: string;
  state: BootstrapState;
  createdAt: string;
  /** No machine is rented: the node is only played. */
  rehearsal: boolean;
  invoice: Invoice;
  /** With it the private key can be had again for ten minutes. It is told nowhere else: keep it. */
  claimToken: string;
}

export interface BootstrapRefund {
  state: BootstrapRefundState;
  /** What an invoice for the refund must ask for. */
  owedSats: number;
  paidSats: number;
  creditMsat: number;
  destination: string | null;
  trouble: string | null;
}

export type BootstrapRefundState = "not_applicable" | "pending" | "paid";

export type BootstrapState = "awaiting_payment" | "provisioning" | "ready" | "failed" | "expired";

/** What a machine says of itself. It may say more. */
export interface CallHome {
  state: "ready";
  /** What Bitcoin Core has just answered there. */
  bitcoin: Record<string, unknown>;
  /** What LND has just answered there. */
  lnd: Record<string, unknown>;
  /** Where LNbits has just answered. */
  lnbitsUrl: string;
  /** The machine's name in the private network. */
  tailscaleName?: string | null;
}

export interface CalledHome {
  state: BootstrapState;
}

export interface Challenge {
  nonce: string;
  expiresAt: string;
}

export interface ChatMessage {
  role: "system" | "developer" | "user" | "assistant" | "tool";
  /** A text, or parts: text, and from a user image_url. */
  content?: string | (Record<string, unknown>)[] | null;
  name?: string | null;
  tool_calls?: (Record<string, unknown>)[] | null;
  tool_call_id?: string | null;
  refusal?: string | null;
  reasoning_content?: string | null;
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

export interface Completion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: (CompletionChoice)[];
  usage: CompletionUsage;
  timmy: CompletionEnding;
}

export interface CompletionChoice {
  index: number;
  message: Record<string, unknown> | null;
  logprobs: null;
  finish_reason: string | null;
}

export interface CompletionEnding {
  ending: Ending | null;
  cost_msat: number;
  balance_msat: number;
  /** Why it ended, where that is not the model's doing. */
  message?: string | null;
}

export interface CompletionUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: TokenDetails;
  /** What was charged, in US dollars at the price of the call. */
  cost: number;
  /** What was charged, exactly. */
  cost_msat: number;
  /** The provider did not count, so we did. */
  estimated: boolean;
}

export type ConditionName = "ok" | "degraded" | "down";

/** What the work really cost. actualAmountSats is never above workAmountSats; the difference is the customer's. */
export interface CostLedger {
  actualInputTokens: number;
  actualOutputTokens: number;
  totalTokens: number;
  /** The model's provider did not count, so we did. */
  usageEstimated: boolean;
  /** US dollars, as an exact decimal. */
  actualCostUsd: number;
  /** What was charged, rounded up to whole sats. */
  actualAmountSats: number;
  /** What the customer paid for the work. */
  workAmountSats: number;
  /** What goes back: claimable, on its way, or paid. */
  refundAmountSats: number;
  refundState: RefundState;
}

export interface Decay {
  afterDays: number;
  perDay: number;
  /** What absence has taken from the score so far. */
  lost: number;
  explained: string;
}

export interface Demo {
  state: "complete" | "rejected";
  request: string;
  /** The answer; null if it was rejected. */
  result: string | null;
  /** Why it was rejected. */
  reason: string | null;
  /** The answer was cut: a free one is short. */
  truncated: boolean;
  /** How many free answers your address has left until X-RateLimit-Reset. */
  left: number;
}

export interface DemoWanted {
  /** What should be done. The limit is the server's MAX_REQUEST_CHARS. */
  request: string;
}

export interface DevInvoice {
  paymentRequest: string;
}

export interface DevInvoiceWanted {
  amountSats: number;
}

export type Ending = "complete" | "budget" | "left" | "broken" | "died" | "failed";

export interface Estimate {
  /** The full price of the work. */
  estimatedSats: number;
  /** What a job's evaluation costs besides. */
  evalFeeSats: number;
  /** US dollars, as an exact decimal. */
  estimatedCostUsd: number;
  btcPriceUsd: number;
  btcPriceSource: string;
  tokenEstimate: TokenEstimate;
  pricingBreakdown: PricingBreakdown;
  identity: EstimateIdentity;
  pool: EstimatePool;
}

export interface EstimateIdentity {
  trust_tier: string;
  free_tier: FreeTier;
}

export interface EstimatePool {
  balanceSats: number;
  availableSats: number;
  /** By tier: sats that may be given to a key in a UTC day. */
  dailyBudgets: Record<string, number>;
}

export interface EstimateWanted {
  /** What should be done. */
  request: string;
  /** Another model than the server's own for work. */
  model?: string | null;
  /** Who is asking, so that the answer says what would be free for them. */
  nostr_token?: string | null;
}

/** absorbSats and chargeSats are the price together. */
export interface FreeTier {
  /** free, partial or gate: all of the work, a part of it, or nothing would be given. */
  serve: string;
  absorbSats: number;
  chargeSats: number;
  /** Why nothing would be given. */
  why: string | null;
}

export interface FreeToday {
  /** UTC. */
  day: string;
  budgetSats: number;
  leftSats: number;
}

export interface Given {
  times: number;
  givenSats: number;
}

export interface GivenToday {
  givenSats: number;
  byTier: Record<string, Given>;
}

export interface HealthReport {
  /** The worst of the parts. */
  status: ConditionName;
  version: string;
  time: string;
  parts: Record<string, PartStatus>;
  standIns: (string)[];
}

export interface HookHeard {
  heard: boolean;
}

export interface Invoice {
  /** BOLT11, to be paid. */
  paymentRequest: string;
  /** 32 bytes in lower-case hex. */
  paymentHash: string;
  amountSats: number;
  expiresAt: string;
}

/** Everything about a job. What does not exist, or not yet, is null. */
export interface Job {
  /** Unguessable: whoever knows it may see the job and claim its refund. */
  jobId: string;
  state: State;
  createdAt: string;
  trust_tier: string;
  evalInvoice: Invoice;
  request: string;
  completedAt: string | null;
  /** Its amount is pricingBreakdown.amountSats less what the pool takes over. */
  workInvoice: Invoice | null;
  pricingBreakdown: PricingBreakdown | null;
  /** Why it was rejected, has failed or has expired. */
  reason: string | null;
  /** What it waits for, when something that Timmy depends on is down. */
  waiting: string | null;
  result: string | null;
  /** The answer was cut because the payment was used up. */
  truncated: boolean;
  costLedger: CostLedger | null;
  refund: Refund;
  refundTo: string | null;
  /** The pool takes all of the work over: there is no workInvoice. */
  free_tier: boolean;
  /** What the pool took over; before the work is done, what it has offered or set aside. */
  absorbed_sats: number;
  /** What the pool had offered and could no longer give when the rest was paid: the work was done within what was paid. */
  subsidyShortfallSats: number;
}

export interface JobCreated {
  /** Unguessable: whoever knows it may see the job and claim its refund. */
  jobId: string;
  state: State;
  createdAt: string;
  trust_tier: string;
  evalInvoice: Invoice;
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

/** Whose key opens the machine. */
export type KeyKind = "ed25519" | "rsa-4096" | "own";

export interface KeyLimit {
  max_msat: number;
  left_msat: number;
}

export type KeyState = "own" | "not_yet" | "waiting" | "delivered" | "erased";

export interface L402Deposit {
  min: number;
  max: number;
}

export interface L402Discovery {
  name: string;
  version: string;
  schemes: (string)[];
  credentials: string;
  payment: Record<string, unknown>;
  depositSats: L402Deposit;
  caveats: (string)[];
  endpoints: (Record<string, unknown>)[];
  models: (Record<string, unknown>)[];
  openapi: string;
}

export interface Limits {
  messageCharsMax: number;
  repliesPerMinute: number;
}

/** What LNbits sends when an invoice was paid. Only the hash is read, and only as a reason to go and look. */
export interface LnbitsHook {
  /** Which invoice to look at. */
  payment_hash?: string;
}

export interface Login {
  /** Proof of who you are until expiresAt. A secret. */
  nostr_token: string;
  /** A Nostr public key in lower-case hex. */
  pubkey: string;
  npub: string;
  trust_tier: string;
  expiresAt: string;
}

export interface LoginEvent {
  /** A signed event as NIP-01 has it: id, pubkey, created_at, kind, tags, content, sig. */
  event: Record<string, unknown>;
  /** Hex or npub: the event must be this key's. */
  pubkey?: string | null;
}

export interface Me {
  /** A Nostr public key in lower-case hex. */
  pubkey: string;
  npub: string;
  trust_tier: string;
  score: number;
  /** The latest changes first. */
  why: (ScoreChange)[];
  decay: Decay;
  nextTier: NextTier | null;
  today: FreeToday;
  successes: number;
  setbacks: number;
  paidSats: number;
  firstSeenAt: string | null;
}

export interface Model {
  id: string;
  object: "model";
  created: number;
  owned_by: string;
  max_output_tokens: number;
  pricing: ModelPricing;
}

/** What it costs here, the margin included. A call's price is the sum of its tokens and of `request`. */
export interface ModelPricing {
  currency: "USD";
  prompt_per_million: string;
  completion_per_million: string;
  input_cache_read_per_million: string;
  request: string;
  prompt_msat_per_million: number;
  completion_msat_per_million: number;
  request_msat: number;
}

export interface Models {
  object: "list";
  data: (Model)[];
}

/** All of it may be left out. */
export interface NewBootstrap {
  /** The pair that is made for the machine. `ed25519`. */
  keyType?: "ed25519" | "rsa-4096" | null;
  /** A public key of your own, one line as in a .pub file. Then none is made, and there is nothing to hand over. */
  sshPublicKey?: string | null;
  /** A Lightning address. If there is no node, the fee is sent there without being asked for. */
  refundTo?: string | null;
}

/** Every field that is taken. Any other is a 400 that names it. */
export interface NewCompletion {
  /** One of GET /v1/models. */
  model: string;
  messages: (ChatMessage)[];
  stream?: boolean | null;
  /** include_usage: a last chunk with the usage and its cost. */
  stream_options?: Record<string, unknown> | null;
  max_tokens?: number | null;
  /** The same. Of both, the smaller counts. */
  max_completion_tokens?: number | null;
  /** Ours: the most that this call may cost, in thousandths of a sat. */
  max_cost_msat?: number | null;
  temperature?: number | null;
  top_p?: number | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  seed?: number | null;
  stop?: string | (string)[] | null;
  tools?: (Record<string, unknown>)[] | null;
  tool_choice?: string | Record<string, unknown> | null;
  parallel_tool_calls?: boolean | null;
  response_format?: Record<string, unknown> | null;
  reasoning_effort?: string | null;
  n?: 1 | null;
  /** Not passed on. */
  user?: string | null;
}

export interface NewJob {
  /** What should be done. The limit is the server's MAX_REQUEST_CHARS. */
  request: string;
  /** A Lightning address. What was paid too much is sent there without being asked for. */
  refundTo?: string | null;
  /** Whose the job is. Anything that is no valid token of ours is 401. */
  nostr_token?: string | null;
}

export interface NewSession {
  /** The deposit. The bounds are the server's SESSION_MIN_SATS and SESSION_MAX_SATS. */
  amountSats: number;
  /** Whose the session is. Anything that is no valid token of ours is 401. */
  nostr_token?: string | null;
}

export interface NextTier {
  tier: string;
  /** What it needs. */
  score: number;
  missing: number;
}

/** What the ledger says that the wallet must hold, and for whom. */
export interface NodeBooks {
  holdsMsat: number;
  jobsMsat: number;
  sessionsMsat: number;
  bootstrapMsat: number;
  owedMsat: number;
  inFlightMsat: number;
  poolMsat: number;
  unallocatedMsat: number;
  revenueMsat: number;
}

export interface NodeCheck {
  name: string;
  /** `unknown`: the backend does not tell. That is no trouble. */
  status: "ok" | "warn" | "fail" | "unknown";
  /** For a person, without secrets. */
  value: string;
  latencyMs: number | null;
  /** When this process last saw it `ok`. */
  lastGood: string | null;
  /** What to do. */
  hint: string | null;
}

export interface NodeStatus {
  at: string;
  /** The worst of the checks. */
  status: "ok" | "warn" | "fail";
  wallet: NodeWallet;
  /** Null: the database did not answer. */
  books: NodeBooks | null;
  checks: (NodeCheck)[];
}

export interface NodeWallet {
  kind: string;
  /** Null: it did not answer. */
  network: string | null;
}

/** As NIP-01 has it. */
export interface NostrEvent {
  id: string;
  /** A Nostr public key in lower-case hex. */
  pubkey: string;
  /** Seconds since 1970. */
  created_at: number;
  kind: number;
  tags: ((string)[])[];
  content: string;
  sig: string;
}

export interface NostrNames {
  names: Record<string, string>;
}

export interface OpenAIError {
  error: OpenAIErrorBody;
}

export interface OpenAIErrorBody {
  message: string;
  type: string;
  param: string | null;
  code: string;
  /** What a program needs to go on: amounts, an invoice. */
  metadata?: Record<string, unknown> | null;
}

export interface OperatorAlert {
  grave: boolean;
  words: string;
}

export interface OperatorAudit {
  /** Null: not since this process was started. */
  at: string | null;
  /** Every transfer was read, and not the balances only. */
  whole: boolean;
  holds: boolean;
  broken: (string)[];
  checks: number;
  running: boolean;
}

export interface OperatorBreaker {
  name: string;
  reason: string;
  since: string;
  /** What may move again when it is reset. */
  amountMsat: number;
}

export interface OperatorDay {
  /** Came in over Lightning, for whatever. */
  receivedMsat: number;
  /** Earned from customers. */
  paidMsat: number;
  /** Earned from the pool, which paid in customers' stead. */
  freeMsat: number;
  /** Paid by the house: what the network took for payouts. */
  absorbedMsat: number;
  /** Arrived back with customers. */
  refundedMsat: number;
  /** Of the models, before the margin; without the judging of jobs. */
  costUsd: number;
  /** UTC. */
  day: string;
}

export interface OperatorDays {
  /** The oldest first; the last is today, which is not over. */
  days: (OperatorDay)[];
}

export interface OperatorJob {
  jobId: string;
  state: string;
  createdAt: string;
  evalFeeMsat: number;
  /** The whole price of the work. */
  quotedMsat: number | null;
  /** What the customer was charged for the work. */
  paidMsat: number | null;
  absorbedByPoolMsat: number;
  /** Of the work, at the quote's price of a bitcoin. */
  realCostMsat: number | null;
  /** Below zero, the house has paid. */
  marginMsat: number | null;
}

export interface OperatorJobs {
  /** The newest first. */
  jobs: (OperatorJob)[];
}

export interface OperatorOwed {
  to: string;
  msat: number;
}

export interface OperatorPayout {
  id: string;
  subject: string;
  msat: number;
  state: "planned" | "sent" | "failed";
  tries: number;
  since: string;
  /** It does not get on by itself. */
  needsYou: boolean;
  laidAside: boolean;
  says: string;
}

export interface OperatorRefunds {
  owed: (OperatorOwed)[];
  payouts: (OperatorPayout)[];
  laidAsideMsat: number;
}

export interface OperatorStanding {
  revenueMsat: number;
  poolMsat: number;
  poolReservedMsat: number;
  /** To customers, not yet on its way. */
  owedMsat: number;
  inFlightMsat: number;
  sessionsMsat: number;
  sessionsOpen: number;
  /** Paid in for jobs, not yet earned or owed. */
  jobsMsat: number;
  /** Paid in for nodes that are being made, not yet earned or owed. */
  bootstrapMsat: number;
  unallocatedMsat: number;
}

export interface OperatorSummary {
  at: string;
  today: OperatorSums;
  last7Days: OperatorSums;
  last30Days: OperatorSums;
  btcPriceUsd: number;
  standing: OperatorStanding;
  upstreams: (OperatorUpstream)[];
  audit: OperatorAudit;
  breakers: (OperatorBreaker)[];
  alerts: (OperatorAlert)[];
  standIns: (string)[];
}

/** Money that moved in some time. The four kinds are paid by different people, and never added up. */
export interface OperatorSums {
  /** Came in over Lightning, for whatever. */
  receivedMsat: number;
  /** Earned from customers. */
  paidMsat: number;
  /** Earned from the pool, which paid in customers' stead. */
  freeMsat: number;
  /** Paid by the house: what the network took for payouts. */
  absorbedMsat: number;
  /** Arrived back with customers. */
  refundedMsat: number;
  /** Of the models, before the margin; without the judging of jobs. */
  costUsd: number;
}

export interface OperatorTask {
  id: string;
  attempts: number;
  trouble: string;
}

export interface OperatorTasks {
  parked: (OperatorTask)[];
  /** How many of each kind. */
  waiting: Record<string, number>;
}

export interface OperatorUpstream {
  name: string;
  kind: string;
  status: "ok" | "degraded" | "down";
  /** Of the last answer. */
  latencyMs: number | null;
  detail: string | null;
}

export interface Paid {
  paid: boolean;
  /** The proof of payment that L402 wants, in hex; null with a real wallet. */
  preimage: string | null;
}

export interface PartStatus {
  status: ConditionName;
  kind: string;
  detail: string | null;
  /** Not null: this is not the real thing, and what would be. */
  standIn: string | null;
}

/** Exactly one of the two. */
export type PayTo = {
  /** A BOLT11 invoice of exactly balanceSats. */
  invoice?: string | null;
  /** name@domain */
  lightningAddress?: string | null;
};

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

/** RFC 9457, for a client of the `Payment` scheme; `error` beside it is the same for one of OpenAI's API. */
export interface PaymentProblem {
  type: string;
  title: string;
  status: number;
  detail: string;
  error: OpenAIErrorBody;
}

export interface Pool {
  /** All that the pool holds. */
  balanceSats: number;
  /** What of it is not promised to work under way. */
  availableSats: number;
  reservedSats: number;
  /** What paid charges have put into it, ever. */
  earnedSats: number;
  /** What was given away, ever. */
  givenSats: number;
  /** By tier: sats that may be given to a key in a UTC day. */
  dailyBudgets: Record<string, number>;
  byTier: Record<string, Given>;
  today: GivenToday;
  whyNot: (WhyNot)[];
}

/** Why the work costs what it costs: amountSats is (1 + marginPct/100) × estimatedCostUsd at btcPriceUsd, rounded up, at least 1. It is the full price, whatever the pool takes over. */
export interface PricingBreakdown {
  /** US dollars, as an exact decimal. */
  estimatedCostUsd: number;
  /** The share of the machine, part of estimatedCostUsd. */
  infraCostUsd: number;
  marginPct: number;
  btcPriceUsd: number;
  btcPriceSource: string;
  model: string;
  estimatedInputTokens: number;
  estimatedOutputTokens: number;
  amountSats: number;
}

/** RFC 9457. `code` is for programs and stays; `error` is for people and may be reworded. Some problems have further members. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  error: string;
  instance: string;
  requestId: string;
}

export interface Refund {
  state: RefundState;
  /** What an invoice for the refund must ask for. */
  owedSats: number;
  paidSats: number;
  /** The rest below a whole sat: too small to send. */
  creditMsat: number;
  /** invoice, lightning_address or lnurl: the kind of place, never the place. */
  destination: string | null;
  /** Why the last attempt did not arrive. */
  trouble: string | null;
}

export type RefundState = "not_applicable" | "pending" | "paid";

/** Exactly one of the three. */
export type RefundTo = {
  /** A BOLT11 invoice of exactly refund.owedSats. */
  invoice?: string | null;
  /** name@domain */
  lightningAddress?: string | null;
  /** An LNURL-pay code. */
  lnurl?: string | null;
};

/** chargedMsat is what the customer and the pool have paid together, and never above reservedMsat. */
export interface RequestCost {
  evalModel: string;
  workModel: string;
  inputTokens: number;
  outputTokens: number;
  usageEstimated: boolean;
  /** US dollars, as an exact decimal. */
  actualCostUsd: number;
  marginPct: number;
  btcPriceUsd: number;
  btcPriceSource: string;
  chargedMsat: number;
  reservedMsat: number;
}

export type RequestState = "running" | "complete" | "rejected" | "failed";

export interface ScoreChange {
  /** work_paid, work_given, rejected, failed */
  why: string;
  change: number;
  /** After the change. */
  score: number;
  at: string;
}

export interface Session {
  /** Unguessable: whoever knows it may see the session and its macaroon. */
  sessionId: string;
  state: SessionState;
  createdAt: string;
  invoice: Invoice;
  trust_tier: string;
  /** Before the deposit: its invoice's. Then: the end of its time without use. */
  expiresAt: string;
  closedAt: string | null;
  balanceSats: number;
  /** What is there, the part that requests under way hold included. */
  balanceMsat: number;
  /** What requests under way hold. */
  heldMsat: number;
  /** With less the session is paused. */
  minimumBalanceSats: number;
  pendingTopup: Invoice | null;
  refund: SessionRefund;
  /** What spends from the session, once its deposit is settled. A secret. */
  macaroon: string | null;
}

export interface SessionOpened {
  /** Unguessable: whoever knows it may see the session and its macaroon. */
  sessionId: string;
  state: SessionState;
  createdAt: string;
  invoice: Invoice;
  trust_tier: string;
}

export interface SessionRefund {
  state: RefundState;
  /** Still to be claimed, or on its way. */
  owedSats: number;
  paidSats: number;
  /** invoice or lightning_address: the kind of place, never the place. */
  destination: string | null;
  /** Why the last attempt did not arrive. */
  trouble: string | null;
}

export interface SessionRequest {
  requestId: string;
  state: RequestState;
  startedAt: string;
  endedAt: string | null;
  result: string | null;
  /** The answer was cut because what was held for it was used up. */
  truncated: boolean;
  /** Why it was rejected or has failed. */
  reason: string | null;
  /** debitedMsat, rounded up. */
  debitedSats: number;
  debitedMsat: number;
  /** Whole sats that are left in the session. */
  balanceRemaining: number;
  balanceRemainingMsat: number;
  cost: RequestCost | null;
  /** The pool gave something. */
  free_tier: boolean;
  /** absorbedMsat, rounded up. */
  absorbed_sats: number;
  absorbedMsat: number;
}

export interface SessionRequestWanted {
  /** What should be done. */
  request: string;
}

export type SessionState = "awaiting_payment" | "active" | "paused" | "expired";

/** What a page needs to know before it can offer anything. */
export interface SiteFacts {
  version: string;
  /** Invoices can be paid by HTTP here: this is a server for trying things out. */
  developmentRoutes: boolean;
  /** MAX_REQUEST_CHARS */
  requestCharsMax: number;
  /** SESSION_MIN_SATS */
  sessionMinSats: number;
  /** SESSION_MAX_SATS */
  sessionMaxSats: number;
}

export interface SshKey {
  type: KeyKind;
  state: KeyState;
  publicKey: string | null;
  deliveredAt: string | null;
  /** Until then, X-Claim-Token gets it again. */
  againUntil: string | null;
  note: string;
}

export type State = "awaiting_eval_payment" | "evaluating" | "awaiting_work_payment" | "executing" | "rejected" | "complete" | "failed" | "expired";

export interface TokenDetails {
  cached_tokens: number;
}

export interface TokenEstimate {
  input: number;
  output: number;
}

export interface TopupWanted {
  /** What is to be added; within the same bounds as a deposit. */
  amountSats: number;
}

export interface WhyNot {
  code: string;
  why: string;
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

/** All of the world, as the first message of the WebSocket has it too. */
export interface WorldState {
  type: "world_state";
  /** ISO 8601 in UTC. */
  at: string;
  /** The number of the event; it grows. */
  cursor: number;
  agents: (WorldAgent)[];
  pool: Pool;
  visitors: number;
  /** Oldest first. */
  recent: (ChatNews | JobNews | PaymentNews)[];
  limits: Limits;
}
