/*
 * Random scenarios against a slow, obvious model of the engine: models, settings, samples, values
 * that run away, labels, forgetting, silence, clocks that are set, stops and kills are drawn from a
 * seed (world.c); the model (oracle.c) keeps every value of every sequence and steps them from
 * zeros for each answer. There are two classes of streams: one whose memory lives on, and one of
 * windows; each has one model or two, and other versions take over on the way. What the daemon says
 * must be the same: every answer, its number and quality, every gap, label and refusal, every step
 * undone, and what is published. What it does with memory, disk and threads is not in the model.
 * `test_random SEED [COUNT]` runs one, or so many, and tells what they came across.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/full.h"
#include "tests/scenarios/world.h"

enum { STEPS = 110, SAMPLE = 8, FULL = 10000, MANY = 200 };

/* -- in the place of the C library's, for SQLite and HDF5, too -- */

/* A process that is killed loses nothing that it wrote: waiting for the disk tests the disk. */
int fdatasync(int fd)
{
    (void)fd;
    if (ky_inside_dies())
        kill(getpid(), SIGKILL);
    return 0;
}

int fsync(int fd)
{
    return fdatasync(fd);
}

/* Half of what is written in its last moment is there. */
ssize_t write(int fd, const void *buf, size_t n)
{
    bool last = ky_inside_dies();
    ssize_t rc = syscall(SYS_write, fd, buf, last ? n / 2 : n);

    if (last)
        kill(getpid(), SIGKILL);
    return rc;
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at)
{
    bool last = ky_inside_dies();
    ssize_t rc = syscall(SYS_pwrite64, fd, buf, last ? n / 2 : n, at);

    if (last)
        kill(getpid(), SIGKILL);
    return rc;
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    return pwrite64(fd, buf, n, at);
}

/* Seeds that once found a difference. */
static const uint64_t kept[] = { 1 };

/* -- what the scenarios so far came across -- */

static struct {
    const char *what; /* of the status */
    int seeds;        /* in so many of them */
    long times;
    bool here; /* in this one */
} seen[] = {
    { .what = "counters.accepted" },
    { .what = "counters.rejected" },
    { .what = "counters.duplicates" },
    { .what = "counters.ahead" },
    { .what = "counters.late" },
    { .what = "counters.set_back" },
    { .what = "counters.epochs" },
    { .what = "counters.clock_steps" },
    { .what = "counters.gaps" },
    { .what = "counters.filled" },
    { .what = "counters.ended" },
    { .what = "counters.forgotten" },
    { .what = "counters.labels" },
    { .what = "counters.answers" },
    { .what = "counters.published" },
    { .what = "counters.quarantined" },
    { .what = "counters.swaps" },
    { .what = "counters.resets" },
    { .what = "counters.paged_out" },
    { .what = "counters.paged_in" },
    { .what = "counters.spilled" },
    { .what = "counters.returned" },
    { .what = "counters.recovered" },
    { .what = "counters.commits" },
    { .what = "waves.1" },
    { .what = "waves.2" },
    { .what = "waves.3" },
    { .what = "waves.4" },
};
enum { N_SEEN = sizeof(seen) / sizeof(*seen) };

static int scenarios;

static void look(void)
{
    for (int i = 0; i < N_SEEN; i++) {
        int64_t n = ky_inside_status(seen[i].what);

        seen[i].times += n > 0 ? n : 0;
        seen[i].here |= n > 0;
    }
}

/* Where it is run often, it must come across all. */
static void tell_seen(void)
{
    for (int i = 0; i < N_SEEN; i++) {
        if (scenarios > 1)
            printf("%-20s %6d seeds %9ld times\n", seen[i].what, seen[i].seeds, seen[i].times);
        KY_WANT(scenarios < MANY || seen[i].seeds > 0, "no scenario has any %s", seen[i].what);
    }
    printf("PASS %d random scenarios\n", scenarios);
    fflush(stdout);
}

/* -- both against each other -- */

static const char all_rows[] =
    "SELECT * FROM ("
    " SELECT stream || ' ' || n || ' ' || model || '@' || version || ' ' || quality || ' ' ||"
    "  hex(probs) AS line FROM history"
    " UNION ALL SELECT s.name || ' ' || g.n || ' gap ' || g.what FROM gaps g"
    "  JOIN streams s ON s.id = g.stream"
    " UNION ALL SELECT stream || ' is at ' || n || ' of ' || model || '@' || version || ', zeros ' "
    "|| state_steps || ' ago, '"
    "  || quarantines || ' undone' FROM state_health"
    " UNION ALL SELECT s.name || ' ' || coalesce(l.n, 0) || ' label ' || l.label FROM labels l"
    "  JOIN streams s ON s.id = l.stream"
    " UNION ALL SELECT count(*) || ' rejects' FROM rejects)"
    " ORDER BY line";

