#include "storage/journal_file.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "models/kernels.h"

_Static_assert(sizeof(ky_jheader) == 64, "the header is part of the format");
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "journal files are little-endian, on disk as in memory"
#endif

/* A window on the file: `len` bytes at `buf` from offset `at` of which the first `used` are done.
 */
typedef struct window {
    int fd;
    uint64_t left; /* bytes of the file not yet read into buf */
    uint8_t *buf;
    size_t cap, len, used;
} window;

enum { WINDOW = 1 << 18 };

static uint32_t header_crc(const ky_jheader *h)
{
    ky_jheader copy = *h;

    copy.crc = 0;
    return ky_crc32c(0, &copy, sizeof(copy));
}

void ky_jheader_seal(ky_jheader *h)
{
    memcpy(h->magic, KY_JFILE_MAGIC, sizeof(h->magic));
    h->version = KY_JFILE_VERSION;
    h->crc = header_crc(h);
}

uint32_t ky_record_crc(const uint8_t id[16], const ky_record *r)
{
    uint32_t crc = ky_crc32c(0, id, 16);

    crc = ky_crc32c(crc, &r->size, sizeof(r->size));
    return ky_crc32c(crc, &r->pos, r->size - offsetof(ky_record, pos));
}

int ky_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return KY_OK;
}

/* Makes `need` bytes contiguous at buf + used; false in ret_got when the file has not so many. */
static int window_need(window *w, size_t need, bool *ret_got)
{
    if (w->len - w->used < need) {
        memmove(w->buf, w->buf + w->used, w->len - w->used);
        w->len -= w->used;
        w->used = 0;
    }
    if (need > w->cap) { /* need was checked against KY_RECORD_MAX and the bytes left */
        uint8_t *buf = realloc(w->buf, need);

        if (buf == NULL)
            return KY_ENOMEM;
        w->buf = buf;
        w->cap = need;
    }
    while (w->len - w->used < need && w->left > 0) {
        size_t room = w->cap - w->len;
        ssize_t n = read(w->fd, w->buf + w->len, room < w->left ? room : (size_t)w->left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            w->left = 0;
        else
            w->left -= (uint64_t)n;
        w->len += (size_t)n;
    }
    *ret_got = w->len - w->used >= need;
    return KY_OK;
}

static int read_header(window *w, const char *path, ky_jheader *ret, ky_err *err)
{
    bool got;
    int rc = window_need(w, sizeof(*ret), &got);

    if (rc != KY_OK)
        return ky_fail(err, rc, "journal file '%s': %s", path, ky_strerror(rc));
    if (!got)
        return ky_fail(err, KY_ECORRUPT, "journal file '%s': %zu bytes, its header has %zu", path,
                       w->len, sizeof(*ret));
    memcpy(ret, w->buf, sizeof(*ret));
    w->used = sizeof(*ret);
    if (memcmp(ret->magic, KY_JFILE_MAGIC, sizeof(ret->magic)) != 0)
        return ky_fail(err, KY_ECORRUPT, "'%s' does not begin as a journal file does", path);
    if (ret->crc != header_crc(ret))
        return ky_fail(err, KY_ECORRUPT,
                       "journal file '%s': its header has checksum %08x, not %08x", path,
                       header_crc(ret), ret->crc);
    if (ret->version != KY_JFILE_VERSION)
        return ky_fail(err, KY_EUNSUPPORTED, "journal file '%s': version %u, this kymo reads %u",
                       path, ret->version, KY_JFILE_VERSION);
    if (ret->after > ret->first || ret->first > INT64_MAX / 2)
        return ky_fail(err, KY_ECORRUPT, "journal file '%s': it cannot begin at position %" PRIu64,
                       path, ret->first);
    return KY_OK;
}

/* The next record, borrowed from the window; NULL at the end, with why if it is not the file's. */
static int next_record(window *w, const ky_jheader *h, ky_jscan *s, const ky_record **ret)
{
    const ky_record *r;
    bool got;
    int rc = window_need(w, sizeof(*r), &got);

    *ret = NULL;
    if (rc != KY_OK)
        return rc;
    if (!got) {
        if (w->len > w->used)
            snprintf(s->why, sizeof(s->why),
                     "%zu bytes at position %" PRIu64 " are no whole record", w->len - w->used,
                     s->end);
        return KY_OK;
    }
    r = (const ky_record *)(const void *)(w->buf + w->used);
    if (!ky_record_ok(r) || r->pos != s->end) {
        snprintf(s->why, sizeof(s->why), "no record at position %" PRIu64, s->end);
        return KY_OK;
    }
    got = r->size <= w->len - w->used + w->left; /* before any memory is asked for it */
    if (got && (rc = window_need(w, r->size, &got)) != KY_OK)
        return rc;
    r = (const ky_record *)(const void *)(w->buf + w->used);
    if (!got)
        snprintf(s->why, sizeof(s->why), "the record at position %" PRIu64 " is cut short", s->end);
    else if (r->crc != ky_record_crc(h->id, r))
        snprintf(s->why, sizeof(s->why), "the record at position %" PRIu64 " fails its checksum",
                 s->end);
    else
        *ret = r;
    return KY_OK;
}

int ky_jfile_scan(int fd, const char *path, uint64_t size, uint64_t from, ky_record_fn *fn,
                  void *arg, ky_jheader *ret_header, ky_jscan *ret_scan, ky_err *err)
{
    window w = { .fd = fd, .left = size, .buf = malloc(WINDOW), .cap = WINDOW };
    const ky_record *r;
    uint64_t records = 0;
    ky_jscan s = { 0 };
    ky_jheader h;
    int rc;

    if (w.buf == NULL)
        return ky_fail(err, KY_ENOMEM, "journal file '%s': no memory to read it", path);
    rc = read_header(&w, path, &h, err);
    if (rc != KY_OK)
        goto out;
    s.end = s.whole = h.first;
    for (;;) {
        rc = next_record(&w, &h, &s, &r);
        if (rc != KY_OK)
            ky_fail(err, rc, "journal file '%s': %s", path, ky_strerror(rc));
        if (rc != KY_OK || r == NULL)
            break;
        records++;
        s.end += r->size;
        if (r->flags & KY_LAST) {
            s.whole = s.end;
            s.records = records;
        }
        if (fn != NULL && r->pos >= from && (rc = fn(r, arg, err)) != 0)
            break;
        w.used += r->size;
    }
    *ret_header = h;
    *ret_scan = s;
out:
    free(w.buf);
    return rc;
}
