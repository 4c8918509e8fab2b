/*
 * kymod's configuration: INI files through one table of settings, which parses, checks,
 * prints the example file and the man page kymod.ini(5). Read once by the main thread,
 * then shared read-only.
 */
#ifndef KY_CONFIG_H
#define KY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "connectors/codec.h"
#include "connectors/source.h"
#include "models/plan.h"
#include "storage/journal.h"

typedef struct ky_list {
    char **item;
    int n;
} ky_list;

enum ky_when_full { KY_FULL_BLOCK, KY_FULL_DROP_OLDEST, KY_FULL_LATEST };

typedef struct ky_source_cfg {
    char *name;
    char *type, *endpoint, *socket, *subscribe, *format;
    bool bind;
    char *stream_field, *time_field, *label_field;
    ky_list values;
    int64_t time_unit_ns;
    int missing;   /* enum ky_missing */
    int when_full; /* enum ky_when_full */
    int64_t hwm, max_message, queue_bytes;
    int64_t reorder_us; /* 0: no */
    char *brokers, *topic, *partitions, *group;
    ky_kv *rdkafka; /* rdkafka.<property> lines, keys without "rdkafka." */
    int n_rdkafka;
    int line; /* where the section began, for messages */
} ky_source_cfg;

enum ky_on_gap { KY_GAP_KEEP, KY_GAP_RESET, KY_GAP_HOLD };
enum ky_late { KY_LATE_DROP, KY_LATE_ACCEPT };
enum ky_emit { KY_EMIT_END = -1, KY_EMIT_CHANGE, KY_EMIT_EVERY }; /* N: every Nth */
enum ky_log { KY_LOG_ALL, KY_LOG_CHANGE, KY_LOG_NONE };

enum { KY_CLASS_MODELS = 16 }; /* of one class at most */

typedef struct ky_class_cfg {
    char *name;
    ky_list sources; /* names; empty: all */
    char *match;     /* glob on the stream id */
    ky_list features;
    ky_list models; /* names, at least one */
    int memory;     /* enum ky_memory */
    int64_t window, hop;
    int64_t max_gap_us; /* 0: never */
    int on_gap, late, log;
    int64_t emit;                      /* enum ky_emit, or every so many */
    int64_t period_us;                 /* between two samples; 0: not regular */
    int64_t max_hold;                  /* missing samples that are filled in at most */
    int64_t max_late_us, max_ahead_us; /* 0: never */
    int64_t idle_timeout_us;           /* then a state leaves memory; 0: never */
    int64_t end_after_us;              /* silence that ends a sequence; 0: never */
    int64_t warm_up;                   /* answers from zeros that are not trusted yet */
    bool archive;
    int64_t max_streams;
    int line;
} ky_class_cfg;

enum ky_on_swap { KY_SWAP_NEXT_START, KY_SWAP_RESET };

typedef struct ky_model_cfg {
    char *name, *file;
    ky_list labels;
    int on_swap;
    int64_t retrain_every_us; /* 0: never by itself */
    int64_t retrain_min;      /* labelled sequences it takes at least */
    int64_t retrain_epochs;
    int64_t retrain_timeout_us; /* a training that takes longer is killed */
    char *gate_metric;          /* accuracy | macro_f1 | log_loss */
    double gate_margin, gate_held_out;
    int64_t keep_versions;
    int line;
} ky_model_cfg;

typedef struct ky_publish_cfg {
    char *name, *type, *endpoint;
    bool bind;
    int64_t hwm;
    int line;
} ky_publish_cfg;

typedef struct ky_config {
    char *path; /* the main file */
    char *state_dir, *runtime_dir;
    int lanes; /* 0: auto */
    int64_t commit_interval_us;
    int64_t commit_rows; /* a unit is committed at the latest with so many answers */
    int journal;         /* enum ky_journal_mode */
    int64_t journal_file_bytes, journal_file_age_us;
    int max_wave;
    int64_t max_senders, max_rejects;
    int64_t max_memory; /* of states, bytes; 0: no bound */
    int64_t shutdown_timeout_us;
    char *log_level;
    ky_source_cfg *sources;
    int n_sources;
    ky_class_cfg *classes;
    int n_classes;
    ky_model_cfg *models;
    int n_models;
    ky_publish_cfg *publishers;
    int n_publishers;
} ky_config;

/* Everything wrong with a configuration, not only the first thing. */
typedef struct ky_problems {
    char **text; /* "kymod.ini:12: [source:plant] sockte: unknown key (did you mean 'socket'?)" */
    int n;
} ky_problems;

/** Reads `path` and <its name without .ini>.d/ *.ini beside it, `overrides` ("section.key=value",
 *  NULL-terminated, may be NULL) last. Returns KY_EINVAL if there are problems, all of them in
 *  `problems`, which the caller releases in any case; *ret is set only without. */
int ky_config_load(const char *path, const char *const *overrides, ky_config **ret,
                   ky_problems *problems);
/** Reads what ky_config_dump wrote: a CONFIG record's text. Sections keep their order, so classes
 *  and sources their numbers; nothing is checked against today's files, and settings that are not
 *  known or allowed today are left out. KY_ECORRUPT, KY_ENOMEM. */
int ky_config_of_text(const char *text, size_t len, ky_config **ret, ky_err *err);
void ky_config_free(ky_config *c);
void ky_problems_done(ky_problems *p);

ky_model_cfg *ky_config_model(const ky_config *c, const char *name);
/** Which of a class's models this is; -1: none of them. */
int ky_class_nth(const ky_class_cfg *k, const char *model);
/** Whether a class's streams may come from this source. */
bool ky_class_hears(const ky_class_cfg *k, const char *source);

/** The effective settings as INI (secrets masked); also the CONFIG record's text. */
void ky_config_dump(const ky_config *c, FILE *out);
/** The example file, and the whole page kymod.ini(5), from the table. */
void ky_config_example(FILE *out);
void ky_config_man(FILE *out);

#endif
