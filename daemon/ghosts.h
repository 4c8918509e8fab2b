/*
 * Streams that left memory in the middle of a sequence which silence may end: by number, the one
 * that was heard longest ago first. A heap, and beside it a table of where in it each stands, so
 * that one that is heard again can be taken out. One thread; being out of memory ends the process.
 */
#ifndef KY_GHOSTS_H
#define KY_GHOSTS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ky_ghost {
    int64_t at_ns; /* when it was heard last */
    uint32_t id;
} ky_ghost;

/* All zeros is one with nobody in it. */
typedef struct ky_ghosts {
    ky_ghost *row;  /* the heap: row[0] was heard longest ago */
    uint32_t *slot; /* row + 1 by number, 0: free */
    uint32_t n, cap, n_slots;
} ky_ghosts;

void ky_ghosts_done(ky_ghosts *g);

bool ky_ghosts_has(const ky_ghosts *g, uint32_t id);
/** One that is not there. */
void ky_ghosts_add(ky_ghosts *g, uint32_t id, int64_t at_ns);
/** False: it is not there. */
bool ky_ghosts_remove(ky_ghosts *g, uint32_t id);

#endif
