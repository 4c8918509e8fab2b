#include "daemon/settings.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define KYMOD(field)   offsetof(ky_config, field), sizeof(((ky_config *)0)->field)
#define SOURCE(field)  offsetof(ky_source_cfg, field), sizeof(((ky_source_cfg *)0)->field)
#define STREAM(field)  offsetof(ky_class_cfg, field), sizeof(((ky_class_cfg *)0)->field)
#define MODEL(field)   offsetof(ky_model_cfg, field), sizeof(((ky_model_cfg *)0)->field)
#define PUBLISH(field) offsetof(ky_publish_cfg, field), sizeof(((ky_publish_cfg *)0)->field)
#define ROWS(field)    offsetof(ky_config, field), offsetof(ky_config, n_##field)

#define US_MS   1e3
#define US_S    1e6
#define US_HOUR 3600e6
#define US_DAY  86400e6
/* Formats whose messages have named fields. */
#define FIELDS "format=json|msgpack"

#define K 1024.
#define M (1024. * 1024)
#define G (1024. * 1024 * 1024)

const ky_section_kind ky_sections[KY_SECTIONS] = {
    [KY_SECTION_KYMOD] = { "kymod", false, sizeof(ky_config), 0, 0, "The daemon as a whole.",
                           NULL },
    [KY_SECTION_SOURCE] = { "source", true, sizeof(ky_source_cfg), ROWS(sources),
                            "Where samples come from. Any number of these sections, at least one.",
                            "plant" },
    [KY_SECTION_STREAM] = { "stream", true, sizeof(ky_class_cfg), ROWS(classes),
                            "A class of streams: which streams belong to it, what one sample of "
                            "them is, and which "
                            "model answers. A stream belongs to the first class that takes its "
                            "source and whose "
                            "pattern matches its id. Any number of these sections, at least one.",
                            "vibration" },
    [KY_SECTION_MODEL] = { "model", true, sizeof(ky_model_cfg), ROWS(models),
                           "A model, when it is trained again, and when a new version takes over.",
                           "vibration" },
    [KY_SECTION_PUBLISH] = { "publish", true, sizeof(ky_publish_cfg), ROWS(publishers),
                             "Where answers are published as they are made. Any number of these "
                             "sections.",
                             "live" },
};

static const ky_word auto_word[] = { { "auto", 0 }, { NULL, 0 } };
static const ky_word never_word[] = { { "never", 0 }, { NULL, 0 } };
static const ky_word no_word[] = { { "no", 0 }, { NULL, 0 } };
static const ky_word model_word[] = { { "model", 0 }, { NULL, 0 } };
static const ky_word journals[] = {
    { "sync", KY_JOURNAL_SYNC }, { "async", KY_JOURNAL_ASYNC }, { "no", KY_JOURNAL_NO }, { NULL, 0 }
};
static const ky_word levels[] = { { "error", 0 }, { "warn", 0 },  { "notice", 0 },
                                  { "info", 0 },  { "debug", 0 }, { NULL, 0 } };
static const ky_word source_types[] = { { "zmq", 0 }, { "kafka", 0 }, { NULL, 0 } };
static const ky_word sink_types[] = { { "zmq", 0 }, { NULL, 0 } };
static const ky_word sockets[] = { { "pull", 0 }, { "sub", 0 }, { "router", 0 }, { NULL, 0 } };
static const ky_word formats[] = { { "json", 0 }, { "msgpack", 0 }, { "f32", 0 }, { NULL, 0 } };
static const ky_word time_units[] = {
    { "s", 1000000000 }, { "ms", 1000000 }, { "us", 1000 }, { "ns", 1 }, { NULL, 0 }
};
static const ky_word missings[] = { { "reject", KY_MISSING_REJECT },
                                    { "hold", KY_MISSING_HOLD },
                                    { "zero", KY_MISSING_ZERO },
                                    { NULL, 0 } };
static const ky_word when_fulls[] = { { "block", KY_FULL_BLOCK },
                                      { "drop_oldest", KY_FULL_DROP_OLDEST },
                                      { "latest", KY_FULL_LATEST },
                                      { NULL, 0 } };
static const ky_word memories[] = { { "stream", KY_MEMORY_STREAM },
                                    { "window", KY_MEMORY_WINDOW },
                                    { NULL, 0 } };
static const ky_word gaps[] = {
    { "keep", KY_GAP_KEEP }, { "reset", KY_GAP_RESET }, { "hold", KY_GAP_HOLD }, { NULL, 0 }
};
static const ky_word lates[] = { { "drop", KY_LATE_DROP },
                                 { "accept", KY_LATE_ACCEPT },
                                 { NULL, 0 } };
static const ky_word emits[] = {
    { "every", KY_EMIT_EVERY }, { "change", KY_EMIT_CHANGE }, { "end", KY_EMIT_END }, { NULL, 0 }
};
static const ky_word logs[] = {
    { "all", KY_LOG_ALL }, { "change", KY_LOG_CHANGE }, { "none", KY_LOG_NONE }, { NULL, 0 }
};
static const ky_word swaps[] = { { "next_start", KY_SWAP_NEXT_START },
                                 { "reset", KY_SWAP_RESET },
                                 { NULL, 0 } };
static const ky_word metrics[] = {
    { "accuracy", 0 }, { "macro_f1", 0 }, { "log_loss", 0 }, { NULL, 0 }
};

