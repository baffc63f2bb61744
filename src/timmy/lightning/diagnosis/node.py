"""The rows about the node: whether it answers, and what it says of itself."""

from __future__ import annotations

import re

from timmy.clock import SECOND_MS
from timmy.lightning.diagnosis.rows import Row, Situation, Word, ago
from timmy.lightning.wallets.facts import NodeFacts
from timmy.lightning.wallets.lnd_macaroon import COMMAND

SLOW_MS = 2_000
BEHIND_WARN, BEHIND_FAIL = 2, 6  # blocks; one may have been found a moment ago
SKEW_WARN_MS, SKEW_FAIL_MS = 30 * SECOND_MS, 300 * SECOND_MS
DAY_MS = 86_400 * SECOND_MS
CERTIFICATE_WARN_MS = 14 * DAY_MS
EXCESS_SHOWN = 4

# What an adapter was written for, and is tested with. Older ones may answer differently, and about payments, too.
OLDEST: dict[str, tuple[int, int]] = {"Electrum": (4, 8), "LNbits": (1, 0), "LND": (0, 17)}
VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?!\d)")

TO_REACH = {
    "builtin": "It lives in this server's database: see that that answers.",
    "lnbits": "See that LNbits runs and that this machine reaches it: curl -i LNBITS_URL/api/v1/health. Then, that LNBITS_API_KEY is the "
    "wallet's admin key.",
    "electrum": "See that the daemon runs and has its wallet open: electrum getinfo; electrum list_wallets; electrum load_wallet. "
    "Then, that ELECTRUM_URL has its rpcuser, rpcpassword and rpcport.",
    "lnd": "See that LND runs and its wallet is unlocked: lncli state; lncli unlock. Then, that LND_URL is its restlisten, LND_CERT "
    "its tls.cert and LND_MACAROON a macaroon of this node.",
    "nwc": "See that the wallet's app is running, that it still lists this connection, and that this machine reaches the relay in NWC_URI.",
}
TO_SEE_MORE = {
    "lnbits": "LNbits tells more of the node behind it when its node page and public node page are switched on (Settings, Node), where it "
    "can manage that node; else look at the node itself.",
    "nwc": "The protocol has no word for it: look in the wallet's app.",
    "builtin": "The built-in wallet is a stand-in and has none. Set WALLET to earn.",
}

TO_RENEW = {
    "any": "Renew it where TLS ends (certbot renew, or the proxy's own way), and load it there (systemctl reload nginx).",
    "lnd": "LND makes a new one when it starts without tls.cert and tls.key: move both away, restart it, and copy the new tls.cert to "
    "LND_CERT. A certificate of your own you renew where TLS ends (certbot renew).",
}


def reach_hint(kind: str) -> str:
    return TO_REACH.get(kind, "See that it runs, and that this machine reaches it.")


def more_hint(kind: str) -> str | None:
    return TO_SEE_MORE.get(kind)


def wallet(here: Situation) -> Row:
    asked = here.asked
    if asked.down is not None:
        return Row("wallet", Word.FAIL, asked.down, reach_hint(asked.kind), asked.latency_ms)
    value = f"{asked.kind} answers" + (f", on {asked.network}" if asked.network else "")
    if asked.latency_ms is not None and asked.latency_ms > SLOW_MS:
        hint = "Every invoice waits for it. See what else its machine does: top; df -h; iostat 5."
        return Row("wallet", Word.WARN, f"{value}, slowly", hint, asked.latency_ms)
    if excess := _facts(here).key_excess:
        shown = ", ".join([*excess[:EXCESS_SHOWN], *(["…"] if excess[EXCESS_SHOWN:] else [])])
        hint = f"Whoever takes it can do that, too. Make a smaller one: {COMMAND}"
        return Row("wallet", Word.WARN, f"{value}; its key can do more than is needed: {shown}", hint, asked.latency_ms)
    return Row("wallet", Word.OK, value, None, asked.latency_ms)


def node(here: Situation) -> Row:
    asked, facts = here.asked, here.asked.facts
    if facts is None:
        word = Word.UNKNOWN if asked.untold is None else Word.WARN
        hint = None if asked.untold is None else reach_hint(asked.kind)
        return Row("node", word, asked.untold or "this wallet tells nothing of its node", hint, asked.facts_latency_ms)
    name = facts.software or asked.kind
    value = f"{name}, called {facts.alias}" if facts.alias else name
    if facts.nonsense:
        hint = f"See that it is really {name} that answers there, and update it."
        return Row("node", Word.WARN, f"{value}; makes no sense: {', '.join(facts.nonsense)}", hint, asked.facts_latency_ms)
    return Row("node", Word.OK, value, None, asked.facts_latency_ms)


def version(here: Situation) -> Row:
    facts = _facts(here)
    if facts.version is None:
        hint = "LNbits tells it to whoever is signed in, not to a wallet's key: look there." if here.asked.kind == "lnbits" else None
        return Row("version", Word.UNKNOWN, "not told", hint)
    oldest, found = OLDEST.get(facts.software or ""), VERSION.match(facts.version)
    value = f"{facts.software or here.asked.kind} {facts.version}"
    if oldest is None or found is None:
        return Row("version", Word.UNKNOWN, f"{value}, which nothing is known against")
    if (int(found[1]), int(found[2])) < oldest:
        least = f"{oldest[0]}.{oldest[1]}"
        return Row(
            "version", Word.FAIL, f"{value} is too old", f"Update {facts.software} to {least} or newer: this is not tested with older."
        )
    return Row("version", Word.OK, value)


