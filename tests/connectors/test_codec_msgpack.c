/* The msgpack codec: the same samples as json, and everything it must refuse without harm. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/scan.h"
#include "models/rng.h"
#include "tests/connectors/codec.h"

static int make_codec(void **state)
{
    *state = codec_of((ky_codec_opts){ .format = "msgpack", .max_values = 1000 });
    return 0;
}

static void assert_refused(ky_codec *c, const void *bytes, size_t len, const char *reason)
{
    ky_sample s;
    ky_err err;

    if (decode_bytes(c, bytes, len, &s, &err) != KY_EREJECT)
        fail_msg("taken, not refused with '%s'", reason);
    if (strstr(err.text, reason) == NULL ||
        (strncmp(err.text, "msgpack: ", 9) != 0 && strstr(err.text, ": ") == NULL))
        fail_msg("'%s' does not say '%s'", err.text, reason);
}

/* -- a packer, by the specification ---------------------------------------------------- */

typedef struct packer {
    uint8_t at[1 << 16];
    size_t n;
    ky_rng rng;
} packer;

static packer pk;

static int below(int n)
{
    return (int)ky_rng_below(&pk.rng, (uint64_t)n);
}

static void byte(int b)
{
    pk.at[pk.n++] = (uint8_t)b;
}

static void big(uint64_t v, int bytes)
{
    while (bytes-- > 0)
        byte((int)(v >> (8 * bytes) & 0xff));
}

static void headed(int lead, uint64_t v, int bytes)
{
    byte(lead);
    big(v, bytes);
}

/* A length in one of the forms that hold it: fix (if limit > 0), then of 1, 2 or 4 bytes. */
static void sized(int fix, size_t limit, const int lead[3], size_t n)
{
    int form = below(4) - 1;

    if (form < 0 && n < limit) {
        byte(fix | (int)n);
        return;
    }
    form = form < 0 ? 0 : form;
    while (lead[form] == 0 || (form < 2 && n >> (8 << form) != 0))
        form++;
    headed(lead[form], n, 1 << form);
}

static void pack_map(size_t n)
{
    sized(0x80, 16, (const int[]){ 0, 0xde, 0xdf }, n);
}

static void pack_array(size_t n)
{
    sized(0x90, 16, (const int[]){ 0, 0xdc, 0xdd }, n);
}

static void pack_bin(const void *bytes, size_t n)
{
    sized(0, 0, (const int[]){ 0xc4, 0xc5, 0xc6 }, n);
    memcpy(pk.at + pk.n, bytes, n);
    pk.n += n;
}

static void pack_str(const char *s)
{
    size_t n = strlen(s);

    sized(0xa0, 32, (const int[]){ 0xd9, 0xda, 0xdb }, n);
    memcpy(pk.at + pk.n, s, n);
    pk.n += n;
}

static void pack_f32(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    headed(0xca, bits, 4);
}

static void pack_f64(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof(bits));
    headed(0xcb, bits, 8);
}

/* In any of the forms that hold it. */
static void pack_int(int64_t v)
{
    int form = below(4);

    if (below(2) && v >= -32 && v < 128) {
        byte((int)(v & 0xff));
    } else if (v >= 0 && below(2)) {
        while (form < 3 && v >> (8 << form) != 0)
            form++;
        headed(0xcc + form, (uint64_t)v, 1 << form);
    } else {
        while (form < 3 &&
               (v >= INT64_C(1) << ((8 << form) - 1) || v < -(INT64_C(1) << ((8 << form) - 1))))
            form++;
        headed(0xd0 + form, (uint64_t)v, 1 << form);
    }
}

static void pack_anything(int depth)
{
    switch (below(depth < 5 ? 9 : 6)) {
    case 0:
        pack_int((int64_t)ky_rng_u64(&pk.rng) >> below(64));
        break;
    case 1:
        pack_f64(ky_rng_normal(&pk.rng));
        break;
    case 2:
        byte(0xc0 + 2 * below(2)); /* nil, false */
        break;
    case 3:
        pack_str("\xff is no UTF-8, and nobody looks");
        break;
    case 4: /* extensions: fixed, and of any length */
        headed(0xd4 + below(5), 7, 1);
        pk.n += (size_t)1 << (pk.at[pk.n - 2] - 0xd4);
        break;
    case 5:
        headed(0xc8, 300, 2);
        byte(-2 & 0xff);
        pk.n += 300;
        break;
    case 6:
        pack_bin("bytes", 5);
        break;
    default: {
        bool map = below(2);
        int n = below(depth == 0 ? 20 : 3);
        map ? pack_map((size_t)n) : pack_array((size_t)n);
        for (int i = 0; i < (map ? 2 * n : n); i++)
            pack_anything(depth + 1);
    }
    }
}

