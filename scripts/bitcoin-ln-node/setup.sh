#!/usr/bin/env bash
# A Bitcoin and Lightning node on your own machine: Bitcoin Core (pruned), LND and LNbits, as services of your user. May be run again at any time.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=lib.sh
. "$HERE/lib.sh"

NETWORK=""
NETWORK_GIVEN=""
PRUNE_MIB=""
PRUNE_GIVEN=""
PRUNE_ANYWAY=""

usage() {
    cat <<TEXT
usage: setup.sh [--network mainnet|signet|regtest] [--prune MIB] [--throw-blocks-away] [--dry-run]

  --network   mainnet at first; a node keeps the one that it began with
  --prune     how much of the chain is kept, in MiB: at least 550, 0 for all of it (what it was; at first 10000)
  --throw-blocks-away
              with --prune on a node that has kept all of them: only then are they deleted
  --dry-run   say what would be done, and do nothing

Everything is kept in $HOME_OF_NODE (or in NODE_HOME).
TEXT
}

while [ $# -gt 0 ]; do
    case "$1" in
    --network) NETWORK_GIVEN=yes && NETWORK="${2:-}" && shift ;;
    --prune) PRUNE_GIVEN=yes && PRUNE_MIB="${2:-}" && shift ;;
    --throw-blocks-away) PRUNE_ANYWAY=yes ;;
    --dry-run) DRY_RUN=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    [ $# -eq 0 ] || shift
done
if [ -z "$NETWORK_GIVEN" ]; then NETWORK="$(setting network)" && NETWORK="${NETWORK:-mainnet}"; fi
case "$NETWORK" in mainnet | signet | regtest) ;; *) die "--network is mainnet, signet or regtest" ;; esac
if [ -n "$PRUNE_GIVEN" ] && [ -z "$PRUNE_MIB" ]; then die "--prune is a number of MiB"; fi
WAS_MIB="$(setting prune)"
[ -n "$PRUNE_MIB" ] || PRUNE_MIB="${WAS_MIB:-10000}"
case "$PRUNE_MIB" in *[!0-9]*) die "--prune is a number of MiB" ;; esac
[ "$PRUNE_MIB" -eq 0 ] || [ "$PRUNE_MIB" -ge 550 ] || die "--prune: Bitcoin Core keeps at least 550 MiB"

programs() {
    local name missing=""
    for name in bitcoind bitcoin-cli lnd curl openssl python3; do
        command -v "$name" >/dev/null 2>&1 || missing="$missing $name"
    done
    [ -n "$missing" ] || return 0
    if [ "$SYSTEM" = macos ]; then
        die "not found:$missing. With Homebrew: brew install bitcoin lnd python@3.12"
    fi
    die "not found:$missing. Bitcoin Core is at bitcoincore.org, LND among the releases of github.com/lightningnetwork/lnd: check the signatures
of what you download, and put the programs on your PATH, for example into ~/.local/bin. The rest are packages of your distribution."
}

# LNbits runs on Python 3.10 to 3.12.
fit_python() {
    local name
    for name in ${NODE_PYTHON:+"$NODE_PYTHON"} python3.12 python3.11 python3.10 python3; do
        if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; then
            command -v "$name"
            return
        fi
    done
    die "LNbits needs Python 3.10, 3.11 or 3.12; name one with NODE_PYTHON"
}

lnbits_program() {
    local venv="$HOME_OF_NODE/lnbits/venv" python package
    if [ "$(cat "$venv/made-of" 2>/dev/null || true)" != "$LNBITS_PACKAGES" ]; then
        python="$(fit_python)"
        run rm -rf "$venv"
        run "$python" -m venv "$venv"
        # shellcheck disable=SC2086 # one word for each package
        run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check $LNBITS_PACKAGES
        printf '%s' "$LNBITS_PACKAGES" | put "$venv/made-of" 600
    fi
    # It looks for its pages beside where it is started.
    [ -n "$DRY_RUN" ] && return
    for package in "$venv"/lib/python3*/site-packages/lnbits; do ln -sfn "$package" "$HOME_OF_NODE/lnbits/lnbits"; done
}

