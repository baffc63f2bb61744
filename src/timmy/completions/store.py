"""The SQL of calls, and of what they have handed over."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from timmy.db import Answer, Row, Tx


def insert(tx: Tx, rows: Sequence[Row]) -> None:
    tx.ask(
        """INSERT INTO completions (id, session_id, caller, body_sha256, model, state, quote, input_tokens, held, held_msat, limits,
                                    pubkey, left_msat, started_at_ms, heard_at_ms)
           SELECT r.id, r.session_id, r.caller, r.body_sha256, r.model, 'running', r.quote, r.input_tokens, r.held, r.held_msat,
                  r.limits, r.pubkey, r.left_msat, r.at_ms, r.at_ms
             FROM :rows(id TEXT, session_id TEXT, caller TEXT, body_sha256 TEXT, model TEXT, quote TEXT, input_tokens BIGINT, held TEXT,
                        held_msat BIGINT, limits INTEGER, pubkey TEXT, left_msat BIGINT, at_ms BIGINT) AS r""",
        rows=rows,
    )


def find(tx: Tx, id: str) -> Row | None:
    return tx.one("SELECT * FROM completions WHERE id = :id", id=id)


def lock(tx: Tx, ids: Collection[str]) -> dict[str, Row]:
    return {row["id"]: row for row in ask_lock(tx, ids).rows}


def ask_lock(tx: Tx, ids: Collection[str]) -> Answer:
    return tx.ask("SELECT * FROM completions WHERE id IN :ids ORDER BY id FOR UPDATE", ids=sorted(ids))


def repeated(tx: Tx, rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """The latest call of each caller with each body since `since_ms` that did not fail: (caller, body) → id."""
    found = tx.all(
        """SELECT c.caller, c.body_sha256, c.id FROM :rows(caller TEXT, body_sha256 TEXT, since_ms BIGINT) AS r
             JOIN completions AS c ON c.caller = r.caller AND c.body_sha256 = r.body_sha256 AND c.started_at_ms >= r.since_ms
            WHERE c.ending IS NULL OR c.ending <> 'failed'
            ORDER BY c.started_at_ms, c.id""",
        rows=rows,
    )
    return {(row["caller"], row["body_sha256"]): row["id"] for row in found}


def extend(tx: Tx, rows: Sequence[Row]) -> int:
    """A further step was reserved. Only while it runs."""
    return tx.run(
        """UPDATE completions SET held = r.held, held_msat = r.held_msat, heard_at_ms = r.at_ms
             FROM :rows(id TEXT, held TEXT, held_msat BIGINT, at_ms BIGINT) AS r
            WHERE completions.id = r.id AND completions.state = 'running'""",
        rows=rows,
    )


def hear(tx: Tx, ids: Collection[str], at_ms: int) -> None:
    """Whoever works on them lives."""
    tx.run("UPDATE completions SET heard_at_ms = :at_ms WHERE id IN :ids AND state = 'running'", ids=sorted(ids), at_ms=at_ms)


def add_pieces(tx: Tx, rows: Sequence[Row]) -> None:
    """What was handed over. A call that has been given up meanwhile is told in full by its row already."""
    tx.run(
        """INSERT INTO completion_pieces (completion_id, place, deltas)
           SELECT r.id, r.place, r.deltas FROM :rows(id TEXT, place BIGINT, deltas TEXT) AS r
             JOIN completions AS c ON c.id = r.id AND c.state = 'running'
            WHERE TRUE
           ON CONFLICT DO NOTHING""",
        rows=rows,
    )


def pieces(tx: Tx, id: str) -> list[str]:
    rows = tx.all("SELECT deltas FROM completion_pieces WHERE completion_id = :id ORDER BY place", id=id)
    return [row["deltas"] for row in rows]


def drop_pieces(tx: Tx, ids: Collection[str]) -> None:
    tx.ask("DELETE FROM completion_pieces WHERE completion_id IN :ids", ids=sorted(ids))


def end(tx: Tx, rows: Sequence[Row]) -> Answer:
    """The guarded end: only calls that still run. Without the last line, one that was given up while its server was paused would be
    charged a second time when the server comes back."""
    return tx.ask(
        """UPDATE completions
              SET state = 'ended', ending = r.ending, usage = r.usage, output = r.output, charged_msat = r.charged_msat,
                  cost_nano_usd = r.cost_nano_usd, left_msat = r.left_msat, ended_at_ms = r.at_ms
             FROM :rows(id TEXT, ending TEXT, usage TEXT, output TEXT, charged_msat BIGINT, cost_nano_usd BIGINT, left_msat BIGINT,
                        at_ms BIGINT) AS r
            WHERE completions.id = r.id AND completions.state = 'running'""",
        rows=rows,
    )


def unheard(tx: Tx, before_ms: int, limit: int) -> list[str]:
    rows = tx.all(
        "SELECT id FROM completions WHERE state = 'running' AND heard_at_ms < :before_ms ORDER BY heard_at_ms LIMIT :limit",
        before_ms=before_ms,
        limit=limit,
    )
    return [row["id"] for row in rows]


def forget_outputs(tx: Tx, before_ms: int) -> None:
    """A day after its end, an answer is nobody's business any more."""
    tx.run("UPDATE completions SET output = NULL WHERE output IS NOT NULL AND ended_at_ms < :before_ms", before_ms=before_ms)
    # On PostgreSQL, a piece that was handed over in the moment in which the sweep ended its call is written after the others were dropped.
    tx.run(
        """DELETE FROM completion_pieces
            WHERE EXISTS (SELECT 1 FROM completions AS c WHERE c.id = completion_pieces.completion_id AND c.ended_at_ms < :before_ms)""",
        before_ms=before_ms,
    )


