/* Streaming: answers, states that can be stored, and refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/models/net.h"

static ky_model *build(const char *spec, int T, int F, const ky_kernels *k)
{
    ky_model *m;
    ky_err err;

    if (net_build(spec, T, F, k, false, &m, &err) < 0)
        fail_msg("%s: %s", spec, err.text);
    return m;
}

/* A plan, a wave of one, and the state of one stream. */
typedef struct rig {
    ky_model *m;
    ky_plan *p;
    ky_wave *w;
    void *state;
    float x[4096], y[64]; /* samples of one stream, its last answer */
    bool answered;
} rig;

static void *new_state(const ky_plan *p)
{
    void *state = aligned_alloc(64, ky_plan_state_bytes(p));

    ky_plan_zero(p, state);
    return state;
}

static rig *rig_new(const char *spec, int T, int F, enum ky_memory memory, int window, int hop)
{
    rig *r = calloc(1, sizeof(*r));
    ky_rng rng;
    ky_err err;

    r->m = build(spec, T, F, ky_kernels_get());
    if (ky_plan_new(r->m, memory, window, hop, &r->p, &err) < 0)
        fail_msg("%s: %s", spec, err.text);
    r->w = ky_wave_new(r->p, 1);
    r->state = new_state(r->p);
    ky_rng_seed(&rng, 2);
    for (size_t i = 0; i < sizeof(r->x) / sizeof(*r->x); i++)
        r->x[i] = (float)ky_rng_normal(&rng);
    return r;
}

static void rig_free(rig *r)
{
    ky_wave_free(r->w);
    ky_plan_free(r->p);
    ky_model_free(r->m);
    free(r->state);
    free(r);
}

/* Sample t of the stream; whether there is an answer. */
static bool rig_step(rig *r, int t)
{
    const float *x = r->x + t * ky_model_facts(r->m)->features;
    float *y = r->y;

    ky_plan_step(r->p, r->w, 1, &x, &r->state, &y, &r->answered);
    return r->answered;
}

/* The last answer is, bit for bit, the model's on samples [from, from + T). */
static void assert_answer_on(const rig *r, int from, int T)
{
    size_t n = (size_t)ky_model_facts(r->m)->outputs;
    ky_work *w = ky_work_new(r->m, T, 1);
    float want[64];

    ky_model_predict(r->m, w, 1, T, r->x + from * ky_model_facts(r->m)->features, want);
    assert_memory_equal(r->y, want, n * sizeof(*want));
    ky_work_free(w);
}

static void a_window_answers_at_its_last_sample_and_then_every_hop(void **state)
{
    static const int hops[] = { 1, 2, 3, 5, 6, 11 };
    enum { T = 5, STEPS = 40 };

    (void)state;
    for (size_t i = 0; i < sizeof(hops) / sizeof(*hops); i++) {
        rig *r = rig_new("Conv1D filters=4 kernel_size=3 padding=same activation=relu; Flatten; "
                         "Dense units=3 activation=softmax",
                         T, 2, KY_MEMORY_WINDOW, 0, hops[i]);

        for (int t = 0; t < STEPS; t++) {
            bool due = t >= T - 1 && (t - (T - 1)) % hops[i] == 0;

            assert_int_equal(rig_step(r, t), due);
            if (due)
                assert_answer_on(r, t + 1 - T, T);
        }
        rig_free(r);
    }
}

static void a_model_of_any_length_takes_the_window_it_is_given(void **state)
{
    rig *r = rig_new("LSTM units=4; Dense units=2", KY_ANY, 3, KY_MEMORY_WINDOW, 7, 2);

    (void)state;
    for (int t = 0; t < 30; t++)
        if (rig_step(r, t))
            assert_answer_on(r, t - 6, 7);
    assert_true(r->answered == false ||
                ky_plan_state_ok(r->p, r->state, ky_plan_state_bytes(r->p)));
    rig_free(r);
}

static void a_stream_answers_for_its_whole_past(void **state)
{
    rig *r = rig_new("Conv1D filters=5 kernel_size=3 activation=relu; MaxPooling1D; LSTM units=4; "
                     "Dense units=2 activation=softmax",
                     KY_ANY, 3, KY_MEMORY_STREAM, 0, 1);
    int answers = 0;

    (void)state;
    for (int t = 0; t < 60; t++)
        if (rig_step(r, t)) {
            assert_answer_on(r, 0, t + 1);
            assert_true(t >= 3 && (t - 3) % 2 == 0);
            answers++;
        }
    assert_int_equal(answers, 29);
    rig_free(r);
}

