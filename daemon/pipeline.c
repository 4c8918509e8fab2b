#include "daemon/pipeline.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/accept.h"
#include "daemon/commit.h"
#include "daemon/core.h"
#include "daemon/intake.h"
#include "daemon/lane.h"
#include "daemon/log.h"
#include "daemon/publish.h"
#include "daemon/recover.h"
#include "models/clock.h"
#include "storage/results.h"

enum { MOST_LANES = 16 };

/* -- the state directory -- */

static int lock_state(ky_pipeline *p, ky_err *err)
{
    const char *dir = p->cfg->state_dir;
    char path[4096];

    if (mkdir(dir, 0750) != 0 && errno != EEXIST)
        return ky_fail(err, -errno, "state_dir '%s': %s", dir, strerror(errno));
    if ((size_t)snprintf(path, sizeof(path), "%s/lock", dir) >= sizeof(path))
        return ky_fail(err, KY_EINVAL, "state_dir '%s': too long", dir);
    /* Closed on exec: a child that trains must not keep it. */
    p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (p->lock_fd < 0)
        return ky_fail(err, -errno, "state_dir '%s': %s", dir, strerror(errno));
    if (flock(p->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return ky_fail(err, KY_EBUSY, "state_dir '%s': another kymod is using it", dir);
    return KY_OK;
}

/* -- what the stages share -- */

static int lanes_wanted(const ky_config *cfg)
{
    int n = cfg->lanes > 0 ? cfg->lanes : ky_core_processors();

    return cfg->lanes == 0 && n > MOST_LANES ? MOST_LANES : n;
}

/* Whether a class's last values are needed: for gaps, or for a source's holes. */
static bool class_holds(const ky_config *cfg, int class_)
{
    const ky_class_cfg *k = &cfg->classes[class_];
    bool holds = k->on_gap == KY_GAP_HOLD;

    for (int i = 0; i < cfg->n_sources; i++)
        holds |=
            cfg->sources[i].missing == KY_MISSING_HOLD && ky_class_hears(k, cfg->sources[i].name);
    return holds;
}

static int share(ky_pipeline *p, ky_err *err)
{
    const ky_config *cfg = p->cfg;
    size_t classes = (size_t)cfg->n_classes + 1, models = (size_t)cfg->n_models + 1;

    p->n_lanes = lanes_wanted(cfg);
    p->queue_bytes = ky_core_queue_bytes(cfg);
    p->class_names = calloc(classes, sizeof(char *));
    p->serving = calloc(classes, sizeof(*p->serving));
    p->holds = calloc(classes, sizeof(bool));
    p->model_names = calloc(models, sizeof(char *));
    p->current = calloc(models, sizeof(*p->current));
    p->count.waves = calloc((size_t)cfg->max_wave + 1, sizeof(*p->count.waves));
    p->lanes = calloc((size_t)p->n_lanes, sizeof(ky_lane *));
    p->intakes = calloc((size_t)cfg->n_sources + 1, sizeof(ky_intake *));
    if (p->class_names == NULL || p->serving == NULL || p->holds == NULL ||
        p->model_names == NULL || p->current == NULL || p->count.waves == NULL ||
        p->lanes == NULL || p->intakes == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    for (int i = 0; i < cfg->n_models; i++)
        p->model_names[i] = cfg->models[i].name;
    for (int i = 0; i < cfg->n_classes; i++) {
        p->class_names[i] = cfg->classes[i].name;
        p->holds[i] = class_holds(cfg, i);
        for (int k = 0; k < cfg->classes[i].models.n; k++)
            p->serving[i].model[p->serving[i].n++] =
                ky_served_model(cfg, cfg->classes[i].models.item[k]);
    }
    return KY_OK;
}

/* -- opening -- */

static int open_results(ky_pipeline *p, ky_recovery *v, ky_err *err)
{
    char path[4096];

    if ((size_t)snprintf(path, sizeof(path), "%s/results.db", p->cfg->state_dir) >= sizeof(path))
        return ky_fail(err, KY_EINVAL, "state_dir: too long");
    /* NORMAL suffices behind the journal (PROTOCOL.md A7); without one nothing was promised. */
    int rc = ky_results_open(path, false, &v->r, err);

    if (rc == KY_OK)
        rc = ky_results_uuid(v->r, p->uuid, err);
    return rc < 0 ? rc : ky_recover_positions(v, err);
}

static int open_journal(ky_pipeline *p, const ky_recovery *v, ky_err *err)
{
    char dir[4096], *text = NULL;
    size_t len;

    if ((size_t)snprintf(dir, sizeof(dir), "%s/journal", p->cfg->state_dir) >= sizeof(dir))
        return ky_fail(err, KY_EINVAL, "state_dir: too long");
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    ky_config_dump(p->cfg, out);
    fclose(out);
    ky_journal_opts o = { .dir = dir,
                          .mode = p->cfg->journal,
                          .file_bytes = (uint64_t)p->cfg->journal_file_bytes,
                          .file_age_us = p->cfg->journal_file_age_us,
                          .config_text = text };
    int rc = ky_journal_open(&o, v->high, &p->journal, err);

    free(text);
    if (rc == KY_OK)
        p->live_from = ky_journal_end(p->journal);
    return rc;
}

/* Queues first, threads later: every stage knows its neighbours before anything moves. */
static int make_stages(ky_pipeline *p, const ky_recovery *v, ky_err *err)
{
    int rc = ky_writer_new(p, v->r, v->low, &p->writer, err);

    if (rc == KY_OK && p->cfg->n_publishers > 0)
        rc = ky_publisher_new(p, &p->publisher, err);
    for (int i = 0; rc == KY_OK && i < p->n_lanes; i++)
        rc = ky_lane_new(p, i, &p->lanes[i], err);
    if (rc == KY_OK)
        rc = ky_accept_new(p, v->low, &p->accept, err);
    for (int i = 0; rc == KY_OK && i < p->cfg->n_sources; i++)
        rc = ky_intake_new(p, i, &p->intakes[i], err);
    return rc;
}

/* A model file that changed while stopped takes over as any other version would. */
static int swap_imported(ky_pipeline *p, const ky_recovery *v, ky_err *err)
{
    for (int i = 0; i < p->cfg->n_models; i++) {
        const ky_model_cfg *m = &p->cfg->models[i];
        int rc;

        if (v->imported[i] == 0)
            continue;
        rc = ky_pipeline_swap(p, m->name, v->imported[i], 0, m->on_swap, err);
        if (rc < 0)
            return rc;
    }
    return KY_OK;
}

/* Model files that are to take over are left in v->imported; and versions that the journal does not
 * have are noted: the very first, which the configuration names. */
static void note_models(ky_pipeline *p, ky_recovery *v)
{
    for (int i = 0; i < p->cfg->n_models; i++) {
        uint32_t current = atomic_load(&p->current[i]);
        bool in_force = v->imported[i] == 0 || v->imported[i] == current;

        if (!ky_accept_file_waits(p->accept, i, in_force))
            v->imported[i] = 0;
        if (v->first[i])
            ky_accept_note_version(p->accept, ky_served_find(&p->served, i, current));
    }
}

static int start(ky_pipeline *p, ky_recovery *v, ky_err *err)
{
    int rc = ky_writer_start(p->writer, err);

    for (int i = 0; rc == KY_OK && i < p->n_lanes; i++)
        rc = ky_lane_start(p->lanes[i], err);
    for (int i = 0; i < p->cfg->n_models; i++)
        ky_accept_note_file(p->accept, i, v->from_file[i]);
    if (rc == KY_OK)
        rc = ky_recover_tail(p, v, err);
    if (rc == KY_OK) {
        note_models(p, v);
        rc = ky_accept_start(p->accept, err);
    }
    if (rc == KY_OK)
        rc = swap_imported(p, v, err);
    if (rc == KY_OK && p->publisher != NULL)
        rc = ky_publisher_start(p->publisher, err);
    for (int i = 0; rc == KY_OK && i < p->cfg->n_sources; i++)
        rc = ky_intake_start(p->intakes[i], err);
    return rc;
}

int ky_pipeline_new(const ky_config *cfg, ky_pipeline **ret, ky_err *err)
{
    ky_pipeline *p = calloc(1, sizeof(*p));
    size_t models = (size_t)cfg->n_models + 1;
    ky_recovery v = { .imported = calloc(models, sizeof(uint32_t)),
                      .from_file = calloc(models, sizeof(uint64_t)),
                      .first = calloc(models, sizeof(bool)) };
    int rc = KY_OK;

    if (p == NULL || v.imported == NULL || v.from_file == NULL || v.first == NULL) {
        free(p);
        rc = ky_fail(err, KY_ENOMEM, "no memory");
        goto out;
    }
    p->cfg = cfg;
    p->lock_fd = -1;
    pthread_mutex_init(&p->reasons.lock, NULL);
    if ((rc = lock_state(p, err)) == KY_OK && (rc = share(p, err)) == KY_OK &&
        (rc = ky_served_init(&p->served, cfg, err)) == KY_OK &&
        (rc = open_results(p, &v, err)) == KY_OK && (rc = ky_recover_models(p, &v, err)) == KY_OK &&
        (rc = open_journal(p, &v, err)) == KY_OK && (rc = ky_recover_room(p, &v, err)) == KY_OK &&
        (rc = make_stages(p, &v, err)) == KY_OK && (rc = ky_recover_states(p, &v, err)) == KY_OK)
        rc = start(p, &v, err);
    p->results = v.r;
    if (rc < 0) {
        ky_pipeline_stop(p);
        ky_pipeline_free(p);
    } else {
        *ret = p;
    }
out:
    free(v.imported);
    free(v.from_file);
    free(v.first);
    return rc;
}

/* -- closing, in the order the data flows; also of what was never started -- */

static void stop_lanes(ky_pipeline *p)
{
    for (int i = 0; i < p->n_lanes && p->lanes != NULL; i++)
        if (p->lanes[i] != NULL)
            ky_queue_close(ky_lane_queue(p->lanes[i])); /* the accept stage did, if it ran */
    for (int i = 0; i < p->n_lanes && p->lanes != NULL; i++)
        if (p->lanes[i] != NULL)
            ky_lane_join(p->lanes[i]);
}

bool ky_core_gives_up(const ky_pipeline *p)
{
    const int64_t patience_ns = 300000000; /* for a disk that somebody is just making room on */
    int64_t since = atomic_load(&p->waits.stop_ns);

    return since != 0 && ky_clock_mono_ns() - since >= patience_ns;
}

void ky_pipeline_hurry(ky_pipeline *p)
{
    if (atomic_load(&p->waits.stop_ns) == 0)
        atomic_store(&p->waits.stop_ns, ky_clock_mono_ns());
}

bool ky_pipeline_finished(const ky_pipeline *p, uint64_t *ret_let_go)
{
    *ret_let_go = KY_COUNTED_AT(p->count.let_go);
    return !atomic_load(&p->waits.journal_given_up) && !atomic_load(&p->waits.results_given_up);
}

void ky_pipeline_stop(ky_pipeline *p)
{
    ky_pipeline_hurry(p);
    for (int i = 0; p->intakes != NULL && i < p->cfg->n_sources; i++)
        if (p->intakes[i] != NULL)
            ky_intake_close(p->intakes[i]);
    if (p->accept != NULL)
        ky_accept_join(p->accept);
    for (int i = 0; p->intakes != NULL && i < p->cfg->n_sources; i++)
        if (p->intakes[i] != NULL)
            ky_intake_join(p->intakes[i]);
    stop_lanes(p);
    if (p->writer != NULL)
        ky_writer_join(p->writer);
    if (p->publisher != NULL)
        ky_publisher_join(p->publisher);
    ky_journal_close(p->journal);
    p->journal = NULL;
    if (p->results != NULL)
        ky_results_close(p->results);
    p->results = NULL;
}

void ky_pipeline_free(ky_pipeline *p)
{
    if (p == NULL)
        return;
    for (int i = 0; p->intakes != NULL && i < p->cfg->n_sources; i++)
        ky_intake_free(p->intakes[i]);
    ky_accept_free(p->accept);
    for (int i = 0; p->lanes != NULL && i < p->n_lanes; i++)
        ky_lane_free(p->lanes[i]);
    ky_publisher_free(p->publisher);
    ky_writer_free(p->writer);
    if (p->served.cfg != NULL)
        ky_served_done(&p->served);
    if (p->lock_fd >= 0)
        close(p->lock_fd);
    pthread_mutex_destroy(&p->reasons.lock);
    free(p->class_names);
    free(p->serving);
    free(p->model_names);
    free(p->holds);
    free((void *)p->current);
    free((void *)p->count.waves);
    free(p->lanes);
    free(p->intakes);
    free(p);
}

/* -- requests -- */

int ky_pipeline_swap(ky_pipeline *p, const char *model, uint32_t version, uint64_t hash, int policy,
                     ky_err *err)
{
    int m = ky_served_model(p->cfg, model);
    const ky_version *v, *was;

    if (m < 0)
        return ky_fail(err, KY_ENOENT, "there is no [model:%s]", model);
    int rc = ky_served_load(&p->served, m, version, hash, true, &v, err);

    if (rc < 0)
        return rc;
    was = ky_served_find(&p->served, m, atomic_load(&p->current[m]));
    ky_swap s = { .old_hash = was != NULL ? was->hash : 0,
                  .new_hash = v->hash,
                  .version = version,
                  .kernel_abi = KY_KERNEL_ABI,
                  .policy = (uint32_t)policy };

    snprintf(s.model, sizeof(s.model), "%s", model);
    rc = ky_accept_swap(p->accept, &s, err);
    if (rc == KY_OK)
        ky_log(KY_NOTICE, "pipeline", KY_OBJECT("model", model), "version %u takes over", version);
    return rc;
}

int ky_pipeline_seal(ky_pipeline *p, ky_err *err)
{
    return ky_accept_seal(p->accept, err);
}

ky_journal *ky_pipeline_journal(ky_pipeline *p)
{
    return p->cfg->journal == KY_JOURNAL_NO ? NULL : p->journal;
}

uint32_t ky_pipeline_version(ky_pipeline *p, const char *model)
{
    int m = ky_served_model(p->cfg, model);

    return m < 0 ? 0 : atomic_load(&p->current[m]);
}

void ky_pipeline_watch(ky_pipeline *p, ky_watchdog *w)
{
    ky_watchdog_add(w, "accept", &ky_accept_bell(p->accept)->heart);
    ky_watchdog_add(w, "writer", &p->writer->bell.heart);
    for (int i = 0; i < p->n_lanes; i++)
        ky_watchdog_add(w, "lane", &ky_lane_queue(p->lanes[i])->consumer->heart);
    for (int i = 0; i < p->cfg->n_sources; i++)
        ky_watchdog_add(w, "intake", ky_intake_heart(p->intakes[i]));
    if (p->publisher != NULL)
        ky_watchdog_add(w, "publisher", &ky_publisher_queue(p->publisher, 0)->consumer->heart);
}
