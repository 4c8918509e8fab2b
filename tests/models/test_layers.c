/*
 * What every layer promises, over the table of layers, options and kernel sets; and what
 * each one computes, by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "models/layer_tools.h"
#include "tests/models/net.h"

/* -- laws ------------------------------------------------------------------------ */

/* Every kernel set of this machine, one after the other. */
#define FOR_KERNELS(k)                                                                             \
    for (const ky_kernels *const *all_ = ky_kernels_all(), *k; (k = *all_) != NULL; all_++)

static size_t inputs_of(const net_case *c, int B)
{
    return (size_t)B * (size_t)c->T * (size_t)c->F;
}

static ky_model *build(const net_case *c, const ky_kernels *k)
{
    ky_err err;
    ky_model *m;

    if (net_build(c->spec, c->T, c->F, k, false, &m, &err) < 0)
        fail_msg("%s: %s", c->spec, err.text);
    return m;
}

static void alone_in_company(const net_case *c, const ky_kernels *k)
{
    enum { B = 7 };
    ky_model *m = build(c, k);
    ky_real *x = net_reals(inputs_of(c, B));
    net_pass all = { .m = m, .B = B, .T = c->T };
    const ky_real *y;
    size_t n;

    net_inputs(x, inputs_of(c, B), 11, true);
    net_forward(&all, x);
    y = net_last(&all, &n);
    for (int first = 0; first < B; first++)
        for (int rows = 1; first + rows <= B; rows++) {
            net_pass some = { .m = m, .B = rows, .T = c->T };
            const ky_real *y_some;
            size_t n_some;

            net_forward(&some, x + inputs_of(c, first));
            y_some = net_last(&some, &n_some);
            assert_int_equal(n_some, n / B * (size_t)rows);
            if (net_differ(y_some, y + n / B * (size_t)first, n_some) < n_some)
                fail_msg("%s, %s: rows %d..%d of %d", c->spec, k->name, first, first + rows, B);
            net_done(&some);
        }
    net_done(&all);
    ky_model_free(m);
    free(x);
}

static void a_row_gives_the_same_bits_alone_and_in_any_company(void **state)
{
    (void)state;
    FOR_KERNELS(k)
    for (int i = 0; i < NET_CASES; i++)
        alone_in_company(&net_cases[i], k);
}

static void every_kernel_set_gives_the_same_bits(void **state)
{
    enum { B = 5 };

    (void)state;
    for (int i = 0; i < NET_CASES; i++) {
        const net_case *c = &net_cases[i];
        ky_model *plain = build(c, ky_kernels_all()[0]);
        ky_real *x = net_reals(inputs_of(c, B));
        net_pass want = { .m = plain, .B = B, .T = c->T };

        net_inputs(x, inputs_of(c, B), 12, true);
        net_forward(&want, x);
        FOR_KERNELS(k)
        {
            ky_model *m = build(c, k);
            net_pass have = { .m = m, .B = B, .T = c->T };
            size_t n;
            const ky_real *y = net_last(&want, &n), *y_have;

            net_forward(&have, x);
            y_have = net_last(&have, &n);
            if (net_differ(y_have, y, n) < n)
                fail_msg("%s: %s differs from plain", c->spec, k->name);
            net_done(&have);
            ky_model_free(m);
        }
        net_done(&want);
        ky_model_free(plain);
        free(x);
    }
}

static bool has_steps(const ky_model *m)
{
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].no_step != NULL)
            return false;
    return true;
}

/* Output number j of a stream is output j of the whole sequence; without steps in the
 * output, the last one is the sequence's answer. */
static void step_is_sequence(const net_case *c, const ky_kernels *k)
{
    ky_model *m = build(c, k);
    ky_real *x = net_reals(inputs_of(c, 1));
    float *samples = malloc(inputs_of(c, 1) * sizeof(*samples)), y[64], *y_at = y;
    net_pass whole = { .m = m, .B = 1, .T = c->T };
    const ky_real *want;
    size_t n, outputs = (size_t)ky_model_facts(m)->outputs, given = 0;
    ky_plan *p;
    ky_wave *w;
    void *state;

    net_inputs(x, inputs_of(c, 1), 13, true);
    for (size_t i = 0; i < inputs_of(c, 1); i++)
        samples[i] = (float)x[i];
    net_forward(&whole, x);
    want = net_last(&whole, &n);
    assert_int_equal(ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, &p, NULL), KY_OK);
    w = ky_wave_new(p, 1);
    state = aligned_alloc(64, ky_plan_state_bytes(p));
    ky_plan_zero(p, state);
    for (int t = 0; t < c->T; t++) {
        const float *x_t = samples + t * c->F;
        bool answered;

        ky_plan_step(p, w, 1, &x_t, &state, &y_at, &answered);
        if (!answered)
            continue;
        if (n > outputs && net_differ(y, want + given * outputs, outputs) < outputs)
            fail_msg("%s, %s: output %zu", c->spec, k->name, given);
        given++;
    }
    assert_true(given > 0);
    assert_true(n == outputs || given * outputs == n);
    assert_int_equal(net_differ(y, want + n - outputs, outputs), outputs);
    free(state);
    free(samples);
    free(x);
    net_done(&whole);
    ky_wave_free(w);
    ky_plan_free(p);
    ky_model_free(m);
}

