#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/data.h"
#include "cli/predict_text.h"
#include "models/blueprint.h"
#include "models/h5.h"

/* One dataset of the output file. */
typedef struct answers {
    const char *name;
    int rank;
    uint64_t dims[1 + KY_MAX_RANK]; /* rows first */
    size_t row;                     /* values of a row */
    float *y;
} answers;

/* Rows answered at once; the answers do not depend on it (P2). */
enum { BLOCK = 64 };

static int write_answers(const char *path, const ky_model_info *f, int n, const answers *a,
                         ky_err *err)
{
    ky_h5 *out = NULL;
    int rc = ky_h5_create(path, &out, err);

    if (rc < 0)
        return rc;
    for (int i = 0; rc == KY_OK && i < n; i++) {
        char name[128];

        snprintf(name, sizeof name, "/%s", a[i].name);
        rc = ky_h5_put(out, name, KY_H5_F32, a[i].rank, a[i].dims, a[i].y, err);
    }
    if (rc == KY_OK && f->n_labels > 0)
        rc = ky_h5_set_attr_strs(out, "/", "class_names", f->labels, (size_t)f->n_labels, err);
    if (rc < 0) {
        ky_h5_close(out);
        return rc;
    }
    return ky_h5_commit(out, err);
}

/* Room for output k of a run of T steps over N rows. */
static int make_answers(const ky_model *m, int k, int T, int N, answers *ret, ky_err *err)
{
    int dims[KY_MAX_RANK];
    size_t all;

    ret->rank = 1 + ky_model_output(m, k, T, dims, &ret->name);
    ret->dims[0] = (uint64_t)N;
    ret->row = 1;
    for (int i = 1; i < ret->rank; i++) {
        ret->dims[i] = (uint64_t)dims[i - 1];
        ret->row *= (size_t)dims[i - 1];
    }
    if (ky_model_facts(m)->n_outputs == 1)
        ret->name = "y";
    ret->y = ky_size_mul(ret->row, (size_t)N, &all) < 0 ? NULL : calloc(all, sizeof *ret->y);
    if (ret->y == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for the answers to %d rows", N);
    return KY_OK;
}

/* All rows through the graph, block by block. */
static int run_rows(const ky_model *m, int N, int T, const float *const *x, answers *a, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    const float **xs = calloc((size_t)f->n_inputs, sizeof *xs);
    float **ys = calloc((size_t)f->n_outputs, sizeof *ys);
    ky_work *w = ky_work_new(m, T, N < BLOCK ? N : BLOCK);
    int rc = KY_OK;

    if (xs == NULL || ys == NULL || w == NULL)
        rc = ky_fail(err, KY_ESHAPE, "model '%s' cannot answer rows of %d steps", f->name, T);
    for (int at = 0; rc == KY_OK && at < N; at += BLOCK) {
        for (int k = 0; k < f->n_inputs; k++) {
            int dims[KY_MAX_RANK];
            const char *name;
            size_t row = 1;

            for (int i = ky_model_input(m, k, T, dims, &name) - 1; i >= 0; i--)
                row *= (size_t)dims[i];
            xs[k] = x[k] + (size_t)at * row;
        }
        for (int k = 0; k < f->n_outputs; k++)
            ys[k] = a[k].y + (size_t)at * a[k].row;
        ky_model_run(m, w, N - at < BLOCK ? N - at : BLOCK, T, xs, ys);
    }
    ky_work_free(w);
    free(xs);
    free(ys);
    return rc;
}

/* The rows of a model with one input, whose answers are not one a row. */
static int run_graph(const ky_model *m, const ky_dataset *d, answers *a, ky_err *err)
{
    int n_outputs = ky_model_facts(m)->n_outputs, n, rc;
    answers *part = calloc((size_t)n_outputs, sizeof *part);
    ky_walk w;

    rc = n = ky_walk_begin(&w, d, err);
    if (part == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory");
    while (rc >= 0 && (rc = n = ky_walk_next(&w, err)) > 0) {
        const float *x = w.x[0]; /* rows lie side by side, as none is left out */

        for (int k = 0; k < n_outputs; k++) {
            part[k] = a[k];
            part[k].y += (size_t)w.first * a[k].row;
        }
        rc = run_rows(m, n, d->T, &x, part, err);
    }
    ky_walk_done(&w);
    free(part);
    return rc;
}

/* Input k of a model with several: the dataset of its name, whose rows must have its values. */
static int read_input(ky_h5 *f, const ky_model *m, int k, int T, int *N, float **ret, ky_err *err)
{
    int dims[KY_MAX_RANK], rank;
    const char *name;
    ky_h5_info i;
    size_t row = 1;
    char path[128];
    int rc;

    rank = ky_model_input(m, k, T, dims, &name);
    for (int d = 0; d < rank; d++)
        row *= (size_t)dims[d];
    snprintf(path, sizeof path, "/%s", name);
    if (!ky_h5_exists(f, path))
        return ky_fail(err, KY_ENOENT,
                       "no dataset '%s', which the model's input of that name wants", name);
    if ((rc = ky_data_read(f, path, &i, ret, err)) < 0)
        return rc;
    if (*N == 0)
        *N = (int)i.dims[0];
    if ((uint64_t)*N != i.dims[0] || i.count != (size_t)*N * row)
        return ky_fail(err, KY_ESHAPE, "'%s' has %llu rows and %zu values, wanted are %d x %zu",
                       name, (unsigned long long)i.dims[0], i.count, *N, row);
    return KY_OK;
}

/* Steps that the dataset of the first input of any length has, where there is one. */
static int steps_of(ky_h5 *f, const ky_model *m, ky_err *err)
{
    int dims[KY_MAX_RANK], rc, T = ky_model_facts(m)->window;
    const char *name;
    char path[128];
    ky_h5_info i;

    if (T > 0)
        return T;
    ky_model_input(m, ky_model_time(m), 1, dims, &name);
    snprintf(path, sizeof path, "/%s", name);
    if ((rc = ky_h5_stat(f, path, &i, err)) < 0)
        return rc;
    return i.rank > 1 && i.dims[1] <= INT32_MAX ? (int)i.dims[1] : 1;
}

/* A model with several inputs: each has its dataset. */
static int answer_many(const ky_model *m, const char *path, answers *a, int *ret_N, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    float **x = calloc((size_t)f->n_inputs, sizeof *x);
    ky_h5 *data = NULL;
    int T = 0, rc = x != NULL ? ky_h5_open(path, &data, err) : ky_fail(err, KY_ENOMEM, "no memory");

    *ret_N = 0;
    if (rc == KY_OK)
        rc = T = steps_of(data, m, err);
    for (int k = 0; rc >= 0 && k < f->n_inputs; k++)
        rc = read_input(data, m, k, T, ret_N, &x[k], err);
    if (rc < 0)
        rc = ky_context(err, rc, "'%s'", path);
    for (int k = 0; rc >= 0 && k < f->n_outputs; k++)
        rc = make_answers(m, k, T, *ret_N, &a[k], err);
    if (rc >= 0)
        rc = run_rows(m, *ret_N, T, (const float *const *)x, a, err);
    for (int k = 0; x != NULL && k < f->n_inputs; k++)
        free(x[k]);
    free(x);
    ky_h5_close(data);
    return rc;
}

/* The last answer of each row, along the path of a stream. */
static int answer_streams(const ky_model *m, const ky_data *d, int threads, answers *a, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);

    *a = (answers){ .name = "y", .rank = 2, .dims = { (uint64_t)d->set.N, (uint64_t)f->outputs } };
    a->y = calloc((size_t)d->set.N * (size_t)f->outputs, sizeof *a->y);
    if (a->y == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for the answers to %d rows", d->set.N);
    return ky_answer(m, &d->set, KY_PATH_SERVED, threads, a->y, err);
}

static int answer_one(const ky_model *m, const char *spec, bool stream, int threads, answers *a,
                      int *ret_N, char *what, size_t n_what, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    ky_data d = { 0 };
    int rc = ky_data_load_x(spec, KY_PART_EVAL, &d, err);

    if (rc == KY_OK)
        rc = ky_data_fit(&d, m, err);
    if (rc == KY_OK && stream)
        rc = answer_streams(m, &d, threads, a, err);
    else if (rc == KY_OK && !ky_model_fits(m, d.set.T))
        rc = ky_fail(err, KY_ESHAPE, "the data have %d steps a sequence, model '%s' takes %d",
                     d.set.T, f->name, f->window);
    else if (rc == KY_OK) {
        for (int k = 0; rc == KY_OK && k < f->n_outputs; k++)
            rc = make_answers(m, k, d.set.T, d.set.N, &a[k], err);
        /* One answer a row: shared among threads. Several, or with steps: through the graph. */
        if (rc == KY_OK && f->n_outputs == 1 && a->row == (size_t)f->outputs)
            rc = ky_answer(m, &d.set, KY_PATH_WINDOW, threads, a->y, err);
        else if (rc == KY_OK)
            rc = run_graph(m, &d.set, a, err);
    }
    *ret_N = d.set.N;
    snprintf(what, n_what, "%s", d.what);
    ky_data_free(&d);
    return rc;
}

static int answer(const ky_model *m, const char *spec, bool stream, int threads, const char *path,
                  ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    answers *a = calloc((size_t)f->n_outputs, sizeof *a);
    char what[sizeof((ky_data *)0)->what];
    int N = 0, rc;

    snprintf(what, sizeof what, "%s", spec);
    if (a == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    if (stream && (f->n_inputs > 1 || f->n_outputs > 1))
        rc = ky_fail(err, KY_EUNSUPPORTED,
                     "model '%s' has %d inputs and %d outputs; a stream has one of each", f->name,
                     f->n_inputs, f->n_outputs);
    else if (f->n_inputs > 1)
        rc = answer_many(m, spec, a, &N, err);
    else
        rc = answer_one(m, spec, stream, threads, a, &N, what, sizeof what, err);
    if (rc == KY_OK)
        rc = write_answers(path, f, f->n_outputs, a, err);
    for (int k = 0; k < f->n_outputs; k++) {
        if (rc == KY_OK) {
            printf("%s: %s [%d", path, a[k].name, N);
            for (int i = 1; i < a[k].rank; i++)
                printf(", %llu", (unsigned long long)a[k].dims[i]);
            printf("], the answers to %s\n", what);
        }
        free(a[k].y);
    }
    free(a);
    return rc;
}

int ky_cmd_predict(int argc, char **argv)
{
    const char *words[2], *path = NULL, *config = NULL;
    int64_t threads = 0;
    bool stream = false, lines;
    ky_strs texts = { .n = 0 };
    const ky_opt opts[] = {
        { "output", 'o', KY_OPT_STR, &path, 0, 0, "FILE", "HDF5 file for the answers, dataset y" },
        { "stream", 's', KY_OPT_FLAG, &stream, 0, 0, NULL,
          "step each window sample by sample from zeros: the same bits, the last answer" },
        { "threads", 't', KY_OPT_INT, &threads, 0, 256, "N",
          "0: all cores; no effect on the result" },
        { "text", 0, KY_OPT_STRS, &texts, 0, 0, "SENTENCE",
          "answer this, of a model that learned from text; may be given again" },
        { "config", 'c', KY_OPT_STR, &config, 0, 0, "FILE", KY_CLI_CONFIG },
        { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
    };
    const ky_usage u = {
        .synopsis = "kymo predict MODEL DATA[:DATASET] -o OUT.h5 [options]\n"
                    "       kymo predict MODEL --text SENTENCE... | -",
        .about = "Writes the model's answer to every row (X_test, else X) into an HDF5 file:\n"
                 "dataset y [rows, outputs], or [rows, steps, outputs] where the model's output\n"
                 "keeps time; attribute class_names where the model has them. A model with\n"
                 "several inputs reads the datasets of their names, one with several outputs\n"
                 "writes a dataset of each one's name. A model that learned from text answers\n"
                 "sentences, or with - the lines of standard input: class, probability, sentence.",
        .opts = opts,
        .min_args = 1,
        .max_args = 2,
        .examples = "  kymo predict har_lstm.h5 har.h5:X_test --stream -o answers.h5\n",
    };
    ky_err err = { 0 };
    ky_model *m = NULL;
    int n, rc = ky_cli_parse(&u, argc, argv, words, &n);

    if (rc >= 0)
        return rc;
    lines = n == 2 && strcmp(words[1], "-") == 0;
    if ((texts.n > 0) != (n == 1))
        return n == 1 ? ky_cli_usage(&u, "DATA is missing: what should be answered")
                      : ky_cli_usage(&u, "--text and '%s': give one of them", words[1]);
    if (texts.n > 0 || lines) {
        if ((rc = ky_model_load_with(words[0], config, &m, &err)) == KY_OK)
            rc = ky_predict_text(m, &texts, &err);
    } else if (path == NULL) {
        return ky_cli_usage(&u, "-o is missing: where the answers should be written");
    } else if ((rc = ky_data_spare(words[0], path, &err)) == KY_OK &&
               (rc = ky_data_spare(words[1], path, &err)) == KY_OK &&
               (rc = ky_model_load_with(words[0], config, &m, &err)) == KY_OK) {
        rc = answer(m, words[1], stream, (int)threads, path, &err);
    }
    ky_model_free(m);
    return rc < 0 ? ky_cli_fail(&err) : KY_EXIT_OK;
}
