/*
 * The inside of a plan, for plan*.c: plan.c is what callers see, plan_stream.c and
 * plan_window.c (with plan_tick.c) are its two kinds, plan_test.c proves one on random data.
 */
#ifndef KY_PLAN_INSIDE_H
#define KY_PLAN_INSIDE_H

#include "models/blueprint.h"
#include "models/layer_tools.h"
#include "models/plan.h"

enum { KY_LINE = 64, KY_MAX_STATE = 1 << 26 };

/* memory = stream: what plan_stream.c knows of each call. */
typedef struct ky_stream_call {
    bool stepped; /* by ops->step; else by window(), on the newest step alone */
    bool sieves;  /* not every input gives an output */
    size_t at;    /* its state in a stream's, bytes */
    int slot;     /* where a wave keeps its tensor */
} ky_stream_call;

/* When a tensor has a new step, or a new value: after samples first, first + every, ... */
typedef struct ky_flow {
    int64_t first, every;
} ky_flow;

/*
 * memory = window: what is kept of a tensor from window to window. A column is its value at one
 * step. In the window that begins at sample s, column c belongs to the key s + c*P; inner
 * columns, which depend on no padding, are the same in every window that has their key. Windows
 * begin at multiples of the hop, so the keys are multiples of `spacing`, and P/spacing phases of
 * windows alternate. The newest key of a window is that of its last inner column; `fresh` keys are
 * new at each tick, and the newest `cap` are at hand.
 */
typedef struct ky_column {
    bool kept;  /* computed column by column, the inner ones once */
    bool whole; /* the rest of the model, which runs on whole windows, reads it */
    bool stored;
    int T;          /* columns of a window */
    int P;          /* samples from one to the next */
    int first, end; /* inner columns of a window */
    int spacing, phases, fresh;
    int cap;     /* a multiple of phases; a ring in the state if stored, else the wave's */
    size_t at;   /* of the ring in the state, bytes */
    size_t wide; /* reals of a column */
} ky_column;

struct ky_plan {
    const ky_model *m;
    enum ky_memory memory;
    int T, hop; /* memory = window */
    size_t F, outputs;
    size_t state_bytes;
    uint64_t layout;
    size_t macs;
    int n_parts;
    ky_plan_part *parts;

    ky_stream_call *call; /* [n_layers] */
    ky_flow *flow;        /* [n_inputs+n_layers], the inputs' first */
    int n_slots;

    /* memory = window */
    ky_column *column;      /* [n_inputs+n_layers] */
    ky_taps *taps;          /* [n_layers] of calls that are kept */
    enum ky_run_form *form; /* [n_layers] for the rest of the model */
    bool rings;             /* there are stored ones beside the input's */
    char why[160];          /* nothing is kept; "" if something is */
    size_t macs_whole;
};

/* What one kind of plan does; a wave is what it makes of it. */
typedef struct ky_plan_kind {
    int (*plan)(ky_plan *p, ky_err *err); /* p->m, F, outputs, T and hop as asked for are there */
    uint64_t (*layout)(const ky_plan *p, uint64_t h);
    bool (*state_ok)(const ky_plan *p, const void *state);
    bool (*wave)(const ky_plan *p, ky_wave *w, int max_rows);
    void (*wave_done)(ky_wave *w);
    void (*step)(const ky_plan *p, ky_wave *w, int B, const float *const *x, void *const *state,
                 float *const *y, bool *answered);
} ky_plan_kind;

extern const ky_plan_kind ky_plan_stream, ky_plan_window;

/* One call of a stream's wave: rows that have a new step, and their tensor. */
typedef struct ky_wave_tensor {
    int n;         /* rows */
    const int *at; /* [n] their places in the wave */
    ky_real *y;
    uint8_t *mask; /* of a layer that makes one */
    int *own_at;   /* of a layer that sieves */
} ky_wave_tensor;

struct ky_wave {
    const ky_plan *p;
    int max_rows;
    int *row; /* [max_rows] 0, 1, 2 ...; memory = window: those that are due */
    ky_real *x;
    ky_real *scratch;

    /* memory = stream */
    ky_wave_tensor *of; /* [n_layers] */
    ky_input *tensor;   /* [n_inputs+n_layers], the inputs' first */
    ky_input *in;       /* [most inputs of a call] */
    ky_real **slot;     /* [n_slots] */
    bool *emit;         /* [max_rows] which rows the layer gave an output for */
    void **state;       /* [max_rows] their states of one layer */

    /* memory = window */
    ky_work *work; /* the rest of the model, for `batch` windows */
    int batch;
    ky_real *y;        /* [batch,outputs] */
    int64_t *start;    /* [batch] first sample of the row's window; < 0: it is not full yet */
    int *top;          /* [n_inputs+n_layers][batch] where the newest key is in a ring */
    ky_real **own;     /* [n_inputs+n_layers] columns that are not stored, [batch,cap,wide] */
    ky_real **edge[2]; /* [n_inputs+n_layers] [batch,..,wide] before the inner ones and behind */
    ky_real *panel;    /* what one call reads */
    ky_real *out;      /* what it gives */
};

/** Memory for n things on cache lines; NULL when out of memory or too much to count. */
void *ky_plan_lines(size_t n, size_t size);

/** bytes, up to whole cache lines. */
size_t ky_plan_line_up(size_t bytes);

/** The next part of the state: bytes at p->state_bytes, which grows. KY_ENOMEM, KY_EFULL. */
int ky_plan_add_part(ky_plan *p, const char *layer, const char *what, size_t bytes, ky_err *err);

/** Continue the hash of a layout with a number; with what a layer is, down to its options. */
uint64_t ky_plan_hash(uint64_t h, int64_t v);
uint64_t ky_plan_hash_layer(uint64_t h, const ky_layer *l);

/** A tensor's columns; a call's inputs among them. */
static inline ky_column *ky_plan_column(const ky_plan *p, int tensor)
{
    return &p->column[p->m->n_inputs + tensor];
}

/** Columns [ret->i0,ret->i1) of the inputs that columns [o0,o1) of a kept call's tensor read. */
ky_stretch ky_plan_reads(const ky_plan *p, int i, int o0, int o1);

/** Keys between the newest of call i's k-th input and the last one that its own key `back` before
 *  the newest reads. */
int ky_plan_lag(const ky_plan *p, int i, int k, int back);

/** How many of the fresh keys are of phase f; the newest key's is 0. */
static inline int ky_plan_fresh_of(const ky_column *c, int f)
{
    return (c->fresh - f + c->phases - 1) / c->phases;
}

/** Columns that an answer computes: fresh ones, and the edges. */
static inline int ky_plan_new_columns(const ky_column *c)
{
    return c->fresh + c->T - (c->end - c->first);
}

bool ky_plan_window_wave(const ky_plan *p, ky_wave *w, int max_rows);
void ky_plan_window_wave_done(ky_wave *w);
void ky_plan_window_step(const ky_plan *p, ky_wave *w, int B, const float *const *x,
                         void *const *state, float *const *y, bool *answered);

/** The answer out of n reals. */
void ky_plan_answer(const ky_plan *p, const ky_real *from, float *to);

#endif
