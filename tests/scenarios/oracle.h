/*
 * A slow, obvious model of the engine. It keeps every value that a stream got since its state was
 * zeros and steps them all for each answer; it knows nothing of journals, lanes, waves or units.
 * What results.db must have in the end is a list of lines.
 */
#ifndef KY_ORACLE_H
#define KY_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/scenarios/inside.h"

/* The first streams, p0 ..., are of the first class. */
enum { KY_ORACLE_STREAMS = 8, KY_ORACLE_FIRST = 5, KY_ORACLE_CLASSES = 2, KY_ORACLE_MODELS = 2 };
enum { KY_ORACLE_MOST = 8192, KY_ORACLE_GIVE_UP = 32 /* steps undone in a row */ };

/* What a stream remembers under one model. */
typedef struct ky_oracle_memory {
    ky_inside_model *m;
    int version;
    int values[KY_ORACLE_MOST], n_values; /* since the state was zeros */
    int zero_n;
    bool cut;
    int undone, undone_n, undone_from; /* how many steps, the last, the first in a row */
    int unsaid;                        /* answers since one was published */
    int last_n;                        /* step of the sequence's last answer; 0: none */
    int best;                          /* output that the last answer was for; -1: no answer yet */
} ky_oracle_memory;

typedef struct ky_oracle_stream {
    bool known, ended;
    int64_t ts_ms, high;          /* KY_NONE */
    int64_t seen[KY_ORACLE_MOST]; /* numbers taken since the sender last began anew */
    int n_seen;
    int held; /* the last values, -1 */
    int n;
    ky_oracle_memory of[KY_ORACLE_MODELS];
    int64_t heard_us;
    int era; /* in which its last sample came */
} ky_oracle_stream;

/* A line of what is expected; those of results.db are put into the same words. */
typedef struct ky_oracle_row {
    char text[KY_INSIDE_HEX + 60];
} ky_oracle_row;

/* A class of streams: `window` 0 where memory lives on. */
typedef struct ky_oracle_class {
    int window, hop, n_models;
    struct {
        const char *name;
        ky_inside_model *m;
        int version; /* in force */
    } model[KY_ORACLE_MODELS];
} ky_oracle_class;

enum ky_oracle_what {
    KY_ORACLE_SAMPLE,
    KY_ORACLE_LABEL,
    KY_ORACLE_FORGET,
    KY_ORACLE_GARBAGE /* refused whenever it comes */
};

/* A message. */
typedef struct ky_oracle_message {
    enum ky_oracle_what what;
    int k; /* whose; -1: nobody's */
    bool by_number, by_arrival, start, end, reset;
    int64_t ts_ms, seq;
    int from, to;  /* values */
    int label;     /* number of a label, a sample's or that of the sample with this seq; 0: none */
    int64_t marks; /* a number that no other sample has, for labels to find it; 0: none */
} ky_oracle_message;

/* A message that others may overtake. */
typedef struct ky_oracle_waiting {
    ky_oracle_message m;
    int64_t due_us;
} ky_oracle_waiting;

/* A step that a label may mean, and one that a label was given to; n 0: none was found. */
typedef struct ky_oracle_label {
    int k, n, label;
    int64_t marks;
} ky_oracle_label;

enum ky_oracle_log { KY_ORACLE_LOG_ALL, KY_ORACLE_LOG_CHANGE };
enum { KY_ORACLE_EMIT_END = 0, KY_ORACLE_EMIT_CHANGE = -1 };

typedef struct ky_oracle {
    ky_oracle_class classes[KY_ORACLE_CLASSES];
    /* settings; times in milliseconds, 0: never */
    bool accept_late, reset, hold;
    int max_gap, period, max_hold, max_late, max_ahead, end_after, warm_up, reorder;
    int emit; /* every so many answers, or one of the above */
    enum ky_oracle_log log;
    int64_t now_us, wall_ms;
    int64_t stepped_ms; /* what the time of day was set by since that was last looked at */
    int era;            /* arrivals of different eras are not to be compared */
    ky_oracle_stream s[KY_ORACLE_STREAMS];
    ky_oracle_waiting waiting[KY_ORACLE_MOST];
    ky_oracle_label marks[KY_ORACLE_MOST], labels[KY_ORACLE_MOST];
    ky_oracle_row rows[KY_ORACLE_MOST], told[KY_ORACLE_MOST]; /* told: what is published */
    int n_waiting, n_marks, n_labels, n_rows, n_told, rejects;
    int answers, undone, given_up, swaps; /* how often */
} ky_oracle;

/** Nothing was sent yet; classes and settings are to be filled in. */
void ky_oracle_init(ky_oracle *o);
/** A message was sent. @param waits  on a source where it may be overtaken */
void ky_oracle_take(ky_oracle *o, const ky_oracle_message *x, bool waits);
/** When something comes due by itself next, as a time from now; INT64_MAX: never. */
int64_t ky_oracle_left_us(const ky_oracle *o);
/** The clocks go on: what comes due, and what silence ends. */
void ky_oracle_pass(ky_oracle *o, int64_t us);
/** The time of day is set. */
void ky_oracle_step_wall(ky_oracle *o, int64_t ms);
/** The daemon stops. @param killed  what waits is lost */
void ky_oracle_stop(ky_oracle *o, bool killed);
/** Another version of a class's i-th model takes over. @param reset  at once, from zeros */
void ky_oracle_swap(ky_oracle *o, int c, int i, ky_inside_model *m, bool reset);
/** Nothing more comes: adds what streams are at, and sorts the lines. */
void ky_oracle_close(ky_oracle *o);
void ky_oracle_sort(ky_oracle_row *rows, int n);

#endif
