#!/bin/bash
# Runs under the real systemd that service.sh boots: /kymo-in has the staged installation, a model,
# the samples and the expected answers.
set -u
prefix=/usr/local
kymo=$prefix/bin/kymo
fail()
{
    echo "FAIL: $*"
    systemctl status kymod --no-pager -l 2>&1 | tail -n 20
    journalctl -u kymod --no-pager -o cat 2>&1 | tail -n 30
    exit 1
}
show()
{
    systemctl show -p "$1" --value kymod
}
# until SECONDS COMMAND...: waits for it to succeed.
until_true()
{
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1 # between questions
    done
}
restarted() # N
{
    [ "$(show NRestarts)" = "$1" ] && [ "$(show ActiveState)" = active ]
}
answers()
{
    $kymo query --csv --state-dir /var/lib/kymo "SELECT s.name, p.n, p.model, p.version, p.role, p.label,
        p.score, hex(p.probs), p.quality FROM predictions p JOIN streams s ON s.id = p.stream
        ORDER BY 1, 2"
}
enough() # ROWS
{
    [ "$(sqlite3 /var/lib/kymo/results.db 'SELECT count(*) FROM predictions' 2>/dev/null)" = "$1" ]
}
feed() # PART ROWS-THEN
{
    $kymo feed "/kymo-in/part$1.csv" --ack --to ipc:///run/kymo/in >/tmp/feed 2>&1 || { cat /tmp/feed; fail "feed"; }
    until_true 20 enough "$2" || fail "not $2 answers: $(sqlite3 /var/lib/kymo/results.db 'SELECT count(*) FROM predictions')"
}

tar -C /kymo-in/stage -c . | tar -C / -x --keep-directory-symlink --no-same-owner || fail "copying the installation"
ldconfig
unit=$(find /lib /usr/lib /usr/local/lib -name kymod.service 2>/dev/null | head -n 1)
users=$(find /usr/lib/sysusers.d /usr/local/lib/sysusers.d -name kymo.conf 2>/dev/null | head -n 1)
[ -n "$unit" ] && [ -n "$users" ] || fail "make install brought no unit or no user"
systemd-sysusers "$users" || fail "systemd-sysusers"
id kymo || fail "no user kymo"
# The unit as it is; only waiting times are shorter, and the settings are where this test has them.
mkdir -p /etc/systemd/system/kymod.service.d /etc/kymo
cp "$unit" /etc/systemd/system/kymod.service
config=$(grep -oE 'config [^ ]+' "$unit" | head -n 1 | cut -d' ' -f2)
printf '[Service]\nRestartSec=200ms\nWatchdogSec=4s\n' >/etc/systemd/system/kymod.service.d/test.conf
mkdir -p "$(dirname "$config")"
cp /kymo-in/kymod.ini "$config"
cp /kymo-in/machine.h5 /etc/kymo/
chmod 755 /etc/kymo "$(dirname "$config")"
chmod 644 "$config" /etc/kymo/machine.h5
systemctl daemon-reload

systemctl start kymod || fail "start"
[ "$(show ActiveState)" = active ] || fail "not active"
grep -E '^(Uid|NoNewPrivs|Seccomp):' "/proc/$(show MainPID)/status"
[ "$(stat -c %U /var/lib/kymo/results.db)" = kymo ] || fail "the database is not kymo's"
echo "ok: starts and becomes ready ($(show StatusText))"

feed 0 500
kill -9 "$(show MainPID)"
until_true 20 restarted 1 || fail "not restarted after kill -9"
until_true 10 test -S /run/kymo/control || fail "no control socket after the restart"
feed 1 1000
echo "ok: survives kill -9"

kill -STOP "$(show MainPID)"
until_true 30 restarted 2 || fail "the watchdog did not restart it"
echo "ok: the watchdog ends what hangs"
feed 2 1500

# Somebody of the group, while it runs and after it stopped.
useradd -M -G kymo reader 2>/dev/null
as_reader()
{
    setpriv --reuid reader --regid reader --init-groups sqlite3 /var/lib/kymo/results.db "$@"
}
[ "$(as_reader 'SELECT count(*) FROM live')" = 5 ] || fail "the group cannot read while it runs"
setpriv --reuid reader --regid reader --init-groups $kymo status --control /run/kymo/control >/tmp/status || fail "the group cannot ask for the status"
setpriv --reuid nobody --regid nogroup --clear-groups $kymo status --control /run/kymo/control >/dev/null 2>&1 && fail "everybody may ask for the status"

systemctl stop kymod || fail "stop"
[ "$(show Result)" = success ] && [ "$(show ExecMainStatus)" = 0 ] || fail "stopped with $(show Result), $(show ExecMainStatus)"
echo "ok: stops cleanly"
[ "$(as_reader 'SELECT count(*) FROM live')" = 5 ] || fail "the group cannot read after it stopped"
answers >/tmp/answers
diff /kymo-in/expected /tmp/answers >/tmp/diff || { head /tmp/diff; fail "answers differ from an uninterrupted run"; }
echo "ok: all 1500 answers are those of an uninterrupted run"

echo 'lanes = many' >>"$config"
systemctl start kymod 2>/dev/null && fail "starts with wrong settings"
sleep 1 # time in which it must not be tried again
[ "$(show ExecMainStatus)" = 78 ] || fail "exit $(show ExecMainStatus) for wrong settings"
[ "$(show NRestarts)" = 0 ] || fail "restarted in spite of wrong settings"
journalctl -u kymod --no-pager -o cat | grep -q "lanes: unknown key" || fail "the mistake is not in the journal"
echo "ok: wrong settings are said, and not tried again"
echo "RESULT systemd restarts=2 answers=1500 differing=0"
exit 0
