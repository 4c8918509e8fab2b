#include "daemon/config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/settings.h"
#include "models/nearest.h"

enum {
    FILE_MAX = 1 << 20,
    LINE_BYTES_MAX = 65536,
    ENTRIES_MAX = 4000,
    HEADINGS_MAX = 256,
    PROBLEMS_MAX = 1000,
    INIH_LINE = 190, /* what every build of libinih takes as a line */
    SECTION_MAX = 80,
};

/* One key = value as it was found. */
typedef struct entry {
    char section[SECTION_MAX]; /* as written: "source:plant" */
    char *key, *value;
    int file, line; /* the file's number; line 0: an override */
} entry;

typedef struct heading { /* a section, where it began first */
    char name[SECTION_MAX];
    int file, line;
    enum ky_section kind;
    int object; /* its number in the config; -1: not a section we know */
} heading;

typedef struct loader {
    entry *entries;
    int n_entries;
    heading *headings;
    int n_headings;
    char **files; /* names as given; the last one stands for overrides */
    bool *public; /* whether everybody may read the file */
    int n_files;
    ky_problems *problems;
    bool no_memory, full;
    ky_config *c;
} loader;

/* -- problems ------------------------------------------------------------------ */

static void *grown(loader *l, void *rows, int n, size_t size)
{
    void *more = reallocarray(rows, (size_t)n + 1, size);

    l->no_memory |= more == NULL;
    return more;
}

static char *kept(loader *l, const char *text)
{
    char *s = strdup(text);

    l->no_memory |= s == NULL;
    return s;
}

/* Control characters never reach a terminal or a log. */
static void cleaned(char *text)
{
    for (; *text != '\0'; text++)
        if (iscntrl((unsigned char)*text))
            *text = '?';
}

__attribute__((format(printf, 4, 5))) static void problem(loader *l, int file, int line,
                                                          const char *fmt, ...)
{
    char text[1024];
    int at = snprintf(text, sizeof(text), "%.400s", l->files[file]);
    ky_problems *p = l->problems;
    char **more;
    va_list ap;

    if (p->n >= PROBLEMS_MAX)
        return;
    if (line > 0)
        at += snprintf(text + at, sizeof(text) - (size_t)at, ":%d", line);
    at += snprintf(text + at, sizeof(text) - (size_t)at, ": ");
    va_start(ap, fmt);
    vsnprintf(text + at, sizeof(text) - (size_t)at, fmt, ap);
    va_end(ap);
    if (p->n == PROBLEMS_MAX - 1)
        snprintf(text, sizeof(text), "and more");
    cleaned(text);
    more = grown(l, p->text, p->n, sizeof(*more));
    if (more == NULL)
        return;
    p->text = more;
    more[p->n] = kept(l, text);
    p->n += more[p->n] != NULL;
}

/* " (did you mean 'x'?)", or nothing. */
static const char *hint(const ky_nearest *n, char ret[SECTION_MAX + 32])
{
    *ret = '\0';
    if (n->best != NULL)
        snprintf(ret, SECTION_MAX + 32, " (did you mean '%.*s'?)", SECTION_MAX, n->best);
    return ret;
}

/* -- from bytes to entries ------------------------------------------------------- */

/* What libinih reads from: the whole file, given out line by line, so that we know the
 * line's number, and that values longer than libinih's lines can be put in by us. */
typedef struct lines {
    loader *l;
    int file, line;
    const char *at, *end;
    char section[SECTION_MAX];
    bool pending;     /* a key = value line was given out and not yet come back as one */
    bool skip;        /* the section's heading is no use: its keys are not looked at */
    char *long_value; /* of the line given out, when it is too long for libinih */
    char text[LINE_BYTES_MAX + 1];
} lines;

static bool name_ok(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

    return len > 0 && len <= KY_NAME_MAX && name[len] == '\0' && *name != '-';
}

/* Finds or makes the section's heading. */
static void note_section(loader *l, const char *name, int file, int line)
{
    heading *more;

    for (int i = 0; i < l->n_headings; i++)
        if (strcmp(l->headings[i].name, name) == 0)
            return;
    if (l->n_headings == HEADINGS_MAX) {
        problem(l, file, line, "[%s]: more than %d sections", name, HEADINGS_MAX);
        return;
    }
    more = grown(l, l->headings, l->n_headings, sizeof(*more));
    if (more == NULL)
        return;
    l->headings = more;
    more[l->n_headings] = (heading){ .file = file, .line = line, .object = -1 };
    strcpy(more[l->n_headings++].name, name);
}