/* Any company: streams come and go in waves of changing size and order. */
static void a_wave_gives_each_stream_what_it_gets_alone(void **state)
{
    static const struct {
        const char *spec;
        enum ky_memory memory;
    } cases[] = {
        { "LSTM units=9; Dense units=3 activation=softmax", KY_MEMORY_STREAM },
        { "Conv1D filters=5 kernel_size=3 padding=causal strides=2; AveragePooling1D; "
          "LSTM units=6 return_sequences=1; BatchNormalization; LSTM units=3; Dense units=3",
          KY_MEMORY_STREAM },
        { "Conv1D filters=4 kernel_size=3; GlobalMaxPooling1D; Dense units=3", KY_MEMORY_WINDOW },
    };
    enum { STREAMS = 150, F = 2, STEPS = 60 }; /* more than one batch of windows */

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        rig *alone = rig_new(cases[i].spec, 6, F, cases[i].memory, 0, 2);
        ky_wave *w = ky_wave_new(alone->p, STREAMS);
        int done[STREAMS] = { 0 }, who[STREAMS];
        void *states[STREAMS], *mine[STREAMS], *at[STREAMS];
        float y[STREAMS][3], *y_at[STREAMS];
        const float *x[STREAMS];
        bool answered[STREAMS];
        ky_rng rng;
        int answers = 0;

        ky_rng_seed(&rng, 4);
        for (int s = 0; s < STREAMS; s++) {
            states[s] = new_state(alone->p);
            mine[s] = new_state(alone->p);
        }
        for (int n = 0; n < STEPS; n++) {
            int B = 0;

            for (int k = 0; k < STREAMS; k++) {
                int s = (k * 7 + n) % STREAMS;

                if (ky_rng_below(&rng, 3) == 0)
                    continue;
                who[B] = s;
                at[B] = states[s];
                x[B] = alone->x + (s + done[s]) * F;
                y_at[B] = y[B];
                B++;
            }
            ky_plan_step(alone->p, w, B, x, at, y_at, answered);
            for (int r = 0; r < B; r++) {
                float *y_alone = alone->y;
                bool answered_alone;

                ky_plan_step(alone->p, alone->w, 1, &x[r], &mine[who[r]], &y_alone,
                             &answered_alone);
                assert_int_equal(answered[r], answered_alone);
                if (answered_alone)
                    assert_memory_equal(y[r], alone->y, sizeof(y[r]));
                answers += answered_alone;
                done[who[r]]++;
            }
        }
        assert_true(answers > STREAMS);
        for (int s = 0; s < STREAMS; s++) {
            assert_memory_equal(states[s], mine[s], ky_plan_state_bytes(alone->p));
            free(states[s]);
            free(mine[s]);
        }
        ky_wave_free(w);
        rig_free(alone);
    }
}

static void a_stored_state_goes_on_where_it_was(void **state)
{
    static const struct {
        const char *spec;
        enum ky_memory memory;
    } cases[] = {
        { "Conv1D filters=3 kernel_size=4; MaxPooling1D pool_size=3 strides=2; LSTM units=3; "
          "Dense units=2",
          KY_MEMORY_STREAM },
        { "LSTM units=3; Dense units=2", KY_MEMORY_WINDOW },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (int cut = 0; cut < 20; cut++) {
            rig *a = rig_new(cases[i].spec, 9, 2, cases[i].memory, 0, 3);
            rig *b = rig_new(cases[i].spec, 9, 2, cases[i].memory, 0, 3);

            assert_true(ky_plan_layout(a->p) == ky_plan_layout(b->p));
            for (int t = 0; t < cut; t++)
                rig_step(a, t);
            assert_true(ky_plan_state_ok(b->p, a->state, ky_plan_state_bytes(a->p)));
            memcpy(b->state, a->state, ky_plan_state_bytes(a->p));
            for (int t = cut; t < 40; t++) {
                assert_int_equal(rig_step(a, t), rig_step(b, t));
                if (a->answered)
                    assert_memory_equal(a->y, b->y, 2 * sizeof(float));
            }
            rig_free(a);
            rig_free(b);
        }
}

static void damaged_states_are_refused(void **state)
{
    static const struct {
        const char *spec;
        enum ky_memory memory;
        size_t at; /* of the 32-bit number that is damaged */
        uint32_t value;
    } cases[] = {
        { "LSTM units=3", KY_MEMORY_STREAM, 8, 0x7fc00000 }, /* NaN */
        { "LSTM units=3", KY_MEMORY_STREAM, 8, 0xff800000 }, /* -inf */
        { "LSTM units=3", KY_MEMORY_WINDOW, 64 + 8, 0x7f800000 },
        { "LSTM units=3", KY_MEMORY_WINDOW, 4, 0x80000000 }, /* a negative number of samples */
        { "LSTM units=3", KY_MEMORY_WINDOW, 4, 0x7fffffff }, /* one that would soon be */
        { "Conv1D filters=2 kernel_size=2; Flatten", KY_MEMORY_WINDOW, 128 + 8, 0x7fc00000 },
        { "Conv1D filters=2 kernel_size=3 strides=2; LSTM units=3", KY_MEMORY_STREAM, 0, 3 },
        { "Conv1D filters=2 kernel_size=3 strides=2; LSTM units=3", KY_MEMORY_STREAM, 4, 2 },
        { "Conv1D filters=2 kernel_size=3 strides=2; LSTM units=3", KY_MEMORY_STREAM, 4,
          0xfffffff0 },
        { "Conv1D filters=2 kernel_size=3 strides=2; LSTM units=3", KY_MEMORY_STREAM, 8, 2 },
        { "MaxPooling1D; LSTM units=3", KY_MEMORY_STREAM, 8, 0xffffffff },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        rig *r = rig_new(cases[i].spec, 9, 2, cases[i].memory, 0, 3);
        size_t bytes = ky_plan_state_bytes(r->p);

        for (int t = 0; t < 11; t++)
            rig_step(r, t);
        assert_true(ky_plan_state_ok(r->p, r->state, bytes));
        assert_false(ky_plan_state_ok(r->p, r->state, bytes - 1));
        memcpy((char *)r->state + cases[i].at, &cases[i].value, 4);
        if (ky_plan_state_ok(r->p, r->state, bytes))
            fail_msg("%s: %u at %zu", cases[i].spec, cases[i].value, cases[i].at);
        rig_free(r);
    }
}

/* Every state that is accepted can be stepped without a read or write astray (the sanitizers
 * watch): random counters on top of a good state. */
static void whatever_state_is_accepted_can_be_stepped(void **state)
{
    rig *r = rig_new("Conv1D filters=2 kernel_size=3 strides=2; MaxPooling1D pool_size=3; "
                     "LSTM units=3",
                     KY_ANY, 2, KY_MEMORY_STREAM, 0, 1);
    ky_rng rng;
    int accepted = 0;

    (void)state;
    ky_rng_seed(&rng, 9);
    for (int i = 0; i < 20000; i++) {
        int32_t *counters = r->state;

        for (int j = 0; j < 3; j++)
            counters[j] = (int32_t)ky_rng_below(&rng, 6) - 2;
        if (!ky_plan_state_ok(r->p, r->state, ky_plan_state_bytes(r->p)))
            continue;
        accepted++;
        for (int t = 0; t < 5; t++)
            rig_step(r, t);
    }
    assert_true(accepted > 100);
    rig_free(r);
}

static void what_cannot_be_streamed_is_refused_with_the_layer_and_a_way_out(void **state)
{
    static const struct {
        const char *spec;
        const char *says[3];
    } cases[] = {
        { "Conv1D filters=2 kernel_size=3 padding=same; LSTM units=3",
          { "'conv1d'", "looks ahead", "memory = window" } },
        { "Conv1D filters=2 kernel_size=3; Flatten; Dense units=3",
          { "'flatten' (Flatten)", "whole window", "memory = window" } },
        { "LSTM units=3 return_sequences=1; GlobalAveragePooling1D",
          { "'global_average_pooling1d'", "whole window", "memory = window" } },
        { "MaxPooling1D padding=same; LSTM units=3",
          { "'max_pooling1d'", "looks ahead", "memory = window" } },
        { "Bidirectional of LSTM units=2", { "'bidirectional'", "", "memory = window" } },
        { "a: LSTM units=2 return_sequences=1; b: LSTM units=2 @in; Multiply @a,b",
          { "'multiply'", "whole window", "memory = window" } },
        { "Concatenate axis=1 @in,in; LSTM units=3",
          { "'concatenate'", "one behind the other", "memory = window" } },
        { "a: Conv1D filters=2 kernel_size=2 strides=2; b: Conv1D filters=2 kernel_size=1 "
          "strides=2 padding=causal @in; c: Cropping1D cropping=0x1; Add @a,c",
          { "'c' (Cropping1D)", "cuts steps", "memory = window" } },
        { "a: Conv1D filters=2 kernel_size=3; b: MaxPooling1D pool_size=3 strides=1 @in; Add @a,b; "
          "c: MaxPooling1D; d: MaxPooling1D pool_size=3 strides=2 @add; e: Conv1D filters=2 "
          "kernel_size=1 @c; Concatenate @d,e",
          { "'concatenate'", "'e' is ahead, with an output at sample 4 and every 2, 'd' at 5",
            "memory = window" } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_model *m;
        ky_plan *p = NULL;
        ky_err err;

        assert_int_equal(net_build(cases[i].spec, 9, 2, ky_kernels_get(), false, &m, &err), KY_OK);
        assert_int_equal(ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, &p, &err), KY_EUNSUPPORTED);
        for (int j = 0; j < 3; j++)
            if (strstr(err.text, cases[i].says[j]) == NULL)
                fail_msg("'%s' does not say %s", err.text, cases[i].says[j]);
        assert_null(p);
        if (strstr(err.text, "out of step") == NULL) /* which only a plan finds */
            assert_int_equal(ky_model_facts(m)->macs_step, 0);
        assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, 0, 1, &p, &err), KY_OK);
        ky_plan_free(p);
        ky_model_free(m);
    }
}

