/*
 * Produces lines of the form key<TAB>value from standard input.
 *
 *     produce BROKERS TOPIC [PARTITION]
 *
 * An empty key is none, a value of `(null)` a tombstone. Ends when all is delivered, 1 if
 * something was not.
 */
#include <librdkafka/rdkafka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long delivered, failed;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *arg)
{
    (void)rk;
    (void)arg;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        failed++;
    else
        delivered++;
}

static void produce(rd_kafka_t *rk, const char *topic, int32_t partition, char *line)
{
    char *value = strchr(line, '\t');
    rd_kafka_resp_err_t e;

    if (value == NULL)
        value = line;
    else
        *value++ = '\0';
    size_t key_len = value == line ? 0 : strlen(line);
    bool null = strcmp(value, "(null)") == 0;
    char *key = key_len > 0 ? line : NULL, *bytes = null ? NULL : value;
    size_t len = null ? 0 : strlen(value);
    while ((e = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
                                  RD_KAFKA_V_KEY(key, key_len), RD_KAFKA_V_VALUE(bytes, len),
                                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)) ==
           RD_KAFKA_RESP_ERR__QUEUE_FULL)
        rd_kafka_poll(rk, 100);
    failed += e != RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_poll(rk, 0);
}

int main(int argc, char **argv)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[512], *line = NULL;
    size_t cap = 0;
    ssize_t n;

    if (argc < 3) {
        fprintf(stderr, "produce BROKERS TOPIC [PARTITION]\n");
        return 2;
    }
    rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], text, sizeof(text));
    rd_kafka_conf_set(conf, "enable.idempotence", "true", text, sizeof(text));
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (rk == NULL) {
        fprintf(stderr, "produce: %s\n", text);
        return 1;
    }
    while ((n = getline(&line, &cap, stdin)) > 0) {
        line[strcspn(line, "\n")] = '\0';
        produce(rk, argv[2], argc > 3 ? atoi(argv[3]) : RD_KAFKA_PARTITION_UA, line);
    }
    rd_kafka_flush(rk, 30000);
    printf("delivered %ld failed %ld\n", delivered, failed + rd_kafka_outq_len(rk));
    failed += rd_kafka_outq_len(rk);
    rd_kafka_destroy(rk);
    free(line);
    return failed != 0;
}
