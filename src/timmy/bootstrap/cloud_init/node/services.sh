#!/usr/bin/env bash
# What the node is: Bitcoin, LND, LNbits, each in a container of a pinned image. Sourced by provision.sh.

pull() {
    grep -Eq '^[^@ ]+@sha256:[0-9a-f]{64}$' <<<"$1" || die "'$1' is not pinned by its digest, and is not run"
    docker image inspect "$1" >/dev/null 2>&1 || again 5 timeout 1800 docker pull -q "$1" || die "$1 could not be had"
}

# container NAME IMAGE OF [docker's options] [-- the program's]: running, and made of exactly this; `OF` stands for its files.
container() {
    local name="$1" image="$2" of="$3" recipe options=()
    shift 3
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    if [ $# -gt 0 ]; then shift; fi
    recipe="$(printf '%s\n' "$image" "$of" "${options[@]}" "$@" | sha256sum | cut -c1-64)"
    if [ "$(docker inspect -f '{{index .Config.Labels "timmy-node"}}' "$name" 2>/dev/null)" = "$recipe" ]; then
        docker start "$name" >/dev/null # nothing, when it runs
        return
    fi
    pull "$image"
    if docker inspect "$name" >/dev/null 2>&1; then
        timeout 900 docker stop -t 600 "$name" >/dev/null || true
        docker rm -f "$name" >/dev/null
    fi
    docker run -d --name "$name" --label "timmy-node=$recipe" --restart unless-stopped --network timmy-node --stop-timeout 600 \
        --security-opt no-new-privileges --log-opt max-size=50m --log-opt max-file=3 "${options[@]}" "$image" "$@" >/dev/null
    say "$name: started from $image"
}

fingerprint() { sha256sum "$@" | cut -c1-64 | tr '\n' ' '; }

bitcoin() {
    local conf="$DATA/bitcoin/bitcoin.conf" port
    install -d -m 700 "$DATA/bitcoin"
    port="$(p2p_port)"
    {
        printf 'server=1\nlisten=1\nrpcuser=timmy\nrpcpassword=%s\n' "$(secret BITCOIN_RPC_PASSWORD)"
        printf 'zmqpubrawblock=tcp://0.0.0.0:28332\nzmqpubrawtx=tcp://0.0.0.0:28333\n'
        if [ "$NODE_PRUNE_MIB" -gt 0 ]; then printf 'prune=%s\n' "$NODE_PRUNE_MIB"; fi
    } | settle "$conf" 600
    container timmy-bitcoind "$NODE_BITCOIN_IMAGE" "$(fingerprint "$conf")" --network-alias bitcoind --env BITCOIN_DATA=/data \
        --volume "$DATA/bitcoin:/data" --publish "$port:$port" \
        -- -chain="$(chain)" -port="$port" -rpcport=8332 -rpcbind=0.0.0.0 -rpcallowip=127.0.0.1 -rpcallowip=172.31.240.0/24
    wait_for 1800 "Bitcoin" bitcoin_cli getblockchaininfo
}

lnd_daemon() {
    local conf="$DATA/lnd/lnd.conf"
    install -d -m 700 "$DATA/lnd"
    secret LND_WALLET_PASSWORD | settle "$DATA/lnd/wallet-password" 600
    settle "$conf" 600 <<CONF
[Application Options]
alias=$NODE_HOSTNAME
listen=0.0.0.0:9735
rpclisten=0.0.0.0:10009
restlisten=0.0.0.0:8080
tlsextradomain=lnd
wallet-unlock-password-file=/data/wallet-password
wallet-unlock-allow-create=true
[Bitcoin]
bitcoin.$NODE_NETWORK=true
bitcoin.node=bitcoind
[Bitcoind]
bitcoind.rpchost=bitcoind:8332
bitcoind.rpcuser=timmy
bitcoind.rpcpass=$(secret BITCOIN_RPC_PASSWORD)
bitcoind.zmqpubrawblock=tcp://bitcoind:28332
bitcoind.zmqpubrawtx=tcp://bitcoind:28333
CONF
    container timmy-lnd "$NODE_LND_IMAGE" "$(fingerprint "$conf")" --network-alias lnd --volume "$DATA/lnd:/data" \
        --publish 9735:9735 --publish 127.0.0.1:8080:8080 -- --lnddir=/data --configfile=/data/lnd.conf
    wait_for 600 "LND" lnd_state
}

lnd_state() { lnd GET /v1/state | json state; }

lnd_is_active() { case "$(lnd_state)" in RPC_ACTIVE | SERVER_ACTIVE) ;; *) return 1 ;; esac; }

past_waiting() { case "$(lnd_state)" in WAITING_TO_START) return 1 ;; *) lnd_state ;; esac; }

