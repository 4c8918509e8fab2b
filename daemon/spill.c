#include "daemon/spill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/lane.h"
#include "daemon/log.h"

enum {
    BLOCK_WORDS = 8,         /* of the filter: a line of cache */
    FILTER_BLOCKS = 1 << 18, /* 16 MB: of ten million names one in fifty looks known that is not */
    PROBES = 4,
    /* Sequences out of memory that silence may end: beyond these the next waits for one to end. */
    GHOSTS = 1000,
    GHOSTS_EACH = 10, /* for each stream that may be in memory */
};

/* One that left memory in the middle of a sequence which silence may end. */
typedef struct ghost {
    int64_t at_ns, n; /* when it was heard last, and its step number then */
    uint32_t id;
} ghost;

/* A heap: the one heard longest ago is the first. */
typedef struct ghosts {
    ghost *row;
    size_t n, cap;
} ghosts;

struct ky_spill {
    ky_pipeline *p;
    ky_roster *t;
    ky_results *r;
    void (*leave)(void *arg, const ky_known *k);
    void *arg;
    uint64_t key[2];
    uint64_t *filter; /* NULL: every stream is in memory */
    ghosts *ghosts;   /* [classes] */
    uint64_t *wants;  /* [lanes] */
    uint64_t all_pos;
    int waiting; /* classes with a sequence that is to end and has no room */
    bool live;   /* what is heard counts */
};

static void no_memory(void)
{
    ky_core_die(EX_OSERR, "accept", "no memory for streams that are not in memory");
}

/* -- the filter: Putze, Sanders and Singler 2007, blocked -- */

static uint64_t hash_of(const ky_spill *s, int class_, const char *name, size_t len)
{
    uint64_t key[2] = { s->key[0], s->key[1] ^ (uint64_t)class_ };

    return ky_names_siphash(key, name, len);
}

/* The filter's words for a name, and in ret_bits which bits of them. */
static uint64_t *bits_of(const ky_spill *s, uint64_t hash, uint64_t ret_bits[BLOCK_WORDS])
{
    memset(ret_bits, 0, BLOCK_WORDS * sizeof(*ret_bits));
    for (int i = 0; i < PROBES; i++) {
        unsigned bit = hash >> (18 + 9 * i) & 511;

        ret_bits[bit / 64] |= UINT64_C(1) << bit % 64;
    }
    return s->filter + (hash % FILTER_BLOCKS) * BLOCK_WORDS;
}

static void note(ky_spill *s, int class_, const char *name, size_t len)
{
    uint64_t bits[BLOCK_WORDS];

    if (s->filter == NULL &&
        (s->filter = calloc(FILTER_BLOCKS, BLOCK_WORDS * sizeof(uint64_t))) == NULL)
        no_memory();
    uint64_t *block = bits_of(s, hash_of(s, class_, name, len), bits);

    for (int i = 0; i < BLOCK_WORDS; i++)
        block[i] |= bits[i];
}

/* Whether it may be in results.db; false is certain. */
static bool noted(const ky_spill *s, int class_, const char *name, size_t len)
{
    uint64_t bits[BLOCK_WORDS];

    if (s->filter == NULL)
        return false;
    const uint64_t *block = bits_of(s, hash_of(s, class_, name, len), bits);

    for (int i = 0; i < BLOCK_WORDS; i++)
        if ((block[i] & bits[i]) != bits[i])
            return false;
    return true;
}

/* -- silence -- */

static void swap(ghost *a, ghost *b)
{
    ghost c = *a;

    *a = *b;
    *b = c;
}

static void add_ghost(ghosts *g, ghost one)
{
    if (g->n == g->cap) {
        size_t cap = g->cap > 0 ? 2 * g->cap : 64;
        ghost *more = realloc(g->row, cap * sizeof(*more));

        if (more == NULL)
            no_memory();
        g->row = more;
        g->cap = cap;
    }
    g->row[g->n] = one;
    for (size_t i = g->n++; i > 0 && g->row[i].at_ns < g->row[(i - 1) / 2].at_ns; i = (i - 1) / 2)
        swap(&g->row[i], &g->row[(i - 1) / 2]);
}

static void drop_ghost(ghosts *g)
{
    g->row[0] = g->row[--g->n];
    for (size_t i = 0, child; (child = 2 * i + 1) < g->n; i = child) {
        if (child + 1 < g->n && g->row[child + 1].at_ns < g->row[child].at_ns)
            child++;
        if (g->row[i].at_ns <= g->row[child].at_ns)
            break;
        swap(&g->row[i], &g->row[child]);
    }
}

static bool may_end(const ky_spill *s, int class_, int64_t n, bool ended)
{
    return s->p->cfg->classes[class_].end_after_us > 0 && n > 0 && !ended;
}

/* -- leaving -- */

static int lane_of(const ky_spill *s, uint32_t id)
{
    return (int)(id % (uint32_t)s->p->n_lanes);
}

