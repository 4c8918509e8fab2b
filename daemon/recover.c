#include "daemon/recover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/accept.h"
#include "daemon/lane.h"
#include "daemon/log.h"
#include "models/clock.h"
#include "storage/store.h"

/* -- positions -- */

static int highest_source(const char *source, const char *key, const uint8_t session[16],
                          int64_t number, void *arg, ky_err *err)
{
    ky_recovery *v = arg;

    (void)key;
    (void)session;
    (void)err;
    if (strcmp(source, KY_ACCEPT_JOURNAL) == 0 && (uint64_t)number > v->high)
        v->high = (uint64_t)number;
    return 0;
}

int ky_recover_positions(ky_recovery *v, ky_err *err)
{
    int rc = ky_results_low_water(v->r, &v->low, err);

    if (rc == KY_OK)
        rc = ky_results_high_water(v->r, &v->high, err);
    if (rc == KY_OK)
        rc = ky_results_each_source(v->r, highest_source, v, err);
    return rc;
}

/* -- models -- */

typedef struct imported {
    const char *model;
    uint64_t hash; /* of the file imported last; 0: none */
} imported;

static int find_imported(const char *source, const char *key, const uint8_t session[16],
                         int64_t number, void *arg, ky_err *err)
{
    imported *i = arg;

    (void)session;
    (void)err;
    if (strcmp(source, KY_ACCEPT_MODEL) == 0 && strcmp(key, i->model) == 0)
        i->hash = (uint64_t)number;
    return 0;
}

/* The file as a version: the one it already is, or the next. */
static int import(ky_pipeline *p, ky_recovery *v, int model, const ky_model *m,
                  uint32_t *ret_version, ky_err *err)
{
    const char *name = p->cfg->models[model].name;
    uint64_t hash = ky_model_facts(m)->hash;
    uint32_t version = ky_served_by_hash(&p->served, model, hash);
    char path[KY_NAME_MAX + 32];

    if (version == 0) {
        int rc = ky_store_add(p->served.dir, m, name, &version, err);

        if (rc < 0)
            return ky_context(err, rc, "[model:%s]", name);
    }
    snprintf(path, sizeof(path), "%s/%u.h5", name, version);
    ky_model_row row = { .model = name,
                         .version = version,
                         .hash = hash,
                         .path = path,
                         .origin = "config",
                         .created_us = ky_clock_wall_us() };

    *ret_version = version;
    return ky_results_add_model(v->r, &row, err);
}

/* Versions in force and in the configuration: the same but after the file was changed. */
static int recover_model(ky_pipeline *p, ky_recovery *v, int model, ky_err *err)
{
    const char *name = p->cfg->models[model].name;
    imported was = { .model = name };
    uint64_t hash = 0;
    uint32_t version = 0, from_file = 0;
    ky_model *m = NULL;
    const ky_version *loaded;
    int rc = ky_results_each_source(v->r, find_imported, &was, err);

    if (rc < 0 || (rc = ky_served_read(p->cfg, model, &m, err)) < 0)
        return rc;
    uint64_t file_hash = ky_model_facts(m)->hash;
    /* Swaps behind the low-water mark come out of the journal, if there is one. */
    uint64_t at = p->cfg->journal == KY_JOURNAL_NO ? v->high : v->low;

    /* The first version is recorded at 0, where no record of a swap can be. */
    rc = ky_results_model_at(v->r, name, at > 0 ? at : 1, &version, &hash, err);
    if (rc == KY_ENOENT || (rc == KY_OK && was.hash != file_hash))
        rc = import(p, v, model, m, &from_file, err);
    ky_model_free(m);
    if (rc < 0)
        return rc;
    v->from_file[model] = file_hash;
    v->first[model] = version == 0;
    if (version == 0)
        version = from_file;
    else if (from_file != 0 && from_file != version)
        v->imported[model] = from_file;
    rc = ky_served_load(&p->served, model, version, hash, false, &loaded, err);
    if (rc < 0)
        return rc;
    if (from_file != 0)
        rc = ky_served_load(&p->served, model, from_file, file_hash, true, &loaded, err);
    atomic_store(&p->current[model], version);
    return rc;
}

