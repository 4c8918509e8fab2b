/*
 * The gradient of every layer against central differences, in double precision: this
 * program is linked to the library's sources built with KY_REAL = double.
 *
 * The loss is the sum of the outputs times fixed random numbers. (f(v+h) - f(v-h)) / 2h
 * with h = 1e-5 has an error of about h^2 f''' = 1e-10 from the series and 1e-11 from
 * rounding; the tolerance of 1e-6 relative to 1 + |gradient| leaves room for the
 * curvature of softmax and exp. Inputs lie off the kinks by their seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "models/loss.h"
#include "tests/models/net.h"

enum { B = 3 };

static double loss(net_pass *p, const ky_real *x, const ky_real *R)
{
    size_t n;
    const ky_real *y;
    double sum = 0;

    net_forward(p, x);
    y = net_last(p, &n);
    for (size_t i = 0; i < n; i++)
        sum += y[i] * R[i];
    net_done(p);
    return sum;
}

/* Whether the gradient `have` of *v is that of central differences. */
static bool agrees(ky_model *m, net_pass *p, const ky_real *x, const ky_real *R, ky_real *v,
                   double have, const char *what, size_t at)
{
    double h = 1e-5, kept = *v, up, down, want;

    *v = kept + h;
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    up = loss(p, x, R);
    *v = kept - h;
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    down = loss(p, x, R);
    *v = kept;
    want = (up - down) / (2 * h);
    if (fabs(want - have) <= 1e-6 * (1 + fabs(want)))
        return true;
    print_error("%s[%zu]: gradient %.9g, by differences %.9g\n", what, at, have, want);
    return false;
}

static int compare(ky_model *m, net_pass *p, ky_real *x, size_t n_x, const ky_real *R,
                   const ky_real *dx, const ky_real *dw)
{
    int wrong = 0;

    for (size_t i = 0; i < n_x; i++) /* at a masked 0 the loss jumps */
        wrong += x[i] != 0 && !agrees(m, p, x, R, &x[i], dx[i], "dx", i);
    for (int i = 0; i < m->n_layers; i++)
        for (int j = 0; j < m->layers[i].n_weights; j++) {
            const ky_weight *v = &m->layers[i].weights[j];
            ky_real *w = ky_model_weight(m, i, j);

            for (size_t n = 0; v->trainable && n < v->len; n++)
                wrong += !agrees(m, p, x, R, &w[n], dw[w - m->weights + n], v->name, n);
        }
    return wrong;
}

static bool has_slopes(const ky_layer *l)
{
    bool all = true;

    for (const ky_field *f = l->ops->fields; f->key != NULL; f++)
        if (f->type == KY_F_ACTIVATION) {
            enum ky_activation a = (enum ky_activation)ky_field_get(f, &l->cfg, 0);

            all &= (ky_activation_trains(a) || l->ops->any_activation) &&
                   !(l->ops->cell != NULL && ky_activation_by_rows(a));
        }
    return all;
}

/* Whether all of a case's layers have a way back. */
static bool is_trained(const net_case *c)
{
    ky_model *m;
    bool all = true;

    assert_int_equal(net_build(c->spec, c->T, c->F, ky_kernels_get(), false, &m, NULL), KY_OK);
    for (int i = 0; i < m->n_layers; i++)
        all &= m->layers[i].ops->backward != NULL && m->layers[i].no_training == NULL &&
               has_slopes(&m->layers[i]);
    ky_model_free(m);
    return all;
}

/* Zeros for steps 1, 2 and the last of the second row, and all but the first of the third. */
static void mask_steps(const net_case *c, ky_real *x)
{
    if (strstr(c->spec, "Masking") == NULL && strstr(c->spec, "mask_zero") == NULL)
        return;
    for (int t = 0; t < c->T; t++)
        for (int i = 0; i < c->F; i++) {
            x[(c->T + t) * c->F + i] *= t == 1 || t == 2 || t == c->T - 1 ? 0 : 1;
            x[(2 * c->T + t) * c->F + i] *= t > 0 ? 0 : 1;
        }
}

