/*
 * memory = stream. Every call of the graph is taken once a sample: layers with a memory by
 * their step(), what has none by window() on the newest step. Behind a layer with strides
 * there is not a new step for every sample, so rows leave the wave on the way; what a
 * merging layer joins must have its steps at the same samples.
 */
#include "models/plan_inside.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static ky_flow *flow_of(const ky_plan *p, int tensor)
{
    return &p->flow[p->m->n_inputs + tensor];
}

/* -- planning ---------------------------------------------------------------------- */

/* The least T in [1,KY_MAX_DIM] for which a layer gives n outputs; more if there is none. */
static int64_t steps_for(const ky_layer *l, int n)
{
    int lo = 1, hi = KY_MAX_DIM + 1;

    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;

        if (ky_layer_steps(l, mid) >= n)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* What steps become behind a layer that is stepped. */
static int flow_behind(const ky_layer *l, ky_flow in, ky_flow *ret, ky_err *err)
{
    int64_t first, second;

    *ret = in;
    if (!l->out.timed) /* what an RNN knows so far, from the first step on */
        return KY_OK;
    first = steps_for(l, 1);
    second = steps_for(l, 2);
    if (second == first)
        return ky_fail(err, KY_EUNSUPPORTED, "it gives several steps for one; use memory = window");
    ret->first = in.first + (first - 1) * in.every;
    ret->every = (second - first) * in.every;
    return KY_OK;
}

static const char *tensor_name(const ky_model *m, int tensor)
{
    return tensor < 0 ? m->input_names[KY_INPUT(tensor)] : m->layers[tensor].name;
}

/* All inputs of a merging layer must have their steps at the same samples. */
static int check_merge(const ky_plan *p, const ky_layer *l, ky_err *err)
{
    const ky_model *m = p->m;
    ky_flow a = *flow_of(p, l->from[0]);

    for (int k = 1; k < l->n_in; k++) {
        ky_flow b = *flow_of(p, l->from[k]);
        bool late = b.first > a.first || (b.first == a.first && b.every > a.every);

        if (ky_model_tensor(m, l->from[k])->timed != ky_model_tensor(m, l->from[0])->timed)
            return ky_fail(err, KY_EUNSUPPORTED,
                           "it joins steps with what is known only when all of them are there; "
                           "use memory = window");
        if (b.first != a.first || b.every != a.every)
            return ky_fail(
                err, KY_EUNSUPPORTED,
                "its branches are out of step: '%s' is ahead, with an output at sample %" PRId64
                " and every %" PRId64 ", '%s' at %" PRId64 " and every %" PRId64
                "; use memory = window",
                tensor_name(m, l->from[late ? 0 : k]), (late ? a : b).first, (late ? a : b).every,
                tensor_name(m, l->from[late ? k : 0]), (late ? b : a).first, (late ? b : a).every);
    }
    return KY_OK;
}

/* Why a call that reads steps cannot take them one at a time; NULL: it can. */
static const char *obstacle(const ky_layer *l)
{
    if (l->distributed > 0)
        return NULL;
    if (l->no_step != NULL)
        return l->no_step;
    if (l->form == KY_COLLAPSING || (l->ops->step == NULL && !l->tensor.timed))
        return "it answers on a whole window at once";
    if (l->form == KY_MIXING || (l->ops->step == NULL && l->form != KY_POINTWISE))
        return "it looks at all steps of a window at once";
    return NULL;
}

/* Its outputs end at 1. */
static bool is_bounded(enum ky_activation a)
{
    return a == KY_TANH || a == KY_SIGMOID || a == KY_HARD_SIGMOID_K2 || a == KY_HARD_SIGMOID_K3;
}

/* What the stream remembers for a layer. */
static int add_part(ky_plan *p, const ky_layer *l, ky_err *err)
{
    bool hidden = l->form == KY_RECURRENT;
    int rc;

    if (l->state_reals == 0)
        return KY_OK;
    rc = ky_plan_add_part(p, l->name, hidden ? "hidden state" : "its last inputs",
                          l->state_reals * sizeof(ky_real), err);
    if (rc == KY_OK && hidden) {
        ky_plan_part *part = &p->parts[p->n_parts - 1];

        part->h = ky_shape_step(&l->out);
        part->bounded = is_bounded(l->cfg.activation);
    }
    return rc;
}

static int plan_call(ky_plan *p, int i, ky_err *err)
{
    const ky_model *m = p->m;
    const ky_layer *l = &m->layers[i];
    ky_stream_call *c = &p->call[i];
    ky_flow in = *flow_of(p, l->from[0]), *out = flow_of(p, i);
    bool timed = ky_call_timed(m, i);
    const char *why = timed ? obstacle(l) : NULL;
    int rc = why == NULL ? check_merge(p, l, err)
                         : ky_fail(err, KY_EUNSUPPORTED,
                                   "it has no streaming form: %s; use memory = window", why);

    if (rc < 0)
        return rc;
    *out = in;
    if (!timed || l->distributed > 0 || l->ops->step == NULL)
        return KY_OK;
    c->stepped = true;
    if ((rc = flow_behind(l, in, out, err)) < 0)
        return rc;
    c->sieves = out->first != in.first || out->every != in.every;
    c->at = p->state_bytes;
    return add_part(p, l, err);
}

/* Multiply-adds of a sample: of each call's output, as often as there is one. */
static size_t count_macs(const ky_plan *p)
{
    const ky_model *m = p->m;
    double sum = 0;

    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        int64_t T = p->call[i].stepped && l->out.timed ? steps_for(l, 1) : 1;

        sum += (double)ky_call_macs(m, i, (int)T) / (double)flow_of(p, i)->every;
    }
    return (size_t)(sum + 0.5);
}

