/* The accept stage's books: senders, partitions, streams, and the table of names. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/books.h"
#include "models/rng.h"

typedef struct fixture {
    ky_class_cfg classes[2];
    ky_config cfg;
    bool holds[2];
    ky_books b;
    char forgotten[16]; /* the last sender that was */
    union {
        ky_record r;
        char bytes[2048];
    } u;
} fixture;

static void forget(void *arg, const ky_peer *p, const char *name, size_t len)
{
    fixture *f = arg;

    (void)p;
    snprintf(f->forgotten, sizeof(f->forgotten), "%.*s", (int)len, name);
}

static int setup(void **state)
{
    static fixture f;

    memset(&f, 0, sizeof(f));
    f.classes[0] =
        (ky_class_cfg){ .name = (char *)(uintptr_t) "pumps", .max_streams = 3, .end_after_us = 1 };
    f.classes[1] = (ky_class_cfg){ .name = (char *)(uintptr_t) "fans", .max_streams = 3 };
    f.cfg = (ky_config){ .classes = f.classes, .n_classes = 2, .max_senders = 2 };
    f.holds[1] = true;
    *state = &f;
    return ky_books_init(&f.b, &f.cfg, f.holds, forget, &f);
}

static int teardown(void **state)
{
    ky_books_done(&((fixture *)*state)->b);
    return 0;
}

/* A sample of one step and two values. */
static ky_record *sample(fixture *f, int class_, const char *stream, int64_t seq, float a, float b)
{
    ky_record *r = &f->u.r;
    size_t len = strlen(stream);
    float x[2] = { a, b };

    memset(&f->u, 0, sizeof(f->u));
    *r = (ky_record){ .type = KY_REC_SAMPLE,
                      .flags = KY_LAST,
                      .class_ = (uint16_t)class_,
                      .seq = seq,
                      .n = KY_NONE,
                      .steps = 1,
                      .features = 2,
                      .body_len = 8,
                      .stream_len = (uint16_t)len,
                      .size = (uint32_t)ky_record_size(0, len, 0, 8) };
    memcpy(r + 1, stream, len);
    memcpy((char *)(uintptr_t)ky_record_body(r), x, sizeof(x));
    return r;
}

static enum ky_verdict judge(fixture *f, bool counted, uint32_t holes, char *reason)
{
    enum ky_seen seen;
    ky_known *k;

    return ky_books_judge(&f->b, counted, holes, &f->u.r, &k, &seen, reason);
}

static ky_record *message(fixture *f, const char *sender, int session, uint64_t number)
{
    ky_record *r = &f->u.r;
    size_t len = strlen(sender);

    memset(&f->u, 0, sizeof(f->u));
    *r = (ky_record){ .type = KY_REC_SAMPLE, .number = number, .sender_len = (uint16_t)len };
    memset(r->session, session, KY_SESSION);
    memcpy(r + 1, sender, len);
    return r;
}

/* What the books say, and, if it is the next, that it was taken. */
static enum ky_next arrives(fixture *f, enum ky_delivery d, const char *sender, int session,
                            uint64_t number)
{
    ky_record *r = message(f, sender, session, number);
    ky_peer *p;
    enum ky_next is = ky_books_next(&f->b, d, 0, r, &p);

    if (is == KY_NEXT && p != NULL)
        ky_books_took(&f->b, p, r);
    return is;
}

static void only_the_next_number_of_a_session_is_taken(void **state)
{
    fixture *f = *state;

    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 1), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 3), KY_NEXT_AHEAD);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 2), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 2), KY_NEXT_KNOWN);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 1), KY_NEXT_KNOWN);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 3), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, UINT64_MAX), KY_NEXT_AHEAD);
}

static void an_unknown_session_must_begin_at_one(void **state)
{
    fixture *f = *state;

    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 2), KY_NEXT_STRANGER);
    assert_int_equal(f->b.n_peers, 0);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 1), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 2, 2), KY_NEXT_STRANGER);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 2, 1), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 2),
                     KY_NEXT_STRANGER); /* the newest counts */
}

