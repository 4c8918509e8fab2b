/*
 * Bidirectional (Schuster and Paliwal 1997): a recurrent layer on the window, its like on the
 * window from its end, and the two outputs merged step by step.
 *
 * Whoever reads a file or builds a model makes the layer with ky_layer_init, sets merge_mode
 * (Keras's null, two outputs, is two calls: one KY_FORWARD, one KY_BACKWARD), and calls
 * ky_bidirectional_wrap with the wrapped layers, initialised and with their options set. Then
 * l->inner[0] is the forward layer, l->inner[1] the backward one, and ky_model_call does the
 * rest: shape() works out of both in, out and weights, with inner->weights_at counted from this
 * layer's slice: the forward layer's arrays come first, then the backward one's. The same
 * arrays, named forward_* and backward_*, are this layer's own weights.
 */
#include "models/recurrent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "lstm", "forward_lstm" -> "backward_lstm" */
static void name_inner(ky_layer *l, const char *direction)
{
    static const char *const before[] = { "forward_", "backward_" };
    char name[sizeof(l->name)];
    const char *rest = name;

    memcpy(name, l->name, sizeof(name));
    for (int i = 0; i < 2; i++)
        if (strncmp(rest, before[i], strlen(before[i])) == 0)
            rest += strlen(before[i]);
    /* cut where it is too long: the name only tells people which one it is */
    snprintf(l->name, sizeof(l->name), "%s%.*s", direction,
             (int)(sizeof(l->name) - 1 - strlen(direction)), rest);
}

int ky_bidirectional_wrap(ky_layer *l, const ky_layer *forward, const ky_layer *backward,
                          ky_err *err)
{
    ky_layer *inner = calloc(2, sizeof(*inner));

    if (inner == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    inner[0] = *forward;
    inner[1] = backward != NULL ? *backward : *forward;
    if (backward == NULL)
        inner[1].cfg.go_backwards = !forward->cfg.go_backwards;
    name_inner(&inner[0], "forward_");
    name_inner(&inner[1], "backward_");
    free(l->inner);
    l->inner = inner;
    l->n_inner = 2;
    return KY_OK;
}

/* The output is that of one layer: which, or -1. */
static int alone(const ky_layer *l)
{
    return l->cfg.merge_mode == KY_FORWARD ? 0 : l->cfg.merge_mode == KY_BACKWARD ? 1 : -1;
}

static bool runs(const ky_layer *l, int i)
{
    return alone(l) < 0 || alone(l) == i;
}

/* -- shape ------------------------------------------------------------------------------ */

static int shape_inner(ky_layer *l, ky_layer *inner, ky_err *err)
{
    int rc;

    if (inner->ops->cell == NULL)
        return ky_fail(err, KY_EUNSUPPORTED, "it wraps a %s, must be a recurrent layer",
                       inner->ops->class_name);
    inner->in = l->in;
    inner->trainable = l->trainable;
    inner->n_weights = 0;
    inner->weight_reals = inner->state_reals = 0;
    inner->no_step = NULL;
    inner->masked = l->masked;
    inner->weights_at = l->weight_reals;
    /* Keras: or a masked step's output would be that of a step after it. */
    inner->cfg.zero_output_for_mask = inner->cfg.return_sequences;
    if ((rc = inner->ops->shape(inner, err)) < 0)
        return ky_context(err, rc, "%s", inner->name);
    l->in = inner->in;
    return KY_OK;
}

/* The arrays of an inner layer under a name of their own. */
static void declare_inner(ky_layer *l, const ky_layer *inner)
{
    static const char *const names[][3] = {
        { "kernel", "forward_kernel", "backward_kernel" },
        { "recurrent_kernel", "forward_recurrent_kernel", "backward_recurrent_kernel" },
        { "bias", "forward_bias", "backward_bias" },
    };

    for (int i = 0; i < inner->n_weights; i++) {
        const ky_weight *w = &inner->weights[i];

        for (size_t n = 0; n < sizeof(names) / sizeof(*names); n++)
            if (strcmp(w->name, names[n][0]) == 0)
                ky_layer_declare_shape(l, names[n][inner == l->inner ? 1 : 2], w->trainable,
                                       w->rank, w->d);
    }
}

/* The two outputs side by side, or as one. */
static int merge_shapes(ky_layer *l, ky_err *err)
{
    const ky_shape *a = &l->inner[0].out, *b = &l->inner[1].out;
    int last = a->rank - 1;

    if (a->rank != b->rank || a->timed != b->timed)
        return ky_fail(err, KY_EINVAL, "one of its layers returns sequences, the other does not");
    for (int i = a->timed ? 1 : 0; i < a->rank; i++)
        if (a->d[i] != b->d[i] && alone(l) < 0 && !(i == last && l->cfg.merge_mode == KY_CONCAT))
            return ky_fail(err, KY_ESHAPE,
                           "dimension %d of the outputs is %d forward and %d backward; %s wants "
                           "the same",
                           i + 1, a->d[i], b->d[i], ky_merge_mode_name(l->cfg.merge_mode));
    l->out = alone(l) == 1 ? *b : *a;
    if (l->cfg.merge_mode == KY_CONCAT)
        l->out.d[last] += b->d[last]; /* each at most KY_MAX_DIM */
    return KY_OK;
}

static int shape(ky_layer *l, ky_err *err)
{
    int rc = KY_OK;

    if (l->n_inner != 2)
        return ky_fail(err, KY_EFORMAT, "it wraps no layer");
    if (l->inner[0].cfg.go_backwards == l->inner[1].cfg.go_backwards)
        return ky_fail(err, KY_EINVAL, "both of its layers go %s",
                       l->inner[0].cfg.go_backwards ? "backwards" : "forwards");
    for (int i = 0; rc == KY_OK && i < 2; i++) {
        rc = shape_inner(l, &l->inner[i], err);
        if (rc == KY_OK)
            declare_inner(l, &l->inner[i]);
    }
    if (rc < 0 || (rc = merge_shapes(l, err)) < 0)
        return rc;
    l->masked = l->masked && l->out.timed;
    l->form = KY_MIXING;
    l->no_step = "its backward layer begins with the window's last sample";
    return KY_OK;
}

static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    for (int i = 0; i < 2; i++)
        l->inner[i].ops->init(&l->inner[i], w + l->inner[i].weights_at, rng);
}

