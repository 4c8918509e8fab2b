#include "connectors/zmq.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <linux/sockios.h>

#include "connectors/codec.h"
#include "connectors/source.h"
#include "models/clock.h"

/* -- the context -----------------------------------------------------------------
 * One for the process, made with the first socket and ended with the last, so that ending
 * it waits for what those sockets still had to send. With it lives a thread that answers
 * the authentication requests (ZAP, RFC 27): it lets every NULL peer in, but that it is
 * asked at all makes libzmq refuse peers that speak ZMTP 1 or no ZMTP, whose bytes would
 * otherwise arrive as messages. */

static pthread_mutex_t context_lock = PTHREAD_MUTEX_INITIALIZER;
static void *context;
static int context_users;
static pthread_t guard_thread;

/* Reads one request; *known is whether it can be answered. Returns false when all is over. */
static bool guard_read(void *socket, char *id, size_t *id_len, bool *ok, bool *known)
{
    int more = 1;

    *ok = true;
    *known = false;
    for (int i = 0; more; i++) {
        char frame[256];
        int n = zmq_recv(socket, frame, sizeof(frame), 0);
        size_t len = n < 0 ? 0 : (size_t)n < sizeof(frame) ? (size_t)n : sizeof(frame);
        if (n < 0)
            return false;
        if (i == 0)
            *ok &= len == 3 && memcmp(frame, "1.0", 3) == 0;
        if (i == 1) {
            memcpy(id, frame, len);
            *id_len = len;
            *known = true;
        }
        if (i == 5)
            *ok &= len == 4 && memcmp(frame, "NULL", 4) == 0;
        zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &(size_t){ sizeof(more) });
    }
    return true;
}

static void *guard_run(void *socket)
{
    char id[256];
    size_t id_len = 0;
    bool ok, known;

    while (guard_read(socket, id, &id_len, &ok, &known)) {
        zmq_send(socket, "1.0", 3, ZMQ_SNDMORE);
        zmq_send(socket, id, known ? id_len : 0, ZMQ_SNDMORE);
        zmq_send(socket, ok ? "200" : "400", 3, ZMQ_SNDMORE);
        zmq_send(socket, "", 0, ZMQ_SNDMORE);
        zmq_send(socket, "", 0, ZMQ_SNDMORE);
        zmq_send(socket, "", 0, 0);
    }
    zmq_close(socket);
    return NULL;
}

static int start_guard(void)
{
    sigset_t all, old;
    void *socket = zmq_socket(context, ZMQ_REP);

    if (socket == NULL || zmq_bind(socket, "inproc://zeromq.zap.01") != 0)
        goto failed;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&guard_thread, NULL, guard_run, socket);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0)
        return KY_OK;
failed:
    if (socket != NULL)
        zmq_close(socket);
    return KY_ENOMEM;
}

static void *context_acquire(void)
{
    pthread_mutex_lock(&context_lock);
    if (context == NULL && (context = zmq_ctx_new()) != NULL) {
        zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 4096);
        if (start_guard() != KY_OK) {
            zmq_ctx_term(context);
            context = NULL;
        }
    }
    context_users += context != NULL;
    void *c = context;
    pthread_mutex_unlock(&context_lock);
    return c;
}

static void context_release(void)
{
    pthread_mutex_lock(&context_lock);
    if (--context_users == 0) {
        /* Ends the guard's wait; lingering sockets still send. */
        zmq_ctx_shutdown(context);
        pthread_join(guard_thread, NULL);
        while (zmq_ctx_term(context) != 0 && zmq_errno() == EINTR)
            continue;
        context = NULL;
    }
    pthread_mutex_unlock(&context_lock);
}

/* -- sockets ----------------------------------------------------------------------- */

enum { PEERS = 64 };

