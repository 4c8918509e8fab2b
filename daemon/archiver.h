/*
 * The archive thread: whenever a journal file is sealed and all of it has been applied for
 * good, it makes HDF5 segments of the classes that want an archive, then deletes the file
 * (PROTOCOL.md A6). It has a results handle of its own and low priority, and nothing
 * waits for it. What fails (a full disk) is complained about and tried again; the
 * journal file stays until then.
 */
#ifndef KY_ARCHIVER_H
#define KY_ARCHIVER_H

#include "models/error.h"
#include "models/json.h"
#include "storage/journal.h"

typedef struct ky_archiver ky_archiver;

typedef struct ky_archiver_opts {
    const char *state_dir; /* results.db and archive/ are there; copied */
    ky_journal *journal;   /* borrowed until stop */
    /** Names of the classes that a configured model tells apart, by number, [*ret_n]; NULL if it
     *  names none. Called by the archive thread. */
    const char *const *(*labels)(const char *model, int *ret_n, void *arg);
    /** What is worth a row in `events`; may be NULL. Called by the archive thread. */
    void (*event)(const char *level, const char *what, const char *detail, void *arg);
    void *arg;
    int64_t interval_us; /* how often it looks; 0: once a second */
} ky_archiver_opts;

int ky_archiver_start(const ky_archiver_opts *o, ky_archiver **ret, ky_err *err);

/** The file at hand is finished first. NULL is fine. */
void ky_archiver_stop(ky_archiver *a);

/**
 * Waits until every file that is sealed now is archived. Any thread.
 *
 * @return KY_EAGAIN if that took longer than timeout_us, or the archiver is being stopped; err
 *         says what it fails at, if it does
 */
int ky_archiver_wait(ky_archiver *a, int64_t timeout_us, ky_err *err);

/** Whoever waits, now or later, gives up: they are to stop first. Any thread; NULL is fine. */
void ky_archiver_end_waits(ky_archiver *a);

/** {"files": archived and gone, "failures":.., "failing": why or null}; the caller's to free. Any
 *  thread. */
ky_json *ky_archiver_status(ky_archiver *a);

#endif
