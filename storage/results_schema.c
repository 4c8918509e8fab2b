/* The tables and views of results.db, by numbered migrations. */
#include "storage/results_sqlite.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "models/clock.h"

static const char tables_1[] =
    "CREATE TABLE identity (uuid TEXT NOT NULL) STRICT;"
    "INSERT INTO identity SELECT substr(h,1,8)||'-'||substr(h,9,4)||'-4'||substr(h,14,3)||'-a'||"
    " substr(h,18,3)||'-'||substr(h,21,12) FROM (SELECT lower(hex(randomblob(16))) AS h);"

    "CREATE TABLE streams ("
    " id INTEGER PRIMARY KEY, class TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (class, name)) "
    "STRICT;"

    "CREATE TABLE models ("
    " model TEXT NOT NULL, version INTEGER NOT NULL, hash TEXT NOT NULL, path TEXT, origin TEXT,"
    " created INTEGER, PRIMARY KEY (model, version)) STRICT, WITHOUT ROWID;"

    /* probs: little-endian float32; latency_us: from arrival to answer */
    "CREATE TABLE predictions ("
    " stream INTEGER NOT NULL, n INTEGER NOT NULL, model TEXT NOT NULL, role TEXT NOT NULL,"
    " version INTEGER NOT NULL, seq INTEGER, ts INTEGER, label TEXT, score REAL, probs BLOB,"
    " quality TEXT NOT NULL, time_source TEXT NOT NULL, kernel_abi INTEGER NOT NULL,"
    " answered INTEGER NOT NULL, latency_us INTEGER NOT NULL,"
    " PRIMARY KEY (stream, n, model, role)) STRICT, WITHOUT ROWID;"

    /* n NULL: the step was not found; seq and ts say which one was meant */
    "CREATE TABLE labels ("
    " id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, n INTEGER, seq INTEGER, ts INTEGER,"
    " label TEXT NOT NULL, at INTEGER NOT NULL, late INTEGER NOT NULL, UNIQUE (stream, n)) STRICT;"

    "CREATE TABLE rejects ("
    " id INTEGER PRIMARY KEY, at INTEGER NOT NULL, pos INTEGER NOT NULL, source TEXT, stream TEXT,"
    " reason TEXT NOT NULL, body BLOB) STRICT;"

    "CREATE TABLE gaps ("
    " id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, n INTEGER NOT NULL, from_ts INTEGER,"
    " to_ts INTEGER, from_seq INTEGER, to_seq INTEGER, what TEXT NOT NULL) STRICT;"

    "CREATE TABLE retrains ("
    " id INTEGER PRIMARY KEY, model TEXT NOT NULL, cause TEXT NOT NULL, verdict TEXT NOT NULL,"
    " reason TEXT, started INTEGER NOT NULL, ended INTEGER NOT NULL, from_version INTEGER,"
    " to_version INTEGER, trained_on INTEGER, held_out INTEGER, metric TEXT, champion REAL,"
    " candidate REAL, detail TEXT) STRICT;"

    "CREATE TABLE events ("
    " id INTEGER PRIMARY KEY, at INTEGER NOT NULL, level TEXT NOT NULL, object TEXT NOT NULL,"
    " what TEXT NOT NULL, detail TEXT) STRICT;"

    /* pos: journal position behind the last record applied; seq_mask, layout: 64 bits */
    "CREATE TABLE states ("
    " stream INTEGER PRIMARY KEY, model TEXT NOT NULL, version INTEGER NOT NULL,"
    " n INTEGER NOT NULL, start_n INTEGER NOT NULL, epoch INTEGER NOT NULL, pos INTEGER NOT NULL,"
    " seq_high INTEGER, seq_mask INTEGER NOT NULL, ts INTEGER, ended INTEGER NOT NULL,"
    " layout INTEGER NOT NULL, state BLOB, extra BLOB, file_first INTEGER NOT NULL) STRICT;"

    "CREATE TABLE states0 ("
    " file INTEGER NOT NULL, stream INTEGER NOT NULL, model TEXT NOT NULL,"
    " version INTEGER NOT NULL, n INTEGER NOT NULL, start_n INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, pos INTEGER NOT NULL, seq_high INTEGER, seq_mask INTEGER NOT NULL,"
    " ts INTEGER, ended INTEGER NOT NULL, layout INTEGER NOT NULL, state BLOB, extra BLOB,"
    " file_first INTEGER NOT NULL, PRIMARY KEY (file, stream)) STRICT, WITHOUT ROWID;"

    /* how far each source's input is taken; source '' is kymod's own */
    "CREATE TABLE positions ("
    " source TEXT NOT NULL, key TEXT NOT NULL, session BLOB, number INTEGER NOT NULL,"
    " PRIMARY KEY (source, key)) STRICT, WITHOUT ROWID;"

    /* from which journal position on a version answers */
    "CREATE TABLE swaps ("
    " model TEXT NOT NULL, pos INTEGER NOT NULL, version INTEGER NOT NULL, hash TEXT NOT NULL,"
    " PRIMARY KEY (model, pos)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE segments ("
    " class TEXT NOT NULL, first INTEGER NOT NULL, \"end\" INTEGER NOT NULL, path TEXT NOT NULL,"
    " rows INTEGER NOT NULL, bytes INTEGER NOT NULL, from_ts INTEGER, to_ts INTEGER,"
    " PRIMARY KEY (class, first)) STRICT, WITHOUT ROWID;";

