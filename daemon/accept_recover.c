/* What results.db and the journal's tail know goes into the tables, the tail to the lanes. */
#include "daemon/accept_own.h"

#include <string.h>

#include "daemon/lane.h"

/* -- from results.db -- */

void ky_accept_restore_stream(ky_accept *a, const ky_saved_stream *s, int class_, bool in_memory)
{
    if (class_ < 0) /* no longer configured: its number stays its own */
        ky_roster_number_taken(&a->books.streams, s->row.stream);
    else
        ky_spill_restore(a->spill, s, class_, in_memory);
}

void ky_accept_restore_source(ky_accept *a, const char *source, const char *key,
                              const uint8_t session[KY_SESSION], int64_t number)
{
    int model = ky_served_model(a->p->cfg, key);

    if (strcmp(source, KY_ACCEPT_JOURNAL) == 0)
        a->booked = (uint64_t)number;
    if (strcmp(source, KY_ACCEPT_RESET) == 0 && model >= 0)
        for (int i = 0; i < a->p->n_lanes; i++)
            ky_lane_set_reset(a->p->lanes[i], model, (uint64_t)number);
    if (strcmp(source, KY_ACCEPT_MODEL) == 0 && model >= 0)
        a->imported[model] = (uint64_t)number;
    for (int i = 0; i < a->p->cfg->n_sources; i++) {
        if (strcmp(a->p->cfg->sources[i].name, source) != 0)
            continue;
        ky_peer *s = ky_books_add_peer(&a->books, a->ports[i].delivery, i, key, strlen(key));

        s->begun = true;
        s->last = (uint64_t)number;
        memcpy(s->session, session, KY_SESSION);
    }
}

static void replay_sender(ky_accept *a, const ky_record *r)
{
    if (r->source >= a->p->cfg->n_sources || r->sender_len == 0 || !(r->flags & KY_LAST) ||
        a->ports[r->source].delivery == KY_AT_MOST_ONCE ||
        (a->ports[r->source].delivery == KY_ACKNOWLEDGED && r->number == 0))
        return;
    ky_peer *p = ky_books_peer(&a->books, r->source, ky_record_sender(r), r->sender_len);

    if (p == NULL)
        p = ky_books_add_peer(&a->books, a->ports[r->source].delivery, r->source,
                              ky_record_sender(r), r->sender_len);
    if (a->ports[r->source].delivery == KY_ACKNOWLEDGED)
        ky_books_heard(&a->books, p);
    ky_books_took(&a->books, p, r);
    ky_accept_begin_clock(a);
}

/* Recovery: nothing else is to be done meanwhile. */
static void fetch_waiting(ky_accept *a, const ky_record *r)
{
    for (bool asked;;) {
        uint32_t heard = ky_bell_listen(&a->bell);

        if (ky_spill_fetch(a->spill, r, &asked) != KY_NO_ROOM)
            return;
        ky_accept_ask_for_room(a);
        ky_accept_ring_lanes(a);
        ky_accept_serve_writer(a);
        ky_bell_wait(&a->bell, heard, -1);
    }
}

static void replay_stream(ky_accept *a, const ky_record *r)
{
    ky_roster *t = &a->books.streams;

    fetch_waiting(a, r);
    ky_known *k = ky_roster_find(t, r->class_, ky_record_stream(r), r->stream_len);

    if (k == NULL)
        k = ky_roster_add(t, r->stream, r->class_, ky_record_stream(r), r->stream_len);
    if (r->pos < k->pos)
        return;
    KY_COUNT(a->p->count.recovered);
    if (r->type == KY_REC_SAMPLE) {
        if (r->pos >= a->booked)
            ky_accept_tell_order(a, r, ky_books_look(&a->books, k, r));
        ky_books_sample(&a->books, k, r);
    } else if (r->type == KY_REC_END && r->n == k->n) {
        ky_books_end(&a->books, k);
    } else if (r->type == KY_REC_FORGET) {
        ky_books_forget(&a->books, k);
    }
    ky_roster_used(t, k, ky_record_end(r));
}

/* Its row is committed, but not all lanes have passed it. */
static void swap_again(ky_accept *a, const ky_record *r)
{
    const ky_swap *swap = ky_record_body(r);
    int model = ky_served_model(a->p->cfg, swap->model);

    if (model >= 0)
        atomic_store(&a->p->current[model], swap->version);
    ky_spill_all_changed(a->spill, ky_record_end(r));
    ky_accept_send_all(a, r);
}

static void replayed(ky_accept *a, const ky_record *r)
{
    a->routed = ky_record_end(r);
    ky_accept_begin_clock(a);
    ky_accept_ring_lanes(a);
    ky_accept_tick(a);
}

void ky_accept_replay(ky_accept *a, const ky_record *r)
{
    if (r->pos >= a->booked && r->type != KY_REC_CONFIG)
        replay_sender(a, r);
    if (r->type == KY_REC_CONFIG) {
        ky_accept_send_mark(a, KY_REC_CONFIG, r->pos);
    } else if (r->type == KY_REC_REJECT || r->type == KY_REC_SWAP) {
        if (r->pos >= a->booked)
            ky_accept_route(a, r);
        else if (r->type == KY_REC_SWAP)
            swap_again(a, r);
    } else {
        replay_stream(a, r);
        ky_accept_route(a, r);
    }
    replayed(a, r);
}

void ky_accept_leave_out(ky_accept *a, const ky_record *r)
{
    if (r->pos >= a->booked)
        replay_sender(a, r);
    ky_roster_number_taken(&a->books.streams, r->stream);
    replayed(a, r);
}

void ky_accept_live(ky_accept *a, uint64_t pos)
{
    a->routed = a->routed > pos ? a->routed : pos;
    atomic_store(&a->p->era_pos, a->p->live_from);
}

void ky_accept_note_file(ky_accept *a, int model, uint64_t hash)
{
    a->file[model] = hash;
}

bool ky_accept_file_waits(ky_accept *a, int model, bool in_force)
{
    if (in_force)
        ky_accept_imported(a, model, a->file[model]);
    return a->imported[model] != a->file[model];
}

void ky_accept_note_version(ky_accept *a, const ky_version *v)
{
    ky_accept_add_version(a, v->model, v->version, v->hash, 0);
}
