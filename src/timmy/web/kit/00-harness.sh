#!/usr/bin/env bash
# shellcheck disable=SC2295 # no quotes inside of ${…}: old versions of bash take them for part of the pattern
# Timmy's test kit: the public contract, tested from outside. Needs bash (3.2 will do), curl, and awk, grep and sed.
#
#   curl -s @BASE_URL@/api/testkit | bash
#   BASE=https://another.example bash testkit.sh
#
# BASE         the server                                    (@BASE_URL@)
# PAY=0        pay nothing, even where development routes would (with a real wallet they spend the operator's own sats)
# WAIT         seconds to wait for a judgement or an answer  (60)
# ADMIN_TOKEN  for /metrics, where it is closed
#
# Each case is PASS, FAIL or SKIP (with why). The last line is PASS=n FAIL=n SKIP=n; the exit code is 1 if a case failed.
# Everything stands in functions, and the last line calls them: a script that arrived only in part does nothing at all.

setup() {
    BASE=${BASE:-@BASE_URL@}
    BASE=${BASE%/}
    PAY=${PAY:-1}
    WAIT=${WAIT:-60}
    PASSED=0 FAILED=0 SKIPPED=0
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/timmy-testkit.XXXXXX") || exit 2
    BODY=$WORK/body HEAD=$WORK/head FLAT=$WORK/flat
    RUN="testkit-$$-$(date +%s)"
    trap 'rm -rf "$WORK"' EXIT
    trap 'exit 130' INT TERM
    TAB=$(printf '\t') CR=$(printf '\r')
    GREEN='' RED='' YELLOW='' PLAIN=''
    if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
        GREEN=$(printf '\033[32m') RED=$(printf '\033[31m') YELLOW=$(printf '\033[33m') PLAIN=$(printf '\033[0m')
    fi
}

# A case: `begin` names it, any number of wants look, `end` prints it. What is wrong is collected, so that one run shows everything.

begin() {
    NAME=$1
    TROUBLE=''
}

wrong() {
    TROUBLE="$TROUBLE
      $1"
}

end() {
    if [ -z "$TROUBLE" ]; then
        PASSED=$((PASSED + 1))
        printf '%sPASS%s %s\n' "$GREEN" "$PLAIN" "$NAME"
    else
        FAILED=$((FAILED + 1))
        printf '%sFAIL%s %s%s\n' "$RED" "$PLAIN" "$NAME" "$TROUBLE"
    fi
}

skip() {
    SKIPPED=$((SKIPPED + 1))
    printf '%sSKIP%s %s (%s)\n' "$YELLOW" "$PLAIN" "$1" "$2"
}

# http METHOD PATH [JSON] [curl's own arguments …]: the answer is in $STATUS, $BODY, $HEAD and, if it is JSON, $FLAT.
# curl never gets our standard input: it would swallow the rest of this script.
http() {
    local method=$1 path=$2
    shift 2
    : >"$BODY" && : >"$HEAD"
    if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
        local json=$1
        shift
        printf '%s' "$json" >"$WORK/sent"
        STATUS=$(curl -sS -m 30 -o "$BODY" -D "$HEAD" -w '%{http_code}' -X "$method" -H 'Content-Type: application/json' \
            --data-binary "@$WORK/sent" ${1+"$@"} "$BASE$path" </dev/null 2>"$WORK/curl")
    else
        STATUS=$(curl -sS -m 30 -o "$BODY" -D "$HEAD" -w '%{http_code}' -X "$method" ${1+"$@"} "$BASE$path" </dev/null 2>"$WORK/curl")
    fi
    : >"$FLAT"
    case $(header content-type) in
    application/json* | application/problem+json*) flatten <"$BODY" >"$FLAT" ;;
    esac
}

# header name: its value in the last answer. (Called in a subshell, so what it sets does not stay.)
header() {
    local line found=''
    shopt -s nocasematch
    while IFS= read -r line; do
        case $line in
        "$1: "*) found=${line#*: } ;;
        esac
    done <"$HEAD"
    printf '%s\n' "${found%$CR}"
}

# Wants: each says in plain words what should have been.

want() {
    [ "$2" = "$3" ] || wrong "$1 should be $2 and is ${3:-nothing}"
}

want_like() {
    [[ $3 =~ $2 ]] || wrong "$1 should look like $2 and is ${3:-nothing}"
}

want_status() {
    [ "$STATUS" = "$1" ] || wrong "the status should be $1 and is $STATUS: $(head -c 300 "$BODY")$(head -c 200 "$WORK/curl")"
}

want_field() {
    want "$1" "$2" "$(json "$1")"
}

want_field_like() {
    want_like "$1" "$2" "$(json "$1")"
}

want_header_like() {
    want_like "the header $1" "$2" "$(header "$1")"
}

# All headers of a name, joined as a client that joins them would.
headers() {
    grep -i "^$1: " "$HEAD" | sed -e 's/^[^:]*: //' -e "s/$CR\$//" | paste -s -d, -
}

# A problem document (RFC 9457): status, and either a code or "any".
want_problem() {
    want_status "$1"
    want_header_like content-type '^application/problem\+json'
    want_field .status "$1"
    [ "$2" = any ] || want_field .code "$2"
    local member
    for member in .type .title .detail .code .error; do
        [ -n "$(json $member)" ] || wrong "the problem has no $member"
    done
    grep -Eq 'Traceback|File \\"|Exception' "$BODY" && wrong "the problem shows the inside of the server"
}

# want_sum WHAT WHOLE PART …
want_sum() {
    local what=$1 whole=$2 sum=0 part
    shift 2
    for part in "$@"; do
        sum=$((sum + ${part:-0}))
    done
    [ "$sum" = "$whole" ] || wrong "$what should add up to ${whole:-nothing} and adds up to $sum"
}
