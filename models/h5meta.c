#include "models/h5meta.h"

#include <stdlib.h>
#include <string.h>

#define number  ky_h5raw_number
#define NOWHERE KY_H5RAW_NOWHERE

enum {
    MAX_LEVEL = 16,      /* of a tree */
    MAX_NODE = 1 << 20,  /* bytes of a node */
    MAX_HEAP = 64 << 20, /* bytes of a group's names */
    TREE_HEAD = 24,      /* bytes before a node's keys */
};

/* Types of messages. */
enum {
    SPACE = 0x01,
    LINK_INFO = 0x02,
    TYPE = 0x03,
    OLD_FILL = 0x04,
    FILL = 0x05,
    LINK = 0x06,
    EXTERNAL = 0x07,
    LAYOUT = 0x08,
    PIPELINE = 0x0b,
    ATTRIBUTE = 0x0c,
    SYMBOLS = 0x11,
    ATTRIBUTE_INFO = 0x15,
};

/* -- the superblock ------------------------------------------------------------------------ */

static int read_superblock(ky_h5raw *f, uint64_t at, uint64_t *ret_root, ky_err *err)
{
    unsigned char p[96] = { 0 };
    uint64_t end;

    f->base = 0;
    if (!ky_h5raw_get(f, at, p, 48))
        return ky_fail(err, KY_EFORMAT, "cut off in its first block");
    bool old = p[8] <= 1;
    if (p[8] > 3)
        return ky_fail(err, KY_EUNSUPPORTED, "version %d of the HDF5 format", p[8]);
    if ((old ? p[13] : p[9]) != 8 || (old ? p[14] : p[10]) != 8)
        return ky_fail(err, KY_EUNSUPPORTED, "addresses that are not 8 bytes wide");
    if (p[8] == 3 && (p[11] & 1) != 0)
        return ky_fail(err, KY_EBUSY, "open for writing, or left so by a crash");
    size_t first = p[8] == 0 ? 24 : p[8] == 1 ? 28 : 12; /* base, another address, end */
    size_t root = old ? first + 40 : 36;
    if (!ky_h5raw_get(f, at, p, root + 8))
        return ky_fail(err, KY_EFORMAT, "cut off in its first block");
    f->base = number(p + first, 8);
    end = number(p + first + 16, 8);
    *ret_root = number(p + root, 8);
    if (f->base != at && f->base != 0)
        return ky_fail(err, KY_EFORMAT, "a base address that is not its own");
    if (end > f->bytes)
        return ky_fail(err, KY_EFORMAT, "cut off: %llu bytes of %llu", (unsigned long long)f->bytes,
                       (unsigned long long)end);
    return KY_OK;
}

int ky_h5meta_root(ky_h5raw *f, uint64_t *ret_root, ky_err *err)
{
    unsigned char p[8];

    f->base = 0;
    /* At the beginning, or behind a user block of 512, 1024, 2048 ... bytes. */
    for (uint64_t at = 0; at < f->bytes && at < (uint64_t)1 << 40; at = at == 0 ? 512 : 2 * at)
        if (ky_h5raw_get(f, at, p, 8) && memcmp(p, "\x89HDF\r\n\x1a\n", 8) == 0)
            return read_superblock(f, at, ret_root, err);
    return ky_fail(err, KY_EFORMAT, "not an HDF5 file");
}

/* -- types and shapes -------------------------------------------------------------------------- */

/* Rank and dimensions; false if they cannot be. */
static bool read_space(const unsigned char *p, size_t n, ky_h5meta_space *ret)
{
    size_t at = n > 0 && p[0] == 1 ? 8 : 4;

    if (n < at || p[0] < 1 || p[0] > 2 || p[1] > KY_H5_RANK || (size_t)p[1] * 8 > n - at)
        return false;
    *ret = (ky_h5meta_space){ .rank = p[1], .count = p[0] == 2 && p[3] == 2 ? 0 : 1 };
    for (int i = 0; i < ret->rank; i++) {
        ret->dims[i] = number(p + at + 8 * (size_t)i, 8);
        if (ky_size_mul(ret->count, ret->dims[i], &ret->count) < 0)
            return false;
    }
    return true;
}

