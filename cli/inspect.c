/* kymo inspect: what a model file holds, layer by layer, and how kymo can run it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "models/blueprint.h"
#include "models/plan.h"

/* How one kind of memory can serve the model. */
struct serving {
    bool possible;
    size_t state_bytes; /* of a stream */
    ky_err why_not;
};

/* What the command found out. */
struct findings {
    const char *path;
    const ky_model *m;
    int window; /* steps asked about; 0: the model does not say and nobody did */
    struct serving stream, windows;
};

static const char *const forms[] = {
    [KY_POINTWISE] = "each step alone",  [KY_RECURRENT] = "carries its state",
    [KY_LOCAL] = "keeps the last steps", [KY_COLLAPSING] = "whole windows",
    [KY_MIXING] = "whole windows",
};

static struct serving try_serving(const ky_model *m, enum ky_memory memory, int window)
{
    struct serving s = { 0 };
    ky_plan *p = NULL;

    s.possible = ky_plan_new(m, memory, window, 1, &p, &s.why_not) == KY_OK;
    if (s.possible)
        s.state_bytes = ky_plan_state_bytes(p);
    ky_plan_free(p);
    return s;
}

/* Of a window as long as was asked for. */
static size_t window_macs(const struct findings *r)
{
    const ky_model_info *info = ky_model_facts(r->m);

    return r->window == info->window ? info->macs_window : info->macs_step * (size_t)r->window;
}

/* -- for people ------------------------------------------------------------------------ */

struct text {
    char s[96];
};

/* "[any, 9]", "[64]" */
static struct text shape_text(const ky_shape *shape)
{
    struct text t = { "[" };
    size_t n = 1;

    for (int i = 0; i < shape->rank; i++) {
        n += (size_t)snprintf(t.s + n, sizeof(t.s) - n, i > 0 ? ", " : "");
        n += shape->d[i] == KY_ANY ? (size_t)snprintf(t.s + n, sizeof(t.s) - n, "any")
                                   : (size_t)snprintf(t.s + n, sizeof(t.s) - n, "%d", shape->d[i]);
    }
    snprintf(t.s + n, sizeof(t.s) - n, "]");
    return t;
}

/* 1234567 -> "1,234,567" */
static struct text thousands(size_t v)
{
    struct text t;
    char digits[32];
    size_t n = (size_t)snprintf(digits, sizeof(digits), "%zu", v), k = 0;

    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            t.s[k++] = ',';
        t.s[k++] = digits[i];
    }
    t.s[k] = '\0';
    return t;
}

/* Text from a file, padded to a column. */
static void print_cell(const char *s, int width)
{
    int n = (int)strlen(s);

    ky_cli_print_safe(stdout, s, (size_t)n);
    printf("%*s", n < width ? width - n : 1, "");
}

static const char *form_text(const ky_layer *l)
{
    if (!l->in.timed)
        return "";
    return l->no_step != NULL ? forms[KY_MIXING] : forms[l->form];
}

static void print_layers(const ky_model *m)
{
    printf("%-24s %-24s %-14s %12s  %s\n", "layer", "class", "output", "weights", "along time");
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];

        print_cell(l->name, 25);
        printf("%-24s %-14s %12s  %s%s\n", l->ops->class_name, shape_text(&l->out).s,
               thousands(l->weight_reals).s, form_text(l), l->trainable ? "" : " (frozen)");
    }
    printf("%-24s %-24s %-14s %12s\n", "in all", "", "", thousands(m->n_weights).s);
}

static void print_serving(const char *memory, const struct serving *s, size_t macs, const char *per)
{
    printf("memory = %-7s", memory);
    if (!s->possible) {
        printf("no: ");
        ky_cli_print_safe(stdout, s->why_not.text, strlen(s->why_not.text));
        putchar('\n');
    } else
        printf("yes: %s bytes of state a stream, %s multiply-adds a %s\n",
               thousands(s->state_bytes).s, thousands(macs).s, per);
}

static void print_names(const char *what, const char *const *names, int n)
{
    printf("%-16s", what);
    for (int i = 0; i < n; i++) {
        fputs(i > 0 ? ", " : "", stdout);
        ky_cli_print_safe(stdout, names[i], strlen(names[i]));
    }
    putchar('\n');
}