static int plan_stream(ky_plan *p, ky_err *err)
{
    const ky_model *m = p->m;
    int *slot = calloc((size_t)m->n_layers + 1, sizeof(*slot)), rc = KY_OK;

    p->call = calloc((size_t)m->n_layers, sizeof(*p->call));
    p->flow = calloc((size_t)(m->n_inputs + m->n_layers), sizeof(*p->flow));
    if (slot == NULL || p->call == NULL || p->flow == NULL)
        rc = ky_fail(err, KY_ENOMEM, "out of memory");
    if (rc == KY_OK)
        *flow_of(p, KY_INPUT(0)) = (ky_flow){ 1, 1 };
    for (int i = 0; rc == KY_OK && i < m->n_layers; i++)
        if ((rc = plan_call(p, i, err)) < 0)
            rc = ky_context(err, rc, "layer '%s' (%s)", m->layers[i].name,
                            m->layers[i].ops->class_name);
    if (rc == KY_OK && (p->n_slots = ky_model_slots(m, NULL, slot)) < 0)
        rc = ky_fail(err, KY_ENOMEM, "out of memory");
    for (int i = 0; rc == KY_OK && i < m->n_layers; i++)
        p->call[i].slot = slot[i];
    free(slot);
    if (rc == KY_OK)
        p->macs = count_macs(p);
    return rc;
}

static uint64_t layout(const ky_plan *p, uint64_t h)
{
    for (int i = 0; i < p->m->n_layers; i++)
        if (p->call[i].stepped && p->m->layers[i].state_reals > 0)
            h = ky_plan_hash_layer(h, &p->m->layers[i]);
    return h;
}

/* -- states ------------------------------------------------------------------------ */

static bool layer_ok(const ky_plan *p, const ky_layer *l, const void *state)
{
    if (l->ops->state_ok != NULL && !l->ops->state_ok(l, state))
        return false;
    return p->m->kernels->finite(l->state_reals,
                                 state); /* counters in range look like tiny reals */
}

static bool state_ok(const ky_plan *p, const void *state)
{
    for (int i = 0; i < p->m->n_layers; i++)
        if (p->call[i].stepped &&
            !layer_ok(p, &p->m->layers[i], (const char *)state + p->call[i].at))
            return false;
    return true;
}

