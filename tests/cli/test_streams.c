/* kymo streams: the table, and one stream with what the journal and the archive have of it. The
 * state directory is as kymod leaves it, and as it is while kymod has it open. */
#include "tests/cli/run.h"

#include <math.h>

#include "models/health.h"
#include "storage/archive.h"
#include "storage/results.h"

enum { LAYOUT = 77 };

static const char *const models[] = { "m" };
static const char *const classes[] = { "pumps", "fans" };
static const char *const features[] = { "ax", "ay" };
static const ky_archive_class archived[] = {
    { .name = "pumps", .archive = true, .features = features, .n_features = 2 },
    { .name = "fans" },
};

static ky_results *results;
static ky_journal *journal;
static ky_unit u;

static ky_span text(const char *s)
{
    return ky_unit_bytes(&u, s, strlen(s));
}

static void add_stream(uint32_t id, uint16_t class_, const char *name)
{
    ky_row_stream *s = KY_ADD(&u.streams);

    *s = (ky_row_stream){ .id = id, .class_ = class_ };
    ky_span span = text(name);

    u.streams.row[u.streams.n - 1].name = span;
}

/* An LSTM of two units behind a ring of eight bytes: h = {0.5, -0.96}, c = {3, 4}. */
static void add_state(uint32_t id, int64_t n, int64_t quarantines)
{
    static const float state[] = { 9, 9, 0.5f, -0.96f, 3, 4 };
    ky_health h = { 0 };
    ky_row_state row = { .stream = id, .version = 3, .n = n, .start_n = 1, .layout = LAYOUT };

    ky_health_add(&h, state + 2, 4, 2);
    row.seq_high = 100 + n;
    row.ts_us = 1700000000000000 + n * 1000000;
    row.blob = ky_unit_bytes(&u, state, sizeof(state));
    row.health = (ky_row_health){ .rms = (float)ky_health_rms(&h),
                                  .largest = h.largest * (float)(id + 1),
                                  .saturated = (float)ky_health_saturated(&h),
                                  .steps = n,
                                  .quarantines = quarantines,
                                  .quarantined_us = row.ts_us,
                                  .quarantined_n = n };
    *KY_ADD(&u.states) = row;
}

static void add_part(int part, const char *layer, const char *what, size_t at, size_t bytes,
                     size_t h)
{
    ky_row_part row = {
        .layout = LAYOUT, .part = part, .at = at, .bytes = bytes, .h = h, .bounded = true
    };

    row.layer = text(layer);
    row.what = text(what);
    *KY_ADD(&u.parts) = row;
}

static void add_answer(uint32_t id, int64_t n, const char *label)
{
    static const float y[] = { 0.25f, 0.75f };
    ky_row_prediction row = { .stream = id, .version = 3, .n = n, .seq = 100 + n, .score = 0.75f };

    row.ts_us = 1700000000000000 + n * 1000000;
    row.name = text(label);
    row.y = ky_unit_bytes(&u, y, sizeof(y));
    *KY_ADD(&u.predictions) = row;
}

static void add_others(void)
{
    ky_row_gap gap = { .stream = 0, .n = 3, .from_us = 0, .to_us = 5000000, .to_seq = 103 };
    ky_row_reject reject = { 0 };
    ky_row_event event = { 0 };

    gap.what = text("reset");
    *KY_ADD(&u.gaps) = gap;
    reject.stream = text("pump-1");
    reject.reason = text("3 values, 2 expected");
    *KY_ADD(&u.rejects) = reject;
    event.level = text("warn");
    event.object = text("stream pump-1");
    event.what = text("quarantine");
    *KY_ADD(&u.events) = event;
}

static void append(uint32_t stream, const char *name, int64_t n, int T)
{
    size_t body = (size_t)T * 2 * sizeof(float), size = ky_record_size(0, strlen(name), 0, body);
    ky_record *r = calloc(1, size);

    *r = (ky_record){ .size = (uint32_t)size,
                      .type = KY_REC_SAMPLE,
                      .flags = KY_LAST,
                      .stream = stream,
                      .n = n,
                      .seq = 100 + n,
                      .ts_us = 1700000000000000 + n * 1000000,
                      .steps = (uint32_t)T,
                      .features = 2,
                      .body_len = (uint32_t)body,
                      .stream_len = (uint16_t)strlen(name) };
    memcpy((char *)(r + 1), name, strlen(name));
    for (int i = 0; i < 2 * T; i++) {
        float v = (float)(n + i / 2) + (i % 2 ? 0.5f : 0);

        memcpy((char *)r + size - ky_pad8(body) + (size_t)i * sizeof(v), &v, sizeof(v));
    }
    assert_int_equal(ky_journal_append(journal, r, NULL), KY_OK);
    free(r);
}