/* IEEE's half, single and double only: where the sign, exponent and mantissa lie. */
static bool is_ieee(const unsigned char *p, size_t size)
{
    static const struct {
        size_t size;
        unsigned sign, exp, exp_bits, frac_bits;
        uint32_t bias;
    } known[] = { { 2, 15, 10, 5, 10, 15 },
                  { 4, 31, 23, 8, 23, 127 },
                  { 8, 63, 52, 11, 52, 1023 } };

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (size == known[i].size)
            return (p[1] & 0x70) == 0x20 && p[2] == known[i].sign && number(p + 8, 2) == 0 &&
                   number(p + 10, 2) == 8 * size && p[12] == known[i].exp &&
                   p[13] == known[i].exp_bits && p[14] == 0 && p[15] == known[i].frac_bits &&
                   number(p + 16, 4) == known[i].bias;
    return false;
}

/* A type; whatever is not understood is KY_H5META_OTHER. False: damaged. */
static bool read_type(const unsigned char *p, size_t n, ky_h5meta_type *ret)
{
    if (n < 8)
        return false;
    *ret = (ky_h5meta_type){ .class = KY_H5META_OTHER, .size = number(p + 4, 4) };
    switch (p[0] & 0x0f) {
    case 0:
        if (n < 12)
            return false;
        ret->big = (p[1] & 1) != 0;
        ret->sign = (p[1] & 8) != 0;
        if ((ret->size == 1 || ret->size == 2 || ret->size == 4 || ret->size == 8) &&
            number(p + 8, 2) == 0 && number(p + 10, 2) == 8 * ret->size)
            ret->class = KY_H5META_INT;
        break;
    case 1:
        if (n < 20)
            return false;
        ret->big = (p[1] & 1) != 0;
        if ((p[1] & 0x40) == 0 && is_ieee(p, ret->size))
            ret->class = KY_H5META_FLOAT;
        break;
    case 3:
        ret->spaces = (p[1] & 0x0f) == 2;
        ret->class = KY_H5META_TEXT;
        break;
    case 8: /* how h5py stores bool: an enumeration over a base type, which stands first */
        if (n >= 20 && (p[8] & 0x0f) == 0 && number(p + 12, 4) == ret->size)
            return read_type(p + 8, n - 8, ret);
        break;
    case 9:
        if ((p[1] & 0x0f) == 1 && ret->size == 16)
            ret->class = KY_H5META_VARIABLE;
        break;
    default:
        break;
    }
    return ret->size > 0;
}

/* -- the messages of an object -------------------------------------------------------------------
 */

static int damaged(ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "the header of an object is damaged");
}

/* Chunk dimensions of `width` bytes each; the last one listed is the size of a value. */
static bool read_chunk_dims(ky_h5meta_object *o, const unsigned char *p, size_t n, int count,
                            int width)
{
    if (count < 2 || count - 1 > KY_H5_RANK || (size_t)count * (size_t)width > n)
        return false;
    for (int i = 0; i < count - 1; i++) {
        o->chunk[i] = number(p + (size_t)(i * width), width);
        if (o->chunk[i] == 0)
            return false;
    }
    return true;
}

/* Version 4, of HDF5 1.10's newest files: one chunk, or an index we do not know. */
static bool read_new_chunks(ky_h5meta_object *o, const unsigned char *p, size_t n)
{
    size_t width = n > 4 ? p[4] : 0, at = 5 + (n > 3 ? p[3] : 0) * width;

    o->layout = KY_H5META_ONE_CHUNK;
    if (width < 1 || width > 8 || at + 1 > n || !read_chunk_dims(o, p + 5, n - 5, p[3], (int)width))
        return false;
    if (p[at] != 1) {
        o->refused = "its chunks are indexed in HDF5's newest way (write it with libver "
                     "'earliest', or pass it through h5repack)";
        return true;
    }
    at++;
    bool filtered = (p[2] & 2) != 0;
    if (n - at < (filtered ? 20u : 8u))
        return false;
    if (filtered) {
        o->stored = number(p + at, 8);
        o->skip = (unsigned)number(p + at + 8, 4);
        at += 12;
    }
    o->address = number(p + at, 8);
    return true;
}

