#include "models/zip.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zip.h>

#include "models/place.h"

enum {
    MAX_MEMBERS = 4096,
    MAX_DIRECTORY = 4 << 20, /* bytes of the table of members */
    MAX_RATIO = 100,         /* declared to stored bytes ... */
    RATIO_FROM = 1 << 20,    /* ... of members longer than this */
    /* the records of the format (APPNOTE.TXT 4.3) */
    LOCAL_HEADER = 30,
    DIRECTORY_HEADER = 46,
    END = 22,
    END64_LOCATOR = 20,
    END64 = 56,
    MAX_COMMENT = 65535,
};

struct ky_zip {
    char *path;
    const unsigned char *image; /* borrowed; NULL: `in` */
    FILE *in;                   /* the library's own once it has opened the archive */
    uint64_t bytes;
    zip_t *zip;
};

bool ky_zip_is(const void *begin, size_t len)
{
    /* The second is an archive without members. */
    return len >= 4 && (memcmp(begin, "PK\3\4", 4) == 0 || memcmp(begin, "PK\5\6", 4) == 0);
}

/* -- before the library looks at it ---------------------------------------------------- */

static int damaged(const ky_zip *z, ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "%s: a zip archive that is damaged or cut off", z->path);
}

static bool get(const ky_zip *z, uint64_t at, void *to, size_t n)
{
    if (at > z->bytes || n > z->bytes - at)
        return false;
    if (z->image == NULL)
        return pread(fileno(z->in), to, n, (off_t)at) == (ssize_t)n;
    memcpy(to, z->image + at, n);
    return true;
}

