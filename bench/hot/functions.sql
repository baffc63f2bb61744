-- What pgbench calls: a reservation and its posting as functions inside PostgreSQL, with the guarantees of ledger.commit: applied once by
-- id, guarded by the balance, the resolution at most once, both written as transfers. No round trips, no Python.
CREATE FUNCTION bench_reserve(p_id TEXT, p_debit TEXT, p_credit TEXT, p_amount_msat BIGINT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    -- The insert comes first, so that the hot row is locked for as short as possible.
    INSERT INTO transfers (id, kind, debit, credit, amount_msat, code, at_ms)
    VALUES (p_id, 'reserve', p_debit, p_credit, p_amount_msat, 'work_charge', (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN TRUE; -- applied before
    END IF;
    UPDATE accounts SET reserved_msat = reserved_msat + p_amount_msat
     WHERE id = p_debit AND (guarded = 0 OR balance_msat - reserved_msat >= p_amount_msat);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'insufficient funds';
    END IF;
    RETURN TRUE;
END $$;

CREATE FUNCTION bench_post(p_reservation TEXT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
DECLARE
    held transfers%ROWTYPE;
BEGIN
    SELECT * INTO STRICT held FROM transfers WHERE id = p_reservation AND kind = 'reserve';
    INSERT INTO transfers (id, kind, debit, credit, amount_msat, code, reservation, at_ms)
    VALUES (p_reservation || '!', 'post', held.debit, held.credit, held.amount_msat, held.code, p_reservation,
            (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN TRUE;
    END IF;
    UPDATE accounts SET balance_msat = balance_msat - held.amount_msat, reserved_msat = reserved_msat - held.amount_msat WHERE id = held.debit;
    UPDATE accounts SET balance_msat = balance_msat + held.amount_msat WHERE id = held.credit;
    RETURN TRUE;
END $$;

-- Both at once, in one transaction: half the commits, and no room for any work between the two. Not what a server can do; what a rival might wish.
CREATE FUNCTION bench_pair(p_id TEXT, p_debit TEXT, p_credit TEXT, p_amount_msat BIGINT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    PERFORM bench_reserve(p_id, p_debit, p_credit, p_amount_msat);
    RETURN bench_post(p_id);
END $$;
