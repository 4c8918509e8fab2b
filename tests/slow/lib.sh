# Shared by the long scenarios. Sourced with KY_BUILDDIR and KY_SRCDIR set.
set -u
B=${KY_BUILDDIR:?} S=${KY_SRCDIR:?}
kymo=$B/kymo
W=$(mktemp -d "${TMPDIR:-/tmp}/kymo.XXXXXX") || exit 1
pids=

fail()
{
    echo "FAIL: $*"
    tail -n 15 "$W"/*.log 2>/dev/null
    exit 1
}

skip()
{
    echo "SKIP: $*"
    exit 77
}

cleanup()
{
    for p in $pids; do kill -9 "$p" 2>/dev/null && wait "$p" 2>/dev/null; done
    rm -rf "$W"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

need()
{
    make -C "$B" "$@" >"$W/make.log" 2>&1 || { tail -n 20 "$W/make.log"; fail "cannot build $*"; }
}

# start_kymod INI NAME: waits until it serves. The pid is in $daemon.
start_kymod()
{
    "$B/kymod" -c "$1" >>"$W/$2.log" 2>&1 3>&- 4>&- &
    daemon=$!
    pids="$pids $daemon"
    local i
    for i in $(seq 600); do
        "$kymo" status --control "ipc://$W/$2/control" >"$W/status.json" 2>/dev/null && return 0
        kill -0 "$daemon" 2>/dev/null || fail "kymod ended at its start"
        sleep 0.05 # between questions
    done
    fail "kymod does not answer"
}

stop_kymod()
{
    kill -TERM "$daemon"
    wait "$daemon" || fail "kymod ended with $?"
}

# wait_rows DIR N: until that many answers are in the database.
wait_rows()
{
    local i n=0
    for i in $(seq 1200); do
        n=$("$kymo" query --csv --state-dir "$1" 'SELECT count(*) FROM predictions' 2>/dev/null | tail -n 1)
        [ "${n:-0}" -ge "$2" ] && return 0
        sleep 0.05 # between questions
    done
    fail "only ${n:-0} of $2 answers"
}

# answers DIR: every answer without wall times and latencies.
answers()
{
    "$kymo" query --csv --state-dir "$1" \
        "SELECT s.name, p.n, p.model, p.version, p.role, p.label, p.score, hex(p.probs), p.quality
           FROM predictions p JOIN streams s ON s.id = p.stream ORDER BY 1, 2" || fail "query"
}
