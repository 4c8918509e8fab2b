/* Configuration: what is accepted, what is refused and how it is said. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "daemon/config.h"
#include "daemon/core.h"
#include "daemon/settings.h"

/* A directory with kymod.ini, kymod.d/ and an (empty) model file m.h5; the current directory. */
typedef struct place {
    char dir[256];
    ky_config *c;
    ky_problems problems;
} place;

static void write_bytes(const char *path, const void *bytes, size_t len)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

static int make_place(void **state)
{
    place *p = calloc(1, sizeof(*p));
    const char *tmp = getenv("TMPDIR");

    snprintf(p->dir, sizeof(p->dir), "%s/kyconf.XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(p->dir));
    assert_int_equal(chdir(p->dir), 0);
    assert_int_equal(mkdir("kymod.d", 0700), 0);
    write_text("m.h5", "");
    umask(027);
    unsetenv("STATE_DIRECTORY");
    unsetenv("RUNTIME_DIRECTORY");
    *state = p;
    return 0;
}

static void forget(place *p)
{
    ky_config_free(p->c);
    p->c = NULL;
    ky_problems_done(&p->problems);
}

static int remove_place(void **state)
{
    place *p = *state;
    char command[512];

    forget(p);
    snprintf(command, sizeof(command), "rm -rf '%s'", p->dir);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(system(command), 0);
    free(p);
    return 0;
}

static int load_with(place *p, const char *text, const char *const *overrides)
{
    forget(p);
    if (text != NULL)
        write_text("kymod.ini", text);
    return ky_config_load("kymod.ini", overrides, &p->c, &p->problems);
}

static int load(place *p, const char *text)
{
    return load_with(p, text, NULL);
}

static bool says(const place *p, const char *what)
{
    for (int i = 0; i < p->problems.n; i++)
        if (strstr(p->problems.text[i], what) != NULL)
            return true;
    return false;
}

#define GOOD                                                                                       \
    "[source:plant]\nendpoint = tcp://127.0.0.1:5555\n[stream:vib]\nmodel = m\n"                   \
    "[model:m]\nfile = m.h5\n[publish:live]\nendpoint = tcp://127.0.0.1:5556\n"

/* What needs a kymo that knows Kafka. */
static void need_kafka(void)
{
#ifndef KY_WITH_RDKAFKA
    skip();
#endif
}

static void assert_good(place *p, int rc)
{
    for (int i = 0; i < p->problems.n; i++)
        print_message("%s\n", p->problems.text[i]);
    assert_int_equal(rc, KY_OK);
    assert_non_null(p->c);
}

static void the_smallest_file_gives_all_defaults(void **state)
{
    place *p = *state;

    assert_good(p, load(p, GOOD));
    assert_string_equal(p->c->state_dir, "/var/lib/kymo");
    assert_string_equal(p->c->runtime_dir, "/var/lib/kymo/run");
    assert_int_equal(p->c->journal, KY_JOURNAL_SYNC);
    assert_int_equal(p->c->lanes, 0);
    assert_int_equal(p->c->commit_interval_us, 1000000);
    assert_int_equal(p->c->journal_file_bytes, 64 << 20);
    assert_int_equal(p->c->n_sources, 1);
    assert_string_equal(p->c->sources[0].name, "plant");
    assert_string_equal(p->c->sources[0].socket, "pull");
    assert_int_equal(p->c->sources[0].time_unit_ns, 1000000000);
    assert_true(p->c->sources[0].bind);
    assert_string_equal(p->c->classes[0].match, "*");
    assert_int_equal(p->c->classes[0].line, 3);
    assert_int_equal(p->c->classes[0].hop, 1);
    assert_int_equal(p->c->models[0].retrain_every_us, 0);
    assert_true(p->c->models[0].gate_held_out == 0.25);
    assert_ptr_equal(ky_config_model(p->c, "m"), &p->c->models[0]);
    assert_null(ky_config_model(p->c, "n"));
}

/* -- every kind of mistake, and how it is said ----------------------------------- */

typedef struct mistake {
    const char *text; /* kymod.ini */
    const char *said; /* a problem has this in it */
} mistake;

/* A good file whose stated section has one more line, which is line 2. */
#define KYMOD(line) "[kymod]\n" line "\n" GOOD
#define SOURCE(line)                                                                               \
    "[source:plant]\n" line                                                                        \
    "\nendpoint = tcp://*:5\n[stream:v]\nmodel = m\n[model:m]\nfile = m.h5\n"
#define STREAM(line)                                                                               \
    "[stream:v]\n" line                                                                            \
    "\nmodel = m\n[source:plant]\nendpoint = tcp://*:5\n[model:m]\nfile = m.h5\n"
#define MODEL(line)                                                                                \
    "[model:m]\n" line                                                                             \
    "\nfile = m.h5\n[stream:v]\nmodel = m\n[source:plant]\nendpoint = tcp://*:5\n"
#define NO_JOURNAL "[kymod]\njournal = no\n"
#define KAFKA                                                                                      \
    "[source:k]\ntype = kafka\nbrokers = b\ntopic = t\n[stream:v]\nmodel = m\n[model:m]\nfile = "  \
    "m.h5\n"

static const mistake mistakes[] = {
    /* keys and sections */
    { SOURCE("sockte = pull"),
      "kymod.ini:2: [source:plant] sockte: unknown key (did you mean 'socket'?)" },
    { SOURCE("utterly = x"), "kymod.ini:2: [source:plant] utterly: unknown key" },
    { GOOD "[sources:x]\n", "kymod.ini:9: [sources:x]: unknown section (did you mean 'source'?)" },
    { GOOD "[weather]\n", "kymod.ini:9: [weather]: unknown section; allowed are [kymod], " },
    { GOOD "[source]\n", "kymod.ini:9: [source]: this section needs a name" },
    { GOOD "[kymod:x]\n", "kymod.ini:9: [kymod:x]: this section has no name" },
    { GOOD "[model:../x]\n", "kymod.ini:9: [model:../x]: a name is letters, digits" },
    { GOOD "[model:]\n", "kymod.ini:9: [model:]: a name is letters, digits" },
    { GOOD "[model:-x]\n", "kymod.ini:9: [model:-x]: a name is letters" },
    { GOOD "[model:x\n", "kymod.ini:9: a section without its ']'" },
    { GOOD "[model:x] y\n", "kymod.ini:9: [model:x]: something stands behind the ']'" },
    { "a = b\n" GOOD, "kymod.ini:1: a: stands before the first [section]" },
    { GOOD "[kymod]\nlanes\n", "kymod.ini:10: 'lanes' is neither [section] nor key = value" },
    { GOOD "[kymod]\n= 3\n", "kymod.ini:10: [kymod]: a value without a key" },
    { KYMOD("lanes = 1\nlanes = 2"), "kymod.ini:3: [kymod] lanes: stands in line 2 already" },
    { KYMOD("lanes = 1\n[kymod]\n\nlanes = 1"), "kymod.ini:5: [kymod] lanes: stands in line 2 al" },
    { KYMOD("lanes ="), "kymod.ini:2: [kymod] lanes: has no value" },
    { KYMOD("lanes =;2"), "kymod.ini:2: [kymod] lanes: a value cannot begin with ';'" },
    { KYMOD("lanes = 2\a"), "kymod.ini:2: the line holds the control character 0x07" },
    { KYMOD("\033[2Jx = 2"), "kymod.ini:2: the line holds the control character 0x1b" },
    /* values */
    { KYMOD("lanes = many"),
      "kymod.ini:2: [kymod] lanes: 'many' is not allowed: auto, or a whole number from 1 to 64" },
    { KYMOD("lanes = 0"), "'0' is not allowed" },
    { KYMOD("lanes = 65"), "'65' is not allowed" },
    { KYMOD("lanes = -1"), "'-1' is not allowed" },
    { KYMOD("lanes = 1.5"), "'1.5' is not allowed" },
    { KYMOD("lanes = 1e1"), "'1e1' is not allowed" },
    { KYMOD("lanes = 0x10"), "'0x10' is not allowed" },
    { KYMOD("lanes = 99999999999999999999999999"), "is not allowed" },
    { KYMOD("commit_interval = 10"),
      "[kymod] commit_interval: '10' is not allowed: a time (with us, ms, s, m, h or d) from 10ms "
      "to 1h" },
    { KYMOD("commit_interval = 10 lightyears"), "'10 lightyears' is not allowed" },
    { KYMOD("commit_interval = 1e3ms"), "'1e3ms' is not allowed" },
    { KYMOD("commit_interval = -1s"), "'-1s' is not allowed" },
    { KYMOD("commit_interval = infs"), "'infs' is not allowed" },
    { KYMOD("commit_interval = 1e400s"), "is not allowed" },
    { KYMOD("commit_interval = 9ms"), "'9ms' is not allowed" },
    { KYMOD("journal_file_size = 1K"), "from 64K to 4G" },
    { KYMOD("journal_file_size = 99999999T"), "'99999999T' is not allowed" },
    { KYMOD("journal = maybe"), "journal: 'maybe' is not allowed: sync, async or no" },
    { KYMOD("log_level = loud"), "'loud' is not allowed: error, warn, notice, info or debug" },
    { SOURCE("bind = perhaps"), "'perhaps' is not allowed: yes, no, true, false, on, off, 1 or 0" },
    { SOURCE("time_unit = min"), "'min' is not allowed: s, ms, us or ns" },
    { SOURCE("values = a,, b"), "values: 'a,, b' is not allowed: a list" },
    { SOURCE("values = a, b, a"), "values: 'a, b, a' is not allowed: a list" },
    { SOURCE("values = a,"), "values: 'a,' is not allowed: a list" },
    { SOURCE("type = amqp"), "type: 'amqp' is not allowed: zmq or kafka" },
    { SOURCE("format = xml"), "format: 'xml' is not allowed" },
    { MODEL("gate_margin = NaN"), "'NaN' is not allowed: a number from -1 to 1" },
    { MODEL("gate_held_out = 1"), "'1' is not allowed: a number from 0.01 to 0.9" },
    { MODEL("retrain = 24h"), "'24h' is not allowed: never, or every and a time" },
    { MODEL("retrain = every"), "'every' is not allowed" },
    { MODEL("retrain = every 0s"), "'every 0s' is not allowed" },
    { MODEL("gate_metric = beauty"), "'beauty' is not allowed: accuracy, macro_f1 or log_loss" },
    /* what is missing */
    { "[source:a]\n[stream:v]\nmodel = m\n[model:m]\nfile = m.h5\n",
      "kymod.ini:1: [source:a] endpoint: is missing" },
    { "[source:a]\ntype = kafka\nbrokers = b\n[stream:v]\nmodel = m\n[model:m]\nfile = m.h5\n",
      "kymod.ini:1: [source:a] topic: is missing" },
    { GOOD "[stream:w]\n", "kymod.ini:9: [stream:w] model: is missing" },
    { "", "kymod.ini: no [source:NAME]" },
    { "", "kymod.ini: no [stream:NAME]" },
    { MODEL("retrain_min = 5\n[model:n]\nfile = gone.h5"), "file: " },
    { GOOD "[model:n]\nfile = gone.h5\n", "gone.h5: No such file or directory" },
    { GOOD "[model:n]\nfile = kymod.d\n", "kymod.d: is not a regular file" },
    /* what does not fit together */
    { SOURCE("subscribe = x"), "kymod.ini:2: [source:plant] subscribe: is only for socket = sub" },
    { SOURCE("socket = router\nwhen_full = latest"),
      "kymod.ini:3: [source:plant] when_full: is only for socket = pull or sub" },
    { KAFKA "[source:k]\nwhen_full = block\n",
      "kymod.ini:10: [source:k] when_full: is only for socket = pull or sub" },
    { SOURCE("format = f32\nvalues = a, b"),
      "kymod.ini:3: [source:plant] values: is only for format = json or msgpack" },
    { SOURCE("format = f32\nsocket = router"),
      "kymod.ini:2: [source:plant] format: 'f32' is refused with socket = router" },
    { SOURCE("topic = x"), "kymod.ini:2: [source:plant] topic: is only for type = kafka" },
    { SOURCE("rdkafka.client.id = x"),
      "[source:plant] rdkafka.client.id: is only for type = kafka" },
    { KAFKA "[source:k]\nrdkafka.no.such = 1\n", "kymod.ini:10: [source:k] rdkafka.no.such: " },
    { KAFKA "[source:k]\nrdkafka.security.protocol = x\n",
      "kymod.ini:10: [source:k] rdkafka.security.protocol: " },
    { STREAM("window = 5"), "kymod.ini:2: [stream:v] window: is only for memory = window" },
    { STREAM("hop = 5"), "kymod.ini:2: [stream:v] hop: is only for memory = window" },
    { STREAM("sources = plnt"), "kymod.ini:2: [stream:v] sources: there is no [source:plnt] (did "
                                "you mean 'plant'?)" },
    { GOOD "[stream:w]\nmodel = n\n", "kymod.ini:10: [stream:w] model: there is no [model:n]" },
    { GOOD "[stream:w]\nmodel = m, n\n", "kymod.ini:10: [stream:w] model: there is no [model:n]" },
    { GOOD "[stream:w]\nmodel = m, m\n", "'m, m' is not allowed: a list, separated by commas" },
    { STREAM("emit = every 0"), "kymod.ini:2: [stream:v] emit: 'every 0' is not allowed: every, "
                                "change or end, or every and a whole number from 1 to 1000000" },
    { STREAM("emit = every 1.5"), "'every 1.5' is not allowed" },
    { STREAM("emit = 10"), "'10' is not allowed" },
    { STREAM("emit = every 1s"), "'every 1s' is not allowed" },
    { STREAM("sources = plant\nfeatures = a, b\n[source:plant]\nvalues = a, b, c"),
      "kymod.ini:3: [stream:v] features: 2 are named, but [source:plant] has 3 values" },
    { SOURCE("max_message = 8M"), "[source:plant] queue_size: is 16777216 bytes, less than four" },
    { SOURCE("socket = router\nbind = no"), "kymod.ini:3: [source:plant] bind: a router is" },
    { NO_JOURNAL SOURCE("socket = router"), "kymod.ini:2: [kymod] journal: 'no' is refused with "
                                            "[source:plant], which is socket = router" },
    { SOURCE("socket = router\nreorder = 200ms"),
      "[source:plant] reorder: is only for socket = pull or sub" },
    { STREAM("on_gap = hold"), "[stream:v] on_gap: 'hold' has to know how many samples" },
    { STREAM("max_gap = 10ms\nperiod = 20ms"), "[stream:v] max_gap: is shorter than period" },
    { NO_JOURNAL KAFKA, "kymod.ini:2: [kymod] journal: 'no' is refused with [source:k]" },
    { NO_JOURNAL STREAM("archive = yes"),
      "kymod.ini:4: [stream:v] archive: the archive is made of" },
    { NO_JOURNAL MODEL("retrain = every 1h"),
      "kymod.ini:4: [model:m] retrain: training is on the" },
    { MODEL("retrain = every 1h"), "kymod.ini:2: [model:m] retrain: training is on the archive, "
                                   "and no [stream:...] with model = m has archive = yes" },
    { "[kymod]\njournal = async\n" SOURCE("socket = router"),
      "kymod.ini:2: [kymod] journal: 'async' is refused with [source:plant]" },
    { GOOD "[publish:b]\nendpoint = tcp://127.0.0.1:5555\n",
      "kymod.ini:10: [publish:b] endpoint: 'tcp://127.0.0.1:5555' is bound by 'plant' already" },
    { GOOD "[publish:b]\n[publish:c]\nendpoint = tcp://127.0.0.1:9\n",
      "kymod.ini:9: [publish:b] endpoint: is missing" },
    { GOOD "[publish:b]\nendpoint = udp://127.0.0.1:5555\n",
      "'udp://127.0.0.1:5555' is not allowed" },
    { GOOD "[publish:b]\nendpoint = tcp://127.0.0.1\n", "tcp://HOST:PORT or ipc://PATH" },
    { GOOD "[publish:b]\nendpoint = tcp://127.0.0.1:66666\n", "the port is a number up to 65535" },
    { KYMOD("runtime_dir = /0123456789012345678901234567890123456789012345678901234567890123456789"
            "0123456789012345678901234567890"),
      "a socket is made there" },
};

static void each_mistake_is_named_with_its_place(void **state)
{
    place *p = *state;

    for (size_t i = 0; i < sizeof(mistakes) / sizeof(*mistakes); i++) {
#ifndef KY_WITH_RDKAFKA
        if (strstr(mistakes[i].text, "rdkafka.no.such") != NULL ||
            strstr(mistakes[i].text, "security.protocol") != NULL)
            continue;
#endif
        assert_int_equal(load(p, mistakes[i].text), KY_EINVAL);
        if (!says(p, mistakes[i].said)) {
            print_message("wanted: %s\n", mistakes[i].said);
            for (int k = 0; k < p->problems.n; k++)
                print_message("   got: %s\n", p->problems.text[k]);
            fail();
        }
        assert_null(p->c);
    }
}

static void all_mistakes_are_reported_not_only_the_first(void **state)
{
    place *p = *state;

    assert_int_equal(load(p, "[kymod]\nlanes = x\njournal = y\nzzz = 1\n" GOOD "[weather]\nq\n"),
                     KY_EINVAL);
    assert_int_equal(p->problems.n, 5);
    assert_true(says(p, "kymod.ini:2:"));
    assert_true(says(p, "kymod.ini:3:"));
    assert_true(says(p, "kymod.ini:4:"));
    assert_true(says(p, "kymod.ini:13:"));
    assert_true(says(p, "kymod.ini:14:"));
}

/* -- hostile files ------------------------------------------------------------------ */

static void a_missing_file_is_said(void **state)
{
    place *p = *state;

    assert_int_equal(load(p, NULL), KY_EINVAL);
    assert_int_equal(p->problems.n, 1);
    assert_string_equal(p->problems.text[0],
                        "kymod.ini: cannot be opened: No such file or directory");
}

static void a_fifo_or_directory_in_place_of_the_file_is_refused(void **state)
{
    place *p = *state;

    assert_int_equal(mkfifo("kymod.ini", 0600), 0);
    assert_int_equal(load(p, NULL), KY_EINVAL);
    assert_true(says(p, "kymod.ini: is not a regular file"));
    unlink("kymod.ini");
    assert_int_equal(mkdir("kymod.ini", 0700), 0);
    assert_int_equal(load(p, NULL), KY_EINVAL);
    assert_true(says(p, "kymod.ini: is not a regular file"));
}

static void an_unreadable_file_is_said(void **state)
{
    place *p = *state;
    int rc;

    write_text("kymod.ini", GOOD);
    chmod("kymod.ini", 0);
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0); /* root reads everything */
    rc = load(p, NULL);
    assert_true(getuid() != 0 || seteuid(0) == 0);
    assert_int_equal(rc, KY_EINVAL);
    assert_true(says(p, "kymod.ini: cannot be opened: Permission denied"));
}

