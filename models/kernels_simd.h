/*
 * The fast kernels, written once for any vector width: the file of an instruction set
 * defines `vec` and its operations, LANES and the sizes of tiles, then includes this.
 * Not a header for anybody else.
 *
 * How it is fast and still one chain per output: a vector holds LANES neighbouring
 * outputs of one row; a tile holds some vectors of some rows, all in registers. For each
 * k the tile loads its weights once, spreads one input of each row over a vector and does
 * one fma per accumulator. Enough accumulators (8 or more) hide the latency of fma;
 * enough rows make one load of weights serve several fma.
 *
 *     rows(), gemm_tn()   tiles of up to PANEL vectors; weights [panel][k][vector][lane]
 *     lstm()              tiles of 4 gates x LSTM_ROWS rows; weights [block][k][gate][lane];
 *                         for one row 4 gates x lstm_group() blocks of LANES units
 *
 * Columns are padded with zero weights to whole vectors and never stored; the inner
 * dimension is never padded, as 0 * inf or -0 would change the sum.
 */

#include <math.h>
#include <string.h>

#include "models/kernels_math.h"

/*
 * Loops over a tile have constant bounds after inlining and must disappear, or the
 * accumulators live in memory. Each compiler has its own word for that and ignores the
 * other's.
 */
#ifdef KY_SANITIZED /* the same bits; unrolled and watched, a file would compile for minutes */
#define UNROLL
#define UNROLL_BY_2
#elif defined(__clang__)
#define UNROLL      _Pragma("clang loop unroll(full)")
#define UNROLL_BY_2 _Pragma("clang loop unroll_count(2)")
#else
#define UNROLL      _Pragma("GCC unroll 16")
#define UNROLL_BY_2 _Pragma("GCC unroll 2")
#endif

/* Rows of the tallest tile. */
#define MAX_R 12

#define PREFETCH_L1(p) __builtin_prefetch(p, 0, 3)
#define PREFETCH_L2(p) __builtin_prefetch(p, 0, 2)
#define LINE           16 /* floats of a cache line */

/* -- states ------------------------------------------------------------------------ */

static bool SET(finite)(size_t n, const float *v)
{
    enum { CHAINS = 4 };
    vec zero = v_set(0), sum[CHAINS] = { zero, zero, zero, zero };
    size_t i = 0;

    /* Stays 0 until the first that is not finite, from then on it is NaN. */
    for (; i + CHAINS * LANES <= n; i += CHAINS * LANES)
        UNROLL
    for (size_t k = 0; k < CHAINS; k++)
        sum[k] = v_fma(v_load(v + i + k * LANES), zero, sum[k]);
    for (; i < n; i += LANES)
        sum[0] = v_fma(v_load_part(v + i, n - i < LANES ? (int)(n - i) : LANES), zero, sum[0]);

    uint64_t bits[LANES / 2] __attribute__((aligned(64))), any = 0;
    vec all = v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3]));

    memcpy(bits, &all, sizeof(bits));
    for (int k = 0; k < LANES / 2; k++)
        any |= bits[k];
    return any == 0;
}

static void SET(extent)(size_t n, const float *v, double *ret_squares, float *ret_largest)
{
    ky_extent(n, v, ret_squares, ret_largest);
}

/* -- softmax ---------------------------------------------------------------------- */

/* logs: the logarithms of the results instead. */
INLINE void softmax_row(bool logs, int C, const float *x, float *y)
{
    float max = x[0], sum = 0, e[LANES] __attribute__((aligned(64)));
    for (int c = 1; c < C; c++)
        max = x[c] > max ? x[c] : max;
    for (int c = 0; c < C; c += LANES) {
        int n = lanes_left(C, c);
        vec d = v_sub(v_load_part(x + c, n), v_set(max));
        v_store(e, v_exp(d));
        v_store_part(y + c, logs ? d : v_load(e), n);
        for (int i = 0; i < n; i++)
            sum += e[i];
    }
    vec all = logs ? v_log(v_set(sum)) : v_set(sum);
    for (int c = 0; c < C; c += LANES) {
        int n = lanes_left(C, c);
        vec v = v_load_part(y + c, n);
        v_store_part(y + c, logs ? v_sub(v, all) : v_div(v, all), n);
    }
}

/* Classes up to which a row takes one lane. */
#define LANE_CLASSES 64

/* Up to LANES rows at once, each in its lane, so that the sums run over classes in order. */
INLINE void softmax_lanes(bool logs, int R, int C, const float *x, ptrdiff_t xs, float *y,
                          ptrdiff_t ys)
{
    float t[LANE_CLASSES * LANES] __attribute__((aligned(64)));
    for (int c = 0; c < C; c++)
        for (int r = 0; r < LANES; r++)
            t[c * LANES + r] = r < R ? x[r * xs + c] : 0;
    vec max = v_set(-INFINITY), sum = v_set(0);
    for (int c = 0; c < C; c++)
        max = v_max(v_load(t + c * LANES), max);
    for (int c = 0; c < C; c++) {
        vec d = v_sub(v_load(t + c * LANES), max), e = v_exp(d);
        v_store(t + c * LANES, logs ? d : e);
        sum = v_add(sum, e);
    }
    if (logs)
        sum = v_log(sum);
    for (int c = 0; c < C; c++) {
        vec v = v_load(t + c * LANES);
        v_store(t + c * LANES, logs ? v_sub(v, sum) : v_div(v, sum));
    }
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++)
            y[r * ys + c] = t[c * LANES + r];
}

INLINE void softmax_rows(bool logs, int R, int C, const float *x, ptrdiff_t xs, float *y,
                         ptrdiff_t ys)
{
    if (R == 1 || C > LANE_CLASSES)
        for (int r = 0; r < R; r++)
            softmax_row(logs, C, x + r * xs, y + r * ys);
    else
        for (int r = 0; r < R; r += LANES)
            softmax_lanes(logs, min_int(R - r, LANES), C, x + r * xs, xs, y + r * ys, ys);
}

static void SET(softmax)(int R, int C, const float *x, ptrdiff_t xs, float *y, ptrdiff_t ys)
{
    softmax_rows(false, R, C, x, xs, y, ys);
}

static void SET(log_softmax)(int R, int C, const float *x, ptrdiff_t xs, float *y, ptrdiff_t ys)
{
    softmax_rows(true, R, C, x, xs, y, ys);
}

/* -- tiles ------------------------------------------------------------------------ */

