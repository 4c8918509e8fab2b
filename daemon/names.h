/*
 * A table of names from outside: of streams within their class, of senders within their
 * source. Nobody can make it slow by choosing names: the hash has a secret key. Each name has a
 * row, which is its caller's index for whatever belongs to it; rows of names that are gone are
 * given anew. A name takes 12 bytes, its text and 5 to 8 bytes to be found by. One thread.
 */
#ifndef KY_NAMES_H
#define KY_NAMES_H

#include <stddef.h>
#include <stdint.h>

enum { KY_NO_NAME = UINT32_MAX, KY_NAME_WORDS = 128, KY_NAME_GONE = UINT16_MAX };

typedef struct ky_name {
    uint32_t hash, at;   /* at: its text, in words; of a free row the next free one */
    uint16_t group, len; /* len: KY_NAME_GONE in a free row */
} ky_name;

typedef struct ky_names {
    uint64_t key[2];
    ky_name *row;
    uint32_t *slot; /* row + 1, 0: free */
    uint32_t n, live, cap, n_slots, free;
    uint32_t *text; /* words of four bytes: names take whole ones */
    uint32_t n_text, cap_text;
    uint32_t gone[KY_NAME_WORDS + 1]; /* by length in words: texts to use again, linked */
} ky_names;

/** A secret of this process. */
void ky_names_draw_key(uint64_t ret[2]);

/** Draws the key. Zeroed memory and a call of this make a table. */
void ky_names_init(ky_names *t);
void ky_names_done(ky_names *t);

/** The name's row, KY_NO_NAME if it is not there. */
uint32_t ky_names_find(const ky_names *t, uint16_t group, const char *text, size_t len);
/** Adds one that is not there, of 4 * KY_NAME_WORDS bytes at most; KY_NO_NAME: no memory. */
uint32_t ky_names_add(ky_names *t, uint16_t group, const char *text, size_t len);
void ky_names_remove(ky_names *t, uint32_t row);

/** The text of a row, not terminated; borrowed until the next add. */
static inline const char *ky_names_text(const ky_names *t, uint32_t row)
{
    return (const char *)(t->text + t->row[row].at);
}

/** SipHash-2-4 (Aumasson and Bernstein 2012). */
uint64_t ky_names_siphash(const uint64_t key[2], const void *data, size_t len);

#endif
