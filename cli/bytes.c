#include "cli/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum {
    MOST_LINE = 64 << 20, /* bytes: a series of many channels is one line */
    BUFFER = 1 << 17,
    MOST_DEFLATED = 1032, /* bytes out of one: 258 out of two bits */
};

int ky_bytes_open(const char *path, ky_bytes *ret, ky_err *err)
{
    struct stat st;

    if (stat(path, &st) != 0)
        st = (struct stat){ .st_mode = S_IFREG }; /* why, opening says */
    if (!S_ISREG(st.st_mode))
        return ky_fail(err, KY_EINVAL, "'%s' is no file", path);
    *ret = (ky_bytes){ .path = path, .gz = gzopen(path, "rbe"), .size = (uint64_t)st.st_size };
    if (ret->gz == NULL)
        return ky_fail(err, errno != 0 ? -errno : KY_ENOMEM, "'%s': %s", path, strerror(errno));
    gzbuffer(ret->gz, BUFFER);
    return KY_OK;
}

void ky_bytes_close(ky_bytes *b)
{
    if (b->gz != NULL)
        gzclose(b->gz);
    free(b->line);
    *b = (ky_bytes){ .gz = NULL };
}

uint64_t ky_bytes_unpacked(uint64_t n)
{
    return n < UINT64_MAX / MOST_DEFLATED ? n * MOST_DEFLATED : UINT64_MAX;
}

uint64_t ky_bytes_most(const ky_bytes *b)
{
    return gzdirect(b->gz) ? b->size : ky_bytes_unpacked(b->size);
}

static int damaged(ky_bytes *b, ky_err *err)
{
    int code;
    const char *why = gzerror(b->gz, &code);

    return ky_fail(err, code == Z_ERRNO ? KY_EIO : KY_EFORMAT, "'%s': %s", b->path,
                   code == Z_ERRNO ? strerror(errno) : why);
}

int ky_bytes_read(ky_bytes *b, void *to, size_t n, size_t *ret_n, ky_err *err)
{
    unsigned char *at = to;
    size_t done = 0;

    while (done < n) {
        size_t wanted = n - done < 1u << 30 ? n - done : 1u << 30;
        int got = gzread(b->gz, at + done, (unsigned)wanted), code;

        if (got < 0)
            return damaged(b, err);
        if (got == 0) {
            gzerror(b->gz, &code);
            if (code == Z_BUF_ERROR)
                return ky_fail(err, KY_EFORMAT, "'%s': the gzip file ends early", b->path);
            break;
        }
        done += (size_t)got;
    }
    *ret_n = done;
    return KY_OK;
}

int ky_bytes_read_all(ky_bytes *b, void *to, size_t n, ky_err *err)
{
    size_t got;
    int rc = ky_bytes_read(b, to, n, &got, err);

    if (rc == KY_OK && got < n)
        rc = ky_fail(err, KY_EFORMAT, "'%s' ends early: %zu bytes are missing", b->path, n - got);
    return rc;
}

static int grow_line(ky_bytes *b, ky_err *err)
{
    size_t cap = b->cap > 0 ? 2 * b->cap : 4096;
    char *more = cap <= MOST_LINE ? realloc(b->line, cap) : NULL;

    if (more == NULL)
        return ky_fail(err, KY_EFULL, "'%s', line %lld: over %zu bytes", b->path,
                       (long long)b->number, b->cap);
    b->line = more;
    b->cap = cap;
    return KY_OK;
}

int ky_bytes_line(ky_bytes *b, size_t *ret_len, ky_err *err)
{
    size_t n = 0;
    int c = -1, rc;

    b->number++;
    /* A character at a time, as a NUL must not end a line unnoticed; zlib has it buffered. */
    while ((c = gzgetc(b->gz)) >= 0 && c != '\n') {
        if (n + 2 > b->cap && (rc = grow_line(b, err)) < 0)
            return rc;
        b->line[n++] = (char)c;
    }
    if (c < 0 && !gzeof(b->gz))
        return damaged(b, err);
    if (c < 0 && n == 0) {
        gzerror(b->gz, &rc);
        return rc == Z_OK || rc == Z_STREAM_END
                   ? 0
                   : ky_fail(err, KY_EFORMAT, "'%s': the gzip file ends early", b->path);
    }
    if (b->cap == 0 && (rc = grow_line(b, err)) < 0)
        return rc;
    if (n > 0 && b->line[n - 1] == '\r')
        n--;
    b->line[n] = '\0';
    if (memchr(b->line, '\0', n) != NULL)
        return ky_fail(err, KY_EFORMAT, "'%s', line %lld: a NUL: this is no text", b->path,
                       (long long)b->number);
    if (b->number == 1 && n >= 3 && memcmp(b->line, "\xef\xbb\xbf", 3) == 0) {
        n -= 3;
        memmove(b->line, b->line + 3, n + 1);
    }
    *ret_len = n;
    return 1;
}

/* -- as a stream ------------------------------------------------------------------------------ */

static ssize_t stream_read(void *cookie, char *to, size_t n)
{
    int got = gzread(cookie, to, n < 1u << 30 ? (unsigned)n : 1u << 30), code = Z_OK;

    if (got == 0)
        gzerror(cookie, &code);
    if (got < 0 || code == Z_BUF_ERROR) {
        errno = EBADMSG; /* damaged, or it ends early */
        return -1;
    }
    return got;
}

static int stream_close(void *cookie)
{
    return gzclose(cookie) == Z_OK ? 0 : -1;
}

int ky_bytes_stream(const char *path, FILE **ret, ky_err *err)
{
    const cookie_io_functions_t calls = { .read = stream_read, .close = stream_close };
    ky_bytes b = { .gz = NULL };
    int rc = ky_bytes_open(path, &b, err);

    if (rc < 0)
        return rc;
    if ((*ret = fopencookie(b.gz, "r", calls)) == NULL) {
        ky_bytes_close(&b);
        return ky_fail(err, KY_ENOMEM, "'%s': no memory", path);
    }
    return KY_OK;
}
