/*
 * One journal file, as bytes: its header, and reading records that may be damaged.
 * Internal to the journal. Any thread, each with its own descriptor.
 *
 * A file that has its final name has its header and its CONFIG record on disk: it was
 * written under a temporary name, synced and renamed. So a bad header is damage, and only
 * the records behind it may be torn.
 */
#ifndef KY_JOURNAL_FILE_H
#define KY_JOURNAL_FILE_H

#include "storage/record.h"
#include "models/error.h"

#define KY_JFILE_MAGIC "KYMOjrnl"
enum { KY_JFILE_VERSION = 1 };

typedef struct ky_jheader {
    char magic[8];
    uint32_t version;
    uint32_t crc;   /* CRC32C over the header with this field zero */
    uint8_t id[16]; /* random: a record copied from another file does not pass its check */
    uint64_t first; /* position of the first record */
    uint64_t after; /* where the records before this file ended; between after and first are none */
    int64_t begun_us;
    uint64_t spare;
} ky_jheader;

typedef int ky_record_fn(const ky_record *r, void *arg, ky_err *err);

/* How far a scan came. */
typedef struct ky_jscan {
    uint64_t end;     /* position behind the last good record */
    uint64_t whole;   /* position behind the last one with KY_LAST */
    uint64_t records; /* up to `whole`, CONFIG included */
    char why[160];    /* what ended it before the end of the file; "" if nothing did */
} ky_jscan;

/** Fills in magic, version and crc. */
void ky_jheader_seal(ky_jheader *h);

/** CRC32C of a record in the file with this id: over the id, `size`, and everything from `pos`. */
uint32_t ky_record_crc(const uint8_t id[16], const ky_record *r);

/** Writes all of it; a negated errno, which the caller puts into words. */
int ky_write_all(int fd, const void *data, size_t len);

/**
 * Reads header and records from the beginning of fd. Records before position `from` are checked
 * but not given to fn (NULL: only check). Ends at the first damaged record, which is not an error
 * here.
 *
 * @param size  bytes of the file to look at
 * @return      0, fn's first nonzero, KY_ECORRUPT for a bad header, or a read error
 */
int ky_jfile_scan(int fd, const char *path, uint64_t size, uint64_t from, ky_record_fn *fn,
                  void *arg, ky_jheader *ret_header, ky_jscan *ret_scan, ky_err *err);

#endif
