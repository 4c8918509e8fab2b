/*
 * The kernels beside the machine's limits and oneDNN: LSTM and GRU steps of streams whose states
 * lie anywhere, functions of one number, depthwise products. Then whole models: steps along the
 * serving path, windows of the Conv1D net, images. ONNX Runtime: tests/bench/peers/.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/plan.h"
#include "tests/bench/measure.h"
#include "tests/bench/onednn.h"

#define FEATURES 9
#define STREAMS  1024
#define SCATTER  331 /* no common divisor with STREAMS: i * SCATTER visits all */
#define T        128
#define CLASSES  6

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
    for (size_t i = 0; i < STREAMS; i++)
        w->state[i] = w->states + i * SCATTER % STREAMS * 2 * (size_t)H;
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

/* -- GRU ----------------------------------------------------------------------------- */

struct gru_waves {
    ky_gru_mat *m;
    int B, at;
    float *x, *scratch, *state[STREAMS];
};

static void gru_wave(void *arg)
{
    struct gru_waves *w = arg;
    ky_kernels_get()->gru(w->m, w->B, w->x + (size_t)w->at * FEATURES, FEATURES, w->state + w->at,
                          w->scratch);
    w->at = (w->at + w->B) % STREAMS;
}

static void bench_gru(int H, int B, bool reset_after)
{
    float scale = 1 / sqrtf((float)H);
    float *W = floats((size_t)FEATURES * 3 * H, scale), *U = floats((size_t)H * 3 * H, scale);
    float *b = floats((size_t)6 * H, scale), *states = floats((size_t)STREAMS * H, 0);
    struct gru_waves w = { .B = B, .x = floats((size_t)STREAMS * FEATURES, 1) };
    w.m = ky_kernels_get()->gru_new(FEATURES, H, reset_after, W, U, b);
    if (w.m == NULL)
        abort();
    w.scratch = floats(ky_gru_scratch(w.m), 0);
    for (size_t i = 0; i < STREAMS; i++)
        w.state[i] = states + i * SCATTER % STREAMS * (size_t)H;
    double weights = 3.0 * H * (FEATURES + H);
    bench_side sides[] = { bench_fma_peak(), bench_l2_loads(), { gru_wave, &w, B, 0 } };
    bench_measure(sides, 3);
    double rate = sides[2].rate;
    printf("  %4d %5d  %-6s %10.0f   %6.2f", H, B, reset_after ? "after" : "before", rate / 1e3,
           rate * (2 * weights + 6 * H) / sides[0].rate);
    if (B == 1)
        printf("          %6.2f", rate * weights * sizeof(float) / sides[1].rate);
    printf("\n");
    ky_kernels_get()->gru_free(w.m);
    free(W), free(U), free(b), free(states), free(w.x), free(w.scratch);
}

/* -- functions of one number, depthwise ------------------------------------------------ */

struct numbers {
    enum ky_activation act;
    float *x, *y;
};
#define NUMBERS 4096

static void activate(void *arg)
{
    struct numbers *n = arg;
    ky_kernels_get()->activate(n->act, n->x, n->y, NUMBERS);
}

static void bench_activations(void)
{
    static const struct {
        enum ky_activation act;
        const char *name;
    } acts[] = { { KY_SIGMOID, "sigmoid" }, { KY_TANH, "tanh" }, { KY_EXPONENTIAL, "exponential" },
                 { KY_ELU, "elu" },         { KY_GELU, "gelu" }, { KY_SOFTPLUS, "softplus" },
                 { KY_SILU, "silu" },       { KY_MISH, "mish" } };
    struct numbers n = { .x = floats(NUMBERS, 4), .y = floats(NUMBERS, 0) };
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        n.act = acts[i].act;
        bench_side sides[] = { bench_fma_peak(), { activate, &n, NUMBERS, 0 } };
        bench_measure(sides, 2);
        /* An fma counts as two flops: how many fit into the time of one number. */
        printf("  %-12s %6.2f  %6.1f\n", acts[i].name, sides[1].rate / 1e9,
               sides[0].rate / 2 / sides[1].rate);
    }
    free(n.x), free(n.y);
}

/* Images of SIDE x SIDE under filters of 3 x 3. */
#define SIDE 28
struct depthwise {
    int C, M;
    float *w, *b, *x, *y;
};

static void depthwise(void *arg)
{
    struct depthwise *d = arg;
    int C = d->C;
    const ky_run runs[] = { { 0, 0, 3 }, { SIDE * C, 3, 3 }, { 2 * SIDE * C, 6, 3 } };
    for (int row = 0; row < SIDE - 2; row++)
        ky_kernels_get()->depthwise(C, d->M, 3, runs, d->w, d->b, SIDE - 2,
                                    d->x + (size_t)row * SIDE * C, C,
                                    d->y + (size_t)row * SIDE * C * d->M, C * d->M, KY_RELU);
}

