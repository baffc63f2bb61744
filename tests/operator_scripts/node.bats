#!/usr/bin/env bats
# scripts/bitcoin-ln-node, under systemd and under launchd.

load machine

SCRIPTS="$BATS_TEST_DIRNAME/../../scripts/bitcoin-ln-node"

begin() {
    local manager=systemctl
    [ "$1" = Linux ] || manager=launchctl
    machine "$1" "$manager" bitcoind bitcoin-cli lnd python3.12 tailscale
}

# A node that is set up.
begin_with_a_node() {
    begin "$1"
    once "node on $1" node setup
}

node() {
    local script="$1"
    shift
    bash "$SCRIPTS/$script.sh" "$@"
}

known() { sed -n "s/^$1=//p" "$NODE_HOME/credentials"; }

unit_files() { find "$HOME" -name '*.service' -o -name '*.plist'; }

fits_the_schema() {
    printf '%s' "$output" | "$PYTHON" -c '
import json, sys, jsonschema_rs
jsonschema_rs.validate(json.load(open(sys.argv[1])), json.load(sys.stdin))' "$SCRIPTS/status.schema.json"
}

# json EXPRESSION: of what status.sh said, as `it`.
json() { printf '%s' "$output" | "$PYTHON" -c 'import json, sys; it = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }

is_set_up_in_order_and_keeps_its_secrets() {
    begin_with_a_node "$1"
    same "$(changes | grep -E 'enable --now|launchctl bootstrap' | grep -Eo 'bitcoind|lnd|lnbits' | uniq | tr '\n' ' ')" "bitcoind lnd lnbits "
    same "$(units | wc -l | tr -d ' ')" 3
    grep -qx prune=10000 "$NODE_HOME/bitcoin/bitcoin.conf"
    same "$(known LND_SEED)" "$("$PYTHON" -c 'import json, sys; print(*json.load(open(sys.argv[1]))["cipher_seed_mnemonic"])' "$WORLD/wallet")"
    same "$(known LNBITS_PASSWORD)" "$(cat "$WORLD/lnbits-password")"
    local file
    for file in credentials settings bitcoin/bitcoin.conf lnd/lnd.conf lnd/wallet-password lnbits/lnbits.env; do
        same "$(mode "$NODE_HOME/$file")" -rw-------
    done
    same "$(mode "$NODE_HOME")" drwx------
    [ ! -e "$NODE_HOME/body" ] # what was sent to make the wallet
    for file in LND_SEED LND_WALLET_PASSWORD LNBITS_PASSWORD BITCOIN_RPC_PASSWORD LNBITS_ADMIN_KEY; do
        run grep -F -- "$(known "$file")" "$WORLD/calls"
        ended 1 # arguments can be read by every process of the machine
    done
}

changes_nothing_when_it_is_set_up_again() {
    begin_with_a_node "$1"
    local before asked
    before="$(files; units)"
    asked="$(changes | wc -l)"
    run node setup
    ended 0
    same "$(files; units)" "$before"
    same "$(changes | tail -n "+$((asked + 1))" | grep -Ev 'daemon-reload|enable --now|kickstart')" ""
    same "$(grep -c ' -m venv ' "$WORLD/calls")" 1
    same "$(grep -c initwallet "$WORLD/calls")" 1
}

goes_on_where_it_was_cut_short() {
    begin "$1"
    local lost
    for lost in /v1/initwallet /api/v1/wallet; do
        printf '%s' "$lost" >"$WORLD/lost"
        run node setup
        [ ! -e "$WORLD/lost" ]
        [ "$status" -ne 0 ]
    done
    run node setup
    ended 0
    same "$(known LND_SEED)" "$("$PYTHON" -c 'import json, sys; print(*json.load(open(sys.argv[1]))["cipher_seed_mnemonic"])' "$WORLD/wallet")"
    same "$(known LNBITS_ADMIN_KEY)" admin1
    same "$(grep -c 'initwallet' "$WORLD/calls")" 1
    [ ! -e "$NODE_HOME/body" ]
}

stops_and_starts_in_order() {
    begin_with_a_node "$1"
    local before
    before="$(units)"
    : >"$WORLD/calls"
    run node stop
    ended 0
    same "$(changes | grep -Eo 'bitcoind|lnd|lnbits' | tr '\n' ' ')" "lnbits lnd bitcoind "
    same "$(units)" ""
    run node stop # twice is once
    ended 0
    : >"$WORLD/calls"
    run node start
    ended 0
    same "$(changes | grep -E 'enable --now|launchctl bootstrap' | grep -Eo 'bitcoind|lnd|lnbits' | uniq | tr '\n' ' ')" "bitcoind lnd lnbits "
    same "$(units)" "$before"
    run node start
    ended 0
}

says_how_it_is() {
    begin_with_a_node "$1"
    run node status --json
    ended 0
    fits_the_schema
    same "$(json '[it["healthy"], it["problems"], it["lnd"]["canSendSats"], it["bitcoind"]["blocks"]]')" "[True, [], 1500, 7]"
    run node status
    ended 0
    said "lnd       answers" "lnbits    answers"

    : >"$WORLD/reading"
    run node status --json
    ended 0
    fits_the_schema
    same "$(json 'it["healthy"]')" False
    said "still reading the chain: 7 of 9 blocks" "not caught up with the chain"

    : >"$WORLD/lnd-is-ill"
    run node status --json
    ended 1
    fits_the_schema
    said "lnd runs and does not answer"

    node stop
    run node status --json
    ended 1
    fits_the_schema
    same "$(json 'len(it["problems"])')" 3
    run node status --xml
    ended 1
}

gives_the_key_of_its_wallet() {
    begin "$1"
    run node get-lnbits-key
    ended 1
    said "run setup.sh first"
    once "node on $1" node setup
    same "$(node get-lnbits-key)" admin1
    same "$(node get-lnbits-key --invoice)" in1
    same "$(node get-lnbits-key --env)" "WALLET=lnbits
LNBITS_URL=http://127.0.0.1:5000
LNBITS_API_KEY=admin1"
    run node get-lnbits-key --all
    ended 1
}

is_shown_to_the_private_network_only() {
    begin_with_a_node "$1"
    run node expose
    ended 1
    : >"$WORLD/calls"
    run node expose on --dry-run
    ended 0
    same "$(changes)" ""
    run node expose on
    ended 0
    said "LNBITS_URL=http://mine.tail.example:5000"
    run node expose off
    ended 0
    same "$(changes)" "tailscale serve --bg --tcp=5000 tcp://127.0.0.1:5000
tailscale serve --tcp=5000 off"
    run grep -r funnel "$SCRIPTS"
    ended 1 # which would be the Internet
}

goes_and_leaves_what_sats_are_in() {
    begin_with_a_node "$1"
    local before
    before="$(files; units)"
    run node uninstall --dry-run
    ended 0
    same "$(files; units)" "$before"
    run node uninstall
    ended 0
    said "are still in $NODE_HOME"
    same "$(units; unit_files)" ""
    [ -n "$(known LND_SEED)" ]
    [ -s "$NODE_HOME/lnd/data/chain/bitcoin/mainnet/admin.macaroon" ]
    run node uninstall # twice is once
    ended 0
    run node setup # and back
    ended 0
    same "$(grep -c initwallet "$WORLD/calls")" 1
    run node uninstall --delete-data
    ended 1
    run node uninstall --delete-data-there-are-no-sats-in-it
    ended 0
    [ ! -e "$NODE_HOME" ]
    same "$(units; unit_files)" ""
}

is_only_told_of_in_a_dry_run() {
    begin "$1"
    run node setup --dry-run
    ended 0
    said "would write: " "would run: " "would wait for: Bitcoin" "Nothing was done."
    same "$(changes; find "$HOME" -type f)" ""
    [ ! -e "$NODE_HOME" ]
    once "node on $1" node setup
    local before
    before="$(files; units)"
    : >"$WORLD/calls"
    for script in stop start; do
        run node "$script" --dry-run
        ended 0
        said "would run: "
    done
    same "$(files; units)" "$before"
    same "$(changes)" ""
}

is_not_begun_where_something_is_missing() {
    begin "$1"
    rm "$PLACE/bin/lnd"
    run env PATH="$PLACE/bin:/usr/bin:/bin" bash "$SCRIPTS/setup.sh"
    ended 1
    said "not found: lnd"
    if [ "$1" = Darwin ]; then said "brew install"; else said "check the signatures"; fi
    same "$(changes; find "$HOME" -type f)" ""
}

names_paths_as_they_are() {
    begin_with_a_node "$1"
    "$PYTHON" - "$1" "$HOME" "$NODE_HOME" <<'PYTHON'
import plistlib, shlex, sys
from pathlib import Path
system, home, node = sys.argv[1:]
if system == "Linux":
    unit = Path(home, ".config/systemd/user/bitcoin-ln-node-lnd.service").read_text()
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line.removeprefix("ExecStart="))]
    assert words[1:] == [f"--lnddir={node}/lnd"], words