/* A line that begins with '['. */
static void begin_section(lines *in)
{
    char *name = in->text + 1, *close = strchr(name, ']'), *rest;

    in->skip = true;
    if (close == NULL) {
        problem(in->l, in->file, in->line, "a section without its ']'");
        return;
    }
    rest = close + 1 + strspn(close + 1, " \t");
    *close = '\0';
    name += strspn(name, " \t");
    while (close > name && isblank((unsigned char)close[-1]))
        *--close = '\0';
    if (*rest != '\0' && *rest != ';' && *rest != '#') {
        problem(in->l, in->file, in->line, "[%.*s]: something stands behind the ']'", SECTION_MAX,
                name);
    } else if (strlen(name) >= SECTION_MAX) {
        problem(in->l, in->file, in->line, "[%.*s...]: the name is too long", SECTION_MAX, name);
    } else {
        in->skip = false;
        strcpy(in->section, name);
        note_section(in->l, name, in->file, in->line);
    }
}

/* Cuts off the comment behind a value and the blanks around it, as libinih does. */
static char *bare_value(char *value)
{
    char *end;

    for (end = value; *end != '\0'; end++)
        if (*end == ';' && end > value && isblank((unsigned char)end[-1]))
            break;
    while (end > value && isblank((unsigned char)end[-1]))
        end--;
    *end = '\0';
    return value + strspn(value, " \t");
}

/* The next line without its end, in in->text. False at the end of the file. */
static bool take_line(lines *in)
{
    const char *eol;
    size_t len;

    if (in->at >= in->end)
        return false;
    in->line++;
    in->at += strspn(in->at, " \t"); /* the buffer ends with NUL */
    eol = memchr(in->at, '\n', (size_t)(in->end - in->at));
    if (eol == NULL)
        eol = in->end;
    len = (size_t)(eol - in->at);
    *in->text = '\0';
    if (len > LINE_BYTES_MAX) {
        problem(in->l, in->file, in->line, "the line has %zu bytes, at most %d are allowed", len,
                LINE_BYTES_MAX);
    } else if (memchr(in->at, '\0', len) != NULL) {
        problem(in->l, in->file, in->line, "the line holds a NUL byte");
    } else {
        memcpy(in->text, in->at, len);
        in->text[len - (len > 0 && in->text[len - 1] == '\r')] = '\0';
        if (in->text[len] != '\0')
            in->text[len] = '\0';
        for (char *p = in->text; *p != '\0'; p++) {
            if (iscntrl((unsigned char)*p) && *p != '\t') {
                problem(in->l, in->file, in->line, "the line holds the control character 0x%02x",
                        (unsigned)(unsigned char)*p);
                *in->text = '\0';
            }
        }
    }
    in->at = eol < in->end ? eol + 1 : in->end;
    return true;
}

static void settle(lines *in)
{
    if (in->pending)
        problem(in->l, in->file, in->line, "'%.60s' is neither [section] nor key = value",
                in->text);
    in->pending = false;
}

/* Hands libinih the next line. It sees only key = value: the rest is ours. */
static char *give_line(char *str, int num, void *stream)
{
    lines *in = stream;
    char *equals;

    settle(in);
    in->long_value = NULL;
    if (num < 4 || !take_line(in))
        return NULL;
    strcpy(str, "\n");
    if (*in->text == '[') {
        begin_section(in);
        return str;
    }
    if (*in->text == '\0' || *in->text == ';' || *in->text == '#')
        return str;
    in->pending = true;
    equals = in->text + strcspn(in->text, "=:");
    if (strlen(in->text) + 2 <= (size_t)num && strlen(in->text) < INIH_LINE) {
        snprintf(str, (size_t)num, "%s\n", in->text);
    } else if (*equals != '\0' && equals - in->text < 100) {
        in->long_value = equals + 1;
        snprintf(str, (size_t)num, "%.*s=_\n", (int)(equals - in->text), in->text);
    }
    return str;
}

static entry *find_entry(const loader *l, const char *section, const char *key)
{
    for (int i = 0; i < l->n_entries; i++)
        if (strcmp(l->entries[i].key, key) == 0 && strcmp(l->entries[i].section, section) == 0)
            return &l->entries[i];
    return NULL;
}

static void put_entry(loader *l, const char *section, const char *key, const char *value, int file,
                      int line)
{
    entry *e = find_entry(l, section, key), *more;
    char *v;

    if (e != NULL && e->file == file && line > 0) {
        problem(l, file, line, "[%s] %s: stands in line %d already", section, key, e->line);
        return;
    }
    if (l->n_entries >= ENTRIES_MAX) {
        if (!l->full)
            problem(l, file, line, "more than %d settings", ENTRIES_MAX);
        l->full = true;
        return;
    }
    v = kept(l, value);
    if (e == NULL) {
        more = grown(l, l->entries, l->n_entries, sizeof(*more));
        if (more == NULL) {
            free(v);
            return;
        }
        l->entries = more;
        e = &more[l->n_entries++];
        *e = (entry){ .key = kept(l, key) };
        snprintf(e->section, sizeof(e->section), "%s", section);
    }
    free(e->value);
    e->value = v;
    e->file = file;
    e->line = line;
}

