/*
 * Full disks, one after the other: under the journal, under results.db, under the archive. Each
 * is a small tmpfs of its own. Under the journal the sources wait: what was acknowledged is there
 * after a kill -9 in the middle of it, a stop lets go of the rest and says how much that was, and
 * when there is room again service goes on by itself.
 * Under the other two the sources do not even notice. The log, the status and the events tell, and
 * at the end every answer is there once and right to the bit.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "models/clock.h"
#include "tests/scenarios/harness.h"

static const char ini[] =
    "[kymod]\nstate_dir = state\nruntime_dir = run\nlanes = 2\ncommit_interval = 10ms\n"
    "journal_file_size = 64K\n"
    "[source:in]\nendpoint = tcp://127.0.0.1:*\nsocket = router\n"
    "[source:loose]\nendpoint = tcp://127.0.0.1:*\nsocket = pull\n"
    "[stream:har]\nsources = in\nmodel = m\narchive = yes\n"
    "[stream:loose]\nsources = loose\nmodel = m\n[model:m]\nfile = model.h5\n";

/* What a lane does leaves no rows in results.db but states. */
static const char bare_ini[] =
    "[kymod]\nstate_dir = bare\nruntime_dir = run\njournal = no\ncommit_interval = 10ms\n"
    "[source:loose]\nendpoint = tcp://127.0.0.1:*\nsocket = pull\n"
    "[stream:loose]\nmodel = m\narchive = no\nlog = none\n[model:m]\nfile = model.h5\n";

enum { STAGES = 9, PATIENCE_S = 60 };

/* A mount namespace of the test's own. */
static bool may_mount(void)
{
    int flags = CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER);

    return unshare(flags) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* -- disks -- */

typedef struct disk {
    char dir[300], ballast[320];
} disk;

static bool make_disk(disk *d, const ky_scene *s, const char *name, const char *size)
{
    char options[64];

    snprintf(d->dir, sizeof(d->dir), "%s/%s", s->dir, name);
    snprintf(d->ballast, sizeof(d->ballast), "%s/ballast", d->dir);
    snprintf(options, sizeof(options), "size=%s,mode=0750", size);
    return mkdir(d->dir, 0750) == 0 && mount("tmpfs", d->dir, "tmpfs", 0, options) == 0;
}

