#!/usr/bin/env bash
# What these scripts share. Sourced, never run. They also run in the bash 3.2 of macOS: no associative arrays, no mapfile, no empty arrays.
# shellcheck disable=SC2034 # these names are used by the files that source this one

PARTS="bitcoind lnd lnbits"
LNBITS_PACKAGES="lnbits==1.6.2 bitstring<5" # with bitstring 5 it does not start
LABEL=bitcoin-ln-node
POLL_SECONDS="${NODE_POLL_SECONDS:-2}"
DRY_RUN=""

case "$(uname -s)" in
Darwin)
    SYSTEM=macos
    HOME_OF_NODE="${NODE_HOME:-$HOME/Library/Application Support/$LABEL}"
    UNITS="$HOME/Library/LaunchAgents"
    ;;
*)
    SYSTEM=linux
    HOME_OF_NODE="${NODE_HOME:-$HOME/.local/share/$LABEL}"
    UNITS="$HOME/.config/systemd/user"
    ;;
esac
SETTINGS="$HOME_OF_NODE/settings"
CREDENTIALS="$HOME_OF_NODE/credentials"

# setting NAME: what the node was set up with.
setting() { if [ -f "$SETTINGS" ]; then sed -n "s/^$1=//p" "$SETTINGS"; fi; }

# A word of the environment is for a node that is being set up; a node that is there keeps what it began with.
LNBITS_PORT="$(setting lnbits_port)"
LND_REST_PORT="$(setting lnd_rest_port)"
[ -n "$LNBITS_PORT" ] || LNBITS_PORT="${NODE_LNBITS_PORT:-5000}"
[ -n "$LND_REST_PORT" ] || LND_REST_PORT="${NODE_LND_REST_PORT:-8080}"

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# run COMMAND...: or, with --dry-run, only say it.
run() {
    if [ -n "$DRY_RUN" ]; then
        printf 'would run:'
        printf ' %q' "$@"
        printf '\n'
    else
        "$@"
    fi
}

# put FILE MODE: standard input becomes the file, whole or not at all; or, with --dry-run, it is only said.
put() {
    if [ -n "$DRY_RUN" ]; then
        cat >/dev/null
        printf 'would write: %s (%s)\n' "$1" "$2"
        return
    fi
    local draft
    mkdir -p "$(dirname "$1")"
    draft="$(mktemp "$1.XXXXXX")"
    cat >"$draft"
    chmod "$2" "$draft"
    mv -f "$draft" "$1"
}

remember() {
    { if [ -f "$CREDENTIALS" ]; then grep -v "^$1=" "$CREDENTIALS" || true; fi; printf '%s=%s\n' "$1" "$2"; } | put "$CREDENTIALS" 600
}

recall() { if [ -f "$CREDENTIALS" ]; then sed -n "s/^$1=//p" "$CREDENTIALS"; fi; }

secret() {
    local value
    value="$(recall "$1")"
    if [ -z "$value" ]; then
        if [ -n "$DRY_RUN" ]; then
            value=to-be-made
        else
            value="$(openssl rand -hex 24)"
            remember "$1" "$value"
        fi
    fi
    printf '%s' "$value"
}

json() {
    python3 -c '
import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1].split("."):
    value = value[int(key)] if isinstance(value, list) else value[key]
print(value if isinstance(value, str) else json.dumps(value))' "$1"
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
    local limit="${NODE_PATIENCE_SECONDS:-$1}" what="$2" began=$SECONDS
    shift 2
    if [ -n "$DRY_RUN" ]; then
        printf 'would wait for: %s\n' "$what"
        return
    fi
    until "$@" >/dev/null 2>&1; do
        if [ $((SECONDS - began)) -ge "$limit" ]; then die "waited $limit seconds for $what, in vain; look into $HOME_OF_NODE/logs"; fi
        sleep "$POLL_SECONDS"
    done
    say "$what: there"
}

load() {
    [ -f "$SETTINGS" ] || die "there is no node in $HOME_OF_NODE; run setup.sh first"
    NETWORK="$(setting network)"
}

chain() { if [ "$NETWORK" = mainnet ]; then printf main; else printf '%s' "$NETWORK"; fi; }

rpc_port() { case "$NETWORK" in mainnet) echo 8332 ;; signet) echo 38332 ;; *) echo 18443 ;; esac; }

bitcoin() { bitcoin-cli -datadir="$HOME_OF_NODE/bitcoin" -chain="$(chain)" "$@"; }

macaroon() { printf '%s' "$HOME_OF_NODE/lnd/data/chain/bitcoin/$NETWORK/admin.macaroon"; }

# lightning METHOD PATH [BODY-FILE]. What is secret goes by files and pipes: arguments can be read by every process of the machine.
lightning() {
    local method="$1" path="$2" key=""
    if [ -s "$(macaroon)" ]; then key="$(od -An -v -tx1 "$(macaroon)" | tr -d ' \n')"; fi
    shift 2
    printf 'header = "Grpc-Metadata-macaroon: %s"\n' "$key" |
        curl --silent --show-error --fail --max-time 60 --cacert "$HOME_OF_NODE/lnd/tls.cert" --config - --request "$method" \
            ${1+--data-binary "@$1"} "https://localhost:$LND_REST_PORT$path"
}

