#!/bin/sh
# install.sh [upgrade] [OPTION ...]: install this bundle on this box, or upgrade the box to it. Needs no network,
# and of Debian only python3 (3.11 or newer). Options: see `uicps-agent service install --help`.
set -eu
wheels=$(cd "$(dirname "$0")" && pwd)/wheels
[ "$(id -u)" = 0 ] || { echo "this changes the system: sudo $0 $*" >&2; exit 1; }
python=$(command -v python3) || { echo "python3 is missing: apt-get install python3" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0])'
(cd "$wheels" && sha256sum --quiet -c SHA256SUMS) || { echo "the bundle is not whole: copy it again" >&2; exit 1; }
action=install
[ "${1:-}" != upgrade ] || { action=upgrade; shift; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv --without-pip "$work"
pip=$(echo "$wheels"/pip-*.whl)
"$work/bin/python" "$pip/pip" install --quiet --no-index --no-cache-dir --disable-pip-version-check \
    --find-links "$wheels" uicps-agent
"$work/bin/uicps-agent" service "$action" "$@"
