#include "models/plan_inside.h"

#include <stdlib.h>
#include <string.h>

enum { LAYOUT_VERSION = 2 };

static const ky_plan_kind *kind(const ky_plan *p)
{
    return p->memory == KY_MEMORY_STREAM ? &ky_plan_stream : &ky_plan_window;
}

/* -- for both kinds ---------------------------------------------------------------- */

size_t ky_plan_line_up(size_t bytes)
{
    return (bytes + KY_LINE - 1) / KY_LINE * KY_LINE;
}

void *ky_plan_lines(size_t n, size_t size)
{
    size_t bytes;

    return ky_size_mul(n, size, &bytes) < 0 ? NULL
                                            : aligned_alloc(KY_LINE, ky_plan_line_up(bytes + 1));
}

int ky_plan_add_part(ky_plan *p, const char *layer, const char *what, size_t bytes, ky_err *err)
{
    ky_plan_part *parts = ky_grow(p->parts, (size_t)p->n_parts, sizeof(*parts));

    if (parts == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    p->parts = parts;
    parts[p->n_parts++] =
        (ky_plan_part){ .layer = layer, .what = what, .at = p->state_bytes, .bytes = bytes };
    if (bytes > KY_MAX_STATE || p->state_bytes + bytes > KY_MAX_STATE)
        return ky_fail(err, KY_EFULL, "each stream would keep %zu bytes, at most %d",
                       p->state_bytes + bytes, KY_MAX_STATE);
    p->state_bytes += ky_plan_line_up(bytes);
    return KY_OK;
}

uint64_t ky_plan_hash(uint64_t h, int64_t v)
{
    return ky_hash(h, &v, sizeof(v));
}

uint64_t ky_plan_hash_layer(uint64_t h, const ky_layer *l)
{
    h = ky_hash(h, l->ops->class_name, strlen(l->ops->class_name) + 1);
    for (int i = 0; i < l->in.rank; i++)
        h = ky_plan_hash(h, i == 0 && l->in.timed ? 0 : l->in.d[i]);
    for (const ky_field *f = l->ops->fields; f->key != NULL; f++)
        for (int k = 0; f->type != KY_F_FLOAT && k < ky_field_len(f, &l->cfg); k++)
            h = ky_plan_hash(h, (int64_t)ky_field_get(f, &l->cfg, k));
    for (int i = 0; i < l->n_inner; i++)
        h = ky_plan_hash_layer(h, &l->inner[i]);
    return h;
}

void ky_plan_answer(const ky_plan *p, const ky_real *from, float *to)
{
    for (size_t j = 0; j < p->outputs; j++)
        to[j] = (float)from[j];
}

/* -- plans ------------------------------------------------------------------------- */

/* Of all that says what the bytes of a state mean. */
static uint64_t hash_layout(const ky_plan *p)
{
    uint64_t h = ky_plan_hash(KY_HASH0, LAYOUT_VERSION);

    h = ky_plan_hash(h, p->memory);
    h = ky_plan_hash(h, sizeof(ky_real));
    h = ky_plan_hash(h, (int64_t)p->F);
    for (int i = 0; i < p->n_parts; i++) {
        h = ky_plan_hash(h, (int64_t)p->parts[i].at);
        h = ky_plan_hash(h, (int64_t)p->parts[i].bytes);
    }
    return kind(p)->layout(p, h);
}

static int plan(ky_plan *p, ky_err *err)
{
    const ky_model *m = p->m;
    int rc;

    if (m->n_inputs != 1 || m->n_outputs != 1)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "model '%s' has %d inputs and %d outputs; a stream has one of each", m->name,
                       m->n_inputs, m->n_outputs);
    if ((rc = kind(p)->plan(p, err)) < 0)
        return rc;
    if (p->state_bytes == 0) /* nothing to remember: a state, if an empty one */
        p->state_bytes = KY_LINE;
    p->layout = hash_layout(p);
    return KY_OK;
}

