#include "models/h5raw.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

enum {
    MAX_BLOCK = 16 << 20,       /* bytes of an object header's block */
    MAX_BLOCKS = 64,            /* of one object header */
    MAX_COLLECTION = 256 << 20, /* bytes of a heap collection */
    MAX_TEXT = 64 << 20,        /* bytes of all texts of one array */
    HEAP_IDS = 1 << 16,         /* in a heap collection */
    REF = 16,                   /* bytes of a reference into the heap */
    REREAD = 16,                /* times the file's size that may be read for one array */
};

bool ky_h5raw_get(const ky_h5raw *f, uint64_t at, void *buf, uint64_t n)
{
    if (at > f->bytes || f->base > f->bytes - at || n > f->bytes - at - f->base)
        return false;
    at += f->base;
    if (f->image != NULL) {
        memcpy(buf, f->image + at, n);
        return true;
    }
    for (unsigned char *to = buf; n > 0;) {
        ssize_t got = pread(f->fd, to, n, (off_t)at);

        if (got <= 0)
            return false;
        to += got;
        at += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return true;
}

uint64_t ky_h5raw_number(const unsigned char *p, int bytes)
{
    uint64_t v = 0;

    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* -- object headers ----------------------------------------------------------------------- */

enum { MESSAGE_CONTINUATION = 0x10 };

/* A walk: which blocks the header has, as far as is known. */
struct walk {
    const ky_h5raw *f;
    ky_h5raw_visit *visit;
    void *arg;
    int version;  /* of the object header */
    bool ordered; /* messages carry their creation order */
    struct {
        uint64_t at, bytes;
    } blocks[MAX_BLOCKS];
    int n_blocks;
};

static int damaged(ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "the header of an object is damaged");
}

static int add_block(struct walk *w, const ky_h5raw_message *m, ky_err *err)
{
    if (m->n < 16 || w->n_blocks == MAX_BLOCKS)
        return damaged(err);
    w->blocks[w->n_blocks].at = ky_h5raw_number(m->p, 8);
    w->blocks[w->n_blocks++].bytes = ky_h5raw_number(m->p + 8, 8);
    return 0;
}

/* Through the messages in n bytes from address `from`. */
static int walk_messages(struct walk *w, const unsigned char *p, size_t n, uint64_t from,
                         ky_err *err)
{
    size_t head = w->version == 1 ? 8 : w->ordered ? 6 : 4;
    int rc = 0;

    for (size_t at = 0; rc == 0 && n - at >= head;) {
        ky_h5raw_message m = { .type =
                                   w->version == 1 ? (unsigned)ky_h5raw_number(p + at, 2) : p[at],
                               .n = ky_h5raw_number(p + at + (w->version == 1 ? 2 : 1), 2),
                               .shared = (p[at + (w->version == 1 ? 4 : 3)] & 2) != 0 };

        at += head;
        if (m.n > n - at)
            return damaged(err);
        m.p = p + at;
        m.at = from + at;
        rc = m.type == MESSAGE_CONTINUATION ? add_block(w, &m, err) : w->visit(w->arg, &m, err);
        at += m.n;
    }
    return rc;
}

static int walk_block(struct walk *w, int i, ky_err *err)
{
    uint64_t bytes = w->blocks[i].bytes, at = w->blocks[i].at;
    size_t before = w->version == 2 && i > 0 ? 4 : 0; /* a signature */
    size_t after = before;                            /* and a checksum */
    unsigned char *p = bytes > MAX_BLOCK || bytes > w->f->bytes ? NULL : malloc(bytes + 1);
    int rc;

    if (p == NULL || bytes < before + after || !ky_h5raw_get(w->f, at, p, bytes))
        rc = damaged(err);
    else
        rc = walk_messages(w, p + before, bytes - before - after, at + before, err);
    free(p);
    return rc;
}

/* The first block, by the prefix of the header. */
static bool first_block(struct walk *w, uint64_t header)
{
    unsigned char p[32] = { 0 };

    if (!ky_h5raw_get(w->f, header, p, 16))
        return false;
    w->n_blocks = 1;
    if (memcmp(p, "OHDR", 4) != 0) {
        w->version = 1;
        w->blocks[0].at = header + 16;
        w->blocks[0].bytes = ky_h5raw_number(p + 8, 4);
        return p[0] == 1;
    }
    size_t at = 6 + ((p[5] & 0x20) != 0 ? 16 : 0) + ((p[5] & 0x10) != 0 ? 4 : 0);
    int width = 1 << (p[5] & 3);
    w->version = 2;
    w->ordered = (p[5] & 4) != 0;
    if (p[4] != 2 || !ky_h5raw_get(w->f, header + at, p, (uint64_t)width))
        return false;
    w->blocks[0].at = header + at + (uint64_t)width;
    w->blocks[0].bytes = ky_h5raw_number(p, width);
    return true;
}

int ky_h5raw_messages(const ky_h5raw *f, uint64_t header, ky_h5raw_visit *visit, void *arg,
                      ky_err *err)
{
    struct walk w = { .f = f, .visit = visit, .arg = arg };
    int rc = 0;

    if (!first_block(&w, header))
        return damaged(err);
    for (int i = 0; rc == 0 && i < w.n_blocks; i++)
        rc = walk_block(&w, i, err);
    return rc;
}

/* -- text in the global heap --------------------------------------------------------------- */

/* One collection of the heap, as last used. */
struct collection {
    uint64_t address;
    unsigned char *bytes;
    size_t len;
    struct {
        size_t at, len;
    } object[HEAP_IDS];
    uint64_t budget; /* bytes that may still be read, or two far collections could be a hang */
};

/* Where each object lies. */
static void index_collection(struct collection *c)
{
    memset(c->object, 0, sizeof(c->object));
    for (size_t at = 16; c->len - at >= 16;) {
        size_t id = ky_h5raw_number(c->bytes + at, 2);
        uint64_t len = ky_h5raw_number(c->bytes + at + 8, 8);

        at += 16;
        if (id == 0 || len > c->len - at) /* free space, which is last */
            break;
        c->object[id].at = at;
        c->object[id].len = len;
        len = ky_h5raw_padded(len);
        at += len > c->len - at ? c->len - at : len;
    }
}

static int load_collection(const ky_h5raw *f, struct collection *c, uint64_t address, ky_err *err)
{
    unsigned char head[16];

    if (c->bytes != NULL && c->address == address)
        return KY_OK;
    if (!ky_h5raw_get(f, address, head, 16) || memcmp(head, "GCOL", 4) != 0)
        return ky_fail(err, KY_EFORMAT, "its text is damaged");
    uint64_t len = ky_h5raw_number(head + 8, 8);
    if (len < 16 || len > MAX_COLLECTION || len > c->budget)
        return ky_fail(err, KY_EFULL, "its text is scattered or damaged");
    free(c->bytes);
    c->bytes = malloc(len);
    if (c->bytes == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    c->budget -= len;
    c->address = address;
    c->len = len;
    if (!ky_h5raw_get(f, address, c->bytes, len)) {
        c->len = 16;
        index_collection(c);
        return ky_fail(err, KY_EFORMAT, "its text is cut off");
    }
    index_collection(c);
    return KY_OK;
}

/* The text of one reference; it points into the collection. */
static int resolve(const ky_h5raw *f, struct collection *c, const unsigned char *ref,
                   const char **ret, size_t *ret_len, ky_err *err)
{
    size_t len = ky_h5raw_number(ref, 4), id = ky_h5raw_number(ref + 12, 4);
    uint64_t address = ky_h5raw_number(ref + 4, 8);

    *ret = "";
    *ret_len = 0;
    if (len == 0 || address == 0 || address == UINT64_MAX)
        return KY_OK;
    int rc = load_collection(f, c, address, err);
    if (rc < 0)
        return rc;
    if (id == 0 || id >= HEAP_IDS || c->object[id].len < len)
        return ky_fail(err, KY_EFORMAT, "its text is damaged");
    *ret = (const char *)c->bytes + c->object[id].at;
    *ret_len = strnlen(*ret, len);
    return KY_OK;
}

char **ky_h5raw_pack(size_t n, const char *const *text, const size_t *len)
{
    size_t bytes = (n + 1) * sizeof(char *);

    for (size_t i = 0; i < n; i++)
        bytes += len[i] + 1;
    char **all = malloc(bytes);
    if (all == NULL)
        return NULL;
    char *p = (char *)(all + n + 1);
    for (size_t i = 0; i < n; i++) {
        all[i] = p;
        memcpy(p, text[i], len[i]);
        p[len[i]] = '\0';
        p += len[i] + 1;
    }
    all[n] = NULL;
    return all;
}

/* Two passes over the references: how long, then copied. */
static int copy_texts(const ky_h5raw *f, struct collection *c, const unsigned char *refs, size_t n,
                      char ***ret, ky_err *err)
{
    const char *text;
    size_t len, bytes = (n + 1) * sizeof(char *), total = 0;

    for (size_t i = 0; i < n; i++) {
        int rc = resolve(f, c, refs + i * REF, &text, &len, err);

        if (rc < 0)
            return rc;
        total += len + 1;
        if (total > MAX_TEXT + n)
            return ky_fail(err, KY_EFULL, "its texts are longer than %d bytes", MAX_TEXT);
    }
    char **all = malloc(bytes + total);
    if (all == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    char *p = (char *)(all + n + 1);
    for (size_t i = 0; i < n; i++) {
        if (resolve(f, c, refs + i * REF, &text, &len, err) < 0 ||
            len + 1 > (size_t)((char *)all + bytes + total - p)) {
            free(all); /* the file was changed, or is read too often */
            return ky_fail(err, KY_EFORMAT, "its text is damaged");
        }
        all[i] = p;
        memcpy(p, text, len);
        p[len] = '\0';
        p += len + 1;
    }
    all[n] = NULL;
    *ret = all;
    return KY_OK;
}

int ky_h5raw_texts(const ky_h5raw *f, const unsigned char *refs, size_t n, char ***ret, ky_err *err)
{
    struct collection *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    c->budget = f->bytes > UINT64_MAX / REREAD ? UINT64_MAX : f->bytes * REREAD;
    int rc = copy_texts(f, c, refs, n, ret, err);
    free(c->bytes);
    free(c);
    return rc;
}

/* -- chunks --------------------------------------------------------------------------------- */

/* Inflate to exactly `want` bytes. */
static bool inflate_exactly(const unsigned char *from, size_t n, unsigned char *to, size_t want)
{
    uLongf got = want;

    return uncompress(to, &got, from, n) == Z_OK && got == want;
}

/* Byte k of every value stood together; the rest behind the last whole value is as it was. */
static void unshuffle(const unsigned char *from, unsigned char *to, size_t n, size_t element)
{
    size_t count = n / element;

    for (size_t k = 0; k < element; k++)
        for (size_t i = 0; i < count; i++)
            to[i * element + k] = from[k * count + i];
    memcpy(to + count * element, from + count * element, n - count * element);
}

/* Fletcher's checksum over 16-bit big-endian words, as HDF5 computes it. */
static uint32_t fletcher32(const unsigned char *p, size_t n)
{
    uint32_t a = 0, b = 0;

    for (size_t words = n / 2; words > 0;) {
        size_t run = words > 360 ? 360 : words; /* as long as b cannot overflow */

        words -= run;
        for (; run > 0; run--, p += 2) {
            a += (uint32_t)p[0] << 8 | p[1];
            b += a;
        }
        a = (a & 0xffff) + (a >> 16);
        b = (b & 0xffff) + (b >> 16);
    }
    if (n % 2 != 0) {
        a += (uint32_t)p[0] << 8;
        b += a;
        a = (a & 0xffff) + (a >> 16);
        b = (b & 0xffff) + (b >> 16);
    }
    a = (a & 0xffff) + (a >> 16);
    b = (b & 0xffff) + (b >> 16);
    return b << 16 | a;
}

/* Bytes after filter i was applied when `bytes` went in at the front; deflate's are not known. */
static size_t bytes_before(const ky_h5raw_pipeline *p, unsigned skip, int i, size_t bytes)
{
    for (int k = 0; k < i; k++)
        if (p->filter[k] == KY_H5RAW_FLETCHER32 && (skip & 1u << k) == 0)
            bytes += 4;
    return bytes;
}

/* What a chunk may take while it is packed: deflate adds a thousandth to what it cannot shrink. */
static size_t packed_room(size_t bytes)
{
    return bytes + bytes / 64 + 64;
}

/* Undo filter i: n bytes in `from` become the returned number in `to`, 0 if they are damaged. */
static size_t undo(const ky_h5raw_pipeline *p, unsigned skip, int i, const unsigned char *from,
                   size_t n, unsigned char *to, size_t bytes)
{
    size_t want = bytes_before(p, skip, i, bytes);

    if (p->filter[i] == KY_H5RAW_DEFLATE)
        return inflate_exactly(from, n, to, want) ? want : 0;
    if (p->filter[i] == KY_H5RAW_FLETCHER32) {
        if (n < 4 || n - 4 > packed_room(bytes) ||
            fletcher32(from, n - 4) != ky_h5raw_number(from + n - 4, 4))
            return 0;
        memcpy(to, from, n - 4);
        return n - 4;
    }
    if (n > packed_room(bytes))
        return 0;
    unshuffle(from, to, n, p->element);
    return n;
}

int ky_h5raw_unpack(const ky_h5raw_pipeline *p, unsigned skip, const void *packed, size_t n,
                    void *chunk, size_t bytes, ky_err *err)
{
    size_t room = packed_room(bytes);
    unsigned char *a = malloc(2 * room), *spare = a == NULL ? NULL : a + room;
    const unsigned char *now = packed;

    if (a == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    unsigned char *to = a;
    for (int i = p->n - 1; n > 0 && i >= 0; i--) {
        if ((skip & 1u << i) != 0)
            continue;
        n = undo(p, skip, i, now, n, to, bytes);
        now = to;
        to = to == a ? spare : a;
    }
    bool whole = n == bytes;
    if (whole)
        memcpy(chunk, now, bytes);
    free(a);
    return whole ? KY_OK : ky_fail(err, KY_EFORMAT, "a chunk of it is damaged");
}