static void fill(const disk *d)
{
    static const char block[4096];
    int fd = open(d->ballast, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    KY_WANT(fd >= 0, "%s: %s", d->ballast, strerror(errno));
    while (write(fd, block, sizeof(block)) > 0)
        continue;
    KY_WANT(errno == ENOSPC, "%s: %s", d->ballast, strerror(errno));
    close(fd);
}

static void make_room(const disk *d)
{
    KY_WANT(unlink(d->ballast) == 0, "%s: %s", d->ballast, strerror(errno));
}

/* -- the daemon among them -- */

typedef struct world {
    ky_scene s;
    ky_windows w;
    ky_daemon d;
    ky_sender sender;
    int *steps;
    uint64_t stage; /* messages of one */
} world;

static void start(world *x)
{
    ky_daemon_start(&x->d, &x->s, NULL, ky_scene_write(&x->s, "kymod.ini", ini), NULL);
    uint64_t acked = x->sender.acked;

    if (x->sender.sock != NULL)
        ky_zsock_close(x->sender.sock);
    ky_sender_open(&x->sender, ky_daemon_address(&x->d, "source=in"), "steady", 1);
    x->sender.sent = x->sender.acked = acked;
}

static void play(world *x, int stages)
{
    ky_sender_play(&x->sender, &x->w, x->steps, x->stage * (uint64_t)stages);
}

/* Goes on sending, up to the end of a stage, until it is so; stage 0: sends nothing. */
static void play_until(world *x, int stages, bool (*so)(const ky_json *status), const char *what)
{
    int64_t until = ky_clock_mono_ns() + PATIENCE_S * INT64_C(1000000000);

    for (bool is = false; !is;) {
        if (stages > 0)
            ky_sender_round(&x->sender, &x->w, x->steps, x->stage * (uint64_t)stages);
        ky_json *all = ky_daemon_status(&x->d);
        char *text = ky_json_text(all, 0);

        is = so(ky_json_get(all, "status"));
        KY_WANT(is || ky_clock_mono_ns() < until, "%s after %d s: %s", what, PATIENCE_S, text);
        ky_json_free(all);
        free(text);
    }
}

static bool waits(const ky_json *status, const char *what)
{
    return ky_json_bool(ky_json_get(ky_json_get(status, "waits"), what), false);
}

static bool journal_waits(const ky_json *status)
{
    return waits(status, "journal");
}

static bool journal_goes_on(const ky_json *status)
{
    return !waits(status, "journal");
}

static bool results_wait(const ky_json *status)
{
    return waits(status, "results");
}

static bool results_go_on(const ky_json *status)
{
    return !waits(status, "results");
}

static bool archive_goes_on(const ky_json *status)
{
    return ky_json_str(ky_json_get(ky_json_get(status, "archive"), "failing"), NULL) == NULL;
}

static bool archive_fails(const ky_json *status)
{
    return !archive_goes_on(status);
}

/* -- the stages -- */

static void killed_while_the_journal_waits(world *x, const disk *journal)
{
    fill(journal);
    play_until(x, 2, journal_waits, "the journal does not wait");
    ky_daemon_hear(&x->d, "No space left on device; the sources wait");
    ky_daemon_kill(&x->d);
    make_room(journal);
    start(x);
    play(x, 2);
}

static void the_journal_waits_and_goes_on(world *x, const disk *journal)
{
    fill(journal);
    play_until(x, 3, journal_waits, "the journal does not wait");
    make_room(journal);
    play_until(x, 3, journal_goes_on, "the journal does not go on");
    ky_daemon_hear(&x->d, "it is being written again");
    play(x, 3);
}

static bool loose_waits(const ky_json *status)
{
    const ky_json *source = ky_json_get(ky_json_get(status, "sources"), "loose");

    return ky_json_int(ky_json_get(source, "queue_fill"), 0) > 0;
}

/* A message of a sender that will not send it again. */
static void send_loose(const world *x)
{
    static const char text[] = "{\"stream\":\"l\",\"x\":[1,1,1,1,1,1,1,1,1]}";
    ky_zframe f = { text, sizeof(text) - 1 };
    const char *address = ky_daemon_address(&x->d, "source=loose");
    ky_zsock *push;
    ky_err err;

    KY_WANT(ky_zsock_open("push", address, false, 10, &push, &err) == KY_OK, "%s", err.text);
    KY_WANT(ky_zsock_send(push, &f, 1, 10000, &err) == KY_OK, "%s", err.text);
    ky_zsock_close(push);
}

/* Well before shutdown_timeout, which would end it with another code; it starts again, too. With
 * no room in the archive nobody makes room in the journal. */
static void stopped_while_the_journal_waits(world *x, const disk *journal, const disk *archive)
{
    fill(archive);
    play_until(x, 4, archive_fails, "the archive has not failed");
    fill(journal);
    play_until(x, 5, journal_waits, "the journal does not wait");
    ky_daemon_stop(&x->d);
    KY_WANT(ky_daemon_said(&x->d, "what was acknowledged is in the journal"), "it does not say so");
    start(x);
    play_until(x, 5, journal_waits, "the journal does not wait");
    send_loose(x);
    play_until(x, 5, loose_waits, "its message does not wait");
    ky_daemon_stop_with(&x->d, EX_IOERR);
    KY_WANT(ky_daemon_said(&x->d, "let go: 1 messages that nobody sends again"), "it is not said");
    make_room(journal);
    make_room(archive);
    start(x);
    play(x, 5);
}

/* Begun anew, so that the write-ahead log has no old room to write into. */
static void results_wait_and_nobody_else(world *x, const disk *results)
{
    ky_daemon_stop(&x->d);
    start(x);
    fill(results);
    play(x, 6);
    play_until(x, 7, results_wait, "results.db does not wait");
    play(x, 7);
    make_room(results);
    play_until(x, 7, results_go_on, "results.db does not go on");
    ky_daemon_hear(&x->d, "committing again");
}

static void stopped_while_results_wait(world *x, const disk *results)
{
    ky_daemon_stop(&x->d);
    start(x);
    fill(results);
    play_until(x, 8, results_wait, "results.db does not wait");
    ky_daemon_stop(&x->d);
    KY_WANT(ky_daemon_said(&x->d, "the next start goes on from the journal"), "it does not say so");
    make_room(results);
    start(x);
    play(x, 8);
}

static void the_archive_waits_and_nobody_else(world *x, const disk *archive)
{
    fill(archive);
    play(x, 9);
    play_until(x, 9, archive_fails, "the archive has not failed");
    make_room(archive);
    play_until(x, 9, archive_goes_on, "the archive does not go on");
    ky_daemon_hear(&x->d, "archiving goes on");
}

/* Nobody has what was done since the last commit. */
static void stopped_without_a_journal(world *x, const disk *bare)
{
    ky_daemon_start(&x->d, &x->s, NULL, ky_scene_write(&x->s, "bare.ini", bare_ini), NULL);
    fill(bare);
    send_loose(x);
    play_until(x, 0, results_wait, "results.db does not wait");
    ky_daemon_stop_with(&x->d, EX_IOERR);
    KY_WANT(ky_daemon_said(&x->d, "are lost, as there is no journal"), "it does not say so");
}

static void check_events(const world *x, const char *object, const char *what)
{
    char sql[160];

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM events WHERE object = '%s' AND what = '%s'",
             object, what);
    KY_WANT(ky_scene_number(&x->s, sql) > 0, "no event '%s' of %s", what, object);
}

