#include "daemon/lane_own.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

void ky_lane_tell(ky_lane *l, const ky_said *a, const float *y)
{
    size_t len = (size_t)a->v->facts->outputs * sizeof(float), size = sizeof(*a) + len;
    ky_said *to;

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
    memcpy(to + 1, y, len);
    ky_queue_commit(l->told, size);
    l->told_any = true;
}

void ky_lane_keep_last(ky_stream *s, const ky_said *a, const float *y)
{
    size_t len = (size_t)a->v->facts->outputs * sizeof(float);
    ky_said *kept = s->final;

    if (kept == NULL || kept->v != a->v)
        kept = realloc(s->final, sizeof(*a) + len);
    if (kept == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory");
    *kept = *a;
    kept->end = true;
    memcpy(kept + 1, y, len);
    s->final = kept;
}

void ky_lane_tell_last(ky_lane *l, ky_stream *s, const ky_record *r)
{
    if (s->final != NULL && s->final->end && r->pos >= l->p->live_from)
        ky_lane_tell(l, s->final, (const float *)(s->final + 1));
}
