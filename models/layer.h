/*
 * One layer of a model, seen through a row of the table of layers.
 *
 * A layer is a description: it owns no weights and no state. Weights are a slice of
 * the model's one block, the state of a stream is handed in, and what the backward
 * pass needs is left on a tape. So one loaded model can serve any number of streams,
 * and a retrained one can replace it between two waves.
 *
 * Adding a layer is adding a file and a row in layer.c. Files are read and written by
 * the table of fields: Keras's names, all spellings of all versions.
 */
#ifndef KY_LAYER_H
#define KY_LAYER_H

#include <stdint.h>

#include "models/error.h"
#include "models/kernels.h"
#include "models/rng.h"

enum { KY_RANK = 5, KY_MAX_WEIGHTS = 8, KY_SPATIAL = 3, KY_MAX_WEIGHT_RANK = 4, KY_ANY = -1 };

/*
 * Shape of one row (no batch). As a layer sees it, `timed` says that d[0] are the steps that
 * ky_call.T counts; of a tensor, that its first axis follows the model's time, KY_ANY for any
 * length.
 */
typedef struct ky_shape {
    int rank;
    int d[KY_RANK];
    bool timed;
} ky_shape;

enum ky_padding { KY_VALID, KY_SAME, KY_CAUSAL };
/* Of Bidirectional. The last two have no name: Keras's null gives both outputs from one call, here
 * two calls that share their weights give one each. */
enum ky_merge_mode { KY_CONCAT, KY_SUM, KY_AVE, KY_MUL, KY_FORWARD, KY_BACKWARD };
enum ky_interpolation { KY_NEAREST, KY_BILINEAR };

/* A list of whole numbers of any length up to KY_RANK; n is -1 where the file has none. */
typedef struct ky_dims {
    int n;
    int d[KY_RANK];
} ky_dims;

/* A list of real numbers, one for each channel; n is -1 where the file has none. */
enum { KY_MAX_REALS_LISTED = 64 };
typedef struct ky_reals {
    int n;
    double v[KY_MAX_REALS_LISTED];
} ky_reals;

/* What a layer does along time (DESIGN 5.1); it may depend on the configuration. */
enum ky_form {
    KY_POINTWISE,  /* no state */
    KY_RECURRENT,  /* its cell state */
    KY_LOCAL,      /* a ring of the last inputs and a phase */
    KY_COLLAPSING, /* where time ends and only whole windows can answer (Flatten, global pooling) */
    KY_MIXING,     /* whole windows only */
};

/* Every option of every layer, by Keras 3's names; a layer reads those its fields name. */
typedef struct ky_layer_config {
    int units, filters, groups, depth_multiplier, axis, n, input_dim, output_dim;
    int kernel_size[KY_SPATIAL], strides[KY_SPATIAL], dilation_rate[KY_SPATIAL];
    int pool_size[KY_SPATIAL], size[KY_SPATIAL];
    int margins[KY_SPATIAL][2]; /* padding of ZeroPadding, cropping of Cropping */
    ky_dims target_shape, dims, axes, shared_axes; /* axes: "axis" where it may be a list */
    enum ky_padding padding;
    enum ky_activation activation, recurrent_activation;
    enum ky_merge_mode merge_mode;
    enum ky_interpolation interpolation;
    bool use_bias, return_sequences, unit_forget_bias, center, scale, keepdims, reset_after;
    bool stateful, go_backwards, unroll, mask_zero, normalize, zero_output_for_mask, rms_scaling,
        invert;
    double rate, recurrent_dropout, momentum, epsilon, stddev;
    double alpha, max_value, negative_slope, threshold, mask_value, l1, l2;
    ky_reals factors, offsets, mean, variance;
} ky_layer_config;

enum ky_field_type {
    KY_F_INT,
    KY_F_FLOAT, /* infinity stands for null */
    KY_F_BOOL,
    KY_F_PADDING,
    KY_F_ACTIVATION,
    KY_F_MERGE_MODE,
    KY_F_INTERPOLATION,
    KY_F_DIMS,    /* ky_dims */
    KY_F_REALS,   /* ky_reals */
    KY_F_MARGINS, /* [list][2] */
};

