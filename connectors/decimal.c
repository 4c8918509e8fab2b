#include "connectors/decimal.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Nine digits of a float are m * 2^e * 10^k, rounded half to even: exact in 128 bits while k is at
 * most 19 and e at least -63, which is so from 1e-11 on. */
enum { DIGITS = 9, TENS = 20, MANTISSA = 24, LEAST_EXPONENT = -60, MOST_EXPONENT = 6 };

static const uint64_t ten[TENS] = {
    1u,
    10u,
    100u,
    1000u,
    10000u,
    100000u,
    1000000u,
    10000000u,
    100000000u,
    1000000000u,
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    UINT64_C(10000000000000000),
    UINT64_C(100000000000000000),
    UINT64_C(1000000000000000000),
    UINT64_C(10000000000000000000),
};

/* m * 2^e * 10^k to the nearest integer, halves to the even one; e <= MOST_EXPONENT. */
static uint64_t scaled(uint32_t m, int e, int k)
{
    unsigned __int128 v = (unsigned __int128)m * ten[k];

    if (e >= 0)
        return (uint64_t)(v << e);
    uint64_t whole = (uint64_t)(v >> -e), rest = (uint64_t)(v & ((UINT64_C(1) << -e) - 1)),
             half = UINT64_C(1) << (-e - 1);
    return whole + (rest > half || (rest == half && (whole & 1) != 0));
}

/* The nine digits and the power of ten of the first one; false if that is not for us. */
static bool nine_digits(uint32_t m, int e, uint64_t *ret, int *ret_power)
{
    /* The power from the binary one (log10 2 = 0.30103): at most one too small. */
    int bits = e + MANTISSA - 1, power = (bits * 30103 - (bits < 0 ? 99999 : 0)) / 100000;
    int k = DIGITS - 1 - power;

    if (k < 0 || k >= TENS)
        return false;
    uint64_t v = scaled(m, e, k);
    if (v >= ten[DIGITS]) { /* once more, as digits are rounded only once */
        if (k == 0)
            return false;
        power++;
        v = scaled(m, e, k - 1);
    }
    *ret = v;
    *ret_power = power;
    return v >= ten[DIGITS - 1] && v < ten[DIGITS];
}

/* Digits with a point behind the first (power + 1) of them, %g's way; zeros at the end go. */
static size_t write_digits(uint64_t v, int power, char *ret)
{
    char digits[DIGITS], *p = ret;
    int n = DIGITS, whole = power >= 0 ? power + 1 : 0;

    for (int i = DIGITS; i-- > 0; v /= 10)
        digits[i] = (char)('0' + v % 10);
    while (n > whole && n > 1 && digits[n - 1] == '0')
        n--;
    if (power < 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = -1; i > power; i--)
            *p++ = '0';
    }
    memcpy(p, digits, (size_t)whole);
    p += whole;
    if (whole > 0 && n > whole)
        *p++ = '.';
    memcpy(p, digits + whole, (size_t)(n - whole));
    p += n - whole;
    *p = '\0';
    return (size_t)(p - ret);
}

size_t ky_decimal_float(float x, char ret[KY_DECIMAL_MAX])
{
    uint32_t bits, m;
    uint64_t v;
    int e, power;

    memcpy(&bits, &x, sizeof(bits));
    m = (bits & 0x7fffff) | 0x800000;
    e = (int)(bits >> 23 & 0xff) - 150;
    ret[0] = '-';
    /* Powers below -4 are written with an exponent. */
    if (e >= LEAST_EXPONENT && e <= MOST_EXPONENT && nine_digits(m, e, &v, &power) && power >= -4)
        return (bits >> 31) + write_digits(v, power, ret + (bits >> 31));
    return (size_t)snprintf(ret, KY_DECIMAL_MAX, "%.9g", (double)x);
}

size_t ky_decimal_int(int64_t v, char ret[KY_DECIMAL_MAX])
{
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    char digits[KY_DECIMAL_MAX];
    int n = 0;
    size_t len = v < 0;

    do {
        digits[n++] = (char)('0' + u % 10);
        u /= 10;
    } while (u != 0);
    ret[0] = '-';
    while (n > 0)
        ret[len++] = digits[--n];
    ret[len] = '\0';
    return len;
}
