/* ZeroMQ sockets and the zmq source, over real sockets of this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connectors/source.h"
#include "connectors/zmq.h"
#include "models/clock.h"
#include "models/sample.h"

enum { WAIT_MS = 10000 };

static char dir[256];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "%s/kymo-zmq-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static ky_zframe text(const char *s)
{
    return (ky_zframe){ s, strlen(s) };
}

static ky_source *open_source(const char *socket, const char *endpoint, bool bind)
{
    ky_source *s;
    ky_err err = { 0 };
    ky_source_opts o = { .name = "test",
                         .type = "zmq",
                         .socket = socket,
                         .endpoint = endpoint,
                         .bind = bind,
                         .max_message = 10000 };

    if (ky_source_open(&o, &s, &err) != KY_OK)
        fail_msg("%s", err.text);
    return s;
}

static ky_zsock *open_socket(const char *type, const char *endpoint, bool bind)
{
    ky_zsock *s;
    ky_err err = { 0 };

    if (ky_zsock_open(type, endpoint, bind, 0, &s, &err) != KY_OK)
        fail_msg("%s", err.text);
    return s;
}

static void send_frames(ky_zsock *s, const ky_zframe *f, int n)
{
    assert_int_equal(ky_zsock_send(s, f, n, WAIT_MS, NULL), KY_OK);
}

static void assert_bytes(const void *data, size_t len, const char *want)
{
    assert_int_equal(len, strlen(want));
    assert_memory_equal(data, want, len);
}

static void port_star_tells_the_port_it_got(void **state)
{
    (void)state;
    ky_source *s = open_source("pull", "tcp://127.0.0.1:*", true);
    int port = 0;

    assert_int_equal(sscanf(ky_source_address(s), "tcp://127.0.0.1:%d", &port), 1);
    assert_in_range(port, 1, 65535);
    ky_source_close(s);
}

static void pull_gives_payload_and_stream(void **state)
{
    (void)state;
    ky_source *s = open_source("pull", "tcp://127.0.0.1:*", true);
    ky_zsock *push = open_socket("push", ky_source_address(s), false);
    ky_message m;

    send_frames(push, (ky_zframe[]){ text("one") }, 1);
    send_frames(push, (ky_zframe[]){ text("pump-7"), text("two") }, 2);
    send_frames(push, (ky_zframe[]){ text(""), text("three") }, 2);

    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    assert_bytes(m.data, m.len, "one");
    assert_null(m.key);
    assert_int_equal(m.number, 1);
    assert_int_equal(m.ts_us, KY_NONE);
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    assert_bytes(m.key, m.key_len, "pump-7");
    assert_bytes(m.data, m.len, "two");
    assert_int_equal(m.number, 2);
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    assert_null(m.key);
    assert_bytes(m.data, m.len, "three");
    ky_zsock_close(push);
    ky_source_close(s);
}

static void too_many_frames_are_refused_and_the_next_message_is_not(void **state)
{
    (void)state;
    ky_source *s = open_source("pull", "tcp://127.0.0.1:*", true);
    ky_zsock *push = open_socket("push", ky_source_address(s), false);
    ky_zframe many[1000];
    ky_message m;
    ky_err err;

    for (int i = 0; i < 1000; i++)
        many[i] = text("x");
    send_frames(push, many, 3);
    send_frames(push, many, 1000);
    send_frames(push, (ky_zframe[]){ text("good") }, 1);

    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, &err), KY_EREJECT);
    assert_non_null(strstr(err.text, "3 frames"));
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, &err), KY_EREJECT);
    assert_non_null(strstr(err.text, "1000 frames"));
    assert_int_equal(m.number, 2);
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, &err), KY_OK);
    assert_bytes(m.data, m.len, "good");
    ky_zsock_close(push);
    ky_source_close(s);
}

static void pull_connects_where_the_sender_binds(void **state)
{
    (void)state;
    ky_zsock *push = open_socket("push", "tcp://127.0.0.1:*", true);
    ky_source *s = open_source("pull", ky_zsock_address(push), false);
    ky_message m;

    send_frames(push, (ky_zframe[]){ text("hello") }, 1);
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    assert_bytes(m.data, m.len, "hello");
    ky_source_close(s);
    ky_zsock_close(push);
}

static void sub_takes_the_topic_as_stream_unless_a_frame_names_it(void **state)
{
    (void)state;
    ky_zsock *pub = open_socket("pub", "tcp://127.0.0.1:*", true);
    ky_source *s = open_source("sub", ky_zsock_address(pub), false);
    ky_message m;
    ky_err err;

    while (ky_zsock_subscribers(pub) == 0)
        assert_int_equal(ky_source_recv(s, &m, 10, NULL), KY_EAGAIN);
    assert_int_equal(ky_zsock_subscribers(pub), 1);
    send_frames(pub, (ky_zframe[]){ text("alone") }, 1);
    send_frames(pub, (ky_zframe[]){ text("topic"), text("two") }, 2);
    send_frames(pub, (ky_zframe[]){ text("topic"), text("pump"), text("three") }, 3);
    send_frames(pub, (ky_zframe[]){ text("t"), text("s"), text("p"), text("q") }, 4);

    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    assert_null(m.key);
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    assert_bytes(m.key, m.key_len, "topic");
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    assert_bytes(m.key, m.key_len, "pump");
    assert_bytes(m.data, m.len, "three");
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, &err), KY_EREJECT);
    ky_source_close(s);
    ky_zsock_close(pub);
}

static void ipc_works_and_its_path_is_checked(void **state)
{
    (void)state;
    char endpoint[620], path[600];
    ky_zsock *z;
    ky_err err;

    snprintf(endpoint, sizeof(endpoint), "ipc://%s/sock", dir);
    ky_source *s = open_source("pull", endpoint, true);
    ky_zsock *push = open_socket("push", ky_source_address(s), false);
    ky_message m;
    send_frames(push, (ky_zframe[]){ text("hello") }, 1);
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    assert_bytes(m.data, m.len, "hello");

    /* libzmq would take the path from the one who has it. */
    assert_int_equal(ky_zsock_open("pull", endpoint, true, 0, &z, &err), KY_EBUSY);
    assert_non_null(strstr(err.text, endpoint));
    ky_zsock_close(push);
    ky_source_close(s);

    snprintf(path, sizeof(path), "%s/file", dir);
    snprintf(endpoint, sizeof(endpoint), "ipc://%s", path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(ky_zsock_open("pull", endpoint, true, 0, &z, &err), KY_EBUSY);
    assert_int_equal(access(path, F_OK), 0); /* still there */
    unlink(path);

    memset(endpoint, 'a', 200);
    memcpy(endpoint, "ipc:///", 7);
    endpoint[200] = '\0';
    assert_int_equal(ky_zsock_open("pull", endpoint, true, 0, &z, &err), KY_EINVAL);
    assert_non_null(strstr(err.text, "107"));
}

