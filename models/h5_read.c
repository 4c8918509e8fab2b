/*
 * Reading HDF5 without the HDF5 library: files come from anybody. A handle holds no moving
 * parts, so any number of threads may read through one.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/h5_file.h"
#include "models/h5meta.h"
#include "models/h5value.h"

enum {
    MAX_DEPTH = 16,        /* names in a path */
    MAX_MEMBERS = 1 << 20, /* of one group */
    MAX_STRINGS = 1 << 20, /* of one array */
    MAX_TEXT = 64 << 20,   /* bytes of one array of text */
    MAX_RATIO = 1040,      /* declared bytes to stored ones; deflate's own limit is 1032 */
    BLOCK = 1 << 18,       /* values converted at a time */
};
#define MAX_CHUNK   ((uint64_t)256 << 20) /* bytes: a chunk is unpacked whole */
#define MAX_DATASET ((uint64_t)64 << 30)  /* declared bytes */

/* -- opening and closing ------------------------------------------------------------------ */

ky_h5 *ky_h5_handle(const char *path)
{
    ky_h5 *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return NULL;
    f->raw.fd = -1;
    f->path = strdup(path);
    if (f->path == NULL) {
        free(f);
        return NULL;
    }
    return f;
}

void ky_h5_close(ky_h5 *f)
{
    if (f == NULL)
        return;
    if (f->writer != NULL)
        ky_h5_abandon(f->writer);
    if (f->raw.fd >= 0)
        close(f->raw.fd);
    free((unsigned char *)(uintptr_t)f->raw.image);
    free(f->path);
    free(f);
}

