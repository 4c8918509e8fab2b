#include "daemon/shelf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/names.h"

enum {
    WAYS = 8, /* rows of a set */
    /* With more streams than rows, older samples of some are kept beside the newest ... */
    NEWEST_SETS = 4096,
    OWED_SETS = 512, /* ... or a lost start is forgotten. */
    WORTH = 8,       /* gathering the living pays when this part of the ring is dead */
    DEAD = 1,        /* `spare` of a ky_arrival: a newer sample replaced this one */
};

/* -- tables -- */

static uint64_t hash_of(const ky_shelf *s, const ky_record *r)
{
    return ky_names_siphash(s->key, ky_record_stream(r), r->stream_len);
}

static ky_shelf_entry *set_of(ky_shelf_entry *table, size_t sets, uint64_t hash)
{
    return table + hash % sets * WAYS;
}

/* The row of that hash, NULL if there is none. */
static ky_shelf_entry *look_up(ky_shelf_entry *table, size_t sets, uint64_t hash)
{
    ky_shelf_entry *set = set_of(table, sets, hash);

    for (int i = 0; i < WAYS; i++)
        if (set[i].hash == hash)
            return &set[i];
    return NULL;
}

/* Its row, or the one with the lowest value: of places the oldest, of flags a free one. */
static ky_shelf_entry *make_row(ky_shelf_entry *table, size_t sets, uint64_t hash)
{
    ky_shelf_entry *set = set_of(table, sets, hash), *row = look_up(table, sets, hash);

    for (int i = 0; row == NULL && i < WAYS; i++)
        if (set[i].value == 0)
            row = &set[i];
    if (row != NULL)
        return row;
    row = set;
    for (int i = 1; i < WAYS; i++)
        if (set[i].value < row->value)
            row = &set[i];
    return row;
}

/* -- what is lost -- */

static bool is_sample(const ky_record *r)
{
    return r->type == KY_REC_SAMPLE;
}

/* What the next sample of the stream must be told of this one. */
static void owe(ky_shelf *s, const ky_record *r)
{
    unsigned flags = r->flags & (KY_START | KY_RESET);

    if ((r->flags & KY_END) != 0)
        flags |= KY_START;
    if (!is_sample(r) || flags == 0)
        return;
    uint64_t hash = hash_of(s, r);
    ky_shelf_entry *row = make_row(s->owed, OWED_SETS, hash);

    s->n_owed += row->value == 0;
    row->value = (row->hash == hash ? row->value : 0) | flags;
    row->hash = hash;
}

void ky_shelf_settle(ky_shelf *s, ky_record *r)
{
    if (s->n_owed == 0 || !is_sample(r))
        return;
    ky_shelf_entry *row = look_up(s->owed, OWED_SETS, hash_of(s, r));

    if (row == NULL || row->value == 0)
        return;
    r->flags |= (uint16_t)row->value;
    row->value = 0;
    s->n_owed--;
}

static void lose(ky_shelf *s, const ky_record *r)
{
    owe(s, r);
    atomic_fetch_add_explicit(&s->dropped, 1, memory_order_relaxed);
}

static const ky_record *record_of(const ky_arrival *v)
{
    return (const ky_record *)(v + 1);
}

/* Places count from 1: 0 is none. A sample that has gone on is behind the ring's beginning. */
static void replace(ky_shelf *s, const ky_record *r, uint64_t place)
{
    uint64_t hash = hash_of(s, r);
    ky_shelf_entry *row = make_row(s->newest, NEWEST_SETS, hash);

    if (row->hash == hash && row->value > ky_queue_begin(&s->ring)) {
        ky_arrival *older = ky_queue_at(&s->ring, row->value - 1);

        older->spare = DEAD;
        s->dead += sizeof(*older) + record_of(older)->size;
        lose(s, record_of(older));
    }
    row->hash = hash;
    row->value = place + 1;
}

/* -- the ring -- */

/* The oldest of all, dead or alive. */
static ky_arrival *oldest(ky_shelf *s, size_t *ret_size)
{
    size_t size;

    ky_queue_rewind(&s->ring);
    return ky_queue_next(&s->ring, ret_size != NULL ? ret_size : &size);
}

/* The dead before the first living; whether there were some. */
static bool drop_dead(ky_shelf *s)
{
    ky_arrival *v;
    size_t size;
    bool any = false;

    while ((v = oldest(s, &size)) != NULL && v->spare == DEAD) {
        s->dead -= size;
        ky_queue_pop(&s->ring);
        any = true;
    }
    return any;
}

/* Once around: the dead go, the living come behind each other again. */
static void gather(ky_shelf *s)
{
    uint64_t end = ky_queue_end(&s->ring);
    ky_arrival *v;
    size_t size;

    while (ky_queue_begin(&s->ring) < end && (v = oldest(s, &size)) != NULL) {
        bool dead = v->spare == DEAD;

        memcpy(s->one, v, size);
        ky_queue_pop(&s->ring);
        if (dead)
            continue;
        uint64_t place = ky_queue_end(&s->ring);
        const ky_record *r = record_of(memcpy(ky_queue_reserve(&s->ring, size), s->one, size));
        if (is_sample(r)) {
            uint64_t hash = hash_of(s, r);
            ky_shelf_entry *row = look_up(s->newest, NEWEST_SETS, hash);
            if (row != NULL)
                row->value = place + 1;
        }
        ky_queue_commit(&s->ring, size);
    }
    s->dead = 0;
}

static void make_room(ky_shelf *s)
{
    if (s->dead > s->ring.bytes / WORTH) {
        gather(s);
        return;
    }
    if (drop_dead(s))
        return;
    lose(s, record_of(oldest(s, NULL)));
    ky_queue_pop(&s->ring);
}

ky_arrival *ky_shelf_reserve(ky_shelf *s, size_t size)
{
    while ((s->at = ky_queue_reserve(&s->ring, size)) == NULL)
        make_room(s);
    return s->at;
}

void ky_shelf_commit(ky_shelf *s, size_t size)
{
    uint64_t place = ky_queue_end(&s->ring);
    const ky_record *r = record_of(s->at);

    s->at->spare = 0;
    ky_queue_commit(&s->ring, size);
    if (s->latest && is_sample(r))
        replace(s, r, place);
}

const ky_arrival *ky_shelf_first(ky_shelf *s, size_t *ret_size)
{
    drop_dead(s);
    return oldest(s, ret_size);
}

void ky_shelf_pop(ky_shelf *s)
{
    ky_queue_pop(&s->ring);
}

size_t ky_shelf_fill(const ky_shelf *s)
{
    return ky_queue_fill(&s->ring);
}

/* -- making one -- */

int ky_shelf_init(ky_shelf *s, bool latest, size_t bytes, ky_err *err)
{
    memset(s, 0, sizeof(*s));
    s->latest = latest;
    int rc = ky_queue_init(&s->ring, bytes, NULL, NULL, err);

    if (rc < 0)
        return rc;
    s->one = malloc(s->ring.bytes);
    s->owed = calloc((size_t)OWED_SETS * WAYS, sizeof(*s->owed));
    s->newest = calloc((size_t)NEWEST_SETS * WAYS, sizeof(*s->newest));
    if (s->one == NULL || s->owed == NULL || s->newest == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    /* Else people could choose ids that fall into one set. */
    if (getrandom(s->key, sizeof(s->key), 0) != sizeof(s->key))
        return ky_fail(err, KY_EIO, "no random bytes");
    return KY_OK;
}

void ky_shelf_done(ky_shelf *s)
{
    ky_queue_done(&s->ring);
    free(s->one);
    free(s->owed);
    free(s->newest);
}