static void a_socket_left_behind_is_taken_over(void **state)
{
    (void)state;
    char endpoint[320], path[300];

    snprintf(path, sizeof(path), "%s/stale", dir);
    snprintf(endpoint, sizeof(endpoint), "ipc://%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr sa = { .sa_family = AF_UNIX };
    char storage[sizeof(sa) + 300];
    memcpy(storage, &sa, sizeof(sa));
    memcpy(storage + offsetof(struct sockaddr, sa_data), path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)storage,
                          (socklen_t)(offsetof(struct sockaddr, sa_data) + strlen(path) + 1)),
                     0);
    close(fd);
    ky_zsock_close(open_socket("pull", endpoint, true));
}

static void a_port_that_is_taken_is_named(void **state)
{
    (void)state;
    ky_source *s = open_source("pull", "tcp://127.0.0.1:*", true), *other;
    ky_source_opts o = { .name = "second",
                         .type = "zmq",
                         .socket = "pull",
                         .endpoint = ky_source_address(s),
                         .bind = true };
    ky_err err;

    assert_int_equal(ky_source_open(&o, &other, &err), KY_EBUSY);
    assert_non_null(strstr(err.text, ky_source_address(s)));
    assert_non_null(strstr(err.text, "second"));
    ky_source_close(s);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *type, *socket, *endpoint, *says;
    } cases[] = {
        { "zmq", "pair", "tcp://127.0.0.1:*", "pair" },
        { "zmq", "pull", "tcp://127.0.0.1", "tcp://127.0.0.1" },
        { "zmq", "pull", "127.0.0.1:5555", "tcp://host:port" },
        { "zmq", "pull", "tcp://127.0.0.1:99999", "99999" },
        { "zmq", "pull", "tcp://127.0.0.1:5555x", "5555x" },
        { "zmq", "pull", "tcp://127.0.0.1:", "127.0.0.1:" },
        { "zmq", "pull", "nonsense://x", "nonsense" },
        { "zmq", "pull", "", "endpoint" },
        { "zmq", "pull", NULL, "endpoint" },
        { "carrier pigeon", "pull", "tcp://127.0.0.1:*", "carrier pigeon" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_source_opts o = { .name = "t",
                             .type = cases[i].type,
                             .socket = cases[i].socket,
                             .endpoint = cases[i].endpoint,
                             .bind = true };
        ky_source *s;
        ky_err err = { 0 };
        assert_int_equal(ky_source_open(&o, &s, &err), KY_EINVAL);
        assert_non_null(strstr(err.text, cases[i].says));
    }
}

