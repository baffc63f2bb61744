"""The commands of a Debian machine and the daemons behind them, as far as the node's programs ask.

Each command is a few lines of bash that ask this process, where the state is: what is installed, what runs, what was said. They need no
Python of their own, so they work in any folder that plays a machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from timmy.errors import Refusal
from timmy.web.bootstrap_views import report

SEED = [f"word{n}" for n in range(24)]
MACAROON = b"\x02\x01admin"
SIGNER = "2596A99EAAB33821893C0A79458CA832957F5868"
CLIENT = """#!/bin/bash
case " $* " in *" --config - "*) cat >/dev/null ;; esac # else whoever writes to it would be told that nobody reads
exec 3<>/dev/tcp/127.0.0.1/{port}
printf '%s\\0' "$#" {name} "$@" >&3
IFS= read -r code <&3
while IFS= read -r line <&3; do printf '%s\\n' "$line"; done
printf '%s' "$line"
exit "$code"
"""

State = dict[str, Any]
Command = Callable[[list[str], State, list[str]], int]


class StandIns:
    """`state` may be read and set at any time. `die_before` and `die_after` in it: the call at which the power goes, once; by its
    number, or by a text that is in one of its words."""

    def __init__(self, **state: Any) -> None:
        self.state: State = {"calls": [], **state}
        self.power_off: Callable[[], None] = lambda: os.kill(0, signal.SIGKILL)
        self._alone = threading.Lock()
        stand_ins = self

        class Asked(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                words: list[bytes] = []
                while len(words) < 2 or len(words) < int(words[0]) + 2:
                    words.append(_until_nul(self.rfile.read))
                code, said = stand_ins.answer(*(word.decode() for word in words[1:]))
                self.wfile.write(f"{code}\n{said}".encode())

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Asked)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def install(self, folder: Path, commands: Mapping[str, Command] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._commands = COMMANDS if commands is None else commands
        for name in self._commands:
            (folder / name).write_text(CLIENT.format(port=self._server.server_address[1], name=name))
            (folder / name).chmod(0o755)

    def answer(self, name: str, *arguments: str) -> tuple[int, str]:
        with self._alone:
            calls = self.state["calls"]
            calls.append([name, *arguments])
            before, after = (self._is_the_end(when) for when in ("die_before", "die_after"))
            code, said = 0, list[str]()
            if not before:
                code = self._commands[name](list(arguments), self.state, said)
            if before or after:
                self.power_off()
            return code, "".join(said)

    def _is_the_end(self, when: str) -> bool:
        at, calls = self.state.get(when), self.state["calls"]
        met = at == len(calls) if isinstance(at, int) else at is not None and any(at in word for word in calls[-1])
        if met:
            del self.state[when]
        return met

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _until_nul(read: Callable[[int], bytes]) -> bytes:
    found = b""
    while (byte := read(1)) not in (b"", b"\0"):
        found += byte
    if not byte:
        raise EOFError("the power went while it asked")
    return found


def apt_get(arguments: list[str], state: State, said: list[str]) -> int:
    if "install" in arguments:
        named = arguments[arguments.index("install") + 1 :]
        state.setdefault("packages", []).extend(name.partition("=")[0] for name in named if not name.startswith("-"))
    return 0


def dpkg_query(arguments: list[str], state: State, said: list[str]) -> int:
    if arguments[-1] in state.get("packages", []):
        said.append("installed")
        return 0
    return 1


def quiet(arguments: list[str], state: State, said: list[str]) -> int:
    return 0


def iptables(arguments: list[str], state: State, said: list[str]) -> int:
    rules = state.setdefault("rules", [])
    rule = arguments[arguments.index("DOCKER-USER") :]
    if "-C" in arguments:
        return 0 if rule in rules else 1
    rules.append(rule)
    return 0


def blkid(arguments: list[str], state: State, said: list[str]) -> int:
    holds = state.get("disk", "")
    if not holds:
        return 2
    said.append(holds + "\n")
    return 0


def mkfs(arguments: list[str], state: State, said: list[str]) -> int:
    state["disk"] = "DEVNAME=/dev/x\nUUID=0000-1111\nTYPE=ext4"
    return 0


def mount(arguments: list[str], state: State, said: list[str]) -> int:
    state["mounted"] = True
    return 0


def mountpoint(arguments: list[str], state: State, said: list[str]) -> int:
    return 0 if state.get("mounted") else 1


def gpg(arguments: list[str], state: State, said: list[str]) -> int:
    said.append(f"pub:-:4096:1:458CA832957F5868:1:::-:::scSC::::::23::0:\nfpr:::::::::{state.get('signer', SIGNER)}:\n")
    return 0


def tailscale(arguments: list[str], state: State, said: list[str]) -> int:
    if arguments[0] == "up":
        key = next(a for a in arguments if a.startswith("--auth-key=")).removeprefix("--auth-key=file:")
        state.setdefault("tailscale_keys", []).append(outside(key, state).read_text())
        state["tailscale"] = True
    if arguments[0] == "status":
        up = state.get("tailscale", False)
        said.append(json.dumps({"BackendState": "Running" if up else "NeedsLogin", "Self": {"DNSName": "node.tail.example."}}) + "\n")
    return 0


def volume_of(run: list[str], inside: str, state: State) -> Path:
    return outside(next(a.removesuffix(f":{inside}") for a in run if a.endswith(f":{inside}")), state)


def outside(path: str, state: State) -> Path:
    """Where a file of the machine is for us: in a chroot its paths begin elsewhere."""
    return Path(state.get("chroot", "") + path)


def docker(arguments: list[str], state: State, said: list[str]) -> int:
    containers = state.setdefault("containers", {})
    verb = arguments[0]
    if verb == "network" and arguments[1] == "inspect":
        return 0 if state.get("network") else 1
    if verb == "network":
        state["network"] = True
    elif verb == "image":
        return 0 if arguments[-1] in state.get("images", []) else 1
    elif verb == "pull":
        state.setdefault("images", []).append(arguments[-1])
    elif verb == "inspect":
        found = containers.get(arguments[-1])
        if found is None:
            return 1
        said.append(found["label"] + "\n")
    elif verb == "rm":
        containers.pop(arguments[-1], None)
    elif verb == "run":
        name = arguments[arguments.index("--name") + 1]
        label = next(a for a in arguments if a.startswith("timmy-node=")).removeprefix("timmy-node=")
        assert name not in containers, f"{name} would be started twice"
        containers[name] = {"label": label, "run": arguments}
        if name == "timmy-lnd":
            (volume_of(arguments, "/data", state) / "tls.cert").write_text("certificate")
            state["lnd"] = "WAITING_TO_START"
    elif verb == "exec" and "timmy-bitcoind" not in containers:
        return 1
    elif verb == "exec" and "getblockchaininfo" in arguments:
        said.append(json.dumps({"chain": "main", "blocks": 7, "headers": 9, "pruned": True}) + "\n")
    return 0


def lnd(method: str, path: str, body: str, state: State) -> dict[str, Any] | None:
    now = state.get("lnd")
    wallet = state.get("lnd_seed") is not None
    if now is None:
        return None
    if path == "/v1/state":
        state["lnd"] = {"WAITING_TO_START": "RPC_ACTIVE" if wallet else "NON_EXISTING"}.get(now, now)
        return {"state": now}
    if path == "/v1/genseed" and now == "NON_EXISTING":
        return {"cipher_seed_mnemonic": SEED}
    if path == "/v1/initwallet" and now == "NON_EXISTING":
        state["lnd_seed"] = json.loads(body)["cipher_seed_mnemonic"]
        folder = volume_of(state["containers"]["timmy-lnd"]["run"], "/data", state) / "data/chain/bitcoin" / state["chain"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "admin.macaroon").write_bytes(MACAROON)
        state["lnd"] = "SERVER_ACTIVE"
        return {}
    if now not in ("RPC_ACTIVE", "SERVER_ACTIVE"):
        return None
    answers: dict[str, dict[str, Any]] = {
        "/v1/macaroon": {"macaroon": "0201ff"},
        "/v1/getinfo": {"version": "0.20.1", "identity_pubkey": "02" * 33, "synced_to_chain": False, "block_height": 7},
        "/v1/channels/backup": {"multi_chan_backup": {}},
    }
    return answers.get(path)


def lnbits(method: str, path: str, body: str, state: State) -> dict[str, Any] | None:
    if "timmy-lnbits" not in state.get("containers", {}):
        return None
    sent = json.loads(body or "{}")
    if path == "/api/v1/health":
        return None if state.get("lnbits_is_ill") else {}
    if path == "/api/v1/auth/first_install":
        if "lnbits_password" in state:
            return None
        state["lnbits_password"] = sent["password"]
        return {"access_token": "token"}
    if path == "/api/v1/auth":
        return {"access_token": "token"} if sent["password"] == state.get("lnbits_password") else None
    if path == "/api/v1/wallet":
        return {"id": "w1", "inkey": "in1", "adminkey": "admin1"}
    return None


def curl(arguments: list[str], state: State, said: list[str]) -> int:
    url = arguments[-1]

    def after(name: str) -> str:
        return arguments[arguments.index(name) + 1] if name in arguments else ""

    data = after("--data-binary")
    body = outside(data[1:], state).read_text() if data else ""
    if url.startswith("https://pkgs.tailscale.com/"):
        outside(after("--output"), state).write_text("keys")
        return 0
    for prefix, answer in (("https://localhost:8080", lnd), ("http://127.0.0.1:5000", lnbits)):
        if url.startswith(prefix):
            found = answer(after("--request"), url.removeprefix(prefix), body, state)
            if found is not None:
                said.append(json.dumps(found) + "\n")
            return 22 if found is None else 0
    headers = outside(after("--header")[1:], state).read_text()
    answers = state.setdefault("home", ["200"])
    status = answers.pop(0) if len(answers) > 1 else answers[0]
    told = json.loads(body)
    try:
        report(told)
    except Refusal as refused:  # as the house itself would
        status = str(refused.status)
    state.setdefault("heard", []).append({"url": url, "headers": headers, "body": told, "status": status})
    said.append(status)
    if status != "000":
        outside(after("--output"), state).write_text(json.dumps({"state": "ready"} if status == "200" else {"error": "no"}))
    return 0 if status != "000" else 7


def openssl(arguments: list[str], state: State, said: list[str]) -> int:
    state["secrets"] = state.get("secrets", 0) + 1
    said.append(hashlib.sha256(str(state["secrets"]).encode()).hexdigest()[:48] + "\n")
    return 0


COMMANDS: dict[str, Command] = {
    "apt-get": apt_get,
    "dpkg-query": dpkg_query,
    "systemctl": quiet,
    "ufw": quiet,
    "iptables": iptables,
    "blkid": blkid,
    "mkfs.ext4": mkfs,
    "mount": mount,
    "mountpoint": mountpoint,
    "gpg": gpg,
    "tailscale": tailscale,
    "docker": docker,
    "curl": curl,
    "openssl": openssl,
}