static uint64_t number(const unsigned char *p, int bytes)
{
    uint64_t v = 0;

    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* How many members and how long a table of them a record at the end claims. */
static int check_claim(const ky_zip *z, uint64_t members, uint64_t directory, ky_err *err)
{
    if (members > MAX_MEMBERS || directory > MAX_DIRECTORY)
        return ky_fail(
            err, KY_EFULL,
            "%s: an archive of %llu members in a table of %llu bytes; %d and %d are read", z->path,
            (unsigned long long)members, (unsigned long long)directory, MAX_MEMBERS, MAX_DIRECTORY);
    return directory > z->bytes ? damaged(z, err) : KY_OK;
}

/* One record at the end, and the long one that the bytes before it may point to. */
static int check_end(const ky_zip *z, const unsigned char *tail, size_t at, ky_err *err)
{
    const unsigned char *end = tail + at, *locator = end - END64_LOCATOR;
    unsigned char end64[END64];

    if (at < END64_LOCATOR || memcmp(locator, "PK\6\7", 4) != 0)
        return check_claim(z, number(end + 10, 2), number(end + 12, 4), err);
    if (!get(z, number(locator + 8, 8), end64, END64))
        return damaged(z, err);
    int rc = check_claim(z, number(end64 + 24, 8), number(end64 + 40, 8), err);
    return rc < 0 ? rc : check_claim(z, number(end64 + 32, 8), 0, err);
}

/*
 * The library takes memory for as many members as the archive claims to have, and chooses
 * among the records that could be its end: all of them have to be modest.
 */
static int check_ends(const ky_zip *z, ky_err *err)
{
    uint64_t most = END64_LOCATOR + END + MAX_COMMENT;
    size_t n = (size_t)(z->bytes < most ? z->bytes : most), found = 0;
    unsigned char *tail = malloc(n + 1);
    int rc = KY_OK;

    if (tail == NULL)
        return ky_fail(err, KY_ENOMEM, "%s: no memory", z->path);
    if (!get(z, z->bytes - n, tail, n))
        rc = damaged(z, err);
    for (size_t at = 0; rc == KY_OK && at + END <= n; at++)
        if (memcmp(tail + at, "PK\5\6", 4) == 0) {
            rc = check_end(z, tail, at, err);
            found++;
        }
    free(tail);
    return rc == KY_OK && found == 0 ? damaged(z, err) : rc;
}

/* -- before any member is read ------------------------------------------------------------ */

/* Absolute, or with a part that leads upwards; also as Windows writes paths. */
static bool leaves_the_archive(const char *name)
{
    if (name[0] == '/' || name[0] == '\\' || (name[0] != '\0' && name[1] == ':'))
        return true;
    for (const char *p = name; *p != '\0';) {
        size_t n = strcspn(p, "/\\");

        if (n == 2 && p[0] == '.' && p[1] == '.')
            return true;
        p += n;
        p += strspn(p, "/\\");
    }
    return false;
}

static bool is_link(const ky_zip *z, zip_uint64_t i)
{
    zip_uint8_t system;
    zip_uint32_t attributes;

    /* The upper half is the mode where the archive was made on a system that has one. */
    return zip_file_get_external_attributes(z->zip, i, ZIP_FL_UNCHANGED, &system, &attributes) ==
               0 &&
           S_ISLNK(attributes >> 16);
}

/* One member; the bytes it takes in the file are added up. */
static int check_member(const ky_zip *z, zip_uint64_t i, uint64_t *used, ky_err *err)
{
    const char *name = zip_get_name(z->zip, i, ZIP_FL_ENC_RAW);
    zip_stat_t st;

    if (name == NULL || zip_stat_index(z->zip, i, ZIP_FL_UNCHANGED, &st) != 0 ||
        (st.valid & ZIP_STAT_COMP_SIZE) == 0)
        return damaged(z, err);
    if (leaves_the_archive(name))
        return ky_fail(err, KY_EUNSUPPORTED, "%s: its member '%.60s' points out of the archive",
                       z->path, name);
    if (is_link(z, i))
        return ky_fail(err, KY_EUNSUPPORTED, "%s: its member '%.60s' is a symbolic link", z->path,
                       name);
    *used += 2 * strlen(name) + LOCAL_HEADER + DIRECTORY_HEADER;
    if (st.comp_size > z->bytes || *used + st.comp_size > z->bytes)
        return ky_fail(err, KY_EFORMAT, "%s: its members lie over each other or are cut off",
                       z->path);
    *used += st.comp_size;
    return KY_OK;
}

static int check_members(const ky_zip *z, ky_err *err)
{
    zip_int64_t n = zip_get_num_entries(z->zip, ZIP_FL_UNCHANGED);
    uint64_t used = END;
    int rc = KY_OK;

    for (zip_int64_t i = 0; rc == KY_OK && i < n; i++)
        rc = check_member(z, (zip_uint64_t)i, &used, err);
    return rc;
}

/* -- opening and closing ------------------------------------------------------------------- */

void ky_zip_close(ky_zip *z)
{
    if (z == NULL)
        return;
    if (z->zip != NULL)
        zip_discard(z->zip);
    else if (z->in != NULL)
        fclose(z->in);
    free(z->path);
    free(z);
}

static int refused(const ky_zip *z, zip_error_t *why, ky_err *err)
{
    int code = zip_error_code_zip(why);

    if (code == ZIP_ER_EXISTS)
        return ky_fail(err, KY_EFORMAT, "%s: an archive with two members of one name", z->path);
    return ky_fail(err, code == ZIP_ER_MEMORY ? KY_ENOMEM : KY_EFORMAT,
                   "%s: a zip archive that cannot be read: %s", z->path, zip_error_strerror(why));
}

/* Hand it to the library, which compares its records with each other (CHECKCONS) and closes the
 * stream from then on. */
static int open_archive(ky_zip *z, ky_err *err)
{
    zip_error_t why;
    zip_source_t *source;

    zip_error_init(&why);
    if (z->image != NULL)
        source = zip_source_buffer_create(z->image, z->bytes, 0, &why);
    else
        source = zip_source_filep_create(z->in, 0, -1, &why);
    if (source == NULL) {
        zip_error_fini(&why);
        return ky_fail(err, KY_ENOMEM, "%s: no memory", z->path);
    }
    zip_source_keep(source);
    z->zip = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &why);
    if (z->zip == NULL) {
        zip_source_free(source);
        z->in = NULL;
    }
    zip_source_free(source);
    int rc = z->zip != NULL ? KY_OK : refused(z, &why, err);
    zip_error_fini(&why);
    return rc;
}

