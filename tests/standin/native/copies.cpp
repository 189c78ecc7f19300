// Copies and fills: what waits for its stream and what does not, and what a card reads where pages were replaced.
#include "runtime.h"

#include <chrono>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

struct Place {
    char *bytes = nullptr;
    bool on_card = false, locked = false;
    bool stale = false;  // locked, but with other pages than those that lie there now
};

cudaError_t look(const void *pointer, size_t length, Place &place) {  // with `all` held
    auto memory = at(memories, pointer);
    if (memory != memories.end()) {
        size_t offset = (uintptr_t)pointer - memory->first;
        if (offset + length > memory->second.length) return cudaErrorInvalidValue;
        place.bytes = memory->second.bytes + offset;
        place.on_card = true;
        return cudaSuccess;
    }
    place.bytes = (char *)pointer;
    auto range = at(ranges, pointer);
    if (range == ranges.end()) return cudaSuccess;
    size_t offset = (uintptr_t)pointer - range->first, within = std::min(length, range->second.length - offset);
    place.locked = within == length;
    if (range->second.allocated || same_frames(range->first, range->second, (uintptr_t)pointer, within)) return cudaSuccess;
    self->stale_copies++;
    place.stale = true;
    say("DEFECT: locked pages were replaced before they were unlocked; a card uses the old ones");
    return cudaSuccess;
}

bool fits(cudaMemcpyKind kind, const Place &to, const Place &from) {
    switch (kind) {
        case cudaMemcpyDefault: return true;
        case cudaMemcpyHostToDevice: return to.on_card && !from.on_card;
        case cudaMemcpyDeviceToHost: return !to.on_card && from.on_card;
        case cudaMemcpyDeviceToDevice: return to.on_card && from.on_card;
        case cudaMemcpyHostToHost: return !to.on_card && !from.on_card;
    }
    return false;
}

void move(char *target, const char *source, size_t length, uint64_t kb_per_s) {
    if (!kb_per_s) {
        memmove(target, source, length);
        return;
    }
    auto begun = Clock::now();
    for (size_t done = 0; done < length;) {
        size_t part = std::min<size_t>(16 << 10, length - done);
        memmove(target + done, source + done, part);
        done += part;
        std::this_thread::sleep_until(begun + std::chrono::microseconds(1000 * done / kb_per_s));
    }
}

cudaError_t copy(void *target, const void *source, size_t length, cudaMemcpyKind kind, cudaStream_t handle, bool wait) {
    ENTER();
    auto stream = find(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    if (!length) return cudaSuccess;
    Place to, from;
    if (look(target, length, to) || look(source, length, from)) return failed(cudaErrorInvalidValue);
    if (!fits(kind, to, from)) return failed(cudaErrorInvalidValue);
    self->copied_bytes += length;
    lock.unlock();
    uint64_t kb_per_s = standin_open()->card[stream->card].copy_kb_per_s;
    bool pageable = (!to.on_card && !to.locked) || (!from.on_card && !from.locked);
    put(stream, [=] {
        if (to.stale) return;                            // it lands in the old pages, where nobody looks
        if (from.stale) memset(to.bytes, 0xa5, length);  // whatever the old pages hold
        else move(to.bytes, from.bytes, length, kb_per_s);
    });
    if (wait || pageable) drain(stream);
    return cudaSuccess;
}

}  // namespace

API cudaError_t cudaMemcpy(void *target, const void *source, size_t length, cudaMemcpyKind kind) {
    return copy(target, source, length, kind, nullptr, true);
}

API cudaError_t cudaMemcpyAsync(void *target, const void *source, size_t length, cudaMemcpyKind kind, cudaStream_t stream) {
    return copy(target, source, length, kind, stream, false);
}

API cudaError_t cudaMemcpyPeerAsync(void *target, int, const void *source, int, size_t length, cudaStream_t stream) {
    return copy(target, source, length, cudaMemcpyDeviceToDevice, stream, false);
}

API cudaError_t cudaMemcpy2DAsync(void *target, size_t target_pitch, const void *source, size_t source_pitch, size_t width,
                                  size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
    for (size_t row = 0; row < height; row++) {
        char *to = (char *)target + row * target_pitch;
        const char *from = (const char *)source + row * source_pitch;
        if (cudaError_t error = copy(to, from, width, kind, stream, false)) return error;
    }
    return cudaSuccess;
}

API cudaError_t cudaMemsetAsync(void *target, int value, size_t length, cudaStream_t handle) {
    ENTER();
    auto stream = find(handle);
    Place place;
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    if (look(target, length, place) || !place.on_card) return failed(cudaErrorInvalidValue);
    lock.unlock();
    put(stream, [=] { memset(place.bytes, value, length); });
    return cudaSuccess;
}

API cudaError_t cudaMemset(void *target, int value, size_t length) { return cudaMemsetAsync(target, value, length, nullptr); }
