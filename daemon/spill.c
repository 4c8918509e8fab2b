#include "daemon/spill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/ghosts.h"
#include "daemon/lane.h"
#include "daemon/log.h"

enum {
    BLOCK_WORDS = 8,         /* of the filter: a line of cache */
    FILTER_BLOCKS = 1 << 18, /* 16 MB: of ten million names one in fifty looks known that is not */
    PROBES = 4,
    /* Sequences out of memory that end at their time; the others when their streams come back. */
    GHOSTS = 100,
    GHOSTS_EACH = 10, /* for each stream that may be in memory */
    MARKS = 512,
};

/* How long the journal was, and when: what ends before there was heard by then. */
typedef struct mark {
    int64_t at_ns;
    uint64_t pos;
} mark;

/* The last end_after of a class, two marks to each 255th of it. */
typedef struct marks {
    mark row[MARKS];
    uint32_t first, n;
    uint64_t silent; /* what ends before here was heard longer ago than end_after */
} marks;

struct ky_spill {
    ky_pipeline *p;
    ky_roster *t;
    ky_results *r;
    void (*leave)(void *arg, const ky_known *k);
    void *arg;
    uint64_t key[2];
    uint64_t *filter;  /* NULL: every stream is in memory */
    ky_ghosts *ghosts; /* [classes] */
    marks *marks;      /* [classes] */
    uint64_t *wants;   /* [lanes] */
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

static int64_t end_after_ns(const ky_spill *s, int class_)
{
    return s->p->cfg->classes[class_].end_after_us * 1000;
}

/* The journal ends at pos now. */
static void set_mark(marks *m, int64_t now_ns, uint64_t pos, int64_t end_after_ns)
{
    for (; m->n > 0 && now_ns - m->row[m->first].at_ns >= end_after_ns; m->n--) {
        m->silent = m->row[m->first].pos;
        m->first = (m->first + 1) % MARKS;
    }
    uint32_t end = m->first + m->n;

    if (m->n > 0 && m->row[(end - 1) % MARKS].pos == pos)
        return;
    if (m->n > 1 && now_ns - m->row[(end - 2) % MARKS].at_ns < end_after_ns / (MARKS / 2 - 1))
        m->n--;
    m->row[(m->first + m->n++) % MARKS] = (mark){ now_ns, pos };
}

static bool may_end(const ky_spill *s, int class_, int64_t n, bool ended)
{
    return s->p->cfg->classes[class_].end_after_us > 0 && n > 0 && !ended;
}

/* A full table leaves it to what set_mark knows. */
static void add_ghost(ky_spill *s, int class_, uint32_t id, int64_t at_ns)
{
    ky_ghosts *g = &s->ghosts[class_];

    if (g->n < GHOSTS + GHOSTS_EACH * (uint64_t)s->p->cfg->classes[class_].max_streams)
        ky_ghosts_add(g, id, at_ns);
    else
        KY_COUNT(s->p->count.ends_late);
}

void ky_spill_heard(ky_spill *s, const ky_known *k)
{
    int class_ = ky_roster_class(s->t, k);

    if (end_after_ns(s, class_) > 0 && s->t->heard[ky_roster_row(s->t, k)].at_ns == 0)
        ky_ghosts_remove(&s->ghosts[class_], k->id);
}

/* Of one that came back: whether it was silent for so long, and nobody counted it. */
static bool is_over(const ky_spill *s, int class_, const ky_known *k)
{
    return s->live && may_end(s, class_, k->n, k->ended) && k->pos <= s->marks[class_].silent &&
           !ky_ghosts_has(&s->ghosts[class_], k->id);
}

/* -- leaving -- */

static int lane_of(const ky_spill *s, uint32_t id)
{
    return (int)(id % (uint32_t)s->p->n_lanes);
}

/* False: not all that was done to it is committed. */
static bool let_leave(ky_spill *s, ky_known *k)
{
    int lane = lane_of(s, k->id), class_ = ky_roster_class(s->t, k);
    uint64_t needed = k->used && k->pos > s->all_pos ? k->pos : s->all_pos;
    uint32_t row = ky_roster_row(s->t, k);

    if (ky_lane_committed(s->p->lanes[lane]) < needed) {
        s->wants[lane] = needed;
        return false;
    }
    /* Not heard since it came back: then it is what it was. */
    if (may_end(s, class_, k->n, k->ended) && (!s->live || s->t->heard[row].at_ns != 0))
        add_ghost(s, class_, k->id, s->t->heard[row].at_ns);
    note(s, class_, ky_names_text(&s->t->names, row), s->t->names.row[row].len);
    s->leave(s->arg, k);
    ky_roster_remove(s->t, k);
    KY_COUNT(s->p->count.spilled);
    return true;
}

static bool make_room(ky_spill *s, int class_)
{
    while (ky_roster_count(s->t, class_) >= s->p->cfg->classes[class_].max_streams)
        if (!let_leave(s, ky_roster_oldest(s->t, class_)))
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
        add_ghost(s, class_, saved->row.stream, 0);
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

enum ky_at_hand ky_spill_fetch(ky_spill *s, const ky_record *r, bool *ret_asked)
{
    const char *name = ky_record_stream(r);

    *ret_asked = false;
    ky_known *here = ky_roster_find(s->t, r->class_, name, r->stream_len);

    if (here != NULL) /* one that was not heard since it came back is in nobody's count */
        return end_after_ns(s, r->class_) > 0 &&
                       s->t->heard[ky_roster_row(s->t, here)].at_ns == 0 &&
                       is_over(s, r->class_, here)
                   ? KY_OVER
                   : KY_HERE;
    bool maybe = noted(s, r->class_, name, r->stream_len);

    if (!maybe && r->type != KY_REC_SAMPLE)
        return KY_NOWHERE;
    if (!make_room(s, r->class_))
        return KY_NO_ROOM;
    *ret_asked = maybe;
    ky_known *k = maybe ? read_back(s, r->class_, name, r->stream_len) : NULL;

    if (k == NULL)
        return KY_NOWHERE;
    if (!s->live) /* none is heard before the start; when it leaves it is one again */
        ky_ghosts_remove(&s->ghosts[r->class_], k->id);
    return is_over(s, r->class_, k) ? KY_OVER : KY_HERE;
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
    ky_known *k;
    bool no_room, came;
} wanted;

/* It may be in memory, labelled since it came back. */
static int ghost_row(const ky_saved_stream *saved, void *arg, ky_err *err)
{
    wanted *w = arg;

    (void)err;
    if (w->k == NULL && !w->no_room) { /* the first row */
        w->k = ky_roster_find(w->s->t, w->class_, saved->name, strlen(saved->name));
        w->came = w->k == NULL && make_room(w->s, w->class_);
        w->no_room = w->k == NULL && !w->came;
    }
    if (w->came)
        w->k = restore(w->s, saved, w->class_);
    return KY_OK;
}

/* The stream of a sequence that is to end; NULL: there is no room for it, or it is gone. */
static ky_known *come_of(ky_spill *s, int class_, uint32_t id, bool *ret_no_room)
{
    wanted w = { .s = s, .class_ = class_ };
    ky_err err;
    int rc = ky_results_stream_numbered(s->r, id, ghost_row, &w, &err);

    if (rc < 0)
        cannot_read(rc, &err);
    *ret_no_room = w.no_room;
    return w.k;
}

/* As ky_spill_silent, of a class. */
static ky_known *silent_of(ky_spill *s, int class_, int64_t now_ns, int *looks,
                           int64_t *ret_left_ns)
{
    ky_ghosts *g = &s->ghosts[class_];

    while (g->n > 0) {
        uint32_t id = g->row[0].id;
        int64_t left = g->row[0].at_ns + end_after_ns(s, class_) - now_ns;
        bool no_room;

        if (left > 0 || *looks == 0) {
            left = left > 0 ? left : 0;
            *ret_left_ns = left < *ret_left_ns ? left : *ret_left_ns;
            return NULL;
        }
        --*looks;
        ky_known *k = come_of(s, class_, id, &no_room);

        if (no_room) {
            s->waiting++;
            return NULL;
        }
        ky_ghosts_remove(g, id);
        if (k != NULL)
            return k;
    }
    return NULL;
}

void ky_spill_look(ky_spill *s, int64_t now_ns)
{
    for (int c = 0; c < s->p->cfg->n_classes; c++)
        if (end_after_ns(s, c) > 0)
            set_mark(&s->marks[c], now_ns, ky_journal_end(s->p->journal), end_after_ns(s, c));
}

ky_known *ky_spill_silent(ky_spill *s, int64_t now_ns, int *looks, int64_t *ret_left_ns)
{
    ky_known *k = NULL;

    s->waiting = 0;
    for (int c = 0; k == NULL && c < s->p->cfg->n_classes; c++) {
        if (end_after_ns(s, c) == 0)
            continue;
        k = silent_of(s, c, now_ns, looks, ret_left_ns);
    }
    return k;
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
    s->marks = calloc((size_t)p->cfg->n_classes + 1, sizeof(*s->marks));
    s->wants = calloc((size_t)p->n_lanes, sizeof(*s->wants));
    snprintf(path, sizeof(path), "%s/results.db", p->cfg->state_dir);
    int rc = s->ghosts == NULL || s->marks == NULL || s->wants == NULL
                 ? ky_fail(err, KY_ENOMEM, "no memory")
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
        ky_ghosts_done(&s->ghosts[i]);
    ky_results_close(s->r);
    free(s->ghosts);
    free(s->marks);
    free(s->wants);
    free(s->filter);
    free(s);
}