/* libinih found a key and its value. Its idea of the section is cut to 49 bytes: ours is not. */
static int take_entry(void *user, const char *section, const char *name, const char *value)
{
    lines *in = user;

    (void)section;
    in->pending = false;
    if (in->long_value != NULL)
        value = bare_value(in->long_value);
    if (in->skip || in->l->no_memory)
        return 1;
    if (*in->section == '\0')
        problem(in->l, in->file, in->line, "%.60s: stands before the first [section]", name);
    else if (*name == '\0')
        problem(in->l, in->file, in->line, "[%s]: a value without a key", in->section);
    else if (*value == ';')
        problem(in->l, in->file, in->line, "[%s] %.60s: a value cannot begin with ';'", in->section,
                name);
    else
        put_entry(in->l, in->section, name, value, in->file, in->line);
    return 1;
}

static void parse_bytes(loader *l, int file, const char *bytes, size_t len)
{
    lines *in = malloc(sizeof(*in));

    if (in == NULL) {
        l->no_memory = true;
        return;
    }
    if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        bytes += 3, len -= 3;
    *in = (lines){ .l = l, .file = file, .at = bytes, .end = bytes + len };
    /* Lines that are not key = value were noted by settle(): its result says no more. */
    (void)ini_parse_stream(give_line, in, take_entry, in);
    free(in);
}

/* -- files ------------------------------------------------------------------------- */

static int add_file(loader *l, const char *name)
{
    char **files = grown(l, l->files, l->n_files, sizeof(*files));
    bool *public;

    if (files == NULL)
        return -1;
    l->files = files;
    public = grown(l, l->public, l->n_files, sizeof(*public));
    if (public == NULL)
        return -1;
    l->public = public;
    public[l->n_files] = false;
    files[l->n_files] = kept(l, name);
    return files[l->n_files] != NULL ? l->n_files++ : -1;
}

static ssize_t read_all(int fd, char *bytes, size_t size)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(fd, bytes + len, size - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static void parse_file(loader *l, const char *path)
{
    int file = add_file(l, path);
    /* O_NONBLOCK: a FIFO in place of the file does not hang us. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *bytes = NULL;
    struct stat st;
    ssize_t len;

    if (file < 0)
        goto out;
    if (fd < 0 || fstat(fd, &st) < 0) {
        problem(l, file, 0, "cannot be opened: %s", strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        problem(l, file, 0, "is not a regular file");
        goto out;
    }
    l->public[file] = (st.st_mode & S_IROTH) != 0;
    bytes = malloc(FILE_MAX + 2);
    if (bytes == NULL) {
        l->no_memory = true;
        goto out;
    }
    len = read_all(fd, bytes, FILE_MAX + 1);
    if (len < 0) {
        problem(l, file, 0, "cannot be read: %s", strerror(errno));
    } else if (len > FILE_MAX) {
        problem(l, file, 0, "has more than %d bytes", FILE_MAX);
    } else {
        bytes[len] = '\0';
        parse_bytes(l, file, bytes, (size_t)len);
    }
out:
    free(bytes);
    if (fd >= 0)
        close(fd);
}

static int is_drop_in(const struct dirent *d)
{
    size_t len = strlen(d->d_name);

    return *d->d_name != '.' && len > 4 && strcmp(d->d_name + len - 4, ".ini") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* kymod.d/ beside kymod.ini. */
static void parse_drop_ins(loader *l, const char *path)
{
    size_t len = strlen(path);
    struct dirent **found = NULL;
    char dir[4096], name[4096 + 256];
    int n;

    if (len > 4 && strcmp(path + len - 4, ".ini") == 0)
        len -= 4;
    if (len + 3 > sizeof(dir))
        return;
    snprintf(dir, sizeof(dir), "%.*s.d", (int)len, path);
    n = scandir(dir, &found, is_drop_in, by_bytes);
    if (n < 0 && errno != ENOENT && errno != ENOTDIR) {
        int e = errno, file = add_file(l, dir);

        if (file >= 0)
            problem(l, file, 0, "cannot be opened: %s", strerror(e));
    }
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "%s/%s", dir, found[i]->d_name);
        parse_file(l, name);
        free(found[i]);
    }
    free(found);
}