/* A plain file that nobody writes; the shared lock is held while it is open. */
static int open_file(ky_h5 *f, ky_err *err)
{
    struct stat st;

    /* Not to wait for the other end of a pipe. */
    f->raw.fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->raw.fd < 0)
        return ky_fail(err, -errno, "%s: %s", f->path, strerror(errno));
    if (fstat(f->raw.fd, &st) != 0)
        return ky_fail(err, KY_EIO, "%s: %s", f->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return ky_fail(err, KY_EINVAL, "%s: not a regular file", f->path);
    if (flock(f->raw.fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return ky_fail(err, KY_EBUSY, "%s: somebody is writing it", f->path);
    f->raw.bytes = (uint64_t)st.st_size;
    return KY_OK;
}

/* Find the root; f is handed over or closed. */
static int open_root(ky_h5 *f, int rc, ky_h5 **ret, ky_err *err)
{
    ky_err own = { 0 };

    if (rc == KY_OK) {
        rc = ky_h5meta_root(&f->raw, &f->root, &own);
        if (rc < 0)
            ky_fail(err, rc, "%s: %s", f->path, own.text);
    }
    if (rc < 0)
        ky_h5_close(f);
    else
        *ret = f;
    return rc;
}

int ky_h5_open(const char *path, ky_h5 **ret, ky_err *err)
{
    ky_h5 *f = ky_h5_handle(path);

    if (f == NULL)
        return ky_fail(err, KY_ENOMEM, "%s: no memory", path);
    return open_root(f, open_file(f, err), ret, err);
}

int ky_h5_hold(ky_h5 *f, uint64_t most, ky_err *err)
{
    uint64_t base = f->raw.base;

    if (f->raw.image != NULL || f->raw.fd < 0 || f->raw.bytes > most)
        return KY_OK;
    unsigned char *image = malloc((size_t)f->raw.bytes + 1);
    if (image == NULL)
        return ky_fail(err, KY_ENOMEM, "%s: no memory", f->path);
    f->raw.base = 0; /* what stands before the HDF5 part counts, too */
    bool whole = ky_h5raw_get(&f->raw, 0, image, f->raw.bytes);
    f->raw.base = base;
    if (!whole) {
        free(image);
        return ky_fail(err, KY_EIO, "%s: it cannot be read", f->path);
    }
    f->raw.image = image;
    return KY_OK;
}

int ky_h5_open_taken(void *image, size_t len, ky_h5 **ret, ky_err *err)
{
    ky_h5 *f = ky_h5_handle("(memory)");

    if (f == NULL) {
        free(image);
        return ky_fail(err, KY_ENOMEM, "an HDF5 file in memory: no memory");
    }
    f->raw.image = image;
    f->raw.bytes = len;
    return open_root(f, KY_OK, ret, err);
}

int ky_h5_open_image(const void *image, size_t len, ky_h5 **ret, ky_err *err)
{
    unsigned char *copy = malloc(len + 1);

    if (copy == NULL)
        return ky_fail(err, KY_ENOMEM, "an HDF5 file in memory: no memory");
    memcpy(copy, image, len);
    return ky_h5_open_taken(copy, len, ret, err);
}

/* -- finding an object --------------------------------------------------------------------- */

/* The member of a group that n characters name. */
static int find_member(const ky_h5 *f, const char *path, const char *name, size_t n,
                       ky_h5meta_object *at, ky_err *err)
{
    uint64_t header;
    bool hard;

    if (!at->is_group)
        return ky_fail(err, KY_ENOENT, "%s: no '%s'", f->path, path);
    int rc = ky_h5meta_find(&f->raw, at, name, n, &hard, &header, err);
    if (rc == 1 && !hard)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "%s: '%s': '%.*s' is a soft or external link, which is not followed",
                       f->path, path, (int)n, name);
    if (rc == 0)
        return ky_fail(err, KY_ENOENT, "%s: no '%s'", f->path, path);
    if (rc == 1)
        rc = ky_h5meta_read(&f->raw, header, at, err);
    return rc < 0 ? ky_context(err, rc, "%s: '%s'", f->path, path) : KY_OK;
}

/* The object an absolute path names. */
static int find(const ky_h5 *f, const char *path, ky_h5meta_object *ret, ky_err *err)
{
    int rc, depth = 0;

    if (f->writer != NULL)
        return ky_fail(err, KY_EINVAL, "%s: it is being written", f->path);
    rc = ky_h5meta_read(&f->raw, f->root, ret, err);
    if (rc < 0)
        return ky_context(err, rc, "%s: the root group", f->path);
    for (const char *p = path + strspn(path, "/"); rc == KY_OK && *p != '\0';) {
        size_t n = strcspn(p, "/");

        if (++depth > MAX_DEPTH)
            return ky_fail(err, KY_EFULL, "%s: '%s': deeper than %d groups", f->path, path,
                           MAX_DEPTH);
        rc = find_member(f, path, p, n, ret, err);
        p += n;
        p += strspn(p, "/");
    }
    return rc;
}

static bool is_dataset(const ky_h5meta_object *o)
{
    return o->has_type && o->has_space && o->layout != KY_H5META_NO_LAYOUT;
}

bool ky_h5_exists(ky_h5 *f, const char *path)
{
    ky_h5meta_object o;

    return find(f, path, &o, NULL) == KY_OK;
}

bool ky_h5_is_group(ky_h5 *f, const char *path)
{
    ky_h5meta_object o;

    return find(f, path, &o, NULL) == KY_OK && o.is_group;
}

struct member {
    char *name;
    uint64_t header;
};

struct members {
    struct member *m;
    size_t n, room;
};

static int add_member(void *arg, const char *name, size_t len, bool hard, uint64_t header)
{
    struct members *all = arg;

    if (!hard)
        return 0;
    if (all->n == all->room) {
        size_t room = all->room * 2 + 16;
        struct member *more = realloc(all->m, room * sizeof(*more));

        if (room > MAX_MEMBERS || more == NULL) {
            all->m = more != NULL ? more : all->m;
            return KY_EFULL;
        }
        all->m = more;
        all->room = room;
    }
    char *copy = strndup(name, len);
    if (copy == NULL)
        return KY_ENOMEM;
    all->m[all->n++] = (struct member){ copy, header };
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

int ky_h5_list(ky_h5 *f, const char *group, int (*fn)(const char *name, bool is_group, void *arg),
               void *arg, ky_err *err)
{
    struct members all = { 0 };
    ky_h5meta_object o;
    int rc = find(f, group, &o, err);

    if (rc < 0)
        return rc;
    if (!o.is_group)
        return ky_fail(err, KY_EFORMAT, "%s: '%s' is not a group", f->path, group);
    rc = ky_h5meta_members(&f->raw, &o, add_member, &all, err);
    if (rc == KY_EFULL || rc == KY_ENOMEM)
        ky_fail(err, rc, "over %d members", MAX_MEMBERS);
    if (rc < 0)
        ky_context(err, rc, "%s: group '%s'", f->path, group);
    if (all.n > 0)
        qsort(all.m, all.n, sizeof(*all.m), by_name);
    for (size_t i = 0; rc == KY_OK && i < all.n; i++) {
        bool is_group = ky_h5meta_read(&f->raw, all.m[i].header, &o, NULL) == KY_OK && o.is_group;

        rc = fn(all.m[i].name, is_group, arg);
    }
    for (size_t i = 0; i < all.n; i++)
        free(all.m[i].name);
    free(all.m);
    return rc;
}

/* -- guards ----------------------------------------------------------------------------------- */

static bool is_chunked(const ky_h5meta_object *o)
{
    return o->layout == KY_H5META_CHUNKED || o->layout == KY_H5META_ONE_CHUNK;
}

static bool is_number(enum ky_h5_type t)
{
    return t < KY_H5_STR;
}

static int add_bytes(void *arg, const ky_h5meta_chunk *c, ky_err *err)
{
    uint64_t *sum = arg;

    (void)err;
    *sum = c->bytes > UINT64_MAX - *sum ? UINT64_MAX : *sum + c->bytes;
    return 0;
}

/* Chunks: their size, and how much of them is there. */
static int check_chunks(const ky_h5 *f, ky_h5meta_object *o, ky_err *err)
{
    uint64_t bytes = o->type.size;

    for (int i = 0; i < o->space.rank; i++)
        if (o->chunk[i] == 0 || __builtin_mul_overflow(bytes, o->chunk[i], &bytes) ||
            bytes > MAX_CHUNK)
            return ky_fail(err, KY_EFULL, "its chunks are larger than %llu MiB",
                           (unsigned long long)(MAX_CHUNK >> 20));
    for (int i = 0; i < o->pipeline.n; i++)
        if (o->pipeline.filter[i] == KY_H5RAW_SHUFFLE && o->pipeline.element != o->type.size)
            return ky_fail(err, KY_EFORMAT, "its header is damaged");
    if (o->layout == KY_H5META_ONE_CHUNK) {
        if (o->pipeline.n == 0)
            o->stored = bytes;
        return KY_OK;
    }
    o->stored = 0;
    return ky_h5meta_chunks(&f->raw, o, 0, o->space.rank > 0 ? o->space.dims[0] : 0, add_bytes,
                            &o->stored, err);
}

/* Declared sizes against what is really there, before anything is allocated for them. */
static int check_dataset(const ky_h5 *f, ky_h5meta_object *o, ky_err *err)
{
    uint64_t bytes;
    int rc = KY_OK;

    if (o->refused != NULL)
        return ky_fail(err, KY_EUNSUPPORTED, "%s", o->refused);
    if (o->filter != 0)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "filter %d; only deflate, shuffle and fletcher32 are read", o->filter);
    if (__builtin_mul_overflow((uint64_t)o->space.count, (uint64_t)o->type.size, &bytes) ||
        bytes > MAX_DATASET)
        return ky_fail(err, KY_EFULL, "it declares %zu values of %zu bytes, at most %llu GiB",
                       o->space.count, o->type.size, (unsigned long long)(MAX_DATASET >> 30));
    if (is_chunked(o)) {
        if (o->space.rank == 0)
            return ky_fail(err, KY_EFORMAT, "its header is damaged");
        rc = check_chunks(f, o, err);
    }
    if (rc < 0 || bytes == 0)
        return rc;
    if (o->stored == 0 || o->stored > f->raw.bytes || bytes / MAX_RATIO > o->stored ||
        (!is_chunked(o) && o->stored < bytes))
        return ky_fail(err, KY_EFULL, "it declares %llu bytes and stores %llu in a file of %llu",
                       (unsigned long long)bytes, (unsigned long long)o->stored,
                       (unsigned long long)f->raw.bytes);
    return KY_OK;
}

static int attr_texts(const ky_h5 *f, const char *path, const char *name, char ***ret,
                      size_t *ret_n, ky_err *err);

/* Keras stores bfloat16 as two bytes of no type and says in an attribute what they are. */
static bool is_bfloat16(const ky_h5 *f, const char *path, const ky_h5meta_object *o)
{
    char **name = NULL;
    size_t n = 0;

    if (o->type.class != KY_H5META_OTHER || o->type.size != 2 ||
        attr_texts(f, path, "dtype", &name, &n, NULL) < 0)
        return false;
    bool is = n == 1 && strcmp(name[0], "bfloat16") == 0;
    free(name);
    return is;
}

/* A dataset, looked at. */
static int find_dataset(const ky_h5 *f, const char *path, ky_h5meta_object *ret, ky_err *err)
{
    ky_err own = { 0 };
    int rc = find(f, path, ret, err);

    if (rc < 0)
        return rc;
    if (!is_dataset(ret) && ret->refused == NULL)
        return ky_fail(err, KY_EFORMAT, "%s: '%s' is not a dataset", f->path, path);
    rc = check_dataset(f, ret, &own);
    if (rc < 0)
        return ky_fail(err, rc, "%s: dataset '%s': %s", f->path, path, own.text);
    if (is_bfloat16(f, path, ret))
        ret->type = (ky_h5meta_type){ .class = KY_H5META_FLOAT, .size = 2, .upper_half = true };
    return KY_OK;
}

int ky_h5_stat(ky_h5 *f, const char *dataset, ky_h5_info *ret, ky_err *err)
{
    ky_h5meta_object o;
    int rc = find_dataset(f, dataset, &o, err);

    if (rc < 0)
        return rc;
    *ret = (ky_h5_info){ .type = ky_h5value_type(&o.type),
                         .rank = o.space.rank,
                         .count = o.space.count,
                         .chunk = is_chunked(&o) && o.space.rank > 0 ? o.chunk[0] : 0 };
    memcpy(ret->dims, o.space.dims, sizeof(ret->dims));
    return KY_OK;
}

/* -- rows of a dataset
 * ----------------------------------------------------------------------------- */

/* Rows [first, first+n) go to `to`, converted, or with `as` KY_H5_OTHER as they are stored. */
struct selection {
    const ky_h5 *f;
    const ky_h5meta_object *o;
    uint64_t first, n;
    enum ky_h5_type as;
    size_t to_size; /* of a value in `to` */
    unsigned char *to;
    /* one chunk */
    size_t values, bytes, packed_room;
    unsigned char *packed, *plain, *ours;
    uint64_t left; /* chunks that may still come */
};

static size_t row_values(const ky_h5meta_object *o)
{
    size_t n = 1;

    for (int i = 1; i < o->space.rank; i++)
        n *= o->space.dims[i];
    return n;
}

static int cut_off(ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "its data is cut off");
}

