/* kymo retrain: asks a running kymod to train a model again on its archive. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/ask.h"
#include "cli/cli.h"

enum { ANSWER_MS = 10000, LOOK_MS = 300 };

/* Asks for the training; *ret_number is the request's. */
static int request(const char *endpoint, const char *model, int64_t *ret_number, ky_err *err)
{
    ky_json *question = ky_json_object(), *answer = NULL;
    int rc;

    ky_json_set(question, "cmd", ky_json_of_str("retrain"));
    ky_json_set(question, "model", ky_json_of_str(model));
    rc = ky_ask(endpoint, question, ANSWER_MS, &answer, err);
    ky_json_free(question);
    if (rc < 0)
        return rc;
    *ret_number = ky_json_int(ky_json_get(answer, "request"), 0);
    ky_json_free(answer);
    return KY_OK;
}

/* What kymod's status says of the model's last training; *ret is a copy, the caller's. */
static int look(const char *endpoint, const char *model, ky_json **ret, ky_err *err)
{
    ky_json *question = ky_json_object(), *answer = NULL;
    const ky_json *retrain;
    int rc;

    ky_json_set(question, "cmd", ky_json_of_str("status"));
    rc = ky_ask(endpoint, question, ANSWER_MS, &answer, err);
    ky_json_free(question);
    if (rc < 0)
        return rc;
    retrain = ky_json_get(ky_json_get(answer, "status"), "retrain");
    *ret = ky_json_copy(ky_json_get(ky_json_get(retrain, "models"), model));
    ky_json_free(answer);
    return *ret != NULL ? KY_OK
                        : ky_fail(err, KY_EFORMAT, "kymod's status does not tell of '%s'", model);
}

/* Until the request is done. KY_EAGAIN: interrupted; the training goes on. */
static int wait_for(const char *endpoint, const char *model, int64_t number, bool quiet,
                    ky_json **ret, ky_err *err)
{
    const struct timespec pause = { 0, LOOK_MS * 1000000 };
    int rc;

    if (!quiet)
        fprintf(stderr, "request %lld is with kymod, waiting for its verdict\n", (long long)number);
    while ((rc = look(endpoint, model, ret, err)) == KY_OK &&
           ky_json_int(ky_json_get(*ret, "request"), 0) < number) {
        ky_json_free(*ret);
        *ret = NULL;
        if (ky_cli_interrupted()) {
            rc = ky_fail(err, KY_EAGAIN, "interrupted; the training goes on in kymod");
            break;
        }
        nanosleep(&pause, NULL);
    }
    return rc;
}

static int report(const char *model, const ky_json *v, bool json)
{
    const char *verdict = ky_json_str(ky_json_get(v, "verdict"), "failed");
    const char *reason = ky_json_str(ky_json_get(v, "reason"), "");
    char *text;

    if (json) {
        text = ky_json_text(v, 2);
        printf("%s\n", text != NULL ? text : "{}");
        free(text);
    } else {
        printf("%s: %s", model, verdict);
        if (ky_json_is_number(ky_json_get(v, "candidate")))
            printf(", %s %.4f against %.4f of version %lld, on %lld sequences held back",
                   ky_json_str(ky_json_get(v, "metric"), "score"),
                   ky_json_num(ky_json_get(v, "candidate"), 0),
                   ky_json_num(ky_json_get(v, "champion"), 0),
                   (long long)ky_json_int(ky_json_get(v, "from_version"), 0),
                   (long long)ky_json_int(ky_json_get(v, "held_out"), 0));
        if (ky_json_int(ky_json_get(v, "to_version"), 0) > 0)
            printf("; version %lld takes over",
                   (long long)ky_json_int(ky_json_get(v, "to_version"), 0));
        printf("%s", *reason != '\0' ? ": " : "");
        ky_cli_print_safe(stdout, reason, strlen(reason));
        printf("\n");
    }
    return strcmp(verdict, "failed") == 0 ? KY_EXIT_FAILED : KY_EXIT_OK;
}

int ky_cmd_retrain(int argc, char **argv)
{
    const char *config = NULL, *control = NULL, *words[1];
    bool wait = false, json = false;
    int64_t number = 0;
    int n;
    const ky_opt opts[] = {
        { "config", 'c', KY_OPT_STR, &config, 0, 0, "FILE", "kymod's configuration" },
        { "control", 0, KY_OPT_STR, &control, 0, 0, "SOCKET", "its control socket instead" },
        { "wait", 'w', KY_OPT_FLAG, &wait, 0, 0, NULL, "until there is a verdict, and print it" },
        { "json", 'j', KY_OPT_FLAG, &json, 0, 0, NULL, "report as JSON" },
        { 0 },
    };
    const ky_usage usage = {
        .synopsis = "kymo retrain MODEL [options]",
        .about =
            "Asks a running kymod to train [model:MODEL] again on the archive of its streams. The\n"
            "new version takes over if it is no worse on the latest sequences, held back from\n"
            "training. Every verdict is in the table retrains. With --wait the exit code is 1 if\n"
            "the training failed, 0 whether the new version was promoted or the old one kept.",
        .opts = opts,
        .min_args = 1,
        .max_args = 1,
        .examples = "  kymo retrain vibration --wait\n",
    };
    ky_json *verdict = NULL;
    char endpoint[4200];
    ky_err err;
    int rc = ky_cli_parse(&usage, argc, argv, words, &n);

    if (rc >= 0)
        return rc;
    rc = ky_ask_where(config, control, endpoint, sizeof(endpoint), &err);
    if (rc >= 0)
        rc = request(endpoint, words[0], &number, &err);
    if (rc < 0)
        return ky_cli_fail(&err);
    if (!wait) {
        printf(json ? "{\"request\":%lld}\n" : "request %lld is with kymod\n", (long long)number);
        return KY_EXIT_OK;
    }
    ky_cli_catch_interrupts();
    rc = wait_for(endpoint, words[0], number, json, &verdict, &err);
    if (rc < 0) {
        ky_json_free(verdict);
        return ky_cli_fail(&err);
    }
    rc = report(words[0], verdict, json);
    ky_json_free(verdict);
    return rc;
}
