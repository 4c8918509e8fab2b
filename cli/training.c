#include "cli/training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/watch.h"
#include "models/blueprint.h"
#include "models/json.h"

/* ---- a model for the data ---- */

/* How many tokens there are: those of the vocabulary, else one more than the largest, in the test
 * part too where the file has one. 0: those values are no tokens. */
static int vocabulary_of(const ky_training *t, const ky_data *d)
{
    ky_data test;
    float largest = d->rows->largest;

    if (d->vocabulary != NULL)
        return ky_vocabulary_size(d->vocabulary);
    if (strchr(t->data, ':') == NULL &&
        ky_data_load_x(t->data, KY_PART_TEST, &test, NULL) == KY_OK) {
        largest = test.rows->largest > largest ? test.rows->largest : largest;
        ky_data_free(&test);
    }
    return largest >= 0 && largest < 1 << 24 ? (int)largest + 1 : 0;
}

/* Rows of two dimensions are steps of values, of four frames, of one values, of three an image. */
static ky_shape shape_of_rows(const ky_data *d, bool carried)
{
    ky_shape s = { .rank = d->rows->rank - 1 };

    s.timed = s.rank == 2 || s.rank >= 4;
    for (int i = 0; i < s.rank; i++)
        s.d[i] = (int)d->rows->dims[i + 1];
    if (s.timed && carried)
        s.d[0] = KY_ANY;
    return s;
}

static void tell_lengths(const ky_data_rows *r, const char *stop, bool masked)
{
    int least, most;

    ky_data_rows_lengths(r, &least, &most);
    fprintf(stderr, "rows have %d to %d steps: ", least, most);
    if (masked && stop == NULL)
        fprintf(stderr, "those that are not there are masked\n");
    else
        fprintf(stderr,
                "layer '%s' takes no masks (nor does Keras's): the others are learned from "
                "as %s\n",
                stop, masked ? "zeros" : "they stand in the file");
}

/* Rows of several lengths want masks up to the layer that sums up the steps. Where one in between
 * takes none, padding that is a number stays as it stands; other steps go on as zeros, as Masking
 * gives them in Keras. */
static int build_masked(const ky_training *t, const ky_data *d, ky_arch_opts *o, ky_model **ret,
                        ky_err *err)
{
    int rc = ky_arch_build_for(t->arch, o, ret, err);
    char stop[64] = "";

    if (!o->masks || (rc < 0 && (rc != KY_EUNSUPPORTED || d->rows->open)))
        return rc;
    if (rc == KY_OK && ky_model_mask_stops(*ret) != NULL)
        snprintf(stop, sizeof stop, "%s", ky_model_mask_stops(*ret));
    o->masks = rc == KY_OK && (stop[0] == 0 || d->rows->open);
    if (!o->masks) {
        ky_model_free(rc == KY_OK ? *ret : NULL);
        *ret = NULL;
        rc = ky_arch_build_for(t->arch, o, ret, err);
    }
    if (rc == KY_OK && !t->quiet)
        tell_lengths(d->rows, stop[0] != 0 ? stop : (o->masks ? NULL : "masking"), o->masks);
    return rc;
}

int ky_training_shape(const ky_training *t, const ky_data *d, ky_arch_opts *ret, ky_err *err)
{
    static const enum ky_activation answers[] = { [KY_TASK_CLASSIFY] = KY_SOFTMAX,
                                                  [KY_TASK_MULTILABEL] = KY_SIGMOID,
                                                  [KY_TASK_REGRESS] = KY_LINEAR };

    if (t->task == KY_TASK_CLASSIFY && d->n_classes < 2)
        return ky_fail(err, KY_EINVAL, "%s has only the class '%s': there is nothing to tell apart",
                       d->what, d->classes[0]);
    *ret = (ky_arch_opts){ .input = shape_of_rows(d, d->set.carried),
                           .n_outputs = t->task == KY_TASK_CLASSIFY ? d->n_classes : d->set.C,
                           .answer = answers[t->task],
                           .normalize = t->normalize,
                           .masks = d->rows->len != NULL };
    if (ky_arch_takes_tokens(t->arch))
        ret->vocabulary = vocabulary_of(t, d);
    return KY_OK;
}

