/* kymod: reads its configuration, runs the pipeline, waits for signals. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "daemon/beside.h"
#include "daemon/config.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/pipeline.h"
#include "daemon/served.h"
#include "models/kernels.h"
#include "models/model.h"
#include "models/plan.h"

enum { MAX_OVERRIDES = 256, WATCH_US = 500000 };

typedef struct options {
    const char *path, *log_level;
    const char *overrides[MAX_OVERRIDES + 1];
    int n_overrides;
    bool check, example;
} options;

static const char usage_text[] =
    "Usage: kymod [options]\n"
    "Turns streams of sensor samples into live classifications, and remembers.\n"
    "\n"
    "  -c, --config FILE        read this instead of " KY_CONFIG_PATH "\n"
    "  -o SECTION.KEY=VALUE     a setting, over what the files say; may be repeated\n"
    "      --check-config       say everything that is wrong with the configuration and its\n"
    "                           models, prove the models, and end (exit 78 if anything is)\n"
    "      --example-config     print a configuration with every setting, and end\n"
    "      --log-level LEVEL    error, warn, notice, info or debug\n"
    "  -h, --help               this\n"
    "  -V, --version            the version\n"
    "\n"
    "SIGTERM and SIGINT end it when all it has taken is committed; a second one, or one\n"
    "while it starts, at once.\n"
    "Exit: 0 done, 64 usage, 65 damaged data, 69 a source is gone, 73 and 74 files,\n"
    "75 try again (another daemon, an endpoint taken), 78 configuration.\n";

/* Returns -1 to go on, else the exit code. */
static int parse(int argc, char **argv, options *o)
{
    enum { CHECK = 256, EXAMPLE, LEVEL };
    static const struct option longs[] = {
        { "config", required_argument, NULL, 'c' },
        { "check-config", no_argument, NULL, CHECK },
        { "example-config", no_argument, NULL, EXAMPLE },
        { "log-level", required_argument, NULL, LEVEL },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "c:o:hV", longs, NULL)) != -1) {
        if (c == 'c')
            o->path = optarg;
        else if (c == 'o' && o->n_overrides < MAX_OVERRIDES)
            o->overrides[o->n_overrides++] = optarg;
        else if (c == CHECK)
            o->check = true;
        else if (c == EXAMPLE)
            o->example = true;
        else if (c == LEVEL)
            o->log_level = optarg;
        else if (c == 'h')
            return fputs(usage_text, stdout) < 0 ? EX_IOERR : EX_OK;
        else if (c == 'V')
            return printf("kymod %s\n", VERSION) < 0 ? EX_IOERR : EX_OK;
        else
            return EX_USAGE;
    }
    if (optind < argc) {
        fprintf(stderr, "kymod: '%s': no arguments are expected (see --help)\n", argv[optind]);
        return EX_USAGE;
    }
    return -1;
}