int ky_recover_models(ky_pipeline *p, ky_recovery *v, ky_err *err)
{
    int *features = calloc((size_t)p->cfg->n_models + 1, sizeof(*features)), rc = KY_OK;

    if (features == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    for (int i = 0; rc == KY_OK && i < p->cfg->n_models; i++) {
        rc = recover_model(p, v, i, err);
        if (rc == KY_OK)
            features[i] =
                ky_served_find(&p->served, i, atomic_load(&p->current[i]))->facts->features;
    }
    if (rc == KY_OK)
        rc = ky_served_agree(p->cfg, features, err);
    free(features);
    return rc;
}

/* -- states -- */

int ky_recover_state(ky_pipeline *p, const ky_saved_stream *s, int class_, ky_err *err)
{
    int nth = s->model != NULL ? ky_class_nth(&p->cfg->classes[class_], s->model) : -1;
    const ky_version *v = NULL;

    if (nth >= 0)
        ky_served_load(&p->served, p->serving[class_].model[nth], s->row.version, 0, false, &v,
                       err);
    return ky_lane_restore(p->lanes[s->row.stream % (uint32_t)p->n_lanes], s, class_, nth, v, err);
}

/* Who reads the states back: the accept stage, all streams' numbers, and each lane its own
 * streams', all side by side, each from a connection of its own. They see the same rows in the same
 * order, so what one finds is to be in memory the other does, too. */
typedef struct reader {
    ky_pipeline *p;
    const uint64_t *since; /* [classes]: of records before this a stream is not in memory */
    int lane;              /* -1: the accept stage */
    pthread_t thread;
    bool started;
    uint64_t next;  /* behind the stream of the last row, ... */
    bool in_memory; /* ... which is */
    uint64_t damaged, left;
    int rc;
    ky_err err;
} reader;

static int class_of(const ky_config *cfg, const char *name)
{
    for (int i = 0; i < cfg->n_classes; i++)
        if (strcmp(cfg->classes[i].name, name) == 0)
            return i;
    return -1;
}

static int restore_stream(const ky_saved_stream *s, void *arg, ky_err *err)
{
    reader *g = arg;
    const ky_config *cfg = g->p->cfg;
    int class_ = class_of(cfg, s->class_name);
    uint64_t pos = s->model != NULL ? s->row.pos : 0;
    bool first = s->row.stream >= g->next; /* of its rows, one for each of its models */
    ky_err why = { 0 };

    (void)err;
    if (first)
        g->in_memory = class_ >= 0 && (g->since[class_] == 0 || pos > g->since[class_]);
    g->next = (uint64_t)s->row.stream + 1;
    if (g->lane >= 0) {
        if (g->in_memory && ky_recover_state(g->p, s, class_, &why) < 0 && g->damaged++ < 10)
            ky_log(KY_WARN, "recover", KY_OBJECT("stream", s->name),
                   "its state cannot be used, it starts from zeros: %s", why.text);
        return KY_OK;
    }
    if (first || g->in_memory)
        ky_accept_restore_stream(g->p->accept, s, class_, g->in_memory);
    if (first && class_ >= 0)
        KY_COUNT(g->p->count.streams);
    g->left += class_ >= 0 && s->model != NULL && ky_class_nth(&cfg->classes[class_], s->model) < 0;
    return KY_OK;
}

/* A connection of its own, as what is read here is not what the writer will need. */
static int open_beside(ky_pipeline *p, ky_results **ret, ky_err *err)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/results.db", p->cfg->state_dir);
    int rc = ky_results_open(path, false, ret, err);

    if (rc == KY_OK)
        ky_results_keep_few_pages(*ret);
    return rc;
}

static void *read_states(void *arg)
{
    reader *g = arg;
    ky_results *r;

    g->rc = open_beside(g->p, &r, &g->err);
    if (g->rc < 0)
        return NULL;
    g->rc = g->lane < 0 ? ky_results_each_stream(r, restore_stream, g, &g->err)
                        : ky_results_each_stream_of(r, (uint32_t)g->p->n_lanes, (uint32_t)g->lane,
                                                    restore_stream, g, &g->err);
    ky_results_close(r);
    return NULL;
}

/* From which position on the streams of each class are in memory. */
static int find_since(ky_pipeline *p, uint64_t *ret, ky_err *err)
{
    ky_results *r;
    int rc = open_beside(p, &r, err);

    if (rc < 0)
        return rc;
    for (int c = 0; rc == KY_OK && c < p->cfg->n_classes; c++)
        rc = ky_results_used_since(r, p->cfg->classes[c].name, p->cfg->classes[c].max_streams,
                                   &ret[c], err);
    ky_results_close(r);
    return rc;
}

/* g[0] is the accept stage's, on this thread. */
static int read_all_states(reader *g, int n, ky_err *err)
{
    int rc = KY_OK;

    for (int i = 1; rc == KY_OK && i < n; i++) {
        rc = ky_core_thread(&g[i].thread, "kymod-recover", read_states, &g[i], err);
        g[i].started = rc == KY_OK;
    }
    if (rc == KY_OK)
        read_states(&g[0]);
    for (int i = 0; i < n; i++) {
        if (g[i].started)
            pthread_join(g[i].thread, NULL);
        if (rc == KY_OK && (rc = g[i].rc) < 0 && err != NULL)
            *err = g[i].err;
    }
    return rc;
}

