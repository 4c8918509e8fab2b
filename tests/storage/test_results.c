/* results.db: units, what a restart reads, views, and readers of the group. */
#include "tests/storage/tools.h"

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "models/kernels.h"
#include "storage/results.h"

typedef struct fixture {
    char *dir, path[4096];
    ky_results *r;
    ky_unit u;
} fixture;

static const char *const models[] = { "vibration", "other", "m" };
static const char *const classes[] = { "vibration" };

static void open_results(fixture *f)
{
    ky_err err = { 0 };

    assert_ok(ky_results_open(f->path, true, &f->r, &err), err);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));

    f->dir = tools_dir();
    snprintf(f->path, sizeof(f->path), "%s/results.db", f->dir);
    f->u.models = models;
    f->u.classes = classes;
    open_results(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    ky_results_close(f->r);
    ky_unit_done(&f->u);
    tools_dir_remove(f->dir);
    free(f);
    return 0;
}

static ky_span text(fixture *f, const char *s)
{
    return ky_unit_bytes(&f->u, s, strlen(s));
}

static void add_stream(fixture *f, uint32_t id, const char *name)
{
    ky_row_stream *s = KY_ADD(&f->u.streams);

    s->id = id;
    s->name = text(f, name);
}

static ky_row_prediction *add_prediction(fixture *f, uint32_t stream, int64_t n, const char *label)
{
    static const float y[2] = { 0.25f, 0.75f };
    ky_row_prediction *p = KY_ADD(&f->u.predictions);

    p->stream = stream;
    p->n = n;
    p->version = 1;
    p->seq = 1000 + n;
    p->ts_us = 1700000000000000 + n * 1000000;
    p->answered_us = p->ts_us + 500;
    p->latency_us = 300;
    p->label = label ? 1 : -1;
    p->score = 0.75f;
    if (label)
        p->name = text(f, label);
    p->y = ky_unit_bytes(&f->u, y, sizeof(y));
    return p;
}

static void add_label(fixture *f, uint32_t stream, int64_t n, int64_t seq, int64_t ts,
                      const char *label)
{
    ky_row_label *l = KY_ADD(&f->u.labels);

    l->stream = stream;
    l->n = n;
    l->seq = seq;
    l->ts_us = ts;
    l->at_us = 1700000001000000;
    l->label = text(f, label);
}

static void commit(fixture *f)
{
    ky_err err = { 0 };

    assert_ok(ky_results_commit(f->r, &f->u, &err), err);
    ky_unit_clear(&f->u);
}

/* What a statement prints as CSV, without its heading; free(). */
static char *ask(fixture *f, const char *sql)
{
    char *out = NULL, *body;
    size_t len;
    FILE *to = open_memstream(&out, &len);
    ky_err err = { 0 };

    assert_ok(ky_results_query(f->path, sql, KY_TABLE_CSV, to, &err), err);
    fclose(to);
    body = strchr(out, '\n');
    assert_non_null(body);
    body = strdup(body + 1);
    free(out);
    return body;
}

static void assert_answer(fixture *f, const char *sql, const char *want)
{
    char *got = ask(f, sql);

    assert_string_equal(got, want);
    free(got);
}

/* -- units -- */

static void a_unit_is_all_there_after_commit(void **state)
{
    fixture *f = *state;
    ky_row_gap *g;
    ky_row_reject *j;
    ky_row_event *e;

    add_stream(f, 0, "pump-1");
    add_prediction(f, 0, 1, "worn");
    g = KY_ADD(&f->u.gaps);
    g->n = 1;
    g->from_us = g->to_us = g->from_seq = g->to_seq = KY_NONE;
    g->what = text(f, "reset");
    j = KY_ADD(&f->u.rejects);
    j->reason = text(f, "3 values, 2 expected");
    j->body = ky_unit_bytes(&f->u, "\0\1\2", 3);
    e = KY_ADD(&f->u.events);
    e->level = text(f, "info");
    e->object = text(f, "model vibration");
    e->what = text(f, "swap");
    commit(f);
    assert_answer(f,
                  "SELECT label, score, hex(probs), quality, time_source, kernel_abi, role, seq"
                  " FROM predictions",
                  "worn,0.75,0000803E0000403F,ok,sample,1,live,1001\n");
    assert_answer(f, "SELECT what, from_ts IS NULL FROM gaps", "reset,1\n");
    assert_answer(f, "SELECT reason, hex(body), stream IS NULL FROM rejects",
                  "\"3 values, 2 expected\",000102,1\n");
    assert_answer(f, "SELECT level, object, what, detail IS NULL FROM events",
                  "info,model vibration,swap,1\n");
}

static void a_prediction_that_exists_is_corruption_and_nothing_is_kept(void **state)
{
    fixture *f = *state;
    ky_err err;

    add_stream(f, 0, "pump-1");
    add_prediction(f, 0, 1, "ok");
    commit(f);
    add_prediction(f, 0, 2, "ok");
    add_prediction(f, 0, 1, "worn");
    assert_int_equal(ky_results_commit(f->r, &f->u, &err), KY_ECORRUPT);
    assert_non_null(strstr(err.text, "stream 0, n 1"));
    ky_unit_clear(&f->u);
    assert_answer(f, "SELECT n, label FROM predictions", "1,ok\n");
    add_prediction(f, 0, 2, "ok"); /* and the connection is fit for use */
    commit(f);
    assert_answer(f, "SELECT count(*) FROM predictions", "2\n");
}

/* A unit of one answer of each of many streams, all at step n. */
static void commit_one_each(fixture *f, int streams, int64_t n)
{
    for (int i = 0; i < streams; i++)
        add_prediction(f, (uint32_t)i, n, "ok");
    commit(f);
}

static void answers_stay_what_they_are_when_their_runs_settle(void **state)
{
    enum { STREAMS = 64, UNITS = 20 };
    fixture *f = *state;
    ky_err err;

    ky_results_close(f->r);
    assert_ok(ky_results_open(f->path, false, &f->r, &err), err);
    for (int i = 0; i < STREAMS; i++)
        add_stream(f, (uint32_t)i, (char[]){ 's', (char)('0' + i / 10), (char)('0' + i % 10), 0 });
    for (int n = 1; n <= UNITS; n++) {
        commit_one_each(f, STREAMS, n);
        if (n == 5) { /* what is not settled is counted again */
            ky_results_close(f->r);
            assert_ok(ky_results_open(f->path, false, &f->r, &err), err);
        }
    }
    assert_answer(f, "SELECT level, count(*) FROM runs GROUP BY 1", "0,1024\n1,256\n");
    assert_answer(f,
                  "SELECT count(*), count(DISTINCT stream || ' ' || n), min(n), max(n)"
                  " FROM predictions",
                  "1280,1280,1,20\n");
    assert_answer(f, "SELECT n FROM predictions WHERE stream = 63 AND n > 15",
                  "16\n17\n18\n19\n20\n");
    assert_answer(f, "SELECT count(*), min(n) FROM live", "64,20\n");
    for (int n = 16; n <= 17; n++) { /* settled, and not */
        add_prediction(f, 7, n, "worn");
        assert_int_equal(ky_results_commit(f->r, &f->u, &err), KY_ECORRUPT);
        ky_unit_clear(&f->u);
    }
    add_label(f, 7, KY_NONE, 1000 + 16, KY_NONE, "ok");
    add_label(f, 7, KY_NONE, 1000 + 17, KY_NONE, "ok");
    commit(f);
    assert_answer(f, "SELECT n FROM labels ORDER BY n", "16\n17\n");
    assert_answer(f, "SELECT truth, answer, times FROM confusion", "ok,ok,2\n");
}

