#include <errno.h>
#include <libgen.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/report.h"
#include "cli/scoring.h"
#include "cli/folds.h"
#include "cli/training.h"
#include "cli/watch.h"
#include "models/blueprint.h"
#include "models/json.h"

/* ---- training ---- */

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
    ky_train_defaults(&o);
    o.epochs = (int)t->epochs;
    o.batch = (int)t->batch;
    o.patience = (int)t->patience;
    o.threads = (int)t->threads;
    o.learning_rate = t->learning_rate;
    o.validation = t->validation;
    o.clip_norm = t->clip_norm;
    o.clip_array = t->clip_array;
    o.clip_value = t->clip_value;
    o.l1 = t->l1;
    o.l2 = t->l2;
    o.loss = (ky_loss){ .kind = t->loss, .smoothing = t->smoothing };
    o.optim = t->optim;
    o.rate = t->rate;
    o.balanced = t->class_weight != NULL && strcmp(t->class_weight, "balanced") == 0;
    o.class_weight = weight;
    o.augment = t->augment;
    o.seed = (uint64_t)t->seed;
    o.checkpoint = t->checkpoint;
    o.resume = t->resume;
    o.fit_input = fit_input;
    o.progress = ky_watch_show;
    o.arg = &w;
    rc = ky_train(m, d, &o, ret, err);
    free(weight);
    ky_watch_end(&w, rc == KY_OK ? ret : NULL);
    return rc;
}

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
                      uint64_t data_hash, int rows)
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
    ky_json_set(e, "history", ky_json_copy(r->history));
    ky_json_free(m->meta.extra);
    m->meta.extra = e;
}

/* ---- training on a person's file ---- */

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

static int build(const ky_training *t, const ky_data *d, ky_model **ret, ky_err *err)
{
    ky_arch_opts o;
    int rc = ky_training_shape(t, d, &o, err);

    return rc < 0 ? rc : ky_training_build(t, d, &o, ret, err);
}

/* A new model, or one to go on from, whose classes the labels then take. */
static int make_model(const ky_training *t, ky_data *d, ky_model **ret, ky_err *err)
{
    const char *from = t->model != NULL ? t->model : t->resume;
    int rc = t->arch != NULL ? build(t, d, ret, err) : ky_model_load(from, ret, err);

    if (rc == KY_OK && from != NULL && t->task == KY_TASK_CLASSIFY)
        rc = ky_data_match(d, *ret, err);
    if (rc == KY_OK && d->vocabulary != NULL && ky_model_facts(*ret)->vocabulary == NULL)
        rc = ky_model_set_vocabulary(*ret, d->vocabulary, err);
    if (rc == KY_OK && (rc = ky_data_fit(d, *ret, err)) == KY_OK)
        rc = ky_data_check_tokens(d, *ret, err);
    return rc;
}

/* Refused before the work, not after it. */
static int check_out(const char *out, ky_err *err)
{
    char copy[4096];
    size_t len = strlen(out);

    if (len >= sizeof copy)
        return ky_fail(err, KY_EINVAL, "'%.60s...': the name is too long", out);
    if (len > 6 && strcmp(out + len - 6, ".keras") == 0)
        return ky_fail(err, KY_EINVAL,
                       "'%s': kymo writes Keras's HDF5 format, which Keras opens under a name that "
                       "ends in .h5",
                       out);
    strcpy(copy, out);
    if (access(dirname(copy), W_OK) != 0)
        return ky_fail(err, KY_EIO, "'%s' cannot be written: %s", out, strerror(errno));
    return KY_OK;
}

/* All that is going to be written. */
static int check_outputs(const ky_training *t, ky_err *err)
{
    const char *const outputs[] = { t->out, t->checkpoint, t->history };

    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        int rc = outputs[i] != NULL ? check_out(outputs[i], err) : KY_OK;

        if (rc == KY_OK && outputs[i] != NULL)
            rc = ky_data_spare(t->data, outputs[i], err);
        if (rc < 0)
            return rc;
    }
    return t->report != NULL ? ky_report_prepare(t->report, err) : KY_OK;
}