static void step_by_step_gives_the_bits_of_the_whole_sequence(void **state)
{
    int tried = 0;

    (void)state;
    FOR_KERNELS(k)
    for (int i = 0; i < NET_CASES; i++) {
        ky_model *m = build(&net_cases[i], k);
        bool can = has_steps(m);

        ky_model_free(m);
        if (can)
            step_is_sequence(&net_cases[i], k);
        tried += can;
    }
    assert_true(tried >= 30);
}

static void predict_gives_the_last_output_of_the_pass(void **state)
{
    enum { B = 3 };

    (void)state;
    for (int i = 0; i < NET_CASES; i++) {
        const net_case *c = &net_cases[i];
        ky_model *m = build(c, ky_kernels_get());
        size_t n, outputs = (size_t)ky_model_facts(m)->outputs;
        ky_real *x = net_reals(inputs_of(c, B)), *y = net_reals(B * outputs);
        net_pass pass = { .m = m, .B = B, .T = c->T };
        ky_work *work = ky_work_new(m, c->T, B + 2);
        const ky_real *want;

        net_inputs(x, inputs_of(c, B), 14, true);
        net_forward(&pass, x);
        want = net_last(&pass, &n);
        ky_model_predict(m, work, B, c->T, x, y);
        for (size_t r = 1; r <= B; r++)
            assert_int_equal(net_differ(y + (r - 1) * outputs, want + r * n / B - outputs, outputs),
                             outputs);
        net_done(&pass);
        ky_work_free(work);
        ky_model_free(m);
        free(x);
        free(y);
    }
}

/* So large a batch that its first layers run on a few rows at a time. */
static void a_large_batch_gives_the_bits_of_its_rows(void **state)
{
    static const net_case cases[] = {
        { "Conv1D filters=64 kernel_size=3 activation=relu; MaxPooling1D; Conv1D filters=16 "
          "kernel_size=3; Flatten; Dense units=80; Dense units=5 activation=softmax",
          130, 9 },
        { "Conv1D filters=64 kernel_size=2; LSTM units=7; Dense units=3", 120, 4 },
        { "Dense units=90 activation=tanh; Dense units=3", 300, 2 },
    };
    enum { B = 37 };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const net_case *c = &cases[i];
        ky_model *m = build(c, ky_kernels_get());
        size_t n = (size_t)ky_model_facts(m)->outputs, row = (size_t)c->T * (size_t)c->F;
        ky_real *x = net_reals(B * row), *y = net_reals(B * n), *alone = net_reals(n);
        ky_work *all = ky_work_new(m, c->T, B), *one = ky_work_new(m, c->T, 1);

        net_inputs(x, B * row, 5, true);
        ky_model_predict(m, all, B, c->T, x, y);
        for (size_t r = 0; r < B; r++) {
            ky_model_predict(m, one, 1, c->T, x + r * row, alone);
            assert_int_equal(net_differ(alone, y + r * n, (int)n), n);
        }
        ky_work_free(all);
        ky_work_free(one);
        free(x), free(y), free(alone);
        ky_model_free(m);
    }
}

/* -- known answers ---------------------------------------------------------------- */

/* Run a spec on x [T] of one channel with given weights; compares with want [n]. */
static void check_answer(const char *spec, int T, const ky_real *x, size_t n_w, const ky_real *w,
                         size_t n, const ky_real *want)
{
    FOR_KERNELS(k)
    {
        ky_model *m = build(&(net_case){ spec, T, 1 }, k);
        net_pass p = { .m = m, .B = 1, .T = T };
        const ky_real *y;
        size_t len;

        assert_int_equal(m->n_weights, n_w);
        if (n_w > 0)
            memcpy(m->weights, w, n_w * sizeof(*w));
        assert_int_equal(ky_model_pack(m, NULL), KY_OK);
        net_forward(&p, x);
        y = net_last(&p, &len);
        assert_int_equal(len, n);
        for (size_t i = 0; i < n; i++)
            if (fabs((double)y[i] - (double)want[i]) > 1e-6 * fabs((double)want[i]))
                fail_msg("%s: output %zu is %.9g, by hand %.9g", spec, i, (double)y[i],
                         (double)want[i]);
        net_done(&p);
        ky_model_free(m);
    }
}