static void a_streams_models_answer_side_by_side(void **state)
{
    fixture *f = *state;
    ky_err err;

    add_stream(f, 0, "pump-1");
    for (int n = 1; n <= 3; n++) {
        add_prediction(f, 0, n, "ok");
        add_prediction(f, 0, n, "worn")->model = 1;
    }
    commit(f);
    assert_answer(f, "SELECT model, group_concat(n, ' ') FROM predictions GROUP BY 1",
                  "other,1 2 3\nvibration,1 2 3\n");
    add_prediction(f, 0, 3, "ok")->model = 1;
    assert_int_equal(ky_results_commit(f->r, &f->u, &err), KY_ECORRUPT);
    ky_unit_clear(&f->u);
}

static void qualities_and_time_sources_have_their_names(void **state)
{
    fixture *f = *state;

    add_stream(f, 0, "pump-1");
    for (int n = 1; n <= 5; n++) {
        ky_row_prediction *p = add_prediction(f, 0, n, "ok");

        p->quality = (uint8_t)(KY_Q_OK + n - 1);
        p->time_source = (uint8_t)(n % 3);
    }
    commit(f);
    assert_answer(f, "SELECT quality, time_source FROM predictions ORDER BY n",
                  "ok,kafka\nwarming,arrival\ngap,sample\nlate,kafka\ntruncated,arrival\n");
}

static ky_row_state *fill_state(fixture *f, ky_row_state *s, uint32_t stream, int64_t n)
{
    *s = (ky_row_state){ .stream = stream,
                         .model = 1,
                         .version = 7,
                         .n = n,
                         .start_n = 5,
                         .epoch = 2,
                         .pos = 1ull << 40,
                         .seq_high = -3,
                         .seq_mask = UINT64_MAX - 5,
                         .ts_us = KY_NONE,
                         .ended = true,
                         .layout = 0xfedcba9876543210u,
                         .file_first = 4096 };
    s->blob = ky_unit_bytes(&f->u, "state\0bytes", 11);
    s->extra = ky_unit_bytes(&f->u, "lane", 4);
    return s;
}

typedef struct seen {
    int streams, with_state;
    ky_saved_stream last;
} seen;

static int see_stream(const ky_saved_stream *s, void *arg, ky_err *err)
{
    seen *v = arg;

    (void)err;
    v->streams++;
    v->last = *s;
    if (s->model == NULL)
        return 0;
    v->with_state++;
    assert_string_equal(s->model, "other");
    assert_string_equal(s->class_name, "vibration");
    assert_string_equal(s->name, "pump-2");
    assert_int_equal(s->blob_len, 11);
    assert_memory_equal(s->blob, "state\0bytes", 11);
    assert_int_equal(s->extra_len, 4);
    assert_memory_equal(s->extra, "lane", 4);
    return 0;
}

static void a_state_comes_back_to_the_bit(void **state)
{
    fixture *f = *state;
    ky_err err = { 0 };
    seen v = { 0 };
    ky_row_state want;

    add_stream(f, 0, "pump-1");
    add_stream(f, 1, "pump-2");
    fill_state(f, KY_ADD(&f->u.states), 1, 41);
    commit(f);
    want = *fill_state(f, KY_ADD(&f->u.states), 1, 42);
    commit(f);
    ky_results_close(f->r);
    open_results(f);
    assert_ok(ky_results_each_stream(f->r, see_stream, &v, &err), err);
    assert_int_equal(v.streams, 2);
    assert_int_equal(v.with_state, 1);
    v.last.row.model = want.model;
    v.last.row.blob = want.blob;
    v.last.row.extra = want.extra;
    assert_int_equal(v.last.row.n, 42);
    assert_int_equal(v.last.row.seq_mask, want.seq_mask);
    assert_int_equal(v.last.row.layout, want.layout);
    assert_int_equal(v.last.row.pos, want.pos);
    assert_int_equal(v.last.row.seq_high, want.seq_high);
    assert_true(v.last.row.ts_us == KY_NONE);
    assert_int_equal(v.last.row.epoch, want.epoch);
    assert_int_equal(v.last.row.start_n, want.start_n);
    assert_int_equal(v.last.row.file_first, want.file_first);

    char one[16] = "";
    size_t len = 0;

    /* no more than there is room */
    assert_ok(ky_results_state(f->r, 1, "other", one, 6, &len, &err), err);
    assert_int_equal(len, 11);
    assert_memory_equal(one, "state\0\0", 7);
    assert_int_equal(ky_results_state(f->r, 0, "other", one, sizeof(one), &len, &err), KY_ENOENT);
    assert_int_equal(ky_results_state(f->r, 1, "vibration", one, sizeof(one), &len, &err),
                     KY_ENOENT);
    assert_int_equal(v.last.row.version, want.version);
    assert_true(v.last.row.ended);
}

static int count_rows(const ky_saved_stream *s, void *arg, ky_err *err)
{
    (void)err;
    ++*(int *)arg;
    assert_int_equal(s->row.n, 42);
    return 0;
}

static void a_stream_has_a_state_under_each_of_its_models(void **state)
{
    fixture *f = *state;
    ky_err err = { 0 };
    ky_row_state0 *before;
    uint64_t n, bytes;
    char blob[16];
    size_t len = 0;
    int rows = 0;

    add_stream(f, 1, "pump-2");
    for (uint16_t m = 0; m < 2; m++) {
        fill_state(f, KY_ADD(&f->u.states), 1, 41)->model = m;
        before = KY_ADD(&f->u.states0);
        before->file_first = 777;
        fill_state(f, &before->row, 1, 42)->model = m;
        len = before->row.blob.len;
    }
    commit(f);
    assert_ok(ky_results_each_state0(f->r, 777, "vibration", count_rows, &rows, &err), err);
    assert_int_equal(rows, 2);
    assert_ok(ky_results_size_state0(f->r, 777, "vibration", &n, &bytes, &err), err);
    assert_int_equal(n, 2);
    assert_int_equal(bytes, 2 * (len + strlen("pump-2")) + strlen(models[0]) + strlen(models[1]));
    for (uint16_t m = 0; m < 2; m++) {
        ky_row_state *s = fill_state(f, KY_ADD(&f->u.states), 1, 42);

        s->model = m;
        s->blob = text(f, models[m]);
    }
    commit(f);
    for (int m = 0; m < 2; m++) {
        assert_ok(ky_results_state(f->r, 1, models[m], blob, sizeof(blob), &len, &err), err);
        assert_int_equal(len, strlen(models[m]));
        assert_memory_equal(blob, models[m], len);
    }
    assert_ok(ky_results_each_stream(f->r, count_rows, &rows, &err), err);
    assert_int_equal(rows, 4);
}

static void states_of_models_that_left_go_when_they_are_told_to(void **state)
{
    fixture *f = *state;
    ky_row_state *s;

    add_stream(f, 1, "pump-1");
    add_stream(f, 2, "pump-2");
    for (uint32_t id = 1; id <= 2; id++)
        for (uint16_t m = 0; m < 2; m++)
            fill_state(f, KY_ADD(&f->u.states), id, 41)->model = m;
    commit(f);
    s = fill_state(f, KY_ADD(&f->u.states), 1, 42);
    s->pos++;
    commit(f);
    assert_answer(f, "SELECT count(*) FROM states", "4\n");
    s = fill_state(f, KY_ADD(&f->u.states), 1, 43);
    s->pos += 2;
    s->sweep = true;
    commit(f);
    assert_answer(f, "SELECT stream, model, n FROM states ORDER BY 1, 2",
                  "1,other,43\n2,other,41\n2,vibration,41\n");
}