int ky_training_build(const ky_training *t, const ky_data *d, const ky_arch_opts *o, ky_model **ret,
                      ky_err *err)
{
    ky_arch_opts as = *o;
    int rc = build_masked(t, d, &as, ret, err);

    if (rc < 0)
        return rc != KY_ESHAPE
                   ? rc
                   : ky_context(err, rc, "rows of %s",
                                ky_data_shape(d->rows->rank - 1, d->rows->dims + 1).text);
    ky_model_init(*ret, (uint64_t)t->seed);
    if (t->task == KY_TASK_CLASSIFY || d->n_classes == d->set.C)
        rc = ky_model_set_labels(*ret, (const char *const *)d->classes, d->n_classes, err);
    if (rc == KY_OK && d->features != NULL && d->set.F == ky_model_facts(*ret)->features)
        rc = ky_model_set_feature_names(*ret, (const char *const *)d->features, err);
    return rc;
}

/* ---- what rows of each class count ---- */

/* The class of this name, or without names of this number; -1: none. */
static int class_named(const ky_model *m, const char *name, size_t len)
{
    int C = m->info.outputs == 1 ? 2 : m->info.outputs;

    for (int c = 0; c < C; c++) {
        char digits[16];
        const char *label = digits;

        snprintf(digits, sizeof digits, "%d", c);
        if (m->meta.n_labels > 0)
            label = c < m->meta.n_labels ? m->meta.labels[c] : "";
        if (strlen(label) == len && memcmp(label, name, len) == 0)
            return c;
    }
    return -1;
}

/* One NAME=W of the list. */
static int weigh_class(const ky_model *m, const char *word, size_t len, double *weight, ky_err *err)
{
    const char *equals = memrchr(word, '=', len);
    char *end = NULL;
    double v = equals != NULL ? strtod(equals + 1, &end) : -1;
    int shown = len > 60 ? 60 : (int)len, c;

    if (equals == NULL || end != word + len || !(v >= 0) || !isfinite(v))
        return ky_fail(err, KY_EINVAL, "--class-weight: '%.*s' is not NAME=NUMBER", shown, word);
    if ((c = class_named(m, word, (size_t)(equals - word))) < 0)
        return ky_fail(err, KY_EINVAL, "--class-weight: '%.*s': the model has no such class", shown,
                       word);
    weight[c] = v;
    return KY_OK;
}

