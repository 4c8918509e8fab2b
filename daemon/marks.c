#include "daemon/marks.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/core.h"

void ky_marks_done(ky_marks *m)
{
    free(m->word);
    *m = (ky_marks){ 0 };
}

static void grow(ky_marks *m, uint32_t words)
{
    uint32_t n = m->words + m->words / 2;

    n = n > words ? n : words;
    m->word = realloc(m->word, n * sizeof(*m->word));
    if (m->word == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for more streams");
    memset(m->word + m->words, 0, (n - m->words) * sizeof(*m->word));
    m->words = n;
}

void ky_marks_add(ky_marks *m, uint32_t i)
{
    if (i / 64 >= m->words)
        grow(m, i / 64 + 1);
    m->n += !ky_marks_has(m, i);
    m->word[i / 64] |= UINT64_C(1) << i % 64;
}

void ky_marks_drop(ky_marks *m, uint32_t i)
{
    if (!ky_marks_has(m, i))
        return;
    m->word[i / 64] &= ~(UINT64_C(1) << i % 64);
    m->n--;
}

uint32_t ky_marks_next(const ky_marks *m, const ky_marks *but, uint32_t from)
{
    uint64_t most = UINT64_MAX << from % 64;

    for (uint32_t w = from / 64; m->n > 0 && w < m->words; w++, most = UINT64_MAX) {
        uint64_t left = m->word[w] & most;

        if (but != NULL && w < but->words)
            left &= ~but->word[w];
        if (left != 0)
            return w * 64 + (uint32_t)__builtin_ctzll(left);
    }
    return KY_NO_MARK;
}
