/*
 * Files are written under a temporary name and put in place when they are whole, so that a
 * reader, or a crash, meets the old file or the new one. Any thread.
 */
#ifndef KY_PLACE_H
#define KY_PLACE_H

#include <stdio.h>

#include "models/error.h"

/** A name beside `path` that this process has not given before; free(). NULL: no memory. */
char *ky_place_name(const char *path);

/** fsync, rename `tmp` to `path`, fsync the folder. On failure `tmp` is removed. */
int ky_place(const char *tmp, const char *path, ky_err *err);

/** A file of what `print` writes, put in place when it is whole. */
int ky_place_print(const char *path, void (*print)(FILE *to, void *arg), void *arg, ky_err *err);

#endif
