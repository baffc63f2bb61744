#!/usr/bin/env bash
# Take the services away, and LNbits' program. The data stay, because sats are in them, unless you say that there are none.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=lib.sh
. "$HERE/lib.sh"
DELETE=""
for word in ${1+"$@"}; do
    case "$word" in
    --dry-run) DRY_RUN=yes ;;
    --delete-data-there-are-no-sats-in-it) DELETE=yes ;;
    *) die "usage: uninstall.sh [--delete-data-there-are-no-sats-in-it] [--dry-run]" ;;
    esac
done
[ -d "$HOME_OF_NODE" ] || die "there is no node in $HOME_OF_NODE"
if command -v tailscale >/dev/null 2>&1; then run tailscale serve --tcp="$LNBITS_PORT" off || say "it was not in your Tailscale network"; fi
for part in lnbits lnd bitcoind; do
    unit_stop "$part" || say "$part was not running"
    run rm -f "$(unit_file "$part")"
done
if [ "$SYSTEM" = linux ]; then run systemctl --user daemon-reload; fi
run rm -rf "$HOME_OF_NODE/lnbits/venv" "$HOME_OF_NODE/lnbits/lnbits"
if [ -n "$DELETE" ]; then
    run rm -rf "$HOME_OF_NODE"
else
    say "The chain, LND's wallet and all keys are still in $HOME_OF_NODE."
fi