/* Both gradients of a spec, in training (dropout, batch statistics) or not. */
static int wrong_gradients(const net_case *c, bool training)
{
    const ky_kernels *k = ky_kernels_get();
    size_t n_x = (size_t)B * (size_t)c->T * (size_t)c->F, n_y;
    net_pass p = { .B = B, .T = c->T, .training = true, .seed = 3 };
    ky_real *x = net_reals(n_x), *dx = net_reals(n_x), *dw, *R;
    ky_model *m;
    int wrong;

    assert_int_equal(net_build(c->spec, c->T, c->F, k, true, &m, NULL), KY_OK);
    for (int i = 0; i < m->n_layers; i++) /* frozen: the moving statistics, and their backward */
        m->layers[i].trainable =
            training || strcmp(m->layers[i].ops->class_name, "BatchNormalization") != 0;
    p.m = m;
    net_inputs(x, n_x, 5, false);
    mask_steps(c, x);
    net_forward(&p, x);
    net_last(&p, &n_y);
    R = net_reals(n_y);
    net_inputs(R, n_y, 6, false);
    dw = calloc(m->n_weights + 1, sizeof(*dw));
    net_backward(&p, x, R, dx, dw);
    net_done(&p);
    if (!training) /* a frozen layer works out dx only */
        for (int i = 0; i < m->n_layers; i++)
            for (int j = 0; j < m->layers[i].n_weights; j++)
                m->layers[i].weights[j].trainable &= m->layers[i].trainable;
    wrong = compare(m, &p, x, n_x, R, dx, dw);
    ky_model_free(m);
    free(x);
    free(dx);
    free(dw);
    free(R);
    return wrong;
}

static void gradients_of_every_layer_agree_with_central_differences(void **state)
{
    (void)state;
    for (int i = 0; i < NET_CASES; i++) {
        int wrong = is_trained(&net_cases[i]) ? wrong_gradients(&net_cases[i], true) : 0;

        if (wrong > 0)
            fail_msg("%s: %d gradients", net_cases[i].spec, wrong);
    }
}

/* As a layer, and as part of one that multiplies. */
static void every_activation_has_its_slope(void **state)
{
    static const char *const layers[] = { "Activation", "Dense units=5",
                                          "Conv1D filters=4 kernel_size=2 groups=2 padding=same",
                                          "SeparableConv1D filters=3 kernel_size=2" };

    (void)state;
    for (int i = 0; i < 4; i++)
        for (int a = 0; a <= KY_LOG_SOFTMAX; a++) {
            char spec[96];
            int wrong;

            snprintf(spec, sizeof(spec), "%s activation=%d", layers[i], a);
            wrong = wrong_gradients(&(net_case){ spec, 5, 4 }, true);
            if (wrong > 0)
                fail_msg("%s of %s: %d gradients", ky_activation_name((enum ky_activation)a),
                         layers[i], wrong);
        }
}

static void a_frozen_normalisation_passes_the_gradient_of_fixed_statistics(void **state)
{
    (void)state;
    assert_int_equal(
        wrong_gradients(&(net_case){ "BatchNormalization; Dense units=3", 6, 4 }, false), 0);
}

static void the_moving_statistics_of_a_batch_come_back_through_dw(void **state)
{
    ky_model *m;
    net_pass p = { .B = 2, .T = 3, .training = true };
    const ky_real x[6] = { 1, 2, 3, 4, 5, 9 }; /* mean 4, variance 40/6 */
    ky_real dx[6], dy[6] = { 0 }, dw[4] = { 0 };

    (void)state;
    assert_int_equal(net_build("BatchNormalization", 3, 1, ky_kernels_get(), true, &m, NULL),
                     KY_OK);
    p.m = m;
    net_forward(&p, x);
    net_backward(&p, x, dy, dx, dw);
    net_done(&p);
    ky_model_free(m);
    assert_true(fabs(dw[2] - 4) < 1e-12);
    assert_true(fabs(dw[3] - 40.0 / 6) < 1e-12);
}

enum { STATE = 16 };

