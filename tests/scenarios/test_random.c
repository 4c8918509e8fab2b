/*
 * Random scenarios against a slow, obvious model of the engine: models, settings, samples, values
 * that run away, forgetting, silence, stops and kills are drawn from a seed; the model keeps every
 * value of every sequence and steps them from zeros for each answer. There are two classes of
 * streams: one whose memory lives on, and one of windows; each has one or two models. What the
 * daemon says must be the same: every answer, its number and quality, every gap, every refusal,
 * every step undone, and what is published.
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
#include "tests/scenarios/inside.h"

enum {
    STREAMS = 5,
    CLASSES = 2,
    MODELS = 2,
    MOST = 4096,
    STEPS = 90,
    LONG = 45,
    SAMPLE = 12,
    FULL = 10000
};
enum { GIVE_UP = 32 }; /* steps undone in a row: the state begins from zeros */

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

/* A stream under one of its models. */
typedef struct strand {
    bool cut;
    int values[MOST], n_values; /* since the state was zeros */
    int zero_n;
    int undone, undone_n, undone_from; /* how many steps, the last, the first in a row */
    int unsaid;                        /* answers since one was published */
    int last_n;                        /* step of the sequence's last answer; 0: none */
} strand;

typedef struct stream {
    bool known, ended;
    int64_t ts_ms, high; /* KY_NONE */
    int64_t seen[MOST];  /* numbers taken since the sender last began anew */
    int n_seen;
    int held; /* the last values, -1 */
    int n;
    strand d[MODELS];
    int64_t heard_us;
    /* the sender */
    int64_t next_ts_ms, next_seq;
} stream;

/* A line of what is expected; those of results.db are put into the same words. */
typedef struct row {
    char text[KY_INSIDE_HEX + 60];
} row;

/* A class of streams: `window` 0 where memory lives on. */
typedef struct group {
    int window, hop, n_streams, n_models;
    ky_inside_model *m[MODELS];
} group;

typedef struct world {
    ky_scene scene;
    ky_rng rng;
    uint64_t seed;
    char ini[320], text[3000];
    group group[CLASSES];
    int lanes;
    bool killed;
    /* settings; times in milliseconds, 0: never */
    bool accept_late, reset, hold;
    int max_gap, period, max_hold, max_late, end_after, warm_up, max_streams;
    int emit; /* every so many answers; 0: the last of each sequence */
    stream s[STREAMS];
    int64_t now_us;
    uint64_t sent[2];
    row rows[MOST], told[MOST];
    int n_rows, n_told, rejects;
} world;