/* From one piece. */
static int read_piece(const struct selection *s, ky_err *err)
{
    size_t row = row_values(s->o), n = row * s->n, size = s->o->type.size;
    uint64_t at = s->o->address + s->first * row * size;
    unsigned char *to = s->to;

    if (s->o->address == KY_H5RAW_NOWHERE)
        return cut_off(err);
    if (s->as == KY_H5_OTHER)
        return ky_h5raw_get(&s->f->raw, at, to, (uint64_t)n * size) ? KY_OK : cut_off(err);
    size_t most = n < BLOCK ? n : BLOCK;
    unsigned char *block = malloc(most * size + 1);
    int rc = block == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;
    while (rc == KY_OK && n > 0) {
        size_t now = n < most ? n : most;

        if (!ky_h5raw_get(&s->f->raw, at, block, (uint64_t)now * size))
            rc = cut_off(err);
        else
            ky_h5value_convert(&s->o->type, block, now, s->as, to);
        n -= now;
        at += (uint64_t)now * size;
        to += now * s->to_size;
    }
    free(block);
    return rc;
}

/* The part of one chunk that is selected, axis by axis. */
static void copy_box(const struct selection *s, const uint64_t *at, int axis,
                     const unsigned char *from, unsigned char *to)
{
    const ky_h5meta_object *o = s->o;
    uint64_t first = axis == 0 ? s->first : 0;
    uint64_t end = axis == 0 ? s->first + s->n : o->space.dims[axis];
    uint64_t lo = at[axis] > first ? at[axis] : first;
    uint64_t hi = at[axis] + o->chunk[axis] < end ? at[axis] + o->chunk[axis] : end;
    size_t from_step = s->to_size, to_step = s->to_size;

    for (int i = axis + 1; i < o->space.rank; i++) {
        from_step *= o->chunk[i];
        to_step *= o->space.dims[i];
    }
    from += (lo - at[axis]) * from_step;
    to += (lo - first) * to_step;
    if (axis == o->space.rank - 1) {
        memcpy(to, from, (hi - lo) * s->to_size);
        return;
    }
    for (; lo < hi; lo++, from += from_step, to += to_step)
        copy_box(s, at, axis + 1, from, to);
}