/* -- acknowledged ---------------------------------------------------------------- */

static const uint8_t session[16] = "0123456789abcde";

static void send_numbered(ky_zsock *dealer, uint8_t number, const char *payload)
{
    uint8_t le[8] = { number };

    send_frames(dealer, (ky_zframe[]){ text("sensor"), { session, 16 }, { le, 8 }, text(payload) },
                4);
}

static void expect_answer(ky_zsock *dealer, uint8_t number, const char *reason)
{
    ky_zframe f[KY_ZFRAMES];
    uint8_t le[8] = { number };

    assert_int_equal(ky_zsock_recv(dealer, f, KY_ZFRAMES, WAIT_MS, NULL), reason != NULL ? 3 : 2);
    assert_int_equal(f[0].len, 16);
    assert_memory_equal(f[0].data, session, 16);
    assert_int_equal(f[1].len, 8);
    assert_memory_equal(f[1].data, le, 8);
    if (reason != NULL)
        assert_bytes(f[2].data, f[2].len, reason);
}

static void router_gives_the_envelope_and_answers_the_sender(void **state)
{
    (void)state;
    ky_source *s = open_source("router", "tcp://127.0.0.1:*", true);
    ky_zsock *one = open_socket("dealer", ky_source_address(s), false);
    ky_zsock *two = open_socket("dealer", ky_source_address(s), false);
    ky_message m;

    assert_int_equal(ky_source_delivery(s), KY_ACKNOWLEDGED);
    send_numbered(one, 1, "a");
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    assert_bytes(m.sender, m.sender_len, "sensor");
    assert_memory_equal(m.session, session, 16);
    assert_int_equal(m.number, 1);
    assert_bytes(m.data, m.len, "a");
    uint64_t to_one = m.cookie;

    send_numbered(two, 7, "b");
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    assert_int_equal(m.number, 7);
    assert_true(m.cookie != to_one);

    ky_ack ack = { .cookie = m.cookie, .number = 0, .reason = "unknown session" };
    memcpy(ack.session, session, 16);
    ky_source_ack(s, &ack);
    ack = (ky_ack){ .cookie = to_one, .number = 1 };
    memcpy(ack.session, session, 16);
    ky_source_ack(s, &ack);
    expect_answer(two, 0, "unknown session");
    expect_answer(one, 1, NULL);
    ky_zsock_close(one);
    ky_zsock_close(two);

    /* The senders are gone: answers to them do no harm. */
    for (int i = 0; i < 1000; i++)
        ky_source_ack(s, &ack);
    ky_source_close(s);
}