/* Small whole numbers: every sum is exact. */
static void convolutions_pad_stride_and_dilate_as_keras_does(void **state)
{
    static const struct {
        const char *options;
        int T;
        size_t n;
        ky_real want[6];
    } cases[] = {
        { "", 5, 3, { 321, 432, 543 } },
        { "padding=same", 5, 5, { 210, 321, 432, 543, 54 } },
        { "padding=causal", 5, 5, { 100, 210, 321, 432, 543 } },
        { "padding=same strides=2", 5, 3, { 210, 432, 54 } },
        { "padding=same strides=2", 6, 3, { 321, 543, 65 } }, /* the odd zero goes behind */
        { "padding=causal strides=2", 5, 3, { 100, 321, 543 } },
        { "strides=2", 6, 2, { 321, 543 } },
        { "padding=causal dilation_rate=2", 5, 5, { 100, 200, 310, 420, 531 } },
        { "dilation_rate=2", 6, 2, { 531, 642 } },
        { "padding=same dilation_rate=2", 5, 5, { 310, 420, 531, 42, 53 } },
    };
    const ky_real x[6] = { 1, 2, 3, 4, 5, 6 }, w[3] = { 1, 10, 100 };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char spec[128];

        snprintf(spec, sizeof(spec), "Conv1D filters=1 kernel_size=3 use_bias=0 %s",
                 cases[i].options);
        check_answer(spec, cases[i].T, x, 3, w, cases[i].n, cases[i].want);
    }
}

/* Padding is skipped, not multiplied: with an infinite weight 0 * inf would be NaN. */
static void padding_is_never_multiplied(void **state)
{
    const ky_real x[3] = { 1, 2, 3 }, w[3] = { (ky_real)INFINITY, 1, 0 };
    ky_model *m = build(&(net_case){ "Conv1D filters=1 kernel_size=2 padding=causal", 3, 1 },
                        ky_kernels_get());
    net_pass p = { .m = m, .B = 1, .T = 3 };

    (void)state;
    memcpy(m->weights, w, sizeof(w));
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    net_forward(&p, x);
    assert_true(p.y[0][0] == 1);
    assert_true(isinf(p.y[0][1]));
    net_done(&p);
    ky_model_free(m);
}

static void pools_take_only_real_steps(void **state)
{
    const ky_real x[5] = { 1, 2, 3, 4, 5 }, minus[5] = { -5, -4, -3, -2, -1 };

    (void)state;
    check_answer("AveragePooling1D padding=same", 5, x, 0, NULL, 3,
                 (const ky_real[]){ 1.5f, 3.5f, 5 });
    check_answer("AveragePooling1D pool_size=3 strides=1 padding=same", 5, x, 0, NULL, 5,
                 (const ky_real[]){ 1.5f, 2, 3, 4, 4.5f });
    check_answer("AveragePooling1D pool_size=3 strides=2", 5, x, 0, NULL, 2,
                 (const ky_real[]){ 2, 4 });
    check_answer("MaxPooling1D pool_size=3 strides=2 padding=same", 5, minus, 0, NULL, 3,
                 (const ky_real[]){ -4, -2, -1 });
    check_answer("MaxPooling1D", 5, minus, 0, NULL, 2, (const ky_real[]){ -4, -2 });
    check_answer("GlobalMaxPooling1D", 5, minus, 0, NULL, 1, (const ky_real[]){ -1 });
    check_answer("GlobalAveragePooling1D", 5, x, 0, NULL, 1, (const ky_real[]){ 3 });
}

static void normalisation_follows_its_formula(void **state)
{
    /* gamma 3, beta 1, mean 2, variance 4 - epsilon: y = 1 + 3 (x - 2) / 2 */
    const ky_real x[3] = { 2, 4, -2 }, w[4] = { 3, 1, 2, 4 - 1e-3f };
    const ky_real far[2] = { 1e6f + 1, 1e6f - 2 }, far_w[2] = { 1e6f, 0.25f - 1e-3f };

    (void)state;
    check_answer("BatchNormalization", 3, x, 4, w, 3, (const ky_real[]){ 1, 4, -5 });
    /* a channel far from zero keeps its digits */
    check_answer("BatchNormalization center=0 scale=0", 2, far, 2, far_w, 2,
                 (const ky_real[]){ 2, -4 });
}

