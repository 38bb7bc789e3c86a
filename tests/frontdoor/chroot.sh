#!/usr/bin/env bash
# Proves the two commands on a machine with nothing but Python: a fresh Debian 12 with python3 and ca-certificates,
# as an ordinary user. No venv module, pip, make or compiler is there, and no root is used inside.
#
#   tests/frontdoor/chroot.sh [--full]      --full runs the whole suite inside, else its quick part
#
# Needs root (for chroot) and debootstrap. PBX_CHROOT_BASE=directory reuses a debootstrap of an earlier run.
set -euo pipefail

[ "${1:-}" = "--full" ] && tests="" || tests="tests.protocol tests.extensions tests.system tests.test_architecture"
[ "$(id -u)" = 0 ] || { echo "chroot.sh needs root: run it with sudo" >&2; exit 77; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 77; }

# In a mount namespace of our own every mount ends with this script, however it ends.
if [ -z "${PBX_CHROOT_INSIDE:-}" ]; then
    PBX_CHROOT_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"
fi

repository=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/pbx-chroot.XXXXXX")
root=$scratch/root
home=$root/home/clerk
started=""
: >"$scratch/start.log"

clean_up() {
    [ -z "$started" ] || kill "$started" 2>/dev/null || true
    while read -r point; do umount "$point" 2>/dev/null || umount -l "$point"; done \
        < <(awk -v root="$root" 'index($2, root) == 1 { print $2 }' /proc/self/mounts | sort -r)
    rm -rf --one-file-system "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

step() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

step "Debian 12 with python3 and ca-certificates only"
if [ -n "${PBX_CHROOT_BASE:-}" ] && [ -x "$PBX_CHROOT_BASE/usr/bin/python3" ]; then
    cp -a "$PBX_CHROOT_BASE" "$root"
else
    debootstrap --variant=minbase --include=python3,ca-certificates bookworm "$root" >"$scratch/debootstrap.log" 2>&1 \
        || { tail -5 "$scratch/debootstrap.log" >&2; fail "debootstrap"; }
    [ -z "${PBX_CHROOT_BASE:-}" ] || cp -a "$root" "$PBX_CHROOT_BASE"
fi
for tool in pip pip3 make gcc cc git virtualenv; do
    [ -z "$(chroot "$root" sh -c "command -v $tool" || true)" ] || fail "$tool is there: this proves nothing"
done
chroot "$root" python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("ensurepip") is not None)' \
    || fail "ensurepip is there: this proves nothing"

mount -t proc proc "$root/proc"
cp /etc/resolv.conf /etc/hosts "$root/etc/"
chroot "$root" useradd --create-home --uid 4321 clerk
mkdir -p "$home/pbx"

# What leads pip to its index on this machine, and nothing else: configuration, local indexes, certificates.
variables=(HOME=/home/clerk PATH=/usr/bin:/bin LANG=C.UTF-8)
while IFS= read -r line; do variables+=("$line"); done \
    < <(env | grep -E '^(PIP_[A-Z_]+|SSL_CERT_FILE|https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY|ALL_PROXY)=' || true)
for file in /etc/pip.conf /etc/xdg/pip/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf"; do
    [ -f "$file" ] || continue
    target=${file/#$HOME//home/clerk}
    mkdir -p "$root$(dirname "$target")"
    cp "$file" "$root$target"
done
places=$({ env | grep '^PIP_'; cat /etc/pip.conf /etc/xdg/pip/pip.conf "$HOME/.config/pip/pip.conf" \
    "$HOME/.pip/pip.conf"; } 2>/dev/null | grep -oE '(file://|[ =]/)[^ "]*' | sed -E 's#^file://##; s#^[ =]##' | sort -u || true)
for place in $places ${SSL_CERT_FILE:-}; do
    place=${place%/}
    place=${place%/simple}  # the files that a local index links to lie beside it
    if [ -d "$place" ]; then
        mkdir -p "$root$place"
        mount --bind "$place" "$root$place"
        mount -o remount,bind,ro "$root$place"
    elif [ -f "$place" ]; then
        mkdir -p "$root$(dirname "$place")"
        cp "$place" "$root$place"
    fi
done

# The files that a clone would have, and those that would be committed next.
(cd "$repository" && git ls-files -z --cached --others --exclude-standard | xargs -0 -r sh -c \
    'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh | tar --null -cf - -T -) | tar -xf - -C "$home/pbx"
chroot "$root" chown -R clerk: /home/clerk

inside() { chroot --userspec=4321:4321 "$root" env -i -C /home/clerk/pbx "${variables[@]}" "$@"; }
free_port() {
    python3 - <<'PYTHON'
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.bind(("127.0.0.1", 0))
    print(probe.getsockname()[1])
PYTHON
}
sip_port=$(free_port) web_port=$(free_port)
variables+=("SIP_PORT=$sip_port" "WEB_PORT=$web_port")

# one_sentence WORDS COMMAND...: fails, says one sentence that has the words, and shows no traceback
one_sentence() {
    local words=$1 status=0 said
    shift
    said=$("$@" 2>&1 >/dev/null) || status=$?
    said=$(grep -v '^Setting up' <<<"$said")
    [ "$status" != 0 ] || fail "it should have failed: $*"
    [ "$(wc -l <<<"$said")" = 1 ] && grep -q "$words" <<<"$said" || fail "not the one sentence ($words): $said"
    echo "   $said"
}

step "What it says when it cannot be done"
one_sentence "check this machine's network" unshare --net chroot --userspec=4321:4321 "$root" \
    env -i -C /home/clerk/pbx "${variables[@]}" PIP_RETRIES=0 python3 manage.py start
bundle=$(mktemp -p "$scratch")
chroot --userspec=4321:4321 "$root" sh -c 'rm -rf /home/clerk/pbx/.venv'
mkdir "$scratch/empty"
mount --bind "$scratch/empty" "$root/etc/ssl/certs"
without_certificates=()
for variable in "${variables[@]}"; do
    case $variable in PIP_CERT=*|SSL_CERT_FILE=*) ;; *) without_certificates+=("$variable") ;; esac
