/*
 * Add, Subtract, Multiply, Average, Maximum, Minimum and Concatenate.
 *
 * The first six work element by element, input after input from the left, and stretch
 * dimensions of one as NumPy does; inputs of fewer dimensions have them at the end. An output
 * is cut into its first axis, `steps`, and what lies behind it, because masks go by steps: a
 * masked step is 1 to a product and nothing to a maximum, and where every input is masked a
 * product is 0 (Keras 3).
 */
#include "models/layer_tools.h"

#include <stdio.h>
#include <string.h>

/* y[i] = y[i] op x[i]; `one`: x[0] for all. */
typedef void combine(size_t n, const ky_real *x, bool one, ky_real *y);

static void take(size_t n, const ky_real *x, bool one, ky_real *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[one ? 0 : i];
}

static void ones(size_t n, const ky_real *x, bool one, ky_real *y)
{
    (void)x, (void)one;
    for (size_t i = 0; i < n; i++)
        y[i] = 1;
}

static void add(size_t n, const ky_real *x, bool one, ky_real *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[one ? 0 : i];
}

static void subtract(size_t n, const ky_real *x, bool one, ky_real *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] -= x[one ? 0 : i];
}

static void multiply(size_t n, const ky_real *x, bool one, ky_real *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] *= x[one ? 0 : i];
}

static void maximum(size_t n, const ky_real *x, bool one, ky_real *y)
{
    for (size_t i = 0; i < n; i++) {
        ky_real v = x[one ? 0 : i];

        y[i] = v > y[i] ? v : y[i];
    }
}

static void minimum(size_t n, const ky_real *x, bool one, ky_real *y)
{
    for (size_t i = 0; i < n; i++) {
        ky_real v = x[one ? 0 : i];

        y[i] = v < y[i] ? v : y[i];
    }
}

/* -- shapes ---------------------------------------------------------------------- */

static bool any_timed(const ky_layer *l)
{
    for (int k = 0; k < l->n_in; k++)
        if (l->ins[k].timed)
            return true;
    return false;
}

/* Two inputs that do not go together, with both shapes. */
static int refuse(const ky_layer *l, int k, ky_err *err)
{
    char text[2][64];

    for (int i = 0; i < 2; i++) {
        const ky_shape *s = &l->ins[i == 0 ? 0 : k];
        int n = 0;

        for (int a = 0; a < s->rank; a++)
            n += s->d[a] == KY_ANY
                     ? snprintf(text[i] + n, sizeof(text[i]) - (size_t)n, ",any")
                     : snprintf(text[i] + n, sizeof(text[i]) - (size_t)n, ",%d", s->d[a]);
    }
    return ky_fail(err, KY_ESHAPE,
                   "its inputs 1 and %d have shapes [%s] and [%s], which do not go "
                   "together",
                   k + 1, text[0] + 1, text[1] + 1);
}

/* A dimension that has length a in one input and b in another; 0: they do not go together.
 * What has any length takes on the other's, and is compared once the lengths are known. */
static int stretch(int a, int b)
{
    if (a == b || b == 1)
        return a;
    if (a == 1)
        return b;
    return a == KY_ANY ? b : b == KY_ANY ? a : 0;
}

/*
 * How it goes along time: step by step where all inputs have the model's time as their first
 * axis, else on whole windows.
 */
static void set_form(ky_layer *l, bool along_time)
{
    bool together = !along_time;

    for (int k = 0; k < l->n_in; k++)
        together &= l->ins[k].timed && l->ins[k].rank == l->ins[0].rank &&
                    (l->ins[k].d[0] == 1) == (l->ins[0].d[0] == 1);
    l->form = KY_POINTWISE;
    if (!any_timed(l) || together)
        return;
    l->form = KY_MIXING;
    l->no_step = along_time ? "it joins windows one behind the other"
                            : "it joins steps with what is only known of a whole window";
}