static int read_chunk(void *arg, const ky_h5meta_chunk *c, ky_err *err)
{
    struct selection *s = arg;
    int rc;

    if (s->left-- == 0)
        return ky_fail(err, KY_EFORMAT, "the index of its chunks is damaged");
    if (c->bytes > s->packed_room)
        return ky_fail(err, KY_EFORMAT, "a chunk of it is damaged");
    if (!ky_h5raw_get(&s->f->raw, c->address, s->packed, c->bytes))
        return cut_off(err);
    rc = ky_h5raw_unpack(&s->o->pipeline, c->skip, s->packed, c->bytes, s->plain, s->bytes, err);
    if (rc < 0)
        return rc;
    if (s->as != KY_H5_OTHER)
        ky_h5value_convert(&s->o->type, s->plain, s->values, s->as, s->ours);
    copy_box(s, c->at, 0, s->as != KY_H5_OTHER ? s->ours : s->plain, s->to);
    return 0;
}

/* What was never written holds the fill value. */
static void fill_rows(const struct selection *s)
{
    size_t n = row_values(s->o) * s->n;
    unsigned char value[8] = { 0 };
    bool zero = true;

    if (s->as != KY_H5_OTHER && s->o->n_fill == s->o->type.size)
        ky_h5value_convert(&s->o->type, s->o->fill, 1, s->as, value);
    for (size_t i = 0; i < sizeof(value); i++)
        zero = zero && value[i] == 0;
    if (zero)
        memset(s->to, 0, n * s->to_size);
    else
        for (size_t i = 0; i < n; i++)
            memcpy(s->to + i * s->to_size, value, s->to_size);
}

