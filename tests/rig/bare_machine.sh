#!/bin/bash
# Run as root on a bare Debian machine (test_rig_engine.py: in a privileged container): do
# docker/engine.sh's engines live side by side, come back after a kill, and leave nothing?
# Usage: bare_machine.sh ENGINE_SH
set -euo pipefail
engine=$1
export RUNNER_ENGINE_DIR=/tmp/first

machine() { # what `down` must restore
    mount | sort
    ip -o link | awk '{print $2, $9}'
    iptables-save | sed -E 's/^#.*//; s/ \[[0-9:]+\]//'
    cat /proc/sys/net/ipv4/ip_forward
    find /sys/fs/cgroup/ -type d | sort
    find /run /opt /dev /tmp -maxdepth 2 -not -path '/dev/pts/*' | sort
    losetup -n -O BACK-FILE | grep -E '^/tmp/(first|second)/' || true # a kernel's, so those of others too
}
on() { # engine's folder, a docker command
    (eval "$(RUNNER_ENGINE_DIR=$1 "$engine" env)" && docker "${@:2}")
}
expect() { # what, a command that must succeed
    "${@:2}" >/tmp/said 2>&1 || { echo "NOT: $1"; cat /tmp/said; exit 1; }
    rm -f /tmp/said
    echo "ok: $1"
}
is_running() { [ "$(on "$1" inspect -f '{{.State.Running}}' "$2")" = true ]; }
comes_back() { for _ in {1..50}; do if is_running "$@"; then return; fi; sleep 0.1; done; return 1; }
reaches_out() { # the archive, by name; a nameserver under load may miss a question
    for _ in {1..5}; do if on "$1" run --rm busy busybox wget -q -O /dev/null "$page"; then return; fi; sleep 1; done
    return 1
}

apt-get -qq update
apt-get -qq install -y --no-install-recommends busybox-static iproute2 iptables >/dev/null 2>&1
mkdir -p /root/busy/bin && cp "$(command -v busybox)" /root/busy/bin/
# shellcheck disable=SC2016 # apt's own variables
page=$(apt-get indextargets --format '$(REPO_URI)/dists/$(RELEASE)/InRelease' 'Created-By: Packages' | sed -n '1s,//dists,/dists,p')
machine >/root/before

expect "an engine comes up on a bare machine" "$engine" up
expect "up twice changes nothing" "$engine" up
tar -C /root/busy -c . | on /tmp/first import - busy >/dev/null
on /tmp/first network create more >/dev/null
on /tmp/first run -d --name lasting --network more -p 127.0.0.1:8099:80 --restart on-failure:3 busy busybox sleep 999 >/dev/null
expect "a container reaches $page" reaches_out /tmp/first

mkdir /tmp/second && cp -al /tmp/first/root /tmp/second/root
export RUNNER_ENGINE_DIR=/tmp/second RUNNER_ENGINE_BRIDGE=rnr1
expect "a second engine comes up beside it" "$engine" up
tar -C /root/busy -c . | on /tmp/second import - busy >/dev/null
expect "the first one's container does not mind" is_running /tmp/first lasting

export RUNNER_ENGINE_DIR=/tmp/first RUNNER_ENGINE_BRIDGE=
kill -KILL "$(cat /tmp/first/docker.pid)"
expect "an engine that was killed comes up again" "$engine" up
expect "with its containers" comes_back /tmp/first lasting

on /tmp/first pause lasting >/dev/null
kill -KILL "$(cat /tmp/first/docker.pid)"
expect "down works after a kill, with a paused container" "$engine" down
expect "the other engine's containers still reach $page" reaches_out /tmp/second
export RUNNER_ENGINE_DIR=/tmp/second
expect "the last engine goes down" "$engine" down
expect "down twice changes nothing" "$engine" down
for _ in {1..50}; do # namespaces of the network end a little later than their processes
    machine >/root/after
    if diff -q /root/before /root/after >/dev/null; then break; fi
    sleep 0.1
done
expect "the machine is as it was" diff /root/before /root/after