static int exit_code_of(int rc)
{
    static const struct {
        int rc, exit;
    } rows[] = {
        { KY_OK, EX_OK },
        { KY_EINVAL, EX_CONFIG },
        { KY_ESHAPE, EX_CONFIG },
        { KY_EUNSUPPORTED, EX_CONFIG },
        { KY_ENOENT, EX_CONFIG },
        { KY_EFORMAT, EX_DATAERR },
        { KY_ECORRUPT, EX_DATAERR },
        { KY_EBUSY, EX_TEMPFAIL },
        { KY_EAGAIN, EX_TEMPFAIL },
        { KY_ENOMEM, EX_OSERR },
        { -EACCES, EX_CANTCREAT },
        { -EPERM, EX_CANTCREAT },
        { -EROFS, EX_CANTCREAT },
        { -ENOTDIR, EX_CANTCREAT },
        { -EADDRINUSE, EX_TEMPFAIL },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        if (rows[i].rc == rc)
            return rows[i].exit;
    return EX_IOERR;
}

/* -- configuration -- */

static int load(const options *o, ky_config **ret)
{
    ky_problems problems = { 0 };
    int rc = ky_config_load(o->path, o->overrides, ret, &problems);

    for (int i = 0; i < problems.n; i++)
        fprintf(stderr, "kymod: %s\n", problems.text[i]);
    ky_problems_done(&problems);
    return rc;
}

/* What a stream of each class costs under a model. */
static void say_costs(const ky_config *cfg, const char *name, const ky_model *m)
{
    for (int c = 0; c < cfg->n_classes; c++) {
        const ky_class_cfg *k = &cfg->classes[c];
        ky_plan *plan;

        if (ky_class_nth(k, name) < 0 || ky_plan_new(m, k->memory, (int)k->window,
                                                     k->hop > 0 ? (int)k->hop : 1, &plan, NULL) < 0)
            continue;
        printf("stream:%s: model %s, %zu weights, %zu bytes a stream\n", k->name, name,
               ky_model_facts(m)->params, ky_plan_state_bytes(plan));
        ky_plan_free(plan);
    }
}

/* Loads and proves every model, and says what a stream costs. */
static int check_models(const ky_config *cfg)
{
    int *features = calloc((size_t)cfg->n_models + 1, sizeof(*features)), worst = KY_OK;
    ky_err err;

    for (int i = 0; i < cfg->n_models && features != NULL; i++) {
        ky_model *m = NULL;
        int rc = ky_served_read(cfg, i, &m, &err);

        if (rc < 0) {
            fprintf(stderr, "kymod: %s\n", err.text);
            worst = worst < 0 ? worst : rc;
            continue;
        }
        features[i] = ky_model_facts(m)->features;
        say_costs(cfg, cfg->models[i].name, m);
        ky_model_free(m);
    }
    int rc = features != NULL ? ky_served_agree(cfg, features, &err)
                              : ky_fail(&err, KY_ENOMEM, "out of memory");

    if (rc < 0)
        fprintf(stderr, "kymod: %s\n", err.text);
    free(features);
    return worst < 0 ? worst : rc;
}

/* -- signals -- */

/* Blocked before any thread starts, so that only the main thread's waits see them. */
static void block_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGHUP);
    sigaddset(ret, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, ret, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* For `systemctl status`. */
static void say_status(ky_pipeline *p)
{
    ky_json *status = ky_pipeline_status(p);
    const ky_json *counters = ky_json_get(status, "counters");
    const ky_json *waits = ky_json_get(status, "waits");
    const char *what = ky_json_bool(ky_json_get(waits, "journal"), false)
                           ? "waiting for room on the journal's disk"
                       : ky_json_bool(ky_json_get(waits, "results"), false)
                           ? "waiting to write results.db"
                           : "serving";

    ky_notify_status("%s: %lld streams, %lld answers, %lld messages refused", what,
                     (long long)ky_json_int(ky_json_get(counters, "streams"), 0),
                     (long long)ky_json_int(ky_json_get(counters, "answers"), 0),
                     (long long)ky_json_int(ky_json_get(counters, "rejected"), 0));
    ky_json_free(status);
}

static void wait_for_end(ky_pipeline *p, const sigset_t *signals, ky_watchdog *w)
{
    const struct timespec step = { .tv_nsec = WATCH_US * 1000 };

    for (unsigned steps = 1;; steps++) {
        int s = sigtimedwait(signals, NULL, &step);

        if (s == SIGTERM || s == SIGINT) {
            ky_log(KY_NOTICE, "main", NULL, "%s: finishing what was taken",
                   s == SIGTERM ? "SIGTERM" : "SIGINT");
            return;
        }
        if (s == SIGHUP)
            ky_log(KY_NOTICE, "main", NULL,
                   "SIGHUP: settings are read at the start only; restart to change them");
        ky_watchdog_check(w);
        if (steps % 16 == 0)
            say_status(p);
    }
}

/* Which of the signals that end it came within this time; 0 or less: none. Where it may be
 * cancelled, too. */
static int end_within(int64_t us)
{
    struct timespec left = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
    sigset_t ends;
    int was;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    int s = sigtimedwait(&ends, NULL, &left);

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &was);
    return s;
}

/* Processor time that the process has had. */
static int64_t worked_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* While the main thread starts, which takes as long as the journal's tail takes to run again. A
 * start that does nothing any more has the time that systemd gives it, and no longer. */
static void *watch_start(void *arg)
{
    enum { STEP_US = 5000000, GRACE_US = 30000000, WORK_US = 50000 };
    int64_t before_us;
    int s;

    (void)arg;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &s);
    ky_notify_extend(GRACE_US);
    before_us = worked_us();
    while ((s = end_within(STEP_US)) <= 0) {
        if (worked_us() - before_us >= WORK_US)
            ky_notify_extend(GRACE_US);
        before_us = worked_us();
    }
    ky_log(KY_NOTICE, "main", NULL, "%s during the start: ending at once; the next start recovers",
           s == SIGTERM ? "SIGTERM" : "SIGINT");
    _exit(EX_OK);
}

/* While it drains: a second signal, or too much time, ends it at once. */
static void *lose_patience(void *arg)
{
    const int64_t *timeout_us = arg;
    int s = end_within(*timeout_us);

    ky_log(KY_ERROR, "main", NULL, "%s: ending at once; the next start recovers",
           s > 0 ? "a second signal" : "shutdown_timeout");
    _exit(s > 0 ? 128 + s : EX_TEMPFAIL);
}

static bool watch(pthread_t *t, void *(*fn)(void *), void *arg)
{
    return pthread_create(t, NULL, fn, arg) == 0;
}

static void unwatch(pthread_t t, bool watched)
{
    if (!watched)
        return;
    pthread_cancel(t);
    pthread_join(t, NULL);
}

static int start(const ky_config *cfg, ky_pipeline **ret, ky_err *err)
{
    pthread_t t;
    bool watched = watch(&t, watch_start, NULL);
    int rc = ky_pipeline_new(cfg, ret, err);

    unwatch(t, watched);
    return rc;
}