static void tell_of_states(ky_pipeline *p, uint64_t damaged, uint64_t left)
{
    if (damaged > 0) {
        char detail[80];

        snprintf(detail, sizeof(detail),
                 "%llu states cannot be used, their streams start from zeros",
                 (unsigned long long)damaged);
        ky_log(KY_WARN, "recover", NULL, "%s", detail);
        ky_accept_event(p->accept, "warn", "states", "not usable", detail);
    }
    if (left > 0)
        ky_log(
            KY_NOTICE, "recover", NULL,
            "%llu states are of models that do not answer their class any more; each goes when its "
            "stream is next committed",
            (unsigned long long)left);
}

static int restore_source(const char *source, const char *key, const uint8_t session[16],
                          int64_t number, void *arg, ky_err *err)
{
    ky_pipeline *p = arg;

    (void)err;
    ky_accept_restore_source(p->accept, source, key, session, number);
    return KY_OK;
}

int ky_recover_states(ky_pipeline *p, ky_recovery *v, ky_err *err)
{
    int n = p->n_lanes + 1, rc = KY_OK;
    uint64_t *since = calloc((size_t)p->cfg->n_classes + 1, sizeof(*since)), damaged = 0;
    reader *g = calloc((size_t)n, sizeof(*g));

    if (since == NULL || g == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory");
    if (rc == KY_OK)
        rc = find_since(p, since, err);
    for (int i = 0; i < p->cfg->n_models; i++)
        for (int l = 0; l < p->n_lanes; l++)
            ky_lane_set_version(p->lanes[l],
                                ky_served_find(&p->served, i, atomic_load(&p->current[i])));
    for (int i = 0; rc == KY_OK && i < n; i++)
        g[i] = (reader){ .p = p, .since = since, .lane = i - 1 };
    if (rc == KY_OK)
        rc = read_all_states(g, n, err);
    for (int i = 0; rc == KY_OK && i < n; i++)
        damaged += g[i].damaged;
    if (rc == KY_OK)
        tell_of_states(p, damaged, g[0].left);
    free(since);
    free(g);
    return rc < 0 ? rc : ky_results_each_source(v->r, restore_source, p, err);
}

/* -- the tail -- */

/* Classes and sources of a journal file by today's numbers. */
typedef struct tail {
    ky_pipeline *p;
    int *class_, *source; /* [n_...]: -1 no longer configured */
    int n_classes, n_sources;
    ky_record *copy;
    uint64_t left_out;
} tail;

static int renumber(tail *t, const ky_record *config, ky_err *err)
{
    const ky_config *now = t->p->cfg;
    ky_config *then;
    int rc = ky_config_of_text(ky_record_text(config), config->text_len, &then, err);

    if (rc < 0)
        return ky_context(err, rc, "the CONFIG record at %llu", (unsigned long long)config->pos);
    free(t->class_);
    free(t->source);
    t->n_classes = then->n_classes;
    t->n_sources = then->n_sources;
    t->class_ = calloc((size_t)then->n_classes + 1, sizeof(int));
    t->source = calloc((size_t)then->n_sources + 1, sizeof(int));
    if (t->class_ == NULL || t->source == NULL) {
        rc = ky_fail(err, KY_ENOMEM, "no memory");
        goto out;
    }
    for (int i = 0; i < then->n_classes; i++)
        t->class_[i] = class_of(now, then->classes[i].name);
    for (int i = 0; i < then->n_sources; i++) {
        t->source[i] = -1;
        for (int k = 0; k < now->n_sources; k++)
            if (strcmp(now->sources[k].name, then->sources[i].name) == 0)
                t->source[i] = k;
    }
out:
    ky_config_free(then);
    return rc;
}

static int take_room(const ky_record *r, void *arg, ky_err *err)
{
    ky_pipeline *p = arg;
    ky_config *then;
    int rc = r->type == KY_REC_CONFIG
                 ? ky_config_of_text(ky_record_text(r), r->text_len, &then, err)
                 : 1;

    if (rc != KY_OK)
        return rc;
    if (ky_core_queue_bytes(then) > p->queue_bytes)
        p->queue_bytes = ky_core_queue_bytes(then);
    ky_config_free(then);
    return 1;
}

int ky_recover_room(ky_pipeline *p, const ky_recovery *v, ky_err *err)
{
    ky_journal_file *files = NULL;
    int n = p->cfg->journal != KY_JOURNAL_NO ? ky_journal_list(p->journal, &files, err) : 0;
    int rc = n < 0 ? n : KY_OK;

    for (int i = 0; i < n && rc >= 0; i++)
        if (files[i].end > v->low)
            rc = ky_journal_read_file(files[i].path, take_room, p, err);
    free(files);
    return rc < 0 ? ky_context(err, rc, "the settings of the journal's tail") : KY_OK;
}

static int first_record(const ky_record *r, void *arg, ky_err *err)
{
    int rc = r->type == KY_REC_CONFIG ? renumber(arg, r, err) : KY_OK;

    return rc < 0 ? rc : 1;
}

/* Where the tail begins in the middle of a file, that file's CONFIG record lies before it. */
static int begin_file(tail *t, uint64_t low, ky_err *err)
{
    ky_journal_file *files = NULL;
    int n = ky_journal_list(t->p->journal, &files, err), rc = n < 0 ? n : KY_OK;

    for (int i = 0; i < n; i++)
        if (files[i].first <= low && low < files[i].end) {
            for (int l = 0; l < t->p->n_lanes; l++)
                ky_lane_set_file(t->p->lanes[l], files[i].first);
            rc = ky_journal_read_file(files[i].path, first_record, t, err);
            rc = rc > 0 ? KY_OK : rc;
        }
    free(files);
    return rc;
}

static int load_swapped(tail *t, const ky_record *r, ky_err *err)
{
    const ky_swap *swap = ky_record_body(r);
    int model = ky_served_model(t->p->cfg, swap->model);
    const ky_version *v;

    if (model < 0)
        return KY_OK;
    return ky_served_load(&t->p->served, model, swap->version, swap->new_hash, false, &v, err);
}

/* A lane steps as many values as its model takes: a sample must have them. */
static bool answerable(ky_pipeline *p, int class_, const ky_record *r)
{
    if (class_ < 0 || r->type != KY_REC_SAMPLE)
        return class_ >= 0;
    return (int)r->features == ky_core_features(p, class_);
}

static int replay(const ky_record *r, void *arg, ky_err *err)
{
    tail *t = arg;
    bool of_stream = r->type == KY_REC_SAMPLE || r->type == KY_REC_LABEL || r->type == KY_REC_END ||
                     r->type == KY_REC_FORGET;
    int rc = KY_OK;

    if (r->type == KY_REC_CONFIG)
        rc = renumber(t, r, err);
    else if (r->type == KY_REC_SWAP)
        rc = load_swapped(t, r, err);
    if (rc < 0)
        return rc;
    ky_record *copy = realloc(t->copy, r->size);

    if (copy == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    t->copy = copy;
    memcpy(copy, r, r->size);
    int source = r->source < t->n_sources ? t->source[r->source] : -1;
    int class_ = r->class_ < t->n_classes ? t->class_[r->class_] : -1;

    copy->source = source < 0 ? UINT16_MAX : (uint16_t)source;
    if (of_stream && !answerable(t->p, class_, r)) {
        t->left_out++;
        ky_accept_leave_out(t->p->accept, copy);
        return KY_OK;
    }
    copy->class_ = (uint16_t)(class_ < 0 ? 0 : class_);
    ky_accept_replay(t->p->accept, copy);
    return KY_OK;
}

static void report(ky_pipeline *p, const ky_recovery *v, const tail *t)
{
    uint64_t n = atomic_load(&p->count.recovered);
    const ky_journal_found *found = ky_journal_was(p->journal);
    char detail[240];

    if (t->left_out > 0)
        ky_log(KY_WARN, "recover", NULL,
               "%llu records of the journal's tail belong to classes that are no longer "
               "configured, or whose model takes another number of values, and were left out",
               (unsigned long long)t->left_out);
    if (n == 0 && found->cut_bytes == 0)
        return;
    snprintf(detail, sizeof(detail),
             "{\"records\":%llu,\"from\":%llu,\"to\":%llu,\"cut_bytes\":%llu}",
             (unsigned long long)n, (unsigned long long)v->low, (unsigned long long)found->end,
             (unsigned long long)found->cut_bytes);
    ky_accept_event(p->accept, "info", "journal", "recovered", detail);
    ky_log(KY_NOTICE, "recover", NULL,
           "ran %llu records of the journal that were not committed, cut %llu bytes%s%s",
           (unsigned long long)n, (unsigned long long)found->cut_bytes, *found->why ? ": " : "",
           found->why);
}

int ky_recover_tail(ky_pipeline *p, ky_recovery *v, ky_err *err)
{
    tail t = { .p = p };
    int rc = KY_OK;

    if (p->cfg->journal != KY_JOURNAL_NO) {
        rc = begin_file(&t, v->low, err);
        if (rc == KY_OK)
            rc = ky_journal_replay(p->journal, v->low, replay, &t, err);
        if (rc == KY_OK)
            report(p, v, &t);
    }
    ky_accept_live(p->accept, p->live_from);
    free(t.class_);
    free(t.source);
    free(t.copy);
    return rc < 0 ? ky_context(err, rc, "recovering") : KY_OK;
}
