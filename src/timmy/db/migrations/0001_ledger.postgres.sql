-- Entries are append-only: a correction is another entry, made by a named person for a reason.
CREATE FUNCTION transfers_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a transfer is never changed or deleted: post a correcting one';
END $$;
CREATE TRIGGER transfers_are_never_changed BEFORE UPDATE OR DELETE ON transfers FOR EACH ROW EXECUTE FUNCTION transfers_are_final();
CREATE TRIGGER transfers_are_never_truncated BEFORE TRUNCATE ON transfers FOR EACH STATEMENT EXECUTE FUNCTION transfers_are_final();

-- A hot account is updated thousands of times a second: room on its page keeps each new version beside the old one.
ALTER TABLE accounts SET (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