static int report(const ky_training *t, const ky_model *m, const ky_data *d,
                  const ky_train_result *r, const ky_scoring *test, const ky_folds *folds)
{
    const ky_model_info *f = ky_model_facts(m);
    ky_json *o;
    char hash[24], measure[32], *text;

    if (!t->json) {
        printf("%s: %zu weights, epoch %d of %d kept, validation %s %.4f, validation loss "
               "%.4f, %.1f s\n",
               t->out, f->params, r->best_epoch, r->epochs_run, r->measure, r->val_accuracy,
               r->val_loss, r->seconds);
        if (folds->n > 0)
            ky_folds_print(folds);
        if (test->s.N > 0) {
            printf("test ");
            ky_scoring_print_line(test);
        }
        if (t->report != NULL)
            printf("report: %s/index.html\n", t->report);
        return KY_EXIT_OK;
    }
    o = ky_json_object();
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)f->hash);
    ky_json_set(o, "model", ky_json_of_str(t->out));
    ky_json_set(o, "hash", ky_json_of_str(hash));
    ky_json_set(o, "params", ky_json_of_int((int64_t)f->params));
    ky_json_set(o, "rows", ky_json_of_int(d->set.N));
    ky_json_set(o, "epochs", ky_json_of_int(r->epochs_run));
    ky_json_set(o, "best_epoch", ky_json_of_int(r->best_epoch));
    ky_json_set(o, "stopped_early", ky_json_of_bool(r->stopped_early));
    ky_json_set(o, "val_loss", ky_json_of_num(r->val_loss));
    snprintf(measure, sizeof measure, "val_%s", r->measure);
    ky_json_set(o, measure, ky_json_of_num(r->val_accuracy));
    ky_json_set(o, "seconds", ky_json_of_num(r->seconds));
    ky_json_set(o, "test", test->s.N > 0 ? ky_scoring_json(test) : ky_json_of_null());
    if (folds->n > 0)
        ky_json_set(o, "cross_validation", ky_folds_json(folds));
    ky_json_set(o, "history", ky_json_copy(r->history));
    text = ky_json_text(o, 2);
    ky_json_free(o);
    if (text != NULL)
        puts(text);
    free(text);
    return KY_EXIT_OK;
}

/* The test part is read only now, when nothing is left to choose. */
static int score_test(const ky_training *t, const ky_model *m, ky_scoring *ret, ky_err *err)
{
    const ky_scoring_opts o = { .task = t->task,
                                .part = KY_PART_TEST,
                                .threads = (int)t->threads,
                                .resamples = KY_RESAMPLES,
                                .seed = (uint64_t)t->seed };
    int rc = ky_scoring_run(m, t->data, &o, ret, err);

    return rc == KY_ENOENT ? KY_OK : rc;
}

/* What is learned from, and who is asked which epoch was the best; as models/split.h has it. */
static void describe(const ky_training *t, const ky_data *d)
{
    const ky_dataset *s = &d->set;

    bool classes = t->task == KY_TASK_CLASSIFY;

    fprintf(stderr, "%s: %d rows of %s; %d %s\n", d->what, s->N,
            ky_data_shape(d->rows->rank - 1, d->rows->dims + 1).text, classes ? d->n_classes : s->C,
            classes                         ? "classes"
            : t->task == KY_TASK_MULTILABEL ? "labels"
                                            : "targets");
    fprintf(stderr,
            "held out for validation: about %g %%, %s; done after %g epochs, or %g without "
            "a lower validation loss\n",
            100 * t->validation,
            s->group != NULL ? "whole groups"
            : s->ts != NULL  ? "the latest"
            : classes        ? "of every class"
                             : "drawn",
            (double)t->epochs, (double)t->patience);
}

