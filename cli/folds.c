#include "cli/folds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/scoring.h"
#include "models/split.h"

/* A model as the final one begins: new, or the one to go on from. */
static int first_model(const ky_training *t, const ky_data *d, ky_model **ret, ky_err *err)
{
    ky_arch_opts o;
    int rc;

    if (t->arch == NULL)
        return ky_model_load(t->model, ret, err);
    rc = ky_training_shape(t, d, &o, err);
    return rc < 0 ? rc : ky_training_build(t, d, &o, ret, err);
}

static void tell_fold(const ky_training *t, const ky_folds *f, int fold)
{
    const char *between = "";

    fprintf(stderr, "fold %d of %d: ", fold + 1, (int)t->folds);
    for (int i = 0; i < KY_FIGURES; i++)
        if (!isnan(f->each[fold][i])) {
            fprintf(stderr, "%s%s %.4f", between, ky_figure_title((enum ky_figure)i),
                    f->each[fold][i]);
            between = ", ";
        }
    fputc('\n', stderr);
}

/* Learn from one part of the rows, score on the other. */
static int run_fold(const ky_training *t, const ky_data *d, const ky_subset *learned,
                    const ky_subset *held, double *figure, ky_err *err)
{
    ky_training quiet = *t;
    ky_train_result r = { 0 };
    ky_model *m = NULL;
    ky_metrics s;
    int rc;

    quiet.quiet = true;
    quiet.history = NULL;
    quiet.checkpoint = NULL;
    if ((rc = first_model(&quiet, d, &m, err)) < 0 ||
        (rc = ky_training_run(&quiet, m, &learned->d, t->arch != NULL, &r, err)) < 0 ||
        (rc = ky_evaluate_with(m, &held->d, ky_task_truth(t->task), 0, 0, (int)t->threads, NULL, &s,
                               err)) < 0)
        goto out;
    for (int i = 0; i < KY_FIGURES; i++)
        figure[i] = s.figure[i].value;
    ky_metrics_done(&s);
out:
    ky_json_free(r.history);
    ky_model_free(m);
    return rc;
}

int ky_folds_run(const ky_training *t, const ky_data *d, ky_folds *ret, ky_err *err)
{
    size_t N = (size_t)d->set.N;
    uint8_t *fold = malloc(N), *side = malloc(N);
    int rc = fold != NULL && side != NULL
                 ? ky_fold(&d->set, (int)t->folds, (uint64_t)t->seed, fold, err)
                 : ky_fail(err, KY_ENOMEM, "no memory to fold %zu rows", N);

    ret->truth = ky_task_truth(t->task);
    for (int k = 0; rc >= 0 && k < t->folds; k++) {
        ky_subset learned = { 0 }, held = { 0 };

        ky_fold_sides(&d->set, fold, k, side);
        if ((rc = ky_split_parts(&d->set, side, &learned, &held, err)) >= 0)
            rc = run_fold(t, d, &learned, &held, ret->each[k], err);
        ky_subset_done(&learned);
        ky_subset_done(&held);
        if (rc < 0)
            ky_context(err, rc, "fold %d of %d", k + 1, (int)t->folds);
        if (rc < 0 || ky_cli_interrupted())
            break;
        ret->n = k + 1;
        if (!t->quiet)
            tell_fold(t, ret, k);
    }
    free(fold);
    free(side);
    return rc;
}

void ky_folds_mean(const ky_folds *f, enum ky_figure figure, double *ret_mean, double *ret_error)
{
    double sum = 0, squares = 0, mean;

    for (int k = 0; k < f->n; k++)
        sum += f->each[k][figure];
    mean = sum / f->n;
    for (int k = 0; k < f->n; k++)
        squares += (f->each[k][figure] - mean) * (f->each[k][figure] - mean);
    *ret_mean = mean;
    *ret_error = f->n > 1 ? sqrt(squares / (f->n - 1) / f->n) : NAN;
}

void ky_folds_print(const ky_folds *f)
{
    double mean, error;

    printf("%d folds:", f->n);
    for (int i = 0, n = 0; i < KY_FIGURES; i++) {
        ky_folds_mean(f, (enum ky_figure)i, &mean, &error);
        if (!isnan(mean))
            printf("%s %s %.4g +- %.2g", n++ > 0 ? "," : "", ky_figure_title((enum ky_figure)i),
                   mean, error);
    }
    printf(" (one standard error)\n");
}

ky_json *ky_folds_json(const ky_folds *f)
{
    ky_json *all = ky_json_object();
    double mean, error;

    ky_json_set(all, "folds", ky_json_of_int(f->n));
    for (int i = 0; i < KY_FIGURES; i++) {
        ky_json *o, *each;

        ky_folds_mean(f, (enum ky_figure)i, &mean, &error);
        if (isnan(mean))
            continue;
        o = ky_json_object();
        each = ky_json_array();
        for (int k = 0; k < f->n; k++)
            ky_json_append(each, ky_json_of_num(f->each[k][i]));
        ky_json_set(o, "mean", ky_json_of_num(mean));
        ky_json_set(o, "standard_error", isnan(error) ? ky_json_of_null() : ky_json_of_num(error));
        ky_json_set(o, "each", each);
        ky_json_set(all, ky_figure_name((enum ky_figure)i), o);
    }
    return all;
}
