
main() {
    setup
    printf 'Timmy at %s\n' "$BASE"
    http GET /api/healthz
    if [ "$STATUS" = 000 ]; then
        printf 'There is no server: %s\n' "$(cat "$WORK/curl")"
        exit 2
    fi
    test_server
    test_envelope
    test_requests
    test_create
    test_once
    test_identity
    test_pool
    test_estimate
    test_world
    test_demo
    find_payer
    test_flow
    test_refund
    test_other_ends
    test_session_opening
    test_session_spending
    test_nodes
    printf 'PASS=%d FAIL=%d SKIP=%d\n' "$PASSED" "$FAILED" "$SKIPPED"
    [ "$FAILED" = 0 ]
}

main
