#include "models/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/layer_tools.h"

enum { LINE = 64, LAYOUT_VERSION = 1, MAX_BATCH = 64, MAX_STATE = 1 << 26 };

struct ky_plan {
    const ky_model *m;
    enum ky_memory memory;
    int T, hop; /* memory = window */
    size_t F, outputs;
    size_t *at; /* [n_layers] where a layer's state begins, bytes; memory = stream */
    size_t state_bytes;
    size_t width; /* of the widest layer, reals a step */
    uint64_t layout;
};

/* memory = window: in front of the ring [T,F]. Zeros: nothing seen. */
typedef struct ring {
    int32_t seen; /* samples in it, up to T */
    int32_t head; /* where the next one goes */
    int32_t wait; /* samples since the last answer, < hop */
} ring;

struct ky_wave {
    int max_rows;
    int *row;       /* the streams still in the wave, by their place in it */
    bool *emit;     /* which of them the layer gave an output for */
    void **state;   /* [max_rows] their states of one layer */
    ky_real *a, *b; /* [max_rows,width] before and after a layer; window: panel, answers */
    ky_real *scratch;
    ky_work *work; /* memory = window: for batches of MAX_BATCH windows */
    int batch;
};

static size_t line_up(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

/* -- planning -------------------------------------------------------------------- */

static int plan_stream(ky_plan *p, ky_err *err)
{
    const ky_model *m = p->m;

    if (!ky_model_is_chain(m))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "model '%s' is no chain of layers; use memory = window", m->name);
    p->width = p->F;
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        size_t wide = ky_shape_step(&l->tensor);

        if (l->no_step != NULL)
            return ky_fail(err, KY_EUNSUPPORTED,
                           "layer '%s' (%s) has no streaming form: %s; use memory = window",
                           l->name, l->ops->class_name, l->no_step);
        p->at[i] = p->state_bytes;
        p->state_bytes += line_up(l->state_reals * sizeof(ky_real));
        p->width = wide > p->width ? wide : p->width;
    }
    if (p->state_bytes == 0) /* pointwise layers only: a state, if an empty one */
        p->state_bytes = LINE;
    return KY_OK;
}

static int plan_window(ky_plan *p, int window, int hop, ky_err *err)
{
    const ky_model_info *info = ky_model_facts(p->m);

    p->T = window > 0 ? window : info->window;
    p->hop = hop;
    if (p->T < 1)
        return ky_fail(err, KY_EINVAL,
                       "model '%s' takes any number of steps; memory = window needs window = T",
                       info->name);
    if (hop < 1)
        return ky_fail(err, KY_EINVAL, "hop is %d, must be at least 1", hop);
    if (!ky_model_fits(p->m, p->T))
        return ky_fail(err, KY_ESHAPE, "window = %d, but model '%s' takes windows of %d steps",
                       p->T, info->name, info->window);
    p->state_bytes = LINE + line_up((size_t)p->T * p->F * sizeof(float));
    if (p->state_bytes > MAX_STATE)
        return ky_fail(err, KY_EFULL, "window = %d: each stream would keep %zu bytes, at most %d",
                       p->T, p->state_bytes, MAX_STATE);
    return KY_OK;
}

static uint64_t hash_int(uint64_t h, int64_t v)
{
    return ky_hash(h, &v, sizeof(v));
}

/* Of all that says what the bytes of a state mean; the weights are not among it. */
static uint64_t hash_layout(const ky_plan *p)
{
    uint64_t h = hash_int(KY_HASH0, LAYOUT_VERSION);

    h = hash_int(h, p->memory);
    h = hash_int(h, (int64_t)p->F);
    if (p->memory == KY_MEMORY_WINDOW)
        return hash_int(hash_int(h, p->T), p->hop);
    for (int i = 0; i < p->m->n_layers; i++) {
        const ky_layer *l = &p->m->layers[i];

        if (l->state_reals == 0)
            continue;
        h = ky_hash(h, l->ops->class_name, strlen(l->ops->class_name) + 1);
        h = hash_int(h, (int64_t)p->at[i]);
        for (const ky_field *f = l->ops->fields; f->key != NULL; f++)
            for (int k = 0; k < ky_field_len(f, &l->cfg); k++)
                if (f->type == KY_F_INT || f->type == KY_F_PADDING)
                    h = hash_int(h, (int64_t)ky_field_get(f, &l->cfg, k));
    }
    return h;
}

