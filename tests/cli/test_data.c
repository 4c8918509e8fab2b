/* What kymo learns from: rows of every shape, from files made here. */
#include "tests/cli/run.h"

#include <math.h>

#include "models/h5.h"
#include "models/rng.h"

enum { MOST_VALUES = 1024, TRAIN = 160, TEST = 80, ALL = TRAIN + TEST };

/* Rows of `rank` dimensions, of two classes that stand apart; what they hold. */
typedef struct rows {
    const char *name;
    enum ky_h5_type type;
    int rank;
    uint64_t d[5];
    /* One row of class y: values of 0..255, or tokens. */
    void (*fill)(const struct rows *r, ky_rng *rng, int y, float *x);
} rows;

static size_t row_len(const rows *r)
{
    size_t n = 1;

    for (int i = 0; i < r->rank; i++)
        n *= (size_t)r->d[i];
    return n;
}

/* The first value tells, far from zero and small beside the others. */
static void fill_vector(const rows *r, ky_rng *rng, int y, float *x)
{
    for (size_t i = 0; i < row_len(r); i++)
        x[i] = (float)(100 + 30 * ky_rng_normal(rng));
    x[0] = (float)(100 + 2 * y + 0.3 * ky_rng_normal(rng));
}

/* A bright square of 2 x 2 or a line of 4, anywhere, in the last channel. */
static void draw(const rows *r, ky_rng *rng, int y, int at, float *x)
{
    bool plane = r->rank == 2 || r->rank == 3;
    size_t H = (size_t)r->d[plane ? 0 : 1], W = (size_t)r->d[plane ? 1 : 2];
    size_t C = r->rank == 2 ? 1 : (size_t)r->d[r->rank - 1];
    size_t top = 1 + (size_t)at % (H - 2), left = 1 + (size_t)at % (W - 4);

    for (size_t i = 0; i < H * W * C; i++)
        x[i] = (float)(10 + 20 * ky_rng_uniform(rng));
    for (size_t i = 0; i < 4; i++) {
        size_t row = top + (y == 0 ? i / 2 : 0), column = left + (y == 0 ? i % 2 : i);

        x[(row * W + column) * C + C - 1] = 220;
    }
}

static void fill_image(const rows *r, ky_rng *rng, int y, float *x)
{
    draw(r, rng, y, (int)(16 * ky_rng_uniform(rng)), x);
}

/* The square moves one way or the other: each frame by itself says nothing. */
static void fill_video(const rows *r, ky_rng *rng, int y, float *x)
{
    int T = (int)r->d[0];
    size_t frame = row_len(r) / r->d[0];

    for (int t = 0; t < T; t++)
        draw(r, rng, 0, y == 0 ? t : T - 1 - t, x + (size_t)t * frame);
}

/* Token 3 + y is somewhere among others. */
static void fill_tokens(const rows *r, ky_rng *rng, int y, float *x)
{
    for (size_t i = 0; i < row_len(r); i++)
        x[i] = (float)(6 + (int)(14 * ky_rng_uniform(rng)));
    x[(size_t)(ky_rng_uniform(rng) * (double)row_len(r))] = (float)(3 + y);
}

static const rows vectors = { "vectors.h5", KY_H5_F32, 1, { 5 }, fill_vector },
                  images = { "images.h5", KY_H5_U8, 3, { 9, 8, 2 }, fill_image },
                  plain_images = { "plain.h5", KY_H5_U8, 2, { 9, 8 }, fill_image },
                  videos = { "videos.h5", KY_H5_U8, 4, { 4, 9, 8, 1 }, fill_video },
                  tokens = { "tokens.h5", KY_H5_I32, 1, { 7 }, fill_tokens };

/* Values of the file's type. */
static void put_x(ky_h5 *f, const char *path, const rows *r, const float *x, int n)
{
    uint64_t dims[6] = { (uint64_t)n };
    size_t len = (size_t)n * row_len(r), size = r->type == KY_H5_U8 ? 1 : 4;
    void *v = malloc(len * size);

    assert_non_null(v);
    memcpy(dims + 1, r->d, sizeof r->d);
    for (size_t i = 0; i < len; i++) {
        if (r->type == KY_H5_U8)
            ((uint8_t *)v)[i] = (uint8_t)x[i];
        else if (r->type == KY_H5_I32)
            ((int32_t *)v)[i] = (int32_t)x[i];
        else
            ((float *)v)[i] = x[i];
    }
    assert_int_equal(ky_h5_put(f, path, r->type, 1 + r->rank, dims, v, NULL), KY_OK);
    free(v);
}

