/* What a restart, the archive and retraining read and write in results.db. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "storage/results_sqlite.h"

/* -- rows -- */

/* Steps through a statement; each row goes to `row`. */
static int step_through(ky_results *r, sqlite3_stmt *s,
                        int (*row)(sqlite3_stmt *s, void *arg, ky_err *err), void *arg,
                        const char *doing, ky_err *err)
{
    int rc = KY_OK, step = SQLITE_DONE;

    while (rc == KY_OK && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = row(s, arg, err);
    if (rc == KY_OK && step != SQLITE_DONE)
        rc = ky_results_fail(r, doing, err);
    return rc;
}

/* The same once: the statement is finalized. */
static int each(ky_results *r, sqlite3_stmt *s, int (*row)(sqlite3_stmt *s, void *arg, ky_err *err),
                void *arg, const char *doing, ky_err *err)
{
    int rc = step_through(r, s, row, arg, doing, err);

    sqlite3_finalize(s);
    return rc;
}

static int prepare(ky_results *r, const char *sql, sqlite3_stmt **ret, ky_err *err)
{
    ky_err own = { 0 };

    *ret = ky_results_prepare(r, sql, err ? err : &own);
    return *ret ? KY_OK : (err ? err : &own)->code;
}

/* Runs a statement once that gives no rows. */
static int run_once(ky_results *r, sqlite3_stmt *s, const char *doing, ky_err *err)
{
    int rc = ky_results_run(r, s, doing, err);

    sqlite3_finalize(s);
    return rc;
}

static const char *text(sqlite3_stmt *s, int at)
{
    return (const char *)sqlite3_column_text(s, at);
}

static uint64_t hash_of(sqlite3_stmt *s, int at)
{
    const char *hex = text(s, at);

    return hex ? strtoull(hex, NULL, 16) : 0;
}

static void bind_hash(sqlite3_stmt *s, int at, uint64_t hash)
{
    char hex[17];

    snprintf(hex, sizeof(hex), "%016" PRIx64, hash);
    sqlite3_bind_text(s, at, hex, 16, SQLITE_TRANSIENT);
}

/* -- streams and their states -- */

static int number_row(sqlite3_stmt *s, void *arg, ky_err *err)
{
    (void)err;
    *(uint64_t *)arg = (uint64_t)sqlite3_column_int64(s, 0);
    return KY_OK;
}

typedef struct stream_fn {
    int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err);
    void *arg;
} stream_fn;

/* Columns: id, class, name, then KY_SQL_STATE_COLUMNS, and KY_SQL_HEALTH_COLUMNS where they are
 * kept. */
static int stream_row(sqlite3_stmt *s, void *arg, ky_err *err)
{
    const stream_fn *f = arg;
    ky_saved_stream v = { .class_name = text(s, 1), .name = text(s, 2), .model = text(s, 3) };

    v.row.stream = (uint32_t)sqlite3_column_int64(s, 0);
    v.row.version = (uint32_t)sqlite3_column_int64(s, 4);
    v.row.n = sqlite3_column_int64(s, 5);
    v.row.start_n = sqlite3_column_int64(s, 6);
    v.row.epoch = sqlite3_column_int64(s, 7);
    v.row.pos = (uint64_t)sqlite3_column_int64(s, 8);
    v.row.seq_high = ky_column_time(s, 9);
    v.row.seq_mask = (uint64_t)sqlite3_column_int64(s, 10);
    v.row.ts_us = ky_column_time(s, 11);
    v.row.ended = sqlite3_column_int(s, 12) != 0;
    v.row.layout = (uint64_t)sqlite3_column_int64(s, 13);
    v.blob = sqlite3_column_blob(s, 14);
    v.blob_len = (size_t)sqlite3_column_bytes(s, 14);
    v.extra = sqlite3_column_blob(s, 15);
    v.extra_len = (size_t)sqlite3_column_bytes(s, 15);
    v.row.file_first = sqlite3_column_int64(s, 16);
    if (sqlite3_column_count(s) > 17) {
        v.row.health = (ky_row_health){ .quarantines = sqlite3_column_int64(s, 17),
                                        .quarantined_us = ky_column_time(s, 18),
                                        .quarantined_n = sqlite3_column_int64(s, 19),
                                        .quarantined_from = sqlite3_column_int64(s, 20) };
        v.row.lags = sqlite3_column_int(s, 21) != 0;
    }
    return f->fn(&v, f->arg, err);
}

