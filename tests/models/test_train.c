#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/gradient.h"
#include "models/loss.h"
#include "models/optim.h"
#include "models/schedule.h"
#include "models/split.h"
#include "models/train.h"
#include "tests/models/net.h"
#include "tests/models/source.h"

/* -- data that are made up ------------------------------------------------------------ */

typedef struct made {
    ky_dataset d;
    float *x;
    int32_t *y;
    uint32_t *group;
} made;

static made make(int n, int steps, int features, int classes)
{
    made m = { .x = calloc((size_t)n * (size_t)steps * (size_t)features, sizeof(float)),
               .y = calloc((size_t)n, sizeof(int32_t)),
               .group = calloc((size_t)n, sizeof(uint32_t)) };

    assert_true(m.x != NULL && m.y != NULL && m.group != NULL);
    m.d = (ky_dataset){ .N = n, .T = steps, .F = features, .C = classes, .x = m.x, .y = m.y };
    return m;
}

static void unmake(made *m)
{
    free(m->x);
    free(m->y);
    free(m->group);
}

/* Class c turns at its own speed: tones with noise, 12 steps of 2 values. */
static made tones(int n, uint64_t seed)
{
    made m = make(n, 12, 2, 3);
    ky_rng rng;

    ky_rng_seed(&rng, seed);
    for (int i = 0; i < n; i++) {
        double phase = 6.28 * ky_rng_uniform(&rng);

        m.y[i] = i % 3;
        for (int t = 0; t < 12; t++) {
            double a = phase + (0.3 + 0.6 * m.y[i]) * t;

            m.x[(i * 12 + t) * 2] = (float)(100 + 5 * sin(a) + 0.5 * ky_rng_normal(&rng));
            m.x[(i * 12 + t) * 2 + 1] = (float)(0.02 * cos(a) + 0.002 * ky_rng_normal(&rng));
        }
    }
    return m;
}

/*
 * Streams of `windows` windows of 4 steps. The first window shows what the whole stream is,
 * the others are noise: without memory beyond a window they can only be guessed.
 */
static made remember(int streams, int windows, uint64_t seed)
{
    made m = make(streams * windows, 4, 1, 2);
    ky_rng rng;

    ky_rng_seed(&rng, seed);
    for (int s = 0; s < streams; s++) {
        int class = (int)ky_rng_below(&rng, 2);

        for (int w = 0; w < windows; w++) {
            int row = s * windows + w;

            m.y[row] = class;
            m.group[row] = (uint32_t)s;
            for (int t = 0; t < 4; t++)
                m.x[row * 4 + t] =
                    (float)((w == 0 ? 2 * class - 1 : 0) + 0.1 * ky_rng_normal(&rng));
        }
    }
    m.d.group = m.group;
    return m;
}

static ky_model *build_for(const char *arch, int T, int F, int C, uint64_t seed)
{
    ky_shape input = { .rank = 2, .d = { T, F }, .timed = true };
    ky_model *m = NULL;
    ky_err err = { 0 };

    if (ky_arch_build(arch, &input, C, true, &m, &err) != KY_OK)
        fail_msg("%s", err.text);
    ky_model_init(m, seed);
    return m;
}

/* An architecture's text, or one of net.h's, with semicolons. */
static ky_model *build(const char *arch, const ky_dataset *d, uint64_t seed)
{
    ky_model *m;

    if (strchr(arch, ';') != NULL) {
        assert_int_equal(net_build(arch, d->T, d->F, ky_kernels_get(), false, &m, NULL), KY_OK);
        ky_model_init(m, seed);
        return m;
    }
    return build_for(arch, d->T, d->F, d->C, seed);
}

static ky_train_opts options(int epochs)
{
    ky_train_opts o;

    ky_train_defaults(&o);
    o.epochs = epochs;
    o.patience = epochs;
    o.batch = 16;
    o.threads = 1;
    return o;
}

static ky_train_result train(ky_model *m, const ky_dataset *d, const ky_train_opts *o)
{
    ky_train_result r;
    ky_err err = { 0 };

    if (ky_train(m, d, o, &r, &err) != KY_OK)
        fail_msg("%s", err.text);
    return r;
}

static double accuracy(const ky_model *m, const ky_dataset *d)
{
    ky_score s;
    ky_err err = { 0 };

    if (ky_evaluate(m, d, 1, &s, &err) != KY_OK)
        fail_msg("%s", err.text);
    free(s.confusion);
    return s.accuracy;
}

/* -- loss and optimizer ----------------------------------------------------------------- */

static const ky_loss categorical = { .kind = KY_LOSS_CATEGORICAL };

static void softmax_loss_is_that_worked_out_by_hand(void **state)
{
    (void)state;
    const ky_real z[] = { 1, 2, 3, 0, 0, 0 };
    const int32_t y[] = { 2, 0 };
    const ky_wanted w = { .y = y };
    ky_real dz[6];
    double hits;

    double l = ky_loss_rows(&categorical, ky_kernels_get(), z, &w, (ky_real)0.5, dz, &hits, 2, 3);

    /* -log(e^3 / (e + e^2 + e^3)) and log 3; float probabilities are good to 1e-6 */
    assert_float_equal(l, 0.4076059644 + 1.0986122887, 2e-6);
    assert_float_equal(dz[0], 0.0900305732 / 2, 1e-6);
    assert_float_equal(dz[1], 0.2447284711 / 2, 1e-6);
    assert_float_equal(dz[2], (0.6652409558 - 1) / 2, 1e-6);
    assert_float_equal(dz[3], (1 / 3.0 - 1) / 2, 1e-6);
    assert_float_equal(dz[5], 1 / 6.0, 1e-6);
    assert_true(hits == 2); /* of equal ones the first is said */
}

static void a_row_that_is_utterly_wrong_keeps_its_gradient(void **state)
{
    (void)state;
    const ky_real z[] = { 0, 200 };
    const int32_t y[] = { 0 };
    const ky_wanted w = { .y = y };
    ky_real dz[2];
    double hits;

    double l = ky_loss_rows(&categorical, ky_kernels_get(), z, &w, 1, dz, &hits, 1, 2);

    assert_float_equal(l, 16.1180956510, 1e-6); /* -log 1e-7 */
    assert_float_equal(dz[0], -1, 1e-7);
    assert_float_equal(dz[1], 1, 1e-7);
    assert_true(hits == 0);
}

static void sigmoid_loss_is_that_worked_out_by_hand(void **state)
{
    (void)state;
    const ky_loss binary = { .kind = KY_LOSS_BINARY };
    const ky_real z[] = { 0.5f, 0.5f };
    const int32_t y[] = { 1, 0 };
    const ky_wanted w = { .y = y };
    ky_real dz[2];
    double hits;

    double l = ky_loss_rows(&binary, ky_kernels_get(), z, &w, 1, dz, &hits, 2, 1);

    assert_float_equal(l, 0.4740769842 + 0.9740769842, 2e-6);
    assert_float_equal(dz[0], 0.6224593312 - 1, 1e-6);
    assert_float_equal(dz[1], 0.6224593312, 1e-6);
    assert_true(hits == 1);
}

