/* The json codec: what it takes, and everything it must refuse without harm. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/timestamp.h"
#include "models/json.h"
#include "models/rng.h"
#include "tests/connectors/codec.h"

static const char *const axes[] = { "ax", "ay", "az" };

static int make_codec(void **state)
{
    *state = codec_of((ky_codec_opts){ .max_values = 1000 });
    return 0;
}

static ky_sample decode(ky_codec *c, const char *text)
{
    ky_sample s;
    ky_err err;

    if (decode_bytes(c, text, strlen(text), &s, &err) != KY_OK)
        fail_msg("%s: %s", text, err.text);
    return s;
}

static void assert_refused(ky_codec *c, const char *text, size_t len, const char *reason)
{
    ky_sample s;
    ky_err err;

    if (decode_bytes(c, text, len, &s, &err) != KY_EREJECT)
        fail_msg("taken: %.200s", text);
    if (strstr(err.text, reason) == NULL)
        fail_msg("%.200s: '%s' does not say '%s'", text, err.text, reason);
}

static void all_fields_are_read(void **state)
{
    ky_sample s = decode(*state, "{\"stream\":\"pump-7\",\"ts\":1732290000.125,\"seq\":41,"
                                 "\"x\":[1,-2.5,3e2],\"label\":\"worn\",\"start\":true,"
                                 "\"end\":false,\"reset\":true}");

    assert_text(s.stream, s.stream_len, "pump-7");
    assert_int_equal(s.ts_us, INT64_C(1732290000125000));
    assert_int_equal(s.seq, 41);
    assert_int_equal(s.steps, 1);
    assert_int_equal(s.features, 3);
    assert_true(s.x[0] == 1.0f && s.x[1] == -2.5f && s.x[2] == 300.0f);
    assert_text(s.label, s.label_len, "worn");
    assert_int_equal(s.flags, KY_START | KY_RESET);
    assert_int_equal(s.holes, 0);
}

static void all_but_values_may_be_absent_or_null(void **state)
{
    static const char *const messages[] = {
        "{\"x\":[5]}", "{\"x\":5}",
        "{\"stream\":null,\"ts\":null,\"seq\":null,\"label\":null,\"start\":null,\"x\":[[5]]}"
    };

    for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++) {
        ky_sample s = decode(*state, messages[i]);
        assert_null(s.stream);
        assert_null(s.label);
        assert_int_equal(s.ts_us, KY_NONE);
        assert_int_equal(s.seq, KY_NONE);
        assert_int_equal(s.flags, 0);
        assert_int_equal(s.steps, 1);
        assert_int_equal(s.features, 1);
        assert_true(s.x[0] == 5.0f);
    }
}

static void rows_are_steps(void **state)
{
    ky_sample s = decode(*state, " { \"x\" : [ [ 1 , 2 ] , [ 3 , 4 ] , [ 5 , 6 ] ] } \r\n\t");

    assert_int_equal(s.steps, 3);
    assert_int_equal(s.features, 2);
    for (int i = 0; i < 6; i++)
        assert_true(s.x[i] == (float)(i + 1));
}

static void keys_may_come_in_any_order_and_unknown_ones_are_skipped(void **state)
{
    for (int i = 0; i < 3; i++) {
        ky_sample s = decode(*state, "{\"x\":[7],\"unit\":{\"a\":[1,{\"x\":2},\"]}\"],\"b\":{}},"
                                     "\"seq\":3,\"\":[],\"z\":-0.5e-7,\"w\":[null,true,false,[[]]],"
                                     "\"stream\":\"s\"}");
        assert_text(s.stream, s.stream_len, "s");
        assert_int_equal(s.seq, 3);
        assert_true(s.x[0] == 7.0f);
    }
}

static void named_fields_are_read(void **state)
{
    (void)state;
    ky_codec *c = codec_of((ky_codec_opts){ .stream_field = "device",
                                            .time_field = "t",
                                            .label_field = "state",
                                            .values = axes,
                                            .n_values = 3,
                                            .time_unit_ns = 1000000 });
    ky_sample s =
        decode(c, "{\"t\":1500,\"az\":3,\"x\":\"nobody reads this\",\"ax\":1,\"device\":17,"
                  "\"ay\":2,\"state\":4}");

    assert_text(s.stream, s.stream_len, "17");
    assert_text(s.label, s.label_len, "4");
    assert_int_equal(s.ts_us, 1500000);
    assert_int_equal(s.steps, 1);
    assert_int_equal(s.features, 3);
    assert_true(s.x[0] == 1.0f && s.x[1] == 2.0f && s.x[2] == 3.0f);
    assert_refused(c, "{\"ax\":1,\"ay\":2}", 15, "value az is missing");
    assert_refused(c, "{\"ax\":[1],\"ay\":2,\"az\":3}", 24, "expected a value");
    assert_refused(c, "{\"ax\":1,\"ay\":2,\"az\":3,\"ax\":1}", 29, "stands twice");
    ky_codec_free(c);
}

static void missing_values_follow_the_setting(void **state)
{
    (void)state;
    ky_codec *zero = codec_of((ky_codec_opts){ .missing = KY_MISSING_ZERO });
    ky_codec *hold = codec_of((ky_codec_opts){ .missing = KY_MISSING_HOLD });
    ky_codec *named =
        codec_of((ky_codec_opts){ .values = axes, .n_values = 3, .missing = KY_MISSING_HOLD });
    ky_sample s = decode(zero, "{\"x\":[1,null,3]}");
    assert_true(s.x[1] == 0.0f);
    assert_int_equal(s.holes, 0);
    s = decode(hold, "{\"x\":[1,null,null]}");
    assert_true(isnan(s.x[1]) && isnan(s.x[2]));
    assert_int_equal(s.holes, 2);
    s = decode(named, "{\"az\":3,\"ax\":null}");
    assert_true(isnan(s.x[0]) && isnan(s.x[1]) && s.x[2] == 3.0f);
    assert_int_equal(s.holes, 2);
    assert_int_equal(s.features, 3);
    assert_refused(named, "{\"seq\":3}", 9, "no values");
    ky_codec_free(zero);
    ky_codec_free(hold);
    ky_codec_free(named);
}

static void a_label_may_come_later(void **state)
{
    ky_sample s = decode(*state, "{\"stream\":\"a\",\"seq\":7,\"label\":\"ok\"}");
    assert_int_equal(s.steps, 0);
    assert_int_equal(s.seq, 7);
    s = decode(*state, "{\"ts\":1,\"label\":\"ok\"}");
    assert_int_equal(s.ts_us, 1000000);
}

static void times_are_exact(void **state)
{
    static const struct {
        const char *text;
        int64_t s, ms, us, ns; /* by time unit */
    } numbers[] = {
        { "0", 0, 0, 0, 0 },
        { "-0", 0, 0, 0, 0 },
        { "1732290000.125", 1732290000125000, 1732290000125, 1732290000, 1732290 },
        { "1732290000.1234564", 1732290000123456, 1732290000123, 1732290000, 1732290 },
        { "1732290000.1234565", 1732290000123457, 1732290000123, 1732290000, 1732290 },
        { "1732290000.12345650000000000000000000001", 1732290000123457, 1732290000123, 1732290000,
          1732290 },
        { "1.73229e9", 1732290000000000, 1732290000000, 1732290000, 1732290 },
        { "-1.5", -1500000, -1500, -2, 0 },
        { "1e-400", 0, 0, 0, 0 },
    };
    const int64_t units[] = { 1000000000, 1000000, 1000, 1 };

    (void)state;
    for (int u = 0; u < 4; u++) {
        ky_codec *c = codec_of((ky_codec_opts){ .time_unit_ns = units[u] });
        for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
            char text[200];
            snprintf(text, sizeof(text), "{\"x\":1,\"ts\":%s}", numbers[i].text);
            const int64_t want[] = { numbers[i].s, numbers[i].ms, numbers[i].us, numbers[i].ns };
            assert_int_equal(decode(c, text).ts_us, want[u]);
        }
        ky_codec_free(c);
    }
}

