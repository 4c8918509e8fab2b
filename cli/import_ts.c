/*
 * The time series classification archives: UEA's .ts files (tsml, sktime, aeon) and UCR's .tsv.
 *
 * A .ts file: # comments, @ settings, then after @data one case a line: dimensions divided by
 * colons, their values by commas, the class last. A .tsv file: a case a line, its class first,
 * NaN behind the end of the shorter ones.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/csv.h"
#include "cli/import.h"

enum { MOST_CLASSES = 10000, MOST_DIMENSIONS = 1 << 20 };

/* -- a case ----------------------------------------------------------------------------------- */

/* Values as they stand in a line, dimension by dimension, and as a row has them. */
typedef struct series {
    float *in, *x; /* [cap] */
    size_t n, cap;
} series;

static void free_series(series *c)
{
    free(c->in);
    free(c->x);
}

static int add_value(series *c, float v, ky_err *err)
{
    if (c->n == c->cap) {
        size_t cap = c->cap > 0 ? 2 * c->cap : 4096;
        float *more = realloc(c->in, cap * sizeof *more), *x;

        if (more == NULL || (c->in = more, x = realloc(c->x, cap * sizeof *x)) == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for %zu values", cap);
        c->x = x;
        c->cap = cap;
    }
    c->in[c->n++] = v;
    return KY_OK;
}

/* Values divided by `mark` from text to end; behind what the case has already. */
static int add_values(series *c, const ky_bytes *b, const char *text, const char *end, char mark,
                      ky_err *err)
{
    int rc = KY_OK;

    for (const char *p = text; rc == KY_OK; p++) {
        const char *stop = memchr(p, mark, (size_t)(end - p));
        size_t len = (size_t)((stop != NULL ? stop : end) - p);
        float v;

        if (ky_csv_number(p, len, &v) == 0)
            return ky_fail(err, KY_EFORMAT, "'%s', line %lld: '%.*s' is no number", b->path,
                           (long long)b->number, len > 40 ? 40 : (int)len, p);
        rc = add_value(c, v, err);
        if (stop == NULL)
            break;
        p = stop;
    }
    return rc;
}

/* -- .ts -------------------------------------------------------------------------------------- */

typedef struct header {
    bool stamps, classes, target, univariate, begun;
    int64_t dimensions; /* 0: not said */
    char **class;       /* [n_classes] */
    int n_classes;
} header;

static void free_header(header *h)
{
    for (int i = 0; i < h->n_classes; i++)
        free(h->class[i]);
    free(h->class);
}

static int bad_line(const ky_bytes *b, const char *what, ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "'%s', line %lld: %s", b->path, (long long)b->number, what);
}

