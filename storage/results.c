#include "storage/results.h"

#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/kernels.h"
#include "storage/results_sqlite.h"

#define STATE_COLUMNS                                                                              \
    "stream, model, version, n, start_n, epoch, pos, seq_high, seq_mask, ts, ended, layout,"       \
    " state, extra, file_first"
#define HEALTH_COLUMNS                                                                             \
    "rms, largest, saturated, steps, written, quarantines, quarantined, quarantined_n,"            \
    " quarantined_from"

#define ADD_ANSWERS                                                                                \
    "INSERT INTO answers (id, series, n, version, seq, ts, label, score, probs, quality,"          \
    " time_source, kernel_abi, answered, latency_us) VALUES "
#define ANSWER    "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
#define ANSWERS_4 ANSWER "," ANSWER "," ANSWER "," ANSWER /* KY_ANSWERS_AT_ONCE: four of these */

static const char *const statements[KY_SQL_N] = {
    [KY_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [KY_SQL_COMMIT] = "COMMIT",
    [KY_SQL_ROLLBACK] = "ROLLBACK",
    [KY_SQL_STREAM] = "INSERT INTO streams (id, class, name) VALUES (?,?,?)",
    [KY_SQL_SERIES] = "SELECT id, n FROM series WHERE stream = ? AND model = ? AND role = 'live'",
    [KY_SQL_NEW_SERIES] = "INSERT INTO series (stream, model, role, n, answer)"
                          " VALUES (?,?,'live',?,?)",
    [KY_SQL_SERIES_END] = "UPDATE series SET n = ?2, answer = ?3 WHERE id = ?1",
    [KY_SQL_ANSWER] = ADD_ANSWERS ANSWER,
    [KY_SQL_ANSWERS] = ADD_ANSWERS ANSWERS_4 "," ANSWERS_4 "," ANSWERS_4 "," ANSWERS_4,
    [KY_SQL_RUN] = "INSERT INTO runs (level, series, n, from_n, first, last) VALUES (1,?,?,?,?,?)",
    [KY_SQL_LAST_ANSWER] = "SELECT max(id) FROM answers",
    [KY_SQL_UNSETTLED] = "SELECT count(*) FROM runs WHERE level = 1",
    [KY_SQL_SETTLE] = "INSERT INTO runs SELECT 0, series, n, from_n, first, last FROM runs"
                      " WHERE level = 1 ORDER BY series, n",
    [KY_SQL_SETTLED] = "DELETE FROM runs WHERE level = 1",
    [KY_SQL_STATE] =
        "INSERT INTO states (" STATE_COLUMNS ", " HEALTH_COLUMNS ", lags)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " ON CONFLICT (stream, model) DO UPDATE SET version = excluded.version, n = excluded.n,"
        " start_n = excluded.start_n, epoch = excluded.epoch, pos = excluded.pos,"
        " seq_high = excluded.seq_high, seq_mask = excluded.seq_mask, ts = excluded.ts,"
        " ended = excluded.ended, layout = excluded.layout, state = excluded.state,"
        " extra = excluded.extra, file_first = excluded.file_first, rms = excluded.rms,"
        " largest = excluded.largest, saturated = excluded.saturated, steps = excluded.steps,"
        " written = excluded.written, quarantines = excluded.quarantines,"
        " quarantined = excluded.quarantined, quarantined_n = excluded.quarantined_n,"
        " quarantined_from = excluded.quarantined_from, lags = excluded.lags",
    [KY_SQL_SWEEP_STATES] = "DELETE FROM states WHERE stream = ? AND pos < ?",
    [KY_SQL_STATE0] =
        "INSERT INTO states0 (" STATE_COLUMNS ", file) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [KY_SQL_PART] = "INSERT OR REPLACE INTO state_parts (model, layout, part, layer, what, at,"
                    " bytes, h, bounded) VALUES (?,?,?,?,?,?,?,?,?)",
    /* A second label for a step corrects the first. */
    [KY_SQL_LABEL] =
        "INSERT INTO labels (stream, n, seq, ts, label, at, late) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (stream, n) DO UPDATE SET seq = excluded.seq, ts = excluded.ts,"
        " label = excluded.label, at = excluded.at, late = excluded.late",
    [KY_SQL_GAP] = "INSERT INTO gaps (stream, n, from_ts, to_ts, from_seq, to_seq, what)"
                   " VALUES (?,?,?,?,?,?,?)",
    [KY_SQL_REJECT] =
        "INSERT INTO rejects (at, pos, source, stream, reason, body) VALUES (?,?,?,?,?,?)",
    /* Ids grow by one with each row, so the oldest are those so far below the highest. */
    [KY_SQL_TRIM_REJECTS] = "DELETE FROM rejects WHERE id <= (SELECT max(id) FROM rejects) - ?",
    [KY_SQL_EVENT] = "INSERT INTO events (at, level, object, what, detail) VALUES (?,?,?,?,?)",
    [KY_SQL_TRIM_EVENTS] = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?",
    [KY_SQL_POSITION] =
        "INSERT OR REPLACE INTO positions (source, key, session, number) VALUES (?,?,?,?)",
    [KY_SQL_POSITION_GONE] = "DELETE FROM positions WHERE source = ? AND key = ?",
    [KY_SQL_LOW_WATER] =
        "INSERT INTO positions (source, key, number) VALUES ('', 'low water', ?)"
        " ON CONFLICT (source, key) DO UPDATE SET number = max(number, excluded.number)",
    [KY_SQL_HIGH_WATER] =
        "INSERT INTO positions (source, key, number) VALUES ('', 'high water', ?)"
        " ON CONFLICT (source, key) DO UPDATE SET number = max(number, excluded.number)",
    [KY_SQL_SWAP] = "INSERT INTO swaps (model, pos, version, hash) VALUES (?,?,?,?)",
    [KY_SQL_SERIES_OF] = "SELECT id FROM series WHERE stream = ? AND role = 'live' ORDER BY n DESC",
    [KY_SQL_NEWEST_STEPS] =
        "SELECT a.n, a.seq, a.ts FROM runs r CROSS JOIN answers a ON a.id BETWEEN r.first AND "
        "r.last"
        " WHERE r.level = ? AND r.series = ? ORDER BY r.n DESC, a.id DESC LIMIT ?",
    [KY_SQL_STEP_FROM] = "SELECT a.n, a.seq, a.ts FROM runs r CROSS JOIN answers a ON a.id BETWEEN "
                         "r.first AND r.last"
                         " WHERE r.level = ?1 AND r.series = ?2 AND r.n >= ?3 AND a.n >= ?3"
                         " ORDER BY r.n, a.id LIMIT 1",
    [KY_SQL_ONE_STATE] = "SELECT state FROM states WHERE stream = ? AND model = ?",
    [KY_SQL_STREAM_NAMED] = KY_SQL_SAVED_STREAMS " WHERE s.class = ? AND s.name = ?",
    [KY_SQL_STREAM_NUMBERED] = KY_SQL_SAVED_STREAMS " WHERE s.id = ?",
};

/* -- errors -- */

int ky_results_fail(ky_results *r, const char *doing, ky_err *err)
{
    static const struct {
        int sqlite, ours;
        const char *hint;
    } map[] = {
        { SQLITE_FULL, -ENOSPC, ": the disk is full" },
        { SQLITE_BUSY, KY_EBUSY, ": another program holds a lock on it" },
        { SQLITE_LOCKED, KY_EBUSY, "" },
        { SQLITE_CORRUPT, KY_ECORRUPT, "" },
        { SQLITE_CONSTRAINT, KY_ECORRUPT, "" },
        { SQLITE_NOTADB, KY_EFORMAT, "" },
        { SQLITE_NOMEM, KY_ENOMEM, "" },
        { SQLITE_READONLY, -EACCES, "" },
        { SQLITE_PERM, -EACCES, "" },
        { SQLITE_CANTOPEN, -EACCES, "" },
        { SQLITE_AUTH, KY_EINVAL, "" },
        { SQLITE_ERROR, KY_EINVAL, "" },
    };
    int code = sqlite3_errcode(r->db) & 0xff, rc = KY_EIO;
    const char *hint = "";

    for (size_t i = 0; i < sizeof(map) / sizeof(*map); i++)
        if (map[i].sqlite == code) {
            rc = map[i].ours;
            hint = map[i].hint;
        }
    if (code == SQLITE_IOERR && sqlite3_system_errno(r->db) == ENOSPC) {
        rc = -ENOSPC;
        hint = ": the disk is full";
    }
    return ky_fail(err, rc, "'%s': %s: %s%s", r->path, doing, sqlite3_errmsg(r->db), hint);
}

sqlite3_stmt *ky_results_prepare(ky_results *r, const char *sql, ky_err *err)
{
    sqlite3_stmt *s = NULL;

    if (sqlite3_prepare_v2(r->db, sql, -1, &s, NULL) != SQLITE_OK)
        ky_results_fail(r, "preparing a statement", err);
    return s;
}

sqlite3_stmt *ky_results_kept(ky_results *r, enum ky_statement which)
{
    if (r->stmt[which] == NULL)
        sqlite3_prepare_v3(r->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT, &r->stmt[which],
                           NULL);
    return r->stmt[which]; /* binding and stepping NULL is an error that SQLite reports */
}

int ky_results_run(ky_results *r, sqlite3_stmt *s, const char *doing, ky_err *err)
{
    int rc = KY_OK;

    if (s == NULL || sqlite3_step(s) != SQLITE_DONE)
        rc = ky_results_fail(r, doing, err);
    sqlite3_reset(s);
    return rc;
}

/* -- opening -- */

/* The file must exist with its mode before SQLite makes -wal and -shm after its likeness: a reader
 * without write permission needs all three, readable, to exist. */
static int make_file(const char *path, ky_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);

    if (fd < 0 && errno == EEXIST)
        return KY_OK;
    if (fd < 0)
        return ky_fail(err, -errno, "'%s': %s", path, strerror(errno));
    int rc = fchmod(fd, 0640) == 0 ? KY_OK : -errno; /* whatever the umask */

    close(fd);
    return rc == KY_OK ? rc : ky_fail(err, rc, "'%s': chmod: %s", path, ky_strerror(rc));
}

static int configure(ky_results *r, bool full_sync, ky_err *err)
{
    int keep = 1;

    sqlite3_extended_result_codes(r->db, 1);
    sqlite3_busy_timeout(r->db, KY_BUSY_TIMEOUT_MS);
    sqlite3_file_control(r->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
    if (sqlite3_exec(r->db,
                     "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA "
                     "journal_size_limit = 67108864;"
                     "PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -32768;"
                     "PRAGMA trusted_schema = OFF;",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(r->db, full_sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
                     NULL, NULL, NULL) != SQLITE_OK)
        return ky_results_fail(r, "opening", err);
    return KY_OK;
}

int ky_results_open(const char *path, bool full_sync, ky_results **ret, ky_err *err)
{
    ky_results *r = calloc(1, sizeof(*r));
    int rc;

    if (r == NULL || (r->path = strdup(path)) == NULL) {
        free(r);
        return ky_fail(err, KY_ENOMEM, "'%s': no memory", path);
    }
    r->unsettled = -1;
    rc = make_file(path, err);
    if (rc == KY_OK && sqlite3_open_v2(path, &r->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                                       NULL) != SQLITE_OK)
        rc = r->db ? ky_results_fail(r, "opening", err) : ky_fail(err, KY_ENOMEM, "'%s'", path);
    if (rc == KY_OK)
        rc = configure(r, full_sync, err);
    if (rc == KY_OK)
        rc = ky_results_migrate(r, err);
    if (rc != KY_OK) {
        ky_results_close(r);
        return rc;
    }
    *ret = r;
    return KY_OK;
}

int ky_results_open_labels(const char *path, ky_results **ret, ky_err *err)
{
    ky_results *r = calloc(1, sizeof(*r));
    int rc = KY_OK;

    if (r == NULL || (r->path = strdup(path)) == NULL) {
        free(r);
        return ky_fail(err, KY_ENOMEM, "'%s': no memory", path);
    }
    if (access(path, R_OK) != 0)
        rc = ky_fail(err, -errno, "'%s': %s", path, strerror(errno));
    else if (sqlite3_open_v2(path, &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
             SQLITE_OK)
        rc = r->db ? ky_results_fail(r, "opening", err) : ky_fail(err, KY_ENOMEM, "'%s'", path);
    if (rc == KY_OK)
        sqlite3_busy_timeout(r->db, KY_BUSY_TIMEOUT_MS);
    if (rc == KY_OK &&
        sqlite3_exec(r->db, "PRAGMA trusted_schema = OFF", NULL, NULL, NULL) != SQLITE_OK)
        rc = ky_results_fail(r, "opening", err);
    if (rc == KY_OK)
        rc = ky_results_check(r, err);
    if (rc != KY_OK) {
        ky_results_close(r);
        return rc;
    }
    *ret = r;
    return KY_OK;
}

void ky_results_keep_few_pages(ky_results *r)
{
    sqlite3_exec(r->db, "PRAGMA cache_size = -1024", NULL, NULL, NULL); /* a failure costs memory */
}

static int let_others(void *arg)
{
    (void)arg;
    sched_yield();
    return 0;
}

void ky_results_yield(ky_results *r)
{
    enum { EVERY = 2000 }; /* instructions of SQLite's, some 0.1 ms */

    sqlite3_progress_handler(r->db, EVERY, let_others, NULL);
}

void ky_results_close(ky_results *r)
{
    if (r == NULL)
        return;
    for (int i = 0; i < KY_SQL_N; i++)
        sqlite3_finalize(r->stmt[i]);
    sqlite3_close(r->db);
    free(r->order);
    free(r->path);
    free(r);
}

int ky_results_checkpoint(ky_results *r, bool *ret, ky_err *err)
{
    int in_log = 0, moved = 0;
    int rc = sqlite3_wal_checkpoint_v2(r->db, "main", SQLITE_CHECKPOINT_PASSIVE, &in_log, &moved);

    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
        return ky_results_fail(r, "checkpoint", err);
    *ret = rc == SQLITE_OK && in_log == moved;
    return KY_OK;
}

/* -- one unit -- */

/* What a row needs besides itself: the unit's bytes and names. */
typedef struct commit {
    ky_results *r;
    const ky_unit *u;
    ky_err *err;
} commit;

static void bind_span_or_null(const commit *c, sqlite3_stmt *s, int at, ky_span span)
{
    if (span.len > 0)
        ky_bind_span(s, at, c->u, span);
    else
        sqlite3_bind_null(s, at);
}

static void bind_hash(sqlite3_stmt *s, int at, uint64_t hash)
{
    char text[17];

    snprintf(text, sizeof(text), "%016llx", (unsigned long long)hash);
    sqlite3_bind_text(s, at, text, 16, SQLITE_TRANSIENT);
}

static int put_stream(const commit *c, const void *row)
{
    const ky_row_stream *p = row;
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_STREAM);

    sqlite3_bind_int64(s, 1, p->id);
    ky_bind_text(s, 2, c->u->classes[p->class_]);
    ky_bind_span(s, 3, c->u, p->name);
    return ky_results_run(c->r, s, "adding a stream", c->err);
}

static void bind_state(const commit *c, sqlite3_stmt *s, const ky_row_state *p)
{
    sqlite3_bind_int64(s, 1, p->stream);
    ky_bind_text(s, 2, c->u->models[p->model]);
    sqlite3_bind_int64(s, 3, p->version);
    sqlite3_bind_int64(s, 4, p->n);
    sqlite3_bind_int64(s, 5, p->start_n);
    sqlite3_bind_int64(s, 6, p->epoch);
    sqlite3_bind_int64(s, 7, (int64_t)p->pos);
    ky_bind_time(s, 8, p->seq_high);
    sqlite3_bind_int64(s, 9, (int64_t)p->seq_mask);
    ky_bind_time(s, 10, p->ts_us);
    sqlite3_bind_int(s, 11, p->ended);
    sqlite3_bind_int64(s, 12, (int64_t)p->layout);
    ky_bind_blob(s, 13, c->u, p->blob);
    ky_bind_blob(s, 14, c->u, p->extra);
    sqlite3_bind_int64(s, 15, p->file_first);
}

static void bind_health(sqlite3_stmt *s, const ky_row_health *p)
{
    sqlite3_bind_double(s, 16, (double)p->rms); /* NaN becomes NULL */
    sqlite3_bind_double(s, 17, (double)p->largest);
    sqlite3_bind_double(s, 18, (double)p->saturated);
    sqlite3_bind_int64(s, 19, p->steps);
    sqlite3_bind_int64(s, 20, p->written_us);
    sqlite3_bind_int64(s, 21, p->quarantines);
    ky_bind_time(s, 22, p->quarantines > 0 ? p->quarantined_us : KY_NONE);
    ky_bind_time(s, 23, p->quarantines > 0 ? p->quarantined_n : KY_NONE);
    ky_bind_time(s, 24, p->quarantines > 0 ? p->quarantined_from : KY_NONE);
}

static int sweep_states(const commit *c, const ky_row_state *p)
{
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_SWEEP_STATES);

    sqlite3_bind_int64(s, 1, p->stream);
    sqlite3_bind_int64(s, 2, (int64_t)p->pos);
    return ky_results_run(c->r, s, "dropping old states", c->err);
}

static int put_state(const commit *c, const void *row)
{
    const ky_row_state *p = row;
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_STATE);

    bind_state(c, s, p);
    bind_health(s, &p->health);
    sqlite3_bind_int(s, 25, p->lags);
    int rc = ky_results_run(c->r, s, "writing a state", c->err);

    return rc == KY_OK && p->sweep ? sweep_states(c, p) : rc;
}

static int put_state0(const commit *c, const void *row)
{
    const ky_row_state0 *p = row;
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_STATE0);

    bind_state(c, s, &p->row);
    sqlite3_bind_int64(s, 16, (int64_t)p->file_first);
    return ky_results_run(c->r, s, "writing a state before a journal file", c->err);
}

