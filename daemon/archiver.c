#include "daemon/archiver.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/log.h"
#include "models/clock.h"
#include "storage/archive.h"

struct ky_archiver {
    ky_archiver_opts o;
    char state_dir[3500], dir[4096];
    ky_results *results; /* the thread's own */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* the thread is wanted, or has gone round once more */
    bool stop, no_waits; /* under the lock, like what follows */
    uint64_t archived;   /* all sealed files up to this position are */
    ky_err failure;      /* code 0: the last round went well */
    _Atomic uint64_t files, failures;
    ky_complaint complaint, reader; /* the thread's */
};

/* -- one file ------------------------------------------------------------------------ */

/* The settings under which a file was written: classes have the numbers they had then. */
static int take_config(const ky_record *r, void *arg, ky_err *err)
{
    ky_config **ret = arg;
    int rc;

    if (r->type != KY_REC_CONFIG)
        return ky_fail(err, KY_ECORRUPT, "the file does not begin with its settings");
    rc = ky_config_of_text(ky_record_text(r), r->text_len, ret, err);
    return rc < 0 ? rc : 1; /* one record is enough */
}

static int read_config(const char *path, ky_config **ret, ky_err *err)
{
    int rc = ky_journal_read_file(path, take_config, ret, err);

    if (rc == KY_OK)
        rc = ky_fail(err, KY_ECORRUPT, "'%s': no settings in it", path);
    return rc < 0 ? rc : KY_OK;
}

/* What the archive should know of each class; the caller frees *ret. Returns whether any class
 * wants an archive, or a negative code. */