/* acc[r][v] += sum over k in order of x[r*xs + k*ks] * w[k][v]: the heart of everything. */
INLINE void chain(int R, int V, int K, const float *x, ptrdiff_t xs, ptrdiff_t ks, const float *w,
                  vec acc[MAX_R][PANEL])
{
    for (int k = 0; k < K; k++, x += ks, w += V * LANES) {
        vec wv[PANEL];
        UNROLL
        for (int v = 0; v < V; v++)
            wv[v] = v_load(w + v * LANES);
        UNROLL
        for (int r = 0; r < R; r++) {
            vec xr = v_set(x[r * xs]);
            UNROLL
            for (int v = 0; v < V; v++)
                acc[r][v] = v_fma(xr, wv[v], acc[r][v]);
        }
    }
}

/* Tiles read and write y [R,..], of whose last vector n columns exist. */
INLINE void tile_load(int R, int V, const float *y, ptrdiff_t ys, int n, vec acc[MAX_R][PANEL])
{
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int v = 0; v < V - 1; v++)
            acc[r][v] = v_load(y + r * ys + v * LANES);
        acc[r][V - 1] = v_load_part(y + r * ys + (V - 1) * LANES, n);
    }
}

INLINE void tile_store(int R, int V, float *y, ptrdiff_t ys, int n, vec acc[MAX_R][PANEL])
{
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int v = 0; v < V - 1; v++)
            v_store(y + r * ys + v * LANES, acc[r][v]);
        v_store_part(y + r * ys + (V - 1) * LANES, acc[r][V - 1], n);
    }
}

/* What all tiles of one pass of rows() have in common. */
struct pass {
    int n_runs; /* the inner dimension */
    const ky_run *runs;
    ptrdiff_t xs, ys; /* strides of rows, results */
    float floor;      /* results below become this: 0 for ReLU, else -infinity */
};

/* b: the bias, or NULL to go on from what y holds. */
INLINE void rows_tile(int R, int V, const struct pass *p, const float *x, const float *w,
                      const float *b, float *y, int n)
{
    vec acc[MAX_R][PANEL];
    if (b == NULL) {
        tile_load(R, V, y, p->ys, n, acc);
    } else {
        UNROLL
        for (int r = 0; r < R; r++) {
            UNROLL
            for (int v = 0; v < V; v++)
                acc[r][v] = v_load(b + v * LANES);
        }
    }
    for (int i = 0; i < p->n_runs; i++) {
        const ky_run *u = &p->runs[i];
        chain(R, V, u->n, x + u->at, p->xs, 1, w + (size_t)u->k * V * LANES, acc);
    }
    vec floor = v_set(p->floor);
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int v = 0; v < V; v++)
            acc[r][v] = v_max(floor, acc[r][v]);
    }
    tile_store(R, V, y, p->ys, n, acc);
}

/* C += A'B over K: a column of A is a row here. */
INLINE void gemm_tile(int R, int V, int K, const float *A, ptrdiff_t lda, const float *w, float *C,
                      ptrdiff_t ldc, int n)
{
    vec acc[MAX_R][PANEL];
    tile_load(R, V, C, ldc, n, acc);
    chain(R, V, K, A, 1, lda, w, acc);
    tile_store(R, V, C, ldc, n, acc);
}

typedef void rows_fn(const struct pass *p, const float *x, const float *w, const float *b, float *y,
                     int n);
typedef void gemm_fn(int K, const float *A, ptrdiff_t lda, const float *w, float *C, ptrdiff_t ldc,
                     int n);

#define TILE(V, R)                                                                                 \
    static void rows_##V##x##R(const struct pass *p, const float *x, const float *w,               \
                               const float *b, float *y, int n)                                    \
    {                                                                                              \
        rows_tile(R, V, p, x, w, b, y, n);                                                         \
    }                                                                                              \
    static void gemm_##V##x##R(int K, const float *A, ptrdiff_t lda, const float *w, float *C,     \
                               ptrdiff_t ldc, int n)                                               \
    {                                                                                              \
        gemm_tile(R, V, K, A, lda, w, C, ldc, n);                                                  \
    }
#define TILES(V, a, b, c) TILE(V, a) TILE(V, b) TILE(V, c) TILE(V, 3) TILE(V, 2) TILE(V, 1)
#define TILE_OF(V, R)                                                                              \
    {                                                                                              \
        R, rows_##V##x##R, gemm_##V##x##R                                                          \
    }
#define TILES_OF(V, a, b, c)                                                                       \
    {                                                                                              \
        TILE_OF(V, a), TILE_OF(V, b), TILE_OF(V, c), TILE_OF(V, 3), TILE_OF(V, 2), TILE_OF(V, 1)   \
    }

/* The narrower the panel, the more rows fit the registers. */
TILES(1, 12, 8, 5)
#if PANEL == 4
TILES(2, 12, 7, 5)
TILES(3, 8, 6, 4)
TILES(4, 6, 5, 4)
#else
TILES(2, 6, 5, 4)
#endif

/* By vectors of the panel - 1; from tall to flat. */
static const struct tile {
    int R;
    rows_fn *rows;
    gemm_fn *gemm;
} tiles[PANEL][6] = {
    TILES_OF(1, 12, 8, 5),
#if PANEL == 4
    TILES_OF(2, 12, 7, 5),
    TILES_OF(3, 8, 6, 4),
    TILES_OF(4, 6, 5, 4),
#else
    TILES_OF(2, 6, 5, 4),
#endif
};

/* The tile to begin R rows with: all that are needed shall be about as tall, as a flat one
 * reads as many weights. */
static inline const struct tile *tile_for(const struct tile *t, int R)
{
    int n = (R + t->R - 1) / t->R;
    while (t->R * n > R + n - 1)
        t++;
    return t;
}

/* -- rows: dense layers and convolutions --------------------------------------------- */

static ky_mat *SET(mat_new)(int K, int N, const float *W, const float *b)
{
    ky_mat *m = ky_mat_alloc(K, N, LANES);
    if (m == NULL)
        return NULL;
    if (b != NULL)
        memcpy(m->b, b, (size_t)N * sizeof *b);
    float *w = m->w;
    for (int from = 0; from < m->columns; from += PANEL * LANES) {
        int width = min_int(m->columns - from, PANEL * LANES), n = min_int(N - from, width);
        for (int k = 0; k < K; k++, w += width)
            memcpy(w, W + (size_t)k * N + from, (size_t)n * sizeof *w);
    }
    return m;
}

/* One row has no rows to share weights with: take up to 8 vectors of several panels at
 * once, so that there are 8 chains, and fetch weights ahead. */
