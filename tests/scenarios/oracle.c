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

static enum order order_of(const ky_oracle *o, const ky_oracle_stream *s,
                           const ky_oracle_message *x)
{
    if (x->by_number) {
        if (s->high == KY_NONE || x->seq == s->high + 1)
            return IN_ORDER;
        if (x->seq > s->high)
            return AFTER_GAP;
        return s->high - x->seq >= 64 ? ANEW : was_seen(s, x->seq) ? SEEN : LATE;
    }
    if (x->by_arrival || s->ts_ms == KY_NONE || s->ended || x->start || x->ts_ms >= s->ts_ms)
        return IN_ORDER;
    return o->max_late > 0 && s->ts_ms - x->ts_ms > o->max_late ? IN_ORDER : LATE;
}

/* How many samples are to be filled in before this one. */
static int filled(const ky_oracle *o, const ky_oracle_stream *s, const ky_oracle_message *x,
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
static void tell(ky_oracle *o, int k, int i, bool changed)
{
    ky_oracle_memory *d = &o->s[k].of[i];
    bool due = o->emit == KY_ORACLE_EMIT_CHANGE ? changed : o->emit > 0 && ++d->unsaid >= o->emit;

    d->last_n = o->s[k].n;
    if (!due)
        return;
    d->unsaid = 0;
    publish(o, k, i, o->s[k].n);
}

/* The sequence is over. */
static void tell_last(ky_oracle *o, int k)
{
    for (int i = 0; i < KY_ORACLE_MODELS; i++) {
        if (o->emit == KY_ORACLE_EMIT_END && o->s[k].of[i].last_n > 0)
            publish(o, k, i, o->s[k].of[i].last_n);
        o->s[k].of[i].last_n = 0;
    }
}

/* A step under every model; `first`: what the answer says of itself if that comes before all else,
 * "": no answers are given. Whether any answer is in the log. */
static bool step(ky_oracle *o, int k, int value, const char *first)
{
    const ky_oracle_class *g = class_of(o, k);
    ky_oracle_stream *s = &o->s[k];
    char hex[KY_INSIDE_HEX];
    bool any = false;
    int best;

    s->n++;
    for (int i = 0; i < g->n_models; i++) {
        ky_oracle_memory *d = &s->of[i];

        KY_WANT(d->n_values < KY_ORACLE_MOST, "too many values");
        d->values[d->n_values++] = value;
        if (!ky_inside_step(d->m, d->values, d->n_values, hex, &best)) {
            undo(o, d, s->n);
            continue;
        }
        if (*hex == '\0' || (first != NULL && *first == '\0'))
            continue;
        bool logged = o->log == KY_ORACLE_LOG_ALL || best != d->best;

        if (logged)
            add_row(o, "p%d %d %s@%d %s %s", k, s->n, g->model[i].name, d->version,
                    first != NULL                   ? first
                    : s->n - d->zero_n < o->warm_up ? "warming"
                    : d->cut                        ? "truncated"
                                                    : "ok",
                    hex);
        any |= logged;
        o->answers++;
        tell(o, k, i, best != d->best);
        d->best = best;
    }
    return any;
}

/* A later label for the same step is in the place of the one before. */
static void add_label(ky_oracle *o, int k, int n, int label)
{
    int i = 0;

    while (i < o->n_labels && (n == 0 || o->labels[i].k != k || o->labels[i].n != n))
        i++;
    KY_WANT(i < KY_ORACLE_MOST, "too many labels");
    o->n_labels += i == o->n_labels;
    o->labels[i] = (ky_oracle_label){ .k = k, .n = n, .label = label };
}

static void take_number(ky_oracle_stream *s, const ky_oracle_message *x, enum order is)
{
    if (is == ANEW)
        s->n_seen = 0;
    s->seen[s->n_seen++] = x->seq;
    if (s->high == KY_NONE || x->seq > s->high || is == ANEW)
        s->high = x->seq;
}

void ky_oracle_init(ky_oracle *o)
{
    *o = (ky_oracle){ .era = 1 };
    for (int k = 0; k < KY_ORACLE_STREAMS; k++) {
        o->s[k] =
            (ky_oracle_stream){ .ended = true, .ts_ms = KY_NONE, .high = KY_NONE, .held = -1 };
        for (int i = 0; i < KY_ORACLE_MODELS; i++)
            o->s[k].of[i].best = -1;
    }
}

/* The time of day was set: the silence between arrivals before and after is not known. */
static void look_at_clock(ky_oracle *o)
{
    enum { STEP_MS = 100 };

    o->era += o->stepped_ms >= STEP_MS || o->stepped_ms <= -STEP_MS;
    o->stepped_ms = 0;
}

static void take_sample(ky_oracle *o, const ky_oracle_message *x)
{
    ky_oracle_stream *s = &o->s[x->k];
    enum order is = order_of(o, s, x);
    bool late = is == LATE, logged = false;

    if (x->by_arrival)
        look_at_clock(o);
    if (!x->by_arrival && o->max_ahead > 0 && x->ts_ms - o->wall_ms > o->max_ahead) {
        o->rejects++;
        return;
    }
    if (is == SEEN)
        return;
    if (late && !o->accept_late) {
        o->rejects++;
        return;
    }
    s->known = true;

    bool fresh = s->ended || x->start || x->reset;
    bool silent = !fresh && !late && o->max_gap > 0 && x->ts_ms - s->ts_ms > o->max_gap &&
                  !(x->by_arrival && s->era != o->era);
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
        logged = step(o, x->k, v, late ? "late" : gap && v == x->from ? "gap" : NULL);
    if (x->label > 0)
        add_label(o, x->k, s->n, x->label);
    if (x->marks > 0 && logged)
        o->marks[o->n_marks++] = (ky_oracle_label){ .k = x->k, .n = s->n, .marks = x->marks };
    if (x->by_number)
        take_number(s, x, is);
    if (!late)
        s->ts_ms = x->ts_ms;
    s->held = x->to;
    s->ended = x->end;
    if (x->end)
        tell_last(o, x->k);
    s->heard_us = o->now_us;
    s->era = o->era;
}

static void take_label(ky_oracle *o, const ky_oracle_message *x)
{
    int n = 0;

    for (int i = 0; i < o->n_marks; i++)
        if (o->marks[i].k == x->k && o->marks[i].marks == x->marks)
            n = o->marks[i].n;
    add_label(o, x->k, n, x->label);
}

static void forget(ky_oracle *o, int k)
{
    ky_oracle_stream *s = &o->s[k];

    add_gap(o, k, s->n + 1, "forgotten");
    begin(o, k, false);
    for (int i = 0; i < KY_ORACLE_MODELS; i++) {
        s->of[i].undone = s->of[i].unsaid = 0;
        s->of[i].best = -1;
    }
    s->ended = true;
    s->ts_ms = s->high = KY_NONE;
    s->n_seen = 0;
    s->held = -1;
}

static void take(ky_oracle *o, const ky_oracle_message *x)
{
    if (x->what == KY_ORACLE_SAMPLE)
        take_sample(o, x);
    else if (x->what == KY_ORACLE_GARBAGE || !o->s[x->k].known)
        o->rejects++;
    else if (x->what == KY_ORACLE_LABEL)
        take_label(o, x);
    else
        forget(o, x->k);
}

/* -- messages that may be overtaken -- */

/* The next one before the i-th of the same stream, -1. */
static int before(const ky_oracle *o, int i)
{
    int k = o->waiting[i--].m.k;

    while (i >= 0 && o->waiting[i].m.k != k)
        i--;
    return i;
}

/* The last one passes those of its stream that have a later time and are not due. Places have their
 * times to go; who is passed keeps his own. */
static void overtake(ky_oracle *o)
{
    int i = o->n_waiting - 1;

    for (int b; (b = before(o, i)) >= 0; i = b) {
        ky_oracle_waiting *x = &o->waiting[i], *other = &o->waiting[b];
        ky_oracle_message m = x->m;

        if (m.what != KY_ORACLE_SAMPLE || other->m.what != KY_ORACLE_SAMPLE ||
            m.ts_ms >= other->m.ts_ms || other->due_us <= o->now_us)
            return;
        *x = *other;
        other->m = m;
    }
}

/* Whether the first is so much older than the last of its stream that none can come between. */
static bool first_is_past(const ky_oracle *o)
{
    const ky_oracle_message *first = &o->waiting[0].m, *last = first;

    for (int i = 1; i < o->n_waiting; i++)
        if (o->waiting[i].m.k == first->k)
            last = &o->waiting[i].m;
    return first->what == KY_ORACLE_SAMPLE && last->what == KY_ORACLE_SAMPLE &&
           last->ts_ms - first->ts_ms >= o->reorder;
}

static void take_waiting(ky_oracle *o, bool all)
{
    while (o->n_waiting > 0 && (all || o->waiting[0].due_us <= o->now_us || first_is_past(o))) {
        ky_oracle_message m = o->waiting[0].m;

        o->n_waiting--;
        memmove(o->waiting, o->waiting + 1, (size_t)o->n_waiting * sizeof(*o->waiting));
        take(o, &m);
    }
}

void ky_oracle_take(ky_oracle *o, const ky_oracle_message *x, bool waits)
{
    if (!waits || o->reorder == 0) {
        take(o, x);
        return;
    }
    KY_WANT(o->n_waiting < KY_ORACLE_MOST, "too many messages");
    o->waiting[o->n_waiting++] = (ky_oracle_waiting){ *x, o->now_us + o->reorder * INT64_C(1000) };
    overtake(o);
    take_waiting(o, false);
}

/* -- time -- */

static int64_t silence_left_us(const ky_oracle *o, const ky_oracle_stream *s)
{
    return s->known && !s->ended && o->end_after > 0
               ? s->heard_us + o->end_after * INT64_C(1000) - o->now_us
               : INT64_MAX;
}

int64_t ky_oracle_left_us(const ky_oracle *o)
{
    int64_t left = o->n_waiting > 0 ? o->waiting[0].due_us - o->now_us : INT64_MAX;

    for (int k = 0; k < KY_ORACLE_STREAMS; k++) {
        int64_t silent = silence_left_us(o, &o->s[k]);

        left = silent < left ? silent : left;
    }
    return left;
}

void ky_oracle_pass(ky_oracle *o, int64_t us)
{
    o->now_us += us;
    o->wall_ms += us / 1000;
    take_waiting(o, false);
    for (int k = 0; k < KY_ORACLE_STREAMS; k++) {
        if (silence_left_us(o, &o->s[k]) > 0)
            continue;
        add_gap(o, k, o->s[k].n + 1, "ended");
        o->s[k].ended = true;
        tell_last(o, k);
    }
}

void ky_oracle_step_wall(ky_oracle *o, int64_t ms)
{
    o->wall_ms += ms;
    o->stepped_ms += ms;
}

void ky_oracle_stop(ky_oracle *o, bool killed)
{
    if (killed)
        o->n_waiting = 0;
    take_waiting(o, true);
    o->era++;
    o->stepped_ms = 0;
    for (int k = 0; k < KY_ORACLE_STREAMS; k++)
        o->s[k].heard_us = o->now_us;
}

/* -- versions -- */

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
    for (int i = 0; i < o->n_labels; i++)
        add_row(o, "p%d %d label L%d", o->labels[i].k, o->labels[i].n, o->labels[i].label);
    add_row(o, "%d rejects", o->rejects);
    ky_oracle_sort(o->rows, o->n_rows);
    ky_oracle_sort(o->told, o->n_told);
}
