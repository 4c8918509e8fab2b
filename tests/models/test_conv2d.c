/*
 * Layers that look at neighbourhoods, in one and two dimensions: the lecture's own examples,
 * the definition written out one product at a time, and what Keras 3 answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "models/layer_tools.h"
#include "tests/models/net.h"

/* Every kernel set of this machine, one after the other. */
#define FOR_KERNELS(k)                                                                             \
    for (const ky_kernels *const *all_ = ky_kernels_all(), *k; (k = *all_) != NULL; all_++)

static ky_model *build(const char *spec, int T, int F, const ky_kernels *k, const ky_real *w)
{
    ky_model *m = NULL;
    ky_err err;

    if (net_build(spec, T, F, k, false, &m, &err) < 0)
        fail_msg("%s: %s", spec, err.text);
    if (w != NULL && m->n_weights > 0)
        memcpy(m->weights, w, m->n_weights * sizeof(*w));
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    return m;
}

/* -- the lecture's example -------------------------------------------------------------- */

enum { SIDE = 7, INNER = SIDE - 2 };

static const ky_real image[SIDE * SIDE] = {
    0, 0, 0, 0, 0, 0, 0, /**/ 0, 0, 1, 1, 1, 0, 0, /**/ 0, 1, 1, 1, 1, 1, 0, /**/
    0, 1, 1, 1, 0, 0, 0, /**/ 0, 1, 1, 1, 1, 1, 0, /**/ 0, 0, 1, 1, 1, 0, 0, /**/
    0, 0, 0, 0, 0, 0, 0,
};

#define CONV     "columns=7; Conv2D filters=1 kernel_size=3 use_bias=0"
#define IDENTITY ((const ky_real[]){ 0, 0, 0, 0, 1, 0, 0, 0, 0 })
#define EDGES    ((const ky_real[]){ -1, -1, -1, 2, 2, 2, -1, -1, -1 })

/* What a net makes of the image, times `scale`, is want [n]. */
static void check_image(const char *spec, const ky_real *filter, double scale, size_t n,
                        const ky_real *want)
{
    FOR_KERNELS(k)
    {
        ky_model *m = build(spec, SIDE, SIDE, k, filter);
        net_pass p = { .m = m, .B = 1, .T = SIDE };
        const ky_real *y;
        size_t len;

        net_forward(&p, image);
        y = net_last(&p, &len);
        assert_int_equal(len, n);
        for (size_t i = 0; i < n; i++)
            if (fabs(scale * (double)y[i] - (double)want[i]) > 1e-6)
                fail_msg("%s: pixel %zu is %g, must be %g", spec, i, scale * (double)y[i],
                         (double)want[i]);
        net_done(&p);
        ky_model_free(m);
    }
}

static void a_filter_of_one_in_its_middle_cuts_the_border_off(void **state)
{
    const ky_real want[INNER * INNER] = { 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                          0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0 };

    (void)state;
    check_image(CONV, IDENTITY, 1, INNER * INNER, want);
}

static void after_a_ring_of_zeros_it_gives_back_the_image(void **state)
{
    (void)state;
    check_image("columns=7; ZeroPadding2D padding=1; Conv2D filters=1 kernel_size=3 use_bias=0",
                IDENTITY, 1, SIDE * SIDE, image);
    check_image(CONV " padding=same", IDENTITY, 1, SIDE * SIDE, image);
}

static void a_correlation_does_not_turn_its_filter_round(void **state)
{
    const ky_real top_left[9] = { 1 };
    ky_real want[INNER * INNER];

    (void)state;
    for (int i = 0; i < INNER * INNER; i++)
        want[i] = image[i / INNER * SIDE + i % INNER];
    check_image(CONV, top_left, 1, INNER * INNER, want);
}

static void the_box_filter_gives_ninths(void **state)
{
    const ky_real want[INNER * INNER] = { 3, 5, 6, 5, 3, 5, 8, 8, 6, 3, 6, 9, 8,
                                          7, 4, 5, 8, 8, 6, 3, 3, 5, 6, 5, 3 };
    ky_real box[9];

    (void)state;
    for (int i = 0; i < 9; i++)
        box[i] = (ky_real)(1.0 / 9);
    check_image(CONV, box, 9, INNER * INNER, want);
}