static void marks_carriage_returns_and_a_missing_newline_are_no_obstacle(void **state)
{
    place *p = *state;

    assert_good(p, load(p, "\xef\xbb\xbf[kymod]\r\n  lanes = 2 ; two\r\n\tjournal : async\r\n" GOOD
                           "[kymod]\n# note\n; note\ncommit_rows=7"));
    assert_int_equal(p->c->lanes, 2);
    assert_int_equal(p->c->journal, KY_JOURNAL_ASYNC);
    assert_int_equal(p->c->commit_rows, 7);
}

static void a_nul_byte_is_refused(void **state)
{
    static const char text[] = "[kymod]\nlanes = 2\0 = 3\n" GOOD;
    place *p = *state;

    write_bytes("kymod.ini", text, sizeof(text) - 1);
    assert_int_equal(load(p, NULL), KY_EINVAL);
    assert_int_equal(p->problems.n, 1);
    assert_string_equal(p->problems.text[0], "kymod.ini:2: the line holds a NUL byte");
}

/* "[kymod]\nlanes = 1\n", a line of `len` bytes, GOOD. */
static void load_long(place *p, const char *begin, char fill, size_t len, int *ret_rc)
{
    char *text = malloc(len + 2000);
    int at = sprintf(text, "[source:plant]\n%s", begin);
    size_t rest = len - strlen(begin);

    memset(text + at, fill, rest);
    strcpy(text + (size_t)at + rest, "\n" GOOD);
    *ret_rc = load(p, text);
    free(text);
}

