#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "models/clock.h"

static const int64_t tty_interval_ns = 100000000, line_interval_ns = 5000000000;

void ky_progress_begin(ky_progress *p)
{
    p->begun_ns = ky_clock_mono_ns();
    p->tty = isatty(STDERR_FILENO);
    p->shown_ns = p->tty ? 0 : p->begun_ns;
}

static void print_bar(double share)
{
    int full = (int)(share * 24 + 0.5);

    fputc('[', stderr);
    for (int i = 0; i < 24; i++)
        fputc(i < full ? '=' : ' ', stderr);
    fputc(']', stderr);
}

static void print_line(const ky_progress *p, double done, const char *note, bool last)
{
    double seconds = (double)(ky_clock_mono_ns() - p->begun_ns) * 1e-9;
    double rate = seconds > 0 ? done / seconds : 0;

    fprintf(stderr, p->tty ? "\r\033[K%s " : "%s ", p->what);
    if (p->total > 0) {
        if (p->tty)
            print_bar(done < p->total ? done / p->total : 1);
        fprintf(stderr, " %3.0f %%", 100 * done / p->total);
    }
    fprintf(stderr, " %.0f %s, %.*f/s", done, p->unit, rate < 10 ? 1 : 0, rate);
    if (last)
        fprintf(stderr, ", %.1f s", seconds);
    else if (p->total > 0 && rate > 0)
        fprintf(stderr, ", %.0f s to go", (p->total - done) / rate);
    if (note != NULL)
        fprintf(stderr, "  %s", note);
    if (last || !p->tty)
        fputc('\n', stderr);
    fflush(stderr);
}

void ky_progress_show(ky_progress *p, double done, const char *note)
{
    int64_t now = p->quiet ? 0 : ky_clock_mono_ns();

    if (p->quiet || now - p->shown_ns < (p->tty ? tty_interval_ns : line_interval_ns))
        return;
    p->shown_ns = now;
    print_line(p, done, note, false);
}

void ky_progress_end(ky_progress *p, double done, const char *note)
{
    if (!p->quiet)
        print_line(p, done, note, true);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
    if (interrupted)
        _exit(128 + signo);
    interrupted = 1;
}

void ky_cli_catch_interrupts(void)
{
    struct sigaction sa;

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_interrupt;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

bool ky_cli_interrupted(void)
{
    return interrupted != 0;
}
