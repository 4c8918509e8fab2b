#include "daemon/blocks.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/core.h"
#include "daemon/slab.h"

ky_blocks *ky_blocks_of(ky_blocks **list, size_t size)
{
    for (ky_blocks *b = *list; b != NULL; b = b->next)
        if (b->size == size)
            return b;
    ky_blocks *b = calloc(1, sizeof(*b));

    if (b == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory");
    b->size = size;
    b->next = *list;
    *list = b;
    return b;
}

static void free_slabs(ky_blocks *b)
{
    for (size_t i = 0; i < b->n_slabs; i++)
        free(b->slabs[i]);
    b->n_slabs = b->n_blocks = b->n_cut = 0;
    b->free = NULL;
}

void ky_blocks_free(ky_blocks *list)
{
    for (ky_blocks *b = list, *next; b != NULL; b = next) {
        next = b->next;
        free_slabs(b);
        free(b->slabs);
        free(b);
    }
}

/* A slab of twice the last one's blocks, but no more than KY_SLAB: few streams take little. */
static void more(ky_blocks *b)
{
    enum { FIRST = 64 };
    size_t n = b->n_slabs == 0 ? FIRST : 2 * b->n_blocks, most = KY_SLAB / b->size;
    size_t bytes = n < most ? n * b->size : most > 1 ? KY_SLAB : b->size;
    void **slabs = realloc(b->slabs, (b->n_slabs + 1) * sizeof(void *));

    if (slabs == NULL || (slabs[b->n_slabs] = ky_slab_new(bytes)) == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for the states of more streams");
    b->slabs = slabs;
    b->n_slabs++;
    b->n_blocks = bytes / b->size;
    b->n_cut = 0;
}

void *ky_blocks_take(ky_blocks *b)
{
    void *block = b->free;

    b->taken++;
    if (block != NULL) {
        memcpy(&b->free, block, sizeof(void *));
        return block;
    }
    if (b->n_cut == b->n_blocks)
        more(b);
    return (char *)b->slabs[b->n_slabs - 1] + b->n_cut++ * b->size;
}

void ky_blocks_give(ky_blocks *b, void *block)
{
    memcpy(block, &b->free, sizeof(void *));
    b->free = block;
    if (--b->taken == 0)
        free_slabs(b);
}
