#!/usr/bin/env bash
# The call that turns the order to `ready`: made only when all three answer, with a token that is good for one call. Sourced by provision.sh.

CALLS_MAX="${TIMMY_NODE_CALLS_MAX:-40}"
CALL_PAUSE_SECONDS_MAX=60

call_home() {
    if [ -f "$STATE/called-home" ]; then
        erase_token
        return
    fi
    local n said="" pause="$POLL_SECONDS"
    lnbits_answers >/dev/null || die "LNbits does not answer"
    for ((n = 1; n <= CALLS_MAX; n++)); do
        said="$(report)"
        case "$said" in
        2*ready)
            say "called home: it knows that this node is ready"
            break
            ;;
        410*)
            say "called home: nobody waits for this node any more"
            break
            ;;
        esac
        say "called home: answered '$said', call $n of $CALLS_MAX"
        [ "$n" -lt "$CALLS_MAX" ] || die "nobody could be told that this node is ready"
        sleep "$pause"
        pause=$((pause * 2 > CALL_PAUSE_SECONDS_MAX ? CALL_PAUSE_SECONDS_MAX : pause * 2))
    done
    touch "$STATE/called-home"
    erase_token
}

# One call, with what the three have said just now, asked here and now. Prints the status of the answer and the state in it.
report() {
    local body="$STATE/report" headers="$STATE/call-headers" answer="$STATE/answer" status known=""
    if ! node_report >"$body"; then
        rm -f "$body"
        printf 'nothing: one of the three is silent'
        return
    fi
    printf 'Authorization: Bearer %s\nContent-Type: application/json\n' "$NODE_CALL_HOME_TOKEN" | settle "$headers" 600
    rm -f "$answer"
    status="$(curl --silent --show-error --max-time 30 --output "$answer" --write-out '%{http_code}' --header "@$headers" \
        --data-binary "@$body" "$NODE_CALL_HOME_URL")" || status=000
    if [ -f "$answer" ]; then known="$(json state <"$answer" 2>/dev/null)" || known=""; fi
    rm -f "$body" "$headers" "$answer"
    printf '%s %s' "$status" "$known"
}

# What the node says of itself, as call_home.py has it. No credential is in it. Fails when one of the three does not answer.
node_report() {
    local bitcoin lightning name=""
    bitcoin="$(bitcoin_cli getblockchaininfo)" || return 1
    lightning="$(lnd GET /v1/getinfo)" || return 1
    lnbits_answers >/dev/null || return 1
    if tailscale_up; then name="$(tailscale status --json | json Self.DNSName)"; fi
    printf '%s\0%s\0%s\0%s\0%s' "$bitcoin" "$lightning" "${name%.}" "$NODE_HOSTNAME" "$NODE_NETWORK" | python3 -IS -c '
import json, sys
bitcoin, lnd, name, hostname, network = sys.stdin.read().split("\0")
bitcoin, lnd = json.loads(bitcoin), json.loads(lnd)
report = {
    "state": "ready",
    "hostname": hostname,
    "network": network,
    "lnbitsUrl": "http://%s:5000" % (name or "127.0.0.1"),
    "bitcoin": {key: bitcoin.get(key) for key in ("blocks", "headers", "pruned")},
    "lnd": {"version": lnd.get("version"), "publicKey": lnd.get("identity_pubkey"), "syncedToChain": lnd.get("synced_to_chain")},
}
if name:
    report["tailscaleName"] = name
print(json.dumps(report))'
}

# Used up, and worth nothing any more; but what nobody needs should not lie about. cloud-init keeps copies of what it was given.
erase_token() {
    if [ -z "$NODE_CALL_HOME_TOKEN" ]; then return; fi
    forget NODE_CALL_HOME_TOKEN
    find "$ROOT/var/lib/cloud/instances" -type f \( -name 'user-data*' -o -name 'cloud-config*' \) -exec truncate -s 0 {} + 2>/dev/null || true
}
