#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "cli/import.h"

enum {
    MOST_FILES = 4 << 20,
    MOST_DEPTH = 8,
    MOST_LINE = 256 << 20, /* bytes: a series of many channels is one line */
    BUFFER = 1 << 17,
};

/* -- names ------------------------------------------------------------------------------------ */

bool ky_import_ends(const char *base, const char *end)
{
    size_t n = strlen(base), k = strlen(end);

    if (n > 3 && strcasecmp(base + n - 3, ".gz") == 0)
        n -= 3;
    return n > k && strncasecmp(base + n - k, end, k) == 0;
}

/* The part that a word of a name stands for. */
static enum ky_import_part part_of_word(const char *word, size_t len)
{
    static const struct {
        const char *word;
        enum ky_import_part part;
    } words[] = { { "train", KY_IMPORT_TRAIN },
                  { "training", KY_IMPORT_TRAIN },
                  { "test", KY_IMPORT_TEST },
                  { "testing", KY_IMPORT_TEST },
                  { "t10k", KY_IMPORT_TEST } };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i].word) == len && strncasecmp(words[i].word, word, len) == 0)
            return words[i].part;
    return KY_IMPORT_WHOLE;
}

/* The part that a name says: "ECG200_TRAIN.ts", "t10k-images-idx3-ubyte", "test"; where the word
 * stands goes to *ret. */
static enum ky_import_part part_of_name(const char *name, const char **ret, size_t *ret_len)
{
    for (const char *p = name; *p != '\0';) {
        size_t len = 0;
        enum ky_import_part part;

        while (isalnum((unsigned char)p[len]))
            len++;
        if (len > 0 && (part = part_of_word(p, len)) != KY_IMPORT_WHOLE) {
            *ret = p;
            *ret_len = len;
            return part;
        }
        p += len + (p[len] != '\0');
    }
    return KY_IMPORT_WHOLE;
}

static enum ky_import_part part_of(const char *name)
{
    const char *at;
    size_t len;

    return part_of_name(name, &at, &len);
}

/* -- the list --------------------------------------------------------------------------------- */

static int add(ky_import_files *f, const char *path, const char *folder, enum ky_import_part part,
               ky_err *err)
{
    ky_import_file *at;
    const char *slash;

    if (f->n == f->cap) {
        int cap = f->cap > 0 ? 2 * f->cap : 64;
        ky_import_file *more =
            f->n < MOST_FILES ? realloc(f->file, (size_t)cap * sizeof *more) : NULL;

        if (more == NULL)
            return ky_fail(err, KY_EFULL, "'%s': over %d files, or no memory for them", path, f->n);
        f->file = more;
        f->cap = cap;
    }
    at = &f->file[f->n];
    *at = (ky_import_file){ .path = strdup(path), .part = part };
    if (folder != NULL)
        at->folder = strdup(folder);
    if (at->path == NULL || (folder != NULL && at->folder == NULL)) {
        free(at->path);
        free(at->folder);
        return ky_fail(err, KY_ENOMEM, "no memory for the names of files");
    }
    slash = strrchr(at->path, '/');
    at->base = slash != NULL ? slash + 1 : at->path;
    f->n++;
    return KY_OK;
}

void ky_import_files_free(ky_import_files *f)
{
    for (int i = 0; i < f->n; i++) {
        free(f->file[i].path);
        free(f->file[i].folder);
    }
    free(f->file);
    *f = (ky_import_files){ .n = 0 };
}

