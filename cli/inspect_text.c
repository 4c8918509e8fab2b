#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/inspect.h"

enum { WIDTH = 80, INDENT = 16, NAME = 31, SHAPE = 15 };

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

/* -- lines ------------------------------------------------------------------------------- */

/* A line that wraps between words, under a label of INDENT columns. */
typedef struct line {
    int column;
} line;

static line line_begin(const char *label)
{
    printf("%-*s", INDENT, label);
    return (line){ INDENT };
}

/* The words of a text, some of which may come from a file. */
static void line_add(line *at, const char *text)
{
    while (*text != '\0') {
        int len = (int)strcspn(text, " ");

        if (at->column > INDENT && at->column + 1 + len > WIDTH) {
            printf("\n%*s", INDENT, "");
            at->column = INDENT;
        } else if (at->column > INDENT) {
            putchar(' ');
            at->column++;
        }
        ky_cli_print_safe(stdout, text, (size_t)len);
        at->column += len;
        text += len + (text[len] == ' ');
    }
}

static void line_number(line *at, size_t v, const char *what)
{
    line_add(at, thousands(v).s);
    line_add(at, what);
}

static void line_end(void)
{
    putchar('\n');
}

/* -- layers ------------------------------------------------------------------------------ */

/* Whether call i reads what the line before it gave, and nothing else. */
static bool follows(const ky_model *m, int i)
{
    return m->layers[i].n_in == 1 && m->layers[i].from[0] == (i > 0 ? i - 1 : KY_INPUT(0));
}

static void print_inputs(const ky_model *m, int i)
{
    line at = { 0 };

    printf("%*s", INDENT - 5, "");
    printf("from ");
    at.column = INDENT;
    for (int k = 0; k < m->layers[i].n_in; k++) {
        struct text name;

        snprintf(name.s, sizeof(name.s), "%.80s%s", ky_inspect_tensor(m, m->layers[i].from[k]),
                 k + 1 < m->layers[i].n_in ? "," : "");
        line_add(&at, name.s);
    }
    line_end();
}

/* Multiply-adds of a call: in a window, or of one step where windows have no length. */
static size_t macs_of(const ky_findings *f, int i)
{
    int from = f->m->layers[i].from[0];

    return ky_call_macs(f->m, i, f->steps != NULL ? f->steps[f->m->n_inputs + from] : 1);
}

/* "conv1d (Conv1D)", on a line of its own where it is too long. */
static void print_name(const ky_layer *l)
{
    struct ky_inspect_class c = ky_inspect_class(l);
    int n = (int)strlen(l->name) + 3 + (int)strlen(c.s);

    ky_cli_print_safe(stdout, l->name, strlen(l->name));
    printf(" (%s)", c.s);
    if (n >= NAME)
        printf("\n%*s", NAME, "");
    else
        printf("%*s", NAME - n, "");
}

static void print_layers(const ky_findings *f)
{
    const ky_model *m = f->m;
    size_t all = 0, all_trained = 0, macs = 0, trained;

    printf("%-*s%-*s%9s %11s  %s\n", NAME, "layer (class)", SHAPE, "output", "weights",
           f->steps != NULL ? "mult-adds" : "a step", "along time");
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        size_t weights = ky_inspect_weights(m, i, &trained);

        all += weights;
        all_trained += trained;
        macs += macs_of(f, i);
        print_name(l);
        printf("%-*s%9s %11s  %s\n", SHAPE - 1, shape_text(&l->tensor).s,
               l->shares == i ? thousands(weights).s : "shared", thousands(macs_of(f, i)).s,
               ky_inspect_form(m, i));
        if (!follows(m, i))
            print_inputs(m, i);
    }
    printf("%-*s%*s %11s\n", NAME, "in all", SHAPE + 8, thousands(all).s, thousands(macs).s);
    if (all_trained < all)
        printf("%-*s%*s\n", NAME, "of them not trained", SHAPE + 8, thousands(all - all_trained).s);
}

