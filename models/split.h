/*
 * Which rows are held out: never part of a group, the latest where rows have times, else
 * a like share of every class. Any thread.
 */
#ifndef KY_SPLIT_H
#define KY_SPLIT_H

#include "models/evaluate.h"

/**
 * Choose about `share` of the rows to be held out.
 *
 *   groups, more than one   whole groups, drawn by the seed
 *   times                   the latest rows; rows of one time stay together
 *   one carried stream      its last rows
 *   else                    drawn by the seed, a like share of every class
 *
 * @param share (0,1)
 * @param held  [N] receives 1 for rows held out, 0 for the others; both sides have some
 * @return the number held out, or KY_EINVAL if the rows are too few or all of one group
 */
int ky_split(const ky_dataset *d, double share, uint64_t seed, uint8_t *held, ky_err *err);

#endif