static void a_stream_has_one_input_and_one_output(void **state)
{
    ky_model *m = build("a: LSTM units=3; Dense units=2", 9, 2, ky_kernels_get());
    ky_plan *p = NULL;
    ky_err err;

    (void)state;
    assert_int_equal(ky_model_set_outputs(m, 2, (const int[]){ 0, 1 }, NULL), KY_OK);
    for (int memory = KY_MEMORY_STREAM; memory <= KY_MEMORY_WINDOW; memory++) {
        assert_int_equal(ky_plan_new(m, (enum ky_memory)memory, 0, 1, &p, &err), KY_EUNSUPPORTED);
        assert_non_null(strstr(err.text, "1 inputs and 2 outputs"));
    }
    assert_null(p);
    ky_model_free(m);
}

static void windows_that_make_no_sense_are_refused(void **state)
{
    ky_model *m;
    ky_plan *p = NULL;
    ky_err err;

    (void)state;
    assert_int_equal(net_build("Flatten; Dense units=2", 9, 2, ky_kernels_get(), false, &m, &err),
                     KY_OK);
    assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, 10, 1, &p, &err), KY_ESHAPE);
    assert_non_null(strstr(err.text, "window = 10"));
    assert_non_null(strstr(err.text, "9 steps"));
    assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, 0, 0, &p, &err), KY_EINVAL);
    assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, 0, -1, &p, &err), KY_EINVAL);
    ky_model_free(m);
    assert_int_equal(net_build("LSTM units=2", KY_ANY, 2, ky_kernels_get(), false, &m, &err),
                     KY_OK);
    assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, 0, 1, &p, &err), KY_EINVAL);
    assert_non_null(strstr(err.text, "window = T"));
    assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, 1 << 22, 1, &p, &err), KY_OK);
    ky_plan_free(p);
    p = NULL;
    ky_model_free(m);
    assert_int_equal(net_build("LSTM units=2", KY_ANY, 100, ky_kernels_get(), false, &m, &err),
                     KY_OK);
    assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, 1 << 22, 1, &p, &err), KY_EFULL);
    ky_model_free(m);
    assert_null(p);
}

static void the_layout_tells_what_a_states_bytes_mean(void **state)
{
    static const struct {
        const char *spec;
        enum ky_memory memory;
        int hop;
    } cases[] = {
        { "LSTM units=3; Dense units=2", KY_MEMORY_STREAM, 1 },
        { "LSTM units=4; Dense units=2", KY_MEMORY_STREAM, 1 },
        { "LSTM units=3; Dense units=2", KY_MEMORY_WINDOW, 1 },
        { "LSTM units=3; Dense units=2", KY_MEMORY_WINDOW, 2 },
        { "Conv1D filters=2 kernel_size=3; LSTM units=3", KY_MEMORY_STREAM, 1 },
        { "Conv1D filters=2 kernel_size=3 padding=causal; LSTM units=3", KY_MEMORY_STREAM, 1 },
        { "Conv1D filters=2 kernel_size=3 strides=2; LSTM units=3", KY_MEMORY_STREAM, 1 },
    };
    uint64_t layout[sizeof(cases) / sizeof(*cases)];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        rig *r = rig_new(cases[i].spec, 9, 2, cases[i].memory, 0, cases[i].hop);
        ky_plan *again;

        layout[i] = ky_plan_layout(r->p);
        net_weights(r->m, 99); /* retrained: the same layout */
        assert_int_equal(ky_plan_new(r->m, cases[i].memory, 0, cases[i].hop, &again, NULL), KY_OK);
        assert_true(ky_plan_layout(again) == layout[i]);
        ky_plan_free(again);
        rig_free(r);
        for (size_t j = 0; j < i; j++)
            assert_true(layout[i] != layout[j]);
    }
}

