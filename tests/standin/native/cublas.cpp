// cuBLAS as far as PyTorch needs it to go on: handles, and products that are counted and succeed without being computed. Built
// twice: with LT it is cuBLASLt.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include <dlfcn.h>

#define API extern "C" __attribute__((visibility("default")))

namespace {

std::atomic<unsigned long long> products;

[[maybe_unused]] int multiply() {
    products++;
    return 0;
}

}  // namespace

API unsigned long long standin_products() { return products; }

#ifdef LT

namespace {

int make(void **thing) {
    *thing = calloc(1, 256);
    return 0;
}

int end(void *thing) {
    free(thing);
    return 0;
}

}  // namespace

API int cublasLtMatmulDescCreate(void **thing, int, int) { return make(thing); }
API int cublasLtMatmulDescDestroy(void *thing) { return end(thing); }
API int cublasLtMatmulDescSetAttribute(void *, int, const void *, size_t) { return 0; }
API int cublasLtMatmulPreferenceCreate(void **thing) { return make(thing); }
API int cublasLtMatmulPreferenceDestroy(void *thing) { return end(thing); }
API int cublasLtMatmulPreferenceSetAttribute(void *, int, const void *, size_t) { return 0; }
API int cublasLtMatrixLayoutCreate(void **thing, int, unsigned long long, unsigned long long, long long) { return make(thing); }
API int cublasLtMatrixLayoutDestroy(void *thing) { return end(thing); }
API int cublasLtMatrixLayoutSetAttribute(void *, int, const void *, size_t) { return 0; }
API int cublasLtMatmul(...) { return multiply(); }

API int cublasLtMatmulAlgoGetHeuristic(void *, void *, void *, void *, void *, void *, void *, int, void *found, int *count) {
    memset(found, 0, 64);  // an algorithm that needs no workspace
    *count = 1;
    return 0;
}

#else

namespace {

constexpr int ALLOC_FAILED = 3;

struct Handle {
    int math, pointers;
    void *stream;
};

Handle *of(void *handle) { return (Handle *)handle; }

}  // namespace

API int cublasCreate_v2(void **handle) {
    auto refused = (int (*)())dlsym(RTLD_DEFAULT, "standin_library_refused");
    if (refused && refused()) return ALLOC_FAILED;
    *handle = calloc(1, sizeof(Handle));
    return 0;
}

API int cublasDestroy_v2(void *handle) {
    free(handle);
    return 0;
}

API int cublasSetStream_v2(void *handle, void *stream) {
    of(handle)->stream = stream;
    return 0;
}

API int cublasSetMathMode(void *handle, int mode) {
    of(handle)->math = mode;
    return 0;
}

API int cublasGetMathMode(void *handle, int *mode) {
    *mode = of(handle)->math;
    return 0;
}

API int cublasSetPointerMode_v2(void *handle, int mode) {
    of(handle)->pointers = mode;
    return 0;
}

API int cublasGetPointerMode_v2(void *handle, int *mode) {
    *mode = of(handle)->pointers;
    return 0;
}

API int cublasSetWorkspace_v2(void *, void *, size_t) { return 0; }
API int cublasSetSmCountTarget(void *, int) { return 0; }
API int cublasSgemm_v2(...) { return multiply(); }
API int cublasDgemm_v2(...) { return multiply(); }
API int cublasSgemv_v2(...) { return multiply(); }
API int cublasDgemv_v2(...) { return multiply(); }
API int cublasSgemmEx(...) { return multiply(); }
API int cublasGemmEx(...) { return multiply(); }
API int cublasGemmStridedBatchedEx(...) { return multiply(); }
API int cublasSgemmStridedBatched(...) { return multiply(); }
API int cublasDgemmStridedBatched(...) { return multiply(); }
API int cublasSdot_v2(...) { return multiply(); }
API int cublasDdot_v2(...) { return multiply(); }
API int cublasDotEx(...) { return multiply(); }

#endif
