/* Sealed journal files into segments, and sequences out of them. */
#include "tests/storage/tools.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "models/h5.h"
#include "storage/archive.h"
#include "storage/recent.h"

typedef struct fixture {
    char *dir, journal[4096], archive[4096], db[4096];
    ky_journal *j;
    ky_results *r;
    ky_unit u;
} fixture;

static const char *const labels[] = { "ok", "worn" };
static const char *const features[] = { "ax", "ay" };
static const char *const models[] = { "vibration" };
static const char *const classes[] = { "vibration", "other" };
static const ky_archive_class described[] = {
    { .name = "vibration",
      .archive = true,
      .labels = labels,
      .n_labels = 2,
      .features = features,
      .n_features = 2 },
    { .name = "other", .archive = false },
};

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    ky_err err = { 0 };

    f->dir = tools_dir();
    snprintf(f->journal, sizeof(f->journal), "%s/journal", f->dir);
    snprintf(f->archive, sizeof(f->archive), "%s/archive", f->dir);
    snprintf(f->db, sizeof(f->db), "%s/results.db", f->dir);
    assert_ok(ky_journal_open(&(ky_journal_opts){ .dir = f->journal, .config_text = "x" }, 0, &f->j,
                              &err),
              err);
    assert_ok(ky_results_open(f->db, true, &f->r, &err), err);
    f->u.models = models;
    f->u.classes = classes;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    ky_journal_close(f->j);
    ky_results_close(f->r);
    ky_unit_done(&f->u);
    tools_dir_remove(f->dir);
    free(f);
    return 0;
}

static void append(fixture *f, ky_record *r)
{
    ky_err err = { 0 };

    assert_ok(ky_journal_append(f->j, r, &err), err);
    free(r);
}

/* A message of T steps from n on; step n has the values {n, stream + n/1000}. */
static ky_record *message(uint32_t stream, int64_t n, int T, const char *label, unsigned flags)
{
    char name[16];
    float x[64];
    ky_record *plain, *r;

    for (int t = 0; t < T; t++) {
        x[2 * t] = (float)(n + t);
        x[2 * t + 1] = (float)stream + (float)(n + t) / 1000;
    }
    snprintf(name, sizeof(name), "pump-%u", stream);
    plain = tools_sample(name, n, T, 2, x);
    r = tools_record(KY_REC_SAMPLE, name, label ? label : "", x, (size_t)T * 2 * sizeof(*x));
    r->steps = (uint32_t)T;
    r->features = 2;
    r->n = n;
    r->seq = 100 + n;
    r->ts_us = 1700000000000000 + n * 1000;
    r->stream = stream;
    r->flags |= (uint16_t)flags;
    free(plain);
    return r;
}

/* Seals what was appended and archives it; the path of its segment. */
static char *archive(fixture *f)
{
    static char path[8192];
    ky_journal_file *files;
    ky_err err = { 0 };
    int n;

    assert_ok(ky_journal_sync(f->j, &err), err);
    assert_ok(ky_journal_seal(f->j, &err), err);
    n = ky_journal_list(f->j, &files, &err);
    assert_true(n > 0);
    assert_true(files[n - 1].sealed);
    assert_ok(ky_archive_seal(f->archive, &files[n - 1], described, 2, f->r, &err), err);
    free(files);
    path[0] = '\0';
    return path;
}

typedef struct paths {
    char *path[16];
    int n;
    const char *dir;
    uint64_t rows;
} paths;

static int take_path(const ky_segment_row *s, void *arg, ky_err *err)
{
    paths *p = arg;
    char full[8192];

    (void)err;
    snprintf(full, sizeof(full), "%s/%s", p->dir, s->path);
    p->path[p->n++] = strdup(full);
    p->rows += s->rows;
    return 0;
}

static paths segments(fixture *f)
{
    paths p = { .dir = f->dir };
    ky_err err = { 0 };

    assert_ok(ky_results_each_segment(f->r, "vibration", take_path, &p, &err), err);
    return p;
}

static void free_paths(paths *p)
{
    for (int i = 0; i < p->n; i++)
        free(p->path[i]);
}

/* -- the newest samples -- */

