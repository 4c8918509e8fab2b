#include "models/axes.h"

#include "models/layer_tools.h"

enum { MOST_GROUPS = 1 << 24 }; /* of one call: they are counted in int */

int ky_axis_place(int rank, int axis)
{
    int place = axis < 0 ? axis + rank : axis - 1;

    return axis == 0 || place < 0 || place >= rank ? -1 : place;
}

int ky_axes_find(const ky_layer *l, const ky_dims *axes, ky_axes *ret, ky_err *err)
{
    bool in_group[KY_RANK] = { false };
    int first, at = 0;

    *ret = (ky_axes){ 0 };
    for (int i = 0; i < axes->n; i++) {
        int place = ky_axis_place(l->in.rank, axes->d[i]);

        if (place < 0 || in_group[place])
            return ky_fail(err, KY_EINVAL,
                           "axis is %d, its input has %d dimensions and the batch, which is axis "
                           "0, each named once",
                           axes->d[i], l->in.rank);
        in_group[place] = true;
        ret->n++;
    }
    ret->time = l->in.timed && in_group[0];
    first = l->in.timed && !ret->time ? 1 : 0;
    ret->rank = l->in.rank - first;
    for (int group = 0; group < 2; group++)
        for (int a = first; a < l->in.rank; a++)
            if (in_group[a] == (group == 1))
                ret->order[at++] = a;
    ret->last = true;
    for (int i = 0; i < ret->rank; i++)
        ret->last &= ret->order[i] == first + i;
    return KY_OK;
}

int ky_axes_shape(ky_layer *l, const ky_axes *a, bool weights, const char *no_step, ky_err *err)
{
    ky_shape_unchanged(l, err);
    if (!a->time)
        return KY_OK;
    if (weights && l->in.d[0] == KY_ANY)
        return ky_fail(err, KY_ESHAPE,
                       "it has weights for each step, so the model's input must have a fixed "
                       "number of steps");
    l->form = KY_MIXING;
    l->no_step = no_step;
    return KY_OK;
}

/* Dimension of the row's axis i, in the row's new order. */
static int dim(const ky_layer *l, const ky_axes *a, int i, int T)
{
    return a->time && a->order[i] == 0 ? T : l->in.d[a->order[i]];
}

size_t ky_axes_len(const ky_layer *l, const ky_axes *a, int T)
{
    size_t n = 1;

    for (int i = a->rank - a->n; i < a->rank; i++)
        n *= (size_t)dim(l, a, i, T);
    return n;
}

static size_t row_len(const ky_layer *l, const ky_axes *a, int T)
{
    return ky_shape_step(&l->in) * (a->time ? (size_t)T : 1);
}

size_t ky_axes_scratch(const ky_layer *l, const ky_axes *a, int T)
{
    return a->last ? 0 : row_len(l, a, T);
}

/* Between a row as it lies and the same with its axes in order, which is walked in turn. */
typedef struct walk {
    int d[KY_RANK];
    size_t stride[KY_RANK];
    int rank;
} walk;

static walk walk_of(const ky_layer *l, const ky_axes *a, int T)
{
    walk w = { .rank = a->rank };

    for (int i = 0; i < a->rank; i++) {
        w.d[i] = dim(l, a, i, T);
        w.stride[i] = 1;
        for (int later = a->order[i] + 1; later < l->in.rank; later++)
            w.stride[i] *= (size_t)l->in.d[later];
    }
    return w;
}

/* Each value of the row from the axis on: in order one after the other, `lying` by strides.
 * Returns what is next in order. */
static ky_real *gather(const walk *w, int axis, const ky_real *lying, ky_real *in_order)
{
    for (int i = 0; i < w->d[axis]; i++, lying += w->stride[axis])
        if (axis == w->rank - 1)
            *in_order++ = *lying;
        else
            in_order = gather(w, axis + 1, lying, in_order);
    return in_order;
}

static const ky_real *scatter(const walk *w, int axis, const ky_real *in_order, ky_real *lying)
{
    for (int i = 0; i < w->d[axis]; i++, lying += w->stride[axis])
        if (axis == w->rank - 1)
            *lying = *in_order++;
        else
            in_order = scatter(w, axis + 1, in_order, lying);
    return in_order;
}

void ky_axes_apply(const ky_layer *l, const ky_axes *a, const ky_call *c, const ky_real *x,
                   ky_real *y, ky_axes_op *op, const void *context)
{
    size_t C = ky_axes_len(l, a, c->T), row = row_len(l, a, c->T);
    size_t all = (size_t)c->B * (size_t)c->T * ky_shape_step(&l->in);
    walk w;

    if (a->last) {
        for (size_t left = all / C, n; left > 0; left -= n, x += n * C, y += n * C) {
            n = left < MOST_GROUPS ? left : MOST_GROUPS;
            op(context, (int)n, (int)C, x, y);
        }
        return;
    }
    w = walk_of(l, a, c->T);
    for (size_t at = 0; at < all; at += row) {
        gather(&w, 0, x + at, c->scratch);
        op(context, (int)(row / C), (int)C, c->scratch, c->scratch);
        scatter(&w, 0, c->scratch, y + at);
    }
}

/* Groups that lie as they are. */
static void back_as_they_lie(size_t groups, size_t C, const ky_real *x, const ky_real *dy,
                             ky_real *dx, ky_axes_back_op *op, void *context)
{
    for (size_t at = 0, n; at < groups; at += n) {
        n = groups - at < MOST_GROUPS ? groups - at : MOST_GROUPS;
        op(context, (int)n, (int)C, x + at * C, dy != NULL ? dy + at * C : NULL,
           dx != NULL ? dx + at * C : NULL);
    }
}

void ky_axes_back(const ky_layer *l, const ky_axes *a, const ky_call *c, const ky_real *x,
                  const ky_real *dy, ky_real *dx, ky_axes_back_op *op, void *context)
{
    size_t C = ky_axes_len(l, a, c->T), row = row_len(l, a, c->T);
    size_t all = (size_t)c->B * (size_t)c->T * ky_shape_step(&l->in);
    ky_real *own = c->scratch, *d = c->scratch + row;
    walk w;

    if (a->last) {
        back_as_they_lie(all / C, C, x, dy, dx, op, context);
        return;
    }
    w = walk_of(l, a, c->T);
    for (size_t at = 0; at < all; at += row) {
        gather(&w, 0, x + at, own);
        if (dy != NULL)
            gather(&w, 0, dy + at, d);
        op(context, (int)(row / C), (int)C, own, dy != NULL ? d : NULL, dx != NULL ? d : NULL);
        if (dx != NULL)
            scatter(&w, 0, d, dx + at);
    }
}
