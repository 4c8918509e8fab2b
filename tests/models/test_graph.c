/* What a configuration of Keras's becomes: which layers are called on what, with which options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/keras.h"
#include "models/layer_tools.h"

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

/* Configurations are written with ' for ". */
#define LAYER(class, name, options)                                                                \
    "{'class_name':'" class "','config':{'name':'" name "'" options "}}"
#define CALLED(class, name, options, nodes)                                                        \
    "{'class_name':'" class "','name':'" name "','config':{'name':'" name "'" options              \
                            "},'inbound_nodes':" nodes "}"
#define INPUT(name, shape) CALLED("InputLayer", name, ",'batch_input_shape':[null," shape "]", "[]")
#define SHAPE(dims)        ",'batch_input_shape':[null," dims "]"
#define SEQUENTIAL(name, layers)                                                                   \
    "{'class_name':'Sequential','config':{'name':'" name "','layers':[" layers "]}}"
#define FUNCTIONAL(name, layers, in, out)                                                          \
    "{'class_name':'Functional','config':{'name':'" name "','layers':[" layers                     \
    "],'input_layers':" in ",'output_layers':" out "}}"
#define DENSE(name, units) LAYER("Dense", name, ",'units':" units)

static char *quoted(const char *text)
{
    char *copy = strdup(text);

    for (char *c = copy; *c != '\0'; c++)
        if (*c == '\'')
            *c = '"';
    return copy;
}

static int try_read(const char *text, const char *version, ky_model **ret, ky_keras_tree **tree,
                    ky_err *err)
{
    char *json = quoted(text);

    *ret = NULL;
    int rc =
        ky_keras_config_tree(json, strlen(json), ky_keras_version_read(version), ret, tree, err);
    free(json);
    return rc;
}

static ky_model *read_version(const char *text, const char *version)
{
    ky_model *m = NULL;
    ky_err err = { 0 };

    if (try_read(text, version, &m, NULL, &err) < 0)
        fail_msg("%s\n%s", err.text, text);
    return m;
}

static ky_model *read_model(const char *text)
{
    return read_version(text, "2.15.0");
}

/* The calls of a model in a line: "dense(-1) add(0,-2)", a shared layer's with its first call. */
static const char *wiring(const ky_model *m)
{
    static char text[2000];
    size_t n = 0;

    text[0] = '\0';
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];

        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i > 0 ? " " : "", l->name);
        if (l->shares != i)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "=%d", l->shares);
        for (int k = 0; k < l->distributed; k++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "*");
        for (int k = 0; k < l->n_in; k++)
            n +=
                (size_t)snprintf(text + n, sizeof(text) - n, "%c%d", k > 0 ? ',' : '(', l->from[k]);
        n += (size_t)snprintf(text + n, sizeof(text) - n, ")");
    }
    n += (size_t)snprintf(text + n, sizeof(text) - n, " ->");
    for (int k = 0; k < m->n_outputs; k++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, " %d", m->outputs[k]);
    return text;
}

static void assert_wiring(const char *config, const char *want)
{
    ky_model *m = read_model(config);

    assert_string_equal(wiring(m), want);
    ky_model_free(m);
}

/* -- graphs ------------------------------------------------------------------------------- */

#define T3(name, call)                                                                             \
    "{'class_name':'__keras_tensor__','config':{'shape':[null,3],'dtype':'float32',"               \
    "'keras_history':['" name "'," call ",0]}}"

/* Two inputs, a layer called on both, their sum: in Keras 2's words and in Keras 3's. */
static void both_styles_of_nodes_give_the_same_graph(void **state)
{
    static const char want[] = "d(-1) d=0(-2) s(0,1) -> 2";

    (void)state;
    assert_wiring(FUNCTIONAL("f",
                             INPUT("a", "3") "," INPUT("b", "3") "," CALLED(
                                 "Dense", "d", ",'units':4",
                                 "[[['a',0,0,{}]],[['b',0,0,{}]]]") "," CALLED("Add", "s", "",
                                                                               "[[['d',0,0,{}],"
                                                                               "['d',1,0,{}]]]"),
                             "[['a',0,0],['b',0,0]]", "[['s',0,0]]"),
                  want);
    assert_wiring(FUNCTIONAL("f",
                             INPUT("a", "3") "," INPUT("b", "3") "," CALLED(
                                 "Dense", "d", ",'units':4",
                                 "[{'args':[" T3("a", "0") "],'kwargs':{}},{'args':[" T3(
                                     "b", "0") "],'kwargs':{'training':false,'mask':null}}"
                                               "]") "," CALLED("Add", "s", "",
                                                               "[{'args':[[" T3("d", "0") "," T3(
                                                                   "d", "1") "]],'"
                                                                             "kwarg"
                                                                             "s':{}"
                                                                             "}]"),
                             "[['a',0,0],['b',0,0]]", "['s',0,0]"),
                  want);
}

static void the_order_of_the_file_is_free(void **state)
{
    (void)state;
    assert_wiring(
        FUNCTIONAL("f",
                   CALLED("Add", "s", "", "[[['x',0,0],['y',0,0]]]") "," CALLED(
                       "Dense", "y", ",'units':4",
                       "[[['x',0,0]]]") "," INPUT("a", "3") "," CALLED("Dense", "x", ",'units':4",
                                                                       "[[['a',0,0]]]"),
                   "[['a',0,0]]", "[['s',0,0]]"),
        "x(-1) y(0) s(0,1) -> 2");
}

/* input_layers decides, not the file's order; dicts are taken in the order of their keys. */
static void inputs_and_outputs_have_their_order_and_names(void **state)
{
    static const char *const in[] = { "[['b',0,0],['a',0,0]]", "{'y':['a',0,0],'x':['b',0,0]}" };
    static const char *const out[] = { "[['e',0,0],['d',0,0]]", "{'q':['d',0,0],'p':['e',0,0]}" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        char text[1000];
        int dims[KY_MAX_RANK];
        const char *name;

        snprintf(
            text, sizeof(text),
            FUNCTIONAL("f",
                       INPUT("a", "3") "," INPUT("b", "5") "," CALLED(
                           "Dense", "d", ",'units':4",
                           "[[['a',0,0]]]") "," CALLED("Dense", "e", ",'units':2", "[[['b',0,0]]]"),
                       "%s", "%s"),
            in[i], out[i]);
        ky_model *m = read_model(text);
        assert_int_equal(m->n_inputs, 2);
        assert_int_equal(ky_model_input(m, 0, 1, dims, &name), 1);
        assert_int_equal(dims[0], 5);
        assert_string_equal(name, "b");
        assert_int_equal(m->n_outputs, 2);
        assert_int_equal(ky_model_output(m, 0, 1, dims, &name), 1);
        assert_int_equal(dims[0], 2);
        assert_string_equal(name, "e");
        ky_model_free(m);
    }
}

