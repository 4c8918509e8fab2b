/* What `kymo simulate` writes: the same every time, and it holds what it says and no more. */
#include "tests/cli/run.h"

#include <math.h>

#include "models/h5.h"
#include "models/vocabulary.h"

enum { MOST_FEATURES = 2048, MOST_CLASSES = 10 };

typedef struct part {
    int N, T, F, C; /* F: values a step */
    float *x;
    int32_t *y;
} part;

static ky_h5 *open_h5(const char *name)
{
    char path[4096];
    ky_err err;
    ky_h5 *f;

    if (ky_h5_open(in_dir(name, path), &f, &err) != KY_OK)
        fail_msg("%s", err.text);
    return f;
}

static part read_part(const char *name, const char *x, const char *y)
{
    ky_h5 *f = open_h5(name);
    ky_h5_info i;
    part p = { .T = 1 };

    assert_int_equal(ky_h5_stat(f, x, &i, NULL), KY_OK);
    p.N = (int)i.dims[0];
    p.T = (int)i.dims[1];
    p.F = (int)(i.count / i.dims[0] / i.dims[1]);
    p.x = malloc(i.count * sizeof *p.x);
    p.y = malloc((size_t)p.N * sizeof *p.y);
    assert_int_equal(ky_h5_read(f, x, KY_H5_F32, p.x, i.count, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, y, KY_H5_I32, p.y, (size_t)p.N, NULL), KY_OK);
    for (int r = 0; r < p.N; r++)
        p.C = p.y[r] >= p.C ? p.y[r] + 1 : p.C;
    ky_h5_close(f);
    return p;
}

static void free_part(part *p)
{
    free(p->x);
    free(p->y);
}

/* -- a simple rule: the class whose mean of some features is nearest, in their deviations -------
 */

/* Features of a row x [T,F]; returns how many. */
typedef int (*look)(const float *x, int T, int F, double *ret);

typedef struct rule {
    double mean[MOST_CLASSES][MOST_FEATURES], deviation[MOST_FEATURES];
    int n;
} rule;

static void learn(const part *p, look at, rule *r)
{
    static double v[MOST_FEATURES];
    int rows[MOST_CLASSES] = { 0 };

    memset(r, 0, sizeof *r);
    for (int i = 0; i < p->N; i++) {
        r->n = at(p->x + (size_t)i * (size_t)(p->T * p->F), p->T, p->F, v);
        rows[p->y[i]]++;
        for (int k = 0; k < r->n; k++)
            r->mean[p->y[i]][k] += v[k];
    }
    for (int c = 0; c < p->C; c++)
        for (int k = 0; k < r->n; k++)
            r->mean[c][k] /= rows[c];
    for (int i = 0; i < p->N; i++) {
        at(p->x + (size_t)i * (size_t)(p->T * p->F), p->T, p->F, v);
        for (int k = 0; k < r->n; k++) {
            double d = v[k] - r->mean[p->y[i]][k];

            r->deviation[k] += d * d / p->N;
        }
    }
    for (int k = 0; k < r->n; k++)
        r->deviation[k] = sqrt(r->deviation[k]) + 1e-6;
}

static int guess(const rule *r, int C, const double *v)
{
    double least = INFINITY;
    int best = 0;

    for (int c = 0; c < C; c++) {
        double sum = 0;

        for (int k = 0; k < r->n; k++) {
            double d = (v[k] - r->mean[c][k]) / r->deviation[k];

            sum += d * d;
        }
        if (sum < least) {
            least = sum;
            best = c;
        }
    }
    return best;
}

static double accuracy(const part *train, const part *test, look at)
{
    static rule r;
    static double v[MOST_FEATURES];
    int right = 0;

    learn(train, at, &r);
    for (int i = 0; i < test->N; i++) {
        at(test->x + (size_t)i * (size_t)(test->T * test->F), test->T, test->F, v);
        right += guess(&r, train->C, v) == test->y[i];
    }
    return (double)right / test->N;
}

/* -- what to look at -----------------------------------------------------------------------------
 */

