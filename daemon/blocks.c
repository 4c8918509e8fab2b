#include "daemon/blocks.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/core.h"

enum { AT_ONCE = 64 };

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
    b->n_slabs = 0;
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

static void put(ky_blocks *b, void *block)
{
    memcpy(block, &b->free, sizeof(void *));
    b->free = block;
}

static void more(ky_blocks *b)
{
    char *slab = aligned_alloc(64, AT_ONCE * b->size);
    void **slabs = realloc(b->slabs, (b->n_slabs + 1) * sizeof(void *));

    if (slab == NULL || slabs == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for the states of more streams");
    b->slabs = slabs;
    b->slabs[b->n_slabs++] = slab;
    for (size_t i = 0; i < AT_ONCE; i++)
        put(b, slab + i * b->size);
}

void *ky_blocks_take(ky_blocks *b)
{
    if (b->free == NULL)
        more(b);
    void *block = b->free;

    memcpy(&b->free, block, sizeof(void *));
    b->taken++;
    return block;
}

void ky_blocks_give(ky_blocks *b, void *block)
{
    put(b, block);
    if (--b->taken == 0)
        free_slabs(b);
}
