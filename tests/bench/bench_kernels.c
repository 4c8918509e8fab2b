/*
 * The kernels beside the machine's limits and oneDNN: LSTM steps of streams whose states
 * lie anywhere, and whole windows of the Conv1D net.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels.h"
#include "tests/bench/measure.h"
#include "tests/bench/onednn.h"

#define FEATURES 9
#define STREAMS  1024

static float uniform(void)
{
    static uint32_t seed = 1;
    seed = seed * 1664525u + 1013904223u;
    return (float)(int32_t)seed * 0x1p-31f;
}

/* n floats in (-scale,scale), on a cache line; 0: zeros. */
static float *floats(size_t n, float scale)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 63) / 64 * 64);
    if (x == NULL)
        abort();
    for (size_t i = 0; i < n; i++)
        x[i] = uniform() * scale;
    return x;
}

/* -- LSTM --------------------------------------------------------------------------- */

/* Waves of B out of STREAMS streams, whose states are spread over memory in no order. */
struct waves {
    const ky_kernels *k;
    ky_lstm_mat *m;
    int H, B, at;
    float *W, *U, *b, *x, *states, *scratch;
    float *state[STREAMS];
    onednn_lstm *peer; /* has its states side by side */
};

static void waves_init(struct waves *w, int H, int B)
{
    float scale = 1 / sqrtf((float)H);
    *w = (struct waves){ .k = ky_kernels_get(), .H = H, .B = B };
    w->W = floats((size_t)FEATURES * 4 * H, scale);
    w->U = floats((size_t)H * 4 * H, scale);
    w->b = floats((size_t)4 * H, scale);
    w->x = floats((size_t)STREAMS * FEATURES, 1);
    w->states = floats((size_t)STREAMS * 2 * H, 0);
    for (int i = 0; i < STREAMS; i++) /* 331 and STREAMS have no common divisor */
        w->state[i] = w->states + (size_t)(i * 331 % STREAMS) * 2 * H;
    w->m = w->k->lstm_new(FEATURES, H, w->W, w->U, w->b);
    if (w->m == NULL)
        abort();
    w->scratch = floats(ky_lstm_scratch(w->m), 0);
    w->peer = onednn_lstm_new(FEATURES, H, B, w->W, w->U, w->b);
}

static void waves_done(struct waves *w)
{
    w->k->lstm_free(w->m);
    onednn_lstm_free(w->peer);
    free(w->W), free(w->U), free(w->b), free(w->x), free(w->states), free(w->scratch);
}

static void kymo_wave(void *arg)
{
    struct waves *w = arg;
    w->k->lstm(w->m, w->B, w->x + (size_t)w->at * FEATURES, FEATURES, w->state + w->at, NULL, 0,
               w->scratch);
    w->at = (w->at + w->B) % STREAMS;
}

static void peer_wave(void *arg)
{
    struct waves *w = arg;
    onednn_lstm_step(w->peer, w->x);
}

/* The largest difference between the two after three steps of the same inputs. */
static double disagreement(struct waves *w)
{
    const float *h = NULL;
    double most = 0;
    for (int i = 0; i < 3; i++) {
        w->at = 0;
        kymo_wave(w);
        h = onednn_lstm_step(w->peer, w->x);
    }
    for (int r = 0; r < w->B; r++)
        for (int j = 0; j < w->H; j++)
            most = fmax(most, fabs(w->state[r][j] - h[(size_t)r * w->H + j]));
    return most;
}

struct lstm_target {
    int H, B;
    double peak, l2, peer; /* shares of the limits and times oneDNN; 0: none set */
};

static const struct lstm_target lstm_targets[] = {
    { 32, 1, 0.34, 0, 13 },      { 64, 1, 0.34, 0, 5 }, { 128, 1, 0, 0.80, 2.2 },
    { 256, 1, 0, 0, 1.7 },       { 64, 16, 0, 0, 0 },   { 32, 256, 0.50, 0, 1.45 },
    { 64, 256, 0.65, 0, 1.25 },  { 64, 1024, 0, 0, 0 }, { 128, 256, 0.78, 0, 1.12 },
    { 256, 256, 0.84, 0, 1.05 },
};

static void bench_lstm(const struct lstm_target *t)
{
    struct waves w;
    waves_init(&w, t->H, t->B);
    double weights = 4.0 * t->H * (FEATURES + t->H);
    double flops = 2 * weights + 12 * t->H; /* the cell's own, without activations */
    bench_side sides[4] = { bench_fma_peak(), bench_l2_loads(), { kymo_wave, &w, t->B, 0 } };
    int n = 3;
    if (w.peer != NULL) {
        double d = disagreement(&w);
        if (d > 1e-5)
            printf("  oneDNN differs by %g: not the same arithmetic\n", d);
        sides[n++] = (bench_side){ peer_wave, &w, t->B, 0 };
    }
    bench_measure(sides, n);
    double rate = sides[2].rate, peak = rate * flops / sides[0].rate;
    double l2 = rate * weights * sizeof(float) / t->B / sides[1].rate;
    printf("  %4d %5d %10.0f   %6.2f %-8s", t->H, t->B, rate / 1e3, peak,
           bench_verdict(peak, t->peak));
    if (t->B == 1)
        printf(" %6.2f %-8s", l2, bench_verdict(l2, t->l2));
    else
        printf(" %6s %-8s", "-", "");
    if (n == 4)
        printf(" %6.2f %s", rate / sides[3].rate, bench_verdict(rate / sides[3].rate, t->peer));
    printf("\n");
    waves_done(&w);
}