# The seed is kept before the wallet is made of it: a power cut between the two loses nothing.
lnd_wallet() {
    local seed hex body="$STATE/lnd-body" macaroon="$DATA/lnd/data/chain/bitcoin/$NODE_NETWORK/admin.macaroon"
    wait_for 600 "LND's wallet service" past_waiting
    case "$(lnd_state)" in
    NON_EXISTING)
        if [ -z "$(recall LND_SEED)" ]; then
            seed="$(lnd GET /v1/genseed | python3 -IS -c 'import json, sys; print(*json.load(sys.stdin)["cipher_seed_mnemonic"])')"
            remember LND_SEED "$seed"
        fi
        wallet_body cipher_seed_mnemonic >"$body"
        lnd POST /v1/initwallet "$body" >/dev/null
        say "LND's wallet: made"
        ;;
    LOCKED)
        wallet_body '' >"$body"
        lnd POST /v1/unlockwallet "$body" >/dev/null || true # LND may have done so by itself in the meantime
        ;;
    esac
    rm -f "$body"
    wait_for 900 "LND's macaroon" test -s "$macaroon"
    hex="$(od -An -v -tx1 "$macaroon" | tr -d ' \n')"
    remember LND_ADMIN_MACAROON "$hex"
    wait_for 1800 "LND's interface" lnd_is_active
}

wallet_body() {
    printf '%s\n%s\n%s\n' "$1" "$(secret LND_WALLET_PASSWORD)" "$(recall LND_SEED)" | python3 -IS -c '
import base64, json, sys
seed_as, password, seed = sys.stdin.read().splitlines()
body = {"wallet_password": base64.b64encode(password.encode()).decode()}
if seed_as:
    body[seed_as] = seed.split()
print(json.dumps(body))'
}

# What LNbits may do with LND: invoices and payments. It cannot touch the coins on the chain, nor open or close channels.
LNBITS_MAY='{"permissions": [{"entity": "info", "action": "read"}, {"entity": "invoices", "action": "read"},
 {"entity": "invoices", "action": "write"}, {"entity": "offchain", "action": "read"}, {"entity": "offchain", "action": "write"}]}'

lnbits_server() {
    local settings="$DATA/lnbits/lnbits.env" body="$STATE/lnd-body" macaroon
    install -d -m 700 "$DATA/lnbits" "$DATA/lnbits/data" "$DATA/lnbits/lnd"
    if [ -z "$(recall LNBITS_LND_MACAROON)" ]; then
        printf '%s' "$LNBITS_MAY" >"$body"
        macaroon="$(lnd POST /v1/macaroon "$body" | json macaroon)"
        remember LNBITS_LND_MACAROON "$macaroon"
        rm -f "$body"
    fi
    settle "$DATA/lnbits/lnd/tls.cert" 644 <"$DATA/lnd/tls.cert"
    {
        printf 'LNBITS_ADMIN_UI=true\nLNBITS_DATA_FOLDER=/app/data\nLNBITS_ALLOW_NEW_ACCOUNTS=false\nLNBITS_SITE_TITLE=%s\n' "$NODE_HOSTNAME"
        printf 'LNBITS_BACKEND_WALLET_CLASS=LndRestWallet\nLND_REST_ENDPOINT=https://lnd:8080/\nLND_REST_CERT=/lnd/tls.cert\n'
        printf 'LND_REST_MACAROON=%s\n' "$(recall LNBITS_LND_MACAROON)"
        # Else it gives LND seven seconds after a restart of the machine, and then goes on with a wallet that takes nothing. A minute each;
        # above a thousand it breaks on its own sum.
        printf 'FUNDING_SOURCE_MAX_RETRIES=500\n'
        printf 'AUTH_SECRET_KEY=%s\nFIRST_INSTALL_TOKEN=%s\n' "$(secret LNBITS_AUTH_SECRET)" "$(secret LNBITS_INSTALL_TOKEN)"
    } | settle "$settings" 600
    container timmy-lnbits "$NODE_LNBITS_IMAGE" "$(fingerprint "$settings" "$DATA/lnbits/lnd/tls.cert")" --network-alias lnbits \
        --env-file "$settings" --volume "$DATA/lnbits/data:/app/data" --volume "$DATA/lnbits/lnd:/lnd:ro" --publish 127.0.0.1:5000:5000
    wait_for 900 "LNbits" lnbits_answers
}

lnbits_answers() { lnbits GET /api/v1/health; }

# Its administrator and one wallet, by its own interface. A run that was cut short logs in with what is kept.
lnbits_keys() {
    if [ -n "$(recall LNBITS_ADMIN_KEY)" ]; then return; fi
    local body="$STATE/lnbits-body" password token wallet
    password="$(secret LNBITS_PASSWORD)"
    remember LNBITS_USERNAME operator
    printf '{"username": "operator", "password": "%s", "password_repeat": "%s", "first_install_token": "%s"}' \
        "$password" "$password" "$(secret LNBITS_INSTALL_TOKEN)" >"$body"
    token="$(lnbits PUT /api/v1/auth/first_install "$body" | json access_token)" || token=""
    if [ -z "$token" ]; then
        printf '{"username": "operator", "password": "%s"}' "$password" >"$body"
        token="$(again 5 lnbits POST /api/v1/auth "$body" | json access_token)"
    fi
    printf '{"name": "node"}' >"$body"
    wallet="$(lnbits POST /api/v1/wallet "$body" "Authorization: Bearer $token")"
    rm -f "$body"
    local field
    for field in LNBITS_WALLET_ID:id LNBITS_INVOICE_KEY:inkey LNBITS_ADMIN_KEY:adminkey; do # the last one says that all is there
        token="$(json "${field#*:}" <<<"$wallet")"
        remember "${field%:*}" "$token"
    done
}
