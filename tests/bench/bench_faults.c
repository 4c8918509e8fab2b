/*
 * What a fault beside a stream costs it: 1,000 streams send 5,000 samples a second to a kymod with
 * journal, results.db, archive and publisher, and their latency with a fault is told beside that
 * without, in turns; medians over the rounds. Full disks are small tmpfs in a mount namespace of
 * its own and are left out where that is not allowed. Under a full journal nothing can be answered:
 * there it is told how long the longest waited, of a disk that was full for a second.
 *
 * usage: bench_faults [ROUNDS [SECONDS [FAULT]]]
 *
 * FAULT: only those whose names have this in them.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "connectors/zmq.h"
#include "tests/bench/load.h"
#include "tests/bench/service.h"

enum { RATE = 5000, MOST_ROUNDS = 32 };

static bench_place at;

static void nap(double seconds)
{
    nanosleep(&(struct timespec){ .tv_sec = (time_t)seconds,
                                  .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) },
              NULL);
}

/* -- a subscriber that does not read -- */

static pid_t subscriber;

/* Its socket takes what fits; nobody asks it for more. */
static void subscribe_and_sleep(const char *endpoint)
{
    ky_zsock *s;

    if (ky_zsock_open("sub", endpoint, false, 1000, &s, NULL) < 0 ||
        ky_zsock_subscribe(s, "", NULL) < 0)
        exit(1);
    for (;;)
        pause();
}

static void begin_idle_subscriber(void)
{
    subscriber = fork();
    if (subscriber == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/proc/self/exe", "bench", "subscribe", at.out, (char *)NULL);
        _exit(127);
    }
    nap(0.3);
}

static void begin_stopped_subscriber(void)
{
    begin_idle_subscriber();
    kill(subscriber, SIGSTOP);
}

static void end_subscriber(void)
{
    kill(subscriber, SIGKILL);
    waitpid(subscriber, NULL, 0);
}

/* -- a lock on results.db -- */

static sqlite3 *locked;

