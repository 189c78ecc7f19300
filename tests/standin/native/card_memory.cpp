// Memory of cards: with a limit, given back, and behind addresses of its own (expandable segments).
#include "runtime.h"

#include <sys/mman.h>

namespace {

struct Piece {  // of a card's memory, as cuMemCreate hands it out
    int card;
    size_t length;
    int users;
};

std::map<uintptr_t, uintptr_t> mapped;  // which piece lies where

Piece *piece_of(uintptr_t handle) { return (Piece *)handle; }

void leave(Piece *piece) {
    if (--piece->users) return;
    give_back(piece->card, piece->length);
    delete piece;
}

char *pages(size_t length, int access, void *where = nullptr) {  // nullptr where the host has none
    int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (where ? MAP_FIXED : 0);
    void *place = mmap(where, length, access, kind, -1, 0);
    return place == MAP_FAILED ? nullptr : (char *)place;
}

}  // namespace

API cudaError_t cudaMalloc(void **pointer, size_t length) {
    ENTER();
    *pointer = nullptr;
    if (!length) return cudaSuccess;
    int card = card_of(current);
    size_t charged = (length + GRAIN - 1) / GRAIN * GRAIN;
    if (cudaError_t error = take(card, charged, false)) return failed(error);
    char *bytes = pages(charged, PROT_READ | PROT_WRITE), *place = pages(charged + GRAIN, PROT_NONE);
    if (!bytes || !place) return failed(cudaErrorMemoryAllocation);
    uintptr_t begin = (uintptr_t)place, address = (begin + GRAIN - 1) / GRAIN * GRAIN;
    if (address > begin) munmap(place, address - begin);
    munmap((char *)address + charged, begin + GRAIN - address);
    memories[address] = {card, length, charged, bytes};
    *pointer = (void *)address;
    return cudaSuccess;
}

API cudaError_t cudaFree(void *pointer) {
    ENTER();
    if (!pointer) return cudaSuccess;
    auto found = memories.find((uintptr_t)pointer);
    if (found == memories.end()) return failed(cudaErrorInvalidValue);
    auto waits = streams_of(found->second.card);
    lock.unlock();
    for (auto &stream : waits) drain(stream);  // as documented, it waits for what uses the memory
    lock.lock();
    found = memories.find((uintptr_t)pointer);
    if (found == memories.end()) return failed(cudaErrorInvalidValue);
    munmap(pointer, found->second.charged);
    munmap(found->second.bytes, found->second.charged);
    give_back(found->second.card, found->second.charged);
    memories.erase(found);
    return cudaSuccess;
}

API cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    ENTER();
    int card = card_of(current);
    standin_state *state = standin_open();
    standin_lock(state);
    standin_bury(state);
    uint64_t used = standin_used(state, card);
    *total_bytes = state->card[card].total_bytes;
    *free_bytes = used < *total_bytes ? *total_bytes - used : 0;
    standin_unlock(state);
    return cudaSuccess;
}

API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *about, const void *pointer) {
    INITIALISE();
    memset(about, 0, sizeof *about);
    about->device = -1;
    auto memory = at(memories, pointer);
    if (memory != memories.end()) {
        about->type = cudaMemoryTypeDevice;
        about->device = ordinal_of(memory->second.card);
        about->devicePointer = (void *)pointer;
        return cudaSuccess;
    }
    auto range = at(ranges, pointer);
    about->type = range == ranges.end() ? cudaMemoryTypeUnregistered : cudaMemoryTypeHost;
    about->hostPointer = (void *)pointer;
    if (range != ranges.end()) {
        about->device = current;
        about->devicePointer = (void *)pointer;
    }
    return cudaSuccess;
}

// The driver's own way to a card's memory: addresses first, memory put behind them by and by. The answers are CUresults.

API int standin_reserve(uintptr_t *address, size_t length) {
    Lock lock(all);
    if (enter(current)) return 3;
    char *place = pages(length, PROT_NONE), *bytes = pages(length, PROT_NONE);
    if (!place || !bytes) return 2;
    *address = (uintptr_t)place;
    memories[*address] = {card_of(current), length, 0, bytes};
    return 0;
}

API int standin_unreserve(uintptr_t address, size_t length) {
    Lock lock(all);
    auto found = memories.find(address);
    if (found == memories.end() || found->second.length != length) return 1;
    munmap((void *)address, length);
    munmap(found->second.bytes, length);
    memories.erase(found);
    return 0;
}

API int standin_piece(uintptr_t *handle, size_t length, int ordinal) {
    Lock lock(all);
    if (enter(ordinal)) return 3;
    if (length % GRAIN) return 1;
    if (take(card_of(ordinal), length, false)) return 2;
    *handle = (uintptr_t) new Piece{card_of(ordinal), length, 1};
    return 0;
}

API int standin_map(uintptr_t address, size_t length, uintptr_t handle) {
    Lock lock(all);
    auto memory = at(memories, (void *)address);
    if (memory == memories.end() || mapped.count(address) || piece_of(handle)->length != length) return 1;
    mprotect(memory->second.bytes + (address - memory->first), length, PROT_READ | PROT_WRITE);
    mapped[address] = handle;
    piece_of(handle)->users++;
    return 0;
}

API int standin_unmap(uintptr_t address, size_t length) {
    Lock lock(all);
    auto memory = at(memories, (void *)address);
    if (memory == memories.end()) return 1;
    auto waits = streams_of(memory->second.card);
    lock.unlock();
    for (auto &stream : waits) drain(stream);
    lock.lock();
    auto piece = mapped.lower_bound(address);
    while (piece != mapped.end() && piece->first < address + length) {
        leave(piece_of(piece->second));
        piece = mapped.erase(piece);
    }
    pages(length, PROT_NONE, memory->second.bytes + (address - memory->first));
    return 0;
}

API int standin_release(uintptr_t handle) {
    Lock lock(all);
    leave(piece_of(handle));
    return 0;
}

API void *standin_alias(const void *pointer, size_t length) {  // where the host may reach a device pointer; NULL: it is none
    Lock lock(all);
    auto memory = at(memories, pointer);
    if (memory == memories.end()) return nullptr;
    size_t offset = (uintptr_t)pointer - memory->first;
    return offset + length <= memory->second.length ? memory->second.bytes + offset : nullptr;
}
