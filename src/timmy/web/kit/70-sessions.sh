# Sessions: pay ahead, spend per request, take the rest back ------------------------------------------------------

# amount_refused NAME BODY: 422 for a deposit, with the bounds
amount_refused() {
    begin "a deposit of $1: 422, and the bounds"
    http POST /api/sessions "$2"
    want_problem 422 any
    want_field_like .minSats '^[0-9]+$'
    want_field_like .error "$(json .maxSats)"
    end
}

# with_macaroon METHOD PATH BODY [curl's arguments …]
with_macaroon() {
    local method=$1 path=$2 body=$3
    shift 3
    http "$method" "$path" "$body" -H "Authorization: Bearer $MACAROON" ${1+"$@"}
}

# wait_for_session FIELD PATTERN: looks at $SESSION until the field looks so.
wait_for_session() {
    local until=$(($(date +%s) + WAIT))
    while :; do
        http GET "/api/sessions/$SESSION"
        [[ $(json "$1") =~ $2 ]] && return 0
        [ "$(date +%s)" -lt "$until" ] || break
        sleep 0.3
    done
    wrong "the session's $1 should become $2 and is $(json "$1")"
    return 1
}

test_session_opening() {
    amount_refused 'nothing' '{}'
    amount_refused 'zero' '{"amountSats": 0}'
    amount_refused 'less than nothing' '{"amountSats": -500}'
    amount_refused 'half a sat' '{"amountSats": 500.5}'
    amount_refused 'a fraction that is whole' '{"amountSats": 500.0}'
    amount_refused 'a text' '{"amountSats": "500"}'
    amount_refused 'true' '{"amountSats": true}'
    amount_refused 'null' '{"amountSats": null}'
    amount_refused 'more than there is' '{"amountSats": 99999999999999999999}'

    begin 'a session: 201 and the invoice of its deposit'
    http POST /api/sessions '{"amountSats": 0}'
    DEPOSIT=$(($(json .minSats) * 5))
    http POST /api/sessions "{\"amountSats\": $DEPOSIT}"
    want_status 201
    want_field .state awaiting_payment
    want_field .trust_tier anonymous
    want_invoice .invoice
    want_field .invoice.amountSats "$DEPOSIT"
    SESSION=$(json .sessionId)
    SESSION_HASH=$(json .invoice.paymentHash)
    want_like 'the location' "/api/sessions/$SESSION" "$(header location)"
    end

    begin 'before it is paid there is no balance, no macaroon and nothing to spend'
    http GET "/api/sessions/$SESSION"
    want_status 200
    want_field .state awaiting_payment
    want_field .balanceSats 0
    want_field .macaroon null
    http POST "/api/sessions/$SESSION/topup" "{\"amountSats\": $DEPOSIT}"
    want_problem 409 session_not_open
    http GET "/api/sessions/$SESSION_HASH"
    want_problem 404 any
    end

    begin 'a request without the macaroon is told what to pay (402), with another it is refused (401)'
    http POST "/api/sessions/$SESSION/request" '{"request": "x"}'
    want_problem 402 payment_required
    want_like "the challenge" "^LSAT" "$(headers www-authenticate)"
    MACAROON=AgEFdGltbXkC
    with_macaroon POST "/api/sessions/$SESSION/request" '{"request": "x"}'
    want_problem 401 any
    with_macaroon POST "/api/sessions/$SESSION/close" '{"lightningAddress": "me@wallet.example"}'
    want_problem 401 any
    end
}

