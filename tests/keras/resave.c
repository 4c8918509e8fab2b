/* resave IN.h5 OUT.h5: a model through kymo's reader and writer. */
#include <stdio.h>

#include "models/model.h"

int main(int argc, char **argv)
{
    ky_model *m = NULL;
    ky_err err = { 0 };

    if (argc != 3) {
        fputs("usage: resave IN.h5 OUT.h5\n", stderr);
        return 2;
    }
    int rc = ky_model_load(argv[1], &m, &err);
    if (rc == KY_OK)
        rc = ky_model_save(m, argv[2], &err);
    if (rc < 0)
        fprintf(stderr, "resave: %s\n", err.text);
    ky_model_free(m);
    return rc == KY_OK ? 0 : 1;
}
