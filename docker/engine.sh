#!/bin/bash
# A private Docker engine for a machine that has none: Debian 12, as root.
#
#   docker/engine.sh up               install what is missing, start the engine
#   docker/engine.sh base             make the image that the CPU Dockerfile builds on
#                    [--cuda] [--tiny]  and a stand-in for NVIDIA's, and one for tests,
#                    [--trixie]         and the one with Python 3.13
#   docker/engine.sh compose          fetch a newer Compose, print its DOCKER_CONFIG
#   docker/engine.sh env              print a shell's settings:  eval "$(docker/engine.sh env)"
#   docker/engine.sh status           print its state; exit 1 if the engine does not answer
#   docker/engine.sh down             stop all, restore the machine's state before `up`
#
# It needs no registry: engine and images come from Debian's packages.  You can repeat
# `up` and `base`, even after all processes were killed.  Settings:
#
#   RUNNER_ENGINE_DIR      all its files; at most 66 characters   /tmp/runner-engine
#   RUNNER_ENGINE_SUITE    trixie (Docker 26.1) or forky (28.5)    trixie
#   RUNNER_ENGINE_BRIDGE   its default bridge                      rnr0
#   RUNNER_ENGINE_ADDRESS  the bridge's address, a /16             a free one
#   RUNNER_ENGINE_POOL     for further networks, a /16             a free one
#   RUNNER_ENGINE_IPTABLES true, or false: its containers reach      true
#                          no network but their own
#   RUNNER_ENGINE_MIRROR   Debian's archive                        the one of apt's sources
#   RUNNER_ENGINE_GROUP    group with access to the socket         root
#   RUNNER_ENGINE_HOOKS    a folder at the start of its PATH,      none
#                          for a stand-in of NVIDIA's hook
#
# Several engines can run on a machine, each with its own folder and bridge.  The
# engine has its own mount namespace: containers see a file system that is mounted
# later on the machine only if `/` is a shared mount.
set -euo pipefail # so never use `| grep -q`: it can end the writer with an error

D=$(realpath -m "${RUNNER_ENGINE_DIR:-/tmp/runner-engine}")
SUITE=${RUNNER_ENGINE_SUITE:-trixie}
BRIDGE=${RUNNER_ENGINE_BRIDGE:-rnr0}
GROUP=${RUNNER_ENGINE_GROUP:-root}
ADDRESS=${RUNNER_ENGINE_ADDRESS:-}
POOL=${RUNNER_ENGINE_POOL:-}
IPTABLES=${RUNNER_ENGINE_IPTABLES:-true}
NAME=runner-engine-$(cksum <<<"$D" | cut -d ' ' -f 1) # its cgroup, and its entry below
SHARED=/run/runner-engines                             # the machine's state before the first engine
PACKAGES=(ca-certificates e2fsprogs iproute2 iptables mount nftables runc tini)
FOLDERS=( # made by the engine's programs, inner ones first
    /opt/containerd/bin /opt/containerd/lib /opt/containerd /run/containerd/s /run/containerd
    /run/docker/plugins /run/docker /run/runc /run/mount
)

say() { printf 'engine: %s\n' "$*" >&2; }
fail() { # message, hint
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 1
}

# ---- apt ---------------------------------------------------------------------

# The machine's package sources, as lines of `URI SUITE COMPONENT CODENAME`; the last word needs an
# earlier `apt-get update`.
apt_sources() {
    # shellcheck disable=SC2016 # $(…) is apt's here
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(CODENAME)' 'Created-By: Packages' 2>/dev/null || true
}

# Sets MIRROR, which every download needs.
need_mirror() {
    [ -z "${MIRROR:-}" ] || return 0
    local found=${RUNNER_ENGINE_MIRROR:-}
    [ -n "$found" ] || found=$(apt_sources |
        awk '$1 !~ /^cdrom:/ && ($2 == "bookworm" || $4 == "bookworm") && $3 == "main" && !seen++ {print $1}')
    [ -n "$found" ] || fail "apt's sources name no archive of Debian 12 (bookworm)" \
        "name one: RUNNER_ENGINE_MIRROR=http://…/debian"
    MIRROR=${found%/}
}

