#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "models/clock.h"

static const int64_t tty_interval_ns = 100000000, line_interval_ns = 5000000000;

void ky_progress_begin(ky_progress *p)
{
    p->begun_ns = ky_clock_mono_ns() - (int64_t)(p->taken_s * 1e9);
    p->tty = isatty(STDERR_FILENO);
    p->shown_ns = p->tty ? 0 : p->begun_ns;
}

const char *ky_cli_time(double seconds, char buffer[24])
{
    long s = seconds < 1e8 ? (long)(seconds + 0.5) : 0;

    if (!(seconds < 1e8))
        snprintf(buffer, 24, "?");
    else if (s < 100)
        snprintf(buffer, 24, "%ld s", s);
    else if (s < 6000)
        snprintf(buffer, 24, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(buffer, 24, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    return buffer;
}

/* Columns of the terminal; a line that reaches past them could not be taken back. */
static int columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void print_bar(FILE *to, double share, int width)
{
    int full = (int)(share * width + 0.5);

    fputc('[', to);
    for (int i = 0; i < width; i++)
        fputc(i < full ? '=' : ' ', to);
    fputc(']', to);
}

static void print_words(const ky_progress *p, FILE *to, double done, const char *note, bool last)
{
    double seconds = (double)(ky_clock_mono_ns() - p->begun_ns) * 1e-9;
    double rate = seconds > 0 ? done / seconds : 0;
    double left = p->left_s > 0 ? p->left_s : rate > 0 ? (p->total - done) / rate : NAN;
    char time[24];

    fprintf(to, "%s ", p->what);
    if (p->total > 0) {
        if (p->tty)
            print_bar(to, done < p->total ? done / p->total : 1, columns() < 96 ? 6 : 24);
        fprintf(to, " %3.0f %%", 100 * done / p->total);
    }
    if (p->tty && p->total > 0 && !last)
        fprintf(to, " %.*f %s/s", rate < 10 ? 1 : 0, rate, p->unit);
    else
        fprintf(to, " %.0f %s, %.*f/s", done, p->unit, rate < 10 ? 1 : 0, rate);
    if (last)
        fprintf(to, ", %.1f s", seconds);
    else if (p->total > 0 && !isnan(left))
        fprintf(to, ", %s to go", ky_cli_time(left, time));
    if (note != NULL)
        fprintf(to, "  %s", note);
}

static void print_line(const ky_progress *p, double done, const char *note, bool last)
{
    char line[512] = "";
    FILE *to = fmemopen(line, sizeof line - 1, "w");

    if (to == NULL)
        return;
    print_words(p, to, done, note, last);
    fclose(to);
    if (p->tty)
        fprintf(stderr, "\r\033[K%.*s", columns() - 1, line);
    else
        fputs(line, stderr);
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

void ky_progress_clear(ky_progress *p)
{
    if (!p->quiet && p->tty && p->shown_ns != 0)
        fputs("\r\033[K", stderr);
}

static atomic_bool interrupted; /* two signals may be in two threads at once */
static const char *volatile said_at_interrupt;

static void on_interrupt(int signo)
{
    const char *say = said_at_interrupt;
    int before = errno;

    if (atomic_exchange(&interrupted, true))
        _exit(128 + signo);
    if (say != NULL && write(STDERR_FILENO, say, strlen(say)) < 0)
        errno = before; /* nobody is left to read it */
    errno = before;
}

void ky_cli_say_at_interrupt(const char *text)
{
    said_at_interrupt = text;
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
    return atomic_load(&interrupted);
}
