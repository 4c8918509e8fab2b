#include "storage/archive.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "models/h5.h"
#include "models/kernels.h"

enum {
    BATCH = 1024,         /* rows between two appends */
    OVERHEAD = 256 << 10, /* bytes of a segment besides its rows and states */
    STATE_ROW = 192, /* of a state besides itself and the names: numbers, and where texts lie */
};

/* The columns of a segment besides x, one value a row each. */
enum { OP, FLAGS, STREAM, N, SEQ, TS, LABEL, COLUMNS };

static const struct {
    const char *path;
    enum ky_h5_type type;
    size_t size;
} columns[COLUMNS] = {
    [OP] = { "/op", KY_H5_U8, 1 },          [FLAGS] = { "/flags", KY_H5_U32, 4 },
    [STREAM] = { "/stream", KY_H5_U32, 4 }, [N] = { "/n", KY_H5_I64, 8 },
    [SEQ] = { "/seq", KY_H5_I64, 8 },       [TS] = { "/ts", KY_H5_I64, 8 },
    [LABEL] = { "/label", KY_H5_I32, 4 },
};

/* Names in the order they came; `of` finds a stream's row by kymo's number of it. */
typedef struct names {
    char **text;
    uint32_t n, cap;
    uint32_t *slot; /* open addressing: index + 1 by text, of the first `indexed` names */
    uint32_t slots, indexed;
} names;

/* The segment of one class in the making. */
typedef struct segment {
    const ky_archive_class *c;
    ky_h5 *h5;
    uint32_t features; /* F; 0: no sample in the file */
    uint64_t rows;     /* that the file has, then that were added */
    uint64_t room;     /* bytes that it may take, before compression */
    void *column[COLUMNS];
    float *x;
    size_t used; /* rows of the batch */
    names streams, labels;
    uint32_t *of; /* open addressing: index + 1 by stream number */
    uint32_t *of_number;
    uint32_t of_cap;
    int64_t from_us, to_us;
    char path[4096], relative[300];
} segment;

typedef struct sealing {
    const ky_journal_file *file;
    segment *segments;
    int n;
} sealing;

/* -- names -- */

static int names_add(names *l, const char *text, size_t len)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? 2 * l->cap : 64;
        char **grown = realloc(l->text, cap * sizeof(*grown));

        if (grown == NULL)
            return KY_ENOMEM;
        l->text = grown;
        l->cap = cap;
    }
    l->text[l->n] = strndup(text, len);
    return l->text[l->n] == NULL ? KY_ENOMEM : (int)l->n++;
}

static void names_done(names *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        free(l->text[i]);
    free(l->text);
    free(l->slot);
}

static uint32_t *name_slot(const names *l, const char *text, size_t len)
{
    uint32_t at = ky_crc32c(0, text, len) & (l->slots - 1);

    for (; l->slot[at] != 0; at = (at + 1) & (l->slots - 1)) {
        const char *have = l->text[l->slot[at] - 1];

        if (strlen(have) == len && memcmp(have, text, len) == 0)
            break;
    }
    return &l->slot[at];
}

/* Brings the table up to the names there are, a quarter full. */
static int index_names(names *l)
{
    if (2 * (l->n + 1) > l->slots) {
        uint32_t slots = l->slots ? l->slots : 64;

        while (slots < 4 * (l->n + 1))
            slots *= 2;
        free(l->slot);
        l->slot = calloc(slots, sizeof(*l->slot));
        l->slots = l->slot != NULL ? slots : 0;
        l->indexed = 0;
    }
    if (l->slot == NULL)
        return KY_ENOMEM;
    for (; l->indexed < l->n; l->indexed++) {
        uint32_t *slot = name_slot(l, l->text[l->indexed], strlen(l->text[l->indexed]));

        if (*slot == 0)
            *slot = l->indexed + 1;
    }
    return KY_OK;
}

/* Index of a name, which joins the others at first sight. */
static int names_index(names *l, const char *text, size_t len)
{
    if (index_names(l) != KY_OK)
        return KY_ENOMEM;
    uint32_t at = *name_slot(l, text, len);

    return at != 0 ? (int)at - 1 : names_add(l, text, len);
}

