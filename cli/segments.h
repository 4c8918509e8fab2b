/*
 * Labelled sequences of one length out of the archive's sealed segments, with the labels
 * that came late. What does not fit in memory is put by in a file, to be read in blocks.
 */
#ifndef KY_SEGMENTS_H
#define KY_SEGMENTS_H

#include "cli/spool.h"
#include "cli/windows.h"

typedef struct ky_segments_opts {
    const char *const *from; /* [n_from] segments, or folders of one stream class each */
    int n_from;
    const char *results;    /* results.db, NULL: no late labels */
    const char *class_name; /* of the late labels; NULL: each folder is named after its class */
    size_t memory;          /* bytes that the rows may take, */
    const char *dir;        /* and the folder where more of them are put by */
} ky_segments_opts;

typedef struct ky_segments {
    ky_dataset set; /* points into what is below; ts is that of the whole sequence's last sample */
    float *x;
    ky_spool *spool; /* where x is NULL */
    int32_t *y;
    int64_t *ts;
    ky_windows_count count;
} ky_segments;

/**
 * Read all segments. Sequences become windows of the model's length, or, where it takes any, of the
 * most frequent length. A window's label is that of its last labelled step; where a whole sequence,
 * from start to end, has only one label, it is that of all its windows. Labels become the model's
 * classes.
 */
int ky_segments_load(const ky_segments_opts *o, const ky_model *m, ky_segments *ret, ky_err *err);
void ky_segments_free(ky_segments *s);

#endif
