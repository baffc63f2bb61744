-- Prefunded work. There are no balances here: a session's balance is the ledger's account session/<id>.
CREATE TABLE sessions (
    id               TEXT PRIMARY KEY,
    pubkey           TEXT,                    -- whose it is, where it is somebody's
    identifier       TEXT NOT NULL UNIQUE,    -- hex of the macaroon's; the macaroon itself is never stored
    deposit_invoice  TEXT NOT NULL,
    topup_invoice    TEXT,                    -- the one that is waiting to be paid
    created_at_ms    BIGINT NOT NULL,
    opened_at_ms     BIGINT,                  -- when the deposit arrived
    used_at_ms       BIGINT,                  -- the last request or payment: the time to live begins here
    closed_at_ms     BIGINT,
    CHECK ((opened_at_ms IS NULL) = (used_at_ms IS NULL)),
    CHECK (closed_at_ms IS NULL OR opened_at_ms IS NOT NULL)
);

CREATE TABLE session_requests (
    id             TEXT PRIMARY KEY,
    session_id     TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('running', 'complete', 'rejected', 'failed')),
    request        TEXT NOT NULL,
    held_msat      BIGINT NOT NULL CHECK (held_msat >= 0),       -- reserved from the session
    gift_msat      BIGINT NOT NULL CHECK (gift_msat >= 0),       -- reserved from the pool
    limits         INTEGER NOT NULL,                             -- how many purses of the key hold held_msat too
    pubkey         TEXT,
    tier           TEXT NOT NULL,
    day            TEXT NOT NULL,             -- of the gift (UTC): fixed when it was reserved
    eval_quote     TEXT NOT NULL,             -- JSON: the frozen prices, see pricing/quote.py
    work_quote     TEXT NOT NULL,
    result         TEXT,
    truncated      INTEGER NOT NULL DEFAULT 0,
    reason         TEXT,
    eval_usage     TEXT,                      -- JSON: tokens
    work_usage     TEXT,
    cost_nano_usd  BIGINT,
    debited_msat   BIGINT NOT NULL DEFAULT 0,
    absorbed_msat  BIGINT NOT NULL DEFAULT 0,
    left_msat      BIGINT,                    -- the session's balance when the request ended, for the answer's sake
    started_at_ms  BIGINT NOT NULL,
    heard_at_ms    BIGINT NOT NULL,           -- when whoever works on it was last heard of
    ended_at_ms    BIGINT,
    CHECK (debited_msat <= held_msat),
    CHECK (absorbed_msat <= gift_msat),
    CHECK ((state = 'running') = (ended_at_ms IS NULL)),
    CHECK (state <> 'failed' OR (debited_msat = 0 AND absorbed_msat = 0)),
    CHECK ((state = 'complete') = (result IS NOT NULL))
);
CREATE INDEX session_requests_running ON session_requests (session_id) WHERE state = 'running';
CREATE INDEX session_requests_session ON session_requests (session_id, started_at_ms);
