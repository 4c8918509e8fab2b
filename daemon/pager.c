#include "daemon/pager.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "daemon/works.h"
#include "models/clock.h"
#include "storage/results.h"

/* A class's streams with a state in memory, in the order in which they were used. */
typedef struct line {
    ky_stream *first, *last;
} line;

struct ky_pager {
    ky_pipeline *p;
    ky_results *r;
    line *lines;        /* [classes] */
    size_t bytes, most; /* of states; most 0: no bound */
};

static void unlink_stream(ky_pager *g, ky_stream *s)
{
    line *l = &g->lines[s->class_];

    *(s->older != NULL ? &s->older->newer : &l->first) = s->newer;
    *(s->newer != NULL ? &s->newer->older : &l->last) = s->older;
    g->bytes -= s->kept;
    s->kept = 0;
}

void ky_pager_used(ky_pager *g, ky_stream *s, int64_t now_ns)
{
    line *l = &g->lines[s->class_];

    if (s->kept > 0)
        unlink_stream(g, s);
    for (int k = 0; k < s->n_models; k++) {
        const ky_strand *d = ky_stream_strand(s, k);

        s->kept += d->state != NULL ? (uint32_t)d->works->state_bytes : 0;
    }
    g->bytes += s->kept;
    s->used_ns = now_ns;
    s->older = l->last;
    s->newer = NULL;
    *(l->last != NULL ? &l->last->newer : &l->first) = s;
    l->last = s;
}

bool ky_pager_full(const ky_pager *g, size_t bytes)
{
    return g->most > 0 && g->bytes + bytes > g->most;
}

/* The stream that is to go next; NULL: all may stay. */
static ky_stream *next_out(const ky_pager *g, int64_t now_ns)
{
    ky_stream *oldest = NULL;

    for (int c = 0; c < g->p->cfg->n_classes; c++) {
        int64_t timeout_ns = g->p->cfg->classes[c].idle_timeout_us * 1000;
        ky_stream *s = g->lines[c].first;

        if (s != NULL && timeout_ns > 0 && now_ns - s->used_ns >= timeout_ns)
            return s;
        if (s != NULL && (oldest == NULL || s->used_ns < oldest->used_ns))
            oldest = s;
    }
    return ky_pager_full(g, 0) ? oldest : NULL;
}

void ky_pager_out(ky_pager *g, int64_t now_ns)
{
    ky_stream *s;

    while ((s = next_out(g, now_ns)) != NULL && s->used_ns < now_ns) {
        if (s->dirty || s->first != KY_NO_SLOT) { /* in use: not the oldest after all */
            ky_pager_used(g, s, now_ns);
            continue;
        }
        unlink_stream(g, s);
        for (int k = 0; k < s->n_models; k++) {
            ky_strand *d = ky_stream_strand(s, k);

            if (d->state != NULL)
                ky_blocks_give(d->works->blocks, d->state);
            d->state = NULL;
        }
        KY_COUNT(g->p->count.paged_out);
    }
}

void ky_pager_gone(ky_pager *g, ky_stream *s)
{
    if (s->kept > 0)
        unlink_stream(g, s);
}

struct ky_results *ky_pager_results(const ky_pager *g)
{
    return g->r;
}

static void page_in(ky_pager *g, const ky_stream *s, ky_strand *d)
{
    const ky_works *w = d->works;
    size_t len = 0;
    ky_err err;

    d->state = ky_blocks_take(w->blocks);
    int rc = ky_results_state(g->r, s->id, g->p->model_names[w->v->model], d->state, w->state_bytes,
                              &len, &err);

    if (rc < 0)
        ky_core_die(rc == KY_ECORRUPT ? EX_DATAERR : EX_IOERR, "lane",
                    "the state of stream number %u cannot be read back: %s", s->id, err.text);
    if (!ky_plan_state_ok(w->plan, d->state, len))
        ky_core_die(EX_DATAERR, "lane",
                    "the state of stream number %u came back as another: %zu bytes", s->id, len);
}

void ky_pager_in(ky_pager *g, ky_stream *s)
{
    bool any = false;

    for (int k = 0; k < s->n_models; k++) {
        ky_strand *d = ky_stream_strand(s, k);

        if (d->works == NULL || d->state != NULL)
            continue;
        page_in(g, s, d);
        any = true;
    }
    if (!any)
        return;
    ky_pager_used(g, s, ky_clock_mono_ns());
    KY_COUNT(g->p->count.paged_in);
}

int ky_pager_new(ky_pipeline *p, ky_pager **ret, ky_err *err)
{
    ky_pager *g = calloc(1, sizeof(*g));
    char path[4096];

    if (g == NULL || (g->lines = calloc((size_t)p->cfg->n_classes + 1, sizeof(line))) == NULL) {
        free(g);
        return ky_fail(err, KY_ENOMEM, "no memory");
    }
    g->p = p;
    g->most = (size_t)p->cfg->max_memory / (size_t)p->n_lanes;
    snprintf(path, sizeof(path), "%s/results.db", p->cfg->state_dir);
    int rc = ky_results_open(path, false, &g->r, err);

    if (rc < 0) {
        ky_pager_free(g);
        return rc;
    }
    ky_results_keep_few_pages(g->r);
    *ret = g;
    return KY_OK;
}

void ky_pager_free(ky_pager *g)
{
    if (g == NULL)
        return;
    ky_results_close(g->r);
    free(g->lines);
    free(g);
}
