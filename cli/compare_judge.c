/* What the figures mean: which of two models is better for certain, and what memory has bought. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"

/* -- figures -- */

bool ky_compare_better(const ky_comparison *c, double a, double b, double by)
{
    return c->task->less_is_better ? a < b - by : a > b + by;
}

static double mean_of(const double *v, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += v[i];
    return sum / n;
}

/*
 * The error of the mean has two parts that add as squares. Training again with another seed gives
 * another figure: s^2/n of n seeds, s^2 with n - 1 below. And other test rows would have given
 * another: the mean over seeds of the square of what their intervals say.
 */
static void work_out(ky_entry *e)
{
    double squares = 0;

    e->mean = mean_of(e->figure, e->runs);
    e->second_mean = mean_of(e->second, e->runs);
    for (int i = 0; i < e->runs; i++)
        squares += (e->figure[i] - e->mean) * (e->figure[i] - e->mean);
    e->seed_error = e->runs > 1 ? sqrt(squares / (e->runs - 1) / e->runs) : 0;
    e->row_error = sqrt(mean_of(e->row_variance, e->runs));
    e->error = hypot(e->seed_error, e->row_error);
}

/* Share of the test rows that are of the most frequent class. */
static double commonest(const ky_comparison *c)
{
    const ky_dataset *d = &c->test.set;
    int most = 0;

    if (c->task->truth != KY_OF_CLASSES)
        return NAN;
    for (int k = 0; k < d->C; k++) {
        int n = 0;

        for (int i = 0; i < d->N; i++)
            n += d->y[i] == k;
        most = n > most ? n : most;
    }
    return (double)most / d->N;
}

/* The one with the better mean; the simpler of equals, which comes first. */
static const ky_entry *better_of(const ky_comparison *c, const ky_entry *a, const ky_entry *b)
{
    return a == NULL || ky_compare_better(c, b->mean, a->mean, 0) ? b : a;
}

void ky_compare_judge(ky_comparison *c)
{
    for (int i = 0; i < c->n; i++) {
        ky_entry *e = &c->entry[i];

        if (e->runs == 0)
            continue;
        work_out(e);
        c->best = better_of(c, c->best, e);
        if (e->c->sees == KY_SEES_ORDER)
            c->memory = better_of(c, c->memory, e);
        else
            c->plain = better_of(c, c->plain, e);
    }
    for (int i = 0; c->recommended == NULL && i < c->n; i++)
        if (c->entry[i].runs > 0 &&
            !ky_compare_better(c, c->best->mean, c->entry[i].mean, c->best->error))
            c->recommended = &c->entry[i];
    c->commonest = commonest(c);
}

/* -- words -- */

typedef struct text {
    char *s;
    size_t len;
    bool failed;
} text;

