/*
 * kymod's log: one line an event on stderr, key=value, the object before the message:
 *
 *     level=warn stage=lane stream=pump1 msg="gap of 4 samples"
 *
 * Under systemd's journal a line begins with <N>, elsewhere with the time. Values are
 * escaped, so nothing from outside can forge a line or drive a terminal. Any thread.
 */
#ifndef KY_LOG_H
#define KY_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum ky_level { KY_ERROR = 3, KY_WARN = 4, KY_NOTICE = 5, KY_INFO = 6, KY_DEBUG = 7 };

/* What a line is about: keys and values by turns, NULL behind. */
typedef const char *const *ky_object;
#define KY_OBJECT(...) ((const char *const[]){ __VA_ARGS__, NULL })

/** Lines less important than `level` ("warn") are not written; NULL: "info". Looks at
 *  JOURNAL_STREAM. Before the first line, by the main thread. */
void ky_log_init(const char *level);

/** Whether such a line would be written: for what is dear to put together. */
bool ky_log_wants(enum ky_level level);

/**
 *     ky_log(KY_WARN, "lane", KY_OBJECT("stream", id), "gap of %d samples", n);
 *
 * @param stage   which part speaks
 * @param object  KY_OBJECT(...), or NULL
 */
void ky_log(enum ky_level level, const char *stage, ky_object object, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * Something that can repeat: said at once, then after 1 s, 10 s, 1 min, 10 min, and every
 * hour, with the number of times since; and when it is over. Zeroed to begin; one
 * complaint belongs to one thread.
 */
typedef struct ky_complaint {
    int64_t times; /* since it began */
    int64_t said;  /* of them, when it was said last */
    int64_t began_ns, next_ns;
    int step; /* which interval is the next */
} ky_complaint;

void ky_complain(ky_complaint *c, enum ky_level level, const char *stage, ky_object object,
                 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/** It is over: says so if it had begun, and begins anew. */
void ky_complaint_over(ky_complaint *c, const char *stage, ky_object object, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/** What ky_log would write, with its newline; returns the length. For tests, and for ky_log. */
int ky_log_line(char *ret, int size, bool journal, enum ky_level level, const char *stage,
                ky_object object, const char *msg);

#endif