static int shape(ky_layer *l, ky_err *err)
{
    int rank = 0;

    for (int k = 0; k < l->n_in; k++)
        rank = l->ins[k].rank > rank ? l->ins[k].rank : rank;
    l->out = (ky_shape){ .rank = rank };
    for (int a = 0; a < rank; a++)
        l->out.d[a] = 1;
    for (int k = 0; k < l->n_in; k++) {
        const ky_shape *s = &l->ins[k];
        int before = rank - s->rank;

        if (s->timed && before > 0 && s->d[0] == KY_ANY)
            return ky_fail(err, KY_ESHAPE,
                           "its input %d has steps, any number of them, which must be the first "
                           "of %d dimensions",
                           k + 1, rank);
        l->out.timed |= s->timed && before == 0;
        for (int a = 0; a < s->rank; a++)
            if ((l->out.d[before + a] = stretch(l->out.d[before + a], s->d[a])) == 0)
                return refuse(l, k, err);
    }
    for (int k = 0; k < l->n_in && l->out.timed; k++) /* the model's time has the say */
        if (l->ins[k].rank == rank && l->ins[k].d[0] == KY_ANY)
            l->out.d[0] = KY_ANY;
    set_form(l, false);
    l->masked = l->n_masked == l->n_in && rank >= 2;
    for (int k = 0; k < l->n_in; k++)
        l->masked &= l->ins[k].rank == rank;
    return KY_OK;
}

static int join(const ky_layer *l, int k, int before, int T)
{
    const ky_shape *s = &l->ins[k];
    int n = !s->timed ? s->d[0] : T;

    if (s->rank < l->out.rank)
        return s->timed && T != s->d[0] ? 0 : k == 0 ? 1 : before;
    if (k == 0 || before == n || before == 1)
        return n;
    return n == 1 ? before : 0;
}

/* -- element by element ---------------------------------------------------------- */

/* The output as steps, and the shape of one of them. */
static int split(const ky_layer *l, const ky_call *c, ky_shape *step)
{
    bool whole = l->out.rank < 2 && !l->out.timed; /* features alone are one step */

    *step = (ky_shape){ .rank = l->out.rank - !whole };
    for (int a = 0; a < step->rank; a++)
        step->d[a] = l->out.d[a + !whole];
    return whole ? 1 : l->out.timed ? c->T_out : l->out.d[0];
}

/* An input beside the output's steps: one step of it has stride[] along the output's axes. */
typedef struct operand {
    const ky_real *x;
    const uint8_t *mask;
    int steps; /* the output's, or one for all of them */
    size_t len;
    size_t stride[KY_RANK];
} operand;

static operand operand_of(const ky_layer *l, const ky_call *c, int k, const ky_shape *step)
{
    const ky_shape *s = &l->ins[k];
    operand o = { .x = c->in[k].x, .steps = 1, .len = 1 };
    int before = l->out.rank - s->rank, skipped = l->out.rank - step->rank;

    for (int a = step->rank - 1; a >= 0; a--) {
        int own = a + skipped - before, d = own >= 0 ? s->d[own] : 1;

        o.stride[a] = d > 1 ? o.len : 0;
        o.len *= (size_t)d;
    }
    if (skipped > 0 && before == 0) {
        o.steps = s->timed ? c->in[k].T : s->d[0];
        o.mask = c->in[k].mask;
    }
    return o;
}

/* y = y op x over the axes from `axis` on; returns what lies behind the last y. */
static ky_real *over_axes(combine *op, const ky_shape *step, const size_t *stride, int axis,
                          const ky_real *x, ky_real *y)
{
    int n = axis < step->rank ? step->d[axis] : 1;

    if (axis >= step->rank - 1) {
        op((size_t)n, x, n > 1 && stride[axis] == 0, y);
        return y + n;
    }
    for (int i = 0; i < n; i++)
        y = over_axes(op, step, stride, axis + 1, x + (size_t)i * stride[axis], y);
    return y;
}

/* What the masks of the first n inputs say of step t of row r: 1 if it is real in one of them, 0
 * if in none, -1 if one of them has no mask. */
static int real_in(const ky_layer *l, const ky_call *c, int n, int r, int t)
{
    int real = 0;

    for (int k = 0; k < n; k++) {
        int steps = l->ins[k].timed ? c->in[k].T : l->ins[k].d[0];

        if (c->in[k].mask == NULL || l->ins[k].rank < l->out.rank || l->out.rank < 2)
            return -1;
        real |= c->in[k].mask[r * steps + (steps > 1 ? t : 0)];
    }
    return real;
}

/* What is done with input k at a step: op, or another thing where masks have a say; NULL: none. */
static combine *op_at(const ky_layer *l, const ky_call *c, combine *op, const operand *o, int k,
                      int r, int t)
{
    bool real = o->mask == NULL || o->mask[r * o->steps + (o->steps > 1 ? t : 0)];

    if (op != multiply && op != maximum && op != minimum)
        return k == 0 ? take : op;
    if (k == 0)
        return real || op != multiply ? take : ones;
    if (!real)
        return NULL;
    return op != multiply && real_in(l, c, k, r, t) == 0 ? take : op;
}