/* The layout says what belongs together; clang-format would not keep it. */
/* clang-format off */

/* Readable time of a column in microseconds, to the millisecond; before 1970 too. */
#define ISO(us)                                                                                   \
    "strftime('%Y-%m-%dT%H:%M:%S',"                                                               \
    " (" us " - (" us " % 1000000 + 1000000) % 1000000) / 1000000, 'unixepoch')"                  \
    " || printf('.%03dZ', (" us " % 1000000 + 1000000) % 1000000 / 1000)"

static const char views_1[] =
    "CREATE VIEW live AS"
    " SELECT s.class, s.name AS stream, p.label, p.score, " ISO("p.ts") " AS time,"
    "        p.n, p.seq, p.model, p.version, p.quality, p.latency_us, p.ts"
    " FROM streams s"
    " JOIN predictions p ON p.stream = s.id AND p.role = 'live' AND p.n ="
    "      (SELECT max(n) FROM predictions WHERE stream = s.id AND role = 'live');"

    "CREATE VIEW history AS"
    " SELECT s.class, s.name AS stream, p.n, " ISO("p.ts") " AS time,"
    "        p.label, p.score, l.label AS truth, p.seq, p.model, p.version, p.role, p.quality,"
    "        p.time_source, p.latency_us, p.ts, p.answered, p.probs"
    " FROM predictions p"
    " JOIN streams s ON s.id = p.stream"
    " LEFT JOIN labels l ON l.stream = p.stream AND l.n = p.n;"

    "CREATE VIEW transitions AS"
    " SELECT class, stream, n, time, was, label, score, model, version, ts"
    " FROM (SELECT s.class, s.name AS stream, p.n, " ISO("p.ts") " AS time,"
    "              p.label, p.score, p.model, p.version, p.ts,"
    "              lag(p.label) OVER w AS was, row_number() OVER w AS nth"
    "       FROM predictions p"
    "       JOIN streams s ON s.id = p.stream"
    "       WHERE p.role = 'live'"
    "       WINDOW w AS (PARTITION BY p.stream ORDER BY p.n))"
    " WHERE nth = 1 OR label IS NOT was;"

    "CREATE VIEW hourly AS"
    " SELECT s.class, strftime('%Y-%m-%dT%H:00Z', p.ts / 1000000, 'unixepoch') AS hour, p.label,"
    "        count(*) AS answers,"
    "        count(DISTINCT p.stream) AS streams,"
    "        round(avg(p.score), 4) AS score,"
    "        sum(p.quality <> 'ok') AS not_ok,"
    "        cast(avg(p.latency_us) AS INTEGER) AS latency_us,"
    "        max(p.latency_us) AS latency_max_us"
    " FROM predictions p"
    " JOIN streams s ON s.id = p.stream"
    " WHERE p.role = 'live'"
    " GROUP BY 1, 2, 3;"

    /* What counts is the labelled step itself: of a sequence labelled at its end, the end. */
    "CREATE VIEW accuracy AS"
    " SELECT p.model, p.version, p.role,"
    "        count(*) AS answered,"
    "        count(l.label) AS labelled,"
    "        sum(p.label IS l.label AND l.label IS NOT NULL) AS correct,"
    "        round(1.0 * sum(p.label IS l.label AND l.label IS NOT NULL)"
    "              / nullif(count(l.label), 0), 4) AS accuracy"
    " FROM predictions p"
    " LEFT JOIN labels l ON l.stream = p.stream AND l.n = p.n"
    " GROUP BY 1, 2, 3;"

    "CREATE VIEW confusion AS"
    " SELECT p.model, p.version, p.role, l.label AS truth, p.label AS answer, count(*) AS times"
    " FROM labels l"
    " JOIN predictions p ON p.stream = l.stream AND p.n = l.n"
    " GROUP BY 1, 2, 3, 4, 5;"

    "CREATE VIEW state_health AS"
    " SELECT s.class, s.name AS stream, t.model, t.version, t.n,"
    "        t.n - t.start_n + 1 AS sequence_steps, " ISO("t.ts") " AS time,"
    "        round(strftime('%s', 'now') - t.ts / 1000000.0, 1) AS age_s,"
    "        length(t.state) AS bytes, t.ended, t.epoch, t.pos"
    " FROM states t"
    " JOIN streams s ON s.id = t.stream;";