int ky_plan_new(const ky_model *m, enum ky_memory memory, int window, int hop, ky_plan **ret,
                ky_err *err)
{
    ky_plan *p = calloc(1, sizeof(*p));
    int rc = KY_OK;

    if (p == NULL || (p->at = calloc((size_t)m->n_layers, sizeof(*p->at))) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "out of memory");
    if (rc == KY_OK && (m->n_inputs != 1 || m->n_outputs != 1))
        rc = ky_fail(err, KY_EUNSUPPORTED,
                     "model '%s' has %d inputs and %d outputs; a stream has one of each", m->name,
                     m->n_inputs, m->n_outputs);
    if (rc == KY_OK) {
        p->m = m;
        p->memory = memory;
        p->F = (size_t)ky_model_facts(m)->features;
        p->outputs = (size_t)ky_model_facts(m)->outputs;
        rc = memory == KY_MEMORY_STREAM ? plan_stream(p, err) : plan_window(p, window, hop, err);
    }
    if (rc < 0) {
        ky_plan_free(p);
        return rc;
    }
    p->layout = hash_layout(p);
    *ret = p;
    return KY_OK;
}

void ky_plan_free(ky_plan *p)
{
    if (p == NULL)
        return;
    free(p->at);
    free(p);
}

size_t ky_plan_state_bytes(const ky_plan *p)
{
    return p->state_bytes;
}

uint64_t ky_plan_layout(const ky_plan *p)
{
    return p->layout;
}

/* -- states ---------------------------------------------------------------------- */

void ky_plan_zero(const ky_plan *p, void *state)
{
    memset(state, 0, p->state_bytes);
}

static bool window_ok(const ky_plan *p, const void *state)
{
    const ring *n = state;
    const float *x = (const float *)(const void *)((const char *)state + LINE);

    if (n->seen < 0 || n->seen > p->T || n->head < 0 || n->head >= p->T || n->wait < 0 ||
        n->wait >= p->hop || (n->seen < p->T && n->head != n->seen))
        return false;
    for (size_t i = 0; i < (size_t)p->T * p->F; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static bool layer_ok(const ky_layer *l, const void *state)
{
    const ky_real *v = state;

    if (l->ops->state_ok != NULL && !l->ops->state_ok(l, state))
        return false;
    for (size_t i = 0; i < l->state_reals; i++) /* counters in range look like tiny reals */
        if (!isfinite(v[i]))
            return false;
    return true;
}

bool ky_plan_state_ok(const ky_plan *p, const void *state, size_t bytes)
{
    if (bytes != p->state_bytes)
        return false;
    if (p->memory == KY_MEMORY_WINDOW)
        return window_ok(p, state);
    for (int i = 0; i < p->m->n_layers; i++)
        if (!layer_ok(&p->m->layers[i], (const char *)state + p->at[i]))
            return false;
    return true;
}

/* -- waves ----------------------------------------------------------------------- */

static void *lines(size_t n, size_t size)
{
    size_t bytes;

    return ky_size_mul(n, size, &bytes) < 0 ? NULL : aligned_alloc(LINE, line_up(bytes + 1));
}

static bool wave_for_stream(const ky_plan *p, ky_wave *w)
{
    size_t rows = (size_t)w->max_rows, most = 0;

    for (int i = 0; i < p->m->n_layers; i++) {
        size_t n = ky_layer_scratch(&p->m->layers[i], &p->m->packed[i], w->max_rows, 1, false);

        most = n > most ? n : most;
    }
    w->a = lines(rows * p->width, sizeof(ky_real));
    w->b = lines(rows * p->width, sizeof(ky_real));
    w->scratch = lines(most, sizeof(ky_real));
    return w->a != NULL && w->b != NULL && w->scratch != NULL;
}

static bool wave_for_window(const ky_plan *p, ky_wave *w)
{
    int most = MAX_STATE / (int)p->state_bytes; /* so that the panel stays as small, too */

    most = most < MAX_BATCH ? most : MAX_BATCH;
    w->batch = w->max_rows < most ? w->max_rows : most;
    w->a = lines((size_t)w->batch * (size_t)p->T * p->F, sizeof(ky_real));
    w->b = lines((size_t)w->batch * p->outputs, sizeof(ky_real));
    w->work = ky_work_new(p->m, p->T, w->batch);
    return w->a != NULL && w->b != NULL && w->work != NULL;
}

ky_wave *ky_wave_new(const ky_plan *p, int max_rows)
{
    ky_wave *w = max_rows > 0 ? calloc(1, sizeof(*w)) : NULL;
    bool ok;

    if (w == NULL)
        return NULL;
    w->max_rows = max_rows;
    w->row = lines((size_t)max_rows, sizeof(*w->row));
    w->emit = lines((size_t)max_rows, sizeof(*w->emit));
    w->state = lines((size_t)max_rows, sizeof(*w->state));
    ok = p->memory == KY_MEMORY_STREAM ? wave_for_stream(p, w) : wave_for_window(p, w);
    if (w->row == NULL || w->emit == NULL || w->state == NULL || !ok) {
        ky_wave_free(w);
        return NULL;
    }
    return w;
}

void ky_wave_free(ky_wave *w)
{
    if (w == NULL)
        return;
    free(w->row);
    free(w->emit);
    free(w->state);
    free(w->a);
    free(w->b);
    free(w->scratch);
    ky_work_free(w->work);
    free(w);
}

/* Rows without an output leave the wave; the others close up. Returns how many are left. */
static int close_up(ky_wave *w, int n, ky_real *y, size_t wide)
{
    int left = 0;

    for (int i = 0; i < n; i++) {
        if (!w->emit[i])
            continue;
        if (left != i) {
            w->row[left] = w->row[i];
            memcpy(y + (size_t)left * wide, y + (size_t)i * wide, wide * sizeof(*y));
        }
        left++;
    }
    return left;
}

/* One layer on the n rows of w->a, into w->b; returns how many rows go on. */
static int step_layer(const ky_plan *p, ky_wave *w, int i, int n, void *const *state)
{
    const ky_model *m = p->m;
    const ky_layer *l = &m->layers[i];
    const ky_real *weights = m->weights + l->weights_at;
    ky_call c = { .B = n, .T = 1, .T_out = 1, .scratch = w->scratch, .state = w->state };

    if (l->ops->step == NULL) {
        c.state = NULL;
        l->ops->window(l, m->kernels, &m->packed[i], weights, &c, w->a, w->b);
        return n;
    }
    for (int r = 0; r < n; r++)
        w->state[r] = (char *)state[w->row[r]] + p->at[i];
    l->ops->step(l, m->kernels, &m->packed[i], weights, &c, w->a, w->b, w->emit);
    return close_up(w, n, w->b, ky_shape_step(&l->out));
}

static void answer(const ky_plan *p, const ky_real *from, float *to)
{
    for (size_t j = 0; j < p->outputs; j++)
        to[j] = (float)from[j];
}

static void step_stream(const ky_plan *p, ky_wave *w, int B, const float *const *x,
                        void *const *state, float *const *y, bool *answered)
{
    int n = B;

    for (int r = 0; r < B; r++) {
        w->row[r] = r;
        answered[r] = false;
        for (size_t j = 0; j < p->F; j++)
            w->a[(size_t)r * p->F + j] = x[r][j];
    }
    for (int i = 0; i < p->m->n_layers && n > 0; i++) {
        ky_real *out = w->b;

        n = step_layer(p, w, i, n, state);
        w->b = w->a;
        w->a = out;
    }
    for (int r = 0; r < n; r++) {
        answered[w->row[r]] = true;
        answer(p, w->a + (size_t)r * p->outputs, y[w->row[r]]);
    }
}

/* The sample joins the ring; whether the window is to be answered now. */
static bool put(const ky_plan *p, void *state, const float *x)
{
    ring *n = state;
    float *samples = (float *)(void *)((char *)state + LINE);
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
    const float *samples = (const float *)(const void *)((const char *)state + LINE);
    size_t from = (size_t)n->head * p->F, all = (size_t)p->T * p->F;

    for (size_t j = from; j < all; j++)
        *to++ = samples[j];
    for (size_t j = 0; j < from; j++)
        *to++ = samples[j];
}

static void step_window(const ky_plan *p, ky_wave *w, int B, const float *const *x,
                        void *const *state, float *const *y, bool *answered)
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
            unroll(p, state[w->row[from + r]], w->a + (size_t)r * window);
        ky_model_predict(p->m, w->work, n, p->T, w->a, w->b);
        for (int r = 0; r < n; r++)
            answer(p, w->b + (size_t)r * p->outputs, y[w->row[from + r]]);
    }
}

