/*
 * Text from outside, character by character. Any thread.
 */
#ifndef KY_UTF8_H
#define KY_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Length in bytes of the UTF-8 character at p, of which `left` bytes are there, and its code
 *  point; 1 and -1 for a byte that begins none (overlong, surrogate, cut). */
int ky_utf8_decode(const char *p, size_t left, int32_t *ret);

/** Characters that move a cursor, change colours or turn the direction of writing. */
bool ky_utf8_is_control(int32_t c);

#endif
