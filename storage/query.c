/* One statement, read-only, printed for people or programs. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/utf8.h"
#include "storage/results_sqlite.h"

enum {
    LOOK_ROWS = 1000, /* rows that decide the widths of a table */
    CELL_MAX = 48,    /* characters a cell shows on a terminal */
    BLOB_SHOWN = 16,  /* bytes of a blob that a table shows */
};

/* -- what a query may do -- */

static const char *const harmless_pragmas[] = {
    "application_id", "compile_options", "encoding",     "foreign_key_list", "freelist_count",
    "function_list",  "index_info",      "index_list",   "index_xinfo",      "integrity_check",
    "page_count",     "page_size",       "quick_check",  "schema_version",   "table_info",
    "table_list",     "table_xinfo",     "user_version",
};

static bool is_harmless(const char *pragma)
{
    for (size_t i = 0; i < sizeof(harmless_pragmas) / sizeof(*harmless_pragmas); i++)
        if (pragma != NULL && strcasecmp(pragma, harmless_pragmas[i]) == 0)
            return true;
    return false;
}

/* The database is open for reading only; this also keeps other files and settings out of reach. */
static int allow(void *arg, int action, const char *a, const char *b, const char *db,
                 const char *by)
{
    (void)arg, (void)db, (void)by;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return b != NULL && strcasecmp(b, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_UPDATE: /* what declaring a table-valued function (json_each) looks like; not done
                         */
        return a != NULL && strcmp(a, "sqlite_master") == 0 ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_PRAGMA:
        return is_harmless(a) ? SQLITE_OK : SQLITE_DENY;
    default:
        return SQLITE_DENY;
    }
}

