/*
 * Tables of text: lines of cells divided by commas, semicolons or tabs (the header tells which),
 * cells in quotes where they hold such, "" for a quote within. One thread at a time.
 */
#ifndef KY_CSV_H
#define KY_CSV_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "models/error.h"

typedef struct ky_csv {
    const char *path; /* borrowed */
    int columns;
    char **name; /* [columns] of the header, blanks around them cut; 1, 2 ... without one */
    char **cell; /* [columns] of the current line, as the names; to be changed at will */
    int64_t line_number;
    bool headless;
    /* private */
    FILE *file;
    char *line, *header, delimiter;
    size_t cap;
    bool held; /* the first line is not given yet */
} ky_csv;

/**
 * @param path      a file, gzipped or not; "-" is standard input
 * @param headless  a first line of nothing but numbers is taken as a row, not refused
 */
int ky_csv_open(const char *path, bool headless, ky_csv *ret, ky_err *err);
/** The next line that is not empty: 1, or 0 at the end. */
int ky_csv_next(ky_csv *c, ky_err *err);
void ky_csv_close(ky_csv *c);

/** The column of that name; -1: none. */
int ky_csv_find(const ky_csv *c, const char *name);
/** The column of a role: the one that `option` names or, from 1, numbers, else one of the `usual`
 * names (ends with NULL); *ret -1: none. KY_EINVAL if there is no such column. */
int ky_csv_role(const ky_csv *c, const char *option, const char *const *usual, int *ret,
                ky_err *err);

/** A decimal number as tables have it: 1 and its value, 0 if something else stands there, -1 and
 *  NaN if what stands there says that nothing does ("", ?, NaN, NA, N/A, null, none). */
int ky_csv_number(const char *text, size_t len, float *ret);
/** That of a cell; KY_EFORMAT if it is no number. NaN: nothing is there. */
int ky_csv_value(const ky_csv *c, int column, float *ret, ky_err *err);
/** A cell as a whole number. */
int ky_csv_integer(const ky_csv *c, int column, int64_t *ret, ky_err *err);
/** A cell as a time, a number of units of 10^(shift-6) s or RFC 3339; left alone if it is empty. */
int ky_csv_time(const ky_csv *c, int column, int shift, int64_t *ret_us, ky_err *err);
/** What "s", "ms", "us" and "ns" are for ky_csv_time. */
int ky_csv_time_shift(const char *unit, int *ret, ky_err *err);

/** Comma-separated words, blanks around them cut: one allocation ending with NULL, free(). */
char **ky_csv_words(const char *list, int *ret_n);

#endif