static void lines_longer_than_libinihs_are_whole(void **state)
{
    static const size_t lengths[] = { 150, 188, 189, 190, 191, 198, 199, 200, 201, 202, 255 };
    place *p = *state;
    int rc;

    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        load_long(p, "stream_field=", 'x', lengths[i], &rc);
        assert_good(p, rc);
        assert_int_equal(strlen(p->c->sources[0].stream_field), lengths[i] - 13);
    }
    load_long(p, "stream_field = a b ; ", 'x', 5000, &rc);
    assert_good(p, rc);
    assert_string_equal(p->c->sources[0].stream_field, "a b");
}

static void lines_beyond_the_bound_are_refused_with_their_number(void **state)
{
    place *p = *state;
    int rc;

    load_long(p, "stream_field=", 'x', 65536, &rc);
    assert_true(says(p, "kymod.ini:2: [source:plant] stream_field: 'xxxx"));
    assert_true(says(p, "is not allowed: text of at most 255 bytes"));
    load_long(p, "stream_field=", 'x', 65537, &rc);
    assert_int_equal(rc, KY_EINVAL);
    assert_int_equal(p->problems.n, 1);
    assert_string_equal(p->problems.text[0],
                        "kymod.ini:2: the line has 65537 bytes, at most 65536 are allowed");
    load_long(p, "stream_field=", 'x', 900000, &rc);
    assert_true(says(p, "the line has 900000 bytes"));
    load_long(p, "x", 'x', 3000, &rc); /* no key = value at all */
    assert_true(says(p, "is neither [section] nor key = value"));
}

