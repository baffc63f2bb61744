-- The built-in wallet: a Lightning network of a few nodes inside the database. Its sats are pretend, its invoices are real BOLT11 on regtest.
CREATE TABLE builtin_nodes (
    name          TEXT PRIMARY KEY,                        -- "timmy", a "customer", and "routes", which holds what is on its way and all fees
    seed          TEXT NOT NULL,                           -- hex; the key that signs the node's invoices is derived from it
    balance_msat  BIGINT NOT NULL CHECK (balance_msat >= 0),
    settlements   BIGINT NOT NULL DEFAULT 0                -- how many of its invoices were paid: the last cursor given out
);

CREATE TABLE builtin_invoices (
    payment_hash     TEXT PRIMARY KEY,
    node             TEXT NOT NULL,                        -- the payee
    label            TEXT NOT NULL,
    preimage         TEXT NOT NULL,                        -- leaves this table only as the proof of a payment
    payment_request  TEXT NOT NULL,
    amount_msat      BIGINT CHECK (amount_msat > 0),       -- NULL: any
    created_at_ms    BIGINT NOT NULL,
    expires_at_ms    BIGINT NOT NULL,
    received_msat    BIGINT CHECK (received_msat > 0),     -- NULL: nobody paid
    cursor           BIGINT,                               -- in which order the node's invoices were paid
    CHECK ((received_msat IS NULL) = (cursor IS NULL))
);
CREATE UNIQUE INDEX builtin_invoices_paid ON builtin_invoices (node, cursor) WHERE cursor IS NOT NULL;

CREATE TABLE builtin_payments (
    payment_hash  TEXT NOT NULL,
    payer         TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('in_flight', 'succeeded', 'failed')),
    amount_msat   BIGINT NOT NULL,
    fee_msat      BIGINT NOT NULL,
    reason        TEXT,
    looks_left    BIGINT NOT NULL DEFAULT 0,               -- in flight: it ends at the so-manieth look-up
    ends_in       TEXT NOT NULL CHECK (ends_in IN ('succeeded', 'failed')),
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (payment_hash, payer),
    CHECK ((state = 'failed') = (reason IS NOT NULL))
);