static void bench_depthwise(int C, int M)
{
    size_t pixels = (size_t)SIDE * SIDE * C;
    struct depthwise d = { C,
                           M,
                           floats(9 * (size_t)C * M, 1),
                           floats((size_t)C * M, 1),
                           floats(pixels, 1),
                           floats(pixels * M, 0) };
    double flops = 2.0 * 9 * (SIDE - 2) * (SIDE - 2) * C * M;
    bench_side sides[] = { bench_fma_peak(), { depthwise, &d, flops, 0 } };
    bench_measure(sides, 2);
    printf("  %4d %10d  %8.1f  %6.2f\n", C, M, sides[1].rate / 1e9, sides[1].rate / sides[0].rate);
    free(d.w), free(d.b), free(d.x), free(d.y);
}

/* -- models --------------------------------------------------------------------------- */

/* A model of random weights for steps of FEATURES values and CLASSES classes. */
static ky_model *model_of(const char *arch, int steps)
{
    const ky_shape input = { .rank = 2, .d = { steps, FEATURES }, .timed = true };
    ky_model *m;
    ky_err err;
    if (ky_arch_build(arch, &input, CLASSES, false, &m, &err) < 0) {
        fprintf(stderr, "bench: %s\n", err.text);
        exit(1);
    }
    ky_model_init(m, 1);
    if (ky_model_pack(m, &err) < 0)
        abort();
    return m;
}

static void finish(ky_model *m)
{
    ky_err err;
    if (ky_model_finish(m, &err) < 0)
        abort();
    ky_model_init(m, 1);
    if (ky_model_pack(m, &err) < 0)
        abort();
}

static void add(ky_model *m, const char *class_name, const ky_layer_config *set)
{
    ky_layer l;
    ky_err err;
    ky_layer_init(&l, ky_layer_find(class_name), "");
    l.cfg.units = set->units;
    l.cfg.filters = set->filters;
    if (set->kernel_size[0] > 0)
        memcpy(l.cfg.kernel_size, set->kernel_size, sizeof set->kernel_size);
    l.cfg.activation = set->activation;
    if (ky_model_add(m, &l, &err) < 0) {
        fprintf(stderr, "bench: %s\n", err.text);
        exit(1);
    }
}

/* conv 32 3x3, pool, conv 64 3x3, pool, dense 128, dense 10 for images of 28 x 28 */
static ky_model *images_model(void)
{
    const ky_shape input = { .rank = 3, .d = { SIDE, SIDE, 1 } };
    const ky_layer_config none = { 0 };
    ky_model *m;
    ky_err err;
    if (ky_model_new("images", &input, &m, &err) < 0)
        abort();
    add(m, "Conv2D",
        &(ky_layer_config){ .filters = 32, .kernel_size = { 3, 3 }, .activation = KY_RELU });
    add(m, "MaxPooling2D", &none);
    add(m, "Conv2D",
        &(ky_layer_config){ .filters = 64, .kernel_size = { 3, 3 }, .activation = KY_RELU });
    add(m, "MaxPooling2D", &none);
    add(m, "Flatten", &none);
    add(m, "Dense", &(ky_layer_config){ .units = 128, .activation = KY_RELU });
    add(m, "Dense", &(ky_layer_config){ .units = 10, .activation = KY_SOFTMAX });
    finish(m);
    return m;
}

/* Whole windows or images, B at once. */
struct windows {
    ky_model *m;
    ky_work *work;
    int B, steps;
    float *x, *y;
};

static void windows_run(void *arg)
{
    struct windows *w = arg;
    ky_model_predict(w->m, w->work, w->B, w->steps, w->x, w->y);
}

/* Takes the model over. `values` of a row. */
static void bench_windows(ky_model *m, int steps, size_t values, int B, double target)
{
    struct windows w = { .m = m, .B = B, .steps = steps };
    w.work = ky_work_new(w.m, steps, B);
    if (w.work == NULL)
        abort();
    w.x = floats((size_t)B * values, 1);
    w.y = floats((size_t)B * (size_t)ky_model_facts(m)->outputs, 0);
    double flops = 2.0 * (double)ky_model_facts(w.m)->macs_window;
    bench_side sides[] = { bench_fma_peak(), { windows_run, &w, B, 0 } };
    bench_measure(sides, 2);
    double peak = sides[1].rate * flops / sides[0].rate;
    printf("  %4d %10.1f   %6.2f %s\n", B, sides[1].rate / 1e3, peak, bench_verdict(peak, target));
    ky_work_free(w.work);
    ky_model_free(w.m);
    free(w.x), free(w.y);
}

