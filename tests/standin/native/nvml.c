/* A stand-in libnvidia-ml.so.1 that tells the truth of the cards of cards.h: their memory, and which process uses how much. The
 * rest of what it says is that of a GT 1030 at rest. */
#include "cards.h"

typedef unsigned long long number;
enum {
    SUCCESS = 0,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15
};

static const struct { int code; const char *text; } ERRORS[] = {
    {SUCCESS, "Success"},
    {INVALID_ARGUMENT, "Invalid Argument"},
    {NOT_SUPPORTED, "Not Supported"},
    {NOT_FOUND, "Not Found"},
    {INSUFFICIENT_SIZE, "Insufficient Size"},
    {DRIVER_NOT_LOADED, "Driver Not Loaded"},
    {GPU_IS_LOST, "GPU is lost"},
};

typedef void *device; /* a handle is the card's number and one */
static int index_of(device handle) { return (int)(long)handle - 1; }

/* Why the card can't be asked, or SUCCESS. */
static int ask(int index) {
    struct standin_state *state = standin_open();
    if (!state) return DRIVER_NOT_LOADED;
    if (index < 0 || index >= state->cards) return INVALID_ARGUMENT;
    return standin_breaks(state->card[index].failure) ? GPU_IS_LOST : SUCCESS;
}

#define CARD(handle) \
    int index = index_of(handle), trouble = ask(index); \
    if (trouble) return trouble; \
    struct standin_card *card = &standin_open()->card[index]; \
    (void)card

static number used_bytes(int index) {
    struct standin_state *state = standin_open();
    standin_lock(state);
    standin_bury(state);
    number used = standin_used(state, index);
    standin_unlock(state);
    return used;
}

/* The library and the driver. */

int nvmlInit_v2(void) { return standin_open() ? SUCCESS : DRIVER_NOT_LOADED; }
int nvmlInit(void) { return nvmlInit_v2(); }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    return nvmlInit_v2();
}

const char *nvmlErrorString(int code) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == code) return ERRORS[i].text;
    return "Unknown Error";
}

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, "580.65.06");
    return SUCCESS;
}

int nvmlSystemGetNVMLVersion(char *text, unsigned length) {
    snprintf(text, length, "13.580.65.06");
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 13000;
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }

/* Finding cards. */

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!standin_open()) return DRIVER_NOT_LOADED;
    *count = (unsigned)standin_open()->cards;
    return SUCCESS;
}

int nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *handle) {
    *handle = (device)(long)(index + 1);
    return ask((int)index);
}

int nvmlDeviceGetHandleByIndex(unsigned index, device *handle) { return nvmlDeviceGetHandleByIndex_v2(index, handle); }

int nvmlDeviceGetHandleByUUID(const char *uuid, device *handle) {
    unsigned index;
    return sscanf(uuid, "GPU-%u", &index) == 1 ? nvmlDeviceGetHandleByIndex_v2(index, handle) : NOT_FOUND;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *place, device *handle) {
    unsigned domain, bus;
    return sscanf(place, "%x:%x", &domain, &bus) == 2 ? nvmlDeviceGetHandleByIndex_v2(bus - 1, handle) : NOT_FOUND;
}

int nvmlDeviceGetName(device handle, char *text, unsigned length) {
    CARD(handle);
    snprintf(text, length, "%s", card->name);
    return SUCCESS;
}

int nvmlDeviceGetUUID(device handle, char *text, unsigned length) {
    CARD(handle);
    snprintf(text, length, "GPU-%08d-0000-0000-0000-000000000000", index);
    return SUCCESS;
}