static void a_huge_file_is_refused(void **state)
{
    place *p = *state;
    char *text = malloc((1 << 20) + 2);

    memset(text, '\n', (1 << 20) + 1);
    write_bytes("kymod.ini", text, (1 << 20) + 1);
    free(text);
    assert_int_equal(load(p, NULL), KY_EINVAL);
    assert_true(says(p, "kymod.ini: has more than 1048576 bytes"));
}

static void ten_thousand_mistakes_are_bounded(void **state)
{
    char *text = calloc(1, 200000), *at = text;
    place *p = *state;

    at += sprintf(at, "[kymod]\n");
    for (int i = 0; i < 10000; i++)
        at += sprintf(at, "key%d = 1\n", i);
    assert_int_equal(load(p, text), KY_EINVAL);
    free(text);
    assert_int_equal(p->problems.n, 1000);
    assert_string_equal(strstr(p->problems.text[999], "and more"), "and more");
}

static void secrets_in_a_file_for_everybody_are_refused(void **state)
{
    place *p = *state;

    need_kafka();
    write_text("kymod.ini", KAFKA "[source:k]\nrdkafka.sasl.password = s3cret\n");
    chmod("kymod.ini", 0644);
    assert_int_equal(load(p, NULL), KY_EINVAL);
    assert_true(says(p, "kymod.ini:10: [source:k] rdkafka.sasl.password: everybody may read this"));
    assert_false(says(p, "s3cret"));
    chmod("kymod.ini", 0640);
    assert_good(p, load(p, NULL));
}

