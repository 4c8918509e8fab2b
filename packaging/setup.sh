# Shared by quickstart and run-tests: which distribution packages kymo needs, and how they
# are installed. Sourced, not run.

build_packages="gcc make autoconf automake libtool pkg-config libzmq3-dev librdkafka-dev
libhdf5-dev zlib1g-dev libzip-dev libsqlite3-dev libjansson-dev libinih-dev libsystemd-dev
libpng-dev libjpeg-dev sqlite3"
test_packages="clang llvm clang-format libcmocka-dev libdnnl-dev mandoc systemd systemd-sysv dbus
procps util-linux python3 python3-venv strace"
# For the NEON kernels, which an ARM machine runs itself.
[ "$(uname -m)" != x86_64 ] ||
    test_packages="$test_packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

say()
{
    printf '%s\n' "$*"
}

die()
{
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

as_root()
{
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        die "installing packages needs root or sudo; missing: $missing"
    fi
}

# install_packages NAME...: those that are not there yet; says what it does.
install_packages()
{
    missing=
    command -v dpkg-query >/dev/null 2>&1 ||
        { say "No Debian packages on this machine: taking it that these are there: $*"; return 0; }
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' ||
            missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    say "Installing packages:$missing"
    as_root apt-get -o DPkg::Lock::Timeout=300 update -qq || say "apt-get update failed; trying all the same"
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
        install -y -qq --no-install-recommends $missing >"${TMPDIR:-/tmp}/kymo-apt.log" 2>&1 ||
        { tail -n 20 "${TMPDIR:-/tmp}/kymo-apt.log" >&2; die "the packages could not be installed"; }
}

# build_in DIR [configure arguments]: an out-of-tree build, quiet unless it fails.
build_in()
{
    dir=$1
    shift
    mkdir -p "$dir"
    [ -x "$top/configure" ] && [ "$top/configure" -nt "$top/configure.ac" ] &&
        [ "$top/Makefile.in" -nt "$top/Makefile.am" ] &&
        [ -z "$(find "$top" -name local.mk -newer "$top/Makefile.in" -not -path '*/build*' | head -n 1)" ] ||
        (cd "$top" && autoreconf -fi) >"$dir/autoreconf.log" 2>&1 ||
        { tail -n 20 "$dir/autoreconf.log" >&2; die "autoreconf failed"; }
    # Configured with the same arguments before: make alone knows what is to be done.
    [ -f "$dir/Makefile" ] && [ "$(cat "$dir/configure.args" 2>/dev/null)" = "$*" ] ||
        (cd "$dir" && "$top/configure" "$@") >"$dir/configure.log" 2>&1 ||
        { tail -n 30 "$dir/configure.log" >&2; die "configure $* failed"; }
    printf '%s' "$*" >"$dir/configure.args"
    make -C "$dir" -j"$(nproc)" >"$dir/make.log" 2>&1 ||
        { grep -E 'error|warning' "$dir/make.log" | head -n 30 >&2; die "make failed, see $dir/make.log"; }
}
