/* A stand-in for NVIDIA's management library. It has the real one's names, signatures and struct layouts, so that the real
   nvidia-ml-py and other clients load it; what it answers is in the script. A figure that the script does not give is not
   supported, as on a card that lacks the sensor. Without a script there is no library, so that a process that has loaded the
   stand-in for one test is a machine without a driver to all others. */

#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ── the library ──────────────────────────────────────────────────────────────────────────────────────────────────── */

int nvmlInitWithFlags(unsigned flags)
{
    int code;

    (void)flags;
    if (!script_read())
        return LIBRARY_NOT_FOUND;
    script_play("init", "-");
    if ((code = fault("", "init")))
        return code;
    starts++;
    epoch = 0;
    script_number("", "epoch", &epoch);
    return SUCCESS;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void)
{
    int code = begin("shutdown", "-");

    if (!code)
        starts--;
    return code;
}

const char *nvmlErrorString(int code)
{
    (void)code;
    return "An error of the script";
}

static int say_of_system(const char *key, char *out, unsigned length)
{
    int code = begin(key, "-");

    return code ? code : say("", key, out, length);
}

int nvmlSystemGetDriverVersion(char *out, unsigned length) { return say_of_system("driver_version", out, length); }
int nvmlSystemGetNVMLVersion(char *out, unsigned length) { return say_of_system("nvml_version", out, length); }

int nvmlSystemGetCudaDriverVersion(int *version)
{
    bytes_t said;
    int code = begin("cuda_driver_version", "-");

    if (code)
        return code;
    if (!script_number("", "cuda_driver_version", &said))
        return NOT_SUPPORTED;
    *version = (int)said;
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) { return nvmlSystemGetCudaDriverVersion(version); }

/* ── which cards there are ────────────────────────────────────────────────────────────────────────────────────────── */

int nvmlDeviceGetCount_v2(unsigned *count)
{
    char prefix[PREFIX_SIZE];
    int code = begin("count", "-");

    for (*count = 0; !code; ++*count) {
        snprintf(prefix, sizeof prefix, "card%u", *count);
        if (!script_text(prefix, "uuid"))
            break;
    }
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device)
{
    char prefix[PREFIX_SIZE];
    int code = begin("handle", "-");

    snprintf(prefix, sizeof prefix, "card%u", index);
    if (!code)
        code = fault(prefix, "handle");
    return code ? code : device_at(prefix, device, INVALID_ARGUMENT);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device_t *device)
{
    char prefix[PREFIX_SIZE];
    int code = begin("handle", uuid);

    if (!code && !find(uuid, prefix))
        code = NOT_FOUND;
    return code ? code : hand_out(uuid, device);
}

int nvmlDeviceGetMigMode(device_t device, unsigned *current, unsigned *pending)
{
    char prefix[PREFIX_SIZE];
    bytes_t mode;
    int code = of_device(device, "mig", prefix);

    if (code)
        return code;
    if (!script_number(prefix, "mig_mode", &mode))
        return NOT_SUPPORTED;
    *current = *pending = (unsigned)mode;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(device_t device, unsigned *count)
{
    char prefix[PREFIX_SIZE];
    int code = of_device(device, "mig", prefix);

    *count = !code && script_text(prefix, "mig_mode") ? 7 : 0;
    return code;
}

int nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned index, device_t *mig)
{
    char card[PREFIX_SIZE], prefix[2 * PREFIX_SIZE];
    int code = of_device(device, "mig_parts", card);

    snprintf(prefix, sizeof prefix, "%s.mig%u", card, index);
    return code ? code : device_at(prefix, mig, NOT_FOUND);
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device_t mig, device_t *device)
{
    char prefix[PREFIX_SIZE];
    int code = of_device(mig, "mig", prefix);

    prefix[strcspn(prefix, ".")] = '\0';
    return code ? code : device_at(prefix, device, NOT_FOUND);
}

int nvmlDeviceIsMigDeviceHandle(device_t device, unsigned *is_mig)
{
    char prefix[PREFIX_SIZE];
    int code = of_device(device, "mig", prefix);

    *is_mig = !code && strchr(prefix, '.') != NULL;
    return code;
}

int nvmlDeviceGetIndex(device_t device, unsigned *index)
{
    char prefix[PREFIX_SIZE];
    int code = of_device(device, "index", prefix);

    *index = code ? 0 : (unsigned)strtoul(strchr(prefix, '.') ? strchr(prefix, '.') + 4 : prefix + 4, NULL, 10);
    return code;
}