/* Where `number` is in the table, or would be. */
static uint32_t slot_of(const segment *s, uint32_t number)
{
    uint32_t at = number * 2654435761u % s->of_cap;

    while (s->of[at] != 0 && s->of_number[at] != number)
        at = (at + 1) % s->of_cap;
    return at;
}

static int grow_slots(segment *s)
{
    segment old = *s;

    s->of_cap = old.of_cap ? 2 * old.of_cap : 256;
    s->of = calloc(s->of_cap, sizeof(*s->of));
    s->of_number = calloc(s->of_cap, sizeof(*s->of_number));
    if (s->of == NULL || s->of_number == NULL)
        return KY_ENOMEM;
    for (uint32_t i = 0; i < old.of_cap; i++)
        if (old.of[i] != 0) {
            uint32_t at = slot_of(s, old.of_number[i]);

            s->of[at] = old.of[i];
            s->of_number[at] = old.of_number[i];
        }
    free(old.of);
    free(old.of_number);
    return KY_OK;
}

/* Index of a stream in the segment's `streams`, which it joins at first sight. */
static int stream_index(segment *s, uint32_t number, const char *name, size_t len)
{
    uint32_t at;
    int i;

    if (2 * (s->streams.n + 1) > s->of_cap && grow_slots(s) != KY_OK)
        return KY_ENOMEM;
    at = slot_of(s, number);
    if (s->of[at] != 0)
        return (int)s->of[at] - 1;
    i = names_add(&s->streams, name, len);
    if (i >= 0) {
        s->of[at] = (uint32_t)i + 1;
        s->of_number[at] = number;
    }
    return i;
}

/* Index of a class name; one that the model does not know joins them. */
static int label_index(segment *s, const char *text, size_t len)
{
    return len > 0 ? names_index(&s->labels, text, len) : -1;
}

/* -- rows -- */

static bool is_archived(const ky_record *r)
{
    return r->type == KY_REC_SAMPLE || r->type == KY_REC_LABEL || r->type == KY_REC_END ||
           r->type == KY_REC_FORGET;
}

/* The segment a record belongs to; NULL in ret if to none. */
static int segment_of(const sealing *f, const ky_record *r, segment **ret, ky_err *err)
{
    *ret = NULL;
    if (!is_archived(r))
        return KY_OK;
    if (r->class_ >= f->n)
        return ky_fail(err, KY_ECORRUPT,
                       "'%s': the record at position %" PRIu64 " is of class %u, there are %d",
                       f->file->path, r->pos, r->class_, f->n);
    if (f->segments[r->class_].c->archive && f->segments[r->class_].c->name != NULL)
        *ret = &f->segments[r->class_];
    return KY_OK;
}

/* First pass: which classes have rows, and how wide. */
static int measure(const ky_record *r, void *arg, ky_err *err)
{
    sealing *f = arg;
    segment *s;
    int rc = segment_of(f, r, &s, err);

    if (rc != KY_OK || s == NULL)
        return rc;
    s->rows += r->type == KY_REC_SAMPLE ? r->steps : 1;
    if (r->type == KY_REC_SAMPLE && s->features == 0)
        s->features = r->features;
    if (r->type == KY_REC_SAMPLE && s->features != r->features)
        return ky_fail(err, KY_ECORRUPT, "'%s': class '%s' has samples of %u and of %u values",
                       f->file->path, s->c->name, s->features, r->features);
    return KY_OK;
}

static int write_batch(segment *s, ky_err *err)
{
    int rc = ky_h5_append(s->h5, "/x", s->x, s->used, err);

    for (int i = 0; rc == KY_OK && i < COLUMNS; i++)
        rc = ky_h5_append(s->h5, columns[i].path, s->column[i], s->used, err);
    s->used = 0;
    return rc;
}

/* The flags and the label of a message of several steps: a beginning is its first step's, what
 * ends or judges it its last's. */
