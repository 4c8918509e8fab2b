#include "models/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

enum { MAX_WORD = 96 }; /* longer ones are near to nothing */

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int edits(const char *a, const char *b)
{
    int row[MAX_WORD + 1], n = (int)strlen(b);

    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1] != '\0'; i++) {
        int corner = row[0];

        row[0] = i;
        for (int j = 1; j <= n; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            int replaced = corner + !same;

            corner = row[j];
            row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[n];
}

void ky_nearest_try(ky_nearest *n, const char *known)
{
    size_t length = strlen(n->word);
    int len = (int)length, d;

    if (length > MAX_WORD || strlen(known) > MAX_WORD)
        return;
    d = edits(n->word, known);
    if (d <= least(len / 2, len / 3 + 1) && (n->best == NULL || d < n->edits)) {
        n->best = known;
        n->edits = d;
    }
}