else:
    agents = Path(home, "Library/LaunchAgents")
    assert plistlib.loads((agents / "bitcoin-ln-node.lnd.plist").read_bytes())["ProgramArguments"][1:] == [f"--lnddir={node}/lnd"]
    unit = plistlib.loads((agents / "bitcoin-ln-node.lnbits.plist").read_bytes())
    assert unit["WorkingDirectory"] == f"{node}/lnbits"
    assert unit["EnvironmentVariables"]["LND_REST_CERT"] == f"{node}/lnd/tls.cert"
PYTHON
}

does_nothing_for_words_that_mean_nothing() {
    begin "$1"
    local words
    for words in "--network testnet" "--prune 12" "--prune many" "--delete" "--network" "--prune"; do
        # shellcheck disable=SC2086 # two words
        run node setup $words
        [ "$status" -eq 1 ] || [ "$status" -eq 2 ]
    done
    same "$(changes; find "$HOME" -type f)" ""
}

keeps_the_network_that_it_began_with() {
    begin_with_a_node "$1"
    local before
    before="$(files; units)"
    run node setup --network signet
    ended 1
    said "choose another NODE_HOME"
    same "$(files; units)" "$before"
}

keeps_what_it_was_set_up_with_when_nothing_is_said() {
    begin "$1"
    NODE_LNBITS_PORT=5001 node setup --network mainnet --prune 0
    local before
    before="$(files; units)"
    run node setup
    ended 0
    same "$(files; units)" "$before"
    run grep prune= "$NODE_HOME/bitcoin/bitcoin.conf"
    ended 1
    same "$(node get-lnbits-key --env | grep URL)" "LNBITS_URL=http://127.0.0.1:5001"
    run node setup --prune 2000 # which would delete most of the blocks
    ended 1
    said "--throw-blocks-away"
    same "$(files; units)" "$before"
    run node setup --prune 2000 --throw-blocks-away
    ended 0
    grep -qx prune=2000 "$NODE_HOME/bitcoin/bitcoin.conf"
}