static bool read_layout(ky_h5meta_object *o, const ky_h5raw_message *m)
{
    const unsigned char *p = m->p;
    size_t n = m->n;

    if (n < 2)
        return false;
    o->layout = KY_H5META_PIECE;
    o->address = NOWHERE;
    if (p[0] != 3 && p[0] != 4) {
        o->refused = "its layout is of a version kymo does not read";
        return true;
    }
    if (p[1] == 0 && n >= 4) {
        o->stored = number(p + 2, 2);
        o->address = m->at + 4;
        return o->stored <= n - 4;
    }
    if (p[1] == 1 && n >= 18) {
        o->address = number(p + 2, 8);
        o->stored = number(p + 10, 8);
        return true;
    }
    if (p[1] == 2 && p[0] == 3 && n >= 11) {
        o->layout = KY_H5META_CHUNKED;
        o->address = number(p + 3, 8);
        return read_chunk_dims(o, p + 11, n - 11, p[2], 4);
    }
    if (p[1] == 2 && p[0] == 4)
        return read_new_chunks(o, p, n);
    if (p[1] == 3)
        o->refused = "a virtual dataset, which is not followed";
    return p[1] == 3;
}

/* One filter of a pipeline; how many bytes it took, 0 if it is damaged. */
static size_t read_filter(ky_h5meta_object *o, int version, const unsigned char *p, size_t n)
{
    bool named = version == 1 || (n >= 2 && number(p, 2) >= 256);
    size_t at = named ? 8 : 6, name = named && n >= 4 ? number(p + 2, 2) : 0;
    size_t values = n >= at ? number(p + at - 2, 2) : 0, first = at + name;
    size_t end = first + 4 * (values + (version == 1 ? values % 2 : 0));
    ky_h5raw_pipeline *pipe = &o->pipeline;

    if (n < at || end > n)
        return 0;
    switch (number(p, 2)) {
    case 1:
        pipe->filter[pipe->n++] = KY_H5RAW_DEFLATE;
        break;
    case 2:
        if (values < 1)
            return 0;
        pipe->element = number(p + first, 4);
        pipe->filter[pipe->n++] = KY_H5RAW_SHUFFLE;
        break;
    case 3:
        pipe->filter[pipe->n++] = KY_H5RAW_FLETCHER32;
        break;
    default:
        o->filter = (int)number(p, 2);
    }
    return end;
}

static bool read_pipeline(ky_h5meta_object *o, const unsigned char *p, size_t n)
{
    size_t at = n > 0 && p[0] == 1 ? 8 : 2;

    if (n < at || p[0] < 1 || p[0] > 2 || p[1] > KY_H5RAW_FILTERS)
        return false;
    for (int i = 0; i < p[1]; i++) {
        size_t took = read_filter(o, p[0], p + at, n - at);

        if (took == 0)
            return false;
        at += took;
    }
    return true;
}

static bool read_fill(ky_h5meta_object *o, const ky_h5raw_message *m)
{
    const unsigned char *p = m->p;
    size_t at = m->type == OLD_FILL ? 0 : 2;
    bool there = true;

    if (m->type == FILL && m->n >= 2 && p[0] < 3) {
        at = 4;
        there = m->n >= 4 && p[3] != 0;
    } else if (m->type == FILL)
        there = m->n >= 2 && (p[1] & 0x20) != 0;
    if (!there || m->n < at + 4)
        return true;
    size_t size = number(p + at, 4);
    if (size > m->n - at - 4)
        return false;
    if (size <= sizeof(o->fill)) {
        memcpy(o->fill, p + at + 4, size);
        o->n_fill = size;
    }
    return true;
}

/* Where links or attributes are kept when there are many: an address of a heap, or nowhere. */
static bool is_dense(const ky_h5raw_message *m, size_t index_bytes)
{
    size_t at = 2 + (m->n >= 2 && (m->p[1] & 1) != 0 ? index_bytes : 0);

    return m->n >= at + 8 && number(m->p + at, 8) != NOWHERE;
}

