/*
 * Which rows are held out: never part of a group, the latest where rows have times, else
 * a like share of every class. No value of a row that is held out is learned from: rows that
 * overlap those in time are left out. Any thread.
 */
#ifndef KY_SPLIT_H
#define KY_SPLIT_H

#include "models/evaluate.h"

/* What becomes of a row. */
enum ky_side { KY_LEARNED, KY_HELD, KY_LEFT_OUT };

/**
 * Choose about `share` of the rows to be held out.
 *
 *   groups, more than one   whole groups, drawn by the seed
 *   times                   the latest rows; rows of one time stay together, and where rows last
 *                           (d->span) those are left out that reach into the ones held
 *   one carried stream      its last rows
 *   else                    drawn by the seed, a like share of every class
 *
 * @param share (0,1)
 * @param side  [N] receives ky_side; there are some learned from and some held
 * @return the number held out, or KY_EINVAL if the rows are too few or all of one group
 */
int ky_split(const ky_dataset *d, double share, uint64_t seed, uint8_t *side, ky_err *err);

/**
 * Part the rows into k folds of about the same size, for cross-validation: whole groups, stretches
 * of time, of one carried stream, or of every class a like number, as ky_split has it.
 *
 * @param fold [N] receives 0..k-1
 * @return KY_EINVAL if some fold would be empty
 */
int ky_fold(const ky_dataset *d, int k, uint64_t seed, uint8_t *fold, ky_err *err);

/** One fold is held, the others are learned from, but for rows that overlap it in time. */
void ky_fold_sides(const ky_dataset *d, const uint8_t *fold, int held, uint8_t *side);

/** The rows learned from and those held out. */
int ky_split_parts(const ky_dataset *d, const uint8_t *side, ky_subset *ret_learned,
                   ky_subset *ret_held, ky_err *err);

#endif
