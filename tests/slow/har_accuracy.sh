#!/bin/bash
# kymo train with default settings on the UCI HAR recording: the median test accuracy of three
# seeds is at least 0.88, with an LSTM and with a 1D CNN. Without --full one seed of each, and
# it must reach 0.86. predict and predict --stream write the same file.
. "$(dirname "$0")/lib.sh"
data=${KYMO_DATA:-}/data/uci_har/uci_har.h5
[ -e "$data" ] || skip "KYMO_DATA is not set, or has no data/uci_har/uci_har.h5"

seeds="1 2 3" least=0.88
[ -n "${KYMO_TEST_FULL:-}" ] || seeds=$((${KYMO_TEST_SEED:-1} % 3 + 1)) least=0.86

check() # NAME ARCH
{
    for s in $seeds; do
        "$kymo" train "$data" --arch "$2" -o "$W/$1.h5" -s "$s" -q >"$W/$1-$s.said" 2>"$W/$1.log" ||
            fail "training $1, seed $s"
        sed -n 's/^test accuracy \([0-9.]*\).*/\1/p' "$W/$1-$s.said"
    done | sort -n >"$W/$1.accuracy"
    [ "$(grep -c '^[01]\.' "$W/$1.accuracy")" = "$(wc -w <<<"$seeds")" ] ||
        fail "$1: $(cat "$W/$1.accuracy")"
    local median
    median=$(awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }' "$W/$1.accuracy")
    echo "$1: test accuracy $(tr '\n' ' ' <"$W/$1.accuracy")median $median (at least $least)"
    awk -v m="$median" -v l=$least 'BEGIN { exit !(m >= l) }' || fail "$1: $median is below $least"
    "$kymo" predict "$W/$1.h5" "$data:X_test" -o "$W/whole.h5" 2>>"$W/$1.log" || fail "predict"
    "$kymo" predict "$W/$1.h5" "$data:X_test" --stream -o "$W/steps.h5" 2>>"$W/$1.log" ||
        fail "predict --stream"
    cmp "$W/whole.h5" "$W/steps.h5" || fail "$1: stepping and windows differ"
}

check lstm "lstm:64, dense"
check cnn "conv1d:64x3 relu, conv1d:64x3 relu, dropout:0.5, maxpool:2, flatten, dense:100 relu, dense"
