/* The values that scenarios send, and what a stream alone answers to them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/plan.h"
#include "tests/scenarios/inside.h"

struct ky_inside_model {
    ky_model *m;
    ky_plan *plan;
    ky_wave *wave;
    void *state;
    int window; /* 0: memory = stream */
};

static float value(int i, int f)
{
    if (i == KY_INSIDE_HOT)
        return f % 2 ? -3.4e38f : 3.4e38f;
    return (float)((i * 7 + f * 3) % 11) * 0.25f - 1.0f;
}

int ky_inside_x(char *buf, size_t size, int from, int to)
{
    int len = 0;

    for (int i = from; i <= to; i++) {
        len += snprintf(buf + len, size - (size_t)len, "%s[", i > from ? "," : "");
        for (int f = 0; f < KY_INSIDE_F; f++)
            len += snprintf(buf + len, size - (size_t)len, "%s%.9g", f ? "," : "",
                            (double)value(i, f));
        len += snprintf(buf + len, size - (size_t)len, "]");
        KY_WANT(len < (int)size, "%d samples are too many for a message", to - from + 1);
    }
    return len;
}

static ky_inside_model *model_new(const char *path, const char *arch, uint64_t seed, int window,
                                  int hop)
{
    ky_inside_model *m = calloc(1, sizeof(*m));
    ky_err err;

    ky_scene_model_of(path, arch, KY_INSIDE_F, seed);
    KY_WANT(ky_model_load(path, &m->m, &err) == KY_OK &&
                ky_plan_new(m->m, window > 0 ? KY_MEMORY_WINDOW : KY_MEMORY_STREAM, window, hop,
                            &m->plan, &err) == KY_OK,
            "%s", err.text);
    m->window = window;
    m->wave = ky_wave_new(m->plan, 1);
    m->state = aligned_alloc(64, (ky_plan_state_bytes(m->plan) + 64) / 64 * 64);
    return m;
}

ky_inside_model *ky_inside_model_new(const char *path, const char *arch, uint64_t seed)
{
    return model_new(path, arch != NULL ? arch : KY_SCENE_ARCH, seed, 0, 1);
}

ky_inside_model *ky_inside_window_new(const char *path, const char *arch, uint64_t seed, int window,
                                      int hop)
{
    return model_new(path, arch, seed, window, hop);
}

void ky_inside_model_free(ky_inside_model *m)
{
    ky_wave_free(m->wave);
    ky_plan_free(m->plan);
    ky_model_free(m->m);
    free(m->state);
    free(m);
}

/* Steps a stream from zeros; whether the last step gave an answer. */
static bool step_all(const ky_inside_model *m, const int *values, int n, float y[KY_INSIDE_OUT])
{
    bool answered = false;

    ky_plan_zero(m->plan, m->state);
    for (int i = 0; i < n; i++) {
        float x[KY_INSIDE_F];
        const float *from = x;

        for (int f = 0; f < KY_INSIDE_F; f++)
            x[f] = value(values[i], f);
        ky_plan_step(m->plan, m->wave, 1, &from, &m->state, &y, &answered);
    }
    return answered;
}

static void print_hex(const float y[KY_INSIDE_OUT], char ret[KY_INSIDE_HEX])
{
    for (size_t i = 0; i < KY_INSIDE_OUT * sizeof(*y); i++)
        snprintf(ret + 2 * i, 3, "%02X", ((const unsigned char *)y)[i]);
}

void ky_inside_answer(const ky_inside_model *m, const int *values, int n, char ret[KY_INSIDE_HEX])
{
    float y[KY_INSIDE_OUT] = { 0 };

    step_all(m, values, n, y);
    print_hex(y, ret);
}

bool ky_inside_step(const ky_inside_model *m, const int *values, int n, char ret[KY_INSIDE_HEX],
                    int *ret_best)
{
    float y[KY_INSIDE_OUT] = { 0 }, alone[KY_INSIDE_OUT];
    bool answered = step_all(m, values, n, y);

    ret[0] = '\0';
    if (!ky_plan_state_ok(m->plan, m->state, ky_plan_state_bytes(m->plan)))
        return false;
    for (int j = 0; answered && j < KY_INSIDE_OUT; j++)
        if (!isfinite(y[j]))
            return false;
    if (answered && m->window > 0)
        KY_WANT(step_all(m, values + n - m->window, m->window, alone) &&
                    memcmp(alone, y, sizeof(y)) == 0,
                "the window of the last %d values alone gives another answer", m->window);
    if (answered)
        print_hex(y, ret);
    *ret_best = 0;
    for (int j = 1; j < KY_INSIDE_OUT; j++)
        if (y[j] > y[*ret_best])
            *ret_best = j;
    return true;
}
