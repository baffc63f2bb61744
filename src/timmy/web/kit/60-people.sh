# Keys, the pool, and what something would cost -------------------------------------------------------------------

# not_known NAME METHOD PATH BODY [curl's arguments …]: a 401 with a code, and the scheme that would do
not_known() {
    local name=$1 method=$2 path=$3 body=$4
    shift 4
    begin "$name: 401, and not anonymous"
    if [ -n "$body" ]; then http "$method" "$path" "$body" ${1+"$@"}; else http "$method" "$path" ${1+"$@"}; fi
    want_problem 401 any
    want_header_like www-authenticate '^Nostr'
    end
}

test_identity() {
    local key=7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e now event
    now=$(date +%s)

    begin 'a challenge: a nonce that is another one each time, and when it ends'
    http POST /api/identity/challenge
    want_status 200
    want_field_like .nonce '^.{32,}$'
    want_field_like .expiresAt '^20[0-9]{2}-.*Z$'
    local nonce
    nonce=$(json .nonce)
    http POST /api/identity/challenge
    [ "$(json .nonce)" != "$nonce" ] || wrong 'the same nonce came twice'
    end

    event="{\"id\": \"$(many 64 0)\", \"pubkey\": \"$key\", \"created_at\": $now, \"kind\": 22242, \"tags\": [[\"challenge\", \"$nonce\"]], \"content\": \"\", \"sig\": \"$(many 128 0)\"}"
    not_known 'an event that nobody signed' POST /api/identity/verify "{\"event\": $event}"
    not_known 'an event that is none' POST /api/identity/verify '{"event": {"kind": 1}}'
    begin 'no event at all: 422'
    http POST /api/identity/verify '{}'
    want_problem 422 field_missing
    http POST /api/identity/verify '{"event": "signed"}'
    want_problem 422 field_wrong_type
    end

    not_known 'nobody asks who they are' GET /api/identity/me ''
    not_known 'a made-up token' GET /api/identity/me '' -H "X-Nostr-Token: tmy1.$key.9999999999999.made-up"
    not_known 'a signature that is none' GET /api/identity/me '' -H 'Authorization: Nostr bm90aGluZw=='
    not_known 'a job with a made-up token' POST /api/jobs '{"request": "x"}' -H 'X-Nostr-Token: made-up'
    not_known 'an estimate with an empty token' POST /api/estimate '{"request": "x", "nostr_token": ""}'
    not_known 'a session with a made-up token' POST /api/sessions '{"amountSats": 500, "nostr_token": "made-up"}'

    begin 'who shows nothing is anonymous, and so is null'
    http POST /api/jobs "{\"request\": \"nobody ($RUN)\", \"nostr_token\": null}"
    want_status 201
    want_field .trust_tier anonymous
    end
}

test_pool() {
    local field tier
    begin 'the pool: what it holds, has promised, earned and given'
    http GET /api/pool
    want_status 200
    for field in balanceSats availableSats reservedSats earnedSats givenSats today.givenSats; do
        want_field_like ".$field" '^[0-9]+$'
    done
    for tier in new established trusted elite; do
        want_field_like ".dailyBudgets.$tier" '^[0-9]+$'
    done
    want_field_like '.whyNot[0].why' '.'
    end
}

test_estimate() {
    local field
    begin 'an estimate: the price, its reasons, and what would be given'
    http POST /api/estimate '{"request": "Why is the sky blue?"}'
    want_status 200
    want_field_like .estimatedSats '^[1-9][0-9]*$'
    want_field .pricingBreakdown.amountSats "$(json .estimatedSats)"
    want_field_like .btcPriceSource '.'
    for field in estimatedCostUsd btcPriceUsd tokenEstimate.input tokenEstimate.output pool.balanceSats; do
        want_field_like ".$field" '^[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?$'
    done
    want_field .identity.trust_tier anonymous
    want_field .identity.free_tier.serve gate
    want_field .identity.free_tier.chargeSats "$(json .estimatedSats)"
    local price
    price=$(json .estimatedSats)
    http GET '/api/estimate?request=Why%20is%20the%20sky%20blue%3F'
    want_status 200
    want_field .estimatedSats "$price"
    end

    begin 'what cannot be estimated is refused'
    http GET /api/estimate
    want_problem 422 request_missing
    http GET '/api/estimate?request=%20'
    want_problem 422 request_empty
    http GET '/api/estimate?request=x&request=y'
    want_problem 422 field_repeated
    http GET '/api/estimate?request=x%00y'
    want_problem 422 text_invalid
    http GET '/api/estimate?request=x&nostr_token=y'
    want_problem 422 field_unknown
    http POST /api/estimate '{"request": "x", "model": "no-such-model"}'
    want_problem 400 any
    end

    begin 'asking changes nothing'
    http GET /api/pool
    cp "$BODY" "$WORK/before"
    local n=0
    while [ $((n += 1)) -le 10 ]; do
        http GET '/api/estimate?request=What%20would%20it%20cost%3F'
        want_status 200
    done
    http GET /api/pool
    cmp -s "$BODY" "$WORK/before" || wrong 'the pool is another one (unless somebody else was served meanwhile)'
    end
}