/* -- files together ------------------------------------------------------------------- */

static void drop_ins_override_in_order_of_their_names(void **state)
{
    place *p = *state;

    write_text("kymod.d/20-b.ini", "[kymod]\nlanes = 3\n[source:more]\nendpoint = tcp://*:7\n");
    write_text("kymod.d/10-a.ini", "[kymod]\nlanes = 2\ncommit_rows = 5\n");
    write_text("kymod.d/.hidden.ini", "nonsense");
    write_text("kymod.d/30-c.ini~", "nonsense");
    write_text("kymod.d/40-d.ini.dpkg-old", "nonsense");
    assert_good(p, load(p, "[kymod]\nlanes = 1\n" GOOD));
    assert_int_equal(p->c->lanes, 3);
    assert_int_equal(p->c->commit_rows, 5);
    assert_int_equal(p->c->n_sources, 2);
    assert_string_equal(p->c->sources[1].name, "more");
}

static void a_mistake_in_a_drop_in_names_that_file(void **state)
{
    place *p = *state;

    write_text("kymod.d/10-a.ini", "[kymod]\n\nlanes = x\n");
    assert_int_equal(load(p, GOOD), KY_EINVAL);
    assert_int_equal(p->problems.n, 1);
    assert_non_null(strstr(p->problems.text[0], "kymod.d/10-a.ini:3: [kymod] lanes: 'x'"));
}

