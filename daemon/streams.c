#include "daemon/streams.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/core.h"
#include "daemon/works.h"

enum { SLAB = 1024, NO_SLOT = UINT32_MAX };

void ky_streams_init(ky_streams *t, int lanes)
{
    *t = (ky_streams){ .lanes = (uint32_t)lanes };
}

void ky_streams_done(ky_streams *t)
{
    for (ky_stream *s = NULL; (s = ky_streams_next(t, s)) != NULL;) {
        free(s->name);
        free(s->held);
        for (int k = 0; k < s->n_models; k++)
            ky_works_clear(ky_stream_strand(s, k));
        free(s->more);
    }
    for (size_t i = 0; i < t->n_slabs; i++)
        free(t->slabs[i]);
    free(t->slabs);
}

static ky_stream *place(const ky_streams *t, size_t i)
{
    ky_stream *slab = i / SLAB < t->n_slabs ? t->slabs[i / SLAB] : NULL;

    return slab != NULL ? &slab[i % SLAB] : NULL;
}

/* A slab for place i, if there is none. */
static void make_room(ky_streams *t, size_t i)
{
    size_t n = i / SLAB + 1;

    if (n > t->n_slabs) {
        ky_stream **slabs = realloc(t->slabs, n * sizeof(*slabs));

        if (slabs == NULL)
            ky_core_die(EX_OSERR, "lane", "no memory for more streams");
        memset(slabs + t->n_slabs, 0, (n - t->n_slabs) * sizeof(*slabs));
        t->slabs = slabs;
        t->n_slabs = n;
    }
    if (t->slabs[n - 1] == NULL && (t->slabs[n - 1] = calloc(SLAB, sizeof(ky_stream))) == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for more streams");
}

ky_stream *ky_streams_find(const ky_streams *t, uint32_t id)
{
    ky_stream *s = place(t, id / t->lanes);

    return s != NULL && s->name != NULL ? s : NULL;
}

ky_stream *ky_streams_add(ky_streams *t, uint32_t id, int class_, int n_models, const char *name,
                          size_t len)
{
    make_room(t, id / t->lanes);
    ky_stream *s = place(t, id / t->lanes);

    *s = (ky_stream){ .id = id,
                      .class_ = (uint16_t)class_,
                      .name = malloc(len + 1),
                      .name_len = (uint8_t)len,
                      .ended = true,
                      .ts_us = KY_NONE,
                      .n_models = (uint8_t)n_models,
                      .first = NO_SLOT,
                      .last = NO_SLOT };
    if (n_models > 1)
        s->more = calloc((size_t)n_models - 1, sizeof(*s->more));
    if (s->name == NULL || (n_models > 1 && s->more == NULL))
        ky_core_die(EX_OSERR, "lane", "no memory for more streams");
    memcpy(s->name, name, len);
    s->name[len] = 0;
    ky_window_init(&s->window);
    for (int k = 0; k < n_models; k++)
        ky_works_clear(ky_stream_strand(s, k));
    return s;
}

ky_stream *ky_streams_next(const ky_streams *t, const ky_stream *s)
{
    for (size_t i = s != NULL ? s->id / t->lanes + 1 : 0; i < t->n_slabs * SLAB; i++) {
        ky_stream *at = place(t, i);

        if (at != NULL && at->name != NULL)
            return at;
    }
    return NULL;
}