def chain(here: Situation) -> Row:
    facts = _facts(here)
    if facts.connected is False:
        hint = (
            "Until it is, it sees neither blocks nor a channel that is closed on it. For Electrum: electrum getinfo names its server; set "
        )
        hint += "another with electrum setconfig server HOST:50002:s, and start the daemon anew."
        return Row("chain", Word.FAIL, "not connected to the chain", hint)
    if facts.height is not None and facts.chain_height is not None:
        return _by_height(facts.height, facts.chain_height, facts.synced)
    at = f"at block {facts.height:,}" if facts.height is not None else "not told"
    if facts.synced is False:
        return Row("chain", Word.WARN, f"{at}, still catching up", "Wait, and look again in ten minutes.")
    if facts.synced:
        return Row("chain", Word.OK, f"in step, {at}")
    return Row("chain", Word.UNKNOWN, f"{at}; how high the chain is, is not told" if facts.height else at, more_hint(here.asked.kind))


def _by_height(height: int, chain_height: int, synced: bool | None) -> Row:
    behind = chain_height - height
    if behind >= BEHIND_WARN:
        word = Word.FAIL if behind >= BEHIND_FAIL else Word.WARN
        hint = "Payments over channels whose blocks it does not know may be lost. See its log; give it time, disk and network."
        return Row("chain", word, f"at block {height:,}, {behind:,} behind", hint)
    if -behind >= BEHIND_WARN:
        word = Word.FAIL if -behind >= BEHIND_FAIL else Word.WARN
        return Row("chain", word, f"its server is {-behind:,} blocks behind it, at {chain_height:,}", "Choose another server for it.")
    if synced is False:
        return Row("chain", Word.WARN, f"at block {height:,}, its wallet still catching up", "Wait, and look again in ten minutes.")
    return Row("chain", Word.OK, f"in step, at block {height:,}")


def channels(here: Situation) -> Row:
    counted = _facts(here).channels
    if counted is None:
        return Row("channels", Word.UNKNOWN, "not told", more_hint(here.asked.kind))
    parts = [f"{counted.active} active"]
    parts += [f"{counted.inactive} inactive"] if counted.inactive else []
    parts += [f"{counted.pending} opening or closing"] if counted.pending else []
    value = ", ".join(parts)
    if counted.active == 0:
        if counted.inactive:
            hint = "Their peers are away: see that this node can reach them, and start it anew. Nobody can pay you until one is back."
        elif counted.pending:
            hint = "A new channel is open after 3 to 6 blocks, about an hour. Nobody can pay you before."
        else:
            hint = "Open a channel to a well connected node, and get others to open one to you: without, nobody can pay you."
        return Row("channels", Word.FAIL, value, hint)
    if counted.inactive:
        return Row("channels", Word.WARN, value, "The peers of the inactive ones are away. If it stays so for days, close them.")
    return Row("channels", Word.OK, value)


def certificate(here: Situation) -> Row:
    facts = _facts(here)
    shown = facts.certificate
    if shown is None:
        if facts.in_the_clear:
            hint = "Whoever is on the way can read its key, and spend. Use https, or a tunnel (WireGuard, ssh -L)."
            return Row("certificate", Word.FAIL, "none: it is reached over plain http", hint)
        if facts.in_the_clear is False:
            return Row("certificate", Word.OK, "none needed: it is reached on this machine or network")
        return Row("certificate", Word.UNKNOWN, "not looked at")
    renew = TO_RENEW.get(here.asked.kind, TO_RENEW["any"])
    if shown.trouble is not None:
        hint = (
            renew
            if shown.has_ended
            else "See that the URL has the name that the certificate is for, and that this machine trusts who made it."
        )
        return Row("certificate", Word.FAIL, f"not trusted: {shown.trouble}", hint)
    if shown.ends_at_ms is None:
        return Row("certificate", Word.UNKNOWN, "could not be looked at")
    left_ms = shown.ends_at_ms - here.at_ms
    if left_ms <= 0:
        return Row("certificate", Word.FAIL, f"ended {ago(shown.ends_at_ms, here.at_ms)} ago", renew)
    value = f"ends in {ago(here.at_ms, shown.ends_at_ms)}"
    return Row("certificate", Word.WARN, value, renew) if left_ms < CERTIFICATE_WARN_MS else Row("certificate", Word.OK, value)


def clock(here: Situation) -> Row:
    skew_ms = _facts(here).skew_ms
    if skew_ms is None:
        return Row("clock", Word.UNKNOWN, "not told")
    if abs(skew_ms) < SKEW_WARN_MS:
        return Row("clock", Word.OK, "the same as here, to some seconds")
    side = "ahead of" if skew_ms > 0 else "behind"
    hint = "Invoices end by these clocks. On both machines: timedatectl; then timedatectl set-ntp true."
    word = Word.FAIL if abs(skew_ms) >= SKEW_FAIL_MS else Word.WARN
    return Row("clock", word, f"{ago(0, abs(skew_ms))} {side} this machine's", hint)


def _facts(here: Situation) -> NodeFacts:
    return here.asked.facts or NodeFacts()