install_packages() { # names; notes the missing ones, so that `down` can list them
    local missing=() package
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep 'ok installed' >/dev/null || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    printf '%s\n' "${missing[@]}" >>"$D/installed"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" \
        >"$D/apt.log" 2>&1 </dev/null || {
        tail -n 5 "$D/apt.log" >&2
        fail "apt could not install ${missing[*]}" "see $D/apt.log"
    }
}

unpack() { # a suite of Debian, a folder, packages; does not change apt's own state
    local deb apt=$D/apt
    need_mirror
    rm -rf "$apt" "$2"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs" "$2"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $1 main" >"$apt/sources.list"
    printf '%s;\n' "Dir::Etc::sourcelist \"$apt/sources.list\"" 'Dir::Etc::sourceparts "-"' \
        "Dir::State::Lists \"$apt/lists\"" "Dir::Cache \"$apt/cache\"" \
        'APT::Sandbox::User "root"' 'Acquire::Languages "none"' >"$apt/apt.conf"
    (
        export APT_CONFIG=$apt/apt.conf
        cd "$apt/debs"
        apt-get -qq update
        apt-get -qq download "${@:3}"
    )
    for deb in "$apt"/debs/*.deb; do dpkg-deb -x "$deb" "$2"; done
    rm -rf "$apt" "${2:?}/usr/share"
}

# Unpack the suite's engine into $D/root.  Its binaries need glibc 2.34 and
# bookworm has 2.36; the suite's runc and tini need a newer one, so we use bookworm's.
unpack_engine() {
    [ ! -x "$D/root/usr/sbin/dockerd" ] || return 0
    local new=$D/unpacking # renamed when complete
    say "fetching the engine from Debian $SUITE"
    unpack "$SUITE" "$new" docker.io docker-cli containerd docker-buildx docker-compose
    rm -rf "$D/root" "${new:?}/usr/bin/ctr"
    ln -sf "$(command -v tini-static)" "$new/usr/bin/docker-init"
    mv "$new" "$D/root"
    "$D/root/usr/sbin/dockerd" --version >&2 ||
        fail "the engine of Debian $SUITE does not run here" "try RUNNER_ENGINE_SUITE=trixie on Debian 12"
}

# ---- the machine's state -----------------------------------------------------

links() { ip -o link | awk '{sub(/[@:].*/, "", $2); print $2}' | sort; }

tables() { iptables-save 2>/dev/null | sed -n 's/^\*//p'; }

# Store the machine's state, unless a live engine has done so since the boot.
remember_machine() {
    local boot
    boot=$(cat /proc/sys/kernel/random/boot_id)
    if [ "$(cat "$SHARED/boot" 2>/dev/null)" != "$boot" ]; then
        rm -rf "$SHARED"
        mkdir -p "$SHARED/engines"
        cat /proc/sys/net/ipv4/ip_forward >"$SHARED/ip_forward"
        links >"$SHARED/links"
        iptables-save | sed 's/ \[[0-9:]*\]$//' >"$SHARED/rules"
        find "${FOLDERS[@]}" -maxdepth 0 >"$SHARED/folders" 2>/dev/null || true
        echo "$boot" >"$SHARED/boot" # last: without it the rest is ignored
    fi
    { cat "$D/settings" && printf 'FOLDER=%q\n' "$D"; } >"$SHARED/engines/$NAME"
}

