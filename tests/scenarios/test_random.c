/*
 * Random scenarios against a slow, obvious model of the engine: settings, samples, forgetting,
 * silence, stops and kills are drawn from a seed; the model keeps every value of every sequence and
 * steps them from zeros for each answer. What the daemon says must be the same: every answer, its
 * number and quality, every gap, every refusal. `test_random SEED` runs one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/sample.h"
#include "tests/full.h"
#include "tests/scenarios/inside.h"

enum { STREAMS = 5, MOST = 4096, STEPS = 90, SAMPLE = 12, FULL = 2000 };

/* Seeds that once found a difference. */
static const uint64_t kept[] = { 1 };

typedef struct stream {
    bool known, ended, cut;
    int64_t ts_ms, high; /* KY_NONE */
    int64_t seen[MOST];  /* numbers taken since the sender last began anew */
    int n_seen;
    int values[MOST], n_values; /* since the state was zeros */
    int held;                   /* the last values, -1 */
    int n, zero_n;
    int64_t heard_us;
    /* the sender */
    int64_t next_ts_ms, next_seq;
} stream;

typedef struct row {
    int stream, n;
    const char *quality, *what; /* of an answer; of a gap */
    char hex[KY_INSIDE_HEX];
} row;

typedef struct world {
    ky_scene scene;
    ky_rng rng;
    uint64_t seed;
    char ini[320], text[2000];
    ky_inside_model *m;
    int lanes;
    /* settings; times in milliseconds, 0: never */
    bool accept_late, reset, hold;
    int max_gap, period, max_hold, max_late, end_after, warm_up, max_streams;
    stream s[STREAMS];
    int n_streams;
    int64_t now_us;
    uint64_t sent[2];
    row rows[MOST];
    int n_rows, rejects;
} world;

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