static void untake(fixture *f, const char *sender, int session, uint64_t number)
{
    ky_books_untake(ky_books_peer(&f->b, 0, sender, strlen(sender)),
                    message(f, sender, session, number));
}

static void what_is_let_go_is_next_again(void **state)
{
    fixture *f = *state;

    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, i), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 2, 1), KY_NEXT);
    untake(f, "a", 1, 3);
    untake(f, "a", 1, 4);
    untake(f, "a", 2, 1);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 2), KY_NEXT_KNOWN);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 3), KY_NEXT);
    assert_int_equal(arrives(f, KY_OFFSETS, "0", 0, 0), KY_NEXT);
    untake(f, "0", 0, 0);
    assert_int_equal(arrives(f, KY_OFFSETS, "0", 0, 0), KY_NEXT);
}

/* All that was taken so far is in results.db, and acknowledged. */
static void settle(fixture *f)
{
    for (uint32_t i = 0; i < f->b.n_dirty; i++)
        f->b.peers[f->b.dirty[i]].dirty = false;
    f->b.n_dirty = 0;
}

static void the_sender_used_longest_ago_makes_room(void **state)
{
    fixture *f = *state;

    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 1), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "b", 1, 1), KY_NEXT);
    settle(f);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 1), KY_NEXT_KNOWN);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "c", 1, 1), KY_NEXT);
    assert_string_equal(f->forgotten, "b");
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "b", 1, 2), KY_NEXT_STRANGER);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 2), KY_NEXT);
    settle(f);
    for (int i = 0; i < 100; i++) {
        char name[8];

        snprintf(name, sizeof(name), "n%d", i);
        assert_int_equal(arrives(f, KY_ACKNOWLEDGED, name, 1, 1), KY_NEXT);
        settle(f);
    }
    assert_string_equal(f->forgotten, "n97");
    assert_int_equal(f->b.n_peers, 2);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "n99", 1, 2), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "n98", 1, 2), KY_NEXT);
}

static void a_sender_with_something_under_way_is_not_forgotten(void **state)
{
    fixture *f = *state;

    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 1), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "b", 1, 1), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "c", 1, 1), KY_NEXT_CROWD);
    settle(f);
    ky_books_owe(&f->b, ky_books_peer(&f->b, 0, "a", 1), 7);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "c", 1, 1), KY_NEXT_CROWD);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 2), KY_NEXT);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "c", 1, 1), KY_NEXT);
    assert_string_equal(f->forgotten, "b");
}

static void partitions_take_no_sender_s_place(void **state)
{
    fixture *f = *state;

    assert_int_equal(arrives(f, KY_OFFSETS, "t/0", 0, 0), KY_NEXT);
    assert_int_equal(arrives(f, KY_OFFSETS, "t/1", 0, 0), KY_NEXT);
    ky_books_add_peer(&f->b, KY_OFFSETS, 0, "t/2", 3);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 1), KY_NEXT);
    ky_books_add_peer(&f->b, KY_ACKNOWLEDGED, 0, "b", 1);
    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "c", 1, 1), KY_NEXT_CROWD);
}

static void offsets_at_or_below_the_last_are_known(void **state)
{
    fixture *f = *state;

    assert_int_equal(arrives(f, KY_OFFSETS, "t/0", 0, 0), KY_NEXT);
    assert_int_equal(arrives(f, KY_OFFSETS, "t/0", 0, 0), KY_NEXT_KNOWN);
    assert_int_equal(arrives(f, KY_OFFSETS, "t/0", 0, 7), KY_NEXT); /* offsets may have holes */
    assert_int_equal(arrives(f, KY_OFFSETS, "t/0", 0, 5), KY_NEXT_KNOWN);
    assert_int_equal(arrives(f, KY_OFFSETS, "t/1", 0, 5), KY_NEXT);
}

