#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "models/clock.h"

enum { LINE_MAX_BYTES = 4096, MSG_MAX = 2048 };

static enum ky_level threshold = KY_INFO;
static bool to_journal;

static const char *const level_words[] = {
    [KY_ERROR] = "error", [KY_WARN] = "warn",   [KY_NOTICE] = "notice",
    [KY_INFO] = "info",   [KY_DEBUG] = "debug",
};

/* JOURNAL_STREAM names device and inode of the journal's socket: stderr may have been
 * turned elsewhere since. */
static bool stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    return text != NULL && sscanf(text, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void ky_log_init(const char *level)
{
    to_journal = stderr_is_journal();
    threshold = KY_INFO;
    for (int i = KY_ERROR; level != NULL && i <= KY_DEBUG; i++)
        if (strcmp(level, level_words[i]) == 0)
            threshold = (enum ky_level)i;
}

bool ky_log_wants(enum ky_level level)
{
    return level <= threshold;
}

typedef struct out {
    char *text;
    int at, size;
} out;

static void put(out *o, const char *text, int len)
{
    /* Room for a newline and the end is always kept. */
    if (len > o->size - 2 - o->at)
        len = o->size - 2 - o->at;
    memcpy(o->text + o->at, text, (size_t)len);
    o->at += len;
}

/* Length of the UTF-8 character at s, 0 if it is not one (overlong, surrogate, cut) or is a
 * control character: C0, DEL, C1, or the line and paragraph separators U+2028, U+2029. */
static int printable(const unsigned char *s)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    int len = *s < 0x80 ? 1 : *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : *s >= 0xc0 ? 2 : 0;
    uint32_t c;

    if (len <= 1)
        return len == 1 && *s >= 0x20 && *s != 0x7f;
    if (*s > 0xf4)
        return 0;
    c = *s & (0x7fu >> len);
    for (int i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || (c >= 0x80 && c < 0xa0) ||
        c == 0x2028 || c == 0x2029)
        return 0;
    return len;
}

/* A value: bare if it is one word of harmless characters, else in quotes with escapes. */
static void put_value(out *o, const char *value)
{
    static const char harmless[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789-_.:/@+,";

    if (*value != '\0' && strspn(value, harmless) == strlen(value)) {
        put(o, value, (int)strlen(value));
        return;
    }
    put(o, "\"", 1);
    while (*value != '\0' && o->at < o->size - 16) {
        int len = printable((const unsigned char *)value);
        char escape[8];

        if (*value == '"' || *value == '\\') {
            put(o, "\\", 1);
        } else if (*value == '\n' || *value == '\t') {
            put(o, *value == '\n' ? "\\n" : "\\t", 2);
            value++;
            continue;
        } else if (len == 0) {
            put(o, escape, snprintf(escape, sizeof(escape), "\\x%02x", (unsigned char)*value));
            value++;
            continue;
        }
        put(o, value, len);
        value += len;
    }
    if (*value != '\0')
        put(o, "...", 3);
    put(o, "\"", 1);
}

static void put_time(out *o)
{
    int64_t us = ky_clock_wall_us();
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    char text[64];

    gmtime_r(&s, &tm);
    put(o, text, (int)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm));
    put(o, text, snprintf(text, sizeof(text), ".%03dZ ", (int)(us % 1000000 / 1000)));
}

int ky_log_line(char *ret, int size, bool journal, enum ky_level level, const char *stage,
                ky_object object, const char *msg)
{
    out o = { ret, 0, size };
    char prefix[8];

    if (journal)
        put(&o, prefix, snprintf(prefix, sizeof(prefix), "<%d>", (int)level));
    else
        put_time(&o);
    put(&o, "level=", 6);
    put_value(&o, level_words[level]);
    put(&o, " stage=", 7);
    put_value(&o, stage);
    for (; object != NULL && object[0] != NULL; object += 2) {
        put(&o, " ", 1);
        put(&o, object[0], (int)strlen(object[0]));
        put(&o, "=", 1);
        put_value(&o, object[1] != NULL ? object[1] : "");
    }
    put(&o, " msg=", 5);
    put_value(&o, msg);
    ret[o.at++] = '\n';
    ret[o.at] = '\0';
    return o.at;
}

static void say(enum ky_level level, const char *stage, ky_object object, const char *msg)
{
    char line[LINE_MAX_BYTES];
    int len = ky_log_line(line, sizeof(line), to_journal, level, stage, object, msg), done = 0;

    /* One write a line, so that lines of several threads do not mix. Where the log itself
     * cannot be written there is nobody left to tell. */
    while (done < len) {
        ssize_t n = write(STDERR_FILENO, line + done, (size_t)(len - done));

        if (n <= 0)
            break;
        done += (int)n;
    }
}

void ky_log(enum ky_level level, const char *stage, ky_object object, const char *fmt, ...)
{
    char msg[MSG_MAX];
    va_list ap;

    if (!ky_log_wants(level))
        return;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    say(level, stage, object, msg);
}

void ky_complain(ky_complaint *c, enum ky_level level, const char *stage, ky_object object,
                 const char *fmt, ...)
{
    static const int64_t intervals_s[] = { 1, 10, 60, 600, 3600 };
    enum { STEPS = sizeof(intervals_s) / sizeof(*intervals_s) };
    int64_t now = ky_clock_mono_ns();
    char msg[MSG_MAX];
    va_list ap;
    size_t len;

    if (c->times++ == 0)
        c->began_ns = now;
    else if (now < c->next_ns)
        return;
    c->next_ns = now + intervals_s[c->step] * 1000000000;
    c->step += c->step < STEPS - 1;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg) - 64, fmt, ap);
    va_end(ap);
    len = strlen(msg);
    if (c->times - c->said > 1)
        snprintf(msg + len, sizeof(msg) - len, " (%lld times since it was said last)",
                 (long long)(c->times - c->said));
    c->said = c->times;
    if (ky_log_wants(level))
        say(level, stage, object, msg);
}

void ky_complaint_over(ky_complaint *c, const char *stage, ky_object object, const char *fmt, ...)
{
    char msg[MSG_MAX];
    va_list ap;
    size_t len;

    if (c->times > 0 && ky_log_wants(KY_NOTICE)) {
        va_start(ap, fmt);
        vsnprintf(msg, sizeof(msg) - 64, fmt, ap);
        va_end(ap);
        len = strlen(msg);
        snprintf(msg + len, sizeof(msg) - len, " (after %lld times in %lld s)", (long long)c->times,
                 (long long)((ky_clock_mono_ns() - c->began_ns) / 1000000000));
        say(KY_NOTICE, stage, object, msg);
    }
    *c = (ky_complaint){ 0 };
}
