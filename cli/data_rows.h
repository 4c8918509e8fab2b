/*
 * The values of a file's rows as a model takes them: checked, hashed, of their true lengths. Rows
 * may be shorter than the longest: a dataset of lengths says so, or NaN in all values of their
 * last steps. Rows of more bytes than may be in memory are read again whenever they are wanted.
 */
#ifndef KY_DATA_ROWS_H
#define KY_DATA_ROWS_H

#include "models/dataset.h"
#include "models/h5.h"
#include "models/model.h"

typedef struct ky_data_rows {
    ky_source source; /* where they are not in memory; reads rows as the model takes them */
    char what[256];   /* "har.h5:X_train", for messages */
    int N, steps;     /* steps: the longest row's; 1 without */
    size_t row;       /* values */
    int rank;         /* of the dataset, rows included */
    uint64_t dims[1 + KY_MAX_RANK];
    float *x;      /* [N,row]; NULL: they are read from the source */
    int32_t *len;  /* [N] steps of each row; NULL: all have all */
    bool open;     /* some values behind a row's end are no numbers */
    float largest; /* of all values that count */
    uint64_t hash; /* of shape and values */
    /* private */
    ky_h5 *f; /* stays open where there is a source */
    char name[256];
    bool masks; /* a model has said what it takes for a step that is not there: */
    float mask_value;
} ky_data_rows;

/**
 * Read a dataset [N,...] of numbers, or look through it and leave it where it is.
 *
 * @param f      *f is taken over and becomes NULL where rows are read from it later
 * @param x      its name in the file
 * @param len    name of its lengths [N], in steps of the second dimension; NULL: none
 * @param what   copied, for messages
 * @param memory rows that take more bytes, as float, are left in the file
 * @return KY_EINVAL names the first value that is not finite, and a length out of range
 */
int ky_data_rows_new(ky_h5 **f, const char *x, const char *len, const char *what, size_t memory,
                     ky_data_rows **ret, ky_err *err);
void ky_data_rows_free(ky_data_rows *r);

/** Write a model's mask value into the steps that rows do not have; they become as the model takes
 *  them. Of a model without masks they stay as they are; KY_EINVAL if they are no numbers. */
int ky_data_rows_mask(ky_data_rows *r, const ky_model *m, ky_err *err);

/** The shortest row's steps and the longest's. */
void ky_data_rows_lengths(const ky_data_rows *r, int *ret_least, int *ret_most);

#endif
