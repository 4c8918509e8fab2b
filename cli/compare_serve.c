/* What a step costs where a model is served: counted, and measured. */
#include <stdlib.h>

#include "cli/compare.h"
#include "models/clock.h"
#include "models/plan.h"

/* A stream that is stepped alone. */
typedef struct served {
    ky_plan *plan;
    ky_wave *wave;
    void *state;
    float *y;
} served;

enum { MOST_TIMES = 2001, LEAST_TIMES = 15 };

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* Sample after sample of the rows, from the first again behind the last. */
static const float *sample(const ky_dataset *d, size_t i)
{
    size_t T = (size_t)d->T, row = i / T % (size_t)d->N;

    return ky_dataset_row(d, (int)row) + i % T * (size_t)d->F;
}

/* The median of the times of single steps, behind the first window; us. */
static double measure(const served *s, const ky_dataset *d)
{
    static const int64_t enough_ns = 200000000;
    static int64_t times[MOST_TIMES];
    int64_t begun = ky_clock_mono_ns(), before;
    size_t warm = (size_t)d->T + 10;
    int n = 0;

    for (size_t i = 0; n < MOST_TIMES; i++) {
        const float *x = sample(d, i);
        void *state = s->state;
        float *y = s->y;
        bool answered;

        before = ky_clock_mono_ns();
        ky_plan_step(s->plan, s->wave, 1, &x, &state, &y, &answered);
        if (i >= warm)
            times[n++] = ky_clock_mono_ns() - before;
        if (n >= LEAST_TIMES && before - begun > enough_ns)
            break;
    }
    qsort(times, (size_t)n, sizeof *times, compare_times);
    return (double)times[n / 2] * 1e-3;
}

int ky_compare_serve(const ky_comparison *c, ky_entry *e, const ky_model *m, ky_err *err)
{
    const ky_dataset *d = &c->test.set;
    size_t bytes;
    served s = { .plan = NULL };
    int rc = ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, &s.plan, NULL);

    e->stream = rc == KY_OK;
    if (rc == KY_EUNSUPPORTED)
        rc = ky_plan_new(m, KY_MEMORY_WINDOW, d->T, 1, &s.plan, err);
    if (rc < 0)
        return ky_context(err, rc, "%s", e->c->title);
    e->macs = ky_plan_macs(s.plan);
    e->state_bytes = ky_plan_state_bytes(s.plan);
    bytes = (e->state_bytes + 63) / 64 * 64;
    s.wave = ky_wave_new(s.plan, 1);
    s.state = aligned_alloc(64, bytes > 0 ? bytes : 64);
    s.y = malloc((size_t)ky_model_facts(m)->outputs * sizeof *s.y);
    if (s.wave == NULL || s.state == NULL || s.y == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory to step %s", e->c->title);
    if (rc == KY_OK) {
        ky_plan_zero(s.plan, s.state);
        e->latency_us = measure(&s, d);
    }
    ky_wave_free(s.wave);
    free(s.state);
    free(s.y);
    ky_plan_free(s.plan);
    return rc;
}
