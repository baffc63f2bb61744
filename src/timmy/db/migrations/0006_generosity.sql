-- How much allowance an identity's day has been given so far: it grows when the tier does, and is never taken back.
CREATE TABLE budgets (
    account       TEXT PRIMARY KEY,      -- allowance/<pubkey>/<day>
    granted_msat  BIGINT NOT NULL CHECK (granted_msat >= 0)
);

-- What was really given, and to whom: a row for each piece of work that the pool helped with. Never changed.
CREATE TABLE grants (
    id             TEXT PRIMARY KEY,     -- the gift's id: one gift, one grant
    subject        TEXT NOT NULL,        -- which job, which session request
    pubkey         TEXT NOT NULL,
    tier           TEXT NOT NULL,
    day            TEXT NOT NULL,
    absorbed_msat  BIGINT NOT NULL CHECK (absorbed_msat > 0),
    at_ms          BIGINT NOT NULL
);
CREATE INDEX grants_day ON grants (day, tier);