/* Steps 1 to 3 of pump-1 are in a segment only, 4 to 6 in the file that is being written. */
static void make_samples(void)
{
    char path[4096], archive[4096];
    ky_journal_file *files;
    const ky_journal_opts o = { .dir = in_dir("state/journal", path), .config_text = "x" };

    assert_int_equal(ky_journal_open(&o, 0, &journal, NULL), KY_OK);
    append(0, "pump-1", 1, 1);
    append(1, "pump-2", 1, 1);
    append(0, "pump-1", 2, 2);
    assert_int_equal(ky_journal_sync(journal, NULL), KY_OK);
    assert_int_equal(ky_journal_seal(journal, NULL), KY_OK);
    assert_int_equal(ky_journal_list(journal, &files, NULL), 1);
    assert_int_equal(
        ky_archive_seal(in_dir("state/archive", archive), &files[0], archived, 2, results, NULL),
        KY_OK);
    assert_int_equal(unlink(files[0].path), 0);
    free(files);
    append(0, "pump-1", 4, 3);
    append(2, "fan", 1, 1);
    assert_int_equal(ky_journal_flush(journal, NULL), KY_OK);
}

static int set_up(void **state)
{
    char path[4096];

    (void)state;
    if (run_begin() != 0 || mkdir(in_dir("state", path), 0700) != 0)
        return -1;
    u.models = models;
    u.classes = classes;
    assert_int_equal(ky_results_open(in_dir("state/results.db", path), false, &results, NULL),
                     KY_OK);
    add_stream(0, 0, "pump-1");
    add_stream(1, 0, "pump-2");
    add_stream(2, 1, "fan");
    add_stream(3, 1, "pump-2");
    add_part(0, "conv", "its last inputs", 0, 8, 0);
    add_part(1, "lstm", "hidden state", 8, 16, 2);
    add_state(0, 6, 2);
    add_state(1, 9, 0);
    add_state(2, 1, 0);
    for (int n = 1; n <= 6; n++)
        add_answer(0, n, n < 6 ? "ok" : "worn");
    add_others();
    assert_int_equal(ky_results_commit(results, &u, NULL), KY_OK);
    make_samples();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ky_journal_close(journal);
    ky_results_close(results);
    ky_unit_done(&u);
    return run_end();
}

static ky_json *json_of(const char *words)
{
    ran *r = run(words);

    assert_int_equal(r->code, 0);
    return report_of(r);
}

static const char *text_at(const ky_json *rows, size_t i, const char *key)
{
    return ky_json_str(ky_json_get(ky_json_at(rows, i), key), "?");
}

static void the_table_shows_each_stream_with_its_latest_answer(void **state)
{
    ky_json *rows = json_of("streams|-d|state|--json|--sort|name");

    (void)state;
    assert_int_equal(ky_json_len(rows), 3);
    assert_string_equal(text_at(rows, 0, "stream"), "fan");
    assert_string_equal(text_at(rows, 1, "stream"), "pump-1");
    assert_string_equal(text_at(rows, 1, "label"), "worn");
    assert_string_equal(text_at(rows, 1, "model"), "m@3");
    assert_string_equal(text_at(rows, 1, "health"), "quarantined");
    assert_string_equal(text_at(rows, 1, "seen"), "2023-11-14T22:13:26.000Z");
    assert_string_equal(text_at(rows, 2, "health"), "ok");
    assert_true(ky_json_is_null(ky_json_get(ky_json_at(rows, 2), "label")));
    ky_json_free(rows);
}