static ky_h5 *create(const char *name)
{
    char path[4096];
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir(name, path), &f, NULL), KY_OK);
    return f;
}

static void put_y(ky_h5 *f, const char *path, const int32_t *y, int n)
{
    assert_int_equal(ky_h5_put(f, path, KY_H5_I32, 1, (const uint64_t[]){ (uint64_t)n }, y, NULL),
                     KY_OK);
}

static void make_file(const rows *r)
{
    float *x = malloc(ALL * row_len(r) * sizeof *x);
    int32_t y[ALL];
    ky_h5 *f = create(r->name);
    ky_rng rng;

    assert_non_null(x);
    ky_rng_seed(&rng, 1);
    for (int i = 0; i < ALL; i++) {
        y[i] = i % 2;
        r->fill(r, &rng, y[i], x + (size_t)i * row_len(r));
    }
    put_x(f, "/X_train", r, x, TRAIN);
    put_y(f, "/y_train", y, TRAIN);
    put_x(f, "/X_test", r, x + TRAIN * row_len(r), TEST);
    put_y(f, "/y_test", y + TRAIN, TEST);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    free(x);
}

static int set_up(void **state)
{
    static const rows *const all[] = { &vectors, &images, &plain_images, &videos, &tokens };

    (void)state;
    if (run_begin() != 0)
        return -1;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        make_file(all[i]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return run_end();
}

static double number(const ky_json *o, const char *key)
{
    return ky_json_num(ky_json_get(o, key), NAN);
}

/* -- rows of every shape -------------------------------------------------------------------------
 */

static void rows_of_every_shape_are_learned_scored_and_asked(void **state)
{
    static const struct {
        const rows *rows;
        const char *arch;
    } cases[] = {
        { &vectors, "dense:8 relu, dense" },
        { &images, "conv2d:6x3 relu, maxpool:2, flatten, dense:8 relu, dense" },
        { &plain_images, "conv2d:6x3 relu, gmp, dense:1" },
        { &videos, "td(conv2d:3x3 relu), td(maxpool:2), td(flatten), lstm:8, dense" },
        { &tokens, "embed:4, lstm:6, dense:1" },
        { &tokens, "embed:4x50, gmp, dense" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *name = cases[i].rows->name;
        char command[512];
        ky_json *trained, *scored;
        double accuracy;

        snprintf(command, sizeof command, "train|%s|--arch|%s|-o|m.h5|-e|40|--lr|0.02|-b|16|-q|-j",
                 name, cases[i].arch);
        trained = report_of(run(command));
        snprintf(command, sizeof command, "eval|m.h5|%s|-j", name);
        scored = report_of(run(command));

        accuracy = number(scored, "accuracy");
        if (!(accuracy > 0.9))
            fail_msg("%s, %s: accuracy %g", name, cases[i].arch, accuracy);
        assert_true(accuracy == number(ky_json_get(trained, "test"), "accuracy"));
        ky_json_free(trained);
        ky_json_free(scored);
        snprintf(command, sizeof command, "predict|m.h5|%s|-o|whole.h5", name);
        run_well(command);
        snprintf(command, sizeof command, "predict|m.h5|%s|-o|stepped.h5|--stream", name);
        run_well(command);
        assert_true(same_bytes("whole.h5", "stepped.h5"));
    }
}

/* The vocabulary is that of all parts, so that the test part holds no token it lacks. */
static void an_embedding_has_a_row_for_every_token_there_is(void **state)
{
    static const int32_t x[] = { 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 11 }, y[] = { 0, 1, 0, 1 };
    const uint64_t dims[] = { 4, 3 };
    ky_h5 *f = create("few.h5");
    ran *r;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ky_h5_put(f, i == 0 ? "/X_train" : "/X_test", KY_H5_I32, 2, dims, x, NULL),
                         KY_OK);
        put_y(f, i == 0 ? "/y_train" : "/y_test", y, 4);
    }
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);

    run_well("train|few.h5|--arch|embed:2, gmp, dense|-o|m.h5|-e|1|-q");

    r = run("inspect|m.h5");
    assert_non_null(strstr(r->out, "24 ")); /* 12 tokens of 2 */
    r = run("train|few.h5|--arch|embed:2x11, gmp, dense|-o|new.h5|-e|1|-q");
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "few.h5:X_train row 3, step 2 is 11: model 'kymo' takes tokens "
                                   "0..10"));
}

