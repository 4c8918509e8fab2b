#include "models/schedule.h"

#include <stdlib.h>
#include <string.h>

/* Streams longer than this many rows, and than twice the lanes' even share, are cut: else one
 * long stream would be learned from alone at the end. A piece begins from zeros. */
enum { LEAST_PIECE = 16 };

#define NO_ROW UINT32_MAX
#define FRESH  (UINT32_C(1) << 31)

typedef struct piece {
    uint32_t at;
    int n;
} piece;

struct ky_schedule {
    int n, batch, n_batches;
    bool carried;
    uint32_t *rows;  /* [n], by stream where carried */
    piece *pieces;   /* over rows */
    uint32_t *order; /* [n_pieces] */
    int n_pieces;
    int *load;       /* [batch] rows a lane has got so far */
    uint32_t *cells; /* [n_cells] row | FRESH of lane l in batch b at b*batch + l; NO_ROW */
    size_t n_cells;
};

typedef struct placed {
    uint32_t group, row;
    int64_t ts;
} placed;

static int by_stream(const void *a, const void *b)
{
    const placed *x = a, *y = b;

    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->ts != y->ts)
        return x->ts < y->ts ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Rows in order of their streams, and the pieces that lanes will take. */
static int cut_streams(ky_schedule *s, const ky_dataset *d, const uint32_t *rows)
{
    placed *p = malloc((size_t)s->n * sizeof *p);
    int most = 2 * ((s->n + s->batch - 1) / s->batch);

    s->pieces = malloc((size_t)s->n * sizeof *s->pieces);
    s->order = malloc((size_t)s->n * sizeof *s->order);
    s->load = calloc((size_t)s->batch, sizeof *s->load);
    if (p == NULL || s->pieces == NULL || s->order == NULL || s->load == NULL) {
        free(p);
        return KY_ENOMEM;
    }
    if (most < LEAST_PIECE)
        most = LEAST_PIECE;
    for (int i = 0; i < s->n; i++)
        p[i] = (placed){ .group = d->group != NULL ? d->group[rows[i]] : 0,
                         .row = rows[i],
                         .ts = d->ts != NULL ? d->ts[rows[i]] : 0 };
    qsort(p, (size_t)s->n, sizeof *p, by_stream);
    for (int i = 0; i < s->n; i++) {
        s->rows[i] = p[i].row;
        if (i == 0 || p[i].group != p[i - 1].group || s->pieces[s->n_pieces - 1].n == most)
            s->pieces[s->n_pieces++] = (piece){ .at = (uint32_t)i };
        s->pieces[s->n_pieces - 1].n++;
    }
    free(p);
    /* Lanes fill evenly, so no lane is longer than an even share and one piece. */
    s->n_cells = ((size_t)s->n / (size_t)s->batch + 1 + (size_t)most) * (size_t)s->batch;
    s->cells = malloc(s->n_cells * sizeof *s->cells);
    return s->cells != NULL ? KY_OK : KY_ENOMEM;
}

int ky_schedule_new(const ky_dataset *d, const uint32_t *rows, int n, int batch, ky_schedule **ret,
                    ky_err *err)
{
    ky_schedule *s = calloc(1, sizeof *s);
    int rc = KY_ENOMEM;

    if (s != NULL) {
        *s = (ky_schedule){ .n = n, .batch = batch, .carried = d->carried };
        s->rows = malloc((size_t)n * sizeof *s->rows);
        if (s->rows != NULL) {
            memcpy(s->rows, rows, (size_t)n * sizeof *s->rows);
            rc = s->carried ? cut_streams(s, d, rows) : KY_OK;
        }
    }
    if (rc < 0) {
        ky_schedule_free(s);
        return ky_fail(err, rc, "no memory for the order of %d rows", n);
    }
    *ret = s;
    return KY_OK;
}

void ky_schedule_free(ky_schedule *s)
{
    if (s == NULL)
        return;
    free(s->rows);
    free(s->pieces);
    free(s->order);
    free(s->load);
    free(s->cells);
    free(s);
}

uint32_t *ky_schedule_rows(ky_schedule *s)
{
    return s->rows;
}

static int least_loaded(const ky_schedule *s)
{
    int lane = 0;

    for (int l = 1; l < s->batch; l++)
        if (s->load[l] < s->load[lane])
            lane = l;
    return lane;
}

/* Pieces in a drawn order, each to the lane that is free first. */
static void fill_lanes(ky_schedule *s, ky_rng *rng)
{
    for (int i = 0; i < s->n_pieces; i++)
        s->order[i] = (uint32_t)i;
    ky_rng_shuffle(rng, s->order, (uint64_t)s->n_pieces);
    memset(s->load, 0, (size_t)s->batch * sizeof *s->load);
    memset(s->cells, 0xff, s->n_cells * sizeof *s->cells);
    s->n_batches = 0;
    for (int i = 0; i < s->n_pieces; i++) {
        const piece *p = s->pieces + s->order[i];
        int lane = least_loaded(s);

        for (int j = 0; j < p->n; j++)
            s->cells[(size_t)(s->load[lane] + j) * (size_t)s->batch + (size_t)lane] =
                s->rows[p->at + (uint32_t)j] | (j == 0 ? FRESH : 0);
        s->load[lane] += p->n;
        if (s->load[lane] > s->n_batches)
            s->n_batches = s->load[lane];
    }
}

int ky_schedule_begin(ky_schedule *s, ky_rng *rng)
{
    if (s->carried) {
        fill_lanes(s, rng);
    } else {
        ky_rng_shuffle(rng, s->rows, (uint64_t)s->n);
        s->n_batches = (s->n + s->batch - 1) / s->batch;
    }
    return s->n_batches;
}

int ky_schedule_batch(const ky_schedule *s, int i, ky_turn *turns)
{
    size_t first = (size_t)i * (size_t)s->batch;
    int n = 0;

    for (int l = 0; l < s->batch; l++) {
        if (!s->carried && first + (size_t)l < (size_t)s->n)
            turns[n++] = (ky_turn){ .row = s->rows[first + (size_t)l], .lane = l, .fresh = true };
        if (s->carried && s->cells[first + (size_t)l] != NO_ROW)
            turns[n++] = (ky_turn){ .row = s->cells[first + (size_t)l] & ~FRESH,
                                    .lane = l,
                                    .fresh = (s->cells[first + (size_t)l] & FRESH) != 0 };
    }
    return n;
}
