/* What the entry points of the stand-in share: handles, error codes, and how every call begins. */

#ifndef CITADEL_TESTS_NVML_DEVICE_H
#define CITADEL_TESTS_NVML_DEVICE_H

#include "script.h"

typedef unsigned long long bytes_t;
typedef struct handle { char uuid[96]; } *device_t;

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    LIBRARY_NOT_FOUND = 12, FUNCTION_NOT_FOUND = 13, GPU_IS_LOST = 15, NO_MEMORY = 20, ARGUMENT_VERSION_MISMATCH = 25,
};

extern int starts;    /* how often the library was initialised, less how often it was shut down */
extern bytes_t epoch; /* the script's, when it was initialised: a driver of a later one has forgotten that */

/* The code that the script wants `call` to end with: the library's where the prefix is empty, else a card's. */
int fault(const char *prefix, const char *call);

/* Where the script speaks of the card or MIG device: "card0", "card0.mig1". Returns 0 when it no longer does. */
int find(const char *uuid, char *prefix);

/* Begin `call`: read the script, note the call, be slow; then why it fails, if it does. */
int begin(const char *call, const char *whom);

/* The handle of a UUID, always the same one. */
int hand_out(const char *uuid, device_t *device);

/* The handle of what stands at `prefix` in the script, or `otherwise` when nothing does. */
int device_at(const char *prefix, device_t *device, int otherwise);

/* Begin `call` on a card or MIG device: where the script speaks of it ("card0", "card0.mig1"), or why the call fails. */
int of_device(device_t device, const char *call, char *prefix);

/* Copy a text of the script into the caller's buffer. */
int say(const char *prefix, const char *key, char *out, unsigned length);

#endif
