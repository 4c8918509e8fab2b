/*
 * The engine alone: the real pipeline in a process of its own, its samples from memory, as bare
 * floats. LSTM(64), 9 values, 6 classes.
 *
 * Steps are per second of the lanes' processor time, beside the bare kernel's rate in the same
 * process, slice by slice in turns; medians. So other work on the machine shows little. What a
 * lane does besides: streams found, states gathered, kept and handed to the writer, answers
 * decided.
 *
 * usage: bench_engine [--small | --streams N | --latency]
 *
 *   --small      leaves the million streams out, as does a machine without 4 GB
 *   --streams N  one lane with so many streams and nothing else, for a profiler
 *   --latency    latencies and nothing else
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "connectors/source.h"
#include "connectors/zmq.h"
#include "daemon/core.h"
#include "models/clock.h"
#include "models/rng.h"
#include "tests/bench/measure.h"
#include "tests/bench/service.h"

enum {
    SLICES = 7,
    MOST_STEPS = 32,
    VARIANTS = 64,
    MOST_LATENCIES = 2000000,
    LOOK_US = 50, /* a paced source sleeps at least so long: waking it for each message would be
                     most of the work; what that makes late counts as late */
};

static char dir[64];

/* -- a source that makes its messages itself, as many as it may, when they are due -- */

static struct faucet {
    ky_source base;
    pthread_mutex_t lock;
    pthread_cond_t rung;
    uint64_t may, given; /* messages, since the beginning */
    double rate;         /* a second; 0: as fast as they are taken */
    uint64_t paced_from;
    int64_t begun_us;
    bool woken;
    uint32_t streams;
    int steps; /* of a message */
    char key[24];
    float x[VARIANTS + MOST_STEPS][BENCH_F];
} faucet = { .lock = PTHREAD_MUTEX_INITIALIZER, .rung = PTHREAD_COND_INITIALIZER };

/* Until there is one to give; false: woken, or nothing for so long. */
static bool wait_for_one(struct faucet *s, int timeout_ms)
{
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms > 0;
    pthread_mutex_lock(&s->lock);
    while (s->given == s->may && !s->woken && rc == 0 && timeout_ms > 0)
        rc = pthread_cond_timedwait(&s->rung, &s->lock, &until);
    bool one = s->given < s->may;

    s->woken = false;
    pthread_mutex_unlock(&s->lock);
    return one;
}

/* When the next is due; it may have been long ago. */
static int64_t due_us(const struct faucet *s)
{
    return s->begun_us + (int64_t)((double)(s->given - s->paced_from) / s->rate * 1e6);
}

