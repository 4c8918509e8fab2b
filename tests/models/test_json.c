#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/json.h"

static int parse(const char *text, bool lenient, ky_json **ret, ky_err *err)
{
    return ky_json_parse(text, strlen(text), lenient, ret, err);
}

static void values_read_as_written(void **state)
{
    (void)state;
    ky_json *v = NULL;

    assert_int_equal(
        parse("{\"a\": [1, 2.5, true, null, \"x\"], \"b\": {\"c\": 64.0}}", false, &v, NULL),
        KY_OK);
    ky_json *a = ky_json_get(v, "a");
    assert_int_equal(ky_json_len(a), 5);
    assert_int_equal(ky_json_int(ky_json_at(a, 0), -1), 1);
    assert_true(ky_json_num(ky_json_at(a, 1), 0) == 2.5);
    assert_true(ky_json_bool(ky_json_at(a, 2), false));
    assert_true(ky_json_is_null(ky_json_at(a, 3)));
    assert_string_equal(ky_json_str(ky_json_at(a, 4), ""), "x");
    assert_int_equal(ky_json_int(ky_json_get(ky_json_get(v, "b"), "c"), -1), 64);
    ky_json_free(v);
}

static void getters_on_nothing_or_another_type_give_the_default(void **state)
{
    (void)state;
    ky_json *v = NULL;

    assert_int_equal(parse("[1, 2.5, 1e300]", false, &v, NULL), KY_OK);
    assert_null(ky_json_get(v, "a"));
    assert_null(ky_json_at(v, 3));
    assert_null(ky_json_get(NULL, "a"));
    assert_null(ky_json_at(NULL, 0));
    assert_int_equal(ky_json_len(NULL), 0);
    assert_string_equal(ky_json_str(ky_json_at(v, 0), "no"), "no");
    assert_int_equal(ky_json_int(ky_json_at(v, 1), 7), 7); /* 2.5 is no integer */
    assert_int_equal(ky_json_int(ky_json_at(v, 2), 7), 7); /* nor does 1e300 fit */
    assert_true(ky_json_bool(NULL, true));
    assert_true(isnan(ky_json_num(NULL, NAN)));
    assert_true(ky_json_is_null(NULL));
    assert_null(ky_json_next_key(v, NULL));
    ky_json_free(v);
}

static void keys_come_in_file_order(void **state)
{
    (void)state;
    static const char *const want[] = { "z", "a", "m", "b" };
    ky_json *v = NULL;
    size_t n = 0;

    assert_int_equal(parse("{\"z\":1,\"a\":2,\"m\":3,\"b\":4}", false, &v, NULL), KY_OK);
    for (const char *k = ky_json_next_key(v, NULL); k != NULL; k = ky_json_next_key(v, k))
        assert_string_equal(k, want[n++]);
    assert_int_equal(n, 4);
    ky_json_free(v);
}

static void python_specials_become_null_when_lenient_only(void **state)
{
    (void)state;
    const char *text = "{\"a\": NaN, \"b\": [Infinity, -Infinity], \"c\": \"NaN \\\" Infinity\"}";
    ky_json *v = NULL;

    assert_int_equal(parse(text, false, &v, NULL), KY_EFORMAT);
    assert_int_equal(parse(text, true, &v, NULL), KY_OK);
    char *back = ky_json_text(v, 0);
    assert_string_equal(back, "{\"a\":null,\"b\":[null,null],\"c\":\"NaN \\\" Infinity\"}");
    free(back);
    ky_json_free(v);
}

static void malformed_text_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "[1] 2",
        "nul",
        "[1e400]",
        "[01]",
        "\"\\ud800\"",
        "\"\xff\xfe\"",
        "\"a\\u0000\"",
        "{\"a\":1,\"a\":2}",
        "\xef\xbb\xbf[]",
        "['a']",
        "[99999999999999999999]",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        for (int lenient = 0; lenient < 2; lenient++) {
            ky_json *v = NULL;
            ky_err err = { 0 };

            assert_int_equal(parse(bad[i], lenient, &v, &err), KY_EFORMAT);
            assert_non_null(strstr(err.text, "line 1 column"));
            assert_null(v);
        }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    const char *text = "{\"class_name\": \"LSTM\", \"n\": [1.5e3, true, null, \"\\u00e9\\n\"]}";

    for (size_t n = 0; n < strlen(text); n++) {
        ky_json *v = NULL;

        assert_int_equal(ky_json_parse(text, n, true, &v, NULL), KY_EFORMAT);
    }
}