int ky_results_each_stream(ky_results *r,
                           int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err), void *arg,
                           ky_err *err)
{
    stream_fn f = { fn, arg };
    sqlite3_stmt *s;
    int rc = prepare(r, KY_SQL_SAVED_STREAMS " ORDER BY s.id", &s, err);

    return rc == KY_OK ? each(r, s, stream_row, &f, "reading the states", err) : rc;
}

int ky_results_each_stream_of(ky_results *r, uint32_t n, uint32_t rest,
                              int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err),
                              void *arg, ky_err *err)
{
    stream_fn f = { fn, arg };
    sqlite3_stmt *s;
    int rc = prepare(r, KY_SQL_SAVED_STREAMS " WHERE s.id % ? = ? ORDER BY s.id", &s, err);

    if (rc != KY_OK)
        return rc;
    sqlite3_bind_int64(s, 1, n);
    sqlite3_bind_int64(s, 2, rest);
    return each(r, s, stream_row, &f, "reading the states", err);
}

int ky_results_stream_named(ky_results *r, const char *class_name, const char *name, size_t len,
                            int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err), void *arg,
                            ky_err *err)
{
    sqlite3_stmt *s = ky_results_kept(r, KY_SQL_STREAM_NAMED);
    stream_fn f = { fn, arg };

    ky_bind_text(s, 1, class_name);
    sqlite3_bind_text(s, 2, name, (int)len, SQLITE_STATIC);
    int rc = step_through(r, s, stream_row, &f, "reading a stream", err);

    sqlite3_reset(s);
    return rc;
}

int ky_results_stream_numbered(ky_results *r, uint32_t id,
                               int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err),
                               void *arg, ky_err *err)
{
    sqlite3_stmt *s = ky_results_kept(r, KY_SQL_STREAM_NUMBERED);
    stream_fn f = { fn, arg };

    sqlite3_bind_int64(s, 1, id);
    int rc = step_through(r, s, stream_row, &f, "reading a stream", err);

    sqlite3_reset(s);
    return rc;
}

int ky_results_used_since(ky_results *r, const char *class_name, int64_t most, uint64_t *ret,
                          ky_err *err)
{
    sqlite3_stmt *s;
    /* Nothing is sorted where there are not so many. */
    int rc = prepare(r,
                     "SELECT (SELECT coalesce(max(t.pos), 0) AS used FROM streams s"
                     "        LEFT JOIN states t ON t.stream = s.id WHERE s.class = ?1"
                     "        GROUP BY s.id ORDER BY used DESC LIMIT 1 OFFSET ?2)"
                     " WHERE EXISTS (SELECT 1 FROM streams WHERE class = ?1 LIMIT 1 OFFSET ?2)",
                     &s, err);

    *ret = 0;
    if (rc != KY_OK)
        return rc;
    ky_bind_text(s, 1, class_name);
    sqlite3_bind_int64(s, 2, most);
    return each(r, s, number_row, ret, "looking for the streams used last", err);
}

int ky_results_each_state0(ky_results *r, uint64_t file_first, const char *class_name,
                           int (*fn)(const ky_saved_stream *s, void *arg, ky_err *err), void *arg,
                           ky_err *err)
{
    stream_fn f = { fn, arg };
    sqlite3_stmt *s;
    int rc = prepare(r,
                     "SELECT s.id, s.class, s.name, " KY_SQL_STATE_COLUMNS
                     " FROM states0 t JOIN streams s ON s.id = t.stream"
                     " WHERE t.file = ? AND s.class = ? ORDER BY s.id, t.model",
                     &s, err);

    if (rc != KY_OK)
        return rc;
    sqlite3_bind_int64(s, 1, (int64_t)file_first);
    ky_bind_text(s, 2, class_name);
    return each(r, s, stream_row, &f, "reading the states before a journal file", err);
}

static int size_row(sqlite3_stmt *s, void *arg, ky_err *err)
{
    uint64_t *ret = arg;

    (void)err;
    ret[0] = (uint64_t)sqlite3_column_int64(s, 0);
    ret[1] = (uint64_t)sqlite3_column_int64(s, 1);
    return KY_OK;
}

int ky_results_size_state0(ky_results *r, uint64_t file_first, const char *class_name,
                           uint64_t *ret_n, uint64_t *ret_bytes, ky_err *err)
{
    uint64_t is[2] = { 0 };
    sqlite3_stmt *s;
    int rc = prepare(r,
                     "SELECT count(*), coalesce(sum(coalesce(length(t.state), 0)"
                     " + length(CAST(s.name AS BLOB)) + length(CAST(t.model AS BLOB))), 0)"
                     " FROM states0 t JOIN streams s ON s.id = t.stream"
                     " WHERE t.file = ? AND s.class = ?",
                     &s, err);

    if (rc != KY_OK)
        return rc;
    sqlite3_bind_int64(s, 1, (int64_t)file_first);
    ky_bind_text(s, 2, class_name);
    rc = each(r, s, size_row, is, "measuring the states before a journal file", err);
    *ret_n = is[0];
    *ret_bytes = is[1];
    return rc;
}

