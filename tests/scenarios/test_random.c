/*
 * Random scenarios against a slow, obvious model of the engine: models, settings, samples, values
 * that run away, forgetting, silence, stops and kills are drawn from a seed; the model keeps every
 * value of every sequence and steps them from zeros for each answer. There are two classes of
 * streams: one whose memory lives on, and one of windows; each has one model or two, and other
 * versions take over on the way. What the daemon says must be the same:
 * every answer, its number and quality, every gap, every refusal, every step undone, and what is
 * published.
 * `test_random SEED [COUNT]` runs one, or so many.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/sample.h"
#include "tests/full.h"
#include "tests/scenarios/oracle.h"

enum { STREAMS = KY_ORACLE_STREAMS, STEPS = 90, LONG = 45, SAMPLE = 8, FULL = 10000 };

/* A process that is killed loses nothing that it wrote: waiting for the disk tests the disk. In the
 * place of the C library's, for SQLite too. */
int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

int fsync(int fd)
{
    (void)fd;
    return 0;
}

/* Seeds that once found a difference. */
static const uint64_t kept[] = { 1 };

typedef struct world {
    ky_oracle o;
    ky_scene scene;
    ky_rng rng;
    char ini[320], text[3000];
    int lanes;
    bool killed;
    struct {
        int64_t next_ts_ms, next_seq;
    } sender[STREAMS];
    uint64_t sent[2];
    int latest; /* stream */
    int moving; /* the source whose messages may still be on their way; -1: all are at rest */
    ky_inside_model *made[STEPS + KY_ORACLE_CLASSES * KY_ORACLE_MODELS];
    int n_made;
} world;

/* What the scenarios so far had in them. */
static struct {
    int answers, told, undone, given_up, swaps;
} seen;

static int below(world *w, int n)
{
    return (int)ky_rng_below(&w->rng, (uint64_t)n);
}

static bool percent(world *w, int p)
{
    return below(w, 100) < p;
}

/* -- settings -- */

static int one_of(world *w, int a, int b, int c)
{
    const int any[] = { a, b, c };

    return any[below(w, 3)];
}

__attribute__((format(printf, 2, 3))) static void put(world *w, const char *fmt, ...)
{
    size_t len = strlen(w->text);
    va_list args;

    va_start(args, fmt);
    vsnprintf(w->text + len, sizeof(w->text) - len, fmt, args);
    va_end(args);
}

static void time_setting(world *w, const char *key, int ms)
{
    if (ms > 0)
        put(w, "%s = %dms\n", key, ms);
}

/* Some run away on a value that is too large, at once or at a later step. */
static const char *const streamed[] = { "lstm:12, dense",
                                        "conv1d:6x4/2 exponential, rnn:8 relu, dense",
                                        "conv1d:6x3/3 exponential, gru:6, dense" };
static const char *const windowed[] = { "lstm:6, dense", "conv1d:4x2 exponential, gap, dense",
                                        "conv1d:4x2 relu, conv1d:3x2 exponential, gmp, dense" };

/* A model for a class, in a file of this name. */
static ky_inside_model *make_model(world *w, const ky_oracle_class *g, const char *file)
{
    const char *path = ky_inside_file(&w->scene, file);
    uint64_t seed = 11 + (uint64_t)w->n_made;
    int arch = below(w, 3);

    return w->made[w->n_made++] =
               g->window > 0 ? ky_inside_window_new(path, windowed[arch], seed, g->window, g->hop)
                             : ky_inside_model_new(path, streamed[arch], seed);
}

static void draw_models(world *w)
{
    static const char *const names[KY_ORACLE_CLASSES][KY_ORACLE_MODELS] = { { "m", "b" },
                                                                            { "w", "v" } };

    w->o.classes[1].window = 3 + below(w, 6);
    w->o.classes[1].hop = 1 + below(w, 5);
    for (int c = 0; c < KY_ORACLE_CLASSES; c++) {
        ky_oracle_class *g = &w->o.classes[c];

        g->n_models = 1 + below(w, KY_ORACLE_MODELS);
        for (int i = 0; i < g->n_models; i++) {
            g->model[i].name = names[c][i];
            g->model[i].m = make_model(w, g, names[c][i]);
            g->model[i].version = 1;
        }
    }
}

/* What is sent is small, and the queues with it: starting is most of the work. */
#define SMALL "max_message = 64K\nqueue_size = 256K\n"