#define STATE_HEALTH \
    "CREATE VIEW state_health AS" \
    " SELECT s.class, s.name AS stream, t.model, t.version, t.n," \
    "        t.n - t.start_n + 1 AS sequence_steps, t.steps AS state_steps, " ISO("t.ts") \
    "        AS time," \
    "        round(strftime('%s', 'now') - t.ts / 1000000.0, 1) AS age_s," \
    "        round(strftime('%s', 'now') - t.written / 1000000.0, 1) AS idle_s," \
    "        CASE WHEN t.quarantined_n = t.n THEN 'quarantined'" \
    "             WHEN t.saturated > 0.5 THEN 'saturated' ELSE 'ok' END AS health," \
    "        t.rms, t.largest, t.saturated, t.quarantines, " ISO("t.quarantined") \
    "        AS quarantined, t.quarantined_n," \
    "        length(t.state) AS bytes, t.ended, t.epoch, t.pos" \
    " FROM states t" \
    " JOIN streams s ON s.id = t.stream;"

/* How a state is, without reading it; and what its bytes are, so that one can. */
static const char health_2[] =
    "ALTER TABLE states ADD COLUMN rms REAL;"       /* of h and c of recurrent layers */
    "ALTER TABLE states ADD COLUMN largest REAL;"   /* magnitude among them */
    "ALTER TABLE states ADD COLUMN saturated REAL;" /* share of units: |h| > 0.95 */
    "ALTER TABLE states ADD COLUMN steps INTEGER;"  /* since the state was zeros */
    "ALTER TABLE states ADD COLUMN written INTEGER;"
    "ALTER TABLE states ADD COLUMN quarantines INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE states ADD COLUMN quarantined INTEGER;"      /* when last */
    "ALTER TABLE states ADD COLUMN quarantined_n INTEGER;"    /* that step */
    "ALTER TABLE states ADD COLUMN quarantined_from INTEGER;" /* the first of those in a row */

    /* at, bytes: the stretch of `state`; h: of a recurrent layer, float32: so many of its output,
     * then what else it carries; else 0. bounded: h is the output of tanh or a sigmoid */
    "CREATE TABLE state_parts ("
    " model TEXT NOT NULL, layout INTEGER NOT NULL, part INTEGER NOT NULL, layer TEXT NOT NULL,"
    " what TEXT NOT NULL, at INTEGER NOT NULL, bytes INTEGER NOT NULL, h INTEGER NOT NULL,"
    " bounded INTEGER NOT NULL, PRIMARY KEY (model, layout, part)) STRICT, WITHOUT ROWID;"

    "DROP VIEW state_health;" STATE_HEALTH;

/* Answers lie in the order of commits; `predictions` becomes the view that shows them as before.
 * results_answers.c says how the three tables belong together. */
