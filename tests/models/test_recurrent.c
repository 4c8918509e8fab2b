/*
 * Recurrent layers: what Keras 3 answers, and what masks, directions, carried states and
 * companions may not change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/models/net.h"

/* Every kernel set of this machine, one after the other. */
#define FOR_KERNELS(k)                                                                             \
    for (const ky_kernels *const *all_ = ky_kernels_all(), *k; (k = *all_) != NULL; all_++)

/* -- Keras's answers ------------------------------------------------------------------ */

typedef struct answer {
    const char *spec;
    int rank, d[4]; /* of the input, two rows of it */
    size_t n;
    const ky_real *want;
} answer;

static const answer answers[] = {
#include "tests/models/recurrent_values.inc"
};
enum { ANSWERS = sizeof(answers) / sizeof(*answers) };

/* The rule of make_recurrent.py: multiples of 1/scale about zero. */
static ky_real number(size_t i, size_t step, size_t start, size_t modulo, double scale)
{
    return (ky_real)(((double)((i * step + start) % modulo) - (double)(modulo / 2)) / scale);
}

/* As net_build, for inputs of any shape; every weight follows the rule. */
static ky_model *model_of(const char *spec, const ky_shape *in, const ky_kernels *k)
{
    char text[256], *layers;
    ky_model *m;
    ky_err err;

    snprintf(text, sizeof(text), "%s", spec);
    assert_int_equal(ky_model_new("net", in, &m, &err), KY_OK);
    for (char *words = strtok_r(text, ";", &layers); words != NULL;
         words = strtok_r(NULL, ";", &layers)) {
        ky_layer l;
        bool more;

        assert_int_equal(net_layer(&l, &words, &more, &err), KY_OK);
        if (ky_model_add(m, &l, &err) < 0)
            fail_msg("%s: %s", spec, err.text);
    }
    assert_int_equal(ky_model_finish(m, &err), KY_OK);
    for (size_t i = 0; i < m->n_weights; i++)
        m->weights[i] = number(i, 7, 3, 11, 8);
    m->kernels = k;
    assert_int_equal(ky_model_pack(m, &err), KY_OK);
    return m;
}

static ky_shape shape_of(const answer *a)
{
    ky_shape s = { .rank = a->rank, .timed = true };

    memcpy(s.d, a->d, sizeof(a->d));
    return s;
}

/* Two rows; before a Masking the first loses steps 0 and 3, the second 2 and the last. */
static ky_real *inputs_of(const answer *a)
{
    ky_shape s = shape_of(a);
    size_t step = ky_shape_step(&s), T = (size_t)a->d[0], n = 2 * T * step;
    const size_t lost[2][2] = { { 0, 3 }, { 2, T - 1 } };
    ky_real *x = net_reals(n);

    for (size_t i = 0; i < n; i++)
        x[i] = number(i, 5, 2, 13, 4);
    for (size_t r = 0; r < 2 && strstr(a->spec, "Masking") != NULL; r++)
        for (int j = 0; j < 2; j++)
            memset(x + (r * T + lost[r][j]) * step, 0, step * sizeof(*x));
    return x;
}

static void check_answer(const answer *a, const ky_kernels *k)
{
    ky_shape in = shape_of(a);
    ky_model *m = model_of(a->spec, &in, k);
    ky_real *x = inputs_of(a), *y = net_reals(a->n);
    ky_work *work = ky_work_new(m, a->d[0], 2);
    double most = 0;
    int dims[KY_MAX_RANK], rank;
    const char *name;
    size_t n = 2;

    rank = ky_model_output(m, 0, a->d[0], dims, &name);
    for (int i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    assert_int_equal(n, a->n);
    ky_model_run(m, work, 2, a->d[0], (const ky_real *const[]){ x }, &y);
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)a->want[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)y[i] - (double)a->want[i]) <= 1e-6 * fmax(most, 1)))
            fail_msg("%s, %s: output %zu is %.9g, Keras says %.9g", a->spec, k->name, i,
                     (double)y[i], (double)a->want[i]);
    ky_work_free(work);
    ky_model_free(m);
    free(x);
    free(y);
}

