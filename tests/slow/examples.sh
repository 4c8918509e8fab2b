#!/bin/bash
# Every example configuration works as it is, beside a model of the name it has in it; the file
# that is printed from the table of settings, too; and without the model each is refused. Every
# example of training runs on generated data and stands in docs/results.md; with --full and
# KYMO_DATA it reaches what it says it reaches.
. "$(dirname "$0")/lib.sh"
need tests/slow/make_model packaging/kymod.ini.example
n=0
for ini in "$S"/examples/*.ini "$B/packaging/kymod.ini.example"; do
    name=$(basename "$ini")
    [ "$name" = kafka.ini ] && ! grep -q 'define KY_WITH_RDKAFKA 1' "$B/config.h" && continue
    mkdir "$W/$name" && cp "$ini" "$W/$name/kymod.ini"
    "$B/kymod" --check-config -c "$W/$name/kymod.ini" >"$W/said" 2>&1
    [ $? = 78 ] || fail "$name without its model: not exit 78"
    grep -q ' file: .*\.h5: No such file or directory$' "$W/said" || { cat "$W/said"; fail "$name"; }
    file=$(sed -n 's/^file = //p' "$ini")
    "$B/tests/slow/make_model" "$W/$name/$file" 3 "lstm:8, dense" 1 good bad || fail "make_model"
    "$B/kymod" --check-config -c "$W/$name/kymod.ini" >"$W/said" 2>&1 || { cat "$W/said"; fail "$name"; }
    grep -q 'bytes a stream' "$W/said" || fail "$name: what a stream takes is not said"
    n=$((n + 1))
done
"$B/kymod" --example-config | cmp - "$B/packaging/kymod.ini.example" || fail "--example-config prints something else"
[ $n -ge 4 ] || fail "only $n configurations"

# trains NAME [arguments]: the example, its output in $W/said.
trains()
{
    local name=$1
    shift
    KYMO=$kymo bash "$S/examples/$name.sh" --threads 1 "$@" >"$W/said" 2>&1
}

for sh in "$S"/examples/*.sh; do
    name=$(basename "$sh" .sh)
    [ "$name" = lib ] && continue
    KYMO_DATA='' trains "$name" --quick || { cat "$W/said"; fail "$name --quick"; }
    grep -qE ': test accuracy [01]\.[0-9]{4} \(one seed\), [0-9]+ weights' "$W/said" ||
        { cat "$W/said"; fail "$name: no accuracy"; }
    grep -qF "examples/$name.sh" "$S/docs/results.md" || fail "$name is not in docs/results.md"
    if [ -n "${KYMO_TEST_FULL:-}" ] && [ -n "${KYMO_DATA:-}" ]; then
        trains "$name" || { cat "$W/said"; fail "$name"; }
        grep ': test accuracy' "$W/said"
    fi
    n=$((n + 1))
done

# The mean of three seeds is held against its bound where the data are real, as these seem to be.
mkdir -p "$W/data/ecg200"
"$kymo" simulate heartbeats --noise 50 --train 60 --test 60 --quiet -o "$W/data/ecg200/ecg200.h5" || fail "simulate"
KYMO_DATA=$W trains heartbeats && fail "noise is recognised"
grep -q '^heartbeats-dense: test accuracy .* ± .* (mean of 3 seeds' "$W/said" || { cat "$W/said"; fail "no mean"; }
grep -q '^heartbeats-dense: that is not >=0.88$' "$W/said" || { cat "$W/said"; fail "the bound is not held"; }
trains motions --nonsense
[ $? = 2 ] || fail "an unknown option: not exit 2"
trains motions --help && grep -q 'badminton' "$W/said" || fail "--help"
echo "RESULT examples good=$n"