static int train_file(const ky_training *t)
{
    ky_err err = { 0 };
    ky_data d = { 0 };
    ky_model *m = NULL;
    ky_train_result r = { 0 };
    ky_scoring test = { 0 };
    ky_folds folds = { 0 };
    bool classes = t->task == KY_TASK_CLASSIFY, cut_short = false;
    int rc;

    if ((rc = check_outputs(t, &err)) < 0)
        goto out;
    rc =
        ky_data_load_within(t->data, KY_PART_TRAIN, classes ? KY_BESIDE_CLASSES : KY_BESIDE_TARGETS,
                            (size_t)t->buffer, &d, &err);
    if (rc < 0)
        goto out;
    if (classes && d.naming == KY_NAMES_NONE) {
        rc = ky_fail(&err, KY_ENOENT, "%s has no labels beside it to learn", d.what);
        goto out;
    }
    d.set.carried = strcmp(t->memory, "stream") == 0;
    if (d.set.carried && d.group == NULL) {
        d.set.group = d.group = calloc((size_t)d.set.N, sizeof *d.group);
        if (d.group == NULL) {
            rc = ky_fail(&err, KY_ENOMEM, "no memory for groups");
            goto out;
        }
    }
    if ((rc = make_model(t, &d, &m, &err)) < 0)
        goto out;
    /* Not after hours of training. */
    if (strchr(t->data, ':') == NULL && ky_model_facts(m)->window > 0 &&
        (rc = ky_data_check_test(t->data, &d, &err)) < 0)
        goto out;
    if (!t->quiet)
        describe(t, &d);
    if ((t->folds > 1 && (rc = ky_folds_run(t, &d, &folds, &err)) < 0) ||
        (rc = ky_training_run(t, m, &d.set, t->arch != NULL, &r, &err)) < 0)
        goto out;
    cut_short = ky_cli_interrupted() && r.epochs_run < t->epochs && !r.stopped_early;
    ky_training_note(t, m, &r, d.hash, d.set.N);
    if ((rc = ky_model_save(m, t->out, &err)) < 0 ||
        (strchr(t->data, ':') == NULL && (rc = score_test(t, m, &test, &err)) < 0))
        goto out;
    if (t->report != NULL &&
        (rc = ky_report_write(&(ky_report){ t->report, t->out, m, &test, t->argc, t->argv },
                              &err)) < 0)
        goto out;
    report(t, m, &d, &r, &test, &folds);
out:
    ky_scoring_done(&test);
    ky_json_free(r.history);
    ky_model_free(m);
    ky_data_free(&d);
    if (rc < 0)
        return ky_cli_fail(&err);
    return cut_short ? KY_EXIT_PARTLY : KY_EXIT_OK;
}

/* ---- the command ---- */

/* A child of the daemon takes only what nobody else wants, and goes when it goes. */
static void go_to_background(void)
{
    struct sched_param none = { 0 };

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setpriority(PRIO_PROCESS, 0, 19);
    sched_setscheduler(0, SCHED_IDLE, &none);
}

/* The words of the optimizer and the schedule, and what they mean where a number is not given. */
static int check_optimizer(const ky_usage *u, ky_training *t)
{
    ky_err err;

    if (ky_optim_find(t->optimizer, &t->optim.kind, &err) < 0 ||
        ky_decay_find(t->schedule, &t->rate.kind, &err) < 0)
        return ky_cli_usage(u, "%s", err.text);
    if (isnan(t->weight_decay)) {
        ky_optim_opts o;

        ky_optim_defaults(t->optim.kind, &o);
        t->weight_decay = o.weight_decay;
    }
    t->optim.weight_decay = t->weight_decay;
    if (isnan(t->learning_rate))
        t->learning_rate = ky_optim_rate(t->optim.kind);
    if (isnan(t->clip_norm))
        t->clip_norm = t->clip_array > 0 || t->clip_value > 0 ? 0 : 1;
    if (!isnan(t->rate.factor) && t->rate.kind != KY_DECAY_EXPONENTIAL &&
        t->rate.kind != KY_DECAY_PLATEAU)
        return ky_cli_usage(u, "--decay goes with --schedule exponential or plateau");
    if (isnan(t->rate.factor))
        t->rate.factor = t->rate.kind == KY_DECAY_PLATEAU ? 0.1 : 0.95;
    t->rate.patience = (int)t->decay_patience;
    return -1;
}