/* "section.key=value"; neither a section's kind nor its name has a dot. */
static void parse_override(loader *l, const char *text, int file)
{
    const char *dot = strchr(text, '.'), *equals = strchr(text, '=');
    char section[SECTION_MAX], key[256];
    char *value;

    if (dot == NULL || equals == NULL || equals < dot || dot - text >= SECTION_MAX ||
        equals - dot > 255 || dot == text || equals == dot + 1) {
        problem(l, file, 0, "'%.100s' is not section.key=value", text);
        return;
    }
    snprintf(section, sizeof(section), "%.*s", (int)(dot - text), text);
    snprintf(key, sizeof(key), "%.*s", (int)(equals - dot - 1), dot + 1);
    value = kept(l, equals + 1);
    if (value == NULL)
        return;
    for (const char *p = value; *p != '\0'; p++)
        if (iscntrl((unsigned char)*p)) {
            problem(l, file, 0, "%s: the value holds a control character", key);
            goto out;
        }
    if (strcmp(bare_value(value), equals + 1) != 0 || *value == ';') {
        problem(l, file, 0, "%s: a value cannot begin or end with a blank, nor hold ' ;'", key);
        goto out;
    }
    note_section(l, section, file, 0);
    put_entry(l, section, key, value, file, 0);
out:
    free(value);
}

/* -- from entries to settings ----------------------------------------------------- */

static const char *const kind_hint = "[kymod], [source:NAME], [stream:NAME], [model:NAME] or "
                                     "[publish:NAME]";

/* Which kind of section a heading is; says so if none. */
static bool know_heading(loader *l, heading *h)
{
    const char *colon = strchr(h->name, ':');
    size_t len = colon != NULL ? (size_t)(colon - h->name) : strlen(h->name);
    char word[SECTION_MAX], text[SECTION_MAX + 32];
    ky_nearest n = { .word = word };

    snprintf(word, sizeof(word), "%.*s", (int)len, h->name);
    for (int i = 0; i < KY_SECTIONS; i++) {
        const ky_section_kind *kind = &ky_sections[i];

        ky_nearest_try(&n, kind->word);
        if (strcmp(word, kind->word) != 0)
            continue;
        h->kind = (enum ky_section)i;
        if (kind->named == (colon != NULL) && (colon == NULL || name_ok(colon + 1)))
            return true;
        problem(l, h->file, h->line, "[%s]: %s", h->name,
                !kind->named    ? "this section has no name"
                : colon == NULL ? "this section needs a name, as in [source:plant]"
                                : "a name is letters, digits, '-' and '_', at most 63, and does "
                                  "not begin with '-'");
        return false;
    }
    problem(l, h->file, h->line, "[%s]: unknown section%s; allowed are %s", h->name, hint(&n, text),
            kind_hint);
    return false;
}

static void set_defaults(loader *l, enum ky_section section, void *obj)
{
    for (int i = 0; i < ky_n_settings; i++) {
        const ky_setting *s = &ky_settings[i];

        if (s->section == section && s->otherwise != NULL && s->type != KY_SET_PAIRS &&
            ky_setting_parse(s, s->key, s->otherwise, NULL, obj, NULL) < 0)
            l->no_memory = true;
    }
}

/* Makes the object of a heading, with defaults. */
static void make_object(loader *l, heading *h)
{
    const ky_section_kind *kind = &ky_sections[h->kind];
    char **rows = (char **)((char *)l->c + kind->rows);
    int *n = (int *)((char *)l->c + kind->n_rows);
    char *more, *obj;

    h->object = 0;
    if (!kind->named)
        return;
    more = grown(l, *rows, *n, kind->size);
    if (more == NULL)
        return;
    *rows = more;
    obj = more + (size_t)*n * kind->size;
    memset(obj, 0, kind->size);
    h->object = (*n)++;
    *(char **)obj = kept(l, strchr(h->name, ':') + 1);
    switch (h->kind) {
    case KY_SECTION_SOURCE:
        ((ky_source_cfg *)obj)->line = h->line;
        break;
    case KY_SECTION_STREAM:
        ((ky_class_cfg *)obj)->line = h->line;
        break;
    case KY_SECTION_MODEL:
        ((ky_model_cfg *)obj)->line = h->line;
        break;
    case KY_SECTION_PUBLISH:
        ((ky_publish_cfg *)obj)->line = h->line;
        break;
    default:
        break;
    }
    set_defaults(l, h->kind, obj);
}