/* Means of two rows, from Keras 3.15; the logits' answers are p = softmax(z) or sigmoid(z). */
static void losses_are_those_of_keras(void **state)
{
    (void)state;
    const ky_real z[] = { 1, 2, 3, 0.5f, -1, 0.25f };
    const float labels[] = { 1, 0, 1, 0, 0, 1 }, values[] = { 0.5f, 4, 2.75f, 0, -1, -0.5f };
    const int32_t y[] = { 2, 0 };
    const struct {
        ky_loss loss;
        const float *target;
        double want, measure;
    } cases[] = {
        { { KY_LOSS_CATEGORICAL, 0 }, NULL, 0.5508591532707214, 1 },
        { { KY_LOSS_CATEGORICAL, 0.1 }, NULL, 0.6300258636474609, 1 },
        { { KY_LOSS_BINARY, 0 }, labels, 0.7253425121307373, 4 / 6.0 },
        { { KY_LOSS_BINARY, 0.2 }, labels, 0.771175742149353, 4 / 6.0 },
        { { KY_LOSS_MSE, 0 }, values, 0.8541666865348816, 4 / 6.0 },
        { { KY_LOSS_MAE, 0 }, values, 0.6666666865348816, 4 / 6.0 },
        { { KY_LOSS_HUBER, 0 }, values, 0.34375, 4 / 6.0 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ky_loss *l = &cases[i].loss;
        const ky_wanted w = { .y = y, .target = cases[i].target };
        const ky_kernels *k = ky_kernels_get();
        ky_real dz[6];
        float p[6];
        double seen;

        double sum = ky_loss_rows(l, k, z, &w, 1, dz, &seen, 2, 3);
        assert_float_equal(sum / 2, cases[i].want, 1e-6);
        assert_float_equal(seen / 2, cases[i].measure, 1e-6);

        memcpy(p, z, sizeof p);
        if (l->kind == KY_LOSS_CATEGORICAL)
            k->softmax(2, 3, z, 3, p, 3);
        else if (l->kind == KY_LOSS_BINARY)
            k->activate(KY_SIGMOID, z, p, 6);
        assert_float_equal(ky_loss_answers(l, p, &w, &seen, 2, 3), cases[i].want, 1e-6);
        assert_float_equal(seen, cases[i].measure, 1e-6);
    }
}

static void a_row_counts_by_its_weight(void **state)
{
    (void)state;
    const ky_real z[] = { 1, 2, 3, 0, 0, 0 }, weight[] = { 3, 0.5f };
    const int32_t y[] = { 2, 0 };
    const ky_wanted w = { .y = y, .weight = weight };
    ky_real dz[6];
    double hits;

    double l = ky_loss_rows(&categorical, ky_kernels_get(), z, &w, 1, dz, &hits, 2, 3);

    assert_float_equal(l, 3 * 0.4076059644 + 0.5 * 1.0986122887, 2e-6);
    assert_float_equal(dz[0], 3 * 0.0900305732, 1e-6);
    assert_float_equal(dz[5], 0.5 / 3, 1e-6);
    assert_true(hits == 2);
}

/* Two weights, 1 and -0.5, after gradients (0.5,-0.2), (-0.2,0.1), (3,-1) at the learning rate
 * 0.1, as Keras 3.15 has them after each. */
static void optimizers_step_as_those_of_keras(void **state)
{
    (void)state;
    const ky_real g[3][2] = { { 0.5f, -0.2f }, { -0.2f, 0.1f }, { 3, -1 } };
    const struct {
        ky_optim_opts o;
        double want[3][2];
    } cases[] = {
        { { .kind = KY_ADAM },
          { { 0.9000012874603271, -0.40000224113464355 },
            { 0.8654412627220154, -0.3733691871166229 },
            { 0.7978475093841553, -0.30653634667396545 } } },
        { { .kind = KY_ADAMW, .weight_decay = 0.004 },
          { { 0.8996012806892395, -0.39980223774909973 },
            { 0.8646814227104187, -0.37300926446914673 },
            { 0.796741783618927, -0.30602723360061646 } } },
        { { .kind = KY_SGD },
          { { 0.949999988079071, -0.47999998927116394 },
            { 0.9699999690055847, -0.4899999797344208 },
            { 0.6699999570846558, -0.38999998569488525 } } },
        { { .kind = KY_SGD, .momentum = 0.9 },
          { { 0.949999988079071, -0.47999998927116394 },
            { 0.925000011920929, -0.47200000286102295 },
            { 0.6024999618530273, -0.36480000615119934 } } },
        { { .kind = KY_SGD, .momentum = 0.9, .nesterov = true },
          { { 0.9049999713897705, -0.4620000123977661 },
            { 0.9024999737739563, -0.46480000019073486 },
            { 0.31224995851516724, -0.2683199942111969 } } },
        { { .kind = KY_SGD, .weight_decay = 0.1 },
          { { 0.9399999976158142, -0.4749999940395355 },
            { 0.9505999684333801, -0.48024997115135193 },
            { 0.6410939693450928, -0.37544748187065125 } } },
        { { .kind = KY_RMSPROP, .rho = 0.9 },
          { { 0.68377286195755, -0.18377617001533508 },
            { 0.8066316843032837, -0.3312165439128876 },
            { 0.4945124685764313, -0.021338343620300293 } } },
        { { .kind = KY_RMSPROP, .rho = 0.9, .momentum = 0.9 },
          { { 0.68377286195755, -0.18377617001533508 },
            { 0.5220272541046143, -0.04661509394645691 },
            { 0.06433695554733276, 0.3867080807685852 } } },
        { { .kind = KY_RMSPROP, .rho = 0.9, .centered = true },
          { { 0.6666674017906189, -0.1666712760925293 },
            { 0.7910011410713196, -0.31514811515808105 },
            { 0.45967501401901245, 0.013386696577072144 } } },
        { { .kind = KY_RMSPROP, .rho = 0.9, .centered = true, .momentum = 0.5 },
          { { 0.6666674017906189, -0.1666712760925293 },
            { 0.6243348121643066, -0.1484837532043457 },
            { 0.27184242010116577, 0.1891448199748993 } } },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ky_real w[] = { 7, 1, -0.5f, 7 };
        ky_optim a;
        assert_int_equal(ky_optim_init(&a, &cases[i].o, 4, NULL), KY_OK);

        for (int step = 0; step < 3; step++) {
            ky_optim_begin(&a, 0.1);
            ky_optim_apply(&a, ky_kernels_get(), 1, 2, w + 1, g[step]);
            for (int j = 0; j < 2; j++) /* a few roundings of floats near 1 */
                assert_float_equal(w[1 + j], cases[i].want[step][j], 4e-6);
        }
        assert_true(w[0] == 7 && w[3] == 7);
        ky_optim_done(&a);
    }
}

static void the_rate_falls_along_a_cosine_as_in_keras(void **state)
{
    (void)state;
    ky_rate r = { .kind = KY_DECAY_COSINE, .first = 0.1 };
    assert_int_equal(ky_rate_init(&r, NULL), KY_OK);

    /* CosineDecay(0.1, 10) of Keras 3.15 at steps 0, 1, 5, 9, in floats */
    assert_float_equal(ky_rate_at(&r, 0), 0.1, 1e-15);
    assert_float_equal(ky_rate_at(&r, 0.1), 0.0975528284907341, 2e-8);
    assert_float_equal(ky_rate_at(&r, 0.5), 0.05, 1e-15);
    assert_float_equal(ky_rate_at(&r, 0.9), 0.0024471760261803865, 2e-8);
}

static void the_rate_falls_by_epochs_or_where_the_loss_stays(void **state)
{
    (void)state;
    /* 0.49995 is not lower than 0.5 by 1e-4: the second epoch of three that stay */
    const double losses[] = { 1, 0.5, 0.6, 0.49995, 0.7, 0.4, 0.5, 0.5 };
    const double plateau[] = { 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25 };
    ky_rate p = { .kind = KY_DECAY_PLATEAU, .first = 1, .factor = 0.5, .patience = 2 };
    ky_rate e = { .kind = KY_DECAY_EXPONENTIAL, .first = 1, .factor = 0.5 };
    ky_rate c = { .kind = KY_DECAY_NONE, .first = 1 };
    double power = 1;
    assert_int_equal(ky_rate_init(&p, NULL), KY_OK);
    assert_int_equal(ky_rate_init(&e, NULL), KY_OK);
    assert_int_equal(ky_rate_init(&c, NULL), KY_OK);

    for (int i = 0; i < 8; i++) {
        assert_true(ky_rate_at(&e, i / 8.0) == power);
        ky_rate_next(&p, losses[i]);
        ky_rate_next(&e, losses[i]);
        ky_rate_next(&c, losses[i]);
        power /= 2;
        assert_true(ky_rate_at(&p, (i + 1) / 8.0) == plateau[i]);
        assert_true(ky_rate_at(&c, (i + 1) / 8.0) == 1);
    }
}

/* -- gradient of a whole model ------------------------------------------------------------ */

/* Along a random direction the loss changes as the gradient says. */
static void loss_changes_along_the_gradient(const char *arch, int classes)
{
    made t = tones(40, 5);
    for (int i = 0; i < 40; i++)
        t.y[i] %= classes;
    t.d.C = classes;
    ky_model *m = build(arch, &t.d, 3);
    ky_pool *pool = ky_pool_new(1);
    ky_gradient *g = NULL;
    const float *row[40];
    ky_rng rng;
    ky_real *dir = calloc(m->n_weights, sizeof *dir), *w0 = calloc(m->n_weights, sizeof *w0);
    double slope = 0, loss[2];
    const double eps = 2e-3;
    double hits;
    for (int i = 0; i < 40; i++)
        row[i] = ky_dataset_row(&t.d, i);
    const ky_batch b = { .x = row, .y = t.y, .n = 40, .seed = 1 };
    /* values near one, as the input layer would make them */
    for (int i = 0; i < 40 * 12; i++) {
        t.x[2 * i] = (t.x[2 * i] - 100) / 5;
        t.x[2 * i + 1] /= 0.02f;
    }
    m->training = true;
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    const ky_loss by_outputs = ky_gradient_loss(m);
    assert_int_equal(ky_gradient_new(m, &by_outputs, 12, 40, false, pool, &g, NULL), KY_OK);
    memcpy(w0, m->weights, m->n_weights * sizeof *w0);
    ky_rng_seed(&rng, 2);

    ky_gradient_batch(g, &b, &hits);
    const ky_real *dw = ky_gradient_sum(g, 0, m->n_weights);
    for (int i = 1; i < m->n_layers; i++)
        for (size_t j = 0; j < m->layers[i].weight_reals; j++) {
            size_t at = m->layers[i].weights_at + j;

            dir[at] = (ky_real)ky_rng_normal(&rng);
            slope += (double)dir[at] * (double)dw[at];
        }
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < m->n_weights; i++)
            m->weights[i] = w0[i] + (ky_real)((side == 0 ? -eps : eps) * dir[i]);
        ky_model_pack(m, NULL);
        loss[side] = ky_gradient_batch(g, &b, &hits) / 40;
    }

    /* a central difference of float losses: about 1e-6/eps of noise, and eps^2 of bend */
    assert_float_equal((loss[1] - loss[0]) / (2 * eps), slope, 1e-3 + 0.02 * fabs(slope));
    assert_true(fabs(slope) > 0.01);
    ky_gradient_free(g);
    ky_pool_free(pool);
    ky_model_free(m);
    free(dir);
    free(w0);
    unmake(&t);
}

static void gradients_of_whole_models_are_those_of_the_loss(void **state)
{
    (void)state;

    loss_changes_along_the_gradient("lstm:5, dense", 3);
    loss_changes_along_the_gradient("lstm:4, lstm:5, dense:4 tanh, dense", 3);
    loss_changes_along_the_gradient("gru:5, rnn:4, dense", 3);
    loss_changes_along_the_gradient("bi(lstm:3), bi(gru:2), dense", 3);
    loss_changes_along_the_gradient("conv1d:6x3 tanh, avgpool:2, flatten, dense", 3);
    loss_changes_along_the_gradient("conv1d:6x3 tanh, gap, dense:1", 2);
}

/* -- training ----------------------------------------------------------------------------- */