static void put_class(world *w, int c, int idle, const char *emit)
{
    const ky_oracle_class *g = &w->o.classes[c];

    put(w, "[stream:%s]\nmatch = %s\nmodel = %s", c == 0 ? "life" : "window",
        c == 0 ? "p[0-2]" : "p[3-4]", g->model[0].name);
    if (g->n_models > 1)
        put(w, ", %s", g->model[1].name);
    put(w, "\nemit = %s\n", emit);
    put(w, "late = %s\non_gap = %s\nmax_hold = %d\nwarm_up = %d\nmax_streams = %d\n",
        w->o.accept_late ? "accept" : "drop",
        w->o.reset  ? "reset"
        : w->o.hold ? "hold"
                    : "keep",
        w->o.max_hold, w->o.warm_up, one_of(w, 1, 3, 100));
    put(w, "archive = %s\n", below(w, 2) ? "yes" : "no");
    time_setting(w, "period", w->o.period);
    time_setting(w, "max_gap", w->o.max_gap);
    time_setting(w, "max_late", w->o.max_late);
    if (w->o.max_late == 0)
        put(w, "max_late = never\n");
    time_setting(w, "end_after", w->o.end_after);
    time_setting(w, "idle_timeout", idle);
    if (g->window > 0)
        put(w, "memory = window\nwindow = %d\nhop = %d\n", g->window, g->hop);
    for (int i = 0; i < g->n_models; i++)
        put(w, "[model:%s]\nfile = %s\n", g->model[i].name,
            ky_inside_file(&w->scene, g->model[i].name));
}

static void draw_settings(world *w)
{
    static const char *const emits[] = { "end", "every", "every 2", "every 7" };
    static const int every[] = { 0, 1, 2, 7 };
    int emit = below(w, 4), on_gap = below(w, 3), idle = one_of(w, 0, 1000, 3000);

    w->lanes = one_of(w, 1, 2, 4);
    w->o.emit = every[emit];
    w->o.accept_late = below(w, 2);
    w->o.reset = on_gap == 1;
    w->o.hold = on_gap == 2;
    w->o.period = 100;
    w->o.max_gap = one_of(w, 0, 150, 1000);
    w->o.max_hold = one_of(w, 1, 3, 10);
    w->o.max_late = one_of(w, 0, 1000, 5000);
    w->o.end_after = one_of(w, 0, 5000, 10000);
    w->o.warm_up = one_of(w, 0, 2, 3);
    put(w, "[kymod]\nmax_memory = 16K\njournal_file_size = 64K\nmax_wave = %d\ncommit_rows = %d\n",
        one_of(w, 1, 2, 64), one_of(w, 1, 5, 20000));
    put(w, "[source:sub]\nendpoint = ipc://sub\n" SMALL);
    put(w, "[source:ack]\nendpoint = ipc://ack\nsocket = router\n" SMALL);
    put(w, "[publish:out]\n");
    for (int c = 0; c < KY_ORACLE_CLASSES; c++)
        put_class(w, c, idle, emits[emit]);
}

/* -- what happens -- */

static void rest(world *w)
{
    if (w->moving >= 0)
        ky_inside_turn(0);
    w->moving = -1;
}

/* Some are under way together, in waves of no known order. */
static void send(world *w, const ky_oracle_sample *x, bool acknowledged, bool has_seq)
{
    static const char *const names[] = { "sub", "ack" };
    char text[1600], values[1200];
    int len = snprintf(text, sizeof(text), "{\"stream\":\"p%d\",\"ts\":%lld.%03lld", x->k,
                       (long long)x->ts_ms / 1000, (long long)x->ts_ms % 1000);

    if (has_seq)
        len += snprintf(text + len, sizeof(text) - (size_t)len, ",\"seq\":%lld", (long long)x->seq);
    ky_inside_x(values, sizeof(values), x->from, x->to);
    snprintf(text + len, sizeof(text) - (size_t)len, ",\"x\":[%s]%s%s%s}", values,
             x->start ? ",\"start\":true" : "", x->end ? ",\"end\":true" : "",
             x->reset ? ",\"reset\":true" : "");
    /* Two sources have no order between them but the one that they are waited for. */
    if (w->moving >= 0 && w->moving != acknowledged)
        rest(w);
    ky_inside_put_on(names[acknowledged], ++w->sent[acknowledged], text);
    w->moving = acknowledged;
    if (percent(w, 50))
        rest(w);
}

static void do_sample(world *w)
{
    ky_oracle_sample x = { .k = percent(w, 30) ? w->latest : below(w, STREAMS) };
    int64_t *ts_ms = &w->sender[x.k].next_ts_ms, *seq = &w->sender[x.k].next_seq;
    bool acknowledged = percent(w, 30), has_seq = percent(w, 80);
    int how = below(w, 100);

    w->latest = x.k;
    *ts_ms += how < 75   ? 100
              : how < 80 ? 0
              : how < 90 ? 100 * (1 + below(w, 15)) + below(w, 40)
              : how < 97 ? -below(w, 900)
                         : -2000 - below(w, 6000);
    how = below(w, 100);
    *seq += how < 75   ? 1
            : how < 85 ? 2 + below(w, 4)
            : how < 90 ? 0
            : how < 97 ? -below(w, 6)
            : how < 98 ? 70
                       : -70;
    x.ts_ms = *ts_ms > 0 ? *ts_ms : 0;
    x.seq = *seq;
    x.from = percent(w, 6) ? KY_INSIDE_HOT : below(w, 11);
    how = x.from == KY_INSIDE_HOT ? 100 : below(w, 100); /* that one alone */
    x.to = x.from + (how < 15 ? below(w, 3) : how < 25 ? below(w, LONG) : 0);
    x.start = percent(w, 4);
    x.end = percent(w, 4);
    x.reset = percent(w, 3);
    x.by_number = has_seq && !acknowledged;
    send(w, &x, acknowledged, has_seq);
    ky_oracle_take(&w->o, &x);
}

