# The storage library: journal, results, archive, model store.