/* A file behind the newest has samples between those that are kept already. */
static void the_newest_samples_come_from_several_files(void **state)
{
    enum { MOST = 10, LAST = 40, SPLIT = 36 };
    fixture *f = *state;
    ky_recent got;
    ky_err err = { 0 };

    for (int64_t n = 1; n <= LAST; n++) {
        append(f, message(0, n, 1, NULL, 0));
        if (n == SPLIT)
            assert_ok(ky_journal_seal(f->j, &err), err);
    }
    assert_ok(ky_journal_sync(f->j, &err), err);
    assert_ok(ky_recent_samples(f->dir, "vibration", "pump-0", 0, MOST, &got, &err), err);
    assert_int_equal(got.n, MOST);
    for (int i = 0; i < MOST; i++) {
        assert_int_equal(got.sample[i].n, LAST - MOST + 1 + i);
        assert_true(got.sample[i].x[0] == (float)got.sample[i].n);
    }
    ky_recent_free(&got);
}

/* It stands among the segments and is none: more rows than there is memory, of nothing. */
static void a_segment_of_nothing_takes_no_memory(void **state)
{
    fixture *f = *state;
    const uint64_t x[] = { UINT64_C(1) << 44, 0 }, one[] = { 1 };
    const char *names[] = { "pump-0" };
    const int64_t value = 1;
    char path[4096];
    ky_recent got;
    ky_h5 *h;
    ky_err err = { 0 };

    append(f, message(0, 5, 1, NULL, 0));
    append(f, message(0, 6, 1, NULL, 0));
    assert_ok(ky_journal_sync(f->j, &err), err);
    snprintf(path, sizeof(path), "%s/archive", f->dir);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/archive/vibration", f->dir);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/archive/vibration/20990101T000000Z.h5", f->dir);
    assert_ok(ky_h5_create(path, &h, &err), err);
    assert_ok(ky_h5_put(h, "/x", KY_H5_F32, 2, x, &value, &err), err);
    assert_ok(ky_h5_put(h, "/n", KY_H5_I64, 1, one, &value, &err), err);
    assert_ok(ky_h5_put_strs(h, "/streams", names, 1, &err), err);
    assert_ok(ky_h5_commit(h, &err), err);
    assert_ok(ky_recent_samples(f->dir, "vibration", "pump-0", 0, 10, &got, &err), err);
    assert_int_equal(got.n, 2);
    ky_recent_free(&got);
}

/* -- segments -- */

static void rows_are_steps_with_their_columns(void **state)
{
    fixture *f = *state;
    uint8_t op[8];
    uint32_t stream[8], flags[8];
    int64_t n[8], seq[8];
    int32_t label[8];
    float x[16];
    char **names;
    size_t n_names;
    ky_h5 *h;
    ky_h5_info info;
    ky_err err = { 0 };
    paths p;

    append(f, message(7, 1, 3, "worn", KY_START | KY_END));
    append(f, message(9, 1, 1, NULL, 0));
    ky_record *end = tools_record(KY_REC_END, "pump-9", "", NULL, 0);
    end->stream = 9;
    end->n = 1;
    append(f, end);
    ky_record *reject = tools_record(KY_REC_REJECT, "", "nonsense", "{", 1);
    reject->class_ = 999; /* no class could be said */
    append(f, reject);
    archive(f);
    p = segments(f);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.rows, 5);
    assert_ok(ky_h5_open(p.path[0], &h, &err), err);
    assert_ok(ky_h5_stat(h, "/x", &info, &err), err);
    assert_int_equal(info.dims[0], 5);
    assert_int_equal(info.dims[1], 2);
    assert_ok(ky_h5_read(h, "/op", KY_H5_U8, op, 5, &err), err);
    assert_ok(ky_h5_read(h, "/stream", KY_H5_U32, stream, 5, &err), err);
    assert_ok(ky_h5_read(h, "/flags", KY_H5_U32, flags, 5, &err), err);
    assert_ok(ky_h5_read(h, "/n", KY_H5_I64, n, 5, &err), err);
    assert_ok(ky_h5_read(h, "/seq", KY_H5_I64, seq, 5, &err), err);
    assert_ok(ky_h5_read(h, "/label", KY_H5_I32, label, 5, &err), err);
    assert_ok(ky_h5_read(h, "/x", KY_H5_F32, x, 10, &err), err);
    assert_memory_equal(op, ((uint8_t[]){ 1, 1, 1, 1, 3 }), 5);
    assert_memory_equal(stream, ((uint32_t[]){ 0, 0, 0, 1, 1 }), 20);
    assert_memory_equal(n, ((int64_t[]){ 1, 2, 3, 1, 1 }), 40);
    assert_memory_equal(seq, ((int64_t[]){ 101, 101, 101, 101, KY_NONE }), 40);
    assert_memory_equal(label, ((int32_t[]){ -1, -1, 1, -1, -1 }), 20);
    assert_int_equal(flags[0] & (KY_START | KY_END), KY_START);
    assert_int_equal(flags[1] & (KY_START | KY_END), 0);
    assert_int_equal(flags[2] & (KY_START | KY_END), KY_END);
    assert_true(x[0] == 1 && x[1] == 7 + 1 / 1000.0f && x[4] == 3 && x[8] == 0);
    assert_ok(ky_h5_read_strs(h, "/streams", &names, &n_names, &err), err);
    assert_int_equal(n_names, 2);
    assert_string_equal(names[1], "pump-9");
    free(names);
    assert_ok(ky_h5_attr_strs(h, "/", "class_names", &names, &n_names, &err), err);
    assert_int_equal(n_names, 2);
    assert_string_equal(names[1], "worn");
    free(names);
    ky_h5_close(h);
    free_paths(&p);
}