static void a_separable_problem_is_learned(void **state)
{
    (void)state;
    static const char *const archs[] = {
        "lstm:16, dense", "conv1d:16x3 relu, dropout:0.2, maxpool:2, flatten, dense"
    };
    made t = tones(240, 1), fresh = tones(90, 2);
    ky_train_opts o = options(40);
    o.learning_rate = 1e-2;

    for (int i = 0; i < 2; i++) {
        ky_model *m = build(archs[i], &t.d, 1);
        ky_train_result r = train(m, &t.d, &o);

        assert_true(accuracy(m, &fresh.d) > 0.95);
        assert_true(r.val_accuracy > 0.9);
        ky_json_free(r.history);
        ky_model_free(m);
    }
    unmake(&t);
    unmake(&fresh);
}

/* A residual one, and one that uses a layer twice. */
static void graphs_are_learned(void **state)
{
    (void)state;
    static const char *const nets[] = {
        "n: BatchNormalization; a: Conv1D filters=12 kernel_size=3 padding=same activation=relu; "
        "b: Conv1D filters=12 kernel_size=3 padding=same activation=relu; Add @a,b; "
        "GlobalAveragePooling1D; Dense units=3 activation=softmax",
        "n: BatchNormalization; Dense units=12; a: Conv1D filters=12 kernel_size=3 padding=same "
        "activation=relu; =a; GlobalAveragePooling1D; Dense units=3 activation=softmax",
    };
    made t = tones(240, 1), fresh = tones(90, 2);
    ky_train_opts o = options(40);
    o.learning_rate = 1e-2;

    for (int i = 0; i < 2; i++) {
        ky_model *m = build(nets[i], &t.d, 1);
        ky_train_result r = train(m, &t.d, &o);

        if (!(accuracy(m, &fresh.d) > 0.95))
            fail_msg("%s: %g", nets[i], accuracy(m, &fresh.d));
        ky_json_free(r.history);
        ky_model_free(m);
    }
    unmake(&t);
    unmake(&fresh);
}

static void two_classes_are_learned_with_one_output(void **state)
{
    (void)state;
    made t = tones(150, 1), fresh = tones(60, 2);
    for (int i = 0; i < 150; i++)
        t.y[i] = t.y[i] == 2;
    for (int i = 0; i < 60; i++)
        fresh.y[i] = fresh.y[i] == 2;
    t.d.C = fresh.d.C = 2;
    ky_train_opts o = options(40);
    o.learning_rate = 1e-2;
    ky_model *m = build("lstm:12, dense:1", &t.d, 1);
    ky_train_result r = train(m, &t.d, &o);

    assert_int_equal(m->info.outputs, 1);
    assert_true(accuracy(m, &fresh.d) > 0.95);
    ky_json_free(r.history);
    ky_model_free(m);
    unmake(&t);
    unmake(&fresh);
}

static void learned_with(const char *arch, const ky_dataset *d, const ky_train_opts *given,
                         int threads, uint64_t seed, ky_real **ret, size_t *n)
{
    ky_model *m = build(arch, d, seed);
    ky_train_opts o = *given;
    o.threads = threads;
    o.seed = seed;
    o.batch = 40; /* shards of 14, 14 and 12 rows */
    ky_train_result r = train(m, d, &o);

    *n = m->n_weights;
    *ret = malloc(*n * sizeof **ret);
    memcpy(*ret, m->weights, *n * sizeof **ret);
    ky_json_free(r.history);
    ky_model_free(m);
}

static void learned_weights(const char *arch, const ky_dataset *d, int threads, uint64_t seed,
                            ky_real **ret, size_t *n)
{
    ky_train_opts o = options(2);

    learned_with(arch, d, &o, threads, seed, ret, n);
}

/* Each layer that learns, draws or keeps statistics. */
static const char mixed[] =
    "conv1d:6x3 relu, bn, dropout:0.3, maxpool:2, bi(gru:4), rnn:5, lstm:7, dropout:0.2, "
    "dense:5 tanh, dense";

static void the_same_seed_gives_the_same_bytes_with_any_threads_and_kernels(void **state)
{
    (void)state;
    const char *was = ky_kernels_get()->name;
    made t = tones(120, 1);
    ky_real *first, *w;
    size_t n;
    learned_weights(mixed, &t.d, 1, 4, &first, &n);

    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        assert_true(ky_kernels_use((*k)->name));
        for (int threads = 1; threads <= 3; threads++) {
            learned_weights(mixed, &t.d, threads, 4, &w, &n);
            assert_memory_equal(first, w, n * sizeof *w);
            free(w);
        }
    }
    assert_true(ky_kernels_use(was));
    learned_weights(mixed, &t.d, 1, 5, &w, &n);
    assert_memory_not_equal(first, w, n * sizeof *w);
    free(w);
    free(first);
    unmake(&t);
}

/* A row of options for each optimizer, and for each thing that is done to a gradient. */
static void set_options(int i, ky_train_opts *o)
{
    *o = options(2);
    o->clip_norm = 0;
    if (i < 4)
        ky_optim_defaults((enum ky_optimizer)i, &o->optim);
    if (i == 4) {
        ky_optim_defaults(KY_SGD, &o->optim);
        o->optim.momentum = 0.9;
        o->optim.nesterov = true;
        o->clip_array = 0.1;
        o->rate = (ky_rate){ .kind = KY_DECAY_COSINE };
    }
    if (i == 5) {
        ky_optim_defaults(KY_RMSPROP, &o->optim);
        o->optim.momentum = 0.5;
        o->optim.centered = true;
        o->optim.weight_decay = 0.01;
        o->clip_value = 0.05;
        o->l1 = 1e-3;
        o->l2 = 1e-3;
        o->balanced = true;
        o->loss.smoothing = 0.1;
    }
}

static void every_way_of_learning_gives_the_same_bytes_everywhere(void **state)
{
    (void)state;
    const char *was = ky_kernels_get()->name;
    made t = tones(120, 1);
    ky_real *first[6], *w;
    size_t n;

    for (int i = 0; i < 6; i++) {
        ky_train_opts o;
        set_options(i, &o);
        learned_with(mixed, &t.d, &o, 1, 4, &first[i], &n);
        for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
            assert_true(ky_kernels_use((*k)->name));
            learned_with(mixed, &t.d, &o, 3, 4, &w, &n);
            assert_memory_equal(first[i], w, n * sizeof *w);
            free(w);
        }
        assert_true(ky_kernels_use(was));
        for (int before = 0; before < i; before++)
            assert_memory_not_equal(first[before], first[i], n * sizeof *w);
    }
    for (int i = 0; i < 6; i++)
        free(first[i]);
    unmake(&t);
}

/* What the defaults learned before there was anything else to choose, on numbers that no C library
 * has a hand in. */
static void defaults_learn_the_bytes_they_always_have(void **state)
{
    (void)state;
    made t = make(60, 8, 2, 3);
    ky_real *w;
    size_t n;
    ky_rng rng;
    ky_rng_seed(&rng, 11);
    for (int i = 0; i < 60 * 16; i++)
        t.x[i] = (float)ky_rng_uniform(&rng);
    for (int i = 0; i < 60; i++) {
        t.y[i] = i % 3;
        t.x[16 * i] += (float)t.y[i];
    }

    learned_weights("conv1d:4x3 relu, lstm:5, dense", &t.d, 2, 3, &w, &n);

    assert_int_equal(ky_hash(KY_HASH0, w, n * sizeof *w), UINT64_C(0x08e71a3810f3bd19));
    free(w);
    unmake(&t);
}

/* Layers with several inputs, that share weights, draw, or normalise; and those of images. */
static const char *const branched[] = {
    "n: BatchNormalization; Dense units=6 activation=mish; a: Dense units=6 activation=gelu; "
    "p: PReLU; =a; l: LayerNormalization; m: Multiply @l,p; Maximum @m,a,l; "
    "SpatialDropout1D rate=0.2; GaussianDropout rate=0.2; AlphaDropout rate=0.1; "
    "h: GaussianNoise stddev=0.1; k: Permute dims=2x1; Dot axes=1x2 normalize=1 @h,k; Flatten; "
    "Dense units=3 activation=softmax",
    "Embedding input_dim=110 output_dim=4; e: Reshape target_shape=-1x8; BatchNormalization "
    "axis=1; b: Dense units=8 activation=softsign; =b; Average @e,b; u: UnitNormalization; "
    "Concatenate @u,e; Subtract @concatenate,concatenate; Add @subtract,concatenate; LSTM units=4; "
    "Dense units=3 activation=softmax",
    "Reshape target_shape=6x4x1; Conv2D filters=18 kernel_size=3x2 padding=same activation=relu; "
    "MaxPooling2D pool_size=2x1; DepthwiseConv2D kernel_size=2 padding=same activation=gelu; "
    "UpSampling2D interpolation=bilinear; ZeroPadding2D; SeparableConv2D filters=8 kernel_size=3 "
    "depth_multiplier=2 activation=tanh; Cropping2D cropping=1; Conv2D filters=20 groups=2 "
    "kernel_size=2 strides=2 activation=silu; AveragePooling2D pool_size=1x2 padding=same; "
    "GlobalAveragePooling2D; Dense units=3 activation=softmax",
};

static void graphs_learn_the_same_bytes_with_any_threads_and_kernels(void **state)
{
    (void)state;
    const char *was = ky_kernels_get()->name;
    made t = tones(120, 1);

    for (int i = 0; i < 3; i++) {
        ky_real *first, *w;
        size_t n;

        learned_weights(branched[i], &t.d, 1, 4, &first, &n);
        for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
            assert_true(ky_kernels_use((*k)->name));
            for (int threads = 1; threads <= 4; threads *= 2) {
                learned_weights(branched[i], &t.d, threads, 4, &w, &n);
                assert_memory_equal(first, w, n * sizeof *w);
                free(w);
            }
        }
        assert_true(ky_kernels_use(was));
        free(first);
    }
    unmake(&t);
}

