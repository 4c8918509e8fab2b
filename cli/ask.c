#include "cli/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "connectors/zmq.h"
#include "daemon/config.h"

static const char default_config[] = KY_CONFIG_PATH;
static const char default_dir[] = "/run/kymo";

static int refused(const ky_problems *p, ky_err *err)
{
    if (p->n == 0)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    if (p->n == 1)
        return ky_fail(err, KY_EINVAL, "%s", p->text[0]);
    return ky_fail(err, KY_EINVAL, "%s (and %d more problems)", p->text[0], p->n - 1);
}

/* The socket of a directory, if there is one. */
static bool socket_in(const char *dir, char *ret, size_t size)
{
    char path[4096];
    struct stat st;

    snprintf(path, sizeof(path), "%s/control", dir);
    if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    snprintf(ret, size, "ipc://%s", path);
    return true;
}

int ky_ask_where(const char *config, const char *control, char *ret, size_t size, ky_err *err)
{
    const char *path = config != NULL ? config : default_config;
    ky_problems problems = { 0 };
    ky_config *c = NULL;
    struct stat st;
    bool found;
    int rc = KY_OK;

    if (control != NULL) {
        snprintf(ret, size, "%s%s", strstr(control, "://") != NULL ? "" : "ipc://", control);
        if (strncmp(ret, "ipc://", 6) == 0 && stat(ret + 6, &st) < 0)
            return ky_fail(err, KY_ENOENT, "no kymod here: '%s': %s", ret + 6, strerror(errno));
        return KY_OK;
    }
    if (config == NULL && stat(path, &st) < 0)
        return socket_in(default_dir, ret, size)
                   ? KY_OK
                   : ky_fail(err, KY_ENOENT, "no kymod here: no %s, and no %s/control", path,
                             default_dir);
    rc = ky_config_load(path, NULL, &c, &problems);
    if (rc < 0) {
        rc = refused(&problems, err);
        ky_problems_done(&problems);
        return rc;
    }
    /* Under systemd the runtime directory comes from the unit, not from the file. */
    found = socket_in(c->runtime_dir, ret, size) ||
            (config == NULL && socket_in(default_dir, ret, size));
    if (!found)
        rc = ky_fail(err, KY_ENOENT, "no kymod here: there is no socket '%s/control'",
                     c->runtime_dir);
    ky_config_free(c);
    return rc;
}

int ky_ask(const char *endpoint, const ky_json *request, int timeout_ms, ky_json **ret, ky_err *err)
{
    char *text = ky_json_text(request, 0);
    ky_json *answer = NULL;
    ky_zsock *socket = NULL;
    ky_zframe frame;
    int rc;

    if (text == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    frame = (ky_zframe){ text, strlen(text) };
    rc = ky_zsock_open("req", endpoint, false, 0, &socket, err);
    if (rc >= 0)
        rc = ky_zsock_send(socket, &frame, 1, timeout_ms, err);
    if (rc >= 0)
        rc = ky_zsock_recv(socket, &frame, 1, timeout_ms, err);
    if (rc == KY_EAGAIN)
        ky_fail(err, rc, "kymod at '%s' does not answer", endpoint);
    if (rc >= 0)
        rc = ky_json_parse(frame.data, frame.len, false, &answer, err);
    if (rc >= 0 && !ky_json_bool(ky_json_get(answer, "ok"), false))
        rc = ky_fail(err, KY_EREJECT, "kymod: %s",
                     ky_json_str(ky_json_get(answer, "error"), "an answer without \"ok\""));
    if (rc >= 0) {
        *ret = answer;
        answer = NULL;
    }
    ky_json_free(answer);
    ky_zsock_close(socket);
    free(text);
    return rc < 0 ? rc : KY_OK;
}

const char *ky_ask_state_dir(void)
{
    const char *dir = getenv("STATE_DIRECTORY");

    return dir != NULL && *dir != 0 ? dir : "/var/lib/kymo";
}
