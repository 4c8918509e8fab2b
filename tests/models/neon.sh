#!/bin/bash
# The NEON kernels under qemu: a program that calls every kernel is built for AArch64 and for
# this machine, and both must print the same digests. neon.sh DIR: works in DIR.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
dir=${1:-${TMPDIR:-/tmp}/kymo-neon.$$}
cross=aarch64-linux-gnu-gcc
flags="-std=gnu17 -O2 -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror -DKY_FAST_KERNELS -I$top"

skip()
{
    echo "SKIP: $*"
    exit 77
}

[ "$(uname -m)" = x86_64 ] || skip "wants an x86-64 machine to compare with; here test_kernels runs what there is"
command -v $cross >/dev/null || skip "no $cross (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)"
command -v qemu-aarch64 >/dev/null || skip "no qemu-aarch64 (Debian: qemu-user)"
mkdir -p "$dir" || exit 1
set -e
m=$top/models
sources="$top/tests/models/kernel_digest.c $m/kernels.c $m/kernels_plain.c"

# shellcheck disable=SC2086
$cross $flags -static -o "$dir/digest-arm" $sources "$m/kernels_neon.c" -lm -lpthread
for isa in "avx2 -mavx2 -mfma" "avx512 -mavx2 -mfma -mavx512f"; do
    # shellcheck disable=SC2086
    gcc $flags ${isa#* } -c -o "$dir/${isa%% *}.o" "$m/kernels_${isa%% *}.c"
done
# shellcheck disable=SC2086
gcc $flags -o "$dir/digest-host" $sources "$dir/avx2.o" "$dir/avx512.o" -lm -lpthread

"$dir/digest-host" >"$dir/host" 2>"$dir/host-sets" || { cat "$dir/host-sets"; exit 1; }
qemu-aarch64 "$dir/digest-arm" >"$dir/arm" 2>"$dir/arm-sets" || { cat "$dir/arm-sets"; exit 1; }
echo "here: $(cat "$dir/host-sets"), AArch64: $(cat "$dir/arm-sets")"
grep -q neon "$dir/arm-sets" || { echo "the NEON kernels were not chosen"; exit 1; }
diff "$dir/host" "$dir/arm"
echo "$(wc -l <"$dir/arm") digests are equal"