static void unknown_key(loader *l, const heading *h, const entry *e)
{
    ky_nearest n = { .word = e->key };
    char text[SECTION_MAX + 32];

    for (int i = 0; i < ky_n_settings; i++)
        if (ky_settings[i].section == h->kind)
            ky_nearest_try(&n, ky_settings[i].key);
    problem(l, e->file, e->line, "[%s] %.60s: unknown key%s", e->section, e->key, hint(&n, text));
}

/* The directory that an entry's relative paths begin at, absolute; malloc'd. */
static char *base_of(loader *l, const entry *e)
{
    char *path = kept(l, l->files[e->file]), *base = NULL;

    if (path != NULL) {
        base = realpath(e->line > 0 ? dirname(path) : ".", NULL);
        if (base == NULL)
            base = kept(l, "/");
    }
    free(path);
    return base;
}

static void apply_entry(loader *l, const heading *h, const entry *e)
{
    const ky_setting *s = ky_setting_find(h->kind, e->key);
    char *base = base_of(l, e);
    const char *name;
    ky_err err;
    int rc;

    if (base == NULL)
        return;
    if (s == NULL) {
        unknown_key(l, h, e);
        goto out;
    }
    rc = ky_setting_parse(s, e->key, e->value, base,
                          ky_section_object(l->c, h->kind, h->object, &name), &err);
    if (rc == KY_ENOMEM)
        l->no_memory = true;
    else if (rc < 0)
        problem(l, e->file, e->line, "[%s] %s: %s", e->section, e->key, err.text);
    if (s->type == KY_SET_PAIRS && ky_setting_secret(e->key) && l->public[e->file])
        problem(l, e->file, e->line, "[%s] %s: everybody may read this file: chmod o-r it",
                e->section, e->key);
out:
    free(base);
}

/* Keys that are missing, and keys that have no meaning beside the others. */
static void check_conditions(loader *l, const heading *h)
{
    const char *name;
    const void *obj = ky_section_object(l->c, h->kind, h->object, &name);

    for (int i = 0; i < ky_n_settings; i++) {
        const ky_setting *s = &ky_settings[i];
        const entry *e;

        if (s->section != h->kind)
            continue;
        e = find_entry(l, h->name, s->key);
        for (int j = 0; s->type == KY_SET_PAIRS && j < l->n_entries && e == NULL; j++)
            if (strcmp(l->entries[j].section, h->name) == 0 &&
                ky_setting_find(h->kind, l->entries[j].key) == s)
                e = &l->entries[j];
        if (e != NULL && !ky_setting_applies(s, obj)) {
            char when[80];

            ky_setting_when(s, when, sizeof(when));
            problem(l, e->file, e->line, "[%s] %s: is only for %s", h->name, e->key, when);
        }
        if (e == NULL && s->required && ky_setting_applies(s, obj))
            problem(l, h->file, h->line, "[%s] %s: is missing", h->name, s->key);
    }
}

/* -- what must fit together ---------------------------------------------------------- */

/* A problem of a key: where it stands, or where its section begins. */
__attribute__((format(printf, 5, 6))) static void
key_problem(loader *l, const char *kind, const char *name, const char *key, const char *fmt, ...)
{
    char section[SECTION_MAX], text[700];
    const entry *e;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(section, sizeof(section), "%s%s%.*s", kind, name != NULL ? ":" : "", KY_NAME_MAX,
             name != NULL ? name : "");
    e = find_entry(l, section, key);
    for (int i = 0; e == NULL && i < l->n_headings; i++)
        if (strcmp(l->headings[i].name, section) == 0) {
            problem(l, l->headings[i].file, l->headings[i].line, "[%s] %s: %s", section, key, text);
            return;
        }
    problem(l, e != NULL ? e->file : 0, e != NULL ? e->line : 0, "[%s] %s: %s", section, key, text);
}

static const ky_source_cfg *find_source(const ky_config *c, const char *name)
{
    for (int i = 0; i < c->n_sources; i++)
        if (strcmp(c->sources[i].name, name) == 0)
            return &c->sources[i];
    return NULL;
}

/* Endpoints as ZeroMQ writes them; the socket itself is tried when it is opened. */
static void check_endpoint(loader *l, const char *kind, const char *name, const char *endpoint)
{
    const char *port;

    if (endpoint == NULL || strncmp(endpoint, "ipc://", 6) == 0)
        return;
    port = strrchr(endpoint, ':');
    if (strncmp(endpoint, "tcp://", 6) != 0 || port == endpoint + 3) {
        key_problem(l, kind, name, "endpoint",
                    "'%.100s' is not allowed: tcp://HOST:PORT or ipc://PATH", endpoint);
        return;
    }
    port++;
    if (strcmp(port, "*") != 0 && (strspn(port, "0123456789") != strlen(port) || *port == '\0' ||
                                   strlen(port) > 5 || atoi(port) > 65535))
        key_problem(l, kind, name, "endpoint", "'%.100s': the port is a number up to 65535, or *",
                    endpoint);
}

