/*
 * Images from files: PNG with libpng, JPEG with libjpeg-turbo, each where this build has it. The
 * only file that knows the two. Any thread.
 */
#ifndef KY_IMAGE_H
#define KY_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/error.h"

/* Grey (1 channel) or red, green, blue (3) from 0 to 255. */
typedef struct ky_image {
    int height, width, channels;
    uint8_t *p; /* [height,width,channels] */
} ky_image;

/** Whether a file that begins so is an image that some build reads. */
bool ky_image_is(const void *head, size_t n);

/** Size and channels without the values: p stays NULL. KY_EUNSUPPORTED: this build has no library
 *  for it; KY_EFULL: over 64 million pixels. */
int ky_image_measure(const void *bytes, size_t n, ky_image *ret, ky_err *err);

/** All of it; 16 bits become 8, transparent parts black. KY_EFORMAT also if it is damaged or ends
 *  early. free(ret->p). */
int ky_image_decode(const void *bytes, size_t n, ky_image *ret, ky_err *err);

/** Colours become 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded. */
void ky_image_to_grey(ky_image *m);

/**
 * Another size, bilinear with half-pixel centres and without antialiasing, as Keras's
 * image_dataset_from_directory resizes; values are rounded.
 *
 * @param to  [height,width,channels of m]
 */
void ky_image_resize(const ky_image *m, int height, int width, uint8_t *to);

#endif
