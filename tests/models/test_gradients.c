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

#include "models/gradient.h"
#include "models/loss.h"
#include "tests/full.h"
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

/* Of the longest arrays a sample does, from every gate. */
static size_t stride_of(size_t len)
{
    return len > 6000 && !ky_test_full() ? 29 : 1;
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

            for (size_t n = 0; v->trainable && n < v->len; n += stride_of(v->len))
                wrong += !agrees(m, p, x, R, &w[n], dw[w - m->weights + n], v->name, n);
        }
    return wrong;
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
        int wrong = wrong_gradients(&net_cases[i], true);

        if (wrong > 0)
            fail_msg("%s: %d gradients", net_cases[i].spec, wrong);
    }
}

static bool has_case(const char *class_name)
{
    size_t len = strlen(class_name);

    for (int i = 0; i < NET_CASES; i++)
        for (const char *at = net_cases[i].spec; (at = strstr(at, class_name)) != NULL; at += len)
            if ((at == net_cases[i].spec || at[-1] == ' ') && strchr(" ;", at[len]) != NULL)
                return true;
    return false;
}

static void every_layer_of_the_table_has_a_way_back_and_a_case(void **state)
{
    (void)state;
    for (const ky_layer_ops *const *ops = ky_layer_table; *ops != NULL; ops++)
        if ((*ops)->backward == NULL || !has_case((*ops)->class_name))
            fail_msg("%s", (*ops)->class_name);
}