static void check_bound_twice(loader *l, const char *kind, const char *name, const char *endpoint,
                              int before_source, int before_publisher)
{
    const char *other = NULL;

    if (endpoint == NULL || (*endpoint != '\0' && endpoint[strlen(endpoint) - 1] == '*'))
        return;
    for (int i = 0; i < before_source; i++) {
        const ky_source_cfg *s = &l->c->sources[i];

        if (s->bind && s->endpoint != NULL && strcmp(s->endpoint, endpoint) == 0)
            other = s->name;
    }
    for (int i = 0; i < before_publisher; i++) {
        const ky_publish_cfg *p = &l->c->publishers[i];

        if (p->bind && p->endpoint != NULL && strcmp(p->endpoint, endpoint) == 0)
            other = p->name;
    }
    if (other != NULL)
        key_problem(l, kind, name, "endpoint", "'%.100s' is bound by '%s' already", endpoint,
                    other);
}

/* Properties one by one, so that each mistake has its line. */
static void check_kafka(loader *l, const ky_source_cfg *s)
{
    const ky_kv harmless = { "client.id", "kymo" };
    char key[256];
    ky_err err;

    if (ky_kafka_check(&harmless, 1, &err) < 0) {
        key_problem(l, "source", s->name, "type", "%s", err.text);
        return;
    }
    for (int i = 0; i < s->n_rdkafka; i++) {
        snprintf(key, sizeof(key), "rdkafka.%s", s->rdkafka[i].key);
        if (ky_kafka_check(&s->rdkafka[i], 1, &err) < 0)
            key_problem(l, "source", s->name, key, "%s", err.text);
    }
}

static void check_source(loader *l, int n)
{
    const ky_source_cfg *s = &l->c->sources[n];
    enum ky_journal_mode journal = (enum ky_journal_mode)l->c->journal;
    bool kafka = strcmp(s->type, "kafka") == 0;
    bool acknowledged = !kafka && strcmp(s->socket, "router") == 0;

    if (s->queue_bytes < 4 * s->max_message)
        key_problem(l, "source", s->name, "queue_size",
                    "is %lld bytes, less than four times max_message, which is %lld",
                    (long long)s->queue_bytes, (long long)s->max_message);
    if ((kafka || acknowledged) && journal == KY_JOURNAL_NO)
        key_problem(l, "kymod", NULL, "journal", "'no' is refused with [source:%s], which is %s",
                    s->name,
                    kafka ? "type = kafka"
                          : "socket = router: samples are acknowledged "
                            "when they are in the journal");
    if (acknowledged && journal == KY_JOURNAL_ASYNC)
        key_problem(l, "kymod", NULL, "journal",
                    "'async' is refused with [source:%s], which is socket = router: samples are "
                    "acknowledged when they are on disk",
                    s->name);
    if (kafka) {
        check_kafka(l, s);
        return;
    }
    check_endpoint(l, "source", s->name, s->endpoint);
    if (acknowledged && !s->bind)
        key_problem(l, "source", s->name, "bind", "a router is connected to: bind = yes");
    if (acknowledged && strcmp(s->format, "f32") == 0)
        key_problem(l, "source", s->name, "format",
                    "'f32' is refused with socket = router, where nothing names the stream: json "
                    "or msgpack");
    if (s->bind)
        check_bound_twice(l, "source", s->name, s->endpoint, n, 0);
}

static void check_class(loader *l, int n)
{
    const ky_class_cfg *k = &l->c->classes[n];
    char text[SECTION_MAX + 32];

    for (int i = 0; i < k->sources.n; i++) {
        const char *name = k->sources.item[i];
        const ky_source_cfg *s = find_source(l->c, name);
        ky_nearest near = { .word = name };

        for (int j = 0; s == NULL && j < l->c->n_sources; j++)
            ky_nearest_try(&near, l->c->sources[j].name);
        if (s == NULL)
            key_problem(l, "stream", k->name, "sources", "there is no [source:%.60s]%s", name,
                        hint(&near, text));
        else if (s->values.n > 0 && k->features.n > 0 && s->values.n != k->features.n)
            key_problem(l, "stream", k->name, "features",
                        "%d are named, but [source:%s] has %d values", k->features.n, s->name,
                        s->values.n);
    }
    for (int i = 0; i < k->models.n; i++) {
        const char *name = k->models.item[i];
        ky_nearest near = { .word = name };

        if (ky_config_model(l->c, name) != NULL)
            continue;
        for (int j = 0; j < l->c->n_models; j++)
            ky_nearest_try(&near, l->c->models[j].name);
        key_problem(l, "stream", k->name, "model", "there is no [model:%.60s]%s", name,
                    hint(&near, text));
    }
    if (k->on_gap == KY_GAP_HOLD && k->period_us == 0)
        key_problem(l, "stream", k->name, "on_gap",
                    "'hold' has to know how many samples are missing: period");
    else if (k->max_gap_us > 0 && k->max_gap_us < k->period_us)
        key_problem(l, "stream", k->name, "max_gap", "is shorter than period: all would be gaps");
    if (k->archive && l->c->journal == KY_JOURNAL_NO)
        key_problem(l, "stream", k->name, "archive",
                    "the archive is made of the journal, and journal = no");
}

