/*
 * Layers that work over some axes of their input: the values along these are put side by side,
 * in the order of the axes, and the layer sees groups of so many contiguous values, wherever
 * the axes stand.
 */
#ifndef KY_AXES_H
#define KY_AXES_H

#include "models/layer.h"

/* A row is what one group's axes are found in: a step, or a whole window where time is one of
 * them. */
typedef struct ky_axes {
    int n;              /* axes of a group; 0: groups of one value */
    bool time;          /* the first of them is the steps */
    bool last;          /* they are a row's last ones, so that groups lie as they are */
    int rank;           /* axes of a row */
    int order[KY_RANK]; /* places in l->in of the row's other axes, then of the group's */
} ky_axes;

/** The place of Keras's axis (the batch is 0, negative ones count from the end) in a shape of this
 *  rank; -1 if it has none such. */
int ky_axis_place(int rank, int axis);

/** Where axes are named by Keras's numbers; KY_EINVAL names those that there are not, or twice. */
int ky_axes_find(const ky_layer *l, const ky_dims *axes, ky_axes *ret, ky_err *err);

/**
 * shape() of a layer with the shape of its input: step by step, or, with the steps in the group,
 * on whole windows for the reason `no_step`. `weights`: it has some for each place of a group,
 * which must be of a known number.
 */
int ky_axes_shape(ky_layer *l, const ky_axes *a, bool weights, const char *no_step, ky_err *err);

/** Values of a group with T steps. */
size_t ky_axes_len(const ky_layer *l, const ky_axes *a, int T);

/** Reals of scratch that ky_axes_apply wants: a row, where groups do not lie as they are. */
size_t ky_axes_scratch(const ky_layer *l, const ky_axes *a, int T);

/** y = f(x) over R groups of C values each; x == y allowed. */
typedef void ky_axes_op(const void *context, int R, int C, const ky_real *x, ky_real *y);

/**
 * Back over R groups: dx from dy and x, or from whatever is said to stand for x; dx NULL: not
 * wanted, dy NULL: there is none. dx == dy allowed. The context gathers what else comes out.
 */
typedef void ky_axes_back_op(void *context, int R, int C, const ky_real *x, const ky_real *dy,
                             ky_real *dx);

/** Over all groups of a call, in order; c->scratch is twice as large as ky_axes_scratch says. */
void ky_axes_back(const ky_layer *l, const ky_axes *a, const ky_call *c, const ky_real *x,
                  const ky_real *dy, ky_real *dx, ky_axes_back_op *op, void *context);

/** Over all groups of a call, x to y; c->scratch as said above. */
void ky_axes_apply(const ky_layer *l, const ky_axes *a, const ky_call *c, const ky_real *x,
                   ky_real *y, ky_axes_op *op, const void *context);

#endif