int ky_results_drop_state0(ky_results *r, uint64_t file_first, ky_err *err)
{
    sqlite3_stmt *s;
    int rc = prepare(r, "DELETE FROM states0 WHERE file = ?", &s, err);

    if (rc != KY_OK)
        return rc;
    sqlite3_bind_int64(s, 1, (int64_t)file_first);
    return run_once(r, s, "dropping the states before a journal file", err);
}

/* -- positions -- */

typedef struct source_fn {
    int (*fn)(const char *source, const char *key, const uint8_t session[16], int64_t number,
              void *arg, ky_err *err);
    void *arg;
} source_fn;

static int source_row(sqlite3_stmt *s, void *arg, ky_err *err)
{
    const source_fn *f = arg;
    uint8_t session[16] = { 0 };
    const void *blob = sqlite3_column_blob(s, 2);

    if (blob != NULL && sqlite3_column_bytes(s, 2) == sizeof(session))
        memcpy(session, blob, sizeof(session));
    return f->fn(text(s, 0), text(s, 1), session, sqlite3_column_int64(s, 3), f->arg, err);
}

int ky_results_each_source(ky_results *r,
                           int (*fn)(const char *source, const char *key, const uint8_t session[16],
                                     int64_t number, void *arg, ky_err *err),
                           void *arg, ky_err *err)
{
    source_fn f = { fn, arg };
    sqlite3_stmt *s;
    int rc = prepare(r,
                     "SELECT source, key, session, number FROM positions WHERE source <> ''"
                     " ORDER BY source, key",
                     &s, err);

    return rc == KY_OK ? each(r, s, source_row, &f, "reading the sources' positions", err) : rc;
}

int ky_results_low_water(ky_results *r, uint64_t *ret, ky_err *err)
{
    sqlite3_stmt *s;
    int rc =
        prepare(r, "SELECT number FROM positions WHERE source = '' AND key = 'low water'", &s, err);

    *ret = 0;
    return rc == KY_OK ? each(r, s, number_row, ret, "reading the low-water mark", err) : rc;
}

int ky_results_high_water(ky_results *r, uint64_t *ret, ky_err *err)
{
    sqlite3_stmt *s;
    /* A database from before it was written down has all of it in its states. */
    int rc = prepare(r,
                     "SELECT coalesce((SELECT number FROM positions WHERE source = ''"
                     " AND key = 'high water'), (SELECT max(pos) FROM states), 0)",
                     &s, err);

    *ret = 0;
    return rc == KY_OK ? each(r, s, number_row, ret, "reading the highest position", err) : rc;
}

int ky_results_applied(ky_results *r, uint64_t pos, bool *ret, ky_err *err)
{
    uint64_t low;
    int rc = ky_results_low_water(r, &low, err);

    if (rc == KY_OK)
        *ret = low >= pos;
    return rc;
}

int ky_results_uuid(ky_results *r, char ret[37], ky_err *err)
{
    sqlite3_stmt *s;
    int rc = prepare(r, "SELECT uuid FROM identity WHERE length(uuid) = 36", &s, err);

    if (rc != KY_OK)
        return rc;
    if (sqlite3_step(s) == SQLITE_ROW)
        memcpy(ret, text(s, 0), 37);
    else
        rc = ky_fail(err, KY_ECORRUPT, "'%s' has no identity", r->path);
    sqlite3_finalize(s);
    return rc;
}

int ky_results_model_at(ky_results *r, const char *model, uint64_t pos, uint32_t *ret_version,
                        uint64_t *ret_hash, ky_err *err)
{
    sqlite3_stmt *s;
    int rc = prepare(r,
                     "SELECT version, hash FROM swaps WHERE model = ? AND pos < ?"
                     " ORDER BY pos DESC LIMIT 1",
                     &s, err);

    if (rc != KY_OK)
        return rc;
    ky_bind_text(s, 1, model);
    sqlite3_bind_int64(s, 2, pos > INT64_MAX ? INT64_MAX : (int64_t)pos);
    rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        *ret_version = (uint32_t)sqlite3_column_int64(s, 0);
        *ret_hash = hash_of(s, 1);
        rc = KY_OK;
    } else if (rc == SQLITE_DONE) {
        rc = ky_fail(err, KY_ENOENT, "'%s': no version of model '%s' before position %" PRIu64,
                     r->path, model, pos);
    } else {
        rc = ky_results_fail(r, "reading the swaps", err);
    }
    sqlite3_finalize(s);
    return rc;
}

