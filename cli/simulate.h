/*
 * What the kinds of `kymo simulate` share: a row of a table each, which says the shape of its
 * data and draws one row of them at a time. simulate.c writes what they draw.
 *
 * A row depends on the seed, the part it stands in and its number alone, so that asking for more
 * rows leaves those before as they are. Nothing here calls the C library's sin or exp, whose last
 * digit differs from one version to the next.
 */
#ifndef KY_SIMULATE_H
#define KY_SIMULATE_H

#include <stdbool.h>
#include <stdint.h>

#include "models/error.h"
#include "models/h5.h"
#include "models/rng.h"

enum { KY_SIM_TRAIN, KY_SIM_TEST, KY_SIM_PARTS };

/* What was asked for; 0, or a noise of NaN, where nothing was: then it is as the kind has it. */
typedef struct ky_sim_opts {
    int64_t rows[KY_SIM_PARTS];
    int64_t seed, steps, size, classes, objects;
    double noise;
    const char *digits; /* a file with glyphs to take instead of drawn ones */
} ky_sim_opts;

/* Stand in the shape of a row for what options say. */
enum { KY_SIM_STEPS = -1, KY_SIM_SIZE = -2, KY_SIM_RANK = 4 };

/* The row to be drawn. */
typedef struct ky_sim_row {
    int part, number, label, group;
    ky_rng *rng;
} ky_sim_row;

typedef struct ky_sim ky_sim;

typedef struct ky_sim_kind {
    const char *name, *brief;
    int (*begin)(ky_sim *s, ky_err *err); /* fills `own`; NULL: nothing to prepare */
    /** One row into x, s->values of them, which are zeros. */
    void (*draw)(const ky_sim *s, const ky_sim_row *row, float *x);
    const char *const *classes;    /* [n_classes] */
    const char *const *features;   /* of the last axis, NULL: they have no names */
    const char *const *vocabulary; /* words from KY_WORD_FIRST on, then NULL; NULL: no tokens */
    double noise;                  /* as the data have it; < 0: --noise means nothing here */
    enum ky_h5_type type;
    int rank, shape[KY_SIM_RANK]; /* of a row */
    int rows[KY_SIM_PARTS];
    int groups[KY_SIM_PARTS];    /* persons or machines that rows are taken from in turn; 0: none */
    int n_classes, some_classes; /* all there are; how many without --classes, 0: all */
    int steps, least_steps;      /* 0: --steps means nothing here */
    int size, least_size;
    int objects; /* at most so many; 0: --objects means nothing here */
    bool digits; /* --digits goes with it */
} ky_sim_kind;

/* A kind with everything settled. */
struct ky_sim {
    const ky_sim_kind *kind;
    int64_t seed;
    int rows[KY_SIM_PARTS];
    int steps, size, n_classes, objects;
    double noise;
    const char *digits;
    uint64_t dims[KY_SIM_RANK]; /* of a row */
    size_t values;              /* their product */
    void *own;                  /* the kind's, from malloc */
};

extern const ky_sim_kind ky_sim_digits, ky_sim_moving_digits;
extern const ky_sim_kind ky_sim_activity, ky_sim_bearings, ky_sim_beats, ky_sim_heartbeats;
extern const ky_sim_kind ky_sim_local, ky_sim_memory, ky_sim_sentiment, ky_sim_spoken;

/* -- for those who draw -- */

/** The sine of so many full turns, within 1e-9, the same everywhere. */
double ky_sim_wave(double turns);

/** A smooth hill of height 1 and half width `width` around 0: (1 - (t/width)^2)^3. */
double ky_sim_hill(double t, double width);

/** Uniform in [low,high). */
double ky_sim_between(ky_rng *rng, double low, double high);

/** A generator that depends on these alone. */
void ky_sim_seed(ky_rng *rng, int64_t seed, int what, int which);

#endif
