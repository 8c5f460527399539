/* Stands in for llama-server: notes when a process of which server began, then becomes the real one.
   A passive clock: whoever measures need not poll for the process, which would take CPU time from the controller. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const char *server = getenv("RECONCILER_SERVER");
    char line[320];
    int length = snprintf(line, sizeof line, "%s %lld.%09ld\n", server ? server : "-", (long long)now.tv_sec, now.tv_nsec);
    int file = open(STARTS, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || length >= (int)sizeof line || write(file, line, length) != length) return 126;
    argv[0] = LLAMA_SERVER;
    execv(LLAMA_SERVER, argv);
    return 127;
}