/* Of inputs without steps, with four and with any number: a run's steps are those of the last. */
static void a_runs_steps_are_those_of_the_first_input_of_any_length(void **state)
{
    static const struct {
        const char *in;
        int time, window;
    } table[] = {
        { "[['a',0,0],['b',0,0],['c',0,0]]", 2, 0 },
        { "[['c',0,0],['b',0,0],['a',0,0]]", 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(table); i++) {
        char text[1500];
        int dims[KY_MAX_RANK];
        const char *name;

        snprintf(
            text, sizeof(text),
            FUNCTIONAL(
                "f",
                INPUT("a", "3") "," INPUT("b", "4,2") "," INPUT("c", "null,5") "," CALLED(
                    "GRU", "g", ",'units':3",
                    "[[['b',0,0]]]") "," CALLED("LSTM", "l", ",'units':3",
                                                "[[['c',0,0]]]") "," CALLED("Add", "s", "",
                                                                            "[[['a',0,0],['g',0,0],"
                                                                            "['l',0,0]]]"),
                "%s", "[['s',0,0]]"),
            table[i].in);
        ky_model *m = read_model(text);
        assert_int_equal(ky_model_time(m), table[i].time);
        assert_int_equal(m->info.window, table[i].window);
        assert_true(ky_model_fits(m, 7));
        for (int k = 0; k < m->n_inputs; k++) {
            int rank = ky_model_input(m, k, 7, dims, &name);

            assert_int_equal(rank, name[0] == 'a' ? 1 : 2);
            assert_int_equal(dims[0], name[0] == 'a' ? 3 : name[0] == 'b' ? 4 : 7);
        }
        ky_model_free(m);
    }
}

#define INNER                                                                                      \
    FUNCTIONAL("in",                                                                               \
               INPUT("i", "3") "," CALLED("Dense", "d", ",'units':3", "[[['i',0,0]]]") "," CALLED( \
                   "Dense", "e", ",'units':2", "[[['d',0,0]]]"),                                   \
               "[['i',0,0]]", "[['e',0,0],['d',0,0]]")

/* The text of a nested model: its own object with a name and nodes put behind. */
static void nested_text(char *to, size_t size, const char *inner, const char *nodes)
{
    snprintf(to, size, "%.*s,'name':'in','inbound_nodes':%s}", (int)strlen(inner) - 1, inner,
             nodes);
}

/* Calls of a nested model count from 1 in most versions of Keras, from 0 in the newest. */
static void nested_models_are_flattened_and_share_their_weights(void **state)
{
    static const char *const calls[][2] = { { "1", "2" }, { "0", "1" } };

    (void)state;
    for (int i = 0; i < 2; i++) {
        char inner[1000], text[3000];

        nested_text(inner, sizeof(inner), INNER, "[[['a',0,0]],[['b',0,0]]]");
        snprintf(text, sizeof(text),
                 FUNCTIONAL("f",
                            INPUT("a", "3") "," INPUT("b", "3") ",%s," CALLED(
                                "Add", "s", "", "[[['in',%s,1],['in',%s,1]]]"),
                            "[['a',0,0],['b',0,0]]", "[['s',0,0],['in',%s,0]]"),
                 inner, calls[i][0], calls[i][1], calls[i][1]);
        assert_wiring(text, "in_d(-1) in_e(0) in_d=0(-2) in_e=1(2) s(0,2) -> 4 3");
    }
}

static void names_stay_unique_when_models_are_flattened(void **state)
{
    (void)state;
    assert_wiring(SEQUENTIAL("m", LAYER("Dense", "a_d", ",'units':3" SHAPE("3")) "," SEQUENTIAL(
                                      "a", DENSE("d", "3") "," DENSE("d", "3"))),
                  "a_d(-1) a_d_1(0) a_d_2(1) -> 2");
}

static void the_tree_says_where_each_layer_went(void **state)
{
    ky_keras_tree *t = NULL;
    ky_model *m;
    ky_err err;

    (void)state;
    assert_int_equal(
        try_read(
            SEQUENTIAL("m",
                       LAYER("InputLayer", "i", SHAPE("5,3")) "," LAYER(
                           "TimeDistributed", "t",
                           ",'layer':" SEQUENTIAL(
                               "s", DENSE("d", "4") "," DENSE(
                                        "e", "2"))) "," LAYER("Bidirectional", "b",
                                                              ",'trainable':false,'layer':" LAYER(
                                                                  "LSTM", "l", ",'units':3"))),
            "2.15.0", &m, &t, &err),
        KY_OK);
    assert_string_equal(wiring(m), "t_d*(-1) t_e*(0) b(1) -> 2");
    assert_int_equal(t->kind, KY_KERAS_MODEL);
    assert_int_equal(t->n, 3);
    assert_int_equal(t->child[0]->layer, -1);
    const ky_keras_tree *td = t->child[1], *bi = t->child[2];
    assert_int_equal(td->kind, KY_KERAS_DISTRIBUTED);
    assert_int_equal(td->child[0]->kind, KY_KERAS_MODEL);
    assert_int_equal(td->child[0]->child[0]->layer, 0);
    assert_int_equal(td->child[0]->child[1]->layer, 1);
    assert_int_equal(bi->kind, KY_KERAS_BIDIRECTIONAL);
    assert_false(bi->trainable);
    assert_int_equal(bi->n, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bi->child[i]->inner, i);
        assert_int_equal(bi->child[i]->layer, 2);
        assert_string_equal(bi->child[i]->class_name, "LSTM");
        assert_false(bi->child[i]->trainable);
    }
    assert_string_equal(bi->child[1]->name, "backward_l");
    ky_keras_tree_free(t);
    ky_model_free(m);
}

static void time_distributed_layers_fold_one_axis_for_each_wrapper(void **state)
{
    (void)state;
    assert_wiring(SEQUENTIAL("m", LAYER("TimeDistributed", "t",
                                        SHAPE("2,5,3") ",'layer':" LAYER(
                                            "TimeDistributed", "u", ",'layer':" DENSE("d", "4")))),
                  "t**(-1) -> 0");
    assert_wiring(SEQUENTIAL("m", LAYER("TimeDistributedDense", "t",
                                        ",'output_dim':4,'input_dim':3,'input_length':null")),
                  "t(-1) -> 0");
}

/* -- inputs ----------------------------------------------------------------------------------- */

static void inputs_have_steps_where_their_readers_take_them(void **state)
{
    static const struct {
        const char *first;
        int rank, steps;
        bool timed;
    } table[] = {
        { LAYER("Dense", "d", ",'units':2" SHAPE("7")), 1, 7, false },
        { LAYER("Embedding", "d", ",'input_dim':9,'output_dim':2" SHAPE("7")), 1, 7, true },
        { LAYER("Embedding", "d", ",'input_dim':9,'output_dim':2" SHAPE("null")), 1, KY_ANY, true },
        { LAYER("Embedding", "d", ",'input_dim':9,'output_dim':2,'input_length':6"), 1, 6, true },
        { LAYER("LSTM", "d", ",'units':2" SHAPE("null,3")), 2, KY_ANY, true },
        { LAYER("Dense", "d", ",'units':2" SHAPE("7,3")), 2, 7, true },
        { LAYER("Conv2D", "d", ",'filters':2,'kernel_size':[2,2]" SHAPE("7,4,3")), 3, 7, false },
        { LAYER("TimeDistributed", "d", ",'layer':" DENSE("e", "2") SHAPE("7,4,3")), 3, 7, true },
        { LAYER("Dropout", "p", ",'rate':0.5" SHAPE("7,4,3")) "," LAYER(
              "TimeDistributed", "d", ",'layer':" DENSE("e", "2")),
          3, 7, true },
        { LAYER("TimeDistributed", "d", ",'layer':" DENSE("e", "2") SHAPE("null,4,3")), 3, KY_ANY,
          true },
        { LAYER("TimeDistributed", "d",
                ",'layer':" LAYER("Conv2D", "e", ",'filters':2,'kernel_size':2") SHAPE("7,5,4,3")),
          4, 7, true },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(table); i++) {
        char text[1000];

        snprintf(text, sizeof(text), SEQUENTIAL("m", "%s"), table[i].first);
        ky_model *m = read_model(text);
        assert_int_equal(m->inputs[0].rank, table[i].rank);
        assert_int_equal(m->inputs[0].d[0], table[i].steps);
        if (m->inputs[0].timed != table[i].timed)
            fail_msg("%s: timed %d", table[i].first, m->inputs[0].timed);
        ky_model_free(m);
    }
}

