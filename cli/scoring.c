#include "cli/scoring.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* Bytes of a name in a table; classes of the largest matrix that is printed whole; pairs that are
 * printed in its place. */
enum { MOST_WIDTH = 40, MOST_SQUARE = 20, MOST_PAIRS = 15 };

enum ky_truth ky_task_truth(enum ky_task task)
{
    static const enum ky_truth truths[] = { [KY_TASK_CLASSIFY] = KY_OF_CLASSES,
                                            [KY_TASK_MULTILABEL] = KY_OF_LABELS,
                                            [KY_TASK_REGRESS] = KY_OF_NUMBERS };

    return truths[task];
}

/* ---- scoring ---- */

static int load(const ky_model *m, const char *spec, const ky_scoring_opts *o, ky_data *d,
                ky_err *err)
{
    bool classes = o->task == KY_TASK_CLASSIFY, carried = ky_task_carried(m);
    int rc = ky_data_load_within(spec, o->part, classes ? KY_BESIDE_CLASSES : KY_BESIDE_TARGETS,
                                 carried ? SIZE_MAX : KY_DATA_MEMORY, d, err);

    if (rc < 0)
        return rc;
    if (carried && (rc = ky_data_carry(d, err)) < 0)
        return rc;
    if (classes && d->naming == KY_NAMES_NONE)
        return ky_fail(err, KY_ENOENT, "%s has no labels beside it to score against", d->what);
    if (classes && (rc = ky_data_match(d, m, err)) < 0)
        return rc;
    rc = ky_data_fit(d, m, err);
    return rc < 0 ? rc : ky_data_check_tokens(d, m, err);
}

int ky_scoring_run(const ky_model *m, const char *spec, const ky_scoring_opts *o, ky_scoring *ret,
                   ky_err *err)
{
    int rc;

    ret->m = m;
    ret->task = o->task;
    ret->seed = o->seed;
    if ((rc = load(m, spec, o, &ret->d, err)) < 0)
        return rc;
    return ky_evaluate_with(m, &ret->d.set, ky_task_truth(o->task), o->resamples, o->seed,
                            o->threads, &ret->p, &ret->s, err);
}

int ky_scoring_check(const ky_model *m, const char *spec, const ky_scoring_opts *o, ky_err *err)
{
    ky_data d = { 0 };
    int rc = load(m, spec, o, &d, err);

    ky_data_free(&d);
    return rc;
}

void ky_scoring_done(ky_scoring *s)
{
    ky_metrics_done(&s->s);
    free(s->p);
    ky_data_free(&s->d);
}

const char *ky_scoring_name(const ky_scoring *s, int c, ky_scoring_label *buffer)
{
    const ky_model_info *f = ky_model_facts(s->m);

    snprintf(buffer->digits, sizeof buffer->digits, "%d", c);
    buffer->text = c < f->n_labels ? f->labels[c] : buffer->digits;
    return buffer->text;
}

/* ---- columns ---- */

#define AT(field) offsetof(ky_metrics_each, field)

static const ky_scoring_column of_classes[] = {
    { "support", "rows", AT(support), true },
    { "said", "said", AT(said), true },
    { "precision", "precision", AT(precision), false },
    { "recall", "recall", AT(recall), false },
    { "f1", "F1", AT(f1), false },
    { "accuracy", "accuracy", AT(accuracy), false }, /* of labels */
};

static const ky_scoring_column of_numbers[] = {
    { "mae", "MAE", AT(mae), false },
    { "rmse", "RMSE", AT(rmse), false },
    { "r2", "R2", AT(r2), false },
};

int ky_scoring_columns(enum ky_truth truth, const ky_scoring_column **ret)
{
    *ret = truth == KY_OF_NUMBERS ? of_numbers : of_classes;
    return truth == KY_OF_NUMBERS ? 3 : truth == KY_OF_LABELS ? 6 : 5;
}

double ky_scoring_cell(const ky_metrics_each *e, const ky_scoring_column *c)
{
    return *(const double *)((const char *)e + c->at);
}

/* ---- text ---- */

/* Four places of shares and losses; six digits of what has a unit. */
static const char *number(double v, bool shares, char buffer[32])
{
    snprintf(buffer, 32, shares ? "%.4f" : "%.6g", v);
    return isnan(v) ? "-" : buffer;
}

