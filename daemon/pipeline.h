/*
 * The pipeline: what kymod does, from a message's bytes to a row in SQLite.
 *
 * Follow one sample. A source's thread (intake.h) receives the message, has a codec decode it,
 * finds the class of streams it belongs to, and puts a ky_record into its queue. The accept
 * thread (accept.h) takes records from all sources in turn: it drops what it has seen before,
 * gives the stream its number and the sample its step number, and appends the record to the
 * journal, the one order that everything behind it goes by. When a batch of records is on disk
 * it acknowledges them to their senders and hands each to the lane of its stream. A lane (lane.h)
 * owns its streams' hidden states: it gathers a wave, at most one next step of every stream that
 * has one waiting, lets the model step it, and puts the answers into a unit together with the
 * states they left behind. The writer (commit.h) commits each unit in one transaction, after the
 * unit's records are on disk; the publisher (publish.h) tells the answers to whoever listens.
 *
 * Threads meet only at queues (queue.h). Each stage is bounded and waits for the next, so a slow
 * disk slows the sockets down and nothing grows.
 *
 * Whatever a clock or chance decides is decided before the journal and written there; behind it
 * everything is a function of the records. So the same code that serves also recovers
 * (recover.h): after a crash the journal's tail runs again through the same lanes, and the answers
 * come out as they would have been, to the bit. Batching, the number of lanes and the moments of
 * commits show only in waiting times.
 *
 * The functions below may be called by any thread, but new, stop and free by one.
 */
#ifndef KY_PIPELINE_H
#define KY_PIPELINE_H

#include "daemon/config.h"
#include "daemon/notify.h"
#include "models/json.h"

typedef struct ky_pipeline ky_pipeline;

/**
 * Locks the state directory, loads models, recovers, opens sources and publishers, serves.
 *
 * @param cfg  borrowed as long as the pipeline lives
 * @return KY_EBUSY: another daemon has the state directory, or an endpoint is taken; KY_EINVAL,
 *         KY_ESHAPE, KY_EUNSUPPORTED: the configuration does not fit its models; KY_EFORMAT,
 *         KY_ECORRUPT: a model or the state directory is damaged; a negated errno
 */
int ky_pipeline_new(const ky_config *cfg, ky_pipeline **ret, ky_err *err);

/** A stop is to follow soon: nothing waits for a full disk any more. */
void ky_pipeline_hurry(ky_pipeline *p);

/** Takes nothing new, finishes what is inside, commits it: everything is in results.db then. But
 *  where a disk is full it does not wait: what is not in the journal is let go, as a kill would
 *  have it; what is in the journal and not in results.db comes there with the next start. */
void ky_pipeline_stop(ky_pipeline *p);

/** After stop: whether everything that was taken is committed. @param ret_let_go  messages that
 *  nobody will send again */
bool ky_pipeline_finished(const ky_pipeline *p, uint64_t *ret_let_go);

/** After stop. */
void ky_pipeline_free(ky_pipeline *p);

/**
 * A version of a model in the store takes over: it is loaded, must fit its classes and prove P1
 * and P2, then becomes a SWAP record. Returns when that is on disk and on its way to the lanes.
 *
 * @param policy  enum ky_on_swap: a stream goes on with its old version until it next starts from
 *                zeros, or all streams start from zeros at once
 */
int ky_pipeline_swap(ky_pipeline *p, const char *model, uint32_t version, uint64_t hash, int policy,
                     ky_err *err);

/** Seals the journal's present file, so that all it holds can be archived. */
int ky_pipeline_seal(ky_pipeline *p, ky_err *err);

/** The journal, for listing and deleting sealed files; NULL in mode `no`. */
ky_journal *ky_pipeline_journal(ky_pipeline *p);

/** Counters, positions, addresses, versions: an object, the caller's to free. */
ky_json *ky_pipeline_status(ky_pipeline *p);

/** Every thread's heart. */
void ky_pipeline_watch(ky_pipeline *p, ky_watchdog *w);

/** The version of a model that new starts use; 0 for an unknown name. */
uint32_t ky_pipeline_version(ky_pipeline *p, const char *model);

#endif