/* The first layer of a nested model says the shape where nobody before it does. */
static void a_nested_model_may_say_the_shape_of_the_input(void **state)
{
    (void)state;
    ky_model *m = read_model(SEQUENTIAL(
        "m", SEQUENTIAL("n", LAYER("Dense", "d", ",'units':2" SHAPE("7,3"))) "," DENSE("e", "4")));

    assert_string_equal(wiring(m), "n_d(-1) e(0) -> 1");
    assert_int_equal(m->inputs[0].d[1], 3);
    ky_model_free(m);
}

/* -- options -------------------------------------------------------------------------------------
 */

static void assert_same_options(const char *old, const char *version, const char *new)
{
    ky_model *a = read_version(old, version), *b = read_version(new, "2.15.0");

    assert_string_equal(wiring(a), wiring(b));
    for (int i = 0; i < a->n_layers; i++) {
        const ky_layer *p = &a->layers[i], *q = &b->layers[i];

        assert_ptr_equal(p->ops, q->ops);
        for (const ky_field *f = p->ops->fields; f->key != NULL; f++) {
            assert_int_equal(ky_field_len(f, &p->cfg), ky_field_len(f, &q->cfg));
            for (int k = 0; k < ky_field_len(f, &p->cfg); k++)
                if (ky_field_get(f, &p->cfg, k) != ky_field_get(f, &q->cfg, k))
                    fail_msg("%s: %s is %g and %g\n%s", p->name, f->key,
                             ky_field_get(f, &p->cfg, k), ky_field_get(f, &q->cfg, k), old);
        }
    }
    ky_model_free(a);
    ky_model_free(b);
}

#define ONE(class, options) SEQUENTIAL("m", LAYER(class, "l", options))

static void words_of_keras_1_mean_what_those_of_keras_2_mean(void **state)
{
    static const struct {
        const char *old, *version, *new;
    } table[] = {
        { ONE("Dense", ",'output_dim':4,'input_dim':3,'init':'uniform','bias':false,"
                       "'W_regularizer':null,'b_constraint':null"),
          "1.2.2", ONE("Dense", ",'units':4,'use_bias':false" SHAPE("3")) },
        { ONE("Convolution1D",
              ",'nb_filter':4,'filter_length':3,'border_mode':'same','subsample_length':2,"
              "'input_dim':3,'input_length':9,'activation':'relu'"),
          "1.2.2",
          ONE("Conv1D", ",'filters':4,'kernel_size':[3],'padding':'same','strides':[2],"
                        "'activation':'relu'" SHAPE("9,3")) },
        { ONE("AtrousConvolution1D", ",'nb_filter':4,'filter_length':3,'atrous_rate':2,'"
                                     "subsample_length':1" SHAPE("9,3")),
          "1.2.2", ONE("Conv1D", ",'filters':4,'kernel_size':3,'dilation_rate':[2]" SHAPE("9,3")) },
        { ONE("Convolution2D",
              ",'nb_filter':4,'nb_row':3,'nb_col':2,'subsample':[1,2],'border_mode':'valid',"
              "'dim_ordering':'tf'" SHAPE("9,8,3")),
          "1.2.2",
          ONE("Conv2D", ",'filters':4,'kernel_size':[3,2],'strides':[1,2]" SHAPE("9,8,3")) },
        { ONE("MaxPooling1D", ",'pool_length':3,'stride':2,'border_mode':'same'" SHAPE("9,3")),
          "1.2.2",
          ONE("MaxPooling1D", ",'pool_size':3,'strides':2,'padding':'same'" SHAPE("9,3")) },
        { ONE("AveragePooling2D", ",'pool_size':[2,2],'strides':null" SHAPE("8,8,3")), "1.2.2",
          ONE("AveragePooling2D", ",'pool_size':2,'strides':[2,2]" SHAPE("8,8,3")) },
        { ONE("LSTM", ",'output_dim':4,'inner_activation':'sigmoid','inner_init':'orthogonal',"
                      "'forget_bias_init':'one','dropout_W':0.5,'dropout_U':0.25,'consume_less':"
                      "'cpu','input_dim':3,'input_length':null"),
          "1.2.2",
          ONE("LSTM", ",'units':4,'dropout':0.5,'recurrent_dropout':0.25" SHAPE("null,3")) },
        { ONE("GRU", ",'output_dim':4,'inner_activation':'sigmoid','input_dim':3"), "1.2.2",
          ONE("GRU", ",'units':4,'reset_after':false" SHAPE("null,3")) },
        { ONE("CuDNNLSTM", ",'units':4" SHAPE("null,3")), "2.2.2",
          ONE("LSTM", ",'units':4" SHAPE("null,3")) },
        { ONE("CuDNNGRU", ",'units':4" SHAPE("null,3")), "2.2.2",
          ONE("GRU", ",'units':4,'reset_after':true" SHAPE("null,3")) },
        { ONE("Dropout", ",'p':0.25" SHAPE("3")), "1.2.2",
          ONE("Dropout", ",'rate':0.25" SHAPE("3")) },
        { ONE("LeakyReLU", ",'alpha':{'type':'ndarray','value':0.25}" SHAPE("3")), "2.2.2",
          ONE("LeakyReLU", ",'negative_slope':0.25" SHAPE("3")) },
        { ONE("ReLU", ",'max_value':6.0,'negative_slope':{'class_name':'__numpy__','config':"
                      "{'value':0.5,'dtype':'float32'}},'threshold':0.0" SHAPE("3")),
          "3.6.0", ONE("ReLU", ",'max_value':6,'negative_slope':[0.5]" SHAPE("3")) },
        { ONE("SeparableConv2D",
              ",'filters':4,'kernel_size':[3,2],'groups':1,'kernel_initializer':null" SHAPE(
                  "9,8,3")),
          "2.15.0", ONE("SeparableConv2D", ",'filters':4,'kernel_size':[3,2]" SHAPE("9,8,3")) },
        { ONE("SeparableConvolution2D",
              ",'nb_filter':4,'nb_row':3,'nb_col':2,'depth_multiplier':2" SHAPE("9,8,3")),
          "1.2.2",
          ONE("SeparableConv2D",
              ",'filters':4,'kernel_size':[3,2],'depth_multiplier':2" SHAPE("9,8,3")) },
        { ONE("AtrousConvolution2D",
              ",'nb_filter':4,'nb_row':2,'nb_col':2,'atrous_rate':[2,1]" SHAPE("9,8,3")),
          "1.2.2",
          ONE("Conv2D", ",'filters':4,'kernel_size':2,'dilation_rate':[2,1]" SHAPE("9,8,3")) },
        { ONE("ZeroPadding2D", ",'padding':[1,2],'dim_ordering':'tf'" SHAPE("9,8,3")), "1.2.2",
          ONE("ZeroPadding2D", ",'padding':[[1,1],[2,2]]" SHAPE("9,8,3")) },
        { ONE("ZeroPadding2D", ",'padding':[1,2,3,4]" SHAPE("9,8,3")), "1.2.2",
          ONE("ZeroPadding2D", ",'padding':[[1,2],[3,4]]" SHAPE("9,8,3")) },
        { ONE("ZeroPadding1D", ",'padding':2" SHAPE("9,3")), "1.2.2",
          ONE("ZeroPadding1D", ",'padding':[2,2]" SHAPE("9,3")) },
        { ONE("Cropping1D", ",'cropping':[1,2]" SHAPE("9,3")), "1.2.2",
          ONE("Cropping1D", ",'cropping':{'class_name':'__tuple__','items':[1,2]}" SHAPE("9,3")) },
        { ONE("UpSampling1D", ",'length':3" SHAPE("9,3")), "1.2.2",
          ONE("UpSampling1D", ",'size':3" SHAPE("9,3")) },
        { ONE("Embedding", ",'input_dim':9,'output_dim':2,'init':'uniform','dropout':0.5,"
                           "'input_length':5,'input_dtype':'int32','W_regularizer':null"),
          "1.2.2", ONE("Embedding", ",'input_dim':9,'output_dim':2" SHAPE("5")) },
        { ONE("GaussianNoise", ",'sigma':0.5" SHAPE("3")), "1.2.2",
          ONE("GaussianNoise", ",'stddev':0.5" SHAPE("3")) },
        { ONE("ELU", ",'alpha':0.5" SHAPE("3")), "1.2.2", ONE("ELU", ",'alpha':0.5" SHAPE("3")) },
        { ONE("BatchNormalization", ",'mode':0,'axis':-1,'epsilon':0.01,'beta_init':'zero',"
                                    "'gamma_init':'one','momentum':0.9" SHAPE("4,3")),
          "1.2.2",
          ONE("BatchNormalization", ",'axis':[-1],'epsilon':0.01,'momentum':0.9" SHAPE("4,3")) },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(table); i++)
        assert_same_options(table[i].old, table[i].version, table[i].new);
}