static void depth_is_bounded(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *text = malloc(2 * DEEP);
    ky_json *v = NULL;
    ky_err err;

    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    assert_int_equal(ky_json_parse(text, 2 * DEEP, false, &v, &err), KY_EFORMAT);
    assert_non_null(strstr(err.text, "256"));
    assert_int_equal(ky_json_parse(text + DEEP - 257, 2 * 257, false, &v, NULL), KY_EFORMAT);
    assert_int_equal(ky_json_parse(text + DEEP - 256, 2 * 256, false, &v, NULL), KY_OK);
    ky_json_free(v);

    /* Brackets inside a string are no depth. */
    text[0] = '"';
    text[1000] = '"';
    assert_int_equal(ky_json_parse(text, 1001, false, &v, NULL), KY_OK);
    ky_json_free(v);
    free(text);
}

static void text_is_the_shortest_that_reads_back(void **state)
{
    (void)state;
    ky_json *o = ky_json_object(), *a = ky_json_array();

    ky_json_append(a, ky_json_of_num(0.1));
    ky_json_append(a, ky_json_of_num(1e-7));
    ky_json_append(a, ky_json_of_num(1.0 / 3));
    ky_json_append(a, ky_json_of_num(2));
    ky_json_append(a, ky_json_of_num(NAN));
    ky_json_append(a, NULL);
    ky_json_set(o, "n", a);
    ky_json_set(o, "i", ky_json_of_int(INT64_MIN));
    ky_json_set(o, "s", ky_json_of_str("\xc3\xa9\"\n"));
    ky_json_set(o, "b", ky_json_of_bool(false));
    ky_json_set(o, "nothing", ky_json_of_null());
    ky_json_set(o, "left out", NULL);

    char *text = ky_json_text(o, 0);
    assert_string_equal(text, "{\"n\":[0.1,1e-07,0.3333333333333333,2.0,null],"
                              "\"i\":-9223372036854775808,\"s\":\"\\u00E9\\\"\\n\","
                              "\"b\":false,\"nothing\":null}");
    free(text);
    text = ky_json_text(o, 2);
    assert_non_null(strstr(text, "{\n  \"n\": [0.1, 1e-07"));
    free(text);
    ky_json_free(o);
}

static void text_that_is_not_utf8_is_shown_with_question_marks(void **state)
{
    (void)state;
    ky_json *v = ky_json_of_str("caf\xe9");

    assert_string_equal(ky_json_str(v, ""), "caf?");
    ky_json_free(v);
}

static void copies_are_deep(void **state)
{
    (void)state;
    ky_json *o = ky_json_object(), *in = ky_json_array();

    ky_json_set(o, "a", in);
    ky_json *copy = ky_json_copy(o);
    ky_json_append(in, ky_json_of_int(1));
    assert_int_equal(ky_json_len(ky_json_get(copy, "a")), 0);
    ky_json_free(o);
    ky_json_free(copy);
}

static void a_name_is_given_once(void **state)
{
    static const char *const cases[][2] = {
        { "a", "a" },           { "a", "a_1" },       { "a_2", "a_2" }, { "a", "a_3" },
        { "a_1", "a_1_1" },     { "b\xc3", "b\xc3" }, /* cut inside of a character */
        { "b\xc3", "b\xc3_1" },
    };
    ky_json *names = ky_json_object();
    char name[20];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_json_unused(names, cases[i][0], name, sizeof(name));
        assert_string_equal(name, cases[i][1]);
    }
    ky_json_unused(names, "abcdefghijklmnopqrs", name, sizeof(name));
    ky_json_unused(names, "abcdefghijklmnopqrs", name, sizeof(name));
    assert_string_equal(name, "abcdef_1"); /* room for a number of any length */
    ky_json_free(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_read_as_written),
        cmocka_unit_test(getters_on_nothing_or_another_type_give_the_default),
        cmocka_unit_test(keys_come_in_file_order),
        cmocka_unit_test(python_specials_become_null_when_lenient_only),
        cmocka_unit_test(malformed_text_is_refused_with_its_place),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(text_is_the_shortest_that_reads_back),
        cmocka_unit_test(text_that_is_not_utf8_is_shown_with_question_marks),
        cmocka_unit_test(copies_are_deep),
        cmocka_unit_test(a_name_is_given_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