static void print_estimate(const ky_estimate *e, bool shares)
{
    char v[3][32];

    printf("%s", number(e->value, shares, v[0]));
    if (!isnan(e->low))
        printf(" (%s to %s)", number(e->low, shares, v[1]), number(e->high, shares, v[2]));
}

/* Figures that a line has room for. */
static const enum ky_figure in_line[] = { KY_ACCURACY, KY_MACRO_F1, KY_LOG_LOSS, KY_MAE, KY_RMSE };

void ky_scoring_print_line(const ky_scoring *s)
{
    const char *between = "";

    for (size_t i = 0; i < sizeof in_line / sizeof *in_line; i++) {
        const ky_estimate *e = &s->s.figure[in_line[i]];

        if (isnan(e->value))
            continue;
        printf("%s%s ", between, ky_figure_title(in_line[i]));
        print_estimate(e, s->s.truth != KY_OF_NUMBERS);
        between = ", ";
    }
    printf(" (%d rows; 95 %% intervals)\n", s->s.N);
}

static void print_figures(const ky_metrics *s)
{
    bool shares = s->truth != KY_OF_NUMBERS;

    printf("%-14s %10s   %s\n", "", "value", "95 % interval");
    for (int f = 0; f < KY_FIGURES; f++) {
        const ky_estimate *e = &s->figure[f];
        char v[3][32];

        if (isnan(e->value))
            continue;
        printf("%-14s %10s", ky_figure_title(f), number(e->value, shares, v[0]));
        if (!isnan(e->low))
            printf("   %s to %s", number(e->low, shares, v[1]), number(e->high, shares, v[2]));
        putchar('\n');
    }
}

/* A name in so many columns. */
static void print_name(const ky_scoring *s, int c, int width)
{
    ky_scoring_label buffer;
    const char *name = ky_scoring_name(s, c, &buffer);
    int len = (int)strlen(name);

    printf("%3d ", c);
    ky_cli_print_safe(stdout, name, (size_t)(len < width ? len : width));
    printf("%*s", len < width ? width - len : 0, "");
}

static int widest(const ky_scoring *s)
{
    ky_scoring_label buffer;
    int width = 8;

    for (int c = 0; c < s->s.C; c++) {
        int len = (int)strlen(ky_scoring_name(s, c, &buffer));

        width = len > width ? len : width;
    }
    return width < MOST_WIDTH ? width : MOST_WIDTH;
}

static void print_each(const ky_scoring *s, int width)
{
    static const char *const heads[] = {
        [KY_OF_CLASSES] = "class", [KY_OF_LABELS] = "label", [KY_OF_NUMBERS] = "target"
    };
    const ky_scoring_column *column;
    int n = ky_scoring_columns(s->s.truth, &column);

    printf("\n%-*s", width + 4, heads[s->s.truth]);
    for (int i = 0; i < n; i++)
        printf(" %10s", column[i].title);
    putchar('\n');
    for (int c = 0; c < s->s.C; c++) {
        print_name(s, c, width);
        for (int i = 0; i < n; i++) {
            double v = ky_scoring_cell(&s->s.each[c], &column[i]);
            char text[32];

            if (column[i].counts)
                printf(" %10.0f", v);
            else
                printf(" %10s", number(v, s->s.truth != KY_OF_NUMBERS, text));
        }
        putchar('\n');
    }
}

static void print_square(const ky_scoring *s, int width)
{
    printf("\n%-*s", width + 4, "true \\ said");
    for (int c = 0; c < s->s.C; c++)
        printf(" %6d", c);
    putchar('\n');
    for (int c = 0; c < s->s.C; c++) {
        print_name(s, c, width);
        for (int j = 0; j < s->s.C; j++)
            printf(" %6u", s->s.confusion[(size_t)c * (size_t)s->s.C + (size_t)j]);
        putchar('\n');
    }
}

/* Many classes: what was taken for what most often. */
static void print_pairs(const ky_scoring *s, int width)
{
    ky_metrics_pair pairs[MOST_PAIRS];
    int n = ky_metrics_confused(&s->s, pairs, MOST_PAIRS);

    printf("\n%-*s %6s  said\n", width + 4, n > 0 ? "true" : "no confusions", n > 0 ? "rows" : "");
    for (int i = 0; i < n; i++) {
        print_name(s, pairs[i].truly, width);
        printf(" %6u ", pairs[i].rows);
        print_name(s, pairs[i].said, width);
        putchar('\n');
    }
}