/* -- serving ----------------------------------------------------------------------------- */

static void print_parts(const ky_plan *p)
{
    const ky_plan_part *part;
    int n = ky_plan_parts(p, &part);
    line at = line_begin("");

    line_number(&at, ky_plan_state_bytes(p),
                n > 0 ? "bytes of state a stream:" : "bytes of state a stream");
    for (int i = 0; i < n; i++) {
        char t[160];

        snprintf(t, sizeof(t), "%.48s%s%.30s", part[i].layer, part[i].layer[0] != '\0' ? "'s " : "",
                 part[i].what);
        line_add(&at, t);
        snprintf(t, sizeof(t), "%s%s", thousands(part[i].bytes).s, i + 1 < n ? "," : "");
        line_add(&at, t);
    }
    line_end();
}

static void print_refusal(const char *label, const ky_err *why)
{
    line at = line_begin(label);

    line_add(&at, "no:");
    line_add(&at, why->text);
    line_end();
}

static void print_stream(const ky_findings *f)
{
    line at;

    if (f->stream.plan == NULL) {
        print_refusal("memory = stream", &f->stream.why_not);
        return;
    }
    at = line_begin("memory = stream");
    line_add(&at, "yes:");
    line_number(&at, ky_plan_macs(f->stream.plan), "multiply-adds a step");
    line_end();
    print_parts(f->stream.plan);
}

/* Which layers are run on some of their steps only, of those that cost something. */
static void print_kept(const ky_findings *f)
{
    line at = line_begin("");
    bool any = false;

    line_add(&at, "computed anew for an answer:");
    for (int i = 0; i < f->m->n_layers; i++) {
        int fresh, all;
        char t[160];

        if (!ky_plan_columns(f->windows.plan, i, &fresh, &all) || macs_of(f, i) == 0)
            continue;
        snprintf(t, sizeof(t), "%.48s %d of %d steps,", f->m->layers[i].name, fresh, all);
        line_add(&at, t);
        any = true;
    }
    line_add(&at, any ? "all that follows" : "what looks at whole windows");
    line_end();
}

static void print_windows(const ky_findings *f)
{
    const ky_plan *p = f->windows.plan;
    const char *why;
    char t[64];
    line at;

    if (p == NULL) {
        print_refusal("memory = window", &f->windows.why_not);
        return;
    }
    at = line_begin("memory = window");
    snprintf(t, sizeof(t), "yes: window = %d, hop = %d:", f->window, f->hop);
    line_add(&at, t);
    why = ky_plan_why_whole(p);
    line_number(&at, ky_plan_macs(p), "multiply-adds an answer,");
    if (why == NULL)
        line_number(&at, ky_plan_macs_whole(p), "without what earlier windows left");
    else {
        line_add(&at, "every window whole:");
        line_add(&at, why);
    }
    line_end();
    if (why == NULL)
        print_kept(f);
    print_parts(p);
}

static void print_reach(const ky_findings *f)
{
    int samples;
    const ky_layer *l = ky_inspect_reach(f, &samples);
    line at;

    if (l == NULL)
        return;
    at = line_begin("receptive field");
    line_number(&at, (size_t)samples, "samples, of a step of");
    line_add(&at, l->name);
    line_end();
}

/* -- the model --------------------------------------------------------------------------- */

static void print_names(const char *what, const char *const *names, int n)
{
    line at = line_begin(what);

    for (int i = 0; i < n; i++) {
        char t[160];

        snprintf(t, sizeof(t), "%.90s%s", names[i], i + 1 < n ? "," : "");
        line_add(&at, t);
    }
    line_end();
}

