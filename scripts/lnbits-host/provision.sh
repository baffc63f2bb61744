#!/usr/bin/env bash
# LNbits on a Debian or Ubuntu host: PostgreSQL, a user and a folder of its own, a service of systemd. May be run again at any time.
set -euo pipefail

ROOT="${LNBITS_HOST_ROOT:-}" # only a rehearsal sets it: then files are below that folder
PACKAGES="postgresql postgresql-client python3-venv curl openssl"
LNBITS_PACKAGES="lnbits==1.6.2 bitstring<5" # with bitstring 5 it does not start
PROGRAM=/opt/lnbits
SETTINGS=/etc/lnbits/lnbits.env
UNIT=/etc/systemd/system/lnbits.service
DATA=/var/lib/lnbits
PORT="$(sed -n 's/^ExecStart=.* --port \([0-9][0-9]*\)$/\1/p' "$ROOT$UNIT" 2>/dev/null || true)" # what it was
PORT="${PORT:-5000}"
POLL_SECONDS="${LNBITS_HOST_POLL_SECONDS:-2}"
DRY_RUN=""
UNINSTALL=""
DELETE=""

usage() {
    cat <<TEXT
usage: provision.sh [--port PORT] [--dry-run] [--uninstall [--delete-data-there-are-no-sats-in-it]]

  --port       where LNbits listens, on 127.0.0.1 (what it was; now $PORT)
  --dry-run    say what would be done, and do nothing
  --uninstall  take the service and the program away; the settings and the database stay

Afterwards set the wallet's backend in $SETTINGS (LNBITS_BACKEND_WALLET_CLASS and what belongs to it), and: systemctl restart lnbits
TEXT
}

say() { printf '%s\n' "$*"; }

die() {
    printf 'provision.sh: %s\n' "$*" >&2
    exit 1
}

run() {
    if [ -n "$DRY_RUN" ]; then
        printf 'would run:'
        printf ' %q' "$@"
        printf '\n'
    else
        "$@"
    fi
}

# put FILE MODE: standard input becomes the file, whole or not at all.
put() {
    local file="$ROOT$1" draft
    if [ -n "$DRY_RUN" ]; then
        cat >/dev/null
        say "would write: $1 ($2)"
        return
    fi
    mkdir -p "$(dirname "$file")"
    draft="$(mktemp "$file.XXXXXX")"
    cat >"$draft"
    chmod "$2" "$draft"
    mv -f "$draft" "$file"
}

while [ $# -gt 0 ]; do
    case "$1" in
    --port) PORT="${2:-}" && shift ;;
    --dry-run) DRY_RUN=yes ;;
    --uninstall) UNINSTALL=yes ;;
    --delete-data-there-are-no-sats-in-it) DELETE=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    [ $# -eq 0 ] || shift
done
case "$PORT" in '' | *[!0-9]*) die "--port is a number" ;; esac
[ -z "$DELETE" ] || [ -n "$UNINSTALL" ] || die "data are deleted with --uninstall only"
[ -n "$DRY_RUN" ] || [ -n "$ROOT" ] || [ "$(id -u)" -eq 0 ] || die "run it as root, or with --dry-run to see what it would do"

as_postgres() { (cd / && runuser -u postgres -- psql -X -q -v ON_ERROR_STOP=1 "$@"); }

uninstall() {
    run systemctl disable --now lnbits.service || say "the service was not running"
    run rm -f "$ROOT$UNIT"
    run systemctl daemon-reload
    run rm -rf "$ROOT$PROGRAM"
    if [ -z "$DELETE" ]; then
        say "The settings ($SETTINGS), the data ($DATA) and the database 'lnbits' are still there: sats may be in them."
        return
    fi
    run as_postgres --command 'DROP DATABASE IF EXISTS lnbits WITH (FORCE)' --command 'DROP ROLE IF EXISTS lnbits'
    run rm -rf "$ROOT$DATA" "$ROOT$(dirname "$SETTINGS")"
    if id lnbits >/dev/null 2>&1; then run userdel lnbits; fi
}

system() {
    # shellcheck source=/dev/null
    . "$ROOT/etc/os-release"
    case "${ID:-} ${VERSION_ID:-}" in
    "debian 12" | "ubuntu 22.04" | "ubuntu 24.04") ;;
    *) die "LNbits needs Python 3.10 to 3.12: Debian 12, Ubuntu 22.04 or 24.04. This is ${PRETTY_NAME:-something else}" ;;
    esac
    local package missing=""
    for package in $PACKAGES; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        run apt-get -q -y -o DPkg::Lock::Timeout=600 update
        # shellcheck disable=SC2086 # one word for each package
        run env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends $missing
    fi
    id lnbits >/dev/null 2>&1 || run useradd --system --home-dir "$DATA" --shell /usr/sbin/nologin lnbits
    run install -d -m 700 "$ROOT$DATA"
    run chown lnbits:lnbits "$ROOT$DATA"
}

