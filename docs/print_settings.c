/* Prints what is made of the table of settings at build time: the manual page, the example file. */
#include <stdio.h>
#include <string.h>

#include "daemon/config.h"

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "man") == 0)
        ky_config_man(stdout);
    else if (argc == 2 && strcmp(argv[1], "example") == 0)
        ky_config_example(stdout);
    else
        return 2;
    return fflush(stdout) == 0 ? 0 : 1;
}
