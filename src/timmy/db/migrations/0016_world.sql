-- How many visitors each process has in front of it. A process that died without a word is not counted for longer than its lease.
CREATE TABLE world_presence (
    process         TEXT PRIMARY KEY,
    visitors        BIGINT NOT NULL CHECK (visitors >= 0),
    lease_until_ms  BIGINT NOT NULL
);

-- What the house gives away by the piece (answers to visitors, demonstrations), counted in windows that begin with their first use.
CREATE TABLE world_uses (
    what      TEXT NOT NULL,
    who       TEXT NOT NULL,                   -- an address, or 'all'
    since_ms  BIGINT NOT NULL,
    used      BIGINT NOT NULL CHECK (used >= 0),
    PRIMARY KEY (what, who)
);
CREATE INDEX world_uses_since ON world_uses (since_ms);
