/* kymo compare: models of like size, trained alike, side by side on the same data. */
#include "cli/compare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const ky_compare_task tasks[] = {
    [KY_TASK_CLASSIFY] = { KY_OF_CLASSES, KY_ACCURACY, KY_MACRO_F1, false },
    [KY_TASK_MULTILABEL] = { KY_OF_LABELS, KY_ACCURACY, KY_MACRO_F1, false },
    [KY_TASK_REGRESS] = { KY_OF_NUMBERS, KY_RMSE, KY_R2, true },
};

static const enum ky_loss_kind losses[] = {
    [KY_TASK_MULTILABEL] = KY_LOSS_BINARY, [KY_TASK_REGRESS] = KY_LOSS_MSE
};

/* Enough epochs for so many steps of the optimizer, however many rows there are; where it is time
 * that is the same for all, as many as there is time for. */
static void settle_budget(ky_comparison *c)
{
    enum { STEPS = 2000, LEAST = 30, MOST = 500, MOST_EPOCHS = 1000000 };
    ky_training *t = &c->base;
    double rows = c->train.set.N * (1 - t->validation),
           epochs = STEPS / ceil(rows / (double)t->batch);

    if (c->seconds > 0) {
        t->epochs = t->epochs > 0 ? t->epochs : MOST_EPOCHS;
        t->patience = t->patience > 0 ? t->patience : t->epochs;
    }
    if (t->epochs == 0)
        t->epochs = epochs < LEAST ? LEAST : epochs > MOST ? MOST : (int64_t)epochs;
    if (t->patience == 0)
        t->patience = t->epochs / 5 > 5 ? t->epochs / 5 : 5;
}

/* -- training -- */

typedef struct watch {
    ky_progress bar; /* of epochs, or of seconds where they are the budget */
    double before;   /* of the runs before */
    char what[64];
    double enough;  /* a validation loss that leaves nothing to learn */
    bool learned;   /* it was reached */
    double seconds; /* a run may take; 0: as long as its epochs do */
    bool out_of_time;
} watch;

static int show(const ky_train_progress *p, void *arg)
{
    watch *w = arg;
    char note[120];

    double rows = (double)(p->rows + p->held) / (p->rows_all + p->held_all);
    bool whole = p->batch == p->batches && p->held == 0;

    snprintf(note, sizeof note, "%s, epoch %d, loss %.4f", w->what, p->epoch, p->loss);
    ky_progress_show(&w->bar,
                     w->before + (w->seconds > 0 ? fmin(p->seconds, w->seconds)
                                                 : p->epoch - 1 + (whole ? 1 : rows)),
                     note);
    w->learned = whole && p->val_loss < w->enough;
    w->out_of_time = w->seconds > 0 && p->seconds >= w->seconds;
    return w->learned || w->out_of_time || ky_cli_interrupted();
}

static int train_one(const ky_comparison *c, const ky_training *t, ky_model *m, watch *w,
                     ky_train_result *ret, ky_err *err)
{
    ky_train_opts o;

    ky_training_opts(t, &o);
    o.fit_input = true;
    o.progress = show;
    o.arg = w;
    return ky_train(m, &c->train.set, &o, ret, err);
}

/* What this run's model is worth on the test rows. */
static int score_one(const ky_comparison *c, ky_entry *e, const ky_model *m, ky_err *err)
{
    ky_metrics s;
    int rc = ky_evaluate_with(m, &c->test.set, c->task->truth, KY_RESAMPLES, (uint64_t)c->base.seed,
                              (int)c->base.threads, NULL, &s, err);
    const ky_estimate *f = &s.figure[c->task->figure];
    double error;

    if (rc < 0)
        return rc;
    error = (f->high - f->low) / (2 * 1.959964);
    e->figure[e->runs] = f->value;
    e->second[e->runs] = s.figure[c->task->second].value;
    e->row_variance[e->runs] = isnan(error) ? 0 : error * error;
    ky_metrics_done(&s);
    return KY_OK;
}