configure() {
    local port
    port="$(rpc_port)"
    [ -n "$DRY_RUN" ] || mkdir -p "$HOME_OF_NODE/bitcoin" "$HOME_OF_NODE/lnd" "$HOME_OF_NODE/lnbits" "$HOME_OF_NODE/logs"
    [ -n "$DRY_RUN" ] || chmod 700 "$HOME_OF_NODE"
    printf 'network=%s\nprune=%s\nlnbits_port=%s\nlnd_rest_port=%s\n' "$NETWORK" "$PRUNE_MIB" "$LNBITS_PORT" "$LND_REST_PORT" |
        put "$SETTINGS" 600
    {
        printf 'server=1\nrpcuser=node\nrpcpassword=%s\n' "$(secret BITCOIN_RPC_PASSWORD)"
        printf 'zmqpubrawblock=tcp://127.0.0.1:28332\nzmqpubrawtx=tcp://127.0.0.1:28333\n'
        [ "$PRUNE_MIB" -eq 0 ] || printf 'prune=%s\n' "$PRUNE_MIB"
    } | put "$HOME_OF_NODE/bitcoin/bitcoin.conf" 600
    secret LND_WALLET_PASSWORD | put "$HOME_OF_NODE/lnd/wallet-password" 600
    put "$HOME_OF_NODE/lnd/lnd.conf" 600 <<CONF
[Application Options]
restlisten=127.0.0.1:$LND_REST_PORT
rpclisten=127.0.0.1:10009
wallet-unlock-password-file=$HOME_OF_NODE/lnd/wallet-password
wallet-unlock-allow-create=true
[Bitcoin]
bitcoin.$NETWORK=true
bitcoin.node=bitcoind
[Bitcoind]
bitcoind.rpchost=127.0.0.1:$port
bitcoind.rpcuser=node
bitcoind.rpcpass=$(secret BITCOIN_RPC_PASSWORD)
bitcoind.zmqpubrawblock=tcp://127.0.0.1:28332
bitcoind.zmqpubrawtx=tcp://127.0.0.1:28333
CONF
    unit_write bitcoind "$HOME_OF_NODE" "" "$(command -v bitcoind)" -datadir="$HOME_OF_NODE/bitcoin" -chain="$(chain)" -rpcport="$port"
    unit_write lnd "$HOME_OF_NODE" "" "$(command -v lnd)" --lnddir="$HOME_OF_NODE/lnd"
}

# The seed is kept before the wallet is made of it.
wallet() {
    local body="$HOME_OF_NODE/body" seed
    wait_for 600 "LND" lightning_is_asked
    if [ -n "$DRY_RUN" ]; then
        say "would make LND's wallet, and keep its seed in $CREDENTIALS"
        return
    fi
    if [ "$(lightning_state)" = NON_EXISTING ]; then
        if [ -z "$(recall LND_SEED)" ]; then
            seed="$(lightning GET /v1/genseed | python3 -c 'import json, sys; print(" ".join(json.load(sys.stdin)["cipher_seed_mnemonic"]))')"
            remember LND_SEED "$seed"
        fi
        printf '%s\n%s\n' "$(secret LND_WALLET_PASSWORD)" "$(recall LND_SEED)" | python3 -c '
import base64, json, sys
password, seed = sys.stdin.read().splitlines()
print(json.dumps({"wallet_password": base64.b64encode(password.encode()).decode(), "cipher_seed_mnemonic": seed.split()}))' |
            put "$body" 600
        lightning POST /v1/initwallet "$body" >/dev/null
        rm -f "$body"
        say "LND's wallet: made; its seed is in $CREDENTIALS. Copy it to paper."
    fi
    wait_for 600 "LND's macaroon" test -s "$(macaroon)"
    wait_for 1800 "LND's interface" lightning_is_active
}

