/* Streams that leave a lane's memory whole, and come back from results.db. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/lane_own.h"
#include "daemon/log.h"
#include "daemon/recover.h"
#include "storage/results.h"

void ky_lane_forget(ky_lane *l, uint32_t id)
{
    ky_stream *s = ky_streams_find(&l->streams, id);

    if (s == NULL)
        return;
    if (s->dirty || s->first != KY_NO_SLOT)
        ky_core_die(EX_SOFTWARE, "lane", "stream number %u is to leave memory and is in use", id);
    ky_pager_gone(l->pager, s);
    ky_streams_remove(&l->streams, s);
}

/* The version with which a model began all its streams anew; of a swap before the start it is in
 * results.db, of a later one perhaps not yet. */
static const ky_version *reset_to(ky_lane *l, int model)
{
    const ky_version *v = l->reset_to[model];
    uint64_t hash, pos = l->reset_pos[model];
    uint32_t version;
    ky_err err;

    if (v != NULL)
        return v;
    int rc = ky_results_model_at(ky_pager_results(l->pager), l->p->model_names[model], pos,
                                 &version, &hash, &err);

    if (rc == KY_OK)
        rc = ky_served_load(&l->p->served, model, version, hash, false, &v, &err);
    if (rc < 0)
        ky_core_die(EX_DATAERR, "lane", "the version that streams began anew with: %s", err.text);
    return l->reset_to[model] = v;
}

/* Models began all their streams anew while this one was not in memory, before this record: what
 * lies behind it will come by itself. */
void ky_lane_catch_up(ky_lane *l, ky_stream *s, const ky_record *r)
{
    uint64_t behind = s->pos;

    for (int k = 0; k < s->n_models; k++) {
        int model = l->p->serving[s->class_].model[k];
        uint64_t pos = l->reset_pos[model];
        ky_strand *d = ky_stream_strand(s, k);

        if (s->pos >= pos || pos > r->pos || d->works == NULL)
            continue;
        ky_pager_in(l->pager, s);
        ky_works_zero(ky_lane_works_of(l, s->class_, k, reset_to(l, model)), d, s->n + 1);
        d->cut = !s->ended;
        behind = pos > behind ? pos : behind;
        KY_COUNT(l->p->count.resets);
    }
    ky_lane_move(l, s, behind);
}

typedef struct reading {
    ky_lane *l;
    const ky_record *r;
} reading;

static int come_back(const ky_saved_stream *saved, void *arg, ky_err *err)
{
    const reading *g = arg;
    ky_err why = { 0 };

    (void)err;
    if (ky_recover_state(g->l->p, saved, g->r->class_, &why) < 0)
        ky_complain(&g->l->unusable, KY_WARN, "lane", KY_OBJECT("stream", saved->name),
                    "its state cannot be used, it starts from zeros: %s", why.text);
    return KY_OK;
}

/* NULL: it is new. */
static ky_stream *read_back(ky_lane *l, const ky_record *r)
{
    reading g = { l, r };
    ky_err err;
    int rc = ky_results_stream_numbered(ky_pager_results(l->pager), r->stream, come_back, &g, &err);

    if (rc < 0)
        ky_core_die(rc == KY_ECORRUPT ? EX_DATAERR : EX_IOERR, "lane",
                    "stream %.*s cannot be read back: %s", r->stream_len, ky_record_stream(r),
                    err.text);
    return ky_streams_find(&l->streams, r->stream);
}

ky_stream *ky_lane_stream(ky_lane *l, const ky_record *r)
{
    ky_stream *s = ky_streams_find(&l->streams, r->stream);
    bool first = r->type == KY_REC_SAMPLE && r->n == 1 && r->pos >= l->p->live_from;

    if (s == NULL && !first)
        s = read_back(l, r);
    /* One with records before this one in line has done so; its position tells nothing until they
     * are applied. */
    if (s != NULL && s->first == KY_NO_SLOT)
        ky_lane_catch_up(l, s, r);
    return s != NULL
               ? s
               : ky_streams_add(&l->streams, r->stream, r->class_, l->p->serving[r->class_].n);
}
