#!/bin/bash
# kymod retrains itself: it starts with a model trained on a few windows, archives what it sees
# live, learns from that when asked, and the new version takes over at each stream's next start.
# `retrains` and `accuracy` say so in SQL; what the new version says live is what it says offline.
# Once on generated data, once on the UCI HAR recording where KYMO_DATA has it.
. "$(dirname "$0")/lib.sh"

sql() # NAME QUERY
{
    "$kymo" query --csv --state-dir "$W/$1.state" "$2" | tail -n +2
}

accuracy_of() # MODEL DATA
{
    "$kymo" eval "$1" "$2" --json | sed -n 's/^  "accuracy": \([0-9.eE+-]*\).*/\1/p'
}

# case NAME TRAIN TEST STEPS FIRST LIVE NEXT ARCH GAIN: windows of STEPS, how many of them to begin
# with, to archive, and to compare on; the accuracy must rise by GAIN.
case_()
{
    local name=$1 train=$2 test=$3 steps=$4 first=$5 live=$6 next=$7 arch=$8 gain=$9
    local kept before after offline

    "$kymo" feed "$train" --limit $((first * steps)) --streams 10 --window "$steps" --label-on all \
        --to "$W/$name.first.h5" -q || fail "$name: recording the first windows"
    "$kymo" feed "$test" --limit $((next * steps)) --streams 10 --window "$steps" --label-on all \
        --to "$W/$name.next.h5" -q || fail "$name: recording the next windows"
    "$kymo" train "$W/$name.first.h5" --arch "$arch" -o "$W/$name.h5" -s 1 -q >"$W/$name.train" 2>&1 ||
        { cat "$W/$name.train"; fail "$name: training the first version"; }
    mkdir -p "$W/$name"
    cat >"$W/$name.ini" <<INI
[kymod]
state_dir = $W/$name.state
runtime_dir = $W/$name
commit_interval = 50ms
[source:in]
socket = router
endpoint = ipc://$W/$name/in
[stream:live]
model = m
archive = yes
[model:m]
file = $W/$name.h5
retrain_epochs = 20
INI
    start_kymod "$W/$name.ini" "$name"
    "$kymo" feed "$train" --limit $((live * steps)) --streams 20 --ack --to "ipc://$W/$name/in" -q || fail "$name: feed"
    "$kymo" retrain m --wait --control "$W/$name/control" >"$W/$name.verdict" 2>"$W/$name.retrain.log" || {
        cat "$W/$name.verdict"; fail "$name: retrain"; }
    cat "$W/$name.verdict"
    kept=$(sql "$name" "SELECT verdict, from_version, to_version FROM retrains")
    [ "$kept" = promoted,1,2 ] || fail "$name: retrains says '$kept'"
    [ "$(sql "$name" "SELECT count(*) FROM segments")" -ge 1 ] || fail "$name: no segments"
    "$kymo" feed "$test" --limit $((next * steps)) --streams 20 --ack --to "ipc://$W/$name/in" -q || fail "$name: feed"
    wait_rows "$W/$name.state" $(((live + next) * steps))
    stop_kymod
    sql "$name" "SELECT version, answered, labelled, correct, accuracy FROM accuracy" | sed 's/^/  version,answered,labelled,correct,accuracy: /'
    [ "$(sql "$name" "SELECT answered, labelled FROM accuracy WHERE version = 2")" = "$((next * steps)),$next" ] ||
        fail "$name: version 2 did not answer all of what came next"
    before=$(accuracy_of "$W/$name.h5" "$W/$name.next.h5")
    offline=$(accuracy_of "$W/$name.state/models/m/2.h5" "$W/$name.next.h5")
    after=$(sql "$name" "SELECT 1.0 * correct / labelled FROM accuracy WHERE version = 2")
    awk -v a="$after" -v o="$offline" 'BEGIN { d = a - o; exit !(d < 1e-6 && d > -1e-6) }' ||
        fail "$name: live $after, offline $offline"
    echo "RESULT retrain data=$name before=$before after=$after"
    awk -v b="$before" -v a="$after" -v g="$gain" 'BEGIN { exit !(a >= b + g) }' ||
        fail "$name: accuracy $before, then $after: not $gain better"
}

# Which of two frequencies is in the noise.
generate() # WINDOWS SEED
{
    awk -v N="$1" -v seed="$2" 'BEGIN {
        srand(seed)
        print "stream,ts,a,b,label"
        for (w = 0; w < N; w++) {
            fast = rand() < 0.5
            phase = rand() * 6.28
            for (t = 0; t < 32; t++) {
                x = sin(phase + t * (fast ? 0.55 : 0.4))
                printf "s%02d,%.2f,%.4f,%.4f,%s\n", w % 10, 1700000000 + (int(w / 10) * 32 + t) / 10,
                    x + rand() * 2 - 1, cos(phase + t * 0.3) + rand() * 2 - 1, fast ? "fast" : "slow"
            }
        }
    }' | sort -s -t, -k2,2n
}
(generate 700 1) >"$W/train.csv"
(generate 300 2) >"$W/test.csv"
for part in train test; do
    "$kymo" feed "$W/$part.csv" --window 32 --to "$W/$part.h5" -q || fail "recording $part"
done
case_ generated "$W/train.h5:X" "$W/test.h5:X" 32 60 700 300 "lstm:16, dense" 0.08

data=${KYMO_DATA:-}/data/uci_har/uci_har.h5
if [ -e "$data" ]; then
    case_ har "$data:X_train" "$data:X_test" 128 200 2000 900 "lstm:32, dense" 0.08
else
    echo "without KYMO_DATA the UCI HAR recording is left out"
fi
