/*
 * Rows of a table in a line, in the order in which they joined it: each row has its place in it
 * among what else it holds. One thread.
 */
#ifndef KY_LINE_H
#define KY_LINE_H

#include <stddef.h>
#include <stdint.h>

enum { KY_NO_ROW = UINT32_MAX };

/* A place in a line of rows; KY_NO_ROW: nobody. */
typedef struct ky_place {
    uint32_t prev, next;
} ky_place;

typedef struct ky_line {
    uint32_t first, last, n;
} ky_line;

static const ky_line ky_line_empty = { KY_NO_ROW, KY_NO_ROW, 0 };

/* Where the places are: those of two rows lie `size` bytes apart. */
typedef struct ky_places {
    void *first;
    size_t size;
} ky_places;

static inline ky_place *ky_place_of(ky_places in, uint32_t row)
{
    return (ky_place *)((char *)in.first + row * in.size);
}

static inline void ky_line_join(ky_places in, ky_line *l, uint32_t row)
{
    *ky_place_of(in, row) = (ky_place){ l->last, KY_NO_ROW };
    *(l->last == KY_NO_ROW ? &l->first : &ky_place_of(in, l->last)->next) = row;
    l->last = row;
    l->n++;
}

static inline void ky_line_leave(ky_places in, ky_line *l, uint32_t row)
{
    ky_place *p = ky_place_of(in, row);

    *(p->prev == KY_NO_ROW ? &l->first : &ky_place_of(in, p->prev)->next) = p->next;
    *(p->next == KY_NO_ROW ? &l->last : &ky_place_of(in, p->next)->prev) = p->prev;
    l->n--;
}

#endif
