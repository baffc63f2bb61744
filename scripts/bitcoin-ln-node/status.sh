#!/usr/bin/env bash
# How the node is. Exit code 0 when all three answer, 1 when not. --json is described by status.schema.json.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=lib.sh
. "$HERE/lib.sh"
STYLE=text
case "${1:-}" in '') ;; --json) STYLE=json ;; *) die "usage: status.sh [--json]" ;; esac
load
running=""
for part in $PARTS; do
    if unit_runs "$part"; then running="$running $part"; fi
done
chain="$(bitcoin getblockchaininfo 2>/dev/null)" || chain=""
node="$(lightning GET /v1/getinfo 2>/dev/null)" || node=""
channels="$(lightning GET /v1/balance/channels 2>/dev/null)" || channels=""
health="$(lnbits GET /api/v1/health 2>/dev/null)" || health=""
printf '%s\0%s\0%s\0%s\0%s\0%s' "$NETWORK" "$running" "$chain" "$node" "$channels" "$health" | python3 "$HERE/status.py" "$STYLE"