#define ALONE       8
#define ALONE_AHEAD 12

/* Columns of the q-th panel among V vectors. */
INLINE int width_of(int V, int q)
{
    return min_int(V - q * PANEL, PANEL) * LANES;
}

INLINE void alone_tile(int V, const struct pass *p, size_t panel, const float *x, const float *w,
                       const float *b, float *y, int n)
{
    vec acc[ALONE];
    UNROLL
    for (int v = 0; v < V; v++)
        acc[v] = v_load(b + v * LANES);
    for (int i = 0; i < p->n_runs; i++) {
        const ky_run *u = &p->runs[i];
        const float *wp[ALONE / PANEL];
        UNROLL
        for (int q = 0; q * PANEL < V; q++)
            wp[q] = w + q * panel + (size_t)u->k * width_of(V, q);
        for (int k = 0; k < u->n; k++) {
            vec xk = v_set(x[u->at + k]);
            UNROLL
            for (int v = 0; v < V; v++) {
                const float *wv = wp[v / PANEL] + v % PANEL * LANES;
                PREFETCH_L1(wv + ALONE_AHEAD * width_of(V, v / PANEL));
                acc[v] = v_fma(xk, v_load(wv), acc[v]);
            }
            UNROLL
            for (int q = 0; q * PANEL < V; q++)
                wp[q] += width_of(V, q);
        }
    }
    vec floor = v_set(p->floor);
    UNROLL
    for (int v = 0; v < V - 1; v++)
        v_store(y + v * LANES, v_max(floor, acc[v]));
    v_store_part(y + (V - 1) * LANES, v_max(floor, acc[V - 1]), n);
}

typedef void alone_fn(const struct pass *p, size_t panel, const float *x, const float *w,
                      const float *b, float *y, int n);
#define ALONE_TILE(V)                                                                              \
    static void alone_##V(const struct pass *p, size_t panel, const float *x, const float *w,      \
                          const float *b, float *y, int n)                                         \
    {                                                                                              \
        alone_tile(V, p, panel, x, w, b, y, n);                                                    \
    }
ALONE_TILE(1)
ALONE_TILE(2)
ALONE_TILE(3)
ALONE_TILE(4)
ALONE_TILE(5)
ALONE_TILE(6)
ALONE_TILE(7)
ALONE_TILE(8)
static alone_fn *const alone[ALONE] = { alone_1, alone_2, alone_3, alone_4,
                                        alone_5, alone_6, alone_7, alone_8 };

static void row_alone(const ky_mat *m, const struct pass *p, const float *x, float *y)
{
    size_t K = (size_t)m->K;
    for (int from = 0; from < m->columns; from += ALONE * LANES) {
        int V = min_int((m->columns - from) / LANES, ALONE);
        int n = lanes_left(m->N, from + (V - 1) * LANES);
        alone[V - 1](p, K * PANEL * LANES, x, m->w + K * from, m->b + from, y + from, n);
    }
}

/* All rows over one stretch of the inner dimension. */
static void rows_pass(const ky_mat *m, const struct pass *p, int R, const float *x, bool first,
                      float *y)
{
    size_t K = (size_t)m->K;
    for (int from = 0; from < m->columns; from += PANEL * LANES) {
        int V = min_int((m->columns - from) / LANES, PANEL);
        int n = lanes_left(m->N, from + (V - 1) * LANES);
        const float *w = m->w + K * from, *b = first ? m->b + from : NULL;
        const struct tile *t;
        for (int r = 0; r < R; r += t->R) {
            t = tile_for(tiles[V - 1], R - r);
            t->rows(p, x + r * p->xs, w, b, y + r * p->ys + from, n);
        }
    }
}

/* What is left to do behind the tiles, which know ReLU themselves. */
static void activate_rows(enum ky_activation act, int R, int N, float *y, ptrdiff_t ys)
{
    if (act == KY_SOFTMAX)
        SET(softmax)(R, N, y, ys, y, ys);
    else if (act == KY_LOG_SOFTMAX)
        SET(log_softmax)(R, N, y, ys, y, ys);
    else if (act != KY_LINEAR && act != KY_RELU)
        for (int r = 0; r < R; r++)
            SET(activate)(act, y + r * ys, y + r * ys, (size_t)N);
}

/* A longer inner dimension is done in stretches whose weights stay in the nearest cache,
 * the sums waiting in y meanwhile: to store and load a float is exact. */
#define STRETCH      128
#define STRETCH_RUNS 16

/* Where the next stretch begins: behind the first `done` inputs of the first run. */
struct cursor {
    const ky_run *runs;
    int n_runs, done;
};

/* Cut off the next stretch; returns its runs, STRETCH inputs in all or fewer. */
static int next_stretch(struct cursor *c, ky_run part[STRETCH_RUNS])
{
    int n_part = 0;
    for (int room = STRETCH; room > 0 && c->n_runs > 0 && n_part < STRETCH_RUNS;) {
        const ky_run *u = c->runs;
        int n = min_int(u->n - c->done, room);
        part[n_part++] = (ky_run){ u->at + c->done, u->k + c->done, n };
        room -= n;
        c->done += n;
        if (c->done == u->n)
            *c = (struct cursor){ u + 1, c->n_runs - 1, 0 };
    }
    return n_part;
}

static void rows_in_stretches(const ky_mat *m, struct pass *p, int R, const float *x, float *y)
{
    struct cursor c = { p->runs, p->n_runs, 0 };
    float floor = p->floor;
    ky_run part[STRETCH_RUNS];
    for (bool first = true; first || c.n_runs > 0; first = false) {
        p->runs = part;
        p->n_runs = next_stretch(&c, part);
        p->floor = c.n_runs > 0 ? -INFINITY : floor;
        rows_pass(m, p, R, x, first, y);
    }
}

static void SET(rows)(const ky_mat *m, int n_runs, const ky_run *runs, int R, const float *x,
                      ptrdiff_t xs, float *y, ptrdiff_t ys, enum ky_activation act)
{
    struct pass p = { n_runs, runs, xs, ys, act == KY_RELU ? 0 : -INFINITY };
    int K = 0;
    for (int i = 0; i < n_runs; i++)
        K += runs[i].n;
    if (R == 1)
        row_alone(m, &p, x, y);
    else if (K > 2 * STRETCH)
        rows_in_stretches(m, &p, R, x, y);
    else
        rows_pass(m, &p, R, x, true, y);
    activate_rows(act, R, m->N, y, ys);
}

