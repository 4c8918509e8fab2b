/*
 * A Kafka cluster for tests, in a process of its own: librdkafka's mock cluster.
 *
 *     mock_broker BROKERS TOPIC:PARTITIONS ...
 *
 * prints the bootstrap servers on one line and then obeys commands on its standard input, each
 * answered by `ok`; it ends with its input.
 *
 *     down B | up B          a broker stops answering, and comes back
 *     rtt B MS               answers take so long
 *     err APIKEY CODE N      the next N requests of that kind fail
 *     topic NAME PARTITIONS  makes a topic
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void obey(rd_kafka_mock_cluster_t *m, const char *line)
{
    char name[128];
    int a, b, n;

    if (sscanf(line, "down %d", &a) == 1)
        rd_kafka_mock_broker_set_down(m, a);
    else if (sscanf(line, "up %d", &a) == 1)
        rd_kafka_mock_broker_set_up(m, a);
    else if (sscanf(line, "rtt %d %d", &a, &b) == 2)
        rd_kafka_mock_broker_set_rtt(m, a, b);
    else if (sscanf(line, "err %d %d %d", &a, &b, &n) == 3)
        while (n-- > 0)
            rd_kafka_mock_push_request_errors(m, (int16_t)a, 1, (rd_kafka_resp_err_t)b);
    else if (sscanf(line, "topic %127s %d", name, &n) == 2)
        rd_kafka_mock_topic_create(m, name, n, 1);
}

int main(int argc, char **argv)
{
    char text[512], line[256];
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof(text));

    if (rk == NULL || argc < 2) {
        fprintf(stderr, "mock_broker: %s\n", rk == NULL ? text : "how many brokers?");
        return 2;
    }
    rd_kafka_mock_cluster_t *m = rd_kafka_mock_cluster_new(rk, atoi(argv[1]));
    if (m == NULL) {
        fprintf(stderr, "mock_broker: no cluster\n");
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        char *colon = strchr(argv[i], ':');
        if (colon != NULL)
            *colon++ = '\0';
        rd_kafka_mock_topic_create(m, argv[i], colon != NULL ? atoi(colon) : 1, 1);
    }
    printf("%s\n", rd_kafka_mock_cluster_bootstraps(m));
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        obey(m, line);
        printf("ok\n");
        fflush(stdout);
    }
    rd_kafka_mock_cluster_destroy(m);
    rd_kafka_destroy(rk);
    return 0;
}