static uint32_t flags_of(const ky_record *r, uint32_t step)
{
    unsigned flags = r->flags;

    if (step > 0)
        flags &= ~(unsigned)(KY_START | KY_RESET | KY_RESUMED);
    if (step + 1 < r->steps)
        flags &= ~(unsigned)(KY_END | KY_LAST);
    return flags;
}

static int add_row(segment *s, const ky_record *r, uint32_t step, int stream, int label,
                   ky_err *err)
{
    size_t i = s->used++;
    bool sample = r->type == KY_REC_SAMPLE;

    ((uint8_t *)s->column[OP])[i] = r->type;
    ((uint32_t *)s->column[FLAGS])[i] = sample ? flags_of(r, step) : r->flags;
    ((uint32_t *)s->column[STREAM])[i] = (uint32_t)stream;
    ((int64_t *)s->column[N])[i] = r->n == KY_NONE ? KY_NONE : r->n + step;
    ((int64_t *)s->column[SEQ])[i] = r->seq;
    ((int64_t *)s->column[TS])[i] = r->ts_us;
    ((int32_t *)s->column[LABEL])[i] = !sample || step + 1 == r->steps ? label : -1;
    if (sample)
        memcpy(s->x + i * s->features, ky_record_x(r) + (size_t)step * s->features,
               s->features * sizeof(float));
    else
        memset(s->x + i * s->features, 0, s->features * sizeof(float));
    s->rows++;
    return s->used == BATCH ? write_batch(s, err) : KY_OK;
}

/* Second pass: rows are steps. */
static int take(const ky_record *r, void *arg, ky_err *err)
{
    sealing *f = arg;
    uint32_t steps = r->type == KY_REC_SAMPLE ? r->steps : 1;
    int stream, label = -1, rc;
    segment *s;

    rc = segment_of(f, r, &s, err);
    if (rc != KY_OK || s == NULL)
        return rc;
    stream = stream_index(s, r->stream, ky_record_stream(r), r->stream_len);
    if (r->type == KY_REC_SAMPLE || r->type == KY_REC_LABEL)
        label = label_index(s, ky_record_text(r), r->text_len);
    if (stream < 0 || label == KY_ENOMEM)
        return ky_fail(err, KY_ENOMEM, "'%s': no memory for its names", s->path);
    if (r->ts_us != KY_NONE) {
        s->from_us = s->from_us == KY_NONE || r->ts_us < s->from_us ? r->ts_us : s->from_us;
        s->to_us = s->to_us == KY_NONE || r->ts_us > s->to_us ? r->ts_us : s->to_us;
    }
    for (uint32_t step = 0; rc == KY_OK && step < steps; step++)
        rc = add_row(s, r, step, stream, label, err);
    return rc;
}

/* -- the states at the beginning -- */

/* Arrays of state0: one element a stream, and all states one behind the other. */
typedef struct states {
    segment *s;
    size_t n, cap, bytes, room;
    uint32_t *stream, *version;
    int64_t *step, *start;
    uint64_t *layout, *offset;
    uint8_t *ended, *data;
    names models;
} states;

static int states_room(states *t, size_t bytes)
{
    size_t cap = t->cap ? 2 * t->cap : 64;
    bool ok = true;

#define GROW(field)                                                                                \
    do {                                                                                           \
        void *grown_ = realloc(t->field, cap * sizeof(*t->field));                                 \
        ok = ok && grown_ != NULL;                                                                 \
        t->field = grown_ != NULL ? grown_ : t->field;                                             \
    } while (0)
    if (t->n == t->cap) {
        GROW(stream);
        GROW(version);
        GROW(step);
        GROW(start);
        GROW(layout);
        GROW(offset);
        GROW(ended);
        t->cap = ok ? cap : t->cap;
    }
#undef GROW
    if (ok && t->bytes + bytes > t->room) {
        size_t room = 2 * t->room + bytes;
        uint8_t *data = realloc(t->data, room);

        ok = data != NULL;
        t->data = ok ? data : t->data;
        t->room = ok ? room : t->room;
    }
    return ok ? KY_OK : KY_ENOMEM;
}

