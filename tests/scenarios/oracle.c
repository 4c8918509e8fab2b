#include "tests/scenarios/oracle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/sample.h"

static ky_oracle_class *class_of(ky_oracle *o, int k)
{
    return &o->classes[k < KY_ORACLE_FIRST ? 0 : 1];
}

__attribute__((format(printf, 2, 3))) static void add_row(ky_oracle *o, const char *fmt, ...)
{
    va_list args;

    KY_WANT(o->n_rows < KY_ORACLE_MOST, "too many rows");
    va_start(args, fmt);
    vsnprintf(o->rows[o->n_rows++].text, sizeof(ky_oracle_row), fmt, args);
    va_end(args);
}

static void add_gap(ky_oracle *o, int k, int n, const char *what)
{
    add_row(o, "p%d %d gap %s", k, n, what);
}

static bool was_seen(const ky_oracle_stream *s, int64_t seq)
{
    for (int i = 0; i < s->n_seen; i++)
        if (s->seen[i] == seq)
            return true;
    return false;
}

enum order { IN_ORDER, AFTER_GAP, SEEN, LATE, ANEW };

static enum order order_of(const ky_oracle *o, const ky_oracle_stream *s, const ky_oracle_sample *x)
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
    return o->max_late > 0 && s->ts_ms - x->ts_ms > o->max_late ? IN_ORDER : LATE;
}

/* How many samples are to be filled in before this one. */
static int filled(const ky_oracle *o, const ky_oracle_stream *s, const ky_oracle_sample *x,
                  bool late, bool silent)
{
    int64_t n = 0;

    if (!o->hold || s->held < 0 || s->ended || x->start || x->reset || late)
        return 0;
    if (x->by_number && s->high != KY_NONE && x->seq > s->high)
        n = x->seq - s->high - 1;
    if (n == 0 && silent)
        n = (x->ts_ms - s->ts_ms + o->period / 2) / o->period - 1;
    return n <= o->max_hold ? (int)n : 0;
}

/* The state is zeros. */
static void zero(ky_oracle_memory *d, int n, bool cut)
{
    d->n_values = 0;
    d->zero_n = n + 1;
    d->cut = cut;
}

/* All that the stream remembers is, under the versions in force. */
static void begin(ky_oracle *o, int k, bool cut)
{
    const ky_oracle_class *g = class_of(o, k);

    for (int i = 0; i < g->n_models; i++) {
        ky_oracle_memory *d = &o->s[k].of[i];

        zero(d, o->s[k].n, cut);
        d->last_n = 0;
        d->m = g->model[i].m;
        d->version = g->model[i].version;
    }
}

/* The step that the last value made ran away: it is as if that had not come, but for its number. */
static void undo(ky_oracle *o, ky_oracle_memory *d, int n)
{
    bool first = d->undone == 0 || d->undone_n != n - 1 || d->undone_from < d->zero_n;

    d->n_values--;
    d->undone++;
    d->undone_n = n;
    d->undone_from = first ? n : d->undone_from;
    o->undone++;
    if (n - d->undone_from + 1 < KY_ORACLE_GIVE_UP)
        return;
    zero(d, n, true);
    o->given_up++;
}

static void publish(ky_oracle *o, int k, int i, int n)
{
    KY_WANT(o->n_told < KY_ORACLE_MOST, "too many rows");
    snprintf(o->told[o->n_told++].text, sizeof(ky_oracle_row), "p%d %d %s", k, n,
             class_of(o, k)->model[i].name);
}

/* An answer is there. */
static void tell(ky_oracle *o, int k, int i)
{
    ky_oracle_memory *d = &o->s[k].of[i];

    d->last_n = o->s[k].n;
    if (o->emit == 0 || ++d->unsaid < o->emit)
        return;
    d->unsaid = 0;
    publish(o, k, i, o->s[k].n);
}

/* The sequence is over. */
static void tell_last(ky_oracle *o, int k)
{
    for (int i = 0; i < KY_ORACLE_MODELS; i++) {
        if (o->emit == 0 && o->s[k].of[i].last_n > 0)
            publish(o, k, i, o->s[k].of[i].last_n);
        o->s[k].of[i].last_n = 0;
    }
}

/* A step under every model; `first`: what the answer says of itself if that comes before all else,
 * "": no answers are given. */
static void step(ky_oracle *o, int k, int value, const char *first)
{
    const ky_oracle_class *g = class_of(o, k);
    ky_oracle_stream *s = &o->s[k];
    char hex[KY_INSIDE_HEX];

    s->n++;
    for (int i = 0; i < g->n_models; i++) {
        ky_oracle_memory *d = &s->of[i];

        KY_WANT(d->n_values < KY_ORACLE_MOST, "too many values");
        d->values[d->n_values++] = value;
        if (!ky_inside_step(d->m, d->values, d->n_values, hex)) {
            undo(o, d, s->n);
            continue;
        }
        if (*hex == '\0' || (first != NULL && *first == '\0'))
            continue;
        add_row(o, "p%d %d %s@%d %s %s", k, s->n, g->model[i].name, d->version,
                first != NULL                   ? first
                : s->n - d->zero_n < o->warm_up ? "warming"
                : d->cut                        ? "truncated"
                                                : "ok",
                hex);
        o->answers++;
        tell(o, k, i);
    }
}

