#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/import.h"

enum {
    MOST_FILES = 4 << 20,
    MOST_DEPTH = 8,
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

/* -- labels ----------------------------------------------------------------------------------- */

/* A place in a pattern: "{label}", "{group}", "{}" or any other name for what does not matter. */
static const char *place_end(const char *pattern)
{
    return pattern[0] == '{' ? strchr(pattern, '}') : NULL;
}

/* What each place of the pattern stands for in a name without its ending; false: it is another
 * kind of name. */
static bool match(const char *pattern, const char *name, size_t n, const char *found[2],
                  size_t len[2])
{
    static const char *const places[] = { "{label}", "{group}" };
    const char *end = name + n, *close;
    size_t lead = strcspn(pattern, "{");

    if (n < lead || memcmp(name, pattern, lead) != 0)
        return false;
    name += lead;
    pattern += lead;
    while (*pattern != '\0' && (close = place_end(pattern)) != NULL) {
        size_t literal = strcspn(close + 1, "{");
        const char *stop = name;

        /* Up to the first place where what follows in the pattern is met. */
        if (close[1] == '\0')
            stop = end;
        while (close[1] != '\0' && (stop + literal > end || memcmp(stop, close + 1, literal) != 0))
            if (stop++ == end)
                return false;
        for (int k = 0; k < 2; k++)
            if (strncmp(pattern, places[k], strlen(places[k])) == 0) {
                found[k] = name;
                len[k] = (size_t)(stop - name);
            }
        name = stop + literal;
        pattern = close + 1 + literal;
        if (literal == 0 && *pattern == '{')
            return false; /* nothing divides two places */
    }
    return *pattern == '\0' && name >= end;
}

int ky_import_label(const ky_import *im, const ky_import_file *f, char **ret_label,
                    char **ret_group, ky_err *err)
{
    const char *pattern = im->o->name, *found[2] = { NULL, NULL };
    const char *dot = strrchr(f->base, '.');
    size_t n = dot != NULL && dot > f->base ? (size_t)(dot - f->base) : strlen(f->base);
    size_t first = strcspn(f->base, "_"), len[2] = { 0, 0 };

    *ret_label = *ret_group = NULL;
    if (pattern != NULL && (!match(pattern, f->base, n, found, len) || (found[0] && len[0] == 0)))
        return ky_fail(err, KY_EINVAL, "'%s' is not named like --name '%s'", f->base, pattern);
    if (found[0] == NULL && f->folder != NULL) {
        found[0] = f->folder;
        len[0] = strlen(f->folder);
    } else if (found[0] == NULL && first > 0 && first < n) {
        found[0] = f->base;
        len[0] = first;
    }
    if (found[0] == NULL)
        return ky_fail(err, KY_EINVAL,
                       "'%s' lies in no folder that is its label, and no _ in its name ends one: "
                       "--name '{label}-{}' says where the label is",
                       f->base);
    *ret_label = strndup(found[0], len[0]);
    if (found[1] != NULL)
        *ret_group = strndup(found[1], len[1]);
    if (*ret_label == NULL || (found[1] != NULL && *ret_group == NULL))
        return ky_fail(err, KY_ENOMEM, "no memory for labels");
    return KY_OK;
}
