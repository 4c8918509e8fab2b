#include "daemon/retrain.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/child.h"
#include "daemon/log.h"
#include "models/clock.h"
#include "storage/results.h"
#include "storage/store.h"

enum { LOOK_MS = 100, ARGS_MAX = 600 };
static const int64_t archive_timeout_us = 600 * 1000000ll;

/* What came out of a training. */
typedef struct outcome {
    const char *verdict; /* promoted | kept | failed; NULL: none, kymod is stopping */
    char reason[512];
    char metric[32];
    double champion, candidate;
    int64_t rows, held_out, started_us, ended_us;
    uint32_t from_version, to_version;
    char *detail; /* the child's report */
} outcome;

typedef struct plan {     /* of one configured model; under the lock */
    uint64_t asked, done; /* numbers of requests */
    int64_t due_us;       /* wall clock; 0: never by itself */
    outcome last;
} plan;

struct ky_retrainer {
    ky_retrain_opts o;
    char program[4096], models[4096], archive[4096], db[4096];
    ky_results *results; /* the thread's own */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;         /* under the lock, like what follows */
    uint64_t requests; /* given out */
    int running;       /* row of [model:...]; -1: none */
    plan *plans;       /* [models] */
};

/* -- the child's command line -------------------------------------------------------------- */

typedef struct args {
    char *v[ARGS_MAX + 1];
    int n;
    bool no_memory;
} args;

__attribute__((format(printf, 2, 3))) static void arg(args *a, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (a->n == ARGS_MAX || vasprintf(&text, fmt, ap) < 0)
        a->no_memory = true;
    else
        a->v[a->n++] = text;
    va_end(ap);
}

static void args_done(args *a)
{
    for (int i = 0; i < a->n; i++)
        free(a->v[i]);
}

static bool archived(const ky_class_cfg *k, const ky_model_cfg *m)
{
    return k->archive && ky_class_nth(k, m->name) >= 0;
}

static void add_segments(const ky_retrainer *t, const ky_model_cfg *m, args *a, int *ret_classes)
{
    const ky_config *cfg = t->o.cfg;
    const char *class_name = NULL;
    char dir[4400];

    *ret_classes = 0;
    for (int i = 0; i < cfg->n_classes; i++) {
        const ky_class_cfg *k = &cfg->classes[i];

        snprintf(dir, sizeof(dir), "%s/%s", t->archive, k->name);
        if (!archived(k, m) || access(dir, R_OK) < 0)
            continue;
        arg(a, "--segments");
        arg(a, "%s", dir);
        class_name = k->name;
        ++*ret_classes;
    }
    if (*ret_classes == 1) {
        arg(a, "--class");
        arg(a, "%s", class_name);
    }
}

static void add_options(const ky_retrainer *t, const ky_model_cfg *m, const char *champion,
                        const char *candidate, args *a)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        { "--margin", m->gate_margin },
        { "--held-out", m->gate_held_out },
        { "--least-rows", (double)m->retrain_min },
        { "--epochs", (double)m->retrain_epochs },
    };

    arg(a, "--model");
    arg(a, "%s", champion);
    arg(a, "--gate");
    arg(a, "--results");
    arg(a, "%s", t->db);
    arg(a, "--metric");
    arg(a, "%s", m->gate_metric);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        arg(a, "%s", numbers[i].name);
        arg(a, "%.17g", numbers[i].value);
    }
    arg(a, "--background");
    arg(a, "--json");
    arg(a, "-o");
    arg(a, "%s", candidate);
}

/* -- the child -------------------------------------------------------------------------------- */

static bool stopping(ky_retrainer *t)
{
    bool stop;

    pthread_mutex_lock(&t->lock);
    stop = t->stop;
    pthread_mutex_unlock(&t->lock);
    return stop;
}

/* Sleeps until the time is over or the retrainer is to stop. With the lock held. */
static void doze(ky_retrainer *t, int64_t us)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += us / 1000000;
    until.tv_nsec += us % 1000000 * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&t->wake, &t->lock, &until);
}

