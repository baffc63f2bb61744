
# What a request may be, and what it may not -----------------------------------------------------------------

# refused NAME STATUS CODE BODY [curl's arguments …]
refused() {
    local name=$1 status=$2 code=$3 body=$4
    shift 4
    begin "$name: $status $code"
    http POST /api/jobs "$body" ${1+"$@"}
    want_problem "$status" "$code"
    end
}

# many N TEXT: TEXT, N times over
many() {
    awk -v n="$1" -v text="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s", text }'
}

test_requests() {
    refused 'no request' 422 request_missing '{}'
    refused 'an empty request' 422 request_empty '{"request": ""}'
    refused 'a blank request' 422 request_empty '{"request": " \n\t"}'
    refused 'a number for a request' 422 request_wrong_type '{"request": 1}'
    refused 'null for a request' 422 request_wrong_type '{"request": null}'
    refused 'a list for a request' 422 request_wrong_type '{"request": ["x"]}'
    refused 'an unknown field' 422 field_unknown '{"request": "x", "refund_to": "me@wallet.example"}'
    refused 'no JSON' 400 invalid_json 'this is no JSON'
    refused 'half of a JSON object' 400 invalid_json '{"request": "x"'
    refused 'NaN' 400 json_number_invalid '{"request": NaN}'
    refused 'Infinity' 400 json_number_invalid '{"request": Infinity}'
    refused 'a number beyond all numbers' 400 json_number_invalid '{"request": 1e999}'
    refused 'a field twice' 400 json_duplicate_key '{"request": "x", "request": "y"}'
    refused 'a list instead of an object' 422 json_not_object '[]'
    refused 'a thousand brackets' 400 json_too_deep "{\"request\": $(many 1000 '[')$(many 1000 ']')}"
    refused 'a NUL' 422 text_invalid '{"request": "a\u0000b"}'
    refused 'half of a surrogate pair' 422 text_invalid '{"request": "\ud800"}'
    refused 'an identity that nobody can check' 401 any '{"request": "x", "nostr_token": "made-up"}'
    refused 'a refundTo that is no address' 422 any '{"request": "x", "refundTo": "nobody"}'
    refused 'a useless Idempotency-Key' 422 idempotency_key_invalid '{"request": "x"}' -H "Idempotency-Key: $(many 256 k)"

    begin 'a form instead of JSON: 415 unsupported_media_type'
    http POST /api/jobs --data 'request=x'
    want_problem 415 unsupported_media_type
    http POST /api/jobs -H 'Content-Type: text/plain' --data '{"request": "x"}'
    want_problem 415 unsupported_media_type
    end

    begin 'too long: 422 request_too_long, with the limit and the length'
    http POST /api/jobs "{\"request\": \"$(many 100001 x | head -c 60000)\"}"
    want_problem 422 request_too_long
    local limit
    limit=$(json .maxChars)
    want_field_like .maxChars '^[0-9]+$'
    want_field .chars 60000
    http POST /api/jobs "{\"request\": \"$(many "$((${limit:-500} + 1))" x)\"}"
    want_problem 422 request_too_long
    http POST /api/jobs "{\"request\": \"$(many "${limit:-500}" x)\"}"
    want_status 201
    end

    begin 'a body that is too large is refused, announced or not: 413'
    { printf '{"request": "' && many 40000 0123456789 && printf '"}'; } >"$WORK/large"
    http POST /api/jobs -H 'Content-Type: application/json' -H 'Expect:' --data-binary "@$WORK/large"
    # A server may hang up while we are still sending: then there is no status to be seen.
    [ "$STATUS" = 000 ] || want_problem 413 body_too_large
    http POST /api/jobs -H 'Content-Type: application/json' -H 'Transfer-Encoding: chunked' -H 'Expect:' --data-binary "@$WORK/large"
    [ "$STATUS" = 000 ] || want_problem 413 body_too_large
    end

    begin 'after all this the server is as it was'
    http GET /api/healthz
    want_status 200
    end
}

test_create() {
    begin 'a job: 201 and an invoice for its evaluation'
    http POST /api/jobs "{\"request\": \"What is 6 times 7? ($RUN)\"}"
    want_status 201
    want_field_like .jobId '^[A-Za-z]+_[A-Za-z0-9]{20,}$'
    want_field .state awaiting_eval_payment
    want_field .trust_tier anonymous
    want_field_like .createdAt '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$'
    want_invoice .evalInvoice
    want_header_like cache-control no-store
    JOB=$(json .jobId)
    EVAL_HASH=$(json .evalInvoice.paymentHash)
    EVAL_SATS=$(json .evalInvoice.amountSats)
    end

    begin 'the job: its state and all that belongs to it, for its owner only'
    http GET "/api/jobs/$JOB"
    want_status 200
    want_field .jobId "$JOB"
    want_field .state awaiting_eval_payment
    want_field .completedAt null
    want_field .workInvoice null
    want_field .result null
    want_field .evalInvoice.paymentHash "$EVAL_HASH"
    want_field .refund.state not_applicable
    want_header_like cache-control no-store
    want_header_like x-robots-tag noindex
    end

    begin 'ids cannot be guessed: two jobs have nothing in common'
    http POST /api/jobs "{\"request\": \"another ($RUN)\"}"
    [ "$(json .jobId | cut -c5-12)" != "$(printf '%s' "$JOB" | cut -c5-12)" ] || wrong "$JOB and $(json .jobId) begin alike"
    end

    begin 'a refund before anything was paid is refused: 409'
    http POST "/api/jobs/$JOB/refund" '{"invoice": "lnbcrt1"}'
    want_problem 409 any
    end
}

want_invoice() {
    want_field_like "$1.paymentRequest" '^ln(bc|tb|tbs|bcrt)[0-9]'
    want_field_like "$1.paymentHash" '^[0-9a-f]{64}$'
    want_field_like "$1.amountSats" '^[1-9][0-9]*$'
    want_field_like "$1.expiresAt" '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$'
}

test_once() {
    local n
    begin 'the same Idempotency-Key and body: the same answer, once'
    http POST /api/jobs "{\"request\": \"once ($RUN)\"}" -H "Idempotency-Key: $RUN-a"
    want_status 201
    cp "$BODY" "$WORK/first"
    http POST /api/jobs "{ \"request\":\"once ($RUN)\"}" -H "Idempotency-Key: $RUN-a"
    want_status 201
    cmp -s "$BODY" "$WORK/first" || wrong 'the second answer is another one'
    end

    begin 'the same Idempotency-Key with another body: 422'
    http POST /api/jobs "{\"request\": \"twice ($RUN)\"}" -H "Idempotency-Key: $RUN-a"
    want_problem 422 idempotency_key_reused
    end

    begin 'eight at once with one Idempotency-Key: one job'
    printf '{"request": "together (%s)"}' "$RUN" >"$WORK/together"
    for n in 1 2 3 4 5 6 7 8; do
        curl -sS -m 30 -o "$WORK/race-$n" -H 'Content-Type: application/json' -H "Idempotency-Key: $RUN-b" \
            --data-binary "@$WORK/together" "$BASE/api/jobs" </dev/null 2>/dev/null &
    done
    wait
    for n in 1 2 3 4 5 6 7 8; do
        flatten <"$WORK/race-$n" >"$WORK/flat-$n"
        json .jobId "$WORK/flat-$n"
    done | sort -u >"$WORK/ids"
    want 'the number of jobs' 1 "$(grep -c . "$WORK/ids")"
    end
}