/* -- archive -- */

int ky_results_add_segment(ky_results *r, const ky_segment_row *p, ky_err *err)
{
    sqlite3_stmt *s;
    int rc = prepare(r,
                     "INSERT OR REPLACE INTO segments"
                     " (class, first, \"end\", path, rows, bytes, from_ts, to_ts)"
                     " VALUES (?,?,?,?,?,?,?,?)",
                     &s, err);

    if (rc != KY_OK)
        return rc;
    ky_bind_text(s, 1, p->class_name);
    sqlite3_bind_int64(s, 2, (int64_t)p->first);
    sqlite3_bind_int64(s, 3, (int64_t)p->end);
    ky_bind_text(s, 4, p->path);
    sqlite3_bind_int64(s, 5, (int64_t)p->rows);
    sqlite3_bind_int64(s, 6, (int64_t)p->bytes);
    ky_bind_time(s, 7, p->from_us);
    ky_bind_time(s, 8, p->to_us);
    return run_once(r, s, "adding a segment", err);
}

typedef struct segment_fn {
    int (*fn)(const ky_segment_row *s, void *arg, ky_err *err);
    void *arg;
} segment_fn;

static int segment_row(sqlite3_stmt *s, void *arg, ky_err *err)
{
    const segment_fn *f = arg;
    ky_segment_row v = { .class_name = text(s, 0), .path = text(s, 3) };

    v.first = (uint64_t)sqlite3_column_int64(s, 1);
    v.end = (uint64_t)sqlite3_column_int64(s, 2);
    v.rows = (uint64_t)sqlite3_column_int64(s, 4);
    v.bytes = (uint64_t)sqlite3_column_int64(s, 5);
    v.from_us = ky_column_time(s, 6);
    v.to_us = ky_column_time(s, 7);
    return f->fn(&v, f->arg, err);
}

int ky_results_each_segment(ky_results *r, const char *class_name,
                            int (*fn)(const ky_segment_row *s, void *arg, ky_err *err), void *arg,
                            ky_err *err)
{
    segment_fn f = { fn, arg };
    sqlite3_stmt *s;
    int rc = prepare(r,
                     "SELECT class, first, \"end\", path, rows, bytes, from_ts, to_ts FROM segments"
                     " WHERE class = ? ORDER BY first",
                     &s, err);

    if (rc != KY_OK)
        return rc;
    ky_bind_text(s, 1, class_name);
    return each(r, s, segment_row, &f, "reading the segments", err);
}

typedef struct label_fn {
    int (*fn)(const char *stream, int64_t n, const char *label, void *arg, ky_err *err);
    void *arg;
} label_fn;

static int label_row(sqlite3_stmt *s, void *arg, ky_err *err)
{
    const label_fn *f = arg;

    return f->fn(text(s, 0), sqlite3_column_int64(s, 1), text(s, 2), f->arg, err);
}

int ky_results_each_label(ky_results *r, const char *class_name,
                          int (*fn)(const char *stream, int64_t n, const char *label, void *arg,
                                    ky_err *err),
                          void *arg, ky_err *err)
{
    label_fn f = { fn, arg };
    sqlite3_stmt *s;
    int rc = prepare(r,
                     "SELECT s.name, l.n, l.label FROM labels l JOIN streams s ON s.id = l.stream"
                     " WHERE s.class = ? AND l.late AND l.n IS NOT NULL ORDER BY l.stream, l.n",
                     &s, err);

    if (rc != KY_OK)
        return rc;
    ky_bind_text(s, 1, class_name);
    return each(r, s, label_row, &f, "reading the late labels", err);
}

/* -- models and retraining -- */

/* Whether the version is there with this hash: KY_OK, KY_ENOENT, or KY_ECORRUPT with another. */
static int same_model(ky_results *r, const ky_model_row *m, ky_err *err)
{
    sqlite3_stmt *s;
    int rc = prepare(r, "SELECT hash FROM models WHERE model = ? AND version = ?", &s, err);

    if (rc != KY_OK)
        return rc;
    ky_bind_text(s, 1, m->model);
    sqlite3_bind_int64(s, 2, m->version);
    rc = sqlite3_step(s);
    if (rc == SQLITE_ROW && hash_of(s, 0) != m->hash)
        rc = ky_fail(err, KY_ECORRUPT,
                     "'%s': model '%s' version %u has hash %016" PRIx64 ", not %016" PRIx64,
                     r->path, m->model, m->version, hash_of(s, 0), m->hash);
    else if (rc == SQLITE_ROW)
        rc = KY_OK;
    else
        rc = rc == SQLITE_DONE ? KY_ENOENT : ky_results_fail(r, "reading the models", err);
    sqlite3_finalize(s);
    return rc;
}

