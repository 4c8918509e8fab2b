/* Queries: read-only, one statement, and nothing on the screen that acts on it. */
#include "tests/storage/tools.h"

#include <ctype.h>
#include <pty.h>
#include <sys/wait.h>
#include <utmp.h>

#include "storage/results.h"

typedef struct fixture {
    char *dir, path[4096];
    ky_err err;
    char *out;
} fixture;

/* A stream whose name tries everything, and one answer. */
static const char hostile[] = "pump\x1b[31m\r\n\t\x9b\x7f\xff\xc3\xa9\xe2\x80\xae\"',;end";

static int setup(void **state)
{
    static const char *const models[] = { "vibration" }, *const classes[] = { "vibration" };
    static const float y[] = { 0.0123456f, 0.98f };
    fixture *f = calloc(1, sizeof(*f));
    ky_unit u = { .models = models, .classes = classes };
    ky_row_prediction *p;
    ky_row_stream *s;
    ky_results *r;

    f->dir = tools_dir();
    snprintf(f->path, sizeof(f->path), "%s/results.db", f->dir);
    assert_ok(ky_results_open(f->path, true, &r, &f->err), f->err);
    s = KY_ADD(&u.streams);
    s->name = ky_unit_bytes(&u, hostile, strlen(hostile));
    p = KY_ADD(&u.predictions);
    p->n = 1;
    p->version = 12;
    p->seq = KY_NONE;
    p->ts_us = 1700000000123456;
    p->score = 0.98f;
    p->name = ky_unit_bytes(&u, "worn", 4);
    p->y = ky_unit_bytes(&u, y, sizeof(y));
    assert_ok(ky_results_commit(r, &u, &f->err), f->err);
    ky_unit_done(&u);
    ky_results_close(r);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    free(f->out);
    tools_dir_remove(f->dir);
    free(f);
    return 0;
}

static int ask(fixture *f, const char *sql, enum ky_table_style style)
{
    size_t len;
    FILE *out;
    int rc;

    free(f->out);
    f->out = NULL;
    out = open_memstream(&f->out, &len);
    rc = ky_results_query(f->path, sql, style, out, &f->err);
    fclose(out);
    return rc;
}

static void assert_prints(fixture *f, const char *sql, enum ky_table_style style, const char *want)
{
    assert_ok(ask(f, sql, style), f->err);
    assert_string_equal(f->out, want);
}

static void a_table_is_aligned_numbers_to_the_right(void **state)
{
    fixture *f = *state;

    assert_prints(f,
                  "SELECT 'pump-1' AS stream, 7 AS n, 0.5 AS score, NULL AS seq"
                  " UNION ALL SELECT 'é', 1234, 12.25, NULL",
                  KY_TABLE_TEXT,
                  "stream     n  score  seq\n"
                  "------  ----  -----  ---\n"
                  "pump-1     7    0.5     \n"
                  "é       1234  12.25     \n");
}

static void an_empty_result_has_its_heading(void **state)
{
    fixture *f = *state;

    assert_prints(f, "SELECT 1 AS one WHERE 0", KY_TABLE_TEXT, "one\n---\n");
    assert_prints(f, "SELECT 1 AS one WHERE 0", KY_TABLE_CSV, "one\n");
    assert_prints(f, "SELECT 1 AS one WHERE 0", KY_TABLE_JSON, "[]\n");
}

static void csv_quotes_what_needs_it(void **state)
{
    fixture *f = *state;

    assert_prints(
        f,
        "SELECT 'a,b' AS \"x,y\", 'say \"hi\"' AS q, 'two'||char(10)||'lines' AS l, NULL AS n,"
        " '' AS e, 1.5 AS d, x'00ff' AS b",
        KY_TABLE_CSV,
        "\"x,y\",q,l,n,e,d,b\n\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",,\"\",1.5,x'00ff'\n");
}

static void json_is_an_array_of_objects(void **state)
{
    fixture *f = *state;

    assert_prints(f, "SELECT n, score, probs, seq, label FROM predictions", KY_TABLE_JSON,
                  "[\n {\"n\": 1, \"score\": 0.98, \"probs\": [0.0123456, 0.98], \"seq\": null,"
                  " \"label\": \"worn\"}\n]\n");
    assert_prints(f, "SELECT 9e999 AS inf, x'00ff' AS b, '\"\\' AS t", KY_TABLE_JSON,
                  "[\n {\"inf\": null, \"b\": \"00ff\", \"t\": \"\\\"\\\\\"}\n]\n");
}

