/*
 * The model store: models/<name>/<version>.h5, versions 1, 2, 3 ... A version that
 * exists is whole and never changes (write, fsync, rename). Any thread.
 */
#ifndef KY_STORE_H
#define KY_STORE_H

#include "models/model.h"

/** Path of a version: <dir>/<name>/<version>.h5. */
void ky_store_path(const char *dir, const char *name, uint32_t version, char ret[4096]);

/** The highest version of a name; 0 if none. */
int ky_store_latest(const char *dir, const char *name, uint32_t *ret, ky_err *err);

/** Saves a model as the next version. */
int ky_store_add(const char *dir, const ky_model *m, const char *name, uint32_t *ret_version,
                 ky_err *err);

/** Loads a version; KY_ENOENT if it is gone, KY_ECORRUPT if want_hash (not 0) is another. */
int ky_store_load(const char *dir, const char *name, uint32_t version, uint64_t want_hash,
                  ky_model **ret, ky_err *err);

/** Deletes versions below the newest `keep`, but none for which in_use says true. */
int ky_store_prune(const char *dir, const char *name, int keep,
                   bool (*in_use)(uint32_t version, void *arg), void *arg, ky_err *err);

#endif
