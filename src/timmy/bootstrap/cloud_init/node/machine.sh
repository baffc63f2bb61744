#!/usr/bin/env bash
# The machine below the node: packages, updates, its disk, Docker, Tailscale, the firewall. Sourced by provision.sh.

PACKAGES=(ca-certificates curl docker.io e2fsprogs gnupg openssl python3 ufw unattended-upgrades util-linux)
METADATA=169.254.169.254 # where clouds answer with the user data, to whoever asks from this machine
TAILSCALE_ARCHIVE=https://pkgs.tailscale.com/stable

apt() {
    DEBIAN_FRONTEND=noninteractive timeout 1800 apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -q -y "$@"
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

packages() {
    # shellcheck source=/dev/null
    . "$ROOT/etc/os-release"
    case "$ID $VERSION_ID" in
    "ubuntu 24.04" | "debian 12" | "debian 13") ;;
    *) die "this is $ID $VERSION_ID; the node is made for Ubuntu 24.04 and Debian 12 and 13" ;;
    esac
    local package missing=() wanted=("${PACKAGES[@]}")
    if [ "$ID $VERSION_ID" = "debian 13" ]; then wanted+=(docker-cli); fi # there docker.io only recommends it
    for package in "${wanted[@]}"; do
        installed "$package" || missing+=("$package")
    done
    if [ "${#missing[@]}" -gt 0 ]; then
        again 5 apt update
        again 3 apt install --no-install-recommends "${missing[@]}"
    fi
}

# Security updates by themselves, and a restart at night when one needs it: LND opens its wallet again without anybody.
updates() {
    mkdir -p "$ROOT/etc/apt/apt.conf.d"
    printf '%s\n' 'APT::Periodic::Update-Package-Lists "1";' 'APT::Periodic::Unattended-Upgrade "1";' |
        settle "$ROOT/etc/apt/apt.conf.d/20auto-upgrades" 644
    printf '%s\n' 'Unattended-Upgrade::Automatic-Reboot "true";' 'Unattended-Upgrade::Automatic-Reboot-Time "04:30";' |
        settle "$ROOT/etc/apt/apt.conf.d/52timmy-node" 644
    systemctl enable --now unattended-upgrades
}

# A disk is formatted only when it is blank: no signature that blkid knows, and nothing but zeros where one would be.
volume() {
    install -d -m 700 "$DATA"
    if [ -z "$NODE_VOLUME_DEVICE" ]; then return; fi
    local device="$ROOT$NODE_VOLUME_DEVICE" found status=0 id
    wait_for 300 "the volume $NODE_VOLUME_DEVICE" test -e "$device"
    found="$(blkid -p -o export "$device")" || status=$?
    case "$status" in
    0) grep -qx 'TYPE=ext4' <<<"$found" || die "$NODE_VOLUME_DEVICE holds something that is not ext4; it is left as it is. Attach another volume." ;;
    2)
        cmp -s -n 4194304 "$device" /dev/zero || die "$NODE_VOLUME_DEVICE is not blank and not known; it is left as it is. Attach another volume."
        mkfs.ext4 -q -m 0 -L timmy-node "$device"
        found="$(blkid -p -o export "$device")"
        ;;
    *) die "blkid cannot tell what $NODE_VOLUME_DEVICE holds (status $status); it is left as it is" ;;
    esac
    id="$(sed -n 's/^UUID=//p' <<<"$found")"
    [ -n "$id" ] || die "$NODE_VOLUME_DEVICE has no UUID to mount it by"
    if ! grep -q "^UUID=$id " "$ROOT/etc/fstab"; then
        { cat "$ROOT/etc/fstab" && printf 'UUID=%s /srv/timmy-node ext4 defaults,nofail,discard,noatime 0 2\n' "$id"; } |
            settle "$ROOT/etc/fstab" 644
    fi
    # Without the volume Docker must not start: the node would begin anew on the machine's own disk.
    mkdir -p "$ROOT/etc/systemd/system/docker.service.d"
    printf '[Unit]\nRequiresMountsFor=/srv/timmy-node\n' | settle "$ROOT/etc/systemd/system/docker.service.d/timmy-node.conf" 644
    systemctl daemon-reload
    mountpoint -q "$DATA" || mount "$DATA"
    mountpoint -q "$DATA" || die "the volume could not be mounted"
    chmod 700 "$DATA"
}