static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    int rc = KY_OK;

    if ((ret->inner = calloc(2, sizeof(*ret->inner))) == NULL)
        return KY_ENOMEM;
    ret->n_inner = 2;
    for (int i = 0; rc == KY_OK && i < 2; i++)
        rc = l->inner[i].ops->pack(&l->inner[i], k, w + l->inner[i].weights_at, backward,
                                   &ret->inner[i]);
    return rc;
}

/* -- windows ---------------------------------------------------------------------------- */

static size_t inner_reals(const ky_layer *inner, int B, int T)
{
    return (size_t)B * (size_t)(inner->out.timed ? T : 1) * ky_shape_step(&inner->out);
}

/* Forward the two outputs, backward their gradients and the second dx; and what one inner call
 * wants. */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    size_t all = backward ? ky_lines((size_t)B * (size_t)T * ky_shape_step(&l->in)) : 0, most = 0;

    for (int i = 0; i < 2; i++) {
        size_t n = ky_layer_scratch(&l->inner[i], &p->inner[i], B, T, backward);

        all += ky_lines(inner_reals(&l->inner[i], B, T));
        most = n > most ? n : most;
    }
    return all + most;
}

/* The tapes of the two and their outputs. */
static size_t n_tape(const ky_layer *l, int B, int T)
{
    size_t n = 0;

    for (int i = 0; i < 2; i++)
        n +=
            ky_lines(ky_layer_tape(&l->inner[i], B, T)) + ky_lines(inner_reals(&l->inner[i], B, T));
    return n;
}

/* Where they stand on the tape of a call. */
static void cut_tape(const ky_layer *l, const ky_call *c, ky_real **tape, ky_real **out)
{
    ky_real *at = c->tape;

    for (int i = 0; i < 2; i++) {
        tape[i] = ky_cut(&at, ky_layer_tape(&l->inner[i], c->B, c->T));
        out[i] = ky_cut(&at, inner_reals(&l->inner[i], c->B, c->T));
    }
}

static ky_real merged(enum ky_merge_mode mode, ky_real a, ky_real b)
{
    switch (mode) {
    case KY_MUL:
        return a * b;
    case KY_AVE:
        return (a + b) * (ky_real)0.5;
    case KY_SUM:
    case KY_CONCAT: /* these never come here */
    case KY_FORWARD:
    case KY_BACKWARD:
        break;
    }
    return a + b;
}

/* One step of one row: a [R,Ca] and b [R,Cb] -> y, R being what stands before the last axis. */
static void merge(const ky_layer *l, const ky_real *a, const ky_real *b, ky_real *y)
{
    size_t Ca = (size_t)ky_features(&l->inner[0].out), Cb = (size_t)ky_features(&l->inner[1].out);
    size_t n = ky_shape_step(&l->inner[0].out);

    if (alone(l) >= 0)
        memcpy(y, alone(l) == 0 ? a : b, ky_shape_step(&l->out) * sizeof(*y));
    else if (l->cfg.merge_mode != KY_CONCAT)
        for (size_t i = 0; i < n; i++)
            y[i] = merged(l->cfg.merge_mode, a[i], b[i]);
    else
        for (size_t R = n / Ca; R > 0; R--, a += Ca, b += Cb, y += Ca + Cb) {
            memcpy(y, a, Ca * sizeof(*y));
            memcpy(y + Ca, b, Cb * sizeof(*y));
        }
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t B = (size_t)c->B, T = l->out.timed ? (size_t)c->T : 1, n = ky_shape_step(&l->out);
    ky_real *scratch = c->scratch, *out[2], *tape[2] = { NULL };
    ky_call call = *c;

    for (int i = 0; i < 2; i++)
        out[i] = ky_cut(&scratch, inner_reals(&l->inner[i], c->B, c->T));
    if (c->tape != NULL)
        cut_tape(l, c, tape, out);
    call.scratch = scratch;
    call.state = NULL;
    for (int i = 0; i < 2; i++) {
        if (!runs(l, i))
            continue;
        call.tape = tape[i];
        l->inner[i].ops->window(&l->inner[i], k, &p->inner[i], w + l->inner[i].weights_at, &call, x,
                                out[i]);
    }
    for (size_t r = 0; r < B; r++)
        for (size_t t = 0; t < T; t++) /* the backward outputs begin with the last step's */
            merge(l, out[0] + (r * T + t) * ky_shape_step(&l->inner[0].out),
                  out[1] + (r * T + T - 1 - t) * ky_shape_step(&l->inner[1].out),
                  y + (r * T + t) * n);
}