/*
 * One key of a Keras config: {"filters", KY_F_INT, ...}. Whatever its type, a value is a row of
 * numbers: one, `list` of them, as many as a ky_dims has, or two a margin. What older files call
 * it stands in keras_config.c.
 */
typedef struct ky_field {
    const char *key; /* Keras 2 and 3, and what we write */
    enum ky_field_type type;
    size_t at;        /* offsetof(ky_layer_config, ...) */
    double otherwise; /* where the file has no such key */
    int list;         /* written as a list of so many; 0: a plain value */
} ky_field;

/* One array of weights, e.g. {"kernel", 2, {9, 64}}. Trainable ones come first. */
typedef struct ky_weight {
    const char *name; /* Keras's: kernel, recurrent_kernel, bias, gamma, beta, moving_mean ... */
    int rank;
    int d[KY_MAX_WEIGHT_RANK];
    bool trainable;
    size_t len; /* product of d */
    size_t at;  /* first real in the layer's slice of the block */
} ky_weight;

typedef struct ky_layer ky_layer;

/* A layer's weights as the kernels want them; each layer fills in what it needs. */
typedef struct ky_packed {
    ky_mat *mat;             /* for window and step */
    ky_mat *recurrent;       /* of the recurrent part, where it is apart */
    ky_mat *back_x;          /* the transpose, for dx */
    ky_mat *back_h;          /* of the recurrent part, for dh */
    ky_lstm_mat *lstm;       /* for window and step */
    ky_gru_mat *gru;         /* for window and step */
    ky_real *v;              /* vectors worked out of the weights; from malloc */
    struct ky_packed *inner; /* [n_inner] of the wrapped layers; from calloc */
    int n_inner;
} ky_packed;

/* One input of a call: x [B,T,...], and which of its steps are real, [B,T] of 0 and 1, or NULL
 * if all are. */
typedef struct ky_input {
    const ky_real *x;
    int T;
    const uint8_t *mask;
} ky_input;

/*
 * Along time, output o of a local layer reads the inputs o*stride + first ... + span - 1; of
 * those outside the window it makes what the padding says.
 */
typedef struct ky_taps {
    int stride, first, span;
} ky_taps;

/* Outputs [o0,o1) of a window are wanted, out of its inputs [i0,i1): all that these outputs read
 * and the window has. */
typedef struct ky_stretch {
    int i0, i1, o0, o1;
} ky_stretch;

/* One forward or backward call over B rows of T steps; T = 1 for rows without time. */
typedef struct ky_call {
    int B, T;           /* rows; steps of the layer's input */
    int T_out;          /* steps of its output: ky_layer_steps(l, T) */
    bool training;      /* dropout on, batch statistics where the layer is trainable */
    ky_rng *rng;        /* for dropout; drawn in index order of x */
    ky_real *scratch;   /* n_scratch() reals, 64-byte aligned */
    ky_real *tape;      /* n_tape() reals, 64-byte aligned; NULL: nothing will be differentiated */
    void *const *state; /* [B] states of a recurrent layer, of a local one in step(), 64-byte
                           aligned: read, and left at the end; NULL: from zeros (window only) */
    const ky_input *in; /* [n_in] what merging layers and masks read; NULL: x alone, no mask */
    uint8_t *mask_out;  /* [B,T_out] wanted by the engine from layers that make masks; NULL: not */
    ky_real *const *dx; /* [n_in] backward of merging layers: in the place of its dx argument */
    const ky_stretch *part; /* only of layers with taps(), in window(): x [B,i1-i0,in] and y
                            [B,o1-o0,out] are this part of a window of T steps; NULL: all of it */
} ky_call;

/* What becomes of a mask. */
enum ky_masking {
    KY_MASK_STOPS,  /* the output has none (Keras: the layer does not support masking) */
    KY_MASK_PASSES, /* the first input's goes on, unless shape() clears l->masked */
    KY_MASK_MADE,   /* window() and step() fill in c->mask_out where l->masked */
};