static void nap(int64_t us)
{
    nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

static int faucet_recv(ky_source *source, ky_message *ret, int timeout_ms, ky_err *err)
{
    struct faucet *s = (struct faucet *)source;
    int64_t now, due;

    if (!wait_for_one(s, timeout_ms))
        return ky_fail(err, KY_EAGAIN, "nothing");
    now = ky_clock_wall_us();
    due = s->rate > 0 ? due_us(s) : now;
    if (due > now && timeout_ms == 0)
        return ky_fail(err, KY_EAGAIN, "not yet");
    if (due > now)
        nap(due - now < LOOK_US ? LOOK_US : due - now);
    /* All streams in turn, but not in the order in which they lie in memory. */
    uint64_t n = s->given++, stream = n * 2654435761 % s->streams;

    *ret = (ky_message){ .data = s->x[n % VARIANTS],
                         .len = (size_t)s->steps * sizeof(s->x[0]),
                         .arrived_us = due,
                         .ts_us = KY_NONE,
                         .sender = "",
                         .number = n + 1,
                         .key = s->key };
    ret->key_len = (size_t)snprintf(s->key, sizeof(s->key), "s-%u", (unsigned)stream);
    return KY_OK;
}

static void faucet_ack(ky_source *s, const ky_ack *a)
{
    (void)s;
    (void)a;
}

static void faucet_wake(ky_source *source)
{
    struct faucet *s = (struct faucet *)source;

    pthread_mutex_lock(&s->lock);
    s->woken = true;
    pthread_cond_signal(&s->rung);
    pthread_mutex_unlock(&s->lock);
}

static const char *faucet_trouble(const ky_source *s)
{
    (void)s;
    return NULL;
}

static enum ky_delivery faucet_delivery(const ky_source *s)
{
    (void)s;
    return KY_AT_MOST_ONCE;
}

static const char *faucet_address(const ky_source *s)
{
    (void)s;
    return "memory";
}

static void faucet_close(ky_source *s)
{
    (void)s;
}

static const ky_source_ops faucet_ops = { .type = "faucet",
                                          .recv = faucet_recv,
                                          .ack = faucet_ack,
                                          .wake = faucet_wake,
                                          .trouble = faucet_trouble,
                                          .delivery = faucet_delivery,
                                          .address = faucet_address,
                                          .close = faucet_close };

int __wrap_ky_source_open(const ky_source_opts *o, ky_source **ret, ky_err *err);
int __wrap_ky_source_open(const ky_source_opts *o, ky_source **ret, ky_err *err)
{
    (void)o;
    (void)err;
    prctl(PR_SET_TIMERSLACK, 1UL); /* the thread's own: it wakes when a message is due */
    faucet.base.ops = &faucet_ops;
    *ret = &faucet.base;
    return KY_OK;
}

/* -- a publisher that keeps what the answers say of their latency -- */

static float *latencies; /* [MOST_LATENCIES] us */
static _Atomic int n_latencies;

int __wrap_ky_zsock_send(ky_zsock *s, const ky_zframe *frames, int n, int timeout_ms, ky_err *err);
int __wrap_ky_zsock_send(ky_zsock *s, const ky_zframe *frames, int n, int timeout_ms, ky_err *err)
{
    static const char field[] = "\"latency_us\":";
    const ky_zframe *last = &frames[n - 1];
    size_t tail = last->len < 40 ? last->len : 40;
    const char *at =
        memmem((const char *)last->data + last->len - tail, tail, field, sizeof(field) - 1);
    int i = atomic_load(&n_latencies);

    (void)s;
    (void)timeout_ms;
    (void)err;
    if (at != NULL && latencies != NULL && i < MOST_LATENCIES) {
        latencies[i] = (float)atoi(at + sizeof(field) - 1);
        atomic_store(&n_latencies, i + 1);
    }
    return KY_OK;
}

/* -- the bare kernel -- */

typedef struct kernel {
    ky_plan *plan;
    ky_wave *wave;
    int B;
    const float **x;
    void **state;
    float **y;
    bool *answered;
} kernel;

static void kernel_open(kernel *k, ky_model *m, int B)
{
    ky_err err;
    size_t rows = (size_t)B;

    *k = (kernel){ .B = B };
    if (ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, &k->plan, &err) < 0)
        bench_fail("plan", &err);
    size_t block = (ky_plan_state_bytes(k->plan) + 64) / 64 * 64;
    char *states = aligned_alloc(64, rows * block);
    float *y = calloc(rows * BENCH_CLASSES, sizeof(*y));

    k->wave = ky_wave_new(k->plan, B);
    k->x = calloc(rows, sizeof(*k->x));
    k->state = calloc(rows, sizeof(*k->state));
    k->y = calloc(rows, sizeof(*k->y));
    k->answered = calloc(rows, sizeof(bool));
    for (int i = 0; i < B; i++) {
        k->x[i] = faucet.x[i % VARIANTS];
        k->state[i] = states + (size_t)i * block;
        k->y[i] = y + (size_t)i * BENCH_CLASSES;
        ky_plan_zero(k->plan, k->state[i]);
    }
}

static double processor_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Steps a second of this thread's processor time. */
static double kernel_slice(kernel *k)
{
    double begun = processor_s(), used;
    int64_t steps = 0;

    do {
        ky_plan_step(k->plan, k->wave, k->B, k->x, k->state, k->y, k->answered);
        steps += k->B;
    } while ((used = processor_s() - begun) < 0.05);
    return (double)steps / used;
}

/* -- the pipeline -- */

typedef struct engine {
    ky_pipeline *p;
    ky_config *cfg;
} engine;