/* -- waves ------------------------------------------------------------------------- */

/* Reals of a row in each slot, and of the scratch; the most inputs of a call. */
static int measure(const ky_plan *p, int max_rows, size_t *wide, size_t *scratch)
{
    const ky_model *m = p->m;
    int most = 1;

    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        size_t reals = ky_shape_step(&l->tensor), n;

        n = p->call[i].stepped ? ky_layer_scratch(l, ky_model_packed(m, i), max_rows, 1, false)
                               : ky_call_scratch(m, i, max_rows, 1);
        *scratch = n > *scratch ? n : *scratch;
        wide[p->call[i].slot] = reals > wide[p->call[i].slot] ? reals : wide[p->call[i].slot];
        most = l->n_in > most ? l->n_in : most;
    }
    return most;
}

/* What belongs to one call: its tensor's place, and lists of its own where it needs them. `ones`:
 * every tensor has one step. */
static bool wave_tensor(const ky_plan *p, ky_wave *w, const int *ones, int i)
{
    const ky_layer *l = &p->m->layers[i];
    ky_wave_tensor *t = &w->of[i];
    size_t rows = (size_t)w->max_rows, mask = ky_call_mask(p->m, i, ones + p->m->n_inputs);

    t->y = w->slot[p->call[i].slot];
    if (p->call[i].sieves && (t->own_at = ky_plan_lines(rows, sizeof(*t->own_at))) == NULL)
        return false;
    if (l->masked && p->call[i].sieves && mask == 0)
        mask = 1;
    return mask == 0 || (t->mask = ky_plan_lines(rows, mask)) != NULL;
}

static bool wave(const ky_plan *p, ky_wave *w, int max_rows)
{
    const ky_model *m = p->m;
    size_t rows = (size_t)max_rows, scratch = 0;
    size_t *wide = calloc((size_t)p->n_slots + 1, sizeof(*wide));
    int *ones = calloc((size_t)(m->n_inputs + m->n_layers), sizeof(*ones));
    int most = wide != NULL ? measure(p, max_rows, wide, &scratch) : 1;
    bool ok;

    w->x = ky_plan_lines(rows * p->F, sizeof(*w->x));
    w->scratch = ky_plan_lines(scratch, sizeof(*w->scratch));
    w->of = calloc((size_t)m->n_layers, sizeof(*w->of));
    w->tensor = calloc((size_t)(m->n_inputs + m->n_layers), sizeof(*w->tensor));
    w->in = calloc((size_t)most, sizeof(*w->in));
    w->slot = calloc((size_t)p->n_slots + 1, sizeof(*w->slot));
    w->emit = ky_plan_lines(rows, sizeof(*w->emit));
    w->state = ky_plan_lines(rows, sizeof(*w->state));
    for (int i = 0; ones != NULL && i < m->n_inputs + m->n_layers; i++)
        ones[i] = 1;
    ok = wide != NULL && ones != NULL && w->x != NULL && w->scratch != NULL && w->of != NULL &&
         w->tensor != NULL && w->in != NULL && w->slot != NULL && w->emit != NULL &&
         w->state != NULL;
    for (int s = 0; ok && s < p->n_slots; s++)
        ok = (w->slot[s] = ky_plan_lines(rows * wide[s], sizeof(ky_real))) != NULL;
    for (int i = 0; ok && i < m->n_layers; i++)
        ok = wave_tensor(p, w, ones, i);
    for (int r = 0; r < max_rows; r++)
        w->row[r] = r;
    free(wide);
    free(ones);
    return ok;
}

static void wave_done(ky_wave *w)
{
    for (int i = 0; w->of != NULL && i < w->p->m->n_layers; i++) {
        free(w->of[i].own_at);
        free(w->of[i].mask);
    }
    for (int s = 0; w->slot != NULL && s < w->p->n_slots; s++)
        free(w->slot[s]);
    free(w->of);
    free(w->tensor);
    free(w->in);
    free(w->slot);
    free(w->emit);
    free(w->state);
}