static int take_state(const ky_saved_stream *v, void *arg, ky_err *err)
{
    states *t = arg;
    int stream = stream_index(t->s, v->row.stream, v->name, strlen(v->name));

    if (stream < 0 || states_room(t, v->blob_len) != KY_OK ||
        names_add(&t->models, v->model, strlen(v->model)) < 0)
        return ky_fail(err, KY_ENOMEM, "'%s': no memory for its states", t->s->path);
    t->stream[t->n] = (uint32_t)stream;
    t->version[t->n] = v->row.version;
    t->step[t->n] = v->row.n;
    t->start[t->n] = v->row.start_n;
    t->layout[t->n] = v->row.layout;
    t->ended[t->n] = v->row.ended;
    t->offset[t->n++] = t->bytes;
    if (v->blob_len > 0)
        memcpy(t->data + t->bytes, v->blob, v->blob_len);
    t->bytes += v->blob_len;
    return KY_OK;
}

static int write_states(states *t, ky_err *err)
{
    const struct {
        const char *path;
        enum ky_h5_type type;
        const void *data;
        uint64_t n;
    } sets[] = {
        { "/state0/stream", KY_H5_U32, t->stream, t->n },
        { "/state0/version", KY_H5_U32, t->version, t->n },
        { "/state0/n", KY_H5_I64, t->step, t->n },
        { "/state0/start_n", KY_H5_I64, t->start, t->n },
        { "/state0/layout", KY_H5_U64, t->layout, t->n },
        { "/state0/ended", KY_H5_U8, t->ended, t->n },
        { "/state0/offset", KY_H5_U64, t->offset, t->n },
        { "/state0/data", KY_H5_U8, t->data, t->bytes },
    };
    ky_h5 *h5 = t->s->h5;
    int rc = ky_h5_group(h5, "/state0", err);

    for (size_t i = 0; rc == KY_OK && i < sizeof(sets) / sizeof(*sets); i++)
        if (sets[i].n > 0)
            rc = ky_h5_put(h5, sets[i].path, sets[i].type, 1, &sets[i].n, sets[i].data, err);
    if (rc == KY_OK && t->n > 0)
        rc = ky_h5_put_strs(h5, "/state0/model", (const char *const *)t->models.text, t->models.n,
                            err);
    return rc;
}

static int add_states(segment *s, uint64_t file_first, ky_results *r, ky_err *err)
{
    states t = { .s = s };
    int rc = ky_results_each_state0(r, file_first, s->c->name, take_state, &t, err);

    if (rc == KY_OK)
        rc = write_states(&t, err);
    names_done(&t.models);
    free(t.stream);
    free(t.version);
    free(t.step);
    free(t.start);
    free(t.layout);
    free(t.offset);
    free(t.ended);
    free(t.data);
    return rc;
}

/* -- one segment -- */

