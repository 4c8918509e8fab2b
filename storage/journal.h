/*
 * The journal: accepted records in one order for all lanes, checksummed, made durable
 * in groups (PROTOCOL.md A, L). Files `journal/<first position, 16 hex digits>.kj`: a
 * header {magic, version, random id, first position, crc}, a CONFIG record, records. A
 * file is sealed when the next one begins; sealed files become archive segments and are
 * deleted by rule A6, which the caller keeps.
 *
 * One thread appends and syncs; any thread may read sealed files and the atomic positions.
 */
#ifndef KY_JOURNAL_H
#define KY_JOURNAL_H

#include <stdbool.h>

#include "storage/record.h"
#include "models/error.h"

typedef struct ky_journal ky_journal;

enum ky_journal_mode { KY_JOURNAL_SYNC, KY_JOURNAL_ASYNC, KY_JOURNAL_NO };

typedef struct ky_journal_opts {
    const char *dir;         /* made if absent, mode 0750 */
    enum ky_journal_mode mode;
    uint64_t file_bytes;     /* a file is sealed when it is this large ... */
    int64_t file_age_us;     /* ... or its first record this old, 0: never by age */
    const char *config_text; /* text of the CONFIG record that begins every file */
} ky_journal_opts;

/**
 * Opens the directory, finds the end of the last whole message (a record that fails its
 * checks, or a tail without KY_LAST, ends the journal), cuts what is behind it and syncs
 * that. A new file is begun by the first append. In mode `no` nothing is read or
 * written, only positions advance, from `from` on.
 */
int ky_journal_open(const ky_journal_opts *o, uint64_t from, ky_journal **ret, ky_err *err);
void ky_journal_close(ky_journal *j);

/** Every record at or after position `from`, in order; stops at fn's first nonzero, returned.
 *  Before the first append only. KY_ECORRUPT if positions before the last file are missing. */
int ky_journal_replay(ky_journal *j, uint64_t from,
                      int (*fn)(const ky_record *r, void *arg, ky_err *err), void *arg, ky_err *err);

/** Takes a record with everything but pos and crc set, fills those in, buffers it. Begins a
 *  new file when the present one is full or old and the record begins a message. */
int ky_journal_append(ky_journal *j, ky_record *r, ky_err *err);

/** Writes what is buffered (no sync): mode `async` between commits. */
int ky_journal_flush(ky_journal *j, ky_err *err);

/** Writes and fdatasyncs what was appended. A failure is final: never retry, end the process. */
int ky_journal_sync(ky_journal *j, ky_err *err);

uint64_t ky_journal_end(const ky_journal *j);     /* position behind the last append */
uint64_t ky_journal_durable(const ky_journal *j); /* position up to which all is on disk; atomic */

/** First position of the file being written: its CONFIG record's; the pipeline tells lanes when it changes. */
uint64_t ky_journal_file_first(const ky_journal *j);

typedef struct ky_journal_file {
    uint64_t first, end; /* positions; end of the file being written: the present end */
    bool sealed;
    int64_t begun_us;
    char path[4096];
} ky_journal_file;

/** Seals the present file now if it holds records besides its CONFIG. */
int ky_journal_seal(ky_journal *j, ky_err *err);

/** The files, oldest first: *ret is the caller's to free(). Returns how many. Any thread. */
int ky_journal_list(ky_journal *j, ky_journal_file **ret, ky_err *err);

/** Reads one file: fn for each record. Any thread; for sealed files. */
int ky_journal_read_file(const char *path, int (*fn)(const ky_record *r, void *arg, ky_err *err),
                         void *arg, ky_err *err);

/** Removes a sealed file; the caller has made sure of rule A6. Any thread. */
int ky_journal_delete(ky_journal *j, uint64_t first, ky_err *err);

#endif