static int open_reader(ky_results *r, ky_err *err)
{
    if (access(r->path, R_OK) != 0)
        return ky_fail(err, -errno, "'%s': %s", r->path, strerror(errno));
    if (sqlite3_open_v2(r->path, &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return r->db ? ky_results_fail(r, "opening", err)
                     : ky_fail(err, KY_ENOMEM, "'%s'", r->path);
    sqlite3_busy_timeout(r->db, KY_BUSY_TIMEOUT_MS);
    if (sqlite3_exec(r->db, "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF", NULL, NULL,
                     NULL) != SQLITE_OK)
        return ky_results_fail(r, "opening", err);
    sqlite3_set_authorizer(r->db, allow, NULL);
    return KY_OK;
}

/* One statement and nothing behind it but blanks and comments. */
static int prepare_one(ky_results *r, const char *sql, sqlite3_stmt **ret, ky_err *err)
{
    sqlite3_stmt *more = NULL;
    const char *tail = NULL;

    if (sqlite3_prepare_v2(r->db, sql, -1, ret, &tail) != SQLITE_OK)
        return ky_results_fail(r, "query", err);
    if (*ret == NULL)
        return ky_fail(err, KY_EINVAL, "query: there is no SQL statement");
    if (sqlite3_prepare_v2(r->db, tail, -1, &more, NULL) != SQLITE_OK || more != NULL) {
        sqlite3_finalize(more);
        return ky_fail(err, KY_EINVAL, "query: one statement only, there is more: '%.40s'",
                       tail + strspn(tail, " \t\r\n"));
    }
    return KY_OK;
}

/* -- text from outside -- */

/* Writes text so that no byte of it can act on a terminal; returns how many columns it takes. */
static size_t put_safe(FILE *out, const char *text, size_t len, size_t most)
{
    size_t columns = 0;

    for (size_t i = 0; i < len;) {
        int32_t c;
        int n = ky_utf8_decode(text + i, len - i, &c);

        if (columns >= most && i < len) {
            fputs("…", out);
            return columns + 1;
        }
        if (c == -1)
            columns += (size_t)fprintf(out, "\\x%02x", (unsigned char)text[i]);
        else if (c == '\n' || c == '\t' || c == '\r')
            columns += (size_t)fprintf(out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        else if (ky_utf8_is_control(c))
            columns += (size_t)fprintf(out, c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
        else
            columns += fwrite(text + i, 1, (size_t)n, out) == (size_t)n;
        i += (size_t)n;
    }
    return columns;
}

static void put_csv(FILE *out, const char *text, size_t len)
{
    if (len > 0 && memchr(text, ',', len) == NULL && memchr(text, '"', len) == NULL &&
        memchr(text, '\n', len) == NULL && memchr(text, '\r', len) == NULL && text[0] != ' ' &&
        text[len - 1] != ' ') {
        fwrite(text, 1, len, out);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"')
            fputc('"', out);
        fputc(text[i], out);
    }
    fputc('"', out);
}

static void put_json(FILE *out, const char *text, size_t len)
{
    fputc('"', out);
    for (size_t i = 0; i < len;) {
        int32_t c;
        int n = ky_utf8_decode(text + i, len - i, &c);

        if (c == -1)
            fputs("\\ufffd", out);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", (int)c);
        else if (ky_utf8_is_control(c))
            fprintf(out, "\\u%04x", (unsigned)c);
        else
            fwrite(text + i, 1, (size_t)n, out);
        i += (size_t)n;
    }
    fputc('"', out);
}

/* -- values -- */

/* As short as reads back to the bit: a float widened to double needs 9 digits. */
static void put_double(FILE *out, double v)
{
    char text[40];

    if ((double)(float)v == v) {
        for (int digits = 6; digits <= 9; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, v);
            if (strtof(text, NULL) == (float)v)
                break;
        }
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, v);
            if (strtod(text, NULL) == v)
                break;
        }
    }
    fputs(text, out);
}

/* Outputs of a model are float32; other blobs are bytes. */
static bool is_floats(sqlite3_stmt *s, int at)
{
    return strcmp(sqlite3_column_name(s, at), "probs") == 0 &&
           sqlite3_column_bytes(s, at) % (int)sizeof(float) == 0;
}

static void put_floats(FILE *out, sqlite3_stmt *s, int at, bool json)
{
    const char *blob = sqlite3_column_blob(s, at);
    int n = sqlite3_column_bytes(s, at) / (int)sizeof(float);

    fputc('[', out);
    for (int i = 0; i < n; i++) {
        float v;

        memcpy(&v, blob + (size_t)i * sizeof(v), sizeof(v));
        if (i > 0)
            fputs(json ? ", " : " ", out);
        if (json && !isfinite(v))
            fputs("null", out);
        else if (json)
            put_double(out, (double)v);
        else
            fprintf(out, "%.3g", (double)v);
    }
    fputc(']', out);
}

static void put_hex(FILE *out, sqlite3_stmt *s, int at, int most, const char *before,
                    const char *after)
{
    const unsigned char *blob = sqlite3_column_blob(s, at);
    int n = sqlite3_column_bytes(s, at);

    fputs(before, out);
    for (int i = 0; i < n && i < most; i++)
        fprintf(out, "%02x", blob[i]);
    if (n > most)
        fprintf(out, "... %d bytes", n);
    fputs(after, out);
}

static void put_value(FILE *out, sqlite3_stmt *s, int at, enum ky_table_style style, bool terminal)
{
    bool json = style == KY_TABLE_JSON;
    const char *text;
    size_t len;
    double v;

    switch (sqlite3_column_type(s, at)) {
    case SQLITE_NULL:
        fputs(json ? "null" : "", out);
        break;
    case SQLITE_INTEGER:
        fprintf(out, "%" PRId64, (int64_t)sqlite3_column_int64(s, at));
        break;
    case SQLITE_FLOAT:
        v = sqlite3_column_double(s, at);
        if (json && !isfinite(v))
            fputs("null", out);
        else
            put_double(out, v);
        break;
    case SQLITE_BLOB:
        if (is_floats(s, at))
            put_floats(out, s, at, json);
        else if (json)
            put_hex(out, s, at, INT32_MAX, "\"", "\"");
        else
            put_hex(out, s, at, style == KY_TABLE_TEXT ? BLOB_SHOWN : INT32_MAX, "x'", "'");
        break;
    default:
        text = (const char *)sqlite3_column_text(s, at);
        len = (size_t)sqlite3_column_bytes(s, at);
        if (json)
            put_json(out, text, len);
        else if (style == KY_TABLE_CSV && !terminal)
            put_csv(out, text, len);
        else
            put_safe(out, text, len, terminal ? CELL_MAX : SIZE_MAX);
    }
}

/* -- tables -- */

/* A cell of a table as it will be printed. */
typedef struct cell {
    char *text;
    size_t columns;
    bool number;
} cell;

typedef struct table {
    FILE *out;
    bool terminal;
    int n_columns;
    cell *cells; /* heading, then up to LOOK_ROWS rows */
    size_t n_cells;
    size_t *width;
    bool *numbers; /* columns that hold only numbers stand to the right */
} table;

/* How many columns of a terminal a printed cell takes: one a character, as far as we know. */
static size_t columns_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static int print_cell(const table *t, sqlite3_stmt *s, int at, cell *ret)
{
    size_t len;
    FILE *to = open_memstream(&ret->text, &len);

    if (to == NULL)
        return KY_ENOMEM;
    if (s != NULL)
        put_value(to, s, at, KY_TABLE_TEXT, t->terminal);
    if (fclose(to) != 0)
        return KY_ENOMEM;
    ret->columns = columns_of(ret->text);
    return KY_OK;
}

static int heading(const char *name, cell *ret)
{
    size_t len;
    FILE *to = open_memstream(&ret->text, &len);

    if (to == NULL)
        return KY_ENOMEM;
    put_safe(to, name, strlen(name), CELL_MAX);
    if (fclose(to) != 0)
        return KY_ENOMEM;
    ret->columns = columns_of(ret->text);
    return KY_OK;
}

static void put_row(const table *t, const cell *row)
{
    for (int i = 0; i < t->n_columns; i++) {
        size_t pad = t->width[i] > row[i].columns ? t->width[i] - row[i].columns : 0;

        if (i > 0)
            fputs("  ", t->out);
        if (t->numbers[i])
            fprintf(t->out, "%*s", (int)pad, "");
        fputs(row[i].text, t->out);
        if (!t->numbers[i] && i + 1 < t->n_columns)
            fprintf(t->out, "%*s", (int)pad, "");
    }
    fputc('\n', t->out);
}

/* The rows looked at, with the heading and a line under it. */
static void put_looked(table *t)
{
    size_t n = (size_t)t->n_columns;

    for (size_t i = 0; i < t->n_cells; i++)
        if (t->cells[i].columns > t->width[i % n])
            t->width[i % n] = t->cells[i].columns;
    for (size_t at = 0; at < t->n_cells; at += n) {
        put_row(t, t->cells + at);
        for (size_t i = 0; at == 0 && i < n; i++) {
            if (i > 0)
                fputs("  ", t->out);
            for (size_t k = 0; k < t->width[i]; k++)
                fputc('-', t->out);
        }
        if (at == 0)
            fputc('\n', t->out);
    }
}

static void free_cells(cell *cells, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(cells[i].text);
}

/* One row of the statement into cells. */
static int take_row(table *t, sqlite3_stmt *s, cell *row)
{
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < t->n_columns; i++) {
        int type = sqlite3_column_type(s, i);

        rc = print_cell(t, s, i, &row[i]);
        if (t->n_cells < (size_t)LOOK_ROWS * (size_t)t->n_columns && type != SQLITE_INTEGER &&
            type != SQLITE_FLOAT && type != SQLITE_NULL)
            t->numbers[i] = false;
    }
    return rc;
}