/* The order of rows is the order in the man page and in every dump. */
const ky_setting ky_settings[] = {
    /* [kymod] */
    { KY_SECTION_KYMOD, "state_dir", KY_SET_PATH, KYMOD(state_dir), NULL, 0, 0, NULL, NULL, false,
      "Where everything lives that must survive: results.db, journal/, archive/, models/. One "
      "daemon at a time. Without this key it is the directory that systemd names in "
      "STATE_DIRECTORY, else /var/lib/kymo.",
      "/var/lib/kymo" },
    { KY_SECTION_KYMOD, "runtime_dir", KY_SET_PATH, KYMOD(runtime_dir), NULL, 0, 0, NULL, NULL,
      false,
      "Where the control socket is. Without this key it is the directory that systemd names in "
      "RUNTIME_DIRECTORY, else run/ in the state directory.",
      "/run/kymo" },
    { KY_SECTION_KYMOD, "lanes", KY_SET_NUMBER, KYMOD(lanes), "auto", 1, 64, auto_word, NULL, false,
      "Threads that run models; auto takes one for each processor that kymod may run on, at most "
      "16. Answers do not depend on it.",
      NULL },
    { KY_SECTION_KYMOD, "commit_interval", KY_SET_TIME, KYMOD(commit_interval_us), "1s", 10 * US_MS,
      US_HOUR, NULL, NULL, false,
      "How often answers, states and positions are written to results.db.", NULL },
    { KY_SECTION_KYMOD, "commit_rows", KY_SET_NUMBER, KYMOD(commit_rows), "20000", 1, 1e6, NULL,
      NULL, false, "They are written earlier when so many answers wait.", NULL },
    { KY_SECTION_KYMOD, "journal", KY_SET_CHOICE, KYMOD(journal), "sync", 0, 0, journals, NULL,
      false,
      "With sync accepted samples are on disk before they are answered and acknowledged. With "
      "async they "
      "are written, but answers do not wait for the disk; what a power cut takes is lost; refused "
      "with acknowledged sources. With no nothing is journaled; refused with acknowledged and "
      "Kafka "
      "sources, with archive = yes and with retrain.",
      NULL },
    { KY_SECTION_KYMOD, "journal_file_size", KY_SET_SIZE, KYMOD(journal_file_bytes), "64M", 64 * K,
      4 * G, NULL, NULL, false,
      "A journal file is sealed, and archived, when it has grown to this size.", NULL },
    { KY_SECTION_KYMOD, "journal_file_age", KY_SET_TIME, KYMOD(journal_file_age_us), "1h", US_S,
      366 * US_DAY, never_word, NULL, false,
      "It is sealed earlier when its first record is this old.", NULL },
    { KY_SECTION_KYMOD, "max_wave", KY_SET_NUMBER, KYMOD(max_wave), "256", 1, 65536, NULL, NULL,
      false, "Streams that are stepped together at most. Answers do not depend on it.", NULL },
    { KY_SECTION_KYMOD, "max_senders", KY_SET_NUMBER, KYMOD(max_senders), "1000", 1, 1e6, NULL,
      NULL, false,
      "Senders of acknowledged sources that are remembered, each with its newest session: those "
      "used last.",
      NULL },
    { KY_SECTION_KYMOD, "max_rejects", KY_SET_NUMBER, KYMOD(max_rejects), "100000", 1, 1e9, NULL,
      NULL, false, "Refused messages that are kept in the table rejects; the oldest go first.",
      NULL },
    { KY_SECTION_KYMOD, "max_memory", KY_SET_SIZE, KYMOD(max_memory), "2G", 16 * K, 1024 * G,
      never_word, NULL, false,
      "What the states of all streams may take in memory. Beyond it those used least recently "
      "leave "
      "it as if by idle_timeout: no stream is refused for it.",
      NULL },
    { KY_SECTION_KYMOD, "shutdown_timeout", KY_SET_TIME, KYMOD(shutdown_timeout_us), "30s", US_S,
      US_HOUR, NULL, NULL, false,
      "How long a stop may take to finish what is inside. What is in the journal by then is "
      "answered at the next start.",
      NULL },
    { KY_SECTION_KYMOD, "log_level", KY_SET_WORD, KYMOD(log_level), "info", 0, 0, levels, NULL,
      false, "The least important messages that are logged.", NULL },

    /* [source:NAME] */
    { KY_SECTION_SOURCE, "type", KY_SET_WORD, SOURCE(type), "zmq", 0, 0, source_types, NULL, false,
      "What brings the samples.", NULL },
    { KY_SECTION_SOURCE, "endpoint", KY_SET_TEXT, SOURCE(endpoint), NULL, 0, 1023, NULL, "type=zmq",
      true,
      "The address, as ZeroMQ writes it: tcp://host:port, ipc://path. With bind = yes and "
      "port * any free port is taken, and logged.",
      "tcp://127.0.0.1:5555" },
    { KY_SECTION_SOURCE, "socket", KY_SET_WORD, SOURCE(socket), "pull", 0, 0, sockets, "type=zmq",
      false,
      "pull and sub take what comes: at most once. router answers each message once it is on "
      "disk, and the sender repeats what was not: exactly once.",
      NULL },
    { KY_SECTION_SOURCE, "bind", KY_SET_BOOL, SOURCE(bind), "yes", 0, 0, NULL, "type=zmq", false,
      "yes: senders connect to us. no: we connect to the sender.", NULL },
    { KY_SECTION_SOURCE, "subscribe", KY_SET_TEXT, SOURCE(subscribe), "", 0, 255, NULL,
      "socket=sub", false, "Topics that begin so; empty: all.", NULL },
    { KY_SECTION_SOURCE, "format", KY_SET_WORD, SOURCE(format), "json", 0, 0, formats, NULL, false,
      "What a message is: json, an object of fields; msgpack, the same as a MessagePack map; f32, "
      "nothing but the values, as little-endian 32-bit floats, of the stream that the first frame "
      "or Kafka's key names.",
      NULL },
    { KY_SECTION_SOURCE, "stream_field", KY_SET_TEXT, SOURCE(stream_field), "stream", 0, 255, NULL,
      FIELDS, false, "The field that holds the stream's id.", NULL },
    { KY_SECTION_SOURCE, "time_field", KY_SET_TEXT, SOURCE(time_field), "ts", 0, 255, NULL, FIELDS,
      false,
      "The field that holds the time of measurement: RFC 3339, a number, or in msgpack a "
      "timestamp.",
      NULL },
    { KY_SECTION_SOURCE, "time_unit", KY_SET_CHOICE, SOURCE(time_unit_ns), "s", 0, 0, time_units,
      FIELDS, false, "The unit of a number there, since 1970 UTC.", NULL },
    { KY_SECTION_SOURCE, "label_field", KY_SET_TEXT, SOURCE(label_field), "label", 0, 255, NULL,
      FIELDS, false, "The field that holds the label.", NULL },
    { KY_SECTION_SOURCE, "values", KY_SET_LIST, SOURCE(values), "", 0, 4096, NULL, FIELDS, false,
      "The fields that hold the values of a sample, in this order. Empty: the list \"x\".", NULL },
    { KY_SECTION_SOURCE, "missing", KY_SET_CHOICE, SOURCE(missing), "reject", 0, 0, missings, NULL,
      false,
      "What null (nil) or NaN in place of a value gets: the message is refused, the stream's last "
      "value is taken, or zero.",
      NULL },
    { KY_SECTION_SOURCE, "hwm", KY_SET_NUMBER, SOURCE(hwm), "10000", 1, 1e7, NULL, "type=zmq",
      false, "Messages that wait in the socket at most (high water mark).", NULL },
    { KY_SECTION_SOURCE, "max_message", KY_SET_SIZE, SOURCE(max_message), "1M", K, 16 * M, NULL,
      NULL, false, "The largest message; larger ones are refused.", NULL },
    { KY_SECTION_SOURCE, "queue_size", KY_SET_SIZE, SOURCE(queue_bytes), "16M", 64 * K, 4 * G, NULL,
      NULL, false,
      "Room for decoded samples on their way in, at least four of the largest message.", NULL },
    { KY_SECTION_SOURCE, "when_full", KY_SET_CHOICE, SOURCE(when_full), "block", 0, 0, when_fulls,
      "socket=pull|sub", false,
      "What happens when samples come faster than they are answered and that room is taken. block: "
      "the sender waits. drop_oldest: the oldest sample is dropped. latest: all samples of a "
      "stream "
      "but its newest are dropped. What is dropped is counted, and told in the log and in the "
      "table events; a start that it said holds for the stream's next sample.",
      NULL },
    { KY_SECTION_SOURCE, "reorder", KY_SET_TIME, SOURCE(reorder_us), "no", US_MS, 3600 * US_S,
      no_word, "socket=pull|sub", false,
      "Samples wait for so long, so that those of a stream that overtook each other are taken in "
      "the order of their times. They wait in the room of queue_size; when half of it is taken, "
      "the oldest wait no longer.",
      "200ms" },
    { KY_SECTION_SOURCE, "brokers", KY_SET_TEXT, SOURCE(brokers), NULL, 0, 4095, NULL, "type=kafka",
      true, "Where to find the cluster: host:port, host:port.", NULL },
    { KY_SECTION_SOURCE, "topic", KY_SET_TEXT, SOURCE(topic), NULL, 0, 249, NULL, "type=kafka",
      true, "The topic to read.", NULL },
    { KY_SECTION_SOURCE, "partitions", KY_SET_TEXT, SOURCE(partitions), "all", 0, 1023, NULL,
      "type=kafka", false, "all, or this daemon's, as in 0-3,7.", NULL },
    { KY_SECTION_SOURCE, "group", KY_SET_TEXT, SOURCE(group), "kymo", 0, 255, NULL, "type=kafka",
      false,
      "The consumer group under which positions are reported. Kafka does not assign "
      "partitions to it.",
      NULL },
    { KY_SECTION_SOURCE, "rdkafka.", KY_SET_PAIRS, offsetof(ky_source_cfg, rdkafka),
      offsetof(ky_source_cfg, n_rdkafka), "", 0, 4095, NULL, "type=kafka", false,
      "Any property of librdkafka, as in rdkafka.security.protocol = sasl_ssl.", NULL },

    /* [stream:NAME] */
    { KY_SECTION_STREAM, "sources", KY_SET_LIST, STREAM(sources), "", 0, 256, NULL, NULL, false,
      "The sources this class listens to. Empty: all.", "plant" },
    { KY_SECTION_STREAM, "match", KY_SET_TEXT, STREAM(match), "*", 0, 255, NULL, NULL, false,
      "Which ids belong to it: a pattern with *, ? and [...].", NULL },
    { KY_SECTION_STREAM, "features", KY_SET_LIST, STREAM(features), "", 0, 4096, NULL, NULL, false,
      "Names of the values of one sample, in order. Empty: as the model has it.", "ax, ay, az" },
    { KY_SECTION_STREAM, "model", KY_SET_LIST, STREAM(models), NULL, 0, KY_CLASS_MODELS, NULL, NULL,
      true,
      "The [model:NAME] that answers; or several, each of which answers every sample, with a state "
      "and "
      "versions of its own. They must take as many values a sample.",
      "vibration" },
    { KY_SECTION_STREAM, "memory", KY_SET_CHOICE, STREAM(memory), "stream", 0, 0, memories, NULL,
      false,
      "stream: the model's state lives on from sample to sample, without end. window: every "
      "answer is about the last samples only.",
      NULL },
    { KY_SECTION_STREAM, "window", KY_SET_NUMBER, STREAM(window), "model", 1, 1e6, model_word,
      "memory=window", false, "How many samples. model: what the model was made for.", NULL },
    { KY_SECTION_STREAM, "hop", KY_SET_NUMBER, STREAM(hop), "1", 1, 1e6, NULL, "memory=window",
      false, "An answer every so many samples.", NULL },
    { KY_SECTION_STREAM, "max_gap", KY_SET_TIME, STREAM(max_gap_us), "never", US_MS, 366 * US_DAY,
      never_word, NULL, false,
      "A longer time between two samples is a gap, noted in the table gaps.", NULL },
    { KY_SECTION_STREAM, "on_gap", KY_SET_CHOICE, STREAM(on_gap), "keep", 0, 0, gaps, NULL, false,
      "What a gap does to the state. keep: nothing. reset: it is zeros again. hold: the last "
      "sample "
      "stands for each that is missing, up to max_hold of them; more of them are a reset.",
      NULL },
    { KY_SECTION_STREAM, "period", KY_SET_TIME, STREAM(period_us), "never", US_MS, 366 * US_DAY,
      never_word, NULL, false,
      "The time from one sample to the next, where they are regular; on_gap = hold counts by it "
      "what "
      "is missing.",
      "20ms" },
    { KY_SECTION_STREAM, "max_hold", KY_SET_NUMBER, STREAM(max_hold), "100", 1, 1e4, NULL, NULL,
      false, "Missing samples that on_gap = hold fills in at most.", NULL },
    { KY_SECTION_STREAM, "late", KY_SET_CHOICE, STREAM(late), "drop", 0, 0, lates, NULL, false,
      "What becomes of a sample that is older than one taken before: by its sequence number on a "
      "source that counts by it (pull, sub), else by its own time. drop: it is refused, and kept "
      "in "
      "the table rejects. accept: it is answered in the order it came, with quality late.",
      NULL },
    { KY_SECTION_STREAM, "max_late", KY_SET_TIME, STREAM(max_late_us), "1h", US_MS, 366 * US_DAY,
      never_word, NULL, false,
      "A time that falls by more than this is not late: the sender's clock was set back, and the "
      "stream's time goes on from there.",
      NULL },
    { KY_SECTION_STREAM, "max_ahead", KY_SET_TIME, STREAM(max_ahead_us), "1d", US_MS, 366 * US_DAY,
      never_word, NULL, false,
      "A sample whose time is further ahead of its arrival is refused: one wrong clock would make "
      "all that follows late.",
      NULL },
    { KY_SECTION_STREAM, "idle_timeout", KY_SET_TIME, STREAM(idle_timeout_us), "never", 10 * US_MS,
      366 * US_DAY, never_word, NULL, false,
      "The state of a stream that sent nothing for so long leaves memory, and comes back from "
      "results.db with its next sample. No answer depends on it.",
      "10m" },
    { KY_SECTION_STREAM, "end_after", KY_SET_TIME, STREAM(end_after_us), "never", 10 * US_MS,
      366 * US_DAY, never_word, NULL, false,
      "A silence that ends the sequence, by the host's clock: the stream's next sample starts from "
      "zeros. A pause of the daemon is not silence.",
      "10m" },
    { KY_SECTION_STREAM, "warm_up", KY_SET_NUMBER, STREAM(warm_up), "0", 0, 1e6, NULL, NULL, false,
      "So many answers after a start from zeros have the quality warming.", NULL },
    { KY_SECTION_STREAM, "emit", KY_SET_NTH, STREAM(emit), "every", 1, 1e6, emits, NULL, false,
      "Which answers of each model are published: every one, those whose label differs from the "
      "one "
      "before, the last of each sequence, or one of so many.",
      NULL },
    { KY_SECTION_STREAM, "log", KY_SET_CHOICE, STREAM(log), "all", 0, 0, logs, NULL, false,
      "Which answers are kept in results.db.", NULL },
    { KY_SECTION_STREAM, "archive", KY_SET_BOOL, STREAM(archive), "no", 0, 0, NULL, NULL, false,
      "Whether samples are kept in HDF5 files; retraining needs them.", "yes" },
    { KY_SECTION_STREAM, "max_streams", KY_SET_NUMBER, STREAM(max_streams), "100000", 1, 1e7, NULL,
      NULL, false,
      "Streams of this class in memory. Beyond it the one that was used longest ago leaves it, as "
      "soon as all that was done to it is committed, and comes back from results.db with its next "
      "sample: no stream is refused, no answer depends on it.",
      NULL },

    /* [model:NAME] */
    { KY_SECTION_MODEL, "file", KY_SET_PATH, MODEL(file), NULL, 0, 4095, NULL, NULL, true,
      "A Keras file. It becomes version 1 in the state directory's store; changed later, the next "
      "version.",
      "vibration.h5" },
    { KY_SECTION_MODEL, "labels", KY_SET_LIST, MODEL(labels), "", 0, 4096, NULL, NULL, false,
      "Names of the classes, in order of the model's outputs, where the file has none.", NULL },
    { KY_SECTION_MODEL, "on_swap", KY_SET_CHOICE, MODEL(on_swap), "next_start", 0, 0, swaps, NULL,
      false,
      "When a new version takes over a stream: at its next start, or at once with a state of "
      "zeros.",
      NULL },
    { KY_SECTION_MODEL, "retrain", KY_SET_EVERY, MODEL(retrain_every_us), "never", US_S,
      366 * US_DAY, never_word, NULL, false,
      "When the model is trained again on the archive of its streams. never: only when "
      "kymo retrain asks.",
      "every 24h" },
    { KY_SECTION_MODEL, "retrain_min", KY_SET_NUMBER, MODEL(retrain_min), "100", 1, 1e9, NULL, NULL,
      false, "Labelled sequences it takes at least.", NULL },
    { KY_SECTION_MODEL, "retrain_epochs", KY_SET_NUMBER, MODEL(retrain_epochs), "20", 1, 1e5, NULL,
      NULL, false, "Passes over the data at most.", NULL },
    { KY_SECTION_MODEL, "retrain_timeout", KY_SET_TIME, MODEL(retrain_timeout_us), "6h", US_S,
      30 * US_DAY, NULL, NULL, false, "A training that takes longer is ended.", NULL },
    { KY_SECTION_MODEL, "gate_metric", KY_SET_WORD, MODEL(gate_metric), "accuracy", 0, 0, metrics,
      NULL, false,
      "What the new version is compared by with the running one, on the same samples held back "
      "from training.",
      NULL },
    { KY_SECTION_MODEL, "gate_margin", KY_SET_REAL, MODEL(gate_margin), "0", -1, 1, NULL, NULL,
      false, "By how much the new one must be better; 0: no worse.", NULL },
    { KY_SECTION_MODEL, "gate_held_out", KY_SET_REAL, MODEL(gate_held_out), "0.25", 0.01, 0.9, NULL,
      NULL, false, "The part held back for that, the latest sequences.", NULL },
    { KY_SECTION_MODEL, "keep_versions", KY_SET_NUMBER, MODEL(keep_versions), "10", 2, 1e6, NULL,
      NULL, false, "Versions that are kept, besides those that are still referred to.", NULL },

    /* [publish:NAME] */
    { KY_SECTION_PUBLISH, "type", KY_SET_WORD, PUBLISH(type), "zmq", 0, 0, sink_types, NULL, false,
      "What carries the answers: a ZeroMQ PUB socket.", NULL },
    { KY_SECTION_PUBLISH, "endpoint", KY_SET_TEXT, PUBLISH(endpoint), NULL, 0, 1023, NULL, NULL,
      true, "Its address, as ZeroMQ writes it.", "tcp://127.0.0.1:5556" },
    { KY_SECTION_PUBLISH, "bind", KY_SET_BOOL, PUBLISH(bind), "yes", 0, 0, NULL, NULL, false,
      "yes: subscribers connect to us. no: we connect.", NULL },
    { KY_SECTION_PUBLISH, "hwm", KY_SET_NUMBER, PUBLISH(hwm), "100000", 1, 1e7, NULL, NULL, false,
      "Answers that wait for a slow subscriber at most, some 500 bytes each; more are dropped, for "
      "it alone.",
      NULL },
};
const int ky_n_settings = sizeof(ky_settings) / sizeof(*ky_settings);