/* The model with the lowest validation loss is kept: the test rows choose nothing. */
static void keep(const ky_comparison *c, ky_entry *e, const ky_training *t, ky_model *m,
                 const ky_train_result *r)
{
    if (e->kept != NULL && r->val_loss >= e->kept_loss) {
        ky_model_free(m);
        return;
    }
    ky_training_note(t, m, r, c->train.hash, c->train.set.N, NULL);
    ky_model_free(e->kept);
    e->kept = m;
    e->kept_loss = r->val_loss;
}

/* What came of a run, where no terminal shows a bar. */
static void log_run(const ky_comparison *c, const ky_entry *e, const ky_train_result *r)
{
    if (!c->base.quiet && !isatty(STDERR_FILENO))
        fprintf(stderr, "model=%s seed=%lld epochs=%d best_epoch=%d %s=%.4f %s=%.4f seconds=%.1f\n",
                e->c->name, (long long)c->base.seed + e->runs - 1, r->epochs_run, r->best_epoch,
                ky_figure_name(c->task->figure), e->figure[e->runs - 1],
                ky_figure_name(c->task->second), e->second[e->runs - 1], r->seconds);
}

static int run_one(ky_comparison *c, ky_entry *e, int seed, watch *w, ky_err *err)
{
    ky_training t = c->base;
    ky_train_result r = { 0 };
    ky_model *m = NULL;
    int rc;

    t.arch = e->arch;
    t.quiet = true; /* what is told of rows of several lengths */
    t.seed += seed;
    w->learned = w->out_of_time = false;
    snprintf(w->what, sizeof w->what, "%s, seed %d of %d", e->c->title, seed + 1, c->seeds);
    if ((rc = ky_training_build(&t, &c->train, &c->arch, &m, err)) < 0 ||
        (c->train.vocabulary != NULL &&
         (rc = ky_model_set_vocabulary(m, c->train.vocabulary, err)) < 0) ||
        (rc = ky_compare_fit(c, m, err)) < 0 || (rc = train_one(c, &t, m, w, &r, err)) < 0)
        goto out;
    if (ky_cli_interrupted()) /* what had less than the others says nothing */
        goto out;
    if ((rc = score_one(c, e, m, err)) < 0 ||
        (e->runs == 0 && (rc = ky_compare_serve(c, e, m, err)) < 0))
        goto out;
    e->runs++;
    log_run(c, e, &r);
    e->unfinished += !w->learned && (r.best_epoch == (int)t.epochs ||
                                     (w->out_of_time && r.best_epoch == r.epochs_run));
    keep(c, e, &t, m, &r);
    m = NULL;
out:
    ky_json_free(r.history);
    ky_model_free(m);
    return rc < 0 ? ky_context(err, rc, "%s", e->c->title) : KY_OK;
}

/* A seed of every model before the next seed of any, so that an interrupt leaves something. */
static int run_all(ky_comparison *c, ky_err *err)
{
    watch w = { .bar = { .what = "comparing",
                         .unit = "epochs",
                         .quiet = c->base.quiet || !isatty(STDERR_FILENO) },
                .enough = c->task->truth == KY_OF_CLASSES ? 0.002 : 0,
                .seconds = c->seconds };
    double budget = c->seconds > 0 ? c->seconds : (double)c->base.epochs;
    int n = 0, rc = KY_OK;

    if (c->seconds > 0)
        w.bar.unit = "seconds";

    for (int i = 0; i < c->n; i++)
        n += c->entry[i].left_out.code == 0;
    w.bar.total = n * c->seeds * budget;
    ky_progress_begin(&w.bar);
    for (int s = 0; s < c->seeds; s++)
        for (int i = 0; i < c->n && rc == KY_OK && !ky_cli_interrupted(); i++)
            if (c->entry[i].left_out.code == 0) {
                rc = run_one(c, &c->entry[i], s, &w, err);
                w.before += budget;
            }
    c->interrupted = ky_cli_interrupted();
    if (rc == KY_OK && !c->interrupted)
        ky_progress_end(&w.bar, w.bar.total, NULL);
    else
        ky_progress_clear(&w.bar);
    return rc;
}

/* -- the whole -- */