/* To 1e-6: sums of a dozen numbers of about one, over few steps, with two kinds of exp. */
static void recurrent_layers_answer_as_keras_does(void **state)
{
    (void)state;
    FOR_KERNELS(k)
    for (int i = 0; i < ANSWERS; i++)
        check_answer(&answers[i], k);
}

/* -- masks ------------------------------------------------------------------------------ */

/* h' = h + x: what a step adds can be seen. 9 is no step. */
static void masked_steps_are_left_out(void **state)
{
#define SUM "Masking mask_value=9; SimpleRNN units=1 activation=linear use_bias=0 "
    static const struct {
        const char *spec;
        ky_real x[4];
        size_t n;
        ky_real want[4];
    } cases[] = {
        { "Masking mask_value=9", { 1, 9, 2, 9 }, 4, { 1, 0, 2, 0 } },
        { SUM "return_sequences=1", { 1, 9, 2, 9 }, 4, { 1, 1, 3, 3 } },
        { SUM "return_sequences=1", { 9, 9, 2, 4 }, 4, { 0, 0, 2, 6 } },
        { SUM "return_sequences=1", { 9, 9, 9, 9 }, 4, { 0, 0, 0, 0 } },
        { SUM, { 1, 9, 2, 9 }, 1, { 3 } },
        { SUM "zero_output_for_mask=1 return_sequences=1", { 1, 9, 2, 9 }, 4, { 1, 0, 3, 0 } },
        { SUM "zero_output_for_mask=1", { 1, 9, 2, 9 }, 1, { 0 } },
        { SUM "go_backwards=1 return_sequences=1", { 1, 9, 2, 9 }, 4, { 0, 2, 2, 3 } },
        { SUM "go_backwards=1", { 1, 9, 2, 9 }, 1, { 3 } },
        { SUM "return_sequences=1; SimpleRNN units=1 activation=linear use_bias=0",
          { 1, 9, 2, 9 },
          1,
          { 4 } }, /* 1 + 3: the mask goes on */
        { SUM "; Dense units=1 use_bias=0", { 1, 9, 2, 9 }, 1, { 3 } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_model *m = model_of(cases[i].spec, &(ky_shape){ 2, { 4, 1 }, true }, ky_kernels_get());
        ky_work *work = ky_work_new(m, 4, 1);
        ky_real y[4], *to = y;

        for (size_t j = 0; j < m->n_weights; j++)
            m->weights[j] = 1;
        assert_int_equal(ky_model_pack(m, NULL), KY_OK);
        ky_model_run(m, work, 1, 4, (const ky_real *const[]){ cases[i].x }, &to);
        for (size_t j = 0; j < cases[i].n; j++)
            if (y[j] != cases[i].want[j])
                fail_msg("%s: output %zu is %g, by hand %g", cases[i].spec, j, (double)y[j],
                         (double)cases[i].want[j]);
        ky_work_free(work);
        ky_model_free(m);
    }
}

enum { ROWS = 9, STEPS = 8 };
static const ky_shape sequence = { 2, { STEPS, 2 }, true };

static const char *const masked_specs[] = {
    "Masking; LSTM units=5 return_sequences=1",
    "Masking; LSTM units=16 activation=relu return_sequences=1 zero_output_for_mask=1",
    "Masking; LSTM units=3 go_backwards=1",
    "Masking; GRU units=17 reset_after=1 return_sequences=1",
    "Masking; GRU units=4 return_sequences=1; SimpleRNN units=6 return_sequences=1",
    "Masking; Bidirectional of GRU units=4 return_sequences=1; LSTM units=3",
    "Masking; Dense units=7 activation=elu; GRU units=5 recurrent_activation=hard_sigmoid",
};
enum { MASKED = sizeof(masked_specs) / sizeof(*masked_specs) };

/* ROWS sequences, each of which lacks other steps: the first all, the second none. */
static void masked_inputs(ky_real *x)
{
    ky_rng rng;

    net_inputs(x, ROWS * STEPS * 2, 21, true);
    ky_rng_seed(&rng, 22);
    for (size_t i = 0; i < ROWS * STEPS; i++) {
        bool lost = i < STEPS || (i >= 2 * STEPS && ky_rng_below(&rng, 3) == 0);

        x[2 * i] = lost ? 0 : x[2 * i] + 1;
        x[2 * i + 1] = lost ? 0 : x[2 * i + 1];
    }
}

/* The answers to rows [from,from+B); free(). n: reals of a row's */
static ky_real *run(const ky_model *m, const ky_real *x, int from, int B, size_t *ret_n)
{
    const ky_shape *out = ky_model_tensor(m, m->outputs[0]);
    size_t n = (size_t)(out->timed ? STEPS : 1) * ky_shape_step(out);
    ky_real *y = net_reals((size_t)B * n);
    ky_work *work = ky_work_new(m, STEPS, B);

    ky_model_run(m, work, B, STEPS, (const ky_real *const[]){ x + (ptrdiff_t)from * STEPS * 2 },
                 &y);
    ky_work_free(work);
    *ret_n = n;
    return y;
}

static void a_row_has_its_mask_alone_and_in_any_company(void **state)
{
    ky_real x[ROWS * STEPS * 2];

    (void)state;
    masked_inputs(x);
    FOR_KERNELS(k)
    for (int i = 0; i < MASKED; i++) {
        ky_model *m = model_of(masked_specs[i], &sequence, k);
        ky_model *plain = model_of(masked_specs[i], &sequence, ky_kernels_all()[0]);
        size_t n;
        ky_real *all = run(plain, x, 0, ROWS, &n);

        for (int from = 0; from < ROWS; from++)
            for (int B = 1; from + B <= ROWS; B++) {
                ky_real *some = run(m, x, from, B, &n);

                if (net_differ(some, all + (size_t)from * n, (size_t)B * n) < (size_t)B * n)
                    fail_msg("%s, %s: rows %d..%d", masked_specs[i], k->name, from, from + B);
                free(some);
            }
        free(all);
        ky_model_free(m);
        ky_model_free(plain);
    }
}

/* One wave of streams, each with steps of its own that are masked. */
static void compare_streams(const char *spec, const ky_model *m, const ky_real *x)
{
    size_t n, wide = (size_t)ky_model_facts(m)->outputs;
    ky_real *want = run(m, x, 0, ROWS, &n);
    float *y = calloc(ROWS * wide, sizeof(*y)), *y_at[ROWS];
    void *state[ROWS];
    bool answered[ROWS];
    ky_plan *p;
    ky_err err;

    if (ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, &p, &err) < 0)
        fail_msg("%s: %s", spec, err.text);
    ky_wave *w = ky_wave_new(p, ROWS);
    for (int r = 0; r < ROWS; r++) {
        y_at[r] = y + (size_t)r * wide;
        state[r] = aligned_alloc(64, ky_plan_state_bytes(p));
        ky_plan_zero(p, state[r]);
    }
    for (int t = 0; t < STEPS; t++) {
        const float *x_at[ROWS];

        for (int r = 0; r < ROWS; r++)
            x_at[r] = x + ((ptrdiff_t)r * STEPS + t) * 2;
        ky_plan_step(p, w, ROWS, x_at, state, y_at, answered);
        for (size_t r = 0; r < ROWS; r++) {
            const ky_real *row = want + r * n + (n > wide ? (size_t)t * wide : 0);

            assert_true(answered[r]);
            if ((n > wide || t == STEPS - 1) && net_differ(y_at[r], row, wide) < wide)
                fail_msg("%s: stream %zu, step %d", spec, r, t);
        }
    }
    for (int r = 0; r < ROWS; r++)
        free(state[r]);
    ky_wave_free(w);
    ky_plan_free(p);
    free(y);
    free(want);
}