/* -- LSTM ----------------------------------------------------------------------------- */

/* How many rows of weights one row alone fetches ahead. */
#define AHEAD 16

static ky_lstm_mat *SET(lstm_new)(int F, int H, const float *W, const float *U, const float *b)
{
    size_t K = (size_t)F + H;
    ky_lstm_mat *m = ky_lstm_mat_alloc(F, H, LANES, KY_CHUNK * K);
    if (m == NULL)
        return NULL;
    float *w = m->w, *bias = m->b;
    for (int from = 0; from < H; from += LANES) {
        int n = lanes_left(H, from);
        for (int g = 0; g < 4; g++, bias += LANES)
            memcpy(bias, b + g * H + from, (size_t)n * sizeof *b);
        for (size_t k = 0; k < K; k++)
            for (int g = 0; g < 4; g++, w += LANES) {
                const float *row = k < (size_t)F ? W + k * 4 * H : U + (k - F) * 4 * H;
                memcpy(w, row + g * H + from, (size_t)n * sizeof *w);
            }
    }
    return m;
}

/* Pre-activations of the gates i|f|c|o -> n units of state {h, c}, H apart, and of the tape. */
INLINE void cell(const vec z[4], float *h, int H, float *tape, int n)
{
    vec i = v_sigmoid(z[0]), f = v_sigmoid(z[1]), g = v_tanh(z[2]);
    vec c = v_fma(f, v_load_part(h + H, n), v_mul(i, g));
    v_store_part(h + H, c, n);
    vec o = v_sigmoid(z[3]), tc = v_tanh(c);
    v_store_part(h, v_mul(o, tc), n);
    if (tape != NULL) {
        v_store_part(tape, i, n);
        v_store_part(tape + H, f, n);
        v_store_part(tape + 2 * H, g, n);
        v_store_part(tape + 3 * H, o, n);
        v_store_part(tape + 4 * H, c, n);
        v_store_part(tape + 5 * H, tc, n);
    }
}

/* z[r][g] += x w over K rows of weights, for G gates of a block of units. */
INLINE void gates_chain(int R, int G, int K, const float *x, ptrdiff_t xs, const float *w,
                        vec z[LSTM_ROWS][4])
{
    for (int k = 0; k < K; k++, w += G * LANES) {
        vec xr[LSTM_ROWS];
        UNROLL
        for (int r = 0; r < R; r++)
            xr[r] = v_set(x[r * xs + k]);
        UNROLL
        for (int g = 0; g < G; g++) {
            vec wg = v_load(w + g * LANES);
            UNROLL
            for (int r = 0; r < R; r++)
                z[r][g] = v_fma(xr[r], wg, z[r][g]);
        }
    }
}

/* R rows of gathered inputs {x, h} through the block of units that starts at `from`. */
INLINE void lstm_tile(int R, const ky_lstm_mat *m, int from, const float *xh, float *const *state,
                      float *tape, ptrdiff_t tape_stride)
{
    int K = m->F + m->H, n = lanes_left(m->H, from);
    vec z[LSTM_ROWS][4];
    const float *w = m->w + (size_t)from * 4 * K, *b = m->b + from * 4;
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int g = 0; g < 4; g++)
            z[r][g] = v_load(b + g * LANES);
    }
    gates_chain(R, 4, K, xh, K, w, z);
    /* The cells are long: a loop over sums put down, or clang keeps them in memory all along. */
    vec done[LSTM_ROWS][4];
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int g = 0; g < 4; g++)
            done[r][g] = z[r][g];
    }
    for (int r = 0; r < R; r++)
        cell(done[r], state[r] + from, m->H, tape ? tape + r * tape_stride + from : NULL, n);
}

typedef void lstm_fn(const ky_lstm_mat *m, int from, const float *xh, float *const *state,
                     float *tape, ptrdiff_t tape_stride);
#define LSTM_TILE(R)                                                                               \
    static void lstm_##R(const ky_lstm_mat *m, int from, const float *xh, float *const *state,     \
                         float *tape, ptrdiff_t tape_stride)                                       \
    {                                                                                              \
        lstm_tile(R, m, from, xh, state, tape, tape_stride);                                       \
    }
LSTM_TILE(1)
LSTM_TILE(2)
LSTM_TILE(3)
#if LSTM_ROWS == 6
LSTM_TILE(4)
LSTM_TILE(5)
LSTM_TILE(6)
#endif
static lstm_fn *const lstm_tiles[LSTM_ROWS] = {
    lstm_1, lstm_2, lstm_3,
#if LSTM_ROWS == 6
    lstm_4, lstm_5, lstm_6,
#endif
};

/* Ask for the lines of a state that hold [from,to) of its 2H floats. */
static inline void prefetch_state(const float *state, int from, int to)
{
    for (int j = from; j < to; j += LINE)
        PREFETCH_L2(state + j);
}

/* One chunk of at most KY_CHUNK rows. Meanwhile the `next` states behind it are fetched,
 * each row group asking for its share. */
static void lstm_chunk(const ky_lstm_mat *m, int R, const float *x, ptrdiff_t xs,
                       float *const *state, int next, float *tape, ptrdiff_t tape_stride, float *xh)
{
    int F = m->F, H = m->H, K = F + H;
    for (int r = 0; r < R; r++) {
        memcpy(xh + (size_t)r * K, x + r * xs, (size_t)F * sizeof *x);
        memcpy(xh + (size_t)r * K + F, state[r], (size_t)H * sizeof *x);
    }
    for (int from = 0; from < H; from += LANES)
        for (int r = 0, n; r < R; r += n) {
            n = min_int(R - r, LSTM_ROWS);
            for (int q = r; q < min_int(r + n, next); q++)
                prefetch_state(state[R + q], 2 * from, 2 * from + 2 * LANES);
            lstm_tiles[n - 1](m, from, xh + (size_t)r * K, state + r,
                              tape ? tape + r * tape_stride : NULL, tape_stride);
        }
}

/* Most blocks of units one row goes through at once. */
#define ALONE_BLOCKS 4

/* z[v][g] += x w over K rows of weights, V blocks of units with G gates at once: V G chains. */
INLINE void alone_chain(int V, int G, bool ahead, int K, const float *x, const float *w,
                        size_t block, vec z[ALONE_BLOCKS][4])
{
    UNROLL_BY_2
    for (int k = 0; k < K; k++, w += G * LANES) {
        vec xk = v_set(x[k]);
        UNROLL
        for (int v = 0; v < V; v++) {
            UNROLL
            for (int g = 0; g < G; g++) {
                const float *wv = w + v * block + g * LANES;
                if (ahead)
                    PREFETCH_L1(wv + AHEAD * G * LANES);
                z[v][g] = v_fma(xk, v_load(wv), z[v][g]);
            }
        }
    }
}