static int decode_packed(ky_codec *c, ky_sample *s, ky_err *err)
{
    return decode_bytes(c, pk.at, pk.n, s, err);
}

static ky_sample decoded(ky_codec *c)
{
    ky_sample s;
    ky_err err;

    if (decode_packed(c, &s, &err) != KY_OK)
        fail_msg("%s", err.text);
    return s;
}

/* -- what it takes ------------------------------------------------------------------------ */

#define BYTES(text) text, sizeof(text) - 1

static ky_sample decode(ky_codec *c, const char *bytes, size_t len)
{
    ky_sample s;
    ky_err err;

    if (decode_bytes(c, bytes, len, &s, &err) != KY_OK)
        fail_msg("%s", err.text);
    return s;
}

/* Bytes by msgpack-python 1.2.4. */
static void what_another_packer_writes_is_read(void **state)
{
    /* packb({"stream": "pump-7", "ts": 1732290000.125, "seq": 41, "x": [1, -2.5, 300.0],
     *  "label": "worn", "start": True, "end": False, "reset": True}) */
    ky_sample s = decode(
        *state,
        BYTES("\x88\xa6stream\xa6pump-7\xa2ts\xcb\x41\xd9\xd0\x29\x74\x08\x00\x00\xa3seq)\xa1x\x93"
              "\x01\xcb\xc0\x04\x00\x00\x00\x00\x00\x00\xcb\x40\x72\xc0\x00\x00\x00\x00\x00"
              "\xa5label\xa4worn\xa5start\xc3\xa3"
              "end\xc2\xa5reset\xc3"));

    assert_text(s.stream, s.stream_len, "pump-7");
    assert_int_equal(s.ts_us, INT64_C(1732290000125000));
    assert_int_equal(s.seq, 41);
    assert_int_equal(s.steps, 1);
    assert_int_equal(s.features, 3);
    assert_true(s.x[0] == 1.0f && s.x[1] == -2.5f && s.x[2] == 300.0f);
    assert_text(s.label, s.label_len, "worn");
    assert_int_equal(s.flags, KY_START | KY_RESET);

    /* packb({"x": 1, "ts": datetime(2024, 11, 22, 15, 40, 0, 125000, utc)}, datetime=True) */
    s = decode(*state, BYTES("\x82\xa1x\x01\xa2ts\xd7\xff\x1d\xcd\x65\x00\x67\x40\xa5\xd0"));
    assert_int_equal(s.ts_us, INT64_C(1732290000125000));
}

/* From the specification's examples of the three forms. */
static void timestamps_are_read(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int64_t us;
    } cases[] = {
        { BYTES("\x82\xa1x\x01\xa2ts\xd6\xff\x00\x00\x00\x00"), 0 },
        { BYTES("\x82\xa1x\x01\xa2ts\xd6\xff\xff\xff\xff\xff"), INT64_C(4294967295000000) },
        { BYTES("\x82\xa1x\x01\xa2ts\xd7\xff\x00\x00\x0f\xa0\x00\x00\x00\x01"), 1000001 },
        { BYTES("\x82\xa1x\x01\xa2ts\xd7\xff\x00\x00\x00\x03\x00\x00\x00\x00"),
          INT64_C(12884901888000000) },
        { BYTES("\x82\xa1x\x01\xa2ts\xd7\xff\xee\x6b\x27\xfc\x00\x00\x00\x00"), 1000000 },
        { BYTES("\x82\xa1x\x01\xa2ts\xc7\x0c\xff\x00\x00\x01\xf4\xff\xff\xff\xff\xff\xff\xff\xff"),
          -999999 },
        { BYTES("\x82\xa1x\x01\xa2ts\xc7\x0c\xff\x00\x00\x01\xf3\xff\xff\xff\xff\xff\xff\xff\xff"),
          -1000000 },
        { BYTES("\x82\xa1x\x01\xa2ts\xc7\x04\xff\x00\x00\x00\x07"), 7000000 },
        { BYTES("\x82\xa1x\x01\xa2ts\xb4"
                "2024-11-22T15:40:00Z"),
          INT64_C(1732290000000000) },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(decode(*state, cases[i].bytes, cases[i].len).ts_us, cases[i].us);
}

