/*
 * Rows that do not fit in memory and come in no order: they are put at their places in a file
 * without a name, which is gone with the process, and are read from there in blocks. One thread.
 */
#ifndef KY_SPOOL_H
#define KY_SPOOL_H

#include "models/dataset.h"

typedef struct ky_spool {
    ky_source source; /* what is read; its hash is left to the caller */
    int fd;
    size_t row; /* bytes */
    char dir[4096];
} ky_spool;

/**
 * Room for `rows` rows of `len` values in a folder.
 *
 * @param memory bytes that whoever reads may use for rows
 * @return KY_EIO, also where the disk has no room
 */
int ky_spool_open(const char *dir, uint32_t rows, size_t len, size_t memory, ky_spool **ret,
                  ky_err *err);
void ky_spool_close(ky_spool *s);

/** Row number `at`, x [len]. */
int ky_spool_put(ky_spool *s, uint32_t at, const float *x, ky_err *err);

#endif
