/* CSV with a header: stream, ts, seq and label by name, all else (or --values) numbers. */
#include "cli/feed.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/codec.h"
#include "connectors/jsonscan.h"
#include "connectors/timestamp.h"

enum { COLUMNS_MAX = 65536, LINE_MAX_BYTES = 16 << 20 };

typedef struct csv {
    ky_reader reader;
    FILE *file;
    const char *path;
    char *line, *header, delimiter;
    size_t cap;
    int64_t line_number;
    char **cell; /* [columns] of the present line */
    int columns;
    int stream, ts, seq, label; /* columns, -1: none */
    int *value;                 /* [features] columns */
    int time_shift;
    bool labels;
    const char *fixed_label;
    char fixed_stream[KY_STREAM_MAX + 1];
    float *x;
} csv;

/* Splits in place; "a ""quoted"" cell" may hold delimiters. Returns the number of cells, cell may
 * be NULL to count only (the line is then left alone), or -1 if a quote is not closed. */
static int split(char *line, char delimiter, char **cell, int most)
{
    int n = 0;

    for (char *p = line;; p++) {
        char *start = p, *out = p;
        bool quoted = *p == '"';
        if (quoted)
            for (start = out = ++p; *p != '\0' && !(*p == '"' && p[1] != '"'); p++) {
                p += *p == '"';
                *out++ = *p;
            }
        if (quoted && *p++ != '"')
            return -1;
        char *rest = p;
        while (*p != '\0' && *p != delimiter)
            p++;
        if (!quoted)
            out = p;
        else if (rest != p)
            return -1;
        bool last = *p == '\0';
        *out = '\0';
        if (n < most)
            cell[n] = start;
        n++;
        if (last)
            return n;
    }
}

static char *trim(char *s)
{
    s += strspn(s, " \t");
    for (size_t n = strlen(s); n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'); n--)
        s[n - 1] = '\0';
    return s;
}

/* The next line that is not empty, without its end: 1, or 0 at the end of the file. */
static int read_line(csv *c, ky_err *err)
{
    ssize_t n;

    do {
        c->line_number++;
        errno = 0;
        if ((n = getline(&c->line, &c->cap, c->file)) < 0)
            return errno != 0 ? ky_fail(err, KY_EIO, "%s: %s", c->path, strerror(errno)) : 0;
        if (n > LINE_MAX_BYTES || strlen(c->line) != (size_t)n)
            return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": a line of %zd bytes, or with a NUL",
                           c->path, c->line_number, n);
        while (n > 0 && (c->line[n - 1] == '\n' || c->line[n - 1] == '\r'))
            c->line[--n] = '\0';
    } while (n == 0);
    return 1;
}

static int cut_line(csv *c, ky_err *err)
{
    int n = split(c->line, c->delimiter, c->cell, c->columns);

    if (n < 0)
        return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": a quote is not closed", c->path,
                       c->line_number);
    if (n != c->columns)
        return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": %d cells, the header has %d", c->path,
                       c->line_number, n, c->columns);
    for (int i = 0; i < n; i++)
        c->cell[i] = trim(c->cell[i]);
    return KY_OK;
}

/* A cell that is to be a number; false if it is none. */
static bool read_number(const char *text, ky_number *ret)
{
    ky_err ignored;
    ky_scan s;

    ky_scan_init(&s, text + (*text == '+'), strlen(text + (*text == '+')), &ignored);
    return ky_scan_number(&s, ret) == KY_OK && s.p == s.end;
}

static int read_value(csv *c, int column, float *ret, ky_err *err)
{
    static const char *const missing[] = { "", "nan", "na", "n/a", "null", "?" };
    const char *text = c->cell[column];
    ky_number n;

    if (read_number(text, &n)) {
        *ret = (float)ky_number_double(&n);
        if (isfinite(*ret))
            return KY_OK;
    }
    for (size_t i = 0; i < sizeof(missing) / sizeof(*missing); i++)
        if (strcasecmp(text, missing[i]) == 0) {
            *ret = NAN;
            return KY_OK;
        }
    return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": '%.60s' is no number", c->path, c->line_number,
                   text);
}