static void horizontal_edges_are_found_rectified_and_pooled(void **state)
{
    ky_real want[INNER * INNER] = { 0,  1,  3, 1, 0, 1, 1, 1, 3, 3, 0, 0, -2,
                                    -4, -4, 1, 1, 1, 3, 3, 0, 1, 3, 1, 0 };

    (void)state;
    check_image(CONV, EDGES, 1, INNER * INNER, want);
    memset(want + 2 * INNER, 0, INNER * sizeof(*want));
    check_image(CONV " activation=relu", EDGES, 1, INNER * INNER, want);
    check_image(CONV "; ReLU", EDGES, 1, INNER * INNER, want);
    check_image(CONV " activation=relu; MaxPooling2D", EDGES, 1, 4, (ky_real[]){ 1, 3, 1, 3 });
}

static void k_filters_give_k_planes_two_smaller(void **state)
{
    enum { H = 9, W = 11, D = 4, K = 6 };
    const ky_shape input = { .rank = 3, .d = { H, W, D } };
    ky_model *m;
    ky_layer l;
    int dims[KY_RANK];
    const char *name;

    (void)state;
    assert_int_equal(ky_model_new("m", &input, &m, NULL), KY_OK);
    ky_layer_init(&l, ky_layer_find("Conv2D"), "");
    l.cfg.filters = K;
    l.cfg.kernel_size[0] = l.cfg.kernel_size[1] = 3;
    assert_int_equal(ky_model_add(m, &l, NULL), KY_OK);
    assert_int_equal(ky_model_finish(m, NULL), KY_OK);
    assert_int_equal(ky_model_output(m, 0, 1, dims, &name), 3);
    assert_int_equal(dims[0], H - 2);
    assert_int_equal(dims[1], W - 2);
    assert_int_equal(dims[2], K);
    assert_int_equal(m->layers[0].weights[0].len, 3 * 3 * D * K);
    ky_model_free(m);
}

/* -- the definition ------------------------------------------------------------------------ */

/* One layer on images of [in[0],in[1],C]: kernel, strides, dilation and zeros in front. */
typedef struct drawn {
    const char *kind;
    int in[2], out[2], k[2], s[2], d[2], pad[2];
    int C, F, groups, multiplier, B;
    bool relu, same, bias;
    char spec[256];
} drawn;

static int between(ky_rng *rng, int lo, int hi)
{
    return lo + (int)ky_rng_below(rng, (uint64_t)(hi - lo + 1));
}

/* Keras's rules; false if the kernel is too large for valid. */
static bool place(drawn *c, int axis)
{
    int reach = (c->k[axis] - 1) * c->d[axis] + 1, n = c->in[axis], s = c->s[axis];
    int total;

    if (!c->same) {
        c->pad[axis] = 0;
        c->out[axis] = (n - reach) / s + 1;
        return n >= reach;
    }
    c->out[axis] = (n + s - 1) / s;
    total = (c->out[axis] - 1) * s + reach - n;
    c->pad[axis] = total > 0 ? total / 2 : 0;
    return true;
}

static void write_spec(drawn *c, bool flat)
{
    size_t n = 0;

    if (!flat)
        n += (size_t)snprintf(c->spec, sizeof(c->spec), "columns=%d; ", c->in[1]);
    n +=
        (size_t)snprintf(c->spec + n, sizeof(c->spec) - n, "%s%s %s=%dx%d strides=%dx%d%s", c->kind,
                         flat ? "1D" : "2D", strstr(c->kind, "Pool") ? "pool_size" : "kernel_size",
                         c->k[0], c->k[1], c->s[0], c->s[1], c->same ? " padding=same" : "");
    if (strstr(c->kind, "Pool"))
        return;
    n += (size_t)snprintf(c->spec + n, sizeof(c->spec) - n, " dilation_rate=%dx%d use_bias=%d%s",
                          c->d[0], c->d[1], c->bias, c->relu ? " activation=relu" : "");
    if (strcmp(c->kind, "DepthwiseConv") != 0)
        n += (size_t)snprintf(c->spec + n, sizeof(c->spec) - n, " filters=%d", c->F);
    if (strcmp(c->kind, "Conv") == 0)
        snprintf(c->spec + n, sizeof(c->spec) - n, " groups=%d", c->groups);
    else
        snprintf(c->spec + n, sizeof(c->spec) - n, " depth_multiplier=%d", c->multiplier);
}