static void written_times_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t us; /* from GNU date */
    } good[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "2024-11-22T15:40:00.125Z", 1732290000125000 },
        { "2024-11-22t15:40:00.125z", 1732290000125000 },
        { "2024-11-22 16:40:00.125+01:00", 1732290000125000 },
        { "2024-11-22T10:10:00.125-05:30", 1732290000125000 },
        { "2024-11-22T15:40:00.1234567Z", 1732290000123457 },
        { "2024-11-22T15:40:00.1234564999Z", 1732290000123456 },
        { "2024-11-22T15:40:00.9999999Z", 1732290001000000 },
        { "2016-12-31T23:59:60Z", 1483228800000000 },
        { "2000-02-29T00:00:00Z", 951782400000000 },
        { "1969-12-31T23:59:59.999999Z", -1 },
        { "0000-01-01T00:00:00Z", KY_TIME_MIN_US },
        { "9999-12-31T23:59:59.999999Z", KY_TIME_MAX_US },
    };
    static const char *const bad[] = {
        "",
        "2024",
        "2024-11-22",
        "2024-11-22T15:40:00",
        "2024-11-22T15:40:00.Z",
        "2024-13-22T15:40:00Z",
        "2024-00-22T15:40:00Z",
        "2023-02-29T15:40:00Z",
        "1900-02-29T15:40:00Z",
        "2024-11-31T15:40:00Z",
        "2024-11-22T24:00:00Z",
        "2024-11-22T15:60:00Z",
        "2024-11-22T15:40:61Z",
        "2024-11-22T15:40:00+24:00",
        "2024-11-22T15:40:00+0100",
        "2024-11-22T15:40:00Zjunk",
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59.9999995Z",
        "tomorrow",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        char text[200], back[KY_TIME_TEXT];
        int64_t again;
        snprintf(text, sizeof(text), "{\"x\":1,\"ts\":\"%s\"}", good[i].text);
        assert_int_equal(decode(*state, text).ts_us, good[i].us);
        ky_time_text(good[i].us, back);
        assert_true(ky_time_parse(back, strlen(back), &again) && again == good[i].us);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char text[200];
        int n = snprintf(text, sizeof(text), "{\"x\":1,\"ts\":\"%s\"}", bad[i]);
        assert_refused(*state, text, (size_t)n, "RFC 3339");
    }
}

