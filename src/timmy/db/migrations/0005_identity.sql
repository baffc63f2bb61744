-- Nonces that may be signed once. Deleted when used; what is left is swept when it is old.
CREATE TABLE challenges (
    nonce          TEXT PRIMARY KEY,
    expires_at_ms  BIGINT NOT NULL
);
CREATE INDEX challenges_expiry ON challenges (expires_at_ms);

-- Nostr events that were used to log in or to sign a request: an event counts once.
CREATE TABLE burned_events (
    id           TEXT PRIMARY KEY,
    until_ms     BIGINT NOT NULL
);
CREATE INDEX burned_events_until ON burned_events (until_ms);

-- What a key has earned. The score is as it was at `scored_at_ms`; the decay since then is applied whenever it is read or changed.
CREATE TABLE identities (
    pubkey         TEXT PRIMARY KEY,
    score          BIGINT NOT NULL CHECK (score >= 0),
    scored_at_ms   BIGINT NOT NULL,
    first_seen_ms  BIGINT NOT NULL,
    successes      BIGINT NOT NULL DEFAULT 0,
    setbacks       BIGINT NOT NULL DEFAULT 0,
    paid_msat      BIGINT NOT NULL DEFAULT 0
);

-- Why a score is what it is: one row for each thing that changed it, once.
CREATE TABLE score_changes (
    id       TEXT PRIMARY KEY,
    pubkey   TEXT NOT NULL,
    why      TEXT NOT NULL,
    change   BIGINT NOT NULL,
    score    BIGINT NOT NULL,
    at_ms    BIGINT NOT NULL
);
CREATE INDEX score_changes_pubkey ON score_changes (pubkey, at_ms);

-- Root keys of macaroons. The newest mints; all of them verify, until they are retired.
CREATE TABLE root_keys (
    id             BIGINT PRIMARY KEY,
    secret         TEXT NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    retired_at_ms  BIGINT
);
