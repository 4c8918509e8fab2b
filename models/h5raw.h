/*
 * Bytes of an HDF5 file, read without the HDF5 library, which trusts lengths that stand in
 * the file (1.10.8 reads past its buffers on a flipped bit). Here every length is held
 * against what is there: messages of object headers, texts in the global heap, filters.
 *
 * Layouts are those of the HDF5 File Format Specification, version 3. Part of h5_read.c.
 */
#ifndef KY_H5RAW_H
#define KY_H5RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/error.h"

/* A file: either open on fd, or in memory. Addresses count from `base`. */
typedef struct ky_h5raw {
    int fd;
    const unsigned char *image; /* NULL: fd */
    uint64_t bytes, base;
} ky_h5raw;

/** n bytes from an address; false if they are not all inside the file. */
bool ky_h5raw_get(const ky_h5raw *f, uint64_t at, void *buf, uint64_t n);

/** Little-endian number of up to 8 bytes, as everything in the format is. */
uint64_t ky_h5raw_number(const unsigned char *p, int bytes);

/** Rounded up to whole words of 8 bytes. */
static inline size_t ky_h5raw_padded(size_t n)
{
    return (n + 7) / 8 * 8;
}

#define KY_H5RAW_NOWHERE UINT64_MAX /* an address that is none */

/* A message of an object header. */
typedef struct ky_h5raw_message {
    unsigned type;
    bool shared; /* its content is elsewhere */
    const unsigned char *p;
    size_t n;
    uint64_t at; /* address of p */
} ky_h5raw_message;

/** Called for each message; nonzero ends the walk and is what it returns. */
typedef int ky_h5raw_visit(void *arg, const ky_h5raw_message *m, ky_err *err);

/** Through all messages of the header at an address. KY_EFORMAT if it is damaged. */
int ky_h5raw_messages(const ky_h5raw *f, uint64_t header, ky_h5raw_visit *visit, void *arg,
                      ky_err *err);

/**
 * The texts that n references (16 bytes each: length, heap, index) lead to, in one allocation
 * of pointers and text, each cut at its first NUL; free().
 */
int ky_h5raw_texts(const ky_h5raw *f, const unsigned char *refs, size_t n, char ***ret,
                   ky_err *err);

/** One allocation of n pointers, NULL and the texts behind; NULL when out of memory. */
char **ky_h5raw_pack(size_t n, const char *const *text, const size_t *len);

/* What a chunk went through when it was written, in that order. */
enum ky_h5raw_filter { KY_H5RAW_DEFLATE, KY_H5RAW_SHUFFLE, KY_H5RAW_FLETCHER32 };

enum { KY_H5RAW_FILTERS = 4 };

typedef struct ky_h5raw_pipeline {
    int n;
    enum ky_h5raw_filter filter[KY_H5RAW_FILTERS];
    size_t element; /* bytes of a value, for shuffle */
} ky_h5raw_pipeline;

/**
 * Undo the filters of one chunk.
 *
 * @param skip   bit i: filter i was not applied to this chunk
 * @param chunk  receives `bytes` bytes; anything that unpacks to more or fewer is refused
 */
int ky_h5raw_unpack(const ky_h5raw_pipeline *p, unsigned skip, const void *packed, size_t n,
                    void *chunk, size_t bytes, ky_err *err);

#endif
