/*
 * What an HDF5 file says about its objects: which groups hold what, and of a dataset or an
 * attribute its type, shape and place. Nothing is believed before it was held against the
 * file; what a newer layout of HDF5 stores elsewhere (dense groups, indexed chunks, shared
 * messages) is refused by name. Part of h5_read.c.
 */
#ifndef KY_H5META_H
#define KY_H5META_H

#include "models/h5.h"
#include "models/h5raw.h"

enum ky_h5meta_class {
    KY_H5META_INT,
    KY_H5META_FLOAT,
    KY_H5META_TEXT,     /* fixed fields */
    KY_H5META_VARIABLE, /* references to text */
    KY_H5META_OTHER,
};

typedef struct ky_h5meta_type {
    enum ky_h5meta_class class;
    size_t size; /* bytes of a value in the file */
    bool big;    /* highest byte first */
    bool sign;
    bool spaces;     /* text is padded with spaces */
    bool upper_half; /* a float's sign, exponent and first bits: bfloat16 */
} ky_h5meta_type;

typedef struct ky_h5meta_space {
    int rank;
    uint64_t dims[KY_H5_RANK];
    size_t count;
} ky_h5meta_space;

enum ky_h5meta_layout {
    KY_H5META_NO_LAYOUT,
    KY_H5META_PIECE,
    KY_H5META_CHUNKED,
    KY_H5META_ONE_CHUNK
};

/* An object, as its header describes it. */
typedef struct ky_h5meta_object {
    uint64_t header;
    /* a group */
    bool is_group, dense_links, dense_attrs;
    uint64_t tree, heap; /* of an old group, KY_H5RAW_NOWHERE without */
    /* a dataset */
    bool has_type, has_space;
    ky_h5meta_type type;
    ky_h5meta_space space;
    enum ky_h5meta_layout layout;
    uint64_t address;           /* of the piece, or of the tree of chunks */
    uint64_t stored;            /* bytes of the piece or of the one chunk */
    uint64_t chunk[KY_H5_RANK]; /* values */
    unsigned skip;              /* filters left out of the one chunk */
    ky_h5raw_pipeline pipeline;
    unsigned char fill[8];
    size_t n_fill;       /* 0: zeros */
    const char *refused; /* why it is not read, NULL */
    int filter;          /* the number of a filter that is not known, 0 */
} ky_h5meta_object;

/** The root's header from the superblock; fills f->base. KY_EFORMAT, KY_EUNSUPPORTED, KY_EBUSY. */
int ky_h5meta_root(ky_h5raw *f, uint64_t *ret_root, ky_err *err);

/** Describe the object at an address. */
int ky_h5meta_read(const ky_h5raw *f, uint64_t header, ky_h5meta_object *ret, ky_err *err);

/** A member of a group; hard: its header's address, else a link that is not followed. */
typedef int ky_h5meta_member(void *arg, const char *name, size_t len, bool hard, uint64_t header);

/** Every member of a group until visit returns nonzero, which is returned. */
int ky_h5meta_members(const ky_h5raw *f, const ky_h5meta_object *group, ky_h5meta_member *visit,
                      void *arg, ky_err *err);

/** One member by its name, of len characters: 1; 0: there is none. As members are sorted in old
 *  groups, that takes as many steps as their number has digits. */
int ky_h5meta_find(const ky_h5raw *f, const ky_h5meta_object *group, const char *name, size_t len,
                   bool *ret_hard, uint64_t *ret_header, ky_err *err);

/* The value of an attribute: type, shape and its stored bytes; free(bytes). */
typedef struct ky_h5meta_value {
    ky_h5meta_type type;
    ky_h5meta_space space;
    unsigned char *bytes;
} ky_h5meta_value;

/** KY_ENOENT if the object has none of that name. */
int ky_h5meta_attr(const ky_h5raw *f, const ky_h5meta_object *o, const char *name,
                   ky_h5meta_value *ret, ky_err *err);

/* A chunk of a dataset. */
typedef struct ky_h5meta_chunk {
    uint64_t at[KY_H5_RANK]; /* its first value */
    uint64_t address, bytes; /* packed */
    unsigned skip;
} ky_h5meta_chunk;

/** Every chunk that has rows in [first, first+n), until visit returns nonzero. */
int ky_h5meta_chunks(const ky_h5raw *f, const ky_h5meta_object *o, uint64_t first, uint64_t n,
                     int (*visit)(void *arg, const ky_h5meta_chunk *c, ky_err *err), void *arg,
                     ky_err *err);

#endif