static int read_time(csv *c, int64_t *ret, ky_err *err)
{
    const char *text = c->cell[c->ts];
    ky_number n;

    if (*text == '\0')
        return KY_OK;
    if (read_number(text, &n) ? ky_number_scaled(&n, c->time_shift, ret)
                              : ky_time_parse(text, strlen(text), ret))
        return KY_OK;
    return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": '%.60s' is no time (a number or RFC 3339)",
                   c->path, c->line_number, text);
}

static int csv_next(ky_reader *r, ky_row *ret, ky_err *err)
{
    csv *c = (csv *)r;
    ky_number n;
    int rc = read_line(c, err);

    if (rc <= 0)
        return rc;
    if ((rc = cut_line(c, err)) != KY_OK)
        return rc;
    *ret = (ky_row){ .stream = c->fixed_stream,
                     .seq = KY_NONE,
                     .ts_us = KY_NONE,
                     .x = c->x,
                     .label = c->fixed_label };
    if (c->stream >= 0)
        ret->stream = c->cell[c->stream];
    if (c->label >= 0 && ret->label == NULL && c->cell[c->label][0] != '\0')
        ret->label = c->cell[c->label];
    if (c->seq >= 0 && c->cell[c->seq][0] != '\0' &&
        (!read_number(c->cell[c->seq], &n) || !ky_number_integer(&n, &ret->seq)))
        return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": seq '%.60s' is no integer", c->path,
                       c->line_number, c->cell[c->seq]);
    if (c->ts >= 0 && (rc = read_time(c, &ret->ts_us, err)) != KY_OK)
        return rc;
    for (int i = 0; i < r->features; i++)
        if ((rc = read_value(c, c->value[i], &c->x[i], err)) != KY_OK)
            return rc;
    return 1;
}

static void csv_free(ky_reader *r)
{
    csv *c = (csv *)r;

    if (c->file != NULL && c->file != stdin)
        fclose(c->file);
    free(c->line);
    free(c->header);
    free(c->cell);
    free(c->value);
    free(c->x);
    free(r->names);
    free(c);
}

/* -- the header ---------------------------------------------------------------------- */

static int find_column(char **name, int n, const char *want)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name[i], want) == 0)
            return i;
    return -1;
}

/* The column of that role: as the option says, else by one of its usual names; -1: none. */
static int role_column(csv *c, const char *option, const char *const *usual, int *ret, ky_err *err)
{
    *ret = -1;
    if (option != NULL) {
        if ((*ret = find_column(c->cell, c->columns, option)) < 0)
            return ky_fail(err, KY_EINVAL, "%s has no column '%s'", c->path, option);
        return KY_OK;
    }
    for (; *usual != NULL && *ret < 0; usual++)
        *ret = find_column(c->cell, c->columns, *usual);
    return KY_OK;
}

static int choose_values(csv *c, const char *list, ky_err *err)
{
    int n = 0, wanted = 0;
    char **words = NULL;

    c->value = calloc((size_t)c->columns, sizeof(int));
    c->reader.names = calloc((size_t)c->columns, sizeof(char *));
    c->x = calloc((size_t)c->columns, sizeof(float));
    if (list != NULL)
        words = ky_feed_words(list, &wanted);
    if (c->value == NULL || c->reader.names == NULL || c->x == NULL ||
        (list != NULL && words == NULL)) {
        ky_feed_free_words(words);
        return ky_fail(err, KY_ENOMEM, "no memory for %d columns", c->columns);
    }
    int rc = KY_OK;
    for (int i = 0; i < wanted && rc == KY_OK; i++) {
        int column = find_column(c->cell, c->columns, words[i]);
        if (column < 0 || n == c->columns)
            rc = ky_fail(err, KY_EINVAL, "%s has no column '%s' (--values)", c->path, words[i]);
        else
            c->value[n++] = column;
    }
    for (int i = 0; words == NULL && i < c->columns; i++)
        if (i != c->stream && i != c->ts && i != c->seq && i != c->label)
            c->value[n++] = i;
    ky_feed_free_words(words);
    for (int i = 0; i < n; i++)
        c->reader.names[i] = c->cell[c->value[i]];
    c->reader.features = n;
    if (rc == KY_OK && n == 0)
        rc = ky_fail(err, KY_EINVAL, "%s has no column of values", c->path);
    return rc;
}

