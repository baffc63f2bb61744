
# A node of one's own --------------------------------------------------------------------------------------------

# Bought only where it is a rehearsal: a real one is a machine that somebody pays for.
test_nodes() {
    local order hash claim until
    http POST /api/bootstrap '{}'
    if [ "$STATUS" = 404 ] || [ "$(json .code)" = bootstrap_not_offered ]; then
        skip 'a node, from its invoice to its key' 'this server sells no nodes'
        return
    fi
    begin 'an order of a node waits for its fee'
    want_status 201
    want_field .state awaiting_payment
    want_field_like .bootstrapJobId '^bst_[a-z2-7]{26}$'
    want_field_like .invoice.paymentRequest '^ln'
    want_field_like .invoice.amountSats '^[1-9][0-9]*$'
    want_field_like .claimToken '.'
    order=$(json .bootstrapJobId) hash=$(json .invoice.paymentHash) claim=$(json .claimToken)
    local rehearsal
    rehearsal=$(json .rehearsal)
    http GET "/api/bootstrap/$order"
    want_status 200
    want_field .sshPrivateKey null
    end

    begin 'what cannot be ordered, or is not there, is refused'
    http POST /api/bootstrap '{"sshPublicKey": "ssh-ed25519 AAAA"}'
    want_problem 422 ssh_public_key_invalid
    http POST /api/bootstrap '{"keyType": "dsa"}'
    want_problem 422 field_wrong_type
    http GET /api/bootstrap/bst_nothing
    want_problem 404 bootstrap_not_found
    http POST "/api/bootstrap/$order/call-home" '{"state": "ready"}'
    want_problem 401 call_home_token_invalid
    end

    if [ "$rehearsal" != true ]; then
        skip 'a node, from its invoice to its key' 'here it would be a real machine'
        return
    fi
    if [ -n "$CANNOT_PAY" ]; then
        skip 'a node, from its invoice to its key' "$CANNOT_PAY"
        return
    fi
    begin 'a node, from its invoice to its key'
    pay "$hash"
    until=$(($(date +%s) + WAIT))
    while :; do
        http GET "/api/bootstrap/$order"
        case $(json .state) in
        ready | failed | expired) break ;;
        esac
        [ "$(date +%s)" -lt "$until" ] || break
        sleep 0.3
    done
    want_field .state ready
    want_field_like .address '.'
    want_field_like .lnbitsUrl '^http'
    want_field_like '.nextSteps[0]' '.'
    want_field_like .sshPrivateKey 'BEGIN OPENSSH PRIVATE KEY'
    http GET "/api/bootstrap/$order"
    want_field .sshPrivateKey null
    want_field .sshKey.state delivered
    want_field_like .sshKey.deliveredAt '^20'
    http GET "/api/bootstrap/$order" -H "X-Claim-Token: $claim"
    want_field_like .sshPrivateKey 'BEGIN OPENSSH PRIVATE KEY'
    end
}