lnbits_service() {
    local venv="$HOME_OF_NODE/lnbits/venv" hex=""
    [ -n "$DRY_RUN" ] || hex="$(od -An -v -tx1 "$(macaroon)" | tr -d ' \n')"
    {
        printf 'LNBITS_DATA_FOLDER=%s\nLNBITS_EXTENSIONS_PATH=%s\n' "$HOME_OF_NODE/lnbits/data" "$HOME_OF_NODE/lnbits"
        printf 'LNBITS_ADMIN_UI=true\nLNBITS_ALLOW_NEW_ACCOUNTS=false\nLNBITS_BACKEND_WALLET_CLASS=LndRestWallet\n'
        printf 'LND_REST_ENDPOINT=https://localhost:%s/\nLND_REST_CERT=%s\nLND_REST_MACAROON=%s\n' "$LND_REST_PORT" "$HOME_OF_NODE/lnd/tls.cert" "$hex"
        # Else it gives LND seven seconds after a restart of the machine, and then goes on with a wallet that takes nothing.
        printf 'FUNDING_SOURCE_MAX_RETRIES=500\n'
        printf 'AUTH_SECRET_KEY=%s\nFIRST_INSTALL_TOKEN=%s\n' "$(secret LNBITS_AUTH_SECRET)" "$(secret LNBITS_INSTALL_TOKEN)"
    } | put "$HOME_OF_NODE/lnbits/lnbits.env" 600
    [ -n "$DRY_RUN" ] || mkdir -p "$HOME_OF_NODE/lnbits/data"
    unit_write lnbits "$HOME_OF_NODE/lnbits" "$HOME_OF_NODE/lnbits/lnbits.env" "$venv/bin/python" "$venv/bin/lnbits" --host 127.0.0.1 --port "$LNBITS_PORT"
}

lnbits_keys() {
    local body="$HOME_OF_NODE/body" password token answer
    if [ -n "$DRY_RUN" ]; then
        say "would make LNbits' administrator and a wallet, and keep their keys in $CREDENTIALS"
        return
    fi
    if [ -n "$(recall LNBITS_ADMIN_KEY)" ]; then return; fi
    password="$(secret LNBITS_PASSWORD)"
    remember LNBITS_USERNAME operator
    printf '{"username": "operator", "password": "%s", "password_repeat": "%s", "first_install_token": "%s"}' \
        "$password" "$password" "$(secret LNBITS_INSTALL_TOKEN)" | put "$body" 600
    token="$(lnbits PUT /api/v1/auth/first_install "$body" 2>/dev/null | json access_token 2>/dev/null)" || token=""
    if [ -z "$token" ]; then # it was made before, by a run that was cut short
        printf '{"username": "operator", "password": "%s"}' "$password" | put "$body" 600
        token="$(lnbits POST /api/v1/auth "$body" | json access_token)"
    fi
    printf '{"name": "node"}' | put "$body" 600
    answer="$(lnbits POST /api/v1/wallet "$body" "Authorization: Bearer $token")"
    rm -f "$body"
    token="$(printf '%s' "$answer" | json inkey)"
    remember LNBITS_INVOICE_KEY "$token"
    token="$(printf '%s' "$answer" | json adminkey)"
    remember LNBITS_ADMIN_KEY "$token"
}

umask 077
if [ -f "$SETTINGS" ]; then
    was="$(setting network)"
    [ "$was" = "$NETWORK" ] || die "this node is on $was; for $NETWORK choose another NODE_HOME"
    if [ "$WAS_MIB" = 0 ] && [ "$PRUNE_MIB" -ne 0 ] && [ -z "$PRUNE_ANYWAY" ]; then
        die "this node keeps all blocks, and would delete most of them; say so with --throw-blocks-away"
    fi
fi
programs
lnbits_program
configure
unit_start bitcoind
wait_for 1800 "Bitcoin" bitcoin getblockchaininfo
unit_start lnd
wallet
lnbits_service
unit_start lnbits
wait_for 600 "LNbits" lnbits_answers
lnbits_keys
if [ -n "$DRY_RUN" ]; then
    say "Nothing was done."
    exit 0
fi
say "The node is up. Bitcoin catches up with the chain now, for hours or days: status.sh says how far it is."
if [ "$SYSTEM" = linux ]; then say "So that it runs while you are not logged in: loginctl enable-linger"; fi
