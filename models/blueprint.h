/*
 * The inside of a model, for those who build, read, write and train models. Everybody
 * else uses model.h.
 */
#ifndef KY_BLUEPRINT_H
#define KY_BLUEPRINT_H

#include "models/json.h"
#include "models/layer.h"
#include "models/model.h"

/* What kymo keeps in a model file beyond Keras (attributes kymo_*, ignored by Keras). */
typedef struct ky_model_meta {
    char **labels;
    int n_labels;
    char **feature_names;      /* NULL or [features] */
    ky_vocabulary *vocabulary; /* how sentences become its rows; NULL */
    ky_json *extra;            /* object: seed, data hash, history ...; NULL */
} ky_model_meta;

struct ky_model {
    char name[64];
    int n_layers;
    ky_layer *layers; /* the calls, each behind those it reads; without the InputLayers */
    int n_inputs;
    ky_shape *inputs;   /* [n_inputs] */
    char **input_names; /* [n_inputs], as Keras has them; NULL: one without a name */
    int n_outputs;
    int *outputs;     /* [n_outputs] tensors, numbered as ky_layer.from */
    size_t n_weights; /* reals in the block */
    ky_real *weights; /* one contiguous block, 64-byte aligned */
    const ky_kernels *kernels;
    ky_packed *packed; /* [n_layers], of a layer's first call */
    bool training;     /* pack also what backward() reads, and leave the hash: set by training */
    ky_model_meta meta;
    ky_model_info info;
};

/** Where the model's input k stands among the tensors. */
#define KY_INPUT(k) (-1 - (k))

/** An empty model for inputs of this shape; timed where its first axis is the model's time. */
int ky_model_new(const char *name, const ky_shape *input, ky_model **ret, ky_err *err);

/** One more input; its number is m->n_inputs - 1. The name is copied. */
int ky_model_add_input(ky_model *m, const char *name, const ky_shape *shape, ky_err *err);

/** The name of input k. */
int ky_model_name_input(ky_model *m, int k, const char *name, ky_err *err);

/** Append a layer on what the last one gives: shapes are worked out, KY_ESHAPE names the
 *  layer. `l` is copied; its inner layers are taken over, also after an error. */
int ky_model_add(ky_model *m, const ky_layer *l, ky_err *err);

/**
 * Call a layer on the tensors from[n].
 *
 * @param l       l->shares: an earlier call of the same layer, whose weights it shares (name
 *                and options are that one's), or -1 for a layer of its own. Its inner layers are
 *                taken over, also after an error.
 * @return        the number of the new tensor, or KY_ESHAPE, KY_EFULL ... naming the layer
 */
int ky_model_call(ky_model *m, const ky_layer *l, int n, const int *from, ky_err *err);

/** The tensors that are the answer, instead of the last layer's. */
int ky_model_set_outputs(ky_model *m, int n, const int *tensors, ky_err *err);

/** Shape of a tensor. */
const ky_shape *ky_model_tensor(const ky_model *m, int tensor);

/** The first layer that neither reads its input's mask nor passes it on, so that it takes padding
 *  for steps; NULL if there is none. */
const char *ky_model_mask_stops(const ky_model *m);

/** The input whose steps are the T of a run: the first of any length, or the first with steps; -1:
 *  none has, T is 1. All others of any length have as many. */
int ky_model_time(const ky_model *m);

/** Whether each layer is called once, on the one before it, from one input to one output. */
bool ky_model_is_chain(const ky_model *m);

/** What call i reads weights with: packed once for all calls of a layer. */
const ky_packed *ky_model_packed(const ky_model *m, int i);

/**
 * Run call i on B rows.
 *
 * @param in       [n_in] its inputs
 * @param y        receives [B,T,...] of its tensor
 * @param mask     receives [B,T] of a layer that makes masks; NULL: not wanted
 * @param scratch  ky_call_scratch() reals
 */
void ky_model_run_call(const ky_model *m, int i, int B, const ky_input *in, ky_real *scratch,
                       ky_real *y, uint8_t *mask);

/** Steps of call i's tensor where tensor t has T[t]: those of the model's inputs stand before
 *  those of the calls, backwards. 1 without time; < 1: its inputs do not fit. */
int ky_call_steps(const ky_model *m, int i, const int *T);

/** Steps of every tensor in a run of T, into all[n_inputs+n_layers], the inputs' first; false if T
 *  is no length for the model. */
bool ky_model_steps(const ky_model *m, int T, int *all);

/** Whether call i reads a tensor whose first axis is the model's time. */
bool ky_call_timed(const ky_model *m, int i);