/* Where the weights come from, if kymo trained them. */
static void print_origin(const ky_json *extra)
{
    const ky_json *history = ky_json_get(extra, "history");
    const char *version = ky_json_str(ky_json_get(extra, "kymo_version"), NULL);
    int64_t best = ky_json_int(ky_json_get(extra, "best_epoch"), 0);

    if (version == NULL)
        return;
    printf("%-16skymo %.20s, seed %" PRId64 ", %" PRId64 " windows, data %.16s\n", "trained by",
           version, ky_json_int(ky_json_get(extra, "seed"), 0),
           ky_json_int(ky_json_get(extra, "rows"), 0),
           ky_json_str(ky_json_get(extra, "data_hash"), "?"));
    if (ky_json_len(history) == 0)
        return;
    printf("\n%7s %10s %10s %12s %14s\n", "epoch", "loss", "accuracy", "val. loss",
           "val. accuracy");
    for (size_t i = 0; i < ky_json_len(history); i++) {
        const ky_json *e = ky_json_at(history, i);
        int64_t epoch = ky_json_int(ky_json_get(e, "epoch"), 0);

        printf("%7" PRId64 " %10.4f %10.4f %12.4f %14.4f%s\n", epoch,
               ky_json_num(ky_json_get(e, "loss"), 0), ky_json_num(ky_json_get(e, "accuracy"), 0),
               ky_json_num(ky_json_get(e, "val_loss"), 0),
               ky_json_num(ky_json_get(e, "val_accuracy"), 0), epoch == best ? "  kept" : "");
    }
}

/* "[128, 9]: windows of 128 steps, each of 9 values" */
static void print_input(const ky_model *m)
{
    const ky_model_info *info = ky_model_facts(m);

    printf("%-16s%s: ", "input", shape_text(&m->inputs[0]).s);
    if (!m->inputs[0].timed)
        printf("%d values, without steps\n\n", info->features);
    else if (info->window > 0)
        printf("windows of %d steps, each of %d values\n\n", info->window, info->features);
    else
        printf("any number of steps, each of %d values\n\n", info->features);
}

static void print_report(const struct findings *r)
{
    const ky_model_info *info = ky_model_facts(r->m);

    printf("%s: model '", r->path);
    ky_cli_print_safe(stdout, info->name, strlen(info->name));
    printf("', hash %016" PRIx64 "\n", info->hash);
    print_input(r->m);
    print_layers(r->m);
    putchar('\n');
    print_serving("stream", &r->stream, info->macs_step, "step");
    if (r->window > 0)
        print_serving("window", &r->windows, window_macs(r), "window");
    else
        printf("memory = window yes: of any length; --window N says what one of N steps takes\n");
    printf("%-16s%d%s\n", "outputs", info->outputs, info->probabilities ? " (probabilities)" : "");
    if (info->n_labels > 0)
        print_names("classes", info->labels, info->n_labels);
    if (info->feature_names != NULL)
        print_names("features", info->feature_names, info->features);
    print_origin(r->m->meta.extra);
}

/* -- for programs ------------------------------------------------------------------------ */

static ky_json *shape_json(const ky_shape *s)
{
    ky_json *list = ky_json_array();

    for (int i = 0; i < s->rank; i++)
        ky_json_append(list, s->d[i] == KY_ANY ? ky_json_of_null() : ky_json_of_int(s->d[i]));
    return list;
}

static ky_json *names_json(const char *const *names, int n)
{
    ky_json *list = ky_json_array();

    for (int i = 0; i < n; i++)
        ky_json_append(list, ky_json_of_str(names[i]));
    return list;
}

static ky_json *layers_json(const ky_model *m)
{
    ky_json *list = ky_json_array();

    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        ky_json *o = ky_json_object();

        ky_json_set(o, "name", ky_json_of_str(l->name));
        ky_json_set(o, "class", ky_json_of_str(l->ops->class_name));
        ky_json_set(o, "output", shape_json(&l->out));
        ky_json_set(o, "weights", ky_json_of_int((int64_t)l->weight_reals));
        ky_json_set(o, "trainable", ky_json_of_bool(l->trainable));
        ky_json_append(list, o);
    }
    return list;
}

