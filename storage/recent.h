/*
 * The newest samples of one stream that a state directory still has: out of the journal's
 * files, and before those out of the archive's segments. For people who look, also while kymod
 * appends: what it has not written yet is not seen. Any thread.
 */
#ifndef KY_RECENT_H
#define KY_RECENT_H

#include <stdint.h>

#include "models/error.h"

typedef struct ky_recent_sample {
    int64_t n, seq, ts_us; /* seq: KY_NONE without; a message's steps share seq and ts_us */
    int features;
    float *x; /* [features] */
} ky_recent_sample;

typedef struct ky_recent {
    ky_recent_sample *sample; /* [n], in the order of their steps */
    int n, most;
} ky_recent;

/**
 * The last `most` samples of a stream; fewer, or none, where they are not kept.
 *
 * @param dir     state directory
 * @param stream  its number in results.db
 * @return        KY_ENOMEM, KY_EIO and the like; a damaged file ends what is read of it
 */
int ky_recent_samples(const char *dir, const char *class_name, const char *name, uint32_t stream,
                      int most, ky_recent *ret, ky_err *err);
void ky_recent_free(ky_recent *r);

#endif