/* -- rows of several lengths ---------------------------------------------------------------------
 */

enum { LONGEST = 12, WIDTH = 2 };

/* Series that rise or fall for as long as they last; behind their end `rest`, in all `steps`. */
static void put_series(ky_h5 *f, const char *part, int n, int steps, float rest, bool lengths)
{
    const uint64_t dims[] = { (uint64_t)n, (uint64_t)steps, WIDTH };
    float *x = malloc((size_t)n * (size_t)steps * WIDTH * sizeof *x);
    int32_t y[ALL], len[ALL];
    char name[32];
    ky_rng rng;

    assert_non_null(x);
    ky_rng_seed(&rng, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        double level = 5 * ky_rng_normal(&rng);

        y[i] = i % 2;
        len[i] = 4 + (int)(ky_rng_uniform(&rng) * (LONGEST - 3));
        for (int t = 0; t < steps; t++)
            for (int k = 0; k < WIDTH; k++) {
                double v = 100 + level + (y[i] ? t : -t) + ky_rng_normal(&rng);

                x[(i * steps + t) * WIDTH + k] = t < len[i] ? (float)v : rest;
            }
        /* as many numbers are drawn whatever stands behind the end */
        for (int t = steps; t < 16 * WIDTH; t++)
            ky_rng_normal(&rng);
    }
    snprintf(name, sizeof name, "/X%s", part);
    assert_int_equal(ky_h5_put(f, name, KY_H5_F32, 3, dims, x, NULL), KY_OK);
    snprintf(name, sizeof name, "/y%s", part);
    put_y(f, name, y, n);
    snprintf(name, sizeof name, "/len%s", part);
    if (lengths)
        put_y(f, name, len, n);
    free(x);
}

static void make_series(const char *name, float rest, bool lengths)
{
    ky_h5 *f = create(name);

    put_series(f, "_train", TRAIN, LONGEST, rest, lengths);
    put_series(f, "_test", TEST, LONGEST, rest, lengths);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static const char *const masked_archs[] = {
    "lstm:6, dense",
    "gru:5, td(dense:4 relu), lstm:4, dense",
    "bi(lstm:4), dense",
    "lstm:4, bn, gap, dense:1",
};

/* Whatever stands behind the end of a row, and however its length is told. */
static void what_is_behind_the_end_of_a_row_has_no_say(void **state)
{
    (void)state;
    make_series("nan.h5", NAN, false);
    make_series("loud.h5", 1e30f, true);

    for (size_t i = 0; i < sizeof masked_archs / sizeof *masked_archs; i++) {
        static const char *const files[] = { "nan.h5", "loud.h5" };

        for (int k = 0; k < 2; k++) {
            char command[512];
            ky_json *trained;

            snprintf(command, sizeof command,
                     "train|%s|--arch|%s|-o|m%d.h5|-e|20|--lr|0.03|-b|16|-q|-j", files[k],
                     masked_archs[i], k);
            trained = report_of(run(command));
            if (!(number(ky_json_get(trained, "test"), "accuracy") > 0.9))
                fail_msg("%s, %s: accuracy %g", files[k], masked_archs[i],
                         number(ky_json_get(trained, "test"), "accuracy"));
            ky_json_free(trained);
            /* answers to the other's rows, whole and stepped */
            snprintf(command, sizeof command, "predict|m%d.h5|%s|-o|p%d.h5", k, files[1 - k], k);
            run_well(command);
            snprintf(command, sizeof command, "predict|m%d.h5|%s|-o|s%d.h5|--stream", k, files[k],
                     k);
            run_well(command);
        }
        assert_true(same_bytes("p0.h5", "p1.h5"));
        assert_true(same_bytes("p0.h5", "s0.h5"));
        assert_true(same_bytes("p0.h5", "s1.h5"));
    }
}

static void training_says_what_becomes_of_short_rows(void **state)
{
    ran *r;

    (void)state;
    make_series("nan.h5", NAN, false);
    make_series("padded.h5", 0, true);

    r = run("train|nan.h5|--arch|lstm:3, dense|-o|m.h5|-e|1");
    assert_non_null(strstr(r->err, "rows have 4 to 12 steps: those that are not there are masked"));
    r = run("train|nan.h5|--arch|conv1d:3x3, gmp, dense|-o|m.h5|-e|1");
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->err, "layer 'conv1d' takes no masks (nor does Keras's): the others "
                                   "are learned from as zeros"));
    r = run("train|padded.h5|--arch|conv1d:3x3, flatten, dense|-o|m.h5|-e|1");
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->err, "as they stand in the file"));
}