/* A problem with labels at random is soon learned by heart, and validation gets worse. */
static void the_epoch_best_on_validation_is_kept(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(60);
    ky_rng rng;
    ky_rng_seed(&rng, 9);
    for (int i = 0; i < 60; i++)
        t.y[i] = (int32_t)ky_rng_below(&rng, 3);
    o.learning_rate = 1e-2;
    o.validation = 0.3;
    o.patience = 5;
    ky_model *m = build("lstm:12, dense", &t.d, 1), *shorter = build("lstm:12, dense", &t.d, 1);

    ky_train_result r = train(m, &t.d, &o), s;
    o.epochs = r.best_epoch;
    s = train(shorter, &t.d, &o);

    assert_true(r.stopped_early);
    assert_int_equal(r.epochs_run, r.best_epoch + 5);
    assert_int_equal(ky_json_len(r.history), (size_t)r.epochs_run);
    for (size_t i = 0; i < ky_json_len(r.history); i++)
        assert_true(ky_json_num(ky_json_get(ky_json_at(r.history, i), "val_loss"), 0) >=
                    r.val_loss);
    assert_memory_equal(m->weights, shorter->weights, m->n_weights * sizeof *m->weights);
    assert_int_equal(m->info.hash, shorter->info.hash);
    ky_json_free(r.history);
    ky_json_free(s.history);
    ky_model_free(m);
    ky_model_free(shorter);
    unmake(&t);
}

/* How the rows held out were told of, an epoch at a time. */
typedef struct heard {
    int held, all, epochs;
} heard;

static int hear(const ky_train_progress *p, void *arg)
{
    heard *h = arg;

    if (p->held > 0) {
        assert_int_equal(p->batch, p->batches);
        assert_int_equal(p->rows, p->rows_all);
        assert_true(p->held > h->held && p->held <= p->held_all);
        h->held = p->held;
    } else if (p->batch == p->batches) {
        h->all += h->held == p->held_all;
        h->held = 0;
        h->epochs++;
    }
    return 0;
}

static void rows_held_out_are_told_of_while_they_are_answered(void **state)
{
    (void)state;
    made t = tones(1200, 1);
    heard h = { 0 };
    ky_train_opts o = options(2);
    o.threads = 1;
    o.progress = hear;
    o.arg = &h;
    ky_model *m = build("lstm:2, dense", &t.d, 1);

    ky_train_result r = train(m, &t.d, &o);

    assert_int_equal(h.epochs, 2);
    assert_int_equal(h.all, 2);
    ky_json_free(r.history);
    ky_model_free(m);
    unmake(&t);
}

static int stop_after_two_batches(const ky_train_progress *p, void *arg)
{
    int *calls = arg;

    assert_true(p->batch <= p->batches);
    return ++*calls == 2;
}

static void an_interrupted_training_keeps_what_it_has(void **state)
{
    (void)state;
    made t = tones(120, 1);
    int calls = 0;
    ky_train_opts o = options(10);
    o.progress = stop_after_two_batches;
    o.arg = &calls;
    ky_model *m = build("lstm:4, dense", &t.d, 1);
    ky_real first = m->weights[m->n_weights - 1];

    ky_train_result r = train(m, &t.d, &o);

    assert_int_equal(calls, 2);
    assert_int_equal(r.epochs_run, 1);
    assert_int_equal(r.best_epoch, 1);
    assert_true(m->weights[m->n_weights - 1] != first);
    ky_json_free(r.history);
    ky_model_free(m);
    unmake(&t);
}

/* Far below Adam's epsilon the step is as small as the gradient. */
static void gradients_longer_than_the_norm_are_shortened(void **state)
{
    (void)state;
    made t = tones(60, 1);
    double moved[2] = { 0, 0 };

    for (int i = 0; i < 2; i++) {
        ky_train_opts o = options(1);
        ky_model *m = build("lstm:4, dense", &t.d, 1);
        const ky_layer *dense = m->layers + 2;
        ky_real *w = m->weights + dense->weights_at, *before = malloc(15 * sizeof *before);
        memcpy(before, w, 15 * sizeof *before);
        o.batch = 60; /* one step */
        o.clip_norm = i == 0 ? 0 : 1e-9;

        ky_train_result r = train(m, &t.d, &o);

        for (int j = 0; j < 15; j++)
            moved[i] += fabs((double)w[j] - (double)before[j]) / 15;
        free(before);
        ky_json_free(r.history);
        ky_model_free(m);
    }
    assert_float_equal(moved[0], 1e-3, 1e-4); /* Adam's first step is the learning rate */
    assert_true(moved[1] < 1e-4);
    unmake(&t);
}

/* -- what the gradient becomes before the step ----------------------------------------------- */

enum { LSTM_KERNEL = 2 * 16, LSTM_ALL = 2 * 16 + 4 * 16 + 16, DENSE_KERNEL = 4 * 3 };
enum { ONE_STEP = LSTM_ALL + DENSE_KERNEL + 3 };

/* "lstm:4, dense" behind its normalisation takes one step of SGD at rate 1: the gradient is what
 * it moves by, where the arrays begin at these places. */
static const int arrays[] = {
    0, LSTM_KERNEL, LSTM_ALL - 16, LSTM_ALL, LSTM_ALL + DENSE_KERNEL, ONE_STEP
};

static void one_step(const made *t, const ky_train_opts *given, double *before, double *moved)
{
    ky_train_opts o = *given;
    ky_model *m = build("lstm:4, dense", &t->d, 1);
    const ky_real *w = m->weights + m->layers[1].weights_at;

    for (int i = 0; i < ONE_STEP; i++)
        before[i] = (double)w[i];
    ky_optim_defaults(KY_SGD, &o.optim);
    o.learning_rate = 1;
    o.batch = 1000;
    ky_train_result r = train(m, &t->d, &o);
    for (int i = 0; i < ONE_STEP; i++)
        moved[i] = before[i] - (double)w[i];
    ky_json_free(r.history);
    ky_model_free(m);
}

static double norm_of(const double *g, int from, int to)
{
    double squares = 0;

    for (int i = from; i < to; i++)
        squares += g[i] * g[i];
    return sqrt(squares);
}

static void gradients_are_clipped_by_value_by_array_and_as_a_whole(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(1);
    double w[ONE_STEP], g[ONE_STEP], by[3][ONE_STEP], whole, most = 0;
    o.clip_norm = 0;
    one_step(&t, &o, w, g);
    o.clip_value = 0.01;
    one_step(&t, &o, w, by[0]);
    o.clip_value = 0;
    o.clip_array = 0.05;
    one_step(&t, &o, w, by[1]);
    o.clip_array = 0;
    o.clip_norm = 0.05;
    one_step(&t, &o, w, by[2]);

    whole = norm_of(g, 0, ONE_STEP);
    for (int i = 0; i < ONE_STEP; i++)
        most = fmax(most, fabs(g[i]));
    assert_true(whole > 0.06 && most > 0.02); /* something to clip */
    for (int a = 0; a < 5; a++) {
        double norm = norm_of(g, arrays[a], arrays[a + 1]);

        for (int i = arrays[a]; i < arrays[a + 1]; i++) { /* moved from floats near 1: 1e-7 */
            assert_float_equal(by[0][i], fmax(-0.01, fmin(0.01, g[i])), 5e-7);
            assert_float_equal(by[1][i], g[i] * fmin(1, 0.05 / norm), 5e-7);
            assert_float_equal(by[2][i], g[i] * 0.05 / whole, 5e-7);
        }
    }
    unmake(&t);
}

static void kernels_alone_are_penalized_and_the_loss_says_so(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(1);
    double w[ONE_STEP], g[ONE_STEP], penalized[ONE_STEP], cost = 0, loss[2];
    o.clip_norm = 0;
    one_step(&t, &o, w, g);
    o.l1 = 0.01;
    o.l2 = 0.1;
    one_step(&t, &o, w, penalized);

    for (int i = 0; i < ONE_STEP; i++) {
        bool kernel = i < LSTM_KERNEL || (i >= LSTM_ALL && i < LSTM_ALL + DENSE_KERNEL);
        double slope = kernel ? 0.01 * ((w[i] > 0) - (w[i] < 0)) + 0.2 * w[i] : 0;

        assert_float_equal(penalized[i], g[i] + slope, 5e-7);
        cost += kernel ? 0.01 * fabs(w[i]) + 0.1 * w[i] * w[i] : 0;
    }
    for (int i = 0; i < 2; i++) { /* the loss of an epoch of one batch is that before its step */
        ky_train_opts p = options(1);
        ky_model *m = build("lstm:4, dense", &t.d, 1);
        p.batch = 1000;
        p.l1 = i * 0.01;
        p.l2 = i * 0.1;
        ky_train_result r = train(m, &t.d, &p);
        loss[i] = ky_json_num(ky_json_get(ky_json_at(r.history, 0), "loss"), 0);
        ky_json_free(r.history);
        ky_model_free(m);
    }
    assert_float_equal(loss[1] - loss[0], cost, 1e-6);
    unmake(&t);
}

/* What an epoch of `spec` says of its losses, and the weights it leaves. */
static ky_model *losses_of(const char *spec, const ky_dataset *d, double *loss, double *val_loss)
{
    ky_model *m = build(spec, d, 1);
    ky_train_opts o = options(1);
    ky_train_result r = train(m, d, &o);

    *loss = ky_json_num(ky_json_get(ky_json_at(r.history, 0), "loss"), 0);
    *val_loss = ky_json_num(ky_json_get(ky_json_at(r.history, 0), "val_loss"), 0);
    ky_json_free(r.history);
    return m;
}

