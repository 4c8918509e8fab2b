#!/bin/bash
# Every example configuration works as it is, beside a model of the name it has in it; the file
# that is printed from the table of settings, too; and without the model each is refused.
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
echo "RESULT examples good=$n"
[ $n -ge 4 ]
