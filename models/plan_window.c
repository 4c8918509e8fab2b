/*
 * memory = window. Layers that treat every step alike (pointwise ones) or look at a few
 * neighbours (local ones with taps) are run column by column, and what two windows have in
 * common is computed once: struct ky_column says how. Where a layer is neither, columns end:
 * from there on the model runs on whole windows, put together from what was kept.
 *
 * What a causal or same padding reaches differs from window to window and is computed for each:
 * the edges. Sums over a window are never carried along.
 */
#include "models/plan_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- which calls are kept ------------------------------------------------------------ */

/* Whether call i can be run on some of its columns. */
static bool goes_by_columns(const ky_model *m, int i)
{
    const ky_layer *l = &m->layers[i];

    if (!l->tensor.timed || l->masked || l->n_masked > 0)
        return false;
    if (l->distributed > 0)
        return true;
    return l->in.timed && (l->form == KY_LOCAL ? l->ops->taps != NULL
                                               : l->form == KY_POINTWISE && l->no_step == NULL);
}

static int gcd(int a, int b)
{
    while (b != 0) {
        int rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* Inner columns of call i: all that it reads are inner columns of its inputs. */
static void find_inner(const ky_plan *p, int i)
{
    const ky_layer *l = &p->m->layers[i];
    ky_column *c = ky_plan_column(p, i);
    ky_taps t = p->taps[i];

    c->first = 0;
    c->end = c->T;
    for (int k = 0; k < l->n_in; k++) {
        const ky_column *in = ky_plan_column(p, l->from[k]);
        int room = in->end - t.first - t.span;
        int first = in->first > t.first ? (in->first - t.first + t.stride - 1) / t.stride : 0;
        int end = room < 0 ? 0 : room / t.stride + 1;

        c->first = first > c->first ? first : c->first;
        c->end = end < c->end ? end : c->end;
    }
}

/* Whether the inputs of call i are kept and go side by side. */
static bool inputs_kept(const ky_plan *p, int i)
{
    const ky_layer *l = &p->m->layers[i];
    const ky_column *a = ky_plan_column(p, l->from[0]);

    for (int k = 0; k < l->n_in; k++) {
        const ky_column *b = ky_plan_column(p, l->from[k]);

        if (!b->kept || b->T != a->T || b->P != a->P)
            return false;
    }
    return true;
}

/* Decides whether call i is kept: it must leave something of a window to the next. */
static void decide(ky_plan *p, int i)
{
    const ky_layer *l = &p->m->layers[i];
    const ky_column *in = ky_plan_column(p, l->from[0]);
    ky_column *c = ky_plan_column(p, i);
    int64_t P;

    if (!goes_by_columns(p->m, i) || !inputs_kept(p, i))
        return;
    p->taps[i] =
        l->distributed == 0 && l->form == KY_LOCAL ? l->ops->taps(l, in->T) : (ky_taps){ 1, 0, 1 };
    P = (int64_t)in->P * p->taps[i].stride;
    if (P >= p->T)
        return;
    c->P = (int)P;
    c->wide = ky_shape_step(&l->tensor);
    c->spacing = gcd(p->hop, c->P);
    c->phases = c->P / c->spacing;
    c->fresh = p->hop / c->spacing;
    find_inner(p, i);
    c->kept = c->fresh < c->end - c->first;
}

/* Keeping is worth its memory where it saves multiply-adds, in front of it or behind it: an
 * embedding before an LSTM is not kept. False: out of memory. */
static bool drop_worthless(ky_plan *p)
{
    const ky_model *m = p->m;
    bool *worth = calloc((size_t)(m->n_inputs + m->n_layers), sizeof(*worth));
    bool *of = worth != NULL ? worth + m->n_inputs : NULL;

    for (int i = 0; of != NULL && i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];

        of[i] = ky_call_macs(m, i, ky_plan_column(p, l->from[0])->T) > 0;
        for (int k = 0; k < l->n_in; k++)
            of[i] |= l->from[k] >= 0 && of[l->from[k]];
        of[i] &= ky_plan_column(p, i)->kept;
    }
    for (int i = m->n_layers - 1; of != NULL && i >= 0; i--) {
        for (int k = 0; of[i] && k < m->layers[i].n_in; k++)
            of[m->layers[i].from[k]] = true;
        ky_plan_column(p, i)->kept &= of[i];
    }
    free(worth);
    return of != NULL;
}

/* -- how far back they are read ------------------------------------------------------- */

ky_stretch ky_plan_reads(const ky_plan *p, int i, int o0, int o1)
{
    const ky_taps *t = &p->taps[i];
    int T = ky_plan_column(p, p->m->layers[i].from[0])->T;
    int i0 = o0 * t->stride + t->first, i1 = (o1 - 1) * t->stride + t->first + t->span;

    i0 = i0 > 0 ? i0 : 0;
    i1 = i1 < T ? i1 : T;
    return (ky_stretch){ i0 < i1 ? i0 : i1, i1 > 0 ? i1 : 0, o0, o1 };
}

int ky_plan_lag(const ky_plan *p, int i, int k, int back)
{
    const ky_taps *t = &p->taps[i];
    const ky_column *c = ky_plan_column(p, i), *in = ky_plan_column(p, p->m->layers[i].from[k]);
    int last = (c->end - 1) * t->stride + t->first + t->span - 1; /* input column of the newest */

    return ((in->end - 1 - last) * in->P + back * c->spacing) / in->spacing;
}

static void need(ky_column *c, int keys)
{
    c->cap = keys > c->cap ? keys : c->cap;
}

/* Of a window's columns [s.i0,s.i1), the inner ones must be at hand, if s asks for any output. */
static void need_columns(ky_column *c, ky_stretch s)
{
    int oldest = s.i0 > c->first ? s.i0 : c->first;

    if (s.o0 < s.o1 && oldest < c->end && oldest < s.i1)
        need(c, (c->end - 1 - oldest) * c->phases + 1);
}

/* What call i reads of its inputs: for its fresh keys, and at the edges of a window. */
static void need_inputs(const ky_plan *p, int i)
{
    const ky_layer *l = &p->m->layers[i];
    const ky_column *c = ky_plan_column(p, i);

    for (int k = 0; k < l->n_in; k++) {
        ky_column *in = ky_plan_column(p, l->from[k]);

        need(in, ky_plan_lag(p, i, k, c->fresh - 1) + (p->taps[i].span - 1) * in->phases + 1);
        need_columns(in, ky_plan_reads(p, i, 0, c->first));
        need_columns(in, ky_plan_reads(p, i, c->end, c->T));
    }
}

/* Whether the rest of the model reads a tensor. */
static bool read_whole(const ky_plan *p, int tensor)
{
    const ky_model *m = p->m;

    for (int i = 0; i < m->n_layers; i++)
        for (int k = 0; !ky_plan_column(p, i)->kept && k < m->layers[i].n_in; k++)
            if (m->layers[i].from[k] == tensor)
                return true;
    return m->outputs[0] == tensor;
}

/* A kept tensor's place: in the state if it is read at a later tick than it was computed. */
static int place(ky_plan *p, int tensor, ky_err *err)
{
    ky_column *c = ky_plan_column(p, tensor);
    int rc;

    if (!c->kept)
        return KY_OK;
    c->whole = read_whole(p, tensor);
    if (c->whole)
        need_columns(c, (ky_stretch){ 0, c->T, 0, c->T });
    c->stored = tensor < 0 || c->cap > c->fresh;
    if (!c->stored)
        c->cap = c->fresh;
    c->cap = (c->cap + c->phases - 1) / c->phases * c->phases;
    if (!c->stored)
        return KY_OK;
    p->rings |= tensor >= 0;
    c->at = p->state_bytes;
    if ((size_t)c->cap > KY_MAX_STATE / c->wide)
        rc = ky_fail(err, KY_EFULL, "each stream would keep %d times %zu values", c->cap, c->wide);
    else
        rc = ky_plan_add_part(p, tensor < 0 ? "" : p->m->layers[tensor].name,
                              tensor < 0 ? "last samples" : "last columns",
                              (size_t)c->cap * c->wide * sizeof(ky_real), err);
    return rc;
}

/* Everything that is kept gets its place; p->column knows what is. */
static int place_all(ky_plan *p, ky_err *err)
{
    int rc;

    p->rings = false;
    p->n_parts = 0;
    p->state_bytes = 0;
    for (int i = -1; i < p->m->n_layers; i++)
        ky_plan_column(p, i)->cap = 0;
    ky_plan_column(p, KY_INPUT(0))->cap = 1;
    for (int i = 0; i < p->m->n_layers; i++)
        if (ky_plan_column(p, i)->kept)
            need_inputs(p, i);
    rc = ky_plan_add_part(p, "", "samples seen", sizeof(uint64_t), err);
    for (int i = -1; rc == KY_OK && i < p->m->n_layers; i++)
        rc = place(p, i, err);
    return rc;
}

/* -- what it costs ------------------------------------------------------------------- */

/* Multiply-adds of call i for one window, and for what a hop adds to it. */
static void count_macs(ky_plan *p, int i)
{
    const ky_layer *l = &p->m->layers[i];
    const ky_column *c = ky_plan_column(p, i), *from = ky_plan_column(p, l->from[0]);
    size_t macs = ky_call_macs(p->m, i, from->T);

    p->macs_whole += macs;
    p->macs += c->kept ? macs / (size_t)c->T * (size_t)ky_plan_new_columns(c) : macs;
}

/* What becomes of each call in the rest of the model. */
static void set_forms(ky_plan *p)
{
    for (int i = 0; i < p->m->n_layers; i++) {
        const ky_column *c = ky_plan_column(p, i);

        p->form[i] = !c->kept ? KY_RUN_CALL : c->whole ? KY_RUN_GIVEN : KY_RUN_NOT;
        count_macs(p, i);
    }
}

/* -- the plan ------------------------------------------------------------------------ */

static int check(ky_plan *p, ky_err *err)
{
    const ky_model_info *info = ky_model_facts(p->m);

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
    return KY_OK;
}

/* Columns of every tensor, and of the input as the first that is kept. */
static int start(ky_plan *p, ky_err *err)
{
    const ky_model *m = p->m;
    size_t n = (size_t)(m->n_inputs + m->n_layers);
    int *steps = calloc(n, sizeof(*steps));
    bool ok;

    p->column = calloc(n, sizeof(*p->column));
    p->taps = calloc((size_t)m->n_layers, sizeof(*p->taps));
    p->form = calloc((size_t)m->n_layers, sizeof(*p->form));
    ok = steps != NULL && p->column != NULL && p->taps != NULL && p->form != NULL;
    if (ok)
        ky_model_steps(m, p->T, steps);
    for (size_t i = 0; ok && i < n; i++)
        p->column[i] = (ky_column){ .T = steps[i] };
    free(steps);
    if (!ok)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    *ky_plan_column(p, KY_INPUT(0)) = (ky_column){ .kept = true,
                                                   .T = p->T,
                                                   .P = 1,
                                                   .end = p->T,
                                                   .spacing = 1,
                                                   .phases = 1,
                                                   .fresh = p->hop,
                                                   .wide = p->F };
    return KY_OK;
}

static void keep_nothing(ky_plan *p, const char *why)
{
    for (int i = 0; i < p->m->n_layers; i++)
        ky_plan_column(p, i)->kept = false;
    snprintf(p->why, sizeof(p->why), "%s", why);
}

/* Why nothing is kept, if so. `could`: something could have been, but to no purpose. */
static void explain(ky_plan *p, bool could)
{
    const ky_model *m = p->m;
    bool by_columns = false;

    for (int i = 0; i < m->n_layers; i++) {
        if (ky_plan_column(p, i)->kept)
            return;
        by_columns |= goes_by_columns(m, i) && m->layers[i].from[0] < 0;
    }
    if (p->hop >= p->T)
        keep_nothing(p, "windows do not overlap");
    else if (could)
        keep_nothing(p, "what comes before the first layer on whole windows costs nothing");
    else if (by_columns)
        keep_nothing(p, "between two windows nothing is left that their edges do not reach");
    else
        keep_nothing(p, "the first layer looks at whole windows");
}

static int plan_window(ky_plan *p, ky_err *err)
{
    int rc = check(p, err);
    bool could = false;

    if (rc < 0 || (rc = start(p, err)) < 0)
        return rc;
    for (int i = 0; i < p->m->n_layers; i++)
        decide(p, i);
    for (int i = 0; i < p->m->n_layers; i++)
        could |= ky_plan_column(p, i)->kept;
    if (!drop_worthless(p))
        return ky_fail(err, KY_ENOMEM, "out of memory");
    explain(p, could);
    if ((rc = place_all(p, err)) == KY_EFULL && p->why[0] == '\0') {
        keep_nothing(p, "a stream would keep too much");
        rc = place_all(p, err);
    }
    if (rc < 0)
        return ky_context(err, rc, "window = %d", p->T);
    set_forms(p);
    return KY_OK;
}

/* Columns are what these weights and this arithmetic made of the samples. */
static uint64_t layout(const ky_plan *p, uint64_t h)
{
    h = ky_plan_hash(ky_plan_hash(h, p->T), p->hop);
    if (p->rings) {
        h = ky_plan_hash(h, KY_KERNEL_ABI);
        h = ky_hash(h, &p->m->info.hash, sizeof(p->m->info.hash));
    }
    return h;
}

/* Where a ring stands follows from the samples seen, so there is no other counter. */
static bool state_ok(const ky_plan *p, const void *state)
{
    uint64_t seen;

    memcpy(&seen, state, sizeof(seen));
    if (seen > INT64_MAX / 2)
        return false;
    for (int i = -1; i < p->m->n_layers; i++) {
        const ky_column *c = ky_plan_column(p, i);
        const ky_real *v = (const ky_real *)(const void *)((const char *)state + c->at);

        if (c->stored && !p->m->kernels->finite((size_t)c->cap * c->wide, v))
            return false;
    }
    return true;
}

const ky_plan_kind ky_plan_window = {
    .plan = plan_window,
    .layout = layout,
    .state_ok = state_ok,
    .wave = ky_plan_window_wave,
    .wave_done = ky_plan_window_wave_done,
    .step = ky_plan_window_step,
};