static void merge_input(const ky_layer *l, const ky_call *c, combine *op, int k, ky_real *y)
{
    ky_shape step;
    int steps = split(l, c, &step);
    operand o = operand_of(l, c, k, &step);
    size_t len = ky_shape_step(&step);

    for (int r = 0; r < c->B; r++)
        for (int t = 0; t < steps; t++, y += len) {
            size_t at = (size_t)r * (size_t)o.steps + (o.steps > 1 ? (size_t)t : 0);
            combine *now = op_at(l, c, op, &o, k, r, t);

            if (now != NULL && o.len == len)
                now(len, o.x + at * len, false, y);
            else if (now != NULL)
                over_axes(now, &step, o.stride, 0, o.x + at * o.len, y);
        }
}

/* Steps that are masked in every input: zeros of a product, and the mask of the output. */
static void mask_output(const ky_layer *l, const ky_call *c, combine *op, ky_real *y)
{
    ky_shape step;
    int steps = split(l, c, &step);
    size_t len = ky_shape_step(&step);

    for (int r = 0; r < c->B; r++)
        for (int t = 0; t < steps; t++, y += len) {
            int real = real_in(l, c, l->n_in, r, t);

            if (real == 0 && op == multiply)
                memset(y, 0, len * sizeof(*y));
            if (c->mask_out != NULL)
                c->mask_out[r * steps + t] = real != 0;
        }
}

static combine *op_of(const ky_layer *l)
{
    return l->ops == &ky_subtract_ops   ? subtract
           : l->ops == &ky_multiply_ops ? multiply
           : l->ops == &ky_maximum_ops  ? maximum
           : l->ops == &ky_minimum_ops  ? minimum
                                        : add;
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    combine *op = op_of(l);
    size_t n = (size_t)c->B * (l->out.timed ? (size_t)c->T_out : 1) * ky_shape_step(&l->out);

    (void)k, (void)p, (void)w, (void)x;
    for (int i = 0; i < l->n_in; i++)
        merge_input(l, c, op, i, y);
    for (size_t i = 0; l->ops == &ky_average_ops && i < n; i++)
        y[i] /= (ky_real)l->n_in;
    if (l->masked)
        mask_output(l, c, op, y);
}

/* Forward and backward: what an input adds, what is left of dy, and an input stretched to the
 * output, each a step of the output. */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    (void)p, (void)B, (void)T;
    return backward ? 3 * ky_lines(ky_shape_step(&l->out)) : 0;
}

/* x[i] += y[i], the way back of take(); `one`: all to x[0]. */
static void give(size_t n, const ky_real *x, bool one, ky_real *y)
{
    ky_real *to = (ky_real *)(uintptr_t)x;

    for (size_t i = 0; i < n; i++)
        to[one ? 0 : i] += y[i];
}

/* One step of the way back. */
typedef struct back_step {
    const ky_layer *l;
    const ky_call *c;
    combine *op;
    ky_shape step;
    size_t len;
    int r, t, steps;
} back_step;

/* Where step t of row r is in input k. */
static size_t place_of(const back_step *s, const operand *o)
{
    return ((size_t)s->r * (size_t)o->steps + (o->steps > 1 ? (size_t)s->t : 0)) * o->len;
}

/* Whether input k has a part in the output. Where all are masked, the first stands for a
 * maximum. */
static bool takes_part(const back_step *s, const operand *o, int k)
{
    if (s->op != multiply && s->op != maximum && s->op != minimum)
        return true;
    if (o->mask == NULL || o->mask[s->r * o->steps + (o->steps > 1 ? s->t : 0)])
        return true;
    return k == 0 && s->op != multiply && real_in(s->l, s->c, s->l->n_in, s->r, s->t) == 0;
}

/* dy times all other inputs. */
static void product_back(const back_step *s, int k, const ky_real *dy, ky_real *d, ky_real *own)
{
    memcpy(d, dy, s->len * sizeof(*d));
    for (int j = 0; j < s->l->n_in; j++) {
        operand o = operand_of(s->l, s->c, j, &s->step);

        if (j == k || !takes_part(s, &o, j))
            continue;
        over_axes(take, &s->step, o.stride, 0, o.x + place_of(s, &o), own);
        for (size_t i = 0; i < s->len; i++)
            d[i] *= own[i];
    }
}

