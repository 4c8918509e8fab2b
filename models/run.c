/*
 * Whole windows through the graph. Tensors live in slots of memory that are used again as
 * soon as nobody will read them, so a chain of any length takes two.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/layer_tools.h"

struct ky_work {
    int T, max_rows, n_layers;
    const enum ky_run_form *form; /* [n_layers], NULL: all calls run */
    int n_slots;
    int *slot_of;     /* [n_layers] where a call's tensor lives */
    int *steps;       /* [n_inputs+n_layers] of every tensor in the run: inputs first */
    ky_real **slots;  /* [n_slots] */
    uint8_t **masks;  /* [n_layers] of calls that make one, else NULL */
    ky_input *tensor; /* [n_inputs+n_layers] while a model runs: inputs first */
    ky_input *in;     /* [most inputs of a call] */
    ky_real *scratch;
    int head, head_rows; /* calls before `head` run on head_rows rows at a time; 0: none */
    ky_real *near[2];    /* their tensors, by turns */
};

/*
 * The first calls of a chain run on a few rows at a time, so that what goes from one to the next
 * stays in the processor's cache; up to a layer whose weights would not, or which steps through
 * time and wants all rows at once.
 */
enum { NEAR_REALS = 1 << 16, MANY_WEIGHTS = 1 << 16 };

static ky_real *reals(size_t n)
{
    return aligned_alloc(64, ky_lines(n + 1) * sizeof(ky_real));
}

int ky_call_steps(const ky_model *m, int i, const int *T)
{
    const ky_layer *l = &m->layers[i];
    int B, steps, first = T[l->from[0]];

    ky_layer_fold(l, ky_model_tensor(m, l->from[0]), 1, first, &B, &steps);
    if (l->ops->join == NULL)
        steps = ky_layer_steps(l, steps);
    else
        steps = l->ops->join(l, 0, 0, first);
    for (int k = 1; l->ops->join != NULL && k < l->n_in && steps > 0; k++)
        steps = l->ops->join(l, k, steps, T[l->from[k]]);
    if (steps < 1)
        return steps;
    return !l->tensor.timed ? 1 : l->distributed > 0 ? first : steps;
}

bool ky_call_timed(const ky_model *m, int i)
{
    const ky_layer *l = &m->layers[i];

    for (int k = 0; k < l->n_in; k++)
        if (ky_model_tensor(m, l->from[k])->timed)
            return true;
    return false;
}

size_t ky_call_scratch(const ky_model *m, int i, int B, int T)
{
    const ky_layer *l = &m->layers[i];
    int steps;

    ky_layer_fold(l, ky_model_tensor(m, l->from[0]), B, T, &B, &steps);
    return ky_layer_scratch(l, ky_model_packed(m, i), B, steps, false);
}

void ky_model_run_call(const ky_model *m, int i, int B, const ky_input *in, ky_real *scratch,
                       ky_real *y, uint8_t *mask)
{
    const ky_layer *l = &m->layers[i];
    ky_call c = { .scratch = scratch, .in = l->distributed > 0 ? NULL : in, .mask_out = mask };

    ky_layer_fold(l, ky_model_tensor(m, l->from[0]), B, in[0].T, &c.B, &c.T);
    c.T_out = l->ops->join != NULL ? ky_layer_join(l, in) : ky_layer_steps(l, c.T);
    l->ops->window(l, m->kernels, ky_model_packed(m, i), m->weights + l->weights_at, &c, in[0].x,
                   y);
}

int ky_model_time(const ky_model *m)
{
    int first = -1;

    for (int k = m->n_inputs - 1; k >= 0; k--)
        if (m->inputs[k].timed &&
            (first < 0 || m->inputs[k].d[0] == KY_ANY || m->inputs[first].d[0] != KY_ANY))
            first = k;
    return first;
}

/* Steps that input k has in a run of T; 1 without time. */
static int input_steps(const ky_model *m, int k, int T)
{
    const ky_shape *s = &m->inputs[k];

    return !s->timed ? 1 : s->d[0] == KY_ANY || k == ky_model_time(m) ? T : s->d[0];
}

/* Reals of one row of a tensor with T steps. */
static size_t row_reals(const ky_shape *s, int T)
{
    return (size_t)T * ky_shape_step(s);
}

bool ky_model_steps(const ky_model *m, int T, int *all)
{
    int *steps = all + m->n_inputs;

    if (T < 1 || T > KY_MAX_DIM || (T != 1 && ky_model_time(m) < 0))
        return false;
    for (int k = 0; k < m->n_inputs; k++)
        steps[KY_INPUT(k)] = input_steps(m, k, T);
    for (int i = 0; i < m->n_layers; i++)
        if ((steps[i] = ky_call_steps(m, i, steps)) < 1)
            return false;
    return true;
}

