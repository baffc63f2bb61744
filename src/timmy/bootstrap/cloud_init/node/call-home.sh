#!/usr/bin/env bash
# The call that turns the order to `ready`: made only when all three answer, with a token that is good for one call. Sourced by provision.sh.

CALLS_MAX="${TIMMY_NODE_CALLS_MAX:-40}"
CALL_PAUSE_SECONDS_MAX=60

call_home() {
    if [ -f "$STATE/called-home" ]; then
        erase_token
        return
    fi
    local report="$STATE/report" headers="$STATE/call-headers" n status pause="$POLL_SECONDS"
    lnbits_answers >/dev/null || die "LNbits does not answer"
    node_report >"$report"
    printf 'Authorization: Bearer %s\nContent-Type: application/json\n' "$NODE_CALL_HOME_TOKEN" | settle "$headers" 600
    for ((n = 1; n <= CALLS_MAX; n++)); do
        status="$(curl --silent --show-error --max-time 30 --output /dev/null --write-out '%{http_code}' --header "@$headers" \
            --data-binary "@$report" "$NODE_CALL_HOME_URL")" || status=000
        case "$status" in
        2??)
            say "called home: it knows that this node is ready"
            break
            ;;
        401 | 403 | 404 | 409 | 410)
            say "called home: answered $status, so nobody waits for this node's call any more"
            break
            ;;
        esac
        say "called home: answered $status, call $n of $CALLS_MAX"
        if [ "$n" -eq "$CALLS_MAX" ]; then
            rm -f "$headers"
            die "nobody could be told; the next start of this machine tries again, or $0"
        fi
        sleep "$pause"
        pause=$((pause * 2 > CALL_PAUSE_SECONDS_MAX ? CALL_PAUSE_SECONDS_MAX : pause * 2))
    done
    rm -f "$headers" "$report"
    touch "$STATE/called-home"
    erase_token
}

# What the node says of itself. No credential is in it.
node_report() {
    local name="" url="http://127.0.0.1:5000"
    if tailscale_up; then
        name="$(tailscale status --json | json Self.DNSName)"
        name="${name%.}"
        url="http://$name:5000"
    fi
    { bitcoin_cli getblockchaininfo && printf '\0' && lnd GET /v1/getinfo && printf '\0%s\0%s\0%s\0%s' "$NODE_HOSTNAME" "$NODE_NETWORK" "$name" "$url"; } |
        python3 -c '
import json, sys
bitcoin, lnd, hostname, network, name, url = sys.stdin.read().split("\0")
bitcoin, lnd = json.loads(bitcoin), json.loads(lnd)
print(json.dumps({
    "state": "ready", "hostname": hostname, "network": network, "tailscaleName": name or None, "lnbitsUrl": url,
    "bitcoin": {"blocks": bitcoin["blocks"], "headers": bitcoin["headers"], "pruned": bitcoin["pruned"]},
    "lnd": {"version": lnd["version"], "publicKey": lnd["identity_pubkey"], "syncedToChain": lnd["synced_to_chain"]},
}))'
}

# Used up, and worth nothing any more; but what nobody needs should not lie about. cloud-init keeps copies of what it was given.
erase_token() {
    if [ -z "$NODE_CALL_HOME_TOKEN" ]; then return; fi
    forget NODE_CALL_HOME_TOKEN
    find "$ROOT/var/lib/cloud/instances" -type f \( -name 'user-data*' -o -name 'cloud-config*' \) -exec truncate -s 0 {} + 2>/dev/null || true
}