static void names_are_unescaped_and_bounded(void **state)
{
    char text[2000], id[300];
    ky_sample s = decode(*state, "{\"str\\u0065am\":\"a\\u00e9\\ud83d\\ude00\\/\\\"\",\"x\":1}");

    assert_text(s.stream, s.stream_len, "a\xc3\xa9\xf0\x9f\x98\x80/\"");
    s = decode(*state, "{\"stream\":\"../../etc/passwd\",\"x\":1}"); /* ids are never file names */
    assert_text(s.stream, s.stream_len, "../../etc/passwd");
    s = decode(*state, "{\"stream\":\"'; DROP TABLE streams; --\",\"label\":\"%s%n\",\"x\":1}");
    assert_text(s.stream, s.stream_len, "'; DROP TABLE streams; --");
    assert_text(s.label, s.label_len, "%s%n");
    s = decode(*state, "{\"stream\":9007199254740993,\"label\":-3,\"x\":1}");
    assert_text(s.stream, s.stream_len, "9007199254740993");
    assert_text(s.label, s.label_len, "-3");

    memset(id, 'a', sizeof(id));
    snprintf(text, sizeof(text), "{\"stream\":\"%.255s\",\"x\":1}", id);
    assert_int_equal(decode(*state, text).stream_len, 255);
    int n = snprintf(text, sizeof(text), "{\"stream\":\"%.256s\",\"x\":1}", id);
    assert_refused(*state, text, (size_t)n, "256 bytes, at most 255");
    n = snprintf(text, sizeof(text), "{\"stream\":\"\\u0061%.255s\",\"x\":1}", id);
    assert_refused(*state, text, (size_t)n, "255 bytes allowed");
    n = snprintf(text, sizeof(text), "{\"label\":\"%.256s\",\"x\":1}", id);
    assert_refused(*state, text, (size_t)n, "256 bytes, at most 255");
}