/* Hidden files and whatever is no plain file or folder are passed over. */
static int choose(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int walk(ky_import_files *f, const char *path, const char *folder, enum ky_import_part part,
                int depth, ky_err *err);

static int visit(ky_import_files *f, const char *path, const char *name, const char *folder,
                 enum ky_import_part part, int depth, ky_err *err)
{
    enum ky_import_part named = part_of(name);
    char full[4096];
    struct stat st;

    if (snprintf(full, sizeof full, "%s/%s", path, name) >= (int)sizeof full)
        return ky_fail(err, KY_EINVAL, "'%.60s...': the name is too long", full);
    if (stat(full, &st) != 0)
        return ky_fail(err, -errno, "'%s': %s", full, strerror(errno));
    if (S_ISREG(st.st_mode))
        return add(f, full, folder, part != KY_IMPORT_WHOLE ? part : named, err);
    if (!S_ISDIR(st.st_mode))
        return KY_OK;
    /* A folder is a part by its whole name only: "train", not "train_station". */
    if (part_of_word(name, strlen(name)) != KY_IMPORT_WHOLE)
        return walk(f, full, folder, named, depth + 1, err);
    return walk(f, full, name, part, depth + 1, err);
}

static int walk(ky_import_files *f, const char *path, const char *folder, enum ky_import_part part,
                int depth, ky_err *err)
{
    struct dirent **list = NULL;
    int n, rc = KY_OK;

    if (depth > MOST_DEPTH)
        return ky_fail(err, KY_EFULL, "'%s': more than %d folders deep", path, MOST_DEPTH);
    if ((n = scandir(path, &list, choose, by_name)) < 0)
        return ky_fail(err, -errno, "'%s': %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (rc == KY_OK)
            rc = visit(f, path, list[i]->d_name, folder, part, depth, err);
        free(list[i]);
    }
    free(list);
    return rc;
}

static int add_named(ky_import_files *f, const char *path, enum ky_import_part part, ky_err *err)
{
    int rc = add(f, path, NULL, part, err);

    if (rc == KY_OK)
        f->file[f->n - 1].named = true;
    return rc;
}

/* The name with the word for a training part replaced by one for a test part, in the same case. */
static bool name_test(const ky_import_file *train, const char *word, char *to, size_t size)
{
    const char *at;
    size_t len;
    int n;

    if (part_of_name(train->base, &at, &len) != KY_IMPORT_TRAIN)
        return false;
    n = snprintf(to, size, "%.*s%s%s", (int)(at - train->path), train->path, word, at + len);
    if (n < 0 || (size_t)n >= size)
        return false;
    for (char *p = to + (at - train->path);
         isupper((unsigned char)*at) && *p != '\0' && p < to + (at - train->path) + strlen(word);
         p++)
        *p = (char)toupper((unsigned char)*p);
    return access(to, R_OK) == 0;
}

/* The test part beside a single training part. */
static int add_test(ky_import_files *f, ky_err *err)
{
    static const char *const words[] = { "test", "t10k", "testing" };
    char path[4096];

    if (f->n != 1 || f->file[0].part != KY_IMPORT_TRAIN)
        return KY_OK;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (name_test(&f->file[0], words[i], path, sizeof path))
            return add_named(f, path, KY_IMPORT_TEST, err);
    return KY_OK;
}

int ky_import_check_parts(ky_import_files *f, ky_err *err)
{
    int count[KY_IMPORT_PARTS] = { 0 }, first[KY_IMPORT_PARTS] = { 0 };

    for (int i = f->n - 1; i >= 0; i--) {
        count[f->file[i].part]++;
        first[f->file[i].part] = i;
    }
    if (count[KY_IMPORT_WHOLE] < f->n && count[KY_IMPORT_WHOLE] > 0)
        return ky_fail(
            err, KY_EINVAL, "'%s' is a training or test part by its name, but '%s' is neither",
            f->file[first[count[KY_IMPORT_TRAIN] > 0 ? KY_IMPORT_TRAIN : KY_IMPORT_TEST]].path,
            f->file[first[KY_IMPORT_WHOLE]].path);
    if (count[KY_IMPORT_TRAIN] == 0 || count[KY_IMPORT_TEST] == 0)
        for (int i = 0; i < f->n; i++)
            f->file[i].part = KY_IMPORT_WHOLE;
    return KY_OK;
}

int ky_import_find(const char *const *words, int n, ky_import_files *ret, ky_err *err)
{
    ky_import_files f = { .n = 0 };
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < n; i++) {
        const char *slash = strrchr(words[i], '/');
        struct stat st;

        if (stat(words[i], &st) != 0)
            rc = ky_fail(err, -errno, "'%s': %s", words[i], strerror(errno));
        else if (S_ISDIR(st.st_mode))
            rc = walk(&f, words[i], NULL, KY_IMPORT_WHOLE, 0, err);
        else if (S_ISREG(st.st_mode))
            rc = add_named(&f, words[i], part_of(slash != NULL ? slash + 1 : words[i]), err);
        else
            rc = ky_fail(err, KY_EINVAL, "'%s' is no file or folder: it is read more than once",
                         words[i]);
    }
    if (rc == KY_OK)
        rc = add_test(&f, err);
    if (rc == KY_OK && f.n == 0)
        rc = ky_fail(err, KY_ENOENT, "'%s' holds no files", words[0]);
    if (rc < 0)
        ky_import_files_free(&f);
    else
        *ret = f;
    return rc;
}

/* -- bytes ------------------------------------------------------------------------------------ */

int ky_import_open(const char *path, ky_import_bytes *ret, ky_err *err)
{
    struct stat st;

    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return ky_fail(err, KY_EINVAL, "'%s' is no file", path);
    *ret = (ky_import_bytes){ .path = path, .gz = gzopen(path, "rbe") };
    if (ret->gz == NULL)
        return ky_fail(err, errno != 0 ? -errno : KY_ENOMEM, "'%s': %s", path, strerror(errno));
    gzbuffer(ret->gz, BUFFER);
    return KY_OK;
}

void ky_import_close(ky_import_bytes *b)
{
    if (b->gz != NULL)
        gzclose(b->gz);
    free(b->line);
    *b = (ky_import_bytes){ .gz = NULL };
}

static int damaged(ky_import_bytes *b, ky_err *err)
{
    int code;
    const char *why = gzerror(b->gz, &code);

    return ky_fail(err, code == Z_ERRNO ? KY_EIO : KY_EFORMAT, "'%s': %s", b->path,
                   code == Z_ERRNO ? strerror(errno) : why);
}

int ky_import_read(ky_import_bytes *b, void *to, size_t n, size_t *ret_n, ky_err *err)
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

int ky_import_read_all(ky_import_bytes *b, void *to, size_t n, ky_err *err)
{
    size_t got;
    int rc = ky_import_read(b, to, n, &got, err);

    if (rc == KY_OK && got < n)
        rc = ky_fail(err, KY_EFORMAT, "'%s' ends early: %zu bytes are missing", b->path, n - got);
    return rc;
}

static int grow_line(ky_import_bytes *b, ky_err *err)
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

int ky_import_line(ky_import_bytes *b, size_t *ret_len, ky_err *err)
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

int ky_import_number(const char *text, size_t len, float *ret)
{
    static const char *const missing[] = { "", "?", "nan", "na", "n/a", "null", "none" };
    char copy[64], *end;
    double v;

    while (len > 0 && isspace((unsigned char)*text)) {
        text++;
        len--;
    }
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--;
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
        if (strlen(missing[i]) == len && strncasecmp(text, missing[i], len) == 0) {
            *ret = NAN;
            return -1;
        }
    /* Nothing but decimal numbers: strtod knows more. */
    if (len >= sizeof copy || strspn(text, "0123456789+-.eE") < len)
        return 0;
    memcpy(copy, text, len);
    copy[len] = '\0';
    v = strtod(copy, &end);
    if (end != copy + len || !isfinite((float)v))
        return 0;
    *ret = (float)v;
    return 1;
}