static void outputs_of_a_model_print_as_numbers(void **state)
{
    fixture *f = *state;

    assert_prints(f, "SELECT probs, x'0102' AS b, zeroblob(1000) AS z FROM predictions",
                  KY_TABLE_TEXT,
                  "probs          b        z\n"
                  "-------------  -------  -------------------------------------------------\n"
                  "[0.0123 0.98]  x'0102'  x'00000000000000000000000000000000... 1000 bytes'\n");
}

static void floats_print_so_that_they_read_back(void **state)
{
    static const struct {
        const char *sql;
        double value;
    } cases[] = {
        { "1.0 / 10", 0.1 },        { "1.0 / 3", 1.0 / 3 },
        { "16777217.0", 16777217 }, { "2.0 / 7", 2.0 / 7 },
        { "-0.75", -0.75 },         { "1.0 / 3 * 65536 * 65536", 1.0 / 3 * 65536 * 65536 },
    };
    fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char sql[100];

        snprintf(sql, sizeof(sql), "SELECT %s", cases[i].sql);
        assert_ok(ask(f, sql, KY_TABLE_CSV), f->err);
        assert_true(strtod(strchr(f->out, '\n') + 1, NULL) == cases[i].value);
    }
    /* what was a float reads back as that float, and is no longer than it must be */
    assert_prints(f, "SELECT score FROM predictions", KY_TABLE_CSV, "score\n0.98\n");
}

/* No byte that a terminal would obey; UTF-8 letters stay. */
static void assert_harmless(const char *text)
{
    assert_null(strstr(text, "\xe2\x80\xae")); /* right-to-left override */
    assert_null(strstr(text, "\xff"));
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        assert_true(*p == '\n' || (*p >= 0x20 && *p != 0x7f));
}

static void hostile_names_cannot_act_on_a_terminal(void **state)
{
    fixture *f = *state;

    assert_ok(ask(f, "SELECT name FROM streams", KY_TABLE_TEXT), f->err);
    assert_harmless(f->out);
    assert_non_null(strstr(f->out, "pump\\x1b[31m\\r\\n\\t\\x9b\\x7f\\xff"));
    assert_non_null(strstr(f->out, "\xc3\xa9"));
    assert_non_null(strstr(f->out, "\\u202e"));
    assert_ok(ask(f, "SELECT name FROM streams", KY_TABLE_JSON), f->err);
    assert_harmless(f->out);
    assert_non_null(strstr(f->out, "pump\\u001b[31m\\u000d\\u000a\\u0009"));
    assert_ok(ask(f, "SELECT 1 AS \"a\x1b[2J\"", KY_TABLE_TEXT), f->err); /* headings too */
    assert_harmless(f->out);
}

/* What a child prints to a terminal of its own. */
static void print_to_terminal(fixture *f, const char *sql, enum ky_table_style style, char *ret,
                              size_t cap)
{
    int master;
    size_t got = 0;
    ssize_t n;
    pid_t pid = forkpty(&master, NULL, NULL, NULL);

    assert_true(pid >= 0);
    if (pid == 0) {
        ky_results_query(f->path, sql, style, stdout, NULL);
        fflush(stdout);
        _exit(0);
    }
    while (got + 1 < cap && (n = read(master, ret + got, cap - 1 - got)) > 0)
        got += (size_t)n;
    ret[got] = '\0';
    close(master);
    waitpid(pid, NULL, 0);
}

static void wide_values_are_cut_on_a_terminal_only(void **state)
{
    fixture *f = *state;
    char screen[4096], wide[201];

    memset(wide, 'w', 200);
    wide[200] = '\0';
    assert_ok(ask(f, "SELECT replace(hex(zeroblob(100)), '0', 'w') AS wide", KY_TABLE_TEXT),
              f->err);
    assert_non_null(strstr(f->out, wide));
    print_to_terminal(f, "SELECT replace(hex(zeroblob(100)), '0', 'w') AS wide", KY_TABLE_TEXT,
                      screen, sizeof(screen));
    assert_null(strstr(screen, wide));
    assert_non_null(strstr(screen, "wwww…"));
}

static void csv_on_a_terminal_is_harmless_too(void **state)
{
    fixture *f = *state;
    char screen[4096];

    print_to_terminal(f, "SELECT name FROM streams", KY_TABLE_CSV, screen, sizeof(screen));
    assert_null(strchr(screen, '\x1b'));
    assert_non_null(strstr(screen, "\\x1b"));
}