/* What the scenarios so far had in them. */
static struct {
    int answers, undone, given_up, told;
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

static void time_setting(world *w, const char *key, int ms)
{
    size_t len = strlen(w->text);

    if (ms > 0)
        snprintf(w->text + len, sizeof(w->text) - len, "%s = %dms\n", key, ms);
}

/* Some run away on a value that is too large, at once or at a later step. */
static const char *const streamed[] = { "lstm:12, dense",
                                        "conv1d:6x4/2 exponential, rnn:8 relu, dense",
                                        "conv1d:6x3/3 exponential, gru:6, dense" };
static const char *const windowed[] = { "lstm:6, dense", "conv1d:4x2 exponential, gap, dense",
                                        "conv1d:4x2 relu, conv1d:3x2 exponential, gmp, dense" };

/* Names of the classes' models, and of their files. */
static const char *const names[CLASSES][MODELS] = { { "m", "b" }, { "w", "v" } };

static void draw_models(world *w)
{
    group *window = &w->group[1];

    window->window = 3 + below(w, 6);
    window->hop = 1 + below(w, 5);
    for (int c = 0; c < CLASSES; c++) {
        group *g = &w->group[c];

        g->n_models = 1 + below(w, MODELS);
        for (int k = 0; k < g->n_models; k++) {
            const char *file = ky_inside_file(&w->scene, names[c][k]);
            uint64_t seed = 11 + (uint64_t)k;

            g->m[k] =
                c == 0 ? ky_inside_model_new(file, streamed[below(w, 3)], seed)
                       : ky_inside_window_new(file, windowed[below(w, 3)], seed, g->window, g->hop);
        }
    }
}

static void draw_settings(world *w)
{
    static const char *const emits[] = { "end", "every", "every 2", "every 7" };
    static const int every[] = { 0, 1, 2, 7 };
    int emit = below(w, 4);
    size_t len = 0;
    int on_gap = below(w, 3), idle = one_of(w, 0, 1000, 3000);

    w->lanes = one_of(w, 1, 2, 4);
    w->emit = every[emit];
    w->accept_late = below(w, 2);
    w->reset = on_gap == 1;
    w->hold = on_gap == 2;
    w->period = 100;
    w->max_gap = one_of(w, 0, 150, 1000);
    w->max_hold = one_of(w, 1, 3, 10);
    w->max_late = one_of(w, 0, 1000, 5000);
    w->end_after = one_of(w, 0, 5000, 10000);
    w->warm_up = one_of(w, 0, 2, 3);
    w->max_streams = one_of(w, 2, 100, 100);
    snprintf(w->text, sizeof(w->text),
             "[kymod]\nmax_memory = 16K\njournal_file_size = 64K\nmax_wave = %d\n"
             "[source:sub]\nendpoint = ipc://sub\n"
             "[source:ack]\nendpoint = ipc://ack\nsocket = router\n[publish:out]\n",
             one_of(w, 1, 7, 256));
    for (int c = 0; c < CLASSES; c++) {
        bool two = w->group[c].n_models == 2;

        for (int k = 0; k < w->group[c].n_models; k++) {
            len = strlen(w->text);
            snprintf(w->text + len, sizeof(w->text) - len, "[model:%s]\nfile = %s\n", names[c][k],
                     ky_inside_file(&w->scene, names[c][k]));
        }
        len = strlen(w->text);
        snprintf(w->text + len, sizeof(w->text) - len,
                 "[stream:%s]\nmatch = %s\nmodel = %s%s%s\nemit = %s\nlate = %s\non_gap = %s\n"
                 "max_hold = %d\nwarm_up = %d\nmax_streams = %d\narchive = %s\n",
                 c == 0 ? "life" : "window", c == 0 ? "p[0-2]" : "p[3-4]", names[c][0],
                 two ? ", " : "", two ? names[c][1] : "", emits[emit],
                 w->accept_late ? "accept" : "drop",
                 w->reset  ? "reset"
                 : w->hold ? "hold"
                           : "keep",
                 w->max_hold, w->warm_up, w->max_streams, below(w, 2) ? "yes" : "no");
        time_setting(w, "period", w->period);
        time_setting(w, "max_gap", w->max_gap);
        if (w->max_late > 0)
            time_setting(w, "max_late", w->max_late);
        else
            strcat(w->text, "max_late = never\n");
        time_setting(w, "end_after", w->end_after);
        time_setting(w, "idle_timeout", idle);
    }
    len = strlen(w->text);
    snprintf(w->text + len, sizeof(w->text) - len, "memory = window\nwindow = %d\nhop = %d\n",
             w->group[1].window, w->group[1].hop);
}

/* -- the model of the engine -- */

typedef struct sample {
    int k; /* whose */
    bool by_number, start, end, reset;
    int64_t ts_ms, seq;
    int from, to; /* values */
} sample;

static group *group_of(world *w, int k)
{
    return &w->group[k < 3 ? 0 : 1];
}

__attribute__((format(printf, 2, 3))) static void add_row(world *w, const char *fmt, ...)
{
    va_list args;

    KY_WANT(w->n_rows < MOST, "seed %llu: too many rows", (unsigned long long)w->seed);
    va_start(args, fmt);
    vsnprintf(w->rows[w->n_rows++].text, sizeof(row), fmt, args);
    va_end(args);
}

static void add_gap(world *w, int k, int n, const char *what)
{
    add_row(w, "p%d %d gap %s", k, n, what);
}

static bool was_seen(const stream *s, int64_t seq)
{
    for (int i = 0; i < s->n_seen; i++)
        if (s->seen[i] == seq)
            return true;
    return false;
}

enum order { IN_ORDER, AFTER_GAP, SEEN, LATE, ANEW };

static enum order order_of(const world *w, const stream *s, const sample *x)
{
    if (x->by_number) {
        if (s->high == KY_NONE || x->seq == s->high + 1)
            return IN_ORDER;
        if (x->seq > s->high)
            return AFTER_GAP;
        return s->high - x->seq >= 64 ? ANEW : was_seen(s, x->seq) ? SEEN : LATE;
    }
    if (s->ts_ms == KY_NONE || s->ended || x->start || x->ts_ms >= s->ts_ms)
        return IN_ORDER;
    return w->max_late > 0 && s->ts_ms - x->ts_ms > w->max_late ? IN_ORDER : LATE;
}

/* How many samples are to be filled in before this one. */
static int filled(const world *w, const stream *s, const sample *x, bool late, bool silent)
{
    int64_t n = 0;

    if (!w->hold || s->held < 0 || s->ended || x->start || x->reset || late)
        return 0;
    if (x->by_number && s->high != KY_NONE && x->seq > s->high)
        n = x->seq - s->high - 1;
    if (n == 0 && silent)
        n = (x->ts_ms - s->ts_ms + w->period / 2) / w->period - 1;
    return n <= w->max_hold ? (int)n : 0;
}

/* The strand's state is zeros. */
static void begin(const stream *s, strand *d, bool cut)
{
    d->n_values = 0;
    d->zero_n = s->n + 1;
    d->cut = cut;
}

static void begin_all(stream *s, bool cut)
{
    for (int m = 0; m < MODELS; m++) {
        begin(s, &s->d[m], cut);
        s->d[m].last_n = 0;
    }
}

/* The step that the last value made ran away: it is as if that had not come, but for its number. */
static void undo(const stream *s, strand *d)
{
    bool first = d->undone == 0 || d->undone_n != s->n - 1 || d->undone_from < d->zero_n;

    d->n_values--;
    d->undone++;
    d->undone_n = s->n;
    d->undone_from = first ? s->n : d->undone_from;
    seen.undone++;
    if (s->n - d->undone_from + 1 < GIVE_UP)
        return;
    begin(s, d, true);
    seen.given_up++;
}

static void publish(world *w, int k, int m, int n)
{
    KY_WANT(w->n_told < MOST, "seed %llu: too many rows", (unsigned long long)w->seed);
    snprintf(w->told[w->n_told++].text, sizeof(row), "p%d %d %s", k, n, names[k < 3 ? 0 : 1][m]);
    seen.told++;
}

/* An answer is there. */
static void tell(world *w, int k, int m)
{
    strand *d = &w->s[k].d[m];

    d->last_n = w->s[k].n;
    if (w->emit == 0 || ++d->unsaid < w->emit)
        return;
    d->unsaid = 0;
    publish(w, k, m, w->s[k].n);
}

static void tell_last(world *w, int k)
{
    for (int m = 0; m < MODELS; m++) {
        if (w->emit == 0 && w->s[k].d[m].last_n > 0)
            publish(w, k, m, w->s[k].d[m].last_n);
        w->s[k].d[m].last_n = 0;
    }
}

/* A step of each model; an answer of quality `is`, NULL: by the state; "": there is to be none. */
static void push(world *w, int k, int value, const char *is)
{
    stream *s = &w->s[k];
    group *g = group_of(w, k);
    char hex[KY_INSIDE_HEX];

    s->n++;
    for (int m = 0; m < g->n_models; m++) {
        strand *d = &s->d[m];

        KY_WANT(d->n_values < MOST, "seed %llu: too many values", (unsigned long long)w->seed);
        d->values[d->n_values++] = value;
        if (!ky_inside_step(g->m[m], d->values, d->n_values, hex)) {
            undo(s, d);
            continue;
        }
        if (*hex == '\0' || (is != NULL && *is == '\0'))
            continue;
        add_row(w, "p%d %d %s %s %s", k, s->n, names[k < 3 ? 0 : 1][m],
                is != NULL                      ? is
                : s->n - d->zero_n < w->warm_up ? "warming"
                : d->cut                        ? "truncated"
                                                : "ok",
                hex);
        seen.answers++;
        tell(w, k, m);
    }
}

static void take_number(stream *s, const sample *x, enum order is)
{
    if (is == ANEW)
        s->n_seen = 0;
    s->seen[s->n_seen++] = x->seq;
    if (s->high == KY_NONE || x->seq > s->high || is == ANEW)
        s->high = x->seq;
}

static void model_sample(world *w, const sample *x)
{
    stream *s = &w->s[x->k];
    group *g = group_of(w, x->k);

    if (!s->known && g->n_streams >= w->max_streams) {
        w->rejects++;
        return;
    }
    enum order is = order_of(w, s, x);
    bool late = is == LATE;

    if (is == SEEN)
        return;
    if (late && !w->accept_late) {
        w->rejects++;
        return;
    }
    g->n_streams += !s->known;
    s->known = true;

    bool fresh = s->ended || x->start || x->reset;
    bool silent = !fresh && !late && w->max_gap > 0 && x->ts_ms - s->ts_ms > w->max_gap;
    bool gap = silent || is == AFTER_GAP;
    int fill = filled(w, s, x, late, silent);
    bool reset = (silent && w->reset) || (gap && !fresh && w->hold && fill == 0);

    if (gap)
        add_gap(w, x->k, s->n + fill + 1, reset ? "reset" : fill > 0 ? "held" : "kept");
    if (fresh || reset)
        begin_all(s, reset);
    for (int i = 0; i < fill; i++)
        push(w, x->k, s->held, "");
    for (int v = x->from; v <= x->to; v++)
        push(w, x->k, v, late ? "late" : gap && v == x->from ? "gap" : NULL);
    if (x->by_number)
        take_number(s, x, is);
    if (!late)
        s->ts_ms = x->ts_ms;
    s->held = x->to;
    s->ended = x->end;
    if (x->end)
        tell_last(w, x->k);
    s->heard_us = w->now_us;
}

static void model_silence(world *w)
{
    for (int k = 0; k < STREAMS; k++) {
        stream *s = &w->s[k];

        if (!s->known || s->ended || w->end_after == 0 ||
            w->now_us - s->heard_us < w->end_after * INT64_C(1000))
            continue;
        add_gap(w, k, s->n + 1, "ended");
        s->ended = true;
        tell_last(w, k);
    }
}

static void model_forget(world *w, int k)
{
    stream *s = &w->s[k];

    if (!s->known) {
        w->rejects++;
        return;
    }
    add_gap(w, k, s->n + 1, "forgotten");
    begin_all(s, false);
    for (int m = 0; m < MODELS; m++)
        s->d[m].undone = s->d[m].unsaid = 0;
    s->ended = true;
    s->ts_ms = s->high = KY_NONE;
    s->n_seen = 0;
    s->held = -1;
}

/* -- what happens -- */

static void send(world *w, const sample *x, bool acknowledged, bool has_seq)
{
    static const char *const sources[] = { "sub", "ack" };
    char text[1600], values[1200];
    int len = snprintf(text, sizeof(text), "{\"stream\":\"p%d\",\"ts\":%lld.%03lld", x->k,
                       (long long)x->ts_ms / 1000, (long long)x->ts_ms % 1000);

    if (has_seq)
        len += snprintf(text + len, sizeof(text) - (size_t)len, ",\"seq\":%lld", (long long)x->seq);
    ky_inside_x(values, sizeof(values), x->from, x->to);
    snprintf(text + len, sizeof(text) - (size_t)len, ",\"x\":[%s]%s%s%s}", values,
             x->start ? ",\"start\":true" : "", x->end ? ",\"end\":true" : "",
             x->reset ? ",\"reset\":true" : "");
    ky_inside_put_on(sources[acknowledged], ++w->sent[acknowledged], text);
    /* Two sources have no order between them but the one that they are waited for. */
    ky_inside_turn(0);
}

static void do_sample(world *w)
{
    sample x = { .k = below(w, STREAMS), .from = percent(w, 6) ? KY_INSIDE_HOT : below(w, 11) };
    stream *s = &w->s[x.k];
    bool acknowledged = percent(w, 30), has_seq = percent(w, 80);
    int how = below(w, 100);

    s->next_ts_ms += how < 75   ? 100
                     : how < 80 ? 0
                     : how < 90 ? 100 * (1 + below(w, 15)) + below(w, 40)
                     : how < 97 ? -below(w, 900)
                                : -2000 - below(w, 6000);
    how = below(w, 100);
    s->next_seq += how < 75   ? 1
                   : how < 85 ? 2 + below(w, 4)
                   : how < 90 ? 0
                   : how < 97 ? -below(w, 6)
                   : how < 98 ? 70
                              : -70;
    x.ts_ms = s->next_ts_ms > 0 ? s->next_ts_ms : 0;
    x.seq = s->next_seq;
    how = x.from == KY_INSIDE_HOT ? 100 : below(w, 100); /* that one alone */
    x.to = x.from + (how < 15 ? below(w, 3) : how < 25 ? below(w, LONG) : 0);
    x.start = percent(w, 4);
    x.end = percent(w, 4);
    x.reset = percent(w, 3);
    x.by_number = has_seq && !acknowledged;
    send(w, &x, acknowledged, has_seq);
    model_sample(w, &x);
}

static void do_forget(world *w)
{
    int k = below(w, STREAMS);
    char text[64];

    snprintf(text, sizeof(text), "{\"stream\":\"p%d\",\"forget\":true}", k);
    ky_inside_put("ack", "", ++w->sent[1], text);
    model_forget(w, k);
}

static void do_garbage(world *w)
{
    ky_inside_put("sub", "", ++w->sent[0], "{\"stream\":\"p0\",\"x\":[1,");
    w->rejects++;
}

static void do_pass(world *w)
{
    int64_t us = (1 + below(w, 120)) * INT64_C(100000);

    ky_inside_turn(us);
    w->now_us += us;
    model_silence(w);
}

static void do_again(world *w)
{
    if (below(w, 2))
        ky_inside_stop();
    else
        ky_inside_kill(), w->killed = true;
    w->lanes = one_of(w, 1, 2, 4);
    ky_inside_start(&w->scene, w->ini, w->lanes);
    for (int k = 0; k < STREAMS; k++)
        w->s[k].heard_us = w->now_us;
}

static void do_any(world *w)
{
    int what = below(w, 100);

    if (what < 80)
        do_sample(w);
    else if (what < 83)
        do_forget(w);
    else if (what < 85)
        do_garbage(w);
    else if (what < 96)
        do_pass(w);
    else
        do_again(w);
}

/* -- both against each other -- */

static const char all_rows[] =
    "SELECT * FROM ("
    " SELECT stream || ' ' || n || ' ' || model || ' ' || quality || ' ' || hex(probs) AS line "
    "FROM history"
    " UNION ALL SELECT s.name || ' ' || g.n || ' gap ' || g.what FROM gaps g"
    "  JOIN streams s ON s.id = g.stream"
    " UNION ALL SELECT stream || ' ' || model || ' is at ' || n || ', zeros ' || state_steps || ' "
    "ago, '"
    "  || quarantines || ' undone' FROM state_health"
    " UNION ALL SELECT count(*) || ' rejects' FROM rejects)"
    " ORDER BY line";

static int compare_rows(const void *a, const void *b)
{
    return strcmp(((const row *)a)->text, ((const row *)b)->text);
}

static void compare(world *w)
{
    char *text = ky_scene_lines(&w->scene, all_rows), *rest = text;

    for (int k = 0; k < STREAMS; k++)
        for (int m = 0; w->s[k].known && m < group_of(w, k)->n_models; m++)
            add_row(w, "p%d %s is at %d, zeros %d ago, %d undone", k, names[k < 3 ? 0 : 1][m],
                    w->s[k].n, w->s[k].n - w->s[k].d[m].zero_n + 1, w->s[k].d[m].undone);
    add_row(w, "%d rejects", w->rejects);
    qsort(w->rows, (size_t)w->n_rows, sizeof(row), compare_rows);
    for (int i = 0; i <= w->n_rows; i++) {
        const char *line = strsep(&rest, "\n"), *want = i < w->n_rows ? w->rows[i].text : "";

        KY_WANT(line != NULL && strcmp(line, want) == 0, "seed %llu: '%s', not '%s'\n%s",
                (unsigned long long)w->seed, line != NULL ? line : "nothing more", want, w->text);
    }
    free(text);
}

/* What was published, in the same words, sorted. */
static int read_told(const world *w, row *ret)
{
    char path[400], line[4096], name[40], model[KY_NAME_MAX + 1];
    int n = 0, step;

    snprintf(path, sizeof(path), "%s/told", w->scene.dir);
    FILE *f = fopen(path, "r");

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        const char *at = strstr(line, "\"model\":\"");

        KY_WANT(n < MOST && at != NULL && sscanf(at, "\"model\":\"%63[^@]", model) == 1 &&
                    sscanf(line, "%*s {\"stream\":\"%39[^\"]\",\"class\":\"%*[^\"]\",\"n\":%d",
                           name, &step) == 2,
                "seed %llu: published: %s", (unsigned long long)w->seed, line);
        snprintf(ret[n++].text, sizeof(row), "%s %d %s", name, step, model);
    }
    if (f != NULL)
        fclose(f);
    qsort(ret, (size_t)n, sizeof(row), compare_rows);
    return n;
}

