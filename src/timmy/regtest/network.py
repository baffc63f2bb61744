"""A Lightning network of our own: one bitcoind on regtest, one ElectrumX, as many Electrum nodes as wanted, all on 127.0.0.1.

    network = RegtestNetwork(lab, names=("buyer", "seller"))
    network.start()
    network.fund("buyer")
    network.open_channel("buyer", "seller", capacity_sats=15_000_000, push_sats=5_000_000)
    network["buyer"].rpc("lnpay", invoice=...)
    network.stop()

It blocks, so that any event loop and any test can use it from a thread. Ports are free ones, names and passwords random: two networks on
one machine do not meet.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from timmy.money import SATS_PER_BTC
from timmy.regtest.install import Lab
from timmy.regtest.parts import Progress, Step, silent
from timmy.regtest.processes import Leashed, free_ports, listens, until
from timmy.regtest.rpc import Rpc, RpcRefused

NOBODYS_ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"  # the example key of BIP 173: what is mined there is out of the game
COINBASE_BLOCKS = 101  # until a mined coin may be spent
CHANNEL_BLOCKS = 6  # until a channel is open, and may be announced
FEE_RATES = "{2: 1009, 5: 1009, 10: 1009, 25: 1009}"  # sat/kvB by blocks; on regtest nobody can estimate any
START_SECONDS, CHAIN_SECONDS, CHANNEL_SECONDS = 120.0, 120.0, 180.0


def btc(sats: int) -> str:
    """Sats as the decimal bitcoin that Electrum and bitcoind want."""
    return f"{sats // SATS_PER_BTC}.{sats % SATS_PER_BTC:08d}"


@dataclass(slots=True)
class Node:
    """One Electrum daemon with one wallet. `url` is what ELECTRUM_URL takes."""

    name: str
    directory: Path
    rpc: Rpc
    url: str = field(repr=False)
    process: Leashed

    @property
    def lock(self) -> Path:
        return self.directory / "regtest" / "daemon"


class RegtestNetwork:
    """Start it, use it, stop it. `RegtestUnavailable` when something does not start, with the end of what it said."""

    def __init__(self, lab: Lab, *, names: Sequence[str] = ("buyer", "seller"), progress: Progress = silent) -> None:
        self._lab, self._names, self._progress = lab, tuple(names), progress
        self._directory = Path(tempfile.mkdtemp(prefix="timmy-regtest-"))
        self._chain_port, self._electrumx_port = free_ports(2)
        self._user, self._password = secrets.token_hex(8), secrets.token_hex(16)
        self._background: list[Leashed] = []
        self._nodes: dict[str, Node] = {}
        self.chain = Rpc(self._chain_port, user=self._user, password=self._password)

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def start(self) -> None:
        """All processes up, the nodes' wallets loaded and in step with the chain."""
        steps = (("bitcoind", self._start_bitcoind), ("ElectrumX", self._start_electrumx), ("the Lightning nodes", self._start_nodes))
        for done, (text, begin) in enumerate(steps):
            self._progress(Step("start", done, len(steps), f"starting {text}"))
            begin()
        self._progress(Step("start", len(steps), len(steps), "the network is running"))

    def stop(self) -> None:
        """Everything stopped, and its files gone."""
        for process in [*(node.process for node in self._nodes.values()), *reversed(self._background)]:
            process.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    # The chain -----------------------------------------------------------------------------------------

    def mine(self, blocks: int = 1, to: str = NOBODYS_ADDRESS) -> None:
        """New blocks, seen by every node when this returns."""
        self.chain("generatetoaddress", blocks, to)
        height = self.chain("getblockcount")
        for node in self._nodes.values():
            if node.process.alive:
                until(f"block {height} at {node.name}", lambda rpc=node.rpc: _in_step(rpc, height), timeout_seconds=CHAIN_SECONDS)  # type: ignore[misc]

    def fund(self, name: str) -> None:
        """100 BTC on the node's chain wallet, spendable."""
        rpc = self[name].rpc
        self.chain("generatetoaddress", 2, rpc("getunusedaddress"))
        self.mine(COINBASE_BLOCKS)
        until(f"coins at {name}", lambda: rpc("getbalance").get("confirmed", "0") != "0" or None, timeout_seconds=CHAIN_SECONDS)

    # The channels --------------------------------------------------------------------------------------

    def open_channel(self, opener: str, peer: str, *, capacity_sats: int, push_sats: int, public: bool = False) -> str:
        """A channel that both nodes call open, `push_sats` of it on the peer's side. Gives its channel point."""
        point = self[opener].rpc(
            "open_channel",
            connection_string=self[peer].rpc("nodeid"),
            amount=btc(capacity_sats),
            push_amount=btc(push_sats),
            public=public,
        )
        txid = str(point).split(":")[0]
        until("the funding transaction", lambda: txid in self.chain("getrawmempool") or None, timeout_seconds=CHANNEL_SECONDS)
        self.mine(CHANNEL_BLOCKS)
        for name in (opener, peer):
            self.await_channel(name, str(point))
        return str(point)

    def await_channel(self, name: str, point: str) -> None:
        """Returns when the node can use this channel: open, and its peer connected."""
        rpc = self[name].rpc
        until(f"an open channel at {name}", lambda: _usable(rpc, point), timeout_seconds=CHANNEL_SECONDS)

    # The nodes -----------------------------------------------------------------------------------------

    def add_nodes(self, *names: str) -> None:
        """More nodes, with empty wallets; they start side by side."""
        for name in names:
            directory = self._directory / name
            (directory / "regtest").mkdir(parents=True)
            rpc_port, peer_port = free_ports(2)
            (directory / "regtest" / "config").write_text(json.dumps(self._node_configuration(rpc_port, peer_port)))
            self._nodes[name] = Node(
                name=name,
                directory=directory,
                rpc=Rpc(rpc_port, user=self._user, password=self._password),
                url=f"http://{self._user}:{self._password}@127.0.0.1:{rpc_port}",
                process=self._spawn_node(name),
            )
        for name in names:
            self._ready(self._nodes[name])

    def kill(self, name: str) -> None:
        """kill -9: the node has no time to write anything down."""
        self[name].process.kill()

    def restart(self, name: str) -> None:
        """Start a killed node again, from what it had on disk."""
        node = self[name]
        node.lock.unlink(missing_ok=True)  # left by a killed daemon; without this the new one refuses to start
        node.process = self._spawn_node(name)
        self._ready(node)
        for other in self._nodes.values():  # the others would find it again by themselves, but only after a back-off of up to 20 seconds
            if other is not node and other.process.alive:
                node.rpc("add_peer", connection_string=other.rpc("nodeid"))

    def _start_bitcoind(self) -> None:
        data = self._directory / "bitcoind"
        data.mkdir()
        options = {
            "datadir": data,
            "server": 1,
            "txindex": 1,
            "listen": 0,
            "connect": 0,
            "dnsseed": 0,
            "rpcbind": "127.0.0.1",
            "rpcallowip": "127.0.0.1",
            "rpcport": self._chain_port,
            "rpcuser": self._user,
            "rpcpassword": self._password,
            "dbcache": 16,
        }
        command = [*self._lab.bitcoind(), "-regtest", *(f"-{name}={value}" for name, value in options.items())]
        process = self._spawn("bitcoind", command, dict(os.environ))
        self._background.append(process)
        until("bitcoind", lambda: _answers(self.chain, "getblockcount"), timeout_seconds=START_SECONDS, process=process)
        self.chain("generatetoaddress", 1, NOBODYS_ADDRESS)

    def _start_electrumx(self) -> None:
        database = self._directory / "electrumx"
        database.mkdir()
        surroundings = {
            **os.environ,
            "COIN": "Bitcoin",
            "NET": "regtest",
            "DB_ENGINE": "leveldb",
            "DB_DIRECTORY": str(database),
            "DAEMON_URL": f"http://{self._user}:{self._password}@127.0.0.1:{self._chain_port}/",
            "SERVICES": f"tcp://127.0.0.1:{self._electrumx_port}",
            "REPORT_SERVICES": "",
            "PEER_DISCOVERY": "off",
            "ALLOW_ROOT": "true",
            "CACHE_MB": "64",
            "COST_SOFT_LIMIT": "0",
            "COST_HARD_LIMIT": "0",
            "DAEMON_POLL_INTERVAL_BLOCKS": "200",  # milliseconds
            "DAEMON_POLL_INTERVAL_MEMPOOL": "200",
        }
        process = self._spawn("electrumx", self._lab.electrumx(), surroundings)
        self._background.append(process)
        # Electrum tries once and then waits ten seconds: whoever starts it before ElectrumX listens pays for it.
        until("ElectrumX", lambda: listens(self._electrumx_port), timeout_seconds=START_SECONDS, process=process)

    def _start_nodes(self) -> None:
        self.add_nodes(*self._names)

    def _node_configuration(self, rpc_port: int, peer_port: int) -> dict[str, object]:
        return {
            "config_version": 3,
            "server": f"127.0.0.1:{self._electrumx_port}:t",
            "oneserver": True,
            "auto_connect": False,
            "check_updates": False,
            "rpcsock": "tcp",
            "rpchost": "127.0.0.1",
            "rpcport": rpc_port,
            "rpcuser": self._user,
            "rpcpassword": self._password,
            "lightning_listen": f"127.0.0.1:{peer_port}",
            "lightning_to_self_delay": 144,
            "lightning_forward_payments": True,
            "lightning_forward_trampoline_payments": True,
            "use_gossip": True,
            "test_disable_automatic_fee_eta_update": True,
        }

    def _spawn(self, name: str, command: list[str], env: dict[str, str]) -> Leashed:
        return Leashed(name, command, log=self._directory / f"{name}.log", env=env)

    def _spawn_node(self, name: str) -> Leashed:
        command = [*self._lab.electrum(), "--regtest", "-D", str(self._directory / name), "daemon"]
        return self._spawn(f"node-{name}", command, self._lab.electrum_environment())

    def _ready(self, node: Node) -> None:
        rpc = node.rpc
        until(f"node {node.name}", lambda: _answers(rpc, "getinfo"), timeout_seconds=START_SECONDS, process=node.process)
        if not (node.directory / "regtest" / "wallets" / "default_wallet").exists():
            rpc("create")
        rpc("load_wallet")  # a wallet without a password must be given none: a failed open leaves a half-made channel behind later
        rpc("test_inject_fee_etas", FEE_RATES)
        until(f"the chain at {node.name}", lambda: rpc("getinfo")["connected"] or None, timeout_seconds=START_SECONDS, process=node.process)


def _answers(rpc: Rpc, method: str) -> bool | None:
    try:
        rpc(method)
    except RpcRefused:  # bitcoind answers "loading" at first
        return None
    return True


def _in_step(rpc: Rpc, height: int) -> bool | None:
    return (rpc("getinfo")["blockchain_height"] >= height and rpc("is_synchronized")) or None


def _usable(rpc: Rpc, point: str) -> bool | None:
    channels = [channel for channel in rpc("list_channels") if channel["channel_point"] == point]
    return any(channel["state"] == "OPEN" and channel["peer_state"] == "GOOD" for channel in channels) or None