static void states_before_a_file_are_kept_until_dropped(void **state)
{
    fixture *f = *state;
    ky_err err = { 0 };
    seen v = { 0 };
    ky_row_state0 *s;

    add_stream(f, 1, "pump-2");
    s = KY_ADD(&f->u.states0);
    s->file_first = 777;
    fill_state(f, &s->row, 1, 9);
    commit(f);
    assert_ok(ky_results_each_state0(f->r, 777, "vibration", see_stream, &v, &err), err);
    assert_int_equal(v.with_state, 1);
    assert_int_equal(v.last.row.n, 9);
    assert_ok(ky_results_each_state0(f->r, 777, "elsewhere", see_stream, &v, &err), err);
    assert_ok(ky_results_each_state0(f->r, 778, "vibration", see_stream, &v, &err), err);
    assert_int_equal(v.streams, 1);
    assert_ok(ky_results_drop_state0(f->r, 777, &err), err);
    assert_ok(ky_results_each_state0(f->r, 777, "vibration", see_stream, &v, &err), err);
    assert_int_equal(v.streams, 1);
}

static int see_source(const char *source, const char *key, const uint8_t session[16],
                      int64_t number, void *arg, ky_err *err)
{
    (void)err;
    assert_string_equal(source, "plant");
    assert_string_equal(key, "sender-9");
    assert_int_equal(session[0], 0xab);
    assert_int_equal(number, 12);
    (*(int *)arg)++;
    return 0;
}

static void a_sources_position_is_the_last_committed(void **state)
{
    fixture *f = *state;
    ky_err err = { 0 };
    int n = 0;

    for (int number = 11; number <= 12; number++) {
        ky_row_source *s = KY_ADD(&f->u.sources);

        s->source = text(f, "plant");
        s->key = text(f, "sender-9");
        s->session[0] = 0xab;
        s->number = number;
        f->u.low_water = 5;
        commit(f);
    }
    assert_ok(ky_results_each_source(f->r, see_source, &n, &err), err);
    assert_int_equal(n, 1);
}

static void the_low_water_mark_only_rises(void **state)
{
    fixture *f = *state;
    uint64_t low = 1;
    bool applied;

    assert_int_equal(ky_results_low_water(f->r, &low, NULL), KY_OK);
    assert_int_equal(low, 0);
    f->u.low_water = 500;
    commit(f);
    f->u.low_water = 400;
    commit(f);
    assert_int_equal(ky_results_low_water(f->r, &low, NULL), KY_OK);
    assert_int_equal(low, 500);
    assert_int_equal(ky_results_applied(f->r, 500, &applied, NULL), KY_OK);
    assert_true(applied);
    assert_int_equal(ky_results_applied(f->r, 501, &applied, NULL), KY_OK);
    assert_false(applied);
}

static int shell(const char *path, const char *sql);
static void need_shell(void);

static uint64_t high_water(fixture *f)
{
    ky_err err = { 0 };
    uint64_t high = 1;

    assert_ok(ky_results_high_water(f->r, &high, &err), err);
    return high;
}

static void the_highest_position_of_all_states_is_known(void **state)
{
    fixture *f = *state;

    assert_int_equal(high_water(f), 0);
    for (uint32_t i = 0; i < 3; i++) {
        const uint64_t pos[] = { 700, 900, 800 };

        add_stream(f, i, (const char *[]){ "a", "b", "c" }[i]);
        fill_state(f, KY_ADD(&f->u.states), i, 41)->pos = pos[i];
        commit(f);
    }
    assert_int_equal(high_water(f), 900);
    /* as in a database that was written before it was noted */
    need_shell();
    assert_int_equal(shell(f->path, "DELETE FROM positions"), 0);
    assert_int_equal(high_water(f), 900);
}

static int see_id(const ky_saved_stream *s, void *arg, ky_err *err)
{
    uint32_t *sum = arg;

    (void)err;
    *sum = *sum * 10 + s->row.stream + (s->model != NULL ? 5 : 0);
    return 0;
}

static void every_nth_stream_is_read_alone(void **state)
{
    fixture *f = *state;
    ky_err err = { 0 };
    uint32_t ids = 0;

    for (uint32_t i = 0; i < 5; i++)
        add_stream(f, i, (const char *[]){ "a", "b", "c", "d", "e" }[i]);
    fill_state(f, KY_ADD(&f->u.states), 1, 41);
    fill_state(f, KY_ADD(&f->u.states), 2, 41);
    commit(f);
    assert_ok(ky_results_each_stream_of(f->r, 2, 0, see_id, &ids, &err), err);
    assert_int_equal(ids, 74); /* 0, 2 with a state, 4 */
    assert_ok(ky_results_each_stream_of(f->r, 2, 1, see_id, &ids, &err), err);
    assert_int_equal(ids, 7463);
}

static void only_where_there_are_more_some_are_older(void **state)
{
    fixture *f = *state;
    ky_err err = { 0 };
    uint64_t since = 1;

    for (uint32_t i = 0; i < 3; i++) {
        add_stream(f, i, (const char *[]){ "a", "b", "c" }[i]);
        fill_state(f, KY_ADD(&f->u.states), i, 41)->pos = 10 * (i + 1);
    }
    commit(f);
    assert_ok(ky_results_used_since(f->r, "vibration", 3, &since, &err), err);
    assert_int_equal(since, 0);
    assert_ok(ky_results_used_since(f->r, "vibration", 2, &since, &err), err);
    assert_int_equal(since, 10);
    assert_ok(ky_results_used_since(f->r, "other", 1, &since, &err), err);
    assert_int_equal(since, 0);
}

static void the_model_at_a_position_is_the_last_swapped_before_it(void **state)
{
    fixture *f = *state;
    uint32_t version = 0;
    uint64_t hash = 0;

    for (uint32_t i = 1; i <= 3; i++) {
        ky_row_swap *s = KY_ADD(&f->u.swaps);

        s->pos = 1000 * i;
        s->version = i;
        s->hash = 0xf000000000000000u + i;
    }
    commit(f);
    assert_int_equal(ky_results_model_at(f->r, "vibration", 2001, &version, &hash, NULL), KY_OK);
    assert_int_equal(version, 2);
    assert_int_equal(hash, 0xf000000000000002u);
    assert_int_equal(ky_results_model_at(f->r, "vibration", UINT64_MAX, &version, &hash, NULL),
                     KY_OK);
    assert_int_equal(version, 3);
    assert_int_equal(ky_results_model_at(f->r, "vibration", 1000, &version, &hash, NULL),
                     KY_ENOENT);
    assert_int_equal(ky_results_model_at(f->r, "other", 9999, &version, &hash, NULL), KY_ENOENT);
}

static void rejects_are_bounded_and_the_oldest_go(void **state)
{
    fixture *f = *state;

    f->u.keep_rejects = 10;
    for (int i = 0; i < 50; i++) {
        char reason[32];

        snprintf(reason, sizeof(reason), "reason %d", i);
        ((ky_row_reject *)KY_ADD(&f->u.rejects))->reason = text(f, reason);
        if (i % 7 == 0)
            commit(f);
    }
    commit(f);
    assert_answer(f, "SELECT count(*), min(id), max(id) FROM rejects", "10,41,50\n");
    assert_answer(f, "SELECT reason FROM rejects ORDER BY id LIMIT 1", "reason 40\n");
}

static void events_are_bounded_and_the_oldest_go(void **state)
{
    enum { MORE = 500 };
    fixture *f = *state;

    for (int i = 0; i < KY_KEEP_EVENTS + MORE; i++) {
        ky_row_event row = { .at_us = i };

        row.level = row.object = row.what = text(f, "x");
        *KY_ADD(&f->u.events) = row;
        if (i % 40000 == 0)
            commit(f);
    }
    commit(f);
    assert_answer(f, "SELECT count(*), min(at), max(at) FROM events", "100000,500,100499\n");
}

/* -- labels -- */