/* From chunks, in whatever order they come. */
static int read_chunks(struct selection *s, ky_err *err)
{
    const ky_h5meta_object *o = s->o;
    int rc;

    s->values = 1;
    s->left = s->n / o->chunk[0] + 2;
    for (int i = 0; i < o->space.rank; i++) {
        s->values *= o->chunk[i]; /* bounded by check_chunks */
        if (i > 0 && __builtin_mul_overflow(s->left, o->space.dims[i] / o->chunk[i] + 1, &s->left))
            s->left = UINT64_MAX;
    }
    s->bytes = s->values * o->type.size;
    s->packed_room = s->bytes + s->bytes / 64 + 64;
    s->packed = malloc(s->packed_room);
    s->plain = malloc(s->bytes);
    s->ours = s->as == KY_H5_OTHER ? NULL : malloc(s->values * s->to_size);
    if (s->packed == NULL || s->plain == NULL || (s->ours == NULL && s->as != KY_H5_OTHER))
        rc = ky_fail(err, KY_ENOMEM, "no memory");
    else {
        fill_rows(s);
        rc = ky_h5meta_chunks(&s->f->raw, o, s->first, s->n, read_chunk, s, err);
    }
    free(s->packed);
    free(s->plain);
    free(s->ours);
    return rc;
}