program() {
    local venv="$ROOT$PROGRAM/venv" package
    if [ "$(cat "$venv/made-of" 2>/dev/null || true)" != "$LNBITS_PACKAGES" ]; then
        run rm -rf "$venv"
        run mkdir -p "$ROOT$PROGRAM"
        run python3 -m venv "$venv"
        # shellcheck disable=SC2086 # one word for each package
        run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check $LNBITS_PACKAGES
        printf '%s' "$LNBITS_PACKAGES" | put "$PROGRAM/venv/made-of" 644
    fi
    [ -z "$DRY_RUN" ] || return 0
    # It looks for its pages beside where it is started.
    for package in "$venv"/lib/python3*/site-packages/lnbits; do ln -sfn "$package" "$ROOT$PROGRAM/lnbits"; done
}

setting() { if [ -f "$ROOT$SETTINGS" ]; then sed -n "s/^$1=//p" "$ROOT$SETTINGS"; fi; }

# What the operator has written into the settings stays; only what is missing is added, so that a second run changes nothing.
settings() {
    local password name value had
    password="$(setting LNBITS_DATABASE_URL | sed -n 's#^postgres://lnbits:\([0-9a-f]*\)@127.0.0.1:5432/lnbits$#\1#p')"
    if [ -z "$password" ] && [ -n "$(setting LNBITS_DATABASE_URL)" ]; then
        OWN_DATABASE=yes
    elif [ -z "$password" ]; then
        password="$(openssl rand -hex 24)"
    fi
    had="$(cat "$ROOT$SETTINGS" 2>/dev/null || true)"
    {
        [ -z "$had" ] || printf '%s\n' "$had"
        for name in "LNBITS_DATABASE_URL=postgres://lnbits:$password@127.0.0.1:5432/lnbits" "LNBITS_DATA_FOLDER=$DATA" \
            "LNBITS_EXTENSIONS_PATH=$DATA" LNBITS_ADMIN_UI=true LNBITS_ALLOW_NEW_ACCOUNTS=false LNBITS_RATE_LIMIT_NO=6000 \
            FUNDING_SOURCE_MAX_RETRIES=500 LNBITS_BACKEND_WALLET_CLASS=VoidWallet "AUTH_SECRET_KEY=$(openssl rand -hex 32)" "FIRST_INSTALL_TOKEN=$(openssl rand -hex 16)"; do
            value="${name#*=}"
            name="${name%%=*}"
            # No pipe: grep goes at the first hit, the writer dies of it, and pipefail would call that "not there": a second line, and LNbits
            # would have another database than its operator's.
            grep -q "^$name=" <<<"$had" || printf '%s=%s\n' "$name" "$value"
        done
    } | put "$SETTINGS" 600
    DB_PASSWORD="$password"
}

database() {
    run systemctl enable --now postgresql
    if [ -n "$OWN_DATABASE" ]; then
        say "$SETTINGS names a database of yours: nothing is made or changed in PostgreSQL"
        return
    fi
    if [ -n "$DRY_RUN" ]; then
        say "would make: the role and the database 'lnbits' in PostgreSQL"
        return
    fi
    # By standard input: arguments can be read by every process of the machine.
    as_postgres --dbname postgres <<SQL
SELECT 'CREATE ROLE lnbits LOGIN' WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'lnbits') \\gexec
ALTER ROLE lnbits PASSWORD '$DB_PASSWORD';
SELECT 'CREATE DATABASE lnbits OWNER lnbits' WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = 'lnbits') \\gexec
REVOKE CONNECT ON DATABASE lnbits FROM PUBLIC;
SQL
}

# What the service is made of: when it has changed, it is started anew.
made() { for file in "$SETTINGS" "$UNIT" "$PROGRAM/venv/made-of"; do cat "$ROOT$file" 2>/dev/null || true; done | cksum; }

service() {
    put "$UNIT" 644 <<TEXT
[Unit]
Description=LNbits
Wants=network-online.target
After=network-online.target postgresql.service

[Service]
User=lnbits
Group=lnbits
WorkingDirectory=$PROGRAM
EnvironmentFile=$SETTINGS
ExecStart=$PROGRAM/venv/bin/python $PROGRAM/venv/bin/lnbits --host 127.0.0.1 --port $PORT
Restart=always
RestartSec=5
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths=$DATA
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
TEXT
    run systemctl daemon-reload
    run systemctl enable --now lnbits.service
    if [ "$(made)" != "$MADE_BEFORE" ]; then run systemctl restart lnbits.service; fi
}

answers() {
    local limit="${LNBITS_HOST_PATIENCE_SECONDS:-300}" began=$SECONDS
    [ -z "$DRY_RUN" ] || return 0
    until curl --silent --fail --max-time 10 --output /dev/null "http://127.0.0.1:$PORT/api/v1/health"; do
        [ $((SECONDS - began)) -lt "$limit" ] || die "LNbits did not answer for $limit seconds: journalctl -u lnbits"
        sleep "$POLL_SECONDS"
    done
}

MADE_BEFORE="$(made)"
DB_PASSWORD=""
OWN_DATABASE=""
umask 022
if [ -n "$UNINSTALL" ]; then
    uninstall
    exit 0
fi
system
program
settings
database
service
answers
if [ -n "$DRY_RUN" ]; then
    say "Nothing was done."
else
    say "LNbits answers at http://127.0.0.1:$PORT (from elsewhere: ssh -L $PORT:127.0.0.1:$PORT). Its first page asks for FIRST_INSTALL_TOKEN of $SETTINGS."
fi