typedef struct ky_layer_ops {
    const char *class_name; /* as Keras writes it */
    const ky_field *fields; /* ends with key NULL */
    int min_in, max_in;     /* inputs of a merging layer, max KY_ANY: any number; 0: one */
    enum ky_masking masking;
    bool view; /* outside training window() copies x as it is, so the engine need not call it */
    const struct ky_cell *cell; /* of a recurrent layer: models/recurrent.h */

    /** From l->ins (l->in) and l->cfg: l->out, l->weights, l->state_reals, l->form, and l->masked,
     *  which is true at first where a mask would pass. KY_ESHAPE, KY_EINVAL, KY_EUNSUPPORTED; the
     *  caller adds the layer's name. */
    int (*shape)(ky_layer *l, ky_err *err);
    /** Steps of the output for T steps of input, < 1: too short. NULL: see ky_layer_steps. */
    int (*steps)(const ky_layer *l, int T);
    /** Of a merging layer: steps of the output once inputs 0..k are joined; `before`: once those
     *  before k were (k > 0), T: steps of input k, 1 without time. < 1: they do not go together.
     *  Its window reads the T of every input, not c->T. NULL: steps() of the only input. */
    int (*join)(const ky_layer *l, int k, int before, int T);
    /** What outputs of a window of T steps read. Layers that have it heed c->part, so that what
     *  two windows have in common need not be computed twice. NULL: whole windows only. */
    ky_taps (*taps)(const ky_layer *l, int T);
    /** Initial values as Keras draws them, into this layer's slice of zeros. NULL: zeros. */
    void (*init)(const ky_layer *l, ky_real *w, ky_rng *rng);
    /** Pack for a kernel set, `backward`: also what backward() reads. ret comes zeroed and is
     *  freed by the caller, also after KY_ENOMEM. NULL: nothing to pack. */
    int (*pack)(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret);
    /** Reals of scratch of one window or step, or, `backward`, of one backward. NULL: 0. */
    size_t (*n_scratch)(const ky_layer *l, const ky_packed *p, int B, int T, bool backward);
    /** Reals of tape between window and backward. NULL: 0. */
    size_t (*n_tape)(const ky_layer *l, int B, int T);

    /** x [B,T,in] -> y [B,T_out,out]. w is this layer's slice of the weights. x, y apart. */
    void (*window)(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y);
    /**
     * One step of B rows (c->T is 1): x [B,in], states advanced; emit[r] tells whether row r
     * gave an output, y [B,out] holds it there. NULL for pointwise layers, whose step is
     * window with T = 1, and for collapsing and mixing ones, which have none.
     */
    void (*step)(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                 const ky_call *c, const ky_real *x, ky_real *y, bool *emit);
    /** Whether the counters of a stored state are in range. NULL: it holds only reals. */
    bool (*state_ok)(const ky_layer *l, const void *state);
    /**
     * dy [B,T_out,out] -> dx (NULL: not wanted), dw += (the slice's layout); x, y and c->tape as
     * window had and left them, with the same B, T and training. Moving statistics
     * (weights that are not trainable) have no gradient: their place in dw receives += the
     * statistic of this call (a batch's mean, its variance), and ky_train lets the weight follow
     * it by cfg.momentum. Batch statistics are used where c->training and l->trainable. The
     * training copy of a last Dense has its softmax or sigmoid taken off (cfg.activation =
     * KY_LINEAR) and is given the gradient before it: window and backward read the activation
     * from cfg, pack does not depend on it.
     */
    void (*backward)(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw);
    /** Multiply-adds of one row over T steps of input. NULL: 0. */
    size_t (*macs)(const ky_layer *l, int T);
} ky_layer_ops;

/*
 * A layer as it is called at one place of the graph. Layers that are called at several places
 * are several of these with one slice of the weights (`shares`).
 */
struct ky_layer {
    const ky_layer_ops *ops;
    char name[64];
    bool trainable;
    ky_layer_config cfg;
    int n_inner;            /* Bidirectional: 2, forward and backward */
    struct ky_layer *inner; /* [n_inner] wrapped layers, the model's own; their weights_at count
                              from this layer's slice */

    /* The call. */
    int n_in;
    int *from;  /* [n_in] layers[i] for i >= 0, the model's input k for -1-k; the model's own */
    int shares; /* the first call of the same layer; its own place if there is no other */
    int distributed; /* TimeDistributed: leading axes of the tensor that are folded into the rows */