/* What rows of each class count: *ret [C], or NULL where nothing is said or they are balanced. */
static int weigh_classes(const ky_training *t, const ky_model *m, int C, double **ret, ky_err *err)
{
    const char *word = t->class_weight;
    int n = C > m->info.outputs + 1 ? C : m->info.outputs + 1, rc = KY_OK;
    double *weight;

    *ret = NULL;
    if (word == NULL || strcmp(word, "balanced") == 0)
        return KY_OK;
    weight = malloc((size_t)n * sizeof *weight);
    if (weight == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for the weights of %d classes", n);
    for (int c = 0; c < n; c++)
        weight[c] = 1;
    for (bool more = true; more && rc == KY_OK;) {
        size_t len = strcspn(word, ",");

        rc = weigh_class(m, word, len, weight, err);
        more = word[len] != 0;
        word += len + more;
    }
    if (rc < 0)
        free(weight);
    else
        *ret = weight;
    return rc;
}

/* ---- a run ---- */

void ky_training_opts(const ky_training *t, ky_train_opts *ret)
{
    ky_train_defaults(ret);
    ret->epochs = (int)t->epochs;
    ret->batch = (int)t->batch;
    ret->patience = (int)t->patience;
    ret->threads = (int)t->threads;
    ret->learning_rate = t->learning_rate;
    ret->validation = t->validation;
    ret->clip_norm = t->clip_norm;
    ret->clip_array = t->clip_array;
    ret->clip_value = t->clip_value;
    ret->l1 = t->l1;
    ret->l2 = t->l2;
    ret->loss = (ky_loss){ .kind = t->loss, .smoothing = t->smoothing };
    ret->optim = t->optim;
    ret->rate = t->rate;
    ret->balanced = t->class_weight != NULL && strcmp(t->class_weight, "balanced") == 0;
    ret->augment = t->augment;
    ret->seed = (uint64_t)t->seed;
    ret->checkpoint = t->checkpoint;
    ret->resume = t->resume;
}

int ky_training_run(const ky_training *t, ky_model *m, const ky_dataset *d, bool fit_input,
                    ky_train_result *ret, ky_err *err)
{
    ky_watch w = { .quiet = t->quiet, .history = t->history, .learning_rate = t->learning_rate };
    ky_train_opts o;
    double *weight;
    int rc = weigh_classes(t, m, d->C, &weight, err);

    if (rc < 0)
        return rc;
    if ((rc = ky_watch_begin(&w, t->task == KY_TASK_REGRESS ? "mae" : "accuracy", err)) < 0) {
        free(weight);
        return rc;
    }
    ky_training_opts(t, &o);
    o.class_weight = weight;
    o.fit_input = fit_input;
    o.progress = ky_watch_show;
    o.arg = &w;
    rc = ky_train(m, d, &o, ret, err);
    free(weight);
    ky_watch_end(&w, rc == KY_OK ? ret : NULL);
    return rc;
}

/* ---- what the model's file keeps ---- */

static void note_num(ky_json *e, const char *name, double v)
{
    if (v != 0)
        ky_json_set(e, name, ky_json_of_num(v));
}

/* What is not as it is without options. */
static void note_options(const ky_training *t, ky_json *e)
{
    if (t->task != KY_TASK_CLASSIFY) {
        ky_json_set(e, "task", ky_json_of_str(t->task_name));
        ky_json_set(e, "loss", ky_json_of_str(ky_loss_name(t->loss)));
    }
    if (t->optim.kind != KY_ADAM)
        ky_json_set(e, "optimizer", ky_json_of_str(t->optimizer));
    note_num(e, "momentum", t->optim.momentum);
    note_num(e, "weight_decay", t->optim.weight_decay);
    if (t->optim.nesterov)
        ky_json_set(e, "nesterov", ky_json_of_bool(true));
    if (t->optim.centered)
        ky_json_set(e, "centered", ky_json_of_bool(true));
    note_num(e, "clip_array", t->clip_array);
    note_num(e, "clip_value", t->clip_value);
    note_num(e, "l1", t->l1);
    note_num(e, "l2", t->l2);
    note_num(e, "label_smoothing", t->smoothing);
    if (t->class_weight != NULL)
        ky_json_set(e, "class_weight", ky_json_of_str(t->class_weight));
    if (t->augment_text != NULL)
        ky_json_set(e, "augment", ky_json_of_str(t->augment_text));
    if (t->rate.kind == KY_DECAY_NONE)
        return;
    ky_json_set(e, "schedule", ky_json_of_str(t->schedule));
    if (t->rate.kind != KY_DECAY_COSINE)
        ky_json_set(e, "decay", ky_json_of_num(t->rate.factor));
    if (t->rate.kind == KY_DECAY_PLATEAU)
        ky_json_set(e, "decay_patience", ky_json_of_int(t->rate.patience));
}

void ky_training_note(const ky_training *t, ky_model *m, const ky_train_result *r,
                      uint64_t data_hash, int rows, ky_json *folds)
{
    ky_json *e = ky_json_object();
    char hash[24];

    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)data_hash);
    ky_json_set(e, "kymo_version", ky_json_of_str(PACKAGE_VERSION));
    ky_json_set(e, "seed", ky_json_of_int(t->seed));
    ky_json_set(e, "data_hash", ky_json_of_str(hash));
    ky_json_set(e, "rows", ky_json_of_int(rows));
    ky_json_set(e, "batch", ky_json_of_int(t->batch));
    ky_json_set(e, "learning_rate", ky_json_of_num(t->learning_rate));
    ky_json_set(e, "clip_norm", ky_json_of_num(t->clip_norm));
    note_options(t, e);
    ky_json_set(e, "validation", ky_json_of_num(t->validation));
    ky_json_set(e, "memory", ky_json_of_str(t->memory));
    ky_json_set(e, "best_epoch", ky_json_of_int(r->best_epoch));
    if (folds != NULL)
        ky_json_set(e, "cross_validation", folds);
    ky_json_set(e, "history", ky_json_copy(r->history));
    ky_json_free(m->meta.extra);
    m->meta.extra = e;
}