/* The task and a loss that goes with it. */
static int check_task(const ky_usage *u, ky_training *t)
{
    ky_err err;
    bool cross;

    if (ky_task_find(t->task_name, &t->task, &err) < 0)
        return ky_cli_usage(u, "%s", err.text);
    if (t->task == KY_TASK_CLASSIFY)
        return t->loss_name == NULL ? -1
                                    : ky_cli_usage(u, "--loss goes with --task regress: classes "
                                                      "are learned by their cross-entropy");
    if (t->segments.n > 0)
        return ky_cli_usage(u, "--segments are learned from with --task classify only");
    t->loss = t->task == KY_TASK_REGRESS ? KY_LOSS_MSE : KY_LOSS_BINARY;
    if (t->loss_name != NULL && ky_loss_find(t->loss_name, &t->loss, &err) < 0)
        return ky_cli_usage(u, "%s", err.text);
    cross = t->loss == KY_LOSS_BINARY || t->loss == KY_LOSS_CATEGORICAL;
    if (cross != (t->task == KY_TASK_MULTILABEL) || t->loss == KY_LOSS_CATEGORICAL)
        return ky_cli_usage(u, "--loss %s does not go with --task %s", t->loss_name, t->task_name);
    return -1;
}

/* Of a model that nobody named: for "dir/har.h5:X" har-model.h5 in this folder, or if there is
 * one har-model-2.h5 ... */
static const char *free_name(const char *data)
{
    static char name[160];
    const char *slash = strrchr(data, '/'), *base = slash != NULL ? slash + 1 : data;
    int len = (int)strcspn(base, ".:");

    snprintf(name, sizeof name, "%.*s-model.h5", len < 100 ? len : 100, base);
    for (int i = 2; access(name, F_OK) == 0 && i < 10000; i++)
        snprintf(name, sizeof name, "%.*s-model-%d.h5", len < 100 ? len : 100, base, i);
    return name;
}

static int check_words(const ky_usage *u, ky_training *t)
{
    int rc = check_optimizer(u, t);

    ky_err err;

    if (rc >= 0 || (rc = check_task(u, t)) >= 0)
        return rc;
    if (t->augment_text != NULL && ky_augment_parse(t->augment_text, &t->augment, &err) < 0)
        return ky_cli_usage(u, "--augment: %s", err.text);
    if (t->out == NULL && t->segments.n > 0)
        return ky_cli_usage(u, "-o is missing: where the model should be written");
    if (strcmp(t->memory, "window") != 0 && strcmp(t->memory, "stream") != 0)
        return ky_cli_usage(u, "--memory: '%s' is neither window nor stream", t->memory);
    if (t->segments.n > 0 && (t->checkpoint != NULL || t->resume != NULL || t->report != NULL))
        return ky_cli_usage(u, "--checkpoint, --resume and --report go with a file of data");
    if (t->folds > 1 && (t->segments.n > 0 || t->checkpoint != NULL || t->resume != NULL))
        return ky_cli_usage(u, "--folds goes with a whole training on a file of data");
    if (t->segments.n > 0) {
        if (t->model == NULL || t->arch != NULL)
            return ky_cli_usage(u, "--segments goes with --model, the model to go on from");
        if (strcmp(t->metric, "accuracy") != 0 && strcmp(t->metric, "macro_f1") != 0 &&
            strcmp(t->metric, "log_loss") != 0)
            return ky_cli_usage(u, "--metric: '%s' is none of accuracy, macro_f1, log_loss",
                                t->metric);
        return -1;
    }
    if (t->data == NULL)
        return ky_cli_usage(u, "the data to learn from are missing");
    if (t->gate)
        return ky_cli_usage(u, "--gate goes with --segments");
    if (t->history != NULL && !ky_watch_takes(t->history))
        return ky_cli_usage(u, "--history: '%s' ends in neither .csv nor .json", t->history);
    if (t->checkpoint == NULL)
        t->checkpoint = t->resume;
    if (t->out == NULL)
        t->out = free_name(t->data);
    if (t->checkpoint != NULL && strcmp(t->checkpoint, t->out) == 0)
        return ky_cli_usage(u, "-o and the checkpoint are the same file");
    if ((t->arch != NULL) + (t->model != NULL) + (t->resume != NULL) != 1)
        return ky_cli_usage(u, "one of --arch, --model and --resume is wanted");
    return -1;
}