INLINE void lstm_alone_tile(int V, bool ahead, const ky_lstm_mat *m, int from, const float *x,
                            const float *h, float *state, float *tape)
{
    size_t K = (size_t)m->F + m->H, block = K * 4 * LANES;
    const float *w = m->w + (size_t)from * 4 * K, *b = m->b + from * 4;
    vec z[ALONE_BLOCKS][4];
    UNROLL
    for (int v = 0; v < V; v++) {
        UNROLL
        for (int g = 0; g < 4; g++)
            z[v][g] = v_load(b + (v * 4 + g) * LANES);
    }
    alone_chain(V, 4, ahead, m->F, x, w, block, z);
    alone_chain(V, 4, ahead, m->H, h, w + (size_t)m->F * 4 * LANES, block, z);
    UNROLL
    for (int v = 0; v < V; v++) {
        int at = from + v * LANES;
        cell(z[v], state + at, m->H, tape ? tape + at : NULL, lanes_left(m->H, at));
    }
}

typedef void lstm_alone_fn(const ky_lstm_mat *m, int from, const float *x, const float *h,
                           float *state, float *tape);
#define LSTM_ALONE(V)                                                                              \
    static void lstm_alone_##V(const ky_lstm_mat *m, int from, const float *x, const float *h,     \
                               float *state, float *tape)                                          \
    {                                                                                              \
        lstm_alone_tile(V, (V) > 2, m, from, x, h, state, tape);                                   \
    }
LSTM_ALONE(1)
LSTM_ALONE(2)
#if PANEL == 4
LSTM_ALONE(3)
LSTM_ALONE(4)
#endif
static lstm_alone_fn *const lstm_alone[PANEL] = {
    lstm_alone_1,
    lstm_alone_2,
#if PANEL == 4
    lstm_alone_3,
    lstm_alone_4,
#endif
};

/*
 * Whether this thread's next row through matrix `id` goes over the blocks backwards: every other
 * one does, as the weights read last are still in the nearest cache (a quarter more
 * steps a second at 64 units). Blocks are independent, so the bits are the same.
 */
static inline bool turn(unsigned id)
{
    static _Thread_local bool backwards[16];
    bool *b = &backwards[id % 16];
    return *b = !*b;
}

static void lstm_one(const ky_lstm_mat *m, const float *x, float *state, float *tape,
                     float *scratch)
{
    int blocks = m->columns / LANES, group = lstm_group(blocks);
    const float *h = state;
    if (blocks > group) { /* a group must not see what the one before it has written */
        memcpy(scratch, state, (size_t)m->H * sizeof *state);
        h = scratch;
    }
    int groups = (blocks + group - 1) / group;
    bool backwards = turn(m->id);
    for (int i = 0; i < groups; i++) {
        int first = (backwards ? groups - 1 - i : i) * group;
        int V = min_int(blocks - first, group);
        lstm_alone[V - 1](m, first * LANES, x, h, state, tape);
    }
}

static void SET(lstm)(const ky_lstm_mat *m, int B, const float *x, ptrdiff_t xs,
                      float *const *state, float *tape, ptrdiff_t tape_stride, float *scratch)
{
    if (B == 1) {
        lstm_one(m, x, state[0], tape, scratch);
        return;
    }
    for (int r = 0; r < min_int(B, KY_CHUNK); r++)
        prefetch_state(state[r], 0, 2 * m->H);
    for (int r = 0; r < B; r += KY_CHUNK) {
        int R = min_int(B - r, KY_CHUNK), next = min_int(B - r - R, KY_CHUNK);
        lstm_chunk(m, R, x + r * xs, xs, state + r, next, tape ? tape + r * tape_stride : NULL,
                   tape_stride, scratch);
    }
}

/* -- GRU ------------------------------------------------------------------------------ */

#include "models/kernels_gru.h"

static ky_gru_mat *SET(gru_new)(int F, int H, bool reset_after, const float *W, const float *U,
                                const float *b)
{
    if (!reset_after)
        return gru_new_before(F, H, W, U, b);
    size_t K = (size_t)F + H;
    ky_gru_mat *m = ky_gru_mat_alloc(F, H, true, LANES, KY_CHUNK * K);
    if (m == NULL)
        return NULL;
    float *w = m->w, *bias = m->b;
    for (int from = 0; from < H; from += LANES) {
        size_t n = (size_t)lanes_left(H, from);
        for (int g = 0; g < 6; g++, bias += LANES)
            if (b != NULL)
                memcpy(bias, b + g * H + from, n * sizeof *b);
        for (size_t k = 0; k < K; k++)
            for (int g = 0; g < 3; g++, w += LANES) {
                const float *row = k < (size_t)F ? W + k * 3 * H : U + (k - F) * 3 * H;
                memcpy(w, row + g * H + from, n * sizeof *w);
            }
    }
    return m;
}

INLINE void gru_biases(int R, const float *b, vec z[LSTM_ROWS][4])
{
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int g = 0; g < 3; g++)
            z[r][g] = v_load(b + g * LANES);
    }
}

/* R rows of gathered inputs {x, h} through the block of units that starts at `from`. */
INLINE void gru_tile(int R, const ky_gru_mat *m, int from, const float *xh, float *const *state)
{
    int F = m->F, K = F + m->H;
    const float *w = m->w + (size_t)from * 3 * K, *b = m->b + from * 6;
    vec z[LSTM_ROWS][4], a[LSTM_ROWS][3], q[LSTM_ROWS][3];
    gru_biases(R, b, z);
    gates_chain(R, 3, F, xh, K, w, z);
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int g = 0; g < 3; g++)
            a[r][g] = z[r][g];
    }
    gru_biases(R, b + 3 * LANES, z);
    gates_chain(R, 3, m->H, xh + F, K, w + (size_t)F * 3 * LANES, z);
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int g = 0; g < 3; g++)
            q[r][g] = z[r][g];
    }
    for (int r = 0; r < R; r++)
        gru_cell(a[r], q[r], state[r] + from, lanes_left(m->H, from));
}