static void stop(ky_pipeline *p, ky_beside *b, const ky_config *cfg)
{
    int64_t timeout_us = cfg->shutdown_timeout_us;
    pthread_t t;

    ky_notify_stopping();
    ky_notify_extend(timeout_us);
    bool watched = watch(&t, lose_patience, &timeout_us);

    ky_pipeline_hurry(p);
    ky_beside_stop(b);
    ky_pipeline_stop(p);
    unwatch(t, watched);
}

/* What was let go of senders that send again is not lost, nor what the next start finds. */
static int say_end(const ky_pipeline *p, const ky_config *cfg, ky_err *err)
{
    uint64_t let_go;
    bool all = ky_pipeline_finished(p, &let_go);

    if (!all && cfg->journal == KY_JOURNAL_NO)
        return ky_fail(err, KY_EFULL,
                       "the disk is full: states and %llu answers or messages are lost, as there "
                       "is no journal",
                       (unsigned long long)let_go);
    if (let_go > 0)
        return ky_fail(err, KY_EFULL, "the disk is full: %llu messages were let go",
                       (unsigned long long)let_go);
    ky_log(KY_NOTICE, "main", NULL, "%s",
           all ? "everything taken is committed"
               : "the disk is full: what was acknowledged is in the journal, for the next start");
    return KY_OK;
}

/* -- running -- */

static void say_ready(ky_pipeline *p)
{
    ky_json *status = ky_pipeline_status(p);
    static const char *const kinds[] = { "sources", "publishers" };

    for (int k = 0; k < 2; k++) {
        const ky_json *list = ky_json_get(status, kinds[k]);

        for (const char *name = ky_json_next_key(list, NULL); name != NULL;
             name = ky_json_next_key(list, name))
            ky_log(KY_NOTICE, "main", KY_OBJECT(k == 0 ? "source" : "publisher", name), "at %s",
                   ky_json_str(ky_json_get(ky_json_get(list, name), "address"), ""));
    }
    ky_json_free(status);
    ky_log(KY_NOTICE, "main", NULL, "ready");
    ky_notify_ready("serving");
}

static int run(const ky_config *cfg, const sigset_t *signals, ky_watchdog *w, ky_err *err)
{
    ky_beside *b = NULL;
    ky_pipeline *p;
    int rc = start(cfg, &p, err);

    if (rc < 0)
        return rc;
    ky_pipeline_watch(p, w);
    rc = ky_beside_start(cfg, p, w, &b, err);
    if (rc == KY_OK) {
        say_ready(p);
        wait_for_end(p, signals, w);
    }
    stop(p, b, cfg);
    if (rc == KY_OK)
        rc = say_end(p, cfg, err);
    ky_pipeline_free(p);
    return rc;
}

/* Threads inherit it. A library that was built with -ffast-math changes it when it is loaded. */
static int check_rounding(ky_err *err)
{
    return ky_kernels_fp_sane()
               ? KY_OK
               : ky_fail(err, KY_EUNSUPPORTED,
                         "the processor is set to flush small numbers or to round otherwise than "
                         "to nearest: answers would not be those of any other machine");
}

static int serve(const ky_config *cfg, const sigset_t *signals)
{
    ky_watchdog *w = ky_watchdog_new();
    ky_err err;
    int rc = w != NULL ? check_rounding(&err) : ky_fail(&err, KY_ENOMEM, "no memory");

    if (rc == KY_OK)
        rc = run(cfg, signals, w, &err);
    if (rc < 0)
        ky_log(KY_ERROR, "main", NULL, "%s", err.text);
    ky_watchdog_free(w);
    return exit_code_of(rc);
}

/* Large tables have memory of their own: they grow without being copied, and what they leave goes
 * back. Left to itself the allocator changes its mind about that with the first one that is freed.
 */
static void set_allocator(void)
{
#ifdef __GLIBC__
    enum { LARGE = 1 << 20 };

    mallopt(M_MMAP_THRESHOLD, LARGE);
    mallopt(M_TRIM_THRESHOLD, LARGE);
#endif
}

int main(int argc, char **argv)
{
    options o = { .path = KY_CONFIG_PATH };
    ky_config *cfg = NULL;
    sigset_t signals;
    int rc = parse(argc, argv, &o);

    if (rc >= 0)
        return rc;
    if (o.example) {
        ky_config_example(stdout);
        return EX_OK;
    }
    set_allocator();
    umask(0027);
    block_signals(&signals);
    if (load(&o, &cfg) < 0)
        return EX_CONFIG;
    ky_log_init(o.log_level != NULL ? o.log_level : cfg->log_level);
    if (o.check)
        rc = check_models(cfg) < 0 ? EX_CONFIG : EX_OK;
    else
        rc = serve(cfg, &signals);
    ky_config_free(cfg);
    return rc;
}
