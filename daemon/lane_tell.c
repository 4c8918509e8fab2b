#include "daemon/lane_own.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static void publish(ky_lane *l, const ky_said *a, const ky_record *r, const float *y)
{
    size_t len = (size_t)a->v->facts->outputs * sizeof(float);
    ky_stream *s = a->s;
    size_t size = sizeof(*a) + len + r->stream_len;
    ky_said *to;

    s->pub++;
    if (size > ky_queue_largest(l->told)) {
        KY_COUNT(l->p->count.unpublished);
        return;
    }
    for (;;) {
        uint32_t heard = ky_bell_listen(&l->bell);

        if ((to = ky_queue_reserve(l->told, size)) != NULL)
            break;
        ky_queue_ring(l->told);
        ky_bell_wait(&l->bell, heard, -1);
    }
    *to = *a;
    to->pub = s->pub;
    to->class_ = s->class_;
    to->name_len = (uint8_t)r->stream_len;
    memcpy(to + 1, y, len);
    memcpy((char *)(to + 1) + len, ky_record_stream(r), r->stream_len);
    ky_queue_commit(l->told, size);
    l->told_any = true;
}

/* What was before the daemon started was published then, if ever. */
static bool live(const ky_lane *l, const ky_record *r)
{
    return l->told != NULL && r->pos >= l->p->live_from;
}

void ky_lane_keep_last(ky_strand *d, const ky_said *a, const void *y)
{
    size_t len = (size_t)a->v->facts->outputs * sizeof(float);
    ky_rare *rare = ky_strand_set_rare(d);
    ky_said *kept = rare->last;

    if (kept == NULL || kept->v != a->v)
        kept = realloc(rare->last, sizeof(*a) + len);
    if (kept == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory");
    *kept = *a;
    memcpy(kept + 1, y, len);
    rare->last = kept;
}

/* Whether this answer is published at once. It counts whether or not anybody listens. */
static bool due(const ky_class_cfg *c, ky_strand *d, const ky_said *a)
{
    if (c->emit == KY_EMIT_CHANGE)
        return a->label != d->label;
    if (c->emit <= 1 && d->rare == NULL) /* every one */
        return true;
    ky_rare *rare = ky_strand_set_rare(d);

    if (++rare->unsaid < c->emit)
        return false;
    rare->unsaid = 0;
    return true;
}

void ky_lane_tell(ky_lane *l, ky_strand *d, const ky_said *a, const ky_record *r, const float *y)
{
    const ky_class_cfg *c = &l->p->cfg->classes[a->s->class_];

    if (c->emit == KY_EMIT_END)
        ky_lane_keep_last(d, a, y);
    else if (due(c, d, a) && live(l, r))
        publish(l, a, r, y);
}

void ky_lane_tell_last(ky_lane *l, ky_stream *s, const ky_record *r)
{
    for (int k = 0; k < s->n_models; k++) {
        ky_said *last = ky_strand_rare(ky_stream_strand(s, k))->last;

        if (last == NULL || last->n == 0)
            continue;
        if (live(l, r))
            publish(l, last, r, (const float *)(last + 1));
        last->n = 0;
    }
}
