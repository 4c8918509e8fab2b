/*
 * What the files of results share. The only place that includes SQLite's header; a
 * ky_results is one connection with its prepared statements, and belongs to one thread.
 */
#ifndef KY_RESULTS_SQLITE_H
#define KY_RESULTS_SQLITE_H

#include <sqlite3.h>

#include "storage/results.h"

enum { KY_BUSY_TIMEOUT_MS = 20000, KY_APPLICATION_ID = 0x6b796d6f /* "kymo" */ };

enum { KY_ANSWER_COLUMNS = 14, KY_ANSWERS_AT_ONCE = 16 };

/* From column `at` on: the columns of states or states0, all NULL for a stream without a state. */
#define KY_SQL_STATE_COLUMNS                                                                       \
    "t.model, t.version, t.n, t.start_n, t.epoch, t.pos, t.seq_high, t.seq_mask, t.ts, t.ended,"   \
    " t.layout, t.state, t.extra, t.file_first"

/* Behind them, of states only: what the lane needs of its health, and `lags`. */
#define KY_SQL_HEALTH_COLUMNS                                                                      \
    "coalesce(t.quarantines, 0), t.quarantined, t.quarantined_n, t.quarantined_from, t.lags"

/* Streams with what is committed of them, for ky_saved_stream. */
#define KY_SQL_SAVED_STREAMS                                                                       \
    "SELECT s.id, s.class, s.name, " KY_SQL_STATE_COLUMNS ", " KY_SQL_HEALTH_COLUMNS               \
    " FROM streams s LEFT JOIN states t ON t.stream = s.id"

/* Statements of the hot path, prepared at first use and kept. */
enum ky_statement {
    KY_SQL_BEGIN,
    KY_SQL_COMMIT,
    KY_SQL_ROLLBACK,
    KY_SQL_STREAM,
    KY_SQL_SERIES,
    KY_SQL_NEW_SERIES,
    KY_SQL_SERIES_END,
    KY_SQL_ANSWER,
    KY_SQL_ANSWERS,
    KY_SQL_RUN,
    KY_SQL_LAST_ANSWER,
    KY_SQL_UNSETTLED,
    KY_SQL_SETTLE,
    KY_SQL_SETTLED,
    KY_SQL_STATE,
    KY_SQL_SWEEP_STATES,
    KY_SQL_STATE0,
    KY_SQL_PART,
    KY_SQL_LABEL,
    KY_SQL_GAP,
    KY_SQL_REJECT,
    KY_SQL_TRIM_REJECTS,
    KY_SQL_EVENT,
    KY_SQL_TRIM_EVENTS,
    KY_SQL_POSITION,
    KY_SQL_POSITION_GONE,
    KY_SQL_LOW_WATER,
    KY_SQL_HIGH_WATER,
    KY_SQL_SWAP,
    KY_SQL_SERIES_OF,
    KY_SQL_NEWEST_STEPS,
    KY_SQL_STEP_FROM,
    KY_SQL_ONE_STATE,
    KY_SQL_STREAM_NAMED,
    KY_SQL_STREAM_NUMBERED,
    KY_SQL_N,
};

typedef struct ky_answer_order {
    uint64_t series; /* stream and model */
    uint32_t row;    /* of the unit's predictions */
} ky_answer_order;

struct ky_results {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *stmt[KY_SQL_N];
    ky_answer_order *order;
    size_t cap_order;
    int64_t unsettled; /* runs of answers in level 1; -1: to be counted */
};

/** What SQLite last said about r, with the code that fits: a full disk, a lock, corruption. */
int ky_results_fail(ky_results *r, const char *doing, ky_err *err);

/** Brings the tables to the newest schema in one transaction; KY_EFORMAT: newer than ours, or
 *  somebody else's database. */
int ky_results_migrate(ky_results *r, ky_err *err);

/** KY_EFORMAT likewise, and where there is none; changes nothing. */
int ky_results_check(ky_results *r, ky_err *err);

/** A statement that is used seldom; NULL after ky_results_fail. Finalize it. */
sqlite3_stmt *ky_results_prepare(ky_results *r, const char *sql, ky_err *err);

/** A statement of the hot path. Of NULL, binding and stepping are errors that SQLite reports. */
sqlite3_stmt *ky_results_kept(ky_results *r, enum ky_statement which);

/** Steps a statement that gives no rows, resets it. */
int ky_results_run(ky_results *r, sqlite3_stmt *s, const char *doing, ky_err *err);

/** The unit's predictions, within its transaction. KY_ECORRUPT: one of them is there already. */
int ky_answers_put(ky_results *r, const ky_unit *u, ky_err *err);

/** The last step of a stream that has this seq (KY_NONE: this ts); KY_NONE if there is none. */
int64_t ky_answers_find(ky_results *r, uint32_t stream, int64_t seq, int64_t ts_us);

/* Binding: the text stays the caller's until the statement is stepped. */
static inline void ky_bind_time(sqlite3_stmt *s, int at, int64_t v)
{
    if (v == KY_NONE)
        sqlite3_bind_null(s, at);
    else
        sqlite3_bind_int64(s, at, v);
}

static inline void ky_bind_text(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC); /* NULL binds NULL */
}

static inline void ky_bind_span(sqlite3_stmt *s, int at, const ky_unit *u, ky_span span)
{
    sqlite3_bind_text(s, at, span.len ? u->bytes.row + span.at : "", (int)span.len, SQLITE_STATIC);
}

static inline void ky_bind_blob(sqlite3_stmt *s, int at, const ky_unit *u, ky_span span)
{
    if (span.len > 0)
        sqlite3_bind_blob(s, at, u->bytes.row + span.at, (int)span.len, SQLITE_STATIC);
    else
        sqlite3_bind_null(s, at);
}

static inline int64_t ky_column_time(sqlite3_stmt *s, int at)
{
    return sqlite3_column_type(s, at) == SQLITE_NULL ? KY_NONE : sqlite3_column_int64(s, at);
}

#endif