static void take_number(ky_oracle_stream *s, const ky_oracle_sample *x, enum order is)
{
    if (is == ANEW)
        s->n_seen = 0;
    s->seen[s->n_seen++] = x->seq;
    if (s->high == KY_NONE || x->seq > s->high || is == ANEW)
        s->high = x->seq;
}

void ky_oracle_init(ky_oracle *o)
{
    *o = (ky_oracle){ 0 };
    for (int k = 0; k < KY_ORACLE_STREAMS; k++)
        o->s[k] =
            (ky_oracle_stream){ .ended = true, .ts_ms = KY_NONE, .high = KY_NONE, .held = -1 };
}

void ky_oracle_take(ky_oracle *o, const ky_oracle_sample *x)
{
    ky_oracle_stream *s = &o->s[x->k];
    enum order is = order_of(o, s, x);
    bool late = is == LATE;

    if (is == SEEN)
        return;
    if (late && !o->accept_late) {
        o->rejects++;
        return;
    }
    s->known = true;

    bool fresh = s->ended || x->start || x->reset;
    bool silent = !fresh && !late && o->max_gap > 0 && x->ts_ms - s->ts_ms > o->max_gap;
    bool gap = silent || is == AFTER_GAP;
    int fill = filled(o, s, x, late, silent);
    bool reset = (silent && o->reset) || (gap && !fresh && o->hold && fill == 0);

    if (gap)
        add_gap(o, x->k, s->n + fill + 1, reset ? "reset" : fill > 0 ? "held" : "kept");
    if (fresh || reset)
        begin(o, x->k, reset);
    for (int i = 0; i < fill; i++)
        step(o, x->k, s->held, "");
    for (int v = x->from; v <= x->to; v++)
        step(o, x->k, v, late ? "late" : gap && v == x->from ? "gap" : NULL);
    if (x->by_number)
        take_number(s, x, is);
    if (!late)
        s->ts_ms = x->ts_ms;
    s->held = x->to;
    s->ended = x->end;
    if (x->end)
        tell_last(o, x->k);
    s->heard_us = o->now_us;
}

void ky_oracle_silence(ky_oracle *o)
{
    for (int k = 0; k < KY_ORACLE_STREAMS; k++) {
        ky_oracle_stream *s = &o->s[k];

        if (!s->known || s->ended || o->end_after == 0 ||
            o->now_us - s->heard_us < o->end_after * INT64_C(1000))
            continue;
        add_gap(o, k, s->n + 1, "ended");
        s->ended = true;
        tell_last(o, k);
    }
}

void ky_oracle_forget(ky_oracle *o, int k)
{
    ky_oracle_stream *s = &o->s[k];

    if (!s->known) {
        o->rejects++;
        return;
    }
    add_gap(o, k, s->n + 1, "forgotten");
    begin(o, k, false);
    for (int i = 0; i < KY_ORACLE_MODELS; i++)
        s->of[i].undone = s->of[i].unsaid = 0;
    s->ended = true;
    s->ts_ms = s->high = KY_NONE;
    s->n_seen = 0;
    s->held = -1;
}

void ky_oracle_swap(ky_oracle *o, int c, int i, ky_inside_model *m, bool reset)
{
    ky_oracle_class *g = &o->classes[c];

    g->model[i].m = m;
    g->model[i].version++;
    o->swaps++;
    for (int k = 0; reset && k < KY_ORACLE_STREAMS; k++) {
        ky_oracle_stream *s = &o->s[k];
        ky_oracle_memory *d = &s->of[i];

        if (class_of(o, k) != g || !s->known)
            continue;
        zero(d, s->n, !s->ended);
        d->m = m;
        d->version = g->model[i].version;
    }
}

static int compare_rows(const void *a, const void *b)
{
    return strcmp(((const ky_oracle_row *)a)->text, ((const ky_oracle_row *)b)->text);
}

void ky_oracle_sort(ky_oracle_row *rows, int n)
{
    qsort(rows, (size_t)n, sizeof(*rows), compare_rows);
}

void ky_oracle_close(ky_oracle *o)
{
    for (int k = 0; k < KY_ORACLE_STREAMS; k++)
        for (int i = 0; o->s[k].known && i < class_of(o, k)->n_models; i++) {
            const ky_oracle_memory *d = &o->s[k].of[i];

            add_row(o, "p%d is at %d of %s@%d, zeros %d ago, %d undone", k, o->s[k].n,
                    class_of(o, k)->model[i].name, d->version, o->s[k].n - d->zero_n + 1,
                    d->undone);
        }
    add_row(o, "%d rejects", o->rejects);
    ky_oracle_sort(o->rows, o->n_rows);
    ky_oracle_sort(o->told, o->n_told);
}
