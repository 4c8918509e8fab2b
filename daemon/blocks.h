/*
 * Memory for a lane's states: blocks of one size, cut from slabs. All versions whose states are as
 * large take from the same, so a swap, which gives every stream a state of another version, needs
 * no more than there was. The lane's thread.
 */
#ifndef KY_BLOCKS_H
#define KY_BLOCKS_H

#include <stddef.h>

typedef struct ky_blocks {
    size_t size; /* a multiple of 64 */
    size_t taken;
    void *free;   /* given back, linked through their first bytes */
    void **slabs; /* what they are cut from: now the last one ... */
    size_t n_slabs;
    size_t n_blocks, n_cut; /* ... which has so many, of which so many are cut */
    struct ky_blocks *next;
} ky_blocks;

/** Those of a size in a list, begun at their first use. Being out of memory ends the process. */
ky_blocks *ky_blocks_of(ky_blocks **list, size_t size);
/** All of a list. */
void ky_blocks_free(ky_blocks *list);

/** A block, not set. Being out of memory ends the process. */
void *ky_blocks_take(ky_blocks *b);
/** Where none is taken any more, the slabs go, too. */
void ky_blocks_give(ky_blocks *b, void *block);

#endif
