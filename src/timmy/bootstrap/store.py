"""The bootstraps table."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from timmy.db import Row, Tx


def insert(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """INSERT INTO bootstraps (id, state, refund_to, fee_msat, invoice, cloud, key_kind, public_key, created_at_ms, moved_at_ms)
           SELECT r.id, 'awaiting_payment', r.refund_to, r.fee_msat, r.invoice, r.cloud, r.key_kind, r.public_key, r.at_ms,
                  r.at_ms
             FROM :rows(id TEXT, refund_to TEXT, fee_msat BIGINT, invoice TEXT, cloud TEXT, key_kind TEXT, public_key TEXT,
                        at_ms BIGINT) AS r""",
        rows=rows,
    )


def lock(tx: Tx, ids: Collection[str]) -> dict[str, Row]:
    """The orders, locked until commit, in one order everywhere."""
    rows = tx.all("SELECT * FROM bootstraps WHERE id IN :ids ORDER BY id FOR UPDATE", ids=sorted(ids))
    return {row["id"]: row for row in rows}


def find(tx: Tx, id: str) -> Row | None:
    return tx.one("SELECT * FROM bootstraps WHERE id = :id", id=id)


def find_all(tx: Tx, ids: Sequence[str]) -> list[Row | None]:
    """Each order in the order asked for, None where there is none."""
    found = {row["id"]: row for row in tx.all("SELECT * FROM bootstraps WHERE id IN :ids", ids=sorted(set(ids)))}
    return [found.get(id) for id in ids]


def in_state(tx: Tx, state: str) -> list[Row]:
    return tx.all("SELECT * FROM bootstraps WHERE state = :state ORDER BY id", state=state)


def others_with_key(tx: Tx, id: str, public_key: str) -> bool:
    """Whether a node is being made for somebody else with the same public key, which its customer gave."""
    sql = "SELECT id FROM bootstraps WHERE state = 'provisioning' AND public_key = :public_key AND id <> :id LIMIT 1"
    return tx.one(sql, public_key=public_key, id=id) is not None


def move(tx: Tx, id: str, from_state: str, state: str, reason: str | None, at_ms: int, completed_at_ms: int | None) -> bool:
    """The guarded move: only an order that is still in the state that was decided from."""
    return bool(
        tx.run(
            """UPDATE bootstraps SET state = :state, reason = CAST(:reason AS TEXT), moved_at_ms = :at_ms,
                      completed_at_ms = CAST(:completed_at_ms AS BIGINT)
                WHERE id = :id AND state = :from_state""",
            id=id,
            from_state=from_state,
            state=state,
            reason=reason,
            at_ms=at_ms,
            completed_at_ms=completed_at_ms,
        )
    )


NOTABLE = (
    "public_key", "sealed_key", "join_key", "sealed_join_key", "cloud_key", "volume", "machine", "address", "tailscale_name", "lnbits_url",
    "progress",
)  # fmt: skip


def note(tx: Tx, id: str, **learned: str) -> None:
    """Write down what has been learned while it is being made; what is not named stays as it is."""
    assert learned.keys() <= set(NOTABLE), learned
    tx.run(
        """UPDATE bootstraps
              SET public_key = COALESCE(CAST(:public_key AS TEXT), public_key),
                  sealed_key = COALESCE(CAST(:sealed_key AS TEXT), sealed_key),
                  join_key = COALESCE(CAST(:join_key AS TEXT), join_key),
                  sealed_join_key = COALESCE(CAST(:sealed_join_key AS TEXT), sealed_join_key),
                  cloud_key = COALESCE(CAST(:cloud_key AS TEXT), cloud_key),
                  volume = COALESCE(CAST(:volume AS TEXT), volume),
                  machine = COALESCE(CAST(:machine AS TEXT), machine),
                  address = COALESCE(CAST(:address AS TEXT), address),
                  tailscale_name = COALESCE(CAST(:tailscale_name AS TEXT), tailscale_name),
                  lnbits_url = COALESCE(CAST(:lnbits_url AS TEXT), lnbits_url),
                  progress = COALESCE(CAST(:progress AS TEXT), progress)
            WHERE id = :id AND state = 'provisioning'""",
        id=id,
        **{name: learned.get(name) for name in NOTABLE},
    )


def note_try(tx: Tx, id: str, at_ms: int | None) -> bool:
    """When a machine was asked for; None: surely nothing came of it. False: it is not being made any more."""
    return bool(
        tx.run(
            "UPDATE bootstraps SET tried_at_ms = CAST(:at_ms AS BIGINT) WHERE id = :id AND state = 'provisioning'",
            id=id,
            at_ms=at_ms,
        )
    )


def note_trouble(tx: Tx, id: str, trouble: str | None) -> bool:
    """True: that is news."""
    return bool(
        tx.run(
            """UPDATE bootstraps SET trouble = CAST(:trouble AS TEXT)
                WHERE id = :id AND state = 'ready' AND COALESCE(trouble, '') <> COALESCE(CAST(:trouble AS TEXT), '')""",
            id=id,
            trouble=trouble,
        )
    )


def note_delivered(tx: Tx, id: str, at_ms: int) -> bool:
    """True: it had not been handed over before. The one statement that decides who of many readers is the first."""
    return bool(
        tx.run(
            """UPDATE bootstraps SET delivered_at_ms = :at_ms
                WHERE id = :id AND state = 'ready' AND delivered_at_ms IS NULL AND sealed_key IS NOT NULL""",
            id=id,
            at_ms=at_ms,
        )
    )


def erase(tx: Tx, id: str, at_ms: int) -> bool:
    """What was sealed goes. Its seal has been broken for good before this: see keys.py. False: it had gone before."""
    return bool(
        tx.run(
            """UPDATE bootstraps SET sealed_key = NULL, sealed_join_key = NULL, erased_at_ms = :at_ms
                WHERE id = :id AND erased_at_ms IS NULL""",
            id=id,
            at_ms=at_ms,
        )
    )


def note_cleaned(tx: Tx, id: str, at_ms: int) -> None:
    tx.run("UPDATE bootstraps SET cleaned_at_ms = :at_ms WHERE id = :id AND cleaned_at_ms IS NULL", id=id, at_ms=at_ms)


def unfair(tx: Tx) -> list[Row]:
    """Ended orders that still hold a whole sat or a reservation, nodes whose fee was not earned or more than that, fees that were earned
    without a node: must be none."""
    return tx.all(
        """SELECT b.id FROM bootstraps AS b LEFT JOIN accounts AS a ON a.id = 'bootstrap/' || b.id
             LEFT JOIN transfers AS p ON p.id = 'bootstrap/' || b.id || '/fee!' AND p.kind = 'post'
            WHERE (b.state IN ('ready', 'failed', 'expired') AND (a.balance_msat >= 1000 OR a.reserved_msat > 0))
               OR (b.state = 'provisioning' AND (a.reserved_msat IS NULL OR a.reserved_msat <> b.fee_msat))
               OR (b.state = 'ready' AND (p.id IS NULL OR p.amount_msat <> b.fee_msat))
               OR (b.state <> 'ready' AND p.id IS NOT NULL)
            ORDER BY b.id"""
    )