static void masked_streams_give_the_bits_of_masked_windows(void **state)
{
    ky_real x[ROWS * STEPS * 2];
    int tried = 0;

    (void)state;
    masked_inputs(x);
    FOR_KERNELS(k)
    for (int i = 0; i < MASKED; i++) {
        ky_model *m = model_of(masked_specs[i], &sequence, k);

        if (m->layers[1].no_step == NULL) {
            compare_streams(masked_specs[i], m, x);
            tried++;
        }
        ky_model_free(m);
    }
    assert_true(tried >= 5);
}

/* Its window is a sample's own, so it is whole at each of them. */
static void a_bidirectional_layer_streams_where_its_window_is_inside_a_step(void **state)
{
    const char *spec =
        "Reshape target_shape=2x1 distributed=1; Bidirectional distributed=1 of LSTM "
        "units=3; GRU units=2 return_sequences=1";
    ky_real x[ROWS * STEPS * 2];

    (void)state;
    masked_inputs(x);
    FOR_KERNELS(k)
    {
        ky_model *m = model_of(spec, &sequence, k);

        compare_streams(spec, m, x);
        ky_model_free(m);
    }
}

/* Steps that are no time of the model's are still steps to the layers, and to their masks. */
static void a_window_inside_a_step_is_masked_alike(void **state)
{
    const ky_shape inside = { 2, { STEPS, 2 }, false };
    ky_real x[ROWS * STEPS * 2];

    (void)state;
    masked_inputs(x);
    for (int i = 0; i < MASKED; i++) {
        ky_model *m = model_of(masked_specs[i], &sequence, ky_kernels_get());
        ky_model *q = model_of(masked_specs[i], &inside, ky_kernels_get());
        size_t n;
        ky_real *want = run(m, x, 0, ROWS, &n), *y = net_reals(ROWS * n);
        ky_work *work = ky_work_new(q, 1, ROWS);

        ky_model_run(q, work, ROWS, 1, (const ky_real *const[]){ x }, &y);
        if (net_differ(y, want, ROWS * n) < ROWS * n)
            fail_msg("%s", masked_specs[i]);
        ky_work_free(work);
        ky_model_free(m);
        ky_model_free(q);
        free(want);
        free(y);
    }
}