/* Tokens behind the end become 0, which Embedding leaves out. */
static void tokens_of_several_lengths_are_masked(void **state)
{
    static int32_t x[TRAIN * 6], y[TRAIN], len[TRAIN];
    const uint64_t dims[] = { TRAIN, 6 };
    ky_h5 *f;

    (void)state;
    for (int k = 0; k < 2; k++) {
        ky_rng rng;

        ky_rng_seed(&rng, 1);
        f = create(k == 0 ? "short0.h5" : "short1.h5");
        for (int i = 0; i < TRAIN; i++) {
            y[i] = i % 2;
            len[i] = 1 + (int)(6 * ky_rng_uniform(&rng));
            for (int t = 0; t < 6; t++)
                x[i * 6 + t] = t < len[i] ? 3 + (int)(5 * ky_rng_uniform(&rng)) : k * 5;
            x[i * 6 + len[i] / 2] = 1 + y[i];
        }
        assert_int_equal(ky_h5_put(f, "/X", KY_H5_I32, 2, dims, x, NULL), KY_OK);
        put_y(f, "/y", y, TRAIN);
        put_y(f, "/lengths", len, TRAIN);
        assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    }

    run_well("train|short0.h5|--arch|embed:3, lstm:4, dense:1|-o|m0.h5|-e|20|--lr|0.03|-b|16|-q");
    run_well("train|short1.h5|--arch|embed:3, lstm:4, dense:1|-o|m1.h5|-e|20|--lr|0.03|-b|16|-q");

    run_well("predict|m0.h5|short1.h5|-o|p0.h5");
    run_well("predict|m1.h5|short0.h5|-o|p1.h5|--stream");
    assert_true(same_bytes("p0.h5", "p1.h5"));
    ran *r = run("eval|m0.h5|short0.h5|-j");
    ky_json *o = report_of(r);
    assert_true(number(o, "accuracy") > 0.95);
    ky_json_free(o);
}

/* -- augmentation --------------------------------------------------------------------------------
 */

static void what_rows_are_changed_by_is_noted_and_refused_where_it_means_nothing(void **state)
{
    static const struct {
        const char *command, *says;
        int code;
    } wrong[] = {
        { "train|images.h5|--arch|gap, dense|-o|new.h5|-q|--augment|shift=9", "9 rows of pixels",
          1 },
        { "train|vectors.h5|--arch|dense|-o|new.h5|-q|--augment|shift=1", "nothing to shift", 1 },
        { "train|tokens.h5|--arch|embed:2, gmp, dense|-o|new.h5|-q|--augment|jitter=0.1",
          "tokens cannot be augmented", 1 },
        { "train|images.h5|--arch|gap, dense|-o|new.h5|-q|--augment|flip=1",
          "'flip=1' is none of jitter=X", 2 },
    };

    (void)state;
    run_well("train|images.h5|--arch|conv2d:4x3 relu, gmp, dense|-o|m.h5|-e|2|-q|--augment|"
             "jitter=0.1,scale=0.2,shift=2");
    assert_non_null(strstr(run("inspect|m.h5|--json")->out, "jitter=0.1,scale=0.2,shift=2"));

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ran *r = run(wrong[i].command);

        if (r->code != wrong[i].code || strstr(r->err, wrong[i].says) == NULL)
            fail_msg("%s: exit %d: %s", wrong[i].command, r->code, r->err);
    }
}

/* -- data larger than memory ---------------------------------------------------------------------
 */

enum { EDGE = 64, PIXELS = EDGE * EDGE };

