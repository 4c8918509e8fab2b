/* kymo feed: samples into kymod, or into a recording. */
#include "cli/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "connectors/codec.h"
#include "models/clock.h"

/* -- joining ------------------------------------------------------------------------ */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);

    return n >= k && strcmp(s + n - k, end) == 0;
}

static bool is_h5(const char *source)
{
    const char *colon = strrchr(source, ':');
    char path[4096];
    size_t n = colon != NULL ? (size_t)(colon - source) : strlen(source);

    snprintf(path, sizeof(path), "%.*s", (int)(n < sizeof(path) ? n : sizeof(path) - 1), source);
    return ends_with(path, ".h5") || ends_with(path, ".hdf5");
}

static int open_reader(const ky_feed_opts *o, ky_reader **ret, ky_err *err)
{
    int rc;

    if (strcmp(o->source, "host") == 0)
        rc = ky_feed_host(o, ret, err);
    else if (is_h5(o->source))
        rc = ky_feed_h5(o, ret, err);
    else
        rc = ky_feed_csv(o, ret, err);
    if (rc == KY_OK && o->interleave >= 0)
        rc = ky_feed_shuffled(*ret, (uint64_t)o->interleave, ret, err);
    return rc;
}

static int open_writer(const ky_feed_opts *o, const ky_reader *r, ky_writer **ret, ky_err *err)
{
    if (strstr(o->to, "://") == NULL)
        return ky_feed_recording(o, r, ret, err);
    return o->ack ? ky_feed_acknowledged(o, r, ret, err) : ky_feed_socket(o, r, ret, err);
}