static void a_message_without_a_number_is_nobodys_next(void **state)
{
    fixture *f = *state;

    assert_int_equal(arrives(f, KY_ACKNOWLEDGED, "a", 1, 0), KY_NEXT);
    assert_int_equal(arrives(f, KY_AT_MOST_ONCE, "", 0, 9), KY_NEXT);
    assert_int_equal(f->b.n_peers, 0);
}

static void streams_are_numbered_densely_and_steps_counted(void **state)
{
    fixture *f = *state;
    char reason[KY_REASON];
    ky_record *r = sample(f, 0, "p1", KY_NONE, 1, 2);

    assert_int_equal(judge(f, false, 0, reason), KY_TAKE);
    assert_int_equal(r->stream, 0);
    assert_int_equal(r->n, 1);
    assert_true(r->flags & KY_RESUMED);
    sample(f, 1, "p1", KY_NONE, 1, 2); /* another class: another stream */
    assert_int_equal(judge(f, false, 0, reason), KY_TAKE);
    assert_int_equal(r->stream, 1);
    sample(f, 0, "p1", KY_NONE, 1, 2);
    assert_int_equal(judge(f, false, 0, reason), KY_TAKE);
    assert_int_equal(r->stream, 0);
    assert_int_equal(r->n, 2);
    assert_false(r->flags & KY_RESUMED);
}

static enum ky_seen timed(fixture *f, int64_t ts_us, uint8_t source, unsigned flags)
{
    ky_record *r = sample(f, 0, "t", KY_NONE, 1, 2);
    char reason[KY_REASON];
    enum ky_seen seen;
    ky_known *k;

    r->ts_us = ts_us;
    r->arrival_us = INT64_C(1800000000000000);
    r->time_source = source;
    r->flags |= (uint16_t)flags;
    ky_books_judge(&f->b, false, 0, r, &k, &seen, reason);
    return seen;
}

static void times_of_any_size_have_an_order(void **state)
{
    fixture *f = *state;

    f->classes[0].max_late_us = 1000;
    assert_int_equal(timed(f, INT64_MAX, KY_TIME_SAMPLE, 0), KY_SEEN_NEXT);
    assert_int_equal(timed(f, INT64_MIN + 1, KY_TIME_SAMPLE, 0), KY_SEEN_SET_BACK);
    assert_int_equal(timed(f, INT64_MAX, KY_TIME_SAMPLE, 0), KY_SEEN_NEXT);
    assert_int_equal(timed(f, INT64_MAX - 1000, KY_TIME_SAMPLE, 0), KY_SEEN_LATE);
    assert_int_equal(timed(f, INT64_MAX - 1000, KY_TIME_SAMPLE, KY_START), KY_SEEN_NEXT);
    assert_int_equal(timed(f, 0, KY_TIME_ARRIVAL, 0), KY_SEEN_NEXT);
    f->classes[0].max_ahead_us = 1000;
    assert_int_equal(timed(f, INT64_MAX, KY_TIME_SAMPLE, 0), KY_SEEN_NEXT);
    assert_int_equal(f->u.r.type, KY_REC_SAMPLE);
    assert_int_equal(f->u.r.n, KY_NONE); /* refused: no number was given */
}

static ky_known *stream(fixture *f, const char *name)
{
    return ky_roster_find(&f->b.streams, 0, name, strlen(name));
}