static const char answers_3[] =
    "DROP VIEW live; DROP VIEW history; DROP VIEW transitions; DROP VIEW hourly;"
    "DROP VIEW accuracy; DROP VIEW confusion;"

    "CREATE TABLE qualities (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;"
    "INSERT INTO qualities VALUES"
    " (0, 'ok'), (1, 'warming'), (2, 'gap'), (3, 'late'), (4, 'truncated');"
    "CREATE TABLE time_sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;"
    "INSERT INTO time_sources VALUES (0, 'sample'), (1, 'kafka'), (2, 'arrival');"

    /* n, answer: step and id of the last */
    "CREATE TABLE series ("
    " id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, model TEXT NOT NULL, role TEXT NOT NULL,"
    " n INTEGER NOT NULL, answer INTEGER NOT NULL, UNIQUE (stream, model, role)) STRICT;"

    "CREATE TABLE answers ("
    " id INTEGER PRIMARY KEY, series INTEGER NOT NULL, n INTEGER NOT NULL,"
    " version INTEGER NOT NULL, seq INTEGER, ts INTEGER, label TEXT, score REAL, probs BLOB,"
    " quality INTEGER, time_source INTEGER, kernel_abi INTEGER NOT NULL,"
    " answered INTEGER NOT NULL, latency_us INTEGER NOT NULL) STRICT;"

    /* answers first to last are those of steps from_n to n */
    "CREATE TABLE runs ("
    " level INTEGER NOT NULL, series INTEGER NOT NULL, n INTEGER NOT NULL,"
    " from_n INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
    " PRIMARY KEY (level, series, n)) STRICT, WITHOUT ROWID;";

/* What was stored goes over series by series, in runs of a thousand. */
static const char move_3[] =
    "CREATE TEMP TABLE moved AS"
    " SELECT stream, model, role, count(*) AS rows, max(n) AS n FROM predictions GROUP BY 1, 2, 3;"

    "INSERT INTO series (stream, model, role, n, answer)"
    " SELECT stream, model, role, n, sum(rows) OVER (ORDER BY stream, model, role)"
    " FROM moved ORDER BY stream, model, role;"

    "INSERT INTO answers"
    " SELECT NULL, e.id, p.n, p.version, p.seq, p.ts, p.label, p.score, p.probs,"
    "        (SELECT id FROM qualities WHERE name = p.quality),"
    "        (SELECT id FROM time_sources WHERE name = p.time_source),"
    "        p.kernel_abi, p.answered, p.latency_us"
    " FROM series e"
    " CROSS JOIN predictions p"
    "      ON p.stream = e.stream AND p.model = e.model AND p.role = e.role"
    " ORDER BY e.id, p.n;"

    "WITH RECURSIVE piece (series, first, last) AS ("
    "  SELECT e.id, e.answer - m.rows + 1, e.answer"
    "  FROM moved m JOIN series e USING (stream, model, role)"
    "  UNION ALL"
    "  SELECT series, first + 1000, last FROM piece WHERE first + 1000 <= last)"
    " INSERT INTO runs"
    " SELECT 0, p.series, z.n, a.n, a.id, z.id"
    " FROM piece p"
    " JOIN answers a ON a.id = p.first"
    " JOIN answers z ON z.id = min(p.first + 999, p.last);"

    "DROP TABLE moved; DROP TABLE predictions;";

#define QUALITY "(SELECT name FROM qualities WHERE id = a.quality) AS quality"
#define TIME_SOURCE "(SELECT name FROM time_sources WHERE id = a.time_source) AS time_source"

/* CROSS JOIN fixes the order: from a series over its runs to the answers, or through all answers
 * as they lie. */
