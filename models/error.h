/*
 * Errors with context. A function that can fail returns zero or a count, or one
 * of these negative codes, and says in `err` what was wrong, for a person.
 */
#ifndef KY_ERROR_H
#define KY_ERROR_H

#include <errno.h>
#include <stddef.h>

enum ky_code {
    KY_OK = 0,
    KY_ENOMEM = -ENOMEM,
    KY_EINVAL = -EINVAL, /* an argument or a setting that is not allowed */
    KY_EAGAIN = -EAGAIN, /* nothing within the timeout; try again */
    KY_EIO = -EIO,
    KY_ENOENT = -ENOENT,
    KY_EBUSY = -EBUSY,       /* somebody else holds it */
    KY_EFORMAT = -1001,      /* bytes that are not what their header says */
    KY_ESHAPE = -1002,       /* dimensions that do not fit together */
    KY_EUNSUPPORTED = -1003, /* well formed, but not something kymo does */
    KY_ECORRUPT = -1004,     /* our own data contradicts itself */
    KY_EDUP = -1005,         /* seen before */
    KY_EREJECT = -1006,      /* a message that is refused; err says why */
    KY_EFULL = -1007,        /* a bound was reached */
};

/* What went wrong. Callers that only need the code pass NULL. */
typedef struct ky_err {
    int code;
    char text[480];
} ky_err;

/** Record a failure and return its code, so that `return ky_fail(...)` reads as one act. */
int ky_fail(ky_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/** Put "while doing this" in front of an error on its way up; returns `code`. */
int ky_context(ky_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/** Short lower-case text of a code, never NULL. */
const char *ky_strerror(int code);

/** a*b in ret; KY_EFULL if it overflows. For sizes that come from outside. */
int ky_size_mul(size_t a, size_t b, size_t *ret);

/** Room for one element more behind the n of an array that never grows but by this: p itself, or p
 *  moved to twice the room (realloc). NULL: out of memory, p stays. */
void *ky_grow(void *p, size_t n, size_t size);

#endif