static void a_late_label_finds_its_step_by_seq_or_ts(void **state)
{
    fixture *f = *state;

    add_stream(f, 0, "pump-1");
    for (int n = 1; n <= 10000; n++)
        add_prediction(f, 0, n, "ok");
    commit(f);
    add_label(f, 0, KY_NONE, 1000 + 9990, KY_NONE, "worn");              /* recent, by seq */
    add_label(f, 0, KY_NONE, 1000 + 17, KY_NONE, "worn");                /* old, by seq */
    add_label(f, 0, KY_NONE, KY_NONE, 1700000000000000 + 9000000, "ok"); /* old, by ts: n = 9 */
    add_label(f, 0, 3, 1003, KY_NONE, "ok");                             /* came with its sample */
    commit(f);
    assert_answer(f, "SELECT n, label, late FROM labels ORDER BY n",
                  "3,ok,0\n9,ok,1\n17,worn,1\n9990,worn,1\n");
}

static void a_label_without_its_step_does_not_vanish(void **state)
{
    fixture *f = *state;

    add_stream(f, 0, "pump-1");
    add_prediction(f, 0, 1, "ok");
    add_label(f, 0, KY_NONE, 5, KY_NONE, "worn");
    add_label(f, 0, KY_NONE, 5, KY_NONE, "worn");
    add_label(f, 0, KY_NONE, KY_NONE, KY_NONE, "broken");
    commit(f);
    assert_answer(f, "SELECT n IS NULL, seq, label, late FROM labels ORDER BY id",
                  "1,5,worn,1\n1,5,worn,1\n1,,broken,1\n");
}

static void the_newest_of_equal_numbers_is_meant(void **state)
{
    fixture *f = *state;

    add_stream(f, 0, "pump-1");
    for (int n = 1; n <= 20; n++) /* the sender began anew after ten */
        add_prediction(f, 0, n, "ok")->seq = n <= 10 ? n : n - 10;
    add_label(f, 0, KY_NONE, 4, KY_NONE, "worn");
    commit(f);
    assert_answer(f, "SELECT n FROM labels", "14\n");
}

static void a_second_label_corrects_the_first(void **state)
{
    fixture *f = *state;

    add_stream(f, 0, "pump-1");
    add_prediction(f, 0, 1, "worn");
    add_label(f, 0, 1, KY_NONE, KY_NONE, "ok");
    commit(f);
    add_label(f, 0, KY_NONE, 1001, KY_NONE, "worn");
    commit(f);
    assert_answer(f, "SELECT n, label, late FROM labels", "1,worn,1\n");
    assert_answer(f, "SELECT labelled, correct FROM accuracy", "1,1\n");
}

static int see_label(const char *stream, int64_t n, const char *label, void *arg, ky_err *err)
{
    (void)err;
    assert_string_equal(stream, "pump-1");
    assert_int_equal(n, 2);
    assert_string_equal(label, "worn");
    (*(int *)arg)++;
    return 0;
}

static void only_late_labels_are_given_to_training(void **state)
{
    fixture *f = *state;
    ky_err err = { 0 };
    int n = 0;

    add_stream(f, 0, "pump-1");
    add_prediction(f, 0, 1, "ok");
    add_prediction(f, 0, 2, "ok");
    add_label(f, 0, 1, KY_NONE, KY_NONE, "ok");
    add_label(f, 0, KY_NONE, 1002, KY_NONE, "worn");
    add_label(f, 0, KY_NONE, 7, KY_NONE, "worn");
    commit(f);
    assert_ok(ky_results_each_label(f->r, "vibration", see_label, &n, &err), err);
    assert_int_equal(n, 1);
}

/* -- views -- */

static void two_streams(fixture *f)
{
    static const char *const said[] = { "ok", "ok", "worn", "worn", NULL, "ok" };

    add_stream(f, 0, "pump-1");
    add_stream(f, 1, "pump-2");
    for (int n = 1; n <= 6; n++)
        add_prediction(f, 0, n, said[n - 1])->version = n <= 3 ? 1 : 2;
    add_prediction(f, 1, 1, "broken");
    add_label(f, 0, 1, KY_NONE, KY_NONE, "ok");
    add_label(f, 0, 2, KY_NONE, KY_NONE, "worn");
    add_label(f, 0, 4, KY_NONE, KY_NONE, "worn");
    fill_state(f, KY_ADD(&f->u.states), 1, 42);
    commit(f);
}

static void live_shows_the_latest_answer_of_each_stream(void **state)
{
    fixture *f = *state;

    two_streams(f);
    assert_answer(f, "SELECT class, stream, label, n, time FROM live ORDER BY stream",
                  "vibration,pump-1,ok,6,2023-11-14T22:13:26.000Z\n"
                  "vibration,pump-2,broken,1,2023-11-14T22:13:21.000Z\n");
}

static void views_keep_the_models_of_a_stream_apart(void **state)
{
    fixture *f = *state;

    two_streams(f);
    for (uint16_t m = 0; m < 2; m++)
        fill_state(f, KY_ADD(&f->u.states), 0, 6)->model = m;
    add_prediction(f, 0, 1, "a")->model = 1;
    add_prediction(f, 0, 4, "a")->model = 1;
    commit(f);
    assert_answer(f, "SELECT model, n, label FROM live WHERE stream = 'pump-1' ORDER BY 1",
                  "other,4,a\nvibration,6,ok\n");
    assert_answer(f,
                  "SELECT model, n, was, label FROM transitions WHERE stream = 'pump-1'"
                  " ORDER BY 1, 2",
                  "other,1,,a\nvibration,1,,ok\nvibration,3,ok,worn\nvibration,5,worn,\n"
                  "vibration,6,,ok\n");
    assert_answer(f, "SELECT model, sum(answers) FROM hourly GROUP BY 1", "other,2\nvibration,7\n");
    assert_answer(f, "SELECT model, version, answered, labelled, correct FROM accuracy",
                  "other,1,2,2,0\nvibration,1,4,2,1\nvibration,2,3,1,1\n");
}

static void transitions_shows_changes_of_the_label(void **state)
{
    fixture *f = *state;

    two_streams(f);
    assert_answer(f, "SELECT stream, n, was, label FROM transitions ORDER BY stream, n",
                  "pump-1,1,,ok\npump-1,3,ok,worn\npump-1,5,worn,\npump-1,6,,ok\n"
                  "pump-2,1,,broken\n");
}

static void accuracy_counts_labelled_steps_by_version(void **state)
{
    fixture *f = *state;

    two_streams(f);
    assert_answer(f, "SELECT model, version, answered, labelled, correct, accuracy FROM accuracy",
                  "vibration,1,4,2,1,0.5\nvibration,2,3,1,1,1\n");
    assert_answer(f, "SELECT version, truth, answer, times FROM confusion ORDER BY 1, 2, 3",
                  "1,ok,ok,1\n1,worn,ok,1\n2,worn,worn,1\n");
}

static void history_and_hourly_and_state_health_answer(void **state)
{
    fixture *f = *state;

    two_streams(f);
    assert_answer(f, "SELECT n, label, truth FROM history WHERE stream = 'pump-1' AND n < 3",
                  "1,ok,ok\n2,ok,worn\n");
    assert_answer(f, "SELECT hour, label, answers FROM hourly WHERE label = 'ok'",
                  "2023-11-14T22:00Z,ok,3\n");
    assert_answer(f, "SELECT stream, model, version, n, bytes FROM state_health",
                  "pump-2,other,7,42,11\n");
}

static int see_health(const ky_saved_stream *s, void *arg, ky_err *err)
{
    (void)err;
    *(ky_row_health *)arg = s->row.health;
    return 0;
}

