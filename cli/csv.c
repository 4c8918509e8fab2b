#include "cli/csv.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/bytes.h"
#include "connectors/jsonscan.h"
#include "connectors/timestamp.h"

enum { COLUMNS_MAX = 1 << 20, LINE_MAX_BYTES = 64 << 20 };

/* -- lines ------------------------------------------------------------------------------------ */

/* Splits in place; "a ""quoted"" cell" may hold delimiters. Returns the number of cells, of which
 * the first `most` are stored, or -1 if a quote is not closed. */
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

static int grow_line(ky_csv *c, ky_err *err)
{
    size_t cap = c->cap > 0 ? 2 * c->cap : 4096;
    char *more = cap <= LINE_MAX_BYTES ? realloc(c->line, cap) : NULL;

    if (more == NULL)
        return ky_fail(err, KY_EFULL, "%s:%" PRId64 ": a line of over %zu bytes", c->path,
                       c->line_number, c->cap);
    c->line = more;
    c->cap = cap;
    return KY_OK;
}

/* A line without its end, no longer than it may be: 1 and its length, or 0 at the end of the file.
 */
static int take_line(ky_csv *c, size_t *ret_n, ky_err *err)
{
    size_t n = 0;
    int ch, rc;

    while ((ch = getc_unlocked(c->file)) != EOF && ch != '\n') {
        if (n + 2 > c->cap && (rc = grow_line(c, err)) < 0)
            return rc;
        if (ch == '\0')
            return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": a NUL: this is no text", c->path,
                           c->line_number);
        c->line[n++] = (char)ch;
    }
    if (ch == EOF && ferror(c->file))
        return ky_fail(err, KY_EIO, "%s: %s", c->path, strerror(errno));
    if (ch == EOF && n == 0)
        return 0;
    if (c->cap == 0 && (rc = grow_line(c, err)) < 0)
        return rc;
    while (n > 0 && c->line[n - 1] == '\r')
        n--;
    c->line[n] = '\0';
    *ret_n = n;
    return 1;
}

/* The next line that is not empty: 1, or 0 at the end of the file. */
static int read_line(ky_csv *c, ky_err *err)
{
    size_t n = 0;
    int rc = 1;

    if (c->held) {
        c->held = false;
        return 1;
    }
    while (rc > 0 && n == 0) {
        c->line_number++;
        rc = take_line(c, &n, err);
    }
    return rc;
}

static int cut_line(ky_csv *c, ky_err *err)
{
    int n = split(c->line, c->delimiter, c->cell, c->columns);

    if (n < 0)
        return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": a quote is not closed", c->path,
                       c->line_number);
    if (n != c->columns)
        return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": %d cells, the %s has %d", c->path,
                       c->line_number, n, c->headless ? "first line" : "header", c->columns);
    for (int i = 0; i < n; i++)
        c->cell[i] = trim(c->cell[i]);
    return KY_OK;
}

int ky_csv_next(ky_csv *c, ky_err *err)
{
    int rc = read_line(c, err);

    if (rc <= 0)
        return rc;
    rc = cut_line(c, err);
    return rc < 0 ? rc : 1;
}

/* -- the header ------------------------------------------------------------------------------- */

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

