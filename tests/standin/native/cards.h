// The stand-in's cards: one small file, mapped by every process that uses them, so that processes share their memory as they
// share a real card's. Nothing of NVIDIA's is in here.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STANDIN_CARDS = 8, STANDIN_PROCESSES = 64, STANDIN_MAGIC = 0x51a9d1e7 };

struct standin_card {
    uint64_t total_bytes;
    uint64_t outside_bytes;  // taken by somebody outside these processes: a desktop, another user
    uint64_t asks;           // how often memory was asked for, of the card or locked for it
    uint64_t refuse_from, refuse_until;  // the asks with these numbers are refused, the last one not
    uint64_t copy_kb_per_s;              // how fast copies are; 0: as fast as the host
    int major, minor;
    int failure;  // a cudaError that every call to this card answers from now on; 0: none
    char name[96];
};

struct standin_process {
    int pid;           // 0: a free place
    uint64_t started;  // of /proc/PID/stat, against a pid that is used again
    uint64_t context_bytes[STANDIN_CARDS];
    uint64_t memory_bytes[STANDIN_CARDS];
    uint64_t launches, copied_bytes, locked_bytes;
    uint64_t stale_copies;  // of pages that were replaced while they were locked: each is a defect of the program
};

struct standin_state {
    uint32_t magic;
    int cards;
    pthread_mutex_t lock;  // robust: a process may be killed while it holds it
    struct standin_card card[STANDIN_CARDS];
    struct standin_process process[STANDIN_PROCESSES];
};

static inline const char *standin_environment(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static inline void standin_lock(struct standin_state *state) {
    if (pthread_mutex_lock(&state->lock) == EOWNERDEAD) pthread_mutex_consistent(&state->lock);
}

static inline void standin_unlock(struct standin_state *state) { pthread_mutex_unlock(&state->lock); }

static inline void standin_fill(struct standin_state *state) {
    memset(state, 0, sizeof *state);
    state->cards = atoi(standin_environment("STANDIN_CARDS", "2"));
    if (state->cards > STANDIN_CARDS) state->cards = STANDIN_CARDS;
    for (int i = 0; i < state->cards; i++) {
        struct standin_card *card = &state->card[i];
        card->total_bytes = strtoull(standin_environment("STANDIN_CARD_BYTES", "6442450944"), NULL, 10);
        card->copy_kb_per_s = 1000 * strtoull(standin_environment("STANDIN_COPY_MB_PER_S", "0"), NULL, 10);
        sscanf(standin_environment("STANDIN_CAPABILITY", "8.0"), "%d.%d", &card->major, &card->minor);
        snprintf(card->name, sizeof card->name, "%s", standin_environment("STANDIN_NAME", "Stand-in GT 1030"));
    }
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&state->lock, &kind);
    state->magic = STANDIN_MAGIC;
}

// The state of STANDIN_STATE, made from the environment by whoever comes first. NULL: no driver is here.
static inline struct standin_state *standin_open(void) {
    static struct standin_state *state;
    if (state) return state;
    const char *path = getenv("STANDIN_STATE");
    int file = path && *path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file < 0) return NULL;
    flock(file, LOCK_EX);
    void *place = MAP_FAILED;
    if (!ftruncate(file, sizeof *state))
        place = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (place != MAP_FAILED) {
        state = (struct standin_state *)place;
        if (state->magic != STANDIN_MAGIC) standin_fill(state);
    }
    flock(file, LOCK_UN);
    close(file);
    return state;
}

// When the process began, in clock ticks; 0 once it is gone or only waits to be reaped: the driver has taken its memory back.
static inline uint64_t standin_started(int pid) {
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return 0;
    text[length] = 0;
    char *rest = strrchr(text, ')');
    if (!rest || rest[2] == 'Z' || rest[2] == 'X') return 0;
    unsigned long long started = 0;
    sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &started);
    return started;
}

// Whether an error leaves a context of no more use, as an illegal address or a failed launch does, and the card lost for NVML.
// The others pass: a card that is busy, or has no memory.
static inline int standin_breaks(int error) {
    enum { UNCORRECTABLE = 214, ALREADY_LOCKED = 712, NOT_LOCKED = 713 };
    return error == UNCORRECTABLE || (error >= 700 && error <= 719 && error != ALREADY_LOCKED && error != NOT_LOCKED);
}

// With the lock held: free the places of processes that have ended.
static inline void standin_bury(struct standin_state *state) {
    for (int i = 0; i < STANDIN_PROCESSES; i++) {
        struct standin_process *process = &state->process[i];
        if (process->pid && standin_started(process->pid) != process->started) memset(process, 0, sizeof *process);
    }
}

// With the lock held: count one more time that memory is asked for; whether this time it is refused.
static inline int standin_refuses(struct standin_card *card) {
    uint64_t number = ++card->asks;
    return number >= card->refuse_from && number < card->refuse_until;
}

// With the lock held: what is in use on a card, after standin_bury.
static inline uint64_t standin_used(struct standin_state *state, int card) {
    uint64_t used = state->card[card].outside_bytes;
    for (int i = 0; i < STANDIN_PROCESSES; i++)
        if (state->process[i].pid) used += state->process[i].context_bytes[card] + state->process[i].memory_bytes[card];
    return used;
}
