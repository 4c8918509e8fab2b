/* A batch: into the journal, onto the disk, and behind it to the lanes. */
#include "daemon/accept_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/lane.h"
#include "daemon/rows.h"

#define NOWHERE UINT64_MAX /* the position of a record that the journal did not take */

/* -- the journal -- */

/* Says once that the disk is full, and once that it no longer is. */
static void show_full(ky_accept *a, bool full, const char *detail)
{
    _Atomic bool *shown = &a->p->waits.journal;

    if (full == atomic_load_explicit(shown, memory_order_relaxed))
        return;
    atomic_store(shown, full);
    ky_accept_tell(a, full ? "warn" : "info", "journal", full ? "full" : "room", detail);
    if (!full)
        ky_complaint_over(&a->full, "journal", NULL, "%s", detail);
}

void ky_accept_give_up(ky_accept *a, const char *why)
{
    ky_err err;
    int rc = ky_journal_sync(a->p->journal, &err); /* what has found room counts */

    if (rc < 0 && !ky_journal_full(rc))
        ky_core_die(EX_IOERR, "journal", "%s", err.text);
    atomic_store(&a->p->waits.journal_given_up, true);
    ky_log(KY_WARN, "journal", NULL, "%s; kymod stops: what is not in the journal is let go", why);
}

/* Whether a call to it is to be made again, as the disk is full: after a while. Nothing is taken
 * meanwhile, so the sources wait, and nobody is told that a record is on disk which is not. The
 * writer gets on with what is: then the archiver can make room. */
static bool again(ky_accept *a, int rc, ky_err *err)
{
    enum { RETRY_US = 100000 };
    ky_journal *j = a->p->journal;

    if (ky_accept_gave_up(a))
        return false;
    if (rc == KY_OK) {
        show_full(a, false, "it is being written again");
        return false;
    }
    if (ky_journal_full(rc) && atomic_load(&a->wanted) > ky_journal_durable(j))
        rc = ky_journal_sync(j, err);
    if (rc < 0 && !ky_journal_full(rc))
        ky_core_die(EX_IOERR, "journal", "%s", err->text);
    ky_bell_ring(&a->p->writer->bell);
    if (rc == KY_OK)
        return true;
    if (ky_core_gives_up(a->p)) {
        ky_accept_give_up(a, err->text);
        return false;
    }
    show_full(a, true, err->text);
    KY_COUNT(a->p->count.journal_retries);
    ky_complain(&a->full, KY_WARN, "journal", NULL, "%s; the sources wait", err->text);
    ky_bell_wait(&a->bell, ky_bell_listen(&a->bell), RETRY_US);
    return true;
}

void ky_accept_sync(ky_accept *a)
{
    ky_err err;

    while (again(a, ky_journal_sync(a->p->journal, &err), &err))
        continue;
}

/* -- the stage -- */

ky_staged *ky_accept_stage(ky_accept *a, size_t record)
{
    size_t need = a->stage_len + sizeof(ky_staged) + record;

    if (need > a->stage_cap) {
        size_t cap = need + KY_BATCH_BYTES;
        char *more = realloc(a->stage, cap);

        if (more == NULL)
            ky_core_die(EX_OSERR, "accept", "no memory");
        a->stage = more;
        a->stage_cap = cap;
    }
    ky_staged *s = (ky_staged *)(a->stage + a->stage_len);

    *s = (ky_staged){ .sender = KY_NO_PEER };
    return s;
}

static ky_staged *staged_at(ky_accept *a, size_t at)
{
    return (ky_staged *)(a->stage + at);
}

static size_t staged_size(ky_accept *a, size_t at)
{
    return sizeof(ky_staged) + ky_staged_record(staged_at(a, at))->size;
}

void ky_accept_append(ky_accept *a, ky_staged *s)
{
    ky_record *r = ky_staged_record(s);
    int rc = KY_EFULL;
    ky_err err;

    while (!ky_accept_gave_up(a) && again(a, rc = ky_journal_append(a->p->journal, r, &err), &err))
        continue;
    if (rc < 0)
        r->pos = NOWHERE;
    s->file_first = ky_journal_file_first(a->p->journal);
    s->new_file = s->file_first != a->file_first;
    a->file_first = s->file_first;
    a->stage_len += sizeof(*s) + r->size;
}