/* False: not all that was done to it is committed, or too many sequences wait for their end. */
static bool let_leave(ky_spill *s, ky_known *k, bool last)
{
    int lane = lane_of(s, k->id), class_ = ky_roster_class(s->t, k);
    uint64_t needed = k->used && k->pos > s->all_pos ? k->pos : s->all_pos;
    uint32_t row = ky_roster_row(s->t, k);
    ghosts *g = &s->ghosts[class_];

    if (ky_lane_committed(s->p->lanes[lane]) < needed) {
        s->wants[lane] = needed;
        return false;
    }
    /* Not heard since it came back: then it is a ghost already. */
    if (may_end(s, class_, k->n, k->ended) && (!s->live || s->t->heard[row].at_ns != 0)) {
        if (!last && g->n >= GHOSTS + GHOSTS_EACH * (size_t)s->p->cfg->classes[class_].max_streams)
            return false;
        add_ghost(g, (ghost){ s->t->heard[row].at_ns, k->n, k->id });
    }
    note(s, class_, ky_names_text(&s->t->names, row), s->t->names.row[row].len);
    s->leave(s->arg, k);
    ky_roster_remove(s->t, k);
    KY_COUNT(s->p->count.spilled);
    return true;
}

static bool make_room(ky_spill *s, int class_, bool last)
{
    while (ky_roster_count(s->t, class_) >= s->p->cfg->classes[class_].max_streams)
        if (!let_leave(s, ky_roster_oldest(s->t, class_), last))
            return false;
    return true;
}

uint64_t ky_spill_wants(ky_spill *s, int lane)
{
    uint64_t pos = s->wants[lane];

    s->wants[lane] = 0;
    return pos;
}

void ky_spill_all_changed(ky_spill *s, uint64_t pos)
{
    s->all_pos = pos;
}

/* -- coming back -- */

static void restore_held(ky_spill *s, ky_known *k, const ky_saved_stream *saved, int class_)
{
    int features = ky_core_features(s->p, class_);
    const void *held = ky_extra_read(saved->extra, saved->extra_len, features).held;

    if (s->p->holds[class_] && held != NULL)
        memcpy(ky_roster_hold(s->t, k, (size_t)features), held, (size_t)features * sizeof(float));
}

/* Its position alone does not say: a label moves it, too, and a swap that begins all anew. */
static bool sampled_in_era(const ky_spill *s, const ky_row_state *row)
{
    return row->pos > atomic_load(&s->p->era_pos) && !row->lags;
}

static ky_known *restore(ky_spill *s, const ky_saved_stream *saved, int class_)
{
    size_t len = strlen(saved->name);
    ky_known *k = ky_roster_find(s->t, class_, saved->name, len);

    if (k == NULL)
        k = ky_roster_add(s->t, saved->row.stream, class_, saved->name, len);
    if (saved->model == NULL || saved->row.pos < k->pos) /* of a model that left its class */
        return k;
    k->n = saved->row.n;
    k->ts_us = saved->row.ts_us;
    k->ended = saved->row.ended;
    k->high = saved->row.seq_high;
    k->mask = saved->row.seq_mask;
    k->pos = saved->row.pos;
    k->era = sampled_in_era(s, &saved->row) ? s->t->era : 0;
    restore_held(s, k, saved, class_);
    return k;
}

void ky_spill_restore(ky_spill *s, const ky_saved_stream *saved, int class_, bool in_memory)
{
    if (in_memory) {
        restore(s, saved, class_);
        return;
    }
    ky_roster_number_taken(s->t, saved->row.stream);
    note(s, class_, saved->name, strlen(saved->name));
    if (saved->model != NULL && may_end(s, class_, saved->row.n, saved->row.ended))
        add_ghost(&s->ghosts[class_], (ghost){ 0, saved->row.n, saved->row.stream });
}

typedef struct found {
    ky_spill *s;
    int class_;
    ky_known *k;
} found;

static int found_row(const ky_saved_stream *saved, void *arg, ky_err *err)
{
    found *f = arg;

    (void)err;
    f->k = restore(f->s, saved, f->class_);
    return KY_OK;
}

static _Noreturn void cannot_read(int rc, const ky_err *err)
{
    ky_core_die(rc == KY_ECORRUPT ? EX_DATAERR : EX_IOERR, "accept",
                "a stream cannot be read back: %s", err->text);
}

/* NULL: results.db does not have it. */
static ky_known *read_back(ky_spill *s, int class_, const char *name, size_t len)
{
    found f = { s, class_, NULL };
    ky_err err;
    int rc = ky_results_stream_named(s->r, s->p->cfg->classes[class_].name, name, len, found_row,
                                     &f, &err);

    if (rc < 0)
        cannot_read(rc, &err);
    if (f.k != NULL)
        KY_COUNT(s->p->count.returned);
    return f.k;
}

enum ky_at_hand ky_spill_fetch(ky_spill *s, const ky_record *r, bool last, bool *ret_asked)
{
    const char *name = ky_record_stream(r);