# Prints a /16 that no route of the machine uses and no other engine has chosen; in a
# container of another engine, that engine's networks are in use.
free_net() { # second numbers to try
    local second taken
    taken=$(ip -4 route && cat "$SHARED"/engines/* 2>/dev/null) || true
    for second; do
        grep -qE "(^|=)172\.$second\." <<<"$taken" || { echo "172.$second.0"; return; }
    done
    fail "no free network for the engine" "set RUNNER_ENGINE_ADDRESS and RUNNER_ENGINE_POOL, a /16 each"
}

# The choices of the first `up` are kept until `down`, whatever the environment contains.
settle() {
    if [ -e "$D/settings" ]; then
        # shellcheck disable=SC1091
        source "$D/settings"
        return
    fi
    ADDRESS=${ADDRESS:-$(free_net 28 26 24 22 21).1/16}
    POOL=${POOL:-$(free_net 27 25 23 20 19).0/16}
    [[ $ADDRESS$POOL =~ ^[0-9.]+/16[0-9.]+/16$ ]] ||
        fail "\`$ADDRESS\`, \`$POOL\`: the engine's networks must be of the form a.b.c.d/16" "give both, or neither"
    printf '%s=%q\n' SUITE "$SUITE" GROUP "$GROUP" BRIDGE "$BRIDGE" ADDRESS "$ADDRESS" POOL "$POOL" \
        IPTABLES "$IPTABLES" >"$D/settings"
}

# Prints the processes of this engine: those in its cgroups, its own programs, and
# programs that `base` runs in a root below its folder.
processes() {
    local process
    find /sys/fs/cgroup -path "*/$NAME*" -name cgroup.procs -exec cat {} + 2>/dev/null || true
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe" "$process/root" 2>/dev/null) in *"$D"/root/* | *"$D"/tmp/*) echo "${process#/proc/}" ;; esac
    done
}

thaw() { # paused containers cannot be killed
    find /sys/fs/cgroup -path "*/$NAME*" \( -name freezer.state -exec sh -c 'echo THAWED >"$1"' - {} \; \
        -o -name cgroup.freeze -exec sh -c 'echo 0 >"$1"' - {} \; \) 2>/dev/null || true
}

kill_all() { # the last process also ends the engine's mounts, which are in its namespace
    local pids _
    for _ in {1..100}; do
        pids=$(processes | sort -u)
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null || true
        thaw
        sleep 0.05
    done
    fail "processes of the engine do not end: $(tr '\n' ' ' <<<"$pids")" "look at them with ps, and try again"
}

remove_cgroups() {
    find /sys/fs/cgroup -depth -type d -path "*/$NAME*" -exec rmdir {} + 2>/dev/null || true
}

# Prints the bridges of this engine: its own, those with an address of its pool, and for
# the last engine all of Docker's that did not exist before the first.
bridges() { # last?
    echo "$BRIDGE"
    ip -o -4 addr | awk -v pool="${POOL%.*.*}." '$2 ~ /^br-/ && index($4, pool) == 1 {print $2}'
    [ "$1" != last ] || links | grep -xE 'br-[0-9a-f]{12}' | grep -vxF -f "$SHARED/links" || true
}

# Removes the rules of these bridges or networks; for the last engine also Docker's
# chains, the policy, and the tables that did not exist before.
remove_rules() { # last?, bridges
    local table mine chains=
    mine=" ($(tr ' ' '|' <<<"${*:2}"))( |\$)| (${POOL%.*.*}|${ADDRESS%.*.*})\.[0-9./:]+( |\$)"
    [ "$1" != last ] || mine+='|^-A (PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) .*-j DOCKER'
    [ "$1" != last ] || mine+='|^-A PREROUTING -d [0-9./]+ ! -i [^ ]+ -p [a-z]+ .*-j DROP$' # 28: published ports, table raw
    for table in $(tables); do
        [ "$1" != last ] || chains=$(iptables-save -t "$table" | sed -nE 's/^(:DOCKER[^ ]* .*) \[.*/\1/p' |
            grep -vxF -f "$SHARED/rules" | sed -E 's/^:([^ ]+).*/\1/') || true
        {
            echo "*$table"
            iptables-save -t "$table" | grep '^-A ' | grep -E -- "$mine" | grep -vxF -f "$SHARED/rules" | sed 's/^-A/-D/' || true
            # shellcheck disable=SC2086
            [ -z "$chains" ] || printf -- '-F %s\n' $chains
            # shellcheck disable=SC2086
            [ -z "$chains" ] || printf -- '-X %s\n' $chains
            [ "$1$table" != lastfilter ] || echo ":FORWARD $(old_policy) [0:0]"
            echo COMMIT
        } | iptables-restore --noflush
        if [ "$1" = last ] && ! grep -qxF "*$table" "$SHARED/rules"; then drop_table "$table"; fi
    done
}

old_policy() {
    awk '/^\*/ {table = $1} table == "*filter" && $1 == ":FORWARD" {policy = $2} END {print policy ? policy : "ACCEPT"}' "$SHARED/rules"
}

drop_table() { # if it is empty; iptables cannot do this with its nf_tables backend
    if iptables -V | grep nf_tables >/dev/null && ! iptables-save -t "$1" | grep -E '^-A |^:[^ ]+ (-|DROP)' >/dev/null; then
        nft delete table ip "$1"
    fi
}

remove_sockets() { # of killed shims: no process listens on them
    local socket
    for socket in /run/containerd/s/*; do
        [ ! -S "$socket" ] || grep -qF " $socket" /proc/net/unix || rm -f "$socket"
    done
}

# Whether another Docker runs here, which needs chains, policy and forwarding.
has_foreign_docker() {
    local process
    for process in /proc/[0-9]*; do
        [ "$(cat "$process/comm" 2>/dev/null)" != dockerd ] ||
            [ "$(readlink "$process/ns/net")" != "$(readlink /proc/self/ns/net)" ] || return 0
    done
    return 1
}

restore_machine() { # after the last engine
    cat "$SHARED/ip_forward" >/proc/sys/net/ipv4/ip_forward
    local folder
    for folder in "${FOLDERS[@]}"; do
        grep -qxF "$folder" "$SHARED/folders" || rmdir "$folder" 2>/dev/null || true
    done
}

# ---- the engine --------------------------------------------------------------

docker() { TMPDIR=$D/tmp DOCKER_CONFIG=$D/client DOCKER_HOST=unix://$D/docker.sock "$D/root/usr/bin/docker" "$@"; }
answers() { [ -S "$D/docker.sock" ] && docker version >/dev/null 2>&1; }

# Images and containers are in a file system in a sparse file.  overlay works on it
# wherever the file is, and `down` removes one file instead of 90,000.
make_data() {
    [ ! -e "$D/data.img" ] || return 0
    local free_kib
    free_kib=$(df --output=avail -k "$D" | tail -n 1)
    truncate -s "${free_kib// /}K" "$D/data.new"
    mkfs.ext4 -q -m 0 -E assume_storage_prezeroed=1,nodiscard "$D/data.new"
    mv "$D/data.new" "$D/data.img"
}

write_config() {
    local mtu way_out # a tunnel has smaller packets than a bridge; containers must use its size
    way_out=$(ip -4 route show default | sed -nE '1s/.* dev ([^ ]+).*/\1/p')
    mtu=$(cat "/sys/class/net/${way_out:-lo}/mtu")
    [ "$mtu" -le 9000 ] || mtu=1500 # no route to other networks
    cat >"$D/daemon.json" <<JSON
{
  "bridge": "$BRIDGE",
  "cdi-spec-dirs": ["$D/cdi"],
  "cgroup-parent": "/$NAME",
  "default-address-pools": [{"base": "$POOL", "size": 24}],
  "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "$mtu"}},
  "exec-opts": ["native.cgroupdriver=cgroupfs"],
  "features": {"cdi": true},
  "ip6tables": false,
  "iptables": $IPTABLES,
  "log-driver": "json-file",
  "log-opts": {"max-size": "10m", "max-file": "2"},
  "mtu": $mtu,
  "shutdown-timeout": 5,
  "storage-driver": "overlay2"
}
JSON
}

bridge_mac() { # locally administered, from the address
    local a b c d
    IFS=. read -r a b c d <<<"${ADDRESS%/*}"
    printf '02:42:%02x:%02x:%02x:%02x' "$a" "$b" "$c" "$d"
}

allow_own() { # networks; another engine's policy drops what passes a bridge
    local net
    for net; do
        iptables -C FORWARD -s "$net" -d "$net" -j ACCEPT 2>/dev/null ||
            iptables -I FORWARD -s "$net" -d "$net" -j ACCEPT
    done
}

start_daemon() {
    local loop
    loop=$(losetup -f) || fail "this machine has no loop devices" "as a container it must be privileged"
    [ -b "$loop" ] || mknod -m 0600 "$loop" b 7 "${loop#/dev/loop}" # a container's /dev has only the older ones
    # The bridge gets its own MAC address: otherwise it takes the lowest of its ports, and each
    # container that starts or ends would disconnect the others until they resolve it again.
    ip link show "$BRIDGE" >/dev/null 2>&1 || ip link add name "$BRIDGE" address "$(bridge_mac)" type bridge
    ip -4 addr show dev "$BRIDGE" | grep -F " $ADDRESS " >/dev/null || ip addr add "$ADDRESS" dev "$BRIDGE"
    ip link set "$BRIDGE" up
    [ "$IPTABLES" = true ] || allow_own "$POOL" "${ADDRESS%.*.*}.0.0/16"
    rm -f "$D/docker.pid" "$D/docker.sock"
    # an executable `nvidia-container-runtime-hook` in $D/hooks before the start lets
    # the engine accept `--gpus` and Compose's `driver: nvidia`
    # shellcheck disable=SC2016
    PATH=$D/hooks:$D/root/usr/sbin:$D/root/usr/bin:$PATH \
        setsid unshare --mount --propagation slave bash -c '
            set -e
            mount -o loop,noatime,discard "$1/data.img" "$1/data"
            exec dockerd --config-file "$1/daemon.json" --data-root "$1/data" --exec-root "$1/exec" \
                --pidfile "$1/docker.pid" --host "unix://$1/docker.sock" --group "$2"
        ' engine "$D" "$GROUP" >"$D/dockerd.log" 2>&1 </dev/null 9>&- &
    local daemon=$! patience=$((SECONDS + 90))
    while ! answers; do
        if [ $SECONDS -ge $patience ] || ! kill -0 "$daemon" 2>/dev/null; then
            grep -E 'failed|error|fatal' "$D/dockerd.log" | tail -n 3 >&2 || true
            fail "the engine did not start" "see $D/dockerd.log"
        fi
        sleep 0.1
    done
}

# ---- commands ----------------------------------------------------------------

up() {
    [ ${#D} -le 66 ] || fail "\`$D\` is longer than 66 characters: sockets below it would not fit" "choose a shorter RUNNER_ENGINE_DIR"
    mkdir -p "$D"/{cdi,client/cli-plugins,data,exec,hooks,tmp}
    install_packages "${PACKAGES[@]}"
    settle
    if answers; then
        say "already up: DOCKER_HOST=unix://$D/docker.sock"
        return
    fi
    unpack_engine
    ln -sf "$D"/root/usr/libexec/docker/cli-plugins/* "$D/client/cli-plugins/"
    kill_all
    remove_cgroups
    remember_machine
    [ -z "${RUNNER_ENGINE_HOOKS:-}" ] || cp -R "$RUNNER_ENGINE_HOOKS/." "$D/hooks/"
    make_data
    write_config
    start_daemon
    say "up: Docker $(docker version --format '{{.Server.Version}}'), DOCKER_HOST=unix://$D/docker.sock"
}

# Makes a DOCKER_CONFIG with Compose and buildx of a later suite, for tests with two
# versions; `env` keeps the engine's own Compose.
compose() {
    local new=$D/unpacking-newer
    if [ ! -x "$D/newer/cli-plugins/docker-compose" ]; then
        mkdir -p "$D/newer"
        say "fetching Compose from Debian forky"
        unpack forky "$new" docker-compose docker-buildx
        mv "$new/usr/libexec/docker/cli-plugins" "$D/newer/"
        rm -rf "$new"
    fi
    "$D/newer/cli-plugins/docker-compose" version >&2 ||
        fail "the Compose of Debian forky does not run here" "there is the engine's own"
    echo "$D/newer"
}

env_() {
    # shellcheck disable=SC2016 # the caller's PATH
    printf 'export DOCKER_HOST=unix://%q DOCKER_CONFIG=%q PATH=%q:"$PATH"\n' "$D/docker.sock" "$D/client" "$D/root/usr/bin"
    # buildx keeps its state next to the plugins, where only root can write
    [ "$(id -u)" = 0 ] || printf 'export BUILDX_CONFIG=%q\n' "${TMPDIR:-/tmp}/runner-buildx-$(id -u)"
}

status() {
    answers || {
        say "not up ($D)"
        return 1
    }
    docker info --format 'Docker {{.ServerVersion}} on {{.Driver}}, {{.ContainersRunning}} of {{.Containers}} containers running, {{.Images}} images'
    printf 'DOCKER_HOST=unix://%s\n%s on disk\n' "$D/docker.sock" "$(du -sh "$D" | cut -f 1)"
    docker images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
}

is_alive() { # an entry of another engine whose folder still exists
    # shellcheck disable=SC1090,SC2153
    [ "$1" != "$SHARED/engines/$NAME" ] && (source "$1" && [ -e "$FOLDER" ])
}

# Removes the network of this engine; after the last engine, restores the machine's.
restore_network() {
    local entry all others=no last=last
    for entry in "$SHARED"/engines/*; do
        ! is_alive "$entry" || others=yes
    done
    [ $others = no ] && ! has_foreign_docker || last=no
    all=$(bridges $last | sort -u | tr '\n' ' ')
    # shellcheck disable=SC2086
    remove_rules $last ${all% }
    for entry in $all; do ip link del "$entry" 2>/dev/null || true; done
    [ $last = no ] || restore_machine
    rm -f "$SHARED/engines/$NAME"
    [ $others = yes ] || rm -rf "$SHARED"
}

down() {
    if [ ! -e "$D" ] && [ ! -e "$SHARED/engines/$NAME" ]; then
        say "nothing to stop"
        return
    fi
    kill_all
    remove_cgroups
    remove_sockets
    if [ -e "$SHARED/engines/$NAME" ]; then
        # shellcheck disable=SC1090
        source "$SHARED/engines/$NAME"
        restore_network
    fi
    [ ! -s "$D/installed" ] || say "apt packages that stay: $(sort -u "$D/installed" | paste -sd ' ')"
    rm -rf --one-file-system "$D"
    say "gone"
}

# ---- images ------------------------------------------------------------------

# The machine's settings of apt and pip for its registries.
# Leaves out pip's settings that name files of this machine: no image has them.
write_apt_settings() {
    apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|https?::(Proxy|Verify-Peer|Verify-Host)) ' || true
}

write_pip_settings() {
    local file key
    echo '[global]'
    for file in /etc/pip.conf ~/.config/pip/pip.conf ~/.pip/pip.conf; do
        [ ! -e "$file" ] || grep -E '^ *(index-url|extra-index-url|trusted-host|proxy|timeout) *= *[^ ]' "$file" | grep -v 'file:' || true
    done
    for key in index-url extra-index-url trusted-host; do
        file=PIP_${key//-/_}
        file=${file^^}
        [ -z "${!file:-}" ] || [[ ${!file} == *file:* ]] || echo "$key = ${!file}"
    done
    echo 'cert = /etc/ssl/certs/ca-certificates.crt' # pip's own bundle does not contain a local proxy's authority
}

# Copies certificates that the machine trusts in addition to Debian's to the folder that
# update-ca-certificates reads after every upgrade in the image.
write_trust_hook() {
    cat <<'HOOK'
set -e
own=$1/usr/local/share/ca-certificates
bundle=$1/etc/ssl/certs/ca-certificates.crt
chroot "$1" update-ca-certificates >/dev/null 2>&1
mkdir -p "$own"
awk -v own="$own" '
    /-BEGIN CERTIFICATE-/ { body = ""; text = "" }
    { text = text $0 "\n"; if (!/-(BEGIN|END) CERTIFICATE-/) body = body $0 }
    /-END CERTIFICATE-/ {
        if (FILENAME == ARGV[1]) known[body] = 1
        else if (!(body in known)) { known[body] = 1; file = own "/machine-" ++n ".crt"; printf "%s", text > file; close(file) }
    }' "$bundle" /etc/ssl/certs/ca-certificates.crt
chroot "$1" update-ca-certificates >/dev/null 2>&1
HOOK
}

debian_slim() { # release of Debian; updates and security of its own, where apt's sources have this one
    local sources
    sources=$(apt_sources | awk -v release="$1" '
        $3 == "main" && $2 ~ "^" release "-(updates|security)$" {print "deb " $1 " " $2 " main"}')
    write_apt_settings >"$D/tmp/apt"
    write_pip_settings >"$D/tmp/pip"
    write_trust_hook >"$D/tmp/trust"
    bootstrap --variant=minbase --include=ca-certificates \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook="upload '$D/tmp/apt' /etc/apt/apt.conf.d/90machine" \
        --customize-hook="upload '$D/tmp/pip' /etc/pip.conf" \
        --customize-hook="sh '$D/tmp/trust' \"\$1\"" \
        "$1" - "deb $MIRROR $1 main" "$sources"
}

busybox_python() {
    cat >"$D/tmp/applets" <<'HOOK'
set -e
for applet in $("$1"/bin/busybox --list); do
    [ -e "$1/usr/bin/$applet" ] || [ -e "$1/bin/$applet" ] || ln -s busybox "$1/bin/$applet"
done
printf 'root:x:0:0::/root:/bin/sh\nagent:x:1000:1000::/home/agent:/bin/sh\n' >"$1/etc/passwd"
printf 'root:x:0:\nagent:x:1000:\n' >"$1/etc/group"
mkdir -p "$1/root" "$1/home/agent"
chown 1000:1000 "$1/home/agent"
mkdir -p "$1/tmp" && chmod 1777 "$1/tmp"
rm -rf "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale "$1"/usr/share/i18n
HOOK
    # the variant `extract` silently runs no customize hooks
    bootstrap --variant=extract --include=python3,busybox-static --extract-hook="sh '$D/tmp/applets' \"\$1\"" \
        bookworm - "deb $MIRROR bookworm main"
}

bootstrap() { # in its own mount namespace: a kill leaves no mounts
    TMPDIR=$D/tmp unshare --mount --propagation private mmdebstrap --quiet --mode=root "$@"
}

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

image() { # name, function that writes its root file system as tar and its words, changes
    ! has_image "$1" || return 0
    need_mirror
    local change changes=()
    for change in "${@:3}"; do changes+=(--change "$change"); done
    say "making $1"
    # shellcheck disable=SC2086 # a function and its words
    $2 | docker import "${changes[@]}" - "$1" >/dev/null
}

debian_image() { # release
    image "debian:$1-slim" "debian_slim $1" 'CMD ["bash"]' \
        'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
        "LABEL dev.runner.standin=\"Debian $1, made from packages on this machine\""
}

base() {
    local wanted cuda=nvidia/cuda:13.0.2-base-ubuntu24.04
    answers || fail "the engine does not answer" "start it: docker/engine.sh up"
    install_packages busybox-static mmdebstrap
    debian_image bookworm
    for wanted; do
        case $wanted in
        --trixie) debian_image trixie ;;
        --tiny) image runner-test/tiny busybox_python 'CMD ["sh"]' ;;
        --cuda)
            has_image "$cuda" || docker build -q -t "$cuda" - >/dev/null <<'DOCKERFILE'
FROM debian:bookworm-slim
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
LABEL dev.runner.standin="Debian bookworm under the name of NVIDIA's image; has nothing of CUDA"
DOCKERFILE
            ;;
        *) fail "unknown option \`$wanted\`" "docker/engine.sh base [--cuda] [--tiny] [--trixie]" ;;
        esac
    done
    docker images --format '{{.Repository}}:{{.Tag}} {{.Size}}' >&2
}

main() {
    local command=${1:-}
    case $command in
    env) env_; return ;;
    status) status; return ;;
    up | down | base | compose) shift ;;
    *)
        sed -nE '2,/^set /{/^set /d;s/^# ?//p}' "$0" >&2
        exit 2
        ;;
    esac
    [ "$(id -u)" = 0 ] || fail "\`engine.sh $command\` needs root" "run it with sudo, or use an engine that is there"
    exec 9</run # one call at a time on a machine; the folder itself is the lock
    flock 9
    "$command" "$@"
}

main "$@"
