#include "cli/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_rows(ky_source *source, uint32_t first, uint32_t n, float *x, ky_err *err)
{
    ky_spool *s = (ky_spool *)source;
    size_t bytes = n * s->row, at = 0;

    while (at < bytes) {
        ssize_t got = pread(s->fd, (char *)x + at, bytes - at, (off_t)(first * s->row + at));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ky_fail(err, KY_EIO, "rows put by in '%s' cannot be read: %s", s->dir,
                           got < 0 ? strerror(errno) : "the file has ended");
        at += (size_t)got;
    }
    return KY_OK;
}

/* A file that never had a name, or where the file system has no such thing loses it at once. */
static int open_nameless(const char *dir)
{
    char path[4200];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        return fd;
    snprintf(path, sizeof path, "%s/.kymo-rows-XXXXXX", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

int ky_spool_open(const char *dir, uint32_t rows, size_t len, size_t memory, ky_spool **ret,
                  ky_err *err)
{
    ky_spool *s = calloc(1, sizeof *s);
    size_t bytes = 0;
    int rc = KY_OK;

    if (s == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to put rows by");
    *s = (ky_spool){ .row = len * sizeof(float), .fd = open_nameless(dir) };
    s->source = (ky_source){ .read = read_rows, .rows = rows, .block = 1, .memory = memory };
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    /* Not every file system can say beforehand that there is room. */
    bool much = ky_size_mul(rows, s->row, &bytes) < 0 || bytes > INT64_MAX;

    if (s->fd >= 0 && much)
        errno = EFBIG;
    if (s->fd < 0 || much || (fallocate(s->fd, 0, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP))
        rc = ky_fail(err, KY_EIO, "'%s' has no room for %u rows of %zu bytes: %s", dir, rows,
                     s->row, strerror(errno));
    if (rc < 0)
        ky_spool_close(s);
    else
        *ret = s;
    return rc;
}

void ky_spool_close(ky_spool *s)
{
    if (s != NULL && s->fd >= 0)
        close(s->fd);
    free(s);
}

int ky_spool_put(ky_spool *s, uint32_t at, const float *x, ky_err *err)
{
    size_t done = 0;

    while (done < s->row) {
        ssize_t n =
            pwrite(s->fd, (const char *)x + done, s->row - done, (off_t)(at * s->row + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ky_fail(err, KY_EIO, "rows cannot be put by in '%s': %s", s->dir,
                           strerror(errno));
        done += (size_t)n;
    }
    return KY_OK;
}
