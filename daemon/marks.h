/*
 * A set of small numbers: a bit for each. One thread; being out of memory ends the process.
 */
#ifndef KY_MARKS_H
#define KY_MARKS_H

#include <stdbool.h>
#include <stdint.h>

enum { KY_NO_MARK = UINT32_MAX };

typedef struct ky_marks {
    uint64_t *word;
    uint32_t words, n; /* n: numbers in the set */
} ky_marks;

/* Zeroed memory is an empty set. */
void ky_marks_done(ky_marks *m);

static inline bool ky_marks_has(const ky_marks *m, uint32_t i)
{
    return i / 64 < m->words && m->word[i / 64] >> i % 64 & 1;
}

void ky_marks_add(ky_marks *m, uint32_t i);
void ky_marks_drop(ky_marks *m, uint32_t i);

/** The lowest in the set that is not below `from` and not in `but`; KY_NO_MARK: there is none.
 *  @param but  NULL: an empty set */
uint32_t ky_marks_next(const ky_marks *m, const ky_marks *but, uint32_t from);

#endif