typedef struct unit {
    const char *suffix;
    double factor;
} unit;

/* Largest first: a value prints in the largest unit that divides it. */
static const unit time_suffixes[] = { { "d", US_DAY }, { "h", US_HOUR }, { "m", 60 * US_S },
                                      { "s", US_S },   { "ms", US_MS },  { "us", 1 },
                                      { NULL, 0 } };
static const unit size_suffixes[] = { { "T", K *G }, { "G", G }, { "M", M },
                                      { "K", K },    { "", 1 },  { NULL, 0 } };

static const unit nth_suffixes[] = { { "", 1 }, { NULL, 0 } };

static const ky_word bools[] = { { "yes", 1 },   { "no", 0 }, { "true", 1 },
                                 { "false", 0 }, { "on", 1 }, { "off", 0 },
                                 { "1", 1 },     { "0", 0 },  { NULL, 0 } };

const ky_setting *ky_setting_find(enum ky_section section, const char *key)
{
    for (int i = 0; i < ky_n_settings; i++) {
        const ky_setting *s = &ky_settings[i];
        size_t len = strlen(s->key);

        if (s->section != section)
            continue;
        if (s->type == KY_SET_PAIRS ? strncmp(key, s->key, len) == 0 && key[len] != '\0'
                                    : strcmp(key, s->key) == 0)
            return s;
    }
    return NULL;
}