/* Rows without an output leave; the others close up. `wide`: reals of a row. */
static void close_up(ky_wave *w, ky_wave_tensor *t, const uint8_t *mask, size_t wide)
{
    int left = 0;

    for (int i = 0; i < t->n; i++) {
        if (!w->emit[i])
            continue;
        t->own_at[left] = t->at[i];
        if (t->mask != NULL && mask != NULL)
            t->mask[left] = mask[i];
        if (left != i)
            memcpy(t->y + (size_t)left * wide, t->y + (size_t)i * wide, wide * sizeof(*t->y));
        left++;
    }
    t->n = left;
    t->at = t->own_at;
}

/* A call that is stepped, on the rows of its tensor t. */
static void step_rows(const ky_plan *p, ky_wave *w, int i, void *const *state)
{
    const ky_model *m = p->m;
    const ky_layer *l = &m->layers[i];
    ky_wave_tensor *t = &w->of[i];
    ky_call c = { .B = t->n,
                  .T = 1,
                  .T_out = 1,
                  .scratch = w->scratch,
                  .state = w->state,
                  .in = w->in,
                  .mask_out = l->ops->masking == KY_MASK_MADE ? t->mask : NULL };

    for (int r = 0; r < t->n; r++)
        w->state[r] = (char *)state[t->at[r]] + p->call[i].at;
    l->ops->step(l, m->kernels, ky_model_packed(m, i), m->weights + l->weights_at, &c, w->in[0].x,
                 t->y, w->emit);
    if (p->call[i].sieves)
        close_up(w, t, c.mask_out != NULL ? t->mask : w->in[0].mask, ky_shape_step(&l->out));
}

/* Call i, on the rows that have a new step. */
static void step_call(const ky_plan *p, ky_wave *w, int i, void *const *state)
{
    const ky_layer *l = &p->m->layers[i];
    ky_input *tensor = w->tensor + p->m->n_inputs;
    ky_wave_tensor *t = &w->of[i];

    if (t->n == 0)
        return;
    for (int k = 0; k < l->n_in; k++)
        w->in[k] = tensor[l->from[k]];
    if (p->call[i].stepped)
        step_rows(p, w, i, state);
    else if (!ky_call_is_view(p->m, i))
        ky_model_run_call(p->m, i, t->n, w->in, w->scratch, t->y,
                          l->ops->masking == KY_MASK_MADE ? t->mask : NULL);
    tensor[i] = (ky_input){ .x = t->y, .T = 1 };
    if (l->masked)
        tensor[i].mask = t->mask != NULL ? t->mask : w->in[0].mask;
}

static void step(const ky_plan *p, ky_wave *w, int B, const float *const *x, void *const *state,
                 float *const *y, bool *answered)
{
    const ky_model *m = p->m;
    ky_wave_tensor whole = { .n = B, .at = w->row, .y = w->x };
    const ky_wave_tensor *last = m->outputs[0] < 0 ? &whole : &w->of[m->outputs[0]];

    for (int r = 0; r < B; r++) {
        answered[r] = false;
        for (size_t j = 0; j < p->F; j++)
            w->x[(size_t)r * p->F + j] = x[r][j];
    }
    w->tensor[0] = (ky_input){ .x = w->x, .T = 1 };
    for (int i = 0; i < m->n_layers; i++) {
        int from = m->layers[i].from[0];

        w->of[i].n = from < 0 ? B : w->of[from].n;
        w->of[i].at = from < 0 ? w->row : w->of[from].at;
        step_call(p, w, i, state);
    }
    for (int r = 0; r < last->n; r++) {
        answered[last->at[r]] = true;
        ky_plan_answer(p, last->y + (size_t)r * p->outputs, y[last->at[r]]);
    }
}

const ky_plan_kind ky_plan_stream = {
    .plan = plan_stream,
    .layout = layout,
    .state_ok = state_ok,
    .wave = wave,
    .wave_done = wave_done,
    .step = step,
};
