/*
 * results.db: predictions, states and positions in SQLite (DESIGN 4.4; PROTOCOL.md A5).
 * The only file that knows SQLite. Everything kymod writes in service goes through
 * ky_results_commit: one unit, one transaction.
 *
 * A ky_results belongs to one thread at a time; readers open their own.
 */
#ifndef KY_RESULTS_H
#define KY_RESULTS_H

#include <stdbool.h>
#include <stdio.h>

#include "models/error.h"
#include "models/sample.h"

typedef struct ky_results ky_results;

/* Text and blobs of a unit's rows lie in its `bytes`; rows hold offsets. */
typedef struct ky_span {
    uint32_t at, len;
} ky_span;

typedef struct ky_row_stream { /* a stream seen for the first time */
    uint32_t id;
    uint16_t class_; /* index into ky_unit.classes */
    ky_span name;
} ky_row_stream;

typedef struct ky_row_prediction {
    uint32_t stream;
    uint16_t model; /* index into ky_unit.models */
    uint32_t version;
    int64_t n, seq, ts_us, answered_us, latency_us; /* seq KY_NONE -> NULL */
    int16_t label; /* index; label text in ky_span name; -1: NULL */
    uint8_t quality, time_source;
    float score;
    ky_span name, y; /* label text; outputs as little-endian f32 */
} ky_row_prediction;

/* What is to be seen of a state without reading it: columns of `states`. */
typedef struct ky_row_health {
    float rms, largest, saturated;           /* models/health.h; NaN -> NULL */
    int64_t steps;                           /* since the state was zeros */
    int64_t written_us;                      /* the host's time when the row was made */
    int64_t quarantines;                     /* steps that were undone; 0: what follows is NULL */
    int64_t quarantined_us;                  /* when the last of their samples arrived */
    int64_t quarantined_n, quarantined_from; /* its step, and the first of those in a row */
} ky_row_health;

typedef struct ky_row_state { /* a stream under one of its models: state, position, numbers */
    uint32_t stream;
    uint16_t model;
    uint32_t version;
    int64_t n;       /* last step number */
    int64_t start_n; /* first step number of the present sequence */
    int64_t epoch;   /* how often the sender began anew */
    uint64_t pos;    /* journal position behind the last applied record */
    int64_t seq_high;
    uint64_t seq_mask;
    int64_t ts_us; /* of the last sample */
    bool ended;    /* the next sample starts from zeros */
    bool lags;     /* the last sample came before the era of arrivals that pos lies in */
    bool sweep;    /* the stream's rows of an older position go: of models that left its class */
    uint64_t layout;
    ky_span blob;         /* model state, bytes as the plan defines them */
    ky_span extra;        /* the lane's own, opaque: last answer's label, last values */
    int64_t file_first;   /* journal file in which state0 was last taken */
    ky_row_health health; /* not of a ky_row_state0; nor lags */
} ky_row_state;

typedef struct ky_row_part { /* what a stretch of a model's states is, by their layout */
    uint16_t model;
    bool bounded;
    int part;
    uint64_t layout;
    size_t at, bytes, h; /* as in models/plan.h */
    ky_span layer, what;
} ky_row_part;

typedef struct ky_row_state0 { /* the same as it was before the first record of a journal file */
    uint64_t file_first;       /* the file's first position */
    ky_row_state row;
} ky_row_state0;

typedef struct ky_row_label {
    uint32_t stream;
    int64_t n; /* step it belongs to, or KY_NONE: found by seq or ts at commit; a label
                  whose step is not found stays in `labels`, with n NULL */
    int64_t seq, ts_us;
    int64_t at_us; /* when it came */
    bool late;     /* it came after its sample (n = KY_NONE: always) */
    ky_span label;
} ky_row_label;

typedef struct ky_row_gap {
    uint32_t stream;
    int64_t n; /* the step behind the gap */
    int64_t from_us, to_us, from_seq, to_seq;
    ky_span what; /* kept, reset, held, ended, forgotten */
} ky_row_gap;

typedef struct ky_row_reject {
    uint64_t pos;
    int64_t at_us;
    ky_span source, stream, reason, body;
} ky_row_reject;

typedef struct ky_row_event {
    int64_t at_us;
    ky_span level, object, what,
        detail; /* info|warn|error, "stream pump-1", "swap", JSON or text */
} ky_row_event;

typedef struct ky_row_source { /* how far a source's input is in the journal */
    ky_span source, key;       /* key: Kafka "topic/partition", acknowledged: sender id */
    uint8_t session[16];
    int64_t number; /* last message number or offset */
    bool gone;      /* it is forgotten */
} ky_row_source;

typedef struct ky_row_swap { /* a model version took over at a journal position */
    uint64_t pos;
    uint16_t model;
    uint32_t version;
    uint64_t hash;
} ky_row_swap;