static void check_model(loader *l, int n)
{
    const ky_model_cfg *m = &l->c->models[n];
    bool archived = false;
    struct stat st;

    for (int i = 0; i < l->c->n_classes; i++) {
        const ky_class_cfg *k = &l->c->classes[i];

        archived |= k->archive && ky_class_nth(k, m->name) >= 0;
    }
    if (m->file != NULL && (stat(m->file, &st) < 0 || access(m->file, R_OK) < 0))
        key_problem(l, "model", m->name, "file", "%.400s: %s", m->file, strerror(errno));
    else if (m->file != NULL && !S_ISREG(st.st_mode))
        key_problem(l, "model", m->name, "file", "%.400s: is not a regular file", m->file);
    if (m->retrain_every_us > 0 && l->c->journal == KY_JOURNAL_NO)
        key_problem(l, "model", m->name, "retrain",
                    "training is on the archive, which is made of the journal, and journal = no");
    else if (m->retrain_every_us > 0 && !archived)
        key_problem(l, "model", m->name, "retrain",
                    "training is on the archive, and no [stream:...] with model = %s has "
                    "archive = yes",
                    m->name);
}

static void check_together(loader *l)
{
    ky_config *c = l->c;

    for (int i = 0; i < c->n_sources; i++)
        check_source(l, i);
    for (int i = 0; i < c->n_classes; i++)
        check_class(l, i);
    for (int i = 0; i < c->n_models; i++)
        check_model(l, i);
    for (int i = 0; i < c->n_publishers; i++) {
        const ky_publish_cfg *p = &c->publishers[i];

        check_endpoint(l, "publish", p->name, p->endpoint);
        if (p->bind && p->endpoint != NULL)
            check_bound_twice(l, "publish", p->name, p->endpoint, c->n_sources, i);
    }
    if (c->n_sources == 0)
        problem(l, 0, 0, "no [source:NAME]: samples come from nowhere");
    if (c->n_classes == 0)
        problem(l, 0, 0, "no [stream:NAME]: samples are for nothing");
    /* A Unix socket's path has 107 bytes. */
    if (strlen(c->runtime_dir) > 98)
        key_problem(l, "kymod", NULL, "runtime_dir",
                    "'%.120s' has %zu bytes, at most 98 are allowed: a socket is made there",
                    c->runtime_dir, strlen(c->runtime_dir));
}

/* -- all together ---------------------------------------------------------------------- */

/* The first of the directories that systemd names in a variable; NULL without. */
static char *env_dir(const char *variable)
{
    const char *text = getenv(variable);

    return text != NULL && *text == '/' ? strndup(text, strcspn(text, ":")) : NULL;
}

static void set_directories(loader *l)
{
    ky_config *c = l->c;

    if (c->state_dir == NULL)
        c->state_dir = env_dir("STATE_DIRECTORY");
    if (c->state_dir == NULL)
        c->state_dir = kept(l, "/var/lib/kymo");
    if (c->runtime_dir == NULL)
        c->runtime_dir = env_dir("RUNTIME_DIRECTORY");
    if (c->runtime_dir == NULL && c->state_dir != NULL &&
        asprintf(&c->runtime_dir, "%s/run", c->state_dir) < 0)
        c->runtime_dir = NULL;
    l->no_memory |= c->state_dir == NULL || c->runtime_dir == NULL;
}

static void make_objects(loader *l)
{
    set_defaults(l, KY_SECTION_KYMOD, l->c);
    for (int i = 0; i < l->n_headings && !l->no_memory; i++)
        if (know_heading(l, &l->headings[i]))
            make_object(l, &l->headings[i]);
}