/* As a layer, as part of one that multiplies, and inside of cells. */
static void every_activation_has_its_slope(void **state)
{
    static const char *const layers[] = {
        "Activation activation",
        "Dense units=5 activation",
        "Conv1D filters=4 kernel_size=2 groups=2 padding=same activation",
        "SeparableConv1D filters=3 kernel_size=2 activation",
        "SimpleRNN units=3 return_sequences=1 activation",
        "GRU units=2 activation",
        "GRU units=2 recurrent_activation",
        "GRU units=2 reset_after=1 activation",
        "GRU units=2 reset_after=1 recurrent_activation",
        "LSTM units=2 return_sequences=1 activation",
        "LSTM units=2 recurrent_activation",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(layers) / sizeof(*layers); i++)
        for (int a = 0; a <= KY_LOG_SOFTMAX; a++) {
            char spec[96];
            int wrong;

            snprintf(spec, sizeof(spec), "%s=%d", layers[i], a);
            wrong = wrong_gradients(&(net_case){ spec, 3, i < 4 ? 4 : 2 }, true);
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

/* -- of whole models, as they are trained ------------------------------------------------- */

enum { BATCH = 18, STEPS = 4, VALUES = 2, WIDTH = 2 }; /* two shards of 9 rows */

/* A model in training, and a batch of it. */
typedef struct whole {
    ky_model *m;
    ky_pool *pool;
    ky_gradient *g;
    ky_batch b;
    float x[BATCH][STEPS * VALUES], target[BATCH * WIDTH];
    const float *row[BATCH];
    int32_t y[BATCH];
    ky_real weight[BATCH], *states, *state[BATCH];
} whole;

static void set_whole(whole *t, const char *spec, enum ky_loss_kind kind, bool carried)
{
    const ky_loss loss = { .kind = kind };
    ky_rng rng;

    assert_int_equal(net_build(spec, STEPS, VALUES, ky_kernels_get(), true, &t->m, NULL), KY_OK);
    t->pool = ky_pool_new(1);
    assert_int_equal(ky_gradient_new(t->m, &loss, STEPS, BATCH, carried, t->pool, &t->g, NULL),
                     KY_OK);
    ky_rng_seed(&rng, 5);
    t->states = net_reals(BATCH * (ky_gradient_state_reals(t->g) + 1));
    for (int r = 0; r < BATCH; r++) {
        for (int i = 0; i < STEPS * VALUES; i++) /* a step now and then is masked */
            t->x[r][i] = r % 3 == 0 && i / VALUES == 2 ? 0 : (float)ky_rng_normal(&rng);
        for (int i = 0; i < WIDTH; i++)
            t->target[r * WIDTH + i] = (float)ky_rng_normal(&rng);
        t->row[r] = t->x[r];
        t->y[r] = r % WIDTH;
        t->weight[r] = 0.5 + r % 4;
        t->state[r] = t->states + (size_t)r * ky_gradient_state_reals(t->g);
    }
    t->b = (ky_batch){ .x = t->row,
                       .y = t->y,
                       .target = kind == KY_LOSS_CATEGORICAL ? NULL : t->target,
                       .weight = t->weight,
                       .state = carried ? t->state : NULL,
                       .n = BATCH,
                       .seed = 3 };
}

static void clear_whole(whole *t)
{
    ky_gradient_free(t->g);
    ky_pool_free(t->pool);
    ky_model_free(t->m);
    free(t->states);
}

/* The mean loss of the batch from the same states each time. */
static double loss_of_whole(whole *t)
{
    double measure;

    assert_int_equal(ky_model_pack(t->m, NULL), KY_OK);
    net_inputs(t->states, BATCH * ky_gradient_state_reals(t->g), 8, false);
    return ky_gradient_batch(t->g, &t->b, &measure) / BATCH;
}

static int wrong_in_a_batch(const char *spec, enum ky_loss_kind kind, bool carried)
{
    const double h = 1e-5;
    whole t;
    ky_real *dw;
    int wrong = 0;

    set_whole(&t, spec, kind, carried);
    dw = net_reals(t.m->n_weights);
    loss_of_whole(&t);
    memcpy(dw, ky_gradient_sum(t.g, 0, t.m->n_weights), t.m->n_weights * sizeof(*dw));
    for (size_t i = 0; i < t.m->n_weights; i++) {
        double w = t.m->weights[i], f[2];

        for (int side = 0; side < 2; side++) {
            t.m->weights[i] = side == 0 ? w + h : w - h;
            f[side] = loss_of_whole(&t);
        }
        t.m->weights[i] = w;
        wrong += !(fabs((f[0] - f[1]) / (2 * h) - dw[i]) < 1e-6 * (1 + fabs(dw[i])));
    }
    clear_whole(&t);
    free(dw);
    return wrong;
}

/* Activities that cost something: where their tensor is read twice, masked, dropped, the answer
 * itself, or in front of all that learns; states that go on from before. */
static void gradients_of_whole_models_are_those_of_a_batch(void **state)
{
    static const struct {
        const char *spec;
        enum ky_loss_kind kind;
        bool carried;
    } cases[] = {
        { "ActivityRegularization l1=0.5 l2=0.25; a: Dense units=3 activation=tanh; b: "
          "ActivityRegularization l1=0.3 l2=0.2; c: Dropout rate=0.3 @b; Add @b,c; "
          "LSTM units=3 activation=gelu; Dense units=2 activation=softmax",
          KY_LOSS_CATEGORICAL, false },
        { "Masking; GRU units=3 return_sequences=1 activation=mish reset_after=1; "
          "ActivityRegularization l1=0.1 l2=0.3; SimpleRNN units=2 activation=silu; "
          "ActivityRegularization l2=0.4",
          KY_LOSS_MSE, false },
        { "a: Bidirectional merge_mode=forward of LSTM units=2 return_sequences=1; =a "
          "merge_mode=backward; Multiply @a,bidirectional; ActivityRegularization l1=0.2; Flatten; "
          "Dense units=2",
          KY_LOSS_HUBER, false },
        { "LSTM units=3 return_sequences=1 recurrent_activation=softplus; ActivityRegularization "
          "l2=0.3; GRU units=2 activation=softsign; Dense units=2 activation=gelu",
          KY_LOSS_MSE, true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        if (wrong_in_a_batch(cases[i].spec, cases[i].kind, cases[i].carried) > 0)
            fail_msg("%s", cases[i].spec);
}

/* Keras 3: l1 times the sum of |x| plus l2 times that of x^2, over the rows of the batch. */
static void activities_cost_what_they_cost_in_keras(void **state)
{
    whole with, without;
    double want = 0;

    (void)state;
    set_whole(&with,
              "Dropout rate=0.5; ActivityRegularization l1=0.5 l2=0.25; Flatten; Dense "
              "units=2",
              KY_LOSS_MSE, false);
    set_whole(&without, "Dropout rate=0.5; Flatten; Dense units=2", KY_LOSS_MSE, false);
    for (int r = 0; r < BATCH; r++)
        for (int i = 0; i < STEPS * VALUES; i++)
            want += 0.5 * fabs((double)with.x[r][i]) + 0.25 * with.x[r][i] * with.x[r][i];

    assert_true(ky_gradient_penalizes(with.g) && !ky_gradient_penalizes(without.g));
    assert_true(fabs(ky_gradient_penalty(with.g, &with.b) - want) < 1e-9);
    assert_true(ky_gradient_penalty(without.g, &without.b) == 0);
    /* of what a rate of one half lets through and doubles: half of |x|, twice x^2, about */
    assert_true(loss_of_whole(&with) - loss_of_whole(&without) > 0.7 * want / BATCH);
    clear_whole(&with);
    clear_whole(&without);
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
        "LSTM units=3",
        "LSTM units=3 activation=sigmoid",
        "GRU units=3",
        "GRU units=3 reset_after=1",
        "SimpleRNN units=3",
        "LSTM units=3 activation=gelu recurrent_activation=mish",
        "GRU units=3 reset_after=1 activation=silu recurrent_activation=hard_silu",
        "SimpleRNN units=3 activation=softplus",
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
        cmocka_unit_test(every_layer_of_the_table_has_a_way_back_and_a_case),
        cmocka_unit_test(every_activation_has_its_slope),
        cmocka_unit_test(a_frozen_normalisation_passes_the_gradient_of_fixed_statistics),
        cmocka_unit_test(the_moving_statistics_of_a_batch_come_back_through_dw),
        cmocka_unit_test(gradients_of_whole_models_are_those_of_a_batch),
        cmocka_unit_test(activities_cost_what_they_cost_in_keras),
        cmocka_unit_test(masked_steps_have_no_gradient),
        cmocka_unit_test(gradients_hold_for_recurrent_layers_that_start_from_a_state),
        cmocka_unit_test(a_cell_drops_the_same_at_every_step_at_its_rate),
        cmocka_unit_test(gradients_of_every_loss_agree_with_central_differences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
