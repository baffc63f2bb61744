#!/bin/sh
# Buy an answer from a Timmy with curl and sed.
#
#   examples/buy_an_answer.sh http://127.0.0.1:8402 "What is a satoshi?"
#
# Each invoice is printed for your wallet to pay. With DEV=1 the server's built-in customer pays instead, where the server has one.
set -eu

if [ $# -ne 2 ]; then
    echo 'usage: examples/buy_an_answer.sh http://127.0.0.1:8402 "What is a satoshi?"' >&2
    exit 2
fi
T=$1
QUESTION=$2

# The value of a field in the JSON on standard input: the first of that name, a text without commas or a number.
field() { tr '{,}' '\n\n\n' | sed -n "s/^\"$1\":\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" | head -n 1; }

# A text as it stands in the JSON: with \n for a new line and \" for a quote.
text() { sed -nE "s/.*\"$1\":\"(([^\"\\\\]|\\\\.)*)\".*/\\1/p"; }

# All that comes after "name": in it, so that fields of an inner object can be read.
after() { sed "s/.*\"$1\":{//"; }

quoted() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g'; }

call() { curl -sS --max-time 30 "$@"; }

post() { call -X POST -H 'Content-Type: application/json' "$T$1" -d "$2"; }

job() { call "$T/api/jobs/$ID"; }

pay() { # $1: an invoice object, $2: what for
    printf '%s sats %s\n' "$(printf '%s' "$1" | field amountSats)" "$2"
    if [ "${DEV:-}" = 1 ]; then
        post "/api/dev/stub/pay/$(printf '%s' "$1" | field paymentHash)" '{}' >/dev/null
    else
        printf '\n  lightning:%s\n\n' "$(printf '%s' "$1" | field paymentRequest)"
    fi
}

until_not() { # looks until the job has left the states given
    while :; do
        JOB=$(job)
        STATE=$(printf '%s' "$JOB" | field state)
        case " $* " in *" $STATE "*) sleep 1 ;; *) return ;; esac
    done
}

JOB=$(post /api/jobs "{\"request\": \"$(quoted "$QUESTION")\"}")
ID=$(printf '%s' "$JOB" | field jobId)
if [ -z "$ID" ]; then
    printf '%s\n' "$JOB" >&2
    exit 1
fi

pay "$(printf '%s' "$JOB" | after evalInvoice)" "to have it judged"
until_not awaiting_eval_payment evaluating
if [ "$STATE" = awaiting_work_payment ]; then
    pay "$(printf '%s' "$JOB" | after workInvoice)" "for the work, at most"
    until_not awaiting_work_payment executing
fi

if [ "$STATE" != complete ]; then
    printf '%s: %s %s sats are owed back.\n' "$STATE" "$(printf '%s' "$JOB" | text reason)" "$(printf '%s' "$JOB" | field owedSats)" >&2
    exit 1
fi
printf '\n%s\n\n' "$(printf '%s' "$JOB" | text result)"
printf 'complete: %s of %s sats used, %s owed back\n' \
    "$(printf '%s' "$JOB" | field actualAmountSats)" \
    "$(printf '%s' "$JOB" | field workAmountSats)" \
    "$(printf '%s' "$JOB" | field refundAmountSats)"
