/*
 * Numbers as text, as printf writes them and several times as fast: what is written into every
 * answer. Any thread.
 */
#ifndef KY_DECIMAL_H
#define KY_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

enum { KY_DECIMAL_MAX = 24 }; /* longest text, with its final zero */

/** As "%.9g" writes it: reads back to the same bits. Returns the length; the text ends with a zero.
 */
size_t ky_decimal_float(float x, char ret[KY_DECIMAL_MAX]);

/** As "%lld" writes it. */
size_t ky_decimal_int(int64_t v, char ret[KY_DECIMAL_MAX]);

#endif
