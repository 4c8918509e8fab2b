/*
 * Bytes of an HDF5 file, read without the HDF5 library: variable-length text and packed
 * chunks, the two places where the library trusts lengths that stand in the file (text is
 * copied whole into a buffer sized by another field; a chunk is unpacked as far as it goes
 * and used as far as its shape says). Here every length is held against what is there.
 *
 * Layouts are those of the HDF5 File Format Specification, version 3: object headers (IV.A),
 * the attribute message (IV.A.2.m), the global heap (III.E). Part of models/h5.c.
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

/**
 * The stored value of an attribute, at least `len` bytes of it, from the header of its object.
 *
 * @param header  address of the object's header
 * @param ret     receives len bytes
 * @return        KY_EFORMAT; KY_EUNSUPPORTED where it is stored elsewhere (dense, shared)
 */
int ky_h5raw_attr(const ky_h5raw *f, uint64_t header, const char *name, void *ret, size_t len,
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