static void the_stream_that_was_silent_longest_comes_first(void **state)
{
    fixture *f = *state;
    ky_roster *t = &f->b.streams;
    char reason[KY_REASON], name[2] = "a";
    int64_t left = INT64_MAX;

    for (int i = 0; i < 3; i++, name[0]++) {
        sample(f, 0, name, 1, 0, 0);
        assert_int_equal(judge(f, true, 0, reason), KY_TAKE);
        ky_roster_heard(t, stream(f, name), 100 * i);
    }
    assert_ptr_equal(ky_roster_silent(t, 5000, &left), stream(f, "a"));
    ky_roster_heard(t, stream(f, "a"), 5000); /* heard again: the last */
    assert_ptr_equal(ky_roster_silent(t, 5000, &left), stream(f, "b"));
    ky_books_end(&f->b, stream(f, "c")); /* from the middle */
    ky_books_end(&f->b, stream(f, "b"));
    assert_null(ky_roster_silent(t, 5100, &left));
    assert_int_equal(left, 900);
    ky_books_forget(&f->b, stream(f, "a"));
    left = INT64_MAX;
    assert_null(ky_roster_silent(t, INT64_MAX / 2, &left));
    assert_true(left == INT64_MAX);
    assert_int_equal(stream(f, "a")->n, 1);
}

static void the_stream_used_longest_ago_is_the_first_to_go(void **state)
{
    fixture *f = *state;
    ky_roster *t = &f->b.streams;
    char name[2] = "a";

    for (int i = 0; i < 4; i++, name[0]++)
        ky_roster_used(t, ky_roster_add(t, (uint32_t)i, 0, name, 1), 1);
    assert_ptr_equal(ky_roster_oldest(t, 0), stream(f, "a"));
    ky_roster_used(t, stream(f, "a"), 2);
    ky_roster_used(t, stream(f, "b"), 3);
    assert_ptr_equal(ky_roster_oldest(t, 0), stream(f, "c")); /* those used once go before */
    ky_roster_remove(t, stream(f, "c"));
    ky_roster_remove(t, stream(f, "d"));
    assert_ptr_equal(ky_roster_oldest(t, 0), stream(f, "a"));
    ky_roster_used(t, stream(f, "a"), 4);
    assert_ptr_equal(ky_roster_oldest(t, 0), stream(f, "b"));
    assert_null(stream(f, "c"));
    assert_int_equal(ky_roster_count(t, 0), 2);
    assert_null(ky_roster_oldest(t, 1));
    ky_known *e = ky_roster_add(t, 9, 0, "e", 1); /* in a place that became free */

    assert_true(ky_roster_row(t, e) < 4);
    assert_int_equal(e->n, 0);
    assert_int_equal(t->next_id, 10);
}

static void what_is_missing_is_filled_in_up_to_a_bound(void **state)
{
    fixture *f = *state;
    char reason[KY_REASON];
    const float want[] = { 3, 4, 3, 4, 3, 4, 5, 6 };

    f->classes[1].on_gap = KY_GAP_HOLD;
    f->classes[1].period_us = 10;
    f->classes[1].max_hold = 3;
    sample(f, 1, "h", 1, 3, 4);
    assert_int_equal(judge(f, true, 0, reason), KY_TAKE);
    ky_record *r = sample(f, 1, "h", 5, 5, 6);

    assert_int_equal(ky_books_room(&f->b, r), 3 * 2 * sizeof(float) + 8);
    assert_int_equal(judge(f, true, 0, reason), KY_TAKE);
    assert_int_equal(r->steps, 4);
    assert_int_equal(r->filled, 3);
    assert_int_equal(r->n, 2);
    assert_true(ky_record_ok(r));
    assert_memory_equal(ky_record_x(r), want, sizeof(want));
    r = sample(f, 1, "h", 10, 7, 8);
    assert_int_equal(judge(f, true, 0, reason), KY_TAKE);
    assert_int_equal(r->filled, 0);
    assert_int_equal(r->n, 6);
}

static void repeated_and_late_numbers_are_not_taken(void **state)
{
    fixture *f = *state;
    char reason[KY_REASON];
    ky_record *r = sample(f, 0, "p", 5, 1, 2);

    assert_int_equal(judge(f, true, 0, reason), KY_TAKE);
    assert_true(r->flags & KY_COUNTED);
    sample(f, 0, "p", 5, 1, 2);
    assert_int_equal(judge(f, true, 0, reason), KY_SKIP);
    sample(f, 0, "p", 4, 1, 2);
    assert_int_equal(judge(f, true, 0, reason), KY_REFUSE);
    assert_non_null(strstr(reason, "late"));
    sample(f, 0, "p", 5, 1, 2); /* where senders are numbered, a seq is only a column */
    assert_int_equal(judge(f, false, 0, reason), KY_TAKE);
    assert_false(r->flags & KY_COUNTED);
    assert_int_equal(r->n, 2);
}

