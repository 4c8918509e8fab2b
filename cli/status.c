/* kymo status: what a running kymod says of itself. */
#include <stdlib.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/cli.h"

/* The tree as lines: one a value, indented; arrays of plain values on one line. */
static void print_tree(const ky_json *v, int depth)
{
    for (const char *key = NULL; (key = ky_json_next_key(v, key)) != NULL;) {
        const ky_json *child = ky_json_get(v, key);
        char *text;

        printf("%*s", 2 * depth, "");
        ky_cli_print_safe(stdout, key, strlen(key));
        if (ky_json_is_object(child)) {
            printf(":\n");
            print_tree(child, depth + 1);
            continue;
        }
        text = ky_json_is_string(child) ? strdup(ky_json_str(child, "")) : ky_json_text(child, 0);
        printf(": ");
        if (text != NULL && !ky_json_is_null(child))
            ky_cli_print_safe(stdout, text, strlen(text));
        else
            printf("-");
        printf("\n");
        free(text);
    }
}

int ky_cmd_status(int argc, char **argv)
{
    const char *config = NULL, *control = NULL;
    bool json = false;
    int n;
    const ky_opt opts[] = {
        { "config", 'c', KY_OPT_STR, &config, 0, 0, "FILE", "kymod's configuration" },
        { "control", 0, KY_OPT_STR, &control, 0, 0, "SOCKET", "its control socket instead" },
        { "json", 'j', KY_OPT_FLAG, &json, 0, 0, NULL, "as JSON" },
        { 0 },
    };
    const ky_usage usage = {
        .synopsis = "kymo status [options]",
        .about =
            "Shows what a running kymod says of itself: counters, positions, versions of models.",
        .opts = opts,
        .examples = "  kymo status\n  kymo status -c kymod.ini --json\n",
    };
    ky_json *request, *answer = NULL;
    char endpoint[4200], *text;
    ky_err err;
    int rc = ky_cli_parse(&usage, argc, argv, NULL, &n);

    if (rc >= 0)
        return rc;
    rc = ky_ask_where(config, control, endpoint, sizeof(endpoint), &err);
    if (rc < 0)
        return ky_cli_fail(&err);
    request = ky_json_object();
    ky_json_set(request, "cmd", ky_json_of_str("status"));
    rc = ky_ask(endpoint, request, 10000, &answer, &err);
    ky_json_free(request);
    if (rc < 0)
        return ky_cli_fail(&err);
    if (json) {
        text = ky_json_text(ky_json_get(answer, "status"), 2);
        printf("%s\n", text != NULL ? text : "{}");
        free(text);
    } else {
        print_tree(ky_json_get(answer, "status"), 0);
    }
    ky_json_free(answer);
    return KY_EXIT_OK;
}
