/*
 * ZeroMQ. The only file that knows the library. Besides the source (source.h) it gives
 * the sockets that kymo needs elsewhere: PUB for answers, REP and REQ for control,
 * PUSH and DEALER for `kymo feed`, SUB for `kymo tail`.
 *
 * A socket belongs to the thread that opened it.
 */
#ifndef KY_ZMQ_H
#define KY_ZMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/error.h"

typedef struct ky_zsock ky_zsock;

typedef struct ky_zframe {
    const void *data;
    size_t len;
} ky_zframe;

enum { KY_ZFRAMES = 16 };

/** type: "pub", "sub", "push", "pull", "dealer", "router", "rep", "req". hwm 0: the default.
 *  LINGER as FORMATS 3.6 says, MAXMSGSIZE 64 MiB, heartbeats and keepalive on. */
int ky_zsock_open(const char *type, const char *endpoint, bool bind, int hwm, ky_zsock **ret,
                  ky_err *err);
/** Waits for what was sent as long as its linger says; NULL allowed. */
void ky_zsock_close(ky_zsock *s);
/** How long closing may wait for unsent messages, -1: for ever. Default: 0 for what only receives,
 * else 1000. */
void ky_zsock_linger(ky_zsock *s, int linger_ms);
/**
 * A "push": waits until its connections' kernel buffers are empty. Closing on full ones, with a
 * slow reader behind them, has been seen to lose the last 8 to 16 KiB, whatever the linger; behind
 * this call there is room for all that libzmq still holds, if hwm messages fit KY_ZDRAIN bytes.
 * KY_EAGAIN after timeout_ms.
 */
enum { KY_ZDRAIN = 64 << 10 };
int ky_zsock_drain(ky_zsock *s, int timeout_ms);
/** Make a waiting recv return KY_EAGAIN soon. Any thread. */
void ky_zsock_wake(ky_zsock *s);
const char *ky_zsock_address(const ky_zsock *s); /* the endpoint bound to, with its real port */
int ky_zsock_subscribe(ky_zsock *s, const char *prefix, ky_err *err);

/** Frames of one message, borrowed until the next recv; KY_EAGAIN after timeout_ms (-1: for ever).
 *  More than `max` frames: the rest is dropped. Returns the number of frames. */
int ky_zsock_recv(ky_zsock *s, ky_zframe *frames, int max, int timeout_ms, ky_err *err);

/** KY_EAGAIN if it cannot be queued within timeout_ms. */
int ky_zsock_send(ky_zsock *s, const ky_zframe *frames, int n, int timeout_ms, ky_err *err);

/** A PUB's subscriptions since the last call, for tests and `feed`: number of peers subscribed
 *  (pub sockets are XPUB inside). */
int ky_zsock_subscribers(ky_zsock *s);

#endif