static int failed(outcome *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int failed(outcome *o, const char *fmt, ...)
{
    va_list ap;

    o->verdict = "failed";
    va_start(ap, fmt);
    vsnprintf(o->reason, sizeof(o->reason), fmt, ap);
    va_end(ap);
    return KY_EINVAL;
}

/* Why a child failed: the last line of what it said. */
static int explain(const ky_child *c, int status, outcome *o)
{
    char *said = ky_child_said(c, true), *line = said;
    const char *end = "ended with exit code";

    for (char *next; line != NULL && (next = strchr(line, '\n')) != NULL; line = next + 1) {
        if (next[1] == '\0') {
            *next = '\0';
            break;
        }
    }
    if (status > 128) {
        end = "was ended by signal";
        status -= 128;
    }
    failed(o, "kymo train %s %d%s%.300s", end, status, line != NULL && *line != '\0' ? ": " : "",
           line != NULL ? line : "");
    free(said);
    return KY_EINVAL;
}

/* Waits for the child's end, within the bound. 0: it ended well. */
static int attend(ky_retrainer *t, const ky_model_cfg *m, ky_child *c, outcome *o)
{
    int64_t deadline_ns = ky_clock_mono_ns() + m->retrain_timeout_us * 1000;
    int status;

    while (!ky_child_ended(c, &status)) {
        if (stopping(t)) {
            ky_child_kill(c);
            return KY_EAGAIN; /* no verdict */
        }
        if (ky_clock_mono_ns() > deadline_ns) {
            ky_child_kill(c);
            return failed(o, "it took longer than retrain_timeout, %lld s, and was ended",
                          (long long)(m->retrain_timeout_us / 1000000));
        }
        if (ky_child_raves(c)) {
            ky_child_kill(c);
            return failed(o, "it said more than %d bytes and was ended", KY_CHILD_SAYS_MAX);
        }
        pthread_mutex_lock(&t->lock);
        if (!t->stop)
            doze(t, LOOK_MS * 1000);
        pthread_mutex_unlock(&t->lock);
    }
    return status == 0 ? KY_OK : explain(c, status, o);
}

static double figure(const ky_json *report, const char *key)
{
    return ky_json_num(ky_json_get(report, key), NAN);
}

/* What the child reported. 0: there is a verdict of its own, *ret_better. */
static int read_report(const ky_child *c, outcome *o, bool *ret_better)
{
    char *said = ky_child_said(c, false);
    ky_json *report = NULL;
    const char *verdict;
    ky_err err;
    int rc = KY_OK;

    if (said == NULL || ky_json_parse(said, strlen(said), true, &report, &err) < 0) {
        rc = failed(o, "the report of kymo train: %s", said == NULL ? "out of memory" : err.text);
        goto out;
    }
    o->rows = ky_json_int(ky_json_get(report, "rows"), 0);
    o->held_out = ky_json_int(ky_json_get(report, "held_out"), 0);
    o->champion = figure(report, "champion");
    o->candidate = figure(report, "candidate");
    snprintf(o->metric, sizeof(o->metric), "%s",
             ky_json_str(ky_json_get(report, "metric"), o->metric));
    snprintf(o->reason, sizeof(o->reason), "%s", ky_json_str(ky_json_get(report, "reason"), ""));
    o->detail = ky_json_text(report, 0);
    verdict = ky_json_str(ky_json_get(report, "verdict"), "");
    *ret_better = strcmp(verdict, "better") == 0;
    if (!*ret_better && strcmp(verdict, "worse") != 0)
        rc = failed(o, "the report of kymo train: its verdict is '%.40s'", verdict);
out:
    ky_json_free(report);
    free(said);
    return rc;
}

/* -- a verdict and what follows ------------------------------------------------------------------
 */

/* The candidate becomes the next version in the store and takes over. */
static int promote(ky_retrainer *t, const ky_model_cfg *m, const char *candidate, outcome *o)
{
    const ky_retrain_ops *ops = &t->o.ops;
    ky_model_row row = { .model = m->name, .origin = "retrain" };
    ky_model *model = NULL;
    char path[200];
    ky_err err;
    int rc = ky_model_load(candidate, &model, &err);

    if (rc == KY_OK)
        rc = ky_store_add(t->models, model, m->name, &row.version, &err);
    if (rc == KY_OK) {
        snprintf(path, sizeof(path), "models/%s/%u.h5", m->name, row.version);
        row.path = path;
        row.hash = ky_model_facts(model)->hash;
        row.created_us = ky_clock_wall_us();
        rc = ky_results_add_model(t->results, &row, &err);
    }
    ky_model_free(model);
    if (rc == KY_OK)
        rc = ops->swap(m->name, row.version, row.hash, m->on_swap, ops->arg, &err);
    if (rc < 0)
        return failed(o, "it was better, but could not take over: %.400s", err.text);
    o->verdict = "promoted";
    o->to_version = row.version;
    return KY_OK;
}

typedef struct use {
    ky_retrainer *t;
    const ky_model_cfg *m;
} use;

/* Kept: what runs or may yet run, and what a state or an answer in results.db names. In doubt it
 * is in use. */
static bool in_use(uint32_t version, void *arg_)
{
    const use *u = arg_;
    bool used = true;

    if (version >= u->t->o.ops.version(u->m->name, u->t->o.ops.arg))
        return true;
    return ky_results_version_used(u->t->results, u->m->name, version, &used, NULL) < 0 || used;
}

static void prune(ky_retrainer *t, const ky_model_cfg *m)
{
    use u = { t, m };
    ky_err err;

    if (ky_store_prune(t->models, m->name, (int)m->keep_versions, in_use, &u, &err) < 0)
        ky_log(KY_WARN, "retrain", KY_OBJECT("model", m->name), "old versions stay: %s", err.text);
}

/* Everything up to the child's report: 0 if there is one. */
static int train(ky_retrainer *t, const ky_model_cfg *m, const char *candidate, outcome *o,
                 bool *ret_better)
{
    const ky_retrain_ops *ops = &t->o.ops;
    ky_child child = { .out = -1, .err = -1 };
    args a = { .n = 0 };
    char champion[4096];
    int classes, rc;
    ky_err err;

    o->from_version = ops->version(m->name, ops->arg);
    if (ops->seal(ops->arg, &err) < 0)
        return failed(o, "sealing the journal: %.400s", err.text);
    rc = ky_archiver_wait(t->o.archiver, archive_timeout_us, &err);
    if (stopping(t))
        return KY_EAGAIN;
    if (rc < 0)
        return failed(o, "%.480s", err.text);
    ky_store_path(t->models, m->name, o->from_version, champion);
    arg(&a, "%s", t->program);
    arg(&a, "train");
    add_segments(t, m, &a, &classes);
    add_options(t, m, champion, candidate, &a);
    if (a.no_memory)
        rc = failed(o, "out of memory");
    else if (classes == 0)
        rc = failed(o, "nothing is archived yet");
    else if (ky_child_start(&child, a.v, &err) < 0)
        rc = failed(o, "%.480s", err.text);
    else
        rc = attend(t, m, &child, o);
    if (rc == KY_OK)
        rc = read_report(&child, o, ret_better);
    ky_child_done(&child);
    args_done(&a);
    return rc;
}

static void write_down(ky_retrainer *t, const ky_model_cfg *m, const char *cause, const outcome *o)
{
    const ky_retrain_row row = {
        .model = m->name,
        .cause = cause,
        .verdict = o->verdict,
        .reason = o->reason,
        .started_us = o->started_us,
        .ended_us = o->ended_us,
        .from_version = o->from_version,
        .to_version = o->to_version,
        .rows = o->rows,
        .held_out = o->held_out,
        .metric = o->metric,
        .champion = o->champion,
        .candidate = o->candidate,
        .detail = o->detail != NULL ? o->detail : "{}",
    };
    char text[160];
    ky_err err;

    snprintf(text, sizeof(text), "%s %.6g against %.6g of version %u, on %lld held back", o->metric,
             o->candidate, o->champion, o->from_version, (long long)o->held_out);
    ky_log(strcmp(o->verdict, "failed") == 0 ? KY_WARN : KY_NOTICE, "retrain",
           KY_OBJECT("model", m->name, "verdict", o->verdict), "%s%s%s",
           isnan(o->candidate) ? "" : text, isnan(o->candidate) || *o->reason == '\0' ? "" : "; ",
           o->reason);
    if (ky_results_add_retrain(t->results, &row, &err) < 0)
        ky_log(KY_ERROR, "retrain", KY_OBJECT("model", m->name), "the verdict was not kept: %s",
               err.text);
}

/* One training from beginning to end; o->verdict NULL: it was broken off. */
static void retrain(ky_retrainer *t, const ky_model_cfg *m, const char *cause, outcome *o)
{
    char candidate[4400];
    bool better = false;
    int rc;

    *o = (outcome){ .champion = NAN, .candidate = NAN, .started_us = ky_clock_wall_us() };
    snprintf(o->metric, sizeof(o->metric), "%s", m->gate_metric);
    snprintf(candidate, sizeof(candidate), "%s/candidate-%s.h5", t->models, m->name);
    ky_log(KY_NOTICE, "retrain", KY_OBJECT("model", m->name, "cause", cause), "begins");
    rc = train(t, m, candidate, o, &better);
    if (rc == KY_OK && better)
        promote(t, m, candidate, o);
    else if (rc == KY_OK)
        o->verdict = "kept";
    unlink(candidate);
    o->ended_us = ky_clock_wall_us();
    if (o->verdict == NULL)
        return;
    write_down(t, m, cause, o);
    if (o->to_version > 0)
        prune(t, m);
}

/* -- the thread
 * ------------------------------------------------------------------------------------ */

/* The model whose turn it is: the oldest request, else who is due; -1: nobody. *ret_us: how long
 * until somebody may be. With the lock held. */
static int whose_turn(ky_retrainer *t, int64_t *ret_us)
{
    int64_t now = ky_clock_wall_us();
    int found = -1;

    *ret_us = 60 * 1000000ll;
    for (int i = 0; i < t->o.cfg->n_models; i++)
        if (t->plans[i].asked > t->plans[i].done &&
            (found < 0 || t->plans[i].asked < t->plans[found].asked))
            found = i;
    for (int i = 0; found < 0 && i < t->o.cfg->n_models; i++) {
        int64_t due = t->plans[i].due_us;

        if (due != 0 && due <= now)
            found = i;
        else if (due != 0 && due - now < *ret_us)
            *ret_us = due - now;
    }
    return found;
}

static void *run(void *arg_)
{
    ky_retrainer *t = arg_;
    int64_t wait_us;

    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        int i = whose_turn(t, &wait_us);
        const ky_model_cfg *m;
        const char *cause;
        uint64_t asked;
        outcome o;

        if (i < 0) {
            doze(t, wait_us);
            continue;
        }
        m = &t->o.cfg->models[i];
        asked = t->plans[i].asked;
        cause = asked > t->plans[i].done ? "request" : "schedule";
        t->running = i;
        if (m->retrain_every_us > 0)
            t->plans[i].due_us = ky_clock_wall_us() + m->retrain_every_us;
        pthread_mutex_unlock(&t->lock);
        retrain(t, m, cause, &o);
        pthread_mutex_lock(&t->lock);
        t->running = -1;
        t->plans[i].done = asked;
        free(t->plans[i].last.detail);
        t->plans[i].last = o;
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* A restart does not begin the time between trainings anew. */
static int set_due(ky_retrainer *t, ky_err *err)
{
    for (int i = 0; i < t->o.cfg->n_models; i++) {
        const ky_model_cfg *m = &t->o.cfg->models[i];
        int64_t last = 0;
        int rc;

        if (m->retrain_every_us == 0)
            continue;
        rc = ky_results_last_retrain(t->results, m->name, &last, err);
        if (rc < 0)
            return rc;
        t->plans[i].due_us = (last != 0 ? last : ky_clock_wall_us()) + m->retrain_every_us;
    }
    return KY_OK;
}

static int start_thread(ky_retrainer *t, ky_err *err)
{
    pthread_condattr_t monotonic;
    sigset_t all, before;
    int rc;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&t->thread, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0)
        return ky_fail(err, rc, "a thread: %s", strerror(-rc));
    pthread_setname_np(t->thread, "retrain");
    return KY_OK;
}

static void release(ky_retrainer *t)
{
    for (int i = 0; t->plans != NULL && i < t->o.cfg->n_models; i++)
        free(t->plans[i].last.detail);
    free(t->plans);
    ky_results_close(t->results);
    free(t);
}

int ky_retrainer_start(const ky_retrain_opts *o, ky_retrainer **ret, ky_err *err)
{
    ky_retrainer *t = calloc(1, sizeof(*t));
    int rc;

    if (t == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    t->o = *o;
    t->running = -1;
    t->plans = calloc((size_t)o->cfg->n_models + 1, sizeof(*t->plans));
    if (t->plans == NULL) {
        rc = ky_fail(err, KY_ENOMEM, "out of memory");
        goto out;
    }
    snprintf(t->models, sizeof(t->models), "%s/models", o->cfg->state_dir);
    snprintf(t->archive, sizeof(t->archive), "%s/archive", o->cfg->state_dir);
    snprintf(t->db, sizeof(t->db), "%s/results.db", o->cfg->state_dir);
    if (o->program != NULL)
        snprintf(t->program, sizeof(t->program), "%s", o->program);
    /* Without the program each training fails, and says so; service does not depend on it. */
    else if (ky_child_find("kymo", t->program, sizeof(t->program), err) < 0)
        ky_log(KY_WARN, "retrain", NULL, "%s", err->text);
    /* A verdict and a model's row are in no journal: synced at once. */
    rc = ky_results_open(t->db, true, &t->results, err);
    if (rc == KY_OK)
        rc = set_due(t, err);
    if (rc == KY_OK)
        rc = start_thread(t, err);
out:
    if (rc < 0) {
        release(t);
        return ky_context(err, rc, "starting retraining");
    }
    *ret = t;
    return KY_OK;
}

void ky_retrainer_stop(ky_retrainer *t)
{
    if (t == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
    ky_archiver_end_waits(t->o.archiver);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    release(t);
}

int ky_retrainer_request(ky_retrainer *t, const char *model, uint64_t *ret_number, ky_err *err)
{
    const ky_config *cfg = t->o.cfg;
    const ky_model_cfg *m = ky_config_model(cfg, model);
    bool any = false;

    if (m == NULL)
        return ky_fail(err, KY_ENOENT, "there is no [model:%.80s]", model);
    if (t->o.archiver == NULL)
        return ky_fail(err, KY_EINVAL, "training is on the archive, and journal = no");
    for (int i = 0; i < cfg->n_classes; i++)
        any |= archived(&cfg->classes[i], m);
    if (!any)
        return ky_fail(err, KY_EINVAL,
                       "training is on the archive, and no [stream:...] with model = %s has "
                       "archive = yes",
                       model);
    pthread_mutex_lock(&t->lock);
    *ret_number = t->plans[m - cfg->models].asked = ++t->requests;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
    return KY_OK;
}

static ky_json *of_figure(double v)
{
    return isnan(v) ? ky_json_of_null() : ky_json_of_num(v);
}

static ky_json *of_plan(const plan *p)
{
    const outcome *o = &p->last;
    ky_json *v = ky_json_object();

    ky_json_set(v, "request", ky_json_of_int((int64_t)p->done));
    ky_json_set(v, "waiting", ky_json_of_bool(p->asked > p->done));
    ky_json_set(v, "due_us", p->due_us != 0 ? ky_json_of_int(p->due_us) : ky_json_of_null());
    if (o->verdict == NULL)
        return v;
    ky_json_set(v, "verdict", ky_json_of_str(o->verdict));
    ky_json_set(v, "reason", ky_json_of_str(o->reason));
    ky_json_set(v, "metric", ky_json_of_str(o->metric));
    ky_json_set(v, "champion", of_figure(o->champion));
    ky_json_set(v, "candidate", of_figure(o->candidate));
    ky_json_set(v, "rows", ky_json_of_int(o->rows));
    ky_json_set(v, "held_out", ky_json_of_int(o->held_out));
    ky_json_set(v, "from_version", ky_json_of_int(o->from_version));
    ky_json_set(v, "to_version", ky_json_of_int(o->to_version));
    ky_json_set(v, "seconds", ky_json_of_num((double)(o->ended_us - o->started_us) / 1e6));
    return v;
}

ky_json *ky_retrainer_status(ky_retrainer *t)
{
    const ky_config *cfg = t->o.cfg;
    ky_json *status = ky_json_object(), *models = ky_json_object();

    pthread_mutex_lock(&t->lock);
    ky_json_set(status, "running",
                t->running >= 0 ? ky_json_of_str(cfg->models[t->running].name) : ky_json_of_null());
    for (int i = 0; i < cfg->n_models; i++)
        ky_json_set(models, cfg->models[i].name, of_plan(&t->plans[i]));
    pthread_mutex_unlock(&t->lock);
    ky_json_set(status, "models", models);
    return status;
}