static const char views_3[] =
    "CREATE VIEW predictions AS"
    " SELECT e.stream, a.n, e.model, e.role, a.version, a.seq, a.ts, a.label, a.score, a.probs,"
    "        " QUALITY ", " TIME_SOURCE ", a.kernel_abi, a.answered, a.latency_us"
    " FROM series e"
    " CROSS JOIN runs r ON r.level IN (0, 1) AND r.series = e.id"
    " CROSS JOIN answers a"
    "      ON a.id BETWEEN r.first AND r.last AND a.n BETWEEN r.from_n AND r.n;"

    "CREATE VIEW live AS"
    " SELECT s.class, s.name AS stream, a.label, a.score, " ISO("a.ts") " AS time,"
    "        a.n, a.seq, e.model, a.version, " QUALITY ", a.latency_us, a.ts"
    " FROM streams s"
    " JOIN series e ON e.stream = s.id AND e.role = 'live' AND e.n ="
    "      (SELECT max(n) FROM series WHERE stream = s.id AND role = 'live')"
    " JOIN answers a ON a.id = e.answer;"

    "CREATE VIEW history AS"
    " SELECT s.class, s.name AS stream, p.n, " ISO("p.ts") " AS time,"
    "        p.label, p.score, l.label AS truth, p.seq, p.model, p.version, p.role, p.quality,"
    "        p.time_source, p.latency_us, p.ts, p.answered, p.probs"
    " FROM predictions p"
    " JOIN streams s ON s.id = p.stream"
    " LEFT JOIN labels l ON l.stream = p.stream AND l.n = p.n;"

    "CREATE VIEW transitions AS"
    " SELECT class, stream, n, time, was, label, score, model, version, ts"
    " FROM (SELECT s.class, s.name AS stream, p.n, " ISO("p.ts") " AS time,"
    "              p.label, p.score, p.model, p.version, p.ts,"
    "              lag(p.label) OVER w AS was, row_number() OVER w AS nth"
    "       FROM predictions p"
    "       JOIN streams s ON s.id = p.stream"
    "       WHERE p.role = 'live'"
    "       WINDOW w AS (PARTITION BY p.stream ORDER BY p.n))"
    " WHERE nth = 1 OR label IS NOT was;"

    "CREATE VIEW hourly AS"
    " SELECT s.class, strftime('%Y-%m-%dT%H:00Z', a.ts / 1000000, 'unixepoch') AS hour, a.label,"
    "        count(*) AS answers,"
    "        count(DISTINCT e.stream) AS streams,"
    "        round(avg(a.score), 4) AS score,"
    "        sum(a.quality <> 0) AS not_ok,"
    "        cast(avg(a.latency_us) AS INTEGER) AS latency_us,"
    "        max(a.latency_us) AS latency_max_us"
    " FROM answers a"
    " CROSS JOIN series e ON e.id = a.series"
    " CROSS JOIN streams s ON s.id = e.stream"
    " WHERE e.role = 'live'"
    " GROUP BY 1, 2, 3;"

    "CREATE VIEW accuracy AS"
    " SELECT e.model, a.version, e.role,"
    "        count(*) AS answered,"
    "        count(l.label) AS labelled,"
    "        sum(a.label IS l.label AND l.label IS NOT NULL) AS correct,"
    "        round(1.0 * sum(a.label IS l.label AND l.label IS NOT NULL)"
    "              / nullif(count(l.label), 0), 4) AS accuracy"
    " FROM answers a"
    " CROSS JOIN series e ON e.id = a.series"
    " LEFT JOIN labels l ON l.stream = e.stream AND l.n = a.n"
    " GROUP BY 1, 2, 3;"

    /* of each level the one run that may hold the step; +: no index made for the occasion */
    "CREATE VIEW confusion AS"
    " SELECT e.model, a.version, e.role, l.label AS truth, a.label AS answer, count(*) AS times"
    " FROM labels l"
    " CROSS JOIN series e ON e.stream = l.stream"
    " CROSS JOIN (SELECT 0 AS level UNION ALL SELECT 1) k"
    " CROSS JOIN runs r ON r.level = k.level AND r.series = e.id AND r.n ="
    "      (SELECT min(n) FROM runs WHERE level = k.level AND series = e.id AND n >= l.n)"
    " CROSS JOIN answers a ON a.id BETWEEN r.first AND r.last AND +a.n = l.n"
    " GROUP BY 1, 2, 3, 4, 5;";

/* A stream may have a state under each of several models: states and states0 by model, too, and
 * views that keep models apart. */
