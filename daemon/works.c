#include "daemon/works.h"

#include <stdlib.h>
#include <sysexits.h>

#include "daemon/core.h"

static ky_works *works_new(ky_blocks **blocks, const ky_version *v, int class_, int nth,
                           size_t max_wave)
{
    ky_works *w = calloc(1, sizeof(*w));

    if (w == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory");
    w->v = v;
    w->plan = v->plan[class_];
    w->nth = nth;
    w->state_bytes = ky_plan_state_bytes(w->plan);
    w->blocks = ky_blocks_of(blocks, w->state_bytes);
    w->wave = ky_wave_new(w->plan, (int)max_wave);
    w->y = calloc(max_wave * (size_t)v->facts->outputs, sizeof(float));
    w->backup = aligned_alloc(64, max_wave * w->state_bytes);
    w->ready = malloc(KY_SLOTS * sizeof(*w->ready));
    if (w->wave == NULL || w->y == NULL || w->backup == NULL || w->ready == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for waves of %zu streams", max_wave);
    return w;
}

ky_works *ky_works_of(ky_works **list, ky_blocks **blocks, const ky_version *v, int class_, int nth,
                      int max_wave)
{
    for (ky_works *w = *list; w != NULL; w = w->next)
        if (w->v == v)
            return w;
    ky_works *w = works_new(blocks, v, class_, nth, (size_t)max_wave);

    w->next = *list;
    *list = w;
    return w;
}

static void works_free(ky_works *w)
{
    ky_wave_free(w->wave);
    free(w->y);
    free(w->backup);
    free(w->ready);
    free(w);
}

void ky_works_free(ky_works *list)
{
    for (ky_works *w = list, *next; w != NULL; w = next) {
        next = w->next;
        works_free(w);
    }
}

void ky_works_sweep(ky_works **list, const ky_version *now)
{
    for (ky_works *w; (w = *list) != NULL;) {
        if (w->v->model != now->model || w->v == now || w->strands > 0) {
            list = &w->next;
            continue;
        }
        *list = w->next;
        works_free(w);
    }
}

void ky_works_ready(ky_works *w, ky_stream *s)
{
    *ky_works_at(w, w->tail++) = s;
}

static void drop(ky_strand *d)
{
    if (d->works != NULL)
        d->works->strands--;
    if (d->state != NULL)
        ky_blocks_give(d->works->blocks, d->state);
    d->works = NULL;
    d->state = NULL;
}

void ky_works_own(ky_works *w, ky_strand *d)
{
    drop(d);
    d->works = w;
    w->strands++;
}

void ky_works_zero(ky_works *w, ky_strand *d, int64_t next_n)
{
    if (d->works != w || d->state == NULL) {
        ky_works_own(w, d);
        d->state = ky_blocks_take(w->blocks);
    }
    ky_plan_zero(w->plan, d->state);
    d->zero_n = next_n;
}

void ky_works_clear(ky_strand *d)
{
    drop(d);
    if (d->rare != NULL) {
        free(d->rare->last);
        free(d->rare->sick);
    }
    free(d->rare);
    *d = (ky_strand){ .label = KY_EXTRA_NONE };
}
