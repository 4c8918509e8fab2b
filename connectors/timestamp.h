/*
 * Written times: RFC 3339 to microseconds since 1970 UTC and back. Any thread.
 */
#ifndef KY_TIMESTAMP_H
#define KY_TIMESTAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The years 0000 to 9999, which RFC 3339 can write. */
#define KY_TIME_MIN_US (-INT64_C(62167219200000000))
#define KY_TIME_MAX_US INT64_C(253402300799999999)

enum { KY_TIME_TEXT = 64 };

/** `2026-11-22T18:05:45.123456Z` or with an offset `+01:00`; a space may stand for the T. More
 *  digits than six are rounded to the nearest microsecond, a leap second (:60) is the second
 *  behind it. False if it is anything else. */
bool ky_time_parse(const char *s, size_t len, int64_t *ret_us);

/** As `2026-11-22T18:05:45.123456Z`; returns buf. */
const char *ky_time_text(int64_t us, char buf[KY_TIME_TEXT]);

#endif