static void a_dense_layer_and_softmax_follow_their_formulas(void **state)
{
    /* logits 1 + 2x and -1 + x for x = 3: 7 and 2; exp(-5) / (1 + exp(-5)) */
    const ky_real x[1] = { 3 }, w[4] = { 2, 1, 1, -1 };
    ky_real small = (ky_real)(exp(-5) / (1 + exp(-5)));

    (void)state;
    check_answer("Dense units=2", 1, x, 4, w, 2, (const ky_real[]){ 7, 2 });
    check_answer("Dense units=2 activation=softmax", 1, x, 4, w, 2,
                 (const ky_real[]){ 1 - small, small });
    check_answer("Dense units=2; Softmax", 1, x, 4, w, 2, (const ky_real[]){ 1 - small, small });
    check_answer("Dense units=2 activation=sigmoid", 1, x, 4, w, 2,
                 (const ky_real[]){ (ky_real)(1 / (1 + exp(-7))), (ky_real)(1 / (1 + exp(-2))) });
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* Keras's hard_sigmoid, of version 3 */
static double hard(double x)
{
    return fmin(1, fmax(0, x / 6 + 0.5));
}

/* The textbook, in double: h after T steps of one row. */
static void textbook(const ky_model *m, int T, int F, int H, const ky_real *x,
                     double (*gate)(double), double *h)
{
    const ky_real *W = m->weights, *U = W + F * 4 * H, *b = U + H * 4 * H;
    double c[16] = { 0 }, z[64];

    memset(h, 0, (size_t)H * sizeof(*h));
    for (int t = 0; t < T; t++, x += F) {
        for (int j = 0; j < 4 * H; j++) {
            z[j] = (double)b[j];
            for (int i = 0; i < F; i++)
                z[j] += (double)x[i] * (double)W[i * 4 * H + j];
            for (int i = 0; i < H; i++)
                z[j] += h[i] * (double)U[i * 4 * H + j];
        }
        for (int j = 0; j < H; j++) {
            c[j] = gate(z[H + j]) * c[j] + gate(z[j]) * tanh(z[2 * H + j]);
            h[j] = gate(z[3 * H + j]) * tanh(c[j]);
        }
    }
}

/* 20 steps of sums of 12 products in float: 2e-6 is about 30 roundings of 6e-8. */
static void an_lstm_follows_the_textbook(void **state)
{
    enum { T = 20, F = 4, H = 7 };
    static const struct {
        const char *spec;
        double (*gate)(double);
    } cases[] = {
        { "LSTM units=7", sigmoid },
        { "LSTM units=7 recurrent_activation=hard_sigmoid", hard },
    };

    (void)state;
    FOR_KERNELS(k)
    for (int i = 0; i < 2; i++) {
        ky_model *m = build(&(net_case){ cases[i].spec, T, F }, k);
        net_pass p = { .m = m, .B = 1, .T = T };
        ky_real x[T * F];
        double want[H];

        net_inputs(x, T * F, 15, false);
        textbook(m, T, F, H, x, cases[i].gate, want);
        net_forward(&p, x);
        for (int j = 0; j < H; j++)
            assert_true(fabs((double)p.y[0][j] - want[j]) < 2e-6);
        net_done(&p);
        ky_model_free(m);
    }
}

/* Any pair of activations goes another way than the kernels' own; where both can, they agree. */
static void the_general_lstm_gives_the_bits_of_the_kernels_own(void **state)
{
    enum { T = 6, F = 3, H = 5, B = 2 };
    ky_model *own = build(&(net_case){ "LSTM units=5", T, F }, ky_kernels_get());
    ky_real x[B * T * F];
    net_pass p = { .m = own, .B = B, .T = T }, q;
    ky_model general = *own;
    ky_packed packed = { 0 };

    (void)state;
    packed.mat = own->kernels->mat_new(F + H, 4 * H, own->weights, own->weights + (F + H) * 4 * H);
    general.packed = &packed;
    net_inputs(x, B * T * F, 16, false);
    q = (net_pass){ .m = &general, .B = B, .T = T };
    net_forward(&p, x);
    net_forward(&q, x);
    assert_int_equal(net_differ(p.y[0], q.y[0], B * H), B * H);
    net_done(&p);
    net_done(&q);
    own->kernels->mat_free(packed.mat);
    ky_model_free(own);
}

/* -- training's side of a window ---------------------------------------------------- */

static void dropout_keeps_the_mean_and_does_nothing_in_use(void **state)
{
    enum { N = 20000 };
    ky_model *m = build(&(net_case){ "Dropout rate=0.25", 1, 1 }, ky_kernels_get());
    ky_real *x = net_reals(N);
    net_pass p = { .m = m, .B = N, .T = 1, .training = true, .seed = 5 };
    double sum = 0, zeros = 0;

    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = 1;
    net_forward(&p, x);
    for (int i = 0; i < N; i++) {
        sum += (double)p.y[0][i];
        zeros += p.y[0][i] == 0;
        assert_true(p.y[0][i] == 0 || fabs((double)p.y[0][i] - 4.0 / 3) < 1e-6);
    }
    /* deviation of the share is sqrt(0.25*0.75/N) = 0.003; four of them */
    assert_true(fabs(zeros / N - 0.25) < 0.0125);
    assert_true(fabs(sum / N - 1) < 0.017);
    net_done(&p);
    p = (net_pass){ .m = m, .B = N, .T = 1 };
    net_forward(&p, x);
    assert_memory_equal(p.y[0], x, N * sizeof(*x));
    net_done(&p);
    ky_model_free(m);
    free(x);
}

static void weights_start_as_keras_draws_them(void **state)
{
    enum { F = 10, H = 24 };
    ky_model *m;
    ky_real *W, *U, *b;
    double limit = sqrt(6.0 / (F + 4 * H)), largest = 0;

    (void)state;
    m = build(&(net_case){ "LSTM units=24", 3, F }, ky_kernels_get());
    ky_model_init(m, 3);
    W = ky_model_weight(m, 0, 0), U = ky_model_weight(m, 0, 1), b = ky_model_weight(m, 0, 2);
    for (int i = 0; i < F * 4 * H; i++)
        largest = fmax(largest, fabs((double)W[i]));
    assert_true(largest <= limit && largest > 0.98 * limit);
    for (int i = 0; i < H; i++) /* U U^T = 1, to the rounding of floats */
        for (int j = 0; j < H; j++) {
            double dot = 0;

            for (int n = 0; n < 4 * H; n++)
                dot += (double)U[i * 4 * H + n] * (double)U[j * 4 * H + n];
            assert_true(fabs(dot - (i == j)) < 1e-6);
        }
    for (int j = 0; j < 4 * H; j++)
        assert_true(b[j] == (j >= H && j < 2 * H ? 1 : 0));
    ky_model_free(m);
}

static void the_same_seed_gives_the_same_weights(void **state)
{
    ky_model *m[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        m[i] = build(&(net_case){ "LSTM units=4; Dense units=2", 3, 2 }, ky_kernels_get());
        ky_model_init(m[i], 42);
    }
    assert_memory_equal(m[0]->weights, m[1]->weights, m[0]->n_weights * sizeof(ky_real));
    ky_model_init(m[1], 43);
    assert_memory_not_equal(m[0]->weights, m[1]->weights, m[0]->n_weights * sizeof(ky_real));
    for (int i = 0; i < 2; i++)
        ky_model_free(m[i]);
}

/* -- what a model says about itself, and what it refuses ---------------------------- */

static void the_hash_tells_weights_and_options_apart(void **state)
{
    ky_model *m = build(&(net_case){ "Dense units=2", 3, 2 }, ky_kernels_get()), *other;
    uint64_t first = ky_model_facts(m)->hash;

    (void)state;
    other = build(&(net_case){ "Dense units=2 activation=relu", 3, 2 }, ky_kernels_get());
    assert_true(ky_model_facts(other)->hash != first);
    ky_model_free(other);
    m->weights[0] += 1;
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    assert_true(ky_model_facts(m)->hash != first);
    m->weights[0] -= 1;
    ky_model_free(m);
    m = build(&(net_case){ "Dense units=2", 3, 2 }, ky_kernels_all()[0]);
    assert_true(ky_model_facts(m)->hash == first); /* whatever the kernels */
    ky_model_free(m);
}

static void a_model_knows_its_facts(void **state)
{
    ky_model *m = build(&(net_case){ "Conv1D filters=4 kernel_size=3; LSTM units=5; "
                                     "Dense units=3 activation=softmax; Dropout rate=0.1",
                                     10, 2 },
                        ky_kernels_get());
    const ky_model_info *info = ky_model_facts(m);
    const char *const labels[] = { "a", "b", "c" };
    ky_err err;

    (void)state;
    assert_int_equal(info->features, 2);
    assert_int_equal(info->window, 10);
    assert_int_equal(info->outputs, 3);
    assert_true(info->probabilities);
    assert_int_equal(info->params, 3 * 2 * 4 + 4 + 20 * (4 + 5) + 20 + 5 * 3 + 3);
    /* 8 outputs of 24, as many steps of 20 * 9, one dense layer of 15 */
    assert_int_equal(info->macs_window, 8 * 24 + 8 * 180 + 15);
    assert_int_equal(info->macs_step, 24 + 180 + 15);
    assert_int_equal(ky_model_set_labels(m, labels, 2, &err), KY_ESHAPE);
    assert_int_equal(ky_model_set_labels(m, labels, 3, &err), KY_OK);
    assert_string_equal(info->labels[2], "c");
    assert_int_equal(ky_model_set_feature_names(m, labels, &err), KY_OK);
    assert_string_equal(info->feature_names[1], "b");
    ky_model_free(m);
}

static void impossible_layers_are_refused_by_name_and_reason(void **state)
{
    static const struct {
        const char *spec;
        int T, code;
        const char *says;
    } cases[] = {
        { "Dense units=0", 5, KY_EINVAL, "units is 0" },
        { "Dense units=-3", 5, KY_EINVAL, "units is -3" },
        { "LSTM units=5000000", 5, KY_EINVAL, "units is 5000000" },
        { "Dense units=4000000; Dense units=4000000", 5, KY_EFULL, "weights" },
        { "Conv1D filters=2 kernel_size=6", 5, KY_ESHAPE, "5 steps are too few" },
        { "Conv1D filters=2 kernel_size=0", 5, KY_EINVAL, "kernel_size is 0" },
        { "Conv1D filters=2 kernel_size=2 strides=0", 5, KY_EINVAL, "strides is 0" },
        { "Conv1D filters=2 kernel_size=2 strides=2 dilation_rate=2", 5, KY_EINVAL, "only one" },
        { "Conv1D filters=2 kernel_size=2 groups=2", 5, KY_EINVAL, "into 2 groups" },
        { "Conv1D filters=2 kernel_size=2 groups=0", 5, KY_EINVAL, "groups is 0" },
        { "Conv2D filters=2 kernel_size=2", 5, KY_ESHAPE, "rows, columns, channels" },
        { "columns=3; Conv1D filters=2 kernel_size=2", 5, KY_ESHAPE, "must have 2" },
        { "columns=3; Conv2D filters=2 kernel_size=6x2", 5, KY_ESHAPE, "5 steps are too few" },
        { "columns=3; Conv2D filters=2 kernel_size=2x4", 5, KY_ESHAPE, "3 columns are too few" },
        { "columns=3; Conv2D filters=2 kernel_size=2x0", 5, KY_EINVAL, "kernel_size is 0" },
        { "columns=3; Conv2D filters=2 kernel_size=2 padding=causal", 5, KY_EINVAL, "causal" },
        { "columns=3; Conv2D filters=2 kernel_size=1 strides=1x2 dilation_rate=2x1", 5, KY_EINVAL,
          "only one" },
        { "columns=3; Conv2D filters=4000000 kernel_size=4000000 padding=same", 5, KY_EFULL,
          "weights" },
        { "DepthwiseConv1D kernel_size=2 depth_multiplier=0", 5, KY_EINVAL, "multiplier is 0" },
        { "DepthwiseConv1D kernel_size=2 depth_multiplier=4000000", 5, KY_EFULL, "of 3 channels" },
        { "SeparableConv1D kernel_size=2", 5, KY_EINVAL, "filters is 0" },
        { "Cropping1D cropping=3x2", 5, KY_ESHAPE, "0 steps of 5" },
        { "Cropping1D cropping=3x3", 5, KY_ESHAPE, "-1 steps of 5" },
        { "columns=3; Cropping2D cropping=0x0x1x2", 5, KY_ESHAPE, "0 columns of 3" },
        { "ZeroPadding1D padding=-1", 5, KY_EINVAL, "padding is -1" },
        { "ZeroPadding1D padding=4000000", 5, KY_ESHAPE, "8000005 steps of 5" },
        { "UpSampling1D size=0", 5, KY_EINVAL, "size is 0" },
        { "UpSampling1D size=4000000", 5, KY_EFULL, "20000000 steps of 5" },
        { "columns=3; UpSampling2D size=2x4000000", 5, KY_EFULL, "12000000 columns of 3" },
        { "GlobalMaxPooling2D", 5, KY_ESHAPE, "rows, columns, channels" },
        { "columns=3; MaxPooling2D pool_size=2x4", 5, KY_ESHAPE, "3 columns are too few" },
        { "Conv1D filters=2 kernel_size=4000000 dilation_rate=4000000", 5, KY_EINVAL, "too far" },
        { "MaxPooling1D padding=causal", 5, KY_EINVAL, "causal" },
        { "MaxPooling1D pool_size=0", 5, KY_EINVAL, "pool_size is 0" },
        { "MaxPooling1D pool_size=6", 5, KY_ESHAPE, "too few" },
        { "LSTM units=2; LSTM units=2", 5, KY_ESHAPE, "'lstm_1' (LSTM)" },
        { "LSTM units=2; GlobalMaxPooling1D", 5, KY_ESHAPE, "no steps" },
        { "Flatten", KY_ANY, KY_ESHAPE, "fixed number of steps" },
        { "Dropout rate=1", 5, KY_EINVAL, "rate is 1" },
        { "Dropout rate=nan", 5, KY_EINVAL, "rate is nan" },
        { "Softmax axis=0", 5, KY_EINVAL, "axis is 0" },
        { "Softmax axis=1x-2", 5, KY_EINVAL, "each named once" },
        { "BatchNormalization axis=3", 5, KY_EINVAL, "axis is 3" },
        { "BatchNormalization axis=1", KY_ANY, KY_ESHAPE, "fixed number of steps" },
        { "LayerNormalization axis=-3", 5, KY_EINVAL, "axis is -3" },
        { "LayerNormalization epsilon=-1", 5, KY_EINVAL, "epsilon" },
        { "PReLU", KY_ANY, KY_ESHAPE, "fixed number of steps" },
        { "PReLU shared_axes=4", 5, KY_EINVAL, "shared_axes has 4" },
        { "ReLU threshold=-1", 5, KY_EINVAL, "threshold -1" },
        { "Concatenate axis=0 @in,in", 5, KY_EINVAL, "axis is 0" },
        { "a: Dense units=4; Concatenate axis=1 @in,a", 5, KY_ESHAPE, "[5,3] and [5,4]" },
        { "a: Dense units=4; Add @in,a", KY_ANY, KY_ESHAPE, "[any,3] and [any,4]" },
        { "a: Conv1D filters=3 kernel_size=2; Add @in,a", 5, KY_ESHAPE, "[5,3] and [4,3]" },
        { "Subtract @in,in,in", 5, KY_ESHAPE, "3 inputs, must be 2" },
        { "Dot axes=1 @in,in", KY_ANY, KY_ESHAPE, "fixed number of steps" },
        { "Dot axes=1x2 @in,in", 5, KY_ESHAPE, "5 values of its first input and 3" },
        { "Dot @in,in", 5, KY_EINVAL, "axes must be" },
        { "Dot axes=3 @in,in", 5, KY_EINVAL, "axis 3 of input 1" },
        { "Reshape target_shape=4x4", 5, KY_ESHAPE, "16 values, its input has 15" },
        { "Reshape target_shape=4x-1", 5, KY_ESHAPE, "4 values or a multiple" },
        { "Reshape target_shape=-1x-1", 5, KY_EINVAL, "target_shape" },
        { "Reshape target_shape=0x15", 5, KY_EINVAL, "target_shape" },
        { "Reshape target_shape=15", KY_ANY, KY_ESHAPE, "must keep the steps" },
        { "Permute dims=2x2", 5, KY_EINVAL, "each of 1 to 2 once" },
        { "Permute dims=1x2x3", 5, KY_ESHAPE, "3 numbers" },
        { "Permute dims=2x1", KY_ANY, KY_ESHAPE, "dims must begin with 1" },
        { "RepeatVector n=2", 5, KY_ESHAPE, "repeats a vector" },
        { "LSTM units=2; RepeatVector n=0", 5, KY_EINVAL, "n is 0" },
        { "Embedding input_dim=0 output_dim=2", 5, KY_EINVAL, "input_dim is 0" },
        { "BatchNormalization momentum=2", 5, KY_EINVAL, "momentum" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_model *m;
        ky_err err;
        int rc = net_build(cases[i].spec, cases[i].T, 3, ky_kernels_get(), false, &m, &err);

        if (rc != cases[i].code || strstr(err.text, cases[i].says) == NULL)
            fail_msg("%s: %d, %s", cases[i].spec, rc, rc < 0 ? err.text : "accepted");
    }
}

static void only_windows_that_fit_get_work(void **state)
{
    ky_model *m =
        build(&(net_case){ "Conv1D filters=2 kernel_size=3; Flatten; Dense units=2", 8, 2 },
              ky_kernels_get());

    (void)state;
    assert_true(ky_model_fits(m, 8));
    assert_false(ky_model_fits(m, 7));
    assert_false(ky_model_fits(m, 0));
    assert_null(ky_work_new(m, 9, 1));
    assert_null(ky_work_new(m, 8, 0));
    ky_model_free(m);
    m = build(&(net_case){ "LSTM units=2", KY_ANY, 2 }, ky_kernels_get());
    assert_true(ky_model_fits(m, 1) && ky_model_fits(m, 1000));
    assert_null(ky_work_new(m, 1 << 22, 1 << 20)); /* does not overflow */
    ky_model_free(m);
}

static void random_numbers_are_uniform_normal_and_fair(void **state)
{
    enum { N = 100000 };
    ky_rng r;
    double sum = 0, squares = 0;
    int counts[3] = { 0 };
    uint32_t order[50];

    (void)state;
    ky_rng_seed(&r, 1);
    for (int i = 0; i < N; i++) {
        double v = ky_rng_normal(&r);

        sum += v;
        squares += v * v;
        counts[ky_rng_below(&r, 3)]++;
    }
    assert_true(fabs(sum / N) < 4 / sqrt(N));
    assert_true(fabs(squares / N - 1) < 4 * sqrt(2.0 / N));
    for (int i = 0; i < 3; i++) /* four deviations of sqrt(N * 2/9) */
        assert_true(fabs(counts[i] - N / 3.0) < 4 * sqrt(N * 2 / 9.0));
    for (uint32_t i = 0; i < 50; i++)
        order[i] = i;
    ky_rng_shuffle(&r, order, 50);
    sum = 0;
    for (int i = 0; i < 50; i++)
        sum += order[i];
    assert_true(sum == 49 * 50 / 2.0);
}

/* The generator's published first outputs for s = {1, 2, 3, 4}. */
static void the_generator_is_xoshiro256_starstar(void **state)
{
    ky_rng r = { { 1, 2, 3, 4 } };

    (void)state;
    assert_true(ky_rng_u64(&r) == 11520);
    assert_true(ky_rng_u64(&r) == 0);
    assert_true(ky_rng_u64(&r) == 1509978240);
    assert_true(ky_rng_u64(&r) == 1215971899390074240);
}

/* One uniform number a value, in the values' order: what dropout in training is defined by. */
static void dropout_drops_what_draws_less_than_the_rate(void **state)
{
    enum { VALUES = 700 }; /* two whole blocks and a part */
    static const double rates[] = { 0, 0.1, 0.5, 0.999 };
    ky_real x[VALUES], y[VALUES], tape[VALUES];

    (void)state;
    for (int i = 0; i < VALUES; i++)
        x[i] = (ky_real)(i + 1);
    for (size_t k = 0; k < sizeof(rates) / sizeof(*rates); k++) {
        ky_layer l;
        ky_rng drawn, wanted;

        ky_layer_init(&l, &ky_dropout_ops, "d");
        l.cfg.rate = rates[k];
        l.in = l.out = (ky_shape){ .rank = 1, .d = { VALUES } };
        ky_rng_seed(&drawn, k);
        ky_rng_seed(&wanted, k);
        ky_call c = { .B = 1, .T = 1, .T_out = 1, .training = true, .rng = &drawn, .tape = tape };
        l.ops->window(&l, ky_kernels_get(), NULL, NULL, &c, x, y);

        for (int i = 0; i < VALUES; i++) {
            ky_real factor = ky_rng_uniform(&wanted) < rates[k] ? 0 : 1 / (1 - (ky_real)rates[k]);

            assert_true(tape[i] == factor && y[i] == x[i] * factor);
        }
    }
}

static void of_equal_maxima_the_first_takes_the_gradient(void **state)
{
    enum { STEPS = 4, C = 67 }; /* one whole block of channels and a part */
    ky_real x[STEPS * C], y[C], dy[C], dx[STEPS * C] = { 0 };

    (void)state;
    for (int i = 0; i < STEPS * C; i++)
        x[i] = (ky_real)(i / C < i % C % STEPS ? 1 : 2); /* from step i % C % STEPS on the same */
    for (int i = 0; i < C; i++) {
        y[i] = 2;
        dy[i] = (ky_real)(i + 1);
    }

    ky_maximum_back(C, 1, &(ky_run){ .n = STEPS }, x, y, dy, dx);

    for (int i = 0; i < STEPS * C; i++)
        assert_true(dx[i] == (i / C == i % C % STEPS ? dy[i % C] : 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_gives_the_same_bits_alone_and_in_any_company),
        cmocka_unit_test(every_kernel_set_gives_the_same_bits),
        cmocka_unit_test(step_by_step_gives_the_bits_of_the_whole_sequence),
        cmocka_unit_test(predict_gives_the_last_output_of_the_pass),
        cmocka_unit_test(a_large_batch_gives_the_bits_of_its_rows),
        cmocka_unit_test(convolutions_pad_stride_and_dilate_as_keras_does),
        cmocka_unit_test(padding_is_never_multiplied),
        cmocka_unit_test(pools_take_only_real_steps),
        cmocka_unit_test(normalisation_follows_its_formula),
        cmocka_unit_test(a_dense_layer_and_softmax_follow_their_formulas),
        cmocka_unit_test(an_lstm_follows_the_textbook),
        cmocka_unit_test(the_general_lstm_gives_the_bits_of_the_kernels_own),
        cmocka_unit_test(dropout_keeps_the_mean_and_does_nothing_in_use),
        cmocka_unit_test(dropout_drops_what_draws_less_than_the_rate),
        cmocka_unit_test(of_equal_maxima_the_first_takes_the_gradient),
        cmocka_unit_test(weights_start_as_keras_draws_them),
        cmocka_unit_test(the_same_seed_gives_the_same_weights),
        cmocka_unit_test(the_hash_tells_weights_and_options_apart),
        cmocka_unit_test(a_model_knows_its_facts),
        cmocka_unit_test(impossible_layers_are_refused_by_name_and_reason),
        cmocka_unit_test(only_windows_that_fit_get_work),
        cmocka_unit_test(random_numbers_are_uniform_normal_and_fair),
        cmocka_unit_test(the_generator_is_xoshiro256_starstar),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
