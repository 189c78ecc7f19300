/* A stand-in libcuda.so.1: the few documented driver functions that PyTorch asks beside the runtime's, and no others. CUDART is
 * the file name of the runtime that it asks itself. */
#include <dlfcn.h>
#include <stddef.h>

enum { INVALID_DEVICE = 101, NOT_INITIALISED = 3, NOT_SUPPORTED = 801 };

static void *runtime(const char *name) {
    static void *library;
    if (!library) library = dlopen(CUDART, RTLD_NOW);
    return library ? dlsym(library, name) : NULL;
}

/* Answer what the runtime's function answers. */
#define ASK(name, types, values) \
    int (*ask) types = (int (*) types)runtime(name); \
    return ask ? ask values : NOT_INITIALISED

int cuInit(unsigned flags) {
    (void)flags;
    int count;
    ASK("cudaGetDeviceCount", (int *), (&count));
}

int cuDriverGetVersion(int *version) { ASK("cudaDriverGetVersion", (int *), (version)); }
int cuDeviceGetCount(int *count) { ASK("cudaGetDeviceCount", (int *), (count)); }

int cuDeviceGet(int *device, int ordinal) {
    int count = 0, error = cuDeviceGetCount(&count);
    *device = ordinal;
    return error ? error : ordinal < count ? 0 : INVALID_DEVICE;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = 0;
    ASK("cudaDeviceGetAttribute", (int *, int, int), (value, attribute, device));
}

static int asked_for_context(int device) { ASK("standin_has_context", (int), (device)); }
static int has_context(int device) { return asked_for_context(device) == 1; }
static int set_device(int device) { ASK("cudaSetDevice", (int), (device)); }
static int get_device(int *device) { ASK("cudaGetDevice", (int *), (device)); }

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    *flags = 0;
    *active = has_context(device);
    return 0;
}

/* A context's handle is its device's number and one. */
int cuCtxGetCurrent(void **context) {
    int device = 0;
    *context = !get_device(&device) && has_context(device) ? (void *)(long)(device + 1) : NULL;
    return 0;
}

int cuCtxSetCurrent(void *context) { return context ? set_device((int)(long)context - 1) : 0; }

int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = (void *)(long)(device + 1);
    return 0;
}

int cuGetErrorString(int error, const char **text) {
    (void)error;
    *text = "an error of the stand-in's driver";
    return 0;
}

int cuGetErrorName(int error, const char **text) { return cuGetErrorString(error, text); }

/* Memory behind addresses (expandable segments). */

struct properties { int type, handle_types, location_type, location_id; };

int cuMemGetAllocationGranularity(size_t *size, const void *what, int which) {
    (void)what;
    (void)which;
    *size = 2 << 20;
    return 0;
}

int cuMemAddressReserve(size_t *address, size_t length, size_t alignment, size_t hint, unsigned long long flags) {
    (void)alignment;
    (void)hint;
    (void)flags;
    ASK("standin_reserve", (size_t *, size_t), (address, length));
}

int cuMemCreate(size_t *handle, size_t length, const struct properties *what, unsigned long long flags) {
    (void)flags;
    ASK("standin_piece", (size_t *, size_t, int), (handle, length, what->location_id));
}

int cuMemMap(size_t address, size_t length, size_t offset, size_t handle, unsigned long long flags) {
    (void)flags;
    if (offset) return NOT_SUPPORTED;
    ASK("standin_map", (size_t, size_t, size_t), (address, length, handle));
}

int cuMemSetAccess(size_t address, size_t length, const void *who, size_t count) {
    (void)address;
    (void)length;
    (void)who;
    (void)count;
    return 0;
}

int cuMemAddressFree(size_t address, size_t length) { ASK("standin_unreserve", (size_t, size_t), (address, length)); }
int cuMemUnmap(size_t address, size_t length) { ASK("standin_unmap", (size_t, size_t), (address, length)); }
int cuMemRelease(size_t handle) { ASK("standin_release", (size_t), (handle)); }

/* What PyTorch looks up when it opens the driver, and calls for nothing that the stand-in does. */
#define NO(name) \
    int name(void) { return NOT_SUPPORTED; }
NO(cuCtxFromGreenCtx)
NO(cuCtxPopCurrent)
NO(cuCtxPushCurrent)
NO(cuDevResourceGenerateDesc)
NO(cuDevSmResourceSplitByCount)
NO(cuDeviceGetDevResource)
NO(cuFuncGetAttribute)
NO(cuFuncSetAttribute)
NO(cuFuncSetCacheConfig)
NO(cuGreenCtxCreate)
NO(cuGreenCtxDestroy)
NO(cuGreenCtxStreamCreate)
NO(cuLaunchCooperativeKernel)
NO(cuLaunchKernel)
NO(cuLinkAddData_v2)
NO(cuLinkComplete)
NO(cuLinkCreate_v2)
NO(cuLogsRegisterCallback)
NO(cuLogsUnregisterCallback)
NO(cuMemExportToShareableHandle)
NO(cuMemGetAddressRange)
NO(cuMemGetAllocationPropertiesFromHandle)
NO(cuMemImportFromShareableHandle)
NO(cuMemRetainAllocationHandle)
NO(cuMemsetD32Async)
NO(cuModuleGetFunction)
NO(cuModuleLoad)
NO(cuModuleLoadData)
NO(cuModuleLoadDataEx)
NO(cuModuleUnload)
NO(cuMulticastAddDevice)
NO(cuMulticastBindMem)
NO(cuMulticastCreate)
NO(cuMulticastUnbind)
NO(cuOccupancyMaxActiveBlocksPerMultiprocessor)
NO(cuPointerGetAttribute)
NO(cuStreamWriteValue32)
NO(cuTensorMapEncodeTiled)