static int values(const float *x, int T, int F, double *ret)
{
    for (int i = 0; i < T * F && i < MOST_FEATURES; i++)
        ret[i] = x[i];
    return T * F < MOST_FEATURES ? T * F : MOST_FEATURES;
}

static int moments(const float *x, int T, int F, double *ret)
{
    for (int f = 0; f < F; f++) {
        double mean = 0, var = 0;

        for (int t = 0; t < T; t++)
            mean += x[t * F + f] / (double)T;
        for (int t = 0; t < T; t++)
            var += (x[t * F + f] - mean) * (x[t * F + f] - mean) / T;
        ret[2 * f] = mean;
        ret[2 * f + 1] = sqrt(var);
    }
    return 2 * F;
}

/* How peaked, how fast, and how far from one peak to the next of the envelope. */
static int vibration(const float *x, int T, int F, double *ret)
{
    double square = 0, fourth = 0, slope = 0, echo[2] = { 0, 0 };
    const int lag[2] = { 12000 / 162, 12000 / 107 }; /* strikes on the inner and outer race */

    (void)F;
    for (int t = 1; t < T; t++) {
        square += x[t] * x[t];
        fourth += x[t] * x[t] * x[t] * x[t];
        slope += (x[t] - x[t - 1]) * (x[t] - x[t - 1]);
        for (int k = 0; k < 2; k++)
            echo[k] += t >= lag[k] ? fabs(x[t] * x[t - lag[k]]) : 0;
    }
    ret[0] = fourth / square / square * T;
    ret[1] = slope / square;
    ret[2] = sqrt(square / T);
    ret[3] = echo[0] / square;
    ret[4] = echo[1] / square;
    return 5;
}

/* Where the first value of each channel stands out. */
static int first_of_each(const float *x, int T, int F, double *ret)
{
    for (int f = 0; f < F; f++) {
        ret[f] = T;
        for (int t = T - 1; t >= 0; t--)
            if (fabs(x[t * F + f]) > 0.8)
                ret[f] = t;
    }
    ret[0] -= ret[1];
    return 1;
}

/* Most, least, and which comes first. */
static int extremes(const float *x, int T, int F, double *ret)
{
    int high = 0, low = 0;

    (void)F;
    for (int t = 0; t < T; t++) {
        high = x[t] > x[high] ? t : high;
        low = x[t] < x[low] ? t : low;
    }
    ret[0] = x[high] + x[low];
    ret[1] = high > low ? 1 : -1;
    return 2;
}

/* The middle of a frame's ink as angles: the frame has no borders. */
static void middle(const float *frame, int size, double ret[2])
{
    double c[2] = { 0 }, s[2] = { 0 };

    for (int row = 0; row < size; row++)
        for (int col = 0; col < size; col++)
            for (int k = 0; k < 2; k++) {
                double a = 2 * M_PI * (k == 0 ? col : row) / size;

                c[k] += frame[row * size + col] * cos(a);
                s[k] += frame[row * size + col] * sin(a);
            }
    for (int k = 0; k < 2; k++)
        ret[k] = atan2(s[k], c[k]);
}

static double angle(double a)
{
    return a - 2 * M_PI * floor(a / (2 * M_PI) + 0.5);
}

/* Steps of the middle from frame to frame: [T-1,2]. */
static void steps_of(const float *x, int T, int F, double (*ret)[2])
{
    int size = (int)(sqrt(F) + 0.5);
    double last[2], now[2];

    middle(x, size, last);
    for (int t = 1; t < T; t++) {
        middle(x + t * F, size, now);
        for (int k = 0; k < 2; k++)
            ret[t - 1][k] = angle(now[k] - last[k]);
        memcpy(last, now, sizeof last);
    }
}

static int motion(const float *x, int T, int F, double *ret)
{
    double d[64][2];

    steps_of(x, T, F, d);
    ret[0] = ret[1] = ret[2] = 0;
    for (int t = 0; t < T - 1; t++) {
        ret[0] += d[t][0];
        ret[1] += d[t][1];
        if (t > 0)
            ret[2] += d[t - 1][0] * d[t][1] - d[t - 1][1] * d[t][0];
    }
    /* What turns comes back, and what does not goes one way. */
    ret[2] *= 20;
    return 3;
}

