/*
 * A model: an immutable blueprint (layers, shapes, names of classes) and one
 * contiguous block of weights, packed for the kernels. It holds no state: states
 * belong to streams (plan.h). Once loaded it is read-only and any number of threads
 * may use it, each with its own ky_work.
 *
 * Files are Keras files (keras.h reads and writes them).
 */
#ifndef KY_MODEL_H
#define KY_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "models/error.h"
#include "models/kernels.h"
#include "models/vocabulary.h"

typedef struct ky_model ky_model;
typedef struct ky_work ky_work;

typedef struct ky_model_info {
    const char *name;
    int features; /* F: values a step, of the first input */
    int window;   /* T: steps of the input shape; 0: any number */
    int tokens;   /* what comes in are whole numbers below it; 0: values */
    bool masks;   /* steps of `mask_value` are not there: Masking, Embedding with mask_zero */
    double mask_value;
    int outputs;                      /* values an answer (of the first output, a step) */
    int n_inputs, n_outputs;          /* more than one: only ky_model_run takes them */
    int n_labels;                     /* 0: the file names no classes */
    const char *const *labels;        /* [n_labels] */
    const char *const *feature_names; /* [features] or NULL */
    const ky_vocabulary *vocabulary;  /* how sentences become its rows, NULL: it takes no text */
    bool probabilities;               /* the last activation is softmax or sigmoid */
    uint64_t hash;                    /* of blueprint and weights: what kymo calls this model */
    size_t params;                    /* number of weights */
    size_t macs_step;                 /* multiply-adds of one step, 0 if it has no streaming form */
    size_t macs_window;               /* multiply-adds of one window of `window` steps */
} ky_model_info;

/** Facts about the model; borrowed, as long as the model lives. */
const ky_model_info *ky_model_facts(const ky_model *m);

/** Read any Keras file of a known form. KY_EFORMAT, KY_EUNSUPPORTED (layer and reason named),
 *  KY_ENOENT, KY_EFULL (larger than the guards allow). */
int ky_model_load(const char *path, ky_model **ret, ky_err *err);

/** The same with the architecture from another file, which files that hold weights alone want:
 *  what model.to_json() writes, config.json of an archive, or any whole model. NULL: its own. */
int ky_model_load_with(const char *path, const char *config_path, ky_model **ret, ky_err *err);

/** Write the portable .h5 that Keras 2 and 3 open: temporary name, fsync, rename, fsync. */
int ky_model_save(const ky_model *m, const char *path, ky_err *err);

void ky_model_free(ky_model *m);

/** Class names where the file has none, or others; [n] strings, copied. */
int ky_model_set_labels(ky_model *m, const char *const *labels, int n, ky_err *err);

/** Names of the features, [features] strings, copied; NULL: none. */
int ky_model_set_feature_names(ky_model *m, const char *const *names, ky_err *err);

/** How sentences become rows of the model's first input; copied, NULL: it takes no text. KY_ESHAPE
 *  if an Embedding on that input has fewer rows than the vocabulary numbers. */
int ky_model_set_vocabulary(ky_model *m, const ky_vocabulary *v, ky_err *err);

/** Whether windows of T steps can be predicted: the model's own length, or any that every
 *  layer has outputs for where nothing fixes it. */
bool ky_model_fits(const ky_model *m, int T);

/** Scratch for up to max_rows rows of window calls by one thread. T as in ky_model_predict.
 *  NULL: out of memory, or T is no length for this model (ky_model_fits). */
ky_work *ky_work_new(const ky_model *m, int T, int max_rows);
void ky_work_free(ky_work *w);

/** Values of input or output k in one row of a run of T steps, and its dimensions: at most
 *  KY_MAX_RANK, returns how many. `name` is borrowed. */
enum { KY_MAX_RANK = 5 };
int ky_model_input(const ky_model *m, int k, int T, int dims[KY_MAX_RANK], const char **name);
int ky_model_output(const ky_model *m, int k, int T, int dims[KY_MAX_RANK], const char **name);

/**
 * All inputs x[n_inputs] to all outputs y[n_outputs], whole: x[k] is [B,...ky_model_input], y[k]
 * [B,...ky_model_output].
 */
void ky_model_run(const ky_model *m, ky_work *w, int B, int T, const ky_real *const *x,
                  ky_real *const *y);

/**
 * Whole windows at once: x [B,T,F] -> y [B,outputs], from zero states, T and B within what
 * the work was made for. Bit-equal to stepping (P1) and independent of B (P2). A model whose
 * output still has steps answers with the last one.
 */
void ky_model_predict(const ky_model *m, ky_work *w, int B, int T, const ky_real *x, ky_real *y);

/** 64-bit FNV-1a of bytes, continuing from h (KY_HASH0 to begin). */
#define KY_HASH0 0xcbf29ce484222325u
uint64_t ky_hash(uint64_t h, const void *data, size_t len);

#endif