static int *new_steps(const ky_model *m)
{
    return calloc((size_t)m->n_inputs + (size_t)m->n_layers, sizeof(int));
}

bool ky_model_fits(const ky_model *m, int T)
{
    int *steps = new_steps(m);
    bool fits = steps != NULL && ky_model_steps(m, T, steps);

    free(steps);
    return fits;
}

bool ky_call_is_view(const ky_model *m, int i)
{
    const ky_layer *l = &m->layers[i];

    return l->ops->view && l->from[0] >= 0 && !l->masked && l->n_masked == 0;
}

/* The last call that reads each call's tensor, or what is only another view of it, into
 * last[n_layers]; n_layers for the outputs. */
static void last_readers(const ky_model *m, int *last)
{
    for (int i = 0; i < m->n_layers; i++)
        last[i] = i;
    for (int k = 0; k < m->n_outputs; k++)
        if (m->outputs[k] >= 0)
            last[m->outputs[k]] = m->n_layers;
    for (int i = m->n_layers - 1; i >= 0; i--) {
        int end = ky_call_is_view(m, i) ? last[i] : i;

        for (int k = 0; k < m->layers[i].n_in; k++) {
            int from = m->layers[i].from[k];

            if (from >= 0 && last[from] < end)
                last[from] = end;
        }
    }
}

/* Whether max_rows rows of a tensor can be counted and held. */
static int check_rows(int max_rows, const ky_shape *s, int T, size_t *ret)
{
    return ky_size_mul((size_t)max_rows, row_reals(s, T), ret) < 0 || *ret > KY_MAX_REALS * 8 ||
                   (size_t)max_rows * (size_t)T > INT_MAX
               ? KY_EFULL
               : KY_OK;
}

/* A slot nobody reads any more when call i writes; or a new one. until[s]: its last reader. */
static int take_slot(const int *until, int *n, int i)
{
    for (int s = 0; s < *n; s++)
        if (until[s] < i)
            return s;
    return (*n)++;
}

int ky_model_slots(const ky_model *m, const enum ky_run_form *form, int *slot_of)
{
    int *until = calloc((size_t)m->n_layers + 1, 2 * sizeof(*until)), n = 0;
    int *last = until + m->n_layers;

    if (until == NULL)
        return KY_ENOMEM;
    last_readers(m, last);
    for (int i = 0; form != NULL && i < m->n_layers; i++)
        if (form[i] == KY_RUN_GIVEN) { /* there from the start */
            until[n] = last[i];
            slot_of[i] = n++;
        }
    for (int i = 0; i < m->n_layers; i++) {
        if (form != NULL && form[i] != KY_RUN_CALL)
            continue;
        if (ky_call_is_view(m, i)) {
            slot_of[i] = slot_of[m->layers[i].from[0]];
            continue;
        }
        slot_of[i] = take_slot(until, &n, i);
        until[slot_of[i]] = last[i];
    }
    free(until);
    return n;
}

static int give_slots(const ky_model *m, ky_work *w, size_t *size)
{
    const int *steps = w->steps + m->n_inputs;

    int n_slots = ky_model_slots(m, w->form, w->slot_of);

    w->n_slots = n_slots > 0 ? n_slots : 0;
    if (n_slots < 0)
        return n_slots;
    for (int i = 0; i < m->n_layers; i++) {
        int s = w->slot_of[i];
        size_t n;

        if (w->form != NULL && w->form[i] == KY_RUN_NOT)
            continue;
        if (check_rows(w->max_rows, &m->layers[i].tensor, steps[i], &n) < 0)
            return KY_EFULL;
        size[s] = n > size[s] ? n : size[s];
    }
    return KY_OK;
}

size_t ky_call_mask(const ky_model *m, int i, const int *T)
{
    const ky_layer *l = &m->layers[i];

    if (!l->masked || l->ops->masking != KY_MASK_MADE || l->distributed > 0)
        return 0;
    return (size_t)(l->tensor.timed ? T[i]
                                    : l->tensor.d[0]); /* without time, there are steps in it */
}

