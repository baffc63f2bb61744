#!/usr/bin/env bash
# Start the node's services, in the order in which they need each other; and at each login from now on.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=lib.sh
. "$HERE/lib.sh"
[ "${1:-}" != --dry-run ] || DRY_RUN=yes
load
unit_start bitcoind
wait_for 1800 "Bitcoin" bitcoin getblockchaininfo
unit_start lnd
wait_for 1800 "LND" lightning_is_active
unit_start lnbits
wait_for 600 "LNbits" lnbits_answers