static const unit *units_of(const ky_setting *s)
{
    return s->type == KY_SET_SIZE  ? size_suffixes
           : s->type == KY_SET_NTH ? nth_suffixes
                                   : time_suffixes;
}

/* Appends to text of a bounded size. */
static void add(char *ret, size_t size, const char *a, const char *b)
{
    size_t len = strlen(ret);

    snprintf(ret + len, size - len, "%s%s", a, b);
}

static void put_quantity(const unit *u, double value, char *ret, size_t size)
{
    while (u[1].suffix != NULL && fmod(value, u->factor) != 0)
        u++;
    snprintf(ret, size, "%.0f%s", value / u->factor, u->suffix);
}

static void put_range(const ky_setting *s, char *ret, size_t size)
{
    char lo[32], hi[32], both[160];
    bool number = s->type == KY_SET_NUMBER, real = s->type == KY_SET_REAL;

    if (number || real) {
        snprintf(lo, sizeof(lo), "%.15g", s->min);
        snprintf(hi, sizeof(hi), "%.15g", s->max);
    } else {
        put_quantity(units_of(s), s->min, lo, sizeof(lo));
        put_quantity(units_of(s), s->max, hi, sizeof(hi));
    }
    snprintf(both, sizeof(both), "%s from %s to %s",
             number                    ? "a whole number"
             : real                    ? "a number"
             : s->type == KY_SET_SIZE  ? "a size (bytes, or with K, M, G)"
             : s->type == KY_SET_EVERY ? "every and a time (with us, ms, s, m, h or d)"
             : s->type == KY_SET_NTH   ? "every and a whole number"
                                       : "a time (with us, ms, s, m, h or d)",
             lo, hi);
    add(ret, size, both, "");
}

