/*
 * The streaming plan: how a model is stepped sample by sample, and what a stream
 * must remember between samples (DESIGN 5.1). The daemon, `kymo predict --stream`,
 * training's validation and the promotion gate all serve through this one path (P10).
 *
 *   memory = stream   causal layers only; the state is the layers' own; the answer after
 *                     t samples is Keras's answer on that prefix
 *   memory = window   the state is a ring of the last T samples; every `hop` samples,
 *                     from the T-th on, the answer is Keras's answer on that window
 *
 * A state is one flat block of ky_plan_state_bytes() bytes, 64-byte aligned, that can be
 * stored and loaded as it is by a build with the same layout hash. The plan is immutable;
 * any number of threads may step it, each with its own ky_wave.
 */
#ifndef KY_PLAN_H
#define KY_PLAN_H

#include "models/model.h"

typedef struct ky_plan ky_plan;
typedef struct ky_wave ky_wave;

enum ky_memory { KY_MEMORY_STREAM, KY_MEMORY_WINDOW };

/**
 * @param m       borrowed as long as the plan lives
 * @param window  T for memory = window; 0: the model's own
 * @param hop     answers every so many samples; >= 1; memory = window only
 * @return KY_EUNSUPPORTED with the layer and the reason if the model has no such form
 */
int ky_plan_new(const ky_model *m, enum ky_memory memory, int window, int hop, ky_plan **ret,
                ky_err *err);
void ky_plan_free(ky_plan *p);

/** A multiple of 64, at least 64. */
size_t ky_plan_state_bytes(const ky_plan *p);

/* A stretch of a state: what it remembers for which layer. */
typedef struct ky_plan_part {
    const char *layer; /* its name; "" for what is no layer's. Borrowed */
    const char *what;
    size_t at, bytes;
    size_t h;     /* of a recurrent layer: so many reals of h, then what else it carries; else 0 */
    bool bounded; /* h is the output of tanh or a sigmoid */
} ky_plan_part;

/** The parts of a state in the order of its bytes; borrowed. Returns how many. */
int ky_plan_parts(const ky_plan *p, const ky_plan_part **ret);

/**
 * Multiply-adds of one row: of a sample on average where memory = stream; else of an answer,
 * with what earlier windows left. ky_plan_macs_whole: of a window that is computed whole, 0 where
 * memory = stream.
 */
size_t ky_plan_macs(const ky_plan *p);
size_t ky_plan_macs_whole(const ky_plan *p);

/** memory = window: how many columns (steps) of the `ret_all` of call i's tensor an answer
 *  computes anew; false if the call always runs on whole windows. */
bool ky_plan_columns(const ky_plan *p, int i, int *ret_new, int *ret_all);

/** memory = window: why every window is computed whole; NULL if something is kept. */
const char *ky_plan_why_whole(const ky_plan *p);

uint64_t ky_plan_layout(const ky_plan *p); /* hash of what the state's bytes mean */

/** The state of a stream that has seen nothing. */
void ky_plan_zero(const ky_plan *p, void *state);

/** Whether a state read from storage can be stepped: size, counters in range, all finite. */
bool ky_plan_state_ok(const ky_plan *p, const void *state, size_t bytes);

/** Scratch of one thread for waves of up to max_rows rows; NULL when out of memory. */
ky_wave *ky_wave_new(const ky_plan *p, int max_rows);
void ky_wave_free(ky_wave *w);

/**
 * One step of B streams.
 *
 * @param x        [B] pointers to F values
 * @param state    [B] pointers to states, updated in place, none twice
 * @param y        [B] pointers to `outputs` values, written where answered
 * @param answered [B] receives whether row r has a new answer at this step
 */
void ky_plan_step(const ky_plan *p, ky_wave *w, int B, const float *const *x, void *const *state,
                  float *const *y, bool *answered);

/** Samples that one step of each call's tensor depends on, 0 where it is all of them, into
 *  samples[calls]. KY_ENOMEM. */
int ky_plan_reach(const ky_model *m, int *samples);

/** Proves P1, P2 and P3 for this plan on random data; KY_ECORRUPT with the place if they fail. */
int ky_plan_selftest(const ky_plan *p, ky_err *err);

#endif
