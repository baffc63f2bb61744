-- Entries are append-only: a correction is another entry, made by a named person for a reason.
CREATE TRIGGER transfers_are_never_changed BEFORE UPDATE ON transfers
BEGIN
    SELECT RAISE(ABORT, 'a transfer is never changed: post a correcting one');
END;
CREATE TRIGGER transfers_are_never_deleted BEFORE DELETE ON transfers
BEGIN
    SELECT RAISE(ABORT, 'a transfer is never deleted: post a correcting one');
END;
-- REPLACE deletes the old row without asking the trigger above.
CREATE TRIGGER transfers_are_never_replaced BEFORE INSERT ON transfers WHEN EXISTS (SELECT 1 FROM transfers WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'a transfer is never replaced: post a correcting one');
END;