static const char strands_4[] =
    "DROP VIEW live; DROP VIEW transitions; DROP VIEW hourly; DROP VIEW state_health;"

    /* The blobs last: what state_health shows is found without reading past them. */
    "CREATE TABLE states_4 ("
    " stream INTEGER NOT NULL, model TEXT NOT NULL, version INTEGER NOT NULL,"
    " n INTEGER NOT NULL, start_n INTEGER NOT NULL, epoch INTEGER NOT NULL, pos INTEGER NOT NULL,"
    " seq_high INTEGER, seq_mask INTEGER NOT NULL, ts INTEGER, ended INTEGER NOT NULL,"
    " layout INTEGER NOT NULL, file_first INTEGER NOT NULL,"
    " rms REAL, largest REAL, saturated REAL, steps INTEGER, written INTEGER,"
    " quarantines INTEGER NOT NULL DEFAULT 0, quarantined INTEGER, quarantined_n INTEGER,"
    " quarantined_from INTEGER, state BLOB, extra BLOB, PRIMARY KEY (stream, model)) STRICT;"
    "INSERT INTO states_4 SELECT stream, model, version, n, start_n, epoch, pos, seq_high,"
    " seq_mask, ts, ended, layout, file_first, rms, largest, saturated, steps, written,"
    " quarantines, quarantined, quarantined_n, quarantined_from, state, extra FROM states;"
    "DROP TABLE states;"
    "ALTER TABLE states_4 RENAME TO states;"

    "CREATE TABLE states0_4 ("
    " file INTEGER NOT NULL, stream INTEGER NOT NULL, model TEXT NOT NULL,"
    " version INTEGER NOT NULL, n INTEGER NOT NULL, start_n INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, pos INTEGER NOT NULL, seq_high INTEGER, seq_mask INTEGER NOT NULL,"
    " ts INTEGER, ended INTEGER NOT NULL, layout INTEGER NOT NULL, state BLOB, extra BLOB,"
    " file_first INTEGER NOT NULL, PRIMARY KEY (file, stream, model)) STRICT, WITHOUT ROWID;"
    "INSERT INTO states0_4 SELECT file, stream, model, version, n, start_n, epoch, pos, seq_high,"
    " seq_mask, ts, ended, layout, state, extra, file_first FROM states0;"
    "DROP TABLE states0;"
    "ALTER TABLE states0_4 RENAME TO states0;";

static const char views_4[] =
    /* the latest answer of all, and those of the models that answer it still */
    "CREATE VIEW live AS"
    " SELECT s.class, s.name AS stream, a.label, a.score, " ISO("a.ts") " AS time,"
    "        a.n, a.seq, e.model, a.version, " QUALITY ", a.latency_us, a.ts"
    " FROM streams s"
    " JOIN series e ON e.stream = s.id AND e.role = 'live' AND"
    "      (e.n = (SELECT max(n) FROM series WHERE stream = s.id AND role = 'live')"
    "       OR EXISTS (SELECT 1 FROM states WHERE stream = s.id AND model = e.model))"
    " JOIN answers a ON a.id = e.answer;"

    "CREATE VIEW transitions AS"
    " SELECT class, stream, n, time, was, label, score, model, version, ts"
    " FROM (SELECT s.class, s.name AS stream, p.n, " ISO("p.ts") " AS time,"
    "              p.label, p.score, p.model, p.version, p.ts,"
    "              lag(p.label) OVER w AS was, row_number() OVER w AS nth"
    "       FROM predictions p"
    "       JOIN streams s ON s.id = p.stream"
    "       WHERE p.role = 'live'"
    "       WINDOW w AS (PARTITION BY p.stream, p.model ORDER BY p.n))"
    " WHERE nth = 1 OR label IS NOT was;"

    "CREATE VIEW hourly AS"
    " SELECT s.class, e.model, strftime('%Y-%m-%dT%H:00Z', a.ts / 1000000, 'unixepoch') AS hour,"
    "        a.label, count(*) AS answers,"
    "        count(DISTINCT e.stream) AS streams,"
    "        round(avg(a.score), 4) AS score,"
    "        sum(a.quality <> 0) AS not_ok,"
    "        cast(avg(a.latency_us) AS INTEGER) AS latency_us,"
    "        max(a.latency_us) AS latency_max_us"
    " FROM answers a"
    " CROSS JOIN series e ON e.id = a.series"
    " CROSS JOIN streams s ON s.id = e.stream"
    " WHERE e.role = 'live'"
    " GROUP BY 1, 2, 3, 4;"

    STATE_HEALTH;

/* clang-format on */

/* lags: the last sample came before the era of arrivals (a start of kymod, a step of the host's
 * clock) that pos lies in */