/* Sleeps until a moment of the steady clock; an interrupt ends it. */
static void sleep_until(int64_t at_ns)
{
    struct timespec t = { at_ns / 1000000000, at_ns % 1000000000 };

    while (!ky_cli_interrupted() &&
           clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        continue;
}

/* When row number i is due: by --rate, or with --realtime as the samples were taken. */
static int64_t due_ns(const ky_feed_opts *o, const ky_reader *r, int64_t i, const ky_row *row,
                      int64_t first_ts_us)
{
    if (!o->realtime)
        return o->rate > 0 ? (int64_t)((double)i / o->rate * 1e9) : 0;
    if (row->ts_us != KY_NONE && first_ts_us != KY_NONE)
        return (row->ts_us - first_ts_us) * 1000;
    return (int64_t)((double)(i / r->streams) / r->rate_hz * 1e9);
}

static int pump(const ky_feed_opts *o, ky_reader *r, ky_writer *w, ky_err *err)
{
    ky_progress p = { .what = "feeding", .unit = "samples", .quiet = o->quiet || o->json };
    bool paced = (o->realtime || o->rate > 0) && strcmp(o->source, "host") != 0;
    int64_t begun = ky_clock_mono_ns(), first = KY_NONE;
    ky_row row;
    int rc = KY_OK;

    p.total = r->total;
    if (o->limit > 0 && (p.total == 0 || p.total > (double)o->limit))
        p.total = (double)o->limit;
    ky_progress_begin(&p);
    while (!ky_cli_interrupted() && (o->limit == 0 || w->counts.sent < o->limit)) {
        if ((rc = r->next(r, &row, err)) <= 0)
            break;
        if (first == KY_NONE)
            first = row.ts_us;
        if (!o->labels)
            row.label = NULL;
        if (o->number && row.seq == KY_NONE)
            row.seq = w->counts.sent + 1;
        if (paced)
            sleep_until(begun + due_ns(o, r, w->counts.sent, &row, first));
        if ((rc = w->put(w, &row, err)) != KY_OK)
            break;
        ky_progress_show(&p, (double)++w->counts.sent, NULL);
    }
    if (rc >= 0)
        rc = w->finish(w, err);
    ky_progress_end(&p, (double)w->counts.sent, NULL);
    return rc;
}

static void print_summary(const ky_feed_opts *o, const ky_feed_counts *c, double seconds)
{
    double rate = seconds > 0 ? (double)c->sent / seconds : 0;

    if (o->json)
        printf("{\"sent\":%" PRId64 ",\"acknowledged\":%" PRId64 ",\"refused\":%" PRId64
               ",\"resent\":%" PRId64 ",\"sessions\":%" PRId64 ",\"windows\":%" PRId64
               ",\"seconds\":%.3f,\"rate\":%.1f}\n",
               c->sent, c->acknowledged, c->refused, c->resent, c->sessions, c->windows, seconds,
               rate);
    else if (o->quiet)
        return;
    else if (o->ack)
        printf("%" PRId64 " samples sent, %" PRId64 " acknowledged, %" PRId64 " refused, %" PRId64
               " sent again\n",
               c->sent, c->acknowledged, c->refused, c->resent);
    else if (c->windows > 0)
        printf("%" PRId64 " samples recorded, %" PRId64 " windows in %s\n", c->sent, c->windows,
               o->to);
    else
        printf("%" PRId64 " samples %s %s\n", c->sent,
               strstr(o->to, "://") != NULL ? "sent to" : "recorded in", o->to);
}

static int print_features(const ky_reader *r)
{
    for (int i = 0; i < r->features; i++)
        printf("%s%s", i > 0 ? ", " : "", r->names[i]);
    printf("\n");
    return KY_EXIT_OK;
}

static int feed(const ky_feed_opts *o)
{
    ky_reader *r = NULL;
    ky_writer *w = NULL;
    ky_err err = { 0 };
    int64_t begun = ky_clock_mono_ns();
    int rc = open_reader(o, &r, &err), exit_code = KY_EXIT_OK;

    if (rc != KY_OK)
        return ky_cli_fail(&err);
    if (o->print_features) {
        exit_code = print_features(r);
        goto out;
    }
    if (o->realtime && r->rate_hz <= 0 && r->total > 0 && is_h5(o->source))
        rc = ky_fail(&err, KY_EINVAL, "%s says no sample_rate_hz: use --rate", o->source);
    if (rc == KY_OK)
        rc = open_writer(o, r, &w, &err);
    if (rc == KY_OK)
        rc = pump(o, r, w, &err);
    if (w != NULL && (rc == KY_OK || rc == KY_EAGAIN))
        print_summary(o, &w->counts, (double)(ky_clock_mono_ns() - begun) * 1e-9);
    if (rc == KY_EAGAIN)
        exit_code = KY_EXIT_PARTLY;
    else if (rc != KY_OK)
        exit_code = ky_cli_fail(&err);
    else if (w->counts.refused > 0)
        exit_code = KY_EXIT_PARTLY;
out:
    if (w != NULL)
        w->free(w);
    r->free(r);
    return exit_code;
}

/* What the table of options cannot say; -1, or the exit code. */
static int check_words(const ky_usage *u, const ky_feed_opts *o)
{
    ky_err err;

    if (o->to == NULL && !o->print_features)
        return ky_cli_usage(u, "feed: --to is missing");
    const ky_feed_format *format = ky_feed_format_find(o->format);
    if (format == NULL)
        return ky_cli_usage(u, "feed: --format '%s': must be json, msgpack or f32", o->format);
    if (o->ack && !format->fields)
        return ky_cli_usage(u,
                            "feed: --ack: messages of format %s do not say which stream they "
                            "are of: json or msgpack",
                            o->format);
    if (strcmp(o->label_on, "last") != 0 && strcmp(o->label_on, "all") != 0)
        return ky_cli_usage(u, "feed: --label-on '%s': must be last or all", o->label_on);
    if (o->to != NULL && strstr(o->to, "://") == NULL && (o->ack || o->bind))
        return ky_cli_usage(u, "feed: --ack and --bind are for sockets, '%s' is a file", o->to);
    if (o->to != NULL && strstr(o->to, "://") != NULL && o->window > 0)
        return ky_cli_usage(u, "feed: --window is for recordings, '%s' is a socket", o->to);
    if ((o->stream != NULL && ky_codec_check_name("--stream", o->stream, strlen(o->stream),
                                                  KY_STREAM_MAX, &err) != KY_OK) ||
        (o->label != NULL &&
         ky_codec_check_name("--label", o->label, strlen(o->label), KY_LABEL_MAX, &err) != KY_OK) ||
        (o->sender != NULL && ky_codec_check_name("--sender", o->sender, strlen(o->sender),
                                                  KY_STREAM_MAX, &err) != KY_OK))
        return ky_cli_usage(u, "feed: %s", err.text);
    return -1;
}

/* What the command line asks for; the table below points into it. */
static ky_feed_opts asked = { .streams = 1,
                              .interleave = -1,
                              .labels = true,
                              .label_on = "last",
                              .time_unit = "s",
                              .format = "json" };

static const ky_opt opts[] = {
    { "to", 0, KY_OPT_STR, &asked.to, 0, 0, "WHERE",
      "tcp://host:port or ipc://path of a kymod source, or a .h5 file to record into" },
    { "ack", 0, KY_OPT_FLAG, &asked.ack, 0, 0, NULL,
      "speak the acknowledged protocol to a `router` source; ends when all is on its disk" },
    { "bind", 0, KY_OPT_FLAG, &asked.bind, 0, 0, NULL,
      "bind the endpoint; kymod's source connects" },
    { "rate", 0, KY_OPT_NUM, &asked.rate, 1e-6, 1e9, "N",
      "samples a second in all; host: 10 unless said, others: as fast as it goes" },
    { "realtime", 0, KY_OPT_FLAG, &asked.realtime, 0, 0, NULL, "at the pace they were taken" },
    { "limit", 0, KY_OPT_INT, &asked.limit, 0, 1e15, "N", "stop after so many samples; 0: none" },
    { "seconds", 0, KY_OPT_TIME, &asked.seconds_us, 0, 0, "S", "host: stop after this time" },
    { "stream", 0, KY_OPT_STR, &asked.stream, 0, 0, "ID", "stream id where the data has none" },
    { "streams", 0, KY_OPT_INT, &asked.streams, 1, 1000000, "N",
      "HDF5: play the windows as N streams side by side, named s0, s1 ..." },
    { "joined", 0, KY_OPT_FLAG, &asked.joined, 0, 0, NULL,
      "HDF5: the windows of a stream go on from each other, without an end between them" },
    { "interleave", 0, KY_OPT_INT, &asked.interleave, -1, 9e15, "SEED",
      "shuffle the streams among each other (each keeps its order); -1: do not" },
    { "labels", 0, KY_OPT_FLAG, &asked.labels, 0, 0, NULL,
      "send labels; --no-labels: hold them back" },
    { "label", 0, KY_OPT_STR, &asked.label, 0, 0, "NAME", "label of every sample" },
    { "label-on", 0, KY_OPT_STR, &asked.label_on, 0, 0, "WHICH",
      "HDF5: label the `last` sample of each window, or `all`" },
    { "seq", 0, KY_OPT_FLAG, &asked.number, 0, 0, NULL,
      "number the samples where the data does not" },
    { "sender", 0, KY_OPT_STR, &asked.sender, 0, 0, "ID",
      "sender id of --ack; else host and process" },
    { "timeout", 0, KY_OPT_TIME, &asked.timeout_us, 0, 0, "T",
      "give up when nothing moves for so long; 0: never" },
    { "window", 0, KY_OPT_INT, &asked.window, 0, 100000, "T",
      "recording: windows of T samples; 0: none" },
    { "hop", 0, KY_OPT_INT, &asked.hop, 0, 100000, "H",
      "recording: a window every H samples; 0: T" },
    { "whole", 0, KY_OPT_FLAG, &asked.whole, 0, 0, NULL,
      "HDF5: a row is one sample (an image), not a window of steps" },
    { "stream-column", 0, KY_OPT_STR, &asked.stream_column, 0, 0, "NAME",
      "CSV: instead of `stream`" },
    { "time-column", 0, KY_OPT_STR, &asked.time_column, 0, 0, "NAME", "CSV: instead of `ts`" },
    { "label-column", 0, KY_OPT_STR, &asked.label_column, 0, 0, "NAME", "CSV: instead of `label`" },
    { "values", 0, KY_OPT_STR, &asked.values, 0, 0, "A,B,..",
      "CSV: value columns; else all others" },
    { "time-unit", 0, KY_OPT_STR, &asked.time_unit, 0, 0, "UNIT",
      "CSV: of numeric times: s, ms, us, ns" },
    { "format", 0, KY_OPT_STR, &asked.format, 0, 0, "NAME",
      "of the messages: json, msgpack, or f32 (values only: no times, labels, starts, ends)" },
    { "print-features", 0, KY_OPT_FLAG, &asked.print_features, 0, 0, NULL,
      "print the names of the values, as `features =` wants them, and stop" },
    { "json", 'j', KY_OPT_FLAG, &asked.json, 0, 0, NULL, "summary as JSON, no progress" },
    { "quiet", 'q', KY_OPT_FLAG, &asked.quiet, 0, 0, NULL, "no progress, no summary" },
    { NULL, 0, KY_OPT_FLAG, NULL, 0, 0, NULL, NULL },
};

static const ky_usage usage = {
    .synopsis = "kymo feed SOURCE --to WHERE [options]",
    .about =
        "Feeds samples to kymod, or records them for training. SOURCE is a CSV file with a\n"
        "header (- is standard input), FILE.h5[:dataset] with windows [N,T,F], each played as a\n"
        "sequence from start to end, or `host`: this machine's own counters. A recording holds\n"
        "`X`, `y`, `group` and class names as `kymo train` reads them, and every sample under\n"
        "`rows`; recording into a file that exists adds to it.",
    .opts = opts,
    .min_args = 1,
    .max_args = 1,
    .examples =
        "  kymo feed host --label idle --seconds 60 --to load.h5 --window 20\n"
        "  kymo feed host --to tcp://127.0.0.1:5555\n"
        "  kymo feed pumps.csv --realtime --ack --to tcp://127.0.0.1:5556\n"
        "  kymo feed har.h5:X_test --streams 40 --interleave 1 --ack --to ipc:///run/kymo/in\n",
};

int ky_cmd_feed(int argc, char **argv)
{
    int n, code = ky_cli_parse(&usage, argc, argv, &asked.source, &n);

    if (code >= 0)
        return code;
    if ((code = check_words(&usage, &asked)) >= 0)
        return code;
    ky_cli_catch_interrupts();
    return feed(&asked);
}
