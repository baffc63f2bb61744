CREATE TABLE jobs (
    id               TEXT PRIMARY KEY,
    state            TEXT NOT NULL,
    request          TEXT NOT NULL,
    refund_to        TEXT,
    eval_fee_msat    BIGINT NOT NULL,
    eval_invoice     TEXT NOT NULL,
    work_invoice     TEXT,
    quote            TEXT,                    -- JSON: the frozen price, see pricing/quote.py
    reason           TEXT,
    waiting          TEXT,
    result           TEXT,
    truncated        INTEGER NOT NULL DEFAULT 0,
    usage            TEXT,                    -- JSON: tokens of the work
    charged_msat     BIGINT,
    cost_nano_usd    BIGINT,
    created_at_ms    BIGINT NOT NULL,
    moved_at_ms      BIGINT NOT NULL,         -- when it entered its state
    completed_at_ms  BIGINT
);