/* Of a recurrent layer of 3 units on 4 steps of 2 values that starts from `kept`. */
static int wrong_from_a_state(const char *spec)
{
    enum { T = 4, F = 2, H = 3 };
    ky_real x[B * T * F], R[B * H], dx[B * T * F], kept[B * STATE];
    ky_real *rows = net_reals(B * STATE), *dw;
    void *states[B];
    int wrong = 0;
    ky_model *m;
    net_pass p = { .B = B, .T = T, .training = true, .state = states };

    assert_int_equal(net_build(spec, T, F, ky_kernels_get(), true, &m, NULL), KY_OK);
    p.m = m;
    net_inputs(x, B * T * F, 5, false);
    net_inputs(R, B * H, 6, false);
    net_inputs(kept, (size_t)B * STATE, 8, false);
    dw = calloc(m->n_weights, sizeof(*dw));
    for (int r = 0; r < B; r++)
        states[r] = rows + (size_t)STATE * r;
    memcpy(rows, kept, sizeof(kept));
    net_forward(&p, x);
    net_backward(&p, x, R, dx, dw);
    net_done(&p);
    for (size_t i = 0; i < m->n_weights; i++) {
        double h = 1e-5, w = m->weights[i], f[2];

        for (int side = 0; side < 2; side++) {
            m->weights[i] = side == 0 ? w + h : w - h;
            assert_int_equal(ky_model_pack(m, NULL), KY_OK);
            memcpy(rows, kept, sizeof(kept));
            f[side] = loss(&p, x, R);
        }
        m->weights[i] = w;
        wrong += !(fabs((f[0] - f[1]) / (2 * h) - dw[i]) < 1e-7);
    }
    ky_model_free(m);
    free(dw);
    free(rows);
    return wrong;
}

static void masked_steps_have_no_gradient(void **state)
{
    ky_model *m;
    net_pass p = { .B = 1, .T = 3, .training = true };
    const ky_real x[6] = { 1, 0, 0, 0, 0, 3 }, dy[6] = { 1, 2, 3, 4, 5, 6 };
    const ky_real want[6] = { 1, 2, 0, 0, 5, 6 };
    ky_real dx[6], dw[1];

    (void)state;
    assert_int_equal(net_build("Masking", 3, 2, ky_kernels_get(), true, &m, NULL), KY_OK);
    p.m = m;
    net_forward(&p, x);
    net_backward(&p, x, dy, dx, dw);
    net_done(&p);
    ky_model_free(m);
    assert_memory_equal(dx, want, sizeof(want));
}

/* Truncated backpropagation starts from the state that the piece before left. */
static void gradients_hold_for_recurrent_layers_that_start_from_a_state(void **state)
{
    static const char *const specs[] = {
        "LSTM units=3",      "LSTM units=3 activation=sigmoid",
        "GRU units=3",       "GRU units=3 reset_after=1",
        "SimpleRNN units=3",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(specs) / sizeof(*specs); i++)
        if (wrong_from_a_state(specs[i]) > 0)
            fail_msg("%s", specs[i]);
}

/* h' = x W + d h U of one unit with the options, W and U given, on three steps: y [rows,3]. */
static ky_real *dropping_cell(const char *options, double W, double U, int rows, const ky_real *x)
{
    ky_model *m;
    net_pass p = { .B = rows, .T = 3, .training = true, .seed = 9 };
    char spec[200];
    ky_real *y = net_reals(3 * (size_t)rows);
    size_t n;

    snprintf(spec, sizeof(spec),
             "SimpleRNN units=1 activation=linear return_sequences=1 use_bias=0 %s", options);
    assert_int_equal(net_build(spec, 3, 1, ky_kernels_get(), true, &m, NULL), KY_OK);
    ky_model_weight(m, 0, 0)[0] = W;
    ky_model_weight(m, 0, 1)[0] = U;
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    p.m = m;
    net_forward(&p, x);
    memcpy(y, net_last(&p, &n), 3 * (size_t)rows * sizeof(*y));
    net_done(&p);
    ky_model_free(m);
    return y;
}