/* n pictures, bright at the top or at the bottom, sorted by that: 16 KiB each as floats. */
static void make_pictures(const char *name, int n)
{
    static uint8_t x[64 * PIXELS];
    const uint64_t dims[] = { EDGE, EDGE, 1 };
    int32_t *y = malloc((size_t)n * sizeof *y);
    ky_h5 *f = create(name);
    ky_rng rng;

    assert_non_null(y);
    ky_rng_seed(&rng, 1);
    assert_int_equal(ky_h5_table(f, "/X", KY_H5_U8, 4, dims, NULL), KY_OK);
    for (int at = 0; at < n; at += 64) {
        for (int i = 0; i < 64; i++) {
            y[at + i] = at + i >= n / 2;
            for (int k = 0; k < PIXELS; k++)
                x[i * PIXELS + k] = (uint8_t)(40 + (k / (PIXELS / 2) == y[at + i] ? 100 : 0));
            for (int k = 0; k < 64; k++)
                x[i * PIXELS + (int)ky_rng_below(&rng, PIXELS)] = 255;
        }
        assert_int_equal(ky_h5_append(f, "/X", x, 64, NULL), KY_OK);
    }
    put_y(f, "/y", y, n);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    free(y);
}

#define CHEAP "--arch|avgpool:16, flatten, dense|-e|2|-b|32|-o|m.h5|-q"

/* 24 MiB of floats with 2 MiB for rows: no more than 12 on top of what 1 MiB of data take. */
static void data_larger_than_the_buffer_are_learned_from_within_it(void **state)
{
    long small, large;
    ran *r;

    (void)state;
    make_pictures("few_pictures.h5", 64);
    make_pictures("pictures.h5", 1536);

    small = memory_of("train|few_pictures.h5|" CHEAP "|--buffer|2M");
    large = memory_of("train|pictures.h5|" CHEAP "|--buffer|2M");

    if (large - small > 12 << 10 && !watched)
        fail_msg("%ld KiB, %ld with few pictures", large, small);
    r = run("eval|m.h5|pictures.h5|-j");
    ky_json *o = report_of(r);
    assert_true(number(o, "accuracy") > 0.95);
    ky_json_free(o);
}

/* Whatever the threads; a checkpoint goes on; the order depends on the buffer and on nothing else.
 */
static void a_streamed_training_repeats_to_the_byte(void **state)
{
    (void)state;
    make_pictures("pictures.h5", 256);
    run_well("train|pictures.h5|" CHEAP "|--buffer|2M|-t|1");
    run_well("predict|m.h5|pictures.h5|-o|p1.h5");

    run_well("train|pictures.h5|" CHEAP "|--buffer|2M|-t|4");
    run_well("predict|m.h5|pictures.h5|-o|p4.h5");
    run_well("train|pictures.h5|" CHEAP "|-e|1|--buffer|2M|--checkpoint|c.h5");
    run_well("train|pictures.h5|--resume|c.h5|-e|2|-b|32|--buffer|2M|-o|m.h5|-q");
    run_well("predict|m.h5|pictures.h5|-o|p_resumed.h5");
    run_well("train|pictures.h5|" CHEAP "|--buffer|3M|-t|4");
    run_well("predict|m.h5|pictures.h5|-o|p_other.h5");

    assert_true(same_bytes("p1.h5", "p4.h5"));
    assert_true(same_bytes("p1.h5", "p_resumed.h5"));
    assert_false(same_bytes("p1.h5", "p_other.h5"));
    ran *r = run("train|pictures.h5|--resume|c.h5|-e|2|-b|32|--buffer|3M|-o|new.h5|-q");
    assert_int_equal(r->code, 1);
}

static void make_pictures(const char *name, int n);

/* -- what is refused -----------------------------------------------------------------------------
 */

/* Sets of numbers that make bad.h5: rows of [4,1] where nothing else is said. */
typedef struct parts {
    int n;
    float x[12 * 4];
    int32_t y[12], len[12];
    bool lengths;
} parts;

static void put_parts(const parts *p, int rank)
{
    const uint64_t dims[] = { (uint64_t)p->n, 4, 1 };
    ky_h5 *f = create("bad.h5");

    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, rank, dims, p->x, NULL), KY_OK);
    put_y(f, "/y", p->y, p->n);
    if (p->lengths)
        put_y(f, "/len", p->len, p->n);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void length_zero(parts *p)
{
    p->lengths = true;
    p->len[7] = 0;
    put_parts(p, 3);
}