static int put_part(const commit *c, const void *row)
{
    const ky_row_part *p = row;
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_PART);

    ky_bind_text(s, 1, c->u->models[p->model]);
    sqlite3_bind_int64(s, 2, (int64_t)p->layout);
    sqlite3_bind_int(s, 3, p->part);
    ky_bind_span(s, 4, c->u, p->layer);
    ky_bind_span(s, 5, c->u, p->what);
    sqlite3_bind_int64(s, 6, (int64_t)p->at);
    sqlite3_bind_int64(s, 7, (int64_t)p->bytes);
    sqlite3_bind_int64(s, 8, (int64_t)p->h);
    sqlite3_bind_int(s, 9, p->bounded);
    return ky_results_run(c->r, s, "saying what a state is", c->err);
}

/* A label whose step is not found stays, without n, so that it does not vanish. */
static int put_label(const commit *c, const void *row)
{
    const ky_row_label *p = row;
    int64_t n = p->n == KY_NONE ? ky_answers_find(c->r, p->stream, p->seq, p->ts_us) : p->n;
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_LABEL);

    sqlite3_bind_int64(s, 1, p->stream);
    ky_bind_time(s, 2, n);
    ky_bind_time(s, 3, p->seq);
    ky_bind_time(s, 4, p->ts_us);
    ky_bind_span(s, 5, c->u, p->label);
    sqlite3_bind_int64(s, 6, p->at_us);
    sqlite3_bind_int(s, 7, p->late || p->n == KY_NONE);
    return ky_results_run(c->r, s, "adding a label", c->err);
}