static void overrides_come_last(void **state)
{
    static const char *const overrides[] = { "kymod.lanes=4", "kymod.lanes=5",
                                             "source:plant.endpoint=tcp://127.0.0.1:*",
                                             "kymod.state_dir=here", NULL };
    place *p = *state;
    char want[300];

    assert_good(p, load_with(p, "[kymod]\nlanes = 1\n" GOOD, overrides));
    assert_int_equal(p->c->lanes, 5);
    assert_string_equal(p->c->sources[0].endpoint, "tcp://127.0.0.1:*");
    snprintf(want, sizeof(want), "%s/here", p->dir);
    assert_string_equal(p->c->state_dir, want);
}

static void wrong_overrides_are_named(void **state)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        { "lanes=4", "-o: 'lanes=4' is not section.key=value" },
        { "kymod.lanes", "-o: 'kymod.lanes' is not section.key=value" },
        { ".lanes=4", "is not section.key=value" },
        { "kymod.=4", "is not section.key=value" },
        { "", "is not section.key=value" },
        { "kymod.lanes=x", "-o: [kymod] lanes: 'x' is not allowed" },
        { "kymod.lane=1", "-o: [kymod] lane: unknown key (did you mean 'lanes'?)" },
        { "weather.x=1", "-o: [weather]: unknown section" },
        { "stream:vib.match=a ;b", "a value cannot begin or end with a blank, nor hold ' ;'" },
        { "stream:vib.match=;b", "a value cannot begin" },
        { "stream:vib.match=\n[kymod]", "the value holds a control character" },
    };
    place *p = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *const overrides[] = { cases[i].text, NULL };

        assert_int_equal(load_with(p, GOOD, overrides), KY_EINVAL);
        if (!says(p, cases[i].said))
            fail_msg("%s: %s", cases[i].text, p->problems.text[0]);
    }
}

static void relative_paths_begin_where_their_file_is(void **state)
{
    place *p = *state;
    char want[300];

    write_text("kymod.d/m2.h5", "");
    write_text("kymod.d/10-a.ini", "[model:m2]\nfile = m2.h5\n");
    assert_good(p, load(p, GOOD));
    snprintf(want, sizeof(want), "%s/m.h5", p->dir);
    assert_string_equal(p->c->models[0].file, want);
    snprintf(want, sizeof(want), "%s/kymod.d/m2.h5", p->dir);
    assert_string_equal(p->c->models[1].file, want);
}

static void systemds_directories_are_the_defaults(void **state)
{
    place *p = *state;

    setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two", 1);
    assert_good(p, load(p, GOOD));
    assert_string_equal(p->c->state_dir, "/var/lib/one");
    assert_string_equal(p->c->runtime_dir, "/var/lib/one/run");
    setenv("RUNTIME_DIRECTORY", "/run/one", 1);
    assert_good(p, load(p, GOOD));
    assert_string_equal(p->c->runtime_dir, "/run/one");
    assert_good(p, load(p, "[kymod]\nstate_dir = /x\n" GOOD));
    assert_string_equal(p->c->state_dir, "/x");
}