/* Every row of the catalogue of bad input that a text can show; big ones are below. */
static void bad_messages_are_refused_with_the_reason(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        { "", "empty message" },
        { "   ", "empty message" },
        { "\xef\xbb\xbf", "empty message" },
        { "[]", "one object" },
        { "[{\"x\":1}]", "one object" },
        { "1", "one object" },
        { "null", "one object" },
        { "{}", "no values" },
        { "{\"stream\":\"a\"}", "no values" },
        { "{\"stream\":\"a\",\"label\":\"b\"}", "seq or ts" },
        { "{\"seq\":1,\"label\":\"b\",\"end\":true}", "need values" },
        { "{\"x\":1}}", "more bytes" },
        { "{\"x\":1} x", "more bytes" },
        { "{\"x\":1}{\"x\":1}", "more bytes" },
        { "{\"x\":1,}", "expected a key" },
        { "{,\"x\":1}", "expected a key" },
        { "{x:1}", "expected a key" },
        { "{'x':1}", "expected a key" },
        { "{\"x\" 1}", "expected ':'" },
        { "{\"x\":1 \"y\":2}", "expected ','" },
        { "{\"x\":1;\"y\":2}", "expected ','" },
        { "{\"x\":1,\"x\":1}", "stands twice" },
        { "{\"x\":1,\"\\u0078\":1}", "stands twice" },
        { "{\"x\":1,\"u\":1,\"v\":1,\"u\":1}", "stands twice" },
        { "{\"x\":1,\"u\":1,\"\\u0075\":1}", "stands twice" },
        { "{\"x\":[]}", "no values" },
        { "{\"x\":[[]]}", "without values" },
        { "{\"x\":[[1],[]]}", "row 2 has 0" },
        { "{\"x\":[[1,2],[3]]}", "row 2 has 1 values, the first has 2" },
        { "{\"x\":[[1,2],3]}", "another row" },
        { "{\"x\":[1,[2]]}", "expected a value" },
        { "{\"x\":[[[1]]]}", "expected a value" },
        { "{\"x\":[1,2}", "expected ',' or ']'" },
        { "{\"x\":[1,]}", "expected a value" },
        { "{\"x\":[,1]}", "expected a value" },
        { "{\"x\":[1 2]}", "expected ',' or ']'" },
        { "{\"x\":\"1\"}", "expected a value" },
        { "{\"x\":true}", "expected a value" },
        { "{\"x\":{}}", "expected a value" },
        { "{\"x\":null}", "missing" },
        { "{\"x\":[1,null]}", "missing" },
        { "{\"x\":NaN}", "NaN" },
        { "{\"x\":nan}", "NaN" },
        { "{\"x\":[1,Infinity]}", "NaN and Infinity" },
        { "{\"x\":-Infinity}", "NaN and Infinity" },
        { "{\"u\":NaN,\"x\":1}", "NaN" },
        { "{\"x\":1e400}", "largest 32-bit float" },
        { "{\"x\":-1e39}", "largest 32-bit float" },
        { "{\"x\":1e999999999999999999999}", "largest 32-bit float" },
        { "{\"x\":01}", "not a number" },
        { "{\"x\":-}", "expected a value" },
        { "{\"x\":+1}", "expected a value" },
        { "{\"x\":.5}", "expected a value" },
        { "{\"x\":5.}", "not a number" },
        { "{\"x\":5.e1}", "not a number" },
        { "{\"x\":1e}", "not a number" },
        { "{\"x\":1e+}", "not a number" },
        { "{\"x\":0x10}", "expected ','" },
        { "{\"x\":1_000}", "expected ','" },
        { "{\"u\":tru,\"x\":1}", "expected a value" },
        { "{\"u\":[1,2},\"x\":1}", "expected ',' or ']'" },
        { "{\"u\":{\"a\":1],\"x\":1}", "expected ',' or '}'" },
        { "{\"u\":{1:1},\"x\":1}", "expected a key" },
        { "{\"u\":{\"a\"},\"x\":1}", "expected ':'" },
        { "{\"u\":undefined,\"x\":1}", "expected a value" },
        { "{/* no */\"x\":1}", "expected a key" },
        { "{\"stream\":\"\",\"x\":1}", "stream id: empty" },
        { "{\"stream\":[],\"x\":1}", "string or an integer" },
        { "{\"stream\":true,\"x\":1}", "string or an integer" },
        { "{\"stream\":1.5,\"x\":1}", "not an integer" },
        { "{\"stream\":1.0,\"x\":1}", "not an integer" },
        { "{\"stream\":99999999999999999999,\"x\":1}", "not an integer" },
        { "{\"stream\":\"a\\nb\",\"x\":1}", "control character U+000A" },
        { "{\"stream\":\"a\nb\",\"x\":1}", "control character 0x0a" },
        { "{\"stream\":\"\\u0000\",\"x\":1}", "control character U+0000" },
        { "{\"stream\":\"\\u001b[31m\",\"x\":1}", "control character U+001B" },
        { "{\"stream\":\"a\x7f\",\"x\":1}", "control character U+007F" },
        { "{\"stream\":\"a\xc2\x9b\",\"x\":1}", "control character U+009B" },
        { "{\"label\":\"a\\tb\",\"x\":1}", "control character U+0009" },
        { "{\"stream\":\"\\ud800\",\"x\":1}", "surrogate" },
        { "{\"stream\":\"\\udc00\",\"x\":1}", "surrogate" },
        { "{\"stream\":\"\\ud800\\u0041\",\"x\":1}", "surrogate" },
        { "{\"stream\":\"\\u12\",\"x\":1}", "escape" },
        { "{\"stream\":\"\\x41\",\"x\":1}", "escape" },
        { "{\"u\":\"\\ud800\",\"x\":1}", "surrogate" },
        { "{\"stream\":\"\xff\",\"x\":1}", "UTF-8" },
        { "{\"stream\":\"\xc3\",\"x\":1}", "UTF-8" },
        { "{\"stream\":\"\xc0\x80\",\"x\":1}", "UTF-8" },         /* overlong */
        { "{\"stream\":\"\xed\xa0\x80\",\"x\":1}", "UTF-8" },     /* surrogate */
        { "{\"stream\":\"\xf4\x90\x80\x80\",\"x\":1}", "UTF-8" }, /* beyond U+10FFFF */
        { "{\"u\":\"\xe2\x82\",\"x\":1}", "UTF-8" },
        { "{\"\xff\":1,\"x\":1}", "UTF-8" },
        { "{\"seq\":1.5,\"x\":1}", "integer of 64 bits" },
        { "{\"seq\":9223372036854775808,\"x\":1}", "integer of 64 bits" },
        { "{\"seq\":1e19,\"x\":1}", "integer of 64 bits" },
        { "{\"seq\":\"1\",\"x\":1}", "expected a value" },
        { "{\"ts\":9223372036854775808,\"x\":1}", "years 0 to 9999" },
        { "{\"ts\":1732290000000,\"x\":1}", "is time_unit right?" },
        { "{\"ts\":-1e300,\"x\":1}", "years 0 to 9999" },
        { "{\"ts\":true,\"x\":1}", "expected a value" },
        { "{\"ts\":[1],\"x\":1}", "expected a value" },
        { "{\"start\":1,\"x\":1}", "true or false" },
        { "{\"start\":\"true\",\"x\":1}", "true or false" },
        { "{\"end\":truE,\"x\":1}", "expected a value" },
        { "\xff\xfe{\"x\":1}", "one object" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_refused(*state, cases[i].text, strlen(cases[i].text), cases[i].reason);
    assert_refused(*state, "{\"x\":1}\0", 8, "more bytes");
    assert_refused(*state, "{\"stream\":\"a\0b\",\"x\":1}", 22, "control character 0x00");
    assert_true(decode(*state, "{\"x\":1}").x[0] == 1.0f); /* and the next is as before */
}

static void odd_but_valid_messages_mean_what_they_say(void **state)
{
    ky_sample s =
        decode(*state, "\xef\xbb\xbf{\"x\":[-0,-0.0,1e-45,4.9e-324,1e-400,3.4028235e38]}");

    assert_true(s.x[0] == 0.0f && signbit(s.x[0]) && signbit(s.x[1]));
    assert_true(s.x[2] == 0x1p-149f); /* the least subnormal */
    assert_true(s.x[3] == 0.0f && s.x[4] == 0.0f);
    assert_true(s.x[5] == 0x1.fffffep127f);
    assert_int_equal(decode(*state, "{\"seq\":9007199254740993,\"x\":1}").seq, 9007199254740993);
    assert_int_equal(decode(*state, "{\"seq\":4.1e1,\"x\":1}").seq, 41);
    assert_int_equal(decode(*state, "{\"seq\":-41.000,\"x\":1}").seq, -41);
    assert_int_equal(decode(*state, "{\"seq\":1.00000000000000000000000,\"x\":1}").seq, 1);
    assert_int_equal(decode(*state, "{\"seq\":0e99999999999,\"x\":1}").seq, 0);
    assert_int_equal(decode(*state, "{\"seq\":9223372036854775807,\"x\":1}").seq, INT64_MAX);
}

static void a_message_cut_anywhere_is_refused(void **state)
{
    static const char whole[] =
        "\xef\xbb\xbf{\"stream\":\"p\\u00fc\xc3\xbcmp\\ud83d\\ude00\",\"ts\":\"2024-11-22T15:40:"
        "00Z\",\"seq\":41,"
        "\"u\":{\"a\":[1,-2.5e+3,true,false,null,\"\\n\"],\"b\":{}},\"x\":[[1.5,2],[3,-4e-1]],"
        "\"label\":\"w\",\"start\":true}";
    size_t len = sizeof(whole) - 1;
    ky_sample s;
    ky_err err;

    for (size_t n = 0; n < len; n++) {
        assert_int_equal(decode_bytes(*state, whole, n, &s, &err), KY_EREJECT);
        assert_true(err.text[0] != '\0');
    }
    assert_int_equal(decode_bytes(*state, whole, len, &s, &err), KY_OK);
    assert_int_equal(s.steps, 2);
}

static void large_messages_are_bounded(void **state)
{
    enum { MB = 1 << 20 };
    char *big = malloc(100 * MB);
    ky_sample s;
    ky_err err;

    memset(big, '[', 100000); /* deep */
    memcpy(big, "{\"u\":", 5);
    assert_refused(*state, big, 100000, "deeper than 64");
    memcpy(big, "{\"x\":", 5);
    assert_refused(*state, big, 100000, "expected a value");

    memset(big, 'a', 100 * MB); /* a string of 100 MB: checked and skipped, refused as a name */
    memcpy(big, "{\"x\":1,\"u\":\"", 12);
    memcpy(big + 100 * MB - 2, "\"}", 2);
    assert_int_equal(decode_bytes(*state, big, 100 * MB, &s, &err), KY_OK);
    memcpy(big, "{\"stream\": \"", 12);
    assert_refused(*state, big, 100 * MB, "at most 255");

    size_t n = (size_t)sprintf(big, "{\"x\":[0"); /* one value more than allowed */
    for (int i = 1; i <= 1000; i++)
        n += (size_t)sprintf(big + n, ",%d", i);
    n += (size_t)sprintf(big + n, "]}");
    assert_refused(*state, big, n, "more than 1000 values");
    n = (size_t)sprintf(big, "{\"x\":[[0]");
    for (int i = 1; i <= 1000; i++)
        n += (size_t)sprintf(big + n, ",[%d]", i);
    n += (size_t)sprintf(big + n, "]}");
    assert_refused(*state, big, n, "more than 1000 values");

    n = (size_t)sprintf(big, "{\"x\":1"); /* keys without end */
    for (int i = 0; i < 1024; i++)
        n += (size_t)sprintf(big + n, ",\"k%d\":0", i);
    size_t at = n;
    n += (size_t)sprintf(big + n, "}");
    assert_int_equal(decode_bytes(*state, big, n, &s, &err), KY_OK);
    n = at + (size_t)sprintf(big + at, ",\"k1024\":0}");
    assert_refused(*state, big, n, "more than 1024 keys");
    free(big);
}

/* Numbers against the C library's, which rounds correctly: all lengths and exponents. */
static void numbers_are_rounded_correctly(void **state)
{
    static const char *const hard[] = {
        "9007199254740993",
        "9007199254740992.5",
        "1.7976931348623157e308",
        "2.2250738585072011e-308",
        "0.1",
        "123456789012345678901234567890e-20",
        "8.41245e-10",
        "1.00000017881393421514957253748434595763683319091796875001", /* above a float's half */
        "0.000000000000000000000000000000000000000000000117549435e5",
        "7.2057594037927933e+16",
        "1e23",
        "9999999999999999999",
        "18446744073709551615",
        "18446744073709551616",
        "6.631236846766476e-316",
    };
    unsigned seed = 20241122;

    for (int i = 0; i < 200000; i++) {
        char number[128], text[160];
        int n = 0, digits, point;

        if (i < (int)(sizeof(hard) / sizeof(*hard))) {
            snprintf(number, sizeof(number), "%s", hard[i]);
        } else {
            seed = seed * 1664525u + 1013904223u;
            digits = 1 + (int)(seed >> 8) % 40;
            point = (int)(seed >> 16) % (digits + 1);
            n += sprintf(number, "%s", seed >> 31 ? "-" : "");
            for (int k = 0; k < digits; k++) {
                seed = seed * 1664525u + 1013904223u;
                n += sprintf(number + n, "%s%u", k > 0 && k == point ? "." : "",
                             k == 0 && point != 1 ? 1 + (seed >> 10) % 9 : (seed >> 10) % 10);
            }
            seed = seed * 1664525u + 1013904223u;
            if (seed >> 28 < 12)
                sprintf(number + n, "e%d", (int)(seed >> 12) % 60 - 40);
        }
        float want = (float)strtod(number, NULL);
        if (isinf(want))
            continue;
        snprintf(text, sizeof(text), "{\"x\":%s}", number);
        ky_sample s = decode(*state, text);
        if (memcmp(&want, s.x, sizeof(want)) != 0)
            fail_msg("%s: %a, not %a", number, (double)s.x[0], (double)want);
    }
}

/* -- against another parser ------------------------------------------------------------ */

typedef struct writer {
    char text[4096];
    int n;
    ky_rng rng;
} writer;

static int below(writer *w, int n)
{
    return (int)ky_rng_below(&w->rng, (uint64_t)n);
}

static void __attribute__((format(printf, 2, 3))) say(writer *w, const char *fmt, ...)
{
    static const char *const blanks[] = { "", "", "", " ", "\n", "\t ", "\r\n" };
    va_list ap;

    w->n += sprintf(w->text + w->n, "%s", blanks[below(w, 7)]);
    va_start(ap, fmt);
    w->n += vsprintf(w->text + w->n, fmt, ap);
    va_end(ap);
}

static void say_number(writer *w)
{
    static const char *const odd[] = {
        "0", "-0.0", "0.0", "1e5", "-2.5E-3", "12345678.875", "1e-30"
    };

    if (below(w, 3) == 0)
        say(w, "%s", odd[below(w, 7)]);
    else
        say(w, "%.*g", 1 + below(w, 17), ky_rng_normal(&w->rng) * 100);
}

static void say_string(writer *w)
{
    static const char *const parts[] = { "a",    "pump-", "\\u00e9", "\xc3\xa9", "\\ud83d\\ude00",
                                         "\\\"", "\\/",   " ",       "7",        "\xe2\x82\xac" };

    say(w, "\"x"); /* never empty */
    for (int i = below(w, 6); i > 0; i--)
        w->n += sprintf(w->text + w->n, "%s", parts[below(w, 10)]);
    w->n += sprintf(w->text + w->n, "\"");
}

static void say_anything(writer *w, int depth)
{
    switch (below(w, depth < 4 ? 6 : 4)) {
    case 0:
        say_number(w);
        break;
    case 1:
        say_string(w);
        break;
    case 2:
        say(w, "null");
        break;
    case 3:
        say(w, below(w, 2) ? "true" : "false");
        break;
    case 4:
        say(w, "[");
        for (int i = 0, n = below(w, 4); i < n; i++) {
            say(w, i > 0 ? "," : "");
            say_anything(w, depth + 1);
        }
        say(w, "]");
        break;
    default:
        say(w, "{");
        for (int i = 0, n = below(w, 4); i < n; i++) {
            say(w, "%s\"k%d\":", i > 0 ? "," : "", i);
            say_anything(w, depth + 1);
        }
        say(w, "}");
    }
}

static void say_values(writer *w)
{
    int T = below(w, 4), F = 1 + below(w, 5);

    say(w, "[");
    for (int t = 0; t < (T > 0 ? T : 1); t++) {
        if (T > 0)
            say(w, t > 0 ? ",[" : "[");
        for (int f = 0; f < F; f++) {
            say(w, f > 0 ? "," : "");
            say_number(w);
        }
        if (T > 0)
            say(w, "]");
    }
    say(w, "]");
}

/* A valid message with its keys in any order. */
static void say_message(writer *w)
{
    int first = below(w, 6), said = 0;

    w->n = 0;
    say(w, "{");
    for (int i = 0; i < 6; i++) {
        static const char *const keys[] = { "stream", "seq", "x", "label", "unit", "more" };
        int k = (first + i) % 6;
        if (k != 2 && below(w, 3) == 0)
            continue;
        say(w, "%s", said++ > 0 ? "," : "");
        say(w, "\"%s\"", keys[k]);
        say(w, ":");
        if (k == 1)
            say(w, "%d", below(w, 2000000000) - 1000000000);
        else if (k == 2)
            say_values(w);
        else if (k < 4)
            say_string(w);
        else
            say_anything(w, 0);
    }
    say(w, "}");
    say(w, "%s", "");
}

static void assert_same_text(const char *s, size_t len, const ky_json *want)
{
    if (want == NULL)
        assert_null(s);
    else
        assert_text(s, len, ky_json_str(want, "no string"));
}

static void assert_same_values(const ky_sample *s, const ky_json *x)
{
    bool rows = ky_json_is_array(ky_json_at(x, 0));
    int at = 0;

    assert_int_equal(s->steps, rows ? (int)ky_json_len(x) : 1);
    for (int t = 0; t < s->steps; t++) {
        const ky_json *row = rows ? ky_json_at(x, (size_t)t) : x;
        assert_int_equal(s->features, ky_json_len(row));
        for (int f = 0; f < s->features; f++) {
            float want = (float)ky_json_num(ky_json_at(row, (size_t)f), NAN);
            at++;
            if (memcmp(&want, &s->x[at - 1], sizeof(want)) != 0 && want != 0) /* its -0 is 0 */
                fail_msg("value %d: %a, not %a", at, (double)s->x[at - 1], (double)want);
        }
    }
}

static void assert_same(const ky_sample *s, const ky_json *o)
{
    assert_same_text(s->stream, s->stream_len, ky_json_get(o, "stream"));
    assert_same_text(s->label, s->label_len, ky_json_get(o, "label"));
    assert_true(s->seq == ky_json_int(ky_json_get(o, "seq"), KY_NONE));
    assert_same_values(s, ky_json_get(o, "x"));
}

static void another_parser_reads_the_same(void **state)
{
    writer w;
    ky_sample s;
    ky_err err;
    int taken = 0;

    ky_rng_seed(&w.rng, 7);
    for (int i = 0; i < 20000; i++) {
        ky_json *o = NULL;
        say_message(&w);
        if (decode_bytes(*state, w.text, (size_t)w.n, &s, &err) != KY_OK)
            fail_msg("%.*s: %s", w.n, w.text, err.text);
        if (ky_json_parse(w.text, (size_t)w.n, false, &o, &err) != KY_OK)
            fail_msg("%.*s: %s", w.n, w.text, err.text);
        assert_same(&s, o);
        ky_json_free(o);
        o = NULL;
        /* With a byte changed: whatever we take, the other takes too, but for what is
         * out of its range or stands twice inside values that we skip. */
        w.text[below(&w, w.n)] = "\"\\{}[],:0e.-xu \x80"[below(&w, 17)];
        if (decode_bytes(*state, w.text, (size_t)w.n, &s, &err) != KY_OK)
            continue;
        if (ky_json_parse(w.text, (size_t)w.n, false, &o, &err) == KY_OK)
            taken++;
        else if (strstr(err.text, "overflow") == NULL && strstr(err.text, "too big") == NULL &&
                 strstr(err.text, "duplicate") == NULL)
            fail_msg("we took %.*s: %s", w.n, w.text, err.text);
        ky_json_free(o);
    }
    assert_true(taken > 100);
}

static void contradicting_options_are_refused(void **state)
{
    static const char *const twice[] = { "a", "a" }, *const taken[] = { "seq" },
                             *const none[] = { "" };
    const struct {
        ky_codec_opts o;
        const char *says;
    } cases[] = {
        { { .format = "yaml" }, "yaml" },
        { { .time_unit_ns = 5 }, "time unit" },
        { { .stream_field = "a", .label_field = "a" }, "'a' is asked for twice" },
        { { .values = twice, .n_values = 2 }, "'a' is asked for twice" },
        { { .values = taken, .n_values = 1 }, "'seq' is asked for twice" },
        { { .values = none, .n_values = 1 }, "without a name" },
        { { .values = twice, .n_values = 2, .max_values = 1 }, "at most 1" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_codec *c = NULL;
        ky_err err = { 0 };
        assert_int_equal(ky_codec_new(&cases[i].o, &c, &err), KY_EINVAL);
        assert_non_null(strstr(err.text, cases[i].says));
    }
    assert_string_equal(ky_codec_names[0], "json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_fields_are_read),
        cmocka_unit_test(all_but_values_may_be_absent_or_null),
        cmocka_unit_test(rows_are_steps),
        cmocka_unit_test(keys_may_come_in_any_order_and_unknown_ones_are_skipped),
        cmocka_unit_test(named_fields_are_read),
        cmocka_unit_test(missing_values_follow_the_setting),
        cmocka_unit_test(a_label_may_come_later),
        cmocka_unit_test(times_are_exact),
        cmocka_unit_test(written_times_are_read),
        cmocka_unit_test(names_are_unescaped_and_bounded),
        cmocka_unit_test(bad_messages_are_refused_with_the_reason),
        cmocka_unit_test(odd_but_valid_messages_mean_what_they_say),
        cmocka_unit_test(a_message_cut_anywhere_is_refused),
        cmocka_unit_test(large_messages_are_bounded),
        cmocka_unit_test(numbers_are_rounded_correctly),
        cmocka_unit_test(another_parser_reads_the_same),
        cmocka_unit_test(contradicting_options_are_refused),
    };

    return cmocka_run_group_tests(tests, make_codec, free_codec);
}
