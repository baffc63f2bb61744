
# The whole way of a job --------------------------------------------------------------------------------------

# Whether we can pay: only where development routes exist, and nobody has asked us not to.
find_payer() {
    http POST "/api/dev/stub/pay/$(many 64 0)"
    if [ "$PAY" = 0 ]; then
        CANNOT_PAY='PAY=0'
    elif [ "$(json .code)" = invoice_not_found ]; then
        CANNOT_PAY=''
    else
        CANNOT_PAY='this server has no development routes to pay with'
    fi
    begin 'an unknown invoice cannot be paid: 404'
    want_problem 404 any
    end
}

pay() {
    http POST "/api/dev/stub/pay/$1"
    want_status 200
    want_field .paid true
}

# wait_for STATE [STATE …]: looks at $JOB until it is in one of them.
wait_for() {
    local until=$(($(date +%s) + WAIT)) state wanted
    while :; do
        http GET "/api/jobs/$JOB"
        state=$(json .state)
        for wanted in "$@"; do
            [ "$state" = "$wanted" ] && return 0
        done
        case $state in
        rejected | complete | failed | expired) break ;;
        esac
        [ "$(date +%s)" -lt "$until" ] || break
        sleep 0.3
    done
    wrong "the job should become $* and is ${state:-gone} ($(json .reason)$(json .waiting))"
    return 1
}

is() {
    http GET "/api/jobs/$JOB"
    [ "$(json .state)" = "$1" ]
}

# new_job REQUEST: $JOB, with its evaluation paid
new_job() {
    http POST /api/jobs "{\"request\": \"$1 ($RUN)\"}"
    want_status 201
    JOB=$(json .jobId)
    pay "$(json .evalInvoice.paymentHash)"
}

test_flow() {
    if [ -n "$CANNOT_PAY" ]; then
        local name
        for name in 'paying for the evaluation' 'the price of the work' 'paying for the work' 'the result' 'the cost ledger' 'live events'; do
            skip "$name" "$CANNOT_PAY"
        done
        return
    fi
    curl -sSN -m "$((WAIT * 2))" "$BASE/api/jobs/$JOB/events" </dev/null >"$WORK/live" 2>/dev/null &
    LIVE=$!
    local try=0
    while [ $((try += 1)) -lt 100 ] && ! grep -q '^event: job' "$WORK/live"; do
        sleep 0.1
    done

    begin 'paying for the evaluation has it judged, and paying again changes nothing'
    pay "$EVAL_HASH"
    pay "$EVAL_HASH"
    wait_for awaiting_work_payment
    want_field .evalInvoice.amountSats "$EVAL_SATS"
    want_invoice .workInvoice
    end

    begin 'the price of the work comes with its reasons, and they add up'
    local field
    for field in estimatedCostUsd marginPct btcPriceUsd estimatedInputTokens estimatedOutputTokens amountSats; do
        want_field_like ".pricingBreakdown.$field" '^[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?$'
    done
    want_field .pricingBreakdown.amountSats "$(json .workInvoice.amountSats)"
    awk -v usd="$(json .pricingBreakdown.estimatedCostUsd)" -v margin="$(json .pricingBreakdown.marginPct)" \
        -v btc="$(json .pricingBreakdown.btcPriceUsd)" -v sats="$(json .pricingBreakdown.amountSats)" 'BEGIN {
            exact = usd * (1 + margin / 100) / btc * 100000000
            exit !(sats >= 1 && sats > exact - 0.001 && (sats < exact + 1.001 || sats == 1)) }' ||
        wrong 'amountSats is not the cost with its margin at that price, rounded up'
    end

    begin 'paying for the work has it done'
    local work
    work=$(json .workInvoice.paymentHash)
    pay "$work"
    http GET "/api/jobs/$JOB"
    want_field_like .state '^(awaiting_work_payment|executing|complete)$'
    wait_for complete
    pay "$work"
    end
    if ! is complete; then
        kill "$LIVE" 2>/dev/null
        skip 'the result, the cost ledger and the events' 'the job did not become complete'
        return
    fi

    http GET "/api/jobs/$JOB"
    begin 'the result is there, and when it was finished'
    case $(json .result) in
    '' | null) wrong 'there is no result' ;;
    esac
    want_field_like .completedAt '^20[0-9]{2}-.*Z$'
    want_field_like .truncated '^(true|false)$'
    end

    begin 'the cost ledger adds up, and charges no more than was paid'
    want_sum totalTokens "$(json .costLedger.totalTokens)" "$(json .costLedger.actualInputTokens)" "$(json .costLedger.actualOutputTokens)"
    want_sum workAmountSats "$(json .costLedger.workAmountSats)" "$(json .costLedger.actualAmountSats)" "$(json .costLedger.refundAmountSats)"
    want_field .costLedger.workAmountSats "$(json .workInvoice.amountSats)"
    want_field_like .costLedger.actualCostUsd '^[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?$'
    want_field_like .costLedger.refundState '^(not_applicable|pending|paid)$'
    want_field .refund.owedSats "$(json .costLedger.refundAmountSats)"
    end

    test_events
}