struct ky_zsock {
    void *socket;
    int type, wake; /* eventfd */
    int held;       /* frames of the last message that are still ours to close */
    int subscribers;
    unsigned sent;
    zmq_msg_t frame[KY_ZFRAMES];
    void *monitor; /* push: tells the descriptors of its connections */
    int peer[PEERS], n_peers;
    bool owns_path; /* ipc: the socket file is ours to remove, libzmq leaves it */
    char address[256];
};

static const struct {
    const char *name;
    int type;
    bool sends;
} socket_types[] = {
    { "pub", ZMQ_XPUB, true },   { "sub", ZMQ_SUB, false },      { "push", ZMQ_PUSH, true },
    { "pull", ZMQ_PULL, false }, { "dealer", ZMQ_DEALER, true }, { "router", ZMQ_ROUTER, true },
    { "rep", ZMQ_REP, true },    { "req", ZMQ_REQ, true },
};

enum {
    SOCKET_TYPES = sizeof(socket_types) / sizeof(*socket_types),
    HEARTBEAT_MS = 5000,
    HANDSHAKE_MS = 3000, /* a silent connection is closed after this */
    LINGER_MS = 1000,
    BACKLOG = 4096,
    IPC_PATH_MAX = 107, /* sun_path, and its final zero */
    DRAIN_EVERY = 64,
};

static const int64_t largest_message = 64 << 20;

/* Options of every socket (FORMATS 3.6); libzmq refuses none of them, whatever the type. */
static int set_options(ky_zsock *s, const char *endpoint, bool sends, int hwm, int64_t largest)
{
    const struct {
        int option, value;
    } options[] = {
        { ZMQ_LINGER, sends ? LINGER_MS : 0 },
        { ZMQ_BACKLOG, BACKLOG },
        { ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS },
        { ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS },
        { ZMQ_HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS },
        { ZMQ_HEARTBEAT_TTL, 6 * HEARTBEAT_MS },
        { ZMQ_TCP_KEEPALIVE, 1 },
        { ZMQ_RECONNECT_IVL, 100 },
        { ZMQ_RECONNECT_IVL_MAX, 5000 },
        /* Only where an address of that family is written: else `localhost` may become ::1 where
         * nobody listens. */
        { ZMQ_IPV6, strstr(endpoint, "//[") != NULL },
        { ZMQ_SNDHWM, hwm },
        { ZMQ_RCVHWM, hwm },
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
        bool hwm_option = options[i].option == ZMQ_SNDHWM || options[i].option == ZMQ_RCVHWM;
        if (hwm_option && hwm <= 0)
            continue;
        if (zmq_setsockopt(s->socket, options[i].option, &options[i].value, sizeof(int)) != 0)
            return -1;
    }
    /* Nothing is queued for a peer that is not there. Not for sockets that also receive: a
     * connection that breaks between two frames of a message then ends the process (libzmq's
     * assertion !_more in fq.cpp, its issue 3663). */
    if (s->type == ZMQ_PUSH)
        zmq_setsockopt(s->socket, ZMQ_IMMEDIATE, &(int){ 1 }, sizeof(int));
    if (s->type == ZMQ_ROUTER) /* a sender that comes back under its name takes it over */
        zmq_setsockopt(s->socket, ZMQ_ROUTER_HANDOVER, &(int){ 1 }, sizeof(int));
    if (s->type == ZMQ_PUSH) /* fixed, and large enough for ky_zsock_drain's promise */
        zmq_setsockopt(s->socket, ZMQ_SNDBUF, &(int){ 4 * KY_ZDRAIN }, sizeof(int));
    if (s->type == ZMQ_XPUB)
        zmq_setsockopt(s->socket, ZMQ_XPUB_VERBOSER, &(int){ 1 }, sizeof(int));
    if (zmq_setsockopt(s->socket, ZMQ_ZAP_DOMAIN, "kymo", 4) != 0)
        return -1;
    return zmq_setsockopt(s->socket, ZMQ_MAXMSGSIZE, &largest, sizeof(largest));
}