/* Steps of a model along the serving path: waves of B out of STREAMS scattered streams. */
struct serving {
    ky_model *m;
    ky_plan *plan;
    ky_wave *wave;
    int B, at;
    char *states;
    float *x, *y;
    const float *xs[STREAMS];
    void *state[STREAMS];
    float *ys[STREAMS];
    bool answered[STREAMS];
};

static void serving_init(struct serving *s, const char *arch, int B)
{
    ky_err err;
    *s = (struct serving){ .m = model_of(arch, KY_ANY), .B = B };
    if (ky_plan_new(s->m, KY_MEMORY_STREAM, 0, 1, &s->plan, &err) < 0)
        abort();
    size_t bytes = ky_plan_state_bytes(s->plan);
    s->wave = ky_wave_new(s->plan, B);
    s->states = aligned_alloc(64, STREAMS * bytes);
    if (s->wave == NULL || s->states == NULL)
        abort();
    s->x = floats((size_t)STREAMS * FEATURES, 1);
    s->y = floats((size_t)STREAMS * CLASSES, 0);
    for (size_t i = 0; i < STREAMS; i++) {
        s->xs[i] = s->x + i * FEATURES;
        s->ys[i] = s->y + i * CLASSES;
        s->state[i] = s->states + i * SCATTER % STREAMS * bytes;
        ky_plan_zero(s->plan, s->state[i]);
    }
}

static void serving_done(struct serving *s)
{
    ky_wave_free(s->wave);
    ky_plan_free(s->plan);
    ky_model_free(s->m);
    free(s->states), free(s->x), free(s->y);
}

static void serving_run(void *arg)
{
    struct serving *s = arg;
    ky_plan_step(s->plan, s->wave, s->B, s->xs + s->at, s->state + s->at, s->ys + s->at,
                 s->answered);
    s->at = (s->at + s->B) % STREAMS;
}

/* The whole model beside its LSTM kernel alone. */
static void bench_serving(int H, int B)
{
    char arch[32];
    snprintf(arch, sizeof arch, "lstm:%d, dense", H);
    struct serving s;
    struct waves w;
    serving_init(&s, arch, B);
    waves_init(&w, H, B);
    double flops = 2.0 * (double)ky_model_facts(s.m)->macs_step;
    bench_side sides[] = { bench_fma_peak(), { serving_run, &s, B, 0 }, { kymo_wave, &w, B, 0 } };
    bench_measure(sides, 3);
    printf("  %4d %5d %10.0f   %6.2f          %6.2f\n", H, B, sides[1].rate / 1e3,
           sides[1].rate * flops / sides[0].rate, sides[1].rate / sides[2].rate);
    serving_done(&s);
    waves_done(&w);
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

    printf("\nGRU, %d inputs, likewise; the reset gate before or after the product\n", FEATURES);
    printf("  %4s %5s  %-6s %10s   %-15s %s\n", "H", "B", "reset", "k steps/s", "of fma peak",
           "of L2 loads");
    for (int H = 32; H <= 128; H *= 2) {
        bench_gru(H, 1, true);
        bench_gru(H, 256, true);
    }
    bench_gru(64, 256, false);

    printf("\nfunctions of one number\n  %-12s %6s  %s\n", "", "G/s", "fma in the time");
    bench_activations();

    printf("\ndepthwise 3 x 3 on %d x %d\n  %4s %10s  %8s  %s\n", SIDE, SIDE, "C", "multiplier",
           "GFLOP/s", "of fma peak");
    bench_depthwise(32, 1);
    bench_depthwise(128, 1);
    bench_depthwise(32, 2);

    printf("\nmodel \"lstm:H, dense\" step by step, waves of B out of %d scattered streams\n",
           STREAMS);
    printf("  %4s %5s %10s   %-15s %s\n", "H", "B", "k steps/s", "of fma peak", "of its kernel");
    for (int B = 1; B <= STREAMS; B = B == 256 ? STREAMS : B * 16)
        bench_serving(64, B);

    static const char conv[] = "conv1d:64x3 relu, conv1d:64x3 relu, maxpool:2, flatten, "
                               "dense:100 relu, dense";
    printf("\nmodel \"%s\", windows of %d x %d, B at once\n", conv, T, FEATURES);
    printf("  %4s %10s   %s\n", "B", "k/s", "of fma peak");
    bench_windows(model_of(conv, T), T, T * FEATURES, 1, 0);
    bench_windows(model_of(conv, T), T, T * FEATURES, 64, 0.90);

    printf("\nthe 28 x 28 CNN [conv 32 3x3, pool, conv 64 3x3, pool, dense 128, dense 10]\n");
    printf("  %4s %10s   %s\n", "B", "k/s", "of fma peak");
    bench_windows(images_model(), 1, SIDE * SIDE, 1, 0);
    bench_windows(images_model(), 1, SIDE * SIDE, 32, 0);
    return 0;
}