static const char about[] =
    "Trains a model on labelled rows: DATA is an HDF5 file with X_train and y_train, or X\n"
    "and y, or FILE:DATASET. The epoch kept is the one with the lowest loss on a\n"
    "validation part; a test part (X_test) is only scored at the end. X is [rows, steps,\n"
    "values], [rows, values], images [rows, height, width, channels], videos with steps in\n"
    "front of that, or tokens [rows, steps] for `embed`; y a whole number or a name a row;\n"
    "`group` (say, the person) keeps what belongs together on one side of the validation.\n"
    "With --task multilabel or regress y is [rows] or [rows, targets], and the last\n"
    "`dense` has one output a target: sigmoid for labels, linear for numbers.\n"
    "\n"
    "LAYERS, by comma, each a word, its numbers, then its options:\n"
    "  lstm:64  gru:64  rnn:64    units; before another layer of steps all of them go on\n"
    "  bi(lstm:64)  td(dense:8)   both directions; the same layer on every step\n"
    "  conv1d:64x3/2 same relu    filters x width / stride *dilation; same, causal, valid\n"
    "  conv2d:32x3 relu           the same on images; in td(...) on each frame of a video\n"
    "  embed:32x1000              size x tokens; of as many as the data have\n"
    "  maxpool:2  avgpool:2/1     width / stride\n"
    "  gap  gmp  flatten          mean, maximum of all steps; all steps side by side\n"
    "  dense:100 relu             units; the last `dense` has one output a class, softmax\n"
    "  leaky:0.1  elu  prelu  ln  slopes; normalises each step by itself\n"
    "  dropout:0.5  bn            rate; normalises by the statistics of slices of a batch,\n"
    "                             of about 16 windows each with the default batch\n"
    "  activations: relu, tanh, sigmoid, elu, gelu ... by Keras's names";

/* What the command line asks for; the table below points into it. */
static ky_training asked = { .memory = "window",
                             .normalize = true,
                             .metric = "accuracy",
                             .optimizer = "adam",
                             .schedule = "constant",
                             .task_name = "classify",
                             .learning_rate = NAN,
                             .clip_norm = NAN,
                             .weight_decay = NAN,
                             .rate = { .factor = NAN },
                             .decay_patience = 4,
                             .buffer = KY_DATA_MEMORY,
                             .held_out = 0.25,
                             .least_rows = 20 };