/* Rows of features, wherever they stand; what keeps no mask takes them as they are. */
static void masking_takes_frames_and_plain_features_too(void **state)
{
    const ky_real x[8] = { 9, 9, 9, 1, 2, 9, 9, 9 };
    const ky_real want[8] = { 0, 0, 9, 1, 2, 9, 0, 0 };
    const ky_shape shapes[] = { { 3, { 2, 2, 2 }, true }, { 1, { 2 }, false } };

    (void)state;
    for (int i = 0; i < 2; i++) {
        ky_model *m = model_of("Masking mask_value=9", &shapes[i], ky_kernels_get());
        int T = i == 0 ? 2 : 1, B = i == 0 ? 1 : 4;
        ky_work *work = ky_work_new(m, T, B);
        ky_real y[8], *to = y;

        ky_model_run(m, work, B, T, (const ky_real *const[]){ x }, &to);
        assert_int_equal(net_differ(y, want, 8), 8);
        ky_work_free(work);
        ky_model_free(m);
    }
}

/* -- random options ---------------------------------------------------------------------- */

static const char *pick(ky_rng *rng, const char *const *from)
{
    int n = 0;

    while (from[n] != NULL)
        n++;
    return from[ky_rng_below(rng, (uint64_t)n)];
}

/* Some layer that returns sequences, or not, of any size and options. */
static void random_spec(ky_rng *rng, char *spec, size_t size)
{
    static const char *const classes[] = { "LSTM", "GRU", "GRU", "SimpleRNN", NULL };
    static const char *const before[] = { "", "Masking; ", NULL };
    static const char *const around[] = { "", "", "Bidirectional of ",
                                          "Bidirectional merge_mode=mul of ", NULL };
    static const char *const acts[] = { "tanh", "tanh",   "relu",         "softmax", "silu",
                                        "elu",  "linear", "hard_sigmoid", NULL };
    static const char *const gates[] = { "sigmoid", "sigmoid", "hard_sigmoid", "softmax", NULL };
    static const char *const flags[] = { "return_sequences=1",     "use_bias=0", "go_backwards=1",
                                         "zero_output_for_mask=1", "stateful=1", NULL };
    const char *class = pick(rng, classes);
    int n = snprintf(spec, size, "%s%s%s units=%d activation=%s %s", pick(rng, before),
                     pick(rng, around), class, 1 + (int)ky_rng_below(rng, 40), pick(rng, acts),
                     pick(rng, flags));

    if (strcmp(class, "SimpleRNN") != 0)
        n += snprintf(spec + n, size - (size_t)n, " recurrent_activation=%s", pick(rng, gates));
    if (strcmp(class, "GRU") == 0 && ky_rng_below(rng, 2) == 0)
        n += snprintf(spec + n, size - (size_t)n, " reset_after=1");
    snprintf(spec + n, size - (size_t)n, " %s", pick(rng, flags));
}

