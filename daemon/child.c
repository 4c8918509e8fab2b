#include "daemon/child.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between vfork and exec: the parent's memory is in use, so only system calls, no changes. */
_Noreturn static void become(char *const argv[], const int fds[3], pid_t parent,
                             const struct sigaction *normal, const sigset_t *none)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            _exit(127);
    /* The lock on the state directory, sockets, databases: nothing else goes along. */
    close_range(3, ~0u, 0);
    sigaction(SIGPIPE, normal, NULL);
    sigprocmask(SIG_SETMASK, none, NULL);
    execv(argv[0], argv);
    _exit(127);
}

/* The child's descriptors must not be 0, 1 or 2 themselves, or dup2 would cross them. */
static int high(int fd)
{
    int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

    if (fd >= 0)
        close(fd);
    return moved;
}

int ky_child_start(ky_child *c, char *const argv[], ky_err *err)
{
    struct sigaction normal = { .sa_handler = SIG_DFL };
    int null = high(open("/dev/null", O_RDONLY | O_CLOEXEC));
    pid_t parent = getpid(), pid;
    sigset_t all, none, before;
    int rc = KY_OK;

    *c = (ky_child){ .out = high(memfd_create("said", MFD_CLOEXEC)),
                     .err = high(memfd_create("complained", MFD_CLOEXEC)) };
    const int fds[3] = { null, c->out, c->err };

    if (null < 0 || c->out < 0 || c->err < 0) {
        rc = ky_fail(err, -errno, "descriptors for '%s': %s", argv[0], strerror(errno));
        goto out;
    }
    sigfillset(&all);
    sigemptyset(&none);
    /* No handler of ours may run in the child while it shares our memory. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = vfork();
    if (pid == 0)
        become(argv, fds, parent, &normal, &none);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        rc = ky_fail(err, -errno, "starting '%s': %s", argv[0], strerror(errno));
    else
        c->pid = pid;
out:
    if (null >= 0)
        close(null);
    if (rc < 0)
        ky_child_done(c);
    return rc;
}

bool ky_child_ended(ky_child *c, int *ret_status)
{
    int status;
    pid_t pid = c->pid != 0 ? waitpid(c->pid, &status, WNOHANG) : -1;

    if (pid == 0 || (pid < 0 && errno == EINTR && c->pid != 0))
        return false;
    c->pid = 0;
    if (pid < 0)
        *ret_status = 127;
    else
        *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

bool ky_child_raves(const ky_child *c)
{
    struct stat out, err;

    return fstat(c->out, &out) == 0 && fstat(c->err, &err) == 0 &&
           (out.st_size > KY_CHILD_SAYS_MAX || err.st_size > KY_CHILD_SAYS_MAX);
}

void ky_child_kill(ky_child *c)
{
    if (c->pid == 0)
        return;
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
}

char *ky_child_said(const ky_child *c, bool on_stderr)
{
    char *text = malloc(KY_CHILD_SAYS_MAX + 1);
    ssize_t n;

    if (text == NULL)
        return NULL;
    n = pread(on_stderr ? c->err : c->out, text, KY_CHILD_SAYS_MAX, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

void ky_child_done(ky_child *c)
{
    ky_child_kill(c);
    if (c->out >= 0)
        close(c->out);
    if (c->err >= 0)
        close(c->err);
    c->out = c->err = -1;
}

int ky_child_find(const char *name, char *ret, size_t size, ky_err *err)
{
    char self[PATH_MAX] = "/", *dir;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    self[n > 0 ? n : 1] = '\0';
    dir = dirname(self);
    snprintf(ret, size, "%s/%s", dir, name);
    if (access(ret, X_OK) == 0)
        return KY_OK;
    snprintf(ret, size, "%s/../bin/%s", dir, name);
    if (access(ret, X_OK) == 0)
        return KY_OK;
    snprintf(ret, size, "%s/%s", KY_BINDIR, name);
    if (access(ret, X_OK) == 0)
        return KY_OK;
    return ky_fail(err, KY_ENOENT, "there is no program '%s' in %s, %s/../bin or %s", name, dir,
                   dir, KY_BINDIR);
}
