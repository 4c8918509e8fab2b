/*
 * Numbers as they lie in an HDF5 file, of either byte order, and as we hold them. What does
 * not fit is cut to the nearest that does, NaN to 0. Part of h5_read.c.
 */
#ifndef KY_H5VALUE_H
#define KY_H5VALUE_H

#include "models/h5meta.h"

/** The kind a caller is told of. */
enum ky_h5_type ky_h5value_type(const ky_h5meta_type *t);

/** Bytes of a number in memory. */
size_t ky_h5value_size(enum ky_h5_type t);

/** n numbers in the file's form become ours; the two lie apart. */
void ky_h5value_convert(const ky_h5meta_type *t, const unsigned char *from, size_t n,
                        enum ky_h5_type as, unsigned char *to);

#endif
