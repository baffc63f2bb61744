-- What is to be done: written before it is tried, deleted in the transaction that records its outcome.
CREATE TABLE tasks (
    id              TEXT PRIMARY KEY,          -- kind/subject: asking for the same work twice is asking once
    kind            TEXT NOT NULL,
    subject         TEXT NOT NULL,
    run_at_ms       BIGINT NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    failures        INTEGER NOT NULL DEFAULT 0, -- attempts that ended in a handler's bug; the others only wait for an answer
    lease_until_ms  BIGINT NOT NULL DEFAULT 0,
    fence           BIGINT NOT NULL DEFAULT 0, -- grows with every claim: a paused worker's write finds it changed
    trouble         TEXT,                      -- why the last attempt did not succeed
    parked          INTEGER NOT NULL DEFAULT 0 -- 1: waits for the operator
);
CREATE INDEX tasks_due ON tasks (run_at_ms) WHERE parked = 0;

-- What happened. `seq` comes from a row that is locked until commit, so a reader's cursor never passes an event that is still to appear.
CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO counters (name, value) VALUES ('events', 0);
CREATE TABLE events (
    seq      BIGINT PRIMARY KEY,
    at_ms    BIGINT NOT NULL,
    subject  TEXT NOT NULL,
    kind     TEXT NOT NULL,
    body     TEXT NOT NULL
);
CREATE INDEX events_subject ON events (subject, seq);

-- Which answer an Idempotency-Key already has.
CREATE TABLE idempotency (
    scope          TEXT NOT NULL,
    key            TEXT NOT NULL,
    body_sha256    TEXT NOT NULL,
    subject        TEXT NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
