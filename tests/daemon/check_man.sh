#!/bin/sh
# Manual pages pass mandoc's lint.
set -u
command -v mandoc >/dev/null 2>&1 || { echo "SKIP: no mandoc here"; exit 77; }
bad=0
for page in kymo.1 kymod.8 kymod.ini.5; do
    file=$KY_BUILDDIR/docs/$page
    [ -e "$file" ] || file=$KY_SRCDIR/docs/$page
    # Other manuals may not be installed yet.
    said=$(mandoc -T lint "$file" 2>&1 | grep -v 'referenced manual not found\|outdated mandoc.db\|longer than 80 bytes')
    [ -z "$said" ] || { echo "$said"; bad=1; }
done
exit $bad