test_session_spending() {
    if [ -n "$CANNOT_PAY" ]; then
        skip 'spending from a session' "$CANNOT_PAY"
        return
    fi
    begin 'a paid deposit is the balance, and the macaroon is there'
    pay "$SESSION_HASH"
    wait_for_session .state '^active$'
    want_field .balanceSats "$DEPOSIT"
    want_field_like .macaroon '.{20,}'
    MACAROON=$(json .macaroon)
    end
    if [ -z "$MACAROON" ] || [ "$MACAROON" = null ]; then
        skip 'the rest of the session' 'it was not opened'
        return
    fi

    begin 'a request is done, and costs what it says'
    with_macaroon POST "/api/sessions/$SESSION/request" "{\"request\": \"What is 6 times 7? ($RUN)\"}" -H "Idempotency-Key: $RUN-s"
    want_status 200
    want_field .state complete
    case $(json .result) in
    '' | null) wrong 'there is no result' ;;
    esac
    want_field .free_tier false
    local spent request
    spent=$(json .debitedMsat) request=$(json .requestId)
    want_sum 'the deposit' "$((DEPOSIT * 1000))" "$spent" "$(json .balanceRemainingMsat)"
    http GET "/api/sessions/$SESSION"
    want_field .balanceMsat "$((DEPOSIT * 1000 - spent))"
    want_field .heldMsat 0
    end

    begin 'the same Idempotency-Key again: the same request, paid for once'
    with_macaroon POST "/api/sessions/$SESSION/request" "{\"request\": \"What is 6 times 7? ($RUN)\"}" -H "Idempotency-Key: $RUN-s"
    want_status 200
    want_field .requestId "$request"
    http GET "/api/sessions/$SESSION"
    want_field .balanceMsat "$((DEPOSIT * 1000 - spent))"
    end

    begin 'what cannot be asked costs nothing'
    with_macaroon POST "/api/sessions/$SESSION/request" '{}'
    want_problem 422 request_missing
    with_macaroon POST "/api/sessions/$SESSION/request" '{"request": "x", "sats": 1}'
    want_problem 422 field_unknown
    MACAROON=${MACAROON%?????} with_macaroon POST "/api/sessions/$SESSION/request" '{"request": "x"}'
    want_problem 401 any
    http GET "/api/sessions/$SESSION"
    want_field .balanceMsat "$((DEPOSIT * 1000 - spent))"
    end

    test_session_topup
    test_v1
    test_session_close
}

test_session_topup() {
    begin 'a top-up: one waits at a time, and a second is 409 with the first'
    http POST "/api/sessions/$SESSION/topup" "{\"amountSats\": $DEPOSIT}"
    want_status 201
    local hash before
    hash=$(json .paymentHash)
    http POST "/api/sessions/$SESSION/topup" "{\"amountSats\": $DEPOSIT}"
    want_problem 409 topup_pending
    want_field .invoice.paymentHash "$hash"
    http GET "/api/sessions/$SESSION"
    want_field .pendingTopup.paymentHash "$hash"
    before=$(json .balanceMsat)
    pay "$hash"
    wait_for_session .pendingTopup '^null$'
    want_field .balanceMsat "$((before + DEPOSIT * 1000))"
    end
}

test_session_close() {
    begin 'closing pays what is left, in whole sats, and ends the session'
    http GET "/api/sessions/$SESSION"
    local left
    left=$(json .balanceSats)
    with_macaroon POST "/api/sessions/$SESSION/close" '{}'
    want_problem 422 destination_missing
    if customer_invoice "$left"; then
        with_macaroon POST "/api/sessions/$SESSION/close" "{\"invoice\": \"$INVOICE\"}"
        want_status 200
        want_field .state expired
        wait_for_session .refund.state '^paid$'
        want_field .refund.paidSats "$left"
        want_field .balanceSats 0
        with_macaroon POST "/api/sessions/$SESSION/request" '{"request": "x"}'
        want_problem 409 session_ended
        http POST "/api/sessions/$SESSION/topup" "{\"amountSats\": $DEPOSIT}"
        want_problem 409 session_ended
        end
    else
        skip 'closing a session' 'the wallet is a real one: close it with an invoice of your own'
    fi

    begin 'the session was told as it was spent'
    curl -sSN -m "$WAIT" "$BASE/api/sessions/$SESSION/events" </dev/null >"$BODY" 2>/dev/null
    grep -q '^event: session' "$BODY" || wrong 'there was no event: session'
    grep -q '^event: balance' "$BODY" || wrong 'there was no event: balance'
    grep -q '^event: end' "$BODY" || wrong 'it did not end'
    grep -Fq "$MACAROON" "$BODY" && wrong 'it holds the macaroon'
    end
}
