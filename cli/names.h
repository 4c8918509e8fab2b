/* Different names, numbered as they come: labels, groups, streams. */
#ifndef KY_NAMES_H
#define KY_NAMES_H

#include <stddef.h>
#include <stdint.h>

typedef struct ky_names {
    char **name; /* [n] */
    int n, cap;
    int32_t *slot; /* [slots] number plus one, 0: free; a power of two */
    size_t slots;
} ky_names;

/** The number of a name, a new one if it has none; -1: no memory. */
int32_t ky_names_number(ky_names *t, const char *name);
void ky_names_done(ky_names *t);

#endif
