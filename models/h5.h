/*
 * HDF5. Written with the HDF5 library, under one lock (it may be built without its own). Read
 * without it, because files come from anybody and the library trusts what stands in them:
 * only hard links, no external or virtual storage, known filters, bounded sizes and
 * compression ratios, every length held against the file (RELIABILITY section 3). Read is what
 * h5py, PyTables and the library itself write by default; not the newest way of storing
 * large groups and chunks (libver 'latest'), which is refused by name.
 *
 * Handles are opaque. Any thread may read through any handle; one at a time writes.
 */
#ifndef KY_H5_H
#define KY_H5_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/error.h"

typedef struct ky_h5 ky_h5; /* an open file */

enum { KY_H5_RANK = 8 };

enum ky_h5_type {
    KY_H5_F32,
    KY_H5_F64,
    KY_H5_I8,
    KY_H5_U8,
    KY_H5_I16,
    KY_H5_I32,
    KY_H5_U32,
    KY_H5_I64,
    KY_H5_U64,
    KY_H5_STR,
    KY_H5_OTHER
};

typedef struct ky_h5_info {
    enum ky_h5_type type; /* as stored, whatever its byte order */
    int rank;
    uint64_t dims[KY_H5_RANK];
    size_t count;   /* product of dims */
    uint64_t chunk; /* rows that are stored together; 0: it is stored whole */
} ky_h5_info;

/** Open for reading. KY_ENOENT, KY_EFORMAT (not HDF5, truncated), KY_EBUSY (locked by a writer). */
int ky_h5_open(const char *path, ky_h5 **ret, ky_err *err);
/** A file image in memory, copied. */
int ky_h5_open_image(const void *image, size_t len, ky_h5 **ret, ky_err *err);
/** The same for memory from malloc (a member of an archive), taken over, also on failure. */
int ky_h5_open_taken(void *image, size_t len, ky_h5 **ret, ky_err *err);
/** Take an open file of at most `most` bytes into memory, where looking around in it asks nothing
 *  of the system; larger ones stay where they are. It stays locked. */
int ky_h5_hold(ky_h5 *f, uint64_t most, ky_err *err);
/** A new file under a temporary name beside `path`, put in place by ky_h5_commit. */
int ky_h5_create(const char *path, ky_h5 **ret, ky_err *err);
/** Takes room on the disk for so many bytes of a new file, where the file system can, so that it
 *  does not run full in the middle. What is not needed goes back with ky_h5_commit.
 *  @return KY_OK; -ENOSPC, -EDQUOT, -EFBIG and whatever else the system says */
int ky_h5_reserve(ky_h5 *f, uint64_t bytes, ky_err *err);
/** Flush, close, fsync, rename over `path`, fsync the directory; frees f also on failure
 *  (the temporary file is then removed). */
int ky_h5_commit(ky_h5 *f, ky_err *err);
/** A new file in memory, to be ended by ky_h5_commit_image or ky_h5_close. */
int ky_h5_create_image(ky_h5 **ret, ky_err *err);
/** Its bytes, free(); the same content gives the same bytes. Frees f also on failure. */
int ky_h5_commit_image(ky_h5 *f, void **ret, size_t *ret_len, ky_err *err);
/** Close; a file that was created and not committed is removed. NULL allowed. */
void ky_h5_close(ky_h5 *f);

/* -- reading: paths are absolute inside the file, "/" the root -- */
bool ky_h5_exists(ky_h5 *f, const char *path); /* group or dataset, by hard links only */
bool ky_h5_is_group(ky_h5 *f, const char *path);
/** Names of the members of a group, sorted; call fn for each until it returns nonzero. */
int ky_h5_list(ky_h5 *f, const char *group, int (*fn)(const char *name, bool is_group, void *arg),
               void *arg, ky_err *err);
/** Type and shape of a dataset, after all guards. */
int ky_h5_stat(ky_h5 *f, const char *dataset, ky_h5_info *ret, ky_err *err);
/** All of a dataset, converted to `as` (numbers only); `count` must be its size. */
int ky_h5_read(ky_h5 *f, const char *dataset, enum ky_h5_type as, void *buf, size_t count,
               ky_err *err);
/** Rows [first, first+n) along axis 0. */
int ky_h5_read_rows(ky_h5 *f, const char *dataset, enum ky_h5_type as, uint64_t first, uint64_t n,
                    void *buf, ky_err *err);
/** Strings of a 1-D dataset, or an attribute's: ret is one allocation (free()) of pointers and
 * text. */
int ky_h5_read_strs(ky_h5 *f, const char *dataset, char ***ret, size_t *ret_n, ky_err *err);

bool ky_h5_has_attr(ky_h5 *f, const char *path, const char *name);
/** A scalar string attribute, any encoding Keras or h5py wrote (FORMATS 1.1.3); free(). */
int ky_h5_attr_str(ky_h5 *f, const char *path, const char *name, char **ret, ky_err *err);
/** A 1-D string attribute, Keras's chunked form (name0, name1 ...) included; an empty one of any
 *  type gives n = 0. */
int ky_h5_attr_strs(ky_h5 *f, const char *path, const char *name, char ***ret, size_t *ret_n,
                    ky_err *err);
int ky_h5_attr_num(ky_h5 *f, const char *path, const char *name, double *ret, ky_err *err);

/* -- writing -- */
int ky_h5_group(ky_h5 *f, const char *path, ky_err *err); /* with its parents */
/** A contiguous dataset written whole; parents are made. type F32..U64. */
int ky_h5_put(ky_h5 *f, const char *path, enum ky_h5_type type, int rank, const uint64_t *dims,
              const void *data, ky_err *err);
/** A growable dataset, chunked with shuffle+deflate: axis 0 unlimited, `row_dims` [rank-1] behind.
 */
int ky_h5_table(ky_h5 *f, const char *path, enum ky_h5_type type, int rank,
                const uint64_t *row_dims, ky_err *err);
int ky_h5_append(ky_h5 *f, const char *path, const void *rows, uint64_t n, ky_err *err);
int ky_h5_put_strs(ky_h5 *f, const char *path, const char *const *s, size_t n, ky_err *err);
int ky_h5_set_attr_str(ky_h5 *f, const char *path, const char *name, const char *s, ky_err *err);
int ky_h5_set_attr_strs(ky_h5 *f, const char *path, const char *name, const char *const *s,
                        size_t n, ky_err *err); /* n = 0 writes float64[0] as h5py does */
int ky_h5_set_attr_num(ky_h5 *f, const char *path, const char *name, double v, ky_err *err);
int ky_h5_set_attr_int(ky_h5 *f, const char *path, const char *name, int64_t v, ky_err *err);

#endif