/* 100 samples of one number, not 100 rows of the table. */
static void what_costs_nothing_is_not_kept(void **state)
{
    ky_model *m =
        build("Reshape target_shape=-1; Embedding input_dim=9 output_dim=32; LSTM units=2", 100, 1,
              ky_kernels_get());
    ky_plan *p;

    (void)state;
    assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, 0, 1, &p, NULL), KY_OK);
    assert_true(ky_plan_state_bytes(p) <= 64 + 448);
    assert_non_null(strstr(ky_plan_why_whole(p), "costs nothing"));
    ky_plan_free(p);
    ky_model_free(m);
}

/* Columns are what the weights made of the samples; samples alone are any model's. */
static void a_state_that_keeps_columns_belongs_to_its_weights(void **state)
{
    ky_model *m = build("Conv1D filters=2 kernel_size=3; Flatten", 9, 2, ky_kernels_get());
    uint64_t layout[2][2];

    (void)state;
    for (int trained = 0; trained < 2; trained++) {
        for (int whole = 0; whole < 2; whole++) {
            ky_plan *p;

            assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, 0, whole ? 9 : 1, &p, NULL), KY_OK);
            layout[trained][whole] = ky_plan_layout(p);
            ky_plan_free(p);
        }
        m->weights[0] += 1;
        assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    }
    assert_true(layout[0][0] != layout[1][0]);
    assert_true(layout[0][1] == layout[1][1]);
    ky_model_free(m);
}

/* 60 doublings of the ways through the graph, which must not be walked one by one. */
static void reach_follows_branches_and_strides(void **state)
{
    ky_model *m = build("Conv1D filters=2 kernel_size=3; MaxPooling1D; Conv1D filters=2 "
                        "kernel_size=2 dilation_rate=3; LSTM units=2",
                        40, 2, ky_kernels_get());
    ky_shape input = { .rank = 2, .d = { KY_ANY, 2 }, .timed = true };
    int samples[64];
    ky_layer l;

    (void)state;
    assert_int_equal(ky_plan_reach(m, samples), KY_OK);
    assert_int_equal(samples[0], 3);
    assert_int_equal(samples[1], 4);
    assert_int_equal(samples[2], 4 + 3 * 2);
    assert_int_equal(samples[3], 0);
    ky_model_free(m);
    assert_int_equal(ky_model_new("m", &input, &m, NULL), KY_OK);
    for (int i = 0; i < 60; i++) {
        ky_layer_init(&l, ky_layer_find("Add"), "");
        assert_int_equal(ky_model_call(m, &l, 2, (const int[]){ i - 1, i - 1 }, NULL), i);
    }
    assert_int_equal(ky_model_finish(m, NULL), KY_OK);
    assert_int_equal(ky_plan_reach(m, samples), KY_OK);
    assert_int_equal(samples[59], 1);
    ky_model_free(m);
}

static void the_self_test_passes_every_layer_and_finds_a_broken_model(void **state)
{
    (void)state;
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++)
        for (int i = 0; i < NET_CASES; i++)
            for (int memory = KY_MEMORY_STREAM; memory <= KY_MEMORY_WINDOW; memory++) {
                const net_case *c = &net_cases[i];
                ky_model *m;
                ky_plan *p;
                ky_err err;

                assert_int_equal(net_build(c->spec, c->T, c->F, *k, false, &m, &err), KY_OK);
                if (ky_plan_new(m, (enum ky_memory)memory, 0, 2, &p, &err) == KY_OK) {
                    if (ky_plan_selftest(p, &err) < 0)
                        fail_msg("%s: %s", c->spec, err.text);
                    if (m->n_weights > 0 && strncmp(c->spec, "LSTM", 4) == 0) {
                        m->weights[0] = (ky_real)NAN;
                        assert_int_equal(ky_model_pack(m, NULL), KY_OK);
                        assert_int_equal(ky_plan_selftest(p, &err), KY_ECORRUPT);
                        assert_non_null(strstr(err.text, "model 'net'"));
                    }
                    ky_plan_free(p);
                }
                ky_model_free(m);
            }
}

/* -- windows that reuse what earlier ones computed ------------------------------------ */

/* The Conv1D net of the benchmarks: convolutions of 3 steps, a pool of 2, 3968 -> 100 -> 6. */
static const char conv_net[] = "Conv1D filters=64 kernel_size=3 activation=relu; Conv1D filters=64 "
                               "kernel_size=3 activation=relu; MaxPooling1D; Flatten; "
                               "Dense units=100 activation=relu; Dense units=6 activation=softmax";

/*
 * By hand. One column: 3*9*64 = 1728 of the first convolution, 3*64*64 = 12288 of the second;
 * the rest 62*64*100 + 100*6 = 397400. A window has 126 and 124 columns; a hop of h adds h of
 * each. At 128 windows have nothing in common.
 */