/* Nothing but what was to be published, and nothing twice; all of it, but after a kill. */
static void compare_told(world *w)
{
    row *told = calloc(MOST, sizeof(row));
    int n = read_told(w, told), at = 0;

    qsort(w->told, (size_t)w->n_told, sizeof(row), compare_rows);
    for (int i = 0; i < n; i++, at++) {
        while (w->killed && at < w->n_told && compare_rows(&w->told[at], &told[i]) < 0)
            at++;
        KY_WANT(at < w->n_told && compare_rows(&w->told[at], &told[i]) == 0,
                "seed %llu: published '%s', not '%s'\n%s", (unsigned long long)w->seed,
                told[i].text, at < w->n_told ? w->told[at].text : "", w->text);
    }
    KY_WANT(w->killed || at == w->n_told, "seed %llu: not published: '%s'\n%s",
            (unsigned long long)w->seed, w->told[at].text, w->text);
    free(told);
}

static void run(uint64_t seed)
{
    world *w = calloc(1, sizeof(*w));

    w->seed = seed;
    ky_rng_seed(&w->rng, seed);
    ky_scene_open(&w->scene, "random");
    draw_models(w);
    draw_settings(w);
    snprintf(w->ini, sizeof(w->ini), "%s", ky_scene_write(&w->scene, "kymod.ini", w->text));
    for (int k = 0; k < STREAMS; k++)
        w->s[k] = (stream){
            .ended = true, .ts_ms = KY_NONE, .high = KY_NONE, .held = -1, .next_ts_ms = 1000000
        };
    ky_inside_set_clock(1800000000000000);
    ky_inside_start(&w->scene, w->ini, w->lanes);
    for (int i = 0; i < STEPS; i++)
        do_any(w);
    ky_inside_stop();
    compare(w);
    compare_told(w);
    for (int c = 0; c < CLASSES; c++)
        for (int k = 0; k < w->group[c].n_models; k++)
            ky_inside_model_free(w->group[c].m[k]);
    ky_scene_close(&w->scene);
    free(w);
}

/* Every `step`-th of n seeds. */
static void run_some(uint64_t first, int n, int step)
{
    for (int i = 0; i < n; i += step)
        run(first + (uint64_t)i);
    printf("PASS %d random scenarios: %d answers, %d to be published, %d steps undone, %d states "
           "given up\n",
           (n + step - 1) / step, seen.answers, seen.told, seen.undone, seen.given_up);
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

    for (size_t i = 0; argc == 1 && i < sizeof(kept) / sizeof(*kept); i++)
        run(kept[i]);
    if (n >= 1000)
        return run_many(first, n);
    run_some(first, n, 1);
    return 0;
}
