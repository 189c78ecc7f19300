#define _GNU_SOURCE
#include "script.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Thread_local char text[1 << 16];
static _Thread_local char value[VALUE_SIZE];

int script_read(void)
{
    const char *path = getenv("CITADEL_NVML_SCRIPT");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t length = 0, got;

    if (file < 0)
        return 0;
    while ((got = read(file, text + length, sizeof text - 1 - length)) > 0)
        length += got;
    close(file);
    text[length] = '\0';
    return 1;
}

const char *script_text(const char *prefix, const char *key)
{
    char wanted[128];
    size_t length = snprintf(wanted, sizeof wanted, *prefix ? "%s.%s " : "%s%s ", prefix, key);

    for (const char *line = text; *line;) {
        const char *end = strchrnul(line, '\n');
        if (!strncmp(line, wanted, length)) {
            snprintf(value, sizeof value, "%.*s", (int)(end - line - length), line + length);
            return value;
        }
        line = *end ? end + 1 : end;
    }
    return NULL;
}

int script_number(const char *prefix, const char *key, unsigned long long *number)
{
    const char *found = script_text(prefix, key);

    if (found)
        *number = strtoull(found, NULL, 10);
    return found != NULL;
}

static void note(const char *call, const char *whom)
{
    char path[4096], line[256];
    int length = snprintf(line, sizeof line, "%s %s\n", call, whom);
    int file;

    snprintf(path, sizeof path, "%s.calls", getenv("CITADEL_NVML_SCRIPT"));
    file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || write(file, line, length) != length)
        abort(); /* a test that counts calls must not be told too few */
    close(file);
}

static void pause_ms(unsigned long long duration_ms)
{
    struct timespec pause = {duration_ms / 1000, duration_ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

void script_play(const char *call, const char *whom)
{
    char stuck[64];
    unsigned long long latency_ms;

    note(call, whom);
    if (script_number("", "latency_ms", &latency_ms))
        pause_ms(latency_ms);
    snprintf(stuck, sizeof stuck, "stuck.%s", call);
    if (script_text("", stuck))
        note("stuck", call);
    while (script_text("", stuck)) {
        pause_ms(1);
        if (!script_read())
            return;
    }
}