    *ret_asked = false;
    if (ky_roster_find(s->t, r->class_, name, r->stream_len) != NULL)
        return KY_HERE;
    bool maybe = noted(s, r->class_, name, r->stream_len);

    if (!maybe && r->type != KY_REC_SAMPLE)
        return KY_NOWHERE;
    if (!make_room(s, r->class_, last))
        return KY_NO_ROOM;
    *ret_asked = maybe;
    return maybe && read_back(s, r->class_, name, r->stream_len) != NULL ? KY_HERE : KY_NOWHERE;
}

/* -- silence of those that are not here -- */

void ky_spill_hear_all(ky_spill *s, int64_t now_ns)
{
    s->live = true;
    for (int c = 0; c < s->p->cfg->n_classes; c++)
        for (size_t i = 0; i < s->ghosts[c].n; i++)
            s->ghosts[c].row[i].at_ns = now_ns;
}

typedef struct wanted {
    ky_spill *s;
    int class_;
    ghost g;
    ky_known *k;
    bool no_room, came;
} wanted;

/* In memory it is in the line of those who were heard, unless it has only been labelled since. */
static int ghost_row(const ky_saved_stream *saved, void *arg, ky_err *err)
{
    wanted *w = arg;
    ky_roster *t = w->s->t;
    ky_known *k = ky_roster_find(t, w->class_, saved->name, strlen(saved->name));

    (void)err;
    if (w->came) { /* the next of its models */
        restore(w->s, saved, w->class_);
    } else if (k != NULL) {
        bool moved_on = k->n != w->g.n || k->ended || t->heard[ky_roster_row(t, k)].at_ns != 0;

        w->k = moved_on ? NULL : k;
    } else if (saved->row.n == w->g.n && !saved->row.ended && !w->no_room) {
        w->no_room = !make_room(w->s, w->class_, true);
        w->came = !w->no_room;
        w->k = w->came ? restore(w->s, saved, w->class_) : NULL;
    }
    return KY_OK;
}

/* The stream if its sequence is to end; *ret_no_room: it is, but for that. */
static ky_known *come_of(ky_spill *s, int class_, ghost g, bool *ret_no_room)
{
    wanted w = { .s = s, .class_ = class_, .g = g };
    ky_err err;
    int rc = ky_results_stream_numbered(s->r, g.id, ghost_row, &w, &err);

    if (rc < 0)
        cannot_read(rc, &err);
    *ret_no_room = w.no_room;
    return w.k;
}

ky_known *ky_spill_silent(ky_spill *s, int64_t now_ns, int *looks, int64_t *ret_left_ns)
{
    s->waiting = 0;
    for (int c = 0; c < s->p->cfg->n_classes; c++) {
        ghosts *g = &s->ghosts[c];
        bool no_room = false;

        while (g->n > 0 && !no_room) {
            ghost first = g->row[0];
            int64_t left = first.at_ns + s->p->cfg->classes[c].end_after_us * 1000 - now_ns;

            if (left > 0 || *looks == 0) {
                left = left > 0 ? left : 0;
                *ret_left_ns = left < *ret_left_ns ? left : *ret_left_ns;
                break;
            }
            --*looks;
            drop_ghost(g);
            ky_known *k = come_of(s, c, first, &no_room);

            if (k != NULL)
                return k;
            if (no_room)
                add_ghost(g, first);
        }
        s->waiting += no_room;
    }
    return NULL;
}

int ky_spill_waiting(const ky_spill *s)
{
    return s->waiting;
}

/* -- the pipeline -- */

int ky_spill_new(ky_pipeline *p, ky_roster *t, void (*leave)(void *arg, const ky_known *k),
                 void *arg, ky_spill **ret, ky_err *err)
{
    ky_spill *s = calloc(1, sizeof(*s));
    char path[4096];

    if (s == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    *s = (ky_spill){ .p = p, .t = t, .leave = leave, .arg = arg };
    ky_names_draw_key(s->key);
    s->ghosts = calloc((size_t)p->cfg->n_classes + 1, sizeof(*s->ghosts));
    s->wants = calloc((size_t)p->n_lanes, sizeof(*s->wants));
    snprintf(path, sizeof(path), "%s/results.db", p->cfg->state_dir);
    int rc = s->ghosts == NULL || s->wants == NULL ? ky_fail(err, KY_ENOMEM, "no memory")
                                                   : ky_results_open(path, false, &s->r, err);

    if (rc < 0) {
        ky_spill_free(s);
        return rc;
    }
    ky_results_keep_few_pages(s->r);
    *ret = s;
    return KY_OK;
}

void ky_spill_free(ky_spill *s)
{
    if (s == NULL)
        return;
    for (int i = 0; s->ghosts != NULL && i < s->p->cfg->n_classes; i++)
        free(s->ghosts[i].row);
    ky_results_close(s->r);
    free(s->ghosts);
    free(s->wants);
    free(s->filter);
    free(s);
}
