#include "cli/data_place.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In order of preference. */
static const ky_data_spelling spellings[] = {
    { "/X_train", "/y_train", "/", "_train", KY_PART_TRAIN },
    { "/X_test", "/y_test", "/", "_test", KY_PART_TEST | KY_PART_EVAL },
    { "/train/X", "/train/y", "/train/", "", KY_PART_TRAIN },
    { "/test/X", "/test/y", "/test/", "", KY_PART_TEST | KY_PART_EVAL },
    { "/X", "/y", "/", "", KY_PART_TRAIN | KY_PART_EVAL },
    { "/x", "/y", "/", "", KY_PART_TRAIN | KY_PART_EVAL },
    { NULL, NULL, NULL, NULL, 0 },
};

/* "file:dataset" at the last colon, unless a file has the whole name. */
static int cut_spec(const char *spec, ky_data_place *p, ky_err *err)
{
    const char *colon = access(spec, F_OK) == 0 ? NULL : strrchr(spec, ':');
    size_t len = colon != NULL ? (size_t)(colon - spec) : strlen(spec);

    p->x[0] = 0;
    if (len >= sizeof p->path || (colon != NULL && strlen(colon + 1) + 2 > sizeof p->x))
        return ky_fail(err, KY_EINVAL, "'%.60s...': the name is too long", spec);
    memcpy(p->path, spec, len);
    p->path[len] = 0;
    if (colon != NULL)
        snprintf(p->x, sizeof p->x, "%s%s", colon[1] == '/' ? "" : "/", colon + 1);
    return KY_OK;
}

/* Labels of a dataset of any name: the same with its last x replaced by y. */
static void name_labels(ky_data_place *p)
{
    char *base = strrchr(p->x, '/') + 1;

    snprintf(p->y, sizeof p->y, "%s", p->x);
    if (*base == 'X' || *base == 'x')
        p->y[base - p->x] = 'y';
    else
        p->y[0] = 0;
}

static int find_dataset(ky_data_place *p, enum ky_part part, ky_err *err)
{
    bool named = p->x[0] != 0;

    if (named && !ky_h5_exists(p->f, p->x))
        return ky_fail(err, KY_ENOENT, "'%s' has no dataset '%s'", p->path, p->x + 1);
    for (const ky_data_spelling *s = spellings; s->x != NULL; s++)
        if (named ? strcmp(s->x, p->x) == 0 : (s->parts & part) != 0 && ky_h5_exists(p->f, s->x)) {
            p->named = *s;
            snprintf(p->x, sizeof p->x, "%s", s->x);
            snprintf(p->y, sizeof p->y, "%s", s->y);
            return KY_OK;
        }
    if (!named)
        return ky_fail(err, KY_ENOENT, "'%s' has no dataset %s", p->path,
                       part == KY_PART_TRAIN  ? "'X_train' or 'X' to train on"
                       : part == KY_PART_TEST ? "'X_test'"
                                              : "'X_test' or 'X'");
    name_labels(p);
    return KY_OK;
}

/* The dataset of this name that stands beside the values. */
bool ky_data_place_beside(const ky_data_place *p, const char *what, char name[64])
{
    if (p->named.before == NULL)
        return false;
    snprintf(name, 64, "%s%s%s", p->named.before, what, p->named.behind);
    return ky_h5_exists(p->f, name);
}

int ky_data_place_open(const char *spec, enum ky_part part, ky_data_place *p, ky_err *err)
{
    int rc = cut_spec(spec, p, err);

    if (rc < 0 || (rc = ky_h5_open(p->path, &p->f, err)) < 0)
        return rc;
    return find_dataset(p, part, err);
}

int ky_data_spare(const char *spec, const char *out, ky_err *err)
{
    struct stat read, written;
    ky_data_place p;
    int rc = cut_spec(spec, &p, err);

    if (rc < 0 || stat(p.path, &read) != 0 || stat(out, &written) != 0)
        return rc;
    if (read.st_dev == written.st_dev && read.st_ino == written.st_ino)
        return ky_fail(err, KY_EINVAL, "'%s' is the file that is read; give -o another name", out);
    return KY_OK;
}
