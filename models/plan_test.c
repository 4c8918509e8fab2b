/* A plan proves its promises on random data: P1 and P3 by answers that are those of whole
 * sequences or windows, P2 by waves of streams that are at different samples. */
#include "models/plan_inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STREAMS = 4, PREFIX = 24 };

/* A trial run: STREAMS streams, each joining one step after the other. */
typedef struct trial {
    const ky_plan *p;
    int steps;
    ky_wave *wave;
    ky_work *work;   /* for one window or prefix */
    float *x;        /* [STREAMS,steps,F] */
    ky_real *window; /* [steps,F] as ky_model_predict takes it */
    ky_real *want;   /* [outputs] */
    float *y;        /* [STREAMS,outputs] */
    char *state;     /* [STREAMS,state_bytes] */
} trial;

/* Samples until a stream's first answer, as far as a trial wants to wait for it. */
static int first_answer(const ky_model *m)
{
    int T = 1;

    while (T < 512 && !ky_model_fits(m, T))
        T++;
    return T;
}

/* Values as the model's input may have them: normal, or the numbers of words. */
static void draw(const ky_model *m, float *x, size_t n)
{
    int words = 0;
    ky_rng rng;

    ky_rng_seed(&rng, 1);
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].from[0] < 0 && strcmp(m->layers[i].ops->class_name, "Embedding") == 0 &&
            (words == 0 || m->layers[i].cfg.input_dim < words))
            words = m->layers[i].cfg.input_dim;
    for (size_t i = 0; i < n; i++)
        x[i] = words > 0 ? (float)ky_rng_below(&rng, (uint64_t)words) : (float)ky_rng_normal(&rng);
}

/* Hops of a trial: that every phase of kept columns comes up, within reason. */
static int hops(const ky_plan *p)
{
    enum { ENOUGH = 8 };
    int most = 1;

    for (int i = 0; i < p->m->n_layers; i++) {
        const ky_column *c = ky_plan_column(p, i);

        most = c->kept && c->phases > most ? c->phases : most;
    }
    return most < ENOUGH ? most : ENOUGH;
}

static bool trial_new(trial *t, const ky_plan *p)
{
    size_t n;

    *t = (trial){ .p = p };
    t->steps = p->memory == KY_MEMORY_STREAM ? first_answer(p->m) + PREFIX
               : p->hop < p->T               ? p->T + p->hop * hops(p)
                                             : p->T + 1;
    n = (size_t)t->steps * p->F;
    t->wave = ky_wave_new(p, STREAMS);
    t->x = ky_plan_lines(STREAMS * n, sizeof(*t->x));
    t->window = ky_plan_lines(n, sizeof(*t->window));
    t->want = ky_plan_lines(p->outputs, sizeof(*t->want));
    t->y = ky_plan_lines(STREAMS * p->outputs, sizeof(*t->y));
    t->state = ky_plan_lines(STREAMS, p->state_bytes);
    if (t->wave == NULL || t->x == NULL || t->window == NULL || t->want == NULL || t->y == NULL ||
        t->state == NULL)
        return false;
    draw(p->m, t->x, STREAMS * n);
    for (int s = 0; s < STREAMS; s++)
        ky_plan_zero(p, t->state + (size_t)s * p->state_bytes);
    return true;
}

static void trial_done(trial *t)
{
    ky_wave_free(t->wave);
    ky_work_free(t->work);
    free(t->x);
    free(t->window);
    free(t->want);
    free(t->y);
    free(t->state);
}

/* What ky_model_predict says, alone, about stream s after its sample i. */
static bool trial_check(trial *t, int s, int i)
{
    const ky_plan *p = t->p;
    bool window = p->memory == KY_MEMORY_WINDOW;
    int T = window ? p->T : p->m->inputs[0].timed ? i + 1 : 1; /* without time: each alone */
    const float *x = t->x + ((size_t)s * (size_t)t->steps + (size_t)(i + 1 - T)) * p->F;
    const float *y = t->y + (size_t)s * p->outputs;

    ky_work_free(t->work);
    t->work = ky_work_new(p->m, T, 1);
    if (t->work == NULL)
        return false;
    for (size_t j = 0; j < (size_t)T * p->F; j++)
        t->window[j] = x[j];
    ky_model_predict(p->m, t->work, 1, T, t->window, t->want);
    for (size_t j = 0; j < p->outputs; j++) {
        float want = (float)t->want[j];

        if (!isfinite(want) || memcmp(&want, &y[j], sizeof(want)) != 0)
            return false;
    }
    return true;
}

/* One wave of the trial: stream s is at its sample now - s. */
static int trial_wave(trial *t, int now, ky_err *err)
{
    const ky_plan *p = t->p;
    const float *x[STREAMS];
    float *y[STREAMS];
    void *state[STREAMS];
    bool answered[STREAMS];
    int who[STREAMS], B = 0;

    for (int s = 0; s < STREAMS; s++) {
        if (now - s < 0 || now - s >= t->steps)
            continue;
        x[B] = t->x + ((size_t)s * (size_t)t->steps + (size_t)(now - s)) * p->F;
        y[B] = t->y + (size_t)s * p->outputs;
        state[B] = t->state + (size_t)s * p->state_bytes;
        who[B++] = s;
    }
    ky_plan_step(p, t->wave, B, x, state, y, answered);
    for (int r = 0; r < B; r++)
        if (answered[r] && !trial_check(t, who[r], now - who[r]))
            return ky_fail(err, KY_ECORRUPT,
                           "model '%s' with kernels %s: step %d in a wave of %d does not give the "
                           "finite bits of its whole sequence alone",
                           p->m->name, p->m->kernels->name, now - who[r] + 1, B);
    return KY_OK;
}

int ky_plan_selftest(const ky_plan *p, ky_err *err)
{
    trial t;
    int rc = KY_OK;

    if (!trial_new(&t, p))
        rc = ky_fail(err, KY_ENOMEM, "out of memory");
    for (int now = 0; rc == KY_OK && now < t.steps + STREAMS - 1; now++)
        rc = trial_wave(&t, now, err);
    trial_done(&t);
    return rc;
}
