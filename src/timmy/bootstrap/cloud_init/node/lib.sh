#!/usr/bin/env bash
# What every part of the provisioning uses. Sourced, never run.
# shellcheck disable=SC2034 # these names are used by the files that source this one

ROOT="${TIMMY_NODE_ROOT:-}" # only a rehearsal sets it: then everything happens below that folder
ETC="$ROOT/etc/timmy-node"
SETTINGS="$ETC/node.env"
CREDENTIALS="$ETC/credentials"
STATE="$ROOT/var/lib/timmy-node"
DATA="$ROOT/srv/timmy-node"
LOG="$ROOT/var/log/timmy-node.log"
POLL_SECONDS="${TIMMY_NODE_POLL_SECONDS:-5}"
LNBITS_URL="${TIMMY_NODE_LNBITS_URL:-http://127.0.0.1:5000}"

say() { printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"; }

die() {
    say "FAILED: $*" >&2
    exit 1
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds, and not for ever.
wait_for() {
    local seconds="${TIMMY_NODE_PATIENCE_SECONDS:-$1}" what="$2" began=$SECONDS
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $((SECONDS - began)) -lt "$seconds" ] || die "waited $seconds s for $what, in vain"
        sleep "$POLL_SECONDS"
    done
    say "$what: there"
}

# again TIMES COMMAND...: what may fail for a reason that passes.
again() {
    local times="$1" n=1
    shift
    until "$@"; do
        [ "$n" -lt "$times" ] || return 1
        n=$((n + 1))
        sleep "$POLL_SECONDS"
    done
}

# json PATH: one value out of the JSON on standard input, such as `json balance` or `json wallets.0.id`.
json() {
    python3 -IS -c '
import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1].split("."):
    value = value[int(key)] if isinstance(value, list) else value[key]
print(value if isinstance(value, str) else json.dumps(value))' "$1"
}

# settle FILE MODE: standard input becomes the file, whole or not at all. One that is already so is left alone, with its owner: a container
# may have made a file its own, and would not be asked again.
settle() {
    local file="$1" mode="$2" new
    new="$(mktemp "$file.XXXXXX")"
    cat >"$new"
    if [ "$(stat -c %a "$file" 2>/dev/null)" = "${mode#0}" ] && cmp -s "$new" "$file"; then
        rm -f "$new"
        return
    fi
    chmod "$mode" "$new"
    mv -f "$new" "$file"
}

# One file has every credential, and only root reads it.
remember() {
    local name="$1" value="$2"
    { if [ -f "$CREDENTIALS" ]; then grep -v "^$name=" "$CREDENTIALS" || true; fi; printf '%s=%s\n' "$name" "$value"; } |
        settle "$CREDENTIALS" 600
}

recall() { if [ -f "$CREDENTIALS" ]; then sed -n "s/^$1=//p" "$CREDENTIALS"; fi; }

# secret NAME: made once, kept.
secret() {
    local value
    value="$(recall "$1")"
    if [ -z "$value" ]; then
        value="$(openssl rand -hex 24)"
        remember "$1" "$value"
    fi
    printf '%s' "$value"
}

# forget NAME: of the settings, once it has been used up.
forget() {
    sed "s/^$1=.*/$1=''/" "$SETTINGS" | settle "$SETTINGS" 600
}

# As root of the container, who can read the configuration whoever has made it theirs.
bitcoin_cli() {
    docker exec --user 0 timmy-bitcoind bitcoin-cli -datadir=/data -chain="$(chain)" -rpcport=8332 "$@"
}

chain() { if [ "$NODE_NETWORK" = mainnet ]; then printf main; else printf '%s' "$NODE_NETWORK"; fi; }

# lnd METHOD PATH [BODY-FILE]: LND's REST interface, with its macaroon once there is one. What is secret goes by files, not by arguments,
# which any process of the machine can read.
lnd() {
    local method="$1" path="$2" send=()
    if [ $# -gt 2 ]; then send=(--data-binary "@$3"); fi
    printf 'header = "Grpc-Metadata-macaroon: %s"\n' "$(recall LND_ADMIN_MACAROON)" |
        curl --silent --show-error --fail --max-time 60 --cacert "$DATA/lnd/tls.cert" --config - --request "$method" "${send[@]}" \
            "https://localhost:8080$path"
}

# lnbits METHOD PATH [BODY-FILE [HEADER-LINE]]: LNbits' HTTP interface.
lnbits() {
    local method="$1" path="$2" send=()
    if [ $# -gt 2 ]; then send=(--data-binary "@$3"); fi
    printf 'header = "%s"\n' "${4:-Accept: application/json}" |
        curl --silent --show-error --fail --max-time 60 --config - --header 'Content-Type: application/json' --request "$method" \
            "${send[@]}" "$LNBITS_URL$path"
}
