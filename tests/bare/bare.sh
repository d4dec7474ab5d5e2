#!/usr/bin/env bash
# The newcomer's path: a bare Debian, a fresh clone of HEAD, and the commands of the README. Inside there is no Java, no
# virtual environment, no site-packages and no package cache of this machine; only its way to the package registries is
# taken along (pip.conf, PIP_*, resolv.conf, hosts, CA certificates).
#
#   tests/bare/bare.sh FOLDER demo|again|test|wheel ...
#
# demo, test: `make demo`, `make test`. again: the second `make demo`. wheel: the wheel, installed in an empty
# environment, runs `pairmill demo` from another folder. FOLDER is made by debootstrap and left for a look afterwards.
#
#   SUITE=bookworm      Debian release: bookworm has Python 3.11 and Java 17, trixie Python 3.13 and Java 21
#   MIRROR=...          Debian mirror (default: debootstrap's own)
#   BARE_BIND="..."     folders of this machine to show inside, such as a local package index that pip.conf names
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "bare: error: needs root for debootstrap and chroot; run it with sudo" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "bare: error: debootstrap is missing; apt-get install debootstrap" >&2; exit 2; }

repository=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
root=$(realpath -m "$1")
shift
suite=${SUITE:-bookworm}

make_root() {
    [ -e "$root/.made" ] && return
    [ ! -e "$root" ] || { echo "bare: error: $root is there and not ours; name a new folder" >&2; exit 2; }
    debootstrap --variant=minbase --include=ca-certificates,git,make,python3,python3-venv "$suite" "$root" ${MIRROR:+"$MIRROR"} >&2
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/pip.conf"
    touch "$root/.made"
}

# One command inside, in mount and process namespaces of its own that end with it.
inside() {
    BARE_BIND=${BARE_BIND:-} unshare --mount --pid --fork --kill-child bash -euc '
        root=$1; shift
        mkdir -p "$root/dev/shm"
        mount -t proc proc "$root/proc"
        for node in null zero full random urandom; do touch "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done
        mount -t tmpfs tmpfs "$root/dev/shm"
        for folder in $BARE_BIND; do mkdir -p "$root$folder"; mount --bind -o ro "$folder" "$root$folder"; done
        exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 CI="${CI:-}" $(env | grep "^PIP_" | tr "\n" " ") \
            chroot "$root" bash -euc "$1"
    ' bare "$root" "$1"
}

timed() {
    echo "== $1"
    local begun=$SECONDS
    inside "$2"
    echo "== $1: $((SECONDS - begun)) s"
}

make_root
git clone --quiet --no-hardlinks "$repository" "$root/root/pairmill" 2>/dev/null \
    || git -C "$root/root/pairmill" pull --quiet "$repository" HEAD
inside '! command -v java && ! python3 -c "import pip" 2>/dev/null && ! ls -d ~/.cache 2>/dev/null' >/dev/null \
    || echo "== not bare any more: an earlier command has installed something here"
for step in "$@"; do
    case $step in
        demo) timed "make demo" 'cd ~/pairmill && make demo' ;;
        again) timed "make demo, again" 'cd ~/pairmill && make demo' ;;
        test) timed "make test" 'cd ~/pairmill && make test' ;;
        wheel) timed "the wheel's demo" '
            cd ~/pairmill && bash conf/java.sh
            python3 -m venv /tmp/build && /tmp/build/bin/pip wheel --quiet --no-deps --wheel-dir /tmp/wheel .
            python3 -m venv /tmp/installed && /tmp/installed/bin/pip install --quiet --constraint constraints.txt "$(echo /tmp/wheel/*.whl)[demo]"
            mkdir -p /tmp/elsewhere && cd /tmp/elsewhere && /tmp/installed/bin/pairmill demo --scenes 200 --steps 20' ;;
        *) echo "bare: error: no step $step; there are: demo again test wheel" >&2; exit 2 ;;
    esac
done
