/*
 * The known word that is nearest to one that nobody knows, for "did you mean 'x'?".
 */
#ifndef KY_NEAREST_H
#define KY_NEAREST_H

/* Begins as { .word = what was written }. */
typedef struct ky_nearest {
    const char *word;
    const char *best; /* NULL: none of the words that were tried is near; borrowed */
    int edits;        /* that make best of word */
} ky_nearest;

/**
 * Try a known word. It is near if few edits make it of n->word: letters inserted, removed or
 * replaced (Levenshtein 1966), no more than half as many as n->word has, and than a third and one;
 * capitals are as good as small ones.
 */
void ky_nearest_try(ky_nearest *n, const char *known);

#endif
