#include "daemon/works.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/core.h"

static ky_works *works_new(const ky_version *v, int class_, int nth, size_t max_wave)
{
    ky_works *w = calloc(1, sizeof(*w));

    if (w == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory");
    w->v = v;
    w->plan = v->plan[class_];
    w->nth = nth;
    w->state_bytes = ky_plan_state_bytes(w->plan);
    w->wave = ky_wave_new(w->plan, (int)max_wave);
    w->y = calloc(max_wave * (size_t)v->facts->outputs, sizeof(float));
    w->backup = aligned_alloc(64, max_wave * w->state_bytes);
    if (w->wave == NULL || w->y == NULL || w->backup == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for waves of %zu streams", max_wave);
    return w;
}

ky_works *ky_works_of(ky_works **list, const ky_version *v, int class_, int nth, int max_wave)
{
    for (ky_works *w = *list; w != NULL; w = w->next)
        if (w->v == v)
            return w;
    ky_works *w = works_new(v, class_, nth, (size_t)max_wave);

    w->next = *list;
    *list = w;
    return w;
}

void ky_works_free(ky_works *list)
{
    for (ky_works *w = list, *next; w != NULL; w = next) {
        next = w->next;
        for (size_t i = 0; i < w->n_slabs; i++)
            free(w->slabs[i]);
        free(w->slabs);
        ky_wave_free(w->wave);
        free(w->y);
        free(w->backup);
        free(w);
    }
}

void ky_works_give_back(ky_works *w, void *block)
{
    memcpy(block, &w->free, sizeof(void *));
    w->free = block;
}

void *ky_works_block(ky_works *w)
{
    enum { AT_ONCE = 64 };

    if (w->free == NULL) {
        char *slab = aligned_alloc(64, AT_ONCE * w->state_bytes);
        void **slabs = realloc(w->slabs, (w->n_slabs + 1) * sizeof(void *));

        if (slab == NULL || slabs == NULL)
            ky_core_die(EX_OSERR, "lane", "no memory for the states of more streams");
        w->slabs = slabs;
        w->slabs[w->n_slabs++] = slab;
        for (int i = 0; i < AT_ONCE; i++)
            ky_works_give_back(w, slab + (size_t)i * w->state_bytes);
    }
    void *block = w->free;

    memcpy(&w->free, block, sizeof(void *));
    return block;
}

void ky_works_ready(ky_works *w, ky_stream *s)
{
    ky_stream_strand(s, w->nth)->ready = NULL;
    if (w->first == NULL)
        w->first = s;
    else
        ky_stream_strand(w->last, w->nth)->ready = s;
    w->last = s;
}

static void drop(ky_strand *d)
{
    if (d->state != NULL)
        ky_works_give_back(d->works, d->state);
    d->works = NULL;
    d->state = NULL;
}

void ky_works_zero(ky_works *w, ky_strand *d, int64_t next_n)
{
    if (d->works != w || d->state == NULL) {
        drop(d);
        d->works = w;
        d->state = ky_works_block(w);
    }
    ky_plan_zero(w->plan, d->state);
    d->zero_n = next_n;
}

void ky_works_clear(ky_strand *d)
{
    drop(d);
    free(d->last);
    free(d->sick);
    *d = (ky_strand){ .label = KY_EXTRA_NONE };
}