typedef void gru_fn(const ky_gru_mat *m, int from, const float *xh, float *const *state);
#define GRU_TILE(R)                                                                                \
    static void gru_##R(const ky_gru_mat *m, int from, const float *xh, float *const *state)       \
    {                                                                                              \
        gru_tile(R, m, from, xh, state);                                                           \
    }
GRU_TILE(1)
GRU_TILE(2)
GRU_TILE(3)
#if LSTM_ROWS == 6
GRU_TILE(4)
GRU_TILE(5)
GRU_TILE(6)
#endif
static gru_fn *const gru_tiles[LSTM_ROWS] = {
    gru_1, gru_2, gru_3,
#if LSTM_ROWS == 6
    gru_4, gru_5, gru_6,
#endif
};

/* As lstm_chunk. */
static void gru_chunk(const ky_gru_mat *m, int R, const float *x, ptrdiff_t xs, float *const *state,
                      int next, float *xh)
{
    int F = m->F, H = m->H, K = F + H;
    for (int r = 0; r < R; r++) {
        memcpy(xh + (size_t)r * K, x + r * xs, (size_t)F * sizeof *x);
        memcpy(xh + (size_t)r * K + F, state[r], (size_t)H * sizeof *x);
    }
    for (int from = 0; from < H; from += LANES)
        for (int r = 0, n; r < R; r += n) {
            n = min_int(R - r, LSTM_ROWS);
            for (int q = r; q < min_int(r + n, next); q++)
                prefetch_state(state[R + q], from, from + LANES);
            gru_tiles[n - 1](m, from, xh + (size_t)r * K, state + r);
        }
}

INLINE void gru_alone_tile(int V, const ky_gru_mat *m, int from, const float *x, const float *h,
                           float *state)
{
    size_t K = (size_t)m->F + m->H, block = K * 3 * LANES;
    const float *w = m->w + (size_t)from * 3 * K, *b = m->b + from * 6;
    vec a[ALONE_BLOCKS][4], q[ALONE_BLOCKS][4];
    UNROLL
    for (int v = 0; v < V; v++) {
        UNROLL
        for (int g = 0; g < 3; g++) {
            a[v][g] = v_load(b + (v * 6 + g) * LANES);
            q[v][g] = v_load(b + (v * 6 + 3 + g) * LANES);
        }
    }
    alone_chain(V, 3, V > 2, m->F, x, w, block, a);
    alone_chain(V, 3, V > 2, m->H, h, w + (size_t)m->F * 3 * LANES, block, q);
    UNROLL
    for (int v = 0; v < V; v++)
        gru_cell(a[v], q[v], state + from + v * LANES, lanes_left(m->H, from + v * LANES));
}

typedef void gru_alone_fn(const ky_gru_mat *m, int from, const float *x, const float *h,
                          float *state);
#define GRU_ALONE(V)                                                                               \
    static void gru_alone_##V(const ky_gru_mat *m, int from, const float *x, const float *h,       \
                              float *state)                                                        \
    {                                                                                              \
        gru_alone_tile(V, m, from, x, h, state);                                                   \
    }
GRU_ALONE(1)
GRU_ALONE(2)
GRU_ALONE(3)
GRU_ALONE(4)
static gru_alone_fn *const gru_alone[ALONE_BLOCKS] = { gru_alone_1, gru_alone_2, gru_alone_3,
                                                       gru_alone_4 };

static void gru_one(const ky_gru_mat *m, const float *x, float *state, float *scratch)
{
    int blocks = m->columns / LANES, group = gru_group(blocks);
    const float *h = state;
    if (blocks > group) { /* as in lstm_one */
        memcpy(scratch, state, (size_t)m->H * sizeof *state);
        h = scratch;
    }
    int groups = (blocks + group - 1) / group;
    bool backwards = turn(m->id);
    for (int i = 0; i < groups; i++) {
        int first = (backwards ? groups - 1 - i : i) * group;
        gru_alone[min_int(blocks - first, group) - 1](m, first * LANES, x, h, state);
    }
}

static void SET(gru)(const ky_gru_mat *m, int B, const float *x, ptrdiff_t xs, float *const *state,
                     float *scratch)
{
    if (!m->after) {
        gru_before(m, B, x, xs, state, scratch);
        return;
    }
    if (B == 1) {
        gru_one(m, x, state[0], scratch);
        return;
    }
    for (int r = 0; r < min_int(B, KY_CHUNK); r++)
        prefetch_state(state[r], 0, m->H);
    for (int r = 0; r < B; r += KY_CHUNK) {
        int R = min_int(B - r, KY_CHUNK), next = min_int(B - r - R, KY_CHUNK);
        gru_chunk(m, R, x + r * xs, xs, state + r, next, scratch);
    }
}

/* -- depthwise ------------------------------------------------------------------------- */

/* Rows of a tile of PANEL vectors, and of one. */
#define DEPTH_ROWS   4
#define DEPTH_NARROW 8

/* n of LANES numbers, as many as there are; those of whole vectors need no mask. */
INLINE vec load_of(bool whole, const float *p, int n)
{
    return whole ? v_load(p) : v_load_part(p, n);
}

/* Some vectors of columns of a call. */
struct depth {
    int C, N, n_runs;
    const ky_run *runs;
    const float *w, *b; /* of the first column; b may be NULL */
    ptrdiff_t xs, ys;
    float floor;
    int n;                        /* columns of the last vector */
    int c[PANEL];                 /* the input of each vector's first column */
    int32_t which[PANEL * LANES]; /* and of the others, after that; M columns share one */
};

/* one: M is 1. */
INLINE void depth_tile(int R, int V, bool one, const struct depth *d, const float *x, float *y)
{
    vec acc[DEPTH_NARROW][PANEL];
    UNROLL
    for (int v = 0; v < V; v++) {
        vec b = d->b == NULL ? v_set(0) : load_of(v < V - 1, d->b + v * LANES, d->n);
        UNROLL
        for (int r = 0; r < R; r++)
            acc[r][v] = b;
    }
    for (int i = 0; i < d->n_runs; i++) {
        const float *xt = x + d->runs[i].at, *w = d->w + (size_t)d->runs[i].k * d->N;
        for (int t = 0; t < d->runs[i].n; t++, xt += d->C, w += d->N) {
            UNROLL
            for (int v = 0; v < V; v++) {
                int c = d->c[v];
                vec wv = load_of(v < V - 1, w + v * LANES, d->n);
                UNROLL
                for (int r = 0; r < R; r++) {
                    vec xv =
                        load_of(one && v < V - 1, xt + r * d->xs + c, min_int(d->C - c, LANES));
                    if (!one)
                        xv = v_pick(xv, i_load(d->which + v * LANES));
                    acc[r][v] = v_fma(xv, wv, acc[r][v]);
                }
            }
        }
    }
    vec floor = v_set(d->floor);
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int v = 0; v < V; v++)
            v_store_part(y + r * d->ys + v * LANES, v_max(floor, acc[r][v]),
                         v == V - 1 ? d->n : LANES);
    }
}

