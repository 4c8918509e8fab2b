/*
 * What the tests of archiving and retraining share: a state directory with a journal, a
 * database and an archive thread, as the pipeline would have them.
 */
#ifndef KY_TESTS_KEEPING_H
#define KY_TESTS_KEEPING_H

#include "tests/storage/tools.h"

#include "daemon/archiver.h"
#include "daemon/config.h"
#include "storage/journal.h"
#include "storage/results.h"

typedef struct keeping {
    char *dir, path[4200];
    ky_journal *j;
    ky_results *r; /* the writer's */
    ky_unit u;
    ky_archiver *a;
    int64_t n; /* step numbers given */
} keeping;

static const char *const keeping_labels[] = { "ok", "worn" };

static inline const char *const *keeping_labels_of(const char *model, int *ret_n, void *arg)
{
    (void)arg;
    *ret_n = strcmp(model, "m") == 0 ? 2 : 0;
    return keeping_labels;
}

/* Begins journal and database; `settings` are the journal files' CONFIG record. */
static inline keeping *keeping_new(const char *settings)
{
    keeping *k = calloc(1, sizeof(*k));
    ky_err err = { 0 };

    k->dir = tools_dir();
    snprintf(k->path, sizeof(k->path), "%s/journal", k->dir);
    assert_ok(ky_journal_open(&(ky_journal_opts){ .dir = k->path, .config_text = settings }, 0,
                              &k->j, &err),
              err);
    snprintf(k->path, sizeof(k->path), "%s/results.db", k->dir);
    assert_ok(ky_results_open(k->path, false, &k->r, &err), err);
    return k;
}

static inline void keeping_archive(keeping *k)
{
    const ky_archiver_opts o = {
        .state_dir = k->dir, .journal = k->j, .labels = keeping_labels_of, .interval_us = 20000
    };
    ky_err err = { 0 };

    assert_ok(ky_archiver_start(&o, &k->a, &err), err);
}

static inline void keeping_free(keeping *k)
{
    ky_archiver_stop(k->a);
    ky_journal_close(k->j);
    ky_results_close(k->r);
    ky_unit_done(&k->u);
    tools_dir_remove(k->dir);
    free(k);
}

/* A sample of two values of stream `pump-1` in class number `class_`. */
static inline void keeping_sample(keeping *k, int class_)
{
    const float x[2] = { 1, 2 };
    ky_record *r = tools_sample("pump-1", ++k->n, 1, 2, x);
    ky_err err = { 0 };

    r->class_ = (uint16_t)class_;
    r->stream = 1;
    r->ts_us = 1700000000000000 + k->n * 1000;
    assert_ok(ky_journal_append(k->j, r, &err), err);
    free(r);
}

static inline void keeping_seal(keeping *k)
{
    ky_err err = { 0 };

    assert_ok(ky_journal_sync(k->j, &err), err);
    assert_ok(ky_journal_seal(k->j, &err), err);
}

/* As if every stream had applied all there is. */
static inline void keeping_apply(keeping *k)
{
    ky_err err = { 0 };

    ky_unit_clear(&k->u);
    k->u.low_water = ky_journal_end(k->j);
    assert_ok(ky_results_commit(k->r, &k->u, &err), err);
}

static inline int keeping_files(keeping *k)
{
    ky_journal_file *files = NULL;
    ky_err err;
    int n = ky_journal_list(k->j, &files, &err);

    free(files);
    return n;
}

/* One value that a statement gives, as text. */
static inline void keeping_ask(keeping *k, const char *sql, char *ret, size_t size)
{
    char *out = NULL, *line;
    size_t len;
    FILE *to = open_memstream(&out, &len);
    ky_err err = { 0 };

    assert_ok(ky_results_query(k->path, sql, KY_TABLE_CSV, to, &err), err);
    fclose(to);
    line = strchr(out, '\n');
    snprintf(ret, size, "%.*s", (int)strcspn(line + 1, "\n"), line + 1);
    free(out);
}

static inline void keeping_assert(keeping *k, const char *sql, const char *want)
{
    char got[1024];

    keeping_ask(k, sql, got, sizeof(got));
    assert_string_equal(got, want);
}

#endif