/* Whether somebody listens on a unix socket: connecting to one that was left behind fails. */
static bool somebody_listens(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ret = false;

    if (fd >= 0) {
        snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
        ret = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EAGAIN;
        close(fd);
    }
    return ret;
}

/* libzmq takes an ipc path from whoever has it, and deletes whatever file stands there. */
static int check_ipc(const char *endpoint, bool bind, ky_err *err)
{
    struct stat st;

    if (strncmp(endpoint, "ipc://", 6) != 0 || endpoint[6] == '@' || endpoint[6] == '*')
        return KY_OK;
    const char *path = endpoint + 6;
    if (strlen(path) > IPC_PATH_MAX)
        return ky_fail(err, KY_EINVAL, "%s: the path has %zu bytes, a unix socket's at most %d",
                       endpoint, strlen(path), IPC_PATH_MAX);
    if (!bind || lstat(path, &st) != 0)
        return KY_OK;
    if (!S_ISSOCK(st.st_mode))
        return ky_fail(err, KY_EBUSY, "%s: there is a file of that name, and it is no socket",
                       endpoint);
    if (somebody_listens(path))
        return ky_fail(err, KY_EBUSY, "%s is taken: somebody listens there", endpoint);
    return KY_OK;
}

/* libzmq takes a port modulo 65536. */
static int check_port(const char *endpoint, bool bind, ky_err *err)
{
    const char *colon = strrchr(endpoint, ':');

    if (strncmp(endpoint, "tcp://", 6) != 0)
        return KY_OK;
    if (bind && (strcmp(colon, ":*") == 0 || strcmp(colon, ":0") == 0))
        return KY_OK;
    size_t digits = strspn(colon + 1, "0123456789");
    long port = digits > 0 && digits <= 5 && colon[1 + digits] == '\0' ? atol(colon + 1) : 0;
    if (colon < endpoint + 6 || port < 1 || port > 65535)
        return ky_fail(err, KY_EINVAL, "endpoint '%s': a port is 1 to 65535%s", endpoint,
                       bind ? ", or * for any" : "");
    return KY_OK;
}

static int watch_peers(ky_zsock *s, void *c)
{
    char name[64];
    const int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED;

    snprintf(name, sizeof(name), "inproc://peers-%p", (void *)s);
    if (zmq_socket_monitor(s->socket, name, events) != 0 ||
        (s->monitor = zmq_socket(c, ZMQ_PAIR)) == NULL)
        return -1;
    return zmq_connect(s->monitor, name);
}

static int attach(ky_zsock *s, const char *endpoint, bool bind, ky_err *err)
{
    size_t size = sizeof(s->address);
    int rc;

    if ((rc = check_ipc(endpoint, bind, err)) != KY_OK ||
        (rc = check_port(endpoint, bind, err)) != KY_OK)
        return rc;
    if ((bind ? zmq_bind(s->socket, endpoint) : zmq_connect(s->socket, endpoint)) != 0) {
        int e = zmq_errno();
        if (e == EADDRINUSE)
            return ky_fail(err, KY_EBUSY, "%s is taken: %s", endpoint, zmq_strerror(e));
        return ky_fail(err, KY_EINVAL, "cannot %s %s: %s", bind ? "bind" : "connect to", endpoint,
                       zmq_strerror(e));
    }
    snprintf(s->address, sizeof(s->address), "%s", endpoint);
    if (bind && zmq_getsockopt(s->socket, ZMQ_LAST_ENDPOINT, s->address, &size) != 0)
        return ky_fail(err, KY_EIO, "%s: %s", endpoint, zmq_strerror(zmq_errno()));
    s->owns_path = bind && strncmp(s->address, "ipc://", 6) == 0 && s->address[6] != '@';
    return KY_OK;
}

