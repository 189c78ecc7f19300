// Memory of the host that is locked for the cards, and whether its pages are still those that were locked.
#include "runtime.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

namespace {

constexpr uint64_t PRESENT = 1ULL << 63;

// Empty where the system does not tell; 0 for a page that is away, as one is while the kernel tries to move it.
std::vector<uint64_t> frames_of(uintptr_t begin, size_t length) {
    static int owner = 0, map = -1;
    if (owner != getpid()) {  // a file that a parent opened tells of the parent's pages
        map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        owner = getpid();
    }
    uintptr_t first = begin / PAGE, last = (begin + length - 1) / PAGE;
    std::vector<uint64_t> frames(last - first + 1);
    ssize_t wanted = frames.size() * sizeof frames[0];
    if (map < 0 || pread(map, frames.data(), wanted, first * sizeof frames[0]) != wanted) return {};
    bool told = false;
    for (auto &frame : frames) {
        frame = frame & PRESENT ? frame & ((1ULL << 55) - 1) : 0;
        told = told || frame;
    }
    return told ? frames : std::vector<uint64_t>();
}

// Once no page is away: memory that is short keeps the kernel trying, and a pinned page is back soon.
std::vector<uint64_t> settled_frames(uintptr_t begin, size_t length) {
    auto frames = frames_of(begin, length);
    for (int tries = 0; tries < 50 && std::count(frames.begin(), frames.end(), 0); tries++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        frames = frames_of(begin, length);
    }
    return frames;
}

// Keep the pages in memory and in their place. The kernel does that for the buffers that are registered with an io_uring.
int pin(uintptr_t begin, uintptr_t end) {
    constexpr size_t LARGEST = 512 << 20;  // of one buffer
    io_uring_params how;
    memset(&how, 0, sizeof how);
    int ring = (int)syscall(SYS_io_uring_setup, 1, &how);
    if (ring < 0) return -1;
    std::vector<iovec> parts;
    for (uintptr_t at = begin; at < end; at += LARGEST) parts.push_back({(void *)at, std::min<size_t>(LARGEST, end - at)});
    if (!syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, parts.data(), (unsigned)parts.size())) return ring;
    close(ring);
    return -1;
}

}  // namespace

// Whether the pages are those that were locked: a device goes on using the old ones when others came in their place. A page
// that the kernel tries to move is away for a moment, so only what lasts counts.
bool same_frames(uintptr_t base, const Range &range, uintptr_t begin, size_t length) {
    if (range.frames.empty()) return true;
    size_t first = begin / PAGE - base / PAGE, others = 0;
    for (int tries = 0; tries < 50; tries++) {
        auto now = frames_of(begin, length);
        others = 0;
        for (size_t i = 0; i < now.size(); i++) others += range.frames[first + i] && now[i] != range.frames[first + i];
        if (!others) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    char text[120];
    snprintf(text, sizeof text, "%zu pages of the locked range at %#lx (%zu bytes) are others now", others, base, range.length);
    say(text);
    return false;
}

API cudaError_t cudaHostRegister(void *pointer, size_t length, unsigned flags) {
    ENTER();
    uintptr_t begin = (uintptr_t)pointer, end = begin + length;
    if (!pointer || !length || end < begin) return failed(cudaErrorInvalidValue);
    auto after = ranges.lower_bound(end);
    if (after != ranges.begin()) {
        auto before = std::prev(after);
        if (before->first + before->second.length > begin) return failed(cudaErrorHostMemoryAlreadyRegistered);
    }
    uint64_t limit = setting("STANDIN_LOCK_BYTES", ~0ULL);  // as when the system has no more pages to lock
    if (refused(card_of(current)) || self->locked_bytes + length > limit) return failed(cudaErrorMemoryAllocation);
    uintptr_t first = begin / PAGE * PAGE, last = (end + PAGE - 1) / PAGE * PAGE;
    bool reads_only = flags & cudaHostRegisterReadOnly;
    if (madvise((void *)first, last - first, reads_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE))
        return failed(cudaErrorInvalidValue);  // not mapped, or not writable
    int pinned = pin(first, last);
    ranges[begin] = {length, false, flags, pinned, pinned < 0 ? std::vector<uint64_t>() : settled_frames(begin, length)};
    self->locked_bytes += length;
    return cudaSuccess;
}

API cudaError_t cudaHostUnregister(void *pointer) {
    ENTER();
    auto found = ranges.find((uintptr_t)pointer);
    if (found == ranges.end() || found->second.allocated) return failed(cudaErrorHostMemoryNotRegistered);
    if (!same_frames(found->first, found->second, found->first, found->second.length)) {
        self->stale_copies++;
        say("DEFECT: locked pages had been replaced when they were unlocked");
    }
    self->locked_bytes -= found->second.length;
    if (found->second.pin >= 0) close(found->second.pin);
    ranges.erase(found);
    return cudaSuccess;
}

API cudaError_t cudaHostAlloc(void **pointer, size_t length, unsigned flags) {
    ENTER();
    *pointer = nullptr;
    if (!length) return cudaSuccess;
    size_t whole = (length + PAGE - 1) / PAGE * PAGE;
    if (refused(card_of(current))) return failed(cudaErrorMemoryAllocation);
    void *place = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED) return failed(cudaErrorMemoryAllocation);
    ranges[(uintptr_t)place] = {whole, true, flags, -1, {}};
    *pointer = place;
    return cudaSuccess;
}

API cudaError_t cudaFreeHost(void *pointer) {
    ENTER();
    if (!pointer) return cudaSuccess;
    auto found = ranges.find((uintptr_t)pointer);
    if (found == ranges.end() || !found->second.allocated) return failed(cudaErrorInvalidValue);
    munmap(pointer, found->second.length);
    ranges.erase(found);
    return cudaSuccess;
}

API cudaError_t cudaHostGetDevicePointer(void **pointer, void *host, unsigned) {
    INITIALISE();
    if (at(ranges, host) == ranges.end()) return failed(cudaErrorInvalidValue);
    *pointer = host;  // one address space
    return cudaSuccess;
}
