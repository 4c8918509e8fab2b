/*
 * What `kymo inspect` found out about a model, for those who print it: inspect_text.c for people,
 * inspect_json.c for programs. Both tell the same facts.
 */
#ifndef KY_CLI_INSPECT_H
#define KY_CLI_INSPECT_H

#include "models/blueprint.h"
#include "models/plan.h"

/* How one kind of memory can serve the model. */
typedef struct ky_serving {
    ky_plan *plan; /* NULL: it cannot */
    ky_err why_not;
} ky_serving;

typedef struct ky_findings {
    const char *path;
    const ky_model *m;
    int window, hop; /* asked about; window 0: the model does not say and nobody did */
    int *reach;      /* [n_layers] samples that a step of it sees; 0: all */
    int *steps;      /* [n_inputs+n_layers] of every tensor in a window; NULL without one */
    ky_serving stream, windows;
} ky_findings;

/** What call i does along time, in two words. */
const char *ky_inspect_form(const ky_model *m, int i);

/** "LSTM", "TimeDistributed(Dense)", "Bidirectional(GRU)". */
struct ky_inspect_class {
    char s[96];
};
struct ky_inspect_class ky_inspect_class(const ky_layer *l);

/** The name of a tensor: a layer's, or an input's. */
const char *ky_inspect_tensor(const ky_model *m, int tensor);

/** Weights of call i that no earlier call has counted, and how many of them are trained. */
size_t ky_inspect_weights(const ky_model *m, int i, size_t *ret_trained);

/** The layer whose outputs see the most samples, of those that do not see all; NULL: none sees
 *  more than one. */
const ky_layer *ky_inspect_reach(const ky_findings *f, int *ret_samples);

void ky_inspect_print_text(const ky_findings *f);
int ky_inspect_print_json(const ky_findings *f);

#endif
