/* The kafka source against a mock cluster in another process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connectors/source.h"
#include "models/clock.h"
#include "models/sample.h"

enum { WAIT_MS = 20000 };

/* -- the cluster ------------------------------------------------------------------- */

static struct {
    pid_t pid;
    FILE *in, *out;
    char brokers[256];
} cluster;

static const char *tool(const char *name, char path[4096])
{
    const char *dir = getenv("KY_BUILDDIR");

    snprintf(path, 4096, "%s/tests/kafka/%s", dir != NULL ? dir : ".", name);
    return path;
}

static int start_cluster(void **state)
{
    int in[2], out[2];
    char path[4096];

    (void)state;
    if (pipe(in) != 0 || pipe(out) != 0)
        return -1;
    cluster.pid = fork();
    if (cluster.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execl(tool("mock_broker", path), "mock_broker", "1", "in:4", "one:1", "few:1", "out:1",
              (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    cluster.in = fdopen(in[1], "w");
    cluster.out = fdopen(out[0], "r");
    if (fgets(cluster.brokers, sizeof(cluster.brokers), cluster.out) == NULL)
        return -1;
    cluster.brokers[strcspn(cluster.brokers, "\n")] = '\0';
    return 0;
}

static int stop_cluster(void **state)
{
    int status;

    (void)state;
    fclose(cluster.in);
    waitpid(cluster.pid, &status, 0);
    fclose(cluster.out);
    return status;
}

static void command(const char *line)
{
    char answer[64];

    fprintf(cluster.in, "%s\n", line);
    fflush(cluster.in);
    assert_non_null(fgets(answer, sizeof(answer), cluster.out));
}

/* Lines key<TAB>value from `fmt` with the numbers first .. first+n-1. */
static void produce(const char *topic, int partition, int first, int n, const char *fmt_key)
{
    char path[4096], line[4600];

    snprintf(line, sizeof(line), "%s %s %s %d >/dev/null", tool("produce", path), cluster.brokers,
             topic, partition);
    FILE *p = popen(line, "w");
    assert_non_null(p);
    for (int i = first; i < first + n; i++)
        fprintf(p, "%s%d\tvalue %d\n", fmt_key, i % 3, i);
    assert_int_equal(pclose(p), 0);
}

static int64_t from_table(const char *key, void *arg)
{
    const char *const *table = arg; /* key, offset, key, offset, NULL */

    for (; *table != NULL; table += 2)
        if (strcmp(table[0], key) == 0)
            return atoll(table[1]);
    return -1;
}

static const char *const from_beginning[] = { NULL };

static ky_source_opts options(const char *topic, const char *const *resume)
{
    return (ky_source_opts){ .name = "k",
                             .type = "kafka",
                             .brokers = cluster.brokers,
                             .topic = topic,
                             .partitions = "all",
                             .max_message = 1000,
                             .resume = from_table,
                             .resume_arg = (void *)(uintptr_t)resume };
}

static ky_source *open_source(const ky_source_opts *o)
{
    ky_source *s;
    ky_err err = { 0 };

    if (ky_source_open(o, &s, &err) != KY_OK)
        fail_msg("%s", err.text);
    return s;
}

/* The next message, past what passes by itself; until the deadline. */
static int next(ky_source *s, ky_message *m, ky_err *err)
{
    int64_t until = ky_clock_mono_ns() + (int64_t)WAIT_MS * 1000000;
    int rc;

    do
        rc = ky_source_recv(s, m, 100, err);
    while (rc == KY_EAGAIN && ky_clock_mono_ns() < until);
    return rc;
}

/* -- tests --------------------------------------------------------------------------- */

static void all_partitions_come_with_their_positions(void **state)
{
    int64_t last[4] = { -1, -1, -1, -1 };
    int count[4] = { 0 };
    ky_message m;
    ky_err err;

    (void)state;
    for (int p = 0; p < 4; p++)
        produce("in", p, 100 * p, 50 + p, "pump-");
    ky_source_opts o = options("in", from_beginning);
    ky_source *s = open_source(&o);
    assert_int_equal(ky_source_delivery(s), KY_OFFSETS);
    for (int i = 0; i < 4 * 50 + 6; i++) {
        char want[64];
        assert_int_equal(next(s, &m, &err), KY_OK);
        int p = m.partition;
        assert_in_range(p, 0, 3);
        assert_int_equal(m.number, last[p] + 1);
        last[p] = (int64_t)m.number;
        snprintf(want, sizeof(want), "in/%d", p);
        assert_int_equal(m.sender_len, strlen(want));
        assert_memory_equal(m.sender, want, m.sender_len);
        snprintf(want, sizeof(want), "value %d", 100 * p + count[p]);
        assert_int_equal(m.len, strlen(want));
        assert_memory_equal(m.data, want, m.len);
        snprintf(want, sizeof(want), "pump-%d", (100 * p + count[p]) % 3);
        assert_int_equal(m.key_len, strlen(want));
        assert_memory_equal(m.key, want, m.key_len);
        assert_true(llabs(m.ts_us - ky_clock_wall_us()) < 3600 * INT64_C(1000000));
        assert_false(m.tombstone);
        count[p]++;
    }
    assert_int_equal(ky_source_recv(s, &m, 0, &err), KY_EAGAIN);
    ky_source_close(s);
}

static void reading_resumes_behind_what_was_taken(void **state)
{
    static const char *const table[] = { "in/0", "47", "in/1", "50", "in/3", "52", NULL };
    int count[4] = { 0 };
    ky_message m;
    ky_err err;

    (void)state;
    ky_source_opts o = options("in", table);
    o.partitions = "0-1,3";
    ky_source *s = open_source(&o);
    for (int i = 0; i < 2; i++) { /* 48 and 49 of partition 0; 1 and 3 are at their ends */
        assert_int_equal(next(s, &m, &err), KY_OK);
        count[m.partition]++;
        assert_int_equal(m.number, 48 + i);
    }
    produce("in", 3, 0, 1, "x");
    produce("in", 2, 0, 1, "x"); /* not named */
    assert_int_equal(next(s, &m, &err), KY_OK);
    assert_int_equal(m.partition, 3);
    assert_int_equal(m.number, 53);
    assert_int_equal(ky_source_recv(s, &m, 0, &err), KY_EAGAIN);
    assert_int_equal(count[0], 2);
    ky_source_close(s);
}

static void tombstones_missing_keys_and_oversize_values_are_told_apart(void **state)
{
    char path[4096], line[4600];
    ky_message m;
    ky_err err;

    (void)state;
    snprintf(line, sizeof(line), "%s %s one 0 >/dev/null", tool("produce", path), cluster.brokers);
    FILE *p = popen(line, "w");
    assert_non_null(p);
    fprintf(p, "gone\t(null)\n\tno key\n%01001d\nlast\tx\n", 0);
    assert_int_equal(pclose(p), 0);
    ky_source_opts o = options("one", from_beginning);
    ky_source *s = open_source(&o);
    assert_int_equal(next(s, &m, &err), KY_OK);
    assert_true(m.tombstone);
    assert_int_equal(m.key_len, 4);
    assert_int_equal(next(s, &m, &err), KY_OK);
    assert_false(m.tombstone);
    assert_null(m.key);
    assert_int_equal(next(s, &m, &err), KY_EREJECT);
    assert_non_null(strstr(err.text, "1001 bytes"));
    assert_int_equal(m.number, 2);
    assert_int_equal(next(s, &m, &err), KY_OK);
    assert_int_equal(m.number, 3);
    ky_source_close(s);
}

static void what_cannot_be_opened_says_why(void **state)
{
    static const ky_kv unknown[] = { { "no.such.thing", "1" } }, bad[] = { { "linger.ms", "x" } },
                       ours[] = { { "enable.auto.commit", "true" } },
                       fine[] = { { "client.rack", "r1" } };
    ky_source_opts o[6];
    static const struct {
        int code;
        const char *says;
    } want[] = {
        { KY_EINVAL, "partitions '0-'" },
        { KY_EINVAL, "none of them" },
        { KY_EINVAL, "no.such.thing" },
        { KY_EINVAL, "linger.ms" },
        { KY_EINVAL, "kymo keeps the positions" },
        { KY_EINVAL, "topic" },
    };

    (void)state;
    for (int i = 0; i < 6; i++)
        o[i] = options("in", from_beginning);
    o[0].partitions = "0-";
    o[1].partitions = "17";
    o[2].rdkafka = unknown;
    o[3].rdkafka = bad;
    o[4].rdkafka = ours;
    o[2].n_rdkafka = o[3].n_rdkafka = o[4].n_rdkafka = 1;
    o[5].topic = NULL;
    for (int i = 0; i < 6; i++) {
        ky_source *s = NULL;
        ky_err err = { 0 };
        assert_int_equal(ky_source_open(&o[i], &s, &err), want[i].code);
        assert_non_null(strstr(err.text, want[i].says));
    }
    assert_int_equal(ky_kafka_check(fine, 1, NULL), KY_OK);
    assert_int_equal(ky_kafka_check(unknown, 1, NULL), KY_EINVAL);
}

static void brokers_that_do_not_answer_are_named(void **state)
{
    ky_source_opts o = options("in", from_beginning);
    ky_source *s = NULL;
    ky_err err = { 0 };

    (void)state;
    o.brokers = "127.0.0.1:1";
    assert_int_equal(ky_source_open(&o, &s, &err), KY_EIO);
    assert_non_null(strstr(err.text, "127.0.0.1:1"));
}

static void a_position_that_is_gone_ends_the_source(void **state)
{
    static const char *const beyond[] = { "few/0", "1000000", NULL };
    ky_message m;
    ky_err err = { 0 };

    (void)state;
    produce("few", 0, 0, 3, "k");
    ky_source_opts o = options("few", beyond);
    ky_source *s = open_source(&o);
    assert_int_equal(next(s, &m, &err), KY_ECORRUPT);
    assert_non_null(strstr(err.text, "few/0"));
    ky_source_close(s);
}

static void another_database_under_the_same_group_is_refused(void **state)
{
    ky_source_opts o = options("in", from_beginning);
    ky_source *s;
    ky_message m;
    ky_err err = { 0 };

    (void)state;
    o.group = "plant";
    o.uuid = "11111111-1111-1111-1111-111111111111";
    s = open_source(&o);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(next(s, &m, &err), KY_OK);
        ky_source_ack(s, &(ky_ack){ .cookie = m.cookie, .number = m.number });
    }
    ky_source_close(s); /* reports */
    ky_source_close(open_source(&o));
    o.uuid = "22222222-2222-2222-2222-222222222222";
    assert_int_equal(ky_source_open(&o, &s, &err), KY_EBUSY);
    assert_non_null(strstr(err.text, "plant"));
    assert_non_null(strstr(err.text, "11111111"));
    assert_non_null(strstr(err.text, "22222222"));
}

static void an_outage_loses_and_repeats_nothing(void **state)
{
    ky_source_opts o = options("out", from_beginning);
    ky_message m;
    ky_err err;
    uint64_t want = 0;

    (void)state;
    produce("out", 0, 0, 20, "k");
    ky_source *s = open_source(&o);
    for (; want < 10; want++) {
        assert_int_equal(next(s, &m, &err), KY_OK);
        assert_int_equal(m.number, want);
    }
    command("down 1");
    while (ky_source_trouble(s) == NULL) { /* what was fetched before still comes */
        int rc = ky_source_recv(s, &m, 100, &err);
        assert_true(rc == KY_OK || rc == KY_EAGAIN);
        if (rc == KY_OK)
            assert_int_equal(m.number, want++);
    }
    command("up 1");
    command("err 1 6 3"); /* three fetches fail: not the leader */
    produce("out", 0, 20, 20, "k");
    for (; want < 40; want++) {
        assert_int_equal(next(s, &m, &err), KY_OK);
        assert_int_equal(m.number, want);
    }
    assert_null(ky_source_trouble(s));
    ky_source_close(s);
}

static void closing_does_not_wait_for_a_broker_that_is_away(void **state)
{
    ky_source_opts o = options("in", from_beginning);
    ky_message m;
    ky_err err;

    (void)state;
    o.group = "away";
    o.uuid = "11111111-1111-1111-1111-111111111111";
    ky_source *s = open_source(&o);
    assert_int_equal(next(s, &m, &err), KY_OK);
    command("down 1");
    while (ky_source_trouble(s) == NULL)
        ky_source_recv(s, &m, 100, &err);
    ky_source_ack(s, &(ky_ack){ .cookie = m.cookie, .number = m.number });
    int64_t begun = ky_clock_mono_ns();
    ky_source_close(s);
    assert_true(ky_clock_mono_ns() - begun < INT64_C(5000000000));
    command("up 1");
}

static void *wake_it(void *s)
{
    ky_source_wake(s);
    return NULL;
}

static void wake_ends_a_wait(void **state)
{
    static const char *const at_end[] = { "one/0", "3", NULL };
    ky_source_opts o = options("one", at_end);
    ky_message m;
    ky_err err;
    pthread_t t;

    (void)state;
    ky_source *s = open_source(&o);
    int64_t begun = ky_clock_mono_ns();
    assert_int_equal(pthread_create(&t, NULL, wake_it, s), 0);
    pthread_join(t, NULL);
    assert_int_equal(ky_source_recv(s, &m, 60000, &err), KY_EAGAIN);
    assert_true(ky_clock_mono_ns() - begun < INT64_C(30000000000));
    ky_source_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_partitions_come_with_their_positions),
        cmocka_unit_test(reading_resumes_behind_what_was_taken),
        cmocka_unit_test(tombstones_missing_keys_and_oversize_values_are_told_apart),
        cmocka_unit_test(what_cannot_be_opened_says_why),
        cmocka_unit_test(brokers_that_do_not_answer_are_named),
        cmocka_unit_test(a_position_that_is_gone_ends_the_source),
        cmocka_unit_test(another_database_under_the_same_group_is_refused),
        cmocka_unit_test(an_outage_loses_and_repeats_nothing),
        cmocka_unit_test(closing_does_not_wait_for_a_broker_that_is_away),
        cmocka_unit_test(wake_ends_a_wait),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
