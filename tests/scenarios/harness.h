/*
 * What the scenarios share: a state directory of their own, a model, windows of samples as live
 * streams, the real kymod as a child process, a sender, a subscriber, and a look at what is in
 * results.db. Failures end the program with what was seen.
 */
#ifndef KY_HARNESS_H
#define KY_HARNESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "connectors/zmq.h"
#include "models/json.h"
#include "models/model.h"
#include "models/plan.h"
#include "models/rng.h"

/* Ends the program, exit 1, with the daemon's last log lines. */
_Noreturn void ky_flunk(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define KY_WANT(cond, ...)                                                                         \
    do {                                                                                           \
        if (!(cond))                                                                               \
            ky_flunk(__VA_ARGS__);                                                                 \
    } while (0)

/** Whose last lines it shows, too; copied. */
void ky_flunk_shows(const char *log);

/* -- places -- */
typedef struct ky_scene {
    char dir[256];   /* removed at the end, unless KY_KEEP is set */
    char kymod[512]; /* program */
    char model[320];
} ky_scene;

void ky_scene_open(ky_scene *s, const char *name);
void ky_scene_close(ky_scene *s);
/** Writes <dir>/<name> and gives its path. */
const char *ky_scene_write(const ky_scene *s, const char *name, const char *text);

/* -- data: windows, each a sequence of one stream -- */
enum { KY_SCENE_STREAMS = 40 };

typedef struct ky_windows {
    int n, T, F, outputs;
    float *x;        /* [n,T,F] */
    uint32_t *order; /* [n*T] which window's next sample comes when */
} ky_windows;

/** An LSTM with random weights, six answers. */
#define KY_SCENE_ARCH "lstm:64, dense"
void ky_scene_model(const char *path, int F, uint64_t seed);
/** The same of another architecture (ky_arch_build). */
void ky_scene_model_of(const char *path, const char *arch, int F, uint64_t seed);
/** Random windows, or those of KYMO_DATA's HAR recording, and the scene's model. */
void ky_windows_make(ky_windows *w, ky_scene *s, int n, int T, bool har);
/** Another interleaving: sequences of one stream stay in order. */
void ky_windows_shuffle(ky_windows *w, uint64_t seed);
void ky_windows_done(ky_windows *w);
/** The windows as <dir>/windows.h5:X_test; its path. */
const char *ky_windows_file(const ky_windows *w, const ky_scene *s);
/** The answers of every step of every window, [n,T,outputs]: one stream alone, from zeros. */
float *ky_windows_answers(const ky_windows *w, const char *model);
static inline int ky_window_stream(int window)
{
    return window % KY_SCENE_STREAMS;
}
/** Which step of its window each message of the order is, [n*T]; the caller's to free. */
int *ky_windows_steps(const ky_windows *w);
/** Sample t of a window as JSON; returns its length. */
int ky_windows_json(const ky_windows *w, int window, int t, char *buf, size_t size);

/* -- the daemon -- */
typedef struct ky_daemon {
    const ky_scene *scene;
    pid_t pid;
    char log[320];
    long log_from; /* where this run's lines begin */
} ky_daemon;

/** Starts `program` (NULL: kymod) with a configuration and overrides (NULL behind the last), waits
 *  until it is ready. */
void ky_daemon_start(ky_daemon *d, const ky_scene *s, const char *program, const char *ini,
                     const char *const *overrides);
/** Starts one, and waits for nothing. */
void ky_daemon_spawn(ky_daemon *d, const ky_scene *s, const char *program, const char *ini,
                     const char *const *overrides);
/** Waits until it has ended; its exit code, or 128 and the signal. */
int ky_daemon_end(ky_daemon *d);
/** Starts one and kills it at once, somewhere on its way to being ready. */
void ky_daemon_start_and_kill(ky_daemon *d, const ky_scene *s, const char *program, const char *ini,
                              const char *const *overrides);
/** Runs one that is expected to end by itself; returns its exit code. */
int ky_daemon_run(ky_daemon *d, const ky_scene *s, const char *ini, const char *const *overrides);
/** SIGTERM; waits for exit 0. */
void ky_daemon_stop(ky_daemon *d);
void ky_daemon_stop_with(ky_daemon *d, int exit_code);
void ky_daemon_kill(ky_daemon *d);
/** Whether the log of this run has this text. */
bool ky_daemon_said(const ky_daemon *d, const char *text);
/** Waits until it has. */
void ky_daemon_hear(const ky_daemon *d, const char *text);
/** The address of source=NAME or publisher=NAME as the log tells it. */
const char *ky_daemon_address(const ky_daemon *d, const char *what);
/** The control socket's status; the caller's to free. */
ky_json *ky_daemon_status(const ky_daemon *d);
int64_t ky_daemon_counter(const ky_daemon *d, const char *name);

/* -- a sender that wants every message acknowledged (DESIGN 4.1) -- */
typedef struct ky_sender {
    ky_zsock *sock;
    const char *id;
    uint8_t session[16];
    uint64_t sent, acked, refused;
    int64_t heard_ns; /* of the last progress */
} ky_sender;

void ky_sender_open(ky_sender *s, const char *endpoint, const char *id, uint64_t seed);
void ky_sender_close(ky_sender *s);
/** Sends message `number` (from 1) again or for the first time. */
void ky_sender_send(ky_sender *s, uint64_t number, const void *data, size_t len);
/** Takes acknowledgements for up to timeout_ms; what is not acknowledged within half a second is to
 *  be sent again: `sent` falls back to `acked`. */
void ky_sender_listen(ky_sender *s, int timeout_ms);
/** Sends what the order has up to message `to` (counted from 1) until all of it is acknowledged.
 *  The number of a message is its place in the order. */
void ky_sender_play(ky_sender *s, const ky_windows *w, const int *steps, uint64_t to);
/** One round of that: sends what may be in flight, listens for a moment. */
void ky_sender_round(ky_sender *s, const ky_windows *w, const int *steps, uint64_t to);

/* -- results.db -- */
/** One number from SQL. */
int64_t ky_scene_number(const ky_scene *s, const char *sql);
/** Changes results.db while no daemon runs, to what a crash at another moment would have left. */
void ky_scene_change(const ky_scene *s, const char *sql);
/** Takes the lock of results.db, as anybody may with the sqlite3 shell: nothing is committed until
 * it is given back. */
void *ky_scene_lock(const ky_scene *s);
void ky_scene_unlock(void *lock);
/** Whether a condition becomes true within a time. */
bool ky_within(int64_t timeout_ms, bool (*fn)(void *arg), void *arg);
/** Waits until so many predictions are committed. */
void ky_scene_wait_predictions(const ky_scene *s, int64_t n, int64_t timeout_ms);
/** A query's rows as lines of text, of its first column; the caller's to free. */
char *ky_scene_lines(const ky_scene *s, const char *sql);
/** FNV-1a of a query's rows as text: equal tables, equal numbers. */
uint64_t ky_scene_hash(const ky_scene *s, const char *sql);
/** Compares every prediction with `y` [n,T,outputs]: exactly one row each, bit for bit. Returns the
 *  number of rows missing plus wrong; says the first. */
int64_t ky_scene_compare(const ky_scene *s, const ky_windows *w, const float *y);

#endif
