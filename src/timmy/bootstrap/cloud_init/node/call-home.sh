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

# One call: which of the three have answered just now, asked here and now. Prints the status of the answer and the state in it.
report() {
    local body="$STATE/report" headers="$STATE/call-headers" answer="$STATE/answer" status known=""
    node_report >"$body"
    printf 'Authorization: Bearer %s\nContent-Type: application/json\n' "$NODE_CALL_HOME_TOKEN" | settle "$headers" 600
    rm -f "$answer"
    status="$(curl --silent --show-error --max-time 30 --output "$answer" --write-out '%{http_code}' --header "@$headers" \
        --data-binary "@$body" "$NODE_CALL_HOME_URL")" || status=000
    if [ -f "$answer" ]; then known="$(json state <"$answer" 2>/dev/null)" || known=""; fi
    rm -f "$body" "$headers" "$answer"
    printf '%s %s' "$status" "$known"
}

# For whoever waits meanwhile: tried once, and not worth a failure.
tell_progress() {
    if [ -n "$NODE_CALL_HOME_TOKEN" ] && [ ! -f "$STATE/called-home" ]; then report >/dev/null || true; fi
}

# What the node says of itself. No credential is in it.
node_report() {
    local bitcoin="" lnd="" lnbits="" name=""
    bitcoin="$(bitcoin_cli getblockchaininfo 2>/dev/null)" || bitcoin=""
    lnd="$(lnd GET /v1/getinfo 2>/dev/null)" || lnd=""
    if lnbits_answers >/dev/null 2>&1; then lnbits=yes; fi
    if tailscale_up; then name="$(tailscale status --json | json Self.DNSName)"; fi
    printf '%s\0%s\0%s\0%s' "$bitcoin" "$lnd" "$lnbits" "${name%.}" | python3 -IS -c '
import json, sys
bitcoin, lnd, lnbits, name = sys.stdin.read().split("\0")
report = {"bitcoind": bool(bitcoin), "lnd": bool(lnd), "lnbits": bool(lnbits)}
if name:
    report["tailscaleName"] = name
if bitcoin:
    report["message"] = "Bitcoin: block {blocks} of {headers}.".format(**json.loads(bitcoin))
print(json.dumps(report))'
}

# Used up, and worth nothing any more; but what nobody needs should not lie about. cloud-init keeps copies of what it was given.
erase_token() {
    if [ -z "$NODE_CALL_HOME_TOKEN" ]; then return; fi
    forget NODE_CALL_HOME_TOKEN
    find "$ROOT/var/lib/cloud/instances" -type f \( -name 'user-data*' -o -name 'cloud-config*' \) -exec truncate -s 0 {} + 2>/dev/null || true
}