/* What the frames tell without their order: how far the ink goes either way. */
static int spread(const float *x, int T, int F, double *ret)
{
    double d[64][2];

    steps_of(x, T, F, d);
    ret[0] = ret[1] = 0;
    for (int t = 0; t < T - 1; t++)
        for (int k = 0; k < 2; k++)
            ret[k] += fabs(d[t][k]);
    return 2;
}

static int first_frame(const float *x, int T, int F, double *ret)
{
    (void)T;
    return values(x, 1, F, ret);
}

static int last_frame(const float *x, int T, int F, double *ret)
{
    return values(x + (T - 1) * F, 1, F, ret);
}

/* Where the ink of the middle frame is, and how much of it. */
static int position(const float *x, int T, int F, double *ret)
{
    double m[2];

    middle(x + T / 2 * F, (int)(sqrt(F) + 0.5), m);
    for (int k = 0; k < 2; k++) {
        ret[2 * k] = cos(m[k]);
        ret[2 * k + 1] = sin(m[k]);
    }
    ret[4] = 0;
    for (int i = 0; i < F; i++)
        ret[4] += x[T / 2 * F + i];
    return 5;
}

/* Words of `simulate sentiment`, as the file's vocabulary has them. */
enum { THE = 2, NOT = 4, BUT = 5, ALTHOUGH = 6, GOOD = 25, BAD = 37, WORDS = 49 };

/* The verdict is the clause that "although" does not stand in, the one behind "but", or the only
 * one. */
static int verdict(const float *x, int T, int F, double *ret)
{
    bool good[2] = { false, false }, negated[2] = { false, false };
    int clause = -1, which = 1;

    for (int t = 0; t < T * F; t++) {
        int w = (int)x[t];

        clause += w == THE;
        if (w == ALTHOUGH && clause == 0)
            which = 0;
        if (clause >= 0) {
            negated[clause] |= w == NOT;
            good[clause] |= w >= GOOD && w < BAD;
        }
    }
    which = clause == 0 ? 0 : which;
    ret[0] = good[which] != negated[which];
    return 1;
}

static int bag(const float *x, int T, int F, double *ret)
{
    memset(ret, 0, WORDS * sizeof *ret);
    for (int t = 0; t < T * F; t++)
        ret[(int)x[t]]++;
    return WORDS;
}

/* How many of each sort, each with each other: what a model could make of a bag at most. Of three
 * sentences one has a single clause, of which it tells all; of the others nothing. */
static int sorts(const float *x, int T, int F, double *ret)
{
    int good = 0, bad = 0, negated = 0;

    for (int t = 0; t < T * F; t++) {
        good += x[t] >= GOOD && x[t] < BAD;
        bad += x[t] >= BAD;
        negated += x[t] == NOT;
    }
    assert_in_range(good + bad, 1, 2);
    memset(ret, 0, 27 * sizeof *ret);
    ret[(good * 3 + bad) * 3 + negated] = 1;
    return 27;
}

/* The last word that judges: not enough where it is negated, or not the verdict. */
static int last_word(const float *x, int T, int F, double *ret)
{
    ret[0] = 0;
    for (int t = 0; t < T * F; t++)
        if (x[t] >= GOOD)
            ret[0] = x[t] < BAD;
    return 1;
}

/* What tells the classes apart, and what must not; bounds are of test rows right. */
typedef struct promise {
    const char *kind, *rows;
    look at;
    double least, most;
} promise;