# what must be none -----------------------------------------------------------------------------------


def held_for_nobody(tx: Tx) -> list[Row]:
    """Open reservations of calls that have ended or never were; running calls whose open reservations are not what they say."""
    return tx.all(
        """SELECT t.id FROM transfers AS t
             LEFT JOIN completions AS c ON c.state = 'running' AND c.id = SUBSTR(t.id, LENGTH('completion/') + 1, 35)
            WHERE t.kind = 'reserve' AND t.id LIKE 'completion/%' AND c.id IS NULL
              AND NOT EXISTS (SELECT 1 FROM transfers AS x WHERE x.id = t.id || '!')
           UNION ALL
           SELECT c.id FROM completions AS c
             LEFT JOIN (SELECT RTRIM(t.id, '0123456789') AS owner, SUM(t.amount_msat) AS amount_msat FROM transfers AS t
                         WHERE t.kind = 'reserve' AND t.id LIKE 'completion/%/step/%'
                           AND NOT EXISTS (SELECT 1 FROM transfers AS x WHERE x.id = t.id || '!')
                         GROUP BY RTRIM(t.id, '0123456789')) AS h ON h.owner = 'completion/' || c.id || '/step/'
            WHERE c.state = 'running' AND COALESCE(h.amount_msat, 0) <> c.held_msat"""
    )


def miscounted(tx: Tx) -> list[Row]:
    """Ended calls whose charge is not what was posted for them, or was not posted as often to the purses of their keys."""
    return tx.all(
        """SELECT c.id FROM completions AS c
             LEFT JOIN (SELECT RTRIM(p.reservation, '0123456789') AS owner, SUM(p.amount_msat) AS amount_msat FROM transfers AS p
                         WHERE p.reservation LIKE 'completion/%/step/%'
                         GROUP BY RTRIM(p.reservation, '0123456789')) AS u ON u.owner = 'completion/' || c.id || '/step/'
             LEFT JOIN (SELECT RTRIM(q.reservation, '0123456789-') AS owner, SUM(q.amount_msat) AS amount_msat FROM transfers AS q
                         WHERE q.reservation LIKE 'completion/%/limit/%'
                         GROUP BY RTRIM(q.reservation, '0123456789-')) AS l
               ON l.owner = 'completion/' || c.id || '/limit/'
            WHERE c.state = 'ended'
              AND (COALESCE(u.amount_msat, 0) <> c.charged_msat OR COALESCE(l.amount_msat, 0) <> c.charged_msat * c.limits)"""
    )