/* -- the Conv1D net ------------------------------------------------------------------- */

#define T       128
#define CONV    64
#define WIDTH   3
#define DENSE   100
#define CLASSES 6
#define T1      (T - WIDTH + 1)
#define T2      (T1 - WIDTH + 1)
#define FLAT    (T2 / 2 * CONV)

/* [conv 64 k3, conv 64 k3, pool 2, dense 100, dense 6] over B windows of 128 x 9. */
struct net {
    const ky_kernels *k;
    int B;
    ky_mat *conv1, *conv2, *dense1, *dense2;
    float *x, *c1, *c2, *flat, *d, *y;
};

static ky_mat *layer(const ky_kernels *k, int taps, int seg, int N)
{
    float scale = 1 / sqrtf((float)(taps * seg));
    float *W = floats((size_t)taps * seg * N, scale), *b = floats((size_t)N, scale);
    ky_mat *m = k->mat_new(taps, seg, N, W, b);
    if (m == NULL)
        abort();
    free(W), free(b);
    return m;
}

static void net_init(struct net *n, int B)
{
    *n = (struct net){ .k = ky_kernels_get(), .B = B };
    n->conv1 = layer(n->k, WIDTH, FEATURES, CONV);
    n->conv2 = layer(n->k, WIDTH, CONV, CONV);
    n->dense1 = layer(n->k, 1, FLAT, DENSE);
    n->dense2 = layer(n->k, 1, DENSE, CLASSES);
    n->x = floats((size_t)B * T * FEATURES, 1);
    n->c1 = floats((size_t)T1 * CONV, 0);
    n->c2 = floats((size_t)T2 * CONV, 0);
    n->flat = floats((size_t)B * FLAT, 0);
    n->d = floats((size_t)B * DENSE, 0);
    n->y = floats((size_t)B * CLASSES, 0);
}

static void net_done(struct net *n)
{
    ky_mat *const m[] = { n->conv1, n->conv2, n->dense1, n->dense2 };
    for (int i = 0; i < 4; i++)
        n->k->mat_free(m[i]);
    free(n->x), free(n->c1), free(n->c2), free(n->flat), free(n->d), free(n->y);
}

static void pool(const float *restrict x, float *restrict y)
{
    for (int t = 0; t < T2 / 2; t++, x += 2 * CONV, y += CONV)
        for (int j = 0; j < CONV; j++)
            y[j] = x[j] > x[CONV + j] ? x[j] : x[CONV + j];
}

static void net_run(void *arg)
{
    struct net *n = arg;
    const ky_kernels *k = n->k;
    for (int r = 0; r < n->B; r++) {
        k->rows(n->conv1, 0, WIDTH, T1, n->x + (size_t)r * T * FEATURES, FEATURES, FEATURES, n->c1,
                CONV, KY_RELU);
        k->rows(n->conv2, 0, WIDTH, T2, n->c1, CONV, CONV, n->c2, CONV, KY_RELU);
        pool(n->c2, n->flat + (size_t)r * FLAT);
    }
    k->rows(n->dense1, 0, 1, n->B, n->flat, FLAT, FLAT, n->d, DENSE, KY_RELU);
    k->rows(n->dense2, 0, 1, n->B, n->d, DENSE, DENSE, n->y, CLASSES, KY_LINEAR);
    k->softmax(n->B, CLASSES, n->y, CLASSES, n->y, CLASSES);
}

static void bench_net(int B, double target)
{
    struct net net;
    net_init(&net, B);
    double flops = 2.0 * (T1 * WIDTH * FEATURES * CONV + T2 * WIDTH * CONV * CONV + FLAT * DENSE +
                          DENSE * CLASSES);
    bench_side sides[] = { bench_fma_peak(), { net_run, &net, B, 0 } };
    bench_measure(sides, 2);
    double peak = sides[1].rate * flops / sides[0].rate;
    printf("  %4d %10.1f   %6.2f %s\n", B, sides[1].rate / 1e3, peak, bench_verdict(peak, target));
    net_done(&net);
}

int main(int argc, char **argv)
{
    (void)argc;
    bench_alone(argv);
    bench_side limits[] = { bench_fma_peak(), bench_l2_loads() };
    bench_measure(limits, 2);
    double clock = bench_clock_hz(), theory = bench_fma_theory(clock, limits[0].rate);
    printf("limits   clock %.2f GHz; fma %.0f GFLOP/s, %.0f %% of the theoretical %.0f%s; "
           "loads from L2 %.0f GB/s\n",
           clock / 1e9, limits[0].rate / 1e9, 100 * limits[0].rate / theory, theory / 1e9,
           limits[0].rate < 0.9 * theory ? " (under 90 %: take the rest for noise)" : "",
           limits[1].rate / 1e9);
    printf("kernels  %s\n\n", ky_kernels_get()->name);

    printf("LSTM, %d inputs, waves of B out of %d scattered streams\n", FEATURES, STREAMS);
    printf("  %4s %5s %10s   %-15s %-15s %s\n", "H", "B", "k steps/s", "of fma peak", "of L2 loads",
           "times oneDNN");
    for (size_t i = 0; i < sizeof lstm_targets / sizeof *lstm_targets; i++)
        bench_lstm(&lstm_targets[i]);

    printf("\nConv1D net, windows of %d x %d, B at once\n", T, FEATURES);
    printf("  %4s %10s   %s\n", "B", "k/s", "of fma peak");
    bench_net(1, 0);
    bench_net(64, 0.90);
    return 0;
}