static void engine_open(engine *e, int lanes, bool published)
{
    char path[128], text[700];
    ky_problems problems;
    ky_err err;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%d.ini", dir, (int)getpid());
    snprintf(text, sizeof(text),
             "[kymod]\nstate_dir = %s/%d\nlanes = %d\njournal = no\nmax_memory = never\n"
             "[source:in]\nendpoint = ipc://%s/in\nformat = f32\n"
             "[stream:c]\nsources = in\nmodel = m\nmax_streams = 2000000\nlog = none\n"
             "[model:m]\nfile = %s/model.h5\n%s%s%s",
             dir, (int)getpid(), lanes, dir, dir,
             published ? "[publish:out]\nendpoint = ipc://" : "", published ? dir : "",
             published ? "/out\n" : "");
    f = fopen(path, "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        bench_fail(path, NULL);
    if (ky_config_load(path, NULL, &e->cfg, &problems) < 0)
        bench_fail(problems.n > 0 ? problems.text[0] : "configuration", NULL);
    ky_problems_done(&problems);
    if (ky_pipeline_new(e->cfg, &e->p, &err) < 0)
        bench_fail("pipeline", &err);
}

static uint64_t steps_of(const engine *e)
{
    return KY_COUNTED_AT(e->p->count.steps);
}

static uint64_t waves_of(const engine *e)
{
    uint64_t n = 0;

    for (int i = 1; i <= e->cfg->max_wave; i++)
        n += KY_COUNTED_AT(e->p->count.waves[i]);
    return n;
}

/* So many messages more, stepped. Returns the seconds it took. */
static double pour(engine *e, uint64_t messages, double rate)
{
    uint64_t want = steps_of(e) + messages * (uint64_t)faucet.steps;
    double begun = bench_now();

    pthread_mutex_lock(&faucet.lock);
    faucet.rate = rate;
    faucet.paced_from = faucet.given;
    faucet.begun_us = ky_clock_wall_us();
    faucet.may += messages;
    pthread_cond_signal(&faucet.rung);
    pthread_mutex_unlock(&faucet.lock);
    while (steps_of(e) < want)
        nap(200);
    return bench_now() - begun;
}

/* -- cases, each in a process of its own -- */

typedef struct outcome {
    double steps_s, wall_s, kernel_s; /* steps a second: of lanes' processor time, of the clock */
    double others_s;                  /* of other threads' processor time a step */
    double wave, bytes;               /* rows of one; resident bytes a stream */
} outcome;

typedef struct bench_case {
    const char *name;
    uint32_t streams;
    int steps, lanes, kernel_rows;
    uint64_t messages; /* of a slice */
} bench_case;

static double lanes_ns(const bench_threads *was, const bench_threads *is, int lanes)
{
    char name[24];
    double ns = 0;

    for (int i = 0; i < lanes; i++) {
        snprintf(name, sizeof(name), "kymod-lane-%d", i);
        ns += bench_threads_ns(was, is, name);
    }
    return ns;
}

static outcome measure(const bench_case *c)
{
    double steps[SLICES], wall[SLICES], bare[SLICES], others[SLICES];
    ky_model *m = NULL;
    engine e;
    kernel k;
    char path[128];
    ky_err err;

    faucet.streams = c->streams;
    faucet.steps = c->steps;
    snprintf(path, sizeof(path), "%s/model.h5", dir);
    if (ky_model_load(path, &m, &err) < 0)
        bench_fail("model", &err);
    kernel_open(&k, m, c->kernel_rows);
    engine_open(&e, c->lanes, false);
    size_t before = bench_resident(getpid(), 0);

    pour(&e, c->streams, 0); /* all are there */
    size_t after = bench_resident(getpid(), 0);
    uint64_t waves = waves_of(&e), stepped = steps_of(&e);

    for (int i = 0; i < SLICES; i++) {
        bench_threads was, is;
        uint64_t from = steps_of(&e);

        bare[i] = kernel_slice(&k);
        bench_threads_look(getpid(), &was);
        double seconds = pour(&e, c->messages, 0);

        bench_threads_look(getpid(), &is);
        steps[i] = (double)(steps_of(&e) - from) / lanes_ns(&was, &is, c->lanes) * 1e9;
        wall[i] = (double)(steps_of(&e) - from) / seconds;
        others[i] = (bench_threads_ns(&was, &is, NULL) - lanes_ns(&was, &is, c->lanes)) * 1e-9 /
                    (double)(steps_of(&e) - from);
    }
    outcome o = { .steps_s = bench_quantile(steps, SLICES, 0.5),
                  .wall_s = bench_quantile(wall, SLICES, 0.5),
                  .kernel_s = bench_quantile(bare, SLICES, 0.5),
                  .others_s = bench_quantile(others, SLICES, 0.5),
                  .wave = (double)(steps_of(&e) - stepped) / (double)(waves_of(&e) - waves),
                  .bytes = (double)(after - before) / c->streams };

    ky_pipeline_stop(e.p);
    ky_pipeline_free(e.p);
    return o;
}

/* In a child: what a case leaves in memory is not the next one's. */
static outcome run(const bench_case *c)
{
    int ends[2], status;
    outcome o;
    pid_t pid;

    if (pipe(ends) != 0 || (pid = fork()) < 0)
        bench_fail("fork", NULL);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        o = measure(c);
        _exit(write(ends[1], &o, sizeof(o)) == (ssize_t)sizeof(o) ? 0 : 1);
    }
    close(ends[1]);
    if (read(ends[0], &o, sizeof(o)) != (ssize_t)sizeof(o))
        bench_fail(c->name, NULL);
    close(ends[0]);
    waitpid(pid, &status, 0);
    return o;
}