static void an_answer_costs_what_its_new_samples_need(void **state)
{
    static const struct {
        int hop;
        size_t macs;
    } cases[] = {
        { 1, 1728 + 12288 + 397400 },
        { 2, 2 * (1728 + 12288) + 397400 },
        { 3, 3 * (1728 + 12288) + 397400 },
        { 64, 64 * (1728 + 12288) + 397400 },
        { 128, 126 * 1728 + 124 * 12288 + 397400 },
    };
    ky_model *m = build(conv_net, 128, 9, ky_kernels_get());

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_plan *p;
        ky_err err;

        assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, 0, cases[i].hop, &p, &err), KY_OK);
        assert_int_equal(ky_plan_macs(p), cases[i].macs);
        assert_int_equal(ky_plan_macs_whole(p), 126 * 1728 + 124 * 12288 + 397400);
        assert_true((ky_plan_why_whole(p) != NULL) == (cases[i].hop == 128));
        if (ky_plan_selftest(p, &err) < 0)
            fail_msg("hop %d: %s", cases[i].hop, err.text);
        ky_plan_free(p);
    }
    ky_model_free(m);
}

/* A stream of samples, hostile ones among them, and what it has got. */
typedef struct listener {
    void *state;
    int joins; /* at this step of the trial */
    float *x;  /* [STEPS,F] */
} listener;

enum { LISTENERS = 9, STEPS = 90 };

static size_t values_of(const ky_model *m)
{
    return (size_t)ky_model_facts(m)->features;
}

static listener listener_new(const ky_plan *p, const ky_model *m, ky_rng *rng, int s)
{
    listener l = { .state = new_state(p), .joins = s < 2 ? 0 : (int)ky_rng_below(rng, 20) };
    size_t n = STEPS * values_of(m);
    ky_real *x = net_reals(n);

    net_inputs(x, n, 100 + (uint64_t)s, s % 3 == 2);
    l.x = malloc(n * sizeof(*l.x));
    for (size_t i = 0; i < n; i++)
        l.x[i] = (float)x[i];
    free(x);
    return l;
}

/* The model's answer on the T samples that end with sample t, at once. */
static void want_answer(const ky_model *m, int T, const listener *l, int t, ky_real *y)
{
    size_t F = values_of(m), n = (size_t)T * F;
    ky_work *work = ky_work_new(m, T, 1);
    ky_real *x = net_reals(n);

    for (size_t i = 0; i < n; i++)
        x[i] = l->x[(size_t)(t + 1 - T) * F + i];
    ky_model_predict(m, work, 1, T, x, y);
    ky_work_free(work);
    free(x);
}

/* Streams that join at different times, in waves that change; one of them is stored and loaded
 * on the way. Every answer is that of its window computed whole, or, T being 0, of all samples so
 * far. Returns how many there were. */
static int check_answers(const char *what, const ky_model *m, int T, int hop, int most)
{
    enum ky_memory memory = T > 0 ? KY_MEMORY_WINDOW : KY_MEMORY_STREAM;
    size_t F = values_of(m), outputs = (size_t)ky_model_facts(m)->outputs;
    ky_real *want = net_reals(outputs);
    float *y = malloc(LISTENERS * outputs * sizeof(*y));
    listener l[LISTENERS];
    int answers = 0;
    ky_plan *p;
    ky_wave *w;
    ky_rng rng;
    ky_err err;

    if (ky_plan_new(m, memory, T, hop, &p, &err) < 0)
        fail_msg("%s: %s", what, err.text);
    w = ky_wave_new(p, LISTENERS);
    ky_rng_seed(&rng, (uint64_t)(T * 100 + hop));
    for (int s = 0; s < LISTENERS; s++)
        l[s] = listener_new(p, m, &rng, s);
    for (int now = 0; now < STEPS; now++)
        for (int first = 0; first < LISTENERS; first += most) {
            const float *x[LISTENERS];
            float *to[LISTENERS];
            void *states[LISTENERS];
            bool answered[LISTENERS];
            int who[LISTENERS], B = 0;

            for (int s = first; s < first + most && s < LISTENERS; s++) {
                int of = (s * 4 + now) % LISTENERS;

                if (now < l[of].joins)
                    continue;
                who[B] = of;
                x[B] = l[of].x + (size_t)(now - l[of].joins) * F;
                to[B] = y + (size_t)of * outputs;
                states[B++] = l[of].state;
            }
            ky_plan_step(p, w, B, x, states, to, answered);
            for (int r = 0; r < B; r++) {
                int t = now - l[who[r]].joins;

                if (T > 0 && answered[r] != (t >= T - 1 && (t - (T - 1)) % hop == 0))
                    fail_msg("%s, T %d, hop %d: sample %d", what, T, hop, t);
                if (!answered[r])
                    continue;
                want_answer(m, T > 0 ? T : t + 1, &l[who[r]], t, want);
                for (size_t j = 0; j < outputs; j++) {
                    float have = to[r][j], whole = (float)want[j];

                    if (memcmp(&have, &whole, sizeof(have)) != 0 && !(isnan(have) && isnan(whole)))
                        fail_msg("%s, T %d, hop %d: output %zu of sample %d: %.9g, not %.9g", what,
                                 T, hop, j, t, (double)have, (double)whole);
                }
                answers++;
            }
            if (now == 40) { /* a restart */
                void *again = new_state(p);

                memcpy(again, l[0].state, ky_plan_state_bytes(p));
                assert_true(ky_plan_state_ok(p, again, ky_plan_state_bytes(p)));
                free(l[0].state);
                l[0].state = again;
            }
        }
    for (int s = 0; s < LISTENERS; s++) {
        free(l[s].state);
        free(l[s].x);
    }
    ky_wave_free(w);
    ky_plan_free(p);
    free(want);
    free(y);
    return answers;
}

