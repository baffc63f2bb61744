-- What the operator's desk adds up, found without reading the rest.

CREATE INDEX transfers_told ON transfers (at_ms, code, amount_msat) WHERE kind IN ('move', 'post');
CREATE INDEX transfers_strays ON transfers (at_ms) WHERE code = 'stray_payment';
CREATE INDEX jobs_created_at ON jobs (created_at_ms);
CREATE INDEX jobs_cost ON jobs (completed_at_ms, cost_nano_usd) WHERE cost_nano_usd IS NOT NULL;
CREATE INDEX session_requests_cost ON session_requests (ended_at_ms, cost_nano_usd) WHERE cost_nano_usd IS NOT NULL;

ALTER TABLE completions ADD COLUMN cost_nano_usd BIGINT;  -- before the margin; NULL: nothing was produced, or it is from before this column
CREATE INDEX completions_cost ON completions (ended_at_ms, cost_nano_usd) WHERE cost_nano_usd IS NOT NULL;
