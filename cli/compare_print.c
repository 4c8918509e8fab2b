/* The comparison as a table for people, and as JSON for programs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"

/* -- for people -- */

/* 27,968 */
struct grouped {
    char s[32];
};

static struct grouped grouped(size_t n)
{
    struct grouped g;
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%zu", n), at = 0;

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            g.s[at++] = ',';
        g.s[at++] = digits[i];
    }
    g.s[at] = '\0';
    return g;
}

/* A paragraph, broken at blanks before column 80. */
static void print_wrapped(const char *s, size_t len)
{
    enum { WIDTH = 79 };

    while (len > WIDTH) {
        size_t cut = WIDTH;

        while (cut > 0 && s[cut] != ' ')
            cut--;
        if (cut == 0)
            break;
        printf("%.*s\n", (int)cut, s);
        s += cut + 1;
        len -= cut + 1;
    }
    printf("%.*s\n", (int)len, s);
}

static void print_paragraphs(const char *s)
{
    for (const char *end; (end = strchr(s, '\n')) != NULL; s = end + 1)
        print_wrapped(s, (size_t)(end - s));
}

static ky_compare_text budget_of(const ky_comparison *c)
{
    ky_compare_text t;

    if (c->seconds > 0)
        snprintf(t.s, sizeof t.s, "%g s each on this machine", c->seconds);
    else
        snprintf(t.s, sizeof t.s, "%d epochs or until %d have not lowered the validation loss",
                 (int)c->base.epochs, (int)c->base.patience);
    return t;
}

static void print_heading(const ky_comparison *c)
{
    const ky_training *b = &c->base;
    char t[480];

    snprintf(t, sizeof t, "%s: %d rows of %s (%s) to learn from, %d %s to score; %d seed%s a model",
             c->train.what, c->train.set.N,
             ky_data_shape(c->train.rows->rank - 1, c->train.rows->dims + 1).text, c->kind->name,
             c->test.set.N, c->test_part ? "of the test part" : "held out of the same part",
             c->seeds, c->seeds > 1 ? "s" : "");
    print_wrapped(t, strlen(t));
    snprintf(t, sizeof t,
             "Each of about %s weights, trained with Adam at %g on batches of %d, for %s",
             grouped(c->weights).s, b->learning_rate, (int)b->batch, budget_of(c).s);
    print_wrapped(t, strlen(t));
    putchar('\n');
}

static void print_row(const ky_comparison *c, const ky_entry *e)
{
    const char *serving = c->kind->step == NULL ? "" : e->stream ? "stream" : "window";

    printf("%c %-14s ", e == c->recommended ? '*' : ' ', e->c->title);
    if (e->runs == 0) {
        printf("%s%s\n", e->left_out.code < 0 ? "left out: " : "not trained", e->left_out.text);
        return;
    }
    printf("%-14s %8.*f %7s %9s %8s %6.1f %s", ky_compare_estimate(c, e->mean, e->error).s, 3,
           e->second_mean, grouped(e->weights).s, grouped(e->macs).s, grouped(e->state_bytes).s,
           e->latency_us, serving);
    if (e->runs < c->seeds)
        printf(" (%d of %d)", e->runs, c->seeds);
    putchar('\n');
}

static void print_columns(const ky_comparison *c)
{
    bool steps = c->kind->step != NULL;

    printf("  %-14s %-14s %8s %7s %9s %8s %6s%s\n", "", ky_figure_title(c->task->figure),
           ky_figure_title(c->task->second), "weights", "mult-adds", "bytes", "us",
           steps ? " served" : "");
    printf("  %-14s %-14s %8s %7s %9s %8s %6s%s\n", "", "", "", "", steps ? "a step" : "an answer",
           steps ? "a stream" : "", steps ? "a step" : "", steps ? " as" : "");
}

static void print_legend(const ky_comparison *c)
{
    char t[480];
    size_t n;

    snprintf(t, sizeof t,
             "+- is one standard error: of training with another seed%s and of scoring other rows. "
             "us is measured here, the median of one stream alone.",
             c->seeds > 1 ? "" : " (unknown: there was one)");
    n = strlen(t);
    if (c->kind->step != NULL)
        snprintf(t + n, sizeof t - n,
                 " Served as stream: the state goes on from %s to %s; as window: an answer at "
                 "every %s, on the last %d.",
                 c->kind->step, c->kind->step, c->kind->step, c->test.set.T);
    print_wrapped(t, strlen(t));
}