typedef void depth_fn(bool one, const struct depth *d, const float *x, float *y);
#define DEPTH_TILE(R, V, name)                                                                     \
    static void depth_##name(bool one, const struct depth *d, const float *x, float *y)            \
    {                                                                                              \
        if (one)                                                                                   \
            depth_tile(R, V, true, d, x, y);                                                       \
        else                                                                                       \
            depth_tile(R, V, false, d, x, y);                                                      \
    }
DEPTH_TILE(1, 1, one_narrow)
DEPTH_TILE(1, PANEL, one_wide)
DEPTH_TILE(DEPTH_NARROW, 1, rows_narrow)
DEPTH_TILE(DEPTH_ROWS, PANEL, rows_wide)
static depth_fn *const depth_fns[2][2] = {
    { depth_one_narrow, depth_one_wide },
    { depth_rows_narrow, depth_rows_wide },
};

/* Which inputs the columns from `from` on have. */
static void depth_columns(struct depth *d, int M, int from, int V)
{
    int c = from / M, j = from % M;
    d->n = lanes_left(d->N, from + (V - 1) * LANES);
    for (int v = 0; M == 1 && v < V; v++)
        d->c[v] = from + v * LANES;
    for (int i = 0; M > 1 && i < V * LANES; i++) {
        if (i % LANES == 0)
            d->c[i / LANES] = c;
        d->which[i] = c - d->c[i / LANES];
        if (++j == M) {
            j = 0;
            c++;
        }
    }
}

static void SET(depthwise)(int C, int M, int n_runs, const ky_run *runs, const float *w,
                           const float *b, int R, const float *x, ptrdiff_t xs, float *y,
                           ptrdiff_t ys, enum ky_activation act)
{
    struct depth d = { .C = C, .N = C * M, .n_runs = n_runs, .runs = runs, .xs = xs, .ys = ys };
    d.floor = act == KY_RELU ? 0 : -INFINITY;
    for (int from = 0, V; from < d.N; from += V * LANES) {
        V = d.N - from > (PANEL - 1) * LANES ? PANEL : 1;
        d.w = w + from;
        d.b = b != NULL ? b + from : NULL;
        depth_columns(&d, M, from, V);
        for (int r = 0, rows; r < R; r += rows) {
            rows = V > 1 ? DEPTH_ROWS : DEPTH_NARROW;
            rows = R - r >= rows ? rows : 1;
            depth_fns[rows > 1][V > 1](M == 1, &d, x + r * xs, y + r * ys + from);
        }
    }
    activate_rows(act, R, d.N, y, ys);
}

/* -- pools ----------------------------------------------------------------------------- */

/* V vectors of channels, n in the last one. */
INLINE void pool_tile(int V, bool mean, int C, int n_runs, const ky_run *runs, vec taps,
                      const float *x, float *y, int n)
{
    vec acc[PANEL];
    UNROLL
    for (int v = 0; v < V; v++)
        acc[v] = v_load_part(x + runs[0].at + v * LANES, v == V - 1 ? n : LANES);
    for (int i = 0; i < n_runs; i++)
        for (int t = i == 0 ? 1 : 0; t < runs[i].n; t++) {
            const float *from = x + runs[i].at + (ptrdiff_t)t * C;
            UNROLL
            for (int v = 0; v < V; v++) {
                vec xv = v_load_part(from + v * LANES, v == V - 1 ? n : LANES);
                acc[v] = mean ? v_add(acc[v], xv) : v_max(xv, acc[v]);
            }
        }
    UNROLL
    for (int v = 0; v < V; v++)
        v_store_part(y + v * LANES, mean ? v_div(acc[v], taps) : acc[v], v == V - 1 ? n : LANES);
}

INLINE void pool_row(bool mean, int C, int n_runs, const ky_run *runs, vec taps, const float *x,
                     float *y)
{
    int from = 0;
    for (; from + PANEL * LANES <= C; from += PANEL * LANES)
        pool_tile(PANEL, mean, C, n_runs, runs, taps, x + from, y + from, LANES);
    for (; from + 2 * LANES <= C; from += 2 * LANES)
        pool_tile(2, mean, C, n_runs, runs, taps, x + from, y + from, LANES);
    for (; from < C; from += LANES)
        pool_tile(1, mean, C, n_runs, runs, taps, x + from, y + from, lanes_left(C, from));
}

static void SET(pool)(bool mean, int C, int n_runs, const ky_run *runs, int R, const float *x,
                      ptrdiff_t xs, float *y, ptrdiff_t ys)
{
    int taps = 0;
    for (int i = 0; i < n_runs; i++)
        taps += runs[i].n;
    for (int r = 0; r < R; r++, x += xs, y += ys)
        if (mean)
            pool_row(true, C, n_runs, runs, v_set((float)taps), x, y);
        else
            pool_row(false, C, n_runs, runs, v_set(0), x, y);
}

/* -- training -------------------------------------------------------------------------- */

/* B[k][from..] for K rows k -> whole vectors one behind the other, zeros where B ends. */
static void pack_slice(int V, int n, int K, const float *B, ptrdiff_t ldb, float *w)
{
    for (int k = 0; k < K; k++, B += ldb) {
        for (int v = 0; v < V - 1; v++, w += LANES)
            v_store(w, v_load(B + v * LANES));
        v_store(w, v_load_part(B + (V - 1) * LANES, n));
        w += LANES;
    }
}

/* Ask for the lines of rows [r0,r1) of a matrix, `width` columns each. */
static inline void prefetch_rows(const float *x, ptrdiff_t ldx, int r0, int r1, int width)
{
    for (int r = r0; r < r1; r++)
        for (int j = 0; j < width; j += LINE)
            PREFETCH_L2(x + r * ldx + j);
}

/* Some rows k of both matrices, for one slice of columns. */
struct slice {
    int k, K;    /* rows [k,k+K) */
    int from, V; /* columns from `from`, so many vectors */
};

static struct slice slice_at(int k, int from, int K, int N)
{
    int vectors = (N - from + LANES - 1) / LANES;
    return (struct slice){ k, min_int(K - k, STRETCH), from, min_int(vectors, PANEL) };
}