/* Rows alone, by every kernel set, against all of them by the plain one. */
static void random_options_change_no_bit(void **state)
{
    ky_real x[ROWS * STEPS * 2];
    ky_rng rng;

    (void)state;
    masked_inputs(x);
    ky_rng_seed(&rng, 26);
    for (int i = 0; i < 150; i++) {
        char spec[256];
        size_t n;

        random_spec(&rng, spec, sizeof(spec));
        ky_model *plain = model_of(spec, &sequence, ky_kernels_all()[0]);
        ky_real *want = run(plain, x, 0, ROWS, &n);
        FOR_KERNELS(k)
        {
            ky_model *m = model_of(spec, &sequence, k);

            for (int from = 0, B; from < ROWS; from += B) {
                B = 1 + (int)ky_rng_below(&rng, (uint64_t)(ROWS - from));
                ky_real *some = run(m, x, from, B, &n);
                if (net_differ(some, want + (size_t)from * n, (size_t)B * n) < (size_t)B * n)
                    fail_msg("%s, %s: rows %d..%d", spec, k->name, from, from + B);
                free(some);
            }
            if (m->layers[m->n_layers - 1].no_step == NULL)
                compare_streams(spec, m, x);
            ky_model_free(m);
        }
        free(want);
        ky_model_free(plain);
    }
}

/* -- directions, states, and the two ways to a step ---------------------------------------- */

static const char *const cells[] = {
    "LSTM units=5",
    "LSTM units=5 activation=softsign recurrent_activation=hard_sigmoid",
    "GRU units=5",
    "GRU units=17 reset_after=1",
    "GRU units=5 activation=relu",
    "GRU units=5 reset_after=1 activation=relu",
    "SimpleRNN units=5",
    "ConvLSTM2D filters=3 kernel_size=2x3 padding=same",
};
enum { CELLS = sizeof(cells) / sizeof(*cells) };

static ky_model *cell_of(int i, const char *options, const ky_kernels *k)
{
    bool frames = strncmp(cells[i], "Conv", 4) == 0;
    ky_shape in = { 2, { STEPS, 6 }, true };
    char spec[128];

    if (frames)
        in = (ky_shape){ 4, { STEPS, 3, 1, 2 }, true };
    snprintf(spec, sizeof(spec), "%s %s", cells[i], options);
    return model_of(spec, &in, k);
}

/* The window's steps [from,from+T) of B rows through the first layer; free() */
static ky_real *pass(const ky_model *m, int B, int T, const ky_real *x, void *const *state)
{
    const ky_layer *l = &m->layers[0];
    ky_real *y = net_reals((size_t)B * (size_t)T * ky_shape_step(&l->out));
    ky_call c = { .B = B, .T = T, .T_out = T, .state = state };

    c.scratch = net_reals(ky_layer_scratch(l, &m->packed[0], B, T, false));
    l->ops->window(l, m->kernels, &m->packed[0], m->weights, &c, x, y);
    free(c.scratch);
    return y;
}

static void going_backwards_is_the_reversed_window_forwards(void **state)
{
    enum { F = 6 };
    ky_real x[STEPS * F], reversed[STEPS * F];

    (void)state;
    net_inputs(x, STEPS * F, 23, true);
    for (int t = 0; t < STEPS; t++)
        memcpy(reversed + (ptrdiff_t)t * F, x + (ptrdiff_t)(STEPS - 1 - t) * F, F * sizeof(*x));
    FOR_KERNELS(k)
    for (int i = 0; i < CELLS; i++) {
        ky_model *back = cell_of(i, "return_sequences=1 go_backwards=1", k);
        ky_model *ahead = cell_of(i, "return_sequences=1", k);
        size_t n = STEPS * ky_shape_step(&ahead->layers[0].out);
        ky_real *y = pass(back, 1, STEPS, x, NULL), *want = pass(ahead, 1, STEPS, reversed, NULL);

        if (net_differ(y, want, n) < n)
            fail_msg("%s, %s", cells[i], k->name);
        free(y);
        free(want);
        ky_model_free(back);
        ky_model_free(ahead);
    }
}

