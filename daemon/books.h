/*
 * The accept stage's books: how far each sender and each stream is. From them follows whether a
 * record is the next one, one that is known already, or one to refuse; the same functions run in
 * live service and in recovery. They know no thread and no clock. One thread.
 */
#ifndef KY_BOOKS_H
#define KY_BOOKS_H

#include "connectors/source.h"
#include "daemon/config.h"
#include "daemon/roster.h"
#include "storage/record.h"

enum { KY_REASON = 256, KY_NO_PEER = UINT32_MAX };
enum { KY_FILL_BYTES = 1 << 18 };

/* A sender of acknowledged messages, or a Kafka partition. */
typedef struct ky_peer {
    int source;
    bool begun, dirty, owed; /* dirty: newer than results.db; owed: an acknowledgement */
    bool undone;             /* its last records are not in the journal after all */
    uint8_t session[KY_SESSION];
    uint64_t last, cookie;
    ky_place use; /* of acknowledged messages: in the line of senders */
} ky_peer;

typedef struct ky_books {
    const ky_config *cfg;
    const bool *holds; /* [classes] */
    ky_roster streams;
    ky_names peer_names; /* by source; rows are those of `peers` */
    ky_peer *peers;
    uint32_t n_peers, cap_peers; /* n_peers: rows ever used */
    ky_line senders; /* of acknowledged messages, in the order in which they were used */
    void (*forgets)(void *arg, const ky_peer *p, const char *name, size_t len);
    void *arg;
    uint32_t *dirty, *owed; /* rows of peers */
    uint32_t n_dirty, n_owed;
} ky_books;

/** cfg and holds are borrowed. KY_ENOMEM. Later, being out of memory ends the process.
 *  @param forgets  hears of each sender that is forgotten */
int ky_books_init(ky_books *b, const ky_config *cfg, const bool *holds,
                  void (*forgets)(void *arg, const ky_peer *p, const char *name, size_t len),
                  void *arg);
void ky_books_done(ky_books *b);

/* -- senders -- */

enum ky_next {
    KY_NEXT,          /* take it */
    KY_NEXT_KNOWN,    /* taken before: acknowledge again */
    KY_NEXT_AHEAD,    /* some before it are missing: ignore */
    KY_NEXT_STRANGER, /* a session that did not begin here: it must begin a new one */
    KY_NEXT_CROWD,    /* one sender too many, and all have something under way */
};

/**
 * Whether a numbered record is its sender's next (PROTOCOL.md A1), or its partition's (B2).
 *
 * @param ret  the sender; NULL for a stranger, and where nothing is numbered (then KY_NEXT)
 */
enum ky_next ky_books_next(ky_books *b, enum ky_delivery d, int source, const ky_record *r,
                           ky_peer **ret);
/** An acknowledged source's sender is the one heard last. */
void ky_books_heard(ky_books *b, const ky_peer *p);
/** It was taken. */
void ky_books_took(ky_books *b, ky_peer *p, const ky_record *r);
/** It and what was taken of the sender behind it are let go, in order: the sender sends them again.
 */
void ky_books_untake(ky_peer *p, const ky_record *r);
/** The sender is owed an acknowledgement up to its last number. */
void ky_books_owe(ky_books *b, ky_peer *p, uint64_t cookie);
/** NULL: never heard of, or forgotten: of max_senders senders the one that was used longest ago, if
 *  it is owed nothing and results.db has its last number. */
ky_peer *ky_books_peer(const ky_books *b, int source, const char *name, size_t len);
ky_peer *ky_books_add_peer(ky_books *b, enum ky_delivery d, int source, const char *name,
                           size_t len);

/* -- streams -- */

enum ky_verdict { KY_TAKE, KY_SKIP, KY_REFUSE };

/**
 * Finds a SAMPLE's, LABEL's or FORGET's stream, or makes it, and fills in its number, the step
 * number, flags, holes and, in front, what is missing (on_gap = hold); a sample that is taken is
 * booked. There is room for KY_REASON + 8 + ky_books_room() bytes behind it.
 *
 * @param counted     its seq says whether it was seen (sources that promise nothing)
 * @param holes       values that are NaN
 * @param ret         its stream, if it is taken
 * @param ret_seen    what the seq said
 * @param ret_reason  [KY_REASON] why it is refused
 * @return KY_SKIP: seen before
 */
enum ky_verdict ky_books_judge(ky_books *b, bool counted, uint32_t holes, ky_record *r,
                               ky_known **ret, enum ky_seen *ret_seen, char *ret_reason);

/** What a taken record's place in its stream's order is: for telling of it again. */
enum ky_seen ky_books_look(const ky_books *b, const ky_known *k, const ky_record *r);

/** What judging may add to a record at most, bytes. */
size_t ky_books_room(const ky_books *b, const ky_record *r);

/** Books a sample as taken: recovery, and judge itself. */
void ky_books_sample(ky_books *b, ky_known *k, const ky_record *r);

/** Its memory is gone, its numbers are not. */
void ky_books_forget(ky_books *b, ky_known *k);
/** Its sequence is over. */
void ky_books_end(ky_books *b, ky_known *k);

/** Turns a record into the REJECT that stands in its place; needs KY_REASON + 8 bytes of room
 * behind. */
void ky_books_refuse(ky_record *r, const char *reason);

#endif
