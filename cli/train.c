#include <errno.h>
#include <libgen.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/folds.h"
#include "cli/report.h"
#include "cli/scoring.h"
#include "cli/training.h"
#include "models/json.h"

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

static ky_scoring_opts test_opts(const ky_training *t)
{
    return (ky_scoring_opts){ .task = t->task,
                              .part = KY_PART_TEST,
                              .threads = (int)t->threads,
                              .resamples = KY_RESAMPLES,
                              .seed = (uint64_t)t->seed };
}

/* What is wrong with the test part is told before hours of training, not after them. */
static int check_test(const ky_training *t, const ky_model *m, const ky_data *d, ky_err *err)
{
    const ky_scoring_opts o = test_opts(t);
    int rc = ky_model_facts(m)->window > 0 ? ky_data_check_test(t->data, d, err) : KY_OK;

    if (rc == KY_OK)
        rc = ky_scoring_check(m, t->data, &o, err);
    return rc == KY_ENOENT ? KY_OK : rc;
}

/* It is scored only when nothing is left to choose. */
static int score_test(const ky_training *t, const ky_model *m, ky_scoring *ret, ky_err *err)
{
    const ky_scoring_opts o = test_opts(t);
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
    if ((strcmp(t->memory, "stream") == 0 && (rc = ky_data_carry(&d, &err)) < 0) ||
        (rc = make_model(t, &d, &m, &err)) < 0)
        goto out;
    if (strchr(t->data, ':') == NULL && (rc = check_test(t, m, &d, &err)) < 0)
        goto out;
    if (!t->quiet)
        describe(t, &d);
    if ((t->folds > 1 && (rc = ky_folds_run(t, &d, &folds, &err)) < 0) ||
        (rc = ky_training_run(t, m, &d.set, t->arch != NULL, &r, &err)) < 0)
        goto out;
    cut_short = ky_cli_interrupted() && r.epochs_run < t->epochs && !r.stopped_early;
    ky_training_note(t, m, &r, d.hash, d.set.N, folds.n > 0 ? ky_folds_json(&folds) : NULL);
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

int ky_cmd_train(int argc, char **argv)
{
    const ky_training *t;
    int rc = ky_training_asked(argc, argv, &t);

    if (rc >= 0)
        return rc;
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