static int describe(void *arg, const ky_h5raw_message *m, ky_err *err)
{
    ky_h5meta_object *o = arg;
    bool good = true;

    if (m->shared) {
        if (m->type == SPACE || m->type == TYPE || m->type == PIPELINE)
            o->refused = "part of its description is shared (a named type), which is not followed";
        return 0;
    }
    switch (m->type) {
    case SPACE:
        o->has_space = good = read_space(m->p, m->n, &o->space);
        break;
    case TYPE:
        o->has_type = good = read_type(m->p, m->n, &o->type);
        break;
    case OLD_FILL:
    case FILL:
        good = read_fill(o, m);
        break;
    case EXTERNAL:
        o->refused = "its data is in another file, which is not followed";
        break;
    case LAYOUT:
        good = read_layout(o, m);
        break;
    case PIPELINE:
        good = read_pipeline(o, m->p, m->n);
        break;
    case SYMBOLS:
        good = m->n >= 16;
        o->is_group = true;
        o->tree = good ? number(m->p, 8) : NOWHERE;
        o->heap = good ? number(m->p + 8, 8) : NOWHERE;
        break;
    case LINK_INFO:
        o->dense_links = is_dense(m, 8);
        o->is_group = true;
        break;
    case LINK:
        o->is_group = true;
        break;
    case ATTRIBUTE_INFO:
        o->dense_attrs = is_dense(m, 2);
        break;
    default:
        break;
    }
    return good ? 0 : damaged(err);
}

int ky_h5meta_read(const ky_h5raw *f, uint64_t header, ky_h5meta_object *ret, ky_err *err)
{
    *ret = (ky_h5meta_object){ .header = header, .tree = NOWHERE, .heap = NOWHERE };
    return ky_h5raw_messages(f, header, describe, ret, err);
}

/* -- members of a group
 * ---------------------------------------------------------------------------- */

/* A link message of a new group: version, flags, then what the flags announce. */
struct link_visit {
    ky_h5meta_member *visit;
    void *arg;
};

static int visit_link(void *arg, const ky_h5raw_message *m, ky_err *err)
{
    struct link_visit *v = arg;
    const unsigned char *p = m->p;

    if (m->type != LINK || m->shared)
        return 0;
    if (m->n < 2 || p[0] != 1)
        return damaged(err);
    unsigned flags = p[1], kind = 0;
    size_t at = 2, width = (size_t)1 << (flags & 3);
    if ((flags & 8) != 0)
        kind = m->n > at ? p[at++] : 255;
    at += ((flags & 4) != 0 ? 8 : 0) + ((flags & 16) != 0 ? 1 : 0);
    if (at + width > m->n)
        return damaged(err);
    uint64_t len = number(p + at, (int)width);
    at += width;
    if (len > m->n - at || (kind == 0 && m->n - at - len < 8))
        return damaged(err);
    const char *name = (const char *)p + at;
    return v->visit(v->arg, name, len, kind == 0, kind == 0 ? number(p + at + len, 8) : NOWHERE);
}

/* An old group: a tree of tables of symbols, and the heap of their names. */
struct symbols {
    const ky_h5raw *f;
    ky_h5meta_member *visit;
    void *arg;
    char *names;
    uint64_t n_names;
    uint64_t budget; /* bytes of nodes that may still be read */
};

static int bad_group(ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "a group is damaged");
}

/* Where the names of a group stand, n_names bytes of them; false: nowhere. */
static bool find_names(const ky_h5raw *f, uint64_t heap, uint64_t *ret_at, uint64_t *ret_n)
{
    unsigned char p[32];

    if (!ky_h5raw_get(f, heap, p, 32) || memcmp(p, "HEAP", 4) != 0)
        return false;
    *ret_n = number(p + 8, 8);
    *ret_at = number(p + 24, 8);
    return *ret_n <= MAX_HEAP && *ret_n <= f->bytes;
}

static int load_names(struct symbols *s, uint64_t heap, ky_err *err)
{
    uint64_t at;

    if (!find_names(s->f, heap, &at, &s->n_names))
        return bad_group(err);
    s->names = malloc(s->n_names + 1);
    if (s->names == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    if (!ky_h5raw_get(s->f, at, s->names, s->n_names))
        return bad_group(err);
    s->names[s->n_names] = '\0';
    return KY_OK;
}

static int visit_symbols(struct symbols *s, uint64_t at, ky_err *err)
{
    unsigned char head[8], p[40];
    int rc = 0;

    if (!ky_h5raw_get(s->f, at, head, 8) || memcmp(head, "SNOD", 4) != 0 || s->budget < 8)
        return bad_group(err);
    s->budget -= 8;
    unsigned n = (unsigned)number(head + 6, 2);
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        if (s->budget < 40 || !ky_h5raw_get(s->f, at + 8 + 40 * (uint64_t)i, p, 40))
            return bad_group(err);
        s->budget -= 40;
        uint64_t name = number(p, 8);
        bool soft = number(p + 16, 4) == 2;
        if (name >= s->n_names)
            return bad_group(err);
        rc = s->visit(s->arg, s->names + name, strlen(s->names + name), !soft,
                      soft ? NOWHERE : number(p + 8, 8));
    }
    return rc;
}

