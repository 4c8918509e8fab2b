/* The inside of ky_h5, which h5.c writes with the HDF5 library and h5_read.c reads without it. */
#ifndef KY_H5_FILE_H
#define KY_H5_FILE_H

#include "models/h5.h"
#include "models/h5raw.h"

typedef struct ky_h5_writer ky_h5_writer;

struct ky_h5 {
    char *path;
    ky_h5_writer *writer; /* NULL: reading */
    ky_h5raw raw;         /* reading: fd or image are ours */
    uint64_t root;        /* address of the root group's header */
};

/** An empty handle, NULL when out of memory. */
ky_h5 *ky_h5_handle(const char *path);

/** Undo what create did; called by ky_h5_close. */
void ky_h5_abandon(ky_h5_writer *w);

#endif