static int open_socket(const char *type, const char *endpoint, bool bind, int hwm, int64_t largest,
                       ky_zsock **ret, ky_err *err)
{
    int row = 0, rc;

    while (row < SOCKET_TYPES && strcmp(socket_types[row].name, type) != 0)
        row++;
    if (row == SOCKET_TYPES)
        return ky_fail(err, KY_EINVAL, "socket '%s' is none that kymo knows", type);
    if (endpoint == NULL || strstr(endpoint, "://") == NULL || strlen(endpoint) > 255)
        return ky_fail(err, KY_EINVAL,
                       "endpoint '%.60s' must look like tcp://host:port or ipc://path",
                       endpoint != NULL ? endpoint : "");
    void *c = context_acquire();
    if (c == NULL)
        return ky_fail(err, KY_ENOMEM, "cannot start ZeroMQ: %s", zmq_strerror(zmq_errno()));
    ky_zsock *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        context_release();
        return ky_fail(err, KY_ENOMEM, "no memory for a socket");
    }
    s->type = socket_types[row].type;
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->socket = zmq_socket(c, s->type);
    if (s->wake < 0 || s->socket == NULL ||
        set_options(s, endpoint, socket_types[row].sends, hwm, largest) != 0 ||
        (s->type == ZMQ_PUSH && watch_peers(s, c) != 0))
        rc = ky_fail(err, KY_EIO, "%s: no socket: %s", endpoint, zmq_strerror(zmq_errno()));
    else
        rc = attach(s, endpoint, bind, err);
    if (rc != KY_OK) {
        ky_zsock_close(s);
        return rc;
    }
    *ret = s;
    return KY_OK;
}

int ky_zsock_open(const char *type, const char *endpoint, bool bind, int hwm, ky_zsock **ret,
                  ky_err *err)
{
    return open_socket(type, endpoint, bind, hwm, largest_message, ret, err);
}

static void release_frames(ky_zsock *s)
{
    for (int i = 0; i < s->held; i++)
        zmq_msg_close(&s->frame[i]);
    s->held = 0;
}

void ky_zsock_close(ky_zsock *s)
{
    if (s == NULL)
        return;
    release_frames(s);
    if (s->owns_path)
        unlink(s->address + 6);
    if (s->monitor != NULL)
        zmq_close(s->monitor);
    if (s->socket != NULL)
        zmq_close(s->socket);
    if (s->wake >= 0)
        close(s->wake);
    free(s);
    context_release();
}

