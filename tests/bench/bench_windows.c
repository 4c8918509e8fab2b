/*
 * Sliding windows of the Conv1D net: an answer a sample that reuses earlier windows, beside
 * computing each window whole, on the serving path. Streams are at samples of their own, so
 * their waves mix both phases of the pool, and their states are scattered over memory.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/plan.h"
#include "tests/bench/measure.h"

#define FEATURES 9
#define STEPS    128
#define CLASSES  6
#define SCATTER  331 /* no common divisor with any number of streams: i * SCATTER visits all */

static const char arch[] = "conv1d:64x3 relu, conv1d:64x3 relu, maxpool:2, flatten, "
                           "dense:100 relu, dense";

static float uniform(void)
{
    static uint32_t seed = 1;
    seed = seed * 1664525u + 1013904223u;
    return (float)(int32_t)seed * 0x1p-31f;
}

static void *lines(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (p == NULL)
        abort();
    return p;
}

static float *floats(size_t n)
{
    float *x = lines(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = uniform();
    return x;
}

/* Waves of B out of so many streams. */
struct serving {
    const ky_plan *plan;
    ky_wave *wave;
    int B, streams, at;
    char *states;
    float *x, *y;
    const float **xs;
    void **state;
    float **ys;
    bool *answered;
};

static void serving_run(void *arg)
{
    struct serving *s = arg;
    ky_plan_step(s->plan, s->wave, s->B, s->xs + s->at, s->state + s->at, s->ys + s->at,
                 s->answered);
    s->at = (s->at + s->B) % s->streams;
}

static void serving_init(struct serving *s, const ky_plan *plan, int B, int streams)
{
    size_t bytes = ky_plan_state_bytes(plan), n = (size_t)streams;
    *s = (struct serving){ .plan = plan, .B = B, .streams = streams };
    s->wave = ky_wave_new(plan, B);
    s->states = lines(n * bytes);
    s->x = floats(n * FEATURES);
    s->y = floats(n * CLASSES);
    s->xs = lines(n * sizeof *s->xs);
    s->state = lines(n * sizeof *s->state);
    s->ys = lines(n * sizeof *s->ys);
    s->answered = lines((size_t)B * sizeof *s->answered);
    for (size_t i = 0; i < n; i++) {
        s->xs[i] = s->x + i * FEATURES;
        s->ys[i] = s->y + i * CLASSES;
        s->state[i] = s->states + i * SCATTER % n * bytes;
        ky_plan_zero(plan, s->state[i]);
    }
    for (size_t i = 0; i < n; i++) {
        bool answered;
        for (size_t t = 0; t < STEPS + i % 7; t++)
            ky_plan_step(plan, s->wave, 1, &s->xs[(i + t) % n], &s->state[i], &s->ys[i], &answered);
    }
}

static void serving_done(struct serving *s)
{
    ky_wave_free(s->wave);
    free(s->states), free(s->x), free(s->y), free(s->xs), free(s->state), free(s->ys);
    free(s->answered);
}

/* Whole windows, B at once. */
struct windows {
    const ky_model *m;
    ky_work *work;
    int B;
    float *x, *y;
};

static void windows_run(void *arg)
{
    struct windows *w = arg;
    ky_model_predict(w->m, w->work, w->B, STEPS, w->x, w->y);
}

static void bench(const ky_model *m, int hop, int B, int streams, double target)
{
    struct windows w = { .m = m, .work = ky_work_new(m, STEPS, B), .B = B };
    struct serving s;
    ky_plan *plan;
    ky_err err;
    if (w.work == NULL || ky_plan_new(m, KY_MEMORY_WINDOW, STEPS, hop, &plan, &err) < 0)
        abort();
    w.x = floats((size_t)B * STEPS * FEATURES);
    w.y = floats((size_t)B * CLASSES);
    serving_init(&s, plan, B, streams);
    bench_side sides[] = { bench_fma_peak(),
                           { windows_run, &w, B, 0 },
                           { serving_run, &s, (double)B / hop, 0 } };
    bench_measure(sides, 3);
    double flops = 2.0 * (double)ky_plan_macs(plan);
    double peak = sides[2].rate * flops / sides[0].rate;
    printf("  %4d %4d %8d %9zu %10.1f %10.1f %8.2f   %6.2f %s\n", hop, B, streams,
           ky_plan_macs(plan) / 1000, sides[1].rate / 1e3, sides[2].rate / 1e3,
           sides[2].rate / sides[1].rate, peak, bench_verdict(peak, target));
    serving_done(&s);
    ky_plan_free(plan);
    ky_work_free(w.work);
    free(w.x), free(w.y);
}

int main(int argc, char **argv)
{
    const ky_shape input = { .rank = 2, .d = { STEPS, FEATURES }, .timed = true };
    ky_model *m;
    ky_err err;
    (void)argc;
    bench_alone(argv);
    if (ky_arch_build(arch, &input, CLASSES, false, &m, &err) < 0)
        abort();
    ky_model_init(m, 1);
    if (ky_model_pack(m, &err) < 0)
        abort();
    printf("\"%s\", windows of %d x %d, kernels %s\n", arch, STEPS, FEATURES,
           ky_kernels_get()->name);
    printf("  %4s %4s %8s %9s %10s %10s %8s   %s\n", "hop", "B", "streams", "k macs", "whole k/s",
           "reused k/s", "times", "of fma peak");
    /* 2.8 and 5.5 times the best peer's whole window (NUMBERS.md), as shares of the peak there. */
    bench(m, 1, 1, 1, 0.19);
    bench(m, 1, 64, 64, 0.70);
    bench(m, 1, 1, 1024, 0);
    bench(m, 1, 64, 1024, 0);
    bench(m, 2, 64, 64, 0);
    bench(m, 64, 64, 64, 0);
    ky_model_free(m);
    return 0;
}