/* The head of a tree's node: its level and number of entries. */
static bool read_node(const ky_h5raw *f, uint64_t at, unsigned kind, int want_level, int *level,
                      unsigned *n)
{
    unsigned char p[8];

    if (!ky_h5raw_get(f, at, p, 8) || memcmp(p, "TREE", 4) != 0 || p[4] != kind ||
        p[5] > MAX_LEVEL || (want_level >= 0 && p[5] != want_level))
        return false;
    *level = p[5];
    *n = (unsigned)number(p + 6, 2);
    return true;
}

static int visit_tree(struct symbols *s, uint64_t at, int want_level, ky_err *err)
{
    int level, rc = 0;
    unsigned n;

    if (!read_node(s->f, at, 0, want_level, &level, &n) || s->budget < TREE_HEAD)
        return bad_group(err);
    s->budget -= TREE_HEAD;
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        unsigned char p[8];

        if (s->budget < 16 || !ky_h5raw_get(s->f, at + TREE_HEAD + 8 + 16 * (uint64_t)i, p, 8))
            return bad_group(err);
        s->budget -= 16;
        rc = level == 0 ? visit_symbols(s, number(p, 8), err)
                        : visit_tree(s, number(p, 8), level - 1, err);
    }
    return rc;
}

static int refuse_dense(ky_err *err)
{
    return ky_fail(err, KY_EUNSUPPORTED,
                   "a group is stored in HDF5's newest way (write it with libver 'earliest', or "
                   "pass it through h5repack)");
}

int ky_h5meta_members(const ky_h5raw *f, const ky_h5meta_object *group, ky_h5meta_member *visit,
                      void *arg, ky_err *err)
{
    struct link_visit v = { visit, arg };
    struct symbols s = { .f = f, .visit = visit, .arg = arg, .budget = f->bytes };
    int rc;

    if (group->dense_links)
        return refuse_dense(err);
    if (group->tree == NOWHERE)
        return ky_h5raw_messages(f, group->header, visit_link, &v, err);
    rc = load_names(&s, group->heap, err);
    if (rc == KY_OK)
        rc = visit_tree(&s, group->tree, -1, err);
    free(s.names);
    return rc;
}

/* -- one member of a group ------------------------------------------------------------------ */

/* What is looked for. */
struct search {
    const ky_h5raw *f;
    const char *name;
    size_t len;
    uint64_t names, n_names; /* of an old group: address, bytes */
    char *text;              /* [len+2] */
    bool *ret_hard;
    uint64_t *ret_header;
};

static int is_wanted_link(void *arg, const char *name, size_t len, bool hard, uint64_t header)
{
    struct search *s = arg;

    if (len != s->len || memcmp(name, s->name, len) != 0)
        return 0;
    *s->ret_hard = hard;
    *s->ret_header = header;
    return 1;
}

/* How the name that is looked for compares with one of the heap, as strcmp. */
static bool compare(const struct search *s, uint64_t at, int *ret)
{
    uint64_t n = s->len + 1; /* one more letter tells that theirs is longer */

    if (at >= s->n_names)
        return false;
    n = n < s->n_names - at ? n : s->n_names - at;
    if (!ky_h5raw_get(s->f, s->names + at, s->text, n))
        return false;
    s->text[n] = '\0';
    *ret = strncmp(s->name, s->text, s->len);
    if (*ret == 0 && s->text[s->len] != '\0')
        *ret = -1;
    return true;
}

