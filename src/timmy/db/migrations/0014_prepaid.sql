-- Sessions that are spent from with nothing but the preimage of their deposit: the `Payment` scheme's session intent.
CREATE TABLE prepaid (
    session_id      TEXT PRIMARY KEY,
    return_invoice  TEXT,                     -- where what is left goes when it is closed; NULL: its deposit topped another one up
    joined_to       TEXT,                     -- that other one
    closed_by       TEXT,                     -- the challenge with which it was closed
    refund_sats     BIGINT,                   -- what was left then
    at_ms           BIGINT NOT NULL,
    CHECK ((return_invoice IS NULL) = (joined_to IS NOT NULL)),
    CHECK ((closed_by IS NULL) = (refund_sats IS NULL)),
    CHECK (refund_sats >= 0)
);
