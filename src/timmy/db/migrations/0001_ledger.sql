-- The books: accounts with kept balances, and the transfers that explain every one of them.
CREATE TABLE accounts (
    id             TEXT PRIMARY KEY,
    guarded        INTEGER NOT NULL,                       -- 1: may never give what it does not have
    balance_msat   BIGINT NOT NULL DEFAULT 0,              -- credits less debits
    reserved_msat  BIGINT NOT NULL DEFAULT 0,              -- sum of its open reservations
    CHECK (reserved_msat >= 0),
    CHECK (guarded = 0 OR balance_msat >= reserved_msat)   -- the last line: holds even if the code is wrong
);

CREATE TABLE transfers (
    id           TEXT PRIMARY KEY,                         -- chosen by the caller from what it is for
    kind         TEXT NOT NULL CHECK (kind IN ('move', 'reserve', 'post', 'void')),
    debit        TEXT NOT NULL,
    credit       TEXT NOT NULL,
    amount_msat  BIGINT NOT NULL CHECK (amount_msat >= 0),
    code         TEXT NOT NULL,
    reservation  TEXT,                                     -- what a post or void resolves; its id is that with a `!` behind it
    at_ms        BIGINT NOT NULL,
    CHECK (debit <> credit),
    CHECK ((reservation IS NULL) = (kind IN ('move', 'reserve'))),
    CHECK (reservation IS NULL OR id = reservation || '!') -- so that the primary key allows one resolution, ever
);