/* Until everything answered is published, too. */
static void wait_for_publisher(const engine *e)
{
    while (KY_COUNTED_AT(e->p->count.published) < KY_COUNTED_AT(e->p->count.answers))
        nap(1000);
}

/* Who was at work since. */
static void print_work(const bench_threads *was, double messages)
{
    static const char *const stages[] = { "kymod-in-0", "kymod-accept", "kymod-lane-0",
                                          "kymod-publish", "kymod-writer" };
    bench_threads is;

    bench_threads_look(getpid(), &is);
    printf("us a message:");
    for (size_t i = 0; i < sizeof(stages) / sizeof(*stages); i++)
        printf(" %s %.2f,", stages[i] + sizeof("kymod-") - 1,
               bench_threads_ns(was, &is, stages[i]) * 1e-3 / messages);
    printf(" all %.2f\n", bench_threads_ns(was, &is, NULL) * 1e-3 / messages);
}

/* The whole pipeline's most by the clock, all answers published. */
static double bench_most(engine *e)
{
    enum { MESSAGES = 200000 };
    double rate[SLICES], begun;
    bench_threads was;

    bench_threads_look(getpid(), &was);
    for (int i = 0; i < SLICES; i++) {
        begun = bench_now();
        pour(e, MESSAGES, 0);
        wait_for_publisher(e);
        rate[i] = MESSAGES / (bench_now() - begun);
    }
    double most = bench_quantile(rate, SLICES, 0.5);

    printf("  the most %.0f /s by the clock, ", most);
    print_work(&was, SLICES * MESSAGES);
    return most;
}

/* What the machine itself takes from a thread that only reads the clock. */
typedef struct gaps {
    pthread_t thread;
    cpu_set_t core;
    double lost, longest; /* the share of its time in gaps above 0.2 ms; seconds */
} gaps;

static void *look_for_gaps(void *arg)
{
    static const double shortest_s = 200e-6, for_s = 2;
    gaps *g = arg;

    (void)sched_setaffinity(0, sizeof(g->core), &g->core); /* the thread's alone */
    double begun = bench_now(), last = begun, now;

    while ((now = bench_now()) < begun + for_s) {
        double gap = now - last;

        g->lost += gap > shortest_s ? gap / for_s : 0;
        g->longest = gap > g->longest ? gap : g->longest;
        last = now;
    }
    return NULL;
}

static void print_gaps(void)
{
    enum { MOST_CORES = 64 };
    gaps all[MOST_CORES] = { 0 }, worst = { 0 };
    cpu_set_t ours;
    int n = 0;

    if (sched_getaffinity(0, sizeof(ours), &ours) != 0)
        bench_fail("affinity", NULL);
    for (int i = 0; i < CPU_SETSIZE && n < MOST_CORES; i++)
        if (CPU_ISSET(i, &ours))
            CPU_SET(i, &all[n++].core);
    for (int i = 0; i < n; i++)
        if (pthread_create(&all[i].thread, NULL, look_for_gaps, &all[i]) != 0)
            bench_fail("thread", NULL);
    for (int i = 0; i < n; i++) {
        pthread_join(all[i].thread, NULL);
        worst.lost = all[i].lost > worst.lost ? all[i].lost : worst.lost;
        worst.longest = all[i].longest > worst.longest ? all[i].longest : worst.longest;
    }
    printf("  threads that only read the clock, one a core, lose up to %.2f %% of the time in gaps "
           "above "
           "0.2 ms, the longest %.1f ms\n",
           worst.lost * 100, worst.longest * 1e3);
}