static int read_rows(const ky_h5 *f, const ky_h5meta_object *o, enum ky_h5_type as, uint64_t first,
                     uint64_t n, void *to, ky_err *err)
{
    struct selection s = { .f = f, .o = o, .first = first, .n = n, .as = as, .to = to };

    s.to_size = as == KY_H5_OTHER ? o->type.size : ky_h5value_size(as);
    return is_chunked(o) ? read_chunks(&s, err) : read_piece(&s, err);
}

/* What both readers share. n = UINT64_MAX: all, which must be `count` values. */
static int read_numbers(const ky_h5 *f, const char *path, enum ky_h5_type as, uint64_t first,
                        uint64_t n, void *buf, size_t count, ky_err *err)
{
    ky_h5meta_object o;
    ky_err own = { 0 };
    bool whole = n == UINT64_MAX;
    int rc = find_dataset(f, path, &o, err);

    if (rc < 0)
        return rc;
    uint64_t rows = o.space.rank > 0 ? o.space.dims[0] : 1;
    if (!is_number(ky_h5value_type(&o.type)) || !is_number(as))
        rc = ky_fail(&own, KY_EUNSUPPORTED, "it holds no plain numbers");
    else if (whole && o.space.count != count)
        rc = ky_fail(&own, KY_ESHAPE, "it has %zu values, %zu are wanted", o.space.count, count);
    else if (!whole && (first > rows || n > rows - first))
        rc = ky_fail(&own, KY_ESHAPE, "it has %llu rows, %llu from row %llu on are wanted",
                     (unsigned long long)rows, (unsigned long long)n, (unsigned long long)first);
    else if (o.space.count > 0 && n > 0)
        rc = read_rows(f, &o, as, first, whole ? rows : n, buf, &own);
    return rc < 0 ? ky_fail(err, rc, "%s: dataset '%s': %s", f->path, path, own.text) : KY_OK;
}

int ky_h5_read(ky_h5 *f, const char *dataset, enum ky_h5_type as, void *buf, size_t count,
               ky_err *err)
{
    return read_numbers(f, dataset, as, 0, UINT64_MAX, buf, count, err);
}

int ky_h5_read_rows(ky_h5 *f, const char *dataset, enum ky_h5_type as, uint64_t first, uint64_t n,
                    void *buf, ky_err *err)
{
    return read_numbers(f, dataset, as, first, n, buf, 0, err);
}

/* -- text
 * ------------------------------------------------------------------------------------------ */

/* Text of a fixed field ends at its first NUL, or at the padding spaces. */
static size_t fixed_length(const char *s, size_t size, bool spaces)
{
    size_t n = strnlen(s, size);

    while (spaces && n > 0 && s[n - 1] == ' ')
        n--;
    return n;
}

