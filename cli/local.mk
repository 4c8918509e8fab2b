# kymo, the command-line tool.