static int add_class(header *h, const char *name, ky_sink *s, ky_err *err)
{
    char **more = h->n_classes < MOST_CLASSES
                      ? realloc(h->class, ((size_t)h->n_classes + 1) * sizeof *more)
                      : NULL;

    if (more == NULL)
        return ky_fail(err, KY_EFULL, "over %d classes, or no memory", h->n_classes);
    h->class = more;
    if ((more[h->n_classes] = strdup(name)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for classes");
    h->n_classes++;
    return ky_sink_class(s, name, err);
}

/* A setting and the words behind it; what is not known says nothing about the values. */
static int read_setting(const ky_bytes *b, char *line, header *h, ky_sink *s, ky_err *err)
{
    char *rest = NULL, *key = strtok_r(line, " \t", &rest), *value = strtok_r(NULL, " \t", &rest);
    bool yes = value != NULL && strcasecmp(value, "true") == 0;
    int rc = KY_OK;

    if (strcasecmp(key, "@data") == 0) {
        h->begun = true;
    } else if (strcasecmp(key, "@timestamps") == 0) {
        h->stamps = yes;
    } else if (strcasecmp(key, "@univariate") == 0) {
        h->univariate = yes;
    } else if (strcasecmp(key, "@targetlabel") == 0) {
        h->target = yes;
    } else if (strcasecmp(key, "@dimensions") == 0 || strcasecmp(key, "@dimension") == 0) {
        h->dimensions = value != NULL ? strtoll(value, NULL, 10) : 0;
        if (h->dimensions < 1 || h->dimensions > MOST_DIMENSIONS)
            return ky_fail(err, KY_EFORMAT,
                           "'%s', line %lld: @dimensions must be a number from 1 to %d", b->path,
                           (long long)b->number, MOST_DIMENSIONS);
    } else if (strcasecmp(key, "@classlabel") == 0) {
        h->classes = yes;
        while (rc == KY_OK && yes && (value = strtok_r(NULL, " \t", &rest)) != NULL)
            rc = add_class(h, value, s, err);
    }
    return rc;
}

static const char *trimmed(char *p)
{
    char *end = p + strlen(p);

    p += strspn(p, " \t");
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = '\0';
    return p;
}

static int check_class(const ky_bytes *b, const header *h, const char *label, ky_err *err)
{
    for (int i = 0; i < h->n_classes; i++)
        if (strcmp(h->class[i], label) == 0)
            return KY_OK;
    if (h->n_classes == 0)
        return KY_OK;
    return ky_fail(err, KY_EFORMAT,
                   "'%s', line %lld: class '%.60s' is not among those @classLabel "
                   "lists",
                   b->path, (long long)b->number, label);
}

/* Where the dimensions of a line end: the class is cut off and given back, NULL without one. */
static const char *cut_class(const header *h, char *line, char **ret_end)
{
    char *last = h->classes || h->target ? strrchr(line, ':') : NULL;

    *ret_end = last != NULL ? last : line + strlen(line);
    return last != NULL ? trimmed(last + 1) : NULL;
}

/* All dimensions, each of the same number of values. */
static int read_dimensions(const ky_bytes *b, const char *line, const char *end, series *c,
                           int64_t *ret_n, ky_err *err)
{
    size_t T = 0;
    int rc = KY_OK;

    *ret_n = 0;
    for (const char *p = line; rc == KY_OK; p++, ++*ret_n) {
        const char *stop = memchr(p, ':', (size_t)(end - p));
        size_t before = c->n;

        rc = add_values(c, b, p, stop != NULL ? stop : end, ',', err);
        if (rc == KY_OK && *ret_n > 0 && c->n - before != T)
            return ky_fail(err, KY_ESHAPE,
                           "'%s', line %lld: dimension %lld has %zu values, the first has %zu",
                           b->path, (long long)b->number, (long long)*ret_n + 1, c->n - before, T);
        T = c->n - before;
        if (stop == NULL)
            break;
        p = stop;
    }
    ++*ret_n;
    return rc;
}

static int read_case(const ky_bytes *b, const header *h, enum ky_import_part part, series *c,
                     ky_sink *s, ky_err *err)
{
    ky_import_row row = { .part = part, .from_us = KY_NONE, .ts_us = KY_NONE };
    int64_t F = 0;
    char *end;
    int rc;

    row.label = cut_class(h, b->line, &end);
    if ((h->classes || h->target) && row.label == NULL)
        return bad_line(b, "a case without its class", err);
    if (h->classes && (rc = check_class(b, h, row.label, err)) < 0)
        return rc;
    c->n = 0;
    if ((rc = read_dimensions(b, b->line, end, c, &F, err)) < 0)
        return rc;
    if (h->dimensions > 0 && F != h->dimensions)
        return ky_fail(err, KY_ESHAPE, "'%s', line %lld: %lld dimensions, @dimensions says %lld",
                       b->path, (long long)b->number, (long long)F, (long long)h->dimensions);
    size_t T = c->n / (size_t)F;
    for (size_t t = 0; t < T; t++)
        for (size_t f = 0; f < (size_t)F; f++)
            c->x[t * (size_t)F + f] = c->in[f * T + t];
    row.x = c->x;
    row.steps = T <= INT32_MAX ? (int)T : 0;
    rc = ky_sink_shape(s, KY_H5_F32, 2, (const uint64_t[]){ 0, (uint64_t)F }, err);
    if (rc == KY_OK)
        rc = ky_sink_row(s, &row, err);
    return rc < 0 ? ky_context(err, rc, "'%s', line %lld", b->path, (long long)b->number) : KY_OK;
}

static int check_header(const ky_import *im, const ky_bytes *b, header *h, ky_err *err)
{
    if (h->stamps)
        return ky_fail(err, KY_EUNSUPPORTED, "'%s': values with time stamps are not read", b->path);
    if (h->univariate && h->dimensions == 0)
        h->dimensions = 1;
    if (h->target && !im->o->numbers)
        return ky_fail(err, KY_EINVAL,
                       "'%s' has numbers to answer (@targetLabel): --task regress reads them",
                       b->path);
    return KY_OK;
}

static int read_ts_file(ky_import *im, const ky_import_file *f, series *c, ky_sink *s, ky_err *err)
{
    ky_bytes b = { .gz = NULL };
    header h = { .dimensions = 0 };
    int rc = ky_bytes_open(f->path, &b, err);
    size_t len;

    while (rc >= 0 && (rc = ky_bytes_line(&b, &len, err)) > 0) {
        if (len == 0 || b.line[0] == '#')
            continue;
        if (h.begun)
            rc = read_case(&b, &h, f->part, c, s, err);
        else if (b.line[0] != '@')
            rc = bad_line(&b, "neither a setting (@) nor a comment (#) before @data", err);
        else if ((rc = read_setting(&b, b.line, &h, s, err)) == KY_OK && h.begun)
            rc = check_header(im, &b, &h, err);
    }
    if (rc == KY_OK && !h.begun)
        rc = ky_fail(err, KY_EFORMAT, "'%s' has no @data", f->path);
    free_header(&h);
    ky_bytes_close(&b);
    return rc;
}

typedef int read_file(ky_import *im, const ky_import_file *f, series *c, ky_sink *s, ky_err *err);

static int read_files(ky_import *im, ky_sink *s, read_file *read, ky_err *err)
{
    series c = { .n = 0 };
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < im->files->n; i++)
        rc = read(im, &im->files->file[i], &c, s, err);
    free_series(&c);
    return rc;
}

static int read_ts(ky_import *im, ky_sink *s, ky_err *err)
{
    return read_files(im, s, read_ts_file, err);
}

static bool is_ts(const char *base, const char *head, size_t n)
{
    size_t at = 0;

    if (!ky_import_ends(base, ".ts"))
        return false;
    /* Not the MPEG transport streams of the same name, nor TypeScript. */
    if (n >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0)
        at = 3;
    while (at < n && strchr(" \t\r\n", head[at]) != NULL)
        at++;
    return at < n && (head[at] == '#' || (head[at] == '@'));
}

const ky_format ky_import_ts = { "ts", "time series archive (UEA, aeon)", is_ts, read_ts, NULL,
                                 false };

/* -- .tsv ------------------------------------------------------------------------------------- */

static int read_tsv_line(const ky_bytes *b, size_t len, enum ky_import_part part, series *c,
                         ky_sink *s, ky_err *err)
{
    ky_import_row row = { .part = part, .from_us = KY_NONE, .ts_us = KY_NONE };
    char *tab = memchr(b->line, '\t', len);
    int rc;

    if (tab == NULL)
        return bad_line(b, "no tab between a class and values", err);
    *tab = '\0';
    row.label = trimmed(b->line);
    c->n = 0;
    if ((rc = add_values(c, b, tab + 1, b->line + len, '\t', err)) < 0)
        return rc;
    while (c->n > 1 && isnan(c->in[c->n - 1]))
        c->n--;
    row.x = c->in;
    row.steps = c->n <= INT32_MAX ? (int)c->n : 0;
    rc = ky_sink_shape(s, KY_H5_F32, 2, (const uint64_t[]){ 0, 1 }, err);
    if (rc == KY_OK)
        rc = ky_sink_row(s, &row, err);
    return rc < 0 ? ky_context(err, rc, "'%s', line %lld", b->path, (long long)b->number) : KY_OK;
}

static int read_tsv_file(ky_import *im, const ky_import_file *f, series *c, ky_sink *s, ky_err *err)
{
    ky_bytes b = { .gz = NULL };
    int rc = ky_bytes_open(f->path, &b, err);
    size_t len;

    (void)im;
    while (rc >= 0 && (rc = ky_bytes_line(&b, &len, err)) > 0)
        if (len > 0)
            rc = read_tsv_line(&b, len, f->part, c, s, err);
    ky_bytes_close(&b);
    return rc;
}

static int read_tsv(ky_import *im, ky_sink *s, ky_err *err)
{
    return read_files(im, s, read_tsv_file, err);
}

/* Tabs between numbers; a sentence behind a tab is text. */
static bool is_tsv(const char *base, const char *head, size_t n)
{
    size_t line = 0, cells = 0;

    if (!ky_import_ends(base, ".tsv") && !ky_import_ends(base, ".txt"))
        return false;
    while (line < n && head[line] != '\n' && head[line] != '\r')
        line++;
    for (size_t at = 0; at < line;) {
        const char *tab = memchr(head + at, '\t', line - at);
        size_t len = tab != NULL ? (size_t)(tab - head) - at : line - at;
        float v;

        if (tab == NULL && line == n)
            break; /* the cell goes on behind what was read */
        if (ky_csv_number(head + at, len, &v) == 0)
            return false;
        cells++;
        at += len + 1;
    }
    return cells >= 3;
}

const ky_format ky_import_tsv = { "tsv",  "time series archive (UCR): class, tab, values",
                                  is_tsv, read_tsv,
                                  NULL,   false };