static void health_is_in_columns_and_what_the_lane_needs_comes_back(void **state)
{
    const ky_row_health health = {
        .rms = 0.5f,
        .largest = 0.75f,
        .saturated = 0.625f,
        .steps = 3,
        .written_us = 1700000000000000,
        .quarantines = 2,
        .quarantined_us = 1700000000500000,
        .quarantined_n = 42,
        .quarantined_from = 41,
    };
    static const char ask_all[] =
        "SELECT health, rms, largest, saturated, state_steps, quarantines, quarantined,"
        " quarantined_n, idle_s > 0 FROM state_health";
    fixture *f = *state;
    ky_row_health back;
    ky_row_state *t;

    add_stream(f, 1, "pump-1");
    fill_state(f, t = KY_ADD(&f->u.states), 1, 42);
    t->health = health;
    commit(f);
    assert_answer(f, ask_all, "quarantined,0.5,0.75,0.625,3,2,2023-11-14T22:13:20.500Z,42,1\n");
    assert_int_equal(ky_results_each_stream(f->r, see_health, &back, NULL), KY_OK);
    assert_int_equal(back.quarantines, 2);
    assert_true(back.quarantined_us == health.quarantined_us);
    assert_int_equal(back.quarantined_n, 42);
    assert_int_equal(back.quarantined_from, 41);

    fill_state(f, t = KY_ADD(&f->u.states), 1, 43);
    t->health = health;
    commit(f);
    assert_answer(f, "SELECT health FROM state_health", "saturated\n");
    fill_state(f, t = KY_ADD(&f->u.states), 1, 44);
    t->health = (ky_row_health){ .rms = NAN, .largest = NAN, .saturated = NAN };
    commit(f);
    assert_answer(f, "SELECT health, rms, quarantined, quarantined_n FROM state_health", "ok,,,\n");
}

static void times_before_1970_read_right(void **state)
{
    fixture *f = *state;

    add_stream(f, 0, "pump-1");
    add_prediction(f, 0, 1, "ok")->ts_us = -1500000;
    commit(f);
    assert_answer(f, "SELECT time FROM live", "1969-12-31T23:59:58.500Z\n");
}

/* -- the file -- */

static void the_schema_is_strict_and_has_its_version(void **state)
{
    fixture *f = *state;

    assert_answer(f,
                  "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
                  " AND NOT strict AND name NOT LIKE 'sqlite_%'",
                  "0\n");
    assert_answer(f, "SELECT max(version) FROM schema_version", "5\n");
}

static void the_identity_stays(void **state)
{
    fixture *f = *state;
    char before[37], after[37];

    assert_int_equal(ky_results_uuid(f->r, before, NULL), KY_OK);
    assert_int_equal(strlen(before), 36);
    ky_results_close(f->r);
    open_results(f);
    assert_int_equal(ky_results_uuid(f->r, after, NULL), KY_OK);
    assert_string_equal(before, after);
}

static int shell(const char *path, const char *sql)
{
    char command[9000];

    snprintf(command, sizeof(command), "sqlite3 '%s' \"%s\" >/dev/null 2>&1", path, sql);
    return system(command);
}

static void need_shell(void)
{
    if (system("sqlite3 --version >/dev/null 2>&1") != 0) {
        print_message("no sqlite3 shell here\n");
        skip();
    }
}

/* All that people read of answers, in an order of its own. */
static char *everything(fixture *f)
{
    static const char *const sql[] = {
        "SELECT stream, n, model, role, version, seq, ts, label, score, hex(probs), quality,"
        " time_source, kernel_abi, answered, latency_us FROM predictions ORDER BY 1, 2, 3",
        "SELECT * FROM live WHERE stream IN (SELECT name FROM streams WHERE id = 0)",
        "SELECT * FROM history ORDER BY 1, 2, 3",
        "SELECT * FROM transitions WHERE stream IN (SELECT name FROM streams WHERE id = 0)"
        " ORDER BY 1, 2, 3",
        "SELECT class, hour, label, sum(answers), sum(not_ok), max(latency_max_us) FROM hourly"
        " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        "SELECT * FROM accuracy ORDER BY 1, 2, 3",
        "SELECT * FROM confusion ORDER BY 1, 2, 3, 4, 5",
    };
    char *all = NULL;
    size_t len;
    FILE *to = open_memstream(&all, &len);

    for (size_t i = 0; i < sizeof(sql) / sizeof(*sql); i++) {
        char *one = ask(f, sql[i]);

        fputs(one, to);
        free(one);
    }
    fclose(to);
    return all;
}

static int see_old_stream(const ky_saved_stream *s, void *arg, ky_err *err)
{
    static const uint8_t extra[2][24] = {
        { 1, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xbf, 0, 0, 0x80, 0xbe },
        { 3, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3f, 0, 0, 0xa0, 0x3f },
    };
    uint32_t id = s->row.stream;

    (void)err;
    assert_int_equal(id, (*(uint32_t *)arg)++);
    assert_string_equal(s->model, "m");
    assert_string_equal(s->name, id == 0 ? "t" : "q");
    assert_int_equal(s->row.version, 1);
    assert_int_equal(s->row.n, id == 0 ? 12 : 8);
    assert_int_equal(s->row.start_n, id == 0 ? 12 : 1);
    assert_int_equal(s->row.pos, id == 0 ? 6808 : 10168);
    assert_true(s->row.seq_high == (id == 0 ? KY_NONE : 1000));
    assert_int_equal(s->row.seq_mask, id);
    assert_int_equal(s->row.ts_us, id == 0 ? 110000000 : 100300000);
    assert_false(s->row.ended);
    assert_int_equal((int64_t)s->row.layout, -553916521480361148);
    assert_int_equal(s->row.file_first, id == 0 ? 5016 : 8632);
    assert_int_equal(s->blob_len, 16);
    assert_memory_equal(s->blob, id == 0 ? "\x46\xba\xc7\xbc" : "\x8b\x94\x17\xbb", 4);
    assert_int_equal(s->extra_len, 24);
    assert_memory_equal(s->extra, extra[id], 24);
    return 0;
}

static int see_old_state0(const ky_saved_stream *s, void *arg, ky_err *err)
{
    (void)err;
    assert_string_equal(s->model, "m");
    *(uint64_t *)arg += s->row.pos;
    return 0;
}

/* A database again of what kymod wrote then, a dump among the sources. It is not opened yet. */
static void make_old(fixture *f, const char *dump)
{
    const char *src = getenv("KY_SRCDIR");
    char from[4096], command[9000];

    need_shell();
    snprintf(from, sizeof(from), "%s/tests/storage/%s", src != NULL ? src : ".", dump);
    if (access(from, R_OK) != 0) {
        print_message("%s is not there: KY_SRCDIR says where the sources are\n", from);
        skip();
    }
    ky_results_close(f->r);
    f->r = NULL;
    snprintf(f->path, sizeof(f->path), "%s/old.db", f->dir);
    snprintf(command, sizeof(command), "sqlite3 '%s' <'%s' >/dev/null", f->path, from);
    assert_int_equal(system(command), 0);
}

/* Blobs are cut short. */
static void a_database_of_the_second_schema_is_brought_up_to_date(void **state)
{
    fixture *f = *state;
    uint64_t pos = 0;
    uint32_t streams = 0;
    ky_err err = { 0 };

    make_old(f, "schema-2.sql");
    open_results(f);
    assert_answer(f, "SELECT max(version) FROM schema_version", "5\n");
    assert_ok(ky_results_each_stream(f->r, see_old_stream, &streams, &err), err);
    assert_int_equal(streams, 2);
    assert_ok(ky_results_each_state0(f->r, 5016, "all", see_old_state0, &pos, &err), err);
    assert_int_equal(pos, 5016);
    assert_answer(f, "SELECT stream, n, label FROM live ORDER BY 1", "q,1,up\nt,2,sit\n");
    assert_answer(f, "SELECT count(*) FROM transitions", "3\n");
    assert_answer(f, "SELECT model, answers FROM hourly WHERE label = 'up'", "m,2\n");
    assert_answer(f,
                  "SELECT stream, n, rms, largest, saturated, state_steps, quarantines,"
                  " quarantined_n FROM state_health ORDER BY 1",
                  "q,8,0.5,0.75,0.25,9,2,7\nt,12,0.25,0.5,0,1,0,\n");
    assert_answer(f, "SELECT count(*) FROM states0", "6\n");
    assert_answer(f, "PRAGMA integrity_check", "ok\n");
}