/* The one of , ; and tab that the header has most of. */
static char guess_delimiter(const char *header)
{
    static const char candidates[] = ",;\t";
    int best = -1;
    char ret = ',';

    for (const char *d = candidates; *d != '\0'; d++) {
        int n = 0;
        for (const char *p = header; *p != '\0'; p++)
            n += *p == *d;
        if (n > best) {
            best = n;
            ret = *d;
        }
    }
    return ret;
}

static int read_header(csv *c, const ky_feed_opts *o, ky_err *err)
{
    static const char *const streams[] = { "stream", "stream_id", NULL },
                             *const times[] = { "ts", "time", "timestamp", NULL },
                             *const labels[] = { "label", "class", NULL },
                             *const seqs[] = { "seq", NULL };
    ky_number number;
    int rc = read_line(c, err);

    if (rc <= 0)
        return rc == 0 ? ky_fail(err, KY_EFORMAT, "%s is empty", c->path) : rc;
    if (strncmp(c->line, "\xef\xbb\xbf", 3) == 0)
        memmove(c->line, c->line + 3, strlen(c->line) - 2);
    c->delimiter = guess_delimiter(c->line);
    if ((c->header = strdup(c->line)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a header");
    c->columns = split(c->header, c->delimiter, NULL, 0);
    if (c->columns < 1 || c->columns > COLUMNS_MAX ||
        (c->cell = calloc((size_t)c->columns, sizeof(char *))) == NULL)
        return ky_fail(err, KY_EFORMAT, "%s: the first line is no header kymo can read", c->path);
    strcpy(c->header, c->line);
    split(c->header, c->delimiter, c->cell, c->columns);
    for (int i = 0; i < c->columns; i++) {
        c->cell[i] = trim(c->cell[i]);
        if (read_number(c->cell[i], &number))
            return ky_fail(err, KY_EFORMAT,
                           "%s: the first line must name the columns, '%.40s' is a number", c->path,
                           c->cell[i]);
    }
    if ((rc = role_column(c, o->stream_column, streams, &c->stream, err)) != KY_OK ||
        (rc = role_column(c, o->time_column, times, &c->ts, err)) != KY_OK ||
        (rc = role_column(c, NULL, seqs, &c->seq, err)) != KY_OK ||
        (rc = role_column(c, o->label_column, labels, &c->label, err)) != KY_OK)
        return rc;
    return choose_values(c, o->values, err);
}

static int time_shift(const char *unit, int *ret, ky_err *err)
{
    static const struct {
        const char *name;
        int shift;
    } units[] = { { "s", 6 }, { "ms", 3 }, { "us", 0 }, { "ns", -3 } };

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (strcmp(units[i].name, unit) == 0) {
            *ret = units[i].shift;
            return KY_OK;
        }
    return ky_fail(err, KY_EINVAL, "--time-unit '%s': must be s, ms, us or ns", unit);
}

/* The file's name without folder and extension. */
static void name_stream(csv *c, const ky_feed_opts *o)
{
    const char *slash = strrchr(c->path, '/'), *base = slash != NULL ? slash + 1 : c->path;

    if (o->stream != NULL)
        base = o->stream;
    else if (strcmp(base, "-") == 0)
        base = "stdin";
    const char *dot = o->stream == NULL ? strrchr(base, '.') : NULL;
    snprintf(c->fixed_stream, sizeof(c->fixed_stream), "%.*s",
             (int)(dot != NULL && dot > base ? dot - base : (ptrdiff_t)strlen(base)), base);
}

int ky_feed_csv(const ky_feed_opts *o, ky_reader **ret, ky_err *err)
{
    csv *c = calloc(1, sizeof(*c));
    int rc;

    if (c == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a reader");
    c->reader = (ky_reader){ .next = csv_next, .free = csv_free, .streams = 1 };
    c->path = o->source;
    c->fixed_label = o->label;
    name_stream(c, o);
    c->file = strcmp(o->source, "-") == 0 ? stdin : fopen(o->source, "re");
    if (c->file == NULL)
        rc = ky_fail(err, errno == ENOENT ? KY_ENOENT : KY_EIO, "%s: %s", o->source,
                     strerror(errno));
    else if ((rc = time_shift(o->time_unit, &c->time_shift, err)) == KY_OK)
        rc = read_header(c, o, err);
    if (rc != KY_OK) {
        csv_free(&c->reader);
        return rc;
    }
    *ret = &c->reader;
    return KY_OK;
}
