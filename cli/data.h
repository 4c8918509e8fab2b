/*
 * Data for training and scoring, from people's own HDF5 files: X [N,...], rows of any shape a model
 * takes (vectors [F], series [T,F], tokens [T], images [H,W,C], videos [T,H,W,C]), with labels y
 * (whole numbers or names), X_train/y_train and X_test/y_test, optional group, ts and len
 * (steps of rows that are shorter), and the attributes class_names and features. Everything is read
 * into memory and checked.
 */
#ifndef KY_DATA_H
#define KY_DATA_H

#include "cli/data_rows.h"
#include "models/evaluate.h"
#include "models/h5.h"

/* What is looked for where the argument names no dataset. */
enum ky_part {
    KY_PART_TRAIN = 1, /* X_train, else X */
    KY_PART_TEST = 2,  /* X_test only */
    KY_PART_EVAL = 4,  /* X_test, else X */
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
    ky_data_rows *rows;
    int32_t *y;
    uint32_t *group;
    int64_t *ts;
    float *target; /* [N,set.C] where targets were asked for */
    enum ky_naming naming;
    char **classes; /* [n_classes] one allocation */
    int n_classes;
    char **features;           /* [F] one allocation, or NULL */
    ky_vocabulary *vocabulary; /* the words whose numbers the values are, or NULL */
    uint64_t hash;             /* of shapes, values and labels */
} ky_data;

/* Bytes that rows may take in memory where nobody says; more of them are read in blocks. */
#define KY_DATA_MEMORY ((size_t)512 << 20)

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

/** The values alone: labels, groups and times are left where they are. */
int ky_data_load_x(const char *spec, enum ky_part part, ky_data *ret, ky_err *err);

/* What is looked for beside the values. */
enum ky_beside { KY_BESIDE_CLASSES, KY_BESIDE_TARGETS, KY_BESIDE_NOTHING };

/** Any of the three, with so many bytes of memory for rows. */
int ky_data_load_within(const char *spec, enum ky_part part, enum ky_beside beside, size_t memory,
                        ky_data *ret, ky_err *err);

/** Dimensions for a message, "[28,28,1]". */
typedef struct ky_data_dims {
    char text[96];
} ky_data_dims;
ky_data_dims ky_data_shape(int rank, const uint64_t *dims);

/** Cut the rows into the model's steps: images and rows without time are one step, tokens are
 *  steps of one value. KY_ESHAPE names both shapes if the values of a row do not fit, KY_EINVAL if
 *  their words are numbered otherwise than the model's. */
int ky_data_fit(ky_data *d, const ky_model *m, ky_err *err);

/** The rows of a group become pieces of one stream, whose state goes on from each to the next;
 * without groups they are all of one. */
int ky_data_carry(ky_data *d, ky_err *err);

/** KY_EINVAL names the first value that is no token of a model that takes tokens. */
int ky_data_check_tokens(const ky_data *d, const ky_model *m, ky_err *err);

/** Type and shape of a dataset that can be rows: KY_ESHAPE if it cannot. */
int ky_data_stat(ky_h5 *f, const char *path, ky_h5_info *ret, ky_err *err);

/** KY_ESHAPE if the file's test part has rows of another shape than d, its training part; nothing
 *  is read but shapes. */
int ky_data_check_test(const char *spec, const ky_data *d, ky_err *err);

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

#endif