/* A layer at random; in one dimension there is one column. */
static void draw(drawn *c, const char *kind, bool flat, ky_rng *rng)
{
    do {
        *c = (drawn){ .kind = kind, .B = between(rng, 0, 3) ? between(rng, 1, 5) : 30 };
        c->same = between(rng, 0, 1);
        c->relu = between(rng, 0, 1);
        c->bias = between(rng, 0, 3) > 0;
        c->multiplier = between(rng, 1, 3);
        c->groups = between(rng, 0, 1) ? 1 : between(rng, 2, 3);
        c->C = between(rng, 1, 7) * c->groups * (between(rng, 0, 3) ? 1 : 3);
        c->F = between(rng, 1, 7) * c->groups * (between(rng, 0, 3) ? 1 : 6);
        for (int i = 0; i < 2; i++) {
            bool one = i == 1 && flat, dilated = !strstr(kind, "Pool") && between(rng, 0, 1);

            c->in[i] = one ? 1 : between(rng, 1, between(rng, 0, 1) ? 30 : 9);
            c->k[i] = one ? 1 : between(rng, 1, 5);
            c->s[i] = one || c->d[0] > 1 || dilated ? 1 : between(rng, 1, 3);
            c->d[i] = !one && dilated && c->s[0] == 1 ? between(rng, 1, 3) : 1;
        }
    } while (!place(c, 0) || !place(c, 1));
    if (strstr(kind, "Pool") || strcmp(kind, "DepthwiseConv") == 0)
        c->F = c->C * (strstr(kind, "Pool") ? 1 : c->multiplier);
    write_spec(c, flat);
}

/* y [out,F] of one image by the definition: a chain of fma from the bias over the taps inside.
 * Filter f sees the C/groups inputs of its group; w [k,C/groups,F]. */
static void correlate(const drawn *c, int groups, int F, const ky_real *x, const ky_real *w,
                      const ky_real *b, bool relu, ky_real *y)
{
    int C = c->C / groups;

    for (int n = 0; n < c->out[0] * c->out[1] * F; n++) {
        int f = n % F, row = n / F / c->out[1], column = n / F % c->out[1], from = f / (F / groups);
        ky_real sum = b != NULL ? b[f] : 0;

        for (int t = 0; t < c->k[0] * c->k[1] * C; t++) {
            int i = row * c->s[0] - c->pad[0] + t / C / c->k[1] * c->d[0];
            int j = column * c->s[1] - c->pad[1] + t / C % c->k[1] * c->d[1];

            if (i >= 0 && i < c->in[0] && j >= 0 && j < c->in[1])
                sum = fmaf(x[(i * c->in[1] + j) * c->C + from * C + t % C], w[t * F + f], sum);
        }
        y[n] = relu && 0 > sum ? 0 : sum;
    }
}

static void pool(const drawn *c, bool mean, const ky_real *x, ky_real *y)
{
    for (int n = 0; n < c->out[0] * c->out[1] * c->C; n++) {
        int row = n / c->C / c->out[1], column = n / c->C % c->out[1], count = 0;

        for (int t = 0; t < c->k[0] * c->k[1]; t++) {
            int i = row * c->s[0] - c->pad[0] + t / c->k[1];
            int j = column * c->s[1] - c->pad[1] + t % c->k[1];

            if (i < 0 || i >= c->in[0] || j < 0 || j >= c->in[1])
                continue;
            ky_real v = x[(i * c->in[1] + j) * c->C + n % c->C];
            if (count++ == 0)
                y[n] = v;
            else
                y[n] = mean ? y[n] + v : v > y[n] ? v : y[n];
        }
        if (mean)
            y[n] /= (ky_real)count;
    }
}

