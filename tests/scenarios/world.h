/*
 * A random scenario on its way: a pipeline and the oracle beside it, and the dice that say what
 * comes next. Everything is drawn from a seed; only at which call to the disk a process is killed
 * hangs on its threads, and nothing that is compared hangs on that.
 */
#ifndef KY_WORLD_H
#define KY_WORLD_H

#include "models/sample.h"
#include "tests/scenarios/oracle.h"

enum { KY_WORLD_SOURCES = 3, KY_WORLD_MODELS = 200 };

typedef struct ky_world {
    ky_oracle o;
    ky_scene scene;
    ky_rng rng;
    char ini[320], text[6000]; /* the settings of the last start */
    enum ky_world_journal { KY_WORLD_SYNC, KY_WORLD_ASYNC, KY_WORLD_NO } journal;
    bool killed; /* at least once */
    struct {
        int64_t ts_ms, seq; /* of its last sample */
        bool by_arrival;
    } sender[KY_ORACLE_STREAMS];
    struct {
        const char *name;
        uint64_t sent;
    } source[KY_WORLD_SOURCES]; /* the first promises nothing */
    int n_sources, open;        /* open: to which messages were put that are on their way; -1 */
    int64_t marks;
    int labels;
    bool at_once[KY_ORACLE_CLASSES][KY_ORACLE_MODELS]; /* how another file of a model takes over */
    ky_inside_model *made[KY_WORLD_MODELS];
    int n_made;
    void (*leaving)(void); /* the process is about to end: a last look at its status */
} ky_world;

/** Everything is drawn, and the pipeline starts. */
void ky_world_begin(ky_world *w, uint64_t seed, void (*leaving)(void));
/** Something happens, perhaps. */
void ky_world_step(ky_world *w);
/** The pipeline stops; what comes of it is in results.db and in w->o. */
void ky_world_end(ky_world *w);
void ky_world_done(ky_world *w);

#endif