void ky_setting_allowed(const ky_setting *s, char *ret, size_t size)
{
    const ky_word *words = s->type == KY_SET_BOOL ? bools : s->words;

    *ret = '\0';
    for (const ky_word *w = words; w != NULL && w->word != NULL; w++)
        add(ret, size, w == words ? "" : w[1].word == NULL ? " or " : ", ", w->word);
    if (s->max > s->min && s->type >= KY_SET_NUMBER && s->type <= KY_SET_REAL) {
        add(ret, size, words != NULL ? ", or " : "", "");
        put_range(s, ret, size);
    } else if (s->type == KY_SET_LIST) {
        add(ret, size, "a list, separated by commas, nothing twice", "");
    } else if (s->type == KY_SET_PATH) {
        add(ret, size, "a path", "");
    } else if (words == NULL) {
        char text[48];

        snprintf(text, sizeof(text), "text of at most %.0f bytes", s->max);
        add(ret, size, text, "");
    }
}

static int not_allowed(const ky_setting *s, const char *text, ky_err *err)
{
    char allowed[240];

    ky_setting_allowed(s, allowed, sizeof(allowed));
    return ky_fail(err, KY_EINVAL, "'%.100s%s' is not allowed: %s", text,
                   strlen(text) > 100 ? "..." : "", allowed);
}

static void *field(const ky_setting *s, const void *obj)
{
    return (char *)(uintptr_t)obj + s->at;
}

static void put_integer(const ky_setting *s, void *obj, int64_t v)
{
    if (s->type == KY_SET_BOOL)
        *(bool *)field(s, obj) = v != 0;
    else if (s->size == sizeof(int))
        *(int *)field(s, obj) = (int)v;
    else
        *(int64_t *)field(s, obj) = v;
}

static int64_t integer(const ky_setting *s, const void *obj)
{
    if (s->type == KY_SET_BOOL)
        return *(const bool *)field(s, obj);
    return s->size == sizeof(int) ? *(const int *)field(s, obj) : *(const int64_t *)field(s, obj);
}

static const ky_word *find_word(const ky_word *w, const char *text)
{
    for (; w != NULL && w->word != NULL; w++)
        if (strcmp(w->word, text) == 0)
            return w;
    return NULL;
}

static const char *word_of(const ky_word *w, int64_t value)
{
    for (; w != NULL && w->word != NULL; w++)
        if (w->value == value)
            return w->word;
    return NULL;
}

static char *copy(const char *text, size_t len, ky_err *err)
{
    char *s = strndup(text, len);

    if (s == NULL)
        ky_fail(err, KY_ENOMEM, "out of memory");
    return s;
}

static int parse_text(const ky_setting *s, const char *text, void *obj, ky_err *err)
{
    char **at = field(s, obj), *value;

    if (strlen(text) > (size_t)s->max && s->type == KY_SET_TEXT)
        return not_allowed(s, text, err);
    if (s->type == KY_SET_WORD && find_word(s->words, text) == NULL)
        return not_allowed(s, text, err);
    value = copy(text, strlen(text), err);
    if (value == NULL)
        return KY_ENOMEM;
    free(*at);
    *at = value;
    return KY_OK;
}

static int parse_path(const ky_setting *s, const char *text, const char *dir, void *obj,
                      ky_err *err)
{
    char **at = field(s, obj), *value;

    if (strlen(text) >= PATH_MAX - 256)
        return not_allowed(s, text, err);
    if (*text == '/' || dir == NULL)
        value = copy(text, strlen(text), err);
    else if (asprintf(&value, "%s/%s", dir, text) < 0)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    if (value == NULL)
        return KY_ENOMEM;
    free(*at);
    *at = value;
    return KY_OK;
}

