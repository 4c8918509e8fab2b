#include "storage/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/sample.h"

void ky_store_path(const char *dir, const char *name, uint32_t version, char ret[4096])
{
    snprintf(ret, 4096, "%s/%s/%" PRIu32 ".h5", dir, name, version);
}

/* A name becomes a directory: nothing that climbs out of the store or hides in it. */
static int check_name(const char *name, ky_err *err)
{
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL ||
        strlen(name) > KY_NAME_MAX)
        return ky_fail(err, KY_EINVAL, "model name '%.80s' cannot be the name of a directory",
                       name);
    return KY_OK;
}

/* The version that a file name stands for: a number without leading zeros, then .h5; else 0. */
static uint32_t version_of(const char *file)
{
    char again[32];
    char *end;
    unsigned long v;

    if (file[0] < '1' || file[0] > '9')
        return 0;
    errno = 0;
    v = strtoul(file, &end, 10);
    if (errno != 0 || v > UINT32_MAX)
        return 0;
    snprintf(again, sizeof(again), "%lu.h5", v);
    return strcmp(again, file) == 0 ? (uint32_t)v : 0;
}

/* All versions of a name, ascending; none if there is no such directory. *ret is free()d. */
static int compare_versions(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static int list_versions(const char *dir, const char *name, uint32_t **ret, ky_err *err)
{
    uint32_t *list = NULL;
    int n = 0, cap = 0;
    char path[4096];
    struct dirent *d;
    DIR *folder;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    folder = opendir(path);
    if (folder == NULL && errno != ENOENT)
        return ky_fail(err, -errno, "model store '%s': %s", path, strerror(errno));
    while (folder != NULL && (d = readdir(folder)) != NULL) {
        uint32_t v = version_of(d->d_name);

        if (v != 0 && n == cap) {
            uint32_t *grown = realloc(list, (size_t)(cap = cap ? 2 * cap : 16) * sizeof(*list));

            if (grown == NULL) {
                free(list);
                closedir(folder);
                return ky_fail(err, KY_ENOMEM, "model store '%s': no memory to list it", path);
            }
            list = grown;
        }
        if (v != 0)
            list[n++] = v;
    }
    if (folder != NULL)
        closedir(folder);
    if (n > 0)
        qsort(list, (size_t)n, sizeof(*list), compare_versions);
    *ret = list;
    return n;
}

int ky_store_latest(const char *dir, const char *name, uint32_t *ret, ky_err *err)
{
    uint32_t *list = NULL;
    int n = check_name(name, err);

    if (n == KY_OK)
        n = list_versions(dir, name, &list, err);
    if (n >= 0)
        *ret = n > 0 ? list[n - 1] : 0;
    free(list);
    return n < 0 ? n : KY_OK;
}

/* A directory that is there for good before a file in it is. */
static int make_directory(const char *path, const char *parent, ky_err *err)
{
    int fd, rc = KY_OK;

    if (mkdir(path, 0750) != 0)
        return errno == EEXIST
                   ? KY_OK
                   : ky_fail(err, -errno, "model store '%s': %s", path, strerror(errno));
    fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        rc = ky_fail(err, -errno, "model store '%s': fsync: %s", parent, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Two that add at once take turns: the lock is on the name's directory, and the kernel's, so a
 * crash leaves none behind. */
static int lock_name(const char *dir, const char *name, int *ret_fd, ky_err *err)
{
    char path[4096], parent[4096];
    int rc;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    snprintf(parent, sizeof(parent), "%s/..", dir);
    rc = make_directory(dir, parent, err);
    if (rc == KY_OK)
        rc = make_directory(path, dir, err);
    if (rc != KY_OK)
        return rc;
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd < 0)
        return ky_fail(err, -errno, "model store '%s': %s", path, strerror(errno));
    while (flock(*ret_fd, LOCK_EX) != 0)
        if (errno != EINTR) {
            rc = ky_fail(err, -errno, "model store '%s': lock: %s", path, strerror(errno));
            close(*ret_fd);
            return rc;
        }
    return KY_OK;
}

int ky_store_add(const char *dir, const ky_model *m, const char *name, uint32_t *ret_version,
                 ky_err *err)
{
    uint32_t latest = 0;
    char path[4096];
    int lock = -1, rc = check_name(name, err);

    if (rc == KY_OK)
        rc = lock_name(dir, name, &lock, err);
    if (rc != KY_OK)
        return rc;
    rc = ky_store_latest(dir, name, &latest, err);
    if (rc == KY_OK && latest == UINT32_MAX)
        rc = ky_fail(err, KY_EFULL, "model '%s' has no version number left", name);
    if (rc == KY_OK) {
        ky_store_path(dir, name, latest + 1, path);
        rc = ky_model_save(m, path, err);
    }
    if (rc == KY_OK)
        *ret_version = latest + 1;
    close(lock);
    return rc;
}

int ky_store_load(const char *dir, const char *name, uint32_t version, uint64_t want_hash,
                  ky_model **ret, ky_err *err)
{
    char path[4096];
    ky_model *m = NULL;
    int rc = check_name(name, err);

    if (rc != KY_OK)
        return rc;
    ky_store_path(dir, name, version, path);
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return ky_fail(err, KY_ENOENT, "model '%s' version %" PRIu32 " is gone: no '%s'", name,
                       version, path);
    rc = ky_model_load(path, &m, err);
    if (rc != KY_OK)
        return ky_context(err, rc, "model '%s' version %" PRIu32, name, version);
    if (want_hash != 0 && ky_model_facts(m)->hash != want_hash) {
        rc = ky_fail(err, KY_ECORRUPT,
                     "model '%s' version %" PRIu32 ": '%s' has hash %016" PRIx64
                     ", recorded is %016" PRIx64,
                     name, version, path, ky_model_facts(m)->hash, want_hash);
        ky_model_free(m);
        return rc;
    }
    *ret = m;
    return KY_OK;
}

int ky_store_prune(const char *dir, const char *name, int keep,
                   bool (*in_use)(uint32_t version, void *arg), void *arg, ky_err *err)
{
    uint32_t *list = NULL;
    char path[4096];
    int n = check_name(name, err), rc = KY_OK;

    if (n == KY_OK)
        n = list_versions(dir, name, &list, err);
    if (n < 0)
        return n;
    for (int i = 0; rc == KY_OK && i < n - (keep > 0 ? keep : 1); i++) {
        if (in_use != NULL && in_use(list[i], arg))
            continue;
        ky_store_path(dir, name, list[i], path);
        if (unlink(path) != 0 && errno != ENOENT)
            rc = ky_fail(err, -errno, "model store: delete '%s': %s", path, strerror(errno));
    }
    free(list);
    return rc;
}