static void the_table_is_sorted_cut_and_of_one_class(void **state)
{
    static const struct {
        const char *words, *first;
        size_t n;
    } cases[] = {
        { "streams|-d|state|--json", "pump-2", 3 },
        { "streams|-d|state|--json|--sort|largest", "fan", 3 },
        { "streams|-d|state|--json|--sort|quarantined|--limit|1", "pump-1", 1 },
        { "streams|-d|state|--json|--class|fans", "fan", 1 },
        { "streams|-d|state|--json|--class|none", "?", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ky_json *rows = json_of(cases[i].words);

        assert_int_equal(ky_json_len(rows), cases[i].n);
        assert_string_equal(text_at(rows, 0, "stream"), cases[i].first);
        ky_json_free(rows);
    }
}

static double at(const ky_json *array, size_t i)
{
    return ky_json_num(ky_json_at(array, i), (double)NAN);
}

static void one_stream_shows_its_state_by_layer(void **state)
{
    ky_json *all = json_of("streams|pump-1|-d|state|--json");
    const ky_json *layers = ky_json_get(all, "layers"), *lstm = ky_json_at(layers, 1);

    (void)state;
    assert_string_equal(ky_json_str(ky_json_get(all, "class"), ""), "pumps");
    assert_int_equal(ky_json_len(layers), 2);
    assert_string_equal(text_at(layers, 0, "layer"), "conv");
    assert_int_equal(ky_json_len(ky_json_get(ky_json_at(layers, 0), "h")), 0);
    assert_true(at(ky_json_get(lstm, "h"), 1) == (double)-0.96f);
    assert_true(at(ky_json_get(lstm, "c"), 0) == 3 && at(ky_json_get(lstm, "c"), 1) == 4);
    assert_true(ky_json_num(ky_json_get(lstm, "largest"), 0) == 4);
    assert_true(ky_json_num(ky_json_get(lstm, "saturated"), 0) == 0.5);
    /* (0.25 + 0.96^2 + 9 + 16) / 4, and 0.96 is a float */
    assert_true(fabs(ky_json_num(ky_json_get(lstm, "rms"), 0) - sqrt(26.1716 / 4)) < 1e-6);
    ky_json_free(all);
}

static void samples_come_from_the_journal_and_before_it_from_the_archive(void **state)
{
    ky_json *all = json_of("streams|pump-1|-d|state|--json");
    const ky_json *samples = ky_json_get(all, "samples");

    (void)state;
    assert_int_equal(ky_json_len(samples), 6);
    for (int64_t n = 6, i = 0; n >= 1; n--, i++) {
        const ky_json *s = ky_json_at(samples, (size_t)i);
        int64_t message = n >= 4 ? 4 : n >= 2 ? 2 : 1;

        assert_int_equal(ky_json_int(ky_json_get(s, "n"), 0), n);
        assert_int_equal(ky_json_int(ky_json_get(s, "seq"), 0), 100 + message);
        assert_true(at(ky_json_get(s, "x"), 0) == (double)n);
        assert_true(at(ky_json_get(s, "x"), 1) == (double)n + 0.5);
    }
    ky_json_free(all);
    all = json_of("streams|pump-1|-d|state|--json|-n|4"); /* one of them from the archive */
    assert_int_equal(ky_json_len(ky_json_get(all, "samples")), 4);
    assert_int_equal(ky_json_len(ky_json_get(all, "answers")), 4);
    assert_int_equal(ky_json_int(ky_json_get(ky_json_at(ky_json_get(all, "samples"), 3), "n"), 0),
                     3);
    ky_json_free(all);
}

static void one_stream_shows_answers_gaps_rejects_and_events(void **state)
{
    ky_json *all = json_of("streams|pump-1|-d|state|--json");

    (void)state;
    assert_int_equal(ky_json_len(ky_json_get(all, "answers")), 6);
    assert_string_equal(text_at(ky_json_get(all, "answers"), 0, "label"), "worn");
    assert_string_equal(text_at(ky_json_get(all, "gaps"), 0, "what"), "reset");
    assert_string_equal(text_at(ky_json_get(all, "rejects"), 0, "reason"), "3 values, 2 expected");
    assert_string_equal(text_at(ky_json_get(all, "events"), 0, "what"), "quarantine");
    ky_json_free(all);
}

static void text_says_what_json_says(void **state)
{
    static const char *const said[] = {
        "pump-1 of class pumps",
        "lstm, hidden state: 2 h + 2 c, rms 2.558, largest 4, saturated 50 %",
        "conv, its last inputs: 8 bytes",
        "h  0.5 -0.96",
        "c  3 4",
        "n 6  seq 104",
        "x 6 6.5",
        "label worn",
        "what reset",
        "reason 3 values, 2 expected",
        "what quarantine",
    };
    ran *r = run("streams|pump-1|-d|state|-v");

    (void)state;
    assert_int_equal(r->code, 0);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (strstr(r->out, said[i]) == NULL)
            fail_msg("'%s' is not in:\n%s", said[i], r->out);
    assert_non_null(strstr(run("streams|pump-1|-d|state")->out, "conv, its last inputs"));
    assert_null(strstr(r->out, "none are kept"));
    r = run("streams|pump-2|--class|fans|-d|state");
    assert_non_null(strstr(r->out, "none are kept: they have left the journal"));
}

static void what_is_not_there_or_not_clear_is_said(void **state)
{
    static const told cases[] = {
        { "streams|nobody|-d|state", "stream 'nobody' is not in", 1 },
        { "streams|pump-1|--class|fans|-d|state", "stream 'pump-1' is not in", 1 },
        { "streams|pump-2|-d|state", "is in 2 classes", 1 },
        { "streams|-d|nowhere", "nowhere/results.db", 1 },
        { "streams|-d|state|--sort|size", "none of: seen", 2 },
        { "streams|a|b|-d|state", "kymo streams", 2 },
    };

    (void)state;
    assert_told(cases, sizeof cases / sizeof *cases);
}

static void without_kymod_it_is_the_same(void **state)
{
    char before[16384];

    (void)state;
    snprintf(before, sizeof before, "%s", run("streams|-d|state")->out);
    ky_journal_close(journal);
    ky_results_close(results);
    journal = NULL;
    results = NULL;
    assert_string_equal(run("streams|-d|state")->out, before);
    ky_json *all = json_of("streams|pump-1|-d|state|--json");

    assert_int_equal(ky_json_len(ky_json_get(all, "samples")), 6);
    ky_json_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_shows_each_stream_with_its_latest_answer),
        cmocka_unit_test(the_table_is_sorted_cut_and_of_one_class),
        cmocka_unit_test(one_stream_shows_its_state_by_layer),
        cmocka_unit_test(samples_come_from_the_journal_and_before_it_from_the_archive),
        cmocka_unit_test(one_stream_shows_answers_gaps_rejects_and_events),
        cmocka_unit_test(text_says_what_json_says),
        cmocka_unit_test(what_is_not_there_or_not_clear_is_said),
        cmocka_unit_test(without_kymod_it_is_the_same),
    };

    return cmocka_run_group_tests_name("streams", tests, set_up, tear_down);
}
