/*
 * Which rows make the next batch. Windows are drawn in a new order each epoch. With
 * carried state a batch is a set of lanes, each on its way along one stream: what a lane
 * shows next continues what it showed before. One owner thread.
 */
#ifndef KY_SCHEDULE_H
#define KY_SCHEDULE_H

#include "models/evaluate.h"
#include "models/rng.h"

typedef struct ky_schedule ky_schedule;

/* A row of a batch. */
typedef struct ky_turn {
    uint32_t row;
    int lane;   /* whose state it continues, 0..batch-1 */
    bool fresh; /* the lane's state is zeros before it */
} ky_turn;

/**
 * @param rows [n] the rows to learn from, copied
 * With d->carried they are taken by group, in order of ts where there is one, else of rows.
 */
int ky_schedule_new(const ky_dataset *d, const uint32_t *rows, int n, int batch, ky_schedule **ret,
                    ky_err *err);
void ky_schedule_free(ky_schedule *s);

/** The rows [n] as the last epoch left them; with d->carried always the same. A schedule that is
 *  given them back goes on as that one would. */
uint32_t *ky_schedule_rows(ky_schedule *s);

/** A new epoch, its order drawn from rng; returns how many batches it has. */
int ky_schedule_begin(ky_schedule *s, ky_rng *rng);

/** Batch i of the epoch: up to `batch` turns; returns how many. */
int ky_schedule_batch(const ky_schedule *s, int i, ky_turn *turns);

#endif
