// Kernels, as nvcc's own code registers and launches them: a launch is counted under the kernel's name and succeeds.
#include "runtime.h"

#include <atomic>
#include <string>
#include <unordered_map>

#include <dlfcn.h>

namespace {

struct Kernel {
    std::string name;
    std::atomic<uint64_t> launches{0};
};

struct Call {
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
};

std::unordered_map<const void *, Kernel *> kernels;  // guarded by `all`
thread_local std::vector<Call> calls;

struct AtExit {
    ~AtExit() {
        const char *folder = getenv("STANDIN_LOG");
        if (!folder || !initialised || forked) return;
        std::string path = std::string(folder) + "/" + std::to_string(getpid()) + ".launches";
        FILE *file = fopen(path.c_str(), "w");
        if (!file) return;
        for (auto &entry : kernels) {
            unsigned long long count = entry.second->launches;
            if (count) fprintf(file, "%llu %s\n", count, entry.second->name.c_str());
        }
        fclose(file);
    }
} at_exit;

cudaError_t launch(Kernel *kernel, dim3 grid, dim3 block, cudaStream_t handle) {
    ENTER();
    if (!find(handle)) return failed(cudaErrorInvalidResourceHandle);
    bool is_empty = !grid.x || !grid.y || !grid.z || !block.x;
    if (is_empty || block.x * block.y * block.z > 1024) return failed(cudaErrorInvalidConfiguration);
    standin_card &card = standin_open()->card[card_of(current)];
    constexpr int LEAST = CUDART_VERSION < 13000 ? 50 : 75;  // the least capability that PyTorch's builds have kernels for
    static const int built_for = (int)setting("STANDIN_BUILT_FOR", LEAST);
    if (card.major * 10 + card.minor < built_for) return failed(cudaErrorNoKernelImageForDevice);
    kernel->launches++;
    self->launches++;
    return cudaSuccess;
}

}  // namespace

API void **__cudaRegisterFatBinary(void *) {
    static void *handle;
    return &handle;
}

API void __cudaRegisterFatBinaryEnd(void **) {}
API void __cudaUnregisterFatBinary(void **) {}
API char __cudaInitModule(void **) { return 1; }

API void __cudaRegisterFunction(void **, const char *function, char *, const char *name, int, uint3 *, uint3 *, dim3 *, dim3 *,
                                int *) {
    Lock lock(all);
    auto kernel = new Kernel;
    kernel->name = name;
    kernels[function] = kernel;
}

API void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int) {}

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st *stream) {
    calls.push_back({grid, block, shared, stream});
    return 0;
}

API cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    if (calls.empty()) return failed(cudaErrorMissingConfiguration);
    Call call = calls.back();
    calls.pop_back();
    *grid = call.grid;
    *block = call.block;
    *shared = call.shared;
    *(cudaStream_t *)stream = call.stream;
    return cudaSuccess;
}

API cudaError_t __cudaGetKernel(cudaKernel_t *handle, const void *function) {
    Lock lock(all);
    auto found = kernels.find(function);
    if (found == kernels.end()) return failed(cudaErrorInvalidDeviceFunction);
    *handle = (cudaKernel_t)found->second;
    return cudaSuccess;
}

API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **, size_t, cudaStream_t stream) {
    return launch((Kernel *)kernel, grid, block, stream);
}

API cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **, size_t, cudaStream_t stream) {
    cudaKernel_t kernel;
    if (cudaError_t error = __cudaGetKernel(&kernel, function)) return error;
    return launch((Kernel *)kernel, grid, block, stream);
}

API cudaError_t cudaLaunchCooperativeKernel(const void *function, dim3 grid, dim3 block, void **values, size_t shared,
                                            cudaStream_t stream) {
    return cudaLaunchKernel(function, grid, block, values, shared, stream);
}

API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *how, const void *function, void **values) {
    return cudaLaunchKernel(function, how->gridDim, how->blockDim, values, how->dynamicSmemBytes, how->stream);
}

API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *about, const void *) {
    memset(about, 0, sizeof *about);
    about->maxThreadsPerBlock = 1024;
    about->numRegs = 32;
    about->binaryVersion = about->ptxVersion = 80;
    about->maxDynamicSharedSizeBytes = 48 << 10;
    return cudaSuccess;
}

API cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int) { return cudaSuccess; }

API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *, int, size_t, unsigned) {
    *blocks = 2;
    return cudaSuccess;
}

API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *kernel, int size, size_t shared) {
    return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, kernel, size, shared, 0);
}

API cudaError_t cudaProfilerStart() { return cudaSuccess; }
API cudaError_t cudaProfilerStop() { return cudaSuccess; }

API cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned, unsigned long long,
                                                 cudaDriverEntryPointQueryResult *status) {
    static void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    *function = driver ? dlsym(driver, symbol) : nullptr;
    if (status) *status = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    if (!*function) say("no driver function ", symbol);
    return cudaSuccess;
}

API cudaError_t cudaGetDriverEntryPoint(const char *symbol, void **function, unsigned long long flags,
                                        cudaDriverEntryPointQueryResult *status) {  // of CUDA 12, without a version
    return cudaGetDriverEntryPointByVersion(symbol, function, CUDART_VERSION, flags, status);
}