void ky_zsock_linger(ky_zsock *s, int linger_ms)
{
    zmq_setsockopt(s->socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
}

void ky_zsock_wake(ky_zsock *s)
{
    uint64_t one = 1;

    /* Fails only when it is full of wakes already. */
    if (write(s->wake, &one, sizeof(one)) < 0)
        return;
}

const char *ky_zsock_address(const ky_zsock *s)
{
    return s->address;
}

int ky_zsock_subscribe(ky_zsock *s, const char *prefix, ky_err *err)
{
    if (zmq_setsockopt(s->socket, ZMQ_SUBSCRIBE, prefix, strlen(prefix)) != 0)
        return ky_fail(err, KY_EINVAL, "cannot subscribe to '%s': %s", prefix,
                       zmq_strerror(zmq_errno()));
    return KY_OK;
}

static int from_errno(int e, const char *doing, const ky_zsock *s, ky_err *err)
{
    if (e == EAGAIN || e == EINTR)
        return KY_EAGAIN;
    return ky_fail(err, KY_EIO, "%s %s: %s", doing, s->address, zmq_strerror(e));
}

/* All frames of the message that waits, at most KY_ZFRAMES of them kept; returns how many it had.
 */
static int receive_now(ky_zsock *s)
{
    int n = 0;
    bool more = true;

    release_frames(s);
    while (more) {
        zmq_msg_t *f = &s->frame[s->held], spill;
        if (s->held == KY_ZFRAMES)
            f = &spill;
        zmq_msg_init(f);
        if (zmq_msg_recv(f, s->socket, ZMQ_DONTWAIT) < 0) {
            int e = zmq_errno();
            zmq_msg_close(f);
            return -e;
        }
        more = zmq_msg_more(f);
        n++;
        if (f == &spill)
            zmq_msg_close(f);
        else
            s->held++;
    }
    return n;
}

/* Waits for a message (`events` ZMQ_POLLIN) or room (ZMQ_POLLOUT); KY_EAGAIN: none, or woken. */
static int wait_for(ky_zsock *s, short events, int timeout_ms, ky_err *err)
{
    zmq_pollitem_t items[] = { { s->socket, 0, events, 0 }, { NULL, s->wake, ZMQ_POLLIN, 0 } };
    uint64_t wakes;

    if (zmq_poll(items, 2, timeout_ms) < 0)
        return from_errno(zmq_errno(), "waiting at", s, err);
    if (items[1].revents != 0 && read(s->wake, &wakes, sizeof(wakes)) > 0)
        return KY_EAGAIN;
    return items[0].revents != 0 ? KY_OK : KY_EAGAIN;
}

/* As ky_zsock_recv, but gives the number of frames the message really had. */
static int receive(ky_zsock *s, int timeout_ms, ky_err *err)
{
    int rc = receive_now(s);

    if (rc == -EAGAIN) {
        if (timeout_ms == 0 || (rc = wait_for(s, ZMQ_POLLIN, timeout_ms, err)) != KY_OK)
            return timeout_ms == 0 ? KY_EAGAIN : rc;
        rc = receive_now(s);
    }
    return rc > 0 ? rc : from_errno(-rc, "receiving at", s, err);
}

int ky_zsock_recv(ky_zsock *s, ky_zframe *frames, int max, int timeout_ms, ky_err *err)
{
    int n = receive(s, timeout_ms, err);

    if (n < 0)
        return n;
    n = s->held < max ? s->held : max;
    for (int i = 0; i < n; i++)
        frames[i] = (ky_zframe){ zmq_msg_data(&s->frame[i]), zmq_msg_size(&s->frame[i]) };
    return n;
}

/* libzmq keeps subscriptions for us to read until we do. */
static void drain_subscriptions(ky_zsock *s)
{
    char what;

    while (zmq_recv(s->socket, &what, 1, ZMQ_DONTWAIT) > 0)
        s->subscribers += what == 1 ? 1 : -1;
}

/* The first frame finds room for all; if a later one finds none, the connection broke between them.
 * libzmq has taken the first ones back and swallows what comes up to the last frame: unless it
 * was that one that failed, give it those, so that the next message begins as one. */
static int drop_rest(ky_zsock *s, const ky_zframe *frames, int failed, int n)
{
    for (int i = failed; failed < n - 1 && i < n; i++)
        zmq_send(s->socket, frames[i].data, frames[i].len,
                 ZMQ_DONTWAIT | (i + 1 < n ? ZMQ_SNDMORE : 0));
    return KY_EAGAIN;
}

int ky_zsock_send(ky_zsock *s, const ky_zframe *frames, int n, int timeout_ms, ky_err *err)
{
    if (s->type == ZMQ_XPUB && ++s->sent % DRAIN_EVERY == 0)
        drain_subscriptions(s);
    for (int i = 0; i < n;) {
        int flags = ZMQ_DONTWAIT | (i + 1 < n ? ZMQ_SNDMORE : 0);
        if (zmq_send(s->socket, frames[i].data, frames[i].len, flags) >= 0) {
            i++;
            continue;
        }
        int rc, e = zmq_errno();
        if (e == EAGAIN && i > 0)
            return drop_rest(s, frames, i, n);
        if (e != EAGAIN || timeout_ms == 0)
            return from_errno(e, "sending to", s, err);
        if ((rc = wait_for(s, ZMQ_POLLOUT, timeout_ms, err)) != KY_OK)
            return rc;
    }
    return KY_OK;
}

/* Monitor events: 16 bits of event, 32 of descriptor; then the endpoint. */
static void follow_peers(ky_zsock *s)
{
    uint8_t event[6];
    char endpoint[256];
    uint16_t what;
    int32_t fd;

    while (zmq_recv(s->monitor, event, sizeof(event), ZMQ_DONTWAIT) == sizeof(event)) {
        zmq_recv(s->monitor, endpoint, sizeof(endpoint), ZMQ_DONTWAIT);
        memcpy(&what, event, sizeof(what));
        memcpy(&fd, event + sizeof(what), sizeof(fd));
        for (int i = 0; i < s->n_peers; i++)
            if (s->peer[i] == fd)
                s->peer[i--] = s->peer[--s->n_peers];
        if (what != ZMQ_EVENT_DISCONNECTED && s->n_peers < PEERS)
            s->peer[s->n_peers++] = fd;
    }
}

int ky_zsock_drain(ky_zsock *s, int timeout_ms)
{
    int64_t until = ky_clock_mono_ns() + (int64_t)timeout_ms * 1000000;

    for (;;) {
        int waiting = 0;
        follow_peers(s);
        for (int i = 0, n = 0; i < s->n_peers; i++, n = 0)
            waiting += ioctl(s->peer[i], SIOCOUTQ, &n) == 0 && n > 0;
        if (waiting == 0)
            return KY_OK;
        if (ky_clock_mono_ns() >= until)
            return KY_EAGAIN;
        poll(NULL, 0, 1);
    }
}

int ky_zsock_subscribers(ky_zsock *s)
{
    drain_subscriptions(s);
    return s->subscribers;
}

/* -- the source ---------------------------------------------------------------------- */

enum {
    ENVELOPE = 4, /* frames of an acknowledged message: sender, session, number, payload */
    ROUTE_SETS = 1024,
    ROUTE_WAYS = 8,
};

/* A sender's routing id, found again by an acknowledgement's cookie. Ids that libzmq makes
 * are five bytes and need no row: they are their own cookie. */
typedef struct route {
    uint64_t used; /* serial number of its last message, 0: free */
    uint8_t len, id[255];
} route;

typedef struct zmq_source {
    ky_source source;
    ky_zsock *sock;
    enum ky_delivery delivery;
    bool topics; /* sub: the first frame is a topic */
    uint64_t count;
    int64_t max_message;
    route *routes; /* [ROUTE_SETS * ROUTE_WAYS] */
} zmq_source;

enum { COOKIE_INLINE = 7 };

static uint64_t route_set(const uint8_t *id, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        h = (h ^ id[i]) * UINT64_C(0x100000001b3);
    return (h >> 20) % ROUTE_SETS;
}

/* Cookie: length in the highest byte and the id below it, or 0xff and the row. */
static uint64_t remember_route(zmq_source *z, const uint8_t *id, size_t len)
{
    uint64_t cookie = 0;

    if (len <= COOKIE_INLINE) {
        for (size_t i = 0; i < len; i++)
            cookie |= (uint64_t)id[i] << (8 * i);
        return cookie | (uint64_t)len << 56;
    }
    size_t set = route_set(id, len) * ROUTE_WAYS, row = set;
    for (size_t i = set; i < set + ROUTE_WAYS; i++) {
        if (z->routes[i].len == len && memcmp(z->routes[i].id, id, len) == 0) {
            row = i;
            break;
        }
        if (z->routes[i].used < z->routes[row].used)
            row = i;
    }
    z->routes[row].used = z->count;
    z->routes[row].len = (uint8_t)len;
    memcpy(z->routes[row].id, id, len);
    return UINT64_C(0xff) << 56 | row;
}

static ky_zframe route_of(zmq_source *z, uint64_t cookie, uint8_t buf[COOKIE_INLINE])
{
    if (cookie >> 56 == 0xff) {
        route *r = &z->routes[(cookie & 0xffffffff) % (ROUTE_SETS * ROUTE_WAYS)];
        return (ky_zframe){ r->id, r->len };
    }
    for (int i = 0; i < COOKIE_INLINE; i++)
        buf[i] = (uint8_t)(cookie >> (8 * i));
    size_t len = cookie >> 56;
    return (ky_zframe){ buf, len <= COOKIE_INLINE ? len : 0 };
}

static uint64_t read_le64(const void *p)
{
    const uint8_t *b = p;
    uint64_t v = 0;

    for (int i = 8; i-- > 0;)
        v = v << 8 | b[i];
    return v;
}

static void write_le64(uint8_t b[8], uint64_t v)
{
    for (int i = 0; i < 8; i++, v >>= 8)
        b[i] = (uint8_t)v;
}

static ky_zframe frame_at(const ky_zsock *s, int i)
{
    zmq_msg_t *f = (zmq_msg_t *)&s->frame[i];

    return (ky_zframe){ zmq_msg_data(f), zmq_msg_size(f) };
}

/* [payload], [stream][payload]; a sub's first frame is a topic, which names the stream if no
 * other frame does. */
static int read_plain(zmq_source *z, int n, ky_message *ret, ky_err *err)
{
    int most = z->topics ? 3 : 2;
    ky_zframe key = { NULL, 0 }, payload = frame_at(z->sock, n <= most ? n - 1 : 0);

    ret->number = z->count;
    ret->data = payload.data;
    ret->len = payload.len;
    if (n > most)
        return ky_fail(err, KY_EREJECT, "%d frames: at most %d are expected, %s", n, most,
                       z->topics ? "[topic] [stream] [payload]" : "[stream] [payload]");
    if (n > 1)
        key = frame_at(z->sock, n - 2);
    ret->key = key.len > 0 ? key.data : NULL;
    ret->key_len = key.len;
    return KY_OK;
}

/* [routing id] and the sender's own four frames. */
static int read_envelope(zmq_source *z, int n, ky_message *ret, ky_err *err)
{
    ky_zframe f[1 + ENVELOPE] = { { 0 } };
    int rc;

    for (int i = 0; i < n && i < 1 + ENVELOPE; i++)
        f[i] = frame_at(z->sock, i);
    ret->cookie = remember_route(z, f[0].data, f[0].len);
    ret->data = f[n <= ENVELOPE ? n - 1 : ENVELOPE].data;
    ret->len = f[n <= ENVELOPE ? n - 1 : ENVELOPE].len;
    if (n < 1 + ENVELOPE)
        return ky_fail(err, KY_EREJECT,
                       "%d frames: an acknowledged sender sends [sender] [session] [number] "
                       "[payload]",
                       n - 1);
    if ((rc = ky_codec_check_name("sender id", f[1].data, f[1].len, KY_STREAM_MAX, err)) != KY_OK)
        return rc;
    if (f[2].len != sizeof(ret->session))
        return ky_fail(err, KY_EREJECT, "session of %zu bytes, it has 16", f[2].len);
    if (f[3].len != 8 || read_le64(f[3].data) == 0)
        return ky_fail(err, KY_EREJECT, "message number: not 8 bytes, or 0; numbers begin with 1");
    ret->sender = f[1].data;
    ret->sender_len = f[1].len;
    memcpy(ret->session, f[2].data, sizeof(ret->session));
    ret->number = read_le64(f[3].data);
    if (n > 1 + ENVELOPE)
        return ky_fail(err, KY_EREJECT, "%d frames: an acknowledged sender sends 4", n - 1);
    return KY_OK;
}

static int zmq_source_recv(ky_source *source, ky_message *ret, int timeout_ms, ky_err *err)
{
    zmq_source *z = (zmq_source *)source;
    int rc, n = receive(z->sock, timeout_ms, err);

    if (n < 0)
        return n;
    z->count++;
    *ret = (ky_message){ .arrived_us = ky_clock_wall_us(), .ts_us = KY_NONE, .sender = "" };
    rc =
        z->delivery == KY_ACKNOWLEDGED ? read_envelope(z, n, ret, err) : read_plain(z, n, ret, err);
    if (rc == KY_OK && ret->len > (size_t)z->max_message)
        rc = ky_fail(err, KY_EREJECT, "%zu bytes, at most %lld are allowed (max_message)", ret->len,
                     (long long)z->max_message);
    return rc;
}

static void zmq_source_ack(ky_source *source, const ky_ack *a)
{
    zmq_source *z = (zmq_source *)source;
    uint8_t number[8], id[COOKIE_INLINE];

    if (z->delivery != KY_ACKNOWLEDGED)
        return;
    write_le64(number, a->number);
    ky_zframe frames[] = {
        route_of(z, a->cookie, id),
        { a->session, sizeof(a->session) },
        { number, sizeof(number) },
        { a->reason, a->reason != NULL ? strlen(a->reason) : 0 },
    };
    /* A sender that is gone or does not read will send again, and be answered again. */
    ky_zsock_send(z->sock, frames, a->reason != NULL ? 4 : 3, 0, NULL);
}

static void zmq_source_wake(ky_source *source)
{
    ky_zsock_wake(((zmq_source *)source)->sock);
}

static const char *zmq_source_trouble(const ky_source *source)
{
    (void)source;
    return NULL;
}

static enum ky_delivery zmq_source_delivery(const ky_source *source)
{
    return ((const zmq_source *)source)->delivery;
}

static const char *zmq_source_address(const ky_source *source)
{
    return ((const zmq_source *)source)->sock->address;
}

static void zmq_source_close(ky_source *source)
{
    zmq_source *z = (zmq_source *)source;

    ky_zsock_close(z->sock);
    free(z->routes);
    free(z);
}

static int zmq_source_open(const ky_source_opts *o, ky_source **ret, ky_err *err)
{
    const char *type = o->socket != NULL ? o->socket : "pull";
    zmq_source *z;
    int rc = KY_OK;

    if (strcmp(type, "pull") != 0 && strcmp(type, "sub") != 0 && strcmp(type, "router") != 0)
        return ky_fail(err, KY_EINVAL, "socket '%s': must be pull, sub or router", type);
    if ((z = calloc(1, sizeof(*z))) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a source");
    z->source.ops = &ky_source_zmq;
    z->delivery = ky_source_delivery_of("zmq", type);
    z->topics = strcmp(type, "sub") == 0;
    z->max_message = o->max_message > 0 ? o->max_message : 16 << 20;
    if (z->delivery == KY_ACKNOWLEDGED &&
        (z->routes = calloc(ROUTE_SETS * ROUTE_WAYS, sizeof(*z->routes))) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for a source");
    /* libzmq closes the connection of a peer that sends a larger frame than it may, without a word
     * to either side; up to twice the limit it arrives, and is refused with a reason. */
    int64_t largest = z->max_message < largest_message / 2 ? 2 * z->max_message : largest_message;
    if (rc == KY_OK)
        rc = open_socket(type, o->endpoint, o->bind, o->hwm, largest, &z->sock, err);
    if (rc == KY_OK && z->topics)
        rc = ky_zsock_subscribe(z->sock, o->subscribe != NULL ? o->subscribe : "", err);
    if (rc != KY_OK) {
        zmq_source_close(&z->source);
        return rc;
    }
    *ret = &z->source;
    return KY_OK;
}

const ky_source_ops ky_source_zmq = {
    "zmq",
    zmq_source_open,
    zmq_source_recv,
    zmq_source_ack,
    zmq_source_wake,
    zmq_source_trouble,
    zmq_source_delivery,
    zmq_source_address,
    zmq_source_close,
};