static void by_definition(const drawn *c, const ky_real *x, const ky_real *w, size_t n_w,
                          ky_real *y)
{
    const ky_real *b = c->bias ? w + n_w - c->F : NULL;
    int deep = c->C * c->multiplier, positions = c->out[0] * c->out[1];
    drawn point = { .out = { 1, positions },
                    .in = { 1, positions },
                    .k = { 1, 1 },
                    .s = { 1, 1 },
                    .d = { 1, 1 },
                    .C = deep };

    if (strcmp(c->kind, "Conv") == 0) {
        correlate(c, c->groups, c->F, x, w, b, c->relu, y);
    } else if (strcmp(c->kind, "DepthwiseConv") == 0) {
        correlate(c, c->C, c->F, x, w, b, c->relu, y);
    } else if (strcmp(c->kind, "SeparableConv") == 0) {
        ky_real *middle = net_reals((size_t)positions * (size_t)deep);

        correlate(c, c->C, deep, x, w, NULL, false, middle);
        correlate(&point, 1, c->F, middle, w + c->k[0] * c->k[1] * deep, b, c->relu, y);
        free(middle);
    } else {
        pool(c, strcmp(c->kind, "AveragePooling") == 0, x, y);
    }
}

static void check_drawn(const drawn *c, uint64_t seed)
{
    size_t in = (size_t)c->in[0] * (size_t)c->in[1] * (size_t)c->C;
    size_t out = (size_t)c->out[0] * (size_t)c->out[1] * (size_t)c->F, n;
    ky_real *x = net_reals(in * (size_t)c->B), *want = net_reals(out);

    net_inputs(x, in * (size_t)c->B, seed, true);
    FOR_KERNELS(k)
    {
        ky_model *m = build(c->spec, c->in[0], c->in[1] * c->C, k, NULL);
        net_pass p = { .m = m, .B = c->B, .T = c->in[0] };
        const ky_real *y;

        net_forward(&p, x);
        y = net_last(&p, &n);
        assert_int_equal(n, out * (size_t)c->B);
        for (size_t r = 0; r < (size_t)c->B; r++) {
            by_definition(c, x + r * in, m->weights, m->n_weights, want);
            if (net_differ(y + r * out, want, out) < out)
                fail_msg("%s on %dx%dx%d, %s: row %zu of %d", c->spec, c->in[0], c->in[1], c->C,
                         k->name, r, c->B);
        }
        net_done(&p);
        ky_model_free(m);
    }
    free(x);
    free(want);
}

static void every_output_is_its_chain_of_products(void **state)
{
    static const char *const kinds[] = { "Conv", "DepthwiseConv", "SeparableConv", "MaxPooling",
                                         "AveragePooling" };
    ky_rng rng;

    (void)state;
    ky_rng_seed(&rng, 31);
    for (int i = 0; i < 300; i++) {
        drawn c;

        draw(&c, kinds[i % 5], i / 5 % 3 == 0, &rng);
        check_drawn(&c, (uint64_t)i);
    }
}

/* -- Keras ------------------------------------------------------------------------------- */

static const struct {
    const char *spec;
    int T, F;
    size_t n;
    ky_real want[256];
} keras_cases[] = {
#include "tests/models/local_values.inc"
};

/* Multiples of 1/8, as make_local.py has them. */
static void numbers(ky_real *v, size_t n, int step, int start, int modulo, ky_real scale)
{
    for (size_t i = 0; i < n; i++)
        v[i] = (ky_real)((int)((i * (size_t)step + (size_t)start) % (size_t)modulo) - modulo / 2) /
               scale;
}

static void layers_answer_as_keras_3_does(void **state)
{
    (void)state;
    FOR_KERNELS(k)
    for (size_t i = 0; i < sizeof(keras_cases) / sizeof(*keras_cases); i++) {
        const char *spec = keras_cases[i].spec;
        int T = keras_cases[i].T, F = keras_cases[i].F;
        ky_model *m = build(spec, T, F, k, NULL);
        ky_real *x = net_reals((size_t)(2 * T * F));
        net_pass p = { .m = m, .B = 2, .T = T };
        const ky_real *y;
        size_t n;

        numbers(m->weights, m->n_weights, 7, 3, 11, 8);
        numbers(x, (size_t)(2 * T * F), 5, 2, 13, 4);
        assert_int_equal(ky_model_pack(m, NULL), KY_OK);
        net_forward(&p, x);
        y = net_last(&p, &n);
        assert_int_equal(n, keras_cases[i].n);
        for (size_t j = 0; j < n; j++)
            if (fabs((double)y[j] - (double)keras_cases[i].want[j]) > 1e-6)
                fail_msg("%s: output %zu is %.9g, of Keras %.9g", spec, j, (double)y[j],
                         (double)keras_cases[i].want[j]);
        net_done(&p);
        ky_model_free(m);
        free(x);
    }
}