docker_engine() {
    systemctl enable --now docker
    wait_for 180 "Docker" docker info
    docker network inspect timmy-node >/dev/null 2>&1 || docker network create --subnet 172.31.240.0/24 timmy-node >/dev/null
}

tailscale_network() {
    if [ -z "$NODE_TAILSCALE_KEY" ] && ! tailscale_up; then
        say "no Tailscale key: LNbits is reached through SSH (ssh -L 5000:127.0.0.1:5000)"
        return
    fi
    if ! installed tailscale; then
        # shellcheck source=/dev/null
        . "$ROOT/etc/os-release"
        local keys="$STATE/tailscale.gpg" signer
        again 5 curl --silent --show-error --fail --max-time 60 --output "$keys" "$TAILSCALE_ARCHIVE/$ID/$VERSION_CODENAME.noarmor.gpg"
        signer="$(gpg --batch --show-keys --with-colons "$keys" | sed -n '/^fpr:/{s/^fpr:*//;s/:.*//;p;q;}')"
        [ "$signer" = "$NODE_TAILSCALE_SIGNER" ] || die "Tailscale's archive is signed by '$signer', not by the key that was pinned"
        mkdir -p "$ROOT/usr/share/keyrings" "$ROOT/etc/apt/sources.list.d"
        settle "$ROOT/usr/share/keyrings/tailscale.gpg" 644 <"$keys"
        printf 'deb [signed-by=/usr/share/keyrings/tailscale.gpg] %s/%s %s main\n' "$TAILSCALE_ARCHIVE" "$ID" "$VERSION_CODENAME" |
            settle "$ROOT/etc/apt/sources.list.d/tailscale.list" 644
        again 5 apt update
        again 3 apt install "tailscale=$NODE_TAILSCALE_VERSION"
    fi
    if ! tailscale_up; then
        printf '%s' "$NODE_TAILSCALE_KEY" | settle "$STATE/tailscale-key" 600
        again 3 timeout 180 tailscale up --auth-key="file:$STATE/tailscale-key" --hostname="$NODE_HOSTNAME" --timeout=120s
        wait_for 120 "Tailscale" tailscale_up
    fi
    rm -f "$STATE/tailscale-key"
    forget NODE_TAILSCALE_KEY # it was good for one machine
    tailscale serve --bg --tcp=5000 tcp://127.0.0.1:5000
}

tailscale_up() { [ "$(tailscale status --json 2>/dev/null | json BackendState 2>/dev/null)" = Running ]; }

p2p_port() { case "$NODE_NETWORK" in mainnet) echo 8333 ;; signet) echo 38333 ;; *) echo 18444 ;; esac; }

# In from outside: SSH, Bitcoin, Lightning. All else is on 127.0.0.1 or in Tailscale; what Docker publishes is not asked by ufw, so it
# publishes nothing else. Containers do not reach the cloud's own address, where the user data stands.
firewall() {
    ufw default deny incoming >/dev/null
    ufw default allow outgoing >/dev/null
    ufw limit 22/tcp >/dev/null
    ufw allow 9735/tcp >/dev/null
    ufw allow "$(p2p_port)/tcp" >/dev/null
    ufw allow in on tailscale0 >/dev/null
    ufw --force enable >/dev/null
    iptables -w 30 -C DOCKER-USER -d "$METADATA/32" -j DROP 2>/dev/null || iptables -w 30 -I DOCKER-USER -d "$METADATA/32" -j DROP
}