static int count_label(const char *stream, int64_t n, const char *label, void *arg, ky_err *err)
{
    (void)stream;
    (void)n;
    (void)label;
    (void)err;
    ++*(int *)arg;
    return 0;
}

static void reading_labels_changes_nothing(void **state)
{
    fixture *f = *state;
    int labels = 0;
    ky_err err = { 0 };
    struct stat st;

    make_old(f, "schema-2.sql");
    assert_int_equal(shell(f->path, "INSERT INTO labels (stream, n, label, at, late)"
                                    " VALUES (0, 1, 'up', 0, 1)"),
                     0);
    assert_ok(ky_results_open_labels(f->path, &f->r, &err), err);
    assert_ok(ky_results_each_label(f->r, "all", count_label, &labels, &err), err);
    assert_int_equal(labels, 1);
    ky_results_close(f->r);
    f->r = NULL;
    assert_answer(f, "SELECT max(version) FROM schema_version", "2\n");
    assert_int_equal(shell(f->path, "INSERT INTO schema_version VALUES (99, 0, '9.9')"), 0);
    assert_int_equal(ky_results_open_labels(f->path, &f->r, &err), KY_EFORMAT);
    assert_non_null(strstr(err.text, "schema 99"));
    strcat(f->path, "-is-not-there");
    assert_int_equal(ky_results_open_labels(f->path, &f->r, &err), KY_ENOENT);
    assert_int_equal(stat(f->path, &st), -1);
}

static void a_newer_schema_is_refused_by_name(void **state)
{
    fixture *f = *state;
    ky_results *r = NULL;
    ky_err err;

    need_shell();
    assert_int_equal(shell(f->path, "INSERT INTO schema_version VALUES (99, 0, '9.9')"), 0);
    assert_int_equal(ky_results_open(f->path, true, &r, &err), KY_EFORMAT);
    assert_non_null(strstr(err.text, "schema 99"));
}

static void a_database_of_the_first_schema_is_brought_up_to_date(void **state)
{
    fixture *f = *state;

    make_old(f, "schema-1.sql");
    char *states = ask(f, "SELECT stream, n, hex(state), hex(extra) FROM states");

    open_results(f);
    assert_answer(f, "SELECT version FROM schema_version", "1\n2\n3\n4\n5\n");
    assert_answer(f, "SELECT stream, n, hex(state), hex(extra) FROM states", states);
    assert_answer(f,
                  "SELECT stream, n, bytes, health, rms IS NULL, state_steps IS NULL, quarantines"
                  " FROM state_health",
                  "pump-1,2,192,ok,1,1,0\npump-2,1,192,ok,1,1,0\n");
    ky_results_close(f->r);
    open_results(f); /* there is nothing left to do */
    assert_answer(f, "SELECT max(version) FROM schema_version", "5\n");
    free(states);
}

static void answers_of_the_first_schema_stay_what_they_are(void **state)
{
    fixture *f = *state;
    char *before, *after;
    ky_err err;

    make_old(f, "schema-1.sql");
    /* everything that an answer can be, and more than one run of what moves */
    assert_int_equal(
        shell(
            f->path,
            "DELETE FROM predictions;"
            "INSERT INTO predictions VALUES"
            " (0, 1, 'm', 'live', 1, 1001, 1001, 'ok', 0.5, x'0000003f', 'ok', 'sample', 1, 5, 6),"
            " (0, 2, 'm', 'live', 1, 1002, 1002, 'ok', 1, NULL, 'warming', 'kafka', 1, 5, 6),"
            " (0, 3, 'm', 'live', 2, NULL, NULL, NULL, NULL, NULL, 'gap', 'arrival', 1, 5, 6),"
            " (0, 5, 'm', 'live', 2, 1005, 1005, 'worn', 1, NULL, 'late', 'kafka', 2, 5, 6),"
            " (0, 6, 'm', 'live', 2, 1006, 1006, 'worn', 1, NULL, 'truncated', 'kafka', 2, 5, 6),"
            " (1, 1, 'm', 'live', 1, 1001, -7, 'ok', 1, NULL, 'ok', 'kafka', 1, 5, 6),"
            " (1, 1, 'other', 'live', 1, 1001, -7, 'ok', 1, NULL, 'ok', 'kafka', 1, 5, 6),"
            " (1, 2, 'other', 'live', 1, 1002, 8, 'ok', 1, NULL, 'ok', 'kafka', 1, 5, 6);"
            "WITH RECURSIVE c (x) AS (SELECT 7 UNION ALL SELECT x + 1 FROM c WHERE x < 2506)"
            " INSERT INTO predictions SELECT 0, x, 'm', 'live', 2, 1000 + x, 1000 + x, 'ok',"
            "  x / 3000.0, x'0000803f', 'ok', 'sample', 1, 5, 6 FROM c;"
            "INSERT INTO labels (stream, n, label, at, late) VALUES"
            " (0, 2, 'worn', 9, 0), (0, 2000, 'ok', 9, 0)"),
        0);
    before = everything(f);
    open_results(f);
    after = everything(f);
    assert_string_equal(before, after);
    free(before);
    free(after);
    /* these keep models apart since */
    assert_answer(f, "SELECT model, n FROM live WHERE stream = 'pump-2' ORDER BY 1",
                  "m,1\nother,2\n");
    assert_answer(f, "SELECT model, n FROM transitions WHERE stream = 'pump-2' ORDER BY 1",
                  "m,1\nother,1\n");
    assert_answer(f, "SELECT level, count(*), max(last - first) FROM runs GROUP BY 1", "0,5,999\n");
    add_prediction(f, 0, 2506, "ok")->model = 2;
    assert_int_equal(ky_results_commit(f->r, &f->u, &err), KY_ECORRUPT);
    ky_unit_clear(&f->u);
    add_prediction(f, 0, 2507, "worn")->model = 2;
    add_label(f, 0, KY_NONE, 1000 + 1500, KY_NONE, "worn");
    commit(f);
    assert_answer(f, "SELECT n, truth FROM history WHERE stream = 'pump-1' AND n IN (1500, 2507)",
                  "1500,worn\n2507,\n");
    assert_answer(f, "SELECT n, label FROM live WHERE stream = 'pump-1'", "2507,worn\n");
    assert_answer(f, "PRAGMA integrity_check", "ok\n");
}

static void a_foreign_database_is_refused_and_left_alone(void **state)
{
    fixture *f = *state;
    char path[5000];
    ky_results *r = NULL;
    ky_err err;

    need_shell();
    snprintf(path, sizeof(path), "%s/foreign.db", f->dir);
    assert_int_equal(shell(path, "CREATE TABLE streams (x); INSERT INTO streams VALUES (1)"), 0);
    assert_int_equal(ky_results_open(path, true, &r, &err), KY_EFORMAT);
    assert_non_null(strstr(err.text, "somebody else"));
    assert_int_equal(shell(path, "SELECT x FROM streams"), 0);
}

