#!/bin/bash
# Facts about the tree that no compiler checks. Prints each breach; exit 1 if there is one.
cd "$(dirname "$0")/.." || exit 1
bad=0
breach()
{
    [ -n "$2" ] || return 0
    printf '%s\n%s\n' "$1" "$2"
    bad=1
}
files()
{
    if git rev-parse >/dev/null 2>&1; then git ls-files -- "$@"; else find . -type f | sed 's#^\./##'; fi |
        grep -E '\.[ch]$' | grep -v '^test.d/\|^build'
}
each()
{
    # shellcheck disable=SC2046
    grep -nE "$1" $(files | grep -E "$2") /dev/null
}
breach "includes against the direction models <- storage <- connectors <- daemon, cli:" "$(
    each '#include "(storage|connectors|daemon|cli)/' '^models/'
    each '#include "(connectors|daemon|cli)/' '^storage/'
    each '#include "(daemon|cli)/' '^connectors/'
    each '#include "cli/' '^daemon/'
)"
for pair in hdf5.h:models/h5.c jansson.h:models/json.c zip.h:models/zip.c zmq.h:connectors/zmq.c \
    librdkafka/rdkafka.h:connectors/kafka.c ini.h:daemon/config.c systemd/sd-daemon.h:daemon/notify.c png.h:cli/image.c \
    jpeglib.h:cli/image.c; do
    breach "${pair%%:*} is for ${pair#*:} alone:" "$(
        each "#include <${pair%%:*}>" '^(models|storage|connectors|daemon|cli)/' | grep -v "^${pair#*:}:"
    )"
done
breach "sqlite3.h is for storage/results*:" "$(
    each '#include <sqlite3.h>' '^(models|storage|connectors|daemon|cli)/' | grep -v '^storage/results'
)"
breach "left-behind marks:" "$(each '\b(TODO|FIXME|XXX|HACK)\b' '^(models|storage|connectors|daemon|cli|tests)/')"
# A function begins with a line at the margin that names it and ends with a brace there.
# shellcheck disable=SC2046
breach "functions of the library longer than 100 lines:" "$(
    awk 'FNR == 1 { start = 0 }
         /^[a-z].*\(/ && !/;$/ { start = FNR; name = $0 }
         /^}/ { if (start && FNR - start > 100) print FILENAME ":" start ": " name; start = 0 }' \
        $(files | grep '^models/')
)"
breach "layers that docs/models.md does not name:" "$(
    # shellcheck disable=SC2046
    sed -nE 's/.*\.class_name = "([A-Za-z]+)([123]D)?".*/\1/p' $(files | grep '^models/') | sort -u |
        while read -r class; do grep -q "$class" docs/models.md || echo "$class"; done
)"
breach "only the daemon logs:" "$(each '#include "daemon/log.h"' '^(models|storage|connectors|cli)/')"
# Versions of the formatter differ in what they make of the same style; 14 is the one of record.
if clang-format --version 2>/dev/null | grep -q "version 14\."; then
    # shellcheck disable=SC2046
    breach "not as make format would have it:" "$(
        clang-format --dry-run $(files) 2>&1 | grep -E 'warning:' | cut -d: -f1 | sort | uniq -c
    )"
fi
[ $bad = 0 ] && echo "the tree keeps its rules"
exit $bad