/* One step of one row back from dy to da and db, as merge() has it. Of a direction that does not
 * run there is no gradient, and nobody reads it. */
static void split(const ky_layer *l, const ky_real *a, const ky_real *b, const ky_real *dy,
                  ky_real *da, ky_real *db)
{
    size_t Ca = (size_t)ky_features(&l->inner[0].out), Cb = (size_t)ky_features(&l->inner[1].out);
    size_t n = ky_shape_step(&l->inner[0].out);
    enum ky_merge_mode mode = l->cfg.merge_mode;

    if (alone(l) >= 0) {
        memcpy(alone(l) == 0 ? da : db, dy, ky_shape_step(&l->out) * sizeof(*dy));
        return;
    }
    if (mode == KY_CONCAT) {
        for (size_t R = n / Ca; R > 0; R--, da += Ca, db += Cb, dy += Ca + Cb) {
            memcpy(da, dy, Ca * sizeof(*dy));
            memcpy(db, dy + Ca, Cb * sizeof(*dy));
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        ky_real d = mode == KY_AVE ? dy[i] * (ky_real)0.5 : dy[i];

        da[i] = mode == KY_MUL ? d * b[i] : d;
        db[i] = mode == KY_MUL ? d * a[i] : d;
    }
}

/* dy -> the gradients of both outputs. */
static void split_all(const ky_layer *l, const ky_call *c, ky_real *const *out, const ky_real *dy,
                      ky_real *const *d)
{
    size_t T = l->out.timed ? (size_t)c->T : 1, n = ky_shape_step(&l->out);
    size_t na = ky_shape_step(&l->inner[0].out), nb = ky_shape_step(&l->inner[1].out);

    for (size_t r = 0; r < (size_t)c->B; r++)
        for (size_t t = 0; t < T; t++) {
            size_t a = (r * T + t) * na, b = (r * T + T - 1 - t) * nb;

            split(l, out[0] + a, out[1] + b, dy + (r * T + t) * n, d[0] + a, d[1] + b);
        }
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    size_t n_x = (size_t)c->B * (size_t)c->T * ky_shape_step(&l->in);
    ky_real *scratch = c->scratch, *tape[2], *out[2], *d[2], *second = ky_cut(&scratch, n_x);
    ky_call call = *c;
    bool both = alone(l) < 0;

    (void)y;
    cut_tape(l, c, tape, out);
    for (int i = 0; i < 2; i++)
        d[i] = ky_cut(&scratch, inner_reals(&l->inner[i], c->B, c->T));
    split_all(l, c, out, dy, d);
    call.scratch = scratch;
    call.state = NULL;
    for (int i = 0; i < 2; i++) {
        const ky_layer *inner = &l->inner[i];

        if (!runs(l, i))
            continue;
        call.tape = tape[i];
        inner->ops->backward(inner, k, &p->inner[i], w + inner->weights_at, &call, x, out[i], d[i],
                             dx != NULL && both && i == 1 ? second : dx, dw + inner->weights_at);
    }
    for (size_t i = 0; dx != NULL && both && i < n_x; i++)
        dx[i] += second[i];
}

static size_t macs(const ky_layer *l, int T)
{
    size_t n = 0;

    for (int i = 0; i < 2; i++)
        n += runs(l, i) ? l->inner[i].ops->macs(&l->inner[i], T) : 0;
    return n;
}

static const ky_field fields[] = {
    { "merge_mode", KY_F_MERGE_MODE, KY_FIELD(merge_mode), KY_CONCAT, 0 },
    { 0 },
};

const ky_layer_ops ky_bidirectional_ops = {
    .class_name = "Bidirectional",
    .fields = fields,
    .masking = KY_MASK_PASSES,
    .shape = shape,
    .init = init,
    .pack = pack,
    .n_scratch = n_scratch,
    .n_tape = n_tape,
    .window = window,
    .backward = backward,
    .macs = macs,
};
