#include "daemon/roster.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/core.h"

static void no_memory(void)
{
    ky_core_die(EX_OSERR, "accept", "no memory for more streams");
}

static ky_places by_use(const ky_roster *t)
{
    return (ky_places){ &t->known->use, sizeof(ky_known) };
}

static ky_places by_hearing(const ky_roster *t)
{
    return (ky_places){ &t->heard->place, sizeof(ky_heard) };
}

/* -- the table -- */

int ky_roster_init(ky_roster *t, const ky_config *cfg, const bool *holds)
{
    bool any_held = false, any_heard = false;

    *t = (ky_roster){ .cfg = cfg, .era = 1, .cap = 256 };
    ky_names_init(&t->names);
    for (int i = 0; i < cfg->n_classes; i++) {
        any_held |= holds[i];
        any_heard |= cfg->classes[i].end_after_us > 0;
    }
    t->using = calloc((size_t)cfg->n_classes + 1, sizeof(*t->using));
    t->known = malloc(t->cap * sizeof(*t->known));
    t->held = any_held ? calloc(t->cap, sizeof(*t->held)) : NULL;
    t->heard = any_heard ? malloc(t->cap * sizeof(*t->heard)) : NULL;
    if (t->using == NULL || t->known == NULL || (any_held && t->held == NULL) ||
        (any_heard && t->heard == NULL))
        return KY_ENOMEM;
    for (int i = 0; i < cfg->n_classes; i++)
        t->using[i] = (ky_using){ ky_line_empty, ky_line_empty, ky_line_empty };
    return KY_OK;
}

void ky_roster_done(ky_roster *t)
{
    for (uint32_t i = 0; t->held != NULL && i < t->names.n; i++)
        free(t->held[i]);
    ky_names_done(&t->names);
    free(t->using);
    free(t->known);
    free(t->held);
    free(t->heard);
}

static void *longer(void *p, uint32_t n, size_t size)
{
    p = realloc(p, n * size);
    if (p == NULL)
        no_memory();
    return p;
}

/* Of what is not used nothing is written: it stays out of memory. */
static void make_room(ky_roster *t, uint32_t row)
{
    if (row < t->cap)
        return;
    uint32_t cap = 2 * t->cap;

    t->known = longer(t->known, cap, sizeof(*t->known));
    if (t->held != NULL)
        t->held = longer(t->held, cap, sizeof(*t->held));
    if (t->heard != NULL)
        t->heard = longer(t->heard, cap, sizeof(*t->heard));
    t->cap = cap;
}

ky_known *ky_roster_find(const ky_roster *t, int class_, const char *name, size_t len)
{
    uint32_t row = ky_names_find(&t->names, (uint16_t)class_, name, len);

    return row != KY_NO_NAME ? &t->known[row] : NULL;
}

ky_known *ky_roster_add(ky_roster *t, uint32_t id, int class_, const char *name, size_t len)
{
    uint32_t row = ky_names_add(&t->names, (uint16_t)class_, name, len);

    if (row == KY_NO_NAME)
        no_memory();
    make_room(t, row);
    ky_known *k = &t->known[row];

    *k = (ky_known){ .ts_us = KY_NONE, .high = KY_NONE, .id = id };
    if (t->held != NULL)
        t->held[row] = NULL;
    if (t->heard != NULL)
        t->heard[row].at_ns = 0;
    ky_line_join(by_use(t), &t->using[class_].once, row);
    ky_roster_number_taken(t, id);
    return k;
}

void ky_roster_number_taken(ky_roster *t, uint32_t id)
{
    if (id >= t->next_id)
        t->next_id = id < KY_ROSTER_FULL ? id + 1 : KY_ROSTER_FULL;
}

static ky_line *line_of(const ky_roster *t, const ky_known *k)
{
    ky_using *u = &t->using[ky_roster_class(t, k)];

    return k->again ? &u->often : &u->once;
}

void ky_roster_remove(ky_roster *t, ky_known *k)
{
    uint32_t row = ky_roster_row(t, k);

    ky_roster_unheard(t, k);
    ky_roster_let_go(t, k);
    ky_line_leave(by_use(t), line_of(t, k), row);
    ky_names_remove(&t->names, row);
}

uint32_t ky_roster_count(const ky_roster *t, int class_)
{
    return t->using[class_].once.n + t->using[class_].often.n;
}