static void length_past_the_end(parts *p)
{
    p->lengths = true;
    p->len[7] = 5;
    put_parts(p, 3);
}

static void lengths_of_other_rows(parts *p)
{
    const uint64_t dims[] = { 12, 4, 1 };
    ky_h5 *f = create("bad.h5");

    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 3, dims, p->x, NULL), KY_OK);
    put_y(f, "/y", p->y, 12);
    put_y(f, "/len", p->len, 11);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void nothing_but_nan(parts *p)
{
    for (int t = 0; t < 4; t++)
        p->x[3 * 4 + t] = NAN;
    put_parts(p, 3);
}

static void nan_before_the_end(parts *p)
{
    p->x[3 * 4 + 1] = NAN;
    put_parts(p, 3);
}

static void nan_within_the_length(parts *p)
{
    p->lengths = true;
    p->x[3 * 4 + 3] = NAN;
    put_parts(p, 3);
}

static void nan_behind_the_end(parts *p)
{
    p->x[3 * 4 + 3] = NAN;
    put_parts(p, 3);
}

static void the_mask_itself(parts *p)
{
    p->x[2 * 4 + 1] = -3.4028234663852886e38f;
    nan_behind_the_end(p);
}

static void one_row(parts *p)
{
    p->n = 1;
    put_parts(p, 3);
}

static void empty_class(parts *p)
{
    memset(p->y, 0, sizeof p->y);
    put_parts(p, 3);
}

static void token_of_no_word(parts *p)
{
    p->x[6 * 4 + 2] = 9;
    put_parts(p, 2);
}

static void token_below_zero(parts *p)
{
    p->x[6 * 4 + 2] = -1;
    put_parts(p, 2);
}

static void half_a_token(parts *p)
{
    p->x[6 * 4 + 2] = 1.5f;
    put_parts(p, 2);
}

static void four_numbers_a_row(parts *p)
{
    put_parts(p, 2);
}