static int read_fixed(const ky_h5meta_type *t, const unsigned char *raw, size_t n, char ***ret,
                      ky_err *err)
{
    const char **text = calloc(n + 1, sizeof(*text));
    size_t *len = calloc(n + 1, sizeof(*len));

    *ret = NULL;
    for (size_t i = 0; text != NULL && len != NULL && i < n; i++) {
        text[i] = (const char *)raw + i * t->size;
        len[i] = fixed_length(text[i], t->size, t->spaces);
    }
    if (text != NULL && len != NULL)
        *ret = ky_h5raw_pack(n, text, len);
    free(text);
    free(len);
    return *ret == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;
}

/* Strings from n stored values. */
static int read_texts(const ky_h5 *f, const ky_h5meta_type *t, const unsigned char *raw, size_t n,
                      char ***ret, ky_err *err)
{
    if (t->class == KY_H5META_VARIABLE)
        return ky_h5raw_texts(&f->raw, raw, n, ret, err);
    return read_fixed(t, raw, n, ret, err);
}

/* Whether n values of a type can be strings; an empty array may be of any type. */
static int check_texts(const ky_h5meta_type *t, size_t n, ky_err *err)
{
    size_t bytes;

    if (n > 0 && t->class != KY_H5META_TEXT && t->class != KY_H5META_VARIABLE)
        return ky_fail(err, KY_EFORMAT, "it holds no text");
    if (n > MAX_STRINGS || ky_size_mul(n, t->size, &bytes) < 0 || bytes > MAX_TEXT)
        return ky_fail(err, KY_EFULL, "%zu strings of %zu bytes are too many", n, t->size);
    return KY_OK;
}

int ky_h5_read_strs(ky_h5 *f, const char *dataset, char ***ret, size_t *ret_n, ky_err *err)
{
    ky_h5meta_object o;
    ky_err own = { 0 };
    unsigned char *raw = NULL;
    int rc = find_dataset(f, dataset, &o, err);

    if (rc < 0)
        return rc;
    size_t n = o.space.count;
    rc = check_texts(&o.type, n, &own);
    if (rc == KY_OK && (raw = malloc(n * o.type.size + 1)) == NULL)
        rc = ky_fail(&own, KY_ENOMEM, "no memory");
    if (rc == KY_OK && n > 0)
        rc = read_rows(f, &o, KY_H5_OTHER, 0, o.space.rank > 0 ? o.space.dims[0] : 1, raw, &own);
    if (rc == KY_OK)
        rc = read_texts(f, &o.type, raw, n, ret, &own);
    free(raw);
    if (rc < 0)
        return ky_fail(err, rc, "%s: dataset '%s': %s", f->path, dataset, own.text);
    *ret_n = n;
    return KY_OK;
}

/* -- attributes
 * --------------------------------------------------------------------------------------- */

static int find_attr(const ky_h5 *f, const char *path, const char *name, ky_h5meta_value *ret,
                     ky_err *err)
{
    ky_h5meta_object o;
    ky_err own = { 0 };
    int rc = find(f, path, &o, err);

    ret->bytes = NULL;
    if (rc < 0)
        return rc;
    rc = ky_h5meta_attr(&f->raw, &o, name, ret, &own);
    return rc < 0
               ? ky_fail(err, rc, "%s: attribute '%s' of '%s': %s", f->path, name, path, own.text)
               : KY_OK;
}

bool ky_h5_has_attr(ky_h5 *f, const char *path, const char *name)
{
    ky_h5meta_value v;
    bool has = find_attr(f, path, name, &v, NULL) == KY_OK;

    free(v.bytes);
    return has;
}

