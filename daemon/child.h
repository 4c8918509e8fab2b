/*
 * A child process that runs a program of ours: nothing inherited but three descriptors and
 * the environment, killed with its parent, its words kept for the parent to read. One
 * child belongs to the thread that started it, and dies with that thread.
 */
#ifndef KY_CHILD_H
#define KY_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "models/error.h"

typedef struct ky_child {
    pid_t pid;    /* 0: none */
    int out, err; /* what it says, in memory */
} ky_child;

enum { KY_CHILD_SAYS_MAX = 1 << 20 }; /* more than this on either, and it is ended */

/** Runs argv[0] (a path) with argv. */
int ky_child_start(ky_child *c, char *const argv[], ky_err *err);

/** Whether it has ended; then *ret_status is its exit code, or 128 + the signal that ended it. */
bool ky_child_ended(ky_child *c, int *ret_status);

/** Whether it has said more than it may. */
bool ky_child_raves(const ky_child *c);

/** Ends it for good and waits. Fine on one that ended. */
void ky_child_kill(ky_child *c);

/** What it wrote to stdout (or stderr), malloc'd and terminated; NULL: out of memory. */
char *ky_child_said(const ky_child *c, bool on_stderr);

/** Kills it if need be, and lets go of everything. */
void ky_child_done(ky_child *c);

/** Path of a program of ours: beside this one, in ../bin, or in the directory of installation.
 *  KY_ENOENT names them. */
int ky_child_find(const char *name, char *ret, size_t size, ky_err *err);

#endif
