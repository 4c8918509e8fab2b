/*
 * What the subcommands of kymo share: options by table, progress, tables of text, exit
 * codes. Errors go to stderr as `kymo: what: why`.
 */
#ifndef KY_CLI_H
#define KY_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "models/error.h"

enum { KY_EXIT_OK = 0, KY_EXIT_FAILED = 1, KY_EXIT_USAGE = 2, KY_EXIT_PARTLY = 3 };

/* One subcommand: a row of the table in kymo.c. */
typedef struct ky_command {
    const char *name;
    const char *brief;                 /* one line for `kymo --help` */
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand; returns an exit code */
} ky_command;

int ky_cmd_compare(int argc, char **argv);
int ky_cmd_convert(int argc, char **argv);
int ky_cmd_feed(int argc, char **argv);
int ky_cmd_eval(int argc, char **argv);
int ky_cmd_import(int argc, char **argv);
int ky_cmd_inspect(int argc, char **argv);
int ky_cmd_predict(int argc, char **argv);
int ky_cmd_query(int argc, char **argv);
int ky_cmd_retrain(int argc, char **argv);
int ky_cmd_simulate(int argc, char **argv);
int ky_cmd_status(int argc, char **argv);
int ky_cmd_streams(int argc, char **argv);
int ky_cmd_tail(int argc, char **argv);
int ky_cmd_train(int argc, char **argv);

/* -- options -- */
enum ky_opt_type {
    KY_OPT_FLAG, /* bool: present or not; as `no-x` it clears */
    KY_OPT_STR,  /* const char * */
    KY_OPT_INT,  /* int64_t, within [min,max] */
    KY_OPT_NUM,  /* double, within [min,max]; a default of NaN is not shown */
    KY_OPT_TIME, /* int64_t microseconds: 10, 500ms, 2s, 5m, 1h, 1d; a bare number is seconds */
    KY_OPT_SIZE, /* int64_t bytes, within [min,max]: 100, 64K, 512M, 2G */
    KY_OPT_STRS, /* ky_strs: may be given several times */
};

typedef struct ky_strs {
    const char *item[64];
    int n;
} ky_strs;

typedef struct ky_opt {
    const char *name; /* without dashes: "epochs" */
    char letter;      /* 'o' for -o, 0 for none */
    enum ky_opt_type type;
    void *at;         /* where the value goes; what stands there before is the default */
    double min, max;  /* INT, NUM; both 0: any */
    const char *arg;  /* name of the value in the help, NULL for flags */
    const char *help; /* one sentence; the default is not repeated here */
} ky_opt;

typedef struct ky_usage {
    const char *synopsis;   /* "kymo train DATA --arch ARCH -o MODEL.h5 [options]" */
    const char *about;      /* a short paragraph */
    const ky_opt *opts;     /* ends with name NULL; --help is added */
    int min_args, max_args; /* words that are no options; max -1: any number */
    const char *examples;   /* lines, may be NULL */
} ky_usage;

/**
 * Parse the command line of a subcommand. Options and words may be mixed; "--" ends options;
 * --name=value and --name value both work.
 *
 * @param words receives pointers into argv, n_words how many
 * @return -1 to go on, else the exit code to leave with (help was printed, or usage was wrong)
 */
int ky_cli_parse(const ky_usage *u, int argc, char **argv, const char **words, int *n_words);

/** "kymo: " and the error's text on stderr; returns KY_EXIT_FAILED. */
int ky_cli_fail(const ky_err *err);
/** A usage error: text and where to find help; returns KY_EXIT_USAGE. */
int ky_cli_usage(const ky_usage *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Help of --config, which several commands have. */
#define KY_CLI_CONFIG "where the architecture of weights stands: JSON text or a model file"

/* -- progress: a bar on a terminal, a plain line every few seconds elsewhere, on stderr -- */
typedef struct ky_progress {
    const char *what; /* "training", "feeding" */
    const char *unit; /* "windows", "samples" */
    double total;     /* 0: unknown */
    bool quiet;
    double taken_s; /* how long it has run when it begins to be shown */
    double left_s;  /* how long it will run, if that is known better than by the rate; 0 */
    /* private */
    int64_t begun_ns, shown_ns;
    bool tty;
} ky_progress;

void ky_progress_begin(ky_progress *p);
/** done so far; note (may be NULL) is put behind: "loss 0.31 acc 0.90". Cheap to call often. */
void ky_progress_show(ky_progress *p, double done, const char *note);
/** Ends the line; the note stays on the screen. */
void ky_progress_end(ky_progress *p, double done, const char *note);
/** Takes the bar off the terminal, so that a line can be printed in its place. */
void ky_progress_clear(ky_progress *p);

/** "45 s", "3:20", "2:03:20" */
const char *ky_cli_time(double seconds, char buffer[24]);

/* -- interrupts -- */
/** From now on SIGINT and SIGTERM set a flag; a second one ends the process. */
void ky_cli_catch_interrupts(void);
bool ky_cli_interrupted(void);
/** What the first one prints on stderr at once; a literal. */
void ky_cli_say_at_interrupt(const char *text);

/** Prints text from outside with control characters as \xNN; for terminals and logs. */
void ky_cli_print_safe(FILE *out, const char *s, size_t len);

#endif