/* Names for columns that have none. */
static int number_columns(ky_csv *c, ky_err *err)
{
    char *text = realloc(c->header, (size_t)c->columns * 12 + 1);

    if (text == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %d columns", c->columns);
    c->header = text;
    for (int i = 0; i < c->columns; i++) {
        c->name[i] = text;
        text += sprintf(text, "%d", i + 1) + 1;
    }
    c->held = true;
    return KY_OK;
}

/* Whether a line names columns: true also for a row of nothing but numbers where such is allowed.
 * Columns may be named 0, 1, 2 ..., but not 0.5. */
static int judge_header(ky_csv *c, bool headless, ky_err *err)
{
    const char *number = NULL;
    bool all = true;

    for (int i = 0; i < c->columns; i++) {
        float v;
        bool is = ky_csv_number(c->name[i], strlen(c->name[i]), &v) == 1;

        all = all && is;
        if (is && (!headless || v != floorf(v)) && number == NULL)
            number = c->name[i];
    }
    c->headless = headless && all;
    if (number != NULL && !c->headless)
        return ky_fail(err, KY_EFORMAT,
                       "%s: the first line must name the columns, '%.40s' is a number", c->path,
                       number);
    return c->headless ? number_columns(c, err) : KY_OK;
}

static int read_header(ky_csv *c, bool headless, ky_err *err)
{
    int rc = read_line(c, err);

    if (rc <= 0)
        return rc == 0 ? ky_fail(err, KY_EFORMAT, "%s is empty", c->path) : rc;
    if (strncmp(c->line, "\xef\xbb\xbf", 3) == 0)
        memmove(c->line, c->line + 3, strlen(c->line) - 2);
    c->delimiter = guess_delimiter(c->line);
    if ((c->header = strdup(c->line)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a header");
    c->columns = split(c->header, c->delimiter, NULL, 0);
    if (c->columns < 1 || c->columns > COLUMNS_MAX)
        return ky_fail(err, KY_EFORMAT, "%s: the first line is no header kymo can read", c->path);
    c->cell = calloc((size_t)c->columns, sizeof(char *));
    c->name = calloc((size_t)c->columns, sizeof(char *));
    if (c->cell == NULL || c->name == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %d columns", c->columns);
    strcpy(c->header, c->line);
    split(c->header, c->delimiter, c->name, c->columns);
    for (int i = 0; i < c->columns; i++)
        c->name[i] = trim(c->name[i]);
    return judge_header(c, headless, err);
}

int ky_csv_open(const char *path, bool headless, ky_csv *ret, ky_err *err)
{
    int rc = KY_OK;

    *ret = (ky_csv){ .path = path };
    if (strcmp(path, "-") == 0)
        ret->file = stdin;
    else
        rc = ky_bytes_stream(path, &ret->file, err);
    if (rc == KY_OK)
        rc = read_header(ret, headless, err);
    if (rc < 0)
        ky_csv_close(ret);
    return rc;
}

void ky_csv_close(ky_csv *c)
{
    if (c->file != NULL && c->file != stdin)
        fclose(c->file);
    free(c->line);
    free(c->header);
    free(c->name);
    free(c->cell);
    *c = (ky_csv){ .file = NULL };
}

int ky_csv_find(const ky_csv *c, const char *name)
{
    for (int i = 0; i < c->columns; i++)
        if (strcmp(c->name[i], name) == 0)
            return i;
    return -1;
}

/* The column of a number from 1; -1: it is none. */
static int numbered_column(const ky_csv *c, const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);

    return isdigit((unsigned char)*text) && *end == '\0' && n >= 1 && n <= c->columns ? (int)n - 1
                                                                                      : -1;
}

int ky_csv_role(const ky_csv *c, const char *option, const char *const *usual, int *ret,
                ky_err *err)
{
    *ret = -1;
    if (option != NULL) {
        if ((*ret = ky_csv_find(c, option)) < 0 && (*ret = numbered_column(c, option)) < 0)
            return ky_fail(err, KY_EINVAL, "%s has no column '%s'", c->path, option);
        return KY_OK;
    }
    for (; *usual != NULL && *ret < 0; usual++)
        *ret = ky_csv_find(c, *usual);
    return KY_OK;
}

/* -- cells ------------------------------------------------------------------------------------ */

int ky_csv_number(const char *text, size_t len, float *ret)
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

int ky_csv_value(const ky_csv *c, int column, float *ret, ky_err *err)
{
    if (ky_csv_number(c->cell[column], strlen(c->cell[column]), ret) != 0)
        return KY_OK;
    return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": '%.60s' is no number", c->path, c->line_number,
                   c->cell[column]);
}

/* A cell as the decimal number it is. */
static bool read_decimal(const char *text, ky_number *ret)
{
    ky_err ignored;
    ky_scan s;

    ky_scan_init(&s, text + (*text == '+'), strlen(text + (*text == '+')), &ignored);
    return ky_scan_number(&s, ret) == KY_OK && s.p == s.end;
}

int ky_csv_integer(const ky_csv *c, int column, int64_t *ret, ky_err *err)
{
    ky_number n;

    if (read_decimal(c->cell[column], &n) && ky_number_integer(&n, ret))
        return KY_OK;
    return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": %s '%.60s' is no integer", c->path,
                   c->line_number, c->name[column], c->cell[column]);
}

int ky_csv_time(const ky_csv *c, int column, int shift, int64_t *ret_us, ky_err *err)
{
    const char *text = c->cell[column];
    ky_number n;

    if (*text == '\0')
        return KY_OK;
    if (read_decimal(text, &n) ? ky_number_scaled(&n, shift, ret_us)
                               : ky_time_parse(text, strlen(text), ret_us))
        return KY_OK;
    return ky_fail(err, KY_EFORMAT, "%s:%" PRId64 ": '%.60s' is no time (a number or RFC 3339)",
                   c->path, c->line_number, text);
}

int ky_csv_time_shift(const char *unit, int *ret, ky_err *err)
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

char **ky_csv_words(const char *list, int *ret_n)
{
    size_t n = 1, len = strlen(list);

    for (const char *p = list; *p != '\0'; p++)
        n += *p == ',';
    char **words = malloc((n + 1) * sizeof(*words) + len + 1);
    if (words == NULL)
        return NULL;
    char *text = memcpy((char *)(words + n + 1), list, len + 1), *end;
    for (size_t i = 0; i < n; i++, text = end + 1) {
        end = text + strcspn(text, ",");
        *end = '\0';
        text += strspn(text, " \t");
        for (char *last = end; last > text && (last[-1] == ' ' || last[-1] == '\t');)
            *--last = '\0';
        words[i] = text;
    }
    words[n] = NULL;
    *ret_n = (int)n;
    return words;
}