/* Steps of 3 and -1 cost 0.25 * 4 + 0.125 * 10 = 2.25 each, of 12; in training they are dropped. */
static void activities_cost_in_both_losses_and_dropout_only_in_one(void **state)
{
    (void)state;
    made t = tones(60, 1);
    double loss[2], val[2];
    for (int i = 0; i < 60 * 12; i++) {
        t.x[2 * i] = 3;
        t.x[2 * i + 1] = -1;
    }
    for (int carried = 0; carried < 2; carried++) {
        t.d.carried = carried == 1;
        ky_model *plain = losses_of("Dropout rate=0.4; LSTM units=3; Dense units=3 "
                                    "activation=softmax",
                                    &t.d, &loss[0], &val[0]);
        ky_model *m = losses_of("Dropout rate=0.4; ActivityRegularization l1=0.25 l2=0.125; LSTM "
                                "units=3; Dense units=3 activation=softmax",
                                &t.d, &loss[1], &val[1]);

        assert_float_equal(val[1] - val[0], 12 * 2.25, 1e-5);
        assert_float_equal(loss[1] - loss[0], 12 * (0.25 * 4 + 0.125 * 10 / 0.6), 2);
        assert_true(fabs(loss[1] - loss[0] - 12 * 2.25) > 1e-2);
        /* nothing in front of it learns */
        assert_memory_equal(m->weights, plain->weights, m->n_weights * sizeof *m->weights);
        ky_model_free(plain);
        ky_model_free(m);
    }
    unmake(&t);
}

static void class_weights_divide_the_gradient_among_the_classes(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(1);
    double w[ONE_STEP], g[ONE_STEP], part[ONE_STEP], sum[ONE_STEP] = { 0 }, weight[3];
    o.clip_norm = 0;
    one_step(&t, &o, w, g);
    o.class_weight = weight;

    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < 3; i++)
            weight[i] = i == c ? 2 : 0;
        one_step(&t, &o, w, part);
        for (int i = 0; i < ONE_STEP; i++)
            sum[i] += part[i] / 2;
    }

    for (int i = 0; i < ONE_STEP; i++)
        assert_float_equal(sum[i], g[i], 1e-6);
    unmake(&t);
}

static void balanced_classes_count_by_how_rare_they_are(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(1);
    double w[ONE_STEP], given[ONE_STEP], balanced[ONE_STEP];
    const double weight[] = { 54 / (3 * 27.0), 54 / (3 * 18.0), 54 / (3 * 9.0) };
    for (int i = 0; i < 60; i++)
        t.y[i] = i < 30 ? 0 : i < 50 ? 1 : 2;
    o.validation = 0.1; /* 3, 2 and 1 row of the 30, 20 and 10 */
    o.class_weight = weight;
    one_step(&t, &o, w, given);
    o.class_weight = NULL;
    o.balanced = true;

    one_step(&t, &o, w, balanced);

    assert_memory_equal(given, balanced, sizeof given);
    unmake(&t);
}

/* -- targets ------------------------------------------------------------------------------------
 */

/* Of the tones: their speed, and the mean of their first value over 5; or as labels, whether they
 * are slow, and whether they are not fast. */
static float *targets_of(const made *t, bool labels)
{
    float *v = calloc((size_t)t->d.N * 2, sizeof *v);

    assert_non_null(v);
    for (int i = 0; i < t->d.N; i++) {
        for (int s = 0; s < 12; s++)
            v[2 * i + 1] += (t->x[(i * 12 + s) * 2] - 100) / 60;
        v[2 * i] = 0.3f + 0.6f * (float)t->y[i];
        if (labels) {
            v[2 * i] = t->y[i] == 0;
            v[2 * i + 1] = t->y[i] != 2;
        }
    }
    return v;
}

static ky_model *build_targets(const char *arch, enum ky_activation answer)
{
    const ky_arch_opts o = { .input = { .rank = 2, .d = { 12, 2 }, .timed = true },
                             .n_outputs = 2,
                             .answer = answer,
                             .normalize = true };
    ky_model *m = NULL;

    assert_int_equal(ky_arch_build_for(arch, &o, &m, NULL), KY_OK);
    ky_model_init(m, 1);
    return m;
}

static void numbers_are_learned_with_each_loss(void **state)
{
    (void)state;
    static const enum ky_loss_kind kinds[] = { KY_LOSS_MSE, KY_LOSS_MAE, KY_LOSS_HUBER };
    made t = tones(240, 1), fresh = tones(90, 2);
    float *learn = targets_of(&t, false), *ask = targets_of(&fresh, false);
    ky_train_opts o = options(30);
    o.learning_rate = 1e-2;
    t.d.target = learn;
    fresh.d.target = ask;
    t.d.C = fresh.d.C = 2;
    t.d.y = fresh.d.y = NULL;

    for (int i = 0; i < 3; i++) {
        ky_model *m = build_targets("conv1d:16x3 tanh, flatten, dense", KY_LINEAR);
        ky_metrics s;
        o.loss.kind = kinds[i];
        ky_train_result r = train(m, &t.d, &o);

        assert_int_equal(m->layers[m->n_layers - 1].cfg.activation, KY_LINEAR);
        assert_string_equal(r.measure, "mae");
        assert_int_equal(ky_evaluate_with(m, &fresh.d, KY_OF_NUMBERS, 0, 0, 1, NULL, &s, NULL),
                         KY_OK);
        /* speeds are 0.3, 0.9, 1.5 */
        assert_true(s.figure[KY_MAE].value < 0.15 && s.figure[KY_RMSE].value < 0.2);
        assert_true(r.val_accuracy < 0.15);
        assert_true(ky_json_is_number(ky_json_get(ky_json_at(r.history, 0), "val_mae")));
        ky_metrics_done(&s);
        ky_json_free(r.history);
        ky_model_free(m);
    }
    free(learn);
    free(ask);
    unmake(&t);
    unmake(&fresh);
}

static void several_labels_are_learned_at_once(void **state)
{
    (void)state;
    made t = tones(240, 1), fresh = tones(90, 2);
    float *learn = targets_of(&t, true), *ask = targets_of(&fresh, true);
    ky_train_opts o = options(30);
    o.learning_rate = 1e-2;
    o.loss = (ky_loss){ .kind = KY_LOSS_BINARY, .smoothing = 0.05 };
    t.d.target = learn;
    fresh.d.target = ask;
    t.d.C = fresh.d.C = 2;
    t.d.y = fresh.d.y = NULL;
    ky_model *m = build_targets("lstm:12, dense", KY_SIGMOID);
    ky_metrics s;

    ky_train_result r = train(m, &t.d, &o);

    assert_string_equal(r.measure, "accuracy");
    assert_int_equal(ky_evaluate_with(m, &fresh.d, KY_OF_LABELS, 0, 0, 1, NULL, &s, NULL), KY_OK);
    assert_true(s.figure[KY_ACCURACY].value > 0.95 && s.figure[KY_MACRO_F1].value > 0.95);
    ky_metrics_done(&s);
    ky_json_free(r.history);
    ky_model_free(m);
    free(learn);
    free(ask);
    unmake(&t);
    unmake(&fresh);
}

/* A step along the gradient of whatever stands last: the slope of its activation is in it. */
static void any_activation_may_stand_before_a_loss_of_numbers(void **state)
{
    (void)state;
    made t = tones(60, 1);
    float *learn = targets_of(&t, false);
    ky_train_opts o = options(8);
    o.learning_rate = 1e-2;
    o.loss.kind = KY_LOSS_MSE;
    t.d.target = learn;
    t.d.C = 2;

    for (int i = 0; i < 3; i++) {
        static const char *const archs[] = { "lstm:4, dense tanh", "lstm:4, dense relu",
                                             "lstm:4, dense:2 sigmoid" };
        ky_model *m = build_targets(archs[i], KY_LINEAR);
        ky_train_result r = train(m, &t.d, &o);
        double first = ky_json_num(ky_json_get(ky_json_at(r.history, 0), "val_loss"), 0);

        assert_true(r.val_loss < 0.8 * first);
        ky_json_free(r.history);
        ky_model_free(m);
    }
    free(learn);
    unmake(&t);
}

static void targets_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    made t = tones(30, 1);
    float *v = targets_of(&t, true);
    ky_model *linear = build_targets("lstm:3, dense", KY_LINEAR);
    ky_model *sigmoid = build_targets("lstm:3, dense", KY_SIGMOID);
    const struct {
        const char *says;
        ky_model *m;
        enum ky_loss_kind kind;
        int C;
        float bad;
        double smoothing;
        bool balanced;
    } cases[] = {
        { "wants classes", linear, KY_LOSS_CATEGORICAL, 2, 0, 0, false },
        { "3 targets a row", linear, KY_LOSS_MSE, 3, 0, 0, false },
        { "row 1, target 1 is not a finite", linear, KY_LOSS_MSE, 2, NAN, 0, false },
        { "row 1, label 1 is 2", sigmoid, KY_LOSS_BINARY, 2, 2, 0, false },
        { "does not end in sigmoid", linear, KY_LOSS_BINARY, 2, 0, 0, false },
        { "only labels can be smoothed", linear, KY_LOSS_MSE, 2, 0, 0.1, false },
        { "only classes have weights", linear, KY_LOSS_MSE, 2, 0, 0, true },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ky_train_opts o = options(1);
        ky_train_result r;
        ky_err err = { 0 };
        v[3] = cases[i].bad;
        t.d.target = v;
        t.d.C = cases[i].C;
        o.loss = (ky_loss){ .kind = cases[i].kind, .smoothing = cases[i].smoothing };
        o.balanced = cases[i].balanced;

        assert_true(ky_train(cases[i].m, &t.d, &o, &r, &err) < 0);
        if (strstr(err.text, cases[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.text, cases[i].says);
    }
    ky_model_free(linear);
    ky_model_free(sigmoid);
    free(v);
    unmake(&t);
}

static void targets_are_learned_to_the_same_bytes_everywhere(void **state)
{
    (void)state;
    const char *was = ky_kernels_get()->name;
    made t = tones(120, 1);
    float *v = targets_of(&t, false);
    ky_real *first = NULL;
    t.d.target = v;
    t.d.C = 2;

    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        assert_true(ky_kernels_use((*k)->name));
        for (int threads = 1; threads <= 2; threads++) {
            ky_train_opts o = options(2);
            ky_model *m = build_targets("conv1d:6x3 relu, lstm:7, dense", KY_LINEAR);
            o.loss.kind = KY_LOSS_HUBER;
            o.threads = threads;
            o.batch = 40;
            ky_train_result r = train(m, &t.d, &o);

            if (first == NULL) {
                first = malloc(m->n_weights * sizeof *first);
                memcpy(first, m->weights, m->n_weights * sizeof *first);
            }
            assert_memory_equal(first, m->weights, m->n_weights * sizeof *first);
            ky_json_free(r.history);
            ky_model_free(m);
        }
    }
    assert_true(ky_kernels_use(was));
    free(first);
    free(v);
    unmake(&t);
}