static const char lags_5[] = "ALTER TABLE states ADD COLUMN lags INTEGER NOT NULL DEFAULT 0;";

/* Migration i brings version i to i + 1: each is a list of scripts. */
static const char *const migrations[][4] = {
    { tables_1, views_1, NULL },  { health_2, NULL }, { answers_3, move_3, views_3, NULL },
    { strands_4, views_4, NULL }, { lags_5, NULL },
};

enum { SCHEMA = sizeof(migrations) / sizeof(*migrations) };

static int script(ky_results *r, const char *sql, ky_err *err)
{
    return sqlite3_exec(r->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? KY_OK
               : ky_results_fail(r, "making the tables", err);
}

/* One number that a statement gives; `none` if it gives no row. */
static int number(ky_results *r, const char *sql, int64_t none, int64_t *ret, ky_err *err)
{
    sqlite3_stmt *s = ky_results_prepare(r, sql, err);
    int rc;

    if (s == NULL)
        return err ? err->code : KY_EIO;
    rc = sqlite3_step(s);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : none;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        rc = ky_results_fail(r, "reading the schema's version", err);
    else
        rc = KY_OK;
    sqlite3_finalize(s);
    return rc;
}

/* Version of the schema: 0 for a new database. A foreign database is refused, not changed. */
static int current_version(ky_results *r, int64_t *ret, ky_err *err)
{
    int64_t tables, id, ours;
    int rc = number(r, "SELECT count(*) FROM sqlite_schema", 0, &tables, err);

    if (rc == KY_OK)
        rc = number(r, "PRAGMA application_id", 0, &id, err);
    if (rc == KY_OK)
        rc = number(r, "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'", 0, &ours,
                    err);
    if (rc != KY_OK)
        return rc;
    if (tables > 0 && (id != KY_APPLICATION_ID || ours == 0))
        return ky_fail(err, KY_EFORMAT,
                       "'%s' is somebody else's SQLite database, not kymo's results", r->path);
    *ret = 0;
    if (tables == 0)
        return KY_OK;
    return number(r, "SELECT max(version) FROM schema_version", 0, ret, err);
}

static int newer(const ky_results *r, int64_t version, ky_err *err)
{
    return ky_fail(err, KY_EFORMAT,
                   "'%s' has schema %" PRId64
                   ", this kymo (%s) knows up to %d: a newer kymo wrote it",
                   r->path, version, PACKAGE_VERSION, SCHEMA);
}

int ky_results_check(ky_results *r, ky_err *err)
{
    int64_t version;
    int rc = current_version(r, &version, err);

    if (rc == KY_OK && version == 0)
        rc = ky_fail(err, KY_EFORMAT, "'%s' is empty, not kymo's results", r->path);
    return rc == KY_OK && version > SCHEMA ? newer(r, version, err) : rc;
}

static int apply(ky_results *r, int64_t version, ky_err *err)
{
    char sql[256];
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && migrations[version][i] != NULL; i++)
        rc = script(r, migrations[version][i], err);
    if (rc != KY_OK)
        return rc;
    snprintf(sql, sizeof(sql), "INSERT INTO schema_version VALUES (%" PRId64 ", %" PRId64 ", '%s')",
             version + 1, ky_clock_wall_us(), PACKAGE_VERSION);
    return script(r, sql, err);
}

int ky_results_migrate(ky_results *r, ky_err *err)
{
    char create[256];
    int64_t version = 0;
    int rc = script(r, "BEGIN IMMEDIATE", err);

    if (rc != KY_OK)
        return rc;
    rc = current_version(r, &version, err);
    if (rc == KY_OK && version > SCHEMA)
        rc = newer(r, version, err);
    snprintf(create, sizeof(create),
             "PRAGMA application_id = %d; CREATE TABLE schema_version (version INTEGER PRIMARY KEY,"
             " applied INTEGER NOT NULL, kymo TEXT NOT NULL) STRICT",
             KY_APPLICATION_ID);
    if (rc == KY_OK && version == 0)
        rc = script(r, create, err);
    for (; rc == KY_OK && version < SCHEMA; version++)
        rc = apply(r, version, err);
    if (rc == KY_OK)
        return script(r, "COMMIT", err);
    sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}
