/* memory = window: the state is a ring of the last T samples. */
#include "models/plan_inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 64 };

/* In front of the ring [T,F]. Zeros: nothing seen. */
typedef struct ring {
    int32_t seen; /* samples in it, up to T */
    int32_t head; /* where the next one goes */
    int32_t wait; /* samples since the last answer, < hop */
} ring;

static int plan_window(ky_plan *p, ky_err *err)
{
    const ky_model_info *info = ky_model_facts(p->m);
    int rc;

    p->T = p->T > 0 ? p->T : info->window;
    if (p->T < 1)
        return ky_fail(err, KY_EINVAL,
                       "model '%s' takes any number of steps; memory = window needs window = T",
                       info->name);
    if (p->hop < 1)
        return ky_fail(err, KY_EINVAL, "hop is %d, must be at least 1", p->hop);
    if (!ky_model_fits(p->m, p->T))
        return ky_fail(err, KY_ESHAPE, "window = %d, but model '%s' takes windows of %d steps",
                       p->T, info->name, info->window);
    rc = ky_plan_add_part(p, "", "counters", KY_LINE, err);
    if (rc == KY_OK)
        rc = ky_plan_add_part(p, "", "last samples", (size_t)p->T * p->F * sizeof(float), err);
    return rc < 0 ? ky_context(err, rc, "window = %d", p->T) : KY_OK;
}

static uint64_t layout(const ky_plan *p, uint64_t h)
{
    return ky_plan_hash(ky_plan_hash(h, p->T), p->hop);
}

static bool state_ok(const ky_plan *p, const void *state)
{
    const ring *n = state;
    const float *x = (const float *)(const void *)((const char *)state + KY_LINE);

    if (n->seen < 0 || n->seen > p->T || n->head < 0 || n->head >= p->T || n->wait < 0 ||
        n->wait >= p->hop || (n->seen < p->T && n->head != n->seen))
        return false;
    for (size_t i = 0; i < (size_t)p->T * p->F; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static bool wave(const ky_plan *p, ky_wave *w, int max_rows)
{
    int most = KY_MAX_STATE / (int)p->state_bytes; /* so that the panel stays as small, too */

    most = most < MAX_BATCH ? most : MAX_BATCH;
    w->batch = max_rows < most ? max_rows : most;
    w->x = ky_plan_lines((size_t)w->batch * (size_t)p->T * p->F, sizeof(ky_real));
    w->y = ky_plan_lines((size_t)w->batch * p->outputs, sizeof(ky_real));
    w->work = ky_work_new(p->m, p->T, w->batch);
    return w->x != NULL && w->y != NULL && w->work != NULL;
}

static void wave_done(ky_wave *w)
{
    free(w->y);
    ky_work_free(w->work);
}

/* The sample joins the ring; whether the window is to be answered now. */
static bool put(const ky_plan *p, void *state, const float *x)
{
    ring *n = state;
    float *samples = (float *)(void *)((char *)state + KY_LINE);
    bool first = n->seen == p->T - 1;

    memcpy(samples + (size_t)n->head * p->F, x, p->F * sizeof(*x));
    n->head = n->head + 1 < p->T ? n->head + 1 : 0;
    n->seen += n->seen < p->T;
    if (n->seen < p->T)
        return false;
    n->wait = first || n->wait + 1 == p->hop ? 0 : n->wait + 1;
    return n->wait == 0;
}

/* The last T samples in order, oldest first. */
static void unroll(const ky_plan *p, const void *state, ky_real *to)
{
    const ring *n = state;
    const float *samples = (const float *)(const void *)((const char *)state + KY_LINE);
    size_t from = (size_t)n->head * p->F, all = (size_t)p->T * p->F;

    for (size_t j = from; j < all; j++)
        *to++ = samples[j];
    for (size_t j = 0; j < from; j++)
        *to++ = samples[j];
}

static void step(const ky_plan *p, ky_wave *w, int B, const float *const *x, void *const *state,
                 float *const *y, bool *answered)
{
    size_t window = (size_t)p->T * p->F;
    int due = 0;

    for (int r = 0; r < B; r++) {
        answered[r] = put(p, state[r], x[r]);
        if (answered[r])
            w->row[due++] = r;
    }
    for (int from = 0; from < due; from += w->batch) {
        int n = due - from < w->batch ? due - from : w->batch;

        for (int r = 0; r < n; r++)
            unroll(p, state[w->row[from + r]], w->x + (size_t)r * window);
        ky_model_predict(p->m, w->work, n, p->T, w->x, w->y);
        for (int r = 0; r < n; r++)
            ky_plan_answer(p, w->y + (size_t)r * p->outputs, y[w->row[from + r]]);
    }
}

const ky_plan_kind ky_plan_window = {
    .plan = plan_window,
    .layout = layout,
    .state_ok = state_ok,
    .wave = wave,
    .wave_done = wave_done,
    .step = step,
};