/* -- what is printed from the table ------------------------------------------------------ */

#define FULL                                                                                       \
    "[kymod]\nlanes = 2\nstate_dir = s\njournal_file_age = never\ncommit_interval = 1500ms\n"      \
    "[source:plant]\nendpoint = tcp://127.0.0.1:5555\nsocket = sub\nsubscribe = a b\n"             \
    "values = x, y\nhwm = 77\n"                                                                    \
    "[source:k]\ntype = kafka\nbrokers = b:1, c:2\ntopic = t\nrdkafka.sasl.password = s3cret\n"    \
    "rdkafka.security.protocol = sasl_ssl\n"                                                       \
    "[stream:v]\nsources = plant, k\nmatch = pump-*\nfeatures = x, y\nmodel = m, n\n"              \
    "memory = window\nwindow = 128\nhop = 16\narchive = yes\nmax_gap = 90s\nemit = every 10\n"     \
    "[model:m]\nfile = m.h5\nlabels = good, not so good\nretrain = every 36h\n"                    \
    "gate_margin = 0.1\n[model:n]\nfile = m.h5\n[publish:p]\nendpoint = ipc:///tmp/x\n"

static char *dump(const ky_config *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    ky_config_dump(c, f);
    fclose(f);
    return text;
}

static void the_dump_reads_back_as_itself(void **state)
{
    place *p = *state;
    char *first, *second;

    need_kafka();
    assert_good(p, load(p, FULL));
    first = dump(p->c);
    assert_non_null(strstr(first, "\ncommit_interval = 1500ms\n"));
    assert_non_null(strstr(first, "\njournal_file_age = never\n"));
    assert_non_null(strstr(first, "\nretrain = every 36h\n"));
    assert_non_null(strstr(first, "\ngate_margin = 0.1\n"));
    assert_non_null(strstr(first, "\nlabels = good, not so good\n"));
    assert_non_null(strstr(first, "\nmax_gap = 90s\n"));
    assert_non_null(strstr(first, "\nmodel = m, n\n"));
    assert_non_null(strstr(first, "\nemit = every 10\n"));
    assert_int_equal(p->c->classes[0].emit, 10);
    assert_int_equal(ky_class_nth(&p->c->classes[0], "n"), 1);
    assert_int_equal(ky_class_nth(&p->c->classes[0], "x"), -1);
    assert_good(p, load(p, first));
    second = dump(p->c);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void the_dump_masks_secrets(void **state)
{
    place *p = *state;
    char *text;

    need_kafka();
    assert_good(p, load(p, FULL));
    text = dump(p->c);
    assert_null(strstr(text, "s3cret"));
    assert_non_null(strstr(text, "rdkafka.sasl.password = ***\n"));
    assert_non_null(strstr(text, "rdkafka.security.protocol = sasl_ssl\n"));
    assert_string_equal(p->c->sources[1].rdkafka[0].key, "sasl.password");
    assert_string_equal(p->c->sources[1].rdkafka[0].value, "s3cret");
    free(text);
}

static void recorded_settings_read_back_without_todays_files(void **state)
{
    place *p = *state;
    ky_config *c = NULL;
    char *first, *second;
    ky_err err;

    need_kafka();
    assert_good(p, load(p, FULL));
    first = dump(p->c);
    unlink("m.h5");
    assert_int_equal(ky_config_of_text(first, strlen(first), &c, &err), KY_OK);
    second = dump(c);
    assert_string_equal(first, second);
    assert_string_equal(c->sources[1].name, "k");
    ky_config_free(c);
    assert_int_equal(ky_config_of_text("\0\0", 2, &c, &err), KY_ECORRUPT);
    free(first);
    free(second);
}

/* Which class and source has which number is all that is needed of them. */
static void recorded_settings_may_be_of_another_version(void **state)
{
    static const char other[] = "[kymod]\nlanes = x\nthreads = 4\n"
                                "[source:a]\ntype = carrier-pigeon\n[source:b]\n"
                                "[stream:pumps]\nmodels = m\narchive = yes\nwarm_up = -1\n"
                                "[stream:fans]\nfeatures = x, y\n";
    static const char sections[] = "[input:a]\n[stream:pumps]\n";
    ky_config *c = NULL;
    ky_err err;

    (void)state;
    assert_int_equal(ky_config_of_text(other, sizeof(other) - 1, &c, &err), KY_OK);
    assert_int_equal(c->n_sources, 2);
    assert_string_equal(c->sources[1].name, "b");
    assert_int_equal(c->n_classes, 2);
    assert_string_equal(c->classes[0].name, "pumps");
    assert_true(c->classes[0].archive);
    assert_int_equal(c->classes[1].features.n, 2);
    ky_config_free(c);
    assert_int_equal(ky_config_of_text(sections, sizeof(sections) - 1, &c, &err), KY_ECORRUPT);
    assert_non_null(strstr(err.text, "recorded settings:1: [input:a]: unknown section"));
}

static char *printed(void (*fn)(FILE *out))
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    fn(f);
    fclose(f);
    return text;
}

