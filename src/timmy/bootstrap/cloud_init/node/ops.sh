#!/usr/bin/env bash
# The node in one word each.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=lib.sh
. "$HERE/lib.sh"

usage() {
    cat <<'TEXT'
usage: ops.sh WORD

  sync              how far Bitcoin and LND are
  lnd [COMMAND]     lncli, as in: ops.sh lnd walletbalance; without one, getinfo
  lnbits            where LNbits is, whether it answers, and where its keys are kept
  logs [NAME]       the last lines of bitcoind, lnd, lnbits, or of the provisioning (without a name)
  backup [FOLDER]   what cannot be had again, in one archive that only root can read
TEXT
}

sync() {
    bitcoin_cli getblockchaininfo | python3 -IS -c '
import json, sys
it = json.load(sys.stdin)
ahead = it["headers"] - it["blocks"]
print("Bitcoin: {chain}, block {blocks} of {headers}".format(**it) + (", {} to go".format(ahead) if ahead else ", in step"))'
    lnd GET /v1/getinfo | python3 -IS -c '
import json, sys
it = json.load(sys.stdin)
print("LND:     block {}, {}".format(it["block_height"], "in step" if it["synced_to_chain"] else "catching up"))'
}

lightning() {
    if [ $# -eq 0 ]; then set -- getinfo; fi
    docker exec timmy-lnd lncli --lnddir=/data --network="$NODE_NETWORK" "$@"
}

server() {
    local name
    name="$(tailscale status --json 2>/dev/null | json Self.DNSName 2>/dev/null || true)"
    printf 'LNbits:  ssh -L 5000:127.0.0.1:5000 to this machine, then http://127.0.0.1:5000\n'
    if [ -n "$name" ]; then printf '         http://%s:5000 inside the Tailscale network that it has joined\n' "${name%.}"; fi
    if lnbits GET /api/v1/health >/dev/null; then printf 'It answers.\n'; else printf 'It does not answer: ops.sh logs lnbits\n'; fi
    printf 'User and keys: %s (LNBITS_USERNAME, LNBITS_PASSWORD, LNBITS_ADMIN_KEY)\n' "$CREDENTIALS"
}

logs() {
    case "${1:-}" in
    '') tail -n 200 "$LOG" ;;
    bitcoind | lnd | lnbits) docker logs --tail 200 "timmy-$1" ;;
    *) die "there are logs of bitcoind, lnd and lnbits; without a name, of the provisioning" ;;
    esac
}

# LND's channel backup closes the channels and brings the sats back on the chain; with the seed, that is all that can be saved of LND.
# LND's own database is never copied: a channel that is brought back from an old one is lost to the other side.
backup() {
    local folder="${1:-$DATA/backups}" work archive
    umask 077
    mkdir -p "$folder"
    archive="$folder/timmy-node-$(date -u +%Y%m%dT%H%M%SZ).tar.gz"
    work="$(mktemp -d)"
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$work'" EXIT
    cp "$CREDENTIALS" "$SETTINGS" "$work/"
    lnd GET /v1/channels/backup >"$work/channel-backup.json"
    find "$DATA/lnbits/data" -maxdepth 1 -name '*.sqlite3' -exec python3 -IS -c '
import pathlib, sqlite3, sys
for name in sys.argv[2:]:
    source, copy = sqlite3.connect(name), sqlite3.connect(pathlib.Path(sys.argv[1], pathlib.Path(name).name))
    source.backup(copy)
    copy.close()' "$work" {} +
    tar -C "$work" -czf "$archive.part" .
    mv "$archive.part" "$archive"
    printf '%s\nCopy it to another place: with it, whoever has it has the sats.\n' "$archive"
}

# shellcheck source=/dev/null
. "$SETTINGS"
word="${1:-}"
if [ $# -gt 0 ]; then shift; fi
case "$word" in
sync) sync ;;
lnd) lightning "$@" ;;
lnbits) server ;;
logs) logs "$@" ;;
backup) backup "$@" ;;
'' | help | -h | --help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