/* -- rows that are not in memory ----------------------------------------------------------------
 */

static void rows_of_a_source_are_learned_to_the_same_bytes_everywhere(void **state)
{
    (void)state;
    const char *was = ky_kernels_get()->name;
    made t = tones(300, 1), fresh = tones(90, 2);
    made_source s = source_of(t.x, 300, 24, 16, 80 * 24 * sizeof(float));
    ky_real *first = NULL, *w;
    ky_dataset d = t.d;
    size_t n;
    d.x = NULL;
    d.source = &s.base;

    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        assert_true(ky_kernels_use((*k)->name));
        for (int threads = 1; threads <= 4; threads *= 2) {
            learned_weights(mixed, &d, threads, 7, &w, &n);
            if (first == NULL)
                first = w;
            assert_memory_equal(first, w, n * sizeof *w);
            if (first != w)
                free(w);
        }
    }
    assert_true(ky_kernels_use(was));
    /* and it learns; blocks of rows are all it ever asked for */
    ky_train_opts o = options(30);
    o.learning_rate = 1e-2;
    ky_model *m = build("lstm:12, dense", &d, 1);
    ky_train_result r = train(m, &d, &o);
    assert_true(accuracy(m, &fresh.d) > 0.95);
    assert_true(s.most <= 20);
    ky_json_free(r.history);
    ky_model_free(m);
    free(first);
    unmake(&t);
    unmake(&fresh);
}

/* Rows are changed alike by any number of threads, in memory or not; those held out never. */
static void augmented_rows_are_learned_to_the_same_bytes_everywhere(void **state)
{
    (void)state;
    made t = tones(120, 1);
    made_source s = source_of(t.x, 120, 24, 16, 1 << 20);
    ky_train_opts o = options(3);
    ky_real *w[4], *plain;
    ky_dataset d = t.d;
    size_t n;
    d.x = NULL;
    d.source = &s.base;
    learned_with(mixed, &t.d, &o, 1, 7, &plain, &n);
    o.augment = (ky_augment){ .jitter = 0.1, .scale = 0.2, .shift = 2 };

    for (int i = 0; i < 4; i++)
        learned_with(mixed, i < 2 ? &t.d : &d, &o, i % 2 == 0 ? 1 : 4, 7, &w[i], &n);

    assert_memory_equal(w[0], w[1], n * sizeof *plain);
    assert_memory_equal(w[2], w[3], n * sizeof *plain);
    assert_memory_not_equal(w[0], plain, n * sizeof *plain);
    for (int i = 0; i < 4; i++)
        free(w[i]);
    free(plain);
    unmake(&t);
}

static void what_is_held_out_is_not_augmented(void **state)
{
    (void)state;
    made t = tones(120, 1);
    double loss[2];

    for (int i = 0; i < 2; i++) { /* nothing is learned: only what is scored could differ */
        ky_train_opts o = options(1);
        ky_model *m = build("lstm:5, dense", &t.d, 1);
        o.learning_rate = 1e-30;
        o.augment.jitter = i == 0 ? 0 : 5;
        ky_train_result r = train(m, &t.d, &o);
        loss[i] = r.val_loss;
        ky_json_free(r.history);
        ky_model_free(m);
    }

    assert_true(loss[0] == loss[1]);
    unmake(&t);
}

/* The same answers from a source, and the same moments. */
static void a_source_is_answered_as_memory_is(void **state)
{
    (void)state;
    made t = tones(120, 1);
    made_source s = source_of(t.x, 120, 24, 16, 30 * 24 * sizeof(float));
    ky_dataset d = t.d;
    float y[2][2][120 * 3];
    d.x = NULL;
    d.source = &s.base;

    for (int k = 0; k < 2; k++) {
        ky_model *m = build(k == 0 ? "lstm:5, dense" : "bi(gru:4), dense", &t.d, 1);

        assert_int_equal(ky_model_pack(m, NULL), KY_OK);
        for (int p = 0; p < 2; p++) {
            enum ky_path path = p == 0 ? KY_PATH_WINDOW : KY_PATH_SERVED;

            assert_int_equal(ky_answer(m, &t.d, path, 2, y[0][p], NULL), KY_OK);
            assert_int_equal(ky_answer(m, &d, path, 2, y[1][p], NULL), KY_OK);
        }
        assert_memory_equal(y[0], y[1], sizeof y[0]);
        ky_model_free(m);
    }
    unmake(&t);
}

static void a_source_that_fails_ends_the_training(void **state)
{
    (void)state;
    made t = tones(120, 1);
    made_source s = source_of(t.x, 120, 24, 16, 30 * 24 * sizeof(float));
    ky_dataset d = t.d;
    ky_train_opts o = options(3);
    ky_model *m = build("lstm:5, dense", &t.d, 1);
    ky_train_result r;
    ky_err err;
    d.x = NULL;
    d.source = &s.base;
    s.fails_at = 77;

    assert_int_equal(ky_train(m, &d, &o, &r, &err), KY_EIO);

    assert_string_equal(err.text, "row 77 cannot be read");
    s.fails_at = UINT32_MAX;
    d.carried = true;
    d.group = t.group;
    for (uint32_t i = 0; i < 120; i++)
        t.group[i] = i / 10;
    assert_int_equal(ky_train(m, &d, &o, &r, &err), KY_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "in memory"));
    ky_model_free(m);
    unmake(&t);
}

/* -- checkpoints --------------------------------------------------------------------------------
 */

static char spot[] = "/tmp/kymo-checkpoint-XXXXXX";

static int stop_in_the_fourth_epoch(const ky_train_progress *p, void *arg)
{
    (void)arg;
    return p->epoch == 4 && p->batch == 2;
}

/* Trains `epochs` with a row of options, from a checkpoint or leaving one. */
static ky_model *way(const ky_dataset *d, const char *arch, int row, int epochs, const char *leave,
                     const char *from, bool interrupt, ky_train_result *r)
{
    ky_train_opts o;
    ky_model *m;
    ky_err err = { 0 };

    set_options(row, &o);
    if (row == 1)
        o.rate = (ky_rate){ .kind = KY_DECAY_PLATEAU, .factor = 0.5, .patience = 2 };
    if (row == 2)
        o.rate = (ky_rate){ .kind = KY_DECAY_EXPONENTIAL, .factor = 0.9 };
    if (row == 6) {
        o.learning_rate = 0.1;
        o.rate = (ky_rate){ .kind = KY_DECAY_PLATEAU, .factor = 0.5, .patience = 2 };
    }
    o.epochs = epochs;
    o.patience = row == 6 ? 3 : 4;
    o.checkpoint = leave;
    o.resume = from;
    o.threads = from != NULL ? 2 : 1;
    o.progress = interrupt ? stop_in_the_fourth_epoch : NULL;
    if (from != NULL) {
        assert_int_equal(ky_model_load(from, &m, NULL), KY_OK);
        o.fit_input = false;
    } else {
        m = d->carried ? build_for(arch, KY_ANY, d->F, d->C, 4) : build(arch, d, 4);
    }
    if (ky_train(m, d, &o, r, &err) != KY_OK)
        fail_msg("%s", err.text);
    return m;
}

static void same_trainings(const ky_model *a, const ky_train_result *r, const ky_model *b,
                           const ky_train_result *s)
{
    char *one = ky_json_text(r->history, 0), *other = ky_json_text(s->history, 0);

    assert_memory_equal(a->weights, b->weights, a->n_weights * sizeof *a->weights);
    assert_string_equal(one, other);
    assert_int_equal(r->epochs_run, s->epochs_run);
    assert_int_equal(r->best_epoch, s->best_epoch);
    assert_int_equal(r->stopped_early, s->stopped_early);
    assert_true(r->val_loss == s->val_loss && r->val_accuracy == s->val_accuracy);
    free(one);
    free(other);
}

static void resumed_is_uninterrupted(const ky_dataset *d, const char *arch, int row)
{
    ky_train_result whole, half, rest;
    ky_model *a = way(d, arch, row, 6, NULL, NULL, false, &whole);
    ky_model *b = way(d, arch, row, 6, spot, NULL, true, &half);
    ky_model *c = way(d, arch, row, 6, spot, spot, false, &rest);

    same_trainings(a, &whole, c, &rest);
    ky_model_free(c);
    ky_json_free(rest.history);
    /* and what is over stays as it is */
    c = way(d, arch, row, 6, NULL, spot, false, &rest);
    same_trainings(a, &whole, c, &rest);
    ky_json_free(whole.history);
    ky_json_free(half.history);
    ky_json_free(rest.history);
    ky_model_free(a);
    ky_model_free(b);
    ky_model_free(c);
}

