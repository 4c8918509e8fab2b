/*
 * A directory of a test program's own: make_dir and remove_dir are its group's setup and teardown.
 */
#ifndef KY_TESTS_MODELS_DIR_H
#define KY_TESTS_MODELS_DIR_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[256];

/* A path in it, good for four calls. */
static inline const char *in_dir(const char *name)
{
    static char path[4][512];
    static int turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
    return path[turn];
}

static inline int make_dir(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof(dir), "%s/kymo-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(dir) == NULL;
}

static inline int remove_dir(void **state)
{
    char command[600];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

#endif
