/*
 * Bytes of a file, unpacked where it is gzipped, as a whole, line by line or as a stream. The only
 * file of the command that knows zlib. One thread at a time.
 */
#ifndef KY_BYTES_H
#define KY_BYTES_H

#include <stdint.h>
#include <stdio.h>

#include "models/error.h"

typedef struct ky_bytes {
    const char *path; /* borrowed */
    struct gzFile_s *gz;
    char *line; /* the current one */
    size_t cap;
    int64_t number; /* of the line, from 1 */
    uint64_t size;  /* of the file as it lies there */
} ky_bytes;

int ky_bytes_open(const char *path, ky_bytes *ret, ky_err *err);
void ky_bytes_close(ky_bytes *b);
/** No more than so many bytes can come out of the file, whatever it says of itself. */
uint64_t ky_bytes_most(const ky_bytes *b);
/** No more than so many can come out of n that are packed as in gzip and PNG. */
uint64_t ky_bytes_unpacked(uint64_t n);
/** Up to n bytes; fewer at the end only. */
int ky_bytes_read(ky_bytes *b, void *to, size_t n, size_t *ret_n, ky_err *err);
/** Exactly n bytes, or KY_EFORMAT: the file is too short. */
int ky_bytes_read_all(ky_bytes *b, void *to, size_t n, ky_err *err);
/** The next line without its end and without a byte order mark, ending with NUL: 1 and its length,
 *  0 at the end. It is b->line, to be changed at will. A NUL in it is refused. */
int ky_bytes_line(ky_bytes *b, size_t *ret_len, ky_err *err);

/** A plain file as a stream, to be closed with fclose. */
int ky_bytes_stream(const char *path, FILE **ret, ky_err *err);

#endif
