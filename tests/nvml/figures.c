/* The figures of one card or MIG device, each as the script has it; one that the script leaves out is not supported. */

#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct memory { bytes_t total, free, used; };
struct memory_v2 { unsigned version; bytes_t total, reserved, free, used; };
struct process { unsigned pid; bytes_t used; unsigned gpu_instance, compute_instance; };
struct pci { char legacy_id[16]; unsigned domain, bus, device, device_id, subsystem_id; char id[32]; };
struct utilization { unsigned gpu, memory; };

static const bytes_t NOT_AVAILABLE = -1ULL;
static const unsigned MEMORY_V2 = 0x02000028, NO_INSTANCE = -1U;

/* ── memory and processes ─────────────────────────────────────────────────────────────────────────────────────────── */

static int memory_of(device_t device, const char *call, struct memory_v2 *memory)
{
    char prefix[PREFIX_SIZE];
    int code = of_device(device, call, prefix);

    if (code)
        return code;
    if (!script_number(prefix, "total", &memory->total) || !script_number(prefix, "reserved", &memory->reserved) ||
        !script_number(prefix, "used", &memory->used))
        return NOT_SUPPORTED;
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(device_t device, struct memory_v2 *memory)
{
    return memory->version == MEMORY_V2 ? memory_of(device, "memory_v2", memory) : ARGUMENT_VERSION_MISMATCH;
}

int nvmlDeviceGetMemoryInfo(device_t device, struct memory *memory)
{
    struct memory_v2 kept_apart;
    int code = memory_of(device, "memory_v1", &kept_apart);

    if (!code)
        *memory = (struct memory){kept_apart.total, kept_apart.free, kept_apart.used + kept_apart.reserved};
    return code;
}

/* "4242:1048576 4243:?": pids with their bytes, or a question mark where these can't be had. */
static int processes_of(device_t device, const char *key, unsigned *room, struct process *processes)
{
    char prefix[PREFIX_SIZE], listed[VALUE_SIZE], *rest = listed, *word;
    unsigned count = 0;
    int code = of_device(device, "processes", prefix);

    if (code)
        return code;
    if ((code = say(prefix, key, listed, sizeof listed)))
        return code;
    while ((word = strtok_r(rest, " ", &rest))) {
        char *bytes = strchr(word, ':') + 1;
        if (processes && count < *room)
            processes[count] = (struct process){(unsigned)strtoul(word, NULL, 10),
                                                *bytes == '?' ? NOT_AVAILABLE : strtoull(bytes, NULL, 10),
                                                NO_INSTANCE, NO_INSTANCE};
        count++;
    }
    code = count > *room ? INSUFFICIENT_SIZE : SUCCESS;
    *room = count;
    return code;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned *room, struct process *processes)
{
    return processes_of(device, "compute_processes", room, processes);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device_t device, unsigned *room, struct process *processes)
{
    return processes_of(device, "graphics_processes", room, processes);
}

/* ── one number each ──────────────────────────────────────────────────────────────────────────────────────────────── */

static int figure(device_t device, const char *key, unsigned *value)
{
    char prefix[PREFIX_SIZE];
    bytes_t said;
    int code = of_device(device, key, prefix);

    if (code)
        return code;
    if (!script_number(prefix, key, &said))
        return NOT_SUPPORTED;
    *value = (unsigned)said;
    return SUCCESS;
}

#define FIGURE(function, key) \
    int function(device_t device, unsigned *value) { return figure(device, key, value); }

FIGURE(nvmlDeviceGetPowerUsage, "power_mw")
FIGURE(nvmlDeviceGetEnforcedPowerLimit, "power_limit_mw")
FIGURE(nvmlDeviceGetFanSpeed, "fan_percent")
FIGURE(nvmlDeviceGetPerformanceState, "performance_state")
FIGURE(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
FIGURE(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_max_generation")
FIGURE(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
FIGURE(nvmlDeviceGetMaxPcieLinkWidth, "pcie_max_width")

int nvmlDeviceGetTemperature(device_t device, int sensor, unsigned *value)
{
    return sensor == 0 ? figure(device, "temperature_c", value) : INVALID_ARGUMENT;
}

int nvmlDeviceGetClockInfo(device_t device, int clock, unsigned *value)
{
    static const char *const keys[] = {"clock_graphics_mhz", "clock_sm_mhz", "clock_memory_mhz", "clock_video_mhz"};

    return clock >= 0 && clock < 4 ? figure(device, keys[clock], value) : INVALID_ARGUMENT;
}

int nvmlDeviceGetUtilizationRates(device_t device, struct utilization *rates)
{
    char prefix[PREFIX_SIZE];
    bytes_t gpu, memory;
    int code = of_device(device, "utilization_percent", prefix);

    if (code)
        return code;
    if (!script_number(prefix, "utilization_percent", &gpu) ||
        !script_number(prefix, "memory_utilization_percent", &memory))
        return NOT_SUPPORTED;
    *rates = (struct utilization){(unsigned)gpu, (unsigned)memory};
    return SUCCESS;
}

static int coder(device_t device, const char *key, unsigned *value, unsigned *period_us)
{
    *period_us = 167000;
    return figure(device, key, value);
}

int nvmlDeviceGetEncoderUtilization(device_t device, unsigned *value, unsigned *period_us)
{
    return coder(device, "encoder_percent", value, period_us);
}

int nvmlDeviceGetDecoderUtilization(device_t device, unsigned *value, unsigned *period_us)
{
    return coder(device, "decoder_percent", value, period_us);
}

/* ── what never changes ───────────────────────────────────────────────────────────────────────────────────────────── */

static int text(device_t device, const char *key, char *out, unsigned length)
{
    char prefix[PREFIX_SIZE];
    int code = of_device(device, key, prefix);

    return code ? code : say(prefix, key, out, length);
}

int nvmlDeviceGetUUID(device_t device, char *out, unsigned length) { return text(device, "uuid", out, length); }
int nvmlDeviceGetName(device_t device, char *out, unsigned length) { return text(device, "name", out, length); }

int nvmlDeviceGetCudaComputeCapability(device_t device, int *major, int *minor)
{
    unsigned tenfold;
    int code = figure(device, "capability", &tenfold);

    if (!code) {
        *major = (int)tenfold / 10;
        *minor = (int)tenfold % 10;
    }
    return code;
}

int nvmlDeviceGetPciInfo_v3(device_t device, struct pci *info)
{
    unsigned bus;
    int code = figure(device, "pci_bus", &bus);

    if (code)
        return code;
    memset(info, 0, sizeof *info);
    info->bus = bus;
    snprintf(info->id, sizeof info->id, "00000000:%02X:00.0", bus);
    snprintf(info->legacy_id, sizeof info->legacy_id, "0000:%02X:00.0", bus);
    return SUCCESS;
}
