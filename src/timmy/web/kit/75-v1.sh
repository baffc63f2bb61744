# Conversations for programs that speak OpenAI's API, from the session that is open ---------------------------------

# want_v1_error STATUS CODE: in OpenAI's shape
want_v1_error() {
    want_status "$1"
    want_field .error.code "$2"
    want_field_like .error.message '.'
    want_field_like .error.type '.'
}

test_v1() {
    http GET /v1/models
    [ "$STATUS" = 404 ] && return 0 # a server that does not sell them
    local model spent before
    begin 'the models have names and prices'
    want_status 200
    want_field .object list
    model=$(json '.data[0].id')
    want_like 'the first model' '.' "$model"
    want_field_like '.data[0].pricing.prompt_per_million' '^[0-9.]+$'
    end

    begin 'a conversation is answered, and costs what it says'
    http GET "/api/sessions/$SESSION"
    before=$(json .balanceMsat)
    with_macaroon POST /v1/chat/completions "{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"What is 6 times 7? ($RUN)\"}]}"
    want_status 200
    want_field .object chat.completion
    want_field_like '.choices[0].message.content' '.'
    spent=$(json .usage.cost_msat)
    want_like 'the header with the cost' "^$spent$" "$(header x-cost-msat)"
    want_field .timmy.balance_msat "$((before - spent))"
    http GET "/api/sessions/$SESSION"
    want_field .balanceMsat "$((before - spent))"
    want_field .heldMsat 0
    end

    begin 'what is not taken is named, and costs nothing'
    with_macaroon POST /v1/chat/completions "{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"logprobs\": true}"
    want_v1_error 400 unknown_parameter
    want_field .error.param logprobs
    with_macaroon POST /v1/chat/completions '{"model": "no-such-model", "messages": [{"role": "user", "content": "x"}]}'
    want_v1_error 404 model_not_found
    http GET "/api/sessions/$SESSION"
    want_field .balanceMsat "$((before - spent))"
    end

    begin 'without a key: 402 with an L402 offer; with a bad one: 401'
    http POST /v1/chat/completions "{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}"
    want_v1_error 402 payment_required
    want_like 'the challenges' '^LSAT macaroon="[A-Za-z0-9+/=]+", invoice="ln[^,]*,L402 macaroon="[A-Za-z0-9+/=]+", invoice="ln' "$(headers www-authenticate)"
    http POST /v1/chat/completions "{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}" -H 'Authorization: Bearer AgEFdGltbXkC'
    want_status 401
    end

    begin 'the Payment scheme (MPP): a charge and a session are offered; alone to who asks for them; 402 for what is no credential'
    http POST /v1/chat/completions "{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}"
    want_like 'the challenges' ',Payment id="[A-Za-z0-9_-]+", .*intent="charge".*,Payment id=.*intent="session"' "$(headers www-authenticate)"
    http POST /v1/chat/completions "{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}" -H 'Accept-Payment: lightning/charge'
    want_like 'the only challenge' '^Payment id="[A-Za-z0-9_-]+", realm="[^,"]+", method="lightning", intent="charge", request="[A-Za-z0-9_-]+", expires="[^,"]+"$' "$(headers www-authenticate)"
    http POST /v1/chat/completions "{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}" -H 'Authorization: Payment e30'
    want_status 402
    want_header_like content-type '^application/problem\+json'
    want_field .type https://paymentauth.org/problems/lightning/malformed-credential
    want_field .error.code payment_credential_malformed
    http GET /openapi.json
    want_status 200
    want_field '.paths./v1/chat/completions.post.x-payment-info.offers[0].intent' charge
    end

    begin 'a key says what it can spend, and not whose it is'
    with_macaroon GET /v1/key ''
    want_status 200
    want_field .balance_msat "$((before - spent))"
    end
}
