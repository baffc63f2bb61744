# A machine of an operator's, for the .bats files beside this one: a home whose name has a space, the scripts, and stand-ins for all that
# they would call. Needs bash and a Python with jsonschema-rs, by PYTHON or in .venv.
# shellcheck shell=bash

ROOT="$(cd "$BATS_TEST_DIRNAME/../.." && pwd)"
PYTHON="${PYTHON:-$ROOT/.venv/bin/python}"
STAND_IN="$BATS_TEST_DIRNAME/stand_in"

# machine SYSTEM NAMES...: what `uname` says, and which commands there are besides those of every machine.
machine() {
    PLACE="$BATS_FILE_TMPDIR/machine"
    rm -rf "$PLACE"
    export WORLD="$PLACE/world" HOME="$PLACE/a home of one's own" NODE_POLL_SECONDS=0 NODE_PATIENCE_SECONDS=5
    export NODE_HOME="$HOME/node \$HOME 100%"
    mkdir -p "$WORLD/units" "$HOME" "$PLACE/bin"
    printf '%s\n' "$1" >"$WORLD/system"
    shift
    local name
    for name in "$@" uname id curl openssl; do ln -s "$STAND_IN" "$PLACE/bin/$name"; done
    PATH="$PLACE/bin:$PATH"
    cd "$HOME" || return
}

# once NAME COMMAND...: the machine as COMMAND leaves it, which takes a second the first time and is copied from then on.
once() {
    local kept="$BATS_FILE_TMPDIR/$1"
    shift
    if [ -e "$kept" ]; then
        cd / && rm -rf "$PLACE" && cp -Rp "$kept" "$PLACE" && cd "$HOME" || return
    else
        "$@" && cp -Rp "$PLACE" "$kept"
    fi
}

# Every file with what it holds and who may read it, as one text.
files() { find "$HOME" -type f -exec ls -l {} + | awk '{print $1}' | cksum && find "$HOME" -type f -exec cksum {} + | sort; }

units() { ls "$WORLD/units"; }

# What was asked of the machine that is not only looking.
changes() { grep -Ev '^(curl|bitcoin-cli|uname|id|openssl|dpkg-query) |is-active|^launchctl print|^python[0-9.]* -c |^id$|^tailscale status' "$WORLD/calls" || true; }

mode() { ls -ld "$1" | cut -c 1-10; }

# said TEXT...: each of them is in $output.
said() {
    local text
    for text in "$@"; do
        case "$output" in *"$text"*) ;; *)
            printf 'It did not say: %s\nIt said:\n%s\n' "$text" "$output"
            return 1
            ;;
        esac
    done
}

# ended CODE: with `run` before it.
ended() {
    [ "$status" -eq "$1" ] || {
        printf 'It ended with %s, and should with %s. It said:\n%s\n' "$status" "$1" "$output"
        return 1
    }
}

same() { [ "$1" = "$2" ] || { printf 'Not the same:\n%s\n--- and ---\n%s\n' "$1" "$2" && return 1; }; }
