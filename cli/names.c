#include "cli/names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static size_t hash_of(const char *s)
{
    size_t h = 1469598103934665603u; /* FNV-1a */

    for (; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

static bool rehash(ky_names *t, size_t slots)
{
    int32_t *slot = calloc(slots, sizeof *slot);

    if (slot == NULL)
        return false;
    for (int k = 0; k < t->n; k++) {
        size_t i = hash_of(t->name[k]);

        while (slot[i & (slots - 1)] != 0)
            i++;
        slot[i & (slots - 1)] = k + 1;
    }
    free(t->slot);
    t->slot = slot;
    t->slots = slots;
    return true;
}

int32_t ky_names_number(ky_names *t, const char *name)
{
    size_t i = hash_of(name);

    for (; t->slots > 0 && t->slot[i & (t->slots - 1)] != 0; i++)
        if (strcmp(t->name[t->slot[i & (t->slots - 1)] - 1], name) == 0)
            return t->slot[i & (t->slots - 1)] - 1;
    if (t->n == t->cap) {
        int cap = t->cap > 0 ? 2 * t->cap : 64;
        char **more = realloc(t->name, (size_t)cap * sizeof *more);

        if (more == NULL)
            return -1;
        t->name = more;
        t->cap = cap;
    }
    if ((t->name[t->n] = strdup(name)) == NULL)
        return -1;
    t->n++;
    if (2 * (size_t)t->n > t->slots)
        return rehash(t, t->slots > 0 ? 2 * t->slots : 256) ? t->n - 1 : -1;
    t->slot[i & (t->slots - 1)] = t->n;
    return t->n - 1;
}

void ky_names_done(ky_names *t)
{
    for (int i = 0; i < t->n; i++)
        free(t->name[i]);
    free(t->name);
    free(t->slot);
}
