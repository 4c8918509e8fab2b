/*
 * Memory for many things of one size that are looked at in no order, a piece at a time. Pieces of
 * KY_SLAB bytes and more ask for huge pages: else of a million states each stands on a page of its
 * own, and the processor walks its tables for every one.
 */
#ifndef KY_SLAB_H
#define KY_SLAB_H

#include <stddef.h>

enum { KY_SLAB = 2 << 20 };

/** Asks the processor for memory that will be touched soon. Does not read it: any address will do.
 */
static inline void ky_want(const void *p, size_t bytes)
{
    enum { LINE = 64 };

    for (size_t i = 0; i < bytes; i += LINE)
        __builtin_prefetch((const char *)p + i, 1, 2);
}

/** So many bytes, on cache lines, not set; NULL when out of memory. For free(). */
void *ky_slab_new(size_t bytes);

#endif
