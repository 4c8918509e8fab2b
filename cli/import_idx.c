/*
 * IDX, the form of MNIST and its relatives: two zero bytes, the type, the rank, the sizes (4 bytes
 * each, the highest byte first), then the values in the same byte order. Values of two dimensions
 * or more are rows; those of one are their labels, in a file of their own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/import.h"

enum { MOST_RANK = 6 };
#define MOST_IDX_ROW ((size_t)1 << 30)

typedef struct idx {
    ky_bytes b;
    enum ky_h5_type type;
    size_t size; /* bytes of a value */
    int rank;
    uint64_t dims[MOST_RANK];
} idx;

static const struct {
    unsigned char code;
    enum ky_h5_type type;
    size_t size;
} types[] = { { 0x08, KY_H5_U8, 1 },  { 0x09, KY_H5_I8, 1 },  { 0x0b, KY_H5_I16, 2 },
              { 0x0c, KY_H5_I32, 4 }, { 0x0d, KY_H5_F32, 4 }, { 0x0e, KY_H5_F64, 8 } };

static bool find_type(unsigned char code, enum ky_h5_type *ret, size_t *ret_size)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].code == code) {
            *ret = types[i].type;
            *ret_size = types[i].size;
            return true;
        }
    return false;
}

static int open_idx(const char *path, idx *ret, ky_err *err)
{
    unsigned char p[4];
    int rc = ky_bytes_open(path, &ret->b, err);

    if (rc == KY_OK)
        rc = ky_bytes_read_all(&ret->b, p, 4, err);
    if (rc == KY_OK && (p[0] != 0 || p[1] != 0 || !find_type(p[2], &ret->type, &ret->size)))
        rc = ky_fail(err, KY_EFORMAT, "'%s' is no IDX file: it begins %02x %02x %02x %02x", path,
                     p[0], p[1], p[2], p[3]);
    if (rc == KY_OK && (p[3] < 1 || p[3] > MOST_RANK))
        rc = ky_fail(err, KY_EUNSUPPORTED, "'%s' has %d dimensions, must have 1 to %d", path, p[3],
                     MOST_RANK);
    ret->rank = rc == KY_OK ? p[3] : 0;
    for (int i = 0; rc == KY_OK && i < ret->rank; i++) {
        rc = ky_bytes_read_all(&ret->b, p, 4, err);
        ret->dims[i] = (uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3];
    }
    return rc;
}

/* n values from the file's byte order into the machine's. */
static void turn(unsigned char *v, size_t n, size_t size)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (size_t i = 0; size > 1 && i < n; i++)
        for (size_t k = 0; k < size / 2; k++) {
            unsigned char *a = v + i * size + k, *b = v + i * size + size - 1 - k, c = *a;

            *a = *b;
            *b = c;
        }
#else
    (void)v, (void)n, (void)size;
#endif
}

static int read_values(idx *f, void *to, size_t n, ky_err *err)
{
    int rc = ky_bytes_read_all(&f->b, to, n * f->size, err);

    if (rc == KY_OK)
        turn(to, n, f->size);
    return rc;
}

/* -- labels ----------------------------------------------------------------------------------- */

/* Copies `from` with its last `word` replaced by `by`; false if it has none. */
static bool replace(char *s, size_t size, const char *word, const char *by)
{
    char *at = NULL, rest[512];

    for (char *p = strstr(s, word); p != NULL; p = strstr(p + 1, word))
        at = p;
    if (at == NULL || strlen(at) >= sizeof rest || strlen(s) - strlen(word) + strlen(by) + 1 > size)
        return false;
    strcpy(rest, at + strlen(word));
    sprintf(at, "%s%s", by, rest);
    return true;
}

/* The name of the labels that belong to rows of this rank, as MNIST's files have them; "" if the
 * name is none of that kind. */
static void name_labels(const ky_import_file *f, int rank, char *to, size_t size)
{
    char idx_rank[8];
    size_t folders = (size_t)(f->base - f->path);

    if (strlen(f->path) >= size) {
        to[0] = '\0';
        return;
    }
    strcpy(to, f->path);
    snprintf(idx_rank, sizeof idx_rank, "idx%d", rank);
    if (!replace(to + folders, size - folders, "images", "labels")) {
        to[0] = '\0';
        return;
    }
    replace(to + folders, size - folders, idx_rank, "idx1");
}

/* Labels as numbers, one a row. */
typedef struct labels {
    idx f;
    bool there;
} labels;

static int try_labels(const char *path, uint64_t rows, const char *of, labels *ret, ky_err *err)
{
    int rc = open_idx(path, &ret->f, err);

    if (rc == KY_OK && (ret->f.rank != 1 || ret->f.dims[0] != rows))
        rc = ky_fail(err, KY_ESHAPE, "'%s' has %llu labels in %d dimensions, '%s' has %llu rows",
                     path, (unsigned long long)ret->f.dims[0], ret->f.rank, of,
                     (unsigned long long)rows);
    if (rc == KY_OK && ret->f.size > 4)
        rc = ky_fail(err, KY_EUNSUPPORTED, "'%s': labels of 8 bytes", path);
    ret->there = rc == KY_OK;
    return rc;
}