/* Labels of the test part become places in the training part's list of classes. */
static int match_test(ky_comparison *c, ky_err *err)
{
    const ky_entry *e = c->entry;
    ky_training t = c->base;
    ky_model *m;
    int rc;

    if (t.task != KY_TASK_CLASSIFY || !c->test_part)
        return KY_OK;
    while (e->left_out.code < 0)
        e++;
    t.arch = e->arch;
    t.quiet = true;
    if ((rc = ky_training_build(&t, &c->train, &c->arch, &m, err)) < 0)
        return rc;
    rc = ky_data_match(&c->test, m, err);
    ky_model_free(m);
    return rc;
}

static void write_path(const ky_comparison *c, const ky_entry *e, char path[4096])
{
    snprintf(path, 4096, "%.4000s/%s.h5", c->base.out, e->c->name);
}

static int save_models(const ky_comparison *c, ky_err *err)
{
    char path[4096];
    int rc = KY_OK;

    for (int i = 0; i < c->n && rc == KY_OK; i++)
        if (c->entry[i].kept != NULL) {
            write_path(c, &c->entry[i], path);
            rc = ky_model_save(c->entry[i].kept, path, err);
        }
    return rc;
}

/* Refused before the work, not after it. */
static int check_outputs(const ky_comparison *c, ky_err *err)
{
    char path[4096];
    int rc = KY_OK;

    for (int i = 0; c->base.out != NULL && i < c->n && rc == KY_OK; i++) {
        write_path(c, &c->entry[i], path);
        rc = ky_data_spare(c->base.data, path, err);
    }
    return rc;
}

static int make_dir(const char *dir, ky_err *err)
{
    struct stat st;

    if (dir == NULL || mkdir(dir, 0777) == 0 || (stat(dir, &st) == 0 && S_ISDIR(st.st_mode)))
        return KY_OK;
    return ky_fail(err, KY_EIO, "folder '%s' cannot be made: %s", dir, strerror(errno));
}

static int compare(ky_comparison *c, const char *kind, const char *only, ky_err *err)
{
    int rc;

    if ((rc = make_dir(c->base.out, err)) < 0 || (rc = ky_compare_load(c, err)) < 0 ||
        (rc = ky_compare_kind_of(&c->train, kind, &c->kind, err)) < 0 ||
        (rc = ky_compare_choose(c, only, err)) < 0 || (rc = check_outputs(c, err)) < 0)
        return rc;
    c->base.arch = c->entry[0].c->layers;
    if ((rc = ky_training_shape(&c->base, &c->train, &c->arch, err)) < 0)
        return rc;
    if (c->weights == 0)
        c->weights = c->kind->weights + 16 * (size_t)c->arch.vocabulary;
    settle_budget(c);
    if ((rc = ky_compare_size(c, err)) < 0 || (rc = match_test(c, err)) < 0 ||
        (rc = run_all(c, err)) < 0)
        return rc;
    ky_compare_judge(c);
    return c->base.out != NULL ? save_models(c, err) : KY_OK;
}

static void done(ky_comparison *c)
{
    for (int i = 0; i < c->n; i++)
        ky_model_free(c->entry[i].kept);
    ky_compare_unload(c);
}

static const char about[] =
    "Trains models of like size on the same data with the same budget and shows what each\n"
    "is worth and what it costs: of series a linear model, a 1D CNN, SimpleRNN, GRU, LSTM\n"
    "and an LSTM behind a convolution. The simplest within one standard error of the best\n"
    "is recommended. Where memory gains little over the CNN, what decides are short shapes.\n"
    "DATA is as for `kymo train`; the test part (a quarter of the rows, where there is\n"
    "none) is only scored.";

/* What the command line asks for; the table below points into it. */
static ky_comparison asked;
static int64_t seeds = 3, weights, seconds_us;
static const char *only, *kind;