static const ky_opt opts[] = {
    { "arch", 'a', KY_OPT_STR, &asked.arch, 0, 0, "LAYERS", "layers of a new model" },
    { "model", 'm', KY_OPT_STR, &asked.model, 0, 0, "FILE", "go on from this model instead" },
    { "output", 'o', KY_OPT_STR, &asked.out, 0, 0, "FILE",
      "where the model is written; DATA-model.h5 where nothing is given" },
    { "checkpoint", 0, KY_OPT_STR, &asked.checkpoint, 0, 0, "FILE",
      "written after each epoch, to go on from" },
    { "history", 0, KY_OPT_STR, &asked.history, 0, 0, "FILE.csv|.json",
      "loss, accuracy, rate and seconds of each epoch, written as epochs end" },
    { "report", 'r', KY_OPT_STR, &asked.report, 0, 0, "DIR",
      "write DIR/index.html: curves, and of the test part confusions and calibration" },
    { "resume", 0, KY_OPT_STR, &asked.resume, 0, 0, "FILE",
      "go on from a checkpoint, with the data and options it was made with; --checkpoint is "
      "the same file unless another is given" },
    { "task", 0, KY_OPT_STR, &asked.task_name, 0, 0, "NAME",
      "classify, multilabel (y is 0 and 1 of each label) or regress (y is numbers)" },
    { "loss", 0, KY_OPT_STR, &asked.loss_name, 0, 0, "NAME",
      "of regress: mse (where nothing is given), mae, huber" },
    { "epochs", 'e', KY_OPT_INT, &asked.epochs, 1, 1e6, "N", "times over the data, at most" },
    { "batch", 'b', KY_OPT_INT, &asked.batch, 1, 1e5, "N", "windows a step" },
    { "optimizer", 0, KY_OPT_STR, &asked.optimizer, 0, 0, "NAME", "adam, adamw, sgd or rmsprop" },
    { "lr", 'l', KY_OPT_NUM, &asked.learning_rate, 1e-12, 10, "X",
      "learning rate; 0.001 where not given, with sgd 0.01" },
    { "momentum", 0, KY_OPT_NUM, &asked.optim.momentum, 0, 0.9999, "X", "of sgd and rmsprop" },
    { "nesterov", 0, KY_OPT_FLAG, &asked.optim.nesterov, 0, 0, NULL, "sgd: Nesterov's momentum" },
    { "rho", 0, KY_OPT_NUM, &asked.optim.rho, 0, 0.9999, "X",
      "rmsprop: how much of its mean of squares a step keeps" },
    { "centered", 0, KY_OPT_FLAG, &asked.optim.centered, 0, 0, NULL,
      "rmsprop: divide by the gradient's deviation" },
    { "weight-decay", 0, KY_OPT_NUM, &asked.weight_decay, 0, 10, "X",
      "a step takes this share of lr * w from each weight; 0, with adamw 0.004" },
    { "schedule", 0, KY_OPT_STR, &asked.schedule, 0, 0, "NAME",
      "of the learning rate: constant, exponential, cosine, plateau" },
    { "decay", 0, KY_OPT_NUM, &asked.rate.factor, 1e-6, 1, "X",
      "what the rate is multiplied by: each epoch (exponential, 0.95), or when the validation "
      "loss stays (plateau, 0.1)" },
    { "decay-patience", 0, KY_OPT_INT, &asked.decay_patience, 1, 1e6, "N",
      "plateau: epochs without a lower validation loss" },
    { "seed", 's', KY_OPT_INT, &asked.seed, 0, 9e15, "N",
      "same seed, data and options: the same file" },
    { "patience", 'p', KY_OPT_INT, &asked.patience, 1, 1e6, "N",
      "epochs without a better validation loss before it stops" },
    { "clip", 0, KY_OPT_NUM, &asked.clip_norm, 0, 1e9, "X",
      "gradients longer than this are shortened to it; 0: never; 1 where nothing is given" },
    { "clipnorm", 0, KY_OPT_NUM, &asked.clip_array, 0, 1e9, "X",
      "in place of --clip, each array of weights by itself" },
    { "clipvalue", 0, KY_OPT_NUM, &asked.clip_value, 0, 1e9, "X",
      "in place of --clip, cut each element off here" },
    { "l1", 0, KY_OPT_NUM, &asked.l1, 0, 1e6, "X", "add X times the sum of |w| of kernels" },
    { "l2", 0, KY_OPT_NUM, &asked.l2, 0, 1e6, "X", "add X times the sum of w^2 of kernels" },
    { "label-smoothing", 0, KY_OPT_NUM, &asked.smoothing, 0, 0.9999, "X",
      "share of each label that is spread over all classes" },
    { "class-weight", 0, KY_OPT_STR, &asked.class_weight, 0, 0, "balanced|NAME=W,...",
      "what rows of a class count in the loss that is learned from" },
    { "buffer", 0, KY_OPT_SIZE, &asked.buffer, 1 << 20, 1e15, "SIZE",
      "bytes of rows in memory: larger data are read in blocks each epoch and shuffled within so "
      "much" },
    { "validation", 0, KY_OPT_NUM, &asked.validation, 0.001, 0.9, "X",
      "share held out to choose the epoch" },
    { "augment", 0, KY_OPT_STR, &asked.augment_text, 0, 0, "jitter=X,scale=X,shift=N",
      "change the rows learned from each time anew: noise of X deviations, values X times further "
      "from their mean or nearer, moved by up to N steps or pixels" },
    { "folds", 0, KY_OPT_INT, &asked.folds, 0, KY_MOST_FOLDS, "N",
      "cross-validation first: N times all rows but a fold are learned from and the fold is "
      "scored; "
      "0, 1: none" },
    { "threads", 't', KY_OPT_INT, &asked.threads, 0, 256, "N",
      "0: all cores; no effect on the result" },
    { "memory", 0, KY_OPT_STR, &asked.memory, 0, 0, "window|stream",
      "each window from zeros, or state carried along a stream" },
    { "no-normalize", 0, KY_OPT_FLAG, &asked.normalize, 0, 0, NULL,
      "leave out the layer that normalises the input" },
    { "json", 'j', KY_OPT_FLAG, &asked.json, 0, 0, NULL, "report as JSON" },
    { "quiet", 'q', KY_OPT_FLAG, &asked.quiet, 0, 0, NULL, "no progress" },
    { "segments", 0, KY_OPT_STRS, &asked.segments, 0, 0, "DIR|FILE",
      "learn from the archive's segments" },
    { "gate", 0, KY_OPT_FLAG, &asked.gate, 0, 0, NULL,
      "score beside --model on the same held-out latest part" },
    { "results", 0, KY_OPT_STR, &asked.results, 0, 0, "FILE",
      "results.db, for labels that came late" },
    { "class", 0, KY_OPT_STR, &asked.class_name, 0, 0, "NAME",
      "the segments' stream class; else the name of their folder" },
    { "metric", 0, KY_OPT_STR, &asked.metric, 0, 0, "NAME",
      "what the gate compares: accuracy, macro_f1, log_loss" },
    { "margin", 0, KY_OPT_NUM, &asked.margin, -1e6, 1e6, "X", "how much better it must be" },
    { "held-out", 0, KY_OPT_NUM, &asked.held_out, 0.001, 0.9, "X",
      "share of the latest sequences" },
    { "least-rows", 0, KY_OPT_INT, &asked.least_rows, 2, 1e9, "N",
      "fewest labelled sequences to go on with" },
    { "background", 0, KY_OPT_FLAG, &asked.background, 0, 0, NULL,
      "lowest priority, quiet, and end with the parent" },
    { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
};

static const ky_usage usage = {
    .synopsis =
        "kymo train DATA --arch LAYERS | --model FILE | --resume FILE [-o MODEL.h5] [options]",
    .about = about,
    .opts = opts,
    .max_args = 1,
    .examples = "  kymo train har.h5 --arch \"lstm:64, dense\" -o har_lstm.h5\n"
                "  kymo train har.h5 --arch \"conv1d:64x3 relu, maxpool:2, flatten, dense\" "
                "-o har_cnn.h5\n",
};

int ky_cmd_train(int argc, char **argv)
{
    ky_training *t = &asked;
    const char *words[1] = { NULL };
    ky_train_opts o;
    int n, rc;

    ky_train_defaults(&o);
    t->epochs = o.epochs;
    t->batch = o.batch;
    t->patience = o.patience;
    t->seed = (int64_t)o.seed;
    t->validation = o.validation;
    t->optim = o.optim;
    if ((rc = ky_cli_parse(&usage, argc, argv, words, &n)) >= 0)
        return rc;
    t->data = n > 0 ? words[0] : NULL;
    t->argc = argc;
    t->argv = argv;
    if ((rc = check_words(&usage, t)) >= 0)
        return rc;
    t->quiet |= t->background;
    if (t->background)
        go_to_background();
    else
        ky_cli_catch_interrupts();
    if (!t->quiet)
        ky_cli_say_at_interrupt(
            "\nkymo: ends after this batch and keeps the best epoch; once more: "
            "ends at once\n");
    return t->segments.n > 0 ? ky_training_gate(t) : train_file(t);
}
