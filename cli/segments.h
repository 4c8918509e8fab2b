/*
 * Labelled sequences of one length out of the archive's sealed segments, with the labels
 * that came late.
 */
#ifndef KY_SEGMENTS_H
#define KY_SEGMENTS_H

#include "models/evaluate.h"

typedef struct ky_segments {
    ky_dataset set; /* points into what is below; ts is that of the whole sequence's last sample */
    float *x;
    int32_t *y;
    int64_t *ts;
    int sequences; /* read */
    /* left out: windows without a label or with one that the model does not know; sequences
       shorter than a window or of another number of values */
    int unlabelled, unknown, too_short, misfits;
} ky_segments;

/**
 * Read all segments under `from`: files, or folders of one stream class each. Sequences become
 * windows of the model's length, or, where it takes any, of the most frequent length. A window's
 * label is that of its last labelled step; where a whole sequence, from start to end, has only one
 * label, it is that of all its windows. Labels become the model's classes.
 *
 * @param results    results.db, NULL: no late labels
 * @param class_name stream class of the late labels; NULL: each folder is named after its class
 */
int ky_segments_load(const char *const *from, int n_from, const char *results,
                     const char *class_name, const ky_model *m, ky_segments *ret, ky_err *err);
void ky_segments_free(ky_segments *s);

#endif
