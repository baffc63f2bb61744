CREATE TRIGGER grants_are_never_changed BEFORE UPDATE ON grants
BEGIN
    SELECT RAISE(ABORT, 'a grant is never changed');
END;
CREATE TRIGGER grants_are_never_deleted BEFORE DELETE ON grants
BEGIN
    SELECT RAISE(ABORT, 'a grant is never deleted');
END;