static void bytes_that_are_no_database_are_refused(void **state)
{
    fixture *f = *state;
    char path[5000];
    ky_results *r = NULL;
    ky_err err;
    FILE *out;

    snprintf(path, sizeof(path), "%s/noise.db", f->dir);
    out = fopen(path, "w");
    for (int i = 0; i < 5000; i++)
        fputc(i * 7 % 251, out);
    fclose(out);
    assert_int_equal(ky_results_open(path, true, &r, &err), KY_EFORMAT);
    assert_int_equal(ky_results_open("/nonexistent/dir/results.db", true, &r, &err), KY_ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/dir/results.db"));
}

/* RLIMIT_FSIZE makes writes fail as SQLite sees them on a full disk. */
static void a_full_disk_is_called_so_and_the_unit_has_no_half(void **state)
{
    fixture *f = *state;
    struct rlimit whole, small = { 200000, 0 };
    ky_err err = { 0 };
    int rc;

    add_stream(f, 0, "pump-1");
    add_prediction(f, 0, 1, "ok");
    commit(f);
    for (int n = 2; n < 20000; n++)
        add_prediction(f, 0, n, "ok");
    getrlimit(RLIMIT_FSIZE, &whole);
    small.rlim_max = whole.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    rc = ky_results_commit(f->r, &f->u, &err);
    setrlimit(RLIMIT_FSIZE, &whole);
    assert_true(rc < 0);
    ky_unit_clear(&f->u);
    assert_answer(f, "SELECT count(*) FROM predictions", "1\n");
    add_prediction(f, 0, 2, "ok");
    commit(f);
    assert_answer(f, "SELECT count(*) FROM predictions", "2\n");
    assert_answer(f, "PRAGMA integrity_check", "ok\n");
}

static void a_checkpoint_says_whether_it_moved_everything(void **state)
{
    fixture *f = *state;
    bool all = false;

    add_stream(f, 0, "pump-1");
    commit(f);
    assert_int_equal(ky_results_checkpoint(f->r, &all, NULL), KY_OK);
    assert_true(all);
}

static void a_second_writer_waits_its_turn(void **state)
{
    fixture *f = *state;
    ky_results *other = NULL;
    ky_segment_row s = { "vibration", "archive/vibration/x.h5", 0, 100, 5, 999, 1, 2 };
    ky_err err = { 0 };
    pid_t pid;
    int status;

    assert_ok(ky_results_open(f->path, true, &other, &err), err);
    pid = fork();
    if (pid == 0) { /* its own connection, in its own process */
        ky_results *r;
        int bad = ky_results_open(f->path, true, &r, NULL) != KY_OK;

        for (int i = 0; !bad && i < 200; i++) {
            s.first = (uint64_t)i;
            bad = ky_results_add_segment(r, &s, NULL) != KY_OK;
        }
        _exit(bad);
    }
    add_stream(f, 0, "pump-1");
    for (int n = 1; n <= 200; n++) {
        add_prediction(f, 0, n, "ok");
        commit(f);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    ky_results_close(other);
    assert_answer(f, "SELECT (SELECT count(*) FROM segments), (SELECT count(*) FROM predictions)",
                  "200,200\n");
}

static int see_segment(const ky_segment_row *s, void *arg, ky_err *err)
{
    (void)err;
    assert_int_equal(s->first, 10u * (unsigned)++*(int *)arg);
    assert_string_equal(s->path, "archive/vibration/x.h5");
    assert_int_equal(s->rows, 5);
    return 0;
}

static void segments_are_listed_in_order_once_each(void **state)
{
    fixture *f = *state;
    ky_segment_row s = { "vibration", "archive/vibration/x.h5", 20, 30, 5, 999, 1, 2 };
    ky_err err = { 0 };
    int n = 0;

    assert_ok(ky_results_add_segment(f->r, &s, &err), err);
    assert_ok(ky_results_add_segment(f->r, &s, &err), err);
    s.first = 10;
    assert_ok(ky_results_add_segment(f->r, &s, &err), err);
    assert_ok(ky_results_each_segment(f->r, "vibration", see_segment, &n, &err), err);
    assert_int_equal(n, 2);
}

static void a_model_version_has_one_hash(void **state)
{
    fixture *f = *state;
    ky_model_row m = { "vibration", 1, 0xdeadbeefdeadbeefu, "models/vibration/1.h5", "config", 5 };
    ky_err err = { 0 };

    assert_ok(ky_results_add_model(f->r, &m, &err), err);
    assert_ok(ky_results_add_model(f->r, &m, &err), err);
    m.hash++;
    assert_int_equal(ky_results_add_model(f->r, &m, &err), KY_ECORRUPT);
    assert_answer(f, "SELECT hash FROM models", "deadbeefdeadbeef\n");
}

static void a_retraining_is_recorded(void **state)
{
    fixture *f = *state;
    ky_retrain_row t = { .model = "vibration",
                         .cause = "every 24h",
                         .verdict = "promoted",
                         .started_us = 1,
                         .ended_us = 2,
                         .from_version = 1,
                         .to_version = 2,
                         .rows = 200,
                         .held_out = 50,
                         .metric = "macro_f1",
                         .champion = NAN,
                         .candidate = 0.5 };
    ky_err err = { 0 };

    assert_ok(ky_results_add_retrain(f->r, &t, &err), err);
    assert_answer(f, "SELECT verdict, from_version, champion IS NULL, candidate FROM retrains",
                  "promoted,1,1,0.5\n");
}

static void the_last_retraining_is_the_one_that_began_last(void **state)
{
    fixture *f = *state;
    ky_retrain_row t = { .model = "vibration", .cause = "request", .verdict = "kept" };
    int64_t last = -1;
    ky_err err = { 0 };

    assert_ok(ky_results_last_retrain(f->r, "vibration", &last, &err), err);
    assert_int_equal(last, 0);
    t.started_us = 7;
    assert_ok(ky_results_add_retrain(f->r, &t, &err), err);
    t.started_us = 5;
    assert_ok(ky_results_add_retrain(f->r, &t, &err), err);
    assert_ok(ky_results_last_retrain(f->r, "vibration", &last, &err), err);
    assert_int_equal(last, 7);
    assert_ok(ky_results_last_retrain(f->r, "other", &last, &err), err);
    assert_int_equal(last, 0);
}

static void assert_used(fixture *f, const char *model, uint32_t version, bool want)
{
    bool used = !want;
    ky_err err = { 0 };

    assert_ok(ky_results_version_used(f->r, model, version, &used, &err), err);
    assert_int_equal(used, want);
}

static void a_version_is_used_while_something_names_it(void **state)
{
    fixture *f = *state;
    ky_row_state *s;

    add_stream(f, 1, "pump-1");
    s = fill_state(f, KY_ADD(&f->u.states), 1, 5);
    s->model = 0;
    s->version = 1;
    s = fill_state(f, &KY_ADD(&f->u.states0)->row, 1, 5);
    s->model = 0;
    s->version = 2;
    add_prediction(f, 1, 5, "worn")->version = 3;
    assert_used(f, "vibration", 1, false);
    commit(f);
    for (uint32_t version = 1; version <= 3; version++) {
        assert_used(f, "vibration", version, true);
        assert_used(f, "other", version, false);
    }
    assert_used(f, "vibration", 4, false);
}

static void add_reset(fixture *f, const char *model, int64_t pos)
{
    ky_row_source *s = KY_ADD(&f->u.sources);

    s->source = text(f, "=reset");
    s->key = text(f, model);
    s->number = pos;
}

/* A stream that left memory before a reset asks for that version when it comes back. */
static void a_version_is_used_while_a_reset_names_it(void **state)
{
    fixture *f = *state;

    for (uint32_t i = 1; i <= 3; i++) {
        ky_row_swap *s = KY_ADD(&f->u.swaps);

        s->pos = 1000 * i;
        s->version = i;
    }
    add_reset(f, "other", 3001);
    commit(f);
    assert_used(f, "vibration", 2, false);
    add_reset(f, "vibration", 2001); /* the third went on with the states */
    commit(f);
    assert_used(f, "vibration", 1, false);
    assert_used(f, "vibration", 2, true);
    assert_used(f, "vibration", 3, false);
}

/* -- readers of the group -- */

/* Runs the plain sqlite3 shell as another user of the file's group, without write permission. */
static int shell_as_reader(const char *path, char *ret, size_t len)
{
    static const gid_t group = 54321;
    int out[2], status;
    size_t got = 0;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(out), 0);
    pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        dup2(out[1], 2);
        if (setgroups(1, &group) != 0 || setgid(group) != 0 || setuid(65534) != 0)
            _exit(99);
        execlp("sqlite3", "sqlite3", path, "SELECT label FROM live", (char *)NULL);
        _exit(98);
    }
    close(out[1]);
    while (got + 1 < len && (n = read(out[0], ret + got, len - 1 - got)) > 0)
        got += (size_t)n;
    ret[got] = '\0';
    close(out[0]);
    waitpid(pid, &status, 0);
    return status;
}

