#!/bin/bash
# 10,000 samples of 40 streams through Kafka (the mock cluster, a process of its own), kymod
# killed with -9 three times in between: every sample is answered exactly once, with the same
# bits as the same samples over acknowledged ZeroMQ in one go.
. "$(dirname "$0")/lib.sh"
grep -q 'define KY_WITH_RDKAFKA 1' "$B/config.h" || skip "this build has no Kafka"
need tests/slow/make_model tests/kafka/mock_broker tests/kafka/produce

streams=40 each=250 total=$((40 * 250))
"$B/tests/slow/make_model" "$W/m.h5" 3 "lstm:24, dense" 7 a b c || fail "model"
awk -v seed="${KYMO_TEST_SEED:-1}" -v S=$streams -v N=$each 'BEGIN {
    srand(seed)
    for (i = 0; i < N; i++)
        for (s = 0; s < S; s++)
            printf "s%02d %d %.4f %.4f %.4f\n", s, 1700000000000 + i * 20, rand() * 4 - 2, rand() * 4 - 2, rand() * 4 - 2
}' >"$W/samples"
awk 'BEGIN { print "stream,ts,a,b,c" } { print $1 "," $2 "," $3 "," $4 "," $5 }' "$W/samples" >"$W/samples.csv"
awk '{ printf "%s\t{\"ts\":%s,\"x\":[%s,%s,%s]}\n", $1, $2, $3, $4, $5 }' "$W/samples" >"$W/samples.tsv"

config() # NAME, then the source's settings on standard input
{
    mkdir -p "$W/$1"
    cat <<INI
[kymod]
state_dir = $W/$1.state
runtime_dir = $W/$1
lanes = 2
commit_interval = 20ms
[stream:test]
features = a, b, c
model = test
memory = stream
[model:test]
file = $W/m.h5
[source:in]
time_unit = ms
INI
    cat
}

config zmq >"$W/zmq.ini" <<INI
type = zmq
socket = router
endpoint = ipc://$W/zmq/in
bind = yes
INI
start_kymod "$W/zmq.ini" zmq
"$kymo" feed "$W/samples.csv" --ack --to "ipc://$W/zmq/in" >"$W/feed.log" 2>&1 || fail "feed"
stop_kymod
answers "$W/zmq.state" >"$W/zmq.answers"
[ "$(wc -l <"$W/zmq.answers")" = $((total + 1)) ] || fail "the ZeroMQ run has $(wc -l <"$W/zmq.answers") lines"

mkfifo "$W/commands"
"$B/tests/kafka/mock_broker" 1 in:4 <"$W/commands" >"$W/brokers" &
pids="$pids $!"
exec 3>"$W/commands"
for _ in $(seq 200); do [ -s "$W/brokers" ] && break; sleep 0.05; done
brokers=$(head -n 1 "$W/brokers")
config kafka >"$W/kafka.ini" <<INI
type = kafka
brokers = $brokers
topic = in
partitions = all
group = kymo
INI
start_kymod "$W/kafka.ini" kafka
# A quarter of the samples between two kills, 100 at a time: kymod is in the middle of its input
# when it is killed, and never at the end of it.
mkfifo "$W/lines"
"$B/tests/kafka/produce" "$brokers" in <"$W/lines" >"$W/produce.log" 2>&1 3>&- &
producer=$!
exec 4>"$W/lines"
quarter=$((total / 4))
send_quarter() # 1 to 4
{
    tail -n +$((($1 - 1) * quarter + 1)) "$W/samples.tsv" | head -n $quarter |
        awk '{ print } NR % 100 == 0 { fflush(); system("sleep 0.02") }' >&4
}
for kill in 1 2 3; do
    send_quarter $kill &
    sender=$!
    wait_rows "$W/kafka.state" $(((kill - 1) * quarter + 500))
    kill -9 "$daemon"
    wait "$daemon" 2>/dev/null
    wait "$sender"
    seen=$("$kymo" query --csv --state-dir "$W/kafka.state" 'SELECT count(*) FROM predictions' | tail -n 1)
    echo "kill $kill: with $seen of $total answers in the database"
    start_kymod "$W/kafka.ini" kafka
done
send_quarter 4
exec 4>&-
wait "$producer" || fail "producing"
wait_rows "$W/kafka.state" $total
stop_kymod
answers "$W/kafka.state" >"$W/kafka.answers"
cmp "$W/zmq.answers" "$W/kafka.answers" || {
    diff "$W/zmq.answers" "$W/kafka.answers" | head -n 10
    fail "answers differ from the ZeroMQ run"
}
exec 3>&-
echo "RESULT kafka_exactly_once samples=$total streams=$streams kills=3 lost=0 duplicated=0 different=0"
