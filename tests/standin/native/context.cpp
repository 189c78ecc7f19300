// The process's way to the cards: which it sees, its contexts, and memory taken and given back.
#include "runtime.h"

#include <string>

namespace {

bool contexts[STANDIN_CARDS];
int broken[STANDIN_CARDS];  // the error that a context answers to everything until its process ends

void see() {  // CUDA_VISIBLE_DEVICES, read once: ordinals and UUIDs, up to the first that is not there
    standin_state *state = standin_open();
    const char *names = getenv("CUDA_VISIBLE_DEVICES");
    if (!names) {
        for (int i = 0; i < state->cards; i++) visible.push_back(i);
        return;
    }
    std::string rest = names;
    while (!rest.empty()) {
        size_t comma = rest.find(',');
        std::string name = rest.substr(0, comma);
        rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
        int ordinal = -1;
        if (sscanf(name.c_str(), "GPU-%d", &ordinal) != 1) {
            char *end;
            ordinal = (int)strtol(name.c_str(), &end, 10);
            if (end == name.c_str()) ordinal = -1;
        }
        if (ordinal < 0 || ordinal >= state->cards) return;
        for (int seen : visible)
            if (seen == ordinal) {
                visible.clear();
                return;
            }
        visible.push_back(ordinal);
    }
}

void sign_in(standin_state *state) {  // with the cards' lock held: a place among the processes, where one is free
    for (int i = 0; i < STANDIN_PROCESSES && !self; i++)
        if (!state->process[i].pid) {
            self = &state->process[i];
            self->started = standin_started(getpid());
            self->pid = getpid();
        }
}

}  // namespace

uint64_t setting(const char *name, uint64_t otherwise) {
    const char *value = getenv(name);
    return value && *value ? strtoull(value, nullptr, 10) : otherwise;
}

void say(const char *text, const char *more) { fprintf(stderr, "stand-in[%d]: %s%s\n", getpid(), text, more); }

cudaError_t failed(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

cudaError_t initialise() {
    if (forked) return cudaErrorInitializationError;
    if (!initialised) {
        if (!standin_open()) return cudaErrorInsufficientDriver;
        pthread_atfork(nullptr, nullptr, [] { forked = forked || initialised; });
        initialised = true;
        see();
    }
    return visible.empty() ? cudaErrorNoDevice : cudaSuccess;
}

int card_of(int ordinal) { return visible[ordinal]; }

int ordinal_of(int card) {
    for (size_t i = 0; i < visible.size(); i++)
        if (visible[i] == card) return (int)i;
    return -1;
}

cudaError_t take(int card, uint64_t bytes, bool context) {
    standin_state *state = standin_open();
    standin_lock(state);
    standin_bury(state);
    if (!self) sign_in(state);
    bool has_room = self && standin_used(state, card) + bytes <= state->card[card].total_bytes;
    bool given = !standin_refuses(&state->card[card]) && has_room;
    if (given) (context ? self->context_bytes : self->memory_bytes)[card] += bytes;
    standin_unlock(state);
    return given ? cudaSuccess : cudaErrorMemoryAllocation;
}

bool refused(int card) {
    standin_state *state = standin_open();
    standin_lock(state);
    bool result = standin_refuses(&state->card[card]);
    standin_unlock(state);
    return result;
}

void give_back(int card, uint64_t bytes) {
    standin_state *state = standin_open();
    standin_lock(state);
    self->memory_bytes[card] -= bytes;
    standin_unlock(state);
}

cudaError_t enter(int ordinal) {
    if (cudaError_t error = initialise()) return error;
    if (ordinal < 0 || ordinal >= (int)visible.size()) return cudaErrorInvalidDevice;
    int card = card_of(ordinal);
    int failure = standin_open()->card[card].failure;
    if (contexts[card] && !broken[card] && standin_breaks(failure)) broken[card] = failure;
    if (broken[card]) failure = broken[card];
    if (failure) return (cudaError_t)failure;
    if (!contexts[card]) {
        if (cudaError_t error = take(card, setting("STANDIN_CONTEXT_BYTES", 96 << 20), true)) return error;
        contexts[card] = true;
        defaults[card] = std::make_shared<Stream>();
        defaults[card]->card = card;
    }
    return cudaSuccess;
}

// For the other stand-ins.

API int standin_has_context(int ordinal) {
    Lock lock(all);
    return initialised && !forked && ordinal >= 0 && ordinal < (int)visible.size() && contexts[card_of(ordinal)];
}

API int standin_library_refused() {  // whether a library finds no memory for its handle on the current card
    Lock lock(all);
    return enter(current) != cudaSuccess || refused(card_of(current));
}
