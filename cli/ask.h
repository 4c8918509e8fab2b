/*
 * Asking a running kymod over its control socket, for subcommands.
 */
#ifndef KY_ASK_H
#define KY_ASK_H

#include "models/json.h"

/**
 * Where kymod's control socket is: `control` as given (a path or an ipc:// address), else as the
 * configuration says, else /run/kymo/control.
 *
 * @param config   the file, NULL: /etc/kymo/kymod.ini if it is there
 * @param control  NULL: not given
 * @return KY_ENOENT: no socket there; KY_EINVAL: the configuration has problems
 */
int ky_ask_where(const char *config, const char *control, char *ret, size_t size, ky_err *err);

/** One request, one answer; both are the caller's to free. An answer that is not ok is KY_EREJECT
 *  with kymod's words; KY_EAGAIN: none came in time. */
int ky_ask(const char *endpoint, const ky_json *request, int timeout_ms, ky_json **ret,
           ky_err *err);

/** kymod's state directory where nobody says another: systemd's, or the usual one. */
const char *ky_ask_state_dir(void);

#endif