static void nothing_can_be_changed(void **state)
{
    static const char *const statements[] = {
        "DELETE FROM predictions",
        "INSERT INTO streams VALUES (9, 'c', 'n')",
        "UPDATE predictions SET label = 'ok'",
        "UPDATE sqlite_master SET sql = ''",
        "DROP VIEW live",
        "CREATE TABLE t (x)",
        "CREATE TEMP TABLE t (x)",
        "ATTACH '/tmp/other.db' AS o",
        "VACUUM INTO '/tmp/copy.db'",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA query_only = OFF",
        "PRAGMA writable_schema = ON",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "BEGIN IMMEDIATE",
        "SELECT load_extension('/tmp/evil.so')",
        "REINDEX",
    };
    fixture *f = *state;

    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        if (ask(f, statements[i], KY_TABLE_TEXT) >= 0)
            fail_msg("allowed: %s", statements[i]);
        assert_true(f->err.text[0] != '\0');
    }
    assert_prints(f, "SELECT count(*) AS n FROM predictions", KY_TABLE_CSV, "n\n1\n");
}

static void one_statement_and_no_more(void **state)
{
    fixture *f = *state;

    assert_int_equal(ask(f, "SELECT 1; DELETE FROM predictions", KY_TABLE_TEXT), KY_EINVAL);
    assert_non_null(strstr(f->err.text, "one statement"));
    assert_string_equal(f->out, ""); /* the first is not run either */
    assert_int_equal(ask(f, "", KY_TABLE_TEXT), KY_EINVAL);
    assert_int_equal(ask(f, " -- nothing\n", KY_TABLE_TEXT), KY_EINVAL);
    assert_int_equal(ask(f, "SELECT 1; garbage here", KY_TABLE_TEXT), KY_EINVAL);
    assert_prints(f, "SELECT 1 AS x ; -- done\n ", KY_TABLE_CSV, "x\n1\n");
}

static void errors_carry_the_words_of_sqlite(void **state)
{
    fixture *f = *state;

    assert_int_equal(ask(f, "SELECT nosuch FROM live", KY_TABLE_TEXT), KY_EINVAL);
    if (strstr(f->err.text, "no such column: nosuch") == NULL)
        fail_msg("%s", f->err.text);
    assert_int_equal(
        ky_results_query("/nonexistent.db", "SELECT 1", KY_TABLE_TEXT, stdout, &f->err), KY_ENOENT);
    assert_non_null(strstr(f->err.text, "/nonexistent.db"));
    /* an error in the middle of the rows */
    assert_true(ask(f, "SELECT abs(-9223372036854775807 - n) FROM predictions", KY_TABLE_TEXT) < 0);
}

static void more_rows_than_are_looked_at_are_printed_too(void **state)
{
    fixture *f = *state;
    int lines = 0;

    assert_ok(ask(f,
                  "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2500)"
                  " SELECT i, 'row ' || i AS t FROM c",
                  KY_TABLE_TEXT),
              f->err);
    for (const char *p = f->out; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 2502);
    assert_non_null(strstr(f->out, "\n2500  row 2500\n"));
}

static void a_full_output_is_an_error(void **state)
{
    fixture *f = *state;
    FILE *full = fopen("/dev/full", "w");

    assert_non_null(full);
    assert_int_equal(ky_results_query(f->path, "SELECT 1", KY_TABLE_CSV, full, &f->err), KY_EIO);
    fclose(full);
}

static void the_views_answer_and_harmless_pragmas_too(void **state)
{
    static const char *const statements[] = {
        "SELECT * FROM live",
        "SELECT * FROM history",
        "SELECT * FROM transitions",
        "SELECT * FROM hourly",
        "SELECT * FROM accuracy",
        "SELECT * FROM confusion",
        "SELECT * FROM state_health",
        "PRAGMA table_info(predictions)",
        "PRAGMA integrity_check",
        "SELECT value FROM json_each('[1,2]')",
        "EXPLAIN QUERY PLAN SELECT * FROM live",
    };
    fixture *f = *state;

    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++)
        for (int style = KY_TABLE_TEXT; style <= KY_TABLE_JSON; style++)
            assert_ok(ask(f, statements[i], (enum ky_table_style)style), f->err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_table_is_aligned_numbers_to_the_right),
        TEST(an_empty_result_has_its_heading),
        TEST(csv_quotes_what_needs_it),
        TEST(json_is_an_array_of_objects),
        TEST(outputs_of_a_model_print_as_numbers),
        TEST(floats_print_so_that_they_read_back),
        TEST(hostile_names_cannot_act_on_a_terminal),
        TEST(wide_values_are_cut_on_a_terminal_only),
        TEST(csv_on_a_terminal_is_harmless_too),
        TEST(nothing_can_be_changed),
        TEST(one_statement_and_no_more),
        TEST(errors_carry_the_words_of_sqlite),
        TEST(more_rows_than_are_looked_at_are_printed_too),
        TEST(a_full_output_is_an_error),
        TEST(the_views_answer_and_harmless_pragmas_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
