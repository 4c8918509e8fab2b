/*
 * For test_swap: linked into a kymod of its own with -Wl,--wrap=ky_accept_swap, it is as killed
 * where a swap is to be journaled; before that the accept stage has more than the time that it
 * needs to commit what it has. Where $KY_FOREVER names a file, it makes that and waits for ever:
 * a start that lasts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/accept.h"
#include "models/clock.h"

int __wrap_ky_accept_swap(ky_accept *a, const ky_swap *s, ky_err *err);

int __wrap_ky_accept_swap(ky_accept *a, const ky_swap *s, ky_err *err)
{
    enum { A_WHILE_NS = 100000000 };
    int64_t until = ky_clock_mono_ns() + A_WHILE_NS;

    const char *mark = getenv("KY_FOREVER");
    FILE *f = mark != NULL ? fopen(mark, "w") : NULL;

    (void)s;
    (void)err;
    if (f != NULL)
        fclose(f);
    while (mark != NULL)
        pause();
    while (ky_clock_mono_ns() < until)
        ky_accept_offset(a, 0, "");
    _exit(99);
}