static void a_resumed_training_is_the_uninterrupted_one_to_the_byte(void **state)
{
    (void)state;
    made t = tones(120, 1), streams = remember(40, 5, 1);
    ky_rng rng;
    int fd = mkstemp(spot);
    assert_true(fd >= 0);
    close(fd);
    streams.d.carried = true;

    for (int row = 0; row < 6; row++)
        resumed_is_uninterrupted(&t.d, mixed, row);
    resumed_is_uninterrupted(&streams.d, "lstm:6, dense", 0);
    made_source s = source_of(t.x, 120, 24, 8, 40 * 24 * sizeof(float));
    ky_dataset read = t.d;
    read.x = NULL;
    read.source = &s.base;
    resumed_is_uninterrupted(&read, "conv1d:6x3 relu, bn, dropout:0.3, lstm:7, dense", 0);
    /* noise: what counts epochs without a better one is not at zero where it is left */
    ky_rng_seed(&rng, 9);
    for (int i = 0; i < 120; i++)
        t.y[i] = (int32_t)ky_rng_below(&rng, 3);
    resumed_is_uninterrupted(&t.d, "lstm:12, dense", 6);

    unlink(spot);
    unmake(&t);
    unmake(&streams);
}

static void a_checkpoint_of_something_else_is_refused(void **state)
{
    (void)state;
    static const char *const says[] = { "other data", "other data", "no checkpoint", "no such" };
    made t = tones(60, 1);
    ky_train_result r;
    ky_train_opts o = options(1);
    ky_model *m = build("lstm:4, dense", &t.d, 1);
    o.checkpoint = spot;
    r = train(m, &t.d, &o);
    ky_json_free(r.history);
    o.checkpoint = NULL;

    for (int i = 0; i < 4; i++) {
        ky_train_opts p = o;
        ky_err err = { 0 };
        p.resume = spot;
        if (i == 0)
            p.learning_rate *= 2;
        if (i == 1)
            t.x[0] += 1;
        if (i == 2)
            assert_int_equal(ky_model_save(m, spot, NULL), KY_OK);
        if (i == 3)
            unlink(spot);

        assert_true(ky_train(m, &t.d, &p, &r, &err) < 0);
        if (strcasestr(err.text, says[i]) == NULL || strstr(err.text, spot) == NULL)
            fail_msg("'%s' does not say '%s'", err.text, says[i]);
        if (i == 1)
            t.x[0] -= 1;
    }
    ky_model_free(m);
    unmake(&t);
}

/* -- normalisation and frozen layers --------------------------------------------------------- */

static void input_is_normalised_by_the_training_part_alone(void **state)
{
    (void)state;
    made t = make(40, 3, 2, 2);
    int64_t ts[40];
    for (int i = 0; i < 40; i++) {
        ts[i] = i;
        t.y[i] = i % 2;
        for (int s = 0; s < 3; s++) {
            t.x[(i * 3 + s) * 2] = i < 30 ? (float)(4 + (i % 2) * 2) : 1e6f; /* 4 and 6 */
            t.x[(i * 3 + s) * 2 + 1] = 7;                                    /* never changes */
        }
    }
    t.d.ts = ts;
    ky_train_opts o = options(1);
    o.validation = 0.25; /* the last ten, whose values are far off */
    ky_model *m = build("lstm:3, dense", &t.d, 1);

    ky_train_result r = train(m, &t.d, &o);

    const ky_layer *l = m->layers;
    const float want[2][2] = { { 5, 7 }, { 1, 1 } };
    for (int i = 0; i < l->n_weights; i++)
        for (int f = 0; f < 2; f++)
            assert_float_equal(ky_model_weight(m, 0, i)[f],
                               want[strcmp(l->weights[i].name, "moving_variance") == 0][f], 1e-6);
    ky_json_free(r.history);
    ky_model_free(m);
    unmake(&t);
}

static void going_on_from_a_model_keeps_its_normalisation(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(1);
    ky_model *m = build("lstm:3, dense", &t.d, 1);
    ky_train_result r = train(m, &t.d, &o);
    ky_real before[4], last = m->weights[m->n_weights - 1];
    memcpy(before, m->weights, sizeof before);
    ky_json_free(r.history);
    for (int i = 0; i < 60 * 24; i++)
        t.x[i] += 3;

    o.fit_input = false;
    r = train(m, &t.d, &o);

    assert_memory_equal(before, m->weights, sizeof before);
    assert_true(m->weights[m->n_weights - 1] != last);
    ky_json_free(r.history);
    ky_model_free(m);
    unmake(&t);
}

static void frozen_layers_stay_as_they_are(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(1);
    ky_model *m = build("conv1d:4x3 relu, bn, gap, dense", &t.d, 1);
    m->layers[1].trainable = m->layers[2].trainable = false;
    const ky_layer *conv = m->layers + 1, *bn = m->layers + 2;
    size_t n = conv->weight_reals + bn->weight_reals;
    ky_real *before = malloc(n * sizeof *before);
    memcpy(before, m->weights + conv->weights_at, n * sizeof *before);

    ky_train_result r = train(m, &t.d, &o);

    assert_memory_equal(before, m->weights + conv->weights_at, n * sizeof *before);
    free(before);
    ky_json_free(r.history);
    ky_model_free(m);
    unmake(&t);
}

static void moving_statistics_follow_the_batches(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(1);
    ky_shape input = { .rank = 2, .d = { 12, 2 }, .timed = true };
    ky_model *m = NULL;
    assert_int_equal(ky_arch_build("bn, gap, dense", &input, 3, false, &m, NULL), KY_OK);
    ky_model_init(m, 1);
    const ky_layer *bn = m->layers;
    o.batch = 51; /* all rows that are learned from: one step */

    ky_train_result r = train(m, &t.d, &o);

    for (int i = 0; i < bn->n_weights; i++)
        if (strcmp(bn->weights[i].name, "moving_mean") == 0) /* 0.99 * 0 + 0.01 * about 100 */
            assert_float_equal(ky_model_weight(m, 0, i)[0], 1, 0.01);
    ky_json_free(r.history);
    ky_model_free(m);
    unmake(&t);
}

/* The first call sees means of about 100, the second those of what the first made: 0. */
static void moving_statistics_are_the_mean_over_the_calls_of_a_layer(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(1);
    ky_model *m = build("b: BatchNormalization center=0 scale=0; =b; GlobalAveragePooling1D; Dense "
                        "units=3 activation=softmax",
                        &t.d, 1);
    o.batch = 51; /* all rows that are learned from: one step */

    ky_train_result r = train(m, &t.d, &o);

    assert_float_equal(ky_model_weight(m, 0, 0)[0], 0.5, 0.01); /* 0.01 (100 + 0) / 2 */
    ky_json_free(r.history);
    ky_model_free(m);
    unmake(&t);
}

/* Those of Normalization are what adapt() found. */
static void statistics_of_the_data_stay_in_training(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(1);
    ky_model *m =
        build("Normalization; GlobalAveragePooling1D; Dense units=3 activation=softmax", &t.d, 1);
    ky_model_weight(m, 0, 0)[0] = 100;
    ky_model_weight(m, 0, 1)[0] = 25;

    ky_train_result r = train(m, &t.d, &o);

    assert_true(ky_model_weight(m, 0, 0)[0] == 100);
    assert_true(ky_model_weight(m, 0, 1)[0] == 25);
    ky_json_free(r.history);
    ky_model_free(m);
    unmake(&t);
}

/* -- carried state ------------------------------------------------------------------------------
 */

static void carried_state_learns_what_one_window_cannot_show(void **state)
{
    (void)state;
    made t = remember(96, 6, 1), fresh = remember(40, 6, 2);
    ky_train_opts o = options(40);
    o.learning_rate = 1e-2;
    ky_model *window = build_for("lstm:8, dense", KY_ANY, 1, 2, 1);
    ky_train_result r = train(window, &t.d, &o);
    ky_json_free(r.history);

    t.d.carried = fresh.d.carried = true;
    ky_model *stream = build_for("lstm:8, dense", KY_ANY, 1, 2, 1);
    r = train(stream, &t.d, &o);

    assert_true(accuracy(stream, &fresh.d) > 0.95);
    fresh.d.carried = false;
    assert_true(accuracy(window, &fresh.d) < 0.8); /* one window of six shows it */
    ky_json_free(r.history);
    ky_model_free(window);
    ky_model_free(stream);
    unmake(&t);
    unmake(&fresh);
}

static void carried_training_repeats_to_the_byte(void **state)
{
    (void)state;
    made t = remember(40, 5, 1);
    ky_real *a, *b;
    size_t n;
    t.d.carried = true;

    learned_weights("lstm:6, gru:4, rnn:3, dense", &t.d, 1, 1, &a, &n);
    learned_weights("lstm:6, gru:4, rnn:3, dense", &t.d, 3, 1, &b, &n);

    assert_memory_equal(a, b, n * sizeof *a);
    free(a);
    free(b);
    unmake(&t);
}

static void carried_training_refuses_layers_with_edges(void **state)
{
    (void)state;
    made t = remember(10, 5, 1);
    ky_train_opts o = options(1);
    ky_train_result r;
    ky_err err;
    t.d.carried = true;
    ky_model *m = build_for("conv1d:4x2 causal, lstm:4, dense", KY_ANY, 1, 2, 1);

    assert_int_equal(ky_train(m, &t.d, &o, &r, &err), KY_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "conv1d"));
    ky_model_free(m);
    unmake(&t);
}

/* -- what is refused ------------------------------------------------------------------------------
 */

typedef struct refusal {
    const char *says;
    int code;
    void (*spoil)(made *t, ky_train_opts *o);
} refusal;

