/* What systemd is told, with a socket of ours in its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "daemon/notify.h"
#include "models/clock.h"

static int64_t now_ns;
static int fd;

static int64_t mono_ns(void)
{
    return now_ns;
}

/* An abstract socket, so nothing is left behind. */
static int listen_as_systemd(void **state)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int len = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "kymo-test-%d", (int)getpid());
    char text[128];

    (void)state;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)),
                     0);
    snprintf(text, sizeof(text), "@%s", a.sun_path + 1);
    setenv("NOTIFY_SOCKET", text, 1);
    setenv("WATCHDOG_USEC", "2000000", 1);
    unsetenv("WATCHDOG_PID");
    ky_clock_set(NULL, mono_ns);
    now_ns += 1000000000000;
    return 0;
}

static int close_systemd(void **state)
{
    (void)state;
    close(fd);
    ky_clock_set(NULL, NULL);
    return 0;
}

/* The next datagram, "" if there is none. */
static const char *told(void)
{
    static char text[1024];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static void readiness_and_stopping_are_told(void **state)
{
    (void)state;
#ifndef KY_WITH_SYSTEMD
    skip();
#endif
    ky_notify_ready("2 sources");
    assert_string_equal(told(), "READY=1\nSTATUS=2 sources");
    ky_notify_stopping();
    assert_non_null(strstr(told(), "STOPPING=1"));
    ky_notify_extend(5000000);
    assert_string_equal(told(), "EXTEND_TIMEOUT_USEC=5000000");
}

static void status_is_told_at_most_once_a_second(void **state)
{
    (void)state;
#ifndef KY_WITH_SYSTEMD
    skip();
#endif
    ky_notify_status("%d streams", 1);
    ky_notify_status("%d streams", 2);
    now_ns += 1000000000;
    ky_notify_status("%d streams", 3);
    assert_string_equal(told(), "STATUS=1 streams");
    assert_string_equal(told(), "STATUS=3 streams");
    assert_string_equal(told(), "");
}

static void the_ping_needs_every_heart(void **state)
{
    ky_watchdog *w = ky_watchdog_new();
    ky_heart a = { 0 }, b = { 0 };

    (void)state;
#ifndef KY_WITH_SYSTEMD
    ky_watchdog_free(w);
    skip();
#endif
    assert_int_equal(ky_watchdog_interval_us(w), 1000000);
    ky_watchdog_add(w, "a", &a);
    ky_watchdog_add(w, "b", &b);
    ky_heart_beat(&a);
    assert_false(ky_watchdog_check(w)); /* b never moved */
    assert_string_equal(told(), "");
    ky_heart_beat(&b);
    assert_true(ky_watchdog_check(w));
    assert_string_equal(told(), "WATCHDOG=1");
    ky_heart_beat(&a);
    ky_heart_beat(&b);
    assert_false(ky_watchdog_check(w)); /* not yet time */
    now_ns += 1000000000;
    assert_true(ky_watchdog_check(w));
    now_ns += 1000000000;
    ky_heart_beat(&a);
    assert_false(ky_watchdog_check(w)); /* b stands still */
    ky_heart_beat(&b);
    assert_true(ky_watchdog_check(w));
    ky_watchdog_free(w);
}

static void without_a_watchdog_nothing_is_sent(void **state)
{
    ky_watchdog *w;

    (void)state;
    unsetenv("WATCHDOG_USEC");
    w = ky_watchdog_new();
    now_ns += 1000000000000;
    assert_int_equal(ky_watchdog_interval_us(w), 0);
    assert_false(ky_watchdog_check(w));
    assert_string_equal(told(), "");
    ky_watchdog_free(w);
}

#define T(f) cmocka_unit_test_setup_teardown(f, listen_as_systemd, close_systemd)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(readiness_and_stopping_are_told),
        T(status_is_told_at_most_once_a_second),
        T(the_ping_needs_every_heart),
        T(without_a_watchdog_nothing_is_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