void ky_scoring_print(const ky_scoring *s, const char *model)
{
    int width = widest(s);

    ky_cli_print_safe(stdout, model, strlen(model));
    printf(" on ");
    ky_cli_print_safe(stdout, s->d.what, strlen(s->d.what));
    printf(": %d rows of %s", s->s.N, ky_data_shape(s->d.rows->rank - 1, s->d.rows->dims + 1).text);
    if (s->s.groups > 0)
        printf(", %d groups, which the intervals resample", s->s.groups);
    printf("\n\n");
    print_figures(&s->s);
    print_each(s, width);
    if (s->s.confusion != NULL && s->s.C <= MOST_SQUARE)
        print_square(s, width);
    else if (s->s.confusion != NULL)
        print_pairs(s, width);
}

/* ---- JSON ---- */

static ky_json *interval_json(const ky_estimate *e)
{
    ky_json *a = ky_json_array();

    ky_json_append(a, ky_json_of_num(e->low));
    ky_json_append(a, ky_json_of_num(e->high));
    return a;
}

static ky_json *each_json(const ky_scoring *s)
{
    ky_json *all = ky_json_array();
    const ky_scoring_column *column;
    int n = ky_scoring_columns(s->s.truth, &column);

    for (int c = 0; c < s->s.C; c++) {
        ky_json *o = ky_json_object();
        ky_scoring_label buffer;

        ky_json_set(o, s->s.truth == KY_OF_CLASSES ? "class" : "target",
                    ky_json_of_str(ky_scoring_name(s, c, &buffer)));
        for (int i = 0; i < n; i++) {
            double v = ky_scoring_cell(&s->s.each[c], &column[i]);

            ky_json_set(o, column[i].name,
                        column[i].counts ? ky_json_of_int((int64_t)v) : ky_json_of_num(v));
        }
        ky_json_append(all, o);
    }
    return all;
}

static ky_json *confusion_json(const ky_metrics *s)
{
    ky_json *rows = ky_json_array();

    for (int c = 0; c < s->C; c++) {
        ky_json *row = ky_json_array();

        for (int j = 0; j < s->C; j++)
            ky_json_append(row, ky_json_of_int(s->confusion[(size_t)c * (size_t)s->C + (size_t)j]));
        ky_json_append(rows, row);
    }
    return rows;
}

static ky_json *bins_json(const ky_metrics *s)
{
    ky_json *bins = ky_json_array();

    for (int b = 0; b < KY_BINS; b++) {
        ky_json *o = ky_json_object();

        ky_json_set(o, "rows", ky_json_of_int((int64_t)s->bin[b].n));
        ky_json_set(o, "confidence", ky_json_of_num(s->bin[b].confidence));
        ky_json_set(o, "right", ky_json_of_num(s->bin[b].right));
        ky_json_append(bins, o);
    }
    return bins;
}

static void set_figures(ky_json *o, const ky_metrics *s)
{
    ky_json *intervals = ky_json_object();

    for (int f = 0; f < KY_FIGURES; f++) {
        const ky_estimate *e = &s->figure[f];

        if (isnan(e->value))
            continue;
        ky_json_set(o, ky_figure_name(f), ky_json_of_num(e->value));
        if (!isnan(e->low))
            ky_json_set(intervals, ky_figure_name(f), interval_json(e));
    }
    ky_json_set(o, "intervals", intervals);
}

ky_json *ky_scoring_json(const ky_scoring *s)
{
    ky_json *o = ky_json_object();
    bool classes = s->s.truth == KY_OF_CLASSES;

    ky_json_set(o, "data", ky_json_of_str(s->d.what));
    ky_json_set(o, "rows", ky_json_of_int(s->s.N));
    set_figures(o, &s->s);
    ky_json_set(o, "groups", ky_json_of_int(s->s.groups));
    ky_json_set(o, "resamples", ky_json_of_int(s->s.resamples));
    ky_json_set(o, "seed", ky_json_of_int((int64_t)s->seed));
    ky_json_set(o, classes ? "classes" : "targets", each_json(s));
    if (!isnan(s->s.figure[KY_ECE].value))
        ky_json_set(o, "calibration", bins_json(&s->s));
    if (classes) {
        ky_json *labels = ky_json_array();

        for (int c = 0; c < s->s.C; c++) {
            ky_scoring_label buffer;

            ky_json_append(labels, ky_json_of_str(ky_scoring_name(s, c, &buffer)));
        }
        ky_json_set(o, "labels", labels);
        ky_json_set(o, "confusion", confusion_json(&s->s));
    }
    return o;
}