/* The strings of one attribute. */
static int attr_texts(const ky_h5 *f, const char *path, const char *name, char ***ret,
                      size_t *ret_n, ky_err *err)
{
    ky_h5meta_value v;
    ky_err own = { 0 };
    int rc = find_attr(f, path, name, &v, err);

    if (rc < 0)
        return rc;
    rc = check_texts(&v.type, v.space.count, &own);
    if (rc == KY_OK)
        rc = read_texts(f, &v.type, v.bytes, v.space.count, ret, &own);
    free(v.bytes);
    if (rc < 0)
        return ky_fail(err, rc, "%s: attribute '%s' of '%s': %s", f->path, name, path, own.text);
    *ret_n = v.space.count;
    return KY_OK;
}

int ky_h5_attr_str(ky_h5 *f, const char *path, const char *name, char **ret, ky_err *err)
{
    char **all = NULL;
    size_t n = 0;
    int rc = attr_texts(f, path, name, &all, &n, err);

    if (rc == KY_OK && n != 1)
        rc = ky_fail(err, KY_ESHAPE, "%s: attribute '%s' of '%s' holds %zu strings, not one",
                     f->path, name, path, n);
    if (rc == KY_OK && (*ret = strdup(all[0])) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "%s: no memory", f->path);
    free(all);
    return rc;
}

/* Joins two arrays into one allocation, both freed; NULL when out of memory. */
static char **join_strings(char **a, size_t na, char **b, size_t nb)
{
    const char **text = calloc(na + nb + 1, sizeof(*text));
    size_t *len = calloc(na + nb + 1, sizeof(*len));
    char **all = NULL;

    if (text != NULL && len != NULL) {
        for (size_t i = 0; i < na + nb; i++) {
            text[i] = i < na ? a[i] : b[i - na];
            len[i] = strlen(text[i]);
        }
        all = ky_h5raw_pack(na + nb, text, len);
    }
    free(text);
    free(len);
    free(a);
    free(b);
    return all;
}

/* name0, name1 ... until one is missing: how Keras splits what exceeds an object header. */
static int attr_pieces(const ky_h5 *f, const char *path, const char *name, char ***ret,
                       size_t *ret_n, ky_err *err)
{
    char **all = NULL;
    size_t n = 0;
    int rc = KY_OK;

    for (int i = 0; n <= MAX_STRINGS; i++) {
        char piece[128], **more = NULL;
        size_t n_more = 0;

        snprintf(piece, sizeof(piece), "%.100s%d", name, i);
        rc = attr_texts(f, path, piece, &more, &n_more, NULL);
        if (rc < 0)
            break;
        all = join_strings(all, n, more, n_more);
        n += n_more;
        if (all == NULL)
            return ky_fail(err, KY_ENOMEM, "%s: no memory", f->path);
    }
    if (all != NULL && rc == KY_ENOENT) {
        *ret = all;
        *ret_n = n;
        return KY_OK;
    }
    free(all);
    return all == NULL ? rc /* err says already that `name` is missing */
                       : ky_fail(err, KY_EFORMAT, "%s: attribute '%s' of '%s' is damaged", f->path,
                                 name, path);
}

int ky_h5_attr_strs(ky_h5 *f, const char *path, const char *name, char ***ret, size_t *ret_n,
                    ky_err *err)
{
    int rc = attr_texts(f, path, name, ret, ret_n, err);

    return rc == KY_ENOENT ? attr_pieces(f, path, name, ret, ret_n, err) : rc;
}

int ky_h5_attr_num(ky_h5 *f, const char *path, const char *name, double *ret, ky_err *err)
{
    ky_h5meta_value v;
    int rc = find_attr(f, path, name, &v, err);

    if (rc < 0)
        return rc;
    if (v.space.count != 1 || !is_number(ky_h5value_type(&v.type)))
        rc = ky_fail(err, KY_EFORMAT, "%s: attribute '%s' of '%s' is not one number", f->path, name,
                     path);
    else
        ky_h5value_convert(&v.type, v.bytes, 1, KY_H5_F64, (unsigned char *)ret);
    free(v.bytes);
    return rc;
}