/* -- behind the disk -- */

static void add_reject(ky_accept *a, const ky_record *r)
{
    bool known = r->source < a->p->cfg->n_sources;

    ky_rows_reject(ky_accept_unit(a), r, known ? a->p->cfg->sources[r->source].name : "");
    KY_COUNT(a->p->count.rejected);
    ky_reasons_count(&a->p->reasons, ky_record_text(r), r->text_len);
    ky_accept_begin_clock(a);
}

void ky_accept_add_version(ky_accept *a, int model, uint32_t version, uint64_t hash, uint64_t pos)
{
    *KY_ADD(&ky_accept_unit(a)->swaps) =
        (ky_row_swap){ .pos = pos, .model = (uint16_t)model, .version = version, .hash = hash };
    atomic_store(&a->p->current[model], version);
    ky_accept_begin_clock(a);
}

void ky_accept_imported(ky_accept *a, int model, uint64_t hash)
{
    if (hash != a->file[model] || hash == a->imported[model])
        return;
    a->imported[model] = hash;
    a->imported_dirty[model] = true;
    ky_accept_begin_clock(a);
}

/* Streams that are not in memory begin anew when they come back. */
static void note_reset(ky_accept *a, int model, uint64_t pos)
{
    ky_rows_source(ky_accept_unit(a), KY_ACCEPT_RESET, a->p->cfg->models[model].name,
                   strlen(a->p->cfg->models[model].name), NULL, (int64_t)pos);
}

static void add_swap(ky_accept *a, const ky_record *r)
{
    const ky_swap *swap = ky_record_body(r);
    int model = ky_served_model(a->p->cfg, swap->model);
    char object[KY_NAME_MAX + 16], detail[120];

    if (model < 0)
        return;
    ky_accept_add_version(a, model, swap->version, swap->new_hash, r->pos);
    ky_accept_imported(a, model, swap->new_hash);
    if (swap->policy == KY_SWAP_RESET)
        note_reset(a, model, ky_record_end(r));
    snprintf(object, sizeof(object), "model %s", swap->model);
    snprintf(detail, sizeof(detail), "version %u, %s", swap->version,
             swap->policy == KY_SWAP_RESET ? "all streams from zeros at once"
                                           : "each stream when it next starts");
    ky_accept_tell(a, "info", object, "swap", detail);
    KY_COUNT(a->p->count.swaps);
}

void ky_accept_serve_writer(ky_accept *a)
{
    uint64_t wanted = atomic_load(&a->wanted);

    if (a->p->cfg->journal == KY_JOURNAL_NO || wanted <= ky_journal_durable(a->p->journal))
        return;
    ky_accept_sync(a);
    ky_bell_ring(&a->p->writer->bell);
}

/* Waits for room; the writer is served meanwhile, as the lane may be waiting for it. */
static void send(ky_accept *a, int lane, const ky_record *r)
{
    ky_queue *q = ky_lane_queue(a->p->lanes[lane]);
    void *to;

    for (;;) {
        uint32_t heard = ky_bell_listen(&a->bell);

        if ((to = ky_queue_reserve(q, r->size)) != NULL)
            break;
        ky_queue_ring(q);
        ky_accept_serve_writer(a);
        ky_bell_wait(&a->bell, heard, -1);
    }
    memcpy(to, r, r->size);
    ky_queue_commit(q, r->size);
    a->sent[lane] = ky_record_is_mark(r) ? r->pos : ky_record_end(r);
}

void ky_accept_send_all(ky_accept *a, const ky_record *r)
{
    for (int i = 0; i < a->p->n_lanes; i++)
        send(a, i, r);
}

void ky_accept_send_mark(ky_accept *a, int type, uint64_t pos)
{
    ky_record mark = { .size = sizeof(mark), .type = (uint8_t)type, .pos = pos };

    ky_accept_send_all(a, &mark);
}

void ky_accept_ring_lanes(ky_accept *a)
{
    for (int i = 0; i < a->p->n_lanes; i++)
        ky_queue_ring(ky_lane_queue(a->p->lanes[i]));
}

