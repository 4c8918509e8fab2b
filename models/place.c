#include "models/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *ky_place_name(const char *path)
{
    static atomic_uint serial;
    char *tmp;

    if (asprintf(&tmp, "%s.tmp-%ld-%u", path, (long)getpid(), atomic_fetch_add(&serial, 1)) < 0)
        return NULL;
    return tmp;
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);

    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

/* The folder of a path; free(). */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

int ky_place(const char *tmp, const char *path, ky_err *err)
{
    char *folder = folder_of(path);
    int rc = KY_OK;

    if (folder == NULL)
        rc = ky_fail(err, KY_ENOMEM, "%s: no memory", path);
    /* Synced before the rename, so a crash leaves the old file or the whole new one. */
    else if (sync_path(tmp, O_RDONLY) != 0 || rename(tmp, path) != 0 ||
             sync_path(folder, O_RDONLY | O_DIRECTORY) != 0)
        rc = ky_fail(err, -errno, "%s: %s", path, strerror(errno));
    if (rc < 0)
        unlink(tmp);
    free(folder);
    return rc;
}

int ky_place_print(const char *path, void (*print)(FILE *to, void *arg), void *arg, ky_err *err)
{
    char *tmp = ky_place_name(path);
    FILE *to = tmp != NULL ? fopen(tmp, "we") : NULL;
    bool whole;
    int rc;

    if (to == NULL) {
        rc = ky_fail(err, -errno, "'%s' cannot be written: %s", path, strerror(errno));
        free(tmp);
        return rc;
    }
    print(to, arg);
    whole = !ferror(to);
    if (fclose(to) == 0 && whole) {
        rc = ky_place(tmp, path, err);
    } else {
        rc = ky_fail(err, -errno, "'%s' cannot be written: %s", path, strerror(errno));
        unlink(tmp);
    }
    free(tmp);
    return rc;
}
