/*
 * A strict JSON scanner (RFC 8259) over borrowed bytes, one pass, without allocation: the
 * tokens that codec_json.c makes samples of. What every number of every message goes
 * through is inline here; what is rare is in jsonscan.c. One scan belongs to one thread.
 *
 * Functions return KY_OK or KY_EREJECT, with the byte and the reason in the scan's err.
 */
#ifndef KY_JSONSCAN_H
#define KY_JSONSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "connectors/scan.h"

/* A string's bytes between its quotes, borrowed. */
typedef struct ky_text {
    const char *at;
    size_t len;
    bool escaped; /* holds backslashes: unescape before use */
    bool plain;   /* only printable ASCII, no backslash */
} ky_text;

/* A number: (-1)^negative * m * 10^e10, exactly so unless `cut`. */
typedef struct ky_number {
    uint64_t m; /* at most 19 significant digits */
    int64_t e10;
    bool negative;
    bool cut; /* digits behind the 19th were not all zero */
    const char *text;
    size_t len;
} ky_number;

/** At the beginning, behind a byte order mark if there is one. */
void ky_scan_init(ky_scan *s, const void *data, size_t len, ky_err *err);

/** A string; p on its opening quote. UTF-8, escapes and surrogates are checked. */
int ky_scan_string(ky_scan *s, ky_text *ret);

/** The bytes a string means; returns their number, or SIZE_MAX if they are more than cap. */
size_t ky_text_copy(const ky_text *t, char *buf, size_t cap);

/** `true`, `false` or `null`, whichever is given; p on its first letter. */
int ky_scan_word(ky_scan *s, const char *word);

/** Any value, checked and forgotten. */
int ky_scan_skip(ky_scan *s);

int ky_scan_number_slow(ky_scan *s, ky_number *n);
double ky_number_slow(const ky_number *n);

/** An integer, however it is written (41, 41.0, 4.1e1); false if it is none or does not fit. */
bool ky_number_integer(const ky_number *n, int64_t *ret);

/** n * 10^shift to the nearest integer, halves away from zero; false if it does not fit. */
bool ky_number_scaled(const ky_number *n, int shift, int64_t *ret);

/** The next byte that is not white space, or -1 at the end. */
static inline int ky_scan_peek(ky_scan *s)
{
    const uint8_t *p = s->p;

    while (p < s->end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    s->p = p;
    return p < s->end ? *p : -1;
}

static inline bool ky_scan_digit(const uint8_t *p, const uint8_t *end)
{
    return p < end && (uint8_t)(*p - '0') < 10;
}

/* How many of eight bytes are digits before the first that is none, and their value: word-parallel,
 * because how long numbers are is what no processor predicts. */
static inline int ky_scan_digits8(const uint8_t *p, uint64_t *ret)
{
    uint64_t w;

    memcpy(&w, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    w ^= 0x3030303030303030u; /* digits become 0 to 9; up to the first other no byte carries */
    uint64_t other = ((w + 0x7676767676767676u) | w) & 0x8080808080808080u;
    int n = other != 0 ? __builtin_ctzll(other) / 8 : 8;
    w = n > 0 ? w << (64 - 8 * n) : 0; /* zeros in front */
    w = w * 10 + (w >> 8);
    *ret = (((w & 0x000000ff000000ffu) * 0x000f424000000064u) +
            (((w >> 16) & 0x000000ff000000ffu) * 0x0000271000000001u)) >>
           32;
    return n;
}

/* The usual number at p: no exponent, at most 19 digits. Returns what is behind it, or NULL if it
 * is of another form or none at all. */
static inline __attribute__((always_inline)) const uint8_t *
ky_number_quick(const uint8_t *p, const uint8_t *end, ky_number *n)
{
    static const uint32_t tens[] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000
    };
    uint64_t m = 0, more;
    int k = 8;

    n->negative = p < end && *p == '-';
    p += n->negative;
    const uint8_t *first = p;
    while (ky_scan_digit(p, end))
        m = m * 10 + (uint64_t)(*p++ - '0');
    ptrdiff_t digits = p - first;
    if (digits == 0 || (digits > 1 && *first == '0'))
        return NULL;
    n->e10 = 0;
    if (p < end && *p == '.') {
        const uint8_t *fraction = ++p;
        while (k == 8 && end - p >= 8) {
            k = ky_scan_digits8(p, &more);
            m = m * tens[k] + more;
            p += k;
        }
        while (ky_scan_digit(p, end))
            m = m * 10 + (uint64_t)(*p++ - '0');
        n->e10 = fraction - p;
        digits += p - fraction;
        if (p == fraction)
            return NULL;
    }
    n->m = m;
    return digits > 19 || (p < end && (*p | 0x20) == 'e') ? NULL : p;
}

/** A number; p on its sign or first digit. */
static inline int ky_scan_number(ky_scan *s, ky_number *n)
{
    const uint8_t *behind = ky_number_quick(s->p, s->end, n);

    if (behind == NULL)
        return ky_scan_number_slow(s, n);
    n->text = (const char *)s->p;
    n->len = (size_t)(behind - s->p);
    n->cut = false;
    s->p = behind;
    return KY_OK;
}

/* Whether one division of exact doubles gives the number, correctly rounded (Clinger 1990); it then
 * fits a float, too. */
static inline bool ky_number_easy(const ky_number *n)
{
    return n->m <= (UINT64_C(1) << 53) && n->e10 <= 0 && n->e10 >= -22;
}

/* The division; the sign without a branch: signs are what no processor predicts. */
static inline double ky_number_divide(const ky_number *n)
{
    static const double ten[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    double d = (double)(int64_t)n->m / ten[-n->e10];
    uint64_t bits;

    memcpy(&bits, &d, sizeof(bits));
    bits ^= (uint64_t)n->negative << 63;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

/** The nearest double; infinite beyond the largest. */
static inline double ky_number_double(const ky_number *n)
{
    return !n->cut && ky_number_easy(n) ? ky_number_divide(n) : ky_number_slow(n);
}

#endif
