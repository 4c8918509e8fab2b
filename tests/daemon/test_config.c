/* Configuration: what is accepted, what is refused and how it is said. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_smallest_file_gives_all_defaults, make_place,
                                        remove_place),
    };

    (void)says;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
