#!/usr/bin/env bash
# Stop the node's services, the one that needs the others first; they stay stopped until start.sh.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=lib.sh
. "$HERE/lib.sh"
[ "${1:-}" != --dry-run ] || DRY_RUN=yes
load
for part in lnbits lnd bitcoind; do
    unit_stop "$part"
done