void ky_compare_print_table(const ky_comparison *c)
{
    char *words = ky_compare_words(c);

    print_heading(c);
    print_columns(c);
    for (int i = 0; i < c->n; i++)
        print_row(c, &c->entry[i]);
    putchar('\n');
    print_legend(c);
    putchar('\n');
    if (words != NULL)
        print_paragraphs(words);
    free(words);
}

/* -- for programs -- */

static ky_json *figures_json(const double *v, int n)
{
    ky_json *a = ky_json_array();

    for (int i = 0; i < n; i++)
        ky_json_append(a, ky_json_of_num(v[i]));
    return a;
}

static ky_json *entry_json(const ky_comparison *c, const ky_entry *e)
{
    ky_json *o = ky_json_object();

    ky_json_set(o, "name", ky_json_of_str(e->c->name));
    ky_json_set(o, "title", ky_json_of_str(e->c->title));
    ky_json_set(o, "runs", ky_json_of_int(e->runs));
    if (e->left_out.code < 0)
        ky_json_set(o, "left_out", ky_json_of_str(e->left_out.text));
    if (e->runs == 0)
        return o;
    ky_json_set(o, "arch", ky_json_of_str(e->arch));
    ky_json_set(o, ky_figure_name(c->task->figure), ky_json_of_num(e->mean));
    ky_json_set(o, "standard_error", ky_json_of_num(e->error));
    ky_json_set(o, "standard_error_seeds", ky_json_of_num(e->seed_error));
    ky_json_set(o, "standard_error_rows", ky_json_of_num(e->row_error));
    ky_json_set(o, "each_seed", figures_json(e->figure, e->runs));
    ky_json_set(o, ky_figure_name(c->task->second), ky_json_of_num(e->second_mean));
    ky_json_set(o, "weights", ky_json_of_int((int64_t)e->weights));
    ky_json_set(o, "served_as", ky_json_of_str(e->stream ? "stream" : "window"));
    ky_json_set(o, "multiply_adds", ky_json_of_int((int64_t)e->macs));
    ky_json_set(o, "state_bytes", ky_json_of_int((int64_t)e->state_bytes));
    ky_json_set(o, "latency_us", ky_json_of_num(e->latency_us));
    ky_json_set(o, "unfinished_runs", ky_json_of_int(e->unfinished));
    return o;
}

static ky_json *budget_json(const ky_comparison *c)
{
    const ky_training *b = &c->base;
    ky_json *o = ky_json_object();

    ky_json_set(o, "seeds", ky_json_of_int(c->seeds));
    ky_json_set(o, "first_seed", ky_json_of_int(b->seed));
    ky_json_set(o, "weights", ky_json_of_int((int64_t)c->weights));
    ky_json_set(o, "epochs", ky_json_of_int(b->epochs));
    ky_json_set(o, "patience", ky_json_of_int(b->patience));
    ky_json_set(o, "seconds", c->seconds > 0 ? ky_json_of_num(c->seconds) : ky_json_of_null());
    ky_json_set(o, "batch", ky_json_of_int(b->batch));
    ky_json_set(o, "learning_rate", ky_json_of_num(b->learning_rate));
    return o;
}

void ky_compare_print_json(const ky_comparison *c)
{
    ky_json *o = ky_json_object(), *models = ky_json_array();
    char *words = ky_compare_words(c), *json;

    for (int i = 0; i < c->n; i++)
        ky_json_append(models, entry_json(c, &c->entry[i]));
    ky_json_set(o, "data", ky_json_of_str(c->train.what));
    ky_json_set(o, "kind", ky_json_of_str(c->kind->name));
    ky_json_set(o, "task", ky_json_of_str(c->base.task_name));
    ky_json_set(o, "rows", ky_json_of_int(c->train.set.N));
    ky_json_set(o, "test_rows", ky_json_of_int(c->test.set.N));
    ky_json_set(o, "test_part", ky_json_of_bool(c->test_part));
    ky_json_set(o, "budget", budget_json(c));
    ky_json_set(o, "models", models);
    ky_json_set(o, "interrupted", ky_json_of_bool(c->interrupted));
    ky_json_set(o, "recommended",
                c->recommended != NULL ? ky_json_of_str(c->recommended->c->name)
                                       : ky_json_of_null());
    ky_json_set(o, "best", c->best != NULL ? ky_json_of_str(c->best->c->name) : ky_json_of_null());
    ky_json_set(o, "why", ky_json_of_str(words != NULL ? words : ""));
    json = ky_json_text(o, 2);
    ky_json_free(o);
    if (json != NULL)
        puts(json);
    free(json);
    free(words);
}
