/*
 * How much of what it could try a test tries: a sample, or with ./run-tests --full all.
 */
#ifndef KY_TEST_FULL_H
#define KY_TEST_FULL_H

#include <stdbool.h>
#include <stdlib.h>

/** KYMO_TEST_FULL is set and not empty. */
static inline bool ky_test_full(void)
{
    const char *full = getenv("KYMO_TEST_FULL");

    return full != NULL && *full != 0;
}

#endif