/* A directory that is there for good before a file in it is. */
static int make_directory(const char *path, const char *parent, ky_err *err)
{
    int fd, rc = KY_OK;

    if (mkdir(path, 0750) != 0) {
        if (errno == EEXIST)
            return KY_OK;
        return ky_fail(err, -errno, "'%s': %s", path, strerror(errno));
    }
    fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        rc = ky_fail(err, -errno, "'%s': fsync: %s", parent, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

/* archive/<class>/<utc of the file's beginning>-<its first position>.h5 */
static int name_segment(segment *s, const char *dir, const ky_journal_file *file, ky_err *err)
{
    time_t seconds = (time_t)(file->begun_us / 1000000);
    const char *base = strrchr(dir, '/');
    char folder[4096], parent[4096];
    struct tm utc;
    char when[32] = "0";

    if (s->c->name[0] == '\0' || s->c->name[0] == '.' || strchr(s->c->name, '/') != NULL ||
        strlen(s->c->name) > 200)
        return ky_fail(err, KY_EINVAL, "class '%s' cannot be the name of a directory", s->c->name);
    if (gmtime_r(&seconds, &utc) != NULL)
        strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &utc);
    if (snprintf(folder, sizeof(folder), "%s/%s", dir, s->c->name) >= (int)sizeof(folder) ||
        snprintf(s->path, sizeof(s->path), "%.3800s/%s-%016" PRIx64 ".h5", folder, when,
                 file->first) >= (int)sizeof(s->path) ||
        strlen(folder) > 3800)
        return ky_fail(err, KY_EINVAL, "'%s': the name is too long", dir);
    snprintf(s->relative, sizeof(s->relative), "%.24s/%.200s/%s-%016" PRIx64 ".h5",
             base ? base + 1 : dir, s->c->name, when, file->first);
    snprintf(parent, sizeof(parent), "%s/..", dir);
    int rc = make_directory(dir, parent, err);
    return rc == KY_OK ? make_directory(folder, dir, err) : rc;
}

static int begin_segment(segment *s, ky_err *err)
{
    uint64_t width;
    int rc;

    s->rows = 0;
    s->from_us = s->to_us = KY_NONE;
    if (s->features == 0)
        s->features = s->c->n_features > 0 ? (uint32_t)s->c->n_features : 1;
    width = s->features;
    s->x = calloc((size_t)BATCH * s->features, sizeof(*s->x));
    rc = s->x == NULL ? KY_ENOMEM : KY_OK;
    for (int i = 0; rc == KY_OK && i < COLUMNS; i++)
        if ((s->column[i] = calloc(BATCH, columns[i].size)) == NULL)
            rc = KY_ENOMEM;
    for (int i = 0; rc == KY_OK && i < s->c->n_labels; i++)
        if (names_add(&s->labels, s->c->labels[i], strlen(s->c->labels[i])) < 0)
            rc = KY_ENOMEM;
    if (rc != KY_OK)
        return ky_fail(err, rc, "'%s': no memory for a batch", s->path);
    rc = ky_h5_create(s->path, &s->h5, err);
    if (rc == KY_OK)
        rc = ky_h5_reserve(s->h5, s->room, err);
    if (rc == KY_OK)
        rc = ky_h5_table(s->h5, "/x", KY_H5_F32, 2, &width, err);
    for (int i = 0; rc == KY_OK && i < COLUMNS; i++)
        rc = ky_h5_table(s->h5, columns[i].path, columns[i].type, 1, NULL, err);
    return rc;
}

static int put_attributes(segment *s, const ky_journal_file *file, ky_err *err)
{
    ky_h5 *h = s->h5;
    int rc = ky_h5_set_attr_str(h, "/", "kymo_version", PACKAGE_VERSION, err);

    if (rc == KY_OK)
        rc = ky_h5_set_attr_str(h, "/", "class", s->c->name, err);
    if (rc == KY_OK)
        rc = ky_h5_set_attr_strs(h, "/", "class_names", (const char *const *)s->labels.text,
                                 s->labels.n, err);
    if (rc == KY_OK)
        rc = ky_h5_set_attr_strs(h, "/", "features", s->c->features, (size_t)s->c->n_features, err);
    if (rc == KY_OK)
        rc = ky_h5_set_attr_int(h, "/", "journal_first", (int64_t)file->first, err);
    if (rc == KY_OK)
        rc = ky_h5_set_attr_int(h, "/", "journal_end", (int64_t)file->end, err);
    return rc;
}

/* Puts the segment in place, then says so in results.db. */
static int finish_segment(segment *s, const ky_journal_file *file, ky_results *r, ky_err *err)
{
    ky_segment_row row = { .class_name = s->c->name,
                           .path = s->relative,
                           .first = file->first,
                           .end = file->end,
                           .rows = s->rows,
                           .from_us = s->from_us,
                           .to_us = s->to_us };
    struct stat st;
    int rc = s->used > 0 ? write_batch(s, err) : KY_OK;

    if (rc == KY_OK)
        rc = add_states(s, file->first, r, err);
    if (rc == KY_OK)
        rc = ky_h5_put_strs(s->h5, "/streams", (const char *const *)s->streams.text, s->streams.n,
                            err);
    if (rc == KY_OK)
        rc = put_attributes(s, file, err);
    if (rc != KY_OK)
        return rc;
    rc = ky_h5_commit(s->h5, err);
    s->h5 = NULL;
    if (rc != KY_OK)
        return rc;
    if (stat(s->path, &st) != 0)
        return ky_fail(err, -errno, "'%s': %s", s->path, strerror(errno));
    row.bytes = (uint64_t)st.st_size;
    return ky_results_add_segment(r, &row, err);
}

static void segment_done(segment *s)
{
    ky_h5_close(s->h5);
    for (int i = 0; i < COLUMNS; i++)
        free(s->column[i]);
    free(s->x);
    free(s->of);
    free(s->of_number);
    names_done(&s->streams);
    names_done(&s->labels);
}

/* Whether the segment was made before: then the states it began with may be gone from results.db,
 * and the one that has them stays. */
typedef struct known {
    const ky_journal_file *file;
    bool found;
} known;

static int is_known(const ky_segment_row *row, void *arg, ky_err *err)
{
    known *k = arg;

    (void)err;
    k->found |= row->first == k->file->first && row->end == k->file->end;
    return KY_OK;
}

/* HDF5 never gives back the memory of a file that it could not write to its end. So none is begun
 * where what may come of it finds no room, and that is taken before anything is written: others
 * may fill the disk meanwhile. */
static int find_room(const sealing *f, segment *s, const char *dir, ky_results *r, ky_err *err)
{
    uint64_t row = (uint64_t)s->features * sizeof(*s->x), n, bytes;
    struct statvfs disk;
    int rc = ky_results_size_state0(r, f->file->first, s->c->name, &n, &bytes, err);

    if (rc < 0)
        return rc;
    for (int i = 0; i < COLUMNS; i++)
        row += columns[i].size;
    s->room = (s->rows + BATCH) * row + bytes + n * STATE_ROW + OVERHEAD;
    if (statvfs(dir, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize < s->room)
        return ky_fail(err, -ENOSPC, "'%s': %s: %" PRIu64 " bytes may be needed", s->path,
                       strerror(ENOSPC), s->room);
    return KY_OK;
}

/* Names and begins the segments of the classes that have rows and no segment yet. */
static int begin_segments(sealing *f, const char *dir, ky_results *r, ky_err *err)
{
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < f->n; i++) {
        segment *s = &f->segments[i];
        known k = { .file = f->file };

        if (s->rows == 0)
            continue;
        rc = name_segment(s, dir, f->file, err);
        if (rc == KY_OK)
            rc = ky_results_each_segment(r, s->c->name, is_known, &k, err);
        if (rc == KY_OK && k.found && access(s->path, F_OK) == 0)
            s->rows = 0;
        else if (rc == KY_OK && (rc = find_room(f, s, dir, r, err)) == KY_OK)
            rc = begin_segment(s, err);
    }
    return rc;
}

static int take_if_begun(const ky_record *r, void *arg, ky_err *err)
{
    sealing *f = arg;

    return is_archived(r) && r->class_ < f->n && f->segments[r->class_].h5 == NULL
               ? KY_OK
               : take(r, arg, err);
}

int ky_archive_seal(const char *dir, const ky_journal_file *file, const ky_archive_class *classes,
                    int n_classes, ky_results *r, ky_err *err)
{
    sealing f = { .file = file, .n = n_classes };
    int rc;

    f.segments = calloc((size_t)n_classes + 1, sizeof(*f.segments));
    if (f.segments == NULL)
        return ky_fail(err, KY_ENOMEM, "'%s': no memory to archive it", file->path);
    for (int i = 0; i < n_classes; i++)
        f.segments[i].c = &classes[i];
    rc = ky_journal_read_file(file->path, measure, &f, err);
    if (rc == KY_OK)
        rc = begin_segments(&f, dir, r, err);
    if (rc == KY_OK)
        rc = ky_journal_read_file(file->path, take_if_begun, &f, err);
    for (int i = 0; rc == KY_OK && i < n_classes; i++)
        if (f.segments[i].h5 != NULL)
            rc = finish_segment(&f.segments[i], file, r, err);
    for (int i = 0; i < n_classes; i++)
        segment_done(&f.segments[i]);
    free(f.segments);
    return rc == KY_OK ? rc : ky_context(err, rc, "archiving '%s'", file->path);
}
