/*
 * Where in a person's HDF5 file the rows are that are meant, and what stands beside them: labels,
 * groups and times of rows under the names that people use.
 */
#ifndef KY_DATA_PLACE_H
#define KY_DATA_PLACE_H

#include "cli/data.h"

/* Names of a set of rows; what stands beside it is called as in "/group_train". */
typedef struct ky_data_spelling {
    const char *x, *y, *before, *behind;
    unsigned parts;
} ky_data_spelling;

/* An open file and what in it is meant. */
typedef struct ky_data_place {
    ky_h5 *f;
    char path[4096];
    char x[256]; /* dataset, absolute inside the file */
    ky_data_spelling named;
    char y[256]; /* its labels; "" where nothing says which they are */
} ky_data_place;

/** Open what "file.h5" or "file.h5:dataset" means by a part; p->f is to be closed also after a
 *  failure. KY_ENOENT: there is no such file, dataset or part. */
int ky_data_place_open(const char *spec, enum ky_part part, ky_data_place *p, ky_err *err);

/** The dataset of this name that stands beside the values, if there is one. */
bool ky_data_place_beside(const ky_data_place *p, const char *what, char name[64]);

/** Read what stands beside the values of d, whose shape is known, and the names of classes and
 *  features; all of it is checked. */
int ky_data_beside(ky_data_place *p, enum ky_beside beside, ky_data *d, ky_err *err);

#endif
