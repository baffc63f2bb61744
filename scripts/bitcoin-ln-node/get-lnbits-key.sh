#!/usr/bin/env bash
# The key of the wallet that setup.sh made in LNbits, for Timmy's settings.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=lib.sh
. "$HERE/lib.sh"
name=LNBITS_ADMIN_KEY
case "${1:-}" in
'' | --env) ;;
--invoice) name=LNBITS_INVOICE_KEY ;;
*) die "usage: get-lnbits-key.sh [--invoice | --env]: the admin key, the invoice key, or lines for Timmy's .env" ;;
esac
load
key="$(recall "$name")"
[ -n "$key" ] || die "there is none yet: let setup.sh come to its end"
if [ "${1:-}" = --env ]; then
    printf 'WALLET=lnbits\nLNBITS_URL=http://127.0.0.1:%s\nLNBITS_API_KEY=%s\n' "$LNBITS_PORT" "$key"
else
    printf '%s\n' "$key"
fi