/* Whether all of `text` is a decimal number; strtod alone takes hex, infinity and blanks. */
static bool read_number(const char *text, double *ret, const char **ret_rest)
{
    char *rest;

    if (!isdigit((unsigned char)text[*text == '-']) || text[strspn(text, "-0")] == 'x')
        return false;
    errno = 0;
    *ret = strtod(text, &rest);
    *ret_rest = rest;
    return errno == 0 && isfinite(*ret);
}

static int parse_number(const ky_setting *s, const char *text, void *obj, ky_err *err)
{
    const ky_word *w = find_word(s->words, text);
    const char *rest;
    double v;

    if (w != NULL) {
        put_integer(s, obj, w->value);
        return KY_OK;
    }
    if (!read_number(text, &v, &rest) || *rest != '\0' || v < s->min || v > s->max)
        return not_allowed(s, text, err);
    if (s->type == KY_SET_REAL) {
        *(double *)field(s, obj) = v + 0.0; /* no negative zero */
        return KY_OK;
    }
    if (v != floor(v) || strspn(text, "-0123456789") != strlen(text))
        return not_allowed(s, text, err);
    put_integer(s, obj, (int64_t)v);
    return KY_OK;
}

static int parse_quantity(const ky_setting *s, const char *text, void *obj, ky_err *err)
{
    const ky_word *w = find_word(s->words, text);
    const char *number = text, *rest;
    const unit *u = units_of(s);
    double v;

    if (w != NULL) {
        put_integer(s, obj, w->value);
        return KY_OK;
    }
    if (s->type == KY_SET_EVERY || s->type == KY_SET_NTH) {
        if (strncmp(text, "every", 5) != 0 || !isblank((unsigned char)text[5]))
            return not_allowed(s, text, err);
        number = text + 5 + strspn(text + 5, " \t");
    }
    /* A decimal point, but no exponent: 1e3s is nobody's way to write a time. */
    if (!read_number(number, &v, &rest) || memchr(number, 'e', (size_t)(rest - number)) != NULL)
        return not_allowed(s, text, err);
    rest += strspn(rest, " ");
    while (u->suffix != NULL && strcmp(u->suffix, rest) != 0)
        u++;
    if (u->suffix == NULL)
        return not_allowed(s, text, err);
    if (s->type == KY_SET_NTH && v != floor(v))
        return not_allowed(s, text, err);
    v = round(v * u->factor);
    if (v < s->min || v > s->max)
        return not_allowed(s, text, err);
    put_integer(s, obj, (int64_t)v);
    return KY_OK;
}

static void list_done(ky_list *l)
{
    for (int i = 0; i < l->n; i++)
        free(l->item[i]);
    free(l->item);
    *l = (ky_list){ 0 };
}

static bool list_has(const ky_list *l, const char *item, size_t len)
{
    for (int i = 0; i < l->n; i++)
        if (strlen(l->item[i]) == len && memcmp(l->item[i], item, len) == 0)
            return true;
    return false;
}

static int parse_list(const ky_setting *s, const char *text, void *obj, ky_err *err)
{
    ky_list list = { 0 };
    int rc = KY_OK;

    for (const char *p = text; *text != '\0' && p != NULL;) {
        const char *comma = strchr(p += strspn(p, " \t"), ',');
        size_t len = comma != NULL ? (size_t)(comma - p) : strlen(p);
        char **more;

        while (len > 0 && isblank((unsigned char)p[len - 1]))
            len--;
        if (len == 0 || len > KY_LABEL_MAX || list.n >= s->max || list_has(&list, p, len)) {
            rc = not_allowed(s, text, err);
            break;
        }
        more = reallocarray(list.item, (size_t)list.n + 1, sizeof(*more));
        if (more != NULL)
            list.item = more;
        if (more == NULL || (more[list.n] = copy(p, len, err)) == NULL) {
            rc = ky_fail(err, KY_ENOMEM, "out of memory");
            break;
        }
        list.n++;
        p = comma != NULL ? comma + 1 : NULL;
    }
    if (rc < 0) {
        list_done(&list);
        return rc;
    }
    list_done(field(s, obj));
    *(ky_list *)field(s, obj) = list;
    return KY_OK;
}

static int parse_pair(const ky_setting *s, const char *key, const char *text, void *obj,
                      ky_err *err)
{
    ky_kv **pairs = field(s, obj), *more;
    int *n = (int *)((char *)obj + s->size);
    char *k, *v;

    if (strlen(text) > (size_t)s->max)
        return not_allowed(s, text, err);
    key += strlen(s->key);
    k = copy(key, strlen(key), err);
    v = copy(text, strlen(text), err);
    more = reallocarray(*pairs, (size_t)*n + 1, sizeof(*more));
    if (more != NULL)
        *pairs = more;
    if (k == NULL || v == NULL || more == NULL) {
        free(k);
        free(v);
        return ky_fail(err, KY_ENOMEM, "out of memory");
    }
    more[(*n)++] = (ky_kv){ k, v };
    return KY_OK;
}

int ky_setting_parse(const ky_setting *s, const char *key, const char *text, const char *dir,
                     void *obj, ky_err *err)
{
    if (*text == '\0' && (s->otherwise == NULL || *s->otherwise != '\0'))
        return ky_fail(err, KY_EINVAL, "has no value");
    switch (s->type) {
    case KY_SET_TEXT:
    case KY_SET_WORD:
        return parse_text(s, text, obj, err);
    case KY_SET_PATH:
        return parse_path(s, text, dir, obj, err);
    case KY_SET_LIST:
        return parse_list(s, text, obj, err);
    case KY_SET_BOOL:
    case KY_SET_CHOICE: {
        const ky_word *w = find_word(s->type == KY_SET_BOOL ? bools : s->words, text);

        if (w == NULL)
            return not_allowed(s, text, err);
        put_integer(s, obj, w->value);
        return KY_OK;
    }
    case KY_SET_NUMBER:
    case KY_SET_REAL:
        return parse_number(s, text, obj, err);
    case KY_SET_SIZE:
    case KY_SET_TIME:
    case KY_SET_EVERY:
    case KY_SET_NTH:
        return parse_quantity(s, text, obj, err);
    case KY_SET_PAIRS:
        return parse_pair(s, key, text, obj, err);
    }
    return ky_fail(err, KY_EINVAL, "is of no known type");
}

