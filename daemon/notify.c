#include "daemon/notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef KY_WITH_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "daemon/log.h"
#include "models/clock.h"

enum { HEARTS_MAX = 512, NS_S = 1000000000 };

typedef struct pulse {
    const char *name;
    const ky_heart *heart;
    uint64_t seen; /* beats at the last ping */
    ky_complaint still;
} pulse;

struct ky_watchdog {
    int64_t interval_us;
    int64_t pinged_ns;
    int n;
    pulse pulses[HEARTS_MAX];
};

#ifdef KY_WITH_SYSTEMD

static void tell(const char *text)
{
    int rc = sd_notify(0, text);

    if (rc < 0)
        ky_log(KY_DEBUG, "notify", NULL, "systemd was not told: error %d", -rc);
}

static int64_t asked_interval_us(void)
{
    uint64_t us = 0;

    return sd_watchdog_enabled(0, &us) > 0 ? (int64_t)(us / 2) : 0;
}

#else

static void tell(const char *text)
{
    (void)text;
}

static int64_t asked_interval_us(void)
{
    return 0;
}

#endif

void ky_notify_ready(const char *status)
{
    char text[256];

    snprintf(text, sizeof(text), "READY=1\nSTATUS=%s", status);
    tell(text);
}

void ky_notify_stopping(void)
{
    tell("STOPPING=1\nSTATUS=finishing what is inside");
}

void ky_notify_status(const char *fmt, ...)
{
    static int64_t next_ns;
    int64_t now = ky_clock_mono_ns();
    char text[256] = "STATUS=";
    va_list ap;

    if (now < next_ns)
        return;
    next_ns = now + NS_S;
    va_start(ap, fmt);
    vsnprintf(text + 7, sizeof(text) - 7, fmt, ap);
    va_end(ap);
    tell(text);
}

void ky_notify_extend(int64_t us)
{
    char text[64];

    snprintf(text, sizeof(text), "EXTEND_TIMEOUT_USEC=%lld", (long long)us);
    tell(text);
}

ky_watchdog *ky_watchdog_new(void)
{
    ky_watchdog *w = calloc(1, sizeof(*w));

    if (w != NULL)
        w->interval_us = asked_interval_us();
    return w;
}

void ky_watchdog_free(ky_watchdog *w)
{
    free(w);
}

void ky_watchdog_add(ky_watchdog *w, const char *name, const ky_heart *heart)
{
    if (w->n < HEARTS_MAX)
        w->pulses[w->n++] = (pulse){ .name = name, .heart = heart };
}

int64_t ky_watchdog_interval_us(const ky_watchdog *w)
{
    return w->interval_us;
}

/* Whether every heart has beaten since the last ping. */
static bool all_alive(ky_watchdog *w)
{
    bool alive = true;

    for (int i = 0; i < w->n; i++) {
        pulse *p = &w->pulses[i];

        if (atomic_load_explicit(&p->heart->beats, memory_order_relaxed) != p->seen) {
            ky_complaint_over(&p->still, "watchdog", KY_OBJECT("thread", p->name),
                              "the thread moves again");
            continue;
        }
        alive = false;
        ky_complain(&p->still, KY_ERROR, "watchdog", KY_OBJECT("thread", p->name),
                    "the thread has not moved since the last ping: none is sent");
    }
    return alive;
}

bool ky_watchdog_check(ky_watchdog *w)
{
    int64_t now = ky_clock_mono_ns();

    if (w->interval_us == 0 || now - w->pinged_ns < w->interval_us * 1000 || !all_alive(w))
        return false;
    for (int i = 0; i < w->n; i++)
        w->pulses[i].seen = atomic_load_explicit(&w->pulses[i].heart->beats, memory_order_relaxed);
    w->pinged_ns = now;
    tell("WATCHDOG=1");
    return true;
}
