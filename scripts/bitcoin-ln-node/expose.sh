#!/usr/bin/env bash
# LNbits inside your Tailscale network, or not any more. It is never opened to the Internet: its keys pay.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=lib.sh
. "$HERE/lib.sh"
word="${1:-}"
[ "${2:-}" != --dry-run ] || DRY_RUN=yes
case "$word" in on | off) ;; *) die "usage: expose.sh on|off [--dry-run]" ;; esac
load
command -v tailscale >/dev/null 2>&1 || die "Tailscale is not installed: tailscale.com/download"
if [ "$word" = off ]; then
    run tailscale serve --tcp="$LNBITS_PORT" off
    exit 0
fi
run tailscale serve --bg --tcp="$LNBITS_PORT" "tcp://127.0.0.1:$LNBITS_PORT"
if [ -z "$DRY_RUN" ]; then
    name="$(tailscale status --json | json Self.DNSName)"
    say "LNBITS_URL=http://${name%.}:$LNBITS_PORT"
fi
