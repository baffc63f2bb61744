"""The document that a new machine is given: what to be, and the programs that make it so.

The programs are static files beside this one (`node/`); nothing is filled into them. All that differs from node to node is one file of
shell-quoted assignments, which travels in base64, so that no value can end a string, a line or a document.
"""

from __future__ import annotations

import base64
import json
import shlex
from importlib.resources import files

from timmy.bootstrap.node_plan import NodePlan

HOME = "/opt/timmy-node"
SETTINGS = "/etc/timmy-node/node.env"
UNIT = "/etc/systemd/system/timmy-node.service"
PROGRAMS = ("provision.sh", "lib.sh", "machine.sh", "services.sh", "call-home.sh", "ops.sh")
DOCUMENT_BYTES_MAX = 64 * 1024  # what DigitalOcean takes as user data


def render(plan: NodePlan) -> str:
    """cloud-init's user data for this node. The same plan gives the same bytes."""
    lines = [
        "#cloud-config",
        f"hostname: {json.dumps(plan.hostname)}",
        "preserve_hostname: false",
        "disable_root: false",
        "ssh_pwauth: false",
        "ssh_authorized_keys:",
        *(f"  - {json.dumps(key)}" for key in plan.ssh_public_keys),
        "write_files:",
        *secret_file(SETTINGS, settings(plan)),
        *(line for name in PROGRAMS for line in text_file(f"{HOME}/{name}", program(name), "0755")),
        *text_file(UNIT, program("timmy-node.service"), "0644"),
        "runcmd:",
        "  - [systemctl, daemon-reload]",
        "  - [systemctl, enable, timmy-node.service]",
        "  - [systemctl, start, --no-block, timmy-node.service]",
    ]
    document = "\n".join(lines) + "\n"
    size = len(document.encode())
    if size > DOCUMENT_BYTES_MAX:
        raise ValueError(f"the user data is {size} bytes, and a cloud takes {DOCUMENT_BYTES_MAX}: give fewer SSH keys")
    return document


def settings(plan: NodePlan) -> str:
    """What the programs source: NAME='value' lines."""
    values = {
        "NODE_HOSTNAME": plan.hostname,
        "NODE_NETWORK": plan.network,
        "NODE_PRUNE_MIB": str(plan.prune_mib),
        "NODE_VOLUME_DEVICE": plan.volume_device or "",
        "NODE_BITCOIN_IMAGE": plan.parts.bitcoin,
        "NODE_LND_IMAGE": plan.parts.lnd,
        "NODE_LNBITS_IMAGE": plan.parts.lnbits,
        "NODE_TAILSCALE_VERSION": plan.parts.tailscale,
        "NODE_TAILSCALE_SIGNER": plan.parts.tailscale_signer,
        "NODE_TAILSCALE_KEY": plan.tailscale_auth_key or "",
        "NODE_CALL_HOME_URL": plan.call_home_url,
        "NODE_CALL_HOME_TOKEN": plan.call_home_token,
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def program(name: str) -> str:
    return files("timmy.bootstrap.cloud_init").joinpath("node", name).read_text("utf-8")


def text_file(path: str, content: str, permissions: str) -> list[str]:
    """As a block of YAML, so that whoever looks at the user data can read what the machine will run."""
    return [*head(path, permissions), "    content: |", *(f"      {line}" if line else "" for line in content.splitlines())]


def secret_file(path: str, content: str) -> list[str]:
    return [*head(path, "0600"), "    encoding: b64", f"    content: {base64.b64encode(content.encode()).decode()}"]


def head(path: str, permissions: str) -> list[str]:
    return [f"  - path: {path}", "    owner: root:root", f'    permissions: "{permissions}"']