static int find_symbol(const struct search *s, uint64_t at, ky_err *err)
{
    unsigned char head[8], p[40];

    if (!ky_h5raw_get(s->f, at, head, 8) || memcmp(head, "SNOD", 4) != 0)
        return bad_group(err);
    for (unsigned i = 0, n = (unsigned)number(head + 6, 2); i < n; i++) {
        int order;

        if (!ky_h5raw_get(s->f, at + 8 + 40 * (uint64_t)i, p, 40) ||
            !compare(s, number(p, 8), &order))
            return bad_group(err);
        if (order != 0)
            continue;
        *s->ret_hard = number(p + 16, 4) != 2;
        *s->ret_header = *s->ret_hard ? number(p + 8, 8) : NOWHERE;
        return 1;
    }
    return 0;
}

/* Down the tree: what is behind entry i is greater than key i and not greater than key i+1. */
static int find_in_tree(const struct search *s, uint64_t at, ky_err *err)
{
    for (int level, want_level = -1;; want_level = level - 1) {
        unsigned char p[8];
        unsigned first = 0, n, end;
        int order;

        if (!read_node(s->f, at, 0, want_level, &level, &n))
            return bad_group(err);
        for (end = n; first < end;) {
            unsigned middle = (first + end) / 2;

            if (!ky_h5raw_get(s->f, at + TREE_HEAD + 16 * ((uint64_t)middle + 1), p, 8) ||
                !compare(s, number(p, 8), &order))
                return bad_group(err);
            if (order > 0)
                first = middle + 1;
            else
                end = middle;
        }
        if (first == n)
            return 0;
        if (!ky_h5raw_get(s->f, at + TREE_HEAD + 8 + 16 * (uint64_t)first, p, 8))
            return bad_group(err);
        at = number(p, 8);
        if (level == 0)
            return find_symbol(s, at, err);
    }
}

int ky_h5meta_find(const ky_h5raw *f, const ky_h5meta_object *group, const char *name, size_t len,
                   bool *ret_hard, uint64_t *ret_header, ky_err *err)
{
    struct search s = {
        .f = f, .name = name, .len = len, .ret_hard = ret_hard, .ret_header = ret_header
    };
    int rc;

    if (group->dense_links)
        return refuse_dense(err);
    if (group->tree == NOWHERE)
        return ky_h5meta_members(f, group, is_wanted_link, &s, err);
    if (!find_names(f, group->heap, &s.names, &s.n_names))
        return bad_group(err);
    s.text = malloc(len + 2);
    if (s.text == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    rc = find_in_tree(&s, group->tree, err);
    free(s.text);
    return rc;
}

/* -- attributes
 * --------------------------------------------------------------------------------------- */

struct attr_search {
    const char *name;
    ky_h5meta_value *ret;
};

/* Type, shape and bytes of the attribute whose message this is. */
static int read_attr(const unsigned char *type, size_t n_type, const unsigned char *space,
                     size_t n_space, const unsigned char *value, size_t n, ky_h5meta_value *ret,
                     ky_err *err)
{
    size_t bytes;

    if (!read_type(type, n_type, &ret->type) || !read_space(space, n_space, &ret->space) ||
        ky_size_mul(ret->space.count, ret->type.size, &bytes) < 0 || bytes > n)
        return ky_fail(err, KY_EFORMAT, "it is damaged");
    ret->bytes = malloc(bytes + 1);
    if (ret->bytes == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    memcpy(ret->bytes, value, bytes);
    return 1;
}

static int try_attr(void *arg, const ky_h5raw_message *m, ky_err *err)
{
    const struct attr_search *s = arg;
    const unsigned char *p = m->p;

    if (m->type != ATTRIBUTE || m->shared || m->n < 9)
        return 0;
    size_t at = p[0] == 3 ? 9 : 8, wanted = strlen(s->name) + 1;
    size_t name = number(p + 2, 2), type = number(p + 4, 2), space = number(p + 6, 2);
    if (p[0] < 1 || p[0] > 3 || name != wanted || name > m->n - at ||
        memcmp(p + at, s->name, wanted) != 0)
        return 0;
    if (p[0] > 1 && p[1] != 0)
        return ky_fail(err, KY_EUNSUPPORTED, "its type is shared, which is not followed");
    size_t round_name = p[0] == 1 ? ky_h5raw_padded(name) : name,
           round_type = p[0] == 1 ? ky_h5raw_padded(type) : type;
    size_t round_space = p[0] == 1 ? ky_h5raw_padded(space) : space;
    size_t value = at + round_name + round_type + round_space;
    if (value > m->n)
        return ky_fail(err, KY_EFORMAT, "it is damaged");
    const unsigned char *t = p + at + round_name, *d = t + round_type;
    return read_attr(t, type, d, space, p + value, m->n - value, s->ret, err);
}

int ky_h5meta_attr(const ky_h5raw *f, const ky_h5meta_object *o, const char *name,
                   ky_h5meta_value *ret, ky_err *err)
{
    struct attr_search s = { name, ret };
    int rc;

    ret->bytes = NULL;
    rc = ky_h5raw_messages(f, o->header, try_attr, &s, err);
    if (rc == 0 && o->dense_attrs)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "attributes are stored in HDF5's newest way (write the file with libver "
                       "'earliest', or pass it through h5repack)");
    if (rc == 0)
        return ky_fail(err, KY_ENOENT, "there is none");
    return rc < 0 ? rc : KY_OK;
}

/* -- chunks
 * ---------------------------------------------------------------------------------------------- */

struct chunk_walk {
    const ky_h5raw *f;
    const ky_h5meta_object *o;
    uint64_t first, end; /* rows */
    int (*visit)(void *arg, const ky_h5meta_chunk *c, ky_err *err);
    void *arg;
    uint64_t budget;
};

static int bad_chunks(ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "the index of its chunks is damaged");
}