static void a_label_the_model_does_not_know_joins_the_names(void **state)
{
    fixture *f = *state;
    char **names;
    size_t n;
    int32_t label;
    ky_h5 *h;
    ky_err err = { 0 };
    paths p;

    append(f, message(0, 1, 1, "broken", 0));
    archive(f);
    p = segments(f);
    assert_ok(ky_h5_open(p.path[0], &h, &err), err);
    assert_ok(ky_h5_attr_strs(h, "/", "class_names", &names, &n, &err), err);
    assert_ok(ky_h5_read(h, "/label", KY_H5_I32, &label, 1, &err), err);
    assert_int_equal(n, 3);
    assert_string_equal(names[label], "broken");
    free(names);
    ky_h5_close(h);
    free_paths(&p);
}

/* Somebody sends order numbers as labels. */
static void labels_without_number_are_archived_all_the_same(void **state)
{
    enum { MANY = 60000 };
    fixture *f = *state;
    char label[80];
    ky_err err = { 0 };
    ky_h5 *h5 = NULL;
    char **names;
    size_t n;

    for (int i = 0; i < MANY; i++) {
        snprintf(label, sizeof(label), "order number %020d of the machine in the second hall", i);
        append(f, message(1, 1 + i, 1, label, 0));
    }
    archive(f);
    paths p = segments(f);

    assert_int_equal(p.rows, MANY);
    assert_ok(ky_h5_open(p.path[0], &h5, &err), err);
    assert_ok(ky_h5_attr_strs(h5, "/", "class_names", &names, &n, &err), err);
    assert_int_equal(n, 2 + MANY);
    assert_string_equal(names[1 + MANY], label);
    free(names);
    ky_h5_close(h5);
    free_paths(&p);
}

static void a_segment_holds_the_states_it_started_from(void **state)
{
    fixture *f = *state;
    ky_err err = { 0 };
    ky_row_stream *s = KY_ADD(&f->u.streams);
    ky_row_state0 *t;
    uint8_t data[5];
    uint32_t version;
    int64_t n;
    ky_h5 *h;
    paths p;

    s->id = 4;
    s->name = ky_unit_bytes(&f->u, "pump-4", 6);
    t = KY_ADD(&f->u.states0);
    t->file_first = 0;
    t->row =
        (ky_row_state){ .stream = 4, .version = 3, .n = 41, .seq_high = KY_NONE, .ts_us = KY_NONE };
    t->row.blob = ky_unit_bytes(&f->u, "bytes", 5);
    assert_ok(ky_results_commit(f->r, &f->u, &err), err);
    append(f, message(4, 42, 1, NULL, 0));
    archive(f);
    archive(f); /* again: harmless, also when state0 is dropped meanwhile */
    assert_ok(ky_results_drop_state0(f->r, 0, &err), err);
    archive(f);
    p = segments(f);
    assert_int_equal(p.n, 1);
    assert_ok(ky_h5_open(p.path[0], &h, &err), err);
    assert_ok(ky_h5_read(h, "/state0/data", KY_H5_U8, data, 5, &err), err);
    assert_ok(ky_h5_read(h, "/state0/version", KY_H5_U32, &version, 1, &err), err);
    assert_ok(ky_h5_read(h, "/state0/n", KY_H5_I64, &n, 1, &err), err);
    assert_memory_equal(data, "bytes", 5);
    assert_int_equal(version, 3);
    assert_int_equal(n, 41);
    ky_h5_close(h);
    free_paths(&p);
}

