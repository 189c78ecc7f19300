// The cards as the runtime describes them, which of them is the current one, and the words of errors.
#include "runtime.h"

namespace {

void describe_card(cudaDeviceProp &about, int ordinal) {
    int number = card_of(ordinal);
    standin_card &card = standin_open()->card[number];
    memset(&about, 0, sizeof about);
    snprintf(about.name, sizeof about.name, "%s", card.name);
    snprintf(about.uuid.bytes, sizeof about.uuid.bytes, "stand-in-card-%d", number);
    about.totalGlobalMem = card.total_bytes;
    about.major = card.major;
    about.minor = card.minor;
    about.multiProcessorCount = 3;
    about.warpSize = 32;
    about.maxThreadsPerBlock = 1024;
    about.maxThreadsDim[0] = about.maxThreadsDim[1] = 1024;
    about.maxThreadsDim[2] = 64;
    about.maxGridSize[0] = 2147483647;
    about.maxGridSize[1] = about.maxGridSize[2] = 65535;
    about.maxThreadsPerMultiProcessor = 2048;
    about.maxBlocksPerMultiProcessor = 32;
    about.regsPerBlock = about.regsPerMultiprocessor = 65536;
    about.sharedMemPerBlock = 48 << 10;
    about.sharedMemPerBlockOptin = about.sharedMemPerMultiprocessor = 96 << 10;
    about.totalConstMem = 64 << 10;
    about.memPitch = 2147483647;
    about.textureAlignment = 512;
    about.l2CacheSize = 512 << 10;
    about.memoryBusWidth = 64;
    about.concurrentKernels = about.unifiedAddressing = about.canMapHostMemory = about.hostRegisterSupported = 1;
    about.canUseHostPointerForRegisteredMem = about.streamPrioritiesSupported = 1;
    about.asyncEngineCount = 2;
    about.pciBusID = number + 1;
}

}  // namespace

API cudaError_t cudaGetDeviceCount(int *count) {
    *count = 0;
    INITIALISE();
    *count = (int)visible.size();
    return cudaSuccess;
}

API cudaError_t cudaGetDevice(int *device) {
    INITIALISE();
    *device = current;
    return cudaSuccess;
}

API cudaError_t cudaSetDevice(int device) {
    Lock lock(all);
    if (cudaError_t error = enter(device)) return failed(error);
    current = device;
    return cudaSuccess;
}

API cudaError_t cudaGetDeviceProperties(cudaDeviceProp *about, int device) {
    INITIALISE();
    if (device < 0 || device >= (int)visible.size()) return failed(cudaErrorInvalidDevice);
    describe_card(*about, device);
    return cudaSuccess;
}

API cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    cudaDeviceProp about;
    if (cudaError_t error = cudaGetDeviceProperties(&about, device)) return error;
    switch (attribute) {
        case cudaDevAttrMaxThreadsPerBlock: *value = about.maxThreadsPerBlock; break;
        case cudaDevAttrMultiProcessorCount: *value = about.multiProcessorCount; break;
        case cudaDevAttrComputeCapabilityMajor: *value = about.major; break;
        case cudaDevAttrComputeCapabilityMinor: *value = about.minor; break;
        case cudaDevAttrWarpSize: *value = about.warpSize; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)about.sharedMemPerBlock; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)about.sharedMemPerBlockOptin; break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = (int)about.sharedMemPerMultiprocessor; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = about.maxThreadsPerMultiProcessor; break;
        case cudaDevAttrUnifiedAddressing:
        case cudaDevAttrCanUseHostPointerForRegisteredMem:
        case cudaDevAttrHostRegisterSupported:
        case cudaDevAttrConcurrentKernels:
        case cudaDevAttrCanMapHostMemory: *value = 1; break;
        case cudaDevAttrPciBusId: *value = about.pciBusID; break;
        case cudaDevAttrMaxGridDimX: *value = about.maxGridSize[0]; break;
        case cudaDevAttrMaxGridDimY: *value = about.maxGridSize[1]; break;
        case cudaDevAttrMaxGridDimZ: *value = about.maxGridSize[2]; break;
        default: *value = 0;
    }
    return cudaSuccess;
}

API cudaError_t cudaDeviceGetPCIBusId(char *text, int length, int device) {
    INITIALISE();
    if (device < 0 || device >= (int)visible.size()) return failed(cudaErrorInvalidDevice);
    snprintf(text, length, "0000:%02x:00.0", card_of(device) + 1);
    return cudaSuccess;
}

API cudaError_t cudaDeviceCanAccessPeer(int *can, int, int) { *can = 0; return cudaSuccess; }
API cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) { return failed(cudaErrorPeerAccessUnsupported); }

API cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return cudaSuccess;
}

API cudaError_t cudaDeviceSynchronize() {
    Lock lock(all);
    if (cudaError_t error = enter(current)) return failed(error);
    auto found = streams_of(card_of(current));
    lock.unlock();
    for (auto &stream : found) drain(stream);
    return cudaSuccess;
}

API cudaError_t cudaRuntimeGetVersion(int *version) { *version = CUDART_VERSION; return cudaSuccess; }
API cudaError_t cudaDriverGetVersion(int *version) { *version = standin_open() ? CUDART_VERSION : 0; return cudaSuccess; }

API cudaError_t cudaGetLastError() {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

API cudaError_t cudaPeekAtLastError() { return last_error; }

static const struct {
    cudaError_t error;
    const char *name, *text;
} ERRORS[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorPeerAccessUnsupported, "cudaErrorPeerAccessUnsupported", "peer access is not supported between these two devices"},
    {cudaErrorHostMemoryAlreadyRegistered, "cudaErrorHostMemoryAlreadyRegistered",
     "part or all of the requested memory range is already mapped"},
    {cudaErrorHostMemoryNotRegistered, "cudaErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
    {cudaErrorDevicesUnavailable, "cudaErrorDevicesUnavailable", "CUDA-capable device(s) is/are busy or unavailable"},
};

API const char *cudaGetErrorString(cudaError_t error) {
    for (auto &known : ERRORS)
        if (known.error == error) return known.text;
    return "an error that the stand-in has no words for";
}

API const char *cudaGetErrorName(cudaError_t error) {
    for (auto &known : ERRORS)
        if (known.error == error) return known.name;
    return "cudaErrorUnknown";
}
