/* This machine's own counters as a stream: from /proc, as rates and shares. */
#include "cli/feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "models/clock.h"

/* What is read: some only grow and are given per second, some are as they are. */
enum counter {
    CPU_USER, /* jiffies, nice included */
    CPU_SYSTEM,
    CPU_IOWAIT,
    CPU_ALL,
    RUNNING,
    BLOCKED,
    SWITCHES,
    INTERRUPTS,
    FAULTS,
    MEM_USED, /* KiB */
    MEM_DIRTY,
    DISK_READ, /* sectors of 512 bytes */
    DISK_WRITTEN,
    DISK_READS,
    DISK_WRITES,
    NET_IN, /* bytes */
    NET_OUT,
    COUNTERS
};

enum how { SHARE, LEVEL, RATE };

static const struct {
    const char *name;
    enum counter of;
    enum how how;
    double scale;
} features[] = {
    { "cpu_user", CPU_USER, SHARE, 100 },
    { "cpu_system", CPU_SYSTEM, SHARE, 100 },
    { "cpu_iowait", CPU_IOWAIT, SHARE, 100 },
    { "run_queue", RUNNING, LEVEL, 1 },
    { "blocked", BLOCKED, LEVEL, 1 },
    { "context_switches", SWITCHES, RATE, 1 },
    { "interrupts", INTERRUPTS, RATE, 1 },
    { "page_faults", FAULTS, RATE, 1 },
    { "mem_used_mb", MEM_USED, LEVEL, 1.0 / 1024 },
    { "mem_dirty_mb", MEM_DIRTY, LEVEL, 1.0 / 1024 },
    { "disk_read_mbs", DISK_READ, RATE, 512e-6 },
    { "disk_write_mbs", DISK_WRITTEN, RATE, 512e-6 },
    { "disk_reads", DISK_READS, RATE, 1 },
    { "disk_writes", DISK_WRITES, RATE, 1 },
    { "net_in_mbs", NET_IN, RATE, 1e-6 },
    { "net_out_mbs", NET_OUT, RATE, 1e-6 },
};

enum { FEATURES = sizeof(features) / sizeof(*features), TEXT = 65536 };

typedef struct host {
    ky_reader reader;
    const ky_feed_opts *opts;
    char stream[KY_STREAM_MAX + 1];
    double before[COUNTERS];
    int64_t before_ns, begun_ns, period_ns, n;
    float x[FEATURES];
    char *names[FEATURES];
    char text[TEXT];
} host;

/* The file's text; "" where this machine does not have it (containers): its counters are then 0. */
static char *slurp(host *h, const char *path)
{
    FILE *f = fopen(path, "re");
    size_t n = f != NULL ? fread(h->text, 1, TEXT - 1, f) : 0;

    h->text[n] = '\0';
    if (f != NULL)
        fclose(f);
    return h->text;
}

/* The number behind `key` at the beginning of a line. */
static double value_of(const char *text, const char *key)
{
    size_t n = strlen(key);

    for (const char *p = text; p != NULL; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, key, n) == 0 && (p[n] == ' ' || p[n] == ':'))
            return strtod(p + n + 1, NULL);
    }
    return 0;
}

static void read_stat(host *h, double c[COUNTERS])
{
    const char *text = slurp(h, "/proc/stat");
    double j[8] = { 0 };

    sscanf(text, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &j[0], &j[1], &j[2], &j[3], &j[4], &j[5],
           &j[6], &j[7]);
    c[CPU_USER] = j[0] + j[1];
    c[CPU_SYSTEM] = j[2] + j[5] + j[6];
    c[CPU_IOWAIT] = j[4];
    for (int i = 0; i < 8; i++)
        c[CPU_ALL] += j[i];
    c[RUNNING] = value_of(text, "procs_running");
    c[BLOCKED] = value_of(text, "procs_blocked");
    c[SWITCHES] = value_of(text, "ctxt");
    c[INTERRUPTS] = value_of(text, "intr");
}

static void read_memory(host *h, double c[COUNTERS])
{
    const char *text = slurp(h, "/proc/meminfo");

    c[MEM_USED] = value_of(text, "MemTotal") - value_of(text, "MemAvailable");
    c[MEM_DIRTY] = value_of(text, "Dirty") + value_of(text, "Writeback");
    c[FAULTS] = value_of(slurp(h, "/proc/vmstat"), "pgfault");
}