void ky_plan_step(const ky_plan *p, ky_wave *w, int B, const float *const *x, void *const *state,
                  float *const *y, bool *answered)
{
    if (p->memory == KY_MEMORY_STREAM)
        step_stream(p, w, B, x, state, y, answered);
    else
        step_window(p, w, B, x, state, y, answered);
}

/* -- self test ------------------------------------------------------------------- */

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

static bool trial_new(trial *t, const ky_plan *p)
{
    size_t n;
    ky_rng rng;

    *t = (trial){ .p = p };
    t->steps = p->memory == KY_MEMORY_STREAM ? first_answer(p->m) + PREFIX
               : p->hop < p->T               ? p->T + p->hop
                                             : p->T + 1;
    n = (size_t)t->steps * p->F;
    t->wave = ky_wave_new(p, STREAMS);
    t->x = lines(STREAMS * n, sizeof(*t->x));
    t->window = lines(n, sizeof(*t->window));
    t->want = lines(p->outputs, sizeof(*t->want));
    t->y = lines(STREAMS * p->outputs, sizeof(*t->y));
    t->state = lines(STREAMS, p->state_bytes);
    if (t->wave == NULL || t->x == NULL || t->window == NULL || t->want == NULL || t->y == NULL ||
        t->state == NULL)
        return false;
    ky_rng_seed(&rng, 1);
    for (size_t i = 0; i < STREAMS * n; i++)
        t->x[i] = (float)ky_rng_normal(&rng);
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