/* The slice behind s: the next columns, then the next rows. K is 0 behind the last. */
static struct slice slice_next(const struct slice *s, int K, int N)
{
    int from = s->from + s->V * LANES;
    if (from < N)
        return slice_at(s->k, from, K, N);
    return slice_at(s->k + s->K, 0, K, N);
}

/* B is read once, a slice at a time, into a panel that stays in the nearest cache; C is
 * loaded and stored for each stretch of rows, which is exact. Each tile fetches its share of
 * the next slice. */
static void SET(gemm_tn)(int M, int N, int K, const float *A, ptrdiff_t lda, const float *B,
                         ptrdiff_t ldb, float *C, ptrdiff_t ldc)
{
    float w[STRETCH * PANEL * LANES] __attribute__((aligned(64)));
    struct slice s = slice_at(0, 0, K, N), next;
    for (; s.K > 0; s = next) {
        next = slice_next(&s, K, N);
        int n = lanes_left(N, s.from + (s.V - 1) * LANES);
        pack_slice(s.V, n, s.K, B + s.k * ldb + s.from, ldb, w);
        const struct tile *t;
        for (int m = 0; m < M; m += t->R) {
            t = tile_for(tiles[s.V - 1], M - m);
            int r0 = m * next.K / M, r1 = (m + t->R) * next.K / M;
            prefetch_rows(B + next.k * ldb + next.from, ldb, r0, r1, next.V * LANES);
            if (next.k > s.k)
                prefetch_rows(A + next.k * lda, lda, r0, r1, M);
            t->gemm(s.K, A + s.k * lda + m, lda, w, C + m * ldc + s.from, ldc, n);
        }
    }
}

INLINE void colsum_tile(int V, int K, const float *B, ptrdiff_t ldb, float *s)
{
    vec sum[PANEL];
    UNROLL
    for (int v = 0; v < V; v++)
        sum[v] = v_load(s + v * LANES);
    for (int k = 0; k < K; k++, B += ldb) {
        UNROLL
        for (int v = 0; v < V; v++)
            sum[v] = v_add(sum[v], v_load(B + v * LANES));
    }
    UNROLL
    for (int v = 0; v < V; v++)
        v_store(s + v * LANES, sum[v]);
}

static void SET(colsum)(int N, int K, const float *B, ptrdiff_t ldb, float *s)
{
    int from = 0;
    for (; from + PANEL * LANES <= N; from += PANEL * LANES)
        colsum_tile(PANEL, K, B + from, ldb, s + from);
    for (; from < N; from += LANES) {
        int n = lanes_left(N, from);
        vec sum = v_load_part(s + from, n);
        for (int k = 0; k < K; k++)
            sum = v_add(sum, v_load_part(B + k * ldb + from, n));
        v_store_part(s + from, sum, n);
    }
}

/* n units of one row; the arrays of gates lie H apart. See plain_lstm_back for names. */
INLINE void back_units(int H, const float *dh, float *dc, const float *tape, const float *c0,
                       float *dz, int n)
{
    vec one = v_set(1);
    vec i = v_load_part(tape, n), f = v_load_part(tape + H, n);
    vec g = v_load_part(tape + 2 * H, n), o = v_load_part(tape + 3 * H, n);
    vec tc = v_load_part(tape + 5 * H, n), dhv = v_load_part(dh, n);
    vec d = v_fma(v_mul(dhv, o), v_fnma(tc, tc, one), v_load_part(dc, n));
    vec di = v_mul(v_mul(d, g), v_mul(i, v_sub(one, i)));
    vec df = v_mul(v_mul(d, v_load_part(c0, n)), v_mul(f, v_sub(one, f)));
    vec dg = v_mul(v_mul(d, i), v_fnma(g, g, one));
    vec d_o = v_mul(v_mul(dhv, tc), v_mul(o, v_sub(one, o)));
    v_store_part(dz, di, n);
    v_store_part(dz + H, df, n);
    v_store_part(dz + 2 * H, dg, n);
    v_store_part(dz + 3 * H, d_o, n);
    v_store_part(dc, v_mul(d, f), n);
}

static void SET(lstm_back)(int B, int H, const float *dh, ptrdiff_t dhs, float *dc, ptrdiff_t dcs,
                           const float *tape, ptrdiff_t tape_stride, const float *c0, ptrdiff_t c0s,
                           float *dz, ptrdiff_t dzs)
{
    for (int r = 0; r < B; r++, dh += dhs, dc += dcs, tape += tape_stride, c0 += c0s, dz += dzs)
        for (int j = 0; j < H; j += LANES)
            back_units(H, dh + j, dc + j, tape + j, c0 + j, dz + j, lanes_left(H, j));
}

static void SET(adam)(size_t n, float *w, const float *g, float *m, float *v, float alpha, float b1,
                      float b2, float eps)
{
    vec r1 = v_set(1 - b1), r2 = v_set(1 - b2);
    for (size_t i = 0; i < n; i += LANES) {
        int p = n - i < LANES ? (int)(n - i) : LANES;
        vec gi = v_load_part(g + i, p), mi = v_load_part(m + i, p), vi = v_load_part(v + i, p);
        mi = v_fma(v_sub(gi, mi), r1, mi);
        vi = v_fma(v_fms(gi, gi, vi), r2, vi);
        vec step = v_div(v_mul(v_set(alpha), mi), v_add(v_sqrt(vi), v_set(eps)));
        v_store_part(m + i, mi, p);
        v_store_part(v + i, vi, p);
        v_store_part(w + i, v_sub(v_load_part(w + i, p), step), p);
    }
}

const ky_kernels SET_TABLE = {
    .name = SET_NAME,
    .mat_new = SET(mat_new),
    .mat_free = ky_mat_release,
    .rows = SET(rows),
    .lstm_new = SET(lstm_new),
    .lstm_free = ky_lstm_mat_release,
    .lstm = SET(lstm),
    .gru_new = SET(gru_new),
    .gru_free = ky_gru_mat_release,
    .gru = SET(gru),
    .depthwise = SET(depthwise),
    .pool = SET(pool),
    .activate = SET(activate),
    .softmax = SET(softmax),
    .log_softmax = SET(log_softmax),
    .finite = SET(finite),
    .extent = SET(extent),
    .gemm_tn = SET(gemm_tn),
    .colsum = SET(colsum),
    .lstm_back = SET(lstm_back),
    .adam = SET(adam),
};