static void numbers_of_time_follow_the_unit(void **state)
{
    static const struct {
        double number;
        int64_t us[4]; /* by time unit: s, ms, us, ns */
    } cases[] = {
        { 0, { 0, 0, 0, 0 } },
        { 1732290000.125, { 1732290000125000, 1732290000125, 1732290000, 1732290 } },
        { 1732290000.123456, { 1732290000123456, 1732290000123, 1732290000, 1732290 } },
        { -1.5, { -1500000, -1500, -2, 0 } },
        { 1500, { 1500000000, 1500000, 1500, 2 } },
        { 499.75, { 499750000, 499750, 500, 0 } },
    };
    const int64_t units[] = { 1000000000, 1000000, 1000, 1 };

    (void)state;
    for (int u = 0; u < 4; u++) {
        ky_codec *c = codec_of((ky_codec_opts){ .format = "msgpack", .time_unit_ns = units[u] });
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
            for (int whole = 0; whole < 2; whole++) {
                if (whole && cases[i].number != trunc(cases[i].number))
                    continue;
                pk.n = 0;
                byte(0x82);
                pack_str("x");
                byte(1);
                pack_str("ts");
                whole ? pack_int((int64_t)cases[i].number) : pack_f64(cases[i].number);
                assert_int_equal(decoded(c).ts_us, cases[i].us[u]);
            }
        }
        ky_codec_free(c);
    }
}

static void a_bin_is_little_endian_floats(void **state)
{
    ky_sample s = decode(*state, BYTES("\x81\xa1x\xc4\x08\x00\x00\x80\x3f\x00\x00\x00\xc0"));

    assert_int_equal(s.steps, 1);
    assert_int_equal(s.features, 2);
    assert_true(s.x[0] == 1.0f && s.x[1] == -2.0f);
    s = decode(*state, BYTES("\x81\xa1x\x92\xc4\x04\x00\x00\x80\x3f\x91\x05")); /* rows of both */
    assert_int_equal(s.steps, 2);
    assert_true(s.x[0] == 1.0f && s.x[1] == 5.0f);
    assert_refused(*state, BYTES("\x81\xa1x\xc4\x03\x00\x00\x80"), "3 bytes are no number of 32");
    assert_refused(*state, BYTES("\x81\xa1x\xc4\x00"), "no values");
    assert_refused(*state, BYTES("\x81\xa1x\xc4\x04\x00\x00\x80\x7f"), "value 1 is infinite");
    assert_refused(*state, BYTES("\x81\xa1x\xc4\x04\x00\x00\xc0\x7f"), "value 1 is NaN");
}

static void nil_and_nan_follow_the_setting(void **state)
{
    static const char nil[] = "\x81\xa1x\x93\x01\xc0\x03",
                      nan32[] = "\x81\xa1x\x93\x01\xca\x7f\xc0\x00\x00\x03",
                      nan64[] = "\x81\xa1x\x93\x01\xcb\xff\xf8\x00\x00\x00\x00\x00\x01\x03",
                      bin[] = "\x81\xa1x\xc4\x0c\x00\x00\x80\x3f\x01\x00\xc0\xff\x00\x00\x40\x40";
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = { { BYTES(nil) }, { BYTES(nan32) }, { BYTES(nan64) }, { BYTES(bin) } };
    ky_codec *zero = codec_of((ky_codec_opts){ .format = "msgpack", .missing = KY_MISSING_ZERO });
    ky_codec *hold = codec_of((ky_codec_opts){ .format = "msgpack", .missing = KY_MISSING_HOLD });
    const float hole = NAN;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_sample s = decode(zero, cases[i].bytes, cases[i].len);
        assert_true(s.x[0] == 1.0f && s.x[1] == 0.0f && s.x[2] == 3.0f && s.holes == 0);
        s = decode(hold, cases[i].bytes, cases[i].len);
        assert_memory_equal(&s.x[1], &hole, sizeof(hole)); /* no bits of the sender's */
        assert_true(s.x[0] == 1.0f && s.x[2] == 3.0f && s.holes == 1);
        assert_refused(*state, cases[i].bytes, cases[i].len,
                       i == 0 ? "value in 'x' is missing" : "is NaN");
    }
    ky_codec_free(zero);
    ky_codec_free(hold);
}