void ky_accept_route(ky_accept *a, const ky_record *r)
{
    if (r->type == KY_REC_SWAP) {
        add_swap(a, r);
        ky_spill_all_changed(a->spill, ky_record_end(r));
        ky_accept_send_all(a, r);
    } else if (r->type == KY_REC_REJECT) {
        add_reject(a, r);
    } else {
        send(a, (int)(r->stream % (uint32_t)a->p->n_lanes), r);
    }
}

void ky_accept_mark_idle(ky_accept *a)
{
    for (int i = 0; i < a->p->n_lanes; i++) {
        ky_record mark = { .size = sizeof(mark), .type = KY_REC_MARK, .pos = a->routed };

        if (a->sent[i] < a->routed)
            send(a, i, &mark);
    }
    ky_accept_ring_lanes(a);
}

/* Gave up: what of the stage is on disk is as always, the rest as if it had never come. */
static void cut_stage(ky_accept *a)
{
    uint64_t durable = ky_journal_durable(a->p->journal), end = a->routed;
    size_t at = 0;
    ky_err err;

    for (; at < a->stage_len; at += staged_size(a, at)) {
        const ky_record *r = ky_staged_record(staged_at(a, at));

        if (r->pos > durable || ky_record_end(r) > durable)
            break;
        end = ky_record_end(r);
    }
    for (size_t i = at; i < a->stage_len; i += staged_size(a, i)) {
        const ky_staged *s = staged_at(a, i);
        const ky_record *r = ky_staged_record(staged_at(a, i));

        if (s->sender != KY_NO_PEER)
            ky_books_untake(&a->books.peers[s->sender], r);
        ky_accept_let_go(a, r->source, r);
    }
    a->stage_len = at;
    if (ky_journal_cut(a->p->journal, end, &err) < 0)
        ky_core_die(EX_IOERR, "journal", "%s", err.text);
}

void ky_accept_tell_let_go(ky_accept *a)
{
    uint64_t n = KY_COUNTED_AT(a->p->count.let_go);
    char detail[80];

    if (!ky_accept_gave_up(a))
        return;
    snprintf(detail, sizeof(detail), "%llu messages that nobody sends again",
             (unsigned long long)n);
    ky_accept_tell(a, "warn", "journal", "let go", detail);
    ky_log(KY_WARN, "journal", NULL, "let go: %s", detail);
}

void ky_accept_finish_batch(ky_accept *a)
{
    enum ky_journal_mode mode = a->p->cfg->journal;
    ky_err err;

    if (mode == KY_JOURNAL_SYNC)
        ky_accept_sync(a);
    while (mode == KY_JOURNAL_ASYNC && again(a, ky_journal_flush(a->p->journal, &err), &err))
        continue;
    if (ky_accept_gave_up(a))
        cut_stage(a);
    KY_COUNT(a->p->count.batches);
    for (size_t at = 0; at < a->stage_len; at += staged_size(a, at))
        ky_accept_acknowledge(a, staged_at(a, at));
    ky_accept_pay_owed(a);
    for (size_t at = 0; at < a->stage_len; at += staged_size(a, at)) {
        ky_staged *s = staged_at(a, at);
        ky_record *r = ky_staged_record(s);

        if (s->new_file)
            ky_accept_send_mark(a, KY_REC_CONFIG, s->file_first);
        ky_accept_route(a, r);
        a->routed = ky_record_end(r);
    }
    a->stage_len = 0;
    ky_accept_begin_clock(a);
    ky_accept_ring_lanes(a);
}

/* -- streams out of memory -- */

void ky_accept_send_leave(void *arg, const ky_known *k)
{
    ky_accept *a = arg;
    ky_record mark = {
        .size = sizeof(mark), .type = KY_REC_LEAVE, .pos = a->routed, .stream = k->id
    };

    send(a, (int)(k->id % (uint32_t)a->p->n_lanes), &mark);
}

void ky_accept_ask_for_room(ky_accept *a)
{
    for (int i = 0; i < a->p->n_lanes; i++) {
        uint64_t wanted = ky_spill_wants(a->spill, i);
        ky_record mark = { .size = sizeof(mark), .type = KY_REC_COMMIT, .pos = a->routed };

        if (wanted == 0 || a->asked[i] >= wanted)
            continue;
        a->asked[i] = a->routed;
        send(a, i, &mark);
        ky_queue_ring(ky_lane_queue(a->p->lanes[i]));
    }
}
