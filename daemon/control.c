#include "daemon/control.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connectors/zmq.h"
#include "daemon/log.h"

enum { REQUEST_MAX = 65536, WAIT_MS = 250 };

struct ky_control {
    ky_control_ops ops;
    ky_zsock *socket; /* made by start, then the thread's */
    ky_heart *heart;
    pthread_t thread;
    _Atomic bool stop;
    char path[128];
};

/* -- what is asked ---------------------------------------------------------------------- */

static ky_json *answer_status(const ky_control_ops *ops, const ky_json *request)
{
    ky_json *answer = ky_json_object();

    (void)request;
    ky_json_set(answer, "ok", ky_json_of_bool(true));
    ky_json_set(answer, "status", ops->status(ops->arg));
    return answer;
}

static ky_json *refuse(const char *why)
{
    ky_json *answer = ky_json_object();

    ky_json_set(answer, "ok", ky_json_of_bool(false));
    ky_json_set(answer, "error", ky_json_of_str(why));
    return answer;
}

static ky_json *answer_retrain(const ky_control_ops *ops, const ky_json *request)
{
    const char *model = ky_json_str(ky_json_get(request, "model"), NULL);
    uint64_t number = 0;
    ky_json *answer;
    ky_err err;

    if (model == NULL)
        return refuse("retrain: \"model\" is missing, or no text");
    if (ops->retrain(model, &number, ops->arg, &err) < 0)
        return refuse(err.text);
    answer = ky_json_object();
    ky_json_set(answer, "ok", ky_json_of_bool(true));
    ky_json_set(answer, "request", ky_json_of_int((int64_t)number));
    return answer;
}

static const struct {
    const char *cmd;
    ky_json *(*answer)(const ky_control_ops *ops, const ky_json *request);
} commands[] = {
    { "status", answer_status },
    { "retrain", answer_retrain },
};

static ky_json *answer_parsed(const ky_control_ops *ops, const ky_json *request)
{
    const char *cmd = ky_json_str(ky_json_get(request, "cmd"), NULL);
    char text[256];

    if (cmd == NULL)
        return refuse("a request is an object with \"cmd\"");
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (strcmp(commands[i].cmd, cmd) == 0)
            return commands[i].answer(ops, request);
    snprintf(text, sizeof(text), "unknown command '%.64s'; there are status and retrain", cmd);
    return refuse(text);
}

char *ky_control_answer(const ky_control_ops *ops, const char *request, size_t len)
{
    ky_json *parsed = NULL, *answer;
    char *text;
    ky_err err;

    if (len > REQUEST_MAX)
        answer = refuse("the request is too long");
    else if (ky_json_parse(request, len, false, &parsed, &err) < 0)
        answer = refuse(err.text);
    else
        answer = answer_parsed(ops, parsed);
    text = ky_json_text(answer, 0);
    ky_json_free(answer);
    ky_json_free(parsed);
    return text;
}

/* -- the thread ---------------------------------------------------------------------------- */

static void serve_one(ky_control *c)
{
    ky_zframe frames[2], reply;
    char *text;
    ky_err err;
    int n = ky_zsock_recv(c->socket, frames, 2, WAIT_MS, &err);

    if (n < 0) {
        if (n != KY_EAGAIN)
            ky_log(KY_WARN, "control", NULL, "%s", err.text);
        return;
    }
    if (n == 1)
        text = ky_control_answer(&c->ops, frames[0].data, frames[0].len);
    else
        text = ky_control_answer(&c->ops, "", 0);
    const char *said = text != NULL ? text : "{\"ok\":false,\"error\":\"out of memory\"}";

    reply = (ky_zframe){ said, strlen(said) };
    /* Whoever asked may be gone by now. */
    if (ky_zsock_send(c->socket, &reply, 1, 0, &err) < 0)
        ky_log(KY_DEBUG, "control", NULL, "%s", err.text);
    free(text);
}

static void *run(void *arg)
{
    ky_control *c = arg;

    while (!atomic_load(&c->stop)) {
        ky_heart_beat(c->heart);
        serve_one(c);
    }
    return NULL;
}

static int open_socket(ky_control *c, const char *dir, ky_err *err)
{
    char endpoint[160];
    int rc;

    if (mkdir(dir, 0750) < 0 && errno != EEXIST)
        return ky_fail(err, -errno, "'%s': %s", dir, strerror(errno));
    if (snprintf(c->path, sizeof(c->path), "%s/control", dir) > 106)
        return ky_fail(err, KY_EINVAL, "'%s': too long for a socket", dir);
    snprintf(endpoint, sizeof(endpoint), "ipc://%s", c->path);
    rc = ky_zsock_open("rep", endpoint, true, 0, &c->socket, err);
    if (rc < 0)
        return rc;
    /* Until now it had what the umask left. */
    if (chmod(c->path, 0660) < 0)
        return ky_fail(err, -errno, "'%s': %s", c->path, strerror(errno));
    return KY_OK;
}

int ky_control_start(const char *dir, const ky_control_ops *ops, ky_heart *heart, ky_control **ret,
                     ky_err *err)
{
    ky_control *c = calloc(1, sizeof(*c));
    sigset_t all, before;
    int rc;

    if (c == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    c->ops = *ops;
    c->heart = heart;
    rc = open_socket(c, dir, err);
    if (rc < 0)
        goto out;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&c->thread, NULL, run, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0)
        ky_fail(err, rc, "a thread: %s", strerror(-rc));
    else
        pthread_setname_np(c->thread, "control");
out:
    if (rc < 0) {
        ky_zsock_close(c->socket);
        free(c);
        return ky_context(err, rc, "the control socket");
    }
    *ret = c;
    return KY_OK;
}

void ky_control_stop(ky_control *c)
{
    if (c == NULL)
        return;
    atomic_store(&c->stop, true);
    pthread_join(c->thread, NULL);
    ky_zsock_close(c->socket);
    unlink(c->path);
    free(c);
}