static void named_fields_are_read(void **state)
{
    static const char *const axes[] = { "ax", "ay", "a rather long name" };
    ky_codec *c = codec_of((ky_codec_opts){ .format = "msgpack",
                                            .stream_field = "device",
                                            .time_field = "t",
                                            .label_field = "state",
                                            .values = axes,
                                            .n_values = 3,
                                            .time_unit_ns = 1000000 });

    (void)state;
    pk.n = 0;
    byte(0x87);
    pack_str("t"), pack_int(1500);
    pack_str("a rather long name"), pack_int(3);
    pack_str("x"), pack_str("nobody reads this");
    pack_str("ax"), pack_f32(1);
    pack_str("device"), pack_int(17);
    pack_bin("ay", 2), pack_f64(2);
    pack_str("state"), pack_int(-4);
    ky_sample s = decoded(c);
    assert_text(s.stream, s.stream_len, "17");
    assert_text(s.label, s.label_len, "-4");
    assert_int_equal(s.ts_us, 1500000);
    assert_int_equal(s.features, 3);
    assert_true(s.x[0] == 1.0f && s.x[1] == 2.0f && s.x[2] == 3.0f);
    assert_refused(c,
                   BYTES("\x82\xa2"
                         "ax\x01\xa2"
                         "ay\x02"),
                   "value a rather long name is missing");
    assert_refused(c,
                   BYTES("\x81\xa2"
                         "ax\x91\x01"),
                   "value ax must be a number");
    ky_codec_free(c);
}

/* -- what it refuses ------------------------------------------------------------------------ */

