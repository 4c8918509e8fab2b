#!/bin/bash
# The unit is hardened (exposure at most 2.0), and systemd knows every key in it.
set -u
unit=${KY_BUILDDIR:?}/packaging/kymod.service
command -v systemd-analyze >/dev/null 2>&1 || { echo "SKIP: no systemd-analyze here"; exit 77; }
W=$(mktemp -d "${TMPDIR:-/tmp}/kymo.XXXXXX") || exit 1
trap 'rm -rf "$W"' EXIT
fail()
{
    echo "FAIL: $*"
    exit 1
}

systemd-analyze security --offline=true --threshold=20 "$unit" >"$W/security" 2>&1 ||
    { tail -n 3 "$W/security"; fail "exposed above 2.0"; }
exposure=$(grep -oE 'level for [^:]*: [0-9.]+' "$W/security" | grep -oE '[0-9.]+$')

# The same check must fail for a unit without hardening.
printf '[Service]\nExecStart=/bin/true\n' >"$W/plain.service"
systemd-analyze security --offline=true --threshold=20 "$W/plain.service" >/dev/null 2>&1 &&
    fail "a unit without hardening passes too: the check checks nothing"

# verify wants the programs to be there; the rest of the unit is as it is.
sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' "$unit" >"$W/kymod.service"
said=$(systemd-analyze verify --man=no "$W/kymod.service" 2>&1 | grep -F kymod.service)
[ -z "$said" ] || fail "$said"
sed -i 's|^ProtectSystem|ProtectSytem|' "$W/kymod.service"
systemd-analyze verify --man=no "$W/kymod.service" 2>&1 | grep -q 'Unknown key' ||
    fail "a misspelt key is not noticed: the check checks nothing"
echo "RESULT unit exposure=$exposure"
