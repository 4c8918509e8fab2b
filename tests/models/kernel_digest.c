/*
 * Calls every kernel of every set of this machine, with odd sizes and hostile numbers, and
 * prints a digest of each kernel's results. Exit 1 if sets differ. neon.sh compares the
 * output with that of another kind of processor. Only integers make the inputs, and all NaN
 * count as one: their sign and payload differ between processors.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels.h"

static uint32_t seed;

static uint32_t random_bits(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static int random_int(int lo, int hi)
{
    return lo + (int)(random_bits() % (uint32_t)(hi - lo + 1));
}

static float random_float(bool also_odd)
{
    static const float odd[] = { -0.0f, 0.0f, 0x1p-149f, -0x1.8p-130f, 1e-38f, 3e38f, -1e30f, 90 };
    if (also_odd && random_bits() % 64 == 0)
        return odd[random_bits() % 8];
    return ((float)random_bits() - 0x1p23f) * 0x1p-22f;
}

static float *randoms(size_t n)
{
    float *x = malloc((n + (n == 0)) * sizeof *x);
    if (x == NULL)
        abort();
    bool also_odd = random_bits() % 4 == 0; /* not always, or long sums end as NaN */
    for (size_t i = 0; i < n; i++)
        x[i] = random_float(also_odd);
    return x;
}

/* FNV-1a */
static void digest(uint64_t *d, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u = 0x7fc00000;
        if (!isnan(x[i]))
            memcpy(&u, &x[i], sizeof u);
        for (int byte = 0; byte < 4; byte++)
            *d = (*d ^ (u >> 8 * byte & 0xff)) * 0x100000001b3u;
    }
}

static void activate(const ky_kernels *k, uint64_t *d)
{
    float x[1021], y[1021];
    for (int act = KY_LINEAR; act < KY_SOFTMAX; act++)
        for (uint32_t top = 0; top < 0x200; top++) {
            for (uint32_t i = 0; i < 1021; i++) {
                uint32_t u = top << 23 | i << 13 | (i * 37 & 0x1fff);
                memcpy(&x[i], &u, sizeof u);
            }
            k->activate((enum ky_activation)act, x, y, 1021);
            digest(d, y, 1021);
        }
}

static void softmaxes(const ky_kernels *k, uint64_t *d)
{
    for (int i = 0; i < 100; i++) {
        int R = random_int(1, 20), C = random_int(1, 80);
        size_t n = (size_t)R * C;
        float *x = randoms(n), *y = randoms(n);
        k->softmax(R, C, x, C, y, C);
        digest(d, y, n);
        k->log_softmax(R, C, x, C, y, C);
        digest(d, y, n);
        free(x), free(y);
    }
}

static void rows(const ky_kernels *k, uint64_t *d)
{
    for (int i = 0; i < 150; i++) {
        int K = random_int(2, i < 20 ? 600 : 100), N = random_int(1, 70), R = random_int(1, 33);
        int cut = random_int(1, K - 1), gap = random_int(0, 3);
        const ky_run runs[2] = { { 0, 0, cut }, { cut + gap, cut, K - cut } };
        float *W = randoms((size_t)K * N), *b = randoms((size_t)N);
        float *x = randoms((size_t)R * (K + gap)), *y = randoms((size_t)R * N);
        ky_mat *m = k->mat_new(K, N, W, b);
        if (m == NULL)
            abort();
        int n = random_int(0, 2), act = random_int(KY_LINEAR, KY_LOG_SOFTMAX);
        k->rows(m, n, runs, R, x, K + gap, y, N, (enum ky_activation)act);
        digest(d, y, (size_t)R * N);
        k->mat_free(m);
        free(W), free(b), free(x), free(y);
    }
}

static void lstm(const ky_kernels *k, uint64_t *d)
{
    for (int i = 0; i < 40; i++) {
        int F = random_int(1, 12), H = random_int(1, 40), B = i % 2 ? 1 : random_int(2, 60);
        float *W = randoms((size_t)F * 4 * H), *U = randoms((size_t)H * 4 * H);
        float *b = randoms(4 * (size_t)H), *x = randoms((size_t)B * F);
        float *states = randoms((size_t)B * 2 * H), *tape = randoms((size_t)B * 6 * H), *at[60];
        ky_lstm_mat *m = k->lstm_new(F, H, W, U, b);
        float *scratch = aligned_alloc(64, (ky_lstm_scratch(m) * sizeof(float) + 63) / 64 * 64);
        for (int r = 0; r < B; r++)
            at[r] = states + (size_t)r * 2 * H;
        for (int step = 0; step < 3; step++)
            k->lstm(m, B, x, F, at, tape, 6 * H, scratch);
        digest(d, states, (size_t)B * 2 * H);
        digest(d, tape, (size_t)B * 6 * H);
        k->lstm_free(m);
        free(W), free(U), free(b), free(x), free(states), free(tape), free(scratch);
    }
}