static void bad_messages_are_refused_with_the_reason(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *reason;
    } cases[] = {
        { BYTES(""), "empty message" },
        { BYTES("\x90"), "one map" },
        { BYTES("\x01"), "one map" },
        { BYTES("\xc0"), "one map" },
        { BYTES("\xc1"), "0xc1" },
        { BYTES("{\"x\":1}"), "one map" },
        { BYTES("\x80"), "no values and no label" },
        { BYTES("\x81\xa6stream\xa1"
                "a"),
          "no values" },
        { BYTES("\x82\xa6stream\xa1"
                "a\xa5label\xa1"
                "b"),
          "seq or ts" },
        { BYTES("\x83\xa3seq\x01\xa5label\xa1"
                "b\xa3"
                "end\xc3"),
          "need values" },
        { BYTES("\x81\xa1x\x01\xc0"), "more bytes behind the map" },
        { BYTES("\x81\xa1x\x01\x81\xa1x\x01"), "more bytes" },
        { BYTES("\x82\xa1x\x01"), "it says that 2 pairs follow, the message has 3 more bytes" },
        { BYTES("\x82\xa1x\x01\xa1y"), "expected a value" },
        { BYTES("\x82\xa1x\x01\xa1x\x01"), "key 'x' stands twice" },
        { BYTES("\x82\xa1x\x01\xc4\x01x\x01"), "key 'x' stands twice" },
        { BYTES("\x83\xa1u\x01\xa1x\x01\xa1u\x01"), "key 'u' stands twice" },
        { BYTES("\x83\xa1u\x01\xa1x\x01\xc4\x01u\x01"), "key 'u' stands twice" },
        { BYTES("\x83\xa2\x1b[\x01\xa1x\x01\xa2\x1b[\x01"), "a key of 2 bytes stands twice" },
        { BYTES("\x82\x01\x02\xa1x\x01"), "a key must be a string" },
        { BYTES("\x82\xc0\x02\xa1x\x01"), "a key must be a string" },
        { BYTES("\x82\x90\x02\xa1x\x01"), "a key must be a string" },
        { BYTES("\x81\xa1x\x90"), "no values" },
        { BYTES("\x81\xa1x\x91\x90"), "a row without values" },
        { BYTES("\x81\xa1x\x92\x91\x01\x90"), "row 2 has 0 values, the first has 1" },
        { BYTES("\x81\xa1x\x92\x92\x01\x02\x91\x03"), "row 2 has 1 values, the first has 2" },
        { BYTES("\x81\xa1x\x92\x91\x01\x03"), "another row" },
        { BYTES("\x81\xa1x\x92\x01\x91\x03"), "must be a number" },
        { BYTES("\x81\xa1x\x91\x91\x91\x01"), "must be a number" },
        { BYTES("\x81\xa1x\xa1\x31"), "must be a number" },
        { BYTES("\x81\xa1x\xc3"), "must be a number" },
        { BYTES("\x81\xa1x\x80"), "must be a number" },
        { BYTES("\x81\xa1x\xd4\x01\x00"), "must be a number" },
        { BYTES("\x81\xa1x\xc0"), "missing" },
        { BYTES("\x81\xa1x\xca\x7f\xc0\x00\x00"), "NaN" },
        { BYTES("\x81\xa1x\xca\x7f\x80\x00\x00"), "inf is beyond the largest 32-bit float" },
        { BYTES("\x81\xa1x\xca\xff\x80\x00\x00"), "-inf is beyond" },
        { BYTES("\x81\xa1x\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"), "inf is beyond" },
        { BYTES("\x81\xa1x\xcb\x48\x00\x00\x00\x00\x00\x00\x00"), "beyond the largest 32-bit" },
        { BYTES("\x81\xa1x\x91\xcb\x48\x00\x00\x00\x00\x00\x00\x00"), "beyond the largest 32-bit" },
        { BYTES("\x81\xa1x\xca\x7f\x80\x00"), "expected 4 more bytes" },
        { BYTES("\x81\xa1x\xdd\xff\xff\xff\xff"), "4294967295 elements follow" },
        { BYTES("\x81\xa1x\xdc\x00\x02\x01"), "2 elements follow, the message has 1 more" },
        { BYTES("\x81\xa1x\xc6\xff\xff\xff\xff"), "4294967295 bytes follow" },
        { BYTES("\xdf\xff\xff\xff\xff\xa1x\x01"), "4294967295 pairs follow" },
        { BYTES("\x82\xa1u\xdf\xff\xff\xff\xff\xa1x\x01"), "4294967295 pairs follow" },
        { BYTES("\x82\xa1u\xdb\xff\xff\xff\xff\xa1x\x01"), "4294967295 bytes follow" },
        { BYTES("\x82\xa1u\xc9\xff\xff\xff\xff\x01\xa1x\x01"), "4294967295 bytes follow" },
        { BYTES("\x82\xa1u\xc1\xa1x\x01"), "0xc1" },
        { BYTES("\x82\xa6stream\xa0\xa1x\x01"), "stream id: empty" },
        { BYTES("\x82\xa6stream\x90\xa1x\x01"), "string or an integer" },
        { BYTES("\x82\xa6stream\xc3\xa1x\x01"), "string or an integer" },
        { BYTES("\x82\xa6stream\xca\x3f\x80\x00\x00\xa1x\x01"), "not an integer" },
        { BYTES("\x82\xa6stream\xcf\x80\x00\x00\x00\x00\x00\x00\x00\xa1x\x01"), "not an integer" },
        { BYTES("\x82\xa6stream\xa3"
                "a\nb\xa1x\x01"),
          "control character U+000A" },
        { BYTES("\x82\xa6stream\xa3"
                "a\0b\xa1x\x01"),
          "control character U+0000" },
        { BYTES("\x82\xa6stream\xc4\x01\xff\xa1x\x01"), "not UTF-8" },
        { BYTES("\x82\xa5label\xa2\xc2\x9b\xa1x\x01"), "control character U+009B" },
        { BYTES("\x82\xa3seq\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xa1x\x01"), "integer of 64 bits" },
        { BYTES("\x82\xa3seq\xcf\x80\x00\x00\x00\x00\x00\x00\x00\xa1x\x01"), "integer of 64 bits" },
        { BYTES("\x82\xa3seq\xcb\x43\xe0\x00\x00\x00\x00\x00\x00\xa1x\x01"), "integer of 64 bits" },
        { BYTES("\x82\xa3seq\xca\x7f\xc0\x00\x00\xa1x\x01"), "integer of 64 bits" },
        { BYTES("\x82\xa3seq\xa1\x31\xa1x\x01"), "integer of 64 bits" },
        { BYTES("\x82\xa2ts\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa1x\x01"), "years 0 to 9999" },
        { BYTES("\x82\xa2ts\xcb\x42\x79\x35\x44\x0c\x64\x00\x00\xa1x\x01"), "time_unit right?" },
        { BYTES("\x82\xa2ts\xca\x7f\xc0\x00\x00\xa1x\x01"), "years 0 to 9999" },
        { BYTES("\x82\xa2ts\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00\xa1x\x01"), "years 0 to 9999" },
        { BYTES("\x82\xa2ts\xcb\xfe\x37\xe4\x3c\x88\x00\x75\x9c\xa1x\x01"), "years 0 to 9999" },
        { BYTES("\x82\xa2ts\xa8tomorrow\xa1x\x01"), "'tomorrow' is not a time as RFC 3339" },
        { BYTES("\x82\xa2ts\xc4\x02\x1b[\xa1x\x01"), "not a time as RFC 3339" },
        { BYTES("\x82\xa2ts\xc3\xa1x\x01"), "a number, a timestamp or a string" },
        { BYTES("\x82\xa2ts\xd6\x01\x00\x00\x00\x00\xa1x\x01"), "extension type 1" },
        { BYTES("\x82\xa2ts\xd4\xff\x00\xa1x\x01"), "a timestamp of 1 bytes" },
        { BYTES("\x82\xa2ts\xd7\xff\xee\x6b\x28\x00\x00\x00\x00\x00\xa1x\x01"), "years 0 to 9999" },
        { BYTES("\x82\xa2ts\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff\xa1x\x01"),
          "years 0 to 9999" },
        { BYTES("\x82\xa5start\x01\xa1x\x01"), "true or false" },
        { BYTES("\x82\xa5start\xa4true\xa1x\x01"), "true or false" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_refused(*state, cases[i].bytes, cases[i].len, cases[i].reason);
    assert_true(decode(*state, BYTES("\x81\xa1x\x01")).x[0] == 1.0f); /* and the next is as ever */
}

static void nested_and_endless_messages_are_bounded(void **state)
{
    enum { DEEP = 100000 };
    static const uint8_t open[] = { 0x91, 0x81 };
    uint8_t *deep = malloc(DEEP);
    ky_sample s;
    ky_err err;

    for (int k = 0; k < 2; k++) {
        memset(deep, open[k], DEEP);
        memcpy(deep, "\x81\xa1u", 3);
        assert_refused(*state, deep, DEEP, "nested deeper than 64");
        memcpy(deep, "\x81\xa1x", 3);
        assert_refused(*state, deep, DEEP, "number");
    }
    for (int levels = KY_SCAN_DEPTH; levels <= KY_SCAN_DEPTH + 1; levels++) {
        pk.n = 0;
        byte(0x82);
        pack_str("x"), byte(1);
        pack_str("u");
        for (int i = 0; i < levels; i++)
            byte(0x91);
        byte(0xc0);
        assert_int_equal(decode_packed(*state, &s, &err),
                         levels > KY_SCAN_DEPTH ? KY_EREJECT : KY_OK);
    }
    for (int keys = 1024; keys <= 1025; keys++) {
        pk.n = 0;
        headed(0xde, (uint64_t)keys + 1, 2);
        pack_str("x"), byte(1);
        for (int i = 0; i < keys; i++) {
            headed(0xa4, (uint64_t)i, 4);
            byte(0);
        }
        int rc = decode_packed(*state, &s, &err);
        assert_int_equal(rc, keys > 1024 ? KY_EREJECT : KY_OK);
        assert_true(rc == KY_OK || strstr(err.text, "more than 1024 keys") != NULL);
    }
    free(deep);
}

static void more_values_than_allowed_are_refused(void **state)
{
    static float x[1001];

    for (int rows = 0; rows < 2; rows++)
        for (int bin = 0; bin < 2; bin++) {
            pk.n = 0;
            byte(0x81);
            pack_str("x");
            if (rows)
                pack_array(1);
            if (bin)
                pack_bin(x, sizeof(x));
            else
                pack_array(1001);
            for (int i = 0; i < 1001 && !bin; i++)
                byte(0);
            assert_refused(*state, pk.at, pk.n, "more than 1000 values");
        }
}

/* -- beside json -------------------------------------------------------------------------- */

typedef struct written {
    char text[4096];
    int n;
} written;

static void __attribute__((format(printf, 2, 3))) say(written *w, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    w->n += vsnprintf(w->text + w->n, sizeof(w->text) - (size_t)w->n, fmt, ap);
    va_end(ap);
}

/* One value, in both; json in the nearest decimals, which mean the same double. */
static void say_value(written *w)
{
    static const double odd[] = { 0, -0.0, 0x1p-149, 4.9e-324, 0x1.fffffep127, 0x1.fffffefp127 };
    int64_t v = (int64_t)ky_rng_u64(&pk.rng) >> below(64);
    double d = below(8) == 0 ? odd[below(6)] : ky_rng_normal(&pk.rng) * pow(10, below(40) - 20);

    switch (below(5)) {
    case 0:
        pack_int(v);
        say(w, "%lld", (long long)v);
        break;
    case 1:
        byte(0xc0);
        say(w, "null");
        break;
    case 2:
        pack_f64(d);
        say(w, "%.17g", d);
        break;
    default:
        d = (double)(float)d;
        d = isinf(d) ? 1 : d;
        pack_f32((float)d);
        say(w, "%.17g", d);
    }
}

static void say_values(written *w)
{
    int T = below(4), F = 1 + below(20);

    if (T == 0 && F == 1) {
        say_value(w);
        return;
    }
    say(w, "[");
    if (T > 0)
        pack_array((size_t)T);
    for (int t = 0; t < (T > 0 ? T : 1); t++) {
        say(w, T > 0 ? t > 0 ? ",[" : "[" : "");
        pack_array((size_t)F);
        for (int f = 0; f < F; f++) {
            say(w, f > 0 ? "," : "");
            say_value(w);
        }
        say(w, T > 0 ? "]" : "");
    }
    say(w, "]");
}

static void say_name(written *w)
{
    static const char *const names[] = { "pump-7", "\xc3\xa9\xf0\x9f\x98\x80", "7", "a b c",
                                         "a name that is longer than thirty-one bytes" };
    const char *name = names[below(5)];

    if (below(4) == 0) {
        int64_t v = (int64_t)ky_rng_u64(&pk.rng) >> below(64);
        pack_int(v);
        say(w, "%lld", (long long)v);
        return;
    }
    below(2) ? pack_str(name) : pack_bin(name, strlen(name));
    say(w, "\"%s\"", name);
}

static void say_field(written *w, int k)
{
    int64_t us = (int64_t)ky_rng_below(&pk.rng, 4000000000000000);
    bool yes = below(2);

    switch (k) {
    case 0:
    case 4:
        say_name(w);
        break;
    case 1:
        pack_f64((double)us / 1e6);
        say(w, "%lld.%06lld", (long long)us / 1000000, (long long)us % 1000000);
        break;
    case 2:
        pack_int(us);
        say(w, "%lld", (long long)us);
        break;
    case 3:
        say_values(w);
        break;
    case 8:
        pack_anything(0);
        say(w, "null");
        break;
    default:
        byte(yes ? 0xc3 : 0xc2);
        say(w, yes ? "true" : "false");
    }
}

/* The same sample in both formats, its fields in any order. */
static void say_sample(written *w)
{
    static const char *const keys[] = { "stream", "ts",  "seq",   "x",   "label",
                                        "start",  "end", "reset", "more" };
    unsigned with = (unsigned)ky_rng_below(&pk.rng, 512) | 1 << 3;
    int first = below(9), said = 0;

    w->n = 0;
    pk.n = 0;
    pack_map((size_t)__builtin_popcount(with));
    say(w, "{");
    for (int i = 0; i < 9; i++) {
        int k = (first + i) % 9;

        if ((with >> k & 1) == 0)
            continue;
        below(4) ? pack_str(keys[k]) : pack_bin(keys[k], strlen(keys[k]));
        say(w, "%s\"%s\":", said++ > 0 ? "," : "", keys[k]);
        say_field(w, k);
    }
    say(w, "}");
}

static void assert_same_name(const char *a, size_t a_len, const char *b, size_t b_len)
{
    assert_true((a == NULL) == (b == NULL));
    if (a == NULL)
        return;
    assert_int_equal(a_len, b_len);
    assert_memory_equal(a, b, a_len);
}

static void assert_same(const ky_sample *a, const ky_sample *b)
{
    assert_same_name(a->stream, a->stream_len, b->stream, b->stream_len);
    assert_same_name(a->label, a->label_len, b->label, b->label_len);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->ts_us, b->ts_us);
    assert_int_equal(a->steps, b->steps);
    assert_int_equal(a->features, b->features);
    assert_int_equal(a->holes, b->holes);
    assert_int_equal(a->flags, b->flags);
    assert_memory_equal(a->x, b->x, sizeof(float) * (size_t)(a->steps * a->features));
}