/* 4000 rows: the share of zeros has a standard deviation of 0.0073. */
static void a_cell_drops_the_same_at_every_step_at_its_rate(void **state)
{
    enum { ROWS = 4000 };
    ky_real *x = net_reals(3 * ROWS), *in, *back;
    int dropped_in = 0, dropped_back = 0;

    (void)state;
    for (size_t i = 0; i < 3 * ROWS; i++)
        x[i] = 1;
    in = dropping_cell("dropout=0.3", 1, 0, ROWS, x);
    back = dropping_cell("recurrent_dropout=0.3", 1, 1, ROWS, x);
    for (size_t r = 0; r < ROWS; r++) {
        const ky_real *a = in + 3 * r, *b = back + 3 * r;
        double d = b[1] - 1; /* h: 1, 1 + d, 1 + d (1 + d) */

        assert_true(a[0] == 0 || fabs(a[0] - 1 / 0.7) < 1e-12);
        assert_true(a[1] == a[0] && a[2] == a[0]);
        assert_true(b[0] == 1 && (fabs(d) < 1e-12 || fabs(d - 1 / 0.7) < 1e-12));
        assert_true(fabs(b[2] - (1 + d * b[1])) < 1e-12);
        dropped_in += a[0] == 0;
        dropped_back += fabs(d) < 1e-12;
    }
    assert_true(fabs(dropped_in / (double)ROWS - 0.3) < 0.03);
    assert_true(fabs(dropped_back / (double)ROWS - 0.3) < 0.03);
    free(x);
    free(in);
    free(back);
}

/* Every loss, by what it takes, with smoothed labels and weighed rows; numbers are kept away from
 * the kinks of MAE and Huber. */
static void gradients_of_every_loss_agree_with_central_differences(void **state)
{
    static const ky_loss losses[] = {
        { KY_LOSS_CATEGORICAL, 0 }, { KY_LOSS_CATEGORICAL, 0.1 }, { KY_LOSS_BINARY, 0 },
        { KY_LOSS_BINARY, 0.2 },    { KY_LOSS_MSE, 0 },           { KY_LOSS_MAE, 0 },
        { KY_LOSS_HUBER, 0 },
    };
    const ky_kernels *k = ky_kernels_get();
    const int32_t y[2] = { 2, 0 };
    const float labels[6] = { 1, 0, 1, 0, 0, 1 }, values[6] = { 0.5f, 4, 2.75f, 0, -1.25f, -0.5f };
    const ky_real weight[2] = { 3, 0.5 };
    const double h = 1e-6;

    (void)state;
    for (size_t i = 0; i < sizeof(losses) / sizeof(*losses); i++) {
        const ky_loss *l = losses + i;
        const ky_wanted w = { .y = y,
                              .target = l->kind == KY_LOSS_BINARY ? labels : values,
                              .weight = weight };
        ky_real z[6] = { 1, 2, 3, 0.5, -1, 0.25 }, dz[6], other[6];
        double seen, f[2];

        ky_loss_rows(l, k, z, &w, 1, dz, &seen, 2, 3);
        for (int at = 0; at < 6; at++) {
            ky_real was = z[at];

            for (int side = 0; side < 2; side++) {
                z[at] = side == 0 ? was + h : was - h;
                f[side] = ky_loss_rows(l, k, z, &w, 1, other, &seen, 2, 3);
            }
            z[at] = was;
            assert_true(fabs((f[0] - f[1]) / (2 * h) - dz[at]) < 1e-8);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_every_layer_agree_with_central_differences),
        cmocka_unit_test(every_activation_has_its_slope),
        cmocka_unit_test(a_frozen_normalisation_passes_the_gradient_of_fixed_statistics),
        cmocka_unit_test(the_moving_statistics_of_a_batch_come_back_through_dw),
        cmocka_unit_test(masked_steps_have_no_gradient),
        cmocka_unit_test(gradients_hold_for_recurrent_layers_that_start_from_a_state),
        cmocka_unit_test(a_cell_drops_the_same_at_every_step_at_its_rate),
        cmocka_unit_test(gradients_of_every_loss_agree_with_central_differences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