static int table_rows(table *t, sqlite3_stmt *s)
{
    size_t n = (size_t)t->n_columns;
    bool looking = true;
    int step, rc = KY_OK;

    while (rc == KY_OK && (step = sqlite3_step(s)) == SQLITE_ROW) {
        cell *row = t->cells + t->n_cells;

        rc = take_row(t, s, row);
        if (rc == KY_OK && looking) {
            t->n_cells += n;
            if (t->n_cells == n * (LOOK_ROWS + 1)) {
                put_looked(t);
                looking = false;
            }
            continue;
        }
        if (rc == KY_OK)
            put_row(t, row);
        free_cells(row, n);
        memset(row, 0, n * sizeof(*row));
    }
    if (rc == KY_OK && looking && step == SQLITE_DONE)
        put_looked(t);
    return rc;
}

static int print_table(sqlite3_stmt *s, FILE *out)
{
    size_t n = (size_t)sqlite3_column_count(s);
    table t = { .out = out, .n_columns = (int)n, .terminal = isatty(fileno(out)) == 1 };
    int rc = KY_OK;

    t.cells = calloc(n * (LOOK_ROWS + 2), sizeof(*t.cells));
    t.width = calloc(n, sizeof(*t.width));
    t.numbers = calloc(n, sizeof(*t.numbers));
    if (t.cells == NULL || t.width == NULL || t.numbers == NULL)
        rc = KY_ENOMEM;
    for (size_t i = 0; rc == KY_OK && i < n; i++) {
        t.numbers[i] = true;
        rc = heading(sqlite3_column_name(s, (int)i), &t.cells[i]);
        t.n_cells++;
    }
    if (rc == KY_OK)
        rc = table_rows(&t, s);
    if (t.cells != NULL)
        free_cells(t.cells, n * (LOOK_ROWS + 2));
    free(t.cells);
    free(t.width);
    free(t.numbers);
    return rc;
}