static void json_and_msgpack_give_the_same_sample(void **state)
{
    static written w;
    ky_codec_opts o = { .format = "msgpack", .missing = KY_MISSING_HOLD, .max_values = 1000 };
    ky_codec *msgpack = codec_of(o), *json;

    (void)state;
    o.format = "json";
    json = codec_of(o);
    ky_rng_seed(&pk.rng, 11);
    for (int i = 0; i < 20000; i++) {
        ky_sample a, b;
        ky_err err;

        say_sample(&w);
        if (ky_codec_decode(json, w.text, (size_t)w.n, &a, &err) != KY_OK)
            fail_msg("%s: %s", w.text, err.text);
        if (decode_packed(msgpack, &b, &err) != KY_OK)
            fail_msg("%s: %s", w.text, err.text);
        assert_same(&a, &b);
    }
    ky_codec_free(json);
    ky_codec_free(msgpack);
}

/* -- damaged messages --------------------------------------------------------------------- */

static void a_message_cut_anywhere_is_refused(void **state)
{
    static written w;
    ky_codec *c = codec_of((ky_codec_opts){ .format = "msgpack", .missing = KY_MISSING_ZERO });
    size_t cut = 0;

    (void)state;
    ky_rng_seed(&pk.rng, 12);
    for (int i = 0; i < 50; i++) {
        ky_sample s;
        ky_err err;

        say_sample(&w);
        for (size_t n = 0; n < pk.n; n++, cut++) {
            assert_int_equal(decode_bytes(c, pk.at, n, &s, &err), KY_EREJECT);
            assert_true(err.text[0] != '\0');
        }
        assert_int_equal(decode_packed(c, &s, &err), KY_OK);
    }
    assert_true(cut > 2000);
    ky_codec_free(c);
}