int nvmlDeviceGetIndex(device handle, unsigned *value) {
    CARD(handle);
    *value = (unsigned)index;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(device handle, int *major, int *minor) {
    CARD(handle);
    *major = card->major;
    *minor = card->minor;
    return SUCCESS;
}

struct pci { char legacy[16]; unsigned domain, bus, device, id, sub; char text[32]; };

int nvmlDeviceGetPciInfo_v3(device handle, struct pci *place) {
    CARD(handle);
    memset(place, 0, sizeof *place);
    place->bus = (unsigned)index + 1;
    place->id = 0x1d0110de;
    snprintf(place->legacy, sizeof place->legacy, "0000:%02X:00.0", place->bus & 0xff);
    snprintf(place->text, sizeof place->text, "00000000:%02X:00.0", place->bus & 0xff);
    return SUCCESS;
}

/* Memory, and who has it. */

struct memory { number total, free, used; };
struct memory_v2 { unsigned version; number total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo(device handle, struct memory *memory) {
    CARD(handle);
    memory->total = card->total_bytes;
    memory->used = used_bytes(index);
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(device handle, struct memory_v2 *memory) {
    struct memory plain;
    int trouble = nvmlDeviceGetMemoryInfo(handle, &plain);
    if (trouble) return trouble;
    memory->total = plain.total;
    memory->reserved = 0;
    memory->free = plain.free;
    memory->used = plain.used;
    return SUCCESS;
}

struct process_v1 { unsigned pid; number used; };
struct process_v3 { unsigned pid; number used; unsigned instance, compute_instance; };

int nvmlDeviceGetComputeRunningProcesses_v3(device handle, unsigned *count, struct process_v3 *found) {
    CARD(handle);
    struct standin_state *state = standin_open();
    unsigned room = *count;
    *count = 0;
    standin_lock(state);
    standin_bury(state);
    for (int i = 0; i < STANDIN_PROCESSES; i++) {
        const struct standin_process *process = &state->process[i];
        number used = process->context_bytes[index] + process->memory_bytes[index];
        if (!process->pid || !used) continue;
        if (*count < room) found[*count] = (struct process_v3){(unsigned)process->pid, used, ~0U, ~0U};
        ++*count;
    }
    standin_unlock(state);
    return *count > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses(device handle, unsigned *count, struct process_v1 *found) {
    struct process_v3 newer[STANDIN_PROCESSES];
    unsigned room = *count;
    *count = STANDIN_PROCESSES;
    int trouble = nvmlDeviceGetComputeRunningProcesses_v3(handle, count, newer);
    if (trouble) return trouble;
    for (unsigned i = 0; i < *count && i < room; i++) found[i] = (struct process_v1){newer[i].pid, newer[i].used};
    return *count > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device handle, unsigned *count, struct process_v3 *found) {
    (void)found;
    CARD(handle);
    *count = 0;
    return SUCCESS;
}

/* A GT 1030 at rest. */

#define SAYS(name, value) \
    int name(device handle, unsigned *answer) { \
        CARD(handle); \
        *answer = value; \
        return SUCCESS; \
    }
SAYS(nvmlDeviceGetPowerUsage, 9000)
SAYS(nvmlDeviceGetEnforcedPowerLimit, 30000)
SAYS(nvmlDeviceGetFanSpeed, 35)
SAYS(nvmlDeviceGetMaxPcieLinkGeneration, 3)
SAYS(nvmlDeviceGetCurrPcieLinkGeneration, 3)
SAYS(nvmlDeviceGetMaxPcieLinkWidth, 4)
SAYS(nvmlDeviceGetCurrPcieLinkWidth, 4)

int nvmlDeviceGetTemperature(device handle, int sensor, unsigned *celsius) {
    (void)sensor;
    CARD(handle);
    *celsius = 41;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(device handle, int clock, unsigned *mhz) {
    enum { MEMORY = 2 };
    CARD(handle);
    *mhz = clock == MEMORY ? 3003 : 1468;
    return SUCCESS;
}

struct utilization { unsigned gpu, memory; };

int nvmlDeviceGetUtilizationRates(device handle, struct utilization *rates) {
    CARD(handle);
    memset(rates, 0, sizeof *rates);
    return SUCCESS;
}

#define CODEC(name) \
    int name(device handle, unsigned *percent, unsigned *sampling_us) { \
        CARD(handle); \
        *percent = 0; \
        *sampling_us = 1000; \
        return SUCCESS; \
    }
CODEC(nvmlDeviceGetEncoderUtilization)
CODEC(nvmlDeviceGetDecoderUtilization)

int nvmlDeviceGetMaxMigDeviceCount(device handle, unsigned *count) {
    CARD(handle);
    *count = 0;
    return SUCCESS;
}

int nvmlDeviceIsMigDeviceHandle(device handle, unsigned *is_mig) {
    (void)handle;
    *is_mig = 0;
    return SUCCESS;
}

#define NO(name) \
    int name(device handle) { \
        CARD(handle); \
        return NOT_SUPPORTED; \
    }
NO(nvmlDeviceGetMigMode)
NO(nvmlDeviceGetNvLinkRemoteDeviceType)
NO(nvmlDeviceGetNvLinkRemotePciInfo_v2)
NO(nvmlDeviceGetGpuFabricInfoV)
NO(nvmlDeviceGetP2PStatus)