static void compare(const ky_world *w)
{
    char *text = ky_scene_lines(&w->scene, all_rows), *rest = text;

    for (int i = 0; i <= w->o.n_rows; i++) {
        const char *line = strsep(&rest, "\n"), *want = i < w->o.n_rows ? w->o.rows[i].text : "";

        KY_WANT(line != NULL && strcmp(line, want) == 0, "'%s', not '%s'\n%s",
                line != NULL ? line : "nothing more", want, w->text);
    }
    free(text);
}

/* What was published, in the oracle's words, sorted. */
static int read_told(const ky_world *w, ky_oracle_row *ret)
{
    char path[400], line[4096], name[40], model[KY_NAME_MAX + 1];
    int n = 0, step;

    snprintf(path, sizeof(path), "%s/told", w->scene.dir);
    FILE *f = fopen(path, "r");

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        const char *at = strstr(line, "\"model\":\"");

        KY_WANT(n < KY_ORACLE_MOST && at != NULL && sscanf(at, "\"model\":\"%63[^@]", model) == 1 &&
                    sscanf(line, "%*s {\"stream\":\"%39[^\"]\",\"class\":\"%*[^\"]\",\"n\":%d",
                           name, &step) == 2,
                "published: %s", line);
        snprintf(ret[n++].text, sizeof(*ret), "%s %d %s", name, step, model);
    }
    if (f != NULL)
        fclose(f);
    ky_oracle_sort(ret, n);
    return n;
}

/* Nothing but what was to be published, and nothing twice; all of it, but after a kill. */
static void compare_told(const ky_world *w)
{
    ky_oracle_row *told = calloc(KY_ORACLE_MOST, sizeof(*told));
    const ky_oracle_row *want = w->o.told;
    int n = read_told(w, told), at = 0;

    for (int i = 0; i < n; i++, at++) {
        while (w->killed && at < w->o.n_told && strcmp(want[at].text, told[i].text) < 0)
            at++;
        KY_WANT(at < w->o.n_told && strcmp(want[at].text, told[i].text) == 0,
                "published '%s', not '%s'\n%s", told[i].text, at < w->o.n_told ? want[at].text : "",
                w->text);
    }
    KY_WANT(w->killed || at == w->o.n_told, "not published: '%s'\n%s", want[at].text, w->text);
    free(told);
}

static uint64_t running; /* the seed of the present scenario, 0: none */

static void say_seed(void)
{
    if (running > 0)
        fprintf(stderr, "seed %llu\n", (unsigned long long)running);
}

static void run(uint64_t seed)
{
    ky_world *w = calloc(1, sizeof(*w));

    running = seed;
    ky_world_begin(w, seed, look);
    for (int i = 0; i < STEPS; i++)
        ky_world_step(w);
    ky_world_end(w);
    compare(w);
    compare_told(w);
    ky_world_done(w);
    free(w);
    running = 0;
    scenarios++;
    for (int i = 0; i < N_SEEN; i++) {
        seen[i].seeds += seen[i].here;
        seen[i].here = false;
    }
}

/* Every so many-th of n seeds. */
static void run_some(uint64_t first, int n, int every)
{
    for (int i = 0; i < n; i += every)
        run(first + (uint64_t)i);
    tell_seen();
}

/* Many are shared among a process a processor. */
static int run_many(uint64_t first, int n)
{
    int workers = (int)sysconf(_SC_NPROCESSORS_ONLN), failed = 0, status;

    for (int k = 0; k < workers; k++)
        if (fork() == 0) {
            run_some(first + (uint64_t)k, n - k, workers);
            _exit(0);
        }
    while (wait(&status) > 0)
        failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return failed > 0;
}

int main(int argc, char **argv)
{
    int n = argc > 2 ? atoi(argv[2]) : argc > 1 ? 1 : ky_test_full() ? FULL : SAMPLE;
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;

    atexit(say_seed);
    for (size_t i = 0; argc == 1 && i < sizeof(kept) / sizeof(*kept); i++)
        run(kept[i]);
    if (n >= 1000)
        return run_many(first, n);
    run_some(first, n, 1);
    return 0;
}