static void a_changed_byte_does_no_harm(void **state)
{
    static written w;
    int taken = 0;

    ky_rng_seed(&pk.rng, 13);
    for (int i = 0; i < 20000; i++) {
        ky_sample s;
        ky_err err;

        say_sample(&w);
        for (int k = below(3); k >= 0; k--)
            pk.at[below((int)pk.n)] = (uint8_t)below(256);
        int rc = decode_packed(*state, &s, &err);
        assert_true(rc == KY_OK || (rc == KY_EREJECT && err.text[0] != '\0'));
        if (rc != KY_OK)
            continue;
        taken++;
        for (int k = 0; k < s.steps * s.features; k++)
            assert_true(isfinite(s.x[k]));
        if (s.stream != NULL)
            assert_int_equal(ky_codec_check_name("", s.stream, s.stream_len, KY_STREAM_MAX, NULL),
                             KY_OK);
    }
    assert_true(taken > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_another_packer_writes_is_read),
        cmocka_unit_test(timestamps_are_read),
        cmocka_unit_test(numbers_of_time_follow_the_unit),
        cmocka_unit_test(a_bin_is_little_endian_floats),
        cmocka_unit_test(nil_and_nan_follow_the_setting),
        cmocka_unit_test(named_fields_are_read),
        cmocka_unit_test(bad_messages_are_refused_with_the_reason),
        cmocka_unit_test(nested_and_endless_messages_are_bounded),
        cmocka_unit_test(more_values_than_allowed_are_refused),
        cmocka_unit_test(json_and_msgpack_give_the_same_sample),
        cmocka_unit_test(a_message_cut_anywhere_is_refused),
        cmocka_unit_test(a_changed_byte_does_no_harm),
    };

    return cmocka_run_group_tests(tests, make_codec, free_codec);
}
