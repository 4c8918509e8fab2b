/*
 * A daemon's pipeline in a child of the test: memory in place of sockets, and a clock that the
 * test turns. The child runs the real stages on their own threads; each call below returns when
 * what it set off has come to rest, so nothing sleeps and nothing is left to chance. Killing is
 * SIGKILL. One at a time; the test itself keeps to one thread.
 */
#ifndef KY_INSIDE_H
#define KY_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/scenarios/harness.h"

/** The clock before the first start: microseconds since 1970. */
void ky_inside_set_clock(int64_t wall_us);
int64_t ky_inside_wall_us(void);

/** Starts on the scene's state directory; the files of [model:m] and [model:b] and the endpoint of
 *  [publish:out] are given where the settings have them; recovery has run when it returns. Its log
 *  is the scene's; what is published is written into <dir>/told, too, a line each. */
void ky_inside_start(const ky_scene *s, const char *ini, int lanes);

/** A message on a source.
 *  @param key     what the transport calls the stream; "" for nothing
 *  @param number  the sender's number of it, or Kafka's offset
 *  @param text    NULL: a Kafka value of null */
void ky_inside_put(const char *source, const char *key, uint64_t number, const char *text);

/** One of several in a row, which their source finds all at once: with the next call but this, or
 *  when there are too many. */
void ky_inside_put_on(const char *source, const char *key, uint64_t number, const char *text);

/** What was put on a source comes again and again, as fast as it is taken, until that is off. */
void ky_inside_flood(const char *source, bool on);

/** Until the sources have dealt with all messages; the stages behind them may be busy. */
void ky_inside_hear(void);

/** The clocks go on. */
void ky_inside_turn(int64_t us);

/** They do, and what comes next does not wait until all have looked at them. */
void ky_inside_tick(int64_t us);
/** Only what the time of day says changes. */
void ky_inside_step_wall(int64_t us);

/** The model in this file takes over as the next version of one that is served.
 *  @param reset  all streams start from zeros at once; else each at its next start */
void ky_inside_swap(const char *model, const char *path, bool reset);

/** Everything so far is in results.db. The clock goes on by a few times 10ms. */
void ky_inside_commit(void);

/** A number of the pipeline's status: "counters.late". */
int64_t ky_inside_status(const char *what);

void ky_inside_stop(void);
void ky_inside_kill(void);

/** The process, or the one that is started next, dies at one of its calls to the disk: at the
 *  first, second .. one from now, if it comes so far. What is asked of it then has no effect.
 *  Until ky_inside_kill. */
void ky_inside_doom(int calls);
/** For those who stand in for calls to the disk: whether this is the one. */
bool ky_inside_dies(void);

/* -- samples of two values, and what is to be answered -- */

enum { KY_INSIDE_F = 2, KY_INSIDE_OUT = 6, KY_INSIDE_HEX = KY_INSIDE_OUT * 8 + 1 };

/* The number of a value that is too large for most models. */
enum { KY_INSIDE_HOT = 1000 };

/** Values number from .. to as rows of JSON; returns the length. */
int ky_inside_x(char *buf, size_t size, int from, int to);

typedef struct ky_inside_model ky_inside_model;

/** The file of [model:NAME]; until the next call. */
const char *ky_inside_file(const ky_scene *s, const char *name);
/** Makes the model's file, too. @param arch  NULL: the scene's usual LSTM */
ky_inside_model *ky_inside_model_new(const char *path, const char *arch, uint64_t seed);
/** The same for memory = window. */
ky_inside_model *ky_inside_window_new(const char *path, const char *arch, uint64_t seed, int window,
                                      int hop);
void ky_inside_model_free(ky_inside_model *m);
/** The answer to the last of these values, one after the other from zeros, as SQLite's hex()
 *  prints it. */
void ky_inside_answer(const ky_inside_model *m, const int *values, int n, char ret[KY_INSIDE_HEX]);
/** The same where the last step may give no answer (then "") or run away: false. Of a window, that
 *  its values alone give the same is checked. *ret_best: the output that is the largest. */
bool ky_inside_step(const ky_inside_model *m, const int *values, int n, char ret[KY_INSIDE_HEX],
                    int *ret_best);

#endif