static int describe_classes(ky_archiver *a, const ky_config *c, ky_archive_class **ret, ky_err *err)
{
    ky_archive_class *classes = calloc((size_t)c->n_classes + 1, sizeof(*classes));
    bool any = false;

    if (classes == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    for (int i = 0; i < c->n_classes; i++) {
        const ky_class_cfg *k = &c->classes[i];

        classes[i] = (ky_archive_class){
            .name = k->name,
            .archive = k->archive,
            .features = (const char *const *)k->features.item,
            .n_features = k->features.n,
        };
        if (a->o.labels != NULL && k->models.n > 0)
            classes[i].labels = a->o.labels(k->models.item[0], &classes[i].n_labels, a->o.arg);
        any |= k->archive;
    }
    *ret = classes;
    return any;
}

/* Makes the file's segments. */
static int archive_file(ky_archiver *a, const ky_journal_file *file, ky_err *err)
{
    ky_archive_class *classes = NULL;
    ky_config *c = NULL;
    int rc;

    rc = read_config(file->path, &c, err);
    if (rc < 0)
        return rc;
    rc = describe_classes(a, c, &classes, err);
    if (rc > 0)
        rc = ky_archive_seal(a->dir, file, classes, c->n_classes, a->results, err);
    if (rc >= 0)
        rc = ky_results_drop_state0(a->results, file->first, err);
    free(classes);
    ky_config_free(c);
    return rc;
}

/* Whether all that was committed is in the database file itself, so that a power cut cannot take
 * it back (A6, A7). A reader in the middle of an old view holds that back. */
static int all_durable(ky_archiver *a, bool *ret, ky_err *err)
{
    int rc = ky_results_checkpoint(a->results, ret, err);

    if (rc < 0)
        return rc;
    if (*ret)
        ky_complaint_over(&a->reader, "archive", NULL, "the write-ahead log was moved again");
    else
        ky_complain(&a->reader, KY_INFO, "archive", NULL,
                    "the write-ahead log of results.db cannot be moved all: it is being written, "
                    "or a reader holds an old view");
    return KY_OK;
}

static void set_archived(ky_archiver *a, uint64_t end)
{
    pthread_mutex_lock(&a->lock);
    if (end > a->archived)
        a->archived = end;
    pthread_mutex_unlock(&a->lock);
}

/* One sealed file, from journal to archive. Returns 1 when it is done with, 0 when it is not yet
 * time. The newest file stays in the journal, which goes on from its end. */
static int settle_file(ky_archiver *a, const ky_journal_file *file, bool newest, ky_err *err)
{
    bool yes = false;
    int rc = ky_results_applied(a->results, file->end, &yes, err);

    if (rc < 0 || !yes)
        return rc;
    rc = file->end > a->archived ? archive_file(a, file, err) : KY_OK;
    if (rc < 0)
        return rc;
    set_archived(a, file->end);
    if (newest)
        return 1;
    /* Behind the segments' rows: they, too, must be there for good before the file goes. */
    rc = all_durable(a, &yes, err);
    if (rc < 0 || !yes)
        return rc;
    rc = ky_journal_delete(a->o.journal, file->first, err);
    return rc < 0 ? rc : 1;
}

/* -- the thread ------------------------------------------------------------------------ */

static bool stopping(ky_archiver *a)
{
    bool stop;

    pthread_mutex_lock(&a->lock);
    stop = a->stop;
    pthread_mutex_unlock(&a->lock);
    return stop;
}

/* Sealed files, oldest first, as far as it goes. */
static int go_round(ky_archiver *a, ky_err *err)
{
    ky_journal_file *files = NULL;
    int n = ky_journal_list(a->o.journal, &files, err), rc = n < 0 ? n : 1;

    for (int i = 0; i < n && rc > 0 && !stopping(a); i++) {
        if (!files[i].sealed)
            break;
        rc = settle_file(a, &files[i], i == n - 1, err);
        if (rc < 0) {
            ky_context(err, rc, "journal file %016llx", (unsigned long long)files[i].first);
        } else if (rc > 0 && i < n - 1) {
            atomic_fetch_add(&a->files, 1);
            ky_log(KY_DEBUG, "archive", NULL, "journal file %016llx is archived and gone",
                   (unsigned long long)files[i].first);
        }
    }
    free(files);
    return rc < 0 ? rc : KY_OK;
}

/* A failure is told when it begins and when it is over. */
static void tell(ky_archiver *a, int rc, const ky_err *err)
{
    bool was = a->complaint.times > 0;

    if (a->o.event != NULL && was != (rc < 0))
        a->o.event(rc < 0 ? "warn" : "info", rc < 0 ? "waits" : "goes on",
                   rc < 0 ? err->text : "archiving goes on", a->o.arg);
    if (rc < 0) {
        atomic_fetch_add(&a->failures, 1);
        ky_complain(&a->complaint, KY_ERROR, "archive", NULL, "%s", err->text);
    } else {
        ky_complaint_over(&a->complaint, "archive", NULL, "archiving goes on");
    }
}

static void *run(void *arg)
{
    ky_archiver *a = arg;
    ky_err err;

    /* On Linux this is the thread's alone. Without the permission it stays as it is. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), 10);
    pthread_mutex_lock(&a->lock);
    while (!a->stop) {
        struct timespec until;
        int64_t ns;
        int rc;

        pthread_mutex_unlock(&a->lock);
        rc = go_round(a, &err);
        tell(a, rc, &err);
        if (rc == KY_OK)
            err.code = KY_OK;
        pthread_mutex_lock(&a->lock);
        a->failure = err;
        pthread_cond_broadcast(&a->wake);
        clock_gettime(CLOCK_MONOTONIC, &until);
        ns = until.tv_nsec + a->o.interval_us * 1000;
        until.tv_sec += ns / 1000000000;
        until.tv_nsec = ns % 1000000000;
        if (!a->stop)
            pthread_cond_timedwait(&a->wake, &a->lock, &until);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static int start_thread(ky_archiver *a, ky_err *err)
{
    pthread_condattr_t monotonic;
    sigset_t all, before;
    int rc;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&a->thread, NULL, run, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return ky_fail(err, -rc, "a thread: %s", strerror(rc));
    pthread_setname_np(a->thread, "archive");
    return KY_OK;
}

int ky_archiver_start(const ky_archiver_opts *o, ky_archiver **ret, ky_err *err)
{
    ky_archiver *a = calloc(1, sizeof(*a));
    char db[4096];
    int rc;

    if (a == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    a->o = *o;
    if (a->o.interval_us == 0)
        a->o.interval_us = 1000000;
    if (strlen(o->state_dir) >= sizeof(a->state_dir)) {
        rc = ky_fail(err, KY_EINVAL, "'%s': the path is too long", o->state_dir);
        goto out;
    }
    strcpy(a->state_dir, o->state_dir);
    snprintf(a->dir, sizeof(a->dir), "%s/archive", a->state_dir);
    if (mkdir(a->dir, 0750) < 0 && errno != EEXIST) {
        rc = ky_fail(err, -errno, "'%s': %s", a->dir, strerror(errno));
        goto out;
    }
    snprintf(db, sizeof(db), "%s/results.db", a->state_dir);
    rc = ky_results_open(db, false, &a->results, err);
    if (rc == KY_OK)
        rc = start_thread(a, err);
out:
    if (rc < 0) {
        ky_results_close(a->results);
        free(a);
        return ky_context(err, rc, "starting the archive");
    }
    *ret = a;
    return KY_OK;
}

void ky_archiver_stop(ky_archiver *a)
{
    if (a == NULL)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_broadcast(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    ky_results_close(a->results);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* Position behind the last sealed file; 0 if there is none. */
static int sealed_until(ky_archiver *a, uint64_t *ret, ky_err *err)
{
    ky_journal_file *files = NULL;
    int n = ky_journal_list(a->o.journal, &files, err);

    *ret = 0;
    for (int i = 0; i < n && files[i].sealed; i++)
        *ret = files[i].end;
    free(files);
    return n < 0 ? n : KY_OK;
}

/* Why waiting came to nothing. */
static int give_up(const ky_archiver *a, ky_err *err)
{
    if (a->failure.code != KY_OK)
        return ky_fail(err, KY_EAGAIN, "the archive is held up: %.400s", a->failure.text);
    return ky_fail(err, KY_EAGAIN,
                   a->stop || a->no_waits ? "the archive is being stopped"
                                          : "sealed journal files are not archived in time");
}

int ky_archiver_wait(ky_archiver *a, int64_t timeout_us, ky_err *err)
{
    int64_t deadline_ns = ky_clock_mono_ns() + timeout_us * 1000;
    uint64_t upto;
    int rc = sealed_until(a, &upto, err);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&a->lock);
    while (rc == KY_OK && a->archived < upto) {
        struct timespec until;

        if (a->stop || a->no_waits || ky_clock_mono_ns() >= deadline_ns) {
            rc = give_up(a, err);
            break;
        }
        pthread_cond_broadcast(&a->wake); /* look now, do not wait for your time */
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 50 * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&a->wake, &a->lock, &until);
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

void ky_archiver_end_waits(ky_archiver *a)
{
    if (a == NULL)
        return;
    pthread_mutex_lock(&a->lock);
    a->no_waits = true;
    pthread_cond_broadcast(&a->wake);
    pthread_mutex_unlock(&a->lock);
}

ky_json *ky_archiver_status(ky_archiver *a)
{
    ky_json *o = ky_json_object();

    ky_json_set(o, "files", ky_json_of_int((int64_t)atomic_load(&a->files)));
    ky_json_set(o, "failures", ky_json_of_int((int64_t)atomic_load(&a->failures)));
    pthread_mutex_lock(&a->lock);
    ky_json_set(o, "failing",
                a->failure.code != KY_OK ? ky_json_of_str(a->failure.text) : ky_json_of_null());
    pthread_mutex_unlock(&a->lock);
    return o;
}