#define KY_ROWS(type)                                                                              \
    struct {                                                                                       \
        type *row;                                                                                 \
        uint32_t n, cap;                                                                           \
    }

/* What one transaction writes. Grown by the thread that fills it, emptied for reuse. */
typedef struct ky_unit {
    KY_ROWS(ky_row_stream) streams;
    KY_ROWS(ky_row_prediction) predictions;
    KY_ROWS(ky_row_state) states;
    KY_ROWS(ky_row_state0) states0;
    KY_ROWS(ky_row_part) parts;
    KY_ROWS(ky_row_label) labels;
    KY_ROWS(ky_row_gap) gaps;
    KY_ROWS(ky_row_reject) rejects;
    KY_ROWS(ky_row_event) events;
    KY_ROWS(ky_row_source) sources;
    KY_ROWS(ky_row_swap) swaps;
    KY_ROWS(char) bytes;
    const char *const *models;  /* names by index, borrowed */
    const char *const *classes; /* likewise */
    int64_t keep_rejects; /* after this unit at most so many rows in rejects, the newest; 0: all */
    uint64_t low_water;   /* every stream has applied all records before this; 0: not said */
} ky_unit;

/* So many rows of `events` are kept, the newest: months of what happens, hours of what is done to
 * us. */
enum { KY_KEEP_EVENTS = 100000 };

void ky_unit_clear(ky_unit *u);
void ky_unit_done(ky_unit *u);
/** Copies bytes into the unit. KY_ENOMEM ends the process by abort: a unit has no half. */
ky_span ky_unit_bytes(ky_unit *u, const void *p, size_t len);
/** A zeroed new row; `KY_ADD(&u->predictions)` gives a pointer to it, valid until the next. */
void *ky_rows_add(void *rows, size_t size);
#define KY_ADD(rows) ((__typeof__((rows)->row))ky_rows_add((rows), sizeof(*(rows)->row)))
bool ky_unit_empty(const ky_unit *u);

/**
 * Opens or makes the database, runs migrations, keeps WAL across closing, synchronous=FULL or
 * NORMAL. Several may be open on one file; each waits up to 20 s for another's transaction.
 *
 * Others of the file's group may read, also after kymod has stopped: a reader without write
 * permission needs the database, -wal and -shm to exist and to be readable, and x on the directory.
 * SQLite makes the two with the database's mode (0640) and group, and they stay when the last
 * connection closes. Only a connection that may write and does not keep the WAL removes them when
 * it is the last: the owner's plain sqlite3 shell while kymod is stopped. Then others cannot read
 * until the next open here makes them again; `sqlite3 -readonly` and ky_results_query leave them
 * alone.
 *
 * KY_EFORMAT: a newer schema, or not kymo's database; -ENOSPC; KY_EBUSY; -EACCES.
 */
int ky_results_open(const char *path, bool full_sync, ky_results **ret, ky_err *err);
/** Opens one that others write, to read the labels only: nothing is made, changed or brought up to
 *  date, so a kymod of an older version can go on with it. KY_ENOENT; KY_EFORMAT as above. */
int ky_results_open_labels(const char *path, ky_results **ret, ky_err *err);
void ky_results_close(ky_results *r);

/** From now on its thread lets others have the processor every 0.1 ms or so of a statement's work.
 */
void ky_results_yield(ky_results *r);

/** This connection reads here and there, or everything once: it keeps a megabyte of pages in place
 * of the writer's many. */
void ky_results_keep_few_pages(ky_results *r);

/** All of the unit in one transaction; plain INSERT: a prediction that exists is KY_ECORRUPT. On
 * any failure nothing of it is there. -ENOSPC: the disk is full. */
int ky_results_commit(ky_results *r, const ky_unit *u, ky_err *err);

/** Moves the WAL's content into the database; true in ret if all of it (A6, A7). */
int ky_results_checkpoint(ky_results *r, bool *ret, ky_err *err);

/* -- what a restart reads -- */
typedef struct ky_saved_stream {
    ky_row_state row;                      /* blob's span unused: see blob */
    const char *class_name, *name, *model; /* model NULL: the stream has no state yet */
    const void *blob;
    size_t blob_len;
    const void *extra;
    size_t extra_len;
} ky_saved_stream;

/** A stream comes once for each model it has a row of, or once without; of rows with different
 *  positions the later holds, the others are of models that did not serve it lately. */
int ky_results_each_stream(ky_results *r,
                           int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err), void *arg,
                           ky_err *err);
/** The same of every nth stream alone: those whose number leaves `rest` when divided by n. */
int ky_results_each_stream_of(ky_results *r, uint32_t n, uint32_t rest,
                              int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err),
                              void *arg, ky_err *err);
/** One stream, by name or number: as above, or fn is not called at all if there is none. */
int ky_results_stream_named(ky_results *r, const char *class_name, const char *name, size_t len,
                            int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err), void *arg,
                            ky_err *err);