/* Room for every tensor, mask and scratch of runs of w->T steps. */
static int give_memory(const ky_model *m, ky_work *w, size_t *size)
{
    const int *steps = w->steps + m->n_inputs;
    size_t scratch = 0, rows;
    int most = 1;

    if (!ky_model_steps(m, w->T, w->steps) || give_slots(m, w, size) < 0)
        return KY_EFULL;
    for (int k = 0; k < m->n_inputs; k++)
        if (check_rows(w->max_rows, &m->inputs[k], steps[KY_INPUT(k)], &rows) < 0)
            return KY_EFULL;
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        size_t n = ky_call_scratch(m, i, w->max_rows, steps[l->from[0]]);
        size_t mask = ky_call_mask(m, i, steps);

        scratch = n > scratch ? n : scratch;
        most = l->n_in > most ? l->n_in : most;
        if (mask > 0 && (w->masks[i] = malloc((size_t)w->max_rows * mask)) == NULL)
            return KY_ENOMEM;
    }
    for (int s = 0; s < w->n_slots; s++)
        if ((w->slots[s] = reals(size[s])) == NULL)
            return KY_ENOMEM;
    w->scratch = reals(scratch);
    w->in = calloc((size_t)most, sizeof(*w->in));
    return w->scratch == NULL || w->in == NULL ? KY_ENOMEM : KY_OK;
}

static bool is_near(const ky_layer *l)
{
    return l->form != KY_RECURRENT && l->form != KY_MIXING && l->n_inner == 0 && !l->masked &&
           l->weight_reals <= MANY_WEIGHTS;
}

/* Which calls run on a few rows at a time, and on how many. */
static int give_head(const ky_model *m, ky_work *w)
{
    const int *steps = w->steps + m->n_inputs;
    size_t widest = 1;
    int n = 0;

    if (w->form != NULL || !ky_model_is_chain(m))
        return KY_OK;
    while (n < m->n_layers && is_near(&m->layers[n]))
        n++;
    while (n > 0 && ky_call_is_view(m, n - 1)) /* those behind cost nothing outside */
        n--;
    for (int i = 0; i + 1 < n; i++) {
        size_t row = row_reals(&m->layers[i].tensor, steps[i]);

        widest = row > widest ? row : widest;
    }
    if (n < 2 || widest * (size_t)w->max_rows <= NEAR_REALS)
        return KY_OK;
    w->head = n;
    w->head_rows = widest < NEAR_REALS ? (int)(NEAR_REALS / widest) : 1;
    for (int k = 0; k < 2; k++)
        if ((w->near[k] = reals(widest * (size_t)w->head_rows)) == NULL)
            return KY_ENOMEM;
    return KY_OK;
}

ky_work *ky_work_new(const ky_model *m, int T, int max_rows)
{
    return ky_work_new_rest(m, T, max_rows, NULL);
}

ky_real *ky_work_tensor(ky_work *w, int i)
{
    return w->slots[w->slot_of[i]];
}

ky_work *ky_work_new_rest(const ky_model *m, int T, int max_rows, const enum ky_run_form *form)
{
    size_t n = (size_t)m->n_layers + 1, *size = calloc(n, sizeof(*size));
    int rc = KY_ENOMEM;
    ky_work *w = max_rows > 0 ? calloc(1, sizeof(*w)) : NULL;

    if (w != NULL) {
        w->T = T;
        w->form = form;
        w->n_layers = m->n_layers;
        w->max_rows = max_rows;
        w->steps = new_steps(m);
        w->slot_of = calloc(n, sizeof(*w->slot_of));
        w->slots = calloc(n, sizeof(*w->slots));
        w->masks = calloc(n, sizeof(*w->masks));
        w->tensor = calloc(n + (size_t)m->n_inputs, sizeof(*w->tensor));
        if (size != NULL && w->steps != NULL && w->slot_of != NULL && w->slots != NULL &&
            w->masks != NULL && w->tensor != NULL)
            rc = give_memory(m, w, size);
        if (rc == KY_OK)
            rc = give_head(m, w);
    }
    free(size);
    if (rc == KY_OK)
        return w;
    ky_work_free(w);
    return NULL;
}

void ky_work_free(ky_work *w)
{
    if (w == NULL)
        return;
    for (int s = 0; w->slots != NULL && s < w->n_slots; s++)
        free(w->slots[s]);
    for (int i = 0; w->masks != NULL && i < w->n_layers; i++)
        free(w->masks[i]);
    for (int k = 0; k < 2; k++)
        free(w->near[k]);
    free(w->slots);
    free(w->slot_of);
    free(w->steps);
    free(w->masks);
    free(w->tensor);
    free(w->in);
    free(w->scratch);
    free(w);
}