static const promise promises[] = {
    { "activity", "|--train|300|--test|300", moments, 0.85, 1 },
    { "bearings", "|--train|200|--test|200", vibration, 0.8, 1 },
    { "digits", "|--train|800|--test|300", values, 0.6, 1 },
    { "heartbeats", "|--train|200|--test|200", values, 0.7, 0.99 },
    { "beats", "|--train|400|--test|400", values, 0.6, 0.95 },
    { "spoken", "|--train|300|--test|200", values, 0.5, 1 },
    { "local", "|--train|600|--test|600", extremes, 0.8, 1 },
    { "local", "|--train|600|--test|600", moments, 0, 0.32 },
    { "memory", "|--train|600|--test|600", first_of_each, 0.98, 1 },
    { "memory", "|--train|600|--test|600", values, 0, 0.57 },
    { "memory", "|--train|600|--test|600", moments, 0, 0.57 },
    { "moving-digits", "|--train|600|--test|600", motion, 0.9, 1 },
    { "moving-digits", "|--train|600|--test|600", first_frame, 0, 0.24 },
    { "moving-digits", "|--train|600|--test|600", last_frame, 0, 0.24 },
    { "moving-digits", "|--train|600|--test|600", position, 0, 0.24 },
    { "moving-digits", "|--train|600|--test|600", spread, 0, 0.55 },
    { "sentiment", "|--train|1000|--test|1000", verdict, 1, 1 },
    { "sentiment", "|--train|1000|--test|1000", bag, 0, 0.65 },
    { "sentiment", "|--train|1000|--test|1000", sorts, 0, 0.72 },
    { "sentiment", "|--train|1000|--test|1000", last_word, 0, 0.65 },
};

static void classes_follow_from_what_they_should_and_nothing_else(void **state)
{
    (void)state;
    char made[64] = "", words[256];
    part train = { 0 }, test = { 0 };

    for (size_t i = 0; i < sizeof promises / sizeof *promises; i++) {
        const promise *p = &promises[i];

        if (strcmp(made, p->kind) != 0) {
            free_part(&train);
            free_part(&test);
            snprintf(words, sizeof words, "simulate|%s|-o|promise.h5|-q%s", p->kind, p->rows);
            run_well(words);
            train = read_part("promise.h5", "/X_train", "/y_train");
            test = read_part("promise.h5", "/X_test", "/y_test");
            snprintf(made, sizeof made, "%s", p->kind);
        }
        double share = accuracy(&train, &test, p->at);
        if (share < p->least || share > p->most)
            fail_msg("%s, promise %zu: %.3f of the test rows are right, promised are %.2f to %.2f",
                     p->kind, i, share, p->least, p->most);
    }
    free_part(&train);
    free_part(&test);
}

/* -- files --------------------------------------------------------------------------------------
 */

static const char *const kinds[] = { "activity", "bearings", "digits",        "heartbeats",
                                     "local",    "memory",   "moving-digits", "sentiment",
                                     "spoken",   "beats" };

static void the_same_seed_gives_the_same_bytes(void **state)
{
    (void)state;
    char words[256];

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int k = 0; k < 3; k++) {
            snprintf(words, sizeof words,
                     "simulate|%s|-o|seed%d.h5|-q|--train|30|--test|20|--seed|%d", kinds[i], k,
                     k < 2 ? 5 : 6);
            run_well(words);
            if (k > 0 && same_bytes("seed0.h5", k == 1 ? "seed1.h5" : "seed2.h5") != (k == 1))
                fail_msg("%s: seed 5 and %d", kinds[i], k < 2 ? 5 : 6);
        }
}

/* Row for row somebody's next beat: the line goes on where it was, and no row begins anew. */
static void beats_are_streams_that_go_on(void **state)
{
    (void)state;
    double within = 0, between = 0;
    run_well("simulate|beats|-o|beats.h5|-q|--noise|0|--train|200|--test|40");
    part p = read_part("beats.h5", "/X_train", "/y_train");

    for (int i = 0; i + 20 < 200; i++) {
        const float *a = p.x + (size_t)i * 96, *b = p.x + (size_t)(i + 20) * 96;

        between = fmax(between, fabs(b[0] - a[95]));
        for (int t = 90; t < 95; t++)
            within = fmax(within, fabs(a[t + 1] - a[t]));
    }
    assert_true(between <= 1.5 * within && within > 0);
    free_part(&p);
    run_well("simulate|beats|-o|beats.h5|-q|--steps|32|--train|200|--test|40");
    run_well("train|beats.h5|--arch|lstm:4, dense|--memory|stream|-e|1|-q|-o|stream.h5");
    run_well("train|beats.h5|--model|stream.h5|-e|1|-q|-o|window.h5|--lr|1e-12");
    ran *r = run("eval|stream.h5|beats.h5|--json");
    ky_json *stream = report_of(r);
    r = run("eval|window.h5|beats.h5|--json"); /* the same weights, told to begin anew each row */
    ky_json *window = report_of(r);

    assert_true(ky_json_num(ky_json_get(stream, "log_loss"), NAN) !=
                ky_json_num(ky_json_get(window, "log_loss"), NAN));
    ky_json_free(stream);
    ky_json_free(window);
}