static void fill(loader *l)
{
    for (int i = 0; i < l->n_headings && !l->no_memory; i++) {
        const heading *h = &l->headings[i];

        for (int j = 0; j < l->n_entries && h->object >= 0; j++)
            if (strcmp(l->entries[j].section, h->name) == 0)
                apply_entry(l, h, &l->entries[j]);
    }
    for (int i = 0; i < l->n_headings && !l->no_memory; i++)
        if (l->headings[i].object >= 0)
            check_conditions(l, &l->headings[i]);
    if (!l->no_memory)
        set_directories(l);
}

static void loader_done(loader *l)
{
    for (int i = 0; i < l->n_entries; i++) {
        free(l->entries[i].key);
        free(l->entries[i].value);
    }
    for (int i = 0; i < l->n_files; i++)
        free(l->files[i]);
    free(l->entries);
    free(l->headings);
    free(l->files);
    free(l->public);
    ky_config_free(l->c);
}

/* What all went wrong, or the result. */
static int finish(loader *l, ky_config **ret)
{
    int rc = l->no_memory ? KY_ENOMEM : l->problems->n > 0 ? KY_EINVAL : KY_OK;

    if (rc == KY_OK) {
        *ret = l->c;
        l->c = NULL;
    }
    loader_done(l);
    return rc;
}

int ky_config_load(const char *path, const char *const *overrides, ky_config **ret,
                   ky_problems *problems)
{
    loader l = { .problems = problems, .c = calloc(1, sizeof(ky_config)) };
    int file;

    *problems = (ky_problems){ 0 };
    if (l.c == NULL)
        return KY_ENOMEM;
    l.c->path = kept(&l, path);
    parse_file(&l, path);
    if (problems->n == 0 || l.n_entries > 0)
        parse_drop_ins(&l, path);
    file = add_file(&l, "-o");
    for (int i = 0; file >= 0 && overrides != NULL && overrides[i] != NULL; i++)
        parse_override(&l, overrides[i], file);
    if (!l.no_memory && (problems->n == 0 || l.n_headings > 0)) {
        make_objects(&l);
        fill(&l);
        if (!l.no_memory)
            check_together(&l);
    }
    return finish(&l, ret);
}

int ky_config_of_text(const char *text, size_t len, ky_config **ret, ky_err *err)
{
    ky_problems problems = { 0 }, strange = { 0 };
    loader l = { .problems = &problems, .c = calloc(1, sizeof(ky_config)) };
    char *copy = l.c != NULL ? malloc(len + 1) : NULL;
    int rc = KY_ENOMEM;

    if (copy == NULL) {
        free(l.c);
        return ky_fail(err, rc, "out of memory");
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    l.c->path = kept(&l, "");
    if (add_file(&l, "recorded settings") >= 0)
        parse_bytes(&l, 0, copy, len);
    make_objects(&l);
    /* Another version wrote them, perhaps: what this one has no longer, or would refuse, is as if
     * it were not there. */
    l.problems = &strange;
    fill(&l);
    ky_problems_done(&strange);
    l.problems = &problems;
    rc = finish(&l, ret);
    if (rc == KY_EINVAL)
        rc = ky_fail(err, KY_ECORRUPT, "%s", problems.text[0]);
    else if (rc < 0)
        ky_fail(err, rc, "out of memory");
    ky_problems_done(&problems);
    free(copy);
    return rc;
}

void ky_config_free(ky_config *c)
{
    const char *name;
    void *obj;

    if (c == NULL)
        return;
    for (int section = KY_SECTIONS - 1; section >= 0; section--)
        for (int n = 0; (obj = ky_section_object(c, section, n, &name)) != NULL; n++) {
            for (int i = 0; i < ky_n_settings; i++)
                if ((int)ky_settings[i].section == section)
                    ky_setting_free(&ky_settings[i], obj);
            free((char *)(uintptr_t)name);
        }
    free(c->sources);
    free(c->classes);
    free(c->models);
    free(c->publishers);
    free(c->path);
    free(c);
}

void ky_problems_done(ky_problems *p)
{
    for (int i = 0; i < p->n; i++)
        free(p->text[i]);
    free(p->text);
    *p = (ky_problems){ 0 };
}

ky_model_cfg *ky_config_model(const ky_config *c, const char *name)
{
    for (int i = 0; i < c->n_models; i++)
        if (strcmp(c->models[i].name, name) == 0)
            return &c->models[i];
    return NULL;
}

int ky_class_nth(const ky_class_cfg *k, const char *model)
{
    for (int i = 0; i < k->models.n; i++)
        if (strcmp(k->models.item[i], model) == 0)
            return i;
    return -1;
}

bool ky_class_hears(const ky_class_cfg *k, const char *source)
{
    for (int i = 0; i < k->sources.n; i++)
        if (strcmp(k->sources.item[i], source) == 0)
            return true;
    return k->sources.n == 0;
}
