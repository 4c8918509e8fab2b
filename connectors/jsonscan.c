#include "connectors/jsonscan.h"

#include <stdio.h>
#include <stdlib.h>

void ky_scan_init(ky_scan *s, const void *data, size_t len, ky_err *err)
{
    static const uint8_t mark[] = { 0xef, 0xbb, 0xbf };

    s->begin = s->p = data;
    s->end = s->begin + len;
    s->format = "json";
    s->err = err;
    if (len >= sizeof(mark) && memcmp(data, mark, sizeof(mark)) == 0)
        s->p += sizeof(mark);
}

/* -- strings ---------------------------------------------------------------- */

/* Bytes of the UTF-8 sequence at p, 0 if it is none: overlong forms, surrogates and what is
 * beyond U+10FFFF are none (RFC 3629, the table of section 4). */
static int utf8_length(const uint8_t *p, const uint8_t *end)
{
    static const struct {
        uint8_t lead_lo, lead_hi, second_lo, second_hi, length;
    } forms[] = {
        { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
        { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        if (*p < forms[i].lead_lo || *p > forms[i].lead_hi)
            continue;
        int n = forms[i].length;
        if (end - p < n || p[1] < forms[i].second_lo || p[1] > forms[i].second_hi)
            return 0;
        for (int k = 2; k < n; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return n;
    }
    return 0;
}

/* The four hexadecimal digits of \uXXXX, -1 if they are none. */
static int hex4(const uint8_t *p, const uint8_t *end)
{
    int v = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = p[i], low = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v * 16 + c - '0';
        else if (low >= 'a' && low <= 'f')
            v = v * 16 + low - 'a' + 10;
        else
            return -1;
    }
    return v;
}

/* Bytes of the escape at p (a backslash) and the character it means; 0 if it is none. */
static int escape_length(const uint8_t *p, const uint8_t *end, uint32_t *ret)
{
    static const char letters[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";

    if (end - p < 2)
        return 0;
    const char *at = p[1] != '\0' ? strchr(letters, p[1]) : NULL;
    if (at != NULL) {
        *ret = (uint8_t)means[at - letters];
        return 2;
    }
    int v = p[1] == 'u' ? hex4(p + 2, end) : -1;
    if (v < 0 || (v >= 0xdc00 && v <= 0xdfff))
        return 0;
    *ret = (uint32_t)v;
    if (v < 0xd800 || v > 0xdbff)
        return 6;
    int low = end - p >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, end) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    *ret = 0x10000u + (((uint32_t)v - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    return 12;
}

/* Steps over one character that is not printable ASCII, or over an escape. */
static int scan_odd_character(ky_scan *s, const uint8_t **p, ky_text *t)
{
    uint32_t c;
    int n;

    s->p = *p;
    t->plain = false;
    if (**p < 0x20)
        return ky_scan_bad(s, "control character 0x%02x inside a string", **p);
    if (**p == '\\') {
        t->escaped = true;
        if ((n = escape_length(*p, s->end, &c)) == 0)
            return ky_scan_bad(s, "not an escape, or half of a surrogate pair");
    } else if (**p == 0x7f) {
        n = 1;
    } else if ((n = utf8_length(*p, s->end)) == 0) {
        return ky_scan_bad(s, "not UTF-8 (0x%02x)", **p);
    }
    *p += n;
    return KY_OK;
}

/* Steps over printable ASCII that is neither quote nor backslash, eight bytes at a time: in each
 * of these terms the lowest marked byte is exact, and the lowest is all that is asked for. */
static const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;

    while (end - p >= 8) {
        uint64_t w, quote, slash, del;
        memcpy(&w, p, 8);
        quote = w ^ ones * '"';
        slash = w ^ ones * '\\';
        del = w ^ ones * 0x7f;
        uint64_t odd = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) |
                        ((del - ones) & ~del) | ((w - ones * 0x20) & ~w) | w) &
                       high;
        if (odd != 0)
            return p + __builtin_ctzll(odd) / 8;
        p += 8;
    }
#endif
    while (p < end && *p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\')
        p++;
    return p;
}

int ky_scan_string(ky_scan *s, ky_text *ret)
{
    const uint8_t *p = s->p + 1, *first = p;

    ret->escaped = false;
    ret->plain = true;
    for (;;) {
        p = skip_plain(p, s->end);
        if (p == s->end) {
            s->p = p;
            return ky_scan_bad(s, "a string without its closing quote");
        }
        if (*p == '"')
            break;
        if (scan_odd_character(s, &p, ret) != KY_OK)
            return KY_EREJECT;
    }
    ret->at = (const char *)first;
    ret->len = (size_t)(p - first);
    s->p = p + 1;
    return KY_OK;
}

static size_t utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

size_t ky_text_copy(const ky_text *t, char *buf, size_t cap)
{
    const uint8_t *p = (const uint8_t *)t->at, *end = p + t->len;
    size_t len = 0;

    while (p < end) {
        char bytes[4];
        size_t n = 1;
        uint32_t c;

        if (*p == '\\') {
            p += escape_length(p, end, &c);
            n = utf8_encode(c, bytes);
        } else {
            bytes[0] = (char)*p++;
        }
        if (n > cap - len)
            return SIZE_MAX;
        memcpy(buf + len, bytes, n);
        len += n;
    }
    return len;
}

/* -- numbers ---------------------------------------------------------------- */

// clang-format off
static const uint64_t ten64[] = {
    1u, 10u, 100u, 1000u, 10000u, 100000u, 1000000u, 10000000u, 100000000u, 1000000000u,
    UINT64_C(10000000000), UINT64_C(100000000000), UINT64_C(1000000000000),
    UINT64_C(10000000000000), UINT64_C(100000000000000), UINT64_C(1000000000000000),
    UINT64_C(10000000000000000), UINT64_C(100000000000000000), UINT64_C(1000000000000000000),
    UINT64_C(10000000000000000000),
};
static const uint64_t five64[] = {
    1u, 5u, 25u, 125u, 625u, 3125u, 15625u, 78125u, 390625u, 1953125u, 9765625u, 48828125u,
    244140625u, 1220703125u, UINT64_C(6103515625), UINT64_C(30517578125), UINT64_C(152587890625),
    UINT64_C(762939453125), UINT64_C(3814697265625), UINT64_C(19073486328125),
    UINT64_C(95367431640625), UINT64_C(476837158203125), UINT64_C(2384185791015625),
    UINT64_C(11920928955078125), UINT64_C(59604644775390625), UINT64_C(298023223876953125),
    UINT64_C(1490116119384765625), UINT64_C(7450580596923828125),
};
// clang-format on

enum { DIGITS = 19, FIVES = 27, EXPONENT_MAX = 1000000000 };

/* m and e10 anew from the text, of its first 19 significant digits. */
static void cut_digits(ky_number *n, const uint8_t *p, const uint8_t *end)
{
    bool fraction = false;
    int taken = 0;

    n->m = 0;
    n->e10 = 0;
    for (; p < end && (*p == '.' || ky_scan_digit(p, end)); p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        if (taken < DIGITS) {
            n->m = n->m * 10 + (uint64_t)(*p - '0');
            taken += n->m != 0;
            n->e10 -= fraction;
        } else {
            n->cut |= *p != '0';
            n->e10 += !fraction;
        }
    }
}

/* The exponent of digits from p on; p on `e` or at the end. */
static int64_t exponent_at(const char *p, const char *end)
{
    int64_t e = 0;

    if (p == end)
        return 0;
    bool down = *++p == '-';
    for (p += *p == '-' || *p == '+'; p < end; p++)
        e = e < EXPONENT_MAX ? e * 10 + (*p - '0') : e;
    return down ? -e : e;
}

/* A number of any form, or what is wrong with it. */
int ky_scan_number_slow(ky_scan *s, ky_number *n)
{
    const uint8_t *p = s->p, *first, *digits_end;

    n->text = (const char *)p;
    n->negative = p < s->end && *p == '-';
    n->cut = false;
    p += n->negative;
    first = p;
    if (!ky_scan_digit(p, s->end))
        return ky_scan_bad(s, p < s->end && (*p | 0x20) >= 'i' && (*p | 0x20) <= 'n'
                                  ? "NaN and Infinity are not JSON"
                                  : "expected a value");
    while (ky_scan_digit(p, s->end))
        p++;
    bool bad = p - first > 1 && *first == '0';
    if (p < s->end && *p == '.') {
        bad |= !ky_scan_digit(++p, s->end);
        while (ky_scan_digit(p, s->end))
            p++;
    }
    digits_end = p;
    if (p < s->end && (*p | 0x20) == 'e') {
        p++;
        p += p < s->end && (*p == '-' || *p == '+');
        bad |= !ky_scan_digit(p, s->end);
        while (ky_scan_digit(p, s->end))
            p++;
    }
    n->len = (size_t)(p - s->p);
    s->p = p;
    if (bad)
        return ky_scan_bad(s, "not a number as JSON writes it");
    cut_digits(n, first, digits_end);
    n->e10 += exponent_at((const char *)digits_end, (const char *)p);
    return KY_OK;
}

/* d * 2^k, exactly, where the result is a normal number. */
static double shifted(double d, int k)
{
    uint64_t bits = (uint64_t)(k + 1023) << 52;
    double two_to_k;

    memcpy(&two_to_k, &bits, sizeof(two_to_k));
    return d * two_to_k;
}

/* m * 10^e for 0 <= e <= 27, rounded once: 5^27 fits 64 bits, the product 128. */
static double times_ten(uint64_t m, int e)
{
    return shifted((double)((unsigned __int128)m * five64[e]), e);
}

/* m / 10^e for 0 < e <= 27, rounded once: a quotient of at least 63 bits whose lowest says
 * whether anything was left over rounds like the true value. */
static double by_ten(uint64_t m, int e)
{
    int up = __builtin_clzll(m), up5 = __builtin_clzll(five64[e]);
    unsigned __int128 high = (unsigned __int128)(m << up) << 63;
    uint64_t d = five64[e] << up5;
    uint64_t q = (uint64_t)(high / d);

    q |= (uint64_t)high != q * d;
    return shifted((double)q, up5 - up - 63 - e);
}

/* By the library, which rounds correctly; digits without a point mean the same in every locale.
 * 768 digits and whether more follow decide any double. */
static double by_library(const ky_number *n)
{
    enum { ENOUGH = 800 };
    char text[ENOUGH + 40];
    size_t k = 0;
    int64_t e = 0;
    bool fraction = false, more = false;
    const char *p = n->text + n->negative, *end = n->text + n->len;

    for (; p < end && (*p | 0x20) != 'e'; p++) {
        if (*p == '.') {
            fraction = true;
        } else if (k < ENOUGH) {
            if (k > 0 || *p != '0')
                text[k++] = *p;
            e -= fraction;
        } else {
            more |= *p != '0';
            e += !fraction;
        }
    }
    if (more) {
        text[k++] = '1';
        e--;
    }
    snprintf(text + k, sizeof(text) - k, "e%lld", (long long)(e + exponent_at(p, end)));
    return strtod(text, NULL);
}

double ky_number_slow(const ky_number *n)
{
    double d;

    if (n->m == 0)
        d = 0;
    else if (!n->cut && n->e10 >= 0 && n->e10 <= FIVES)
        d = times_ten(n->m, (int)n->e10);
    else if (!n->cut && n->e10 < 0 && n->e10 >= -FIVES)
        d = by_ten(n->m, (int)-n->e10);
    else
        d = by_library(n);
    return n->negative ? -d : d;
}

bool ky_number_integer(const ky_number *n, int64_t *ret)
{
    uint64_t m = n->m;
    int64_t e = m == 0 ? 0 : n->e10;

    for (; e < 0 && m % 10 == 0; e++)
        m /= 10;
    if (n->cut || e < 0 || e > DIGITS || __builtin_mul_overflow(m, ten64[e], &m) ||
        m > (uint64_t)INT64_MAX)
        return false;
    *ret = n->negative ? -(int64_t)m : (int64_t)m;
    return true;
}

bool ky_number_scaled(const ky_number *n, int shift, int64_t *ret)
{
    int64_t e = n->e10 + shift;
    uint64_t m = n->m;

    if (m == 0 || e < -DIGITS) {
        *ret = 0;
        return true;
    }
    if (e >= 0) {
        if (e > DIGITS || __builtin_mul_overflow(m, ten64[e], &m))
            return false;
    } else {
        uint64_t d = ten64[-e], rest = m % d;
        m = m / d + (rest >= d - rest);
    }
    if (m > (uint64_t)INT64_MAX)
        return false;
    *ret = n->negative ? -(int64_t)m : (int64_t)m;
    return true;
}

/* -- values nobody asked for -------------------------------------------------- */

int ky_scan_word(ky_scan *s, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return ky_scan_bad(s, "expected a value");
    s->p += n;
    return KY_OK;
}

static int scan_scalar(ky_scan *s, int c)
{
    ky_text t;
    ky_number n;

    switch (c) {
    case '"':
        return ky_scan_string(s, &t);
    case 't':
        return ky_scan_word(s, "true");
    case 'f':
        return ky_scan_word(s, "false");
    case 'n':
        return s->end - s->p > 1 && s->p[1] == 'a' ? ky_scan_bad(s, "NaN is not JSON")
                                                   : ky_scan_word(s, "null");
    default:
        return ky_scan_number(s, &n);
    }
}

/* A key and its colon. */
static int scan_key(ky_scan *s)
{
    ky_text t;

    if (ky_scan_peek(s) != '"')
        return ky_scan_bad(s, "expected a key in quotes");
    if (ky_scan_string(s, &t) != KY_OK)
        return KY_EREJECT;
    if (ky_scan_peek(s) != ':')
        return ky_scan_bad(s, "expected ':'");
    s->p++;
    return KY_OK;
}

/* Behind a value inside `depth` open brackets: closes what closes; *ret_depth is 0 or the depth at
 * which another value follows. */
static int scan_closings(ky_scan *s, uint64_t objects, int *depth)
{
    while (*depth > 0) {
        bool object = objects >> (*depth - 1) & 1;
        int c = ky_scan_peek(s);

        if (c == ',') {
            s->p++;
            return object ? scan_key(s) : KY_OK;
        }
        if (c != (object ? '}' : ']'))
            return ky_scan_bad(s, "expected ',' or '%c'", object ? '}' : ']');
        s->p++;
        --*depth;
    }
    return KY_OK;
}

int ky_scan_skip(ky_scan *s)
{
    uint64_t objects = 0; /* bit d: the bracket at depth d is of an object */
    int depth = 0;

    do {
        int c = ky_scan_peek(s);
        if (c == '{' || c == '[') {
            if (depth == KY_SCAN_DEPTH)
                return ky_scan_bad(s, "nested deeper than %d", KY_SCAN_DEPTH);
            objects = (objects & ~(UINT64_C(1) << depth)) | (uint64_t)(c == '{') << depth;
            depth++;
            s->p++;
            if (ky_scan_peek(s) != (c == '{' ? '}' : ']')) {
                if (c == '{' && scan_key(s) != KY_OK)
                    return KY_EREJECT;
                continue;
            }
        } else if (scan_scalar(s, c) != KY_OK) {
            return KY_EREJECT;
        }
        if (scan_closings(s, objects, &depth) != KY_OK)
            return KY_EREJECT;
    } while (depth > 0);
    return KY_OK;
}