/* ky_results_query as that user; 0 if it found both answers. */
static int query_as_reader(const char *path)
{
    static const gid_t group = 54321;
    char *out = NULL;
    size_t len;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        FILE *to = open_memstream(&out, &len);

        if (setgroups(1, &group) != 0 || setgid(group) != 0 || setuid(65534) != 0 ||
            ky_results_query(path, "SELECT count(*) FROM history", KY_TABLE_CSV, to, NULL) != KY_OK)
            _exit(99);
        fclose(to);
        _exit(strcmp(out, "count(*)\n2\n") != 0);
    }
    waitpid(pid, &status, 0);
    return status;
}

static void another_user_of_the_group_reads_with_the_plain_shell(void **state)
{
    fixture *f = *state;
    char out[4096], file[4200];
    struct stat st;
    mode_t before;

    if (geteuid() != 0) {
        print_message("only root can become another user\n");
        skip();
    }
    need_shell();
    ky_results_close(f->r);
    unlink(f->path); /* as the unit makes it: a directory of the group, 0750 */
    snprintf(file, sizeof(file), "%s-wal", f->path);
    unlink(file);
    snprintf(file, sizeof(file), "%s-shm", f->path);
    unlink(file);
    assert_int_equal(chown(f->dir, 0, 54321), 0);
    assert_int_equal(chmod(f->dir, 02750), 0);
    before = umask(0077);
    open_results(f);
    umask(before);
    add_stream(f, 0, "pump-1");
    add_prediction(f, 0, 1, "worn");
    commit(f);
    assert_int_equal(shell_as_reader(f->path, out, sizeof(out)), 0); /* while it runs */
    assert_string_equal(out, "worn\n");
    add_prediction(f, 0, 2, "ok");
    commit(f);
    ky_results_close(f->r); /* after it has stopped */
    f->r = NULL;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(shell_as_reader(f->path, out, sizeof(out)), 0);
    assert_string_equal(out, "ok\n");
    assert_int_equal(shell_as_reader(f->path, out, sizeof(out)), 0); /* it left all in place */
    assert_string_equal(out, "ok\n");
    assert_answer(f, "SELECT count(*) FROM predictions",
                  "2\n"); /* nor does the owner's query ... */
    snprintf(file, sizeof(file), "sqlite3 -readonly '%s' 'SELECT label FROM live' >/dev/null",
             f->path);
    assert_int_equal(system(file), 0); /* ... or a shell that says it only reads, disturb it */
    assert_int_equal(shell_as_reader(f->path, out, sizeof(out)), 0);
    assert_string_equal(out, "ok\n");
    assert_int_equal(query_as_reader(f->path), 0);
    assert_int_equal(chmod(f->dir, 0700), 0); /* negative control: the oracle can fail */
    assert_int_not_equal(shell_as_reader(f->path, out, sizeof(out)), 0);
}

/* kill -9 in the middle of commits: the WAL stays as it was. */
static void a_killed_writer_leaves_whole_units(void **state)
{
    fixture *f = *state;
    int pipes[2], committed = 0, n;
    char want[64];
    pid_t pid;

    add_stream(f, 0, "pump-1");
    commit(f);
    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    if (pid == 0) {
        ky_results *r;

        if (ky_results_open(f->path, true, &r, NULL) != KY_OK)
            _exit(1);
        for (n = 1;; n += 2) {
            add_prediction(f, 0, n, "ok");
            add_prediction(f, 0, n + 1, "ok");
            if (ky_results_commit(r, &f->u, NULL) != KY_OK ||
                write(pipes[1], &n, sizeof(n)) != sizeof(n))
                _exit(1);
            ky_unit_clear(&f->u);
        }
    }
    close(pipes[1]);
    while (read(pipes[0], &n, sizeof(n)) == sizeof(n)) {
        committed = n;
        if (n == 101)
            kill(pid, SIGKILL);
    }
    waitpid(pid, NULL, 0);
    close(pipes[0]);
    assert_true(committed >= 101);
    snprintf(want, sizeof(want), "1,1\n");
    char sql[256];
    snprintf(sql, sizeof(sql), "SELECT count(*) %% 2 = 0, count(*) > %d FROM predictions",
             committed);
    assert_answer(f, sql, want);
    assert_answer(f, "PRAGMA integrity_check", "ok\n");
}

static void an_empty_unit_commits_nothing(void **state)
{
    fixture *f = *state;
    struct stat before, after;
    char wal[4200];

    snprintf(wal, sizeof(wal), "%s-wal", f->path);
    stat(wal, &before);
    assert_true(ky_unit_empty(&f->u));
    commit(f);
    stat(wal, &after);
    assert_int_equal(before.st_size, after.st_size);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_unit_is_all_there_after_commit),
        TEST(a_prediction_that_exists_is_corruption_and_nothing_is_kept),
        TEST(answers_stay_what_they_are_when_their_runs_settle),
        TEST(a_streams_models_answer_side_by_side),
        TEST(qualities_and_time_sources_have_their_names),
        TEST(a_state_comes_back_to_the_bit),
        TEST(a_stream_has_a_state_under_each_of_its_models),
        TEST(states_of_models_that_left_go_when_they_are_told_to),
        TEST(states_before_a_file_are_kept_until_dropped),
        TEST(a_sources_position_is_the_last_committed),
        TEST(the_low_water_mark_only_rises),
        TEST(the_highest_position_of_all_states_is_known),
        TEST(every_nth_stream_is_read_alone),
        TEST(only_where_there_are_more_some_are_older),
        TEST(the_model_at_a_position_is_the_last_swapped_before_it),
        TEST(rejects_are_bounded_and_the_oldest_go),
        TEST(events_are_bounded_and_the_oldest_go),
        TEST(a_late_label_finds_its_step_by_seq_or_ts),
        TEST(a_label_without_its_step_does_not_vanish),
        TEST(the_newest_of_equal_numbers_is_meant),
        TEST(a_second_label_corrects_the_first),
        TEST(only_late_labels_are_given_to_training),
        TEST(live_shows_the_latest_answer_of_each_stream),
        TEST(transitions_shows_changes_of_the_label),
        TEST(accuracy_counts_labelled_steps_by_version),
        TEST(history_and_hourly_and_state_health_answer),
        TEST(health_is_in_columns_and_what_the_lane_needs_comes_back),
        TEST(views_keep_the_models_of_a_stream_apart),
        TEST(a_database_of_the_second_schema_is_brought_up_to_date),
        TEST(times_before_1970_read_right),
        TEST(the_schema_is_strict_and_has_its_version),
        TEST(the_identity_stays),
        TEST(reading_labels_changes_nothing),
        TEST(a_newer_schema_is_refused_by_name),
        TEST(a_database_of_the_first_schema_is_brought_up_to_date),
        TEST(answers_of_the_first_schema_stay_what_they_are),
        TEST(a_foreign_database_is_refused_and_left_alone),
        TEST(bytes_that_are_no_database_are_refused),
        TEST(a_full_disk_is_called_so_and_the_unit_has_no_half),
        TEST(a_checkpoint_says_whether_it_moved_everything),
        TEST(a_second_writer_waits_its_turn),
        TEST(segments_are_listed_in_order_once_each),
        TEST(a_model_version_has_one_hash),
        TEST(a_retraining_is_recorded),
        TEST(the_last_retraining_is_the_one_that_began_last),
        TEST(a_version_is_used_while_something_names_it),
        TEST(a_version_is_used_while_a_reset_names_it),
        TEST(another_user_of_the_group_reads_with_the_plain_shell),
        TEST(a_killed_writer_leaves_whole_units),
        TEST(an_empty_unit_commits_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