static void do_forget(world *w)
{
    int k = below(w, STREAMS);
    char text[64];

    snprintf(text, sizeof(text), "{\"stream\":\"p%d\",\"forget\":true}", k);
    ky_inside_put("ack", "", ++w->sent[1], text);
    ky_oracle_forget(&w->o, k);
}

/* A label brings a stream into memory: what was done to all while it was not is done to it. */
static void wake_all(world *w)
{
    char text[64];

    for (int k = 0; k < STREAMS; k++) {
        snprintf(text, sizeof(text), "{\"stream\":\"p%d\",\"seq\":1,\"label\":\"end\"}", k);
        if (w->o.s[k].known)
            ky_inside_put("ack", "", ++w->sent[1], text);
    }
}

static void do_garbage(world *w)
{
    ky_inside_put("sub", "", ++w->sent[0], "{\"stream\":\"p0\",\"x\":[1,");
    w->o.rejects++;
}

static void do_pass(world *w)
{
    int64_t us = (1 + below(w, 120)) * INT64_C(100000);

    ky_inside_turn(us);
    w->o.now_us += us;
    ky_oracle_silence(&w->o);
}

static void do_again(world *w)
{
    bool kill = below(w, 2);

    if (kill)
        ky_inside_kill();
    else
        ky_inside_stop();
    w->killed |= kill;
    w->lanes = one_of(w, 1, 2, 4);
    ky_inside_start(&w->scene, w->ini, w->lanes);
    for (int k = 0; k < STREAMS; k++)
        w->o.s[k].heard_us = w->o.now_us;
}

/* Another version takes over: at each stream's next start, or at once. */
static void do_swap(world *w)
{
    int c = below(w, KY_ORACLE_CLASSES), i = below(w, w->o.classes[c].n_models);
    bool reset = below(w, 2);
    ky_inside_model *m = make_model(w, &w->o.classes[c], "next");

    ky_inside_swap(w->o.classes[c].model[i].name, ky_inside_file(&w->scene, "next"), reset);
    ky_oracle_swap(&w->o, c, i, m, reset);
}

static void do_any(world *w)
{
    int what = below(w, 100);

    if (what >= 80)
        rest(w);
    if (what < 80)
        do_sample(w);
    else if (what < 84)
        do_forget(w);
    else if (what < 86)
        do_garbage(w);
    else if (what < 94)
        do_pass(w);
    else if (what < 96)
        do_swap(w);
    else
        do_again(w);
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
    " UNION ALL SELECT count(*) || ' rejects' FROM rejects)"
    " ORDER BY line";

static void compare(world *w)
{
    char *text = ky_scene_lines(&w->scene, all_rows), *rest = text;

    ky_oracle_close(&w->o);
    for (int i = 0; i <= w->o.n_rows; i++) {
        const char *line = strsep(&rest, "\n"), *want = i < w->o.n_rows ? w->o.rows[i].text : "";

        KY_WANT(line != NULL && strcmp(line, want) == 0, "'%s', not '%s'\n%s",
                line != NULL ? line : "nothing more", want, w->text);
    }
    free(text);
}

/* What was published, in the oracle's words, sorted. */
static int read_told(const world *w, ky_oracle_row *ret)
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
static void compare_told(const world *w)
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
    world *w = calloc(1, sizeof(*w));

    running = seed;
    w->moving = -1;
    ky_rng_seed(&w->rng, seed);
    ky_scene_open(&w->scene, "random");
    ky_oracle_init(&w->o);
    draw_models(w);
    draw_settings(w);
    snprintf(w->ini, sizeof(w->ini), "%s", ky_scene_write(&w->scene, "kymod.ini", w->text));
    for (int k = 0; k < STREAMS; k++)
        w->sender[k].next_ts_ms = 1000000;
    ky_inside_set_clock(1800000000000000);
    ky_inside_start(&w->scene, w->ini, w->lanes);
    for (int i = 0; i < STEPS; i++)
        do_any(w);
    rest(w);
    wake_all(w);
    ky_inside_stop();
    compare(w);
    compare_told(w);
    seen.answers += w->o.answers;
    seen.told += w->o.n_told;
    seen.undone += w->o.undone;
    seen.given_up += w->o.given_up;
    seen.swaps += w->o.swaps;
    for (int i = 0; i < w->n_made; i++)
        ky_inside_model_free(w->made[i]);
    ky_scene_close(&w->scene);
    free(w);
    running = 0;
}

/* Every so many-th of n seeds. */
static void run_some(uint64_t first, int n, int every)
{
    for (int i = 0; i < n; i += every)
        run(first + (uint64_t)i);
    printf("PASS %d random scenarios: %d answers, %d to be published, %d steps undone, %d states "
           "given up, "
           "%d swaps\n",
           (n + every - 1) / every, seen.answers, seen.told, seen.undone, seen.given_up,
           seen.swaps);
    fflush(stdout);
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
