/* Whom a call means, and whether it may go on: what every entry point begins with. */

#include "device.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle handles[64];
int starts;
bytes_t epoch;

int fault(const char *prefix, const char *call)
{
    char key[64];
    bytes_t code;

    snprintf(key, sizeof key, "fault.%s", call);
    return script_number(prefix, key, &code) || script_number(prefix, "fault", &code) ? (int)code : SUCCESS;
}

int find(const char *uuid, char *prefix)
{
    for (int card = 0;; card++) {
        snprintf(prefix, PREFIX_SIZE, "card%d", card);
        const char *said = script_text(prefix, "uuid");
        if (!said)
            return 0;
        if (!strcmp(said, uuid))
            return 1;
        for (int mig = 0;; mig++) {
            snprintf(prefix, PREFIX_SIZE, "card%d.mig%d", card, mig);
            if (!(said = script_text(prefix, "uuid")))
                break;
            if (!strcmp(said, uuid))
                return 1;
        }
    }
}

int begin(const char *call, const char *whom)
{
    bytes_t now = 0;

    if (!script_read())
        return LIBRARY_NOT_FOUND;
    script_play(call, whom);
    script_number("", "epoch", &now);
    return starts > 0 && now == epoch ? fault("", call) : UNINITIALIZED;
}

int of_device(device_t device, const char *call, char *prefix)
{
    char card[PREFIX_SIZE];
    int code = begin(call, device->uuid);

    if (code)
        return code;
    if (!find(device->uuid, prefix))
        return GPU_IS_LOST;
    snprintf(card, sizeof card, "%.*s", (int)strcspn(prefix, "."), prefix);
    code = fault(card, call);
    return code ? code : fault(prefix, call);
}

int hand_out(const char *uuid, device_t *device)
{
    int code = NO_MEMORY;

    pthread_mutex_lock(&lock);
    for (device_t each = handles; each < handles + sizeof handles / sizeof *handles; each++)
        if (!*each->uuid || !strcmp(each->uuid, uuid)) {
            snprintf(each->uuid, sizeof each->uuid, "%s", uuid);
            *device = each;
            code = SUCCESS;
            break;
        }
    pthread_mutex_unlock(&lock);
    return code;
}

int device_at(const char *prefix, device_t *device, int otherwise)
{
    const char *uuid = script_text(prefix, "uuid");

    return uuid ? hand_out(uuid, device) : otherwise;
}

int say(const char *prefix, const char *key, char *out, unsigned length)
{
    const char *said = script_text(prefix, key);

    if (!said)
        return NOT_SUPPORTED;
    return snprintf(out, length, "%s", said) < (int)length ? SUCCESS : INSUFFICIENT_SIZE;
}
