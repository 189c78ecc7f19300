// Streams, each in order and beside each other, and the events between them.
#include "runtime.h"

#include <chrono>
#include <thread>

using Clock = std::chrono::steady_clock;

namespace {

struct Event {
    unsigned flags = 0;
    int card = 0;
    std::mutex mutex;
    std::condition_variable changed;
    uint64_t recorded = 0, completed = 0;
    Clock::time_point at;
};

std::map<Event *, std::shared_ptr<Event>> events;  // guarded by `all`

std::shared_ptr<Event> find_event(cudaEvent_t handle) {
    auto found = events.find((Event *)handle);
    return found == events.end() ? nullptr : found->second;
}

void run(std::shared_ptr<Stream> stream) {
    Lock lock(stream->mutex);
    for (;;) {
        stream->changed.wait(lock, [&] { return !stream->work.empty() || stream->ended; });
        if (stream->work.empty()) return;
        auto work = std::move(stream->work.front());
        stream->work.pop_front();
        stream->busy = true;
        lock.unlock();
        work();
        work = nullptr;
        lock.lock();
        stream->busy = false;
        stream->changed.notify_all();
    }
}

bool idle(const std::shared_ptr<Stream> &stream) {
    Lock lock(stream->mutex);
    return stream->work.empty() && !stream->busy;
}

}  // namespace

void put(const std::shared_ptr<Stream> &stream, std::function<void()> work) {
    static const bool is_async = setting("STANDIN_ASYNC", 1);
    Lock lock(stream->mutex);
    if (!is_async) return work();
    if (!stream->running) {
        stream->running = true;
        std::thread(run, stream).detach();
    }
    stream->work.push_back(std::move(work));
    stream->changed.notify_all();
}

void drain(const std::shared_ptr<Stream> &stream) {
    Lock lock(stream->mutex);
    stream->changed.wait(lock, [&] { return stream->work.empty() && !stream->busy; });
}

std::shared_ptr<Stream> find(cudaStream_t handle) {
    if ((uintptr_t)handle <= 2) return defaults[card_of(current)];
    auto found = streams.find((Stream *)handle);
    return found == streams.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Stream>> streams_of(int card) {
    std::vector<std::shared_ptr<Stream>> found;
    if (defaults[card]) found.push_back(defaults[card]);
    for (auto &entry : streams)
        if (entry.second->card == card) found.push_back(entry.second);
    return found;
}

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t *handle, unsigned flags, int priority) {
    ENTER();
    auto stream = std::make_shared<Stream>();
    stream->card = card_of(current);
    stream->flags = flags;
    stream->priority = priority;
    streams[stream.get()] = stream;
    *handle = (cudaStream_t)stream.get();
    return cudaSuccess;
}

API cudaError_t cudaStreamCreateWithFlags(cudaStream_t *handle, unsigned flags) {
    return cudaStreamCreateWithPriority(handle, flags, 0);
}

API cudaError_t cudaStreamCreate(cudaStream_t *handle) { return cudaStreamCreateWithPriority(handle, 0, 0); }

API cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    INITIALISE();
    auto found = streams.find((Stream *)handle);
    if (found == streams.end()) return failed(cudaErrorInvalidResourceHandle);
    {
        Lock inner(found->second->mutex);
        found->second->ended = true;
        found->second->changed.notify_all();
    }
    streams.erase(found);
    return cudaSuccess;
}

API cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    ENTER();
    auto stream = find(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    lock.unlock();
    drain(stream);
    return cudaSuccess;
}