bool ky_setting_applies(const ky_setting *s, const void *obj)
{
    const char *equals = s->when != NULL ? strchr(s->when, '=') : NULL;
    char key[32], *text;
    bool ret = false;

    if (equals == NULL)
        return true;
    snprintf(key, sizeof(key), "%.*s", (int)(equals - s->when), s->when);
    const ky_setting *other = ky_setting_find(s->section, key);
    if (!ky_setting_applies(other, obj))
        return false;
    text = ky_setting_text(other, obj);
    for (const char *word = equals + 1; text != NULL && *word != '\0' && !ret;) {
        size_t n = strcspn(word, "|");
        ret = strlen(text) == n && memcmp(text, word, n) == 0;
        word += n + (word[n] == '|');
    }
    free(text);
    return ret;
}

void ky_setting_when(const ky_setting *s, char *ret, size_t size)
{
    const char *p = s->when;
    size_t n = strcspn(p, "=");

    snprintf(ret, size, "%.*s =", (int)n, p);
    for (p += n; *p != '\0'; p += n) {
        n = strcspn(++p, "|");
        snprintf(ret + strlen(ret), size - strlen(ret), "%s %.*s", p[-1] == '|' ? " or" : "",
                 (int)n, p);
    }
}

static char *list_text(const ky_list *l)
{
    size_t size = 1;
    char *text;

    for (int i = 0; i < l->n; i++)
        size += strlen(l->item[i]) + 2;
    text = calloc(1, size);
    for (int i = 0; text != NULL && i < l->n; i++)
        add(text, size, i == 0 ? "" : ", ", l->item[i]);
    return text;
}

char *ky_setting_text(const ky_setting *s, const void *obj)
{
    char text[64] = "";
    const char *word = NULL, *const * at;

    switch (s->type) {
    case KY_SET_TEXT:
    case KY_SET_WORD:
    case KY_SET_PATH:
        at = field(s, obj);
        return strdup(*at != NULL ? *at : "");
    case KY_SET_LIST:
        return list_text(field(s, obj));
    case KY_SET_REAL:
        /* As few digits as give the same number back. */
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, *(const double *)field(s, obj));
            if (strtod(text, NULL) == *(const double *)field(s, obj))
                break;
        }
        return strdup(text);
    case KY_SET_PAIRS:
        return strdup("");
    default:
        break;
    }
    word = word_of(s->type == KY_SET_BOOL ? bools : s->words, integer(s, obj));
    if (word != NULL)
        return strdup(word);
    if (s->type == KY_SET_NUMBER) {
        snprintf(text, sizeof(text), "%lld", (long long)integer(s, obj));
        return strdup(text);
    }
    if (s->type == KY_SET_EVERY || s->type == KY_SET_NTH)
        strcpy(text, "every ");
    put_quantity(units_of(s), (double)integer(s, obj), text + strlen(text),
                 sizeof(text) - strlen(text));
    return strdup(text);
}

void ky_setting_free(const ky_setting *s, void *obj)
{
    if (s->type == KY_SET_TEXT || s->type == KY_SET_WORD || s->type == KY_SET_PATH) {
        free(*(char **)field(s, obj));
    } else if (s->type == KY_SET_LIST) {
        list_done(field(s, obj));
    } else if (s->type == KY_SET_PAIRS) {
        ky_kv *pairs = *(ky_kv **)field(s, obj);
        int n = *(int *)((char *)obj + s->size);

        for (int i = 0; i < n; i++) {
            free((char *)(uintptr_t)pairs[i].key);
            free((char *)(uintptr_t)pairs[i].value);
        }
        free(pairs);
    }
}

bool ky_setting_secret(const char *key)
{
    static const char *const words[] = { "password", "secret", "sasl.jaas", "key.pem", "token" };

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strstr(key, words[i]) != NULL)
            return true;
    return false;
}

void *ky_section_object(const ky_config *c, enum ky_section section, int n, const char **ret_name)
{
    const ky_section_kind *kind = &ky_sections[section];
    char *rows;

    *ret_name = NULL;
    if (!kind->named)
        return n == 0 ? (void *)(uintptr_t)c : NULL;
    if (n >= *(const int *)((const char *)c + kind->n_rows))
        return NULL;
    rows = *(char *const *)((const char *)c + kind->rows) + (size_t)n * kind->size;
    *ret_name = *(char **)rows; /* the name is the first field of each */
    return rows;
}

/* -- what is printed from the table ------------------------------------------ */

static void dump_pairs(const ky_setting *s, const void *obj, FILE *out)
{
    const ky_kv *pairs = *(ky_kv *const *)field(s, obj);
    int n = *(const int *)((const char *)obj + s->size);

    for (int i = 0; i < n; i++)
        fprintf(out, "%s%s = %s\n", s->key, pairs[i].key,
                ky_setting_secret(pairs[i].key) ? "***" : pairs[i].value);
}

static void dump_object(enum ky_section section, const void *obj, FILE *out)
{
    for (int i = 0; i < ky_n_settings; i++) {
        const ky_setting *s = &ky_settings[i];
        char *text;

        if (s->section != section || !ky_setting_applies(s, obj))
            continue;
        text = ky_setting_text(s, obj);
        if (text != NULL && *text != '\0')
            fprintf(out, "%s = %s\n", s->key, text);
        free(text);
        if (s->type == KY_SET_PAIRS)
            dump_pairs(s, obj, out);
    }
}

void ky_config_dump(const ky_config *c, FILE *out)
{
    for (int section = 0; section < KY_SECTIONS; section++) {
        const char *name;
        const void *obj;

        for (int n = 0; (obj = ky_section_object(c, section, n, &name)) != NULL; n++) {
            fprintf(out, "%s[%s%s%s]\n", section + n == 0 ? "" : "\n", ky_sections[section].word,
                    name != NULL ? ":" : "", name != NULL ? name : "");
            dump_object(section, obj, out);
        }
    }
}

/* Words of `text`, broken into lines of at most 72 behind a prefix. */
static void print_comment(const char *text, FILE *out)
{
    size_t column = 0;

    while (*text != '\0') {
        size_t len = strcspn(text, " ");

        if (column > 0 && column + 1 + len > 76)
            column = 0, fputc('\n', out);
        fprintf(out, "%s%.*s", column == 0 ? "; " : " ", (int)len, text);
        column += (column == 0 ? 2 : 1) + len;
        text += len + strspn(text + len, " ");
    }
    fputc('\n', out);
}