static void a_class_without_archive_or_rows_has_no_segment(void **state)
{
    fixture *f = *state;
    ky_record *r = message(0, 1, 1, NULL, 0);
    char path[5000];
    paths p;

    r->class_ = 1;
    append(f, r);
    archive(f);
    p = segments(f);
    assert_int_equal(p.n, 0);
    snprintf(path, sizeof(path), "%s/other", f->archive);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_class_number_beyond_the_settings_is_corruption(void **state)
{
    fixture *f = *state;
    ky_record *r = message(0, 1, 1, NULL, 0);
    ky_journal_file *files;
    ky_err err;

    r->class_ = 2;
    append(f, r);
    ky_journal_seal(f->j, NULL);
    ky_journal_list(f->j, &files, NULL);
    assert_int_equal(ky_archive_seal(f->archive, &files[0], described, 2, f->r, &err), KY_ECORRUPT);
    assert_non_null(strstr(err.text, "class 2"));
    free(files);
}

static void a_class_that_climbs_out_is_refused(void **state)
{
    static const char *const names[] = { "../x", "a/b", ".hidden", "" };
    fixture *f = *state;
    ky_journal_file *files;

    append(f, message(0, 1, 1, NULL, 0));
    ky_journal_seal(f->j, NULL);
    ky_journal_list(f->j, &files, NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        ky_archive_class c = { .name = names[i], .archive = true };

        assert_int_equal(ky_archive_seal(f->archive, &files[0], &c, 1, f->r, NULL), KY_EINVAL);
    }
    free(files);
}

/* A million equal values compress a thousandfold, and our own guard against bombs must let them by.
 */
static void a_long_monotonous_recording_can_be_read_again(void **state)
{
    enum { STEPS = 300000, BY = 1000 };
    fixture *f = *state;
    float *x = calloc(BY, sizeof(*x));
    ky_h5_info info;
    ky_h5 *h;
    ky_err err = { 0 };
    paths p;

    for (int at = 1; at <= STEPS; at += BY) {
        ky_record *r = tools_sample("still", at, BY, 1, x);

        append(f, r);
    }
    free(x);
    archive(f);
    p = segments(f);
    assert_int_equal(p.rows, STEPS);
    assert_ok(ky_h5_open(p.path[0], &h, &err), err);
    assert_ok(ky_h5_stat(h, "/x", &info, &err), err);
    assert_ok(ky_h5_stat(h, "/op", &info, &err), err);
    assert_ok(ky_h5_stat(h, "/label", &info, &err), err);
    ky_h5_close(h);
    free_paths(&p);
}

/* -- sequences -- */

typedef struct got {
    char text[4096];
    const char *label[4]; /* of the last labelled step, by the stream's number */
    bool no_values;
} got;

static int take_label(const ky_sequence *s, const char *label, void *arg, ky_err *err)
{
    got *g = arg;

    (void)err;
    assert_true(s->number < 4);
    g->label[s->number] = strcmp(label, "ok") == 0 ? "ok" : "worn"; /* borrowed for the call */
    return 0;
}

static int take_step(const ky_sequence *s, const float *x, const char *label, void *arg,
                     ky_err *err)
{
    got *g = arg;
    int64_t n = s->first_n + s->steps - 1;

    assert_int_equal(s->last_n, n);
    assert_true(g->no_values == (x == NULL));
    if (x != NULL) {
        assert_true(x[0] == (float)n);
        assert_true(x[1] == (float)atoi(s->stream + strlen("pump-")) + (float)n / 1000);
    }
    if (s->steps == 1)
        g->label[s->number] = "-";
    return label != NULL ? take_label(s, label, arg, err) : 0;
}

static int take_end(const ky_sequence *s, void *arg, ky_err *err)
{
    got *g = arg;
    char one[200];

    (void)err;
    snprintf(one, sizeof(one), "%s %d-%d %s%s%s\n", s->stream, (int)s->first_n, (int)s->last_n,
             g->label[s->number], s->starts ? " starts" : "", s->ends ? " ends" : "");
    strcat(g->text, one);
    return 0;
}

/* With values and without, and whatever order the segments are given in. */
static void assert_sequences(fixture *f, const char *want)
{
    paths p = segments(f);
    const char *given[16];

    for (int blind = 0; blind < 2; blind++) {
        const ky_archive_visitor v = { take_step, take_label, take_end, blind == 1 };
        got g = { .no_values = blind == 1 };
        ky_err err = { 0 };

        for (int i = 0; i < p.n; i++)
            given[i] = p.path[blind ? i : p.n - 1 - i];
        assert_ok(ky_archive_read(given, p.n, &v, &g, &err), err);
        assert_string_equal(g.text, want);
    }
    free_paths(&p);
}

static void sequences_cross_messages_and_segments(void **state)
{
    fixture *f = *state;

    append(f, message(1, 1, 4, NULL, KY_START));
    append(f, message(2, 1, 1, NULL, KY_START));
    append(f, message(1, 5, 2, "ok", KY_END));
    append(f, message(1, 7, 1, NULL, KY_START));
    archive(f);
    append(f, message(2, 2, 3, "worn", KY_END));
    append(f, message(1, 8, 3, "worn", 0));
    archive(f);
    append(f, message(1, 11, 1, NULL, KY_START)); /* ends the one before */
    archive(f);
    assert_sequences(f, "pump-1 1-6 ok starts ends\n"
                        "pump-2 1-4 worn starts ends\n"
                        "pump-1 7-10 worn starts ends\n"
                        "pump-1 11-11 - starts\n");
}

static void a_hole_in_the_numbers_ends_a_sequence(void **state)
{
    fixture *f = *state;

    append(f, message(1, 5, 2, NULL, 0)); /* its beginning is not in the archive any more */
    append(f, message(1, 7, 1, "ok", 0));
    append(f, message(1, 9, 2, "worn", KY_END));
    archive(f);
    assert_sequences(f, "pump-1 5-7 ok\npump-1 9-10 worn ends\n");
}

static void an_end_record_ends_a_sequence_unless_it_moved_on(void **state)
{
    fixture *f = *state;
    ky_record *r;

    append(f, message(1, 1, 2, NULL, 0));
    r = tools_record(KY_REC_END, "pump-1", "", NULL, 0);
    r->stream = 1;
    r->n = 1; /* void */
    append(f, r);
    append(f, message(1, 3, 1, NULL, 0));
    r = tools_record(KY_REC_END, "pump-1", "", NULL, 0);
    r->stream = 1;
    r->n = 3;
    append(f, r);
    append(f, message(1, 4, 1, NULL, 0));
    archive(f);
    assert_sequences(f, "pump-1 1-3 - starts ends\npump-1 4-4 -\n");
}

static void a_label_that_follows_its_step_takes_the_place_of_the_first(void **state)
{
    fixture *f = *state;
    ky_record *r;

    append(f, message(1, 1, 2, "ok", KY_START));
    for (int64_t n = 1; n <= 2; n++) { /* the first is not the latest any more */
        r = tools_record(KY_REC_LABEL, "pump-1", n == 1 ? "ok" : "worn", NULL, 0);
        r->stream = 1;
        r->n = n;
        append(f, r);
    }
    archive(f);
    assert_sequences(f, "pump-1 1-2 worn starts\n");
}

static int stop(const ky_sequence *s, void *arg, ky_err *err)
{
    (void)s, (void)err;
    return ++*(int *)arg == 2 ? 7 : 0;
}

static int ignore(const ky_sequence *s, const float *x, const char *label, void *arg, ky_err *err)
{
    (void)s, (void)x, (void)label, (void)arg, (void)err;
    return 0;
}

static const ky_archive_visitor ignorant = { .step = ignore };

static void reading_stops_when_it_is_told_to(void **state)
{
    const ky_archive_visitor v = { .step = ignore, .over = stop };
    fixture *f = *state;
    int calls = 0;
    paths p;

    for (int i = 0; i < 5; i++)
        append(f, message(1, 1 + i, 1, "ok", KY_START | KY_END));
    archive(f);
    p = segments(f);
    assert_int_equal(ky_archive_read((const char *const *)p.path, p.n, &v, &calls, NULL), 7);
    assert_int_equal(calls, 2);
    free_paths(&p);
}

/* -- hostile segments -- */

/* A file of ours in which one thing is wrong. */
static int read_crooked(fixture *f, uint32_t stream, int32_t label, uint64_t ops)
{
    static const char *const names[] = { "pump-1" };
    uint64_t row = 1, two[2] = { 1, 1 };
    uint8_t op[2] = { 1, 1 };
    uint32_t flags = 0;
    int64_t n = 1;
    float x = 0;
    char path[5000];
    const char *given = path;
    ky_h5 *h;
    ky_err err = { 0 };

    snprintf(path, sizeof(path), "%s/crooked.h5", f->dir);
    assert_ok(ky_h5_create(path, &h, &err), err);
    assert_ok(ky_h5_put(h, "/op", KY_H5_U8, 1, &ops, op, &err), err);
    assert_ok(ky_h5_put(h, "/flags", KY_H5_U32, 1, &row, &flags, &err), err);
    assert_ok(ky_h5_put(h, "/stream", KY_H5_U32, 1, &row, &stream, &err), err);
    assert_ok(ky_h5_put(h, "/n", KY_H5_I64, 1, &row, &n, &err), err);
    assert_ok(ky_h5_put(h, "/ts", KY_H5_I64, 1, &row, &n, &err), err);
    assert_ok(ky_h5_put(h, "/label", KY_H5_I32, 1, &row, &label, &err), err);
    assert_ok(ky_h5_put(h, "/x", KY_H5_F32, 2, two, &x, &err), err);
    assert_ok(ky_h5_put_strs(h, "/streams", names, 1, &err), err);
    assert_ok(ky_h5_set_attr_strs(h, "/", "class_names", labels, 2, &err), err);
    assert_ok(ky_h5_set_attr_int(h, "/", "journal_first", 0, &err), err);
    assert_ok(ky_h5_commit(h, &err), err);
    return ky_archive_read(&given, 1, &ignorant, NULL, NULL);
}

static void a_crooked_segment_is_refused(void **state)
{
    fixture *f = *state;

    assert_int_equal(read_crooked(f, 0, 1, 1), KY_OK);
    assert_int_equal(read_crooked(f, 1, 1, 1), KY_EFORMAT);
    assert_int_equal(read_crooked(f, UINT32_MAX, 1, 1), KY_EFORMAT);
    assert_int_equal(read_crooked(f, 0, 2, 1), KY_EFORMAT);
    assert_int_equal(read_crooked(f, 0, INT32_MIN, 1), KY_OK);
    assert_int_equal(read_crooked(f, 0, 1, 2), KY_ESHAPE);
}

static void a_truncated_segment_is_refused(void **state)
{
    fixture *f = *state;
    struct stat st;
    paths p;

    append(f, message(1, 1, 4, "ok", KY_START | KY_END));
    archive(f);
    p = segments(f);
    stat(p.path[0], &st);
    for (int percent = 99; percent >= 0; percent -= 9) {
        assert_int_equal(truncate(p.path[0], st.st_size * percent / 100), 0);
        assert_true(ky_archive_read((const char *const *)p.path, 1, &ignorant, NULL, NULL) < 0);
    }
    free_paths(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_newest_samples_come_from_several_files),
        TEST(a_segment_of_nothing_takes_no_memory),
        TEST(rows_are_steps_with_their_columns),
        TEST(a_label_the_model_does_not_know_joins_the_names),
        TEST(labels_without_number_are_archived_all_the_same),
        TEST(a_segment_holds_the_states_it_started_from),
        TEST(a_class_without_archive_or_rows_has_no_segment),
        TEST(a_class_number_beyond_the_settings_is_corruption),
        TEST(a_class_that_climbs_out_is_refused),
        TEST(a_long_monotonous_recording_can_be_read_again),
        TEST(sequences_cross_messages_and_segments),
        TEST(a_hole_in_the_numbers_ends_a_sequence),
        TEST(an_end_record_ends_a_sequence_unless_it_moved_on),
        TEST(a_label_that_follows_its_step_takes_the_place_of_the_first),
        TEST(reading_stops_when_it_is_told_to),
        TEST(a_crooked_segment_is_refused),
        TEST(a_truncated_segment_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