API cudaError_t cudaStreamQuery(cudaStream_t handle) {
    ENTER();
    auto stream = find(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    return idle(stream) ? cudaSuccess : failed(cudaErrorNotReady);
}

API cudaError_t cudaStreamGetPriority(cudaStream_t handle, int *priority) {
    ENTER();
    auto stream = find(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    *priority = stream->priority;
    return cudaSuccess;
}

API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t wanted, unsigned) {
    ENTER();
    auto stream = find(handle);
    auto event = find_event(wanted);
    if (!stream || !event) return failed(cudaErrorInvalidResourceHandle);
    lock.unlock();
    uint64_t ticket;
    {
        Lock inner(event->mutex);
        ticket = event->recorded;
    }
    put(stream, [=] {
        Lock inner(event->mutex);
        event->changed.wait(inner, [&] { return event->completed >= ticket; });
    });
    return cudaSuccess;
}

API cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t work, void *data) {
    ENTER();
    auto stream = find(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    lock.unlock();
    put(stream, [=] { work(data); });
    return cudaSuccess;
}

API cudaError_t cudaStreamAddCallback(cudaStream_t handle, cudaStreamCallback_t call, void *data, unsigned) {
    ENTER();
    auto stream = find(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    lock.unlock();
    put(stream, [=] { call(handle, cudaSuccess, data); });
    return cudaSuccess;
}

// Nothing is ever captured into a graph.

API cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus *status) {
    *status = cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

#if CUDART_VERSION < 13000
#define EDGES
#else
#define EDGES const cudaGraphEdgeData **,
#endif

API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus *status, unsigned long long *id,
                                         cudaGraph_t *graph, const cudaGraphNode_t **, EDGES size_t *) {
    *status = cudaStreamCaptureStatusNone;
    if (id) *id = 0;
    if (graph) *graph = nullptr;
    return cudaSuccess;
}

API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *) { return cudaSuccess; }

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t *handle, unsigned flags) {
    ENTER();
    auto event = std::make_shared<Event>();
    event->flags = flags;
    event->card = card_of(current);
    events[event.get()] = event;
    *handle = (cudaEvent_t)event.get();
    return cudaSuccess;
}

API cudaError_t cudaEventCreate(cudaEvent_t *handle) { return cudaEventCreateWithFlags(handle, 0); }

API cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    INITIALISE();
    return events.erase((Event *)handle) ? cudaSuccess : failed(cudaErrorInvalidResourceHandle);
}

API cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t on, unsigned) {
    ENTER();
    auto event = find_event(handle);
    auto stream = find(on);
    if (!event || !stream || event->card != stream->card) return failed(cudaErrorInvalidResourceHandle);
    lock.unlock();
    uint64_t ticket;
    {
        Lock inner(event->mutex);
        ticket = ++event->recorded;
    }
    put(stream, [=] {
        Lock inner(event->mutex);
        event->completed = std::max(event->completed, ticket);
        event->at = Clock::now();
        event->changed.notify_all();
    });
    return cudaSuccess;
}

API cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t on) { return cudaEventRecordWithFlags(handle, on, 0); }

API cudaError_t cudaEventQuery(cudaEvent_t handle) {
    INITIALISE();
    auto event = find_event(handle);
    if (!event) return failed(cudaErrorInvalidResourceHandle);
    Lock inner(event->mutex);
    return event->completed >= event->recorded ? cudaSuccess : failed(cudaErrorNotReady);
}

API cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    INITIALISE();
    auto event = find_event(handle);
    if (!event) return failed(cudaErrorInvalidResourceHandle);
    lock.unlock();
    Lock inner(event->mutex);
    event->changed.wait(inner, [&] { return event->completed >= event->recorded; });
    return cudaSuccess;
}

API cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
    INITIALISE();
    auto begin = find_event(from), end = find_event(to);
    if (!begin || !end || ((begin->flags | end->flags) & cudaEventDisableTiming) || !begin->recorded || !end->recorded)
        return failed(cudaErrorInvalidResourceHandle);
    if (begin->completed < begin->recorded || end->completed < end->recorded) return failed(cudaErrorNotReady);
    *ms = std::chrono::duration<float, std::milli>(end->at - begin->at).count();
    return cudaSuccess;
}
