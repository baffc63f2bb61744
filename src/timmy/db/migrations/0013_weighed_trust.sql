-- What a key has paid, each success counted up to what makes it count whole: its score grows with this, not with the number of its jobs.
ALTER TABLE identities ADD COLUMN weighed_msat BIGINT NOT NULL DEFAULT 0;
