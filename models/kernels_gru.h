/*
 * GRU, what all kernel sets share; included like kernels_math.h, behind rows() and mat_new().
 *
 * With the reset gate before the product (Cho et al. 2014) the candidate's sums can only begin
 * when the gates of all units are there. So that form is two calls of rows() with what is
 * done to each number between them; the other, of cuDNN, has tiles of its own.
 */
#ifndef KY_KERNELS_GRU_H
#define KY_KERNELS_GRU_H

#include <stdlib.h>

/* n units from the sums over x and over h of the gates z|r|h: see kernels.h */
INLINE void gru_cell(const vec a[3], const vec q[3], ky_real *h, int n)
{
    vec z = v_sigmoid(v_add(a[0], q[0])), r = v_sigmoid(v_add(a[1], q[1]));
    vec c = v_tanh(v_fma(r, q[2], a[2])), old = v_load_part(h, n);
    v_store_part(h, v_fma(z, v_sub(old, c), c), n);
}

/* Columns [from,from+N) of W [F,3H] over those of U [H,3H], packed. */
static ky_mat *gru_part(int F, int H, const ky_real *W, const ky_real *U, const ky_real *b,
                        int from, int N)
{
    size_t K = (size_t)F + H, n = (size_t)N;
    ky_real *t = malloc(K * n * sizeof *t);
    if (t == NULL)
        return NULL;
    for (size_t k = 0; k < K; k++)
        memcpy(t + k * n, (k < (size_t)F ? W + k * 3 * H : U + (k - F) * 3 * H) + from,
               n * sizeof *t);
    ky_mat *m = SET(mat_new)((int)K, N, t, b != NULL ? b + from : NULL);
    free(t);
    return m;
}

static ky_gru_mat *gru_new_before(int F, int H, const ky_real *W, const ky_real *U,
                                  const ky_real *b)
{
    size_t row = (size_t)F + H + 3 * (size_t)H; /* {x, h}, z|r, candidate */
    ky_gru_mat *m = ky_gru_mat_alloc(F, H, false, 1, KY_CHUNK * row);
    if (m == NULL)
        return NULL;
    m->gates = gru_part(F, H, W, U, b, 0, 2 * H);
    m->candidate = gru_part(F, H, W, U, b, 2 * H, H);
    if (m->gates != NULL && m->candidate != NULL)
        return m;
    ky_gru_mat_release(m);
    return NULL;
}

/* At most KY_CHUNK rows. */
static void gru_chunk_before(const ky_gru_mat *m, int R, const ky_real *x, ptrdiff_t xs,
                             ky_real *const *state, ky_real *scratch)
{
    int F = m->F, H = m->H, K = F + H;
    ky_real *xh = scratch, *zr = xh + (size_t)R * K, *c = zr + (size_t)R * 2 * H;
    const ky_run all = { 0, 0, K };
    for (int r = 0; r < R; r++) {
        memcpy(xh + (size_t)r * K, x + r * xs, (size_t)F * sizeof *x);
        memcpy(xh + (size_t)r * K + F, state[r], (size_t)H * sizeof *x);
    }
    SET(rows)(m->gates, 1, &all, R, xh, K, zr, 2 * (ptrdiff_t)H, KY_SIGMOID);
    for (int r = 0; r < R; r++)
        for (int j = 0; j < H; j += LANES) {
            int n = lanes_left(H, j);
            vec reset = v_load_part(zr + (size_t)r * 2 * H + H + j, n);
            v_store_part(xh + (size_t)r * K + F + j, v_mul(reset, v_load_part(state[r] + j, n)), n);
        }
    SET(rows)(m->candidate, 1, &all, R, xh, K, c, H, KY_TANH);
    for (int r = 0; r < R; r++)
        for (int j = 0; j < H; j += LANES) {
            int n = lanes_left(H, j);
            vec z = v_load_part(zr + (size_t)r * 2 * H + j, n);
            vec new = v_load_part(c + (size_t)r * H + j, n), old = v_load_part(state[r] + j, n);
            v_store_part(state[r] + j, v_fma(z, v_sub(old, new), new), n);
        }
}

static void gru_before(const ky_gru_mat *m, int B, const ky_real *x, ptrdiff_t xs,
                       ky_real *const *state, ky_real *scratch)
{
    for (int r = 0; r < B; r += KY_CHUNK)
        gru_chunk_before(m, min_int(B - r, KY_CHUNK), x + r * xs, xs, state + r, scratch);
}

#endif