/* -- use -- */

void ky_roster_used(ky_roster *t, ky_known *k, uint64_t pos)
{
    uint32_t row = ky_roster_row(t, k);

    ky_line_leave(by_use(t), line_of(t, k), row);
    k->again = k->used;
    k->used = true;
    k->pos = pos;
    ky_line_join(by_use(t), line_of(t, k), row);
}

void ky_roster_new_era(ky_roster *t)
{
    t->era = t->era % KY_ERA_MAX + 1;
}

static int by_pos(const void *a, const void *b)
{
    const ky_known *const *x = a, *const *y = b;

    return ((*x)->pos > (*y)->pos) - ((*x)->pos < (*y)->pos);
}

void ky_roster_sort(ky_roster *t)
{
    ky_known **all = malloc(((size_t)t->names.live + 1) * sizeof(*all));
    size_t n = 0;

    if (all == NULL)
        no_memory();
    for (uint32_t i = 0; i < t->names.n; i++)
        if (t->names.row[i].len != KY_NAME_GONE)
            all[n++] = &t->known[i];
    qsort(all, n, sizeof(*all), by_pos);
    for (int i = 0; i < t->cfg->n_classes; i++)
        t->using[i].once = t->using[i].often = ky_line_empty;
    for (size_t i = 0; i < n; i++) {
        all[i]->again = true;
        ky_line_join(by_use(t), line_of(t, all[i]), ky_roster_row(t, all[i]));
    }
    free(all);
}

ky_known *ky_roster_oldest(const ky_roster *t, int class_)
{
    const ky_using *u = &t->using[class_];
    /* Those used once may have an eighth of the places before they are the first to go. */
    const ky_line *l =
        u->once.n > 0 && (u->once.n > u->often.n / 8 || u->often.n == 0) ? &u->once : &u->often;

    return l->first != KY_NO_ROW ? &t->known[l->first] : NULL;
}

/* -- held values -- */

float *ky_roster_held(const ky_roster *t, const ky_known *k)
{
    return t->held != NULL ? t->held[ky_roster_row(t, k)] : NULL;
}

float *ky_roster_hold(ky_roster *t, ky_known *k, size_t values)
{
    float **held = &t->held[ky_roster_row(t, k)];

    if (*held == NULL && (*held = malloc(values * sizeof(float))) == NULL)
        no_memory();
    return *held;
}

void ky_roster_let_go(ky_roster *t, ky_known *k)
{
    if (t->held == NULL)
        return;
    free(t->held[ky_roster_row(t, k)]);
    t->held[ky_roster_row(t, k)] = NULL;
}

/* -- silence -- */

void ky_roster_unheard(ky_roster *t, ky_known *k)
{
    uint32_t row = ky_roster_row(t, k);

    if (t->heard == NULL || t->heard[row].at_ns == 0)
        return;
    ky_line_leave(by_hearing(t), &t->using[ky_roster_class(t, k)].heard, row);
    t->heard[row].at_ns = 0;
}

void ky_roster_heard(ky_roster *t, ky_known *k, int64_t now_ns)
{
    int class_ = ky_roster_class(t, k);
    uint32_t row = ky_roster_row(t, k);

    if (t->cfg->classes[class_].end_after_us == 0 || k->ended)
        return;
    ky_roster_unheard(t, k);
    ky_line_join(by_hearing(t), &t->using[class_].heard, row);
    t->heard[row].at_ns = now_ns > 0 ? now_ns : 1;
}

void ky_roster_hear_all(ky_roster *t, int64_t now_ns)
{
    for (uint32_t i = 0; i < t->names.n; i++)
        if (t->names.row[i].len != KY_NAME_GONE && t->known[i].n > 0)
            ky_roster_heard(t, &t->known[i], now_ns);
}

ky_known *ky_roster_silent(const ky_roster *t, int64_t now_ns, int64_t *ret_left_ns)
{
    for (int i = 0; i < t->cfg->n_classes; i++) {
        uint32_t row = t->using[i].heard.first;

        if (row == KY_NO_ROW)
            continue;
        int64_t left = t->heard[row].at_ns + t->cfg->classes[i].end_after_us * 1000 - now_ns;

        if (left <= 0)
            return &t->known[row];
        if (left < *ret_left_ns)
            *ret_left_ns = left;
    }
    return NULL;
}
