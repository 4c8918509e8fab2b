/*
 * msgpack-c, a peer to measure the msgpack codec beside: its tree of objects in a zone that
 * is kept from message to message.
 */
#ifndef KY_BENCH_MSGPACKC_H
#define KY_BENCH_MSGPACKC_H

#include <stddef.h>

/** "4.0.0"; NULL: this build has no msgpack-c. */
const char *ky_msgpackc_version(void);

/** The first value of the array "x" of a map; NaN if there is none. */
double ky_msgpackc_unpack(const char *data, size_t len);

#endif
