#include "tests/scenarios/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STREAMS = KY_ORACLE_STREAMS, LONG = 45, BURST = 15, NO_MARK = 1000000 };

static int below(ky_world *w, int n)
{
    return (int)ky_rng_below(&w->rng, (uint64_t)n);
}

static bool percent(ky_world *w, int p)
{
    return below(w, 100) < p;
}

static int one_of(ky_world *w, int a, int b, int c)
{
    const int any[] = { a, b, c };

    return any[below(w, 3)];
}

/* With KY_SAY in the environment, what happens is told. */
__attribute__((format(printf, 2, 3))) static void say(const ky_world *w, const char *fmt, ...)
{
    va_list args;

    if (getenv("KY_SAY") == NULL)
        return;
    fprintf(stderr, "%10.3f ", (double)w->o.now_us / 1e6);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

/* -- models -- */

/* Some run away on a value that is too large, at once or at a later step. The last have states that
 * take room. */
static const char *const streamed[] = { "lstm:12, dense",
                                        "conv1d:6x4/2 exponential, rnn:8 relu, dense",
                                        "conv1d:6x3/3 exponential, gru:6, dense",
                                        "conv1d:3x160 causal relu, rnn:4, dense" };
static const char *const windowed[] = { "lstm:6, dense", "conv1d:4x2 exponential, gap, dense",
                                        "conv1d:4x2 relu, conv1d:3x2 exponential, gmp, dense" };

/* A model for a class, in a file of this name. */
static ky_inside_model *make_model(ky_world *w, const ky_oracle_class *g, const char *file)
{
    const char *path = ky_inside_file(&w->scene, file);
    uint64_t seed = 11 + (uint64_t)w->n_made;
    int arch = below(w, g->window > 0 ? 3 : 5);
    ky_inside_model *m = g->window > 0
                             ? ky_inside_window_new(path, windowed[arch], seed, g->window, g->hop)
                             : ky_inside_model_new(path, streamed[arch < 3 ? arch : 3], seed);

    KY_WANT(w->n_made < KY_WORLD_MODELS, "too many models");
    return w->made[w->n_made++] = m;
}

static void draw_models(ky_world *w)
{
    static const char *const names[KY_ORACLE_CLASSES][KY_ORACLE_MODELS] = { { "m", "b" },
                                                                            { "w", "v" } };

    w->o.classes[1].window = 3 + below(w, 6);
    w->o.classes[1].hop = 1 + below(w, 5);
    for (int c = 0; c < KY_ORACLE_CLASSES; c++) {
        ky_oracle_class *g = &w->o.classes[c];

        g->n_models = percent(w, 30) ? 1 : KY_ORACLE_MODELS;
        for (int i = 0; i < g->n_models; i++) {
            g->model[i].name = names[c][i];
            g->model[i].m = make_model(w, g, names[c][i]);
            g->model[i].version = 1;
            w->at_once[c][i] = below(w, 2);
        }
    }
}

/* -- settings that say what is answered -- */

/* Times that silence and the reorder buffer ask for never meet: a message comes or is due at a
 * multiple of 100 ms. */
static void draw_settings(ky_world *w)
{
    static const int emits[] = { KY_ORACLE_EMIT_END, KY_ORACLE_EMIT_CHANGE, 1, 2, 7 };
    static const char *const sources[] = { "sub", "log", "ack" };
    ky_oracle *o = &w->o;
    int on_gap = below(w, 3), journal = below(w, 6);

    o->emit = emits[below(w, 5)];
    o->log = percent(w, 25) ? KY_ORACLE_LOG_CHANGE : KY_ORACLE_LOG_ALL;
    o->accept_late = below(w, 2);
    o->reset = on_gap == 1;
    o->hold = on_gap == 2;
    o->period = 100;
    o->max_gap = one_of(w, 0, 150, 1000);
    o->max_hold = one_of(w, 1, 3, 10);
    o->max_late = one_of(w, 0, 1000, 5000);
    o->max_ahead = percent(w, 30) ? 0 : 86400000;
    o->end_after = one_of(w, 0, 5017, 10017);
    o->warm_up = one_of(w, 0, 2, 3);
    o->reorder = percent(w, 30) ? 300 : 0;
    w->journal = journal == 0 ? KY_WORLD_NO : journal == 1 ? KY_WORLD_ASYNC : KY_WORLD_SYNC;
    w->n_sources = w->journal == KY_WORLD_NO ? 1 : w->journal == KY_WORLD_ASYNC ? 2 : 3;
    for (int i = 0; i < w->n_sources; i++)
        w->source[i].name = sources[i];
    for (int k = 0; k < STREAMS; k++) {
        w->sender[k].ts_ms = 1000000;
        w->sender[k].by_arrival = k > 0 && percent(w, 20);
    }
}

/* -- the settings' file: those that nothing that is answered hangs on are others at each start --
 */

__attribute__((format(printf, 2, 3))) static void put(ky_world *w, const char *fmt, ...)
{
    size_t len = strlen(w->text);
    va_list args;

    va_start(args, fmt);
    vsnprintf(w->text + len, sizeof(w->text) - len, fmt, args);
    va_end(args);
}

static void put_time(ky_world *w, const char *key, int ms)
{
    if (ms > 0)
        put(w, "%s = %dms\n", key, ms);
    else
        put(w, "%s = never\n", key);
}

/* What is sent is small, and the queues with it: starting is most of the work. */
static void put_sources(ky_world *w)
{
    static const char *const words[] = { "endpoint = ipc://sub",
                                         "type = kafka\nbrokers = b\ntopic = t",
                                         "endpoint = ipc://ack\nsocket = router" };

    for (int i = 0; i < w->n_sources; i++) {
        put(w, "[source:%s]\n%s\nmax_message = 64K\nqueue_size = 256K\n", w->source[i].name,
            words[i]);
        if (i == 0 && w->o.reorder > 0)
            put(w, "reorder = %dms\n", w->o.reorder);
    }
}

static void put_emit(ky_world *w)
{
    if (w->o.emit > 0)
        put(w, "emit = every %d\n", w->o.emit);
    else
        put(w, "emit = %s\n", w->o.emit == KY_ORACLE_EMIT_END ? "end" : "change");
}

static void put_class(ky_world *w, int c)
{
    const ky_oracle_class *g = &w->o.classes[c];

    put(w, "[stream:%s]\nmatch = %s\nmodel = %s", c == 0 ? "life" : "window",
        c == 0 ? "p[0-4]" : "p[5-7]", g->model[0].name);
    if (g->n_models > 1)
        put(w, ", %s", g->model[1].name);
    put(w, "\nlate = %s\non_gap = %s\nmax_hold = %d\nwarm_up = %d\nlog = %s\n",
        w->o.accept_late ? "accept" : "drop",
        w->o.reset  ? "reset"
        : w->o.hold ? "hold"
                    : "keep",
        w->o.max_hold, w->o.warm_up, w->o.log == KY_ORACLE_LOG_ALL ? "all" : "change");
    put_emit(w);
    put_time(w, "period", w->o.period);
    put_time(w, "max_gap", w->o.max_gap);
    put_time(w, "max_late", w->o.max_late);
    put_time(w, "max_ahead", w->o.max_ahead);
    put_time(w, "end_after", w->o.end_after);
    put_time(w, "idle_timeout", one_of(w, 0, 100, 3000));
    put(w, "max_streams = %d\n", one_of(w, 1, 2, 100));
    put(w, "archive = %s\n", w->journal != KY_WORLD_NO && below(w, 2) ? "yes" : "no");
    if (g->window > 0)
        put(w, "memory = window\nwindow = %d\nhop = %d\n", g->window, g->hop);
    for (int i = 0; i < g->n_models; i++)
        put(w, "[model:%s]\nfile = %s\non_swap = %s\n", g->model[i].name,
            ky_inside_file(&w->scene, g->model[i].name), w->at_once[c][i] ? "reset" : "next_start");
}

static void write_settings(ky_world *w)
{
    static const char *const journals[] = { "sync", "async", "no" };

    *w->text = '\0';
    put(w, "[kymod]\njournal = %s\nmax_memory = %s\njournal_file_size = 64K\n",
        journals[w->journal], below(w, 2) ? "16K" : "1G");
    put(w, "max_wave = %d\ncommit_rows = %d\n", one_of(w, 1, 2, 64), one_of(w, 1, 5, 20000));
    put_sources(w);
    put(w, "[publish:out]\n");
    for (int c = 0; c < KY_ORACLE_CLASSES; c++)
        put_class(w, c);
    snprintf(w->ini, sizeof(w->ini), "%s", ky_scene_write(&w->scene, "kymod.ini", w->text));
}

static void start(ky_world *w)
{
    int lanes = one_of(w, 1, 2, 4);

    write_settings(w);
    say(w, "start with %d lanes\n%s", lanes, w->text);
    ky_inside_start(&w->scene, w->ini, lanes);
}

/* -- messages -- */

/* A message as a source gets it. */
typedef struct letter {
    int source;
    uint64_t number;
    ky_oracle_message m;
    bool null; /* Kafka's way to say forget */
    char key[8], text[1600];
} letter;

enum { SUB, LOG, ACK };

static void draw_order(ky_world *w, letter *l, bool *ret_has_seq)
{
    ky_oracle_message *x = &l->m;
    int64_t *ts_ms = &w->sender[x->k].ts_ms, *seq = &w->sender[x->k].seq;
    int how = below(w, 200);

    *ts_ms += how < 150   ? 100
              : how < 160 ? 0
              : how < 180 ? 100 * (1 + below(w, 15)) + below(w, 40)
              : how < 194 ? -below(w, 900)
                          : -2000 - below(w, 6000);
    x->ts_ms = *ts_ms > 0 ? *ts_ms : 0;
    if (how == 199) /* far ahead, perhaps too far */
        x->ts_ms = w->o.wall_ms + (below(w, 2) ? INT64_C(1800000) : INT64_C(259200000));
    x->by_arrival = w->sender[x->k].by_arrival && percent(w, 90);
    if (x->by_arrival)
        x->ts_ms = w->o.wall_ms;
    how = below(w, 100);
    *seq += how < 75   ? 1
            : how < 85 ? 2 + below(w, 4)
            : how < 90 ? 0
            : how < 97 ? -below(w, 6)
            : how < 98 ? 70
                       : -70;
    x->seq = *seq;
    *ret_has_seq = percent(w, 80);
    x->by_number = *ret_has_seq && l->source == SUB;
}

static void draw_sample(ky_world *w, letter *l)
{
    ky_oracle_message *x = &l->m;
    bool has_seq;
    char values[1200];

    draw_order(w, l, &has_seq);
    x->from = percent(w, 6) ? KY_INSIDE_HOT : below(w, 11);
    int how = x->from == KY_INSIDE_HOT ? 100 : below(w, 100); /* that one alone */

    x->to = x->from + (how < 15 ? below(w, 3) : how < 25 ? below(w, LONG) : 0);
    x->start = percent(w, 4);
    x->end = percent(w, 4);
    x->reset = percent(w, 3);
    x->label = percent(w, 5) ? ++w->labels : 0;
    if (l->source != SUB && x->from == x->to && percent(w, 20)) {
        has_seq = true;
        x->seq = x->marks = ++w->marks;
    }
    int len = snprintf(l->text, sizeof(l->text), "{");

    if (l->source == LOG && percent(w, 30))
        snprintf(l->key, sizeof(l->key), "p%d", x->k);
    else
        len += snprintf(l->text + len, sizeof(l->text) - (size_t)len, "\"stream\":\"p%d\",", x->k);
    if (!x->by_arrival)
        len += snprintf(l->text + len, sizeof(l->text) - (size_t)len, "\"ts\":%lld.%03lld,",
                        (long long)x->ts_ms / 1000, (long long)x->ts_ms % 1000);
    if (has_seq)
        len += snprintf(l->text + len, sizeof(l->text) - (size_t)len, "\"seq\":%lld,",
                        (long long)x->seq);
    if (x->label > 0)
        len +=
            snprintf(l->text + len, sizeof(l->text) - (size_t)len, "\"label\":\"L%d\",", x->label);
    ky_inside_x(values, sizeof(values), x->from, x->to);
    snprintf(l->text + len, sizeof(l->text) - (size_t)len, "\"x\":[%s]%s%s%s}", values,
             x->start ? ",\"start\":true" : "", x->end ? ",\"end\":true" : "",
             x->reset ? ",\"reset\":true" : "");
}

/* For a step that was answered, or for none. */
static void draw_label(ky_world *w, letter *l)
{
    l->m.marks = percent(w, 80) ? w->marks - below(w, 20) : NO_MARK;
    for (int i = 0; i < w->o.n_marks; i++)
        if (w->o.marks[i].marks == l->m.marks)
            l->m.k = w->o.marks[i].k;
    l->m.label = ++w->labels;
    snprintf(l->text, sizeof(l->text), "{\"stream\":\"p%d\",\"seq\":%lld,\"label\":\"L%d\"}",
             l->m.k, (long long)l->m.marks, l->m.label);
}

static void draw_forget(ky_world *w, letter *l)
{
    l->null = l->source == LOG && below(w, 2);
    if (l->null)
        snprintf(l->key, sizeof(l->key), "p%d", l->m.k);
    else
        snprintf(l->text, sizeof(l->text), "{\"stream\":\"p%d\",\"forget\":true}", l->m.k);
}

static void draw_garbage(ky_world *w, letter *l)
{
    static const struct {
        const char *text;
        int k; /* whose it says it is */
    } any[] = { { "{\"stream\":\"p0\",\"x\":[1,", 0 },
                { "{\"stream\":\"p1\",\"x\":[[1,2,3]]}", 1 },
                { "{\"stream\":\"p6\",\"x\":[[1,null]]}", 6 },
                { "{\"stream\":\"q\",\"x\":[[1,2]]}", -2 },
                { "{\"stream\":\"p2\",\"label\":\"when\"}", 2 } };
    int i = below(w, sizeof(any) / sizeof(*any));

    l->m.k = any[i].k;
    snprintf(l->text, sizeof(l->text), "%s", any[i].text);
}

/* stamped: of a stream whose samples have a time of their own; the first is one */
static letter draw_letter(ky_world *w, int source, bool stamped)
{
    letter l = { .source = source, .m.k = below(w, STREAMS) };
    int how = below(w, 100);

    while (stamped && w->sender[l.m.k].by_arrival)
        l.m.k--;
    l.m.what = how < 88   ? KY_ORACLE_SAMPLE
               : how < 93 ? KY_ORACLE_LABEL
               : how < 96 ? KY_ORACLE_FORGET
                          : KY_ORACLE_GARBAGE;
    if (l.m.what == KY_ORACLE_SAMPLE)
        draw_sample(w, &l);
    else if (l.m.what == KY_ORACLE_LABEL)
        draw_label(w, &l);
    else if (l.m.what == KY_ORACLE_FORGET)
        draw_forget(w, &l);
    else
        draw_garbage(w, &l);
    l.number = w->source[source].sent += source == LOG ? 1 + (uint64_t)below(w, 2) : 1;
    return l;
}

/* What is on its way has come to rest. */
static void settle(ky_world *w)
{
    if (w->open >= 0)
        ky_inside_turn(0);
    w->open = -1;
}

static void post(ky_world *w, const letter *l)
{
    say(w, "%s %llu %s %s", w->source[l->source].name, (unsigned long long)l->number, l->key,
        l->text);
    ky_inside_put_on(w->source[l->source].name, l->key, l->number, l->null ? NULL : l->text);
    w->open = l->source;
}

/* Two sources have no order between them but the one that they are waited for; and what the reorder
 * buffer finds at once it orders at once. */
static void do_message(ky_world *w)
{
    int source = w->open >= 0 && percent(w, 85) ? w->open : below(w, w->n_sources);

    if (source != w->open)
        settle(w);
    letter l = draw_letter(w, source, false);

    post(w, &l);
    ky_oracle_take(&w->o, &l.m, source == SUB);
    if ((source == SUB && w->o.reorder > 0) || percent(w, 5))
        settle(w);
    else if (percent(w, 25)) /* the next ones come while these are being stepped */
        ky_inside_hear();
}

/* A number that is known, or one too far. */
static void do_repeat(ky_world *w)
{
    int source = below(w, w->n_sources);
    uint64_t sent = w->source[source].sent;

    if (source == SUB || sent == 0)
        return;
    letter l = { .source = source, .number = 1 + (uint64_t)below(w, (int)sent) };

    if (source == ACK && percent(w, 30))
        l.number = sent + 2;
    settle(w);
    snprintf(l.text, sizeof(l.text), "{\"stream\":\"p%d\",\"start\":true,\"x\":[[1,2]]}",
             below(w, STREAMS));
    post(w, &l);
}

/* -- time -- */

static void pass(ky_world *w, int64_t us)
{
    say(w, "pass %lld us", (long long)us);
    ky_inside_turn(us);
    ky_oracle_pass(&w->o, us);
}

/* While messages wait, each thing that is due comes at a time of its own. */
static void do_pass(ky_world *w)
{
    int64_t us = (1 + below(w, percent(w, 50) ? 20 : 120)) * INT64_C(100000);

    settle(w);
    for (int64_t left; w->o.n_waiting > 0 && (left = ky_oracle_left_us(&w->o)) < us; us -= left)
        pass(w, left);
    pass(w, us);
}

static void do_wall(ky_world *w)
{
    int64_t ms = percent(w, 20) ? one_of(w, -1, 1, 1) * INT64_C(3600000) : (below(w, 81) - 40) * 60;

    settle(w);
    say(w, "the time of day is set by %lld ms", (long long)ms);
    ky_inside_step_wall(ms * 1000);
    ky_oracle_step_wall(&w->o, ms);
}

/* -- ends -- */

static void leave(ky_world *w)
{
    settle(w);
    w->leaving();
}

/* What no journal has is to be committed before: that turns the clock, by how much is not ours to
 * say. */
static bool save(ky_world *w)
{
    enum { US = 100000 };
    int64_t before = ky_inside_wall_us(), us;

    if (w->journal != KY_WORLD_NO)
        return true;
    if (w->o.n_waiting > 0 || ky_oracle_left_us(&w->o) < INT64_C(3600000000))
        return false;
    ky_inside_commit();
    us = ky_inside_wall_us() - before;
    ky_inside_turn(US - us % US);
    ky_oracle_pass(&w->o, us + US - us % US);
    return true;
}

/* While the daemon is stopped: what it finds takes over. Not at the beginning: the very first
 * version is only known when it is committed. */
static void change_file(ky_world *w)
{
    int c = below(w, KY_ORACLE_CLASSES), i = below(w, w->o.classes[c].n_models);

    if (percent(w, 75) || w->o.now_us < 1000000)
        return;
    say(w, "another file of %s%s", w->o.classes[c].model[i].name,
        w->at_once[c][i] ? ", at once" : "");
    ky_oracle_swap(&w->o, c, i, make_model(w, &w->o.classes[c], w->o.classes[c].model[i].name),
                   w->at_once[c][i]);
}

static void do_again(ky_world *w)
{
    leave(w);
    bool kill = below(w, 2) && save(w);

    say(w, kill ? "kill" : "stop");
    if (kill)
        ky_inside_kill();
    else
        ky_inside_stop();
    ky_oracle_stop(&w->o, kill);
    w->killed |= kill;
    change_file(w);
    start(w);
}

/* The process dies while it writes, perhaps a second time while it recovers; the sender sends all
 * again that it has no answer to. Arrivals would be others then, or of another run. */
static void do_fall(ky_world *w)
{
    static letter burst[BURST];
    int n = 1 + below(w, BURST);

    if (w->n_sources == 1)
        return;
    int source = 1 + below(w, w->n_sources - 1);

    leave(w);
    say(w, "fall");
    ky_inside_doom(1 + below(w, 30));
    for (int i = 0; i < n; i++) {
        burst[i] = draw_letter(w, source, true);
        post(w, &burst[i]);
    }
    settle(w);
    if (ky_oracle_left_us(&w->o) > 100000)
        pass(w, 100000);
    ky_inside_kill();
    ky_oracle_stop(&w->o, true);
    w->killed = true;
    if (percent(w, 40)) {
        say(w, "fall again");
        ky_inside_doom(1 + below(w, 30));
        start(w);
        ky_inside_kill();
    }
    start(w);
    for (int i = 0; i < n; i++) {
        post(w, &burst[i]);
        ky_oracle_take(&w->o, &burst[i].m, false);
    }
}

/* Another version takes over: at each stream's next start, or at once. */
static void swap(ky_world *w)
{
    int c = below(w, KY_ORACLE_CLASSES), i = below(w, w->o.classes[c].n_models);
    bool reset = percent(w, 60);

    settle(w);
    ky_inside_model *m = make_model(w, &w->o.classes[c], "next");

    say(w, "swap %s%s", w->o.classes[c].model[i].name, reset ? " at once" : "");
    ky_inside_swap(w->o.classes[c].model[i].name, ky_inside_file(&w->scene, "next"), reset);
    ky_oracle_swap(&w->o, c, i, m, reset);
}

/* Perhaps two, and a start in between that finds what the first did to whom. */
static void do_swap(ky_world *w)
{
    swap(w);
    if (percent(w, 70))
        return;
    do_again(w);
    swap(w);
}

/* -- all of it -- */

void ky_world_begin(ky_world *w, uint64_t seed, void (*leaving)(void))
{
    enum { WALL_S = 1800000000 };

    *w = (ky_world){ .open = -1, .marks = NO_MARK, .leaving = leaving };
    ky_rng_seed(&w->rng, seed);
    ky_scene_open(&w->scene, "random");
    ky_oracle_init(&w->o);
    w->o.wall_ms = WALL_S * INT64_C(1000);
    draw_models(w);
    draw_settings(w);
    ky_inside_set_clock(WALL_S * INT64_C(1000000));
    start(w);
}

void ky_world_step(ky_world *w)
{
    static const struct {
        int percent;
        void (*fn)(ky_world *w);
    } all[] = { { 82, do_message }, { 1, do_repeat }, { 9, do_pass }, { 2, do_swap },
                { 2, do_wall },     { 2, do_again },  { 2, do_fall } };
    int i = 0;

    for (int what = below(w, 100); what >= all[i].percent; i++)
        what -= all[i].percent;
    all[i].fn(w);
}

/* A label brings a stream into memory: what was done to all while it was not is done to it. */
static void wake_all(ky_world *w)
{
    int source = w->n_sources - 1;

    settle(w);
    for (int k = 0; k < STREAMS; k++) {
        letter l = { .source = source };

        if (!w->o.s[k].known)
            continue;
        l.number = ++w->source[source].sent;
        l.m = (ky_oracle_message){ .what = KY_ORACLE_LABEL, .k = k, .label = ++w->labels };
        snprintf(l.text, sizeof(l.text), "{\"stream\":\"p%d\",\"seq\":%d,\"label\":\"L%d\"}", k,
                 NO_MARK, l.m.label);
        post(w, &l);
        ky_oracle_take(&w->o, &l.m, source == SUB);
    }
}

void ky_world_end(ky_world *w)
{
    wake_all(w);
    leave(w);
    ky_inside_stop();
    ky_oracle_stop(&w->o, false);
    ky_oracle_close(&w->o);
}

void ky_world_done(ky_world *w)
{
    for (int i = 0; i < w->n_made; i++)
        ky_inside_model_free(w->made[i]);
    ky_scene_close(&w->scene);
}