static void a_carried_state_goes_on_where_the_window_ended(void **state)
{
    enum { F = 6, FIRST = 3 };
    ky_real x[STEPS * F];

    (void)state;
    net_inputs(x, STEPS * F, 24, true);
    FOR_KERNELS(k)
    for (int i = 0; i < CELLS; i++) {
        ky_model *m = cell_of(i, "return_sequences=1", k);
        size_t one = ky_shape_step(&m->layers[0].out), n = (STEPS - FIRST) * one;
        size_t bytes = ky_lines(m->layers[0].state_reals) * sizeof(ky_real);
        void *carried = aligned_alloc(64, bytes);
        ky_real *want = pass(m, 1, STEPS, x, NULL), *first, *rest;

        memset(carried, 0, bytes);
        first = pass(m, 1, FIRST, x, &carried);
        rest = pass(m, 1, STEPS - FIRST, x + FIRST * F, &carried);
        if (net_differ(first, want, FIRST * one) < FIRST * one ||
            net_differ(rest, want + FIRST * one, n) < n)
            fail_msg("%s, %s", cells[i], k->name);
        free(carried);
        free(first);
        free(rest);
        free(want);
        ky_model_free(m);
    }
}

/* Any pair of activations goes another way than the kernels' own; where both can, they agree. */
static void the_general_gru_gives_the_bits_of_the_kernels_own(void **state)
{
    enum { F = 6, B = 3 };
    static const char *const specs[] = { "GRU units=17", "GRU units=17 reset_after=1",
                                         "GRU units=17 use_bias=0",
                                         "GRU units=17 reset_after=1 use_bias=0" };
    ky_real x[B * STEPS * F];

    (void)state;
    net_inputs(x, B * STEPS * F, 25, true);
    FOR_KERNELS(k)
    for (int i = 0; i < 4; i++) {
        ky_model *own = model_of(specs[i], &(ky_shape){ 2, { STEPS, F }, true }, k);
        ky_packed packed = { 0 };
        ky_model general = *own;
        ky_layer *l = &own->layers[0];

        assert_non_null(own->packed[0].gru);
        l->cfg.activation = KY_RELU; /* packs the general way, and then tanh again */
        assert_int_equal(l->ops->pack(l, k, own->weights, false, &packed), KY_OK);
        l->cfg.activation = KY_TANH;
        general.packed = &packed;
        ky_real *want = pass(own, B, STEPS, x, NULL), *y = pass(&general, B, STEPS, x, NULL);
        if (net_differ(y, want, B * 17) < B * 17)
            fail_msg("%s, %s", specs[i], k->name);
        free(want);
        free(y);
        ky_packed_free(k, &packed);
        ky_model_free(own);
    }
}

/* -- what they cost, and what is refused --------------------------------------------------- */