static void router_refuses_wrong_envelopes_and_tells_what_it_knows(void **state)
{
    (void)state;
    ky_source *s = open_source("router", "tcp://127.0.0.1:*", true);
    ky_zsock *dealer = open_socket("dealer", ky_source_address(s), false);
    static const uint8_t one[8] = { 1 }, zero[8] = { 0 };
    const ky_zframe p = text("payload"), good = { session, 16 }, n1 = { one, 8 };
    const struct {
        ky_zframe f[6];
        int n;
        uint64_t number;
    } cases[] = {
        { { p }, 1, 0 },
        { { text("sensor"), good, n1 }, 3, 0 },
        { { text(""), good, n1, p }, 4, 0 },
        { { text("a\nb"), good, n1, p }, 4, 0 },
        { { text("sensor"), { session, 15 }, n1, p }, 4, 0 },
        { { text("sensor"), good, { one, 7 }, p }, 4, 0 },
        { { text("sensor"), good, { zero, 8 }, p }, 4, 0 },
        { { text("sensor"), good, n1, p, p }, 5, 1 },
    };
    ky_message m;
    ky_err err;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        send_frames(dealer, cases[i].f, cases[i].n);
        assert_int_equal(ky_source_recv(s, &m, WAIT_MS, &err), KY_EREJECT);
        assert_int_equal(m.number, cases[i].number);
    }
    send_numbered(dealer, 1, "good");
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, &err), KY_OK);
    ky_zsock_close(dealer);
    ky_source_close(s);
}

/* -- what a port must stand ---------------------------------------------------------- */

static int connect_raw(const char *address)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    int port = 0, fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(sscanf(address, "tcp://127.0.0.1:%d", &port), 1);
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

/* Sends bytes and waits until the other side hangs up. */
static void send_raw(const char *address, const void *data, size_t len)
{
    int fd = connect_raw(address);
    char sink[256];

    if (send(fd, data, len, MSG_NOSIGNAL) < 0)
        assert_true(errno == EPIPE || errno == ECONNRESET);
    shutdown(fd, SHUT_WR);
    while (read(fd, sink, sizeof(sink)) > 0)
        continue;
    close(fd);
}

static void garbage_on_the_port_is_no_message(void **state)
{
    (void)state;
    static const char *const sockets[] = { "pull", "router" };
    static const char zmtp1[] = "\x01\x00\x06\x00hello";
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    static char noise[65536];
    unsigned seed = 1;

    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)((seed = seed * 1103515245u + 12345u) >> 16);
    for (size_t k = 0; k < sizeof(sockets) / sizeof(*sockets); k++) {
        ky_source *s = open_source(sockets[k], "tcp://127.0.0.1:*", true);
        ky_message m;

        for (int i = 0; i < 10; i++) {
            send_raw(ky_source_address(s), zmtp1, sizeof(zmtp1) - 1);
            send_raw(ky_source_address(s), http, sizeof(http) - 1);
            noise[0] = (char)(i * 25 + 1);
            send_raw(ky_source_address(s), noise, sizeof(noise));
        }
        ky_zsock *peer = open_socket(k == 0 ? "push" : "dealer", ky_source_address(s), false);
        send_numbered(peer, 1, "x"); /* 4 frames: a PULL refuses them, but they are the first */
        assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), k == 0 ? KY_EREJECT : KY_OK);
        assert_int_equal(m.number, 1);
        ky_zsock_close(peer);
        ky_source_close(s);
    }
}

static void an_oversize_message_is_refused_and_the_next_is_not(void **state)
{
    (void)state;
    ky_source *s = open_source("pull", "tcp://127.0.0.1:*", true); /* takes 10000 bytes */
    ky_zsock *push = open_socket("push", ky_source_address(s), false);
    static char big[1 << 20];
    ky_message m;
    ky_err err;

    send_frames(push, (ky_zframe[]){ { big, 10001 } }, 1);
    assert_int_equal(ky_source_recv(s, &m, WAIT_MS, &err), KY_EREJECT);
    assert_non_null(strstr(err.text, "10001"));
    send_frames(push, (ky_zframe[]){ { big, sizeof(big) } }, 1); /* ends the connection */
    do
        send_frames(push, (ky_zframe[]){ { big, 10000 } }, 1);
    while (ky_source_recv(s, &m, 50, &err) == KY_EAGAIN);
    assert_int_equal(m.len, 10000);
    ky_zsock_close(push);
    ky_source_close(s);
}

static void *wake_it(void *s)
{
    ky_source_wake(s);
    return NULL;
}

