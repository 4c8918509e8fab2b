# What the examples share: where their data are, training with several seeds, and the mean with
# its standard error. Sourced with the example's own arguments.
set -u -o pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage()
{
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    cat <<TEXT

Usage: ${0##*/} [--quick] [--seeds "1 2 3"] [--threads N] [--keep DIR]

  --quick      does it run? One seed, few epochs, little generated data
  --seeds LIST seeds to train with; the mean is over them [1 2 3]
  --threads N  of kymo train; 0: all cores; no effect on the result [0]
  --keep DIR   leave data that were generated and the models there

KYMO_DATA names the folder with the real data, as data/NAME/NAME.h5; without it a generated
stand-in takes their place. KYMO names the program, else build/kymo beside this folder, else
the one in PATH. Exit 1 where a mean on real data misses what it should reach.
TEXT
}

die()
{
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

quick= seeds="1 2 3" threads=0 keep=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --seeds) seeds=${2:?--seeds wants a list}; shift ;;
    --threads) threads=${2:?--threads wants a number}; shift ;;
    --keep) keep=${2:?--keep wants a folder}; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
[ -z "$quick" ] || seeds=${seeds%% *}

kymo=${KYMO:-$here/../build/kymo}
[ -x "$kymo" ] || kymo=$(command -v kymo) ||
    die "no kymo: build it with ./quickstart --build-only, or let KYMO name it"
if [ -n "$keep" ]; then
    mkdir -p "$keep" || exit 1
    W=$keep
else
    W=$(mktemp -d "${TMPDIR:-/tmp}/kymo.XXXXXX") || exit 1
    trap 'rm -rf "$W"' EXIT
    trap 'exit 130' INT TERM
fi
stand_in= missed=0

# real NAME FILE WHAT: $real is the file of that name under KYMO_DATA, or nothing.
real()
{
    real=${KYMO_DATA:+$KYMO_DATA/data/$1/$2}
    [ -n "$quick" ] && real=
    [ -n "$real" ] && [ -r "$real" ] && { echo "Data: $real"; return; }
    real= stand_in=yes
    echo "Data: generated, in the place of: $3."
    [ -n "$quick" ] || echo "      With the real ones as \$KYMO_DATA/data/$1/$2 those are taken."
}

# simulate KIND [options]: $data is a new file of generated data.
simulate()
{
    local kind=$1
    shift
    [ -z "$quick" ] || set -- "$@" --train 96 --test 48
    data=$W/$kind.h5
    "$kymo" simulate "$kind" "$@" --quiet -o "$data" || die "kymo simulate $kind failed"
}

# data NAME FILE KIND WHAT: $data is the real file, or what kymo simulate KIND makes.
data()
{
    real "$1" "$2" "$4"
    data=$real
    [ -n "$real" ] || simulate "$3"
}

# field KEY: of a report by kymo train --json on standard input, above its history.
field()
{
    sed -n 's/^ *"'"$1"'": "\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1/p' | head -n 1
}

# row SEED REPORT SECONDS: a line of the table, and of $W/rows for the mean.
row()
{
    local test
    test=$(sed -n '/"test": {/,/}/p' "$2")
    set -- "$1" "$(field best_epoch <"$2")" "$(field epochs <"$2")" "$(field val_accuracy <"$2")" \
        "$(field accuracy <<<"$test")" "$(field macro_f1 <<<"$test")" "$3" "$(field params <"$2")"
    [ -n "$5" ] || die "kymo train reported no test accuracy"
    printf '%6s %6s of %-4s %10.4f %10.4f %10.4f %10.1f\n' "${@:1:7}"
    echo "$5 $7 $8" >>"$W/rows"
}

# mean NAME: of $W/rows; $mean is the accuracy's.
mean()
{
    local said
    said=$(awk '{ a[NR] = $1; sum += $1; time += $2; weights = $3 }
        END {
            mean = sum / NR
            for (i = 1; i <= NR; i++) squares += (a[i] - mean) ^ 2
            printf "%.4f", mean
            if (NR > 1) printf " ± %.4f", sqrt(squares / (NR - 1) / NR)
            printf " (%s), %d weights, %.1f s a training", (NR == 1 ? "one seed" : \
                "mean of " NR " seeds and its standard error"), weights, time / NR
        }' "$W/rows") || die "no mean"
    echo "$1: test accuracy $said"
    mean=${said%% *}
}

# Seconds are the processor's, of the whole command.
# train NAME BOUND ARCH [options of kymo train]: a model for each seed. BOUND is what the mean on
# the real data must keep, such as '>=0.95'.
train()
{
    local name=$1 bound=$2 arch=$3 seed LC_ALL=C TIMEFORMAT='%U %S'
    shift 3
    printf '\n%s: kymo train %s --arch "%s"%s\n' "$name" "$data" "$arch" "${*:+ $*}"
    [ -z "$quick" ] || set -- "$@" --epochs 2
    printf '%6s %14s %10s %10s %10s %10s\n' seed 'epoch kept' validation test 'macro F1' seconds
    rm -f "$W/rows"
    for seed in $seeds; do
        { time "$kymo" train "$data" --arch "$arch" "$@" --seed "$seed" --threads "$threads" --quiet \
            --json -o "$W/$name-$seed.h5" >"$W/report.json" 2>"$W/log"; } 2>"$W/times" ||
            { cat "$W/log" >&2; die "kymo train failed"; }
        row "$seed" "$W/report.json" "$(awk '{ print $1 + $2 }' "$W/times")"
    done
    mean "$name"
    # A single seed, or other data, promise nothing.
    [ -n "$stand_in" ] || [ "$(wc -w <<<"$seeds")" -lt 3 ] ||
        awk "BEGIN { exit !($mean $bound) }" ||
        { echo "$name: that is not $bound"; missed=1; }
}

finish()
{
    rm -f "$W/rows" "$W/report.json" "$W/log" "$W/times"
    [ -z "$stand_in" ] || echo "These are generated data: the figures say that it runs, no more."
    exit $missed
}