static int put_gap(const commit *c, const void *row)
{
    const ky_row_gap *p = row;
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_GAP);

    sqlite3_bind_int64(s, 1, p->stream);
    sqlite3_bind_int64(s, 2, p->n);
    ky_bind_time(s, 3, p->from_us);
    ky_bind_time(s, 4, p->to_us);
    ky_bind_time(s, 5, p->from_seq);
    ky_bind_time(s, 6, p->to_seq);
    ky_bind_span(s, 7, c->u, p->what);
    return ky_results_run(c->r, s, "adding a gap", c->err);
}

static int put_reject(const commit *c, const void *row)
{
    const ky_row_reject *p = row;
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_REJECT);

    sqlite3_bind_int64(s, 1, p->at_us);
    sqlite3_bind_int64(s, 2, (int64_t)p->pos);
    bind_span_or_null(c, s, 3, p->source);
    bind_span_or_null(c, s, 4, p->stream);
    ky_bind_span(s, 5, c->u, p->reason);
    ky_bind_blob(s, 6, c->u, p->body);
    return ky_results_run(c->r, s, "adding a reject", c->err);
}

static int put_event(const commit *c, const void *row)
{
    const ky_row_event *p = row;
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_EVENT);

    sqlite3_bind_int64(s, 1, p->at_us);
    ky_bind_span(s, 2, c->u, p->level);
    ky_bind_span(s, 3, c->u, p->object);
    ky_bind_span(s, 4, c->u, p->what);
    bind_span_or_null(c, s, 5, p->detail);
    return ky_results_run(c->r, s, "adding an event", c->err);
}

