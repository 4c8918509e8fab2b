/* The pages of --report: what stands in them, and what names from outside cannot do to them. */
#include "tests/cli/run.h"

#include <ctype.h>
#include <math.h>

#include "cli/page.h"
#include "models/blueprint.h"
#include "models/h5.h"
#include "models/rng.h"

enum { N = 90, T = 6, F = 2, MOST_PAGE = 1 << 20 };

#define HOSTILE "<script>alert('x')</script>&amp;\"><img src=x onerror=alert(1)>"

static char page[MOST_PAGE];

/* -- data ----------------------------------------------------------------------------------------
 */

static void make(const char *name, int classes, const char *first)
{
    static float x[N * T * F], target[N];
    static int32_t y[N], group[N];
    const uint64_t dims[] = { N, T, F };
    const char *names[64];
    char path[4096], text[64][24];
    ky_rng rng;
    ky_h5 *f = NULL;

    ky_rng_seed(&rng, 1);
    for (int i = 0; i < N; i++) {
        y[i] = i % classes;
        group[i] = i / 15;
        for (int j = 0; j < T * F; j++)
            x[i * T * F + j] = (float)(ky_rng_normal(&rng) + (j % classes == y[i]));
        target[i] = x[i * T * F] * 30 + 1000;
    }
    for (int c = 0; c < classes; c++) {
        snprintf(text[c], sizeof text[c], "class %d", c);
        names[c] = c == 0 && first != NULL ? first : text[c];
    }
    assert_int_equal(ky_h5_create(in_dir(name, path), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 3, dims, x, NULL), KY_OK);
    if (classes > 1) {
        assert_int_equal(ky_h5_put(f, "/y", KY_H5_I32, 1, dims, y, NULL), KY_OK);
        assert_int_equal(ky_h5_put(f, "/group", KY_H5_I32, 1, dims, group, NULL), KY_OK);
        assert_int_equal(ky_h5_set_attr_strs(f, "/", "class_names", names, (size_t)classes, NULL),
                         KY_OK);
    } else {
        assert_int_equal(ky_h5_put(f, "/y", KY_H5_F32, 1, dims, target, NULL), KY_OK);
    }
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

/* -- reading a page ------------------------------------------------------------------------------
 */

static const char *load_page(const char *name)
{
    char path[4096];

    slurp(in_dir(name, path), page, sizeof page);
    assert_true(strlen(page) < sizeof page - 1);
    return page;
}

static int count(const char *text, const char *what)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

/* The sum of the numbers that stand between two texts. */
static long sum_between(const char *text, const char *before, const char *after)
{
    long sum = 0;

    for (const char *at = text; (at = strstr(at, before)) != NULL; at++) {
        char *end;
        long v = strtol(at + strlen(before), &end, 10);

        if (end != at + strlen(before) && strncmp(end, after, strlen(after)) == 0)
            sum += v;
    }
    return sum;
}

/* Every tag is one of ours, closed in turn, with attributes in double quotes; no other < > or &. */
static void assert_well_formed(const char *text)
{
    static const char known[] =
        " html head meta title style body header main h1 h2 p ul li span b strong section div "
        "figure figcaption svg desc g path circle rect text details summary table caption thead "
        "tbody tr th td bdi code ";
    char open[64][16], name[16], spaced[20];
    int depth = 0;
    const char *s = strstr(text, "<html");

    assert_non_null(s);
    for (; *s != 0; s++) {
        bool closes, empty;
        size_t len;

        if (*s == '&' &&
            strspn(s + 1, "abcdefghijklmnopqrstuvwxyz0123456789#") + 1 == strcspn(s, ";"))
            continue;
        if (*s == '&' || *s == '>')
            fail_msg("a bare %c: %.60s", *s, s);
        if (*s != '<')
            continue;
        closes = s[1] == '/';
        s += 1 + closes;
        len = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789");
        assert_in_range(len, 1, 15);
        snprintf(name, sizeof name, "%.*s", (int)len, s);
        snprintf(spaced, sizeof spaced, " %s ", name);
        if (strstr(known, spaced) == NULL)
            fail_msg("a tag that is not ours: <%.60s", s);
        for (s += len; *s == ' ';) {
            s += 1 + strspn(s + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");
            assert_true(s[0] == '=' && s[1] == '"');
            s = strchr(s + 2, '"');
            assert_non_null(s++);
        }
        empty = *s == '/';
        s += empty;
        if (*s != '>')
            fail_msg("in <%s: %.60s", name, s);
        if (closes && (depth == 0 || strcmp(open[--depth], name) != 0))
            fail_msg("</%s> where <%s> is open", name, open[depth]);
        if (!closes && !empty && strcmp(name, "meta") != 0)
            strcpy(open[depth++], name);
        assert_in_range(depth, 0, 60);
    }
    assert_int_equal(depth, 0);
}

/* Nothing is fetched from anywhere. */
static void assert_alone(const char *text)
{
    static const char *const outside[] = { "http:",   "https:",  "href=", "url(",
                                           "@import", "<script", "<img" };

    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        if (strstr(text, outside[i]) != NULL)
            fail_msg("'%s' is in the page", outside[i]);
}

/* -- pages ---------------------------------------------------------------------------------------
 */

static void a_page_tells_of_the_training_and_of_every_answer(void **state)
{
    (void)state;
    make("three.h5", 3, NULL);

    run_well("train|three.h5|--arch|flatten, dense|-o|m.h5|-e|4|-q|--report|r");
    load_page("r/index.html");
    assert_well_formed(page);
    assert_non_null(strstr(page, "no test part to score"));
    assert_int_equal(count(page, "<svg"), 2);
    ran *said = run("eval|m.h5|three.h5|--report|r");
    assert_int_equal(said->code, 0);
    assert_non_null(strstr(said->out, "m.h5 on three.h5:X: 90 rows of [6,2], 6 groups"));
    assert_non_null(strstr(said->out, "report: r/index.html"));
    load_page("r/index.html");

    assert_well_formed(page);
    assert_alone(page);
    assert_int_equal(count(page, "<svg"), 5); /* two curves, confusion, calibration, counts */
    assert_int_equal(count(page, "<svg"), count(page, "role=\"img\""));
    assert_int_equal(count(page, "<table>"), count(page, "<caption>"));
    assert_int_equal(count(page, "epoch 4 is kept") + count(page, "epoch 3 is kept"), 2);
    assert_int_equal(sum_between(page, "<title>", " of "), N); /* cells of the matrix */
    assert_int_equal(sum_between(page, "<title>", " answers, confidence"), N);
    assert_int_equal(sum_between(page, "<title>", " answers</title>"), N);
    assert_non_null(strstr(page, "resamples of the 6 groups"));
    assert_non_null(strstr(page, "<code>kymo eval m.h5 three.h5 --report r</code>"));
    assert_non_null(strstr(page, "prefers-color-scheme:dark"));
}

static void hostile_names_are_but_text(void **state)
{
    (void)state;
    make("evil.h5", 2, HOSTILE);

    run_well("train|evil.h5|--arch|flatten, dense|-o|<b>'\"&m.h5|-e|2|-q");
    run_well("eval|<b>'\"&m.h5|evil.h5|--report|it's <i>");
    load_page("it's <i>/index.html");

    assert_well_formed(page);
    assert_alone(page);
    assert_non_null(strstr(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;&quot;"));
    assert_non_null(strstr(page, "<code>kymo eval &#39;&lt;b&gt;&#39;\\&#39;&#39;&quot;&amp;m.h5&"
                                 "#39; evil.h5 --report &#39;it&#39;\\&#39;&#39;s &lt;i&gt;&#39;"
                                 "</code>"));
}

/* What a file from elsewhere tells of its training is believed to be nothing but JSON. */
static void a_hostile_origin_is_but_text(void **state)
{
    (void)state;
    static const char origin[] =
        "{\"kymo_version\":\"<b>\",\"best_epoch\":99999999999,\"<script>\":{\"a\":[\"<img>\"]},"
        "\"history\":[{\"epoch\":1e300,\"loss\":\"x\",\"val_loss\":-1e308,\"mae\":null},"
        "{\"epoch\":-5,\"loss\":1e308,\"learning_rate\":{}},3,null,[]]}";
    char path[4096];
    ky_model *m = NULL;
    ky_json *extra = NULL;
    make("three.h5", 3, NULL);
    run_well("train|three.h5|--arch|flatten, dense|-o|m.h5|-e|1|-q");
    assert_int_equal(ky_model_load(in_dir("m.h5", path), &m, NULL), KY_OK);
    assert_int_equal(ky_json_parse(origin, strlen(origin), false, &extra, NULL), KY_OK);
    ky_json_free(m->meta.extra);
    m->meta.extra = extra;
    assert_int_equal(ky_model_save(m, path, NULL), KY_OK);
    ky_model_free(m);

    run_well("eval|m.h5|three.h5|--report|o");
    load_page("o/index.html");

    assert_well_formed(page);
    assert_alone(page);
    assert_non_null(strstr(page, "<th scope=\"row\">&lt;script&gt;</th>"));
    run_well("inspect|m.h5");
}

static void fifty_classes_are_drawn_without_counts(void **state)
{
    (void)state;
    make("fifty.h5", 45, NULL);

    run_well("train|fifty.h5|--arch|flatten, dense|-o|m.h5|-e|2|-q|--memory|window");
    run_well("eval|m.h5|fifty.h5|--report|many");
    load_page("many/index.html");

    assert_well_formed(page);
    assert_int_equal(sum_between(page, "<title>", " of "), N);
    assert_int_equal(count(page, "class=\"mid low\"") + count(page, "class=\"mid on\""), 0);
}

static void numbers_are_drawn_with_what_is_left_of_them(void **state)
{
    (void)state;
    make("numbers.h5", 1, NULL);

    run_well("train|numbers.h5|--task|regress|--arch|flatten, dense|-o|m.h5|-e|3|-q|--schedule|"
             "exponential");
    run_well("eval|m.h5|numbers.h5|--report|n");
    load_page("n/index.html");

    assert_well_formed(page);
    assert_int_equal(count(page, "r=\"2.5\"/>\n"), N);
    assert_int_equal(sum_between(page, "<title>", " rows</title>"), N);
    assert_non_null(strstr(page, "R&sup2;"));
    assert_int_equal(count(page, "<svg"), 5); /* loss, mae, rate, answers, residuals */
    assert_non_null(strstr(page, "<strong>learning rate</strong>"));
    assert_null(strstr(page, "Brier"));
}

static void a_page_that_cannot_be_written_is_told_before_the_work(void **state)
{
    (void)state;
    char path[4096];
    make("three.h5", 3, NULL);
    FILE *f = fopen(in_dir("taken", path), "w");
    fclose(f);

    ran *r = run("train|three.h5|--arch|flatten, dense|-o|none.h5|--report|taken");

    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "report 'taken'"));
    assert_null(strstr(r->err, "epoch="));
    assert_int_not_equal(access(in_dir("none.h5", path), F_OK), 0);
}

/* -- what pages are made of
 * ------------------------------------------------------------------------ */

static const char *written(const char *text, int most)
{
    static char to[512];
    ky_page p = { .to = fmemopen(to, sizeof to, "w") };

    if (most > 0)
        ky_page_short(&p, text, most);
    else
        ky_page_text(&p, text);
    fclose(p.to);
    return to;
}

static void text_from_outside_cannot_leave_its_place(void **state)
{
    (void)state;
#define UNKNOWN "\xef\xbf\xbd"
    assert_string_equal(written("a<b>&\"'c", 0), "a&lt;b&gt;&amp;&quot;&#39;c");
    assert_string_equal(written("gr\xc3\xbc\xc3\x9f \xe2\x82\xac", 0),
                        "gr\xc3\xbc\xc3\x9f \xe2\x82\xac");
    assert_string_equal(written("\xc3", 0), UNKNOWN);             /* cut */
    assert_string_equal(written("\xc0\xbc", 0), UNKNOWN UNKNOWN); /* an overlong < */
    assert_string_equal(written("\x1b[1m\x7f", 0), UNKNOWN "[1m" UNKNOWN);
    assert_string_equal(written("\xe2\x80\xae", 0), UNKNOWN); /* writes backwards */
    assert_string_equal(written("\xef\xbf\xbe", 0), UNKNOWN); /* U+FFFE */
    assert_string_equal(written("a\nb", 0), "a b");
    assert_string_equal(written("abcd", 4), "abcd");
    assert_string_equal(written("ab\xc3\xbc"
                                "de",
                                4),
                        "ab\xc3\xbc\xe2\x80\xa6");
    assert_string_equal(written("<<<<", 3), "&lt;&lt;\xe2\x80\xa6");
}

static void scales_end_at_round_values(void **state)
{
    (void)state;
    static const struct {
        double lo, hi, least;
        bool log;
        int n;
        double first, second, last;
    } cases[] = {
        { 0.0627, 1.78, 0, false, 5, 0, 0.5, 2 },
        { 1, 40, 1, false, 5, 0, 10, 40 },
        { 1, 2, 1, false, 2, 1, 2, 2 }, /* epochs are whole */
        { -181, 195, 0, false, 5, -200, -100, 200 },
        { 7, 7, 0, false, 6, 2, 4, 12 }, /* one value */
        { 0, 0, 0, false, 5, -1, -0.5, 1 },
        { 0.3, 900, 0, true, 5, 0.1, 1, 1000 },
        { 0.3, 30, 0, true, 8, 0.2, 0.5, 50 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ky_scale s = { .lo = cases[i].lo, .hi = cases[i].hi, .to = 100, .log = cases[i].log };
        double ticks[KY_MOST_TICKS];

        int n = ky_scale_round(&s, 5, cases[i].least, ticks);

        assert_int_equal(n, cases[i].n);
        assert_float_equal(ticks[0], cases[i].first, 1e-9);
        assert_float_equal(ticks[1], cases[i].second, 1e-9);
        assert_float_equal(ticks[n - 1], cases[i].last, 1e-9);
        assert_float_equal(ky_scale_at(&s, s.lo), 0, 1e-9);
        assert_float_equal(ky_scale_at(&s, s.hi), 100, 1e-9);
    }
}

/* Whatever numbers a file may bring: some ticks, none of them endless. */
static void scales_bear_any_numbers(void **state)
{
    (void)state;
    static const double ends[] = {
        -1.7e308, -1e30, 0, 1e-308, 5e-324, 1, 1 + 1e-15, 1e30, 1.7e308
    };
    const int K = sizeof ends / sizeof *ends;

    for (int i = 0; i < K; i++)
        for (int j = i; j < K; j++)
            for (int log = 0; log < 2; log++) {
                ky_scale s = { .lo = ends[i], .hi = ends[j], .to = 100, .log = log };
                double ticks[KY_MOST_TICKS];

                if (log && ends[i] <= 0)
                    continue;
                int n = ky_scale_round(&s, 6, 0, ticks);
                assert_in_range(n, 2, KY_MOST_TICKS);
                for (int t = 0; t < n; t++)
                    assert_true(isfinite(ticks[t]) && (t == 0 || ticks[t] > ticks[t - 1]));
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_tells_of_the_training_and_of_every_answer),
        cmocka_unit_test(hostile_names_are_but_text),
        cmocka_unit_test(a_hostile_origin_is_but_text),
        cmocka_unit_test(fifty_classes_are_drawn_without_counts),
        cmocka_unit_test(numbers_are_drawn_with_what_is_left_of_them),
        cmocka_unit_test(a_page_that_cannot_be_written_is_told_before_the_work),
        cmocka_unit_test(text_from_outside_cannot_leave_its_place),
        cmocka_unit_test(scales_end_at_round_values),
        cmocka_unit_test(scales_bear_any_numbers),
    };

    return cmocka_run_group_tests(tests, run_set_up, run_tear_down);
}