# lnbits METHOD PATH [BODY-FILE [HEADER-LINE]]
lnbits() {
    local method="$1" path="$2" header="${4:-Accept: application/json}"
    printf 'header = "%s"\n' "$header" |
        curl --silent --show-error --fail --max-time 60 --config - --header 'Content-Type: application/json' --request "$method" \
            ${3+--data-binary "@$3"} "http://127.0.0.1:$LNBITS_PORT$path"
}

lightning_state() { lightning GET /v1/state | json state; }
lightning_is_active() { case "$(lightning_state)" in RPC_ACTIVE | SERVER_ACTIVE) ;; *) return 1 ;; esac; }
lightning_is_asked() { case "$(lightning_state)" in "" | WAITING_TO_START) return 1 ;; esac; }
lnbits_answers() { lnbits GET /api/v1/health; }

# Units, of systemd or launchd ------------------------------------------------------------------------------------

unit_file() { if [ "$SYSTEM" = macos ]; then printf '%s/%s.%s.plist' "$UNITS" "$LABEL" "$1"; else printf '%s/%s-%s.service' "$UNITS" "$LABEL" "$1"; fi; }

unit_start() {
    if [ "$SYSTEM" = macos ]; then
        if ! launchctl print "gui/$(id -u)/$LABEL.$1" >/dev/null 2>&1; then run launchctl bootstrap "gui/$(id -u)" "$(unit_file "$1")"; fi
        run launchctl kickstart "gui/$(id -u)/$LABEL.$1"
    else
        run systemctl --user enable --now "$LABEL-$1.service"
    fi
}

unit_stop() {
    if [ "$SYSTEM" = macos ]; then
        if launchctl print "gui/$(id -u)/$LABEL.$1" >/dev/null 2>&1; then run launchctl bootout "gui/$(id -u)/$LABEL.$1"; fi
    else
        run systemctl --user disable --now "$LABEL-$1.service"
    fi
}

unit_runs() {
    if [ "$SYSTEM" = macos ]; then
        grep -q 'state = running' <<<"$(launchctl print "gui/$(id -u)/$LABEL.$1" 2>/dev/null)"
    else
        systemctl --user is-active --quiet "$LABEL-$1.service"
    fi
}

# unit_write NAME FOLDER ENV-FILE PROGRAM ARGUMENTS...
unit_write() {
    local name="$1" folder="$2" env="$3"
    shift 3
    if [ "$SYSTEM" = macos ]; then
        launchd_unit "$name" "$folder" "$env" "$@" | put "$(unit_file "$name")" 600
    else
        systemd_unit "$name" "$folder" "$env" "$@" | put "$(unit_file "$name")" 600
        run systemctl --user daemon-reload
    fi
}

# A word of a unit of systemd: in quotes, with its specifiers and variables as plain text.
systemd_word() { printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g; s/%/%%/g; s/\$/$$/g')"; }

systemd_unit() {
    local name="$1" folder="$2" env="$3" word
    shift 3
    printf '[Unit]\nDescription=%s of this Bitcoin and Lightning node\n\n[Service]\n' "$name"
    printf 'WorkingDirectory=%s\n' "$(printf '%s' "$folder" | sed 's/%/%%/g')"
    if [ -n "$env" ]; then printf 'EnvironmentFile=%s\n' "$(printf '%s' "$env" | sed 's/%/%%/g')"; fi
    printf 'ExecStart='
    for word in "$@"; do printf '%s ' "$(systemd_word "$word")"; done
    printf '\nRestart=always\nRestartSec=5\nTimeoutStopSec=600\n\n[Install]\nWantedBy=default.target\n'
}

xml() { printf '%s' "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }

launchd_unit() {
    local name="$1" folder="$2" env="$3" word line
    shift 3
    printf '<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0"><dict>\n<key>Label</key><string>%s.%s</string>\n' "$LABEL" "$name"
    printf '<key>WorkingDirectory</key><string>%s</string>\n<key>ProgramArguments</key><array>\n' "$(xml "$folder")"
    for word in "$@"; do printf '<string>%s</string>\n' "$(xml "$word")"; done
    printf '</array>\n<key>EnvironmentVariables</key><dict>\n'
    if [ -n "$env" ] && [ -f "$env" ]; then
        while IFS= read -r line; do printf '<key>%s</key><string>%s</string>\n' "${line%%=*}" "$(xml "${line#*=}")"; done <"$env"
    fi
    printf '</dict>\n<key>RunAtLoad</key><true/><key>KeepAlive</key><true/><key>ExitTimeOut</key><integer>600</integer>\n'
    printf '<key>StandardOutPath</key><string>%s</string>\n' "$(xml "$HOME_OF_NODE/logs/$name.log")"
    printf '<key>StandardErrorPath</key><string>%s</string>\n</dict></plist>\n' "$(xml "$HOME_OF_NODE/logs/$name.log")"
}
