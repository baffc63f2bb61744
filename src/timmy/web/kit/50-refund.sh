
# What was paid too much comes back ------------------------------------------------------------------------------

# customer_invoice SATS: $INVOICE, an invoice of the built-in customer; fails where the wallet is a real one.
customer_invoice() {
    http POST /api/dev/stub/invoice "{\"amountSats\": $1}"
    INVOICE=$(json .paymentRequest)
    [ "$STATUS" = 201 ]
}

wait_for_refund() {
    local until=$(($(date +%s) + WAIT))
    while :; do
        http GET "/api/jobs/$JOB"
        [ "$(json .refund.state)" = paid ] && return 0
        [ "$(date +%s)" -lt "$until" ] || break
        sleep 0.3
    done
    wrong "the refund should be paid and is $(json .refund.state) ($(json .refund.trouble))"
    return 1
}

# refund_refused NAME STATUS BODY
refund_refused() {
    begin "a refund to $1 is refused"
    http POST "/api/jobs/$JOB/refund" "$3"
    want_like 'the status' "$2" "$STATUS"
    want_problem "$STATUS" any
    http GET "/api/jobs/$JOB"
    want_field .refund.owedSats "$OWED"
    want_field .refund.paidSats 0
    end
}

# Examples of BOLT 11: on mainnet, long expired, the first without an amount.
AMOUNTLESS=lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql
EXPIRED=lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh

test_refund() {
    if [ -n "$CANNOT_PAY" ]; then
        skip 'refunds' "$CANNOT_PAY"
        return
    fi
    http GET "/api/jobs/$JOB"
    OWED=$(json .refund.owedSats)
    if [ "${OWED:-0}" = 0 ]; then
        skip 'refunds' 'this job cost what was paid for it, so nothing is owed'
        return
    fi
    local first

    refund_refused 'nowhere' '^422$' '{}'
    refund_refused 'two places at once' '^422$' '{"invoice": "lnbcrt1", "lnurl": "lnurl1"}'
    refund_refused 'a number' '^422$' '{"invoice": 7}'
    refund_refused 'an empty invoice' '^422$' '{"invoice": ""}'
    refund_refused 'something that is no invoice' '^4(00|22)$' '{"invoice": "lnbcrt1thisisnoinvoice"}'
    refund_refused 'an endless invoice' '^422$' "{\"invoice\": \"lnbcrt1$(many 5000 q)\"}"
    refund_refused 'an invoice without an amount' '^422$' "{\"invoice\": \"$AMOUNTLESS\"}"
    refund_refused 'an expired invoice of mainnet' '^422$' "{\"invoice\": \"$EXPIRED\"}"
    refund_refused 'no Lightning address' '^422$' '{"lightningAddress": "nobody"}'
    refund_refused "this machine's own network" '^4(00|03|22)$' '{"lightningAddress": "root@169.254.169.254"}'
    refund_refused 'something that is no LNURL' '^422$' '{"lnurl": "lnurl1nonsense"}'

    if ! customer_invoice "$((OWED + 1))"; then
        skip 'a refund that is paid' 'the wallet is a real one: claim it with an invoice of your own'
        return
    fi
    refund_refused 'an invoice of one sat too much' '^422$' "{\"invoice\": \"$INVOICE\"}"
    if [ "$OWED" -gt 1 ]; then
        customer_invoice "$((OWED - 1))"
        refund_refused 'an invoice of one sat too little' '^422$' "{\"invoice\": \"$INVOICE\"}"
    else
        skip 'a refund to an invoice of one sat too little is refused' 'only one sat is owed'
    fi

    begin 'a refund to an invoice of exactly what is owed is paid'
    customer_invoice "$OWED" || wrong 'the customer made no invoice'
    first=$INVOICE
    http POST "/api/jobs/$JOB/refund" "{\"invoice\": \"$first\"}" -H "Idempotency-Key: $RUN-refund"
    want_status 200
    want_field_like .refund.state '^(pending|paid)$'
    wait_for_refund
    want_field .costLedger.refundState paid
    want_field .costLedger.refundAmountSats "$OWED"
    want_field .refund.paidSats "$OWED"
    want_field .refund.owedSats 0
    end

    begin 'the same refund again is the same answer, and no second payment'
    http POST "/api/jobs/$JOB/refund" "{\"invoice\": \"$first\"}" -H "Idempotency-Key: $RUN-refund"
    want_status 200
    http POST "/api/jobs/$JOB/refund" "{\"invoice\": \"$first\"}"
    want_status 200
    want_field .refund.paidSats "$OWED"
    end

    begin 'a refund to another invoice after that is refused'
    customer_invoice "$OWED" || wrong 'the customer made no invoice'
    http POST "/api/jobs/$JOB/refund" "{\"invoice\": \"$INVOICE\"}"
    want_like 'the status' '^4(09|22)$' "$STATUS"
    want_problem "$STATUS" any
    http GET "/api/jobs/$JOB"
    want_field .refund.paidSats "$OWED"
    end
}