static void more_rows_leave_those_before_as_they_are(void **state)
{
    (void)state;

    run_well("simulate|activity|-o|few.h5|-q|--train|25|--test|7");
    run_well("simulate|activity|-o|many.h5|-q|--train|60|--test|30");
    part few = read_part("few.h5", "/X_train", "/y_train");
    part many = read_part("many.h5", "/X_train", "/y_train");

    assert_int_equal(few.N, 25);
    assert_int_equal(many.N, 60);
    assert_memory_equal(few.x, many.x, 25 * 128 * 9 * sizeof *few.x);
    assert_memory_equal(few.y, many.y, 25 * sizeof *few.y);
    free_part(&few);
    free_part(&many);
}

static void every_class_has_its_share_and_persons_are_in_one_part(void **state)
{
    (void)state;
    int32_t group[2][120];
    int rows[6] = { 0 };

    run_well("simulate|activity|-o|shares.h5|-q|--train|120|--test|120");
    part p = read_part("shares.h5", "/X_train", "/y_train");
    ky_h5 *f = open_h5("shares.h5");

    for (int i = 0; i < p.N; i++)
        rows[p.y[i]]++;
    for (int c = 0; c < 6; c++)
        assert_int_equal(rows[c], 20);
    assert_int_equal(ky_h5_read(f, "/group_train", KY_H5_I32, group[0], 120, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/group_test", KY_H5_I32, group[1], 120, NULL), KY_OK);
    for (int i = 0; i < 120; i++)
        for (int j = 0; j < 120; j++)
            assert_true(group[0][i] != group[1][j]);
    ky_h5_close(f);
    free_part(&p);
}

static void a_file_says_what_it_holds_and_that_it_is_generated(void **state)
{
    (void)state;
    ky_vocabulary *v = NULL;
    char **words, *note;
    size_t n;

    run_well("simulate|sentiment|-o|said.h5|-q|--train|10|--test|10|--seed|77");
    ky_h5 *f = open_h5("said.h5");

    assert_int_equal(ky_h5_attr_strs(f, "/", "class_names", &words, &n, NULL), KY_OK);
    assert_int_equal(n, 2);
    assert_string_equal(words[1], "positive");
    free(words);
    assert_int_equal(ky_vocabulary_read(f, &v, NULL), KY_OK);
    assert_int_equal(ky_vocabulary_size(v), WORDS);
    assert_int_equal(ky_vocabulary_length(v), 16);
    assert_string_equal(ky_vocabulary_word(v, NOT), "not");
    assert_string_equal(ky_vocabulary_word(v, GOOD), "good");
    assert_string_equal(ky_vocabulary_word(v, BAD), "bad");
    ky_vocabulary_free(v);
    assert_int_equal(ky_h5_attr_str(f, "/", "note", &note, NULL), KY_OK);
    assert_non_null(strstr(note, "generated"));
    assert_non_null(strstr(note, "seed 77"));
    free(note);
    ky_h5_close(f);

    run_well("simulate|activity|-o|said.h5|-q|--train|10|--test|10");
    f = open_h5("said.h5");
    assert_int_equal(ky_h5_attr_strs(f, "/", "features", &words, &n, NULL), KY_OK);
    assert_int_equal(n, 9);
    assert_string_equal(words[8], "total_acc_z");
    free(words);
    ky_h5_close(f);
}

/* -- other people's digits -----------------------------------------------------------------------
 */

/* Glyphs full of one grey, another in the test part. */
static void make_glyphs(const char *name, int edge)
{
    uint64_t dims[] = { 3, (uint64_t)edge, (uint64_t)edge, 1 };
    static uint8_t x[3 * 28 * 28];
    char path[4096];
    ky_h5 *f;

    assert_int_equal(ky_h5_create(in_dir(name, path), &f, NULL), KY_OK);
    memset(x, 200, sizeof x);
    assert_int_equal(ky_h5_put(f, "/X_train", KY_H5_U8, 4, dims, x, NULL), KY_OK);
    memset(x, 90, sizeof x);
    assert_int_equal(ky_h5_put(f, "/X_test", KY_H5_U8, 4, dims, x, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void glyphs_are_taken_from_the_part_of_their_own(void **state)
{
    (void)state;
    static const char *const names[2][2] = { { "/X_train", "/y_train" }, { "/X_test", "/y_test" } };

    make_glyphs("glyphs.h5", 28);
    run_well("simulate|moving-digits|-o|moving.h5|-q|--train|12|--test|12|--digits|glyphs.h5");
    for (int k = 0; k < 2; k++) {
        part p = read_part("moving.h5", names[k][0], names[k][1]);
        float grey = k == 0 ? 200 : 90;

        assert_int_equal(p.T, 10);
        assert_int_equal(p.F, 32 * 32);
        for (int r = 0; r < p.N * p.T; r++) {
            int inked = 0;

            for (int i = 0; i < p.F; i++) {
                assert_true(p.x[r * p.F + i] == 0 || p.x[r * p.F + i] == grey);
                inked += p.x[r * p.F + i] > 0;
            }
            assert_int_equal(inked, 14 * 14);
        }
        free_part(&p);
    }
}

/* -- what is refused -----------------------------------------------------------------------------
 */

static void what_makes_no_sense_is_refused_in_a_sentence(void **state)
{
    (void)state;
    static const told cases[] = {
        { "simulate|-o|x.h5", "kind of data is missing", 2 },
        { "simulate|wether|-o|x.h5", "no kind 'wether'", 2 },
        { "simulate|local", "-o is missing", 2 },
        { "simulate|local|-o|x.h5|--size|40", "--size means nothing to 'local'", 2 },
        { "simulate|local|-o|x.h5|--objects|2", "--objects means nothing to 'local'", 2 },
        { "simulate|local|-o|x.h5|--digits|y.h5", "--digits means nothing to 'local'", 2 },
        { "simulate|sentiment|-o|x.h5|--noise|1", "--noise means nothing to 'sentiment'", 2 },
        { "simulate|local|-o|x.h5|--steps|3", "--steps 3: 'local' takes 24 to", 2 },
        { "simulate|moving-digits|-o|x.h5|--classes|9", "'moving-digits' takes 2 to 8", 2 },
        { "simulate|moving-digits|-o|x.h5|--digits|none.h5", "none.h5", 1 },
        { "simulate|moving-digits|-o|x.h5|--digits|small.h5", "must hold bytes [N,28,28,1]", 1 },
        { "simulate|moving-digits|-o|small.h5|--digits|small.h5", "is the file that is read", 1 },
        { "simulate|local|-o|nowhere/x.h5", "nowhere/x.h5", 1 },
    };

    make_glyphs("small.h5", 20);
    assert_told(cases, sizeof cases / sizeof *cases);
    char path[4096];
    assert_int_not_equal(access(in_dir("x.h5", path), F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_follow_from_what_they_should_and_nothing_else),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        cmocka_unit_test(beats_are_streams_that_go_on),
        cmocka_unit_test(more_rows_leave_those_before_as_they_are),
        cmocka_unit_test(every_class_has_its_share_and_persons_are_in_one_part),
        cmocka_unit_test(a_file_says_what_it_holds_and_that_it_is_generated),
        cmocka_unit_test(glyphs_are_taken_from_the_part_of_their_own),
        cmocka_unit_test(what_makes_no_sense_is_refused_in_a_sentence),
    };

    return cmocka_run_group_tests(tests, run_set_up, run_tear_down);
}