/* What is left of dy where this input is the output; the next ones get nothing there. */
static void extreme_back(const back_step *s, const operand *o, const ky_real *y, ky_real *left,
                         ky_real *d, ky_real *own)
{
    over_axes(take, &s->step, o->stride, 0, o->x + place_of(s, o), own);
    for (size_t i = 0; i < s->len; i++) {
        d[i] = own[i] == y[i] ? left[i] : 0;
        left[i] = own[i] == y[i] ? 0 : left[i];
    }
}

static void step_back(const back_step *s, const ky_real *y, const ky_real *dy)
{
    ky_real *at = s->c->scratch, *left = ky_cut(&at, s->len), *d = ky_cut(&at, s->len);

    memcpy(left, dy, s->len * sizeof(*left));
    for (int k = 0; k < s->l->n_in; k++) {
        operand o = operand_of(s->l, s->c, k, &s->step);

        if (!takes_part(s, &o, k))
            continue;
        if (s->op == multiply)
            product_back(s, k, dy, d, at);
        else if (s->op == maximum || s->op == minimum)
            extreme_back(s, &o, y, left, d, at);
        else
            for (size_t i = 0; i < s->len; i++)
                d[i] = s->l->ops == &ky_average_ops ? dy[i] / (ky_real)s->l->n_in
                       : s->op == subtract && k > 0 ? -dy[i]
                                                    : dy[i];
        if (s->c->dx[k] != NULL)
            over_axes(give, &s->step, o.stride, 0, s->c->dx[k] + place_of(s, &o), d);
    }
}

/* Of equal inputs of a maximum the first has the gradient, as it had the say. */
static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    back_step s = { .l = l, .c = c, .op = op_of(l) };

    (void)k, (void)p, (void)w, (void)x, (void)dx, (void)dw;
    s.steps = split(l, c, &s.step);
    s.len = ky_shape_step(&s.step);
    for (int i = 0; i < l->n_in; i++) {
        operand o = operand_of(l, c, i, &s.step);

        if (c->dx[i] != NULL)
            memset(c->dx[i], 0, (size_t)c->B * (size_t)o.steps * o.len * sizeof(*dy));
    }
    for (s.r = 0; s.r < c->B; s.r++)
        for (s.t = 0; s.t < s.steps; s.t++, y += s.len, dy += s.len)
            step_back(&s, y, dy);
}

/* -- one behind the other -------------------------------------------------------- */

/* The axis of Concatenate without the batch; -1 if it is none. */
static int axis_of(const ky_layer *l)
{
    int rank = l->ins[0].rank, a = l->cfg.axis < 0 ? l->cfg.axis + rank : l->cfg.axis - 1;

    return l->cfg.axis == 0 || a < 0 || a >= rank ? -1 : a;
}

static int concatenate_shape(ky_layer *l, ky_err *err)
{
    int axis = axis_of(l), rank = l->ins[0].rank;

    if (axis < 0)
        return ky_fail(err, KY_EINVAL,
                       "axis is %d, its inputs have %d dimensions and the batch, which is axis 0",
                       l->cfg.axis, rank);
    l->out = (ky_shape){ .rank = rank };
    for (int k = 0; k < l->n_in; k++) {
        const ky_shape *s = &l->ins[k];

        if (s->rank != rank)
            return refuse(l, k, err);
        l->out.timed |= s->timed;
        for (int a = 0; a < rank; a++) {
            int *d = &l->out.d[a], own = s->d[a];
            bool fits = k == 0 || *d == own || (a == 0 && (*d == KY_ANY || own == KY_ANY));

            if (a == axis && k > 0)
                own = *d == KY_ANY || own == KY_ANY ? KY_ANY : *d > KY_MAX_DIM - own ? 0 : *d + own;
            else if (!fits)
                return refuse(l, k, err);
            *d = k > 0 && *d == KY_ANY ? KY_ANY : own;
            if (*d == 0)
                return ky_fail(err, KY_EFULL, "its output has more than %d values along axis %d",
                               KY_MAX_DIM, l->cfg.axis);
        }
    }
    set_form(l, axis == 0 && l->out.timed);
    l->masked = l->n_masked > 0;
    return KY_OK;
}

static int concatenate_join(const ky_layer *l, int k, int before, int T)
{
    int n = l->ins[k].timed ? T : l->ins[k].d[0];

    if (!l->out.timed || k == 0)
        return n;
    if (axis_of(l) == 0)
        return n > KY_MAX_DIM - before ? 0 : before + n;
    return n == before ? n : 0;
}

