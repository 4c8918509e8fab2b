#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/inspect.h"

static ky_json *number(size_t v)
{
    return ky_json_of_int((int64_t)v);
}

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

static ky_json *tensors_json(const ky_model *m, int n, const int *tensors)
{
    ky_json *list = ky_json_array();

    for (int i = 0; i < n; i++)
        ky_json_append(list, ky_json_of_str(ky_inspect_tensor(m, tensors[i])));
    return list;
}

static ky_json *layer_json(const ky_findings *f, int i)
{
    const ky_model *m = f->m;
    const ky_layer *l = &m->layers[i];
    ky_json *o = ky_json_object();
    size_t trained, weights = ky_inspect_weights(m, i, &trained);
    int fresh, all;

    ky_json_set(o, "name", ky_json_of_str(l->name));
    ky_json_set(o, "class", ky_json_of_str(ky_inspect_class(l).s));
    ky_json_set(o, "from", tensors_json(m, l->n_in, l->from));
    ky_json_set(o, "output", shape_json(&l->tensor));
    ky_json_set(o, "weights", number(weights));
    ky_json_set(o, "trainable_weights", number(trained));
    ky_json_set(o, "shared", ky_json_of_bool(l->shares != i));
    ky_json_set(o, "trainable", ky_json_of_bool(l->trainable));
    ky_json_set(o, "along_time", ky_json_of_str(ky_inspect_form(m, i)));
    if (l->no_step != NULL && ky_call_timed(m, i) && l->distributed == 0)
        ky_json_set(o, "whole_window_because", ky_json_of_str(l->no_step));
    if (f->steps != NULL)
        ky_json_set(o, "macs", number(ky_call_macs(m, i, f->steps[m->n_inputs + l->from[0]])));
    if (f->reach[i] > 0)
        ky_json_set(o, "receptive_field", ky_json_of_int(f->reach[i]));
    if (f->windows.plan != NULL && ky_plan_columns(f->windows.plan, i, &fresh, &all)) {
        ky_json_set(o, "new_steps", ky_json_of_int(fresh));
        ky_json_set(o, "steps", ky_json_of_int(all));
    }
    return o;
}

static ky_json *layers_json(const ky_findings *f)
{
    ky_json *list = ky_json_array();

    for (int i = 0; i < f->m->n_layers; i++)
        ky_json_append(list, layer_json(f, i));
    return list;
}

static ky_json *parts_json(const ky_plan *p)
{
    const ky_plan_part *part;
    int n = ky_plan_parts(p, &part);
    ky_json *list = ky_json_array();

    for (int i = 0; i < n; i++) {
        ky_json *o = ky_json_object();

        if (part[i].layer[0] != '\0')
            ky_json_set(o, "layer", ky_json_of_str(part[i].layer));
        ky_json_set(o, "what", ky_json_of_str(part[i].what));
        ky_json_set(o, "at", number(part[i].at));
        ky_json_set(o, "bytes", number(part[i].bytes));
        ky_json_append(list, o);
    }
    return list;
}

static ky_json *serving_json(const ky_serving *s)
{
    ky_json *o = ky_json_object();

    ky_json_set(o, "possible", ky_json_of_bool(s->plan != NULL));
    if (s->plan == NULL) {
        ky_json_set(o, "reason", ky_json_of_str(s->why_not.text));
        return o;
    }
    ky_json_set(o, "state_bytes", number(ky_plan_state_bytes(s->plan)));
    ky_json_set(o, "parts", parts_json(s->plan));
    ky_json_set(o, "macs", number(ky_plan_macs(s->plan)));
    return o;
}

static ky_json *window_json(const ky_findings *f)
{
    ky_json *o = serving_json(&f->windows);

    ky_json_set(o, "window", ky_json_of_int(f->window));
    ky_json_set(o, "hop", ky_json_of_int(f->hop));
    if (f->windows.plan == NULL)
        return o;
    ky_json_set(o, "macs_whole", number(ky_plan_macs_whole(f->windows.plan)));
    if (ky_plan_why_whole(f->windows.plan) != NULL)
        ky_json_set(o, "whole_because", ky_json_of_str(ky_plan_why_whole(f->windows.plan)));
    return o;
}

static ky_json *inputs_json(const ky_model *m)
{
    ky_json *list = ky_json_array();

    for (int k = 0; k < m->n_inputs; k++) {
        ky_json *o = ky_json_object();

        ky_json_set(o, "name", ky_json_of_str(m->input_names[k]));
        ky_json_set(o, "shape", shape_json(&m->inputs[k]));
        ky_json_append(list, o);
    }
    return list;
}

int ky_inspect_print_json(const ky_findings *f)
{
    const ky_model_info *info = ky_model_facts(f->m);
    ky_json *o = ky_json_object();
    char hash[20], *text;
    int samples;

    snprintf(hash, sizeof(hash), "%016" PRIx64, info->hash);
    ky_json_set(o, "model", ky_json_of_str(f->path));
    ky_json_set(o, "name", ky_json_of_str(info->name));
    ky_json_set(o, "hash", ky_json_of_str(hash));
    ky_json_set(o, "input", shape_json(&f->m->inputs[0]));
    ky_json_set(o, "inputs", inputs_json(f->m));
    ky_json_set(o, "layers", layers_json(f));
    ky_json_set(o, "weights", number(info->params));
    ky_json_set(o, "outputs", ky_json_of_int(info->outputs));
    ky_json_set(o, "outputs_of", tensors_json(f->m, f->m->n_outputs, f->m->outputs));
    ky_json_set(o, "probabilities", ky_json_of_bool(info->probabilities));
    ky_json_set(o, "stream", serving_json(&f->stream));
    if (f->window > 0)
        ky_json_set(o, "window", window_json(f));
    if (ky_inspect_reach(f, &samples) != NULL)
        ky_json_set(o, "receptive_field", ky_json_of_int(samples));
    ky_json_set(o, "classes", names_json(info->labels, info->n_labels));
    if (info->feature_names != NULL)
        ky_json_set(o, "features", names_json(info->feature_names, info->features));
    ky_json_set(o, "origin", ky_json_copy(f->m->meta.extra));
    text = ky_json_text(o, 2);
    ky_json_free(o);
    if (text != NULL)
        puts(text);
    free(text);
    return text != NULL ? KY_EXIT_OK : KY_EXIT_FAILED;
}
