/*
 * The streams that the accept stage has in memory: of each how far it is, and in which order they
 * were used. What only some classes ask for (values to fill holes with, the time of the last
 * sample) is kept beside, and only if one does. One thread; being out of memory ends the process.
 */
#ifndef KY_ROSTER_H
#define KY_ROSTER_H

#include "daemon/config.h"
#include "daemon/line.h"
#include "daemon/names.h"
#include "daemon/stream.h"

enum { KY_ERA_MAX = (1 << 29) - 1 };
#define KY_ROSTER_FULL UINT32_MAX /* no stream has this number */

/* A stream; there may be a million. */
typedef struct ky_known {
    int64_t n;         /* its last step number */
    int64_t ts_us;     /* of its last sample that was not late */
    uint64_t pos;      /* behind the last record that was taken of it */
    int64_t high;      /* the numbers seen: as in ky_window */
    uint64_t mask;     /* likewise */
    ky_place use;      /* in its class's line */
    uint32_t id;       /* kymo's number of it */
    uint32_t era : 29, /* when its last sample came; 0: before the start */
        ended : 1,     /* the next sample starts from zeros */
        again : 1,     /* used more than once since it came into memory */
        used : 1;      /* or at all */
} ky_known;

_Static_assert(sizeof(ky_known) == 56, "a million streams count every byte");

/* Where a class has an end_after. */
typedef struct ky_heard {
    int64_t at_ns;  /* the host's clock at its last sample; 0: silence ends nothing */
    ky_place place; /* in its class's line */
} ky_heard;

/* Streams of a class in the order in which they were used, those that were used once apart: a
 * flood of them does not drive out the others. */
typedef struct ky_using {
    ky_line once, often, heard;
} ky_using;

typedef struct ky_roster {
    const ky_config *cfg;
    ky_names names; /* by class; rows are those of `known` */
    ky_known *known;
    float **held;    /* the last values; NULL: no class asks for them */
    ky_heard *heard; /* NULL: no class has an end_after */
    uint32_t cap;
    uint32_t next_id; /* KY_ROSTER_FULL: none is left */
    uint32_t era;     /* from 1; arrivals of different eras are not to be compared */
    ky_using *using;  /* [classes] */
} ky_roster;

/** @param holds  [classes] whether the last values are kept. KY_ENOMEM. */
int ky_roster_init(ky_roster *t, const ky_config *cfg, const bool *holds);
void ky_roster_done(ky_roster *t);

static inline uint32_t ky_roster_row(const ky_roster *t, const ky_known *k)
{
    return (uint32_t)(k - t->known);
}

static inline int ky_roster_class(const ky_roster *t, const ky_known *k)
{
    return t->names.row[ky_roster_row(t, k)].group;
}

/** NULL: it is not in memory. */
ky_known *ky_roster_find(const ky_roster *t, int class_, const char *name, size_t len);
/** One that is not there, as a stream that never had a sample; borrowed until the next add. */
ky_known *ky_roster_add(ky_roster *t, uint32_t id, int class_, const char *name, size_t len);
void ky_roster_remove(ky_roster *t, ky_known *k);
/** A stream that is not to be there has this number. */
void ky_roster_number_taken(ky_roster *t, uint32_t id);
/** Streams of the class in memory. */
uint32_t ky_roster_count(const ky_roster *t, int class_);

/** A record of it was taken, which ends at pos. */
void ky_roster_used(ky_roster *t, ky_known *k, uint64_t pos);
/** Arrivals from here on are not to be compared with those before. */
void ky_roster_new_era(ky_roster *t);
/** Puts all in the order of their last records, none of them used just once: the start. */
void ky_roster_sort(ky_roster *t);
/** The stream of the class that is to leave memory first; NULL: it has none. */
ky_known *ky_roster_oldest(const ky_roster *t, int class_);

/** Its last values; NULL: there are none. */
float *ky_roster_held(const ky_roster *t, const ky_known *k);
/** Memory for so many, where its class asks for them; else NULL. */
float *ky_roster_hold(ky_roster *t, ky_known *k, size_t values);
void ky_roster_let_go(ky_roster *t, ky_known *k);

/** Something was heard of the stream now; it counts where the class has an end_after. */
void ky_roster_heard(ky_roster *t, ky_known *k, int64_t now_ns);
/** Silence ends nothing of it. */
void ky_roster_unheard(ky_roster *t, ky_known *k);
/** All streams that are in a sequence count as heard now: the start. */
void ky_roster_hear_all(ky_roster *t, int64_t now_ns);
/** A stream whose silence has ended its sequence, NULL: there is none now; then *ret_left_ns is the
 *  time until there may be one, if that is less. */
ky_known *ky_roster_silent(const ky_roster *t, int64_t now_ns, int64_t *ret_left_ns);

#endif