int main(void)
{
    world x = { 0 };
    disk state, journal, archive, bare;

    ky_scene_open(&x.s, "disk");
    if (!may_mount() || !make_disk(&state, &x.s, "state", "16M") ||
        !make_disk(&journal, &x.s, "state/journal", "1M") ||
        !make_disk(&archive, &x.s, "state/archive", "4M") ||
        !make_disk(&bare, &x.s, "bare", "8M")) {
        printf("SKIP: small file systems cannot be mounted: %s\n", strerror(errno));
        ky_scene_close(&x.s);
        return 77;
    }
    ky_windows_make(&x.w, &x.s, 112, 36, false);
    x.steps = ky_windows_steps(&x.w);
    x.stage = (uint64_t)x.w.n * (uint64_t)x.w.T / STAGES;
    float *y = ky_windows_answers(&x.w, x.s.model);

    start(&x);
    play(&x, 1);
    killed_while_the_journal_waits(&x, &journal);
    the_journal_waits_and_goes_on(&x, &journal);
    stopped_while_the_journal_waits(&x, &journal, &archive);
    results_wait_and_nobody_else(&x, &state);
    stopped_while_results_wait(&x, &state);
    the_archive_waits_and_nobody_else(&x, &archive);
    ky_daemon_stop(&x.d);
    KY_WANT(ky_scene_compare(&x.s, &x.w, y) == 0, "answers are missing or wrong");
    check_events(&x, "journal", "full");
    check_events(&x, "journal", "room");
    check_events(&x, "journal", "let go");
    check_events(&x, "results", "waits");
    check_events(&x, "results", "goes on");
    check_events(&x, "archive", "waits");
    check_events(&x, "archive", "goes on");
    stopped_without_a_journal(&x, &bare);
    ky_sender_close(&x.sender);
    free(y);
    free(x.steps);
    ky_windows_done(&x.w);
    umount2(archive.dir, MNT_DETACH);
    umount2(journal.dir, MNT_DETACH);
    umount2(state.dir, MNT_DETACH);
    umount2(bare.dir, MNT_DETACH);
    ky_scene_close(&x.s);
    return 0;
}
