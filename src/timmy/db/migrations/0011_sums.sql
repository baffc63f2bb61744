-- Sums that are asked for often read an index and not the whole history: what left in the last hours (asked while the hottest account is
-- locked), the fees that a wallet has not told, and what went into the pool and out of it.
CREATE INDEX payouts_tried_at ON payouts (tried_at_ms, state, amount_msat, id) WHERE tried_at_ms IS NOT NULL;
CREATE INDEX payouts_fee_not_told ON payouts (fee_limit_msat) WHERE state = 'sent' AND fee_msat IS NULL;
CREATE INDEX transfers_pool_credit ON transfers (amount_msat) WHERE code = 'pool_credit' AND kind = 'move';
DROP INDEX grants_day;
CREATE INDEX grants_day ON grants (day, tier, absorbed_msat);

ALTER TABLE payouts ADD COLUMN place TEXT;     -- SHA-256 of the address that it goes to; NULL: an invoice that was given as such
ALTER TABLE payouts ADD COLUMN approved TEXT;  -- who let it exceed the limits, and why; NULL: nobody

-- Old keys are found to be removed.
CREATE INDEX idempotency_created_at ON idempotency (created_at_ms);