static void bench_latency(void)
{
    static const double parts[] = { 0.1, 0.5, 0.8 };
    engine e;

    printf("latency, one lane, 1,000 streams, from due to answered, all published; %d cores\n",
           ky_core_processors());
    fflush(stdout);
    pid_t pid = fork();
    if (pid > 0) {
        waitpid(pid, NULL, 0);
        return;
    }
    prctl(PR_SET_TIMERSLACK, 1UL);
    print_gaps();
    faucet.streams = 1000;
    faucet.steps = 1;
    latencies = calloc(MOST_LATENCIES, sizeof(*latencies));
    engine_open(&e, 1, true);
    pour(&e, 100000, 0);
    wait_for_publisher(&e);
    double capacity = bench_most(&e);

    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        double rate = capacity * parts[i], *ms;
        int n = (int)(rate * 2 < MOST_LATENCIES ? rate * 2 : MOST_LATENCIES);

        bench_threads was;

        atomic_store(&n_latencies, 0);
        bench_threads_look(getpid(), &was);
        pour(&e, (uint64_t)n, rate);
        wait_for_publisher(&e);
        n = atomic_load(&n_latencies);
        ms = calloc((size_t)n + 1, sizeof(*ms));
        for (int k = 0; ms != NULL && k < n; k++)
            ms[k] = latencies[k] * 1e-3;
        printf("  at %2.0f %% (%.0f /s)  p50 %.3f ms, p99 %.3f, p99.9 %.3f; ", parts[i] * 100, rate,
               bench_quantile(ms, n, 0.5), bench_quantile(ms, n, 0.99),
               bench_quantile(ms, n, 0.999));
        print_work(&was, n);
        free(ms);
    }
    ky_pipeline_stop(e.p);
    ky_pipeline_free(e.p);
    fflush(stdout);
    _exit(0);
}

static bool much_memory(void)
{
    return (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) > 4e9;
}

static void print(const bench_case *c, const outcome *o, const outcome *thousand)
{
    printf("  %-28s %10.0f steps/s  %.2f of the kernel (%d rows, %.0f), %.2f of 1,000 streams, "
           "waves of %.0f",
           c->name, o->steps_s, o->steps_s / o->kernel_s, c->kernel_rows, o->kernel_s,
           o->steps_s / thousand->steps_s, o->wave);
    if (c->streams >= 100000)
        printf(", %.0f bytes a stream", o->bytes);
    printf("\n");
}

static int remove_dir(void)
{
    char command[80];

    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const bench_case alone[] = {
        { "1,000 streams", 1000, 1, 1, 256, 300000 },
        { "1 stream", 1, 1, 1, 1, 100000 },
        { "100,000 streams", 100000, 1, 1, 256, 300000 },
        { "1,000,000 streams", 1000000, 1, 1, 256, 300000 },
    };
    static const bench_case lanes[] = {
        { "one lane", 1000, MOST_STEPS, 1, 256, 20000 },
        { "two lanes", 1000, MOST_STEPS, 2, 256, 20000 },
    };
    bool small = argc == 2 && strcmp(argv[1], "--small") == 0;
    bool one_case = argc == 3 && strcmp(argv[1], "--streams") == 0;
    outcome thousand = { 0 }, one, two;
    char path[128];
    ky_rng rng;

    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(dir, sizeof(dir), "/tmp/kymo-bench.XXXXXX");
    if (mkdtemp(dir) == NULL)
        bench_fail("no temporary directory", NULL);
    snprintf(path, sizeof(path), "%s/model.h5", dir);
    bench_save_model(path);
    ky_rng_seed(&rng, 1);
    for (int i = 0; i < VARIANTS + MOST_STEPS; i++)
        for (int f = 0; f < BENCH_F; f++)
            faucet.x[i][f] = (float)ky_rng_normal(&rng);

    if (argc == 2 && strcmp(argv[1], "--latency") == 0) {
        bench_latency();
        return remove_dir();
    }
    printf("engine alone, LSTM(64), one lane, by its processor time\n");
    if (one_case) {
        bench_case c = { argv[2], (uint32_t)atoi(argv[2]), 1, 1, 256, 300000 };

        one = run(&c);
        print(&c, &one, &one);
        return remove_dir();
    }
    for (size_t i = 0; i < sizeof(alone) / sizeof(*alone); i++) {
        if (alone[i].streams == 1000000 && (small || !much_memory()))
            continue;
        outcome o = run(&alone[i]);

        thousand = i == 0 ? o : thousand;
        print(&alone[i], &o, &thousand);
    }
    one = run(&lanes[0]);
    two = run(&lanes[1]);
    printf("  messages of %d steps: one lane %.0f steps/s, two %.0f each by processor time, %.2f "
           "times; by the clock %.0f and %.0f, %.2f times, as the stages before them want %.2f of "
           "%d cores then\n",
           MOST_STEPS, one.steps_s, two.steps_s, 2 * two.steps_s / one.steps_s, one.wall_s,
           two.wall_s, two.wall_s / one.wall_s, two.others_s * two.wall_s, ky_core_processors());
    bench_latency();
    return remove_dir();
}