/* What models that learned from all folds but one were worth on that. */
static void print_folds(const ky_json *folds)
{
    const char *between = "";

    if (!ky_json_is_object(folds))
        return;
    printf("%-16s", "cross-validated");
    for (const char *key = ky_json_next_key(folds, NULL); key != NULL;
         key = ky_json_next_key(folds, key)) {
        const ky_json *f = ky_json_get(folds, key);

        if (!ky_json_is_object(f))
            continue;
        printf("%s%.20s %.4g +- %.2g", between, key, ky_json_num(ky_json_get(f, "mean"), NAN),
               ky_json_num(ky_json_get(f, "standard_error"), NAN));
        between = ", ";
    }
    printf(" (%d folds, one standard error)\n", (int)ky_json_num(ky_json_get(folds, "folds"), 0));
}

/* Where the weights come from, if kymo trained them. */
static void print_origin(const ky_json *extra)
{
    const ky_json *history = ky_json_get(extra, "history");
    const char *version = ky_json_str(ky_json_get(extra, "kymo_version"), NULL);
    const char *measure = "accuracy";
    int64_t best = ky_json_int(ky_json_get(extra, "best_epoch"), 0);
    struct text held_out;

    if (version == NULL)
        return;
    printf("%-16skymo %.20s, seed %" PRId64 ", %" PRId64 " windows, data %.16s\n", "trained by",
           version, ky_json_int(ky_json_get(extra, "seed"), 0),
           ky_json_int(ky_json_get(extra, "rows"), 0),
           ky_json_str(ky_json_get(extra, "data_hash"), "?"));
    print_folds(ky_json_get(extra, "cross_validation"));
    if (ky_json_len(history) == 0)
        return;
    if (ky_json_get(ky_json_at(history, 0), "mae") != NULL)
        measure = "mae"; /* of numbers */
    snprintf(held_out.s, sizeof(held_out.s), "val_%s", measure);
    printf("\n%7s %10s %10s %12s %14s\n", "epoch", "loss", measure, "val_loss", held_out.s);
    for (size_t i = 0; i < ky_json_len(history); i++) {
        const ky_json *e = ky_json_at(history, i);
        int64_t epoch = ky_json_int(ky_json_get(e, "epoch"), 0);

        printf("%7" PRId64 " %10.4f %10.4f %12.4f %14.4f%s\n", epoch,
               ky_json_num(ky_json_get(e, "loss"), 0), ky_json_num(ky_json_get(e, measure), 0),
               ky_json_num(ky_json_get(e, "val_loss"), 0),
               ky_json_num(ky_json_get(e, held_out.s), 0), epoch == best ? "  kept" : "");
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

/* Of several inputs or outputs, each with its name. */
static void print_several(const ky_model *m)
{
    for (int k = 1; k < m->n_inputs; k++)
        printf("%-*s%s\n", INDENT, "and", shape_text(&m->inputs[k]).s);
    if (m->n_outputs < 2)
        return;
    line at = line_begin("outputs of");
    for (int k = 0; k < m->n_outputs; k++)
        line_add(&at, ky_inspect_tensor(m, m->outputs[k]));
    line_end();
}

void ky_inspect_print_text(const ky_findings *f)
{
    const ky_model_info *info = ky_model_facts(f->m);

    printf("%s: model '", f->path);
    ky_cli_print_safe(stdout, info->name, strlen(info->name));
    printf("', hash %016" PRIx64 "\n", info->hash);
    print_input(f->m);
    print_layers(f);
    putchar('\n');
    print_stream(f);
    if (f->window > 0 && f->m->inputs[0].timed)
        print_windows(f);
    else if (f->m->inputs[0].timed)
        printf("memory = window yes: of any length; --window N says what one of N steps takes\n");
    print_reach(f);
    print_several(f->m);
    printf("%-*s%d%s\n", INDENT, "outputs", info->outputs,
           info->probabilities ? " (probabilities)" : "");
    if (info->n_labels > 0)
        print_names("classes", info->labels, info->n_labels);
    if (info->feature_names != NULL)
        print_names("features", info->feature_names, info->features);
    print_origin(f->m->meta.extra);
}