int ky_plan_new(const ky_model *m, enum ky_memory memory, int window, int hop, ky_plan **ret,
                ky_err *err)
{
    ky_plan *p = calloc(1, sizeof(*p));
    int rc;

    if (p == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    p->m = m;
    p->memory = memory;
    p->T = window;
    p->hop = hop;
    p->F = (size_t)ky_model_facts(m)->features;
    p->outputs = (size_t)ky_model_facts(m)->outputs;
    if ((rc = plan(p, err)) < 0) {
        ky_plan_free(p);
        return rc;
    }
    *ret = p;
    return KY_OK;
}

void ky_plan_free(ky_plan *p)
{
    if (p == NULL)
        return;
    free(p->parts);
    free(p->call);
    free(p->flow);
    free(p->column);
    free(p->taps);
    free(p->form);
    free(p);
}

/* Samples that one step of a tensor depends on, 0 if there is no bound, and from one step of it to
 * the next. */
typedef struct reach {
    int64_t samples, stride;
} reach;

/* Of call i, behind those of the tensors it reads: of[t] is tensor t's. */
static reach reach_behind(const ky_model *m, int i, const reach *of)
{
    const ky_layer *l = &m->layers[i];
    bool local = l->form == KY_LOCAL && l->distributed == 0;
    ky_taps t = { 1, 0, 1 };
    reach r = { 0, 1 };

    if (!l->tensor.timed || (local && l->ops->taps == NULL) ||
        (!local && l->form != KY_POINTWISE && l->distributed == 0))
        return r;
    if (local)
        t = l->ops->taps(l, 1);
    for (int k = 0; k < l->n_in; k++) {
        const reach *in = &of[l->from[k]];
        int64_t samples = in->samples + (int64_t)(t.span - 1) * in->stride;

        if (in->samples == 0 || samples > KY_MAX_DIM || in->stride * t.stride > KY_MAX_DIM)
            return (reach){ 0, 1 };
        r.samples = samples > r.samples ? samples : r.samples;
        r.stride = in->stride * t.stride;
    }
    return r;
}

int ky_plan_reach(const ky_model *m, int *samples)
{
    reach *of = calloc((size_t)(m->n_inputs + m->n_layers), sizeof(*of));

    if (of == NULL)
        return KY_ENOMEM;
    for (int k = 0; k < m->n_inputs; k++)
        of[m->n_inputs + KY_INPUT(k)] = (reach){ m->inputs[k].timed, 1 };
    for (int i = 0; i < m->n_layers; i++) {
        of[m->n_inputs + i] = reach_behind(m, i, of + m->n_inputs);
        samples[i] = (int)of[m->n_inputs + i].samples;
    }
    free(of);
    return KY_OK;
}

size_t ky_plan_state_bytes(const ky_plan *p)
{
    return p->state_bytes;
}

int ky_plan_parts(const ky_plan *p, const ky_plan_part **ret)
{
    *ret = p->parts;
    return p->n_parts;
}

size_t ky_plan_macs(const ky_plan *p)
{
    return p->macs;
}

size_t ky_plan_macs_whole(const ky_plan *p)
{
    return p->macs_whole;
}

bool ky_plan_columns(const ky_plan *p, int i, int *ret_new, int *ret_all)
{
    const ky_column *c = p->column != NULL ? ky_plan_column(p, i) : NULL;

    if (c == NULL || !c->kept)
        return false;
    *ret_new = ky_plan_new_columns(c);
    *ret_all = c->T;
    return true;
}

const char *ky_plan_why_whole(const ky_plan *p)
{
    return p->why[0] != '\0' ? p->why : NULL;
}

uint64_t ky_plan_layout(const ky_plan *p)
{
    return p->layout;
}

void ky_plan_zero(const ky_plan *p, void *state)
{
    memset(state, 0, p->state_bytes);
}

bool ky_plan_state_ok(const ky_plan *p, const void *state, size_t bytes)
{
    return bytes == p->state_bytes && kind(p)->state_ok(p, state);
}

/* -- waves ------------------------------------------------------------------------- */

ky_wave *ky_wave_new(const ky_plan *p, int max_rows)
{
    ky_wave *w = max_rows > 0 ? calloc(1, sizeof(*w)) : NULL;

    if (w == NULL)
        return NULL;
    w->p = p;
    w->max_rows = max_rows;
    w->row = ky_plan_lines((size_t)max_rows, sizeof(*w->row));
    if (w->row == NULL || !kind(p)->wave(p, w, max_rows)) {
        ky_wave_free(w);
        return NULL;
    }
    return w;
}

void ky_wave_free(ky_wave *w)
{
    if (w == NULL)
        return;
    kind(w->p)->wave_done(w);
    free(w->row);
    free(w->x);
    free(w->scratch);
    free(w);
}

void ky_plan_step(const ky_plan *p, ky_wave *w, int B, const float *const *x, void *const *state,
                  float *const *y, bool *answered)
{
    kind(p)->step(p, w, B, x, state, y, answered);
}