static const ky_opt opts[] = {
    { "only", 0, KY_OPT_STR, &only, 0, 0, "NAME,...",
      "these models: of series linear, conv1d, simple_rnn, gru, lstm, conv1d_lstm" },
    { "task", 0, KY_OPT_STR, &asked.base.task_name, 0, 0, "NAME",
      "classify, multilabel (y is 0 and 1 of each label) or regress (y is numbers)" },
    { "kind", 0, KY_OPT_STR, &kind, 0, 0, "NAME",
      "series, tokens, vectors, images or video; else as the rows look" },
    { "seeds", 0, KY_OPT_INT, &seeds, 1, KY_COMPARE_SEEDS, "N", "trainings of each model" },
    { "seed", 's', KY_OPT_INT, &asked.base.seed, 0, 9e15, "N", "the first seed" },
    { "weights", 'w', KY_OPT_INT, &weights, 0, 1e8, "N",
      "of each model, as nearly as its width allows; 0: 5000 of series" },
    { "epochs", 'e', KY_OPT_INT, &asked.base.epochs, 0, 1e6, "N",
      "times over the data, at most; 0: as many as make 2000 steps, 30 to 500" },
    { "patience", 'p', KY_OPT_INT, &asked.base.patience, 0, 1e6, "N",
      "epochs without a better validation loss before it stops; 0: a fifth of the epochs, or with "
      "--seconds never" },
    { "seconds", 0, KY_OPT_TIME, &seconds_us, 0, 0, "T",
      "time for each training instead of epochs, so that what costs more a step gets fewer; how "
      "many then depends on the machine, and what comes out, too; 0: none" },
    { "batch", 'b', KY_OPT_INT, &asked.base.batch, 1, 1e5, "N", "rows a step" },
    { "lr", 'l', KY_OPT_NUM, &asked.base.learning_rate, 1e-12, 10, "X", "learning rate of Adam" },
    { "threads", 't', KY_OPT_INT, &asked.base.threads, 0, 256, "N",
      "0: all cores; no effect on the result" },
    { "output", 'o', KY_OPT_STR, &asked.base.out, 0, 0, "DIR",
      "write the model of each sort with the lowest validation loss there" },
    { "json", 'j', KY_OPT_FLAG, &asked.base.json, 0, 0, NULL, "report as JSON" },
    { "quiet", 'q', KY_OPT_FLAG, &asked.base.quiet, 0, 0, NULL, "no progress" },
    { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
};

static const ky_usage usage = {
    .synopsis = "kymo compare DATA [options]",
    .about = about,
    .opts = opts,
    .min_args = 1,
    .max_args = 1,
    .examples = "  kymo compare har.h5\n"
                "  kymo compare har.h5 --only conv1d,lstm --seeds 5 -o models\n",
};

static void set_defaults(ky_training *t)
{
    ky_train_opts o;

    ky_train_defaults(&o);
    t->memory = "window";
    t->optimizer = "adam";
    t->schedule = "constant";
    t->task_name = "classify";
    t->normalize = true;
    t->batch = 32;
    t->seed = (int64_t)o.seed;
    t->learning_rate = 0.002;
    t->validation = o.validation;
    t->clip_norm = o.clip_norm;
    t->optim = o.optim;
    t->rate = o.rate;
}

int ky_cmd_compare(int argc, char **argv)
{
    ky_comparison *c = &asked;
    const char *words[1];
    ky_err err = { 0 };
    int n, rc;

    set_defaults(&c->base);
    if ((rc = ky_cli_parse(&usage, argc, argv, words, &n)) >= 0)
        return rc;
    if (ky_task_find(c->base.task_name, &c->base.task, &err) < 0)
        return ky_cli_usage(&usage, "%s", err.text);
    c->base.data = words[0];
    c->base.loss = losses[c->base.task];
    c->task = &tasks[c->base.task];
    c->seeds = (int)seeds;
    c->weights = (size_t)weights;
    c->seconds = (double)seconds_us / 1e6;
    ky_cli_catch_interrupts();
    ky_cli_say_at_interrupt(
        "\nkymo: ends after this batch and shows what is known; once more: ends at once\n");
    rc = compare(c, kind, only, &err);
    if (rc == KY_OK && c->base.json)
        ky_compare_print_json(c);
    else if (rc == KY_OK)
        ky_compare_print_table(c);
    done(c);
    if (rc < 0)
        return ky_cli_fail(&err);
    return c->interrupted ? KY_EXIT_PARTLY : KY_EXIT_OK;
}