static void begin_lock(void)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/state/results.db", at.dir);
    if (sqlite3_open_v2(path, &locked, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(locked, 20000) != SQLITE_OK ||
        sqlite3_exec(locked, "BEGIN EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK)
        bench_fail(sqlite3_errmsg(locked), NULL);
}

static void end_lock(void)
{
    sqlite3_exec(locked, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(locked);
}

/* -- full disks -- */

static bool make_disk(const char *name, const char *size)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", at.dir, name);
    return mkdir(path, 0750) == 0 && mount("tmpfs", path, "tmpfs", 0, size) == 0;
}

static bool make_disks(void)
{
    return unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           make_disk("state", "size=512M") && make_disk("state/journal", "size=64M") &&
           make_disk("state/archive", "size=64M");
}

/* So that their places can be removed. */
static void unmount_disks(void)
{
    static const char *const names[] = { "state/archive", "state/journal", "state" };
    char path[128];

    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", at.dir, names[i]);
        umount2(path, MNT_DETACH);
    }
}

static void fill(const char *name)
{
    static const char block[1 << 16];
    size_t size = sizeof(block);
    char path[128];

    snprintf(path, sizeof(path), "%s/%s/ballast", at.dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        bench_fail(path, NULL);
    for (; size > 0; size /= 2)
        while (write(fd, block, size) == (ssize_t)size)
            continue;
    close(fd);
}

static void make_room(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s/ballast", at.dir, name);
    unlink(path);
}

static void begin_full_results(void)
{
    fill("state");
}

static void end_full_results(void)
{
    make_room("state");
}

static void begin_full_archive(void)
{
    fill("state/archive");
}

static void end_full_archive(void)
{
    make_room("state/archive");
}

/* From half a second on, for one. */
static pid_t filler;

static void begin_full_journal(void)
{
    filler = fork();
    if (filler != 0)
        return;
    nap(0.5);
    fill("state/journal");
    nap(1);
    make_room("state/journal");
    _exit(0);
}

static void end_full_journal(void)
{
    waitpid(filler, NULL, 0);
}

static const struct fault {
    const char *name;
    void (*begin)(void), (*end)(void);
    bool disk, stops;
} faults[] = {
    { "a subscriber that never reads", begin_idle_subscriber, end_subscriber, false, false },
    { "a stopped subscriber", begin_stopped_subscriber, end_subscriber, false, false },
    { "a lock on results.db", begin_lock, end_lock, false, false },
    { "full: results.db", begin_full_results, end_full_results, true, false },
    { "full: archive", begin_full_archive, end_full_archive, true, false },
    { "full for 1 s: journal", begin_full_journal, end_full_journal, true, true },
};

/* -- measuring -- */

typedef struct figures {
    double p50, p99, most; /* ms */
} figures;

static figures run(bench_load *l)
{
    bench_load_run(l);
    if (l->n < l->total)
        printf("  (%d of %d answers were seen)\n", l->n, l->total);
    return (figures){ bench_quantile(l->latency_ms, l->n, 0.5),
                      bench_quantile(l->latency_ms, l->n, 0.99),
                      l->n ? l->latency_ms[l->n - 1] : 0 };
}

static void measure(const struct fault *f, bench_load *l, int rounds, pid_t pid)
{
    double p50[MOST_ROUNDS], p99[MOST_ROUNDS], most[MOST_ROUNDS], by50[MOST_ROUNDS],
        by99[MOST_ROUNDS];

    for (int i = 0; i < rounds; i++) {
        figures without = run(l);

        f->begin();
        figures with = run(l);

        f->end();
        p50[i] = with.p50;
        p99[i] = with.p99;
        most[i] = with.most;
        by50[i] = with.p50 / without.p50;
        by99[i] = with.p99 / without.p99;
    }
    double times99 = bench_quantile(by99, rounds, 0.5); /* and they are in order */

    printf("%-30s p50 %.2f ms", f->name, bench_quantile(p50, rounds, 0.5));
    if (f->stops)
        printf(", the longest %.0f ms", bench_quantile(most, rounds, 0.5));
    else
        printf(", %.2f times that without; p99 %.2f ms, %.2f times (%.2f to %.2f)",
               bench_quantile(by50, rounds, 0.5), bench_quantile(p99, rounds, 0.5), times99,
               by99[0], by99[rounds - 1]);
    printf("; resident %.0f MB, at most %.0f\n", (double)bench_resident(pid, 0) * 1e-6,
           (double)bench_resident(pid, 1) * 1e-6);
}

static pid_t start_kymod(void)
{
    char ini[1024];

    snprintf(ini, sizeof(ini),
             "[kymod]\nstate_dir = %s/state\njournal_file_size = 1M\n"
             "[source:in]\nendpoint = %s\ntime_unit = us\n"
             "[stream:bench]\nsources = in\nmodel = bench\narchive = yes\n"
             "[publish:out]\nendpoint = %s\nhwm = 10000\n",
             at.dir, at.in, at.out);
    return bench_start_kymod(at.dir, ini);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 5, seconds = argc > 2 ? atoi(argv[2]) : 2;

    bench_load_init(argc, argv);
    if (argc == 3 && strcmp(argv[1], "subscribe") == 0)
        subscribe_and_sleep(argv[2]);
    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    seconds = seconds < 2 ? 2 : seconds;
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_open(&at);
    bool disks = make_disks();
    bench_load l = bench_load_of(&at, bench_format_of("json"), RATE * seconds);

    l.total = l.room;
    l.rate = RATE;
    pid_t pid = start_kymod();

    printf("faults beside %d streams, %d samples a second\n", BENCH_STREAMS, RATE);
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        if (argc > 3 && strstr(faults[i].name, argv[3]) == NULL)
            continue;
        else if (disks || !faults[i].disk)
            measure(&faults[i], &l, rounds, pid);
        else
            printf("%-30s left out: no file system may be mounted\n", faults[i].name);
    bench_stop(pid);
    free(l.latency_ms);
    if (disks)
        unmount_disks();
    bench_close(&at);
    return 0;
}