static const net_case window_graphs[] = {
    { "Conv1D filters=3 kernel_size=3; Conv1D filters=2 kernel_size=3; MaxPooling1D; Flatten; "
      "Dense units=3",
      0, 2 },
    { "Conv1D filters=3 kernel_size=3 padding=causal; Conv1D filters=2 kernel_size=2 "
      "padding=causal dilation_rate=2; Flatten; Dense units=3",
      0, 2 },
    { "Conv1D filters=3 kernel_size=3 padding=same; BatchNormalization; ReLU; Conv1D filters=2 "
      "kernel_size=4 padding=same; GlobalAveragePooling1D",
      0, 2 },
    { "Conv1D filters=3 kernel_size=3 strides=2 padding=same; MaxPooling1D pool_size=2; Conv1D "
      "filters=2 kernel_size=2 padding=causal; LSTM units=3",
      0, 2 },
    { "AveragePooling1D pool_size=3 strides=1 padding=same; Dense units=4 activation=tanh; "
      "Conv1D filters=3 kernel_size=2 strides=3; LSTM units=2 return_sequences=1; Flatten",
      0, 3 },
    { "columns=6; Conv1D filters=3 kernel_size=3 padding=same distributed=1; MaxPooling1D "
      "distributed=1; Flatten distributed=1; Conv1D filters=4 kernel_size=2; LSTM units=3; "
      "Dense units=2",
      0, 12 },
    { "columns=4; Conv2D filters=3 kernel_size=3 padding=same; MaxPooling2D; Flatten; "
      "Dense units=2",
      0, 8 },
    { "columns=3; SeparableConv2D filters=3 kernel_size=2x3 padding=same strides=2; "
      "AveragePooling2D pool_size=2x1; Flatten",
      0, 6 },
    { "a: Dense units=3; c: Conv1D filters=3 kernel_size=2 padding=causal; =c; =a; Dropout; "
      "GlobalMaxPooling1D",
      0, 3 },
    { "LSTM units=3; Dense units=2", 0, 2 },
    { "Conv1D filters=3 kernel_size=3; Dense units=2", 0, 2 },
    /* branches: residual ones, of different reach, of different padding */
    { "a: Conv1D filters=2 kernel_size=3 padding=causal; b: Add @a,in; c: Conv1D filters=2 "
      "kernel_size=2 dilation_rate=3 padding=causal; Add @c,b; Flatten; Dense units=2",
      0, 2 },
    { "a: Conv1D filters=3 kernel_size=5 padding=same; b: Conv1D filters=2 kernel_size=3 "
      "padding=causal @in; Concatenate @a,b,in; MaxPooling1D; GlobalAveragePooling1D",
      0, 2 },
    { "a: Conv1D filters=3 kernel_size=4 strides=2; b: MaxPooling1D pool_size=4 strides=2 @in; "
      "Concatenate @a,b; c: Conv1D filters=2 kernel_size=2; Flatten; d: LSTM units=2 @c; "
      "Concatenate @flatten,d",
      0, 2 },
    { "a: DepthwiseConv1D kernel_size=3 padding=same; b: GlobalMaxPooling1D; c: Multiply @a,b; "
      "Conv1D filters=2 kernel_size=3 @a; e: GlobalAveragePooling1D; f: LSTM units=2 @c; "
      "Average @e,f",
      0, 2 },
    { "Masking; LSTM units=3 return_sequences=1; Conv1D filters=2 kernel_size=2; Flatten", 0, 1 },
    { "Reshape target_shape=-1; Embedding input_dim=5 output_dim=3; Conv1D filters=3 "
      "kernel_size=3 padding=causal; GlobalMaxPooling1D",
      0, 1 },
    { "Conv1D filters=2 kernel_size=3; Bidirectional of LSTM units=2; Dense units=2", 0, 2 },
};

static void reusing_earlier_windows_gives_the_bits_of_computing_them_whole(void **state)
{
    static const int lengths[] = { 8, 11, 16, 23, 32 }, hops[] = { 1, 2, 3, 4, 5, 7, 12, 40 };
    int answers = 0;

    (void)state;
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++)
        for (size_t i = 0; i < sizeof(window_graphs) / sizeof(*window_graphs); i++)
            for (size_t n = 0; n < sizeof(lengths) / sizeof(*lengths); n++) {
                ky_model *m = build(window_graphs[i].spec, lengths[n], window_graphs[i].F, *k);

                for (size_t h = 0; h < sizeof(hops) / sizeof(*hops); h++)
                    answers += check_answers(window_graphs[i].spec, m, lengths[n], hops[h],
                                             h % 2 == 0 ? LISTENERS : 2);
                ky_model_free(m);
            }
    assert_true(answers > 20000);
}

/* Every layer there is, whatever it does along time. */
static void every_layer_answers_for_its_windows(void **state)
{
    int answers = 0;

    (void)state;
    for (int i = 0; i < NET_CASES; i++) {
        ky_model *m = build(net_cases[i].spec, net_cases[i].T, net_cases[i].F, ky_kernels_get());

        for (int hop = 1; hop <= 3; hop++)
            answers += check_answers(net_cases[i].spec, m, net_cases[i].T, hop, LISTENERS);
        ky_model_free(m);
    }
    assert_true(answers > NET_CASES * LISTENERS);
}

/* The kernel sets take turns. */
static const ky_kernels *kernels_of(int trial)
{
    int n = 0;

    while (ky_kernels_all()[n] != NULL)
        n++;
    return ky_kernels_all()[trial % n];
}

/* One to four of the n layers, # being a small number, and an end. */
static void random_spec(ky_rng *rng, const char *const *layers, size_t n, const char *end,
                        char spec[512])
{
    int at = 0;

    for (int left = 1 + (int)ky_rng_below(rng, 4); left > 0; left--) {
        for (const char *c = layers[ky_rng_below(rng, n)]; *c != '\0'; c++)
            spec[at++] = *c == '#' ? (char)('1' + (int)ky_rng_below(rng, 4)) : *c;
        spec[at++] = ';';
    }
    snprintf(spec + at, 512 - (size_t)at, "%s", end);
}

