-- Calls of the OpenAI-compatible interface, paid for from a session while they stream.
CREATE TABLE completions (
    id             TEXT PRIMARY KEY,
    session_id     TEXT NOT NULL,
    caller         TEXT NOT NULL,             -- which key of the session: a hash of its signature
    body_sha256    TEXT NOT NULL,             -- of the body as it came: an SDK's retry sends the same
    model          TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('running', 'ended')),
    ending         TEXT,                      -- why it ended, see completions/protocol.py
    quote          TEXT NOT NULL,             -- JSON: the frozen prices, see pricing/quote.py
    input_tokens   BIGINT NOT NULL,           -- our own count of the prompt
    held           TEXT NOT NULL,             -- JSON: what each step has reserved, in millisats, oldest first
    held_msat      BIGINT NOT NULL CHECK (held_msat >= 0),       -- their sum
    limits         INTEGER NOT NULL,          -- how many purses of the key hold the same
    pubkey         TEXT,
    usage          TEXT,                      -- JSON: tokens
    output         TEXT,                      -- JSON: the message and its finish_reason, kept for a day
    charged_msat   BIGINT NOT NULL DEFAULT 0,
    left_msat      BIGINT,                    -- the session's balance when it ended
    started_at_ms  BIGINT NOT NULL,
    heard_at_ms    BIGINT NOT NULL,           -- when the process that works on it was last heard of
    ended_at_ms    BIGINT,
    CHECK (charged_msat <= held_msat),
    CHECK ((state = 'running') = (ended_at_ms IS NULL)),
    CHECK ((state = 'running') = (ending IS NULL)),
    CHECK (ending <> 'failed' OR charged_msat = 0)
);
CREATE INDEX completions_running ON completions (heard_at_ms) WHERE state = 'running';
CREATE INDEX completions_asked ON completions (caller, body_sha256, started_at_ms);
CREATE INDEX completions_kept ON completions (ended_at_ms) WHERE output IS NOT NULL;

-- What a stream has handed over so far, a row for each time: the proof of what is to be charged when its server dies.
CREATE TABLE completion_pieces (
    completion_id  TEXT NOT NULL,
    place          BIGINT NOT NULL,
    deltas         TEXT NOT NULL,             -- JSON: as they were sent
    PRIMARY KEY (completion_id, place)
);
