/*
 * Many streams: LSTM(64), 512 bytes of state each, two samples a stream over ZeroMQ. What kymod
 * takes in memory, and how long it takes from its start until it takes samples again when all of
 * them are in results.db. `bench_scale 1000000` for another number of streams than 100,000.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "connectors/zmq.h"
#include "models/clock.h"
#include "models/json.h"
#include "tests/bench/service.h"

static bench_place at;

/* -- the sender, a process of its own -- */

/* Sample number `round` of every stream. */
static void send_round(ky_zsock *s, int streams, int round)
{
    ky_err err = { 0 };

    for (int i = 0; i < streams; i++) {
        char name[24];
        float x[BENCH_F];
        ky_zframe f[2] = { { name, (size_t)snprintf(name, sizeof(name), "sensor-%07d", i) },
                           { x, sizeof(x) } };

        for (int k = 0; k < BENCH_F; k++)
            x[k] = (float)((i + 7 * k + round) % 13) / 13.0f;
        if (ky_zsock_send(s, f, 2, 60000, &err) < 0)
            bench_fail("sender", &err);
    }
}

static int send_all(const char *endpoint, int streams)
{
    ky_zsock *s;
    ky_err err = { 0 };

    if (ky_zsock_open("push", endpoint, false, 10000, &s, &err) < 0)
        bench_fail("sender", &err);
    for (int round = 0; round < 2; round++)
        send_round(s, streams, round);
    ky_zsock_close(s);
    return 0;
}

static void run_sender(const char *streams)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/proc/self/exe", "bench_scale", "send", at.in, streams, (char *)NULL);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_fail("the sender failed", NULL);
}

/* -- the service -- */

static void nap(double seconds)
{
    time_t s = (time_t)seconds;

    nanosleep(&(struct timespec){ s, (long)((seconds - (double)s) * 1e9) }, NULL);
}

static bool takes_samples(void)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(to.sun_path, sizeof(to.sun_path), "%s/in", at.dir);
    bool can = connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0;

    close(fd);
    return can;
}

/* Its source is opened when everything is read back and at work. */
static pid_t start(int streams, double *ret_ready_s)
{
    char ini[600];
    int64_t begin = ky_clock_mono_ns();

    snprintf(ini, sizeof(ini),
             "[source:in]\ntype = zmq\nsocket = pull\nendpoint = %s\nformat = f32\n"
             "[stream:bench]\nmodel = bench\nmemory = stream\nlog = none\nmax_streams = %d\n"
             "[kymod]\nstate_dir = %s/state\nlanes = 1\njournal = async\n",
             at.in, streams, at.dir);
    pid_t pid = bench_start_kymod(at.dir, ini);

    while (!takes_samples()) {
        if (waitpid(pid, NULL, WNOHANG) != 0)
            bench_fail("the service ended", NULL);
        nap(0.005);
    }
    *ret_ready_s = (double)(ky_clock_mono_ns() - begin) * 1e-9;
    return pid;
}

/* Bytes it has written, of all kinds. */
static double written(pid_t pid)
{
    char path[40], line[100];
    double n = 0;

    snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, "wchar:", 6) == 0)
            n = strtod(line + 6, NULL);
    if (f != NULL)
        fclose(f);
    return n;
}

/* Until it has written nothing for two seconds. */
static void wait_for_rest(pid_t pid)
{
    double was = -1, is;

    while ((is = written(pid)) != was) {
        was = is;
        nap(2);
    }
}

/* The longest that a unit held the lane up, ms: from `kymo status`. */
static double longest_hold_ms(void)
{
    static const char ask[] = "{\"cmd\":\"status\"}";
    char endpoint[96];
    ky_zframe frame = { ask, sizeof(ask) - 1 };
    ky_json *answer;
    ky_zsock *s;
    ky_err err = { 0 };

    snprintf(endpoint, sizeof(endpoint), "ipc://%s/run/control", at.dir);
    if (ky_zsock_open("req", endpoint, false, 0, &s, &err) < 0 ||
        ky_zsock_send(s, &frame, 1, 5000, &err) < 0 ||
        ky_zsock_recv(s, &frame, 1, 10000, &err) != 1 ||
        ky_json_parse(frame.data, frame.len, false, &answer, &err) < 0)
        bench_fail("status", &err);
    const ky_json *lane = ky_json_at(ky_json_get(ky_json_get(answer, "status"), "lanes"), 0);
    int64_t us = ky_json_int(ky_json_get(lane, "longest_hold_us"), -1);

    ky_json_free(answer);
    ky_zsock_close(s);
    if (us < 0)
        bench_fail("status tells nothing of its lanes", NULL);
    return (double)us * 1e-3;
}

static double processor_s(pid_t pid)
{
    static const bench_threads none;
    bench_threads now;

    bench_threads_look(pid, &now);
    return bench_threads_ns(&none, &now, NULL) * 1e-9;
}

static double resident_mb(pid_t pid)
{
    return (double)bench_resident(pid, 0) * 1e-6;
}

int main(int argc, char **argv)
{
    const char *number = argc == 2 ? argv[1] : "100000";
    int streams = atoi(number);
    double ready_s;

    if (argc == 4 && strcmp(argv[1], "send") == 0)
        return send_all(argv[2], atoi(argv[3]));
    if (streams < 1)
        bench_fail("usage: bench_scale [STREAMS]", NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_open(&at);

    pid_t pid = start(streams, &ready_s);
    double empty_mb = resident_mb(pid);

    printf("scale, empty: ready in %.2f s, %.1f MB resident\n", ready_s, empty_mb);
    run_sender(number);
    wait_for_rest(pid);
    double full_mb = resident_mb(pid);

    printf("scale, %d streams: %.1f MB resident, %.0f bytes a stream; a lane was held up for "
           "%.2f ms at most (wanted: 5)\n",
           streams, full_mb, (full_mb - empty_mb) * 1e6 / streams, longest_hold_ms());
    bench_stop(pid);
    pid = start(streams, &ready_s);
    double used_s = processor_s(pid);

    full_mb = resident_mb(pid);
    printf("scale, %d streams after a restart: ready in %.2f s, %.2f s of processor time; %.1f MB "
           "resident, %.0f bytes a stream\n",
           streams, ready_s, used_s, full_mb, (full_mb - empty_mb) * 1e6 / streams);
    bench_stop(pid);
    bench_close(&at);
    return 0;
}