static int print_csv(sqlite3_stmt *s, FILE *out)
{
    bool terminal = isatty(fileno(out)) == 1;
    int n = sqlite3_column_count(s);

    for (int i = 0; i < n; i++) {
        fputs(i ? "," : "", out);
        put_csv(out, sqlite3_column_name(s, i), strlen(sqlite3_column_name(s, i)));
    }
    fputc('\n', out);
    while (sqlite3_step(s) == SQLITE_ROW) {
        for (int i = 0; i < n; i++) {
            fputs(i ? "," : "", out);
            put_value(out, s, i, KY_TABLE_CSV, terminal);
        }
        fputc('\n', out);
    }
    return KY_OK;
}

static int print_json(sqlite3_stmt *s, FILE *out)
{
    int n = sqlite3_column_count(s), rows = 0;

    fputc('[', out);
    while (sqlite3_step(s) == SQLITE_ROW) {
        fputs(rows++ ? ",\n {" : "\n {", out);
        for (int i = 0; i < n; i++) {
            fputs(i ? ", " : "", out);
            put_json(out, sqlite3_column_name(s, i), strlen(sqlite3_column_name(s, i)));
            fputs(": ", out);
            put_value(out, s, i, KY_TABLE_JSON, false);
        }
        fputc('}', out);
    }
    fputs(rows ? "\n]\n" : "]\n", out);
    return KY_OK;
}

int ky_results_query(const char *path, const char *sql, enum ky_table_style style, FILE *out,
                     ky_err *err)
{
    return ky_results_ask(path, sql, NULL, style, out, err);
}

int ky_results_ask(const char *path, const char *sql, const char *const *args,
                   enum ky_table_style style, FILE *out, ky_err *err)
{
    static int (*const print[])(sqlite3_stmt *, FILE *) = { print_table, print_csv, print_json };
    ky_results r = { .path = (char *)path };
    sqlite3_stmt *s = NULL;
    int rc = open_reader(&r, err);

    if (rc == KY_OK)
        rc = prepare_one(&r, sql, &s, err);
    if (rc != KY_OK)
        goto out;
    for (int i = 0; args != NULL && i < sqlite3_bind_parameter_count(s); i++)
        ky_bind_text(s, i + 1, args[i]);
    rc = print[style](s, out);
    if (rc != KY_OK)
        ky_fail(err, rc, "query: %s", ky_strerror(rc));
    else if (sqlite3_errcode(r.db) != SQLITE_DONE && sqlite3_errcode(r.db) != SQLITE_OK)
        rc = ky_results_fail(&r, "query", err);
    else if (fflush(out) != 0 || ferror(out))
        rc = ky_fail(err, KY_EIO, "query: the output cannot be written");
out:
    sqlite3_finalize(s);
    sqlite3_close(r.db);
    return rc;
}