static void say(text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(text *t, const char *fmt, ...)
{
    va_list args;
    char *more;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    more = n >= 0 ? realloc(t->s, t->len + (size_t)n + 1) : NULL;
    if (more == NULL) {
        t->failed = true;
        return;
    }
    t->s = more;
    va_start(args, fmt);
    vsnprintf(t->s + t->len, (size_t)n + 1, fmt, args);
    va_end(args);
    t->len += (size_t)n;
}

ky_compare_text ky_compare_estimate(const ky_comparison *c, double value, double error)
{
    ky_compare_text t;

    snprintf(t.s, sizeof t.s, c->task->truth == KY_OF_NUMBERS ? "%.4g +- %.2g" : "%.3f +- %.3f",
             value, error);
    return t;
}

static bool is_simplest(const ky_comparison *c, const ky_entry *e)
{
    for (const ky_entry *o = c->entry; o < e; o++)
        if (o->runs > 0)
            return false;
    return true;
}

/* Why this one. */
static void say_choice(text *t, const ky_comparison *c)
{
    const ky_entry *r = c->recommended, *b = c->best;

    say(t, "Recommended: %s. ", r->c->title);
    if (r == b)
        say(t, "It has the best %s (%s), and %s.\n", ky_figure_title(c->task->figure),
            ky_compare_estimate(c, b->mean, b->error).s,
            is_simplest(c, r) ? "is the simplest of all"
                              : "nothing simpler comes within one standard error of it");
    else
        say(t,
            "%s has the best %s (%s), but %s (%s) is simpler and within one standard error of it: "
            "the difference may well be chance.\n",
            b->c->title, ky_figure_title(c->task->figure),
            ky_compare_estimate(c, b->mean, b->error).s, r->c->title,
            ky_compare_estimate(c, r->mean, r->error).s);
}

/* The one without memory that sees most at once. */
static const ky_entry *sees_shapes(const ky_comparison *c)
{
    for (int i = 0; i < c->n; i++)
        if (c->entry[i].runs > 0 && c->entry[i].c->sees == KY_SEES_SHAPES && c->entry[i].reach > 1)
            return &c->entry[i];
    return NULL;
}

/* Where memory has gained more than chance would. */
static void say_why_memory(text *t, const ky_comparison *c)
{
    const ky_entry *s = sees_shapes(c);

    if (s != NULL)
        say(t,
            "That is more than chance: %s sees %d %ss at once and forgets where they stood; what "
            "decides here lies further apart, or is the order of things.\n",
            s->c->title, s->reach, c->kind->step);
    else
        say(t, "That is more than chance: what decides here is the order of things.\n");
}

/* What the models with memory have gained over those without. */
static void say_memory(text *t, const ky_comparison *c)
{
    const ky_entry *p = c->plain, *m = c->memory;
    double gain, error;

    if (p == NULL || m == NULL)
        return;
    gain = c->task->less_is_better ? p->mean - m->mean : m->mean - p->mean;
    error = hypot(p->error, m->error);
    say(t, "What memory buys: %s of %s, from the best without (%s) to the best with it (%s). ",
        ky_compare_estimate(c, gain, error).s, ky_figure_title(c->task->figure), p->c->title,
        m->c->title);
    if (gain > 2 * error) {
        say_why_memory(t, c);
        return;
    }
    say(t, "%s: %s.\n",
        gain < -2 * error ? "It costs more than it brings here"
                          : "That is within the error, so memory gains little here",
        p->c->sees == KY_SEES_VALUES ? c->kind->values : c->kind->shapes);
}

/* Another that is worth as much within one standard error of the best, and serves streams for less
 * than half: of multiply-adds and of bytes. */
static const ky_entry *cheaper(const ky_comparison *c)
{
    const ky_entry *r = c->recommended, *found = NULL;

    for (int i = 0; i < c->n; i++) {
        const ky_entry *e = &c->entry[i];

        if (e->runs > 0 && 2 * e->macs < r->macs && 2 * e->state_bytes < r->state_bytes &&
            !ky_compare_better(c, c->best->mean, e->mean, c->best->error) &&
            (found == NULL || e->macs < found->macs))
            found = e;
    }
    return found;
}

static void say_cost(text *t, const ky_comparison *c)
{
    const ky_entry *r = c->recommended, *o = cheaper(c);

    if (o != NULL && c->kind->step != NULL)
        say(t,
            "Where many streams are served: %s is within one standard error of the best, too, and "
            "takes %.0f times fewer multiply-adds a %s and %.0f times less memory a stream.\n",
            o->c->title, (double)r->macs / (double)o->macs, c->kind->step,
            (double)r->state_bytes / (double)o->state_bytes);
}

/* The models that would have gone on learning. */
static void say_unfinished(text *t, const ky_comparison *c)
{
    int n = 0;

    for (int i = 0; i < c->n; i++)
        if (2 * c->entry[i].unfinished > c->entry[i].runs)
            say(t, "%s%s",
                n++ == 0 ? "Careful: when their budget was used up, these were still "
                           "getting better: "
                         : ", ",
                c->entry[i].c->title);
    if (n > 0)
        say(t, ". %s gives all of them more.\n", c->seconds > 0 ? "--seconds" : "--epochs");
}

/* What an interrupt has left undone. */
static void say_interrupted(text *t, const ky_comparison *c)
{
    int runs = 0, wanted = 0;

    for (int i = 0; i < c->n; i++)
        if (c->entry[i].left_out.code == 0) {
            runs += c->entry[i].runs;
            wanted += c->seeds;
        }
    say(t, "Careful: this was interrupted after %d of %d trainings.\n", runs, wanted);
}

/* What should make one doubt all this. */
static void say_doubts(text *t, const ky_comparison *c)
{
    const ky_entry *b = c->best;

    if (c->interrupted)
        say_interrupted(t, c);
    if (!isnan(c->commonest) && b->mean - 2 * b->error <= c->commonest)
        say(t,
            "Careful: none is better for certain than always naming the most frequent class "
            "(%.3f). Either the rows do not tell the classes apart, or the models have not learned "
            "long enough (--epochs, --lr).\n",
            c->commonest);
    say_unfinished(t, c);
}

char *ky_compare_words(const ky_comparison *c)
{
    text t = { .s = NULL };

    say(&t, "%s", "");
    if (c->recommended != NULL) {
        say_choice(&t, c);
        say_memory(&t, c);
        say_cost(&t, c);
        say_doubts(&t, c);
    }
    if (t.failed) {
        free(t.s);
        return NULL;
    }
    return t.s;
}
