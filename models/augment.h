/*
 * Augmentation: rows that are learned from are changed a little each time they are met, so that
 * what does not matter is not learned. What is drawn depends on the seed, the epoch and the row
 * alone. Any thread.
 *
 *     y = m + (x' - m) (1 + scale z) + jitter s e
 *
 * with m and s the mean and deviation of a value over the training part (of images of a channel), z
 * drawn once a row and e for every value, both normal; x' is x moved by up to `shift` steps, of
 * images and the frames of a video by up to as many pixels either way, its edges repeated.
 */
#ifndef KY_AUGMENT_H
#define KY_AUGMENT_H

#include "models/moments.h"

typedef struct ky_augment {
    double jitter, scale; /* >= 0 */
    int shift;            /* >= 0 */
} ky_augment;

/** From "jitter=0.05,scale=0.1,shift=4", each at most once. KY_EINVAL names the word. */
int ky_augment_parse(const char *text, ky_augment *ret, ky_err *err);

/** Whether anything is changed at all. */
bool ky_augment_any(const ky_augment *a);

typedef struct ky_augmenter {
    ky_augment by;
    const ky_model *m;
    const ky_moments *moments;              /* of the last dimension's values */
    size_t frames, height, width, channels; /* of series height is the steps */
} ky_augmenter;

/** For rows of a model's input, T steps long. KY_EINVAL: there is nothing to move, or they are
 *  tokens. m and moments are borrowed. */
int ky_augmenter_init(ky_augmenter *a, const ky_augment *by, const ky_model *m, int T,
                      const ky_moments *moments, ky_err *err);

/** A row's values x, changed, into y. */
void ky_augment_row(const ky_augmenter *a, uint64_t seed, const float *x, float *y);

#endif
