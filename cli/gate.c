/* Retraining behind the gate: the child that kymod runs. */
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
                       s->set.N, s->set.T, (long long)g->t->least_rows, s->sequences, s->unlabelled,
                       s->unknown, s->too_short, s->misfits);
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

static uint64_t hash_values(const ky_dataset *d)
{
    uint64_t h = KY_HASH0;

    for (int i = 0; i < d->N; i++)
        h = ky_hash(h, ky_dataset_row(d, i), ky_dataset_len(d) * sizeof(float));
    return h;
}

static int train_candidate(gate *g, ky_err *err)
{
    ky_train_result r = { 0 };
    int rc = ky_training_run(g->t, g->candidate, &g->train.d, false, &r, err);

    if (rc < 0)
        return rc;
    ky_training_note(g->t, g->candidate, &r, hash_values(&g->train.d), g->train.d.N);
    ky_json_free(r.history);
    return KY_OK;
}

static int run(gate *g, ky_err *err)
{
    const ky_training *t = g->t;
    int rc;

    if ((rc = ky_model_load(t->model, &g->champion, err)) < 0 ||
        (rc = ky_model_load(t->model, &g->candidate, err)) < 0)
        return rc;
    rc = ky_segments_load(t->segments.item, t->segments.n, t->results, t->class_name, g->champion,
                          &g->s, err);
    if (rc < 0 || (rc = hold_out(g, err)) < 0 ||
        (rc = score(g, g->champion, &g->before, err)) < 0 || (rc = train_candidate(g, err)) < 0 ||
        (rc = score(g, g->candidate, &g->after, err)) < 0)
        return rc;
    judge(g);
    return ky_model_save(g->candidate, t->out, err);
}

static void print_json(const gate *g, const ky_err *err, bool failed)
{
    ky_json *o = ky_json_object();
    char *text;

    ky_json_set(o, "rows", ky_json_of_int(g->train.d.N));
    ky_json_set(o, "held_out", ky_json_of_int(g->held.d.N));
    ky_json_set(o, "metric", ky_json_of_str(g->metric->name));
    ky_json_set(o, "champion", failed ? ky_json_of_null() : ky_json_of_num(g->before));
    ky_json_set(o, "candidate", failed ? ky_json_of_null() : ky_json_of_num(g->after));
    ky_json_set(o, "verdict", ky_json_of_str(failed ? "failed" : g->better ? "better" : "worse"));
    ky_json_set(o, "reason", ky_json_of_str(failed ? err->text : g->reason));
    ky_json_set(o, "sequences", ky_json_of_int(g->s.sequences));
    ky_json_set(o, "unlabelled", ky_json_of_int(g->s.unlabelled));
    ky_json_set(o, "unknown_labels", ky_json_of_int(g->s.unknown));
    ky_json_set(o, "too_short", ky_json_of_int(g->s.too_short));
    ky_json_set(o, "misfits", ky_json_of_int(g->s.misfits));
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
               g.better ? "better" : "worse", g.reason, g.train.d.N, g.s.unknown);
    ky_subset_done(&g.train);
    ky_subset_done(&g.held);
    ky_segments_free(&g.s);
    ky_model_free(g.champion);
    ky_model_free(g.candidate);
    return rc < 0 ? ky_cli_fail(&err) : KY_EXIT_OK;
}