/* Call i: its inputs gathered, its tensor and mask left where later calls find them. */
static void run_call(const ky_model *m, ky_work *w, int i, int B)
{
    const ky_layer *l = &m->layers[i];
    ky_input *tensor = w->tensor + m->n_inputs;
    ky_real *y = w->slots[w->slot_of[i]];

    if (w->form != NULL && w->form[i] != KY_RUN_CALL) {
        if (w->form[i] == KY_RUN_GIVEN)
            tensor[i] = (ky_input){ .x = y, .T = w->steps[m->n_inputs + i] };
        return;
    }
    for (int k = 0; k < l->n_in; k++)
        w->in[k] = tensor[l->from[k]]; /* the inputs stand before, backwards */
    if (!ky_call_is_view(m, i))
        ky_model_run_call(m, i, B, w->in, w->scratch, y, w->masks[i]);
    tensor[i] = (ky_input){ .x = y, .T = w->steps[m->n_inputs + i] };
    if (l->masked)
        tensor[i].mask = w->masks[i] != NULL ? w->masks[i] : w->in[0].mask;
}

/* The calls before w->head, for rows [r,r+B): those between leave nothing. */
static void run_head(const ky_model *m, ky_work *w, int r, int B, const ky_real *x)
{
    const int *steps = w->steps + m->n_inputs;
    int T = steps[KY_INPUT(0)];
    ky_input at = { .x = x + (size_t)r * row_reals(&m->inputs[0], T), .T = T };

    for (int i = 0; i < w->head; i++) {
        size_t row = row_reals(&m->layers[i].tensor, steps[i]);
        ky_real *y = w->near[i % 2];

        if (i == w->head - 1)
            y = w->slots[w->slot_of[i]] + (size_t)r * row;
        ky_model_run_call(m, i, B, &at, w->scratch, y, NULL);
        at = (ky_input){ .x = y, .T = steps[i] };
    }
}

/* Returns the call to go on with. */
static int run_heads(const ky_model *m, ky_work *w, int B, const ky_real *x)
{
    int last = w->head - 1;

    if (w->head == 0 || B <= w->head_rows)
        return 0;
    for (int r = 0; r < B; r += w->head_rows)
        run_head(m, w, r, B - r < w->head_rows ? B - r : w->head_rows, x);
    w->tensor[m->n_inputs + last] =
        (ky_input){ .x = w->slots[w->slot_of[last]], .T = w->steps[m->n_inputs + last] };
    return w->head;
}

static void run_all(const ky_model *m, ky_work *w, int B, int T, const ky_real *const *x)
{
    ky_model_steps(m, T, w->steps);
    for (int k = 0; k < m->n_inputs; k++)
        w->tensor[m->n_inputs + KY_INPUT(k)] = (ky_input){ .x = x[k], .T = input_steps(m, k, T) };
    for (int i = run_heads(m, w, B, x[0]); i < m->n_layers; i++)
        run_call(m, w, i, B);
}

void ky_model_run(const ky_model *m, ky_work *w, int B, int T, const ky_real *const *x,
                  ky_real *const *y)
{
    run_all(m, w, B, T, x);
    for (int k = 0; k < m->n_outputs; k++) {
        const ky_input *t = &w->tensor[m->n_inputs + m->outputs[k]];
        size_t n = row_reals(ky_model_tensor(m, m->outputs[k]), t->T);

        memcpy(y[k], t->x, (size_t)B * n * sizeof(*t->x));
    }
}

void ky_model_predict(const ky_model *m, ky_work *w, int B, int T, const ky_real *x, ky_real *y)
{
    size_t n = (size_t)m->info.outputs;
    const ky_input *t = &w->tensor[m->n_inputs + m->outputs[0]];

    run_all(m, w, B, T, &x);
    for (int r = 0; r < B; r++) /* of what still has steps, the last one */
        memcpy(y + (size_t)r * n, t->x + ((size_t)(r + 1) * (size_t)t->T - 1) * n, n * sizeof(*y));
}

static int dims_of(const ky_shape *s, int T, int *dims)
{
    for (int i = 0; i < s->rank; i++)
        dims[i] = i == 0 && s->timed ? T : s->d[i];
    return s->rank;
}

int ky_model_input(const ky_model *m, int k, int T, int dims[KY_MAX_RANK], const char **name)
{
    *name = m->input_names[k];
    return dims_of(&m->inputs[k], input_steps(m, k, T), dims);
}

/* Steps of a tensor in a run of T; 0 if T is no length for the model, or when out of memory. */
static int tensor_steps(const ky_model *m, int tensor, int T)
{
    int *steps = new_steps(m), n = 0;

    if (steps != NULL && ky_model_steps(m, T, steps))
        n = steps[m->n_inputs + tensor];
    free(steps);
    return n;
}

int ky_model_output(const ky_model *m, int k, int T, int dims[KY_MAX_RANK], const char **name)
{
    int tensor = m->outputs[k];

    *name = tensor < 0 ? m->input_names[KY_INPUT(tensor)] : m->layers[tensor].name;
    return dims_of(ky_model_tensor(m, tensor), tensor_steps(m, tensor, T), dims);
}