static void multiply_adds_are_counted(void **state)
{
    static const struct {
        const char *spec;
        ky_shape in;
        size_t window;
    } cases[] = {
        { "LSTM units=5", { 2, { 7, 3 }, true }, 7 * (3 + 5) * 20 },
        { "GRU units=5 reset_after=1", { 2, { 7, 3 }, true }, 7 * (3 + 5) * 15 },
        { "SimpleRNN units=5", { 2, { 7, 3 }, true }, 7 * (3 + 5) * 5 },
        { "Bidirectional of GRU units=5", { 2, { 7, 3 }, true }, 2 * 7 * (3 + 5) * 15 },
        /* 3 x 3 places, 6 taps of 2 channels of x and 2 of h, to 4 gates of 2 filters */
        { "ConvLSTM2D filters=2 kernel_size=3x2",
          { 4, { 4, 5, 4, 2 }, true },
          4 * (3 * 3) * (6 * 2 + 6 * 2) * 8 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_model *m = model_of(cases[i].spec, &cases[i].in, ky_kernels_get());

        assert_int_equal(ky_model_facts(m)->macs_window, cases[i].window);
        ky_model_free(m);
    }
}

static void what_cannot_be_is_refused_with_the_reason(void **state)
{
    static const struct {
        const char *spec;
        int code;
        const char *says;
    } cases[] = {
        { "Bidirectional of Dense units=2", KY_EUNSUPPORTED, "wraps a Dense" },
        { "Bidirectional", KY_EFORMAT, "wraps no layer" },
        { "Bidirectional of LSTM units=0", KY_EINVAL, "forward_: units is 0" },
        { "Bidirectional of LSTM units=2 and LSTM units=2", KY_EINVAL, "both of its layers go" },
        { "Bidirectional of GRU units=2 and GRU units=2 go_backwards=1 return_sequences=1",
          KY_EINVAL, "returns sequences" },
        { "Bidirectional merge_mode=sum of GRU units=2 and GRU units=3 go_backwards=1", KY_ESHAPE,
          "2 forward and 3 backward" },
        { "Reshape target_shape=3x1 distributed=1; Masking; LSTM units=2 distributed=1",
          KY_EUNSUPPORTED, "a mask of more than steps" },
        { "Reshape target_shape=3x1 distributed=1; Masking; Dense units=2; Bidirectional "
          "distributed=1 of "
          "GRU units=2",
          KY_EUNSUPPORTED, "a mask of more than steps" },
        { "LSTM units=2; a: Masking; Dense units=2; Add @a,a", KY_EUNSUPPORTED,
          "a mask of more than steps" },
        { "ConvLSTM2D filters=2 kernel_size=2", KY_ESHAPE, "it must have 4" },
        { "Reshape target_shape=3x1x1 distributed=1; ConvLSTM2D filters=2 kernel_size=4x1",
          KY_ESHAPE, "3 rows are too few" },
        { "Reshape target_shape=1x3x1 distributed=1; ConvLSTM2D filters=2 kernel_size=1x4",
          KY_ESHAPE, "3 columns are too few" },
        { "Reshape target_shape=3x1x1 distributed=1; ConvLSTM2D filters=2 kernel_size=2 "
          "padding=causal",
          KY_EINVAL, "causal" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_model *m;
        ky_err err;
        int rc = net_build(cases[i].spec, 5, 3, ky_kernels_get(), false, &m, &err);

        if (rc != cases[i].code || strstr(err.text, cases[i].says) == NULL)
            fail_msg("%s: %d, %s", cases[i].spec, rc, rc < 0 ? err.text : "accepted");
    }
}

static void what_begins_with_the_last_sample_has_no_streaming_form(void **state)
{
    static const struct {
        const char *spec, *says;
    } cases[] = {
        { "GRU units=2 go_backwards=1", "go_backwards begins with the window's last sample" },
        { "Bidirectional of LSTM units=2 return_sequences=1",
          "its backward layer begins with the window's last sample" },
    };

    (void)state;
    for (int i = 0; i < 2; i++) {
        ky_model *m = model_of(cases[i].spec, &sequence, ky_kernels_get());
        ky_plan *p;
        ky_err err;

        assert_int_equal(ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, &p, &err), KY_EUNSUPPORTED);
        assert_non_null(strstr(err.text, cases[i].says));
        ky_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recurrent_layers_answer_as_keras_does),
        cmocka_unit_test(masked_steps_are_left_out),
        cmocka_unit_test(a_row_has_its_mask_alone_and_in_any_company),
        cmocka_unit_test(masked_streams_give_the_bits_of_masked_windows),
        cmocka_unit_test(a_bidirectional_layer_streams_where_its_window_is_inside_a_step),
        cmocka_unit_test(a_window_inside_a_step_is_masked_alike),
        cmocka_unit_test(masking_takes_frames_and_plain_features_too),
        cmocka_unit_test(random_options_change_no_bit),
        cmocka_unit_test(going_backwards_is_the_reversed_window_forwards),
        cmocka_unit_test(a_carried_state_goes_on_where_the_window_ended),
        cmocka_unit_test(the_general_gru_gives_the_bits_of_the_kernels_own),
        cmocka_unit_test(multiply_adds_are_counted),
        cmocka_unit_test(what_cannot_be_is_refused_with_the_reason),
        cmocka_unit_test(what_begins_with_the_last_sample_has_no_streaming_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