/* -- with time and without ---------------------------------------------------------------- */

/* The rows of an image are steps to the layer, whether they are the model's time or not. */
static void an_image_gives_the_same_bits_with_time_and_without(void **state)
{
    enum { H = 9, W = 8, C = 3, B = 3 };
    static const char spec[] = "columns=8; Conv2D filters=5 kernel_size=3 padding=same; "
                               "MaxPooling2D pool_size=2x3 strides=3x2; Conv2D filters=4 "
                               "kernel_size=2 padding=same; MaxPooling2D pool_size=2x2; "
                               "GlobalMaxPooling2D";
    const ky_shape input = { .rank = 3, .d = { H, W, C } };
    ky_model *timed = build(spec, H, W * C, ky_kernels_get(), NULL), *still;
    ky_real x[B * H * W * C], y[2][B * 4];
    ky_work *work;

    (void)state;
    assert_int_equal(ky_model_new("still", &input, &still, NULL), KY_OK);
    for (int i = 0; i < timed->n_layers; i++) {
        ky_layer l;

        ky_layer_init(&l, timed->layers[i].ops, "");
        l.cfg = timed->layers[i].cfg;
        assert_int_equal(ky_model_add(still, &l, NULL), KY_OK);
    }
    assert_int_equal(ky_model_finish(still, NULL), KY_OK);
    assert_int_equal(still->n_weights, timed->n_weights);
    assert_int_equal(still->layers[0].pooled[0].size, 2); /* the last row and columns of 9x8 */
    assert_int_equal(timed->layers[0].pooled[0].size, 0);
    memcpy(still->weights, timed->weights, timed->n_weights * sizeof(*x));
    assert_int_equal(ky_model_pack(still, NULL), KY_OK);
    net_inputs(x, B * H * W * C, 3, true);
    work = ky_work_new(timed, H, B);
    ky_model_predict(timed, work, B, H, x, y[0]);
    ky_work_free(work);
    work = ky_work_new(still, 1, B);
    ky_model_predict(still, work, B, 1, x, y[1]);
    ky_work_free(work);
    assert_int_equal(net_differ(y[0], y[1], B * 4), B * 4);
    ky_model_free(timed);
    ky_model_free(still);
}

static void an_average_leaves_out_masked_steps(void **state)
{
    const ky_real x[2 * 4] = { 1, 0, 3, 0, /**/ 0, 0, 8, -2 };
    ky_model *m = build("Masking; GlobalAveragePooling1D", 4, 1, ky_kernels_get(), NULL);
    ky_work *work = ky_work_new(m, 4, 2);
    ky_real y[2];

    (void)state;
    ky_model_predict(m, work, 2, 4, x, y);
    assert_true(y[0] == 2 && y[1] == 3);
    ky_work_free(work);
    ky_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_of_one_in_its_middle_cuts_the_border_off),
        cmocka_unit_test(after_a_ring_of_zeros_it_gives_back_the_image),
        cmocka_unit_test(a_correlation_does_not_turn_its_filter_round),
        cmocka_unit_test(the_box_filter_gives_ninths),
        cmocka_unit_test(horizontal_edges_are_found_rectified_and_pooled),
        cmocka_unit_test(k_filters_give_k_planes_two_smaller),
        cmocka_unit_test(every_output_is_its_chain_of_products),
        cmocka_unit_test(layers_answer_as_keras_3_does),
        cmocka_unit_test(an_image_gives_the_same_bits_with_time_and_without),
        cmocka_unit_test(an_average_leaves_out_masked_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