static int put_source(const commit *c, const void *row)
{
    const ky_row_source *p = row;
    sqlite3_stmt *s = ky_results_kept(c->r, p->gone ? KY_SQL_POSITION_GONE : KY_SQL_POSITION);

    ky_bind_span(s, 1, c->u, p->source);
    ky_bind_span(s, 2, c->u, p->key);
    if (p->gone)
        return ky_results_run(c->r, s, "forgetting a sender", c->err);
    sqlite3_bind_blob(s, 3, p->session, sizeof(p->session), SQLITE_STATIC);
    sqlite3_bind_int64(s, 4, p->number);
    return ky_results_run(c->r, s, "writing a source's position", c->err);
}

static int put_swap(const commit *c, const void *row)
{
    const ky_row_swap *p = row;
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_SWAP);

    ky_bind_text(s, 1, c->u->models[p->model]);
    sqlite3_bind_int64(s, 2, (int64_t)p->pos);
    sqlite3_bind_int64(s, 3, p->version);
    bind_hash(s, 4, p->hash);
    return ky_results_run(c->r, s, "adding a swap", c->err);
}

static int put_rows(const commit *c)
{
    const struct {
        int (*put)(const commit *c, const void *row);
        const void *row;
        uint32_t n;
        size_t size;
    } tables[] = {
#define ROWS(put, field) { put, c->u->field.row, c->u->field.n, sizeof(*c->u->field.row) }
        ROWS(put_stream, streams), ROWS(put_swap, swaps),     ROWS(put_state0, states0),
        ROWS(put_part, parts),     ROWS(put_state, states),   ROWS(put_label, labels),
        ROWS(put_gap, gaps),       ROWS(put_reject, rejects), ROWS(put_event, events),
        ROWS(put_source, sources),
#undef ROWS
    };
    int rc = ky_answers_put(c->r, c->u, c->err); /* before the labels, which look for them */

    for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
        for (uint32_t i = 0; rc == KY_OK && i < tables[t].n; i++)
            rc = tables[t].put(c, (const char *)tables[t].row + i * tables[t].size);
    return rc;
}

