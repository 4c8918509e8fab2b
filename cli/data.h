/*
 * Data for training and scoring, from people's own HDF5 files: X [N,T,F] (for answers also rows
 * of any other shape a model takes: vectors, tokens, frames, videos) with labels y
 * (whole numbers or names), X_train/y_train and X_test/y_test, optional group and ts, and
 * the attributes class_names and features. Everything is read into memory and checked.
 */
#ifndef KY_DATA_H
#define KY_DATA_H

#include "models/evaluate.h"
#include "models/h5.h"

/* What is looked for where the argument names no dataset. */
enum ky_part {
    KY_PART_TRAIN = 1, /* X_train, else X */
    KY_PART_TEST = 2,  /* X_test only */
    KY_PART_EVAL = 4,  /* X_test, else X */
    KY_PART_PLAIN = 8, /* as EVAL, but labels, groups and times are left alone */
};

/* What the labels were in the file. */
enum ky_naming {
    KY_NAMES_NONE,   /* there are none */
    KY_NAMES_NUMBER, /* whole numbers; their digits are the names */
    KY_NAMES_LISTED, /* places in class_names */
    KY_NAMES_WORD,   /* names themselves */
};

typedef struct ky_data {
    ky_dataset set; /* points into what is below */
    char what[256]; /* "har.h5:X_train", for messages */
    float *x;
    int32_t *y;
    uint32_t *group;
    int64_t *ts;
    float *target; /* [N,set.C] where targets were asked for */
    enum ky_naming naming;
    char **classes; /* [n_classes] one allocation */
    int n_classes;
    char **features; /* [F] one allocation, or NULL */
    int rank;        /* of the dataset, rows included; set.T is dims[1] of more than two */
    uint64_t dims[1 + KY_MAX_RANK];
    uint64_t hash; /* of shapes, values and labels */
} ky_data;

/**
 * Read "file.h5" or "file.h5:dataset". Not finite values, labels out of range, shapes that do
 * not fit are refused with the row named.
 *
 * @return KY_ENOENT if there is no such file, dataset or part
 */
int ky_data_load(const char *spec, enum ky_part part, ky_data *ret, ky_err *err);
void ky_data_free(ky_data *d);

/** The same with targets instead of classes: y [N] or [N,k] finite numbers; class_names, if
 *  there are k, name them. KY_ENOENT also if there is no y. */
int ky_data_load_targets(const char *spec, enum ky_part part, ky_data *ret, ky_err *err);

/** Cut the rows into the model's steps: images and rows without time are one step, tokens are
 *  steps of one value. KY_ESHAPE names both shapes if the values of a row do not fit. */
int ky_data_fit(ky_data *d, const ky_model *m, ky_err *err);

/** One dataset as it is, finite numbers of any shape: *ret from malloc. */
int ky_data_read(ky_h5 *f, const char *path, ky_h5_info *ret_info, float **ret, ky_err *err);

/**
 * Turn the labels into the model's classes, by name where the model has names, else by number;
 * from then on set.C is the model's. KY_EINVAL names a label that the model does not know.
 */
int ky_data_match(ky_data *d, const ky_model *m, ky_err *err);

/** KY_EINVAL if `out`, about to be written, is the file that spec ("file.h5:dataset") is read
 *  from: under any name. */
int ky_data_spare(const char *spec, const char *out, ky_err *err);

/** One allocation of n strings, free(). */
char **ky_data_strs(const char *const *s, size_t n);

#endif