waits_for_a_lightning_that_is_slow_after_a_restart() {
    begin_with_a_node "$1"
    grep -qx FUNDING_SOURCE_MAX_RETRIES=500 "$NODE_HOME/lnbits/lnbits.env" # else LNbits goes on with a wallet that takes nothing
}

goes_though_it_was_never_whole() {
    begin "$1"
    printf -- '-m venv' >"$WORLD/lost"
    run node setup
    [ "$status" -ne 0 ]
    run node uninstall --delete-data-there-are-no-sats-in-it
    ended 0
    [ ! -e "$NODE_HOME" ]
    run node uninstall
    ended 1
    said "there is no node"
}

# What the two service managers do is tried on both, the half of it that takes longest with TIMMY_HEAVY only; what only the scripts do, on one.
for promise in is_set_up_in_order_and_keeps_its_secrets stops_and_starts_in_order is_not_begun_where_something_is_missing names_paths_as_they_are; do
    for system in Linux Darwin; do
        bats_test_function --description "on $system a node ${promise//_/ }" -- "$promise" "$system"
    done
done
for promise in changes_nothing_when_it_is_set_up_again says_how_it_is goes_and_leaves_what_sats_are_in is_only_told_of_in_a_dry_run; do
    for system in Linux ${TIMMY_HEAVY:+Darwin}; do
        bats_test_function --description "on $system a node ${promise//_/ }" -- "$promise" "$system"
    done
done
for promise in goes_on_where_it_was_cut_short gives_the_key_of_its_wallet is_shown_to_the_private_network_only \
    does_nothing_for_words_that_mean_nothing keeps_the_network_that_it_began_with keeps_what_it_was_set_up_with_when_nothing_is_said \
    waits_for_a_lightning_that_is_slow_after_a_restart goes_though_it_was_never_whole; do
    bats_test_function --description "a node ${promise//_/ }" -- "$promise" Linux
done