/* z is handed over or closed. */
static int open_checked(ky_zip *z, int rc, ky_zip **ret, ky_err *err)
{
    if (rc == KY_OK)
        rc = check_ends(z, err);
    if (rc == KY_OK)
        rc = open_archive(z, err);
    if (rc == KY_OK)
        rc = check_members(z, err);
    if (rc < 0)
        ky_zip_close(z);
    else
        *ret = z;
    return rc;
}

static int open_stream(ky_zip *z, ky_err *err)
{
    struct stat st;
    /* Not to wait for the other end of a pipe. */
    int fd = open(z->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return ky_fail(err, -errno, "%s: %s", z->path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return ky_fail(err, KY_EINVAL, "%s: not a regular file", z->path);
    }
    z->bytes = (uint64_t)st.st_size;
    z->in = fdopen(fd, "rb");
    if (z->in == NULL) {
        close(fd);
        return ky_fail(err, KY_ENOMEM, "%s: no memory", z->path);
    }
    return KY_OK;
}

static ky_zip *handle(const char *path)
{
    ky_zip *z = calloc(1, sizeof(*z));

    if (z != NULL && (z->path = strdup(path)) == NULL) {
        free(z);
        return NULL;
    }
    return z;
}

int ky_zip_open(const char *path, ky_zip **ret, ky_err *err)
{
    ky_zip *z = handle(path);

    if (z == NULL)
        return ky_fail(err, KY_ENOMEM, "%s: no memory", path);
    return open_checked(z, open_stream(z, err), ret, err);
}

int ky_zip_open_image(const void *image, size_t len, ky_zip **ret, ky_err *err)
{
    ky_zip *z = handle("(memory)");

    if (z == NULL)
        return ky_fail(err, KY_ENOMEM, "a zip archive in memory: no memory");
    z->image = image;
    z->bytes = len;
    return open_checked(z, KY_OK, ret, err);
}

/* -- members --------------------------------------------------------------------------------- */

/* By its exact name; -1: none. */
static zip_int64_t find(const ky_zip *z, const char *name)
{
    zip_int64_t n = zip_get_num_entries(z->zip, ZIP_FL_UNCHANGED);

    for (zip_int64_t i = 0; i < n; i++) {
        const char *its = zip_get_name(z->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);

        if (its != NULL && strcmp(its, name) == 0)
            return i;
    }
    return -1;
}

bool ky_zip_has(const ky_zip *z, const char *name)
{
    return find(z, name) >= 0;
}

/* What it declares, before memory is taken for it. */
static int check_sizes(const zip_stat_t *st, size_t max, ky_err *err)
{
    const zip_uint64_t all =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;

    if ((st->valid & all) != all)
        return ky_fail(err, KY_EFORMAT, "it is damaged");
    if (st->encryption_method != ZIP_EM_NONE)
        return ky_fail(err, KY_EUNSUPPORTED, "it is encrypted");
    if (st->comp_method != ZIP_CM_STORE && st->comp_method != ZIP_CM_DEFLATE)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "it is packed by method %d; only deflate and none are read",
                       (int)st->comp_method);
    if (st->size > max)
        return ky_fail(err, KY_EFULL, "it declares %llu bytes, at most %zu are read",
                       (unsigned long long)st->size, max);
    if (st->comp_method == ZIP_CM_STORE && st->size != st->comp_size)
        return ky_fail(err, KY_EFORMAT, "it is damaged");
    if (st->size > RATIO_FROM && st->size / MAX_RATIO > st->comp_size)
        return ky_fail(err, KY_EFULL, "it declares %llu bytes and stores %llu",
                       (unsigned long long)st->size, (unsigned long long)st->comp_size);
    return KY_OK;
}

/* Exactly n bytes, then the end, where the library compares the checksum. */
static int read_bytes(zip_file_t *in, unsigned char *to, size_t n, ky_err *err)
{
    size_t got = 0;
    unsigned char more;

    while (got < n) {
        zip_int64_t k = zip_fread(in, to + got, n - got);

        if (k <= 0)
            return ky_fail(err, KY_EFORMAT, "it is damaged or shorter than it declares");
        got += (size_t)k;
    }
    if (zip_fread(in, &more, 1) != 0)
        return ky_fail(err, KY_EFORMAT, "it is damaged or longer than it declares");
    to[n] = '\0';
    return KY_OK;
}

