/*
 * A table of names from outside: of streams within their class, of senders within their
 * source. Nobody can make it slow by choosing names: the hash has a secret key. One thread.
 */
#ifndef KY_NAMES_H
#define KY_NAMES_H

#include <stddef.h>
#include <stdint.h>

typedef struct ky_name {
    uint64_t hash;
    char *text; /* not terminated */
    uint32_t value;
    uint16_t group, len;
} ky_name;

typedef struct ky_names {
    uint64_t key[2];
    ky_name *row;   /* in order of arrival */
    uint32_t *slot; /* row + 1, 0: free */
    uint32_t n, cap, n_slots;
} ky_names;

/** Draws the key. Zeroed memory and a call of this make a table. */
void ky_names_init(ky_names *t);
void ky_names_done(ky_names *t);

/** The name's row, NULL if it is not there; borrowed until the next add. */
ky_name *ky_names_find(const ky_names *t, uint16_t group, const char *text, size_t len);
/** Adds one that is not there; NULL: no memory. */
ky_name *ky_names_add(ky_names *t, uint16_t group, const char *text, size_t len, uint32_t value);

/** SipHash-2-4 (Aumasson and Bernstein 2012). */
uint64_t ky_names_siphash(const uint64_t key[2], const void *data, size_t len);

#endif