static void example_setting(const ky_setting *s, FILE *out)
{
    const char *value = s->example != NULL ? s->example : s->otherwise;
    char allowed[300], when[80];
    bool shown = s->required && s->when == NULL;

    shown |= s->section == KY_SECTION_SOURCE && s->required && strcmp(s->when, "type=zmq") == 0;
    fputc('\n', out);
    print_comment(s->help, out);
    ky_setting_allowed(s, allowed, sizeof(allowed));
    fprintf(out, "; Allowed: %s.", allowed);
    if (s->when != NULL) {
        ky_setting_when(s, when, sizeof(when));
        fprintf(out, " Only with %s.", when);
    }
    fprintf(out, "\n%s%s%s = %s\n", shown ? "" : ";", s->key,
            s->type == KY_SET_PAIRS ? "client.id" : "",
            s->type == KY_SET_PAIRS ? "kymo"
            : value != NULL         ? value
                                    : "...");
}

void ky_config_example(FILE *out)
{
    print_comment("kymod.ini: settings of kymod. See kymod.ini(5). A line that begins with ';' is "
                  "a comment; the settings in comments are the defaults.",
                  out);
    for (int section = 0; section < KY_SECTIONS; section++) {
        const ky_section_kind *kind = &ky_sections[section];

        fputc('\n', out);
        print_comment(kind->help, out);
        fprintf(out, "[%s%s%s]\n", kind->word, kind->named ? ":" : "",
                kind->named ? kind->example : "");
        for (int i = 0; i < ky_n_settings; i++)
            if ((int)ky_settings[i].section == section)
                example_setting(&ky_settings[i], out);
    }
}

/* Text as roff takes it: a sentence begins a line, no line is long, and nothing at the beginning
 * of a line is a request. */
static void man_text(const char *text, FILE *out)
{
    size_t column = 0;

    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        bool sentence = len > 1 && (text[len - 1] == '.' || text[len - 1] == ':') &&
                        isupper((unsigned char)text[len + strspn(text + len, " ")]);

        if (column > 0 && column + 1 + len > 78)
            column = 0, fputc('\n', out);
        if (column == 0 && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        fprintf(out, "%s%.*s", column > 0 ? " " : "", (int)len, text);
        column += len + 1;
        if (sentence)
            column = 0, fputc('\n', out);
        text += len + strspn(text + len, " ");
    }
    if (column > 0)
        fputc('\n', out);
}

static void man_setting(const ky_setting *s, FILE *out)
{
    char allowed[300], when[80];

    ky_setting_allowed(s, allowed, sizeof(allowed));
    fprintf(out, ".It Ic %s%s\n", s->key, s->type == KY_SET_PAIRS ? "PROPERTY" : "");
    man_text(s->help, out);
    if (s->when != NULL) {
        ky_setting_when(s, when, sizeof(when));
        fprintf(out, "Only with\n.Ql %s .\n", when);
    }
    fprintf(out, ".br\nAllowed:\n");
    man_text(allowed, out);
    if (s->required)
        fprintf(out, ".br\nRequired.\n");
    else if (s->otherwise != NULL && *s->otherwise != '\0')
        fprintf(out, ".br\nDefault:\n.Ql %s\n", s->otherwise);
}

static const char man_head[] =
    ".\\\" Generated from the table of settings; do not edit.\n"
    ".Dd November 22, 2026\n.Dt KYMOD.INI 5\n.Os\n"
    ".Sh NAME\n.Nm kymod.ini\n.Nd settings of kymod\n"
    ".Sh DESCRIPTION\n"
    ".Xr kymod 8\nreads its settings from one file, then from every file whose name ends in\n"
    ".Pa .ini\nin the directory beside it that has the file's name with\n.Pa .d\n"
    "in place of\n.Pa .ini ,\nin the order of their names\n.Pq bytes, not a language's .\n"
    "A later file overrides single keys of earlier ones and adds sections.\n.Pp\n"
    "A line is\n.Ql [section] ,\n.Ql key = value ,\nempty, or a comment, which begins with\n.Ql "
    "\\&;\n"
    "or\n.Ql # .\nA blank and\n.Ql \\&;\nbegin a comment behind a value.\n"
    "Indentation means nothing, a value ends with its line, a line has at most\n65536 bytes.\n"
    "A key may stand only once in a file.\n"
    "A relative path is relative to the directory of the file it stands in.\n"
    "Names of sections are letters, digits,\n.Ql -\nand\n.Ql _ ,\nat most 63.\n.Pp\n"
    "Everything that is wrong is reported, with file and line, and\n.Nm kymod\ndoes not start;\n"
    ".Ql kymod --check-config\nreports without starting.\n"
    "A file with passwords or keys must not be readable for everybody.\n"
    ".Sh SECTIONS\n";

static const char man_tail[] =
    ".Sh FILES\n.Bl -tag -width Ds\n.It Pa /etc/kymo/kymod.ini\nThe file, unless\n.Ql -c\n"
    "names another.\n.It Pa /etc/kymo/kymod.d/*.ini\nFiles that override and add.\n.El\n"
    ".Sh EXAMPLES\n"
    "The smallest useful file: samples come in on one port, answers go out on\nanother.\n"
    ".Bd -literal -offset indent\n"
    "[source:plant]\nendpoint = tcp://127.0.0.1:5555\n\n"
    "[stream:vibration]\nmodel = vibration\n\n"
    "[model:vibration]\nfile = vibration.h5\n\n"
    "[publish:live]\nendpoint = tcp://127.0.0.1:5556\n.Ed\n"
    ".Sh SEE ALSO\n.Xr kymo 1 ,\n.Xr kymod 8\n";

void ky_config_man(FILE *out)
{
    fputs(man_head, out);
    for (int section = 0; section < KY_SECTIONS; section++) {
        const ky_section_kind *kind = &ky_sections[section];

        fprintf(out, ".Ss Bq %s%s\n", kind->word, kind->named ? ":NAME" : "");
        man_text(kind->help, out);
        fprintf(out, ".Bl -tag -width Ds\n");
        for (int i = 0; i < ky_n_settings; i++)
            if ((int)ky_settings[i].section == section)
                man_setting(&ky_settings[i], out);
        fprintf(out, ".El\n");
    }
    fputs(man_tail, out);
}