static int read_member(ky_zip *z, zip_uint64_t i, size_t max, void **ret, size_t *ret_len,
                       ky_err *err)
{
    zip_stat_t st;

    if (zip_stat_index(z->zip, i, ZIP_FL_UNCHANGED, &st) != 0)
        return ky_fail(err, KY_EFORMAT, "it is damaged");
    int rc = check_sizes(&st, max, err);
    if (rc < 0)
        return rc;
    size_t n = (size_t)st.size;
    unsigned char *to = n == SIZE_MAX ? NULL : malloc(n + 1);
    zip_file_t *in = to == NULL ? NULL : zip_fopen_index(z->zip, i, ZIP_FL_UNCHANGED);
    if (to == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for its %zu bytes", n);
    else if (in == NULL)
        rc = ky_fail(err, KY_EFORMAT, "it cannot be read: %s", zip_strerror(z->zip));
    else
        rc = read_bytes(in, to, n, err);
    if (in != NULL)
        zip_fclose(in);
    if (rc < 0) {
        free(to);
        return rc;
    }
    *ret = to;
    *ret_len = n;
    return KY_OK;
}

int ky_zip_read(ky_zip *z, const char *name, size_t max, void **ret, size_t *ret_len, ky_err *err)
{
    zip_int64_t i = find(z, name);
    ky_err own = { 0 };

    if (i < 0)
        return ky_fail(err, KY_ENOENT, "%s: it has no member '%s'", z->path, name);
    int rc = read_member(z, (zip_uint64_t)i, max, ret, ret_len, &own);
    return rc < 0 ? ky_fail(err, rc, "%s: member '%s': %s", z->path, name, own.text) : KY_OK;
}

/* -- writing ------------------------------------------------------------------------------------
 */

static bool add_member(zip_t *zip, const ky_zip_member *m)
{
    const zip_uint16_t first_day = 1 << 5 | 1; /* 1980-01-01, where the format's time begins */
    zip_source_t *source = zip_source_buffer(zip, m->data, m->len, 0);
    zip_int64_t i = -1;

    if (source == NULL)
        return false;
    i = zip_file_add(zip, m->name, source, ZIP_FL_ENC_UTF_8);
    if (i < 0) {
        zip_source_free(source);
        return false;
    }
    return zip_set_file_compression(zip, (zip_uint64_t)i, ZIP_CM_STORE, 0) == 0 &&
           zip_file_set_dostime(zip, (zip_uint64_t)i, 0, first_day, 0) == 0 &&
           zip_file_set_external_attributes(zip, (zip_uint64_t)i, 0, ZIP_OPSYS_UNIX,
                                            (zip_uint32_t)(S_IFREG | 0644) << 16) == 0;
}

static int write_archive(const char *tmp, const char *path, const ky_zip_member *members, int n,
                         ky_err *err)
{
    int why = 0;
    bool good = true;
    zip_t *zip = zip_open(tmp, ZIP_CREATE | ZIP_EXCL, &why);

    if (zip == NULL)
        return ky_fail(err, KY_EIO, "%s: cannot create a file there", path);
    for (int i = 0; good && i < n; i++)
        good = add_member(zip, &members[i]);
    if (good && zip_close(zip) == 0)
        return KY_OK;
    int rc = ky_fail(err, KY_EIO, "%s: cannot write the archive: %s", path, zip_strerror(zip));
    zip_discard(zip);
    return rc;
}

int ky_zip_write(const char *path, const ky_zip_member *members, int n, ky_err *err)
{
    char *tmp = ky_place_name(path);

    if (tmp == NULL)
        return ky_fail(err, KY_ENOMEM, "%s: no memory", path);
    int rc = write_archive(tmp, path, members, n, err);
    if (rc == KY_OK)
        rc = ky_place(tmp, path, err);
    free(tmp);
    return rc;
}
