/* kymo inspect: what a model file holds, layer by layer, and how kymo can run it. */
#include "cli/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

const char *ky_inspect_form(const ky_model *m, int i)
{
    static const char *const forms[] = {
        [KY_POINTWISE] = "each step",     [KY_RECURRENT] = "keeps state", [KY_LOCAL] = "last steps",
        [KY_COLLAPSING] = "whole window", [KY_MIXING] = "whole window",
    };
    const ky_layer *l = &m->layers[i];

    if (!ky_call_timed(m, i))
        return m->inputs[0].timed ? "each answer" : "";
    if (l->distributed > 0)
        return forms[KY_POINTWISE];
    if (l->no_step != NULL && l->form == KY_LOCAL)
        return "both sides";
    return l->no_step != NULL ? forms[KY_MIXING] : forms[l->form];
}

struct ky_inspect_class ky_inspect_class(const ky_layer *l)
{
    struct ky_inspect_class c;
    bool one = l->n_inner > 0 && l->inner[0].ops != l->ops;

    snprintf(c.s, sizeof(c.s), "%s%s%s%s%s%s", l->distributed > 0 ? "TimeDistributed(" : "",
             l->ops->class_name, one ? "(" : "", one ? l->inner[0].ops->class_name : "",
             one ? ")" : "", l->distributed > 0 ? ")" : "");
    return c;
}

const char *ky_inspect_tensor(const ky_model *m, int tensor)
{
    return tensor < 0 ? m->input_names[KY_INPUT(tensor)] : m->layers[tensor].name;
}

size_t ky_inspect_weights(const ky_model *m, int i, size_t *ret_trained)
{
    const ky_layer *l = &m->layers[i];
    size_t trained = 0;

    if (l->shares != i)
        return *ret_trained = 0;
    for (int j = 0; j < l->n_weights; j++)
        trained += l->weights[j].trainable ? l->weights[j].len : 0;
    *ret_trained = trained;
    return l->weight_reals;
}

const ky_layer *ky_inspect_reach(const ky_findings *f, int *ret_samples)
{
    const ky_layer *widest = NULL;
    int most = 1;

    for (int i = 0; i < f->m->n_layers; i++)
        if (f->reach[i] > most) {
            most = f->reach[i];
            widest = &f->m->layers[i];
        }
    *ret_samples = most;
    return widest;
}

static int find_out(ky_findings *f, ky_err *err)
{
    const ky_model *m = f->m;

    f->reach = calloc((size_t)m->n_layers, sizeof(*f->reach));
    if (f->reach == NULL || ky_plan_reach(m, f->reach) < 0 ||
        ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, &f->stream.plan, &f->stream.why_not) == KY_ENOMEM)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    if (f->window == 0)
        return KY_OK;
    if (ky_plan_new(m, KY_MEMORY_WINDOW, f->window, f->hop, &f->windows.plan,
                    &f->windows.why_not) == KY_ENOMEM)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    if (!ky_model_fits(m, f->window))
        return KY_OK;
    f->steps = calloc((size_t)(m->n_inputs + m->n_layers), sizeof(*f->steps));
    if (f->steps == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    ky_model_steps(m, f->window, f->steps);
    return KY_OK;
}

int ky_cmd_inspect(int argc, char **argv)
{
    const char *words[1], *config = NULL;
    int64_t window = 0, hop = 1;
    bool json = false;
    const ky_opt opts[] = {
        { "window", 'w', KY_OPT_INT, &window, 1, 1 << 22, "N",
          "steps of a window, where the model leaves them open" },
        { "hop", 0, KY_OPT_INT, &hop, 1, 1 << 22, "N", "samples from one window to the next" },
        { "json", 'j', KY_OPT_FLAG, &json, 0, 0, NULL, "report as JSON" },
        { "config", 'c', KY_OPT_STR, &config, 0, 0, "FILE", KY_CLI_CONFIG },
        { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
    };
    const ky_usage u = {
        .synopsis = "kymo inspect MODEL [options]",
        .about =
            "Says what a Keras model file holds: layers, shapes, weights, how kymo can run it on\n"
            "a stream, what that costs, and where it comes from. `memory` is what kymod.ini calls\n"
            "it: `stream` goes on from sample to sample without end, `window` answers every `hop`\n"
            "samples on the last steps, as if nothing had been before.",
        .opts = opts,
        .min_args = 1,
        .max_args = 1,
        .examples = "  kymo inspect har_lstm.h5\n  kymo inspect har_cnn.h5 --hop 16 --json\n",
    };
    ky_err err = { 0 };
    ky_model *m = NULL;
    int n, rc = ky_cli_parse(&u, argc, argv, words, &n);

    if (rc >= 0)
        return rc;
    if (ky_model_load_with(words[0], config, &m, &err) < 0)
        return ky_cli_fail(&err);
    ky_findings f = { .path = words[0], .m = m, .hop = (int)hop };
    f.window = window > 0 ? (int)window : ky_model_facts(m)->window;
    rc = KY_EXIT_OK;
    if (find_out(&f, &err) < 0)
        rc = ky_cli_fail(&err);
    else if (json)
        rc = ky_inspect_print_json(&f);
    else
        ky_inspect_print_text(&f);
    ky_plan_free(f.stream.plan);
    ky_plan_free(f.windows.plan);
    free(f.reach);
    free(f.steps);
    ky_model_free(m);
    return rc;
}
