#!/usr/bin/env bash
# The quick part of the suite on the newest Python that the PBX promises, if this machine has it.
#
#   tests/frontdoor/pythons.sh [--full]      --full runs the whole suite on every Python that the PBX promises
set -euo pipefail

[ "${1:-}" = "--full" ] && tests="" || tests="tests.protocol tests.extensions tests.system tests.test_architecture"
repository=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/pbx-pythons.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
unset VIRTUAL_ENV DATABASE_URL

find_python() {
    local found
    for found in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        # A shim of pyenv is there for versions that are not.
        if [ -x "$found" ] && "$found" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$found"
            return
        fi
    done
}

ran=0
versions=3.13
[ "${1:-}" != "--full" ] || versions="3.11 3.12 3.13"
for version in $versions; do
    python=$(find_python "$version")
    [ "$version" != "$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" ] || continue
    if [ -z "$python" ]; then
        echo "Python $version: not on this machine"
        continue
    fi
    echo "Python $version: $("$python" --version)"
    copy=$scratch/$version
    mkdir "$copy"
    # The files that a clone would have, and those that would be committed next; a .venv and var/ of its own.
    (cd "$repository" && git ls-files -z --cached --others --exclude-standard | xargs -0 -r sh -c \
        'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh | tar --null -cf - -T -) | tar -xf - -C "$copy"
    # shellcheck disable=SC2086
    (cd "$copy" && "$python" manage.py test $tests)
    ran=$((ran + 1))
done
echo "$ran other Pythons tried"
