/*
 * The models in service: every version that a stream's state or the journal's tail names, and
 * the one that took over last, each with a plan for every class of streams it serves.
 * Versions are added by any thread, under a lock; they are found by any thread without one, and
 * stay until the end.
 */
#ifndef KY_SERVED_H
#define KY_SERVED_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/config.h"
#include "models/model.h"
#include "models/plan.h"

typedef struct ky_version {
    int model; /* row of [model:...] */
    uint32_t version;
    uint64_t hash;
    ky_model *m;
    const ky_model_info *facts;
    ky_plan **plan; /* [classes]; NULL for classes that it does not serve */
    struct ky_version *next;
} ky_version;

typedef struct ky_served {
    const ky_config *cfg;
    char dir[4096]; /* of the model store */
    pthread_mutex_t lock;
    _Atomic(ky_version *) *first; /* [models] */
} ky_served;

int ky_served_init(ky_served *s, const ky_config *cfg, ky_err *err);
void ky_served_done(ky_served *s);

/**
 * Makes sure that a version is loaded.
 *
 * @param hash  0, or what its file must have
 * @param test  prove P1 and P2 for its plans first
 * @return KY_ENOENT: not in the store; KY_ESHAPE: it does not fit a class that it would serve;
 *         KY_ECORRUPT: another hash, or the proof failed
 */
int ky_served_load(ky_served *s, int model, uint32_t version, uint64_t hash, bool test,
                   const ky_version **ret, ky_err *err);

/** A loaded version; NULL if it is not. */
const ky_version *ky_served_find(const ky_served *s, int model, uint32_t version);

/** The row of [model:name], -1 if there is none. */
int ky_served_model(const ky_config *cfg, const char *name);

/** The file of [model:...] as the configuration names it, proved to fit and to step rightly.
 *  The caller frees it. */
int ky_served_read(const ky_config *cfg, int model, ky_model **ret, ky_err *err);

/** Whether the models of every class take as many values.
 *  @param features  [models] how many each takes; 0: not known
 *  @return KY_ESHAPE: two do not, and err names them */
int ky_served_agree(const ky_config *cfg, const int *features, ky_err *err);

/** The version with this hash in the store, 0 if there is none. */
uint32_t ky_served_by_hash(const ky_served *s, int model, uint64_t hash);

/**
 * What an answer says.
 *
 * @param y          [outputs]
 * @param ret_score  the label's probability; of a regression its first value
 * @return the index of the label, -1 where the model names no classes
 */
int ky_served_decide(const ky_model_info *facts, const float *y, float *ret_score);

/** Text of a label: its name, or its number written into `number`. */
const char *ky_served_label(const ky_model_info *facts, int label, char number[12]);

#endif
