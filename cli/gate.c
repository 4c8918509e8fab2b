/* Retraining behind the gate: the child that kymod runs. */
#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/segments.h"
#include "cli/training.h"
#include "models/json.h"
#include "models/split.h"

/* What the champion and the candidate are compared by. */
typedef struct metric {
    const char *name;
    bool less_is_better;
    size_t at; /* offsetof(ky_score) */
} metric;

static const metric metrics[] = {
    { "accuracy", false, offsetof(ky_score, accuracy) },
    { "macro_f1", false, offsetof(ky_score, macro_f1) },
    { "log_loss", true, offsetof(ky_score, log_loss) },
};

typedef struct gate {
    const ky_training *t;
    const metric *metric;
    ky_segments s;
    ky_subset train, held; /* parts of s.set */
    ky_model *champion, *candidate;
    double before, after;
    bool better;
    char reason[320];
} gate;

static double value_of(const metric *m, const ky_score *s)
{
    return *(const double *)((const char *)s + m->at);
}

static const metric *find_metric(const char *name)
{
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (strcmp(metrics[i].name, name) == 0)
            return metrics + i;
    return metrics;
}

static int hold_out(gate *g, ky_err *err)
{
    const ky_segments *s = &g->s;
    uint8_t *side;
    int rc;

    if (s->set.N < g->t->least_rows)
        return ky_fail(err, KY_EINVAL,
                       "too little data: %d labelled windows of %d steps, at least %lld are wanted "
                       "(%d sequences read, %d without label, %d of unknown class, %d too short, "
                       "%d of another number of values)",
                       s->set.N, s->set.T, (long long)g->t->least_rows, s->count.sequences,
                       s->count.unlabelled, s->count.unknown, s->count.too_short, s->count.misfits);
    side = malloc((size_t)s->set.N);
    if (side == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to part %d windows", s->set.N);
    rc = ky_split(&s->set, g->t->held_out, (uint64_t)g->t->seed, side, err);
    if (rc > 0)
        rc = ky_split_parts(&s->set, side, &g->train, &g->held, err);
    free(side);
    return rc;
}

static int score(const gate *g, const ky_model *m, double *ret, ky_err *err)
{
    ky_score s;
    int rc = ky_evaluate(m, &g->held.d, (int)g->t->threads, &s, err);

    if (rc < 0)
        return rc;
    free(s.confusion);
    *ret = value_of(g->metric, &s);
    return KY_OK;
}

static void judge(gate *g)
{
    double gain = g->metric->less_is_better ? g->before - g->after : g->after - g->before;

    g->better = gain >= g->t->margin;
    snprintf(g->reason, sizeof g->reason,
             "%s %.4f on the latest %d windows, the running model %.4f: %s by the margin of %g",
             g->metric->name, g->after, g->held.d.N, g->before,
             g->better ? "no worse" : "not better", g->t->margin);
}

/* Of the values in their order, wherever they are. */
static int hash_values(const ky_dataset *d, uint64_t *ret, ky_err *err)
{
    size_t bytes = ky_dataset_len(d) * sizeof(float);
    ky_walk w;
    int n, rc = n = ky_walk_begin(&w, d, err);

    *ret = KY_HASH0;
    while (rc >= 0 && (rc = n = ky_walk_next(&w, err)) > 0)
        for (int i = 0; i < n; i++)
            *ret = ky_hash(*ret, w.x[i], bytes);
    ky_walk_done(&w);
    return rc;
}

static int train_candidate(gate *g, ky_err *err)
{
    ky_train_result r = { 0 };
    uint64_t hash;
    int rc = hash_values(&g->train.d, &hash, err);

    if (rc < 0 || (rc = ky_training_run(g->t, g->candidate, &g->train.d, false, &r, err)) < 0)
        return rc;
    ky_training_note(g->t, g->candidate, &r, hash, g->train.d.N, NULL);
    ky_json_free(r.history);
    return KY_OK;
}

/* Rows beyond --buffer are put by where the candidate is going to be. */
static int load(gate *g, ky_err *err)
{
    const ky_training *t = g->t;
    char dir[4096];
    ky_segments_opts o = { .from = t->segments.item,
                           .n_from = t->segments.n,
                           .results = t->results,
                           .class_name = t->class_name,
                           .memory = (size_t)t->buffer };

    if (snprintf(dir, sizeof dir, "%s", t->out) >= (int)sizeof dir)
        return ky_fail(err, KY_EINVAL, "'%.60s...': the name is too long", t->out);
    o.dir = dirname(dir);
    return ky_segments_load(&o, g->champion, &g->s, err);
}

static int run(gate *g, ky_err *err)
{
    const ky_training *t = g->t;
    int rc;

    if ((rc = ky_model_load(t->model, &g->champion, err)) < 0 ||
        (rc = ky_model_load(t->model, &g->candidate, err)) < 0 || (rc = load(g, err)) < 0 ||
        (rc = hold_out(g, err)) < 0 || (rc = score(g, g->champion, &g->before, err)) < 0 ||
        (rc = train_candidate(g, err)) < 0 || (rc = score(g, g->candidate, &g->after, err)) < 0)
        return rc;
    judge(g);
    return ky_model_save(g->candidate, t->out, err);
}

static void print_json(const gate *g, const ky_err *err, bool failed)
{
    const ky_windows_count *n = &g->s.count;
    ky_json *o = ky_json_object();
    char *text;

    ky_json_set(o, "rows", ky_json_of_int(g->train.d.N));
    ky_json_set(o, "held_out", ky_json_of_int(g->held.d.N));
    ky_json_set(o, "metric", ky_json_of_str(g->metric->name));
    ky_json_set(o, "champion", failed ? ky_json_of_null() : ky_json_of_num(g->before));
    ky_json_set(o, "candidate", failed ? ky_json_of_null() : ky_json_of_num(g->after));
    ky_json_set(o, "verdict", ky_json_of_str(failed ? "failed" : g->better ? "better" : "worse"));
    ky_json_set(o, "reason", ky_json_of_str(failed ? err->text : g->reason));
    ky_json_set(o, "sequences", ky_json_of_int(n->sequences));
    ky_json_set(o, "unlabelled", ky_json_of_int(n->unlabelled));
    ky_json_set(o, "unknown_labels", ky_json_of_int(n->unknown));
    ky_json_set(o, "too_short", ky_json_of_int(n->too_short));
    ky_json_set(o, "misfits", ky_json_of_int(n->misfits));
    text = ky_json_text(o, 0);
    ky_json_free(o);
    if (text != NULL)
        puts(text);
    free(text);
}

int ky_training_gate(const ky_training *t)
{
    gate g = { .t = t, .metric = find_metric(t->metric) };
    ky_err err = { 0 };
    int rc = run(&g, &err);

    if (t->json)
        print_json(&g, &err, rc < 0);
    else if (rc >= 0)
        printf("%s: %s (%d windows learned from, %d labels unknown)\n",
               g.better ? "better" : "worse", g.reason, g.train.d.N, g.s.count.unknown);
    ky_subset_done(&g.train);
    ky_subset_done(&g.held);
    ky_segments_free(&g.s);
    ky_model_free(g.champion);
    ky_model_free(g.candidate);
    return rc < 0 ? ky_cli_fail(&err) : KY_EXIT_OK;
}