static void spoil_value(made *t, ky_train_opts *o)
{
    (void)o;
    t->x[(7 * 12 + 3) * 2 + 1] = NAN;
}

static void spoil_infinite(made *t, ky_train_opts *o)
{
    (void)o;
    t->x[(7 * 12 + 3) * 2 + 1] = INFINITY;
}

static void spoil_label(made *t, ky_train_opts *o)
{
    (void)o;
    t->y[5] = 3;
}

static void spoil_negative(made *t, ky_train_opts *o)
{
    (void)o;
    t->y[5] = -1;
}

static void spoil_features(made *t, ky_train_opts *o)
{
    (void)o;
    t->d.T = 24;
    t->d.F = 1;
}

static void spoil_steps(made *t, ky_train_opts *o)
{
    (void)o;
    t->d.T = 6;
}

static void spoil_classes(made *t, ky_train_opts *o)
{
    (void)o;
    t->d.C = 4;
}

static void spoil_rows(made *t, ky_train_opts *o)
{
    (void)o;
    t->d.N = 1;
}

static void spoil_rate(made *t, ky_train_opts *o)
{
    (void)t;
    o->learning_rate = NAN;
}

static void spoil_share(made *t, ky_train_opts *o)
{
    (void)t;
    o->validation = 1;
}

static void spoil_epochs(made *t, ky_train_opts *o)
{
    (void)t;
    o->epochs = 0;
}

static void spoil_clips(made *t, ky_train_opts *o)
{
    (void)t;
    o->clip_value = 1;
}

static void spoil_l2(made *t, ky_train_opts *o)
{
    (void)t;
    o->l2 = -1;
}

static void spoil_smoothing(made *t, ky_train_opts *o)
{
    (void)t;
    o->loss.smoothing = 1;
}

static void spoil_momentum(made *t, ky_train_opts *o)
{
    (void)t;
    o->optim.momentum = 0.9;
}

static void spoil_nesterov(made *t, ky_train_opts *o)
{
    (void)t;
    ky_optim_defaults(KY_SGD, &o->optim);
    o->optim.nesterov = true;
}

static void spoil_centered(made *t, ky_train_opts *o)
{
    (void)t;
    o->optim.centered = true;
}

static void spoil_weight_decay(made *t, ky_train_opts *o)
{
    (void)t;
    o->optim.weight_decay = NAN;
}

static void spoil_factor(made *t, ky_train_opts *o)
{
    (void)t;
    o->rate = (ky_rate){ .kind = KY_DECAY_EXPONENTIAL, .factor = 1.5 };
}

static void spoil_patience(made *t, ky_train_opts *o)
{
    (void)t;
    o->rate = (ky_rate){ .kind = KY_DECAY_PLATEAU, .factor = 0.5 };
}

static void spoil_weight(made *t, ky_train_opts *o)
{
    static const double weight[] = { 1, -1, 1 };

    (void)t;
    o->class_weight = weight;
}

static const refusal refusals[] = {
    { "row 7, step 3, value 1", KY_EINVAL, spoil_value },
    { "row 7, step 3, value 1", KY_EINVAL, spoil_infinite },
    { "row 5: class 3 is not within 0..2", KY_EINVAL, spoil_label },
    { "row 5: class -1", KY_EINVAL, spoil_negative },
    { "1 values a step", KY_ESHAPE, spoil_features },
    { "12 steps a sequence, the data have 6", KY_ESHAPE, spoil_steps },
    { "4 classes", KY_ESHAPE, spoil_classes },
    { "too few", KY_EINVAL, spoil_rows },
    { "learning rate", KY_EINVAL, spoil_rate },
    { "validation share", KY_EINVAL, spoil_share },
    { "epochs 0", KY_EINVAL, spoil_epochs },
    { "only one of them", KY_EINVAL, spoil_clips },
    { "l2 -1", KY_EINVAL, spoil_l2 },
    { "label smoothing 1", KY_EINVAL, spoil_smoothing },
    { "adam has no momentum", KY_EINVAL, spoil_momentum },
    { "for sgd with momentum", KY_EINVAL, spoil_nesterov },
    { "adam cannot be centered", KY_EINVAL, spoil_centered },
    { "weight decay", KY_EINVAL, spoil_weight_decay },
    { "decay 1.5", KY_EINVAL, spoil_factor },
    { "patience 0", KY_EINVAL, spoil_patience },
    { "class 1 has weight -1", KY_EINVAL, spoil_weight },
};

static void bad_data_and_options_are_refused_and_named(void **state)
{
    (void)state;

    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        made t = tones(30, 1);
        ky_train_opts o = options(1);
        ky_train_result r;
        ky_err err = { 0 };
        ky_model *m = build("conv1d:3x3 relu, flatten, dense", &t.d, 1);

        refusals[i].spoil(&t, &o);
        assert_int_equal(ky_train(m, &t.d, &o, &r, &err), refusals[i].code);
        if (strstr(err.text, refusals[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.text, refusals[i].says);
        ky_model_free(m);
        unmake(&t);
    }
}

static void a_model_without_probabilities_is_refused(void **state)
{
    (void)state;
    made t = tones(30, 1);
    ky_train_opts o = options(1);
    ky_train_result r;
    ky_err err = { 0 };
    ky_model *m = build("lstm:3, dense:3 linear", &t.d, 1);

    assert_int_equal(ky_train(m, &t.d, &o, &r, &err), KY_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "softmax"));
    ky_model_free(m);
    unmake(&t);
}

static void a_loss_that_runs_away_is_said(void **state)
{
    (void)state;
    made t = tones(60, 1);
    ky_train_opts o = options(5);
    ky_train_result r;
    ky_err err = { 0 };
    o.learning_rate = 1e38;
    ky_model *m = build("conv1d:4x3 relu, conv1d:4x3 relu, gap, dense", &t.d, 1);

    assert_int_equal(ky_train(m, &t.d, &o, &r, &err), KY_EINVAL);
    assert_non_null(strstr(err.text, "not finite"));
    ky_model_free(m);
    unmake(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_loss_is_that_worked_out_by_hand),
        cmocka_unit_test(a_row_that_is_utterly_wrong_keeps_its_gradient),
        cmocka_unit_test(sigmoid_loss_is_that_worked_out_by_hand),
        cmocka_unit_test(losses_are_those_of_keras),
        cmocka_unit_test(a_row_counts_by_its_weight),
        cmocka_unit_test(optimizers_step_as_those_of_keras),
        cmocka_unit_test(the_rate_falls_along_a_cosine_as_in_keras),
        cmocka_unit_test(the_rate_falls_by_epochs_or_where_the_loss_stays),
        cmocka_unit_test(gradients_of_whole_models_are_those_of_the_loss),
        cmocka_unit_test(a_separable_problem_is_learned),
        cmocka_unit_test(graphs_are_learned),
        cmocka_unit_test(graphs_learn_the_same_bytes_with_any_threads_and_kernels),
        cmocka_unit_test(two_classes_are_learned_with_one_output),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes_with_any_threads_and_kernels),
        cmocka_unit_test(every_way_of_learning_gives_the_same_bytes_everywhere),
        cmocka_unit_test(defaults_learn_the_bytes_they_always_have),
        cmocka_unit_test(the_epoch_best_on_validation_is_kept),
        cmocka_unit_test(rows_held_out_are_told_of_while_they_are_answered),
        cmocka_unit_test(an_interrupted_training_keeps_what_it_has),
        cmocka_unit_test(gradients_longer_than_the_norm_are_shortened),
        cmocka_unit_test(gradients_are_clipped_by_value_by_array_and_as_a_whole),
        cmocka_unit_test(kernels_alone_are_penalized_and_the_loss_says_so),
        cmocka_unit_test(activities_cost_in_both_losses_and_dropout_only_in_one),
        cmocka_unit_test(class_weights_divide_the_gradient_among_the_classes),
        cmocka_unit_test(balanced_classes_count_by_how_rare_they_are),
        cmocka_unit_test(numbers_are_learned_with_each_loss),
        cmocka_unit_test(several_labels_are_learned_at_once),
        cmocka_unit_test(any_activation_may_stand_before_a_loss_of_numbers),
        cmocka_unit_test(targets_that_do_not_fit_are_refused),
        cmocka_unit_test(targets_are_learned_to_the_same_bytes_everywhere),
        cmocka_unit_test(rows_of_a_source_are_learned_to_the_same_bytes_everywhere),
        cmocka_unit_test(augmented_rows_are_learned_to_the_same_bytes_everywhere),
        cmocka_unit_test(what_is_held_out_is_not_augmented),
        cmocka_unit_test(a_source_is_answered_as_memory_is),
        cmocka_unit_test(a_source_that_fails_ends_the_training),
        cmocka_unit_test(a_resumed_training_is_the_uninterrupted_one_to_the_byte),
        cmocka_unit_test(a_checkpoint_of_something_else_is_refused),
        cmocka_unit_test(input_is_normalised_by_the_training_part_alone),
        cmocka_unit_test(going_on_from_a_model_keeps_its_normalisation),
        cmocka_unit_test(frozen_layers_stay_as_they_are),
        cmocka_unit_test(moving_statistics_follow_the_batches),
        cmocka_unit_test(moving_statistics_are_the_mean_over_the_calls_of_a_layer),
        cmocka_unit_test(statistics_of_the_data_stay_in_training),
        cmocka_unit_test(carried_state_learns_what_one_window_cannot_show),
        cmocka_unit_test(carried_training_repeats_to_the_byte),
        cmocka_unit_test(carried_training_refuses_layers_with_edges),
        cmocka_unit_test(bad_data_and_options_are_refused_and_named),
        cmocka_unit_test(a_model_without_probabilities_is_refused),
        cmocka_unit_test(a_loss_that_runs_away_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