static void example_and_man_page_have_every_setting(void **state)
{
    char *example = printed(ky_config_example), *man = printed(ky_config_man);
    char key[80];

    (void)state;
    for (int i = 0; i < ky_n_settings; i++) {
        const ky_setting *s = &ky_settings[i];

        assert_true(strlen(s->help) > 10);
        snprintf(key, sizeof(key), "\n%s = ", s->key);
        if (s->type == KY_SET_PAIRS)
            strcpy(key, "\n;rdkafka.client.id = kymo");
        if (strstr(example, key) == NULL) {
            key[0] = ';';
            assert_non_null(strstr(example, key));
        }
        snprintf(key, sizeof(key), "\n.It Ic %s", s->key);
        assert_non_null(strstr(man, key));
    }
    free(example);
    free(man);
}

static void the_example_file_is_a_good_file(void **state)
{
    place *p = *state;
    char *example = printed(ky_config_example);

    write_text("vibration.h5", "");
    assert_good(p, load(p, example));
    assert_int_equal(p->c->n_sources + p->c->n_classes + p->c->n_models + p->c->n_publishers, 4);
    free(example);
}

static void every_codec_is_a_format_and_no_other(void **state)
{
    const ky_setting *s = ky_setting_find(KY_SECTION_SOURCE, "format");
    int n = 0;

    (void)state;
    for (; ky_codec_names[n] != NULL; n++)
        assert_string_equal(s->words[n].word, ky_codec_names[n]);
    assert_null(s->words[n].word);
}

/* lanes = auto */
static void processors_are_those_that_the_process_may_run_on(void **state)
{
    cpu_set_t all, one;
    int n;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    n = CPU_COUNT(&all);
    assert_int_equal(ky_core_processors(), n);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(ky_core_processors(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

/* Every default that is shown is what one gets: a commented setting changes nothing when its
 * comment sign is taken away. */
static void every_default_can_be_written_down(void **state)
{
    place *p = *state;

    for (int i = 0; i < ky_n_settings; i++) {
        const ky_setting *s = &ky_settings[i];
        ky_config kymod = { 0 };
        ky_source_cfg source = { 0 };
        ky_class_cfg class_ = { 0 };
        ky_model_cfg model = { 0 };
        ky_publish_cfg publish = { 0 };
        void *obj[] = { &kymod, &source, &class_, &model, &publish };
        char *text;
        ky_err err;

        if (s->otherwise == NULL || s->type == KY_SET_PAIRS)
            continue;
        if (ky_setting_parse(s, s->key, s->otherwise, NULL, obj[s->section], &err) < 0)
            fail_msg("%s: %s", s->key, err.text);
        text = ky_setting_text(s, obj[s->section]);
        assert_string_equal(text, s->otherwise);
        free(text);
        ky_setting_free(s, obj[s->section]);
    }
    (void)p;
}

#define T(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_smallest_file_gives_all_defaults),
        T(each_mistake_is_named_with_its_place),
        T(all_mistakes_are_reported_not_only_the_first),
        T(a_missing_file_is_said),
        T(a_fifo_or_directory_in_place_of_the_file_is_refused),
        T(an_unreadable_file_is_said),
        T(marks_carriage_returns_and_a_missing_newline_are_no_obstacle),
        T(a_nul_byte_is_refused),
        T(lines_longer_than_libinihs_are_whole),
        T(lines_beyond_the_bound_are_refused_with_their_number),
        T(a_huge_file_is_refused),
        T(ten_thousand_mistakes_are_bounded),
        T(secrets_in_a_file_for_everybody_are_refused),
        T(drop_ins_override_in_order_of_their_names),
        T(a_mistake_in_a_drop_in_names_that_file),
        T(overrides_come_last),
        T(processors_are_those_that_the_process_may_run_on),
        T(wrong_overrides_are_named),
        T(relative_paths_begin_where_their_file_is),
        T(systemds_directories_are_the_defaults),
        T(the_dump_reads_back_as_itself),
        T(the_dump_masks_secrets),
        T(recorded_settings_read_back_without_todays_files),
        T(recorded_settings_may_be_of_another_version),
        T(example_and_man_page_have_every_setting),
        T(the_example_file_is_a_good_file),
        T(every_codec_is_a_format_and_no_other),
        T(every_default_can_be_written_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
