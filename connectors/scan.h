/*
 * Where a decoder is in its message, and how it refuses one: what scanners of text and of
 * bytes have in common. One scan belongs to one thread.
 */
#ifndef KY_SCAN_H
#define KY_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "models/error.h"

enum { KY_SCAN_DEPTH = 64 }; /* of arrays and objects inside a skipped value */

typedef struct ky_scan {
    const uint8_t *p, *end, *begin;
    const char *format; /* "json" */
    ky_err *err;
} ky_scan;

/** Refuse: "json: at byte 17: <text>"; KY_EREJECT. */
int ky_scan_bad(ky_scan *s, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

#endif