static void holes_take_the_last_values(void **state)
{
    fixture *f = *state;
    char reason[KY_REASON];
    ky_record *r = sample(f, 1, "fan", KY_NONE, 1, NAN);

    assert_int_equal(judge(f, false, 1, reason), KY_REFUSE);
    assert_int_equal(ky_roster_count(&f->b.streams, 1), 0); /* a refused sample makes no stream */
    sample(f, 1, "fan", KY_NONE, 1, 2);
    assert_int_equal(judge(f, false, 0, reason), KY_TAKE);
    sample(f, 1, "fan", KY_NONE, 3, NAN);
    assert_int_equal(judge(f, false, 1, reason), KY_TAKE);
    assert_true(ky_record_x(r)[1] == 2);
    sample(f, 1, "fan", KY_NONE, NAN, 5);
    assert_int_equal(judge(f, false, 1, reason), KY_TAKE);
    assert_true(ky_record_x(r)[0] == 3);
}

static void a_label_needs_a_stream(void **state)
{
    fixture *f = *state;
    char reason[KY_REASON];
    ky_record *r = sample(f, 0, "p", 1, 1, 2);

    r->type = KY_REC_LABEL;
    assert_int_equal(judge(f, true, 0, reason), KY_REFUSE);
    sample(f, 0, "p", 1, 1, 2);
    assert_int_equal(judge(f, true, 0, reason), KY_TAKE);
    sample(f, 0, "p", 1, 1, 2)->type = KY_REC_LABEL;
    assert_int_equal(judge(f, true, 0, reason), KY_TAKE); /* of a known seq: that is the point */
    assert_int_equal(r->n, KY_NONE);
}

static void a_new_stream_needs_a_number(void **state)
{
    fixture *f = *state;
    char reason[KY_REASON] = "";

    ky_roster_number_taken(&f->b.streams, KY_ROSTER_FULL - 2);
    sample(f, 0, "last", KY_NONE, 1, 2);
    assert_int_equal(judge(f, false, 0, reason), KY_TAKE);
    assert_int_equal(f->u.r.stream, KY_ROSTER_FULL - 1);
    sample(f, 0, "new", KY_NONE, 1, 2);
    assert_int_equal(judge(f, false, 0, reason), KY_REFUSE);
    assert_string_equal(reason, "no number is left for another stream");
    sample(f, 0, "last", KY_NONE, 1, 2);
    assert_int_equal(judge(f, false, 0, reason), KY_TAKE);
    ky_roster_number_taken(&f->b.streams, KY_ROSTER_FULL);
    assert_int_equal(f->b.streams.next_id, KY_ROSTER_FULL);
}

static void a_refused_record_keeps_its_envelope(void **state)
{
    fixture *f = *state;
    ky_record *r = message(f, "sender", 7, 12);

    memcpy((char *)(r + 1) + 6, "stream", 6);
    r->stream_len = 6;
    r->steps = 1;
    r->features = 2;
    r->body_len = 8;
    r->size = (uint32_t)ky_record_size(6, 6, 0, 8);
    ky_books_refuse(r, "because");
    assert_true(ky_record_ok(r));
    assert_int_equal(r->type, KY_REC_REJECT);
    assert_int_equal(r->number, 12);
    assert_memory_equal(ky_record_sender(r), "sender", 6);
    assert_memory_equal(ky_record_stream(r), "stream", 6);
    assert_memory_equal(ky_record_text(r), "because", 7);
    assert_int_equal(r->text_len, 7);
}

