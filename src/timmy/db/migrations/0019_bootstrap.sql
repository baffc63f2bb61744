-- Nodes that were ordered. The fee is in the ledger's account bootstrap/<id>; what was made at the cloud is named here, and found there by tag.
CREATE TABLE bootstraps (
    id               TEXT PRIMARY KEY,
    state            TEXT NOT NULL CHECK (state IN ('awaiting_payment', 'provisioning', 'ready', 'failed', 'expired')),
    refund_to        TEXT,
    fee_msat         BIGINT NOT NULL CHECK (fee_msat > 0),
    invoice          TEXT NOT NULL,
    cloud            TEXT NOT NULL,           -- where it is made: fixed when it is ordered
    key_kind         TEXT NOT NULL CHECK (key_kind IN ('ed25519', 'rsa-4096', 'own')),
    public_key       TEXT,                    -- the customer's, or that of the pair we made
    sealed_key       TEXT,                    -- the private one, sealed under a key that lies in a file of its own
    join_key         TEXT,                    -- the name of the one-use key for the private network
    sealed_join_key  TEXT,
    cloud_key        TEXT,                    -- the cloud's names of what was made
    volume           TEXT,
    machine          TEXT,
    tried_at_ms      BIGINT,                  -- when a machine was last asked for: what came of it may show a while later
    address          TEXT,
    tailscale_name   TEXT,
    lnbits_url       TEXT,
    progress         TEXT,                    -- for whoever waits
    reason           TEXT,
    trouble          TEXT,                    -- what became of a ready machine later
    delivered_at_ms  BIGINT,                  -- when the private key was handed over
    erased_at_ms     BIGINT,                  -- when nobody could read it any more
    cleaned_at_ms    BIGINT,                  -- when nothing of a failed order was left at the cloud
    created_at_ms    BIGINT NOT NULL,
    moved_at_ms      BIGINT NOT NULL,         -- when it entered its state
    completed_at_ms  BIGINT,
    CHECK (erased_at_ms IS NULL OR sealed_key IS NULL),
    CHECK (delivered_at_ms IS NULL OR state = 'ready'),
    CHECK (key_kind <> 'own' OR sealed_key IS NULL)
);
CREATE INDEX bootstraps_state ON bootstraps (state);