static void another_test_part(parts *p)
{
    const uint64_t train[] = { 12, 4, 1 }, test[] = { 12, 2, 2 };
    ky_h5 *f = create("bad.h5");

    assert_int_equal(ky_h5_put(f, "/X_train", KY_H5_F32, 3, train, p->x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X_test", KY_H5_F32, 3, test, p->x, NULL), KY_OK);
    put_y(f, "/y_train", p->y, 12);
    put_y(f, "/y_test", p->y, 12);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

/* Told before the training, not after it: nothing is left behind. */
static void put_test_part(const parts *p, const float *x, const int32_t *y)
{
    const uint64_t dims[] = { 12, 4, 1 };
    ky_h5 *f = create("bad.h5");

    assert_int_equal(ky_h5_put(f, "/X_train", KY_H5_F32, 3, dims, p->x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X_test", KY_H5_F32, 3, dims, x, NULL), KY_OK);
    put_y(f, "/y_train", p->y, 12);
    put_y(f, "/y_test", y, 12);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void a_test_part_with_nan(parts *p)
{
    parts test = *p;

    test.x[9] = NAN;
    put_test_part(p, test.x, p->y);
}

static void a_test_part_of_unknown_classes(parts *p)
{
    parts test = *p;

    test.y[5] = 7;
    put_test_part(p, p->x, test.y);
}

static void put_times(const parts *p, int64_t end)
{
    const uint64_t dims[] = { 12, 4, 1 };
    int64_t ts[12], ts_end[12];
    ky_h5 *f = create("bad.h5");

    for (int i = 0; i < 12; i++) {
        ts[i] = 10 * i;
        ts_end[i] = i == 5 ? end : 10 * i + 5;
    }
    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 3, dims, p->x, NULL), KY_OK);
    put_y(f, "/y", p->y, 12);
    assert_int_equal(ky_h5_put(f, "/ts", KY_H5_I64, 1, dims, ts, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/ts_end", KY_H5_I64, 1, dims, ts_end, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void end_before_the_beginning(parts *p)
{
    put_times(p, 49);
}

static void rows_that_all_overlap(parts *p)
{
    put_times(p, 5000);
}

/* Cut off in its values, chunked: what streams meets it, too. */
static void cut_in_two(parts *p)
{
    char path[4096];
    struct stat st;

    (void)p;
    make_pictures("bad.h5", 256);
    assert_int_equal(stat(in_dir("bad.h5", path), &st), 0);
    assert_int_equal(truncate(path, st.st_size - 5000), 0);
}

#define BAD(arch) "train|bad.h5|--arch|" arch "|-o|new.h5|-e|1|-q"

static const struct {
    const char *says, *command;
    void (*make)(parts *p);
} refused[] = {
    { "'len' row 7 is 0: the rows have 1 to 4 steps", BAD("lstm:2, dense"), length_zero },
    { "'len' row 7 is 5: the rows have 1 to 4 steps", BAD("lstm:2, dense"), length_past_the_end },
    { "'len' is [11], but there are 12 rows", BAD("lstm:2, dense"), lengths_of_other_rows },
    { "row 3 has no steps: all its values are nan", BAD("lstm:2, dense"), nothing_but_nan },
    { "row 3, step 1, value 0 is nan", BAD("lstm:2, dense"), nan_before_the_end },
    { "row 3, step 3, value 0 is nan", BAD("lstm:2, dense"), nan_within_the_length },
    { "row 3, step 1, value 0 is nan", "predict|four.h5|bad.h5|-o|new.h5", nan_before_the_end },
    { "row 3 has 3 of 4 steps: model 'kymo' has no Masking layer", "eval|four.h5|bad.h5",
      nan_behind_the_end },
    { "row 3 has 3 of 4 steps", "train|bad.h5|--model|four.h5|-o|new.h5|-q", nan_behind_the_end },
    { "row 2, step 1: all values are -3.40282e+38", BAD("lstm:2, dense"), the_mask_itself },
    { "only the class '0'", BAD("lstm:2, dense"), one_row },
    { "1 rows are too few", "train|bad.h5|--model|four.h5|-o|new.h5|-q", one_row },
    { "only the class '0'", BAD("lstm:2, dense"), empty_class },
    { "row 6, step 2 is 9: model 'kymo' takes tokens 0..7", BAD("embed:2x8, gmp, dense"),
      token_of_no_word },
    { "row 6, step 2 is 9", "eval|words.h5|bad.h5", token_of_no_word },
    { "row 6, step 2 is -1", BAD("embed:2, gmp, dense"), token_below_zero },
    { "row 6, step 2 is 1.5", BAD("embed:2, gmp, dense"), half_a_token },
    { "rows of [4]: 'lstm:2'", BAD("lstm:2, dense"), four_numbers_a_row },
    { "rows of [4]: 'conv1d:2x3'", BAD("conv1d:2x3, gap, dense"), four_numbers_a_row },
    { "rows of 'X_test' are [2,2], those to learn from [4,1]", BAD("lstm:2, dense"),
      another_test_part },
    { "X_test row 2, step 1, value 0 is nan", BAD("lstm:2, dense"), a_test_part_with_nan },
    { "X_test row 5 is of class '7', which model 'kymo' does not know", BAD("lstm:2, dense"),
      a_test_part_of_unknown_classes },
    { "'ts_end' row 5 ends before it begins", BAD("lstm:2, dense"), end_before_the_beginning },
    { "12 rows are too few", BAD("lstm:2, dense"), rows_that_all_overlap },
    { "bad.h5", BAD("avgpool:8, flatten, dense") "|--buffer|1M", cut_in_two },
    { "in memory, these take more than 1 MiB", BAD("lstm:2, dense") "|--memory|stream|--buffer|1M",
      NULL },
};

static void bad_rows_get_one_clear_sentence_and_leave_nothing(void **state)
{
    parts plain = { .n = 12 };
    ky_h5 *f;

    (void)state;
    for (int i = 0; i < 12; i++) {
        plain.y[i] = i % 2;
        plain.len[i] = 4;
        for (int t = 0; t < 4; t++)
            plain.x[i * 4 + t] = (float)((i + t) % 5);
    }
    put_parts(&plain, 2);
    run_well("train|bad.h5|--arch|embed:2x8, gmp, dense|-o|words.h5|-e|1|-q");
    put_parts(&plain, 3);
    run_well("train|bad.h5|--arch|lstm:2, dense|-o|four.h5|-e|1|-q");

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        parts p = plain;
        int before;
        ran *r;

        if (refused[i].make != NULL) {
            refused[i].make(&p);
        } else { /* 2 MiB of series */
            static float x[2 << 18];
            static int32_t y[1 << 12];
            const uint64_t dims[] = { 1 << 12, 64, 2 };

            for (int k = 0; k < 1 << 12; k++)
                y[k] = k % 2;
            f = create("bad.h5");
            assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 3, dims, x, NULL), KY_OK);
            put_y(f, "/y", y, 1 << 12);
            assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
        }
        before = files_in_dir();
        r = run(refused[i].command);
        if (r->code != 1 || strstr(r->err, refused[i].says) == NULL ||
            strncmp(r->err, "kymo: ", 6) != 0 ||
            strchr(r->err, '\n') != r->err + strlen(r->err) - 1)
            fail_msg("%s: exit %d, '%s' does not say '%s' in a line", refused[i].command, r->code,
                     r->err, refused[i].says);
        assert_int_equal(files_in_dir(), before);
    }
}

/* -- cross-validation ----------------------------------------------------------------------------
 */

/* Every fold is scored by a model that has not seen it; then all rows make the model. */
static void folds_are_scored_and_then_all_rows_are_learned(void **state)
{
    static const char command[] = "train|vectors.h5|--arch|dense:4 relu, dense|-o|m.h5|-e|30|--lr|"
                                  "0.03|-b|16|--folds|4";
    const ky_json *cv, *accuracy;
    ky_json *o;
    double sum = 0;
    ran *r;

    (void)state;
    r = run(command);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->err, "fold 4 of 4: accuracy "));
    assert_non_null(strstr(r->out, "4 folds: accuracy "));
    assert_non_null(strstr(r->out, " +- "));
    run_well("predict|m.h5|vectors.h5|-o|p4.h5");
    r = run("inspect|m.h5"); /* the model's file keeps them */
    assert_non_null(strstr(r->out, "cross-validated"));
    assert_non_null(strstr(r->out, "(4 folds, one standard error)"));
    run_well("train|vectors.h5|--arch|dense:4 relu, dense|-o|m.h5|-e|30|--lr|0.03|-b|16|-q");
    run_well("predict|m.h5|vectors.h5|-o|p0.h5");
    assert_true(same_bytes("p0.h5", "p4.h5"));

    r = run("train|vectors.h5|--arch|dense:4 relu, dense|-o|m.h5|-e|30|--lr|0.03|-b|16|--folds|4|-j"
            "|-q");
    o = report_of(r);
    cv = ky_json_get(o, "cross_validation");
    accuracy = ky_json_get(cv, "accuracy");
    assert_int_equal(ky_json_int(ky_json_get(cv, "folds"), 0), 4);
    for (size_t k = 0; k < 4; k++)
        sum += ky_json_num(ky_json_at(ky_json_get(accuracy, "each"), k), NAN);
    assert_true(fabs(sum / 4 - number(accuracy, "mean")) < 1e-12);
    assert_true(number(accuracy, "mean") > 0.9);
    assert_true(number(accuracy, "standard_error") < 0.1);
    ky_json_free(o);
    r = run("train|few.h5|--arch|embed:2, gmp, dense|-o|new.h5|-q|--folds|9");
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "4 rows are too few for 9 folds"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_every_shape_are_learned_scored_and_asked),
        cmocka_unit_test(an_embedding_has_a_row_for_every_token_there_is),
        cmocka_unit_test(what_is_behind_the_end_of_a_row_has_no_say),
        cmocka_unit_test(training_says_what_becomes_of_short_rows),
        cmocka_unit_test(tokens_of_several_lengths_are_masked),
        cmocka_unit_test(bad_rows_get_one_clear_sentence_and_leave_nothing),
        cmocka_unit_test(folds_are_scored_and_then_all_rows_are_learned),
        cmocka_unit_test(what_rows_are_changed_by_is_noted_and_refused_where_it_means_nothing),
        cmocka_unit_test(data_larger_than_the_buffer_are_learned_from_within_it),
        cmocka_unit_test(a_streamed_training_repeats_to_the_byte),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