/* Layers one behind the other as far as they go together. */
static void random_chains_reuse_windows_to_the_bit(void **state)
{
    static const char *const layers[] = {
        "Conv1D filters=3 kernel_size=#",
        "Conv1D filters=2 kernel_size=# padding=same",
        "Conv1D filters=3 kernel_size=# padding=causal dilation_rate=2",
        "Conv1D filters=2 kernel_size=# padding=same strides=2",
        "Conv1D filters=3 kernel_size=# strides=3",
        "MaxPooling1D pool_size=#",
        "AveragePooling1D pool_size=# strides=1 padding=same",
        "MaxPooling1D pool_size=# strides=2 padding=same",
        "Dense units=# activation=tanh",
        "BatchNormalization",
        "Activation activation=sigmoid",
    };
    static const char *const ends[] = { "Flatten", "GlobalAveragePooling1D", "LSTM units=2",
                                        "Dense units=2" };
    enum { TRIALS = 120 };
    ky_rng rng;
    int kept = 0;

    (void)state;
    ky_rng_seed(&rng, 12);
    for (int trial = 0; trial < TRIALS; trial++) {
        int T = 6 + (int)ky_rng_below(&rng, 30), hop = 1 + (int)ky_rng_below(&rng, 9);
        char spec[512];
        ky_model *m;
        ky_plan *p;
        ky_err err;

        random_spec(&rng, layers, sizeof(layers) / sizeof(*layers), ends[ky_rng_below(&rng, 4)],
                    spec);
        if (net_build(spec, T, 2, kernels_of(trial), false, &m, &err) < 0) {
            assert_int_equal(err.code, KY_ESHAPE); /* too short for what came out */
            continue;
        }
        check_answers(spec, m, T, hop, 1 + (int)ky_rng_below(&rng, LISTENERS));
        assert_int_equal(ky_plan_new(m, KY_MEMORY_WINDOW, T, hop, &p, &err), KY_OK);
        kept += ky_plan_why_whole(p) == NULL;
        if (ky_plan_selftest(p, &err) < 0)
            fail_msg("%s: %s", spec, err.text);
        ky_plan_free(p);
        ky_model_free(m);
    }
    assert_true(kept > TRIALS / 4);
}

/* -- graphs step by step ------------------------------------------------------------- */

static const net_case stream_graphs[] = {
    { "a: LSTM units=3 return_sequences=1; =a; =a; Dense units=2", 0, 3 },
    { "a: Dense units=4; c: Conv1D filters=4 kernel_size=3 strides=2 padding=causal; =c; =a; "
      "LSTM units=3",
      0, 4 },
    { "columns=4; LSTM units=3 distributed=1; Dense units=2; Flatten distributed=1; LSTM units=2",
      0, 12 },
    { "columns=6; Conv1D filters=3 kernel_size=3 padding=same distributed=1; MaxPooling1D "
      "distributed=1; Flatten distributed=1; Conv1D filters=4 kernel_size=2; LSTM units=3; "
      "Dense units=2",
      0, 12 },
    { "a: Conv1D filters=2 kernel_size=3 padding=causal; b: Add @a,in; c: Conv1D filters=2 "
      "kernel_size=2 dilation_rate=3 padding=causal; Add @c,b; LSTM units=3",
      0, 2 },
    { "a: Conv1D filters=3 kernel_size=4 strides=2; b: MaxPooling1D pool_size=4 strides=2 @in; "
      "Concatenate @a,b; c: GRU units=2; d: SimpleRNN units=3 @concatenate; Concatenate @c,d",
      0, 2 },
    { "a: LSTM units=4; RepeatVector n=3; LSTM units=3 return_sequences=1; Bidirectional of LSTM "
      "units=2; b: Dense units=4; Add @a,b",
      0, 2 },
    { "a: LSTM units=6; Reshape target_shape=3x2; Conv1D filters=2 kernel_size=2 padding=same; "
      "Flatten; Softmax",
      0, 2 },
    { "Masking; a: LSTM units=3 return_sequences=1; b: GRU units=3 return_sequences=1 @masking; "
      "Add @a,b; LSTM units=2 zero_output_for_mask=1",
      0, 1 },
    { "Reshape target_shape=-1; a: Embedding input_dim=3 output_dim=5 mask_zero=1; b: Embedding "
      "input_dim=2 output_dim=5 mask_zero=1 @reshape; Multiply @a,b; LSTM units=3",
      0, 1 },
    { "LSTM units=4 return_sequences=1; a: Dense units=4 activation=sigmoid; Multiply @lstm,a; "
      "LayerNormalization; LeakyReLU; DepthwiseConv1D kernel_size=2 padding=causal",
      0, 3 },
};

static void every_graph_that_streams_answers_for_its_whole_past(void **state)
{
    int answers = 0;

    (void)state;
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++)
        for (size_t i = 0; i < sizeof(stream_graphs) / sizeof(*stream_graphs); i++) {
            ky_model *m = build(stream_graphs[i].spec, KY_ANY, stream_graphs[i].F, *k);
            ky_plan *p;
            ky_err err;

            for (int most = 2; most <= LISTENERS; most += LISTENERS - 2)
                answers += check_answers(stream_graphs[i].spec, m, 0, 1, most);
            assert_int_equal(ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, &p, &err), KY_OK);
            if (ky_plan_selftest(p, &err) < 0)
                fail_msg("%s: %s", stream_graphs[i].spec, err.text);
            ky_plan_free(p);
            ky_model_free(m);
        }
    assert_true(answers > 5000);
}

