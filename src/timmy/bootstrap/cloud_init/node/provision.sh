#!/usr/bin/env bash
# From an empty machine to a node that answers. Every step looks first and does only what is missing, so it may be run again at any time:
# at each start of the machine, and by hand.
set -Eeuo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=lib.sh
. "$HERE/lib.sh"
# shellcheck source=machine.sh
. "$HERE/machine.sh"
# shellcheck source=services.sh
. "$HERE/services.sh"
# shellcheck source=call-home.sh
. "$HERE/call-home.sh"

STEPS=(packages updates volume docker_engine tailscale_network firewall bitcoin lnd_daemon lnd_wallet lnbits_server lnbits_keys call_home)

main() {
    umask 022
    install -d -m 700 "$ETC" "$STATE"
    exec 9>"$STATE/lock"
    flock -w 1800 9 || die "another run has been under way for half an hour"
    # shellcheck source=/dev/null
    . "$SETTINGS"
    local step="" itself="$BASHPID" # the trap is inherited by subshells, and says so once
    trap '[ "$BASHPID" != "$itself" ] || say "FAILED: $step; the lines above say why, and $HERE/provision.sh tries again" >&2' ERR
    for step in "${STEPS[@]}"; do
        say "== $step"
        printf '%s\n' "$step" >"$STATE/step"
        "$step"
    done
    printf 'ready\n' >"$STATE/step"
    say "ready"
}

mkdir -p "$(dirname "$LOG")"
(umask 077 && touch "$LOG")
main "$@" 2>&1 | tee -a "$LOG"