/* Whole disks that are made of nothing else; partitions and stacked devices would count twice. */
static bool is_disk(const char *name)
{
    static const char *const stacked[] = { "loop", "ram", "zram", "dm-", "md", "sr", "fd" };
    char path[128];

    for (size_t i = 0; i < sizeof(stacked) / sizeof(*stacked); i++)
        if (strncmp(name, stacked[i], strlen(stacked[i])) == 0)
            return false;
    snprintf(path, sizeof(path), "/sys/block/%.64s", name);
    return access(path, F_OK) == 0;
}

static void read_disks(host *h, double c[COUNTERS])
{
    char *save, *text = slurp(h, "/proc/diskstats"), name[65];
    double reads, read, writes, written;

    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        if (sscanf(line, "%*d %*d %64s %lf %*f %lf %*f %lf %*f %lf", name, &reads, &read, &writes,
                   &written) == 5 &&
            is_disk(name)) {
            c[DISK_READS] += reads;
            c[DISK_READ] += read;
            c[DISK_WRITES] += writes;
            c[DISK_WRITTEN] += written;
        }
}

static void read_network(host *h, double c[COUNTERS])
{
    char *save, *text = slurp(h, "/proc/net/dev"), name[65];
    double in, out;

    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        if (sscanf(line, " %64[^: ]: %lf %*f %*f %*f %*f %*f %*f %*f %lf", name, &in, &out) == 3 &&
            strcmp(name, "lo") != 0) {
            c[NET_IN] += in;
            c[NET_OUT] += out;
        }
}

static void read_counters(host *h, double c[COUNTERS])
{
    memset(c, 0, COUNTERS * sizeof(*c));
    read_stat(h, c);
    read_memory(h, c);
    read_disks(h, c);
    read_network(h, c);
}

static void wait_until(int64_t at_ns)
{
    struct timespec t = { at_ns / 1000000000, at_ns % 1000000000 };

    while (!ky_cli_interrupted() &&
           clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        continue;
}

static void measure(host *h)
{
    double now[COUNTERS];

    read_counters(h, now);
    int64_t now_ns = ky_clock_mono_ns();
    double seconds = (double)(now_ns - h->before_ns) * 1e-9;
    double jiffies = now[CPU_ALL] - h->before[CPU_ALL];
    for (int i = 0; i < FEATURES; i++) {
        double v = now[features[i].of], d = v - h->before[features[i].of];
        double by = features[i].how == SHARE ? jiffies : seconds;
        /* A device that went away takes its counts along. */
        d = by > 0 && d > 0 ? d / by : 0;
        h->x[i] = (float)(features[i].scale * (features[i].how == LEVEL ? v : d));
    }
    memcpy(h->before, now, sizeof(now));
    h->before_ns = now_ns;
}

static int host_next(ky_reader *r, ky_row *ret, ky_err *err)
{
    host *h = (host *)r;
    int64_t due = h->begun_ns + ++h->n * h->period_ns;

    (void)err;
    if (h->opts->seconds_us > 0 && due - h->begun_ns > h->opts->seconds_us * 1000)
        return 0;
    wait_until(due);
    if (ky_cli_interrupted())
        return 0;
    measure(h);
    *ret = (ky_row){ .stream = h->stream,
                     .seq = KY_NONE,
                     .ts_us = ky_clock_wall_us(),
                     .x = h->x,
                     .label = h->opts->label };
    return 1;
}

static void host_free(ky_reader *r)
{
    free(r);
}

int ky_feed_host(const ky_feed_opts *o, ky_reader **ret, ky_err *err)
{
    host *h = calloc(1, sizeof(*h));
    double rate = o->rate > 0 ? o->rate : 10;

    if (h == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for counters");
    if (access("/proc/stat", R_OK) != 0) {
        free(h);
        return ky_fail(err, KY_EUNSUPPORTED, "host: this system has no /proc/stat");
    }
    h->opts = o;
    for (int i = 0; i < FEATURES; i++)
        h->names[i] = (char *)(uintptr_t)features[i].name;
    h->reader = (ky_reader){ .next = host_next,
                             .free = host_free,
                             .features = FEATURES,
                             .names = h->names,
                             .rate_hz = rate,
                             .total = (double)o->seconds_us * 1e-6 * rate,
                             .streams = 1 };
    if (o->stream != NULL)
        snprintf(h->stream, sizeof(h->stream), "%s", o->stream);
    else if (gethostname(h->stream, sizeof(h->stream) - 1) != 0 || h->stream[0] == '\0')
        snprintf(h->stream, sizeof(h->stream), "host");
    h->period_ns = (int64_t)(1e9 / rate);
    read_counters(h, h->before);
    h->begun_ns = h->before_ns = ky_clock_mono_ns();
    *ret = &h->reader;
    return KY_OK;
}