/* Keeps the newest rows of a table that outsiders can fill. */
static int trim(const commit *c, enum ky_statement which, int64_t keep, const char *doing)
{
    sqlite3_stmt *s = ky_results_kept(c->r, which);

    sqlite3_bind_int64(s, 1, keep);
    return ky_results_run(c->r, s, doing, c->err);
}

/* So that a start need not look at all states for it. */
static int put_high_water(const commit *c)
{
    const ky_unit *u = c->u;
    uint64_t high = 0;

    for (uint32_t i = 0; i < u->states.n; i++)
        high = u->states.row[i].pos > high ? u->states.row[i].pos : high;
    if (high == 0)
        return KY_OK;
    sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_HIGH_WATER);

    sqlite3_bind_int64(s, 1, (int64_t)high);
    return ky_results_run(c->r, s, "writing the highest position", c->err);
}

static int put_numbers(const commit *c)
{
    const ky_unit *u = c->u;
    int rc = put_high_water(c);

    if (rc == KY_OK && u->rejects.n > 0 && u->keep_rejects > 0)
        rc = trim(c, KY_SQL_TRIM_REJECTS, u->keep_rejects, "bounding the rejects");
    if (rc == KY_OK && u->events.n > 0)
        rc = trim(c, KY_SQL_TRIM_EVENTS, KY_KEEP_EVENTS, "bounding the events");
    if (rc == KY_OK && u->low_water > 0) {
        sqlite3_stmt *s = ky_results_kept(c->r, KY_SQL_LOW_WATER);

        sqlite3_bind_int64(s, 1, (int64_t)u->low_water);
        rc = ky_results_run(c->r, s, "writing the low-water mark", c->err);
    }
    return rc;
}

