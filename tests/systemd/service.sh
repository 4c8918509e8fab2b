#!/bin/bash
# kymod under a real systemd: this machine's own, as PID 1 of fresh namespaces, on an overlay of
# this machine's root that is thrown away. inside.sh is what is tested there. Needs root.
. "$(dirname "$0")/../slow/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

[ "$(id -u)" = 0 ] || skip "only root can make namespaces with a systemd in them"
[ -x /lib/systemd/systemd ] || skip "there is no systemd on this machine"
for tool in unshare systemctl systemd-sysusers pivot_root sqlite3; do
    command -v $tool >/dev/null || skip "there is no $tool on this machine"
done
cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$cgroups" ] || skip "there is no cgroup2 file system on this machine"
group=$cgroups/kymo-test-$$
mkdir "$group" 2>/dev/null || skip "control groups cannot be made here"
unshare -m -p -C -f --kill-child true 2>/dev/null || { rmdir "$group"; skip "namespaces cannot be made here"; }

finish()
{
    find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null
    cleanup
}
trap finish EXIT

need tests/slow/make_model all
mkdir -p "$W/in" "$W/out" "$W/up" "$W/root"
make -C "$B" install DESTDIR="$W/in/stage" >"$W/install.log" 2>&1 || { tail "$W/install.log"; fail "make install"; }
"$B/tests/slow/make_model" "$W/in/machine.h5" 3 "lstm:16, dense" 7 ok worn broken || fail "model"
awk 'BEGIN {
    srand(5)
    print "stream,ts,a,b,c"
    for (i = 0; i < 300; i++)
        for (s = 0; s < 5; s++)
            printf "pump-%d,%.3f,%.4f,%.4f,%.4f\n", s, 1700000000 + i / 10, rand() * 4 - 2, rand() * 4 - 2, rand() * 4 - 2
}' >"$W/in/all.csv"
# Three parts, which three runs of the daemon will see.
for part in 0 1 2; do
    (head -n 1 "$W/in/all.csv"; tail -n +2 "$W/in/all.csv" | sed -n "$((part * 500 + 1)),$((part * 500 + 500))p") >"$W/in/part$part.csv"
done

# What one uninterrupted run says: a plain kymod, outside.
config() # RUNTIME-LINES
{
    cat <<INI
[kymod]
commit_interval = 50ms
$1
[source:plant]
endpoint = ipc://$2
socket = router
[stream:machine]
features = a, b, c
model = machine
archive = yes
[model:machine]
file = $3/machine.h5
INI
}
mkdir "$W/plain"
config "state_dir = $W/plain.state
runtime_dir = $W/plain" "$W/plain/in" "$W/in" >"$W/plain.ini"
start_kymod "$W/plain.ini" plain
"$kymo" feed "$W/in/all.csv" --ack --to "ipc://$W/plain/in" >"$W/feed.log" 2>&1 || fail "feed"
stop_kymod
answers "$W/plain.state" >"$W/in/expected"
[ "$(wc -l <"$W/in/expected")" = 1501 ] || fail "the plain run has $(wc -l <"$W/in/expected") lines"
config "" /run/kymo/in /etc/kymo >"$W/in/kymod.ini"
cp "$here/inside.sh" "$W/in/"

cat >"$W/init.sh" <<INIT
#!/bin/bash
mount --make-rprivate /
mount -t tmpfs tmpfs $W/up
mkdir -p $W/up/u $W/up/w
mount -t overlay overlay -o lowerdir=/,upperdir=$W/up/u,workdir=$W/up/w $W/root || exit 77
cd $W/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
umount sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup || exit 77
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
for n in null zero full random urandom tty; do touch dev/\$n; mount --bind /dev/\$n dev/\$n; done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p kymo-in kymo-out
mount --bind $W/in kymo-in
mount --bind $W/out kymo-out
# No service of the host: only what this test needs.
rm -f etc/systemd/system/*.wants/* etc/systemd/system/default.target
: >etc/fstab
for u in systemd-udevd.service systemd-udev-trigger.service systemd-timesyncd.service \
    systemd-logind.service systemd-networkd.service systemd-resolved.service getty@.service \
    console-getty.service systemd-networkd-wait-online.service NetworkManager-wait-online.service; do
    ln -sf /dev/null etc/systemd/system/\$u
done
cat >etc/systemd/system/kymo-test.target <<Z
[Unit]
Requires=basic.target kymo-test.service
After=basic.target
Z
cat >etc/systemd/system/kymo-test.service <<Z
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'bash /kymo-in/inside.sh >/kymo-out/log 2>&1; echo \\\$? >/kymo-out/rc; sync; systemctl exit --force --force 0'
Z
mkdir -p old
pivot_root . old
umount -l /old
exec env -i container=kymo PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --unit=kymo-test.target --log-target=console --log-level=info \\
    --show-status=no >/kymo-out/boot 2>&1 </dev/null
INIT
chmod +x "$W/init.sh"
(
    echo $BASHPID >"$group/cgroup.procs"
    exec timeout -k 5 120 unshare -m -u -i -n -p -C -f --kill-child "$W/init.sh"
)
rc=$?
cat "$W/out/log" 2>/dev/null
[ $rc = 77 ] && skip "overlays or control groups cannot be mounted here"
[ -e "$W/out/rc" ] || { tail -n 40 "$W/out/boot"; fail "systemd did not come up (exit $rc)"; }
rc=$(cat "$W/out/rc")
[ "$rc" = 0 ] || tail -n 40 "$W/out/boot"
exit "$rc"