    /* What shape() works out. */
    ky_shape *ins; /* [n_in] the inputs as the layer sees them; in is the first; the model's own */
    int n_masked;  /* how many of them carry a mask; known to shape() */
    ky_shape in, out; /* as the layer sees them: without the folded axes */
    ky_shape tensor;  /* the output with the folded axes */
    enum ky_form form;
    bool masked;    /* the output carries a mask */
    bool wide_mask; /* in Keras it carries one of more than steps; here nobody may read that */
    /* Steps and columns of the output as its only reader, a pool without padding, takes them: set
     * by ky_model_finish(). What it leaves out need not be there. size 0: all of it is read. */
    struct {
        int size, strides;
    } pooled[2];
    int n_weights;
    ky_weight weights[KY_MAX_WEIGHTS];
    size_t weight_reals; /* sum of the weights' len */
    size_t weights_at;   /* first real of the slice in the model's block */
    size_t state_reals;  /* a stream carries in stream form, 0 without; all zeros at the start */
    const char *no_step; /* why it cannot be stepped, set by shape(); NULL: it can */
    const char
        *no_training; /* why these options cannot be trained, set by shape(); NULL: they can */
};

/** The table. Ends with NULL. */
extern const ky_layer_ops *const ky_layer_table[];

/** By Keras's class name, any version's spelling (Convolution1D ...); NULL if unknown. */
const ky_layer_ops *ky_layer_find(const char *class_name);

/** A class's name as Keras makes names of it, cut to fit: "MaxPooling1D" -> "max_pooling1d", "ReLU"
 *  -> "re_lu", "ConvLSTM2D" -> "conv_lstm2d" (keras/src/utils/naming.py). */
void ky_snake_case(const char *class_name, char *to, size_t size);

/** How many numbers an option holds, at most KY_FIELD_MAX, and the i-th of them (enums and
 *  booleans too). ky_field_resize changes the length of a KY_F_DIMS or
 *  KY_F_REALS, at most ky_field_most; -1: there is no list. */
enum { KY_FIELD_MAX = KY_MAX_REALS_LISTED };
int ky_field_most(const ky_field *f);
int ky_field_len(const ky_field *f, const ky_layer_config *cfg);
void ky_field_resize(const ky_field *f, ky_layer_config *cfg, int n);
double ky_field_get(const ky_field *f, const ky_layer_config *cfg, int i);
void ky_field_set(const ky_field *f, ky_layer_config *cfg, int i, double v);

/** A layer with the fields' defaults; an empty name is replaced by ky_model_add. */
void ky_layer_init(ky_layer *l, const ky_layer_ops *ops, const char *name);

/** Steps of the output for T steps of input: ops->steps, else T while time goes on, else 1. */
int ky_layer_steps(const ky_layer *l, int T);

/** Steps of a merging layer's output on its inputs in[n_in], of which only T is read; < 1: they do
 *  not go together. */
int ky_layer_join(const ky_layer *l, const ky_input *in);

/**
 * How the engine calls a layer on B rows of a tensor of T steps (1 without time): the rows and
 * steps of window().
 */
void ky_layer_fold(const ky_layer *l, const ky_shape *tensor, int B, int T, int *ret_B, int *ret_T);

/** Scratch and tape of a call, 0 where the layer wants none. */
size_t ky_layer_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward);
size_t ky_layer_tape(const ky_layer *l, int B, int T);

/** Reals of one step of one row: all of it without time. */
size_t ky_shape_step(const ky_shape *s);

/** "relu", "same" ... as Keras writes it; never NULL. */
const char *ky_activation_name(enum ky_activation a);
const char *ky_padding_name(enum ky_padding p);
const char *ky_merge_mode_name(enum ky_merge_mode m);
const char *ky_interpolation_name(enum ky_interpolation i);

/** By Keras's name; hard_sigmoid differs before Keras 3. KY_EUNSUPPORTED if unknown. */
int ky_activation_find(const char *name, int keras_major, enum ky_activation *ret);
int ky_padding_find(const char *name, enum ky_padding *ret);
int ky_merge_mode_find(const char *name, enum ky_merge_mode *ret);
int ky_interpolation_find(const char *name, enum ky_interpolation *ret);

#endif
