CREATE TRIGGER grants_are_never_changed BEFORE UPDATE OR DELETE ON grants FOR EACH ROW EXECUTE FUNCTION transfers_are_final();
CREATE TRIGGER grants_are_never_truncated BEFORE TRUNCATE ON grants FOR EACH STATEMENT EXECUTE FUNCTION transfers_are_final();