static void draw_settings(world *w)
{
    int on_gap = below(w, 3);

    w->lanes = one_of(w, 1, 2, 4);
    w->accept_late = below(w, 2);
    w->reset = on_gap == 1;
    w->hold = on_gap == 2;
    w->period = 100;
    w->max_gap = one_of(w, 0, 150, 1000);
    w->max_hold = one_of(w, 1, 3, 10);
    w->max_late = one_of(w, 0, 1000, 5000);
    w->end_after = one_of(w, 0, 5000, 10000);
    w->warm_up = one_of(w, 0, 2, 3);
    w->max_streams = one_of(w, 3, 100, 100);
    snprintf(w->text, sizeof(w->text),
             "[kymod]\nmax_memory = 16K\njournal_file_size = 64K\n"
             "[source:sub]\nendpoint = ipc://sub\n"
             "[source:ack]\nendpoint = ipc://ack\nsocket = router\n"
             "[model:m]\n"
             "[stream:c]\nmodel = m\nlate = %s\non_gap = %s\nmax_hold = %d\nwarm_up = %d\n"
             "max_streams = %d\narchive = %s\n",
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
    time_setting(w, "idle_timeout", one_of(w, 0, 1000, 3000));
}

/* -- the model of the engine -- */

typedef struct sample {
    int k; /* whose */
    bool by_number, start, end, reset;
    int64_t ts_ms, seq;
    int from, to; /* values */
} sample;

static row *add_row(world *w, int k, int n)
{
    KY_WANT(w->n_rows < MOST, "seed %llu: too many rows", (unsigned long long)w->seed);
    row *r = &w->rows[w->n_rows++];

    *r = (row){ .stream = k, .n = n };
    return r;
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

static void push(world *w, stream *s, int value)
{
    KY_WANT(s->n_values < MOST, "seed %llu: too many values", (unsigned long long)w->seed);
    s->values[s->n_values++] = value;
    s->n++;
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

    if (!s->known && w->n_streams >= w->max_streams) {
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
    w->n_streams += !s->known;
    s->known = true;

    bool fresh = s->ended || x->start || x->reset;
    bool silent = !fresh && !late && w->max_gap > 0 && x->ts_ms - s->ts_ms > w->max_gap;
    bool gap = silent || is == AFTER_GAP;
    int fill = filled(w, s, x, late, silent);
    bool reset = (silent && w->reset) || (gap && !fresh && w->hold && fill == 0);

    if (gap)
        add_row(w, x->k, s->n + fill + 1)->what = reset ? "reset" : fill > 0 ? "held" : "kept";
    if (fresh || reset) {
        s->n_values = 0;
        s->zero_n = s->n + 1;
        s->cut = reset;
    }
    for (int i = 0; i < fill; i++)
        push(w, s, s->held);
    for (int v = x->from; v <= x->to; v++) {
        push(w, s, v);
        row *r = add_row(w, x->k, s->n);

        ky_inside_answer(w->m, s->values, s->n_values, r->hex);
        r->quality = late                            ? "late"
                     : gap && v == x->from           ? "gap"
                     : s->n - s->zero_n < w->warm_up ? "warming"
                     : s->cut                        ? "truncated"
                                                     : "ok";
    }
    if (x->by_number)
        take_number(s, x, is);
    if (!late)
        s->ts_ms = x->ts_ms;
    s->held = x->to;
    s->ended = x->end;
    s->heard_us = w->now_us;
}

static void model_silence(world *w)
{
    for (int k = 0; k < STREAMS; k++) {
        stream *s = &w->s[k];

        if (!s->known || s->ended || w->end_after == 0 ||
            w->now_us - s->heard_us < w->end_after * INT64_C(1000))
            continue;
        add_row(w, k, s->n + 1)->what = "ended";
        s->ended = true;
    }
}

static void model_forget(world *w, int k)
{
    stream *s = &w->s[k];

    if (!s->known) {
        w->rejects++;
        return;
    }
    add_row(w, k, s->n + 1)->what = "forgotten";
    s->ended = true;
    s->ts_ms = s->high = KY_NONE;
    s->n_seen = 0;
    s->held = -1;
}

/* -- what happens -- */

static void send(world *w, const sample *x, bool acknowledged, bool has_seq)
{
    static const char *const names[] = { "sub", "ack" };
    char text[1000], values[400];
    int len = snprintf(text, sizeof(text), "{\"stream\":\"p%d\",\"ts\":%lld.%03lld", x->k,
                       (long long)x->ts_ms / 1000, (long long)x->ts_ms % 1000);

    if (has_seq)
        len += snprintf(text + len, sizeof(text) - (size_t)len, ",\"seq\":%lld", (long long)x->seq);
    ky_inside_x(values, sizeof(values), x->from, x->to);
    snprintf(text + len, sizeof(text) - (size_t)len, ",\"x\":[%s]%s%s%s}", values,
             x->start ? ",\"start\":true" : "", x->end ? ",\"end\":true" : "",
             x->reset ? ",\"reset\":true" : "");
    ky_inside_put_on(names[acknowledged], ++w->sent[acknowledged], text);
    /* Two sources have no order between them but the one that they are waited for. */
    ky_inside_turn(0);
}

static void do_sample(world *w)
{
    sample x = { .k = below(w, STREAMS), .from = below(w, 11) };
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
    x.to = x.from + (percent(w, 15) ? below(w, 3) : 0);
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
        ky_inside_kill();
    w->lanes = one_of(w, 1, 2, 4);
    ky_inside_start(&w->scene, w->ini, w->lanes, false);
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

static void expect(const world *w, int64_t want, const char *what, const char *sql)
{
    int64_t n = ky_scene_number(&w->scene, sql);

    KY_WANT(n == want, "seed %llu: %s: %lld, not %lld (%s)\n%s", (unsigned long long)w->seed, what,
            (long long)n, (long long)want, sql, w->text);
}

static void compare(const world *w)
{
    char sql[500];
    int answers = 0;

    for (int i = 0; i < w->n_rows; i++) {
        const row *r = &w->rows[i];

        if (r->quality != NULL)
            snprintf(sql, sizeof(sql),
                     "SELECT count(*) FROM history WHERE stream = 'p%d' AND n = %d AND quality = "
                     "'%s' AND hex(probs) = '%s'",
                     r->stream, r->n, r->quality, r->hex);
        else
            snprintf(sql, sizeof(sql),
                     "SELECT count(*) FROM gaps g JOIN streams s ON s.id = g.stream WHERE s.name = "
                     "'p%d' AND g.n = %d AND g.what = '%s'",
                     r->stream, r->n, r->what);
        answers += r->quality != NULL;
        if (r->quality != NULL || i == 0 || memcmp(r, r - 1, sizeof(*r)) != 0)
            KY_WANT(ky_scene_number(&w->scene, sql) >= 1, "seed %llu: missing: %s\n%s",
                    (unsigned long long)w->seed, sql, w->text);
    }
    expect(w, answers, "answers", "SELECT count(*) FROM history");
    expect(w, w->n_rows - answers, "gaps", "SELECT count(*) FROM gaps");
    expect(w, w->rejects, "rejects", "SELECT count(*) FROM rejects");
}

static void run(uint64_t seed)
{
    world *w = calloc(1, sizeof(*w));

    w->seed = seed;
    ky_rng_seed(&w->rng, seed);
    ky_scene_open(&w->scene, "random");
    w->m = ky_inside_model_new(w->scene.model, NULL);
    draw_settings(w);
    snprintf(w->ini, sizeof(w->ini), "%s", ky_scene_write(&w->scene, "kymod.ini", w->text));
    for (int k = 0; k < STREAMS; k++)
        w->s[k] = (stream){
            .ended = true, .ts_ms = KY_NONE, .high = KY_NONE, .held = -1, .next_ts_ms = 1000000
        };
    ky_inside_set_clock(1800000000000000);
    ky_inside_start(&w->scene, w->ini, w->lanes, false);
    for (int i = 0; i < STEPS; i++)
        do_any(w);
    ky_inside_stop();
    compare(w);
    ky_inside_model_free(w->m);
    ky_scene_close(&w->scene);
    free(w);
}

int main(int argc, char **argv)
{
    int n = ky_test_full() ? FULL : SAMPLE;

    if (argc > 1) {
        run(strtoull(argv[1], NULL, 10));
        return 0;
    }
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
        run(kept[i]);
    for (int i = 0; i < n; i++)
        run(1000 + (uint64_t)i);
    printf("PASS %d random scenarios\n", n);
    return 0;
}
