/*
 * Zip archives, as .keras files are. They come from anybody, and nothing of one is believed:
 * how many members there are, where they lie and how long they are is held against the file
 * before the zip library or we take memory for them. Members are only ever read into memory,
 * by their exact names; still an archive that tries tricks with names is refused whole.
 *
 * A handle belongs to one thread at a time.
 */
#ifndef KY_ZIP_H
#define KY_ZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "models/error.h"

typedef struct ky_zip ky_zip; /* an archive open for reading */

/** Whether bytes begin as a zip archive does. */
bool ky_zip_is(const void *begin, size_t len);

/**
 * Open for reading.
 *
 * @return KY_ENOENT and the like; KY_EFORMAT: damaged, cut off, names twice, overlapping members;
 *         KY_EUNSUPPORTED: paths that leave the archive, symbolic links; KY_EFULL: over 4096
 *         members
 */
int ky_zip_open(const char *path, ky_zip **ret, ky_err *err);
/** The same for bytes in memory, borrowed until the close. */
int ky_zip_open_image(const void *image, size_t len, ky_zip **ret, ky_err *err);
void ky_zip_close(ky_zip *z); /* NULL allowed */

bool ky_zip_has(const ky_zip *z, const char *name);

/**
 * A member as a whole, free(); a zero follows it.
 *
 * @param max bytes it may have
 * @return KY_ENOENT; KY_EUNSUPPORTED: encrypted, or packed otherwise than by deflate; KY_EFULL: it
 *         declares more than `max`, or beyond 1 MiB more than 100 times what is stored;
 *         KY_EFORMAT: its bytes are not those it declares
 */
int ky_zip_read(ky_zip *z, const char *name, size_t max, void **ret, size_t *ret_len, ky_err *err);

typedef struct ky_zip_member {
    const char *name;
    const void *data;
    size_t len;
} ky_zip_member;

/** Write an archive of n members, stored as they are and without times, so that the same content
 *  gives the same bytes: temporary name, fsync, rename, fsync. */
int ky_zip_write(const char *path, const ky_zip_member *members, int n, ky_err *err);

#endif
