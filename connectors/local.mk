# The connectors library: sources, codecs, sockets.
