#include "daemon/ghosts.h"

#include <stdlib.h>
#include <sysexits.h>

#include "daemon/core.h"

void ky_ghosts_done(ky_ghosts *g)
{
    free(g->row);
    free(g->slot);
}

/* -- the table: as a lane's of its streams -- */

static uint32_t home(const ky_ghosts *g, uint32_t id)
{
    return (uint32_t)((uint64_t)(id * UINT32_C(2654435769)) * g->n_slots >> 32);
}

static uint32_t after(const ky_ghosts *g, uint32_t slot)
{
    return slot + 1 < g->n_slots ? slot + 1 : 0;
}

/* The slot of a number, or the free one where it would be. */
static uint32_t slot_of(const ky_ghosts *g, uint32_t id)
{
    uint32_t i = home(g, id);

    while (g->slot[i] != 0 && g->row[g->slot[i] - 1].id != id)
        i = after(g, i);
    return i;
}

static void *longer(void *p, size_t n, size_t size)
{
    p = realloc(p, n * size);
    if (p == NULL)
        ky_core_die(EX_OSERR, "accept", "no memory for streams that are not in memory");
    return p;
}

/* A quarter of the slots at least stays free. */
static void make_room(ky_ghosts *g)
{
    if (g->n == g->cap) {
        g->cap = g->cap > 0 ? 2 * g->cap : 64;
        g->row = longer(g->row, g->cap, sizeof(*g->row));
    }
    if ((uint64_t)g->n * 4 + 4 <= (uint64_t)g->n_slots * 3)
        return;
    g->n_slots = g->n_slots > 0 ? g->n_slots + g->n_slots / 2 : 96;
    g->slot = longer(g->slot, g->n_slots, sizeof(*g->slot));
    for (uint32_t i = 0; i < g->n_slots; i++)
        g->slot[i] = 0;
    for (uint32_t i = 0; i < g->n; i++)
        g->slot[slot_of(g, g->row[i].id)] = i + 1;
}

/* Whether slot b lies on the way from a up to but not including the end, going round. */
static bool between(uint32_t a, uint32_t b, uint32_t end)
{
    return a <= end ? a <= b && b < end : a <= b || b < end;
}

/* What stood behind it and could have stood in it moves up. */
static void close_hole(ky_ghosts *g, uint32_t hole)
{
    for (uint32_t i = after(g, hole); g->slot[i] != 0; i = after(g, i))
        if (between(home(g, g->row[g->slot[i] - 1].id), hole, i)) {
            g->slot[hole] = g->slot[i];
            hole = i;
        }
    g->slot[hole] = 0;
}

/* -- the heap -- */

static void swap(ky_ghosts *g, uint32_t a, uint32_t b)
{
    uint32_t of_a = slot_of(g, g->row[a].id), of_b = slot_of(g, g->row[b].id);
    ky_ghost c = g->row[a];

    g->row[a] = g->row[b];
    g->row[b] = c;
    g->slot[of_a] = b + 1;
    g->slot[of_b] = a + 1;
}

static void rise(ky_ghosts *g, uint32_t i)
{
    for (; i > 0 && g->row[i].at_ns < g->row[(i - 1) / 2].at_ns; i = (i - 1) / 2)
        swap(g, i, (i - 1) / 2);
}

static void sink(ky_ghosts *g, uint32_t i)
{
    for (uint32_t child; (child = 2 * i + 1) < g->n; i = child) {
        if (child + 1 < g->n && g->row[child + 1].at_ns < g->row[child].at_ns)
            child++;
        if (g->row[i].at_ns <= g->row[child].at_ns)
            return;
        swap(g, i, child);
    }
}

bool ky_ghosts_has(const ky_ghosts *g, uint32_t id)
{
    return g->n > 0 && g->slot[slot_of(g, id)] != 0;
}

void ky_ghosts_add(ky_ghosts *g, uint32_t id, int64_t at_ns)
{
    make_room(g);
    g->slot[slot_of(g, id)] = g->n + 1;
    g->row[g->n] = (ky_ghost){ at_ns, id };
    rise(g, g->n++);
}

bool ky_ghosts_remove(ky_ghosts *g, uint32_t id)
{
    if (!ky_ghosts_has(g, id))
        return false;
    uint32_t i = g->slot[slot_of(g, id)] - 1;

    swap(g, i, g->n - 1);
    close_hole(g, slot_of(g, id));
    if (i < --g->n) {
        rise(g, i);
        sink(g, i);
    }
    return true;
}