/* Dimension a of input k in this call. */
static int dim_of(const ky_layer *l, const ky_call *c, int k, int a)
{
    return a == 0 && l->ins[k].timed ? c->in[k].T : l->ins[k].d[a];
}

/* An unmasked input counts as real; along features a step is real if it is so in one. */
static void concatenate_masks(const ky_layer *l, const ky_call *c)
{
    bool behind = axis_of(l) == 0;
    int all = 0;
    uint8_t *to = c->mask_out;

    for (int k = 0; k < l->n_in; k++)
        all = behind || k == 0 ? all + dim_of(l, c, k, 0) : all;
    for (int r = 0; r < c->B; r++, to += all)
        for (int k = 0, at = 0; k < l->n_in; k++) {
            int n = dim_of(l, c, k, 0);
            const uint8_t *mask = c->in[k].mask;

            for (int t = 0; t < n; t++) {
                bool real = mask == NULL || mask[r * n + t];

                to[at + t] = behind || k == 0 ? real : to[at + t] | real;
            }
            at += behind ? n : 0;
        }
}

/* Runs of contiguous values from one input after the other: how many times, and how many of input
 * i. */
static int blocks_of(const ky_layer *l, const ky_call *c)
{
    int blocks = c->B;

    for (int a = 0; a < axis_of(l); a++)
        blocks *= dim_of(l, c, 0, a);
    return blocks;
}

static size_t block_len(const ky_layer *l, const ky_call *c, int i)
{
    size_t len = 1;

    for (int a = axis_of(l); a < l->out.rank; a++)
        len *= (size_t)dim_of(l, c, i, a);
    return len;
}

static void concatenate(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                        const ky_real *w, const ky_call *c, const ky_real *x, ky_real *y)
{
    int blocks = blocks_of(l, c);

    (void)k, (void)p, (void)w, (void)x;
    for (int b = 0; b < blocks; b++)
        for (int i = 0; i < l->n_in; i++) {
            size_t len = block_len(l, c, i);

            memcpy(y, c->in[i].x + (size_t)b * len, len * sizeof(*y));
            y += len;
        }
    if (l->masked && c->mask_out != NULL)
        concatenate_masks(l, c);
}

static void concatenate_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                             const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                             const ky_real *dy, ky_real *dx, ky_real *dw)
{
    int blocks = blocks_of(l, c);

    (void)k, (void)p, (void)w, (void)x, (void)y, (void)dx, (void)dw;
    for (int b = 0; b < blocks; b++)
        for (int i = 0; i < l->n_in; i++) {
            size_t len = block_len(l, c, i);

            if (c->dx[i] != NULL)
                memcpy(c->dx[i] + (size_t)b * len, dy, len * sizeof(*dy));
            dy += len;
        }
}

static const ky_field no_fields[] = {
    { 0 },
};

static const ky_field concatenate_fields[] = {
    { "axis", KY_F_INT, KY_FIELD(axis), -1, 0 },
    { 0 },
};

#define ELEMENTWISE(class, least, most)                                                            \
    {                                                                                              \
        .class_name = class, .fields = no_fields, .min_in = (least), .max_in = (most),             \
        .masking = KY_MASK_MADE, .shape = shape, .join = join, .n_scratch = n_scratch,             \
        .window = window, .backward = backward                                                     \
    }

const ky_layer_ops ky_add_ops = ELEMENTWISE("Add", 1, KY_ANY);
const ky_layer_ops ky_subtract_ops = ELEMENTWISE("Subtract", 2, 2);
const ky_layer_ops ky_multiply_ops = ELEMENTWISE("Multiply", 1, KY_ANY);
const ky_layer_ops ky_average_ops = ELEMENTWISE("Average", 1, KY_ANY);
const ky_layer_ops ky_maximum_ops = ELEMENTWISE("Maximum", 1, KY_ANY);
const ky_layer_ops ky_minimum_ops = ELEMENTWISE("Minimum", 1, KY_ANY);

const ky_layer_ops ky_concatenate_ops = {
    .class_name = "Concatenate",
    .fields = concatenate_fields,
    .min_in = 1,
    .max_in = KY_ANY,
    .masking = KY_MASK_MADE,
    .shape = concatenate_shape,
    .join = concatenate_join,
    .window = concatenate,
    .backward = concatenate_back,
};
