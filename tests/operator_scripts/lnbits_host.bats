#!/usr/bin/env bats
# scripts/lnbits-host/provision.sh, in a folder that plays a Debian host.

load machine

setup() {
    machine Linux systemctl apt-get dpkg-query useradd userdel runuser chown python3
    export LNBITS_HOST_ROOT="$HOME" LNBITS_HOST_POLL_SECONDS=0 LNBITS_HOST_PATIENCE_SECONDS=1
    SETTINGS="$HOME/etc/lnbits/lnbits.env"
    UNIT="$HOME/etc/systemd/system/lnbits.service"
    mkdir "$HOME/etc"
    printf 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n' >"$HOME/etc/os-release"
}

provision() { bash "$BATS_TEST_DIRNAME/../../scripts/lnbits-host/provision.sh" "$@"; }

password() { sed -n 's#^LNBITS_DATABASE_URL=postgres://lnbits:\([0-9a-f]*\)@.*#\1#p' "$SETTINGS"; }

@test "a host gets LNbits with a database, a user and a service of its own" {
    run provision
    ended 0
    said "LNbits answers at http://127.0.0.1:5000" "FIRST_INSTALL_TOKEN"
    same "$(mode "$SETTINGS")" -rw-------
    same "$(units | tr '\n' ' ')" "lnbits postgresql "
    grep -q '^User=lnbits$' "$UNIT"
    grep -q -- '--host 127.0.0.1 --port 5000$' "$UNIT"
    grep -qF "PASSWORD '$(password)'" "$WORLD/sql"
    run grep -F "$(password)" "$WORLD/calls"
    ended 1 # arguments can be read by every process of the machine
}

@test "a second run changes nothing, and starts nothing anew" {
    once host provision
    local before asked secret
    before="$(files; units)"
    secret="$(password)"
    asked="$(changes | wc -l)"
    run provision
    ended 0
    same "$(files; units)" "$before"
    same "$(password)" "$secret"
    same "$(changes | tail -n "+$((asked + 1))" | grep -E 'restart|pip| -m |apt-get|useradd')" ""
}

@test "what the operator has written into the settings stays, and is put to use" {
    once host provision
    sed -i.old 's/VoidWallet/LndRestWallet/' "$SETTINGS" && rm "$SETTINGS.old"
    printf 'LND_REST_ENDPOINT=https://lnd:8080\n' >>"$SETTINGS"
    local before
    before="$(cat "$SETTINGS")"
    : >"$WORLD/calls"
    run provision --port 5001
    ended 0
    same "$(cat "$SETTINGS")" "$before"
    same "$(grep -c 'systemctl restart' "$WORLD/calls")" 1
    grep -q -- '--port 5001$' "$UNIT"
}

@test "a port that was chosen stays where nothing is said of it" {
    once another-port provision --port 5001
    run provision
    ended 0
    said "LNbits answers at http://127.0.0.1:5001"
    grep -q -- '--port 5001$' "$UNIT"
}

@test "a database of the operator's own is left alone" {
    once host provision
    sed -i.old 's#^LNBITS_DATABASE_URL=.*#LNBITS_DATABASE_URL=postgresql://me:Geheim!@db.example/lnbits#' "$SETTINGS" && rm "$SETTINGS.old"
    : >"$WORLD/sql"
    local before
    before="$(cat "$SETTINGS")"
    run provision
    ended 0
    said "names a database of yours"
    same "$(cat "$WORLD/sql")" ""
    same "$(cat "$SETTINGS")" "$before"
}

@test "a setting that is there is found in a long file, too" {
    once host provision
    printf '# %0200d\n' {1..1000} >>"$SETTINGS"
    local before
    before="$(cat "$SETTINGS")"
    run provision
    ended 0
    [ "$(cat "$SETTINGS")" = "$before" ]
}

@test "a run that was cut short is gone on with" {
    local lost
    for lost in "-m venv" "--dbname postgres" "enable --now lnbits"; do
        printf '%s' "$lost" >"$WORLD/lost"
        run provision
        [ "$status" -ne 0 ]
        [ ! -e "$WORLD/lost" ]
    done
    run provision
    ended 0
    same "$(grep -c "PASSWORD '$(password)'" "$WORLD/sql")" 3 # the same, each time
}

@test "a service that does not answer is not called one that does" {
    : >"$WORLD/lnbits-is-ill"
    run provision
    ended 1
    said "journalctl -u lnbits"
}

@test "a dry run does nothing" {
    local before
    before="$(files)"
    run provision --dry-run
    ended 0
    said "would run: apt-get" "would write: /etc/lnbits/lnbits.env (600)" "Nothing was done."
    same "$(files)" "$before"
    same "$(changes)" ""
    once host provision
    before="$(files; units)"
    run provision --uninstall --delete-data-there-are-no-sats-in-it --dry-run
    ended 0
    same "$(files; units)" "$before"
}

@test "the data stay unless one says that there are no sats" {
    once host provision
    run provision --uninstall
    ended 0
    said "are still there"
    [ -e "$SETTINGS" ]
    [ ! -e "$UNIT" ]
    same "$(units)" postgresql
    run grep 'DROP DATABASE' "$WORLD/calls"
    ended 1
    run provision # and back, with the same database
    ended 0
    run provision --uninstall --delete-data-there-are-no-sats-in-it
    ended 0
    grep -q 'DROP\\ DATABASE\\ IF\\ EXISTS\\ lnbits' "$WORLD/calls"
    grep -qx 'userdel lnbits' "$WORLD/calls"
    [ ! -e "$HOME/etc/lnbits" ]
    [ ! -e "$HOME/var/lib/lnbits" ]
    run provision --uninstall # twice is once
    ended 0
}

@test "a system without a fitting Python is refused before anything is changed" {
    printf 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian 13"\n' >"$HOME/etc/os-release"
    run provision
    ended 1
    said "This is Debian 13"
    same "$(changes)" ""
}

@test "words that mean nothing change nothing" {
    local words
    for words in "--port http" "--port" "--delete-data-there-are-no-sats-in-it" "--remove"; do
        # shellcheck disable=SC2086 # two words
        run provision $words
        [ "$status" -eq 1 ] || [ "$status" -eq 2 ]
    done
    same "$(changes)" ""
}