static void wake_ends_a_wait(void **state)
{
    (void)state;
    ky_source *s = open_source("pull", "tcp://127.0.0.1:*", true);
    ky_message m;
    pthread_t t;

    assert_int_equal(pthread_create(&t, NULL, wake_it, s), 0);
    assert_int_equal(ky_source_recv(s, &m, -1, NULL), KY_EAGAIN);
    pthread_join(t, NULL);
    assert_int_equal(ky_source_recv(s, &m, 0, NULL), KY_EAGAIN);
    ky_source_close(s);
}

enum { MANY = 40000, SIZE = 200 };

static void *send_many(void *address)
{
    ky_zsock *push;
    char sample[SIZE] = { 0 };
    intptr_t rc = ky_zsock_open("push", address, false, KY_ZDRAIN / SIZE, &push, NULL);

    for (int i = 0; i < MANY && rc == KY_OK; i++)
        rc = ky_zsock_send(push, (ky_zframe[]){ { sample, SIZE } }, 1, WAIT_MS, NULL);
    if (rc == KY_OK)
        rc = ky_zsock_drain(push, WAIT_MS);
    ky_zsock_linger(push, -1);
    ky_zsock_close(push);
    return (void *)rc;
}

/* A reader that is slower than the sender: it closes on full buffers. */
static void closing_loses_nothing_that_was_sent(void **state)
{
    (void)state;
    char endpoint[300];
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/slow", dir);
    ky_source *s = open_source("pull", endpoint, true);
    ky_message m;
    pthread_t t;
    void *rc;

    assert_int_equal(pthread_create(&t, NULL, send_many, endpoint), 0);
    for (int i = 0; i < MANY; i++) {
        if (i % 100 == 0)
            poll(NULL, 0, 1);
        assert_int_equal(ky_source_recv(s, &m, WAIT_MS, NULL), KY_OK);
    }
    pthread_join(t, &rc);
    assert_int_equal((intptr_t)rc, KY_OK);
    ky_source_close(s);
}

static void a_pub_without_readers_does_not_block(void **state)
{
    (void)state;
    ky_zsock *pub = open_socket("pub", "tcp://127.0.0.1:*", true);

    for (int i = 0; i < 100000; i++)
        assert_int_equal(ky_zsock_send(pub, (ky_zframe[]){ text("t"), text("x") }, 2, 0, NULL),
                         KY_OK);
    ky_zsock_close(pub);
}

static void a_push_without_a_reader_says_so(void **state)
{
    (void)state;
    ky_zsock *pull = open_socket("pull", "tcp://127.0.0.1:*", true);
    char address[256];

    snprintf(address, sizeof(address), "%s", ky_zsock_address(pull));
    ky_zsock_close(pull);
    ky_zsock *push = open_socket("push", address, false);
    assert_int_equal(ky_zsock_send(push, (ky_zframe[]){ text("x") }, 1, 20, NULL), KY_EAGAIN);
    ky_zsock_close(push);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(port_star_tells_the_port_it_got),
        cmocka_unit_test(pull_gives_payload_and_stream),
        cmocka_unit_test(too_many_frames_are_refused_and_the_next_message_is_not),
        cmocka_unit_test(pull_connects_where_the_sender_binds),
        cmocka_unit_test(sub_takes_the_topic_as_stream_unless_a_frame_names_it),
        cmocka_unit_test(ipc_works_and_its_path_is_checked),
        cmocka_unit_test(a_socket_left_behind_is_taken_over),
        cmocka_unit_test(a_port_that_is_taken_is_named),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(router_gives_the_envelope_and_answers_the_sender),
        cmocka_unit_test(router_refuses_wrong_envelopes_and_tells_what_it_knows),
        cmocka_unit_test(garbage_on_the_port_is_no_message),
        cmocka_unit_test(an_oversize_message_is_refused_and_the_next_is_not),
        cmocka_unit_test(wake_ends_a_wait),
        cmocka_unit_test(closing_loses_nothing_that_was_sent),
        cmocka_unit_test(a_pub_without_readers_does_not_block),
        cmocka_unit_test(a_push_without_a_reader_says_so),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
