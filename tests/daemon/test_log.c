/* Log lines: what they look like, that nothing forges them, and when complaints are said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "daemon/log.h"
#include "models/clock.h"

static int64_t now_s;

static int64_t wall_us(void)
{
    return 1763834625125000 + now_s * 1000000;
}

static int64_t mono_ns(void)
{
    return now_s * 1000000000;
}

static int set_clock(void **state)
{
    (void)state;
    now_s = 0;
    ky_clock_set(wall_us, mono_ns);
    return 0;
}

static int reset_clock(void **state)
{
    (void)state;
    ky_clock_set(NULL, NULL);
    return 0;
}

static const char *line(bool journal, enum ky_level level, ky_object object, const char *msg)
{
    static char text[4096];
    int len = ky_log_line(text, sizeof(text), journal, level, "lane", object, msg);

    assert_int_equal(len, (int)strlen(text));
    return text;
}

static void a_line_is_time_level_stage_object_message(void **state)
{
    (void)state;
    assert_string_equal(line(false, KY_WARN, KY_OBJECT("stream", "pump1", "seq", "1021"), "a gap"),
                        "2025-11-22T18:03:45.125Z level=warn stage=lane stream=pump1 seq=1021 "
                        "msg=\"a gap\"\n");
}

static void under_the_journal_it_begins_with_its_priority(void **state)
{
    (void)state;
    assert_string_equal(line(true, KY_ERROR, NULL, "over"), "<3>level=error stage=lane msg=over\n");
}

static void nothing_from_outside_forges_a_line(void **state)
{
    static const struct {
        const char *value, *shown;
    } cases[] = {
        { "a\nlevel=error msg=owned", "\"a\\nlevel=error msg=owned\"" },
        { "a\" level=error", "\"a\\\" level=error\"" },
        { "back\\slash", "\"back\\\\slash\"" },
        { "\033[2J\a", "\"\\x1b[2J\\x07\"" },
        { "\xc2\x9b"
          "2J",
          "\"\\xc2\\x9b2J\"" },                             /* C1: another way to write ESC [ */
        { "\xe2\x80\xa8x", "\"\\xe2\\x80\\xa8x\"" },        /* U+2028, a line separator */
        { "\xc0\xaf", "\"\\xc0\\xaf\"" },                   /* overlong */
        { "\xed\xa0\x80", "\"\\xed\\xa0\\x80\"" },          /* a surrogate */
        { "\xf5\x80\x80\x80", "\"\\xf5\\x80\\x80\\x80\"" }, /* beyond U+10FFFF */
        { "\xe2\x82", "\"\\xe2\\x82\"" },                   /* cut */
        { "\xe2\x82\xac", "\"\xe2\x82\xac\"" },             /* the euro is welcome */
        { "", "\"\"" },
        { "%s%n", "\"%s%n\"" },
        { "'; DROP TABLE x", "\"'; DROP TABLE x\"" },
    };
    char want[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(want, sizeof(want), "<6>level=info stage=lane stream=%s msg=x\n", cases[i].shown);
        assert_string_equal(line(true, KY_INFO, KY_OBJECT("stream", cases[i].value), "x"), want);
    }
}

static void a_long_value_is_cut_and_the_line_ends(void **state)
{
    char big[9000], text[256];
    int len;

    (void)state;
    memset(big, 'a', sizeof(big) - 1);
    big[0] = ' ';
    big[sizeof(big) - 1] = '\0';
    len = ky_log_line(text, sizeof(text), true, KY_INFO, "lane", KY_OBJECT("stream", big), big);
    assert_true(len < (int)sizeof(text));
    assert_int_equal(text[len - 1], '\n');
    assert_non_null(strstr(text, "...\""));
}

/* What is written to stderr while fn runs. */
static const char *captured(void (*fn)(void))
{
    static char text[65536];
    char name[] = "/tmp/kylog.XXXXXX";
    int fd = mkstemp(name), old = dup(STDERR_FILENO);
    ssize_t n;

    unlink(name);
    dup2(fd, STDERR_FILENO);
    fn();
    dup2(old, STDERR_FILENO);
    close(old);
    n = pread(fd, text, sizeof(text) - 1, 0);
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static int count(const char *text, const char *what)
{
    int n = 0;

    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

static void log_all_levels(void)
{
    for (int i = KY_ERROR; i <= KY_DEBUG; i++)
        ky_log((enum ky_level)i, "test", NULL, "number %d", i);
}

static void the_level_decides_what_is_written(void **state)
{
    static const struct {
        const char *level;
        int lines;
    } cases[] = { { "error", 1 }, { "warn", 2 },  { "notice", 3 },
                  { "info", 4 },  { "debug", 5 }, { NULL, 4 } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_log_init(cases[i].level);
        assert_int_equal(count(captured(log_all_levels), "\n"), cases[i].lines);
    }
    ky_log_init(NULL);
}

static ky_complaint full;

/* Once a second for two hours. */
static void complain_for_long(void)
{
    for (now_s = 0; now_s < 7200; now_s++)
        ky_complain(&full, KY_WARN, "disk", NULL, "full");
    ky_complaint_over(&full, "disk", NULL, "not full any more");
}

static void complaints_come_at_growing_intervals_and_end(void **state)
{
    const char *text;

    (void)state;
    full = (ky_complaint){ 0 };
    text = captured(complain_for_long);
    /* at 0, 1, 11, 71, 671, 4271 s; and the end */
    assert_int_equal(count(text, "msg=full") + count(text, "msg=\"full ("), 6);
    assert_int_equal(count(text, "msg=full\n"), 2);
    assert_int_equal(count(text, "(3600 times since it was said last)"), 1);
    assert_int_equal(count(text, "msg=\"not full any more (after 7200 times in 7200 s)\""), 1);
    assert_int_equal(full.times, 0);
}

static void end_without_beginning(void)
{
    ky_complaint_over(&full, "disk", NULL, "not full any more");
}

static void what_never_began_does_not_end(void **state)
{
    (void)state;
    full = (ky_complaint){ 0 };
    assert_string_equal(captured(end_without_beginning), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_time_level_stage_object_message),
        cmocka_unit_test(under_the_journal_it_begins_with_its_priority),
        cmocka_unit_test(nothing_from_outside_forges_a_line),
        cmocka_unit_test(a_long_value_is_cut_and_the_line_ends),
        cmocka_unit_test(the_level_decides_what_is_written),
        cmocka_unit_test(complaints_come_at_growing_intervals_and_end),
        cmocka_unit_test(what_never_began_does_not_end),
    };

    return cmocka_run_group_tests(tests, set_clock, reset_clock);
}