test_events() {
    begin 'the job was told as it happened, and the stream has ended by itself'
    wait "$LIVE" || wrong 'the stream was cut off'
    local state
    for state in awaiting_eval_payment awaiting_work_payment complete; do
        grep -q "^data: .*\"state\":\"$state\"" "$WORK/live" || wrong "nothing was told about $state"
    done
    grep -q '^event: job' "$WORK/live" || wrong 'there was no event: job'
    grep -q '^event: progress' "$WORK/live" || wrong 'there was no event: progress'
    awk '/^id: / { if ($2 + 0 <= last) exit 1; last = $2 + 0 } END { exit !last }' "$WORK/live" || wrong 'the ids do not grow'
    end

    begin 'a reader that comes back gets what it missed, and 204 when there is nothing more'
    local last
    last=$(awk '/^id: / { last = $2 } END { print last }' "$WORK/live")
    http GET "/api/jobs/$JOB/events" -H "Last-Event-ID: $last"
    want_like 'the status' '^20[04]$' "$STATUS"
    grep -q '^event: progress' "$BODY" && wrong 'old news were told again'
    http GET "/api/jobs/$JOB/events" -H "Last-Event-ID: 1"
    want_status 200
    want_header_like content-type '^text/event-stream'
    grep -q '^event: job' "$BODY" || wrong 'it did not begin with the job'
    end
}

test_other_ends() {
    if [ -n "$CANNOT_PAY" ]; then
        skip 'a rejected job' "$CANNOT_PAY"
        skip 'a failed job' "$CANNOT_PAY"
        return
    fi
    if [ "$PROVIDER" != builtin ]; then
        skip 'a rejected job' 'only the built-in agent rejects on demand'
        skip 'a failed job' 'only the built-in agent fails on demand'
        return
    fi

    begin 'a request that the agent should not do is rejected, with a reason and without a price'
    new_job 'please reject this'
    wait_for rejected
    [ "$(json .reason)" != null ] || wrong 'there is no reason'
    want_field .workInvoice null
    want_field .result null
    want_field_like .completedAt 'Z$'
    end

    begin 'work that fails is owed back, all of it, and is paid back'
    new_job 'please fail'
    if wait_for awaiting_work_payment; then
        local price
        price=$(json .workInvoice.amountSats)
        pay "$(json .workInvoice.paymentHash)"
        wait_for failed
        [ "$(json .reason)" != null ] || wrong 'there is no reason'
        want_field .refund.owedSats "$price"
        want_field .refund.state pending
        if customer_invoice "$price"; then
            http POST "/api/jobs/$JOB/refund" "{\"invoice\": \"$INVOICE\"}"
            want_status 200
            wait_for_refund
            want_field .refund.paidSats "$price"
        fi
    fi
    end
}
