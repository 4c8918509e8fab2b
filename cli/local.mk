# kymo, the command-line tool: one file a subcommand, a row in kymo.c each.
bin_PROGRAMS += kymo

kymo_SOURCES = cli/cli.h cli/kymo.c cli/options.c cli/progress.c
kymo_SOURCES += cli/data.c cli/data.h cli/data_beside.c cli/data_place.c cli/data_place.h cli/data_rows.c cli/data_rows.h
kymo_SOURCES += cli/compare.c cli/compare.h cli/compare_data.c cli/compare_judge.c
kymo_SOURCES += cli/compare_models.c cli/compare_print.c cli/compare_serve.c
kymo_SOURCES += cli/convert.c
kymo_SOURCES += cli/eval.c
kymo_SOURCES += cli/feed.c cli/feed.h cli/feed_encode.c cli/feed_h5.c cli/feed_host.c cli/feed_record.c
kymo_SOURCES += cli/folds.c cli/folds.h
kymo_SOURCES += cli/feed_send.c cli/feed_shuffle.c
kymo_SOURCES += cli/import.c
kymo_SOURCES += cli/inspect.c cli/inspect.h cli/inspect_json.c cli/inspect_text.c
kymo_SOURCES += cli/predict.c cli/predict_text.c cli/predict_text.h
kymo_SOURCES += cli/simulate.c cli/simulate.h cli/simulate_digits.c cli/simulate_series.c
kymo_SOURCES += cli/simulate_words.c
kymo_SOURCES += cli/query.c
kymo_SOURCES += cli/ask.c cli/ask.h cli/retrain.c cli/status.c
kymo_SOURCES += cli/gate.c cli/segments.c cli/segments.h cli/spool.c cli/spool.h cli/windows.c cli/windows.h cli/targets.c cli/targets.h cli/train.c cli/train_options.c
kymo_SOURCES += cli/training.c cli/training.h
kymo_SOURCES += cli/watch.c cli/watch.h
kymo_SOURCES += cli/scoring.c cli/scoring.h
kymo_SOURCES += cli/charts.c cli/charts.h cli/page.c cli/page.h cli/page_style.h cli/report.c cli/report.h
kymo_SOURCES += cli/streams.c cli/streams.h cli/streams_one.c
kymo_SOURCES += cli/tail.c
kymo_CPPFLAGS = $(AM_CPPFLAGS) -DKY_CONFIG_PATH='"$(sysconfdir)/kymo/kymod.ini"'
kymo_LDADD = libkyimport.la libkyconfig.la libkyconnectors.la libkystorage.la libkymo.la

# The readers of other people's files, for kymo, their tests and their fuzz target.
noinst_LTLIBRARIES += libkyimport.la
libkyimport_la_SOURCES = cli/bytes.c cli/bytes.h cli/csv.c cli/csv.h cli/feed_csv.c cli/names.c cli/names.h
libkyimport_la_SOURCES += cli/import.h cli/image.c cli/image.h cli/import_csv.c cli/import_files.c cli/import_image.c cli/import_idx.c cli/import_run.c
libkyimport_la_SOURCES += cli/import_settle.c cli/import_sink.c cli/import_sink.h
libkyimport_la_SOURCES += cli/import_text.c cli/import_ts.c cli/import_wav.c cli/logmel.c cli/logmel.h
libkyimport_la_CFLAGS = $(AM_CFLAGS) $(ZLIB_CFLAGS) $(PNG_CFLAGS) $(JPEG_CFLAGS)
libkyimport_la_LIBADD = libkyconnectors.la libkymo.la $(ZLIB_LIBS) $(PNG_LIBS) $(JPEG_LIBS)
