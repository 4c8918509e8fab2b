#!/bin/bash
# Runs every fuzz target with libFuzzer under the address and undefined behaviour sanitizers.
# usage: run.sh BUILDDIR SECONDS [TARGET...]
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
B=${1:?a build directory is wanted}
seconds=${2:?seconds for each target}
shift 2
. "$top/packaging/setup.sh"
build_in "$B" CC=clang CFLAGS='-g -O1' --disable-shared \
    --enable-sanitizer=address,undefined,fuzzer-no-link
libs=$(find "$B/.libs" "$B" -maxdepth 1 -name 'lib*.a' | sort -u)
[ -n "$libs" ] || die "no libraries in $B"

# fuzz SOURCE: builds the target and runs it.
fuzz()
{
    local source=$1 name cases
    name=$(basename "$source" .c)
    # shellcheck disable=SC2046,SC2086
    clang -g -O1 -std=gnu17 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
        -include "$B/config.h" -I"$top" -I"$B" "$source" -o "$B/$name" \
        -Wl,--start-group $libs -Wl,--end-group \
        $(pkg-config --libs libzmq rdkafka hdf5 zlib libzip sqlite3 jansson inih libsystemd 2>/dev/null ||
            pkg-config --libs libzmq hdf5 zlib libzip sqlite3 jansson inih) \
        $(pkg-config --libs libpng 2>/dev/null) $(pkg-config --libs libjpeg 2>/dev/null) -lm -lpthread ||
        { echo "FAILED to build $name"; return 1; }
    mkdir -p "$B/corpus/$name" "$B/found"
    [ -d "$top/tests/fuzz/corpus/${name#fuzz_}" ] && cp -n "$top/tests/fuzz/corpus/${name#fuzz_}"/* "$B/corpus/$name/"
    if (cd "$B" && "./$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1500 -close_fd_mask=1 \
        -artifact_prefix="found/$name-" "corpus/$name" >"$name.log" 2>&1); then
        cases=$(grep -oE 'Done [0-9]+ runs' "$B/$name.log" | grep -oE '[0-9]+')
        echo "RESULT $name seconds=$seconds cases=${cases:-0} crashes=0"
    else
        echo "FAILED $name"
        grep -vE '^#[0-9]+' "$B/$name.log" | tail -n 30
        return 1
    fi
}

bad=0 running=0
for source in "$top"/tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    [ $# = 0 ] || case " $* " in *" ${name#fuzz_} "*) ;; *) continue ;; esac
    if [ $running -ge "$(nproc)" ]; then # as many at a time as there are processors
        wait -n || bad=1
        running=$((running - 1))
    fi
    fuzz "$source" &
    running=$((running + 1))
done
while [ $running -gt 0 ]; do
    wait -n || bad=1
    running=$((running - 1))
done
exit $bad
