#include "daemon/streams.h"

#include <stdlib.h>
#include <sysexits.h>

#include "daemon/core.h"
#include "daemon/slab.h"
#include "daemon/works.h"

enum { FIRST = 1024, NO_PLACE = UINT32_MAX };

void ky_streams_init(ky_streams *t)
{
    *t = (ky_streams){ .free = NO_PLACE };
}

/* What belongs to it. */
static void empty(ky_stream *s)
{
    for (int k = 0; k < s->n_models; k++)
        ky_works_clear(ky_stream_strand(s, k));
    if (s->aside != NULL)
        free(s->aside->held);
    free(s->aside);
}

void ky_streams_done(ky_streams *t)
{
    for (ky_stream *s = NULL; (s = ky_streams_next(t, s)) != NULL;)
        empty(s);
    for (int i = 0; i < KY_STREAM_SLABS; i++)
        free(t->slabs[i]);
    free(t->slot);
}

/* Slab k has FIRST << k places; as many as that, less FIRST, stand before it. */
static int slab_of(uint32_t place)
{
    return 31 - __builtin_clz(place / FIRST + 1);
}

static ky_stream *at(const ky_streams *t, uint32_t place)
{
    int k = slab_of(place);

    return &t->slabs[k][place - (((uint32_t)FIRST << k) - FIRST)];
}

/* Numbers are ours, one more than the last: nobody chooses them. */
static uint32_t home(const ky_streams *t, uint32_t id)
{
    return (uint32_t)((uint64_t)(id * UINT32_C(2654435769)) * t->n_slots >> 32);
}

static uint32_t after(const ky_streams *t, uint32_t slot)
{
    return slot + 1 < t->n_slots ? slot + 1 : 0;
}

/* The slot of a number, or the free one where it would be. */
static uint32_t slot_of(const ky_streams *t, uint32_t id)
{
    uint32_t i = home(t, id);

    while (t->slot[i] != 0 && at(t, t->slot[i] - 1)->id != id)
        i = after(t, i);
    return i;
}

ky_stream *ky_streams_find(const ky_streams *t, uint32_t id)
{
    uint32_t i = t->live > 0 ? slot_of(t, id) : 0;

    return t->live > 0 && t->slot[i] != 0 ? at(t, t->slot[i] - 1) : NULL;
}

void ky_stream_want(const ky_stream *s)
{
    ky_want(s, sizeof(*s));
}

void ky_stream_want_state(const ky_stream *s)
{
    enum { MOST = 1024 }; /* the processor sees by then where it goes, and fetches the rest */
    const ky_strand *d = &s->strand;
    size_t bytes = d->state != NULL ? d->works->state_bytes : 0;

    ky_want(d->state, bytes < MOST ? bytes : MOST);
}

/* Whoever is likely to be it. */
static ky_stream *guess(const ky_streams *t, uint32_t id)
{
    uint32_t place = t->n_slots > 0 ? t->slot[home(t, id)] : 0;

    return place != 0 ? at(t, place - 1) : NULL;
}

void ky_streams_want_slot(const ky_streams *t, uint32_t id)
{
    if (t->n_slots > 0)
        ky_want(&t->slot[home(t, id)], sizeof(*t->slot));
}

void ky_streams_want(const ky_streams *t, uint32_t id)
{
    const ky_stream *s = guess(t, id);

    if (s != NULL)
        ky_stream_want(s);
}

void ky_streams_want_state(const ky_streams *t, uint32_t id)
{
    const ky_stream *s = guess(t, id);

    if (s != NULL)
        ky_stream_want_state(s);
}

uint32_t ky_streams_place(const ky_streams *t, const ky_stream *s)
{
    return t->slot[slot_of(t, s->id)] - 1;
}

ky_stream *ky_streams_at(const ky_streams *t, uint32_t place)
{
    return at(t, place);
}

/* A quarter of the slots at least stays free. */
static void more_slots(ky_streams *t)
{
    uint32_t n = t->n_slots > 0 ? t->n_slots + t->n_slots / 2 : 64;

    if ((uint64_t)t->live * 4 + 4 <= (uint64_t)t->n_slots * 3)
        return;
    free(t->slot);
    t->slot = calloc(n, sizeof(*t->slot));
    t->n_slots = n;
    if (t->slot == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for more streams");
    for (uint32_t i = 0; i < t->n; i++)
        if (at(t, i)->in_use)
            t->slot[slot_of(t, at(t, i)->id)] = i + 1;
}

static uint32_t free_place(ky_streams *t)
{
    uint32_t place = t->free;

    if (place != NO_PLACE) {
        t->free = at(t, place)->id;
        return place;
    }
    int k = slab_of(t->n);

    if (t->slabs[k] == NULL)
        t->slabs[k] = ky_slab_new(((size_t)FIRST << k) * sizeof(ky_stream));
    if (t->slabs[k] == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for more streams");
    return t->n++;
}

ky_stream *ky_streams_add(ky_streams *t, uint32_t id, int class_, int n_models)
{
    more_slots(t);
    uint32_t place = free_place(t);
    ky_stream *s = at(t, place);

    t->slot[slot_of(t, id)] = place + 1;
    t->live++;
    *s = (ky_stream){ .id = id,
                      .class_ = (uint16_t)class_,
                      .n_models = (uint8_t)n_models,
                      .in_use = true,
                      .ended = true,
                      .ts_us = KY_NONE,
                      .first = KY_NO_SLOT,
                      .last = KY_NO_SLOT };
    if (n_models > 1)
        ky_stream_set_aside(s);
    for (int k = 0; k < n_models; k++)
        ky_works_clear(ky_stream_strand(s, k));
    return s;
}

/* Whether slot b lies on the way from a up to but not including the end, going round. */
static bool between(uint32_t a, uint32_t b, uint32_t end)
{
    return a <= end ? a <= b && b < end : a <= b || b < end;
}

void ky_streams_remove(ky_streams *t, ky_stream *s)
{
    uint32_t hole = slot_of(t, s->id), place = t->slot[hole] - 1;

    /* What stood behind it and could have stood in its slot moves up. */
    for (uint32_t i = after(t, hole); t->slot[i] != 0; i = after(t, i))
        if (between(home(t, at(t, t->slot[i] - 1)->id), hole, i)) {
            t->slot[hole] = t->slot[i];
            hole = i;
        }
    t->slot[hole] = 0;
    t->live--;
    empty(s);
    *s = (ky_stream){ .id = t->free };
    t->free = place;
}

/* The place behind s; s stands in one of the slabs. */
static uint32_t place_behind(const ky_streams *t, const ky_stream *s)
{
    return t->slot[slot_of(t, s->id)];
}

ky_stream *ky_streams_next(const ky_streams *t, const ky_stream *s)
{
    for (uint32_t i = s != NULL ? place_behind(t, s) : 0; i < t->n; i++)
        if (at(t, i)->in_use)
            return at(t, i);
    return NULL;
}
