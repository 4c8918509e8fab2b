#include "daemon/reorder.h"

#include <stdlib.h>
#include <sys/random.h>

#include "daemon/names.h"

enum {
    PLACES = 1 << 16,  /* records that wait at most, a power of two */
    MOST_STEPS = 1024, /* a record that would pass more than so many others stays behind them */
    NOBODY = UINT32_MAX
};

typedef struct place {
    const ky_arrival *v; /* the record in it */
    uint32_t came;       /* the place in which that came, counting on */
    uint32_t older;      /* the place before in the bucket, counting on; NOBODY */
    uint64_t hash;       /* of the stream */
    int64_t due_ns;
    bool gone; /* the record that came in it is given away */
} place;

struct ky_reorder {
    ky_queue *q;
    int64_t hold_us;
    uint64_t key[2];
    place *place;               /* [PLACES] */
    uint32_t *bucket;           /* [PLACES] the newest place of those streams, counting on */
    uint32_t head, tail, freed; /* places, counting on: first in use, next free, next to pop */
};

static place *at(ky_reorder *o, uint32_t i)
{
    return &o->place[i % PLACES];
}

static const ky_record *record_in(ky_reorder *o, uint32_t i)
{
    return (const ky_record *)(at(o, i)->v + 1);
}

/* Buckets are not cleaned when a place leaves: whoever looks sees that it is before head. */
static bool waits(const ky_reorder *o, uint32_t i)
{
    return i != NOBODY && i - o->head < o->tail - o->head;
}

/* The next older place of the same stream. */
static uint32_t before(ky_reorder *o, uint32_t i, int *steps)
{
    uint64_t hash = at(o, i)->hash;

    do {
        i = at(o, i)->older;
        if (!waits(o, i) || --*steps < 0)
            return NOBODY;
    } while (at(o, i)->hash != hash);
    return i;
}

/* The record in the newest place goes back past those of its stream that have a later time and are
 * not due; they move one place on, and stay due when they were. What is not a sample is passed by
 * nobody and passes nobody. */
static void settle(ky_reorder *o, uint32_t i, int64_t now_ns)
{
    int steps = MOST_STEPS;

    for (uint32_t b; (b = before(o, i, &steps)) != NOBODY; i = b) {
        const ky_record *r = record_in(o, i), *other = record_in(o, b);

        if (r->type != KY_REC_SAMPLE || other->type != KY_REC_SAMPLE || r->ts_us >= other->ts_us ||
            at(o, b)->due_ns <= now_ns)
            return;
        place *p = at(o, i), *q = at(o, b), was = *p;

        p->v = q->v;
        p->came = q->came;
        p->due_ns = q->due_ns;
        q->v = was.v;
        q->came = was.came;
    }
}

static bool crowded(const ky_reorder *o)
{
    return o->tail - o->freed >= PLACES || ky_queue_fill(o->q) > o->q->bytes / 2;
}

static void look(ky_reorder *o, int64_t now_ns)
{
    const ky_arrival *v;
    size_t size;

    while (o->tail - o->freed < PLACES && (v = ky_queue_next(o->q, &size)) != NULL) {
        const ky_record *r = (const ky_record *)(v + 1);
        uint64_t hash = ky_names_siphash(o->key, ky_record_stream(r), r->stream_len);
        uint32_t i = o->tail++;

        *at(o, i) = (place){ .v = v,
                             .came = i,
                             .older = o->bucket[hash % PLACES],
                             .hash = hash,
                             .due_ns = now_ns + o->hold_us * 1000 };
        o->bucket[hash % PLACES] = i;
        settle(o, i, now_ns);
    }
}

/* Whether the stream's own time has gone on by `hold`: then what is older than this is late. */
static bool overtaken(ky_reorder *o, uint32_t i)
{
    const ky_record *r = record_in(o, i);
    uint64_t hash = at(o, i)->hash;
    uint32_t newest = o->bucket[hash % PLACES];

    if (!waits(o, newest) || at(o, newest)->hash != hash || r->type != KY_REC_SAMPLE)
        return false;
    const ky_record *last = record_in(o, newest);

    return last->type == KY_REC_SAMPLE && last->ts_us > r->ts_us &&
           (uint64_t)last->ts_us - (uint64_t)r->ts_us >= (uint64_t)o->hold_us;
}

/* Frees the queue as far as all of its records were given away. */
static void free_queue(ky_reorder *o)
{
    for (; o->freed != o->tail && at(o, o->freed)->gone; o->freed++)
        ky_queue_pop(o->q);
}

const ky_arrival *ky_reorder_next(ky_reorder *o, int64_t now_ns, int64_t *ret_left_ns)
{
    free_queue(o);
    look(o, now_ns);
    if (o->head == o->tail)
        return NULL;
    const place *p = at(o, o->head);

    if (p->due_ns > now_ns && !overtaken(o, o->head) && !crowded(o) && !ky_queue_ended(o->q)) {
        if (p->due_ns - now_ns < *ret_left_ns)
            *ret_left_ns = p->due_ns - now_ns;
        return NULL;
    }
    at(o, p->came)->gone = true;
    o->head++;
    return p->v;
}

bool ky_reorder_ended(ky_reorder *o)
{
    return o->head == o->tail && ky_queue_ended(o->q);
}

int ky_reorder_new(ky_queue *q, int64_t hold_us, ky_reorder **ret, ky_err *err)
{
    ky_reorder *o = calloc(1, sizeof(*o));

    if (o == NULL || (o->place = calloc(PLACES, sizeof(*o->place))) == NULL ||
        (o->bucket = malloc(PLACES * sizeof(*o->bucket))) == NULL ||
        getrandom(o->key, sizeof(o->key), 0) != (ssize_t)sizeof(o->key)) {
        ky_reorder_free(o);
        return ky_fail(err, KY_ENOMEM, "no memory");
    }
    for (int i = 0; i < PLACES; i++)
        o->bucket[i] = NOBODY;
    o->q = q;
    o->hold_us = hold_us;
    *ret = o;
    return KY_OK;
}

void ky_reorder_free(ky_reorder *o)
{
    if (o == NULL)
        return;
    free(o->place);
    free(o->bucket);
    free(o);
}