/* Reference values of SipHash-2-4 for the key 00 01 .. 0f (Aumasson and Bernstein 2012). */
static void siphash_is_siphash(void **state)
{
    static const uint64_t key[2] = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };
    uint8_t in[15];

    (void)state;
    for (int i = 0; i < 15; i++)
        in[i] = (uint8_t)i;
    assert_true(ky_names_siphash(key, in, 0) == 0x726fdb47dd0e0e31u);
    assert_true(ky_names_siphash(key, in, 15) == 0xa129ca6149be45e5u);
}

static void every_name_is_found_again(void **state)
{
    uint32_t row[5000];
    ky_names t;
    char name[16];

    (void)state;
    ky_names_init(&t);
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "n%u", i / 2);
        row[i] = ky_names_add(&t, (uint16_t)(i % 2), name, strlen(name));
        assert_int_not_equal(row[i], KY_NO_NAME);
    }
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "n%u", i / 2);
        assert_int_equal(ky_names_find(&t, (uint16_t)(i % 2), name, strlen(name)), row[i]);
        assert_memory_equal(ky_names_text(&t, row[i]), name, strlen(name));
    }
    assert_int_equal(ky_names_find(&t, 2, "n1", 2), KY_NO_NAME);
    assert_int_equal(ky_names_find(&t, 0, "n1", 1), KY_NO_NAME);
    ky_names_done(&t);
}

/* Names come and go; the table is held against an array of which are there. */
static void names_that_are_removed_are_gone_and_no_others(void **state)
{
    enum { NAMES = 600, TURNS = 60000 };
    static uint32_t row[NAMES];
    uint32_t live = 0;
    char name[300];
    ky_rng rng;
    ky_names t;

    (void)state;
    ky_rng_seed(&rng, 5);
    ky_names_init(&t);
    for (int i = 0; i < NAMES; i++)
        row[i] = KY_NO_NAME;
    for (int turn = 0; turn < TURNS; turn++) {
        uint32_t i = (uint32_t)ky_rng_below(&rng, NAMES);
        size_t len = (size_t)snprintf(name, sizeof(name), "%u%*s", i, (int)(i * 7 % 250), "");

        assert_int_equal(ky_names_find(&t, 3, name, len), row[i]);
        if (row[i] == KY_NO_NAME) {
            row[i] = ky_names_add(&t, 3, name, len);
            live++;
        } else if (ky_rng_below(&rng, 3) > 0) {
            ky_names_remove(&t, row[i]);
            row[i] = KY_NO_NAME;
            live--;
        }
        assert_int_equal(t.live, live);
    }
    assert_in_range(t.n, 1, NAMES);           /* rows were used again, */
    assert_in_range(t.n_text, 1, NAMES * 65); /* and their texts */
    ky_names_done(&t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_the_next_number_of_a_session_is_taken),
        TEST(an_unknown_session_must_begin_at_one),
        TEST(what_is_let_go_is_next_again),
        TEST(the_sender_used_longest_ago_makes_room),
        TEST(a_sender_with_something_under_way_is_not_forgotten),
        TEST(partitions_take_no_sender_s_place),
        TEST(offsets_at_or_below_the_last_are_known),
        TEST(a_message_without_a_number_is_nobodys_next),
        TEST(streams_are_numbered_densely_and_steps_counted),
        TEST(times_of_any_size_have_an_order),
        TEST(the_stream_that_was_silent_longest_comes_first),
        TEST(the_stream_used_longest_ago_is_the_first_to_go),
        TEST(what_is_missing_is_filled_in_up_to_a_bound),
        TEST(repeated_and_late_numbers_are_not_taken),
        TEST(holes_take_the_last_values),
        TEST(a_label_needs_a_stream),
        TEST(a_new_stream_needs_a_number),
        TEST(a_refused_record_keeps_its_envelope),
        cmocka_unit_test(siphash_is_siphash),
        cmocka_unit_test(every_name_is_found_again),
        cmocka_unit_test(names_that_are_removed_are_gone_and_no_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
