/*
 * What kymod tells systemd: that it is ready, how it goes, that it stops; and the
 * watchdog's ping, sent only while every thread that works is seen to work. Outside
 * systemd, or built without libsystemd, nothing is sent. Main thread only, but for
 * ky_notify_extend; heartbeats are beaten by their threads.
 */
#ifndef KY_NOTIFY_H
#define KY_NOTIFY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* One a thread: counted up at least once a second, busy or waiting. */
typedef struct ky_heart {
    _Atomic uint64_t beats;
} ky_heart;

static inline void ky_heart_beat(ky_heart *h)
{
    atomic_fetch_add_explicit(&h->beats, 1, memory_order_relaxed);
}

void ky_notify_ready(const char *status);
void ky_notify_stopping(void);
/** A line for `systemctl status`; sent at most once a second, the latest in time wins. */
void ky_notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** Starting or stopping takes longer: so much time from now. */
void ky_notify_extend(int64_t us);

typedef struct ky_watchdog ky_watchdog;

/** Looks at what systemd asked for. NULL: out of memory. */
ky_watchdog *ky_watchdog_new(void);
void ky_watchdog_free(ky_watchdog *w);

/** From now on pings need this heart, too. Both are borrowed as long as the watchdog lives. */
void ky_watchdog_add(ky_watchdog *w, const char *name, const ky_heart *heart);

/** How often ky_watchdog_check wants to be called, 0: never. */
int64_t ky_watchdog_interval_us(const ky_watchdog *w);

/** Pings if it is time and all hearts beat since the last ping; else says whose did not.
 *  Returns whether a ping was sent. */
bool ky_watchdog_check(ky_watchdog *w);

#endif