int ky_results_add_model(ky_results *r, const ky_model_row *m, ky_err *err)
{
    sqlite3_stmt *s;
    int rc = same_model(r, m, err);

    if (rc != KY_ENOENT)
        return rc;
    rc = prepare(r,
                 "INSERT INTO models (model, version, hash, path, origin, created)"
                 " VALUES (?,?,?,?,?,?)",
                 &s, err);
    if (rc != KY_OK)
        return rc;
    ky_bind_text(s, 1, m->model);
    sqlite3_bind_int64(s, 2, m->version);
    bind_hash(s, 3, m->hash);
    ky_bind_text(s, 4, m->path);
    ky_bind_text(s, 5, m->origin);
    ky_bind_time(s, 6, m->created_us);
    return run_once(r, s, "adding a model", err);
}

static void bind_version(sqlite3_stmt *s, int at, uint32_t version)
{
    if (version > 0)
        sqlite3_bind_int64(s, at, version);
    else
        sqlite3_bind_null(s, at);
}

int ky_results_add_retrain(ky_results *r, const ky_retrain_row *t, ky_err *err)
{
    sqlite3_stmt *s;
    int rc = prepare(r,
                     "INSERT INTO retrains (model, cause, verdict, reason, started, ended,"
                     " from_version, to_version, trained_on, held_out, metric, champion, candidate,"
                     " detail) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                     &s, err);

    if (rc != KY_OK)
        return rc;
    ky_bind_text(s, 1, t->model);
    ky_bind_text(s, 2, t->cause);
    ky_bind_text(s, 3, t->verdict);
    ky_bind_text(s, 4, t->reason);
    sqlite3_bind_int64(s, 5, t->started_us);
    sqlite3_bind_int64(s, 6, t->ended_us);
    bind_version(s, 7, t->from_version);
    bind_version(s, 8, t->to_version);
    sqlite3_bind_int64(s, 9, t->rows);
    sqlite3_bind_int64(s, 10, t->held_out);
    ky_bind_text(s, 11, t->metric);
    sqlite3_bind_double(s, 12, t->champion); /* NaN becomes NULL */
    sqlite3_bind_double(s, 13, t->candidate);
    ky_bind_text(s, 14, t->detail);
    return run_once(r, s, "adding a retraining", err);
}

int ky_results_last_retrain(ky_results *r, const char *model, int64_t *ret_us, ky_err *err)
{
    uint64_t started = 0;
    sqlite3_stmt *s;
    int rc = prepare(r, "SELECT coalesce(max(started), 0) FROM retrains WHERE model = ?", &s, err);

    if (rc != KY_OK)
        return rc;
    ky_bind_text(s, 1, model);
    rc = each(r, s, number_row, &started, "reading the last retraining", err);
    if (rc == KY_OK)
        *ret_us = (int64_t)started;
    return rc;
}

int ky_results_version_used(ky_results *r, const char *model, uint32_t version, bool *ret,
                            ky_err *err)
{
    uint64_t used = 0;
    sqlite3_stmt *s;
    /* The small tables first: a version in use is nearly always found there. */
    int rc = prepare(r,
                     "SELECT EXISTS (SELECT 1 FROM states WHERE model = ?1 AND version = ?2)"
                     " OR EXISTS (SELECT 1 FROM states0 WHERE model = ?1 AND version = ?2)"
                     " OR ?2 = (SELECT w.version FROM swaps w JOIN positions p ON p.key = w.model"
                     "          WHERE p.source = '=reset' AND w.model = ?1 AND w.pos < p.number"
                     "          ORDER BY w.pos DESC LIMIT 1)"
                     " OR EXISTS (SELECT 1 FROM answers a CROSS JOIN series e ON e.id = a.series"
                     "            WHERE a.version = ?2 AND e.model = ?1)",
                     &s, err);

    if (rc != KY_OK)
        return rc;
    ky_bind_text(s, 1, model);
    sqlite3_bind_int64(s, 2, version);
    rc = each(r, s, number_row, &used, "looking for a version's use", err);
    if (rc == KY_OK)
        *ret = used != 0;
    return rc;
}