static void gru(const ky_kernels *k, uint64_t *d)
{
    for (int i = 0; i < 80; i++) {
        int F = random_int(1, 12), H = random_int(1, 40), B = i % 2 ? 1 : random_int(2, 60);
        float *W = randoms((size_t)F * 3 * H), *U = randoms((size_t)H * 3 * H);
        float *b = randoms(6 * (size_t)H), *x = randoms((size_t)B * F);
        float *states = randoms((size_t)B * H), *at[60];
        ky_gru_mat *m = k->gru_new(F, H, i % 4 < 2, W, U, b);
        float *scratch = aligned_alloc(64, (ky_gru_scratch(m) * sizeof(float) + 63) / 64 * 64);
        for (int r = 0; r < B; r++)
            at[r] = states + (size_t)r * H;
        for (int step = 0; step < 3; step++)
            k->gru(m, B, x, F, at, scratch);
        digest(d, states, (size_t)B * H);
        k->gru_free(m);
        free(W), free(U), free(b), free(x), free(states), free(scratch);
    }
}

static void depthwise(const ky_kernels *k, uint64_t *d)
{
    for (int i = 0; i < 150; i++) {
        int C = random_int(1, 40), M = i % 2 ? 1 : random_int(2, 5), R = random_int(1, 33),
            N = C * M;
        const ky_run runs[2] = { { 0, 0, 2 }, { 2 * C + 1, 3, 1 } };
        float *w = randoms(4 * (size_t)N), *b = randoms((size_t)N);
        float *x = randoms((size_t)R * (3 * C + 1)), *y = randoms((size_t)R * N);
        k->depthwise(C, M, 2, runs, w, b, R, x, 3 * C + 1, y, N, KY_RELU);
        digest(d, y, (size_t)R * N);
        free(w), free(b), free(x), free(y);
    }
}

static void training(const ky_kernels *k, uint64_t *d)
{
    for (int i = 0; i < 40; i++) {
        int M = random_int(1, 40), N = random_int(1, 70), K = random_int(0, 150);
        size_t n = (size_t)M * N;
        float *A = randoms((size_t)K * M), *B = randoms((size_t)K * N), *C = randoms(n);
        k->gemm_tn(M, N, K, A, M, B, N, C, N);
        digest(d, C, n);
        k->colsum(N, K, B, N, C);
        digest(d, C, (size_t)N);
        float *m = randoms(n), *v = randoms(n), *g = randoms(n);
        for (size_t j = 0; j < n; j++)
            v[j] = fabsf(v[j]);
        k->adam(n, C, g, m, v, 1e-3f, 0.9f, 0.999f, 1e-7f);
        digest(d, C, n), digest(d, m, n), digest(d, v, n);
        free(A), free(B), free(C), free(m), free(v), free(g);
    }
}

static void lstm_back(const ky_kernels *k, uint64_t *d)
{
    for (int i = 0; i < 40; i++) {
        int B = random_int(1, 9), H = random_int(1, 40);
        size_t n = (size_t)B * H;
        float *dh = randoms(n), *dc = randoms(n), *tape = randoms(6 * n), *c0 = randoms(n);
        float *dz = randoms(4 * n);
        k->lstm_back(B, H, dh, H, dc, H, tape, 6 * H, c0, H, dz, 4 * H);
        digest(d, dc, n), digest(d, dz, 4 * n);
        free(dh), free(dc), free(tape), free(c0), free(dz);
    }
}

static const struct {
    const char *name;
    void (*run)(const ky_kernels *k, uint64_t *d);
} kernels[] = {
    { "activate", activate }, { "softmax", softmaxes },
    { "rows", rows },         { "lstm", lstm },
    { "gru", gru },           { "depthwise", depthwise },
    { "training", training }, { "lstm_back", lstm_back },
};

int main(void)
{
    int differ = 0;
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++)
        fprintf(stderr, "%s ", (*k)->name);
    fprintf(stderr, "\n");
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        uint64_t first = 0;
        for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
            uint64_t d = 0xcbf29ce484222325u;
            seed = 20261122;
            kernels[i].run(*k, &d);
            if (k == ky_kernels_all())
                first = d;
            else if (d != first) {
                fprintf(stderr, "%s: %s differs from plain\n", kernels[i].name, (*k)->name);
                differ = 1;
            }
        }
        printf("%s %016llx\n", kernels[i].name, (unsigned long long)first);
    }
    return differ;
}