/* The file of labels that stands in the list for this part, if there is one and only one. */
static const ky_import_file *listed_labels(const ky_import_files *files, enum ky_import_part part)
{
    const ky_import_file *found = NULL;

    for (int i = 0; i < files->n; i++) {
        idx f = { .rank = 0 };

        if (files->file[i].part == part && open_idx(files->file[i].path, &f, NULL) == KY_OK &&
            f.rank == 1) {
            if (found != NULL) {
                ky_bytes_close(&f.b);
                return NULL;
            }
            found = &files->file[i];
        }
        ky_bytes_close(&f.b);
    }
    return found;
}

static int find_labels(ky_import *im, const ky_import_file *f, const idx *rows, labels *ret,
                       ky_err *err)
{
    const ky_import_file *listed = listed_labels(im->files, f->part);
    char path[4096];
    ky_err why = { 0 };
    int rc;

    if (listed != NULL)
        return try_labels(listed->path, rows->dims[0], f->path, ret, err);
    name_labels(f, rows->rank, path, sizeof path);
    rc = path[0] != '\0' ? try_labels(path, rows->dims[0], f->path, ret, &why) : KY_ENOENT;
    if (rc == KY_ENOENT)
        return ky_fail(err, KY_ENOENT, "'%s' has no labels: name their file too%s%s%s", f->path,
                       path[0] != '\0' ? " ('" : "", path,
                       path[0] != '\0' ? "' is not there)" : "");
    if (rc < 0 && err != NULL)
        *err = why;
    return rc;
}

static int next_label(labels *l, char *to, size_t size, ky_err *err)
{
    union {
        uint8_t u8;
        int8_t i8;
        int16_t i16;
        int32_t i32;
        float f32;
    } v = { .i32 = 0 };
    int rc = read_values(&l->f, &v, 1, err);

    if (l->f.type == KY_H5_F32)
        snprintf(to, size, "%.9g", (double)v.f32);
    else
        snprintf(to, size, "%d",
                 l->f.type == KY_H5_U8    ? v.u8
                 : l->f.type == KY_H5_I8  ? v.i8
                 : l->f.type == KY_H5_I16 ? v.i16
                                          : v.i32);
    return rc;
}

/* -- rows ------------------------------------------------------------------------------------- */

/* Images without channels get one; a list of numbers a row has no steps. */
static int row_shape(const idx *f, uint64_t *dims, ky_err *err)
{
    int rank = f->rank - 1;

    for (int i = 0; i < rank; i++)
        if ((dims[i] = f->dims[i + 1]) == 0)
            return ky_fail(err, KY_ESHAPE, "'%s': rows without values", f->b.path);
    if (rank == 2)
        dims[rank++] = 1;
    return rank;
}

static int read_rows(idx *f, labels *l, enum ky_import_part part, size_t values, ky_sink *s,
                     ky_err *err)
{
    void *x = malloc(values * f->size);
    int rc = x != NULL ? KY_OK : ky_fail(err, KY_ENOMEM, "no memory for a row");

    for (uint64_t i = 0; rc == KY_OK && i < f->dims[0]; i++) {
        char label[32];
        ky_import_row row = {
            .part = part, .x = x, .label = label, .from_us = KY_NONE, .ts_us = KY_NONE
        };

        if ((rc = read_values(f, x, values, err)) == KY_OK &&
            (rc = next_label(l, label, sizeof label, err)) == KY_OK)
            rc = ky_sink_row(s, &row, err);
    }
    free(x);
    return rc;
}

static int read_idx_file(ky_import *im, const ky_import_file *at, ky_sink *s, ky_err *err)
{
    idx f = { .rank = 0 };
    labels l = { .there = false };
    uint64_t dims[MOST_RANK + 1];
    size_t values = 1;
    int rank, rc = open_idx(at->path, &f, err);

    if (rc < 0 || f.rank == 1)
        goto out;
    if ((rc = rank = row_shape(&f, dims, err)) < 0)
        goto out;
    for (int i = 0; i < rank; i++)
        if (ky_size_mul(values, dims[i], &values) < 0 || values > MOST_IDX_ROW / f.size) {
            rc = ky_fail(err, KY_EFULL, "'%s': rows of over %zu bytes", at->path, MOST_IDX_ROW);
            goto out;
        }
    if (f.dims[0] > 0 && values * f.size > ky_bytes_most(&f.b)) {
        rc = ky_fail(err, KY_EFORMAT, "'%s' says its rows have %zu bytes, more than it has itself",
                     at->path, values * f.size);
        goto out;
    }
    if ((rc = ky_sink_shape(s, f.type, rank, dims, err)) == KY_OK &&
        (rc = find_labels(im, at, &f, &l, err)) == KY_OK)
        rc = read_rows(&f, &l, at->part, values, s, err);
out:
    ky_bytes_close(&l.f.b);
    ky_bytes_close(&f.b);
    return rc < 0 ? rc : KY_OK;
}

static int read_idx(ky_import *im, ky_sink *s, ky_err *err)
{
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < im->files->n; i++)
        rc = read_idx_file(im, &im->files->file[i], s, err);
    return rc;
}

static bool is_idx(const char *base, const char *head, size_t n)
{
    enum ky_h5_type type;
    size_t size;

    (void)base;
    return n >= 8 && head[0] == 0 && head[1] == 0 &&
           find_type((unsigned char)head[2], &type, &size) && head[3] >= 1 &&
           head[3] <= MOST_RANK && n >= 4 + 4 * (size_t)head[3];
}

const ky_format ky_import_idx = {
    "idx", "MNIST's images and labels", is_idx, read_idx, NULL, false
};
