/*
 * What the stages share: made before their threads start, read-only from then on but for the
 * counters. Only the stages and pipeline.c include this.
 */
#ifndef KY_CORE_H
#define KY_CORE_H

#include <stdatomic.h>

#include "daemon/config.h"
#include "daemon/pipeline.h"
#include "daemon/served.h"
#include "storage/journal.h"

/* Counted by the stages, told by ky_pipeline_status. */
typedef struct ky_counters {
    _Atomic uint64_t received, accepted, rejected, duplicates, late, anew, ahead, sessions_refused;
    _Atomic uint64_t set_back, clock_steps, filled, ended, forgotten;
    _Atomic uint64_t acks, acks_dropped, batches;
    _Atomic uint64_t steps, answers, quarantined, gaps, resets, swaps, labels;
    _Atomic uint64_t published, unpublished;
    _Atomic uint64_t commits, commit_rows, commit_retries, journal_retries, stalls;
    _Atomic uint64_t let_go;    /* taken and never to be answered, as a full disk met a stop */
    _Atomic uint64_t recovered; /* journal records that results.db did not include at the start */
    _Atomic uint64_t streams, paged_out, paged_in, spilled, returned;
    _Atomic uint64_t in_memory; /* streams: now */
    /* Sources, and classes with a sequence to end, that wait for room for a stream: now. */
    _Atomic uint64_t waiting, ends_waiting;
    _Atomic uint64_t
        ends_late;           /* sequences whose silence too many others kept from being counted */
    _Atomic uint64_t *waves; /* [max_wave + 1] by size */
} ky_counters;

#define KY_COUNT_MORE(counter, n) atomic_fetch_add_explicit(&(counter), n, memory_order_relaxed)
#define KY_COUNT(counter)         KY_COUNT_MORE(counter, 1)
#define KY_COUNTED_AT(counter)    atomic_load_explicit(&(counter), memory_order_relaxed)

/* What waits for a disk with room, or for a lock that another process holds; and what no longer
 * does, as a stop was asked for: the journal takes nothing more, results.db has not all. */
typedef struct ky_waits {
    _Atomic bool journal, results;
    _Atomic int64_t stop_ns; /* when; 0: it was not */
    _Atomic bool journal_given_up, results_given_up;
} ky_waits;

/* The models of a class, as rows of [model:...]. */
typedef struct ky_serving {
    int n, model[KY_CLASS_MODELS];
} ky_serving;

enum { KY_MAX_REASONS = 64 };

/* Rejects by reason, the part of it before a colon or digit: few and bounded. */
typedef struct ky_reasons {
    pthread_mutex_t lock;
    int n;
    struct {
        char text[64];
        uint64_t times;
    } row[KY_MAX_REASONS];
} ky_reasons;

struct ky_intake;
struct ky_accept;
struct ky_lane;
struct ky_writer;
struct ky_publisher;

struct ky_pipeline {
    const ky_config *cfg;
    int n_lanes;
    size_t queue_bytes;       /* of a lane's queue */
    const char **class_names; /* [classes], for units */
    const char **model_names; /* [models] */
    ky_serving *serving;      /* [classes] */
    bool *holds;        /* [classes]: holes or gaps of theirs are filled with the last values */
    uint64_t live_from; /* records before this position are replayed, not published */
    _Atomic uint64_t era_pos;  /* arrivals before and behind it are not to be compared */
    _Atomic uint32_t *current; /* [models]: the version that took over last, for those who ask */
    int lock_fd;
    ky_served served;
    ky_journal *journal;
    struct ky_results *results; /* the writer's while it runs */
    char uuid[37];
    ky_counters count;
    ky_waits waits;
    ky_reasons reasons;
    struct ky_intake **intakes; /* [sources] */
    struct ky_accept *accept;
    struct ky_lane **lanes; /* [n_lanes] */
    struct ky_writer *writer;
    struct ky_publisher *publisher;
};

/* What travels to a lane in place of a record, never on disk: everything before pos has been sent.
 * And: commit soon; the stream is to leave memory, all that was done to it is committed. */
enum { KY_REC_MARK = 253, KY_REC_COMMIT, KY_REC_LEAVE };

static inline bool ky_record_is_mark(const ky_record *r)
{
    return r->type >= KY_REC_MARK;
}

static inline uint64_t ky_record_end(const ky_record *r)
{
    return r->pos + r->size;
}

/** Values of a sample of a class's streams: all its models, in all versions, take as many. */
int ky_core_features(const ky_pipeline *p, int class_);

/** Of a lane's queue under these settings: two records fit it at least. */
size_t ky_core_queue_bytes(const ky_config *cfg);

/** Processors that this process may run on, at least one. */
int ky_core_processors(void);

/** Whether who waits for a full disk is to wait no longer: a stop was asked for a moment ago. */
bool ky_core_gives_up(const ky_pipeline *p);

/** Count a reject under its reason. */
void ky_reasons_count(ky_reasons *r, const char *text, size_t len);

/** The process cannot go on without harm: says why and ends it at once. What was acknowledged is
 *  on disk; the next start recovers. */
_Noreturn void ky_core_die(int exit_code, const char *stage, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * The calling thread works for milliseconds on end, beside others that an answer waits for: it
 * takes its share of a processor 0.1 ms at a time in place of the scheduler's 3, and who wakes has
 * its turn soon. Its share stays what it is: were it a nicer thread, all would soon wait for it.
 * The scheduler may look only 250 times a second, so it should also yield now and then; that gives
 * up a turn, and only a short one is cheap to give up.
 *
 * @return whether it does so from now on; not before Linux 6.12
 */
bool ky_core_short_turns(void);

/** Starts a thread with all signals blocked, under a name that `top -H` shows. */
int ky_core_thread(pthread_t *t, const char *name, void *(*run)(void *), void *arg, ky_err *err);

#endif
