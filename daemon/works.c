#include "daemon/works.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/core.h"

static ky_works *works_new(const ky_version *v, int class_, size_t max_wave)
{
    ky_works *w = calloc(1, sizeof(*w));

    if (w == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory");
    w->v = v;
    w->plan = v->plan[class_];
    w->state_bytes = ky_plan_state_bytes(w->plan);
    w->block = (w->state_bytes + 64) / 64 * 64;
    w->wave = ky_wave_new(w->plan, (int)max_wave);
    w->y = calloc(max_wave * (size_t)v->facts->outputs, sizeof(float));
    w->backup = aligned_alloc(64, max_wave * w->block);
    w->extra = malloc(sizeof(ky_extra) + (size_t)v->facts->features * sizeof(float));
    if (w->wave == NULL || w->y == NULL || w->backup == NULL || w->extra == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for waves of %zu streams", max_wave);
    return w;
}

ky_works *ky_works_of(ky_works **list, const ky_version *v, int class_, int max_wave)
{
    for (ky_works *w = *list; w != NULL; w = w->next)
        if (w->v == v)
            return w;
    ky_works *w = works_new(v, class_, (size_t)max_wave);

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
        free(w->extra);
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
        char *slab = aligned_alloc(64, AT_ONCE * w->block);
        void **slabs = realloc(w->slabs, (w->n_slabs + 1) * sizeof(void *));

        if (slab == NULL || slabs == NULL)
            ky_core_die(EX_OSERR, "lane", "no memory for the states of more streams");
        w->slabs = slabs;
        w->slabs[w->n_slabs++] = slab;
        for (int i = 0; i < AT_ONCE; i++)
            ky_works_give_back(w, slab + (size_t)i * w->block);
    }
    void *block = w->free;

    memcpy(&w->free, block, sizeof(void *));
    return block;
}

void ky_works_ready(ky_works *w, ky_stream *s)
{
    s->ready = NULL;
    if (w->first == NULL)
        w->first = s;
    else
        w->last->ready = s;
    w->last = s;
}

void ky_works_zero(ky_works *w, ky_stream *s)
{
    if (s->works != w) {
        if (s->state != NULL)
            ky_works_give_back(s->works, s->state);
        s->works = w;
        s->state = ky_works_block(w);
    }
    ky_plan_zero(w->plan, s->state);
    s->zero_n = s->n + 1;
}
