/* The control socket: what is answered, and to whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "connectors/zmq.h"
#include "daemon/control.h"

static ky_json *status(void *arg)
{
    ky_json *o = ky_json_object();

    (void)arg;
    ky_json_set(o, "streams", ky_json_of_int(3));
    return o;
}

static int retrain(const char *model, uint64_t *ret_request, void *arg, ky_err *err)
{
    (void)arg;
    if (strcmp(model, "vibration") != 0)
        return ky_fail(err, KY_ENOENT, "there is no [model:%.80s]", model);
    *ret_request = 7;
    return KY_OK;
}

static const ky_control_ops ops = { status, retrain, NULL };

static void every_request_has_its_answer(void **state)
{
    static const struct {
        const char *request, *answer;
    } cases[] = {
        { "{\"cmd\":\"status\"}", "{\"ok\":true,\"status\":{\"streams\":3}}" },
        { "{\"cmd\":\"retrain\",\"model\":\"vibration\"}", "{\"ok\":true,\"request\":7}" },
        { "{\"cmd\":\"retrain\",\"model\":\"x\"}",
          "{\"ok\":false,\"error\":\"there is no [model:x]\"}" },
        { "{\"cmd\":\"retrain\"}",
          "{\"ok\":false,\"error\":\"retrain: \\\"model\\\" is missing, or no text\"}" },
        { "{\"cmd\":\"retrain\",\"model\":[]}",
          "{\"ok\":false,\"error\":\"retrain: \\\"model\\\" is missing, or no text\"}" },
        { "{\"cmd\":\"stop\"}",
          "{\"ok\":false,\"error\":\"unknown command 'stop'; there are status and retrain\"}" },
        { "{}", "{\"ok\":false,\"error\":\"a request is an object with \\\"cmd\\\"\"}" },
        { "[1]", "{\"ok\":false,\"error\":\"a request is an object with \\\"cmd\\\"\"}" },
        { "{\"cmd\":5}", "{\"ok\":false,\"error\":\"a request is an object with \\\"cmd\\\"\"}" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *answer = ky_control_answer(&ops, cases[i].request, strlen(cases[i].request));

        assert_string_equal(answer, cases[i].answer);
        free(answer);
    }
}

static void hostile_requests_are_refused(void **state)
{
    static const char *const requests[] = { "", "{", "\0\0", "{\"cmd\":\"status\"} x", "\xff\xfe" };
    char *big = malloc(100000), *answer;

    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        answer = ky_control_answer(&ops, requests[i], i == 2 ? 2 : strlen(requests[i]));
        assert_non_null(strstr(answer, "\"ok\":false"));
        free(answer);
    }
    memset(big, '[', 100000);
    answer = ky_control_answer(&ops, big, 100000);
    assert_string_equal(answer, "{\"ok\":false,\"error\":\"the request is too long\"}");
    free(answer);
    answer = ky_control_answer(&ops, big, 60000); /* deep */
    assert_non_null(strstr(answer, "\"ok\":false"));
    free(answer);
    free(big);
}

static void ask(const char *endpoint, const char *request, char *ret, size_t size)
{
    ky_zframe f = { request, strlen(request) };
    ky_zsock *s = NULL;
    ky_err err;

    assert_int_equal(ky_zsock_open("req", endpoint, false, 0, &s, &err), KY_OK);
    assert_true(ky_zsock_send(s, &f, 1, 2000, &err) >= 0);
    assert_int_equal(ky_zsock_recv(s, &f, 1, 10000, &err), 1);
    snprintf(ret, size, "%.*s", (int)f.len, (const char *)f.data);
    ky_zsock_close(s);
}

static void the_socket_answers_and_is_for_owner_and_group(void **state)
{
    char dir[] = "/tmp/kyctl.XXXXXX", run[64], path[80], endpoint[96], answer[256];
    ky_control *c = NULL;
    ky_heart heart = { 0 };
    struct stat st;
    ky_err err;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(run, sizeof(run), "%s/run", dir);
    snprintf(path, sizeof(path), "%s/control", run);
    snprintf(endpoint, sizeof(endpoint), "ipc://%s", path);
    assert_int_equal(ky_control_start(run, &ops, &heart, &c, &err), KY_OK);
    assert_int_equal(stat(run, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0660);
    ask(endpoint, "{\"cmd\":\"status\"}", answer, sizeof(answer));
    assert_string_equal(answer, "{\"ok\":true,\"status\":{\"streams\":3}}");
    ask(endpoint, "nonsense", answer, sizeof(answer));
    assert_non_null(strstr(answer, "\"ok\":false"));
    ask(endpoint, "{\"cmd\":\"status\"}", answer, sizeof(answer));
    assert_non_null(strstr(answer, "\"ok\":true"));
    assert_true(atomic_load(&heart.beats) > 0);
    ky_control_stop(c);
    assert_int_equal(access(path, F_OK), -1);
    rmdir(run);
    rmdir(dir);
}

static void a_path_too_long_for_a_socket_is_refused(void **state)
{
    char dir[130] = "/tmp/";
    ky_control *c = NULL;
    ky_heart heart = { 0 };
    ky_err err;

    (void)state;
    memset(dir + 5, 'x', 110);
    assert_int_equal(ky_control_start(dir, &ops, &heart, &c, &err), KY_EINVAL);
    assert_non_null(strstr(err.text, "too long for a socket"));
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_has_its_answer),
        cmocka_unit_test(hostile_requests_are_refused),
        cmocka_unit_test(the_socket_answers_and_is_for_owner_and_group),
        cmocka_unit_test(a_path_too_long_for_a_socket_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