/* A key: bytes, filters left out, first value along each axis and within a value. */
static void read_key(const struct chunk_walk *w, const unsigned char *p, ky_h5meta_chunk *ret)
{
    *ret = (ky_h5meta_chunk){ .bytes = number(p, 4), .skip = (unsigned)number(p + 4, 4) };
    for (int i = 0; i < w->o->space.rank; i++)
        ret->at[i] = number(p + 8 + 8 * (size_t)i, 8);
}

static bool is_wanted(const struct chunk_walk *w, const ky_h5meta_chunk *c)
{
    for (int i = 0; i < w->o->space.rank; i++)
        if (c->at[i] % w->o->chunk[i] != 0 || c->at[i] >= w->o->space.dims[i])
            return false; /* chunks beyond a shape that was made smaller may stay behind */
    return c->at[0] < w->end && w->first < c->at[0] + w->o->chunk[0];
}

static int visit_chunks(struct chunk_walk *w, uint64_t at, int want_level, ky_err *err)
{
    size_t key = 8 + 8 * ((size_t)w->o->space.rank + 1), step = key + 8, bytes;
    int level, rc = 0;
    unsigned n;

    if (!read_node(w->f, at, 1, want_level, &level, &n))
        return bad_chunks(err);
    bytes = n * step + key;
    if (bytes > MAX_NODE + key || bytes + TREE_HEAD > w->budget)
        return bad_chunks(err);
    w->budget -= bytes + TREE_HEAD;
    unsigned char *p = malloc(bytes);
    if (p == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    if (!ky_h5raw_get(w->f, at + TREE_HEAD, p, bytes))
        rc = bad_chunks(err);
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        ky_h5meta_chunk c, next;

        read_key(w, p + i * step, &c);
        read_key(w, p + (i + 1) * step, &next);
        c.address = number(p + i * step + key, 8);
        if (level == 0)
            rc = is_wanted(w, &c) ? w->visit(w->arg, &c, err) : 0;
        else if (c.at[0] < w->end && next.at[0] + w->o->chunk[0] > w->first)
            rc = visit_chunks(w, c.address, level - 1, err); /* keys rise along the rows */
    }
    free(p);
    return rc;
}

int ky_h5meta_chunks(const ky_h5raw *f, const ky_h5meta_object *o, uint64_t first, uint64_t n,
                     int (*visit)(void *arg, const ky_h5meta_chunk *c, ky_err *err), void *arg,
                     ky_err *err)
{
    struct chunk_walk w = { f, o, first, first + n, visit, arg, f->bytes };
    ky_h5meta_chunk one = { .address = o->address, .bytes = o->stored, .skip = o->skip };

    if (o->address == NOWHERE)
        return KY_OK;
    return o->layout == KY_H5META_ONE_CHUNK ? visit(arg, &one, err)
                                            : visit_chunks(&w, o->address, -1, err);
}