/* The layers that step, one behind the other, # for a small number. */
static void random_chains_stream_to_the_bit(void **state)
{
    static const char *const layers[] = {
        "Conv1D filters=3 kernel_size=#",
        "Conv1D filters=3 kernel_size=# padding=causal dilation_rate=2",
        "Conv1D filters=2 kernel_size=# strides=2",
        "Conv1D filters=4 kernel_size=2 padding=causal strides=# groups=1",
        "DepthwiseConv1D kernel_size=# depth_multiplier=2 padding=causal",
        "SeparableConv1D filters=3 kernel_size=#",
        "MaxPooling1D pool_size=#",
        "AveragePooling1D pool_size=# strides=2",
        "Dense units=# activation=gelu",
        "LSTM units=# return_sequences=1",
        "GRU units=# return_sequences=1",
        "SimpleRNN units=# return_sequences=1",
        "LayerNormalization",
        "BatchNormalization",
        "PReLU shared_axes=1",
        "Dropout",
    };
    static const char *const ends[] = { "LSTM units=2", "GRU units=2 reset_after=0",
                                        "Dense units=2",
                                        "SimpleRNN units=2; RepeatVector n=2; GRU units=2" };
    enum { TRIALS = 60 };
    int answers = 0;
    ky_rng rng;

    (void)state;
    ky_rng_seed(&rng, 21);
    for (int trial = 0; trial < TRIALS; trial++) {
        char spec[512];
        ky_model *m;

        random_spec(&rng, layers, sizeof(layers) / sizeof(*layers), ends[ky_rng_below(&rng, 4)],
                    spec);
        m = build(spec, KY_ANY, 2, kernels_of(trial));
        answers += check_answers(spec, m, 0, 1, 1 + (int)ky_rng_below(&rng, LISTENERS));
        ky_model_free(m);
    }
    assert_true(answers > TRIALS * 20);
}

/* Two calls of one layer do not share what they remember. */
static void the_parts_of_a_state_are_named_and_add_up(void **state)
{
    ky_model *m = build("a: LSTM units=3 return_sequences=1; =a; Conv1D filters=2 kernel_size=4; "
                        "LSTM units=5",
                        KY_ANY, 3, ky_kernels_get());
    const ky_plan_part *part;
    size_t at = 0;
    ky_plan *p;

    (void)state;
    assert_int_equal(ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, &p, NULL), KY_OK);
    assert_int_equal(ky_plan_parts(p, &part), 4);
    assert_string_equal(part[0].layer, "a");
    assert_int_equal(part[0].bytes, 6 * sizeof(float)); /* h and c */
    assert_true(part[0].h == 3 && part[0].bounded);     /* h alone */
    assert_string_equal(part[1].layer, "a");
    assert_string_equal(part[2].layer, "conv1d");
    assert_int_equal(part[2].bytes, (16 + 3 * 3) * sizeof(float)); /* counters, three inputs */
    assert_true(part[2].h == 0);
    assert_string_equal(part[3].layer, "lstm");
    assert_int_equal(part[3].bytes, 10 * sizeof(float));
    for (int i = 0; i < 4; i++) {
        assert_true(part[i].at >= at && part[i].at % 64 == 0);
        at = part[i].at + part[i].bytes;
    }
    assert_true(at <= ky_plan_state_bytes(p) && ky_plan_state_bytes(p) < at + 64);
    ky_plan_free(p);
    ky_model_free(m);
}

/* Every input is a sequence of its own. */
static void a_model_without_time_answers_every_sample(void **state)
{
    ky_shape input = { .rank = 1, .d = { 3 } };
    ky_model *m;
    ky_layer l;

    (void)state;
    assert_int_equal(ky_model_new("m", &input, &m, NULL), KY_OK);
    ky_layer_init(&l, ky_layer_find("Dense"), "");
    l.cfg.units = 2;
    assert_int_equal(ky_model_add(m, &l, NULL), KY_OK);
    ky_layer_init(&l, ky_layer_find("LSTM"), "");
    l.cfg.units = 2;
    assert_int_equal(ky_model_add(m, &l, NULL), KY_ESHAPE);
    assert_int_equal(ky_model_finish(m, NULL), KY_OK);
    net_weights(m, 3);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    assert_int_equal(ky_model_facts(m)->window, 1);
    for (int memory = KY_MEMORY_STREAM; memory <= KY_MEMORY_WINDOW; memory++) {
        ky_plan *p;

        assert_int_equal(ky_plan_new(m, (enum ky_memory)memory, 0, 1, &p, NULL), KY_OK);
        assert_int_equal(ky_plan_selftest(p, NULL), KY_OK);
        ky_plan_free(p);
    }
    ky_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_answers_at_its_last_sample_and_then_every_hop),
        cmocka_unit_test(a_model_of_any_length_takes_the_window_it_is_given),
        cmocka_unit_test(a_stream_answers_for_its_whole_past),
        cmocka_unit_test(a_wave_gives_each_stream_what_it_gets_alone),
        cmocka_unit_test(a_stored_state_goes_on_where_it_was),
        cmocka_unit_test(damaged_states_are_refused),
        cmocka_unit_test(whatever_state_is_accepted_can_be_stepped),
        cmocka_unit_test(what_cannot_be_streamed_is_refused_with_the_layer_and_a_way_out),
        cmocka_unit_test(a_stream_has_one_input_and_one_output),
        cmocka_unit_test(windows_that_make_no_sense_are_refused),
        cmocka_unit_test(the_layout_tells_what_a_states_bytes_mean),
        cmocka_unit_test(what_costs_nothing_is_not_kept),
        cmocka_unit_test(a_state_that_keeps_columns_belongs_to_its_weights),
        cmocka_unit_test(reach_follows_branches_and_strides),
        cmocka_unit_test(the_self_test_passes_every_layer_and_finds_a_broken_model),
        cmocka_unit_test(an_answer_costs_what_its_new_samples_need),
        cmocka_unit_test(reusing_earlier_windows_gives_the_bits_of_computing_them_whole),
        cmocka_unit_test(every_layer_answers_for_its_windows),
        cmocka_unit_test(random_chains_reuse_windows_to_the_bit),
        cmocka_unit_test(every_graph_that_streams_answers_for_its_whole_past),
        cmocka_unit_test(random_chains_stream_to_the_bit),
        cmocka_unit_test(the_parts_of_a_state_are_named_and_add_up),
        cmocka_unit_test(a_model_without_time_answers_every_sample),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
