/*
 * The journal: accepted records in one order for all lanes, checksummed, made durable
 * in groups (PROTOCOL.md A, L). Files `journal/<first position, 16 hex digits>.kj`: a
 * header, a CONFIG record, records. A position is the number of record bytes before it
 * since the journal's beginning, continuous over files. A file is sealed (synced, made
 * read-only) when it is large or old enough and a message ends, when the journal is
 * closed, or by ky_journal_seal; the next append begins another. Sealed files become
 * archive segments and are deleted by rule A6, which the caller keeps.
 *
 * One thread appends, flushes, syncs and seals; any thread may list, read sealed files,
 * delete them and ask for positions.
 */
#ifndef KY_JOURNAL_H
#define KY_JOURNAL_H

#include <stdbool.h>

#include "storage/record.h"
#include "models/error.h"

typedef struct ky_journal ky_journal;

enum ky_journal_mode { KY_JOURNAL_SYNC, KY_JOURNAL_ASYNC, KY_JOURNAL_NO };

typedef struct ky_journal_opts {
    const char *dir; /* made if absent, mode 0750 */
    enum ky_journal_mode mode;
    uint64_t file_bytes;     /* a file is sealed when it is this large (0: no bound) ... */
    int64_t file_age_us;     /* ... or its first record this old, 0: never by age */
    const char *config_text; /* text of the CONFIG record that begins every file */
} ky_journal_opts;

/* What opening found: for the daemon's log and counters. */
typedef struct ky_journal_found {
    int files;          /* that hold records */
    uint64_t end;       /* position behind the last whole message */
    uint64_t cut_bytes; /* of the last file, behind that; 0 after a clean stop */
    char why[160];      /* why they were cut; "" without a cut */
} ky_journal_found;

/**
 * Opens the directory, finds the end of the last whole message (a record that fails its
 * checks, or a tail without KY_LAST, ends the journal), cuts what is behind it, and makes
 * what remains durable by writing it anew: the page cache may show a tail that a failed sync
 * before the crash never brought to disk. The first append begins a new file, at the end or
 * at `from`, whichever is later: `from` is the highest position that results.db knows, so that
 * no position is given twice even if the journal lost its tail or was switched off for a while.
 * In mode `no` nothing is read or written, only positions advance, from `from` on.
 *
 * KY_ECORRUPT: a file before the last is not what its header says. KY_EIO and other negated
 * errno: the directory cannot be read or written.
 */
int ky_journal_open(const ky_journal_opts *o, uint64_t from, ky_journal **ret, ky_err *err);
const ky_journal_found *ky_journal_was(const ky_journal *j);

/** Syncs, seals and frees; an unfinished message at the end is cut off. NULL allowed. */
void ky_journal_close(ky_journal *j);

/** Every record at or after position `from`, CONFIG records too, in order; stops at fn's first
 *  nonzero, returned. Before the first append only. KY_ECORRUPT if records at or after `from` are
 *  missing or damaged before the end that opening found. */
int ky_journal_replay(ky_journal *j, uint64_t from,
                      int (*fn)(const ky_record *r, void *arg, ky_err *err), void *arg,
                      ky_err *err);

/** Whether the disk had no room (-ENOSPC, -EDQUOT). The four calls below that end so have left
 *  the journal whole and may be called again: an append has not happened, what was appended before
 *  waits in memory for the next flush or sync. Any other failure of theirs is final. */
bool ky_journal_full(int rc);

/** Takes a record with everything but pos and crc set, fills those in, copies it into the buffer
 *  (writes when that is full; never syncs but to seal). Begins a new file, with its CONFIG record,
 *  when there is none or the present one is full or old, and the record begins a message. */
int ky_journal_append(ky_journal *j, ky_record *r, ky_err *err);

/** Writes what is buffered (no sync): mode `async` between commits. */
int ky_journal_flush(ky_journal *j, ky_err *err);

/** Writes and fdatasyncs what was appended, then seals the file if it is old enough; call it now
 *  and then on an idle journal too. When the disk is full what has found room is durable all the
 *  same. A failed fdatasync is final, whatever its reason: every later call fails, end the process.
 */
int ky_journal_sync(ky_journal *j, ky_err *err);

/** What was appended behind `pos`, the end of a durable record, is as if it had never been; nothing
 *  is appended any more, the next call is close. Takes no room on the disk. */
int ky_journal_cut(ky_journal *j, uint64_t pos, ky_err *err);

uint64_t ky_journal_end(const ky_journal *j);     /* position behind the last append */
uint64_t ky_journal_durable(const ky_journal *j); /* position up to which all is on disk; atomic */

/** First position of the file written last, its CONFIG record's; the pipeline tells lanes when it
 *  changes. Before the first append: where the next file begins. */
uint64_t ky_journal_file_first(const ky_journal *j);

typedef struct ky_journal_file {
    uint64_t first, end; /* positions; end of the file being written: the present end */
    bool sealed;         /* all but the file being written */
    int64_t begun_us;
    char path[4096];
} ky_journal_file;

/** Syncs and seals the present file if it holds records besides its CONFIG; KY_EAGAIN in the middle
 *  of a message: try again behind it. */
int ky_journal_seal(ky_journal *j, ky_err *err);

/** The files, oldest first: *ret is the caller's to free(). Returns how many. Any thread. */
int ky_journal_list(ky_journal *j, ky_journal_file **ret, ky_err *err);

/** Reads one sealed file: fn for each record, CONFIG first, borrowed for the call; stops at fn's
 *  first nonzero, returned. KY_ECORRUPT at a damaged record. Any thread. */
int ky_journal_read_file(const char *path, int (*fn)(const ky_record *r, void *arg, ky_err *err),
                         void *arg, ky_err *err);

/** Removes a sealed file; the caller has made sure of rule A6. KY_EBUSY: it is the newest,
 *  which keeps the journal's end. Any
 *  thread. */
int ky_journal_delete(ky_journal *j, uint64_t first, ky_err *err);

#endif
