/* The unit: rows of one transaction, grown once and emptied for reuse. */
#include <stdlib.h>
#include <string.h>

#include "storage/results.h"

/* Every KY_ROWS begins like this. */
typedef struct rows {
    void *row;
    uint32_t n, cap;
} rows;

/* All row tables of a unit, the bytes last. */
enum { TABLES = 12 };

static void tables_of(ky_unit *u, rows *ret[TABLES])
{
    rows *all[TABLES] = {
        (rows *)&u->streams, (rows *)&u->predictions, (rows *)&u->states,  (rows *)&u->states0,
        (rows *)&u->labels,  (rows *)&u->gaps,        (rows *)&u->rejects, (rows *)&u->events,
        (rows *)&u->sources, (rows *)&u->swaps,       (rows *)&u->parts,   (rows *)&u->bytes,
    };

    memcpy(ret, all, sizeof(all));
}

/* Room for `more` rows; a unit that lost a row would lose an answer, so there is no way on. */
static void rows_reserve(rows *r, size_t more, size_t size)
{
    size_t need = (size_t)r->n + more, cap = r->cap ? r->cap : 64;

    if (need <= r->cap)
        return;
    while (cap < need)
        cap *= 2;
    if (cap > UINT32_MAX || (r->row = realloc(r->row, cap * size)) == NULL)
        abort();
    r->cap = (uint32_t)cap;
}

void *ky_rows_add(void *table, size_t size)
{
    rows *r = table;
    char *row;

    rows_reserve(r, 1, size);
    row = (char *)r->row + (size_t)r->n++ * size;
    memset(row, 0, size);
    return row;
}

ky_span ky_unit_bytes(ky_unit *u, const void *p, size_t len)
{
    ky_span s = { u->bytes.n, (uint32_t)len };

    if (len == 0)
        return s;
    rows_reserve((rows *)&u->bytes, len, 1);
    memcpy(u->bytes.row + u->bytes.n, p, len);
    u->bytes.n += (uint32_t)len;
    return s;
}

/* A large table that was needed for the least part gives back half. */
static void trim(rows *r, size_t size)
{
    enum { KEEP = 1 << 20 };

    if (r->cap * size <= KEEP || r->n > r->cap / 4)
        return;
    void *less = realloc(r->row, r->cap / 2 * size);

    r->row = less != NULL ? less : r->row;
    r->cap = less != NULL ? r->cap / 2 : r->cap;
}

void ky_unit_clear(ky_unit *u)
{
    rows *all[TABLES];

    tables_of(u, all);
    trim((rows *)&u->bytes, 1);
    trim((rows *)&u->streams, sizeof(*u->streams.row));
    trim((rows *)&u->states, sizeof(*u->states.row));
    trim((rows *)&u->states0, sizeof(*u->states0.row));
    trim((rows *)&u->predictions, sizeof(*u->predictions.row));
    for (int i = 0; i < TABLES; i++)
        all[i]->n = 0;
    u->low_water = 0;
}

void ky_unit_done(ky_unit *u)
{
    rows *all[TABLES];

    tables_of(u, all);
    for (int i = 0; i < TABLES; i++) {
        free(all[i]->row);
        *all[i] = (rows){ 0 };
    }
    u->low_water = 0;
}

bool ky_unit_empty(const ky_unit *u)
{
    return u->streams.n + u->predictions.n + u->states.n + u->states0.n + u->labels.n + u->gaps.n +
                   u->rejects.n + u->events.n + u->sources.n + u->swaps.n + u->parts.n ==
               0 &&
           u->low_water == 0;
}