static void a_merge_is_the_layer_of_its_mode(void **state)
{
    static const struct {
        const char *mode, *class_name;
    } table[] = {
        { "sum", "Add" },     { "mul", "Multiply" }, { "concat", "Concatenate" },
        { "ave", "Average" }, { "max", "Maximum" },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(table); i++) {
        char text[1000];

        snprintf(text, sizeof(text),
                 FUNCTIONAL("f",
                            INPUT("a", "3") "," INPUT("b", "3") "," CALLED(
                                "Merge", "s",
                                ",'mode':'%s','mode_type':'raw','concat_axis':-1,'dot_axes':-1,"
                                "'output_shape_type':'raw','arguments':{},'layers':[]",
                                "[[['a',0,0],['b',0,0]]]"),
                            "[['a',0,0],['b',0,0]]", "[['s',0,0]]"),
                 table[i].mode);
        ky_model *m = read_version(text, "1.2.2");
        assert_string_equal(m->layers[0].ops->class_name, table[i].class_name);
        ky_model_free(m);
    }
}

/* Sequential([Merge([a, b], mode='concat'), Dense]) of Keras 1, whose files list all layers side
 * by side. */
static void branches_inside_of_a_merge_have_an_input_each(void **state)
{
    ky_keras_tree *t = NULL;
    ky_model *m;
    ky_err err = { 0 };

    (void)state;
    if (try_read(
            "{'class_name':'Sequential','config':["
            "{'class_name':'Merge','config':{'name':'s','mode':'concat','concat_axis':1,"
            "'layers':["
            "{'class_name':'Sequential','config':[" LAYER(
                "Dense", "d",
                ",'output_dim':4" SHAPE(
                    "3")) "]},"
                          "{'class_name':'Sequential','config':[" LAYER(
                              "LSTM", "l",
                              ",'output_dim':2" SHAPE(
                                  "5,6")) "," LAYER("Dense", "e",
                                                    ",'output_dim':3") "]}"
                                                                       "]}}," LAYER(
                                                                           "Dense", "o",
                                                                           ",'output_dim':1") "]}",
            "1.2.2", &m, &t, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(wiring(m), "d(-1) l(-2) e(1) s(0,2) o(3) -> 4");
    assert_int_equal(m->n_inputs, 2);
    assert_false(m->inputs[0].timed);
    assert_true(m->inputs[1].timed);
    assert_int_equal(ky_model_tensor(m, 3)->d[0], 7);
    assert_int_equal(t->n, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(t->child[i]->layer, i);
    ky_keras_tree_free(t);
    ky_model_free(m);
}

static void what_the_text_leaves_out_follows_the_version(void **state)
{
    static const struct {
        const char *version;
        bool reset_after;
        enum ky_activation recurrent;
    } table[] = {
        { "1.2.2", false, KY_HARD_SIGMOID_K2 }, { "2.1.3", false, KY_HARD_SIGMOID_K2 },
        { "2.3.1", false, KY_SIGMOID },         { "2.15.0", true, KY_SIGMOID },
        { "3.6.0", true, KY_SIGMOID },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(table); i++) {
        ky_model *m = read_version(ONE("GRU", ",'units':4" SHAPE("null,3")), table[i].version);

        assert_int_equal(m->layers[0].cfg.reset_after, table[i].reset_after);
        assert_int_equal(m->layers[0].cfg.recurrent_activation, table[i].recurrent);
        ky_model_free(m);
    }
}

/* -- activations ---------------------------------------------------------------------------- */

#define FUNCTION(name)                                                                             \
    "{'module':'keras.activations','class_name':'function','config':'" name                        \
    "','registered_name':'" name "'}"

static void activations_may_be_written_as_functions_or_layers(void **state)
{
    static const struct {
        const char *text;
        enum ky_activation want;
    } table[] = {
        { "'tanh'", KY_TANH },
        { "null", KY_LINEAR },
        { FUNCTION("tanh"), KY_TANH },
        { "{'class_name':'ReLU','config':{}}", KY_RELU },
        { "{'class_name':'Activation','config':{'activation':'tanh'}}", KY_TANH },
        { "{'class_name':'gelu','config':{'approximate':true}}", KY_GELU_TANH },
        { "{'class_name':'gelu','config':{'approximate':false}}", KY_GELU },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(table); i++) {
        char text[1000];

        snprintf(text, sizeof(text), ONE("LSTM", ",'units':2,'activation':%s" SHAPE("4,3")),
                 table[i].text);
        ky_model *m = read_model(text);
        assert_int_equal(m->n_layers, 1);
        assert_int_equal(m->layers[0].cfg.activation, table[i].want);
        ky_model_free(m);
    }
}

/* Softmax has an axis, so it is a layer here. */
static void an_activation_that_is_a_layer_comes_behind(void **state)
{
    (void)state;
    ky_model *m = read_model(SEQUENTIAL(
        "m", LAYER("TimeDistributed", "t",
                   SHAPE("5,3") ",'layer':" LAYER("Dense", "d",
                                                  ",'units':4,'activation':{'class_name':'Softmax',"
                                                  "'config':{'axis':-1}}"))));

    assert_string_equal(wiring(m), "t*(-1) t_activation*(0) -> 1");
    assert_int_equal(m->layers[0].cfg.activation, KY_LINEAR);
    assert_string_equal(m->layers[1].ops->class_name, "Softmax");
    ky_model_free(m);
}

/* -- two tensors of one call ------------------------------------------------------------------ */

#define BOTH(rnn, nodes)                                                                           \
    CALLED("Bidirectional", "b", ",'merge_mode':null,'layer':" LAYER("SimpleRNN", "l", rnn), nodes)

/* The backward output, and both side by side; from Keras 3.15. */
static void assert_both_directions(const char *rnn, int n, const ky_real *back, const ky_real *both)
{
    ky_real x[] = { 1, -0.5, 0.25, 2, -1, 0.75 }, y[6], y_both[12], *to[] = { y, y_both };
    const ky_real *from[] = { x };
    char text[2000];
    ky_work *w;

    snprintf(text, sizeof(text),
             FUNCTIONAL("f",
                        INPUT("i", "3,2") "," BOTH("%s", "[[['i',0,0,{}]]]") "," CALLED(
                            "Concatenate", "c", "", "[[['b',0,0,{}],['b',0,1,{}]]]"),
                        "[['i',0,0]]", "[['b',0,1],['c',0,0]]"),
             rnn);
    ky_model *m = read_model(text);
    assert_string_equal(wiring(m), "b(-1) b=0(-1) c(0,1) -> 1 2");
    assert_int_equal(ky_model_finish(m, NULL), KY_OK);
    assert_int_equal(m->n_weights, 20);
    for (int i = 0; i < 20; i++)
        m->weights[i] = (ky_real)(i % 7 - 3) / 4;
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    w = ky_work_new(m, 3, 1);
    assert_non_null(w);
    ky_model_run(m, w, 1, 3, from, to);
    for (int i = 0; i < 2 * n; i++)
        assert_float_equal(y[i], back[i], 1e-6);
    for (int i = 0; i < 4 * n; i++)
        assert_float_equal(y_both[i], both[i], 1e-6);
    ky_work_free(w);
    ky_model_free(m);
}

static void a_bidirectional_layer_that_merges_nothing_gives_both_directions(void **state)
{
    static const ky_real back[] = { -0.58709574, 0.08353172, 0.58254635,
                                    0.94525164,  0.55459970, 0.67096710 };
    static const ky_real both[] = { -0.80930108, -0.63514900, -0.58709574, 0.08353172,
                                    -0.95324719, -0.29431942, 0.58254635,  0.94525164,
                                    -0.37699434, -0.00588395, 0.55459970,  0.67096710 };

    (void)state;
    assert_both_directions(",'units':2,'return_sequences':true", 3, back, both);
    assert_both_directions(",'units':2", 1, back,
                           (const ky_real[]){ -0.37699434, -0.00588395, -0.58709574, 0.08353172 });
}

/* Written, it is one call with two tensors, whoever reads them. */
static void both_directions_are_written_as_one_call(void **state)
{
    static const struct {
        const char *text, *wiring, *nodes, *ends;
    } cases[] = {
        { FUNCTIONAL("f",
                     INPUT("i", "3,2") "," BOTH(",'units':2,'return_sequences':true",
                                                "[[['i',0,0,{}]],[['b',0,1,{}]]]"),
                     "[['i',0,0]]", "[['b',1,1],['b',0,0],['b',1,0]]"),
          "b(-1) b=0(-1) b=0(1) b=0(1) -> 3 0 2", "[[['i',0,0,{}]],[['b',0,1,{}]]]",
          "[['b',1,1],['b',0,0],['b',1,0]]" },
        { FUNCTIONAL("f", INPUT("i", "3,2") "," BOTH(",'units':2", "[[['i',0,0,{}]]]"),
                     "[['i',0,0]]", "[['b',0,1]]"),
          "b(-1) b=0(-1) -> 1", "[[['i',0,0,{}]]]", "[['b',0,1]]" },
        { FUNCTIONAL("f", INPUT("i", "3,2") "," BOTH(",'units':2", "[[['i',0,0,{}]]]"),
                     "[['i',0,0]]", "[['b',0,0]]"),
          "b(-1) b=0(-1) -> 0", "[[['i',0,0,{}]]]", "[['b',0,0]]" },
        { SEQUENTIAL("m", LAYER("Bidirectional", "b",
                                ",'merge_mode':null,'layer':" LAYER("GRU", "l", ",'units':2")
                                    SHAPE("3,2"))),
          "b(-1) b=0(-1) -> 0 1", "[[['input',0,0,{}]]]", "[['b',0,0],['b',0,1]]" },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        ky_model *m = read_model(cases[i].text), *again = NULL;
        char *text = NULL, *nodes = quoted(cases[i].nodes), *ends = quoted(cases[i].ends);

        assert_string_equal(wiring(m), cases[i].wiring);
        assert_int_equal(ky_keras_config_write(m, &text, NULL), KY_OK);
        assert_non_null(strstr(text, "\"merge_mode\":null"));
        assert_non_null(strstr(text, nodes));
        assert_non_null(strstr(text, ends));
        assert_int_equal(
            ky_keras_config_read(text, strlen(text), ky_keras_version_read("2.15.0"), &again, NULL),
            KY_OK);
        assert_string_equal(wiring(again), cases[i].wiring);
        free(text);
        free(nodes);
        free(ends);
        ky_model_free(m);
        ky_model_free(again);
    }
}

/* -- channels first --------------------------------------------------------------------------- */

static void run(ky_model *m, const ky_real *x, ky_real *y)
{
    ky_work *w;

    assert_int_equal(ky_model_finish(m, NULL), KY_OK);
    ky_model_init(m, 11);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    w = ky_work_new(m, m->info.window, 1);
    assert_non_null(w);
    ky_model_run(m, w, 1, m->info.window, &x, &y);
    ky_work_free(w);
}

/* The same image, its channels last and first, through the same layers. */
static void channels_first_gives_what_channels_last_gives(void **state)
{
    enum { H = 6, W = 5, C = 3, F = 4, N = H * W * C, OUT = 5 * 4 * F };
    ky_real last[N], first[N], y_last[OUT], y_first[OUT];
    ky_model *a = read_model(SEQUENTIAL(
        "m", LAYER("Conv2D", "c",
                   ",'filters':4,'kernel_size':2,'activation':'softmax'" SHAPE("6,5,3"))));
    ky_model *b = read_model(
        SEQUENTIAL("m", LAYER("Conv2D", "c",
                              ",'filters':4,'kernel_size':2,'activation':'linear','data_format':"
                              "'channels_first'" SHAPE("3,6,5"))));

    (void)state;
    for (int i = 0; i < N; i++)
        last[i] = (ky_real)sin(i);
    for (int i = 0; i < H * W; i++)
        for (int c = 0; c < C; c++)
            first[c * H * W + i] = last[i * C + c];
    a->layers[0].cfg.activation = KY_LINEAR;
    run(a, last, y_last);
    run(b, first, y_first);
    assert_int_equal(b->inputs[0].timed, false);
    assert_int_equal(ky_model_tensor(b, b->outputs[0])->d[0], F);
    for (int i = 0; i < 5 * 4; i++)
        for (int f = 0; f < F; f++)
            assert_memory_equal(&y_first[f * 5 * 4 + i], &y_last[i * F + f], sizeof(ky_real));
    ky_model_free(a);
    ky_model_free(b);
}

static void channels_first_turns_axes_around_the_layer(void **state)
{
    static const struct {
        const char *text, *want;
    } table[] = {
        { ONE("Conv1D", ",'filters':4,'kernel_size':2,'data_format':'channels_first'" SHAPE("3,9")),
          "l_channels_last(-1) l(0) l_channels_first(1) -> 2" },
        { ONE("Flatten", ",'data_format':'channels_first'" SHAPE("3,9,2")),
          "l_channels_last(-1) l(0) -> 1" },
        /* along the width, which is not where softmax is fused */
        { ONE("Conv2D", ",'filters':4,'kernel_size':2,'activation':'softmax','data_format':"
                        "'channels_first'" SHAPE("3,9,8")),
          "l_channels_last(-1) l(0) l_channels_first(1) l_activation(2) -> 3" },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(table); i++)
        assert_wiring(table[i].text, table[i].want);
}

/* -- masks ------------------------------------------------------------------------------------ */

#define TENSOR(name)       "{'class_name':'__keras_tensor__','config':{'keras_history':['" name "',0,0]}}"
#define ONCE(name, kwargs) "[{'args':[" TENSOR(name) "],'kwargs':{" kwargs "}}]"
#define OPERATION(class, name, args)                                                               \
    "{'module':'keras.src.ops.numpy','class_name':'" class "','name':'" name                       \
                                                           "','config':{'name':'" name             \
                                                           "'},'inbound_nodes':[{'args':[" args    \
                                                           "],'kwargs':{}}]}"
#define MASKED(first, layer)                                                                       \
    FUNCTIONAL("f",                                                                                \
               INPUT("i", "5,3") "," first "," OPERATION(                                          \
                   "NotEqual", "ne", TENSOR("i") ",0.0") "," OPERATION("Any", "any",               \
                                                                       TENSOR("ne")) "," layer,    \
               "['i',0,0]", "['l',0,0]")

/* As Keras 3.15 writes Masking and an LSTM behind it. */
static void masks_that_come_along_anyway_may_be_written_down(void **state)
{
    ky_model *m = NULL;
    ky_err err;

    (void)state;
    assert_wiring(MASKED(CALLED("Masking", "m", ",'mask_value':0.0", ONCE("i", "")),
                         CALLED("LSTM", "l", ",'units':2",
                                ONCE("m", "'training':false,'mask':" TENSOR("any")))),
                  "m(-1) l(0) -> 1");
    assert_int_equal(
        try_read(MASKED(CALLED("Dense", "m", ",'units':3", ONCE("i", "")),
                        CALLED("LSTM", "l", ",'units':2", ONCE("m", "'mask':" TENSOR("any")))),
                 "3.15.0", &m, NULL, &err),
        KY_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "layer 'ne': operation NotEqual makes a mask that no layer"));
    assert_int_equal(try_read(MASKED(CALLED("Masking", "m", ",'mask_value':0.0", ONCE("i", "")),
                                     CALLED("LSTM", "l", ",'units':2", ONCE("ne", ""))),
                              "3.15.0", &m, NULL, &err),
                     KY_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "operation NotEqual between layers"));
}

/* HDF5 files name no module, so that an operation may have the name of a layer. */
static void merged_masks_may_look_like_layers(void **state)
{
    static const char text[] = FUNCTIONAL(
        "f",
        INPUT("i", "5") "," CALLED(
            "Embedding", "e", ",'trainable':true,'input_dim':9,'output_dim':3,'mask_zero':true",
            ONCE(
                "i",
                "")) ","
                     "{'class_name':'NotEqual','name':'ne','config':{'name':'ne'},'inbound_"
                     "nodes':[{'args':[" TENSOR(
                         "i") ",0],'kwargs':{}}]},"
                              "{'class_name':'Concatenate','name':'cm','config':{'name':'cm','"
                              "axis':1},'inbound_nodes':["
                              "{'args':[[" TENSOR("ne") "," TENSOR(
                                  "ne") "]],'kwargs':{}}]}," CALLED("Concatenate", "c",
                                                                    ",'trainable':true,'axis':"
                                                                    "1",
                                                                    "[{'args':[[" TENSOR("e") "," TENSOR(
                                                                        "e") "]],'kwargs':{}}"
                                                                             "]") "," CALLED("LSTM",
                                                                                             "l",
                                                                                             ",'"
                                                                                             "train"
                                                                                             "able'"
                                                                                             ":true"
                                                                                             ",'"
                                                                                             "units"
                                                                                             "':2",
                                                                                             ONCE(
                                                                                                 "c",
                                                                                                 "'"
                                                                                                 "m"
                                                                                                 "a"
                                                                                                 "s"
                                                                                                 "k"
                                                                                                 "'"
                                                                                                 ":" TENSOR(
                                                                                                     "cm"))),
        "['i',0,0]", "['l',0,0]");

    (void)state;
    ky_model *m = read_version(text, "3.15.0");
    assert_string_equal(wiring(m), "e(-1) c(0,0) l(1) -> 2");
    assert_true(m->layers[1].masked);
    ky_model_free(m);
}

/* -- refusals ---------------------------------------------------------------------------------- */

static void what_cannot_be_is_refused_by_name_and_reason(void **state)
{
    static const struct {
        const char *text;
        int code;
        const char *says;
    } bad[] = {
        { FUNCTIONAL("f", INPUT("a", "3") "," CALLED("Dense", "d", ",'units':3", "[[['d',0,0]]]"),
                     "[['a',0,0]]", "[['d',0,0]]"),
          KY_EFORMAT, "layer 'd' is called on what comes out of it" },
        { FUNCTIONAL(
              "f",
              INPUT("a", "3") "," CALLED("Dense", "d", ",'units':3", "[[['e',0,0]]]") "," CALLED(
                  "Dense", "e", ",'units':3", "[[['d',0,0]]]"),
              "[['a',0,0]]", "[['d',0,0]]"),
          KY_EFORMAT, "a circle" },
        { FUNCTIONAL("f", INPUT("a", "3") "," CALLED("Dense", "d", ",'units':3", "[[['a',1,0]]]"),
                     "[['a',0,0]]", "[['d',0,0]]"),
          KY_EFORMAT, "layer 'a' has no call 1" },
        { FUNCTIONAL("f", INPUT("a", "3") "," CALLED("Dense", "d", ",'units':3", "[[['a',0,1]]]"),
                     "[['a',0,0]]", "[['d',0,0]]"),
          KY_EFORMAT, "no call 0 with an output 1" },
        { FUNCTIONAL("f", INPUT("a", "3") "," CALLED("Dense", "d", ",'units':3", "[[['a',-1,0]]]"),
                     "[['a',0,0]]", "[['d',0,0]]"),
          KY_EFORMAT, "names no output of layer 'a'" },
        { FUNCTIONAL("f", INPUT("a", "3") "," CALLED("Dense", "d", ",'units':3", "[[['a',0,0]]]"),
                     "[['a',0,0]]", "[['x',0,0]]"),
          KY_EFORMAT, "the model's outputs: there is no layer 'x'" },
        { FUNCTIONAL("f", INPUT("a", "3") "," CALLED("Dense", "d", ",'units':3", "[[['a',0,0]]]"),
                     "[['a',0,0]]", "[]"),
          KY_EFORMAT, "the model's outputs: there are none" },
        { FUNCTIONAL("f", INPUT("a", "3") "," CALLED("Dense", "d", ",'units':3", "[[['a',0,0]]]"),
                     "[['d',0,0]]", "[['d',0,0]]"),
          KY_EUNSUPPORTED, "'d' is no InputLayer" },
        { FUNCTIONAL("f",
                     INPUT("a", "3") "," INPUT("b", "3") "," CALLED("Dense", "d", ",'units':3",
                                                                    "[[['a',0,0]]]"),
                     "[['a',0,0]]", "[['d',0,0]]"),
          KY_EFORMAT, "2 layers are inputs, the model names 1" },
        { FUNCTIONAL("f", INPUT("a", "3") "," CALLED("Dense", "d", ",'units':3", "[[['a',0,0]]]"),
                     "[['a',0,0],['a',0,0]]", "[['d',0,0]]"),
          KY_EFORMAT, "'a' is twice" },
        { FUNCTIONAL("f", INPUT("a", "3") "," INPUT("a", "3"), "[['a',0,0]]", "[['a',0,0]]"),
          KY_EFORMAT, "two layers have the name 'a'" },
        { FUNCTIONAL("f",
                     INPUT("a", "5,3") "," CALLED("LSTM", "l", ",'units':3,'return_state':true",
                                                  "[[['a',0,0]]]"),
                     "[['a',0,0]]", "[['l',0,0],['l',0,1]]"),
          KY_EUNSUPPORTED, "layer 'l' (LSTM): its state is used" },
        { FUNCTIONAL("f",
                     INPUT("a", "3") "," CALLED("Dropout", "d", ",'rate':0.5",
                                                "[[['a',0,0,{'training':true}]]]"),
                     "[['a',0,0]]", "[['d',0,0]]"),
          KY_EUNSUPPORTED, "it is called with training true" },
        { FUNCTIONAL("f",
                     INPUT("a", "5,3") "," CALLED("LSTM", "l", ",'units':3",
                                                  "[[['a',0,0,{'mask':['a',0,0]}]]]"),
                     "[['a',0,0]]", "[['l',0,0]]"),
          KY_EUNSUPPORTED, "layer 'l' (LSTM) is called with a mask of its own" },
        { ONE("TimeDistributed",
              ",'layer':" LAYER("Embedding", "e", ",'input_dim':9,'output_dim':3,'mask_zero':true")
                  SHAPE("2,5")),
          KY_EUNSUPPORTED, "makes masks inside of TimeDistributed" },
        { SEQUENTIAL("m", LAYER("Dense", "d", ",'units':3" SHAPE("null"))), KY_EUNSUPPORTED,
          "the length of its input 'input' is not fixed" },
        { SEQUENTIAL("m",
                     LAYER("InputLayer", "i", SHAPE("3") ",'ragged':true") "," DENSE("d", "3")),
          KY_EUNSUPPORTED, "it is ragged" },
        { SEQUENTIAL("m",
                     LAYER("InputLayer", "i", SHAPE("3") ",'dtype':'string'") "," DENSE("d", "3")),
          KY_EUNSUPPORTED, "dtype is string" },
        { SEQUENTIAL("m",
                     "{'module':'pack.age','class_name':'Dense','registered_name':'Dense','config':"
                     "{'name':'d','units':3" SHAPE("3") "}}"),
          KY_EUNSUPPORTED, "layer 'd': class Dense is its author's own" },
        { SEQUENTIAL("m", "{'class_name':'Dense','registered_name':'mine>Dense','config':"
                          "{'name':'d','units':3" SHAPE("3") "}}"),
          KY_EUNSUPPORTED, "author's own" },
        { FUNCTIONAL("f",
                     INPUT("a", "3") "," CALLED("TFOpLambda", "tf.math.add", ",'function':'add'",
                                                "[['a',0,0,{'y':1}]]"),
                     "[['a',0,0]]", "[['tf.math.add',0,0]]"),
          KY_EUNSUPPORTED, "TFOpLambda is an operation between layers" },
        { ONE("Dense", ",'units':2,'dtype':{'class_name':'DTypePolicy','config':{'name':"
                       "'int8_from_float32'}}" SHAPE("3")),
          KY_EUNSUPPORTED, "dtype is" },
        { ONE("LSTM", ",'units':2,'activation':{'class_name':'Softmax','config':{}}" SHAPE("4,3")),
          KY_EUNSUPPORTED, "cannot run inside a cell" },
        { SEQUENTIAL("m", LAYER("Bidirectional", "b",
                                ",'merge_mode':null,'layer':" LAYER("LSTM", "l", ",'units':2")
                                    SHAPE("4,3")) "," DENSE("d", "2")),
          KY_EUNSUPPORTED, "layer 'b' (Bidirectional) gives several tensors" },
        { ONE("TimeDistributed", ",'layer':" LAYER("Bidirectional", "b",
                                                   ",'merge_mode':null,'layer':" LAYER(
                                                       "LSTM", "l", ",'units':2")) SHAPE("5,4,3")),
          KY_EUNSUPPORTED, "it wraps Bidirectional, which kymo cannot distribute" },
        { FUNCTIONAL("f",
                     INPUT("a", "4,3") "," CALLED(
                         "Bidirectional", "b",
                         ",'merge_mode':'sum','layer':" LAYER("LSTM", "l", ",'units':2"),
                         "[[['a',0,0]]]"),
                     "[['a',0,0]]", "[['b',0,1]]"),
          KY_EFORMAT, "layer 'b' has no call 0 with an output 1" },
        { ONE("Bidirectional", ",'layer':" DENSE("d", "2") SHAPE("4,3")), KY_EUNSUPPORTED,
          "its layer 'd': it is no recurrent layer" },
        { ONE("Conv2D", ",'filters':2,'kernel_size':[2]" SHAPE("5,4,3")), KY_EFORMAT,
          "kernel_size is [2], not 2 numbers" },
        { ONE("Conv2D", ",'filters':2,'kernel_size':2,'data_format':'sideways'" SHAPE("5,4,3")),
          KY_EUNSUPPORTED, "data_format is" },
        { ONE("TimeDistributed", ",'layer':null" SHAPE("5,3")), KY_EUNSUPPORTED, "class" },
        { SEQUENTIAL("m", LAYER("Dense", "d", ",'units':3" SHAPE("3")) "," LAYER("InputLayer", "i",
                                                                                 SHAPE("3"))),
          KY_EFORMAT, "layer 'i' is an input behind other layers" },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(bad); i++) {
        ky_model *m = NULL;
        ky_keras_tree *t = NULL;
        ky_err err = { 0 };
        int rc = try_read(bad[i].text, "2.15.0", &m, &t, &err);

        if (rc != bad[i].code || strstr(err.text, bad[i].says) == NULL)
            fail_msg("configuration %zu: %d, %s", i, rc, err.text);
        assert_null(m);
        assert_null(t);
    }
}

/* -- hostile texts ------------------------------------------------------------------------------
 */

/* Text that grows. */
typedef struct text {
    char *s;
    size_t n, room;
} text;

static void put(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(text *t, const char *format, ...)
{
    va_list args;

    if (t->room - t->n < 1000) {
        t->room = 2 * t->room + 4000;
        t->s = realloc(t->s, t->room);
    }
    va_start(args, format);
    t->n += (size_t)vsnprintf(t->s + t->n, t->room - t->n, format, args);
    va_end(args);
}

static int read_text(text *t, ky_model **ret, ky_err *err)
{
    int rc = try_read(t->s, "2.15.0", ret, NULL, err);

    free(t->s);
    return rc;
}

/* A model that calls a model twice that calls a model twice ...: 2^30 calls in a small file. */
static void models_that_multiply_are_refused(void **state)
{
    enum { DEPTH = 30 };
    text t = { 0 };
    ky_model *m;
    ky_err err;

    (void)state;
    for (int i = 0; i < DEPTH; i++)
        put(&t,
            "{'class_name':'Model','name':'m','config':{'name':'m','layers':[" INPUT("i", "3") ",");
    put(&t, DENSE("m", "3"));
    t.n--; /* its last brace, for the nodes */
    for (int i = 0; i < DEPTH; i++)
        put(&t,
            ",'inbound_nodes':[[['i',0,0]],[['m',%d,0]]]}],'input_layers':[['i',0,0]],"
            "'output_layers':[['m',%d,0]]}",
            i > 0, (i > 0) + 1);
    put(&t, "}");
    assert_int_equal(read_text(&t, &m, &err), KY_EFULL);
    assert_non_null(strstr(err.text, "called more than 100000 times"));
}

/* The file's order is the worst: each layer stands before the one that it is called on. */
static void a_long_chain_may_stand_backwards(void **state)
{
    enum { N = 9000 };
    text t = { 0 };
    ky_model *m;
    ky_err err = { 0 };

    (void)state;
    put(&t, "{'class_name':'Model','config':{'name':'m','layers':[");
    for (int i = N; i > 0; i--)
        put(&t,
            "{'class_name':'Activation','name':'l%d','config':{'name':'l%d','activation':'tanh'},"
            "'inbound_nodes':[[['l%d',0,0]]]},",
            i, i, i - 1);
    put(&t, INPUT("l0", "3") "],'input_layers':[['l0',0,0]],'output_layers':[['l%d',0,0]]}}", N);
    if (read_text(&t, &m, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(m->n_layers, N);
    assert_true(ky_model_is_chain(m));
    ky_model_free(m);
}

static void a_long_circle_is_found(void **state)
{
    enum { N = 9000 };
    text t = { 0 };
    ky_model *m;
    ky_err err;

    (void)state;
    put(&t, "{'class_name':'Model','config':{'name':'m','layers':[");
    for (int i = 0; i < N; i++)
        put(&t,
            "{'class_name':'Activation','name':'l%d','config':{'name':'l%d','activation':'tanh'},"
            "'inbound_nodes':[[['l%d',0,0]]]},",
            i, i, (i + 1) % N);
    put(&t, INPUT("i", "3") "],'input_layers':[['i',0,0]],'output_layers':[['l7',0,0]]}}");
    assert_int_equal(read_text(&t, &m, &err), KY_EFORMAT);
    assert_non_null(strstr(err.text, "a circle"));
}

static void too_many_layers_calls_or_tensors_are_refused(void **state)
{
    text layers = { 0 }, calls = { 0 }, reads = { 0 };
    ky_model *m;
    ky_err err;

    (void)state;
    put(&layers, "{'class_name':'Sequential','config':[");
    for (int i = 0; i < 10001; i++)
        put(&layers, "%s{'class_name':'Flatten','config':{}}", i > 0 ? "," : "");
    put(&layers, "]}");
    assert_int_equal(read_text(&layers, &m, &err), KY_EFORMAT);
    assert_non_null(strstr(err.text, "10001 layers"));

    put(&calls,
        "{'class_name':'Model','config':{'name':'m','layers':[" INPUT(
            "i", "3") ",{'class_name':'Dense','config':{'name':'d','units':3},'inbound_nodes':[");
    for (int i = 0; i < 100001; i++)
        put(&calls, "%s[['i',0,0]]", i > 0 ? "," : "");
    put(&calls, "]}],'input_layers':[['i',0,0]],'output_layers':[['d',0,0]]}}");
    assert_int_equal(read_text(&calls, &m, &err), KY_EFULL);
    assert_non_null(strstr(err.text, "called more than 100000 times"));

    put(&reads, "{'class_name':'Model','config':{'name':'m','layers':[" INPUT(
                    "i", "3") ",{'class_name':'Add','config':{'name':'d'},'inbound_nodes':[[");
    for (int i = 0; i < 300001; i++)
        put(&reads, "%s['i',0,0]", i > 0 ? "," : "");
    put(&reads, "]]}],'input_layers':[['i',0,0]],'output_layers':[['d',0,0]]}}");
    assert_int_equal(read_text(&reads, &m, &err), KY_EFULL);
    assert_non_null(strstr(err.text, "more than 300000 tensors"));
}

/* Half a million calls, and lists that would take forty times their text. */
static void too_many_values_are_refused_before_they_are_read(void **state)
{
    text calls = { 0 }, lists = { 0 };
    ky_model *m;
    ky_err err;

    (void)state;
    put(&calls,
        "{'class_name':'Model','config':{'name':'m','layers':[" INPUT(
            "i", "3") ",{'class_name':'Dense','config':{'name':'d','units':3},'inbound_nodes':[");
    for (int i = 0; i < 500000; i++)
        put(&calls, "%s[['i',0,0]]", i > 0 ? "," : "");
    put(&calls, "]}],'input_layers':[['i',0,0]],'output_layers':[['d',0,0]]}}");
    assert_int_equal(read_text(&calls, &m, &err), KY_EFULL);
    assert_non_null(strstr(err.text, "more than 2097152 values"));

    put(&lists, "[[]");
    for (int i = 0; i < 3000000; i++)
        put(&lists, ",[]");
    put(&lists, "]");
    assert_int_equal(read_text(&lists, &m, &err), KY_EFULL);
    assert_non_null(strstr(err.text, "more than 2097152 values"));
}

/* Each would have to try all the names that are taken. */
static void thousands_of_layers_of_one_name_are_told_apart(void **state)
{
    enum { N = 9000 };
    text t = { 0 };
    ky_model *m;
    ky_err err = { 0 };

    (void)state;
    put(&t, "{'class_name':'Sequential','config':[" LAYER("InputLayer", "i", SHAPE("3")));
    for (int i = 0; i < N; i++)
        put(&t, "," LAYER("Activation", "", ",'activation':'tanh'"));
    put(&t, "]}");
    if (read_text(&t, &m, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(m->layers[0].name, "activation");
    assert_string_equal(m->layers[N - 1].name, "activation_8999");
    ky_model_free(m);
}

static void wrappers_and_models_nest_to_a_bound(void **state)
{
    text t = { 0 }, u = { 0 };
    ky_model *m;
    ky_err err;

    (void)state;
    put(&t, "{'class_name':'Sequential','config':[" LAYER("InputLayer", "i", SHAPE("3")) ",");
    for (int i = 0; i < 40; i++)
        put(&t, "{'class_name':'TimeDistributed','config':{'name':'t','layer':");
    put(&t, DENSE("d", "3"));
    for (int i = 0; i < 40; i++)
        put(&t, "}}");
    put(&t, "]}");
    assert_int_equal(read_text(&t, &m, &err), KY_EFULL);
    assert_non_null(strstr(err.text, "deeper than 32"));

    for (int i = 0; i < 40; i++)
        put(&u, "{'class_name':'Sequential','config':[");
    put(&u, DENSE("d", "3"));
    for (int i = 0; i < 40; i++)
        put(&u, "]}");
    assert_int_equal(read_text(&u, &m, &err), KY_EFULL);
    assert_non_null(strstr(err.text, "deeper than 32"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_styles_of_nodes_give_the_same_graph),
        cmocka_unit_test(the_order_of_the_file_is_free),
        cmocka_unit_test(inputs_and_outputs_have_their_order_and_names),
        cmocka_unit_test(a_runs_steps_are_those_of_the_first_input_of_any_length),
        cmocka_unit_test(nested_models_are_flattened_and_share_their_weights),
        cmocka_unit_test(names_stay_unique_when_models_are_flattened),
        cmocka_unit_test(the_tree_says_where_each_layer_went),
        cmocka_unit_test(time_distributed_layers_fold_one_axis_for_each_wrapper),
        cmocka_unit_test(inputs_have_steps_where_their_readers_take_them),
        cmocka_unit_test(a_nested_model_may_say_the_shape_of_the_input),
        cmocka_unit_test(words_of_keras_1_mean_what_those_of_keras_2_mean),
        cmocka_unit_test(a_merge_is_the_layer_of_its_mode),
        cmocka_unit_test(branches_inside_of_a_merge_have_an_input_each),
        cmocka_unit_test(what_the_text_leaves_out_follows_the_version),
        cmocka_unit_test(activations_may_be_written_as_functions_or_layers),
        cmocka_unit_test(an_activation_that_is_a_layer_comes_behind),
        cmocka_unit_test(a_bidirectional_layer_that_merges_nothing_gives_both_directions),
        cmocka_unit_test(both_directions_are_written_as_one_call),
        cmocka_unit_test(channels_first_gives_what_channels_last_gives),
        cmocka_unit_test(channels_first_turns_axes_around_the_layer),
        cmocka_unit_test(masks_that_come_along_anyway_may_be_written_down),
        cmocka_unit_test(merged_masks_may_look_like_layers),
        cmocka_unit_test(what_cannot_be_is_refused_by_name_and_reason),
        cmocka_unit_test(models_that_multiply_are_refused),
        cmocka_unit_test(a_long_chain_may_stand_backwards),
        cmocka_unit_test(a_long_circle_is_found),
        cmocka_unit_test(too_many_layers_calls_or_tensors_are_refused),
        cmocka_unit_test(too_many_values_are_refused_before_they_are_read),
        cmocka_unit_test(thousands_of_layers_of_one_name_are_told_apart),
        cmocka_unit_test(wrappers_and_models_nest_to_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