int ky_results_stream_numbered(ky_results *r, uint32_t id,
                               int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err),
                               void *arg, ky_err *err);
/** The position behind which at most so many streams of a class were used last; 0: all were. */
int ky_results_used_since(ky_results *r, const char *class_name, int64_t most, uint64_t *ret,
                          ky_err *err);
int ky_results_each_source(ky_results *r,
                           int (*fn)(const char *source, const char *key, const uint8_t session[16],
                                     int64_t number, void *arg, ky_err *err),
                           void *arg, ky_err *err);
/** The committed state of one stream under a model: up to `size` bytes of it, *ret_len in all.
 * KY_ENOENT: there is none. */
int ky_results_state(ky_results *r, uint32_t stream, const char *model, void *state, size_t size,
                     size_t *ret_len, ky_err *err);
/** The version of `model` in force just before position pos; KY_ENOENT if none was recorded. */
int ky_results_model_at(ky_results *r, const char *model, uint64_t pos, uint32_t *ret_version,
                        uint64_t *ret_hash, ky_err *err);
/** The highest low-water mark committed; 0 if none. */
int ky_results_low_water(ky_results *r, uint64_t *ret, ky_err *err);
/** The highest position that a stream's row has ever had; 0 if none. */
int ky_results_high_water(ky_results *r, uint64_t *ret, ky_err *err);
/** The database's own random id, made with it. */
int ky_results_uuid(ky_results *r, char ret[37], ky_err *err);
/** Whether every stream has applied everything before pos (A6): the low-water mark says so. Rows of
 *  states alone do not: a stream seen for the first time has none yet. */
int ky_results_applied(ky_results *r, uint64_t pos, bool *ret, ky_err *err);

/* -- archive -- */
int ky_results_each_state0(ky_results *r, uint64_t file_first, const char *class_name,
                           int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err), void *arg,
                           ky_err *err);
/** How many those are, and their bytes with the names of their streams and models. */
int ky_results_size_state0(ky_results *r, uint64_t file_first, const char *class_name,
                           uint64_t *ret_n, uint64_t *ret_bytes, ky_err *err);
typedef struct ky_segment_row {
    const char *class_name, *path; /* path relative to the state directory */
    uint64_t first, end, rows, bytes;
    int64_t from_us, to_us;
} ky_segment_row;
/** Registers a segment, in place of one of the same class and first position. */
int ky_results_add_segment(ky_results *r, const ky_segment_row *s, ky_err *err);
int ky_results_each_segment(ky_results *r, const char *class_name,
                            int (*fn)(const ky_segment_row *s, void *arg, ky_err *err), void *arg,
                            ky_err *err);
int ky_results_drop_state0(ky_results *r, uint64_t file_first, ky_err *err);
/** Labels that came after their samples: fn(stream name, n, label). */
int ky_results_each_label(ky_results *r, const char *class_name,
                          int (*fn)(const char *stream, int64_t n, const char *label, void *arg,
                                    ky_err *err),
                          void *arg, ky_err *err);

/* -- models and retraining -- */
typedef struct ky_model_row {
    const char *model;
    uint32_t version;
    uint64_t hash;
    const char *path, *origin; /* relative path in the store; "config", "retrain", ... */
    int64_t created_us;
} ky_model_row;
/** Doing it again is harmless; KY_ECORRUPT: the version is there with another hash. */
int ky_results_add_model(ky_results *r, const ky_model_row *m, ky_err *err);
typedef struct ky_retrain_row {
    const char *model, *cause, *verdict, *reason; /* verdict: promoted | kept | failed */
    int64_t started_us, ended_us;
    uint32_t from_version, to_version; /* 0: none */
    int64_t rows;                      /* sequences trained on */
    int64_t held_out;
    const char *metric;
    double champion, candidate; /* on the same held-out part; NaN -> NULL */
    const char *detail;         /* JSON */
} ky_retrain_row;
int ky_results_add_retrain(ky_results *r, const ky_retrain_row *t, ky_err *err);
/** When the last training of a model began; 0: never. */
int ky_results_last_retrain(ky_results *r, const char *model, int64_t *ret_us, ky_err *err);
/** Whether a state, a segment's first states or an answer names this version. */
int ky_results_version_used(ky_results *r, const char *model, uint32_t version, bool *ret,
                            ky_err *err);

/* -- for people -- */
/** Runs one statement read-only; prints a table, CSV or a JSON array. KY_EINVAL with SQLite's
 * words. */
enum ky_table_style { KY_TABLE_TEXT, KY_TABLE_CSV, KY_TABLE_JSON };
int ky_results_query(const char *path, const char *sql, enum ky_table_style style, FILE *out,
                     ky_err *err);
/** The same with text for its parameters, ?1 being args[0]; NULL for NULL. */
int ky_results_ask(const char *path, const char *sql, const char *const *args,
                   enum ky_table_style style, FILE *out, ky_err *err);

#endif
