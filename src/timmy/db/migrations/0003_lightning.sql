-- Invoices of ours. The row is there before the wallet is asked; the hash follows.
CREATE TABLE invoices (
    id               TEXT PRIMARY KEY,
    purpose          TEXT NOT NULL,            -- who is told that it was paid
    subject          TEXT NOT NULL,            -- which job, session, node
    account          TEXT NOT NULL,            -- where the sats are credited
    amount_msat      BIGINT NOT NULL CHECK (amount_msat > 0),
    state            TEXT NOT NULL CHECK (state IN ('asked', 'open', 'lapsed', 'settled')),
    payment_hash     TEXT UNIQUE,
    payment_request  TEXT,
    created_at_ms    BIGINT NOT NULL,
    expires_at_ms    BIGINT NOT NULL,
    look_at_ms       BIGINT NOT NULL,          -- when the sweep looks at it next
    received_msat    BIGINT,
    settled_at_ms    BIGINT,
    CHECK (state = 'asked' OR payment_hash IS NOT NULL),
    CHECK ((state = 'settled') = (received_msat IS NOT NULL))
);
CREATE INDEX invoices_to_look_at ON invoices (look_at_ms) WHERE state IN ('open', 'lapsed', 'asked');
CREATE INDEX invoices_subject ON invoices (subject);

-- Payments of ours. A row is `planned`, with the sats moved out of reach, before the wallet is called.
CREATE TABLE payouts (
    id               TEXT PRIMARY KEY,
    obligation       TEXT NOT NULL,            -- the owed/… account that it pays
    subject          TEXT NOT NULL,
    payment_hash     TEXT NOT NULL UNIQUE,     -- one hash, one payout, for ever
    payment_request  TEXT NOT NULL,
    amount_msat      BIGINT NOT NULL CHECK (amount_msat > 0),
    fee_limit_msat   BIGINT NOT NULL CHECK (fee_limit_msat >= 0),
    destination      TEXT NOT NULL,            -- invoice, lightning_address, lnurl
    state            TEXT NOT NULL CHECK (state IN ('planned', 'sent', 'failed')),
    tries            INTEGER NOT NULL DEFAULT 0,
    tried_at_ms      BIGINT,
    said_failed      INTEGER NOT NULL DEFAULT 0, -- fresh look-ups in a row, after the last try, that said it failed
    fee_msat         BIGINT,
    preimage         TEXT,
    trouble          TEXT,
    planned_at_ms    BIGINT NOT NULL,
    ended_at_ms      BIGINT,
    CHECK ((state = 'planned') = (ended_at_ms IS NULL))
);
-- At most one payment on its way per obligation: the second caller of a race stops here.
CREATE UNIQUE INDEX payouts_live ON payouts (obligation) WHERE state = 'planned';
CREATE INDEX payouts_obligation ON payouts (obligation);
CREATE INDEX payouts_planned_at ON payouts (planned_at_ms);

-- What an operator, or an alarm, has switched off.
CREATE TABLE breakers (
    name    TEXT PRIMARY KEY,
    reason  TEXT NOT NULL,
    at_ms   BIGINT NOT NULL
);