static ky_json *serving_json(const struct serving *s, size_t macs)
{
    ky_json *o = ky_json_object();

    ky_json_set(o, "possible", ky_json_of_bool(s->possible));
    if (s->possible) {
        ky_json_set(o, "state_bytes", ky_json_of_int((int64_t)s->state_bytes));
        ky_json_set(o, "macs", ky_json_of_int((int64_t)macs));
    } else
        ky_json_set(o, "reason", ky_json_of_str(s->why_not.text));
    return o;
}

static int print_json(const struct findings *r)
{
    const ky_model_info *info = ky_model_facts(r->m);
    ky_json *o = ky_json_object();
    char hash[20], *text;

    snprintf(hash, sizeof(hash), "%016" PRIx64, info->hash);
    ky_json_set(o, "model", ky_json_of_str(r->path));
    ky_json_set(o, "name", ky_json_of_str(info->name));
    ky_json_set(o, "hash", ky_json_of_str(hash));
    ky_json_set(o, "input", shape_json(&r->m->inputs[0]));
    ky_json_set(o, "layers", layers_json(r->m));
    ky_json_set(o, "weights", ky_json_of_int((int64_t)info->params));
    ky_json_set(o, "outputs", ky_json_of_int(info->outputs));
    ky_json_set(o, "probabilities", ky_json_of_bool(info->probabilities));
    ky_json_set(o, "stream", serving_json(&r->stream, info->macs_step));
    if (r->window > 0)
        ky_json_set(o, "window", serving_json(&r->windows, window_macs(r)));
    ky_json_set(o, "classes", names_json(info->labels, info->n_labels));
    if (info->feature_names != NULL)
        ky_json_set(o, "features", names_json(info->feature_names, info->features));
    ky_json_set(o, "origin", ky_json_copy(r->m->meta.extra));
    text = ky_json_text(o, 2);
    ky_json_free(o);
    if (text != NULL)
        puts(text);
    free(text);
    return text != NULL ? KY_EXIT_OK : KY_EXIT_FAILED;
}

int ky_cmd_inspect(int argc, char **argv)
{
    const char *words[1], *config = NULL;
    int64_t window = 0;
    bool json = false;
    const ky_opt opts[] = {
        { "window", 'w', KY_OPT_INT, &window, 0, 1 << 22, "N",
          "steps of a window, where the model leaves them open" },
        { "json", 'j', KY_OPT_FLAG, &json, 0, 0, NULL, "report as JSON" },
        { "config", 'c', KY_OPT_STR, &config, 0, 0, "FILE", KY_CLI_CONFIG },
        { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
    };
    const ky_usage u = {
        .synopsis = "kymo inspect MODEL [options]",
        .about =
            "Says what a Keras model file holds: layers, shapes, weights, how kymo can run it on\n"
            "a stream, what that costs, and where it comes from. `memory` is what kymod.ini calls\n"
            "it: `stream` goes on from sample to sample without end, `window` answers on the\n"
            "last steps as if nothing had been before.",
        .opts = opts,
        .min_args = 1,
        .max_args = 1,
        .examples = "  kymo inspect har_lstm.h5\n  kymo inspect har_cnn.h5 --json\n",
    };
    ky_err err = { 0 };
    ky_model *m = NULL;
    int n, rc = ky_cli_parse(&u, argc, argv, words, &n);

    if (rc >= 0)
        return rc;
    if (ky_model_load_with(words[0], config, &m, &err) < 0)
        return ky_cli_fail(&err);
    struct findings r = { .path = words[0], .m = m };
    r.window = window > 0 ? (int)window : ky_model_facts(m)->window;
    r.stream = try_serving(m, KY_MEMORY_STREAM, 0);
    if (r.window > 0)
        r.windows = try_serving(m, KY_MEMORY_WINDOW, r.window);
    rc = KY_EXIT_OK;
    if (json)
        rc = print_json(&r);
    else
        print_report(&r);
    ky_model_free(m);
    return rc;
}
