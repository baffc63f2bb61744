-- Jobs of people with a key, and what the pool does for them.
ALTER TABLE jobs ADD COLUMN pubkey TEXT;
ALTER TABLE jobs ADD COLUMN charge_msat BIGINT;                            -- what the work invoice asks for; 0: the work is free
ALTER TABLE jobs ADD COLUMN gift_tier TEXT;                                -- the tier that the decision was made for
ALTER TABLE jobs ADD COLUMN gift_day TEXT;                                 -- the UTC day whose budget it uses
ALTER TABLE jobs ADD COLUMN gift_offered_msat BIGINT NOT NULL DEFAULT 0;   -- what the pool said it would take over
ALTER TABLE jobs ADD COLUMN gift_reserved_msat BIGINT NOT NULL DEFAULT 0;  -- what it had when it came to it
ALTER TABLE jobs ADD COLUMN absorbed_msat BIGINT;                          -- what it really took over
