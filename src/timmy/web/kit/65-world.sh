# The world, and a first answer for nothing ------------------------------------------------------------------------

test_world() {
    local agent field n=0
    begin 'the world: five who live there, the pool, and what happened last'
    http GET /api/world/state
    want_status 200
    want_field .type world_state
    for agent in timmy alpha beta gamma delta; do
        want_field ".agents[$n].agentId" $agent
        want_field_like ".agents[$n].state" '^(idle|evaluating|working|processing)$'
        want_field_like ".agents[$n].doing" '.'
        n=$((n + 1))
    done
    for field in cursor visitors pool.balanceSats limits.messageCharsMax limits.repliesPerMinute; do
        want_field_like ".$field" '^[0-9]+$'
    done
    grep -Eq '(job|ses|req|inv)_[a-z2-7]{26}|[0-9a-f]{64}|lnbc' "$BODY" && wrong 'it shows an id, a hash or an invoice'
    end

    begin 'a WebSocket for a page of another origin: 403'
    http GET /api/ws --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
        -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -H 'Origin: https://evil.example'
    want_problem 403 origin_not_allowed
    end
}

test_demo() {
    http POST /api/demo '{"request": "What is 20 + 22?"}'
    if [ "$STATUS" = 403 ]; then
        skip 'a first answer for nothing' 'DEMO_PER_HOUR=0 or DEMO_PER_DAY=0: this server gives none'
        return
    fi
    begin 'a first answer for nothing, or when there is one again'
    want_header_like x-ratelimit-limit '^[0-9]+$'
    want_header_like x-ratelimit-remaining '^[0-9]+$'
    want_header_like x-ratelimit-reset '^[0-9]{9,}$'
    case $STATUS in
    200)
        want_field_like .state '^(complete|rejected)$'
        want_field .left "$(header x-ratelimit-remaining)"
        [ "$(json .state)" = rejected ] || want_field_like .result '.'
        ;;
    429)
        want_problem 429 demo_used_up
        want_header_like retry-after '^[1-9][0-9]*$'
        ;;
    *) want_status 200 ;;
    esac
    end

    begin 'what cannot be answered is refused, and uses nothing up'
    http GET /api/demo
    want_problem 422 request_missing
    http GET '/api/demo?request=%20'
    want_problem 422 request_empty
    http GET "/api/demo?request=$(many 20001 x)"
    want_problem 422 request_too_long
    http GET '/api/demo?request=x&request=y'
    want_problem 422 field_repeated
    end
}
