// What the parts of the stand-in's CUDA runtime share: the process's view of its cards, and its streams.
//
// What the runtime keeps to, from its documentation: a card's limit, shared by all processes; a context that takes memory and is
// made by the first call that needs one; streams that run in order, each on a thread of its own, beside each other; copies from
// pageable memory that wait for their stream and copies from locked memory that do not; events; locked ranges that may not
// overlap; the last error, which stays until it is asked for; a child process that may not use its parent's CUDA. A device
// pointer can't be read by the host: its pages are inaccessible, and the bytes lie elsewhere (`standin_alias`).
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cards.h"

#define API extern "C" __attribute__((visibility("default")))

using Lock = std::unique_lock<std::mutex>;

constexpr size_t PAGE = 4096, GRAIN = 2 << 20;

struct Memory {  // of a card
    int card;
    size_t length, charged;
    char *bytes;  // where the host may reach them
};

struct Range {  // of the host, locked
    size_t length;
    bool allocated;  // by cudaHostAlloc
    unsigned flags;
    int pin;                       // keeps the pages where they are, as a driver does; -1 where the system would not
    std::vector<uint64_t> frames;  // the physical pages, where the system tells them and they can't move
};

struct Stream {
    int card = 0, priority = 0;
    unsigned flags = 0;
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> work;
    bool busy = false, running = false, ended = false;
};

inline std::mutex all;  // guards what follows
inline std::map<uintptr_t, Memory> memories;
inline std::map<uintptr_t, Range> ranges;
inline std::map<Stream *, std::shared_ptr<Stream>> streams;
inline std::vector<int> visible;
inline std::shared_ptr<Stream> defaults[STANDIN_CARDS];
inline standin_process *self;
inline bool initialised, forked;

inline thread_local cudaError_t last_error = cudaSuccess;
inline thread_local int current;

// Processes and cards (context.cpp). All but `setting` and `say` with `all` held.
uint64_t setting(const char *name, uint64_t otherwise);
void say(const char *text, const char *more = "");
cudaError_t failed(cudaError_t error);                       // the error, which is the last one now
cudaError_t initialise();                                    // what every call needs
cudaError_t enter(int ordinal);                              // the card's context, made if need be
cudaError_t take(int card, uint64_t bytes, bool context);    // of the card's memory
bool refused(int card);                                      // whether memory that is not the card's is refused this time
void give_back(int card, uint64_t bytes);
int card_of(int ordinal);
int ordinal_of(int card);

// Streams (streams.cpp). `find` and `streams_of` with `all` held.
void put(const std::shared_ptr<Stream> &stream, std::function<void()> work);
void drain(const std::shared_ptr<Stream> &stream);
std::shared_ptr<Stream> find(cudaStream_t handle);  // needs a context
std::vector<std::shared_ptr<Stream>> streams_of(int card);

// Locked pages (locked_pages.cpp). With `all` held.
bool same_frames(uintptr_t base, const Range &range, uintptr_t begin, size_t length);

#define ENTER() \
    Lock lock(all); \
    if (cudaError_t error = enter(current)) return failed(error)
#define INITIALISE() \
    Lock lock(all); \
    if (cudaError_t error = initialise()) return failed(error)

// What a map by address holds of a pointer, which may lie inside.
template <class Map> typename Map::iterator at(Map &map, const void *pointer) {
    auto found = map.upper_bound((uintptr_t)pointer);
    if (found == map.begin()) return map.end();
    --found;
    return (uintptr_t)pointer < found->first + found->second.length ? found : map.end();
}
