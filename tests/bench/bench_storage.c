/* Rows a second into results.db beside SQLite without anything of ours, and records a second into
 * the journal with their fdatasync. In a directory under $TMPDIR; the sides take turns. */
#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "storage/journal.h"
#include "storage/results.h"
#include "tests/bench/measure.h"

enum { UNITS = 20, TURNS = 5, STATE = 512 /* bytes: LSTM(64) */ };

static char dir[3000];

/* Of this process: others on the machine take turns with it, and both sides sync equally often. */
static double processor_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_storage: %s failed\n", what);
    exit(1);
}

/* -- SQLite alone: a table of ten columns, one prepared statement -- */

static double bare(int turn, int rows)
{
    char path[4096];
    sqlite3_stmt *s;
    sqlite3 *db;
    double t0;

    snprintf(path, sizeof(path), "%s/bare%d-%d.db", dir, rows, turn);
    must(sqlite3_open(path, &db) == SQLITE_OK, "open");
    must(sqlite3_exec(db,
                      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                      "CREATE TABLE t (a INT, b INT, c INT, d INT, e INT, f REAL, g TEXT, h BLOB,"
                      " i INT, j INT)",
                      NULL, NULL, NULL) == SQLITE_OK,
         "create");
    must(sqlite3_prepare_v2(db, "INSERT INTO t VALUES (?,?,?,?,?,?,?,?,?,?)", -1, &s, NULL) ==
             SQLITE_OK,
         "prepare");
    t0 = processor_time();
    for (int unit = 0; unit < UNITS; unit++) {
        sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
        for (int i = 0; i < rows; i++) {
            for (int c = 1; c <= 10; c++)
                if (c != 6 && c != 7 && c != 8)
                    sqlite3_bind_int64(s, c, (int64_t)unit * rows + i);
            sqlite3_bind_double(s, 6, 0.97);
            sqlite3_bind_text(s, 7, "WALKING", 7, SQLITE_STATIC);
            sqlite3_bind_blob(s, 8, "0123456789abcdef01234567", 24, SQLITE_STATIC);
            must(sqlite3_step(s) == SQLITE_DONE, "insert");
            sqlite3_reset(s);
        }
        must(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK, "commit");
    }
    t0 = processor_time() - t0;
    sqlite3_finalize(s);
    sqlite3_close(db);
    return (double)UNITS * rows / t0;
}

/* -- the same through units, with keys and states -- */

static void fill(ky_unit *u, int unit, int rows, int streams)
{
    static const char state[STATE] = "state";

    for (int i = 0; i < rows; i++) {
        ky_row_prediction *p = KY_ADD(&u->predictions);

        p->stream = (uint32_t)(i % streams);
        p->n = p->seq = 1 + i / streams + (int64_t)unit * (rows / streams);
        p->ts_us = p->answered_us = 1700000000000000 + (int64_t)unit * rows + i;
        p->latency_us = 300;
        p->score = 0.97f;
        p->version = 1;
        p->name = ky_unit_bytes(u, "WALKING", 7);
        p->y = ky_unit_bytes(u, "0123456789abcdef01234567", 24);
    }
    for (int i = 0; i < streams; i++) {
        ky_row_state *s = KY_ADD(&u->states);

        s->stream = (uint32_t)i;
        s->n = s->start_n = unit;
        s->blob = ky_unit_bytes(u, state, sizeof(state));
    }
    u->low_water = 1 + (uint64_t)unit;
}

static double ours(int turn, int rows, int streams)
{
    static const char *const models[] = { "har" }, *const classes[] = { "har" };
    ky_unit u = { .models = models, .classes = classes };
    double spent = 0;
    char path[4096];
    ky_results *r;

    snprintf(path, sizeof(path), "%s/ours%d-%d-%d.db", dir, rows, streams, turn);
    must(ky_results_open(path, true, &r, NULL) == KY_OK, "ky_results_open");
    for (int unit = 0; unit < UNITS; unit++) {
        fill(&u, unit, rows, streams);
        double t0 = processor_time();

        must(ky_results_commit(r, &u, NULL) == KY_OK, "ky_results_commit");
        spent += processor_time() - t0;
        ky_unit_clear(&u);
    }
    ky_unit_done(&u);
    ky_results_close(r);
    return (double)UNITS * rows / spent;
}

/* -- the journal -- */

static ky_record *record(void)
{
    static const char stream[] = "pump-1";
    size_t size = ky_record_size(0, 6, 0, 9 * sizeof(float));
    ky_record *r = calloc(1, size);

    must(r != NULL, "memory");
    r->size = (uint32_t)size;
    r->type = KY_REC_SAMPLE;
    r->flags = KY_LAST;
    r->steps = 1;
    r->features = 9;
    r->body_len = 9 * sizeof(float);
    r->stream_len = 6;
    memcpy(r + 1, stream, 6);
    return r;
}

/* Records of nine values, a sync for each `group`; in records a second. */
static double journal(int turn, int group, int groups)
{
    char path[4096];
    ky_journal_opts o = { .dir = path, .config_text = "", .file_bytes = 64 << 20 };
    ky_record *r = record();
    ky_journal *j;
    double t0;

    snprintf(path, sizeof(path), "%s/journal%d-%d", dir, group, turn);
    must(ky_journal_open(&o, 0, &j, NULL) == KY_OK, "ky_journal_open");
    must(ky_journal_append(j, r, NULL) == KY_OK && ky_journal_sync(j, NULL) == KY_OK, "journal");
    t0 = bench_now();
    for (int g = 0; g < groups; g++) {
        for (int i = 0; i < group; i++)
            must(ky_journal_append(j, r, NULL) == KY_OK, "ky_journal_append");
        must(ky_journal_sync(j, NULL) == KY_OK, "ky_journal_sync");
    }
    t0 = bench_now() - t0;
    ky_journal_close(j);
    free(r);
    return (double)group * groups / t0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v)
{
    qsort(v, TURNS, sizeof(*v), by_value);
    return v[TURNS / 2];
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* Rows a second through units beside SQLite alone with the same number of rows a transaction. */
static void compare(int rows, int streams, double target)
{
    double alone[TURNS], with[TURNS], ratio;

    for (int turn = 0; turn < TURNS; turn++) {
        alone[turn] = bare(100 * streams + turn, rows);
        with[turn] = ours(turn, rows, streams);
    }
    ratio = median(with) / median(alone);
    printf("storage, units of %5d rows and %4d states, FULL: %.0f rows/s of processor time, SQLite "
           "alone %.0f, ratio "
           "%.2f %s\n",
           rows, streams, median(with), median(alone), ratio, bench_verdict(ratio, target));
}

int main(void)
{
    double one[TURNS], group[TURNS];
    const char *base = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/kymo-bench-XXXXXX", base ? base : "/tmp");
    must(mkdtemp(dir) != NULL, "mkdtemp");
    compare(1000, 40, 0.5);
    compare(10000, 1000, 0.5);
    compare(1000, 1000, 0); /* the worst case: a state, a series and a run with every row */
    for (int turn = 0; turn < TURNS; turn++) {
        one[turn] = journal(turn, 1, 100);
        group[turn] = journal(turn, 1000, 50);
    }
    printf(
        "storage, journal, 9 values: %.0f records/s with a fdatasync each, %.0f in groups of 1000 "
        "%s (target 150000)\n",
        median(one), median(group), bench_verdict(median(group), 150e3));
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
