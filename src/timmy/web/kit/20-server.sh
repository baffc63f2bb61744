
# What the server says about itself -------------------------------------------------------------------------

test_server() {
    begin 'health: 200, the parts, and every stand-in by name'
    http GET /api/healthz
    want_status 200
    want_header_like content-type '^application/json'
    want_field_like .status '^(ok|degraded|down)$'
    want_field_like .version '.'
    local part
    for part in database wallet provider price; do
        want_field_like ".parts.$part.status" '^(ok|degraded|down)$'
    done
    PROVIDER=$(json .parts.provider.kind)
    end

    begin 'readiness: 200, or 503 with a problem'
    http GET /api/readyz
    if [ "$STATUS" = 503 ]; then want_problem 503 not_ready; else want_status 200; fi
    end

    begin 'the interface describes itself (OpenAPI)'
    http GET /api/openapi.json -H 'Accept: application/json'
    want_status 200
    local path
    for path in /api/pool /api/estimate /api/sessions '/api/sessions/{sessionId}/request' /api/identity/me \
        /api/jobs '/api/jobs/{jobId}' '/api/jobs/{jobId}/events' '/api/jobs/{jobId}/refund' /api/healthz; do
        grep -Fq "\"$path\"" "$BODY" || wrong "$path is not described"
    done
    grep -Eq '"openapi": ?"3\.' "$BODY" || wrong 'it is not OpenAPI 3'
    end

    begin 'the description as a page needs nothing from another host'
    http GET /api/docs
    want_status 200
    want_header_like content-type '^text/html'
    grep -Eiq '<script|(src|href)="?(https?:)?//' "$BODY" && wrong 'it loads something'
    end

    begin 'the way in leads to the plain page'
    http GET /api
    want_like 'the status' '^30[1278]$' "$STATUS"
    want_header_like location '^/api/ui$'
    end

    begin 'the plain page sells without a script'
    http GET /api/ui
    want_status 200
    want_header_like content-type '^text/html'
    grep -Fq 'action="/api/ui/jobs"' "$BODY" || wrong 'it has no form to ask with'
    grep -Eiq '<script| on[a-z]+=' "$BODY" && wrong 'it runs a script'
    end

    begin "the operator's desk is not open"
    http GET /api/admin/summary
    want_like 'the status' '^40[14]$' "$STATUS"
    end

    begin "how the node is, is the operator's to know"
    for path in /api/admin/node-status /api/admin/node-status/html; do
        http GET "$path"
        want_like 'the status' '^40[14]$' "$STATUS"
    done
    end

    if [ -n "${ADMIN_TOKEN:-}" ]; then
        http GET /api/admin/node-status -H "Authorization: Bearer $ADMIN_TOKEN"
        if [ "$STATUS" = 404 ]; then
            skip 'how the node is' 'this server does not look'
        else
            begin 'how the node is: each check says how, and what to do'
            want_status 200
            want_field_like .status '^(ok|warn|fail)$'
            want_field_like '.checks[0].name' '^wallet$'
            want_field_like '.checks[0].status' '^(ok|warn|fail|unknown)$'
            end
        fi
    fi

    if [ -n "${ADMIN_TOKEN:-}" ]; then
        http GET /metrics -H "Authorization: Bearer $ADMIN_TOKEN"
    else
        http GET /metrics
    fi
    if [ "$STATUS" = 401 ]; then
        skip 'metrics for Prometheus' "they are the operator's: give ADMIN_TOKEN"
    else
        begin 'metrics for Prometheus'
        want_status 200
        want_header_like content-type '^text/plain'
        grep -Eq '^timmy_http_requests' "$BODY" || wrong 'requests are not counted'
        grep -Eq 'job_[a-z2-7]{26}' "$BODY" && wrong 'they hold the id of a job'
        end
    fi
}

test_envelope() {
    begin 'every answer has protecting headers and a request id'
    http GET /api/healthz
    want_header_like x-content-type-options '^nosniff$'
    want_header_like x-frame-options '^DENY$'
    want_header_like referrer-policy '.'
    want_header_like content-security-policy "default-src 'none'"
    want_header_like x-request-id '.'
    end

    begin 'a request id of the caller is kept, a harmful one is not'
    http GET /api/healthz -H 'X-Request-Id: testkit_42'
    want 'the request id' testkit_42 "$(header x-request-id)"
    http GET /api/healthz -H 'X-Request-Id: {a b}'
    [ "$(header x-request-id)" != '{a b}' ] || wrong 'it was kept'
    end

    begin 'a page of an unlisted origin may not call'
    http GET /api/healthz -H 'Origin: https://unlisted.invalid'
    want 'access-control-allow-origin' '' "$(header access-control-allow-origin)"
    http OPTIONS /api/jobs -H 'Origin: https://unlisted.invalid' -H 'Access-Control-Request-Method: POST'
    want_problem 403 origin_not_allowed
    want 'access-control-allow-credentials' '' "$(header access-control-allow-credentials)"
    end

    if [ -n "${ORIGIN:-}" ]; then
        begin "a page of $ORIGIN may call"
        http OPTIONS /api/jobs -H "Origin: $ORIGIN" -H 'Access-Control-Request-Method: POST' -H 'Access-Control-Request-Headers: idempotency-key'
        want 'access-control-allow-origin' "$ORIGIN" "$(header access-control-allow-origin)"
        end
    else
        skip 'a page of a listed origin may call' 'ORIGIN names none'
    fi

    begin 'an unknown address is a 404 problem'
    http GET /api/there-is-nothing-here
    want_problem 404 route_not_found
    end

    begin 'another method is a 405 problem that names the right one'
    http GET /api/jobs
    want_problem 405 method_not_allowed
    want_header_like allow POST
    end

    local id
    begin 'an unknown job is a 404 problem, whatever its id looks like'
    for id in job_aaaaaaaaaaaaaaaaaaaaaaaaaa 1 '%00' "'%20OR%201=1" '..%2f..%2fetc'; do
        http GET "/api/jobs/$id"
        want_status 404
        want_header_like content-type '^application/problem\+json'
    done
    http GET /api/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaaaa/events
    want_problem 404 any
    http POST /api/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaaaa/refund '{"invoice": "lnbcrt1"}'
    want_problem 404 any
    end
}