done
one_sentence "ca-certificates" chroot --userspec=4321:4321 "$root" \
    env -i -C /home/clerk/pbx "${without_certificates[@]}" PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= PIP_EXTRA_INDEX_URL= \
    PIP_RETRIES=0 python3 manage.py start
umount "$root/etc/ssl/certs"
rm -f "$bundle"

step "python3 manage.py start"
begin=$SECONDS
chroot --userspec=4321:4321 "$root" env -i -C /home/clerk/pbx "${variables[@]}" python3 manage.py start \
    >"$scratch/start.log" 2>&1 &
started=$!
until grep -q "first passwords are in" "$scratch/start.log"; do
    kill -0 "$started" 2>/dev/null || {
        cat "$scratch/start.log" >&2
        tail -n 5 "$home/pbx/.venv/pbx-pip.log" >&2 || true
        fail "start ended"
    }
    [ $((SECONDS - begin)) -lt 150 ] || { cat "$scratch/start.log" >&2; fail "start takes longer than 150 s"; }
    sleep 0.5
done
cat "$scratch/start.log"
echo "   ready after $((SECONDS - begin)) s, set-up included"
password=$(awk '/^Your first phone/ { phone = 1 } phone && $1 == "Password" { print $2 }' "$home/pbx/var/first-login.txt")
inside python3 - "$sip_port" "$web_port" "$password" <<'PYTHON'
import sys, urllib.request
from tests.support.phone import Phone

sip_port, web_port, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
with urllib.request.urlopen(f"http://127.0.0.1:{web_port}/", timeout=30) as page:
    assert page.url.endswith("/admin/login/?next=/admin/") and page.status == 200, page.url
print("   the root address leads to the administration")
with open("var/first-login.txt") as file:
    server = next(line.split()[-1] for line in file if "Server (domain)" in line)
with Phone(("127.0.0.1", sip_port), "1001", password, server) as phone:
    assert phone.register().status == 200
print("   the first phone registers with the printed settings")
PYTHON

step "Ctrl-C, and a second start"
begin=$SECONDS
kill -TERM "$started"
wait "$started" || fail "start ended with status $?"
started=""
[ $((SECONDS - begin)) -le 5 ] || fail "it took longer than 5 s to end"
before=$(sha256sum "$home/pbx/var/secret-key")
chroot --userspec=4321:4321 "$root" env -i -C /home/clerk/pbx "${variables[@]}" python3 manage.py start \
    >"$scratch/start.log" 2>&1 &
started=$!
begin=$SECONDS
until grep -q "^Administration:" "$scratch/start.log"; do
    [ $((SECONDS - begin)) -lt 60 ] || { cat "$scratch/start.log" >&2; fail "the second start hangs"; }
    sleep 0.2
done
! grep -q "Setting up" "$scratch/start.log" || fail "the second start set up again"
[ "$before" = "$(sha256sum "$home/pbx/var/secret-key")" ] || fail "the secret key changed"
echo "   ready after $((SECONDS - begin)) s"
kill -TERM "$started"
wait "$started" || fail "start ended with status $?"
started=""

step "var/ belongs to someone else"
chown -R 0:0 "$home/pbx/var"
one_sentence "cannot be written" inside python3 manage.py start
chroot "$root" chown -R clerk: /home/clerk/pbx/var

step "python3 manage.py test $tests"
# shellcheck disable=SC2086
inside python3 manage.py test $tests

step "The front door opens on a bare Debian 12"