/** Multiply-adds of call i for one row whose (first) input has T steps. */
size_t ky_call_macs(const ky_model *m, int i, int T);

/** Reals of scratch for call i on B rows of T steps. */
size_t ky_call_scratch(const ky_model *m, int i, int B, int T);

/** What becomes of a call in a run: it runs; somebody else gives its tensor, before the run; nobody
 *  reads it. */
enum ky_run_form { KY_RUN_CALL, KY_RUN_GIVEN, KY_RUN_NOT };

/** Whether call i gives what it reads as it is (Flatten ...): it has the slot of what it reads, and
 *  need not run. */
bool ky_call_is_view(const ky_model *m, int i);

/** Slots of memory for the tensors of the calls that run or are given, so that none is written
 *  over while somebody may read it: slot_of[n_layers]. `form`: NULL if all run. Returns how many
 *  slots there are, or KY_ENOMEM. */
int ky_model_slots(const ky_model *m, const enum ky_run_form *form, int *slot_of);

/** Work that leaves out calls: those whose form is KY_RUN_GIVEN find their tensor [B,T,...],
 * without a mask, where ky_work_tensor says, filled in before every run. `form` is borrowed. */
ky_work *ky_work_new_rest(const ky_model *m, int T, int max_rows, const enum ky_run_form *form);
ky_real *ky_work_tensor(ky_work *w, int i);

/** Bytes of the mask that call i makes for a row, 0 if it makes none. Where its tensor has no
 *  steps, the layer may still see some. T as in ky_call_steps. */
size_t ky_call_mask(const ky_model *m, int i, const int *T);

/** All layers are there: allocate the weights (zeros) and fill in `info`. */
int ky_model_finish(ky_model *m, ky_err *err);

/** Initial weights as Keras draws them. */
void ky_model_init(ky_model *m, uint64_t seed);

/** (Re)pack for m->kernels (NULL: those in use) after the weights changed, and work out the hash.
 */
int ky_model_pack(ky_model *m, ky_err *err);

/** Array i of layer l, in Keras's layout. */
ky_real *ky_model_weight(ky_model *m, int l, int i);

/**
 * A copy of a model of one input with a layer in front that takes `mean` from each feature and
 * divides by `std`: a BatchNormalization that does not learn, which every Keras reads.
 *
 * @param mean, std  [features], the last dimension of the input; std > 0
 */
int ky_model_normalize(const ky_model *m, const double *mean, const double *std, ky_model **ret,
                       ky_err *err);

struct ky_h5;

/** Writes more into a model's HDF5 file before it is put in place. */
typedef int (*ky_saving)(struct ky_h5 *f, void *arg, ky_err *err);

/** Save as HDF5 whatever the name, with what `more` writes. */
int ky_model_save_with(const ky_model *m, const char *path, ky_saving more, void *arg, ky_err *err);

/**
 * From an --arch string (DESIGN 4.7): "conv1d:64x3 relu, maxpool:2, lstm:64, dense".
 * The last dense without number gets n_outputs outputs, one without activation softmax.
 * KY_EINVAL with the word that is wrong and the nearest known one.
 */
int ky_arch_build(const char *arch, const ky_shape *input, int n_outputs, bool normalize,
                  ky_model **ret, ky_err *err);

/* What an --arch string is built for. */
typedef struct ky_arch_opts {
    ky_shape input; /* of a row. With `embed` in front values are tokens, one a step, and with
                       conv2d rows of [height,width] or [steps,height,width] have one channel */
    int n_outputs;
    enum ky_activation answer; /* of a last dense that names none: KY_SOFTMAX for classes, KY_LINEAR
                                  for numbers, KY_SIGMOID for labels */
    bool normalize;            /* a layer in front takes off means and divides by deviations: of
                                  each value of a step, of images of each channel; never of tokens */
    int vocabulary;            /* of an `embed` that does not say its own; 0: it must */
    bool masks; /* rows are shorter than the input: steps whose values are all KY_MASK_VALUE, or
                   tokens 0, are not there */
} ky_arch_opts;

/* What no measurement is: the lowest number there is. Finite, as Keras multiplies it by zero. */
#define KY_MASK_VALUE (-3.4028234663852886e38)

/** The same for rows of any shape, and for answers that are no classes. */
int ky_arch_build_for(const char *arch, const ky_arch_opts *o, ky_model **ret, ky_err *err);

/** Whether the first layer of the line takes tokens. */
bool ky_arch_takes_tokens(const char *arch);

#endif