int ky_results_commit(ky_results *r, const ky_unit *u, ky_err *err)
{
    const commit c = { r, u, err };
    int rc;

    if (ky_unit_empty(u))
        return KY_OK;
    rc = ky_results_run(r, ky_results_kept(r, KY_SQL_BEGIN), "beginning a unit", err);
    if (rc != KY_OK)
        return rc;
    rc = put_rows(&c);
    if (rc == KY_OK)
        rc = put_numbers(&c);
    if (rc == KY_OK)
        rc = ky_results_run(r, ky_results_kept(r, KY_SQL_COMMIT), "committing a unit", err);
    if (rc != KY_OK) {
        r->unsettled = -1;
        sqlite3_step(
            ky_results_kept(r, KY_SQL_ROLLBACK)); /* some errors have rolled back by themselves */
        sqlite3_reset(r->stmt[KY_SQL_ROLLBACK]);
    }
    return rc;
}

int ky_results_state(ky_results *r, uint32_t stream, const char *model, void *state, size_t size,
                     size_t *ret_len, ky_err *err)
{
    sqlite3_stmt *s = ky_results_kept(r, KY_SQL_ONE_STATE);
    int rc;

    sqlite3_bind_int64(s, 1, stream);
    ky_bind_text(s, 2, model);
    rc = s == NULL ? SQLITE_ERROR : sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        *ret_len = (size_t)sqlite3_column_bytes(s, 0);
        if (*ret_len > 0)
            memcpy(state, sqlite3_column_blob(s, 0), *ret_len < size ? *ret_len : size);
        rc = KY_OK;
    } else if (rc == SQLITE_DONE) {
        rc = ky_fail(err, KY_ENOENT, "'%s': stream %u has no state under model '%s'", r->path,
                     stream, model);
    } else {
        rc = ky_results_fail(r, "reading a state", err);
    }
    sqlite3_reset(s);
    return rc;
}
