/* A small pool for fork and join: workers spin for a bounded time between jobs, then sleep in the kernel (futex).
 *
 * One job runs at a time. The caller opens it, does what it can, and closes it; workers join an open job, and the caller
 * waits for those that have joined, not for those that have yet to come. A task does whatever is left to do, so a job
 * is done without a single worker: on a busy machine, one with a limit on its CPU time, or with workers of a lower
 * priority, nothing waits for a thread that does not run, but for what such a thread has begun. */
#define _GNU_SOURCE
#include "internal.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    IDLE_ROUNDS = 2000, /* of a worker before it sleeps: for the next kernel of a run */
    JOIN_ROUNDS = 1000, /* of the caller before it sleeps: for the workers' last chunks */
    MAX_THREADS = 1024,
    STREAK = 8,         /* small jobs, */
    STREAK_NS = 50000,  /* each so soon after the one before, that are worth waking workers for */
};

/* The gate: how many workers are in the job, what the caller does, and the number of the job in the bits above. */
enum { WORKERS = (1 << 11) - 1, WAITING = 1 << 11, OPEN = 1 << 12, STOP = 1 << 13, JOB = 1 << 14 };
#define NUMBER (~(uint32_t)(JOB - 1))

enum { WAKE_BITS = 31 }; /* worker i sleeps under bit i % 31 of a futex, */
#define CALLER_BIT (UINT32_C(1) << 31) /* the caller under this one */

struct pens_pool {
    uint32_t threads; /* including the caller */
    int idle_rounds;
    uint32_t streak; /* small jobs one soon after the other for which no workers have been woken */
    uint64_t last;   /* when the last of them began */
    _Alignas(64) _Atomic uint32_t gate;
    _Atomic uint32_t count; /* of threads that the job can use */
    _Atomic int cpu;        /* where the caller ran when it began the job */
    pens_task task;
    void *context;
    _Alignas(64) _Atomic uint32_t asleep; /* bits of workers that sleep, or have */
    pthread_t handles[];
};

typedef struct {
    pens_pool *pool;
    uint32_t index;
} worker_start;

void pens_sleep(_Atomic uint32_t *word, uint32_t expected, uint32_t bits)
{
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, NULL, NULL, bits);
}

void pens_wake(_Atomic uint32_t *word, uint32_t bits)
{
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bits);
}

static uint32_t wake_bit(uint32_t index)
{
    return UINT32_C(1) << index % WAKE_BITS;
}

/* The gate when it is of another job than `seen`, or tells to stop. */
static uint32_t next_job(pens_pool *pool, uint32_t index, uint32_t seen, int rounds)
{
    uint32_t gate;
    for (;;) {
        gate = atomic_load_explicit(&pool->gate, memory_order_acquire);
        if ((gate & NUMBER) != seen || gate & STOP)
            return gate;
        if (rounds > 0) {
            rounds--;
            pens_relax();
            continue;
        }
        atomic_fetch_or(&pool->asleep, wake_bit(index)); /* before the gate is read: whoever changes it reads this after */
        gate = atomic_load(&pool->gate);
        if ((gate & NUMBER) == seen && !(gate & STOP))
            pens_sleep(&pool->gate, gate, wake_bit(index));
    }
}

/* Join the job that `gate` is of, while it is open. */
static int join(pens_pool *pool, uint32_t gate, uint32_t index)
{
    const uint32_t number = gate & NUMBER;
    if (index >= atomic_load_explicit(&pool->count, memory_order_relaxed))
        return 0;
    while ((gate & NUMBER) == number && gate & OPEN)
        if (atomic_compare_exchange_weak_explicit(&pool->gate, &gate, gate + 1, memory_order_acquire, memory_order_acquire))
            return 1;
    return 0;
}

static void leave(pens_pool *pool)
{
    uint32_t left = atomic_fetch_sub_explicit(&pool->gate, 1, memory_order_acq_rel) - 1;
    if ((left & WORKERS) == 0 && left & WAITING)
        pens_wake(&pool->gate, CALLER_BIT);
}

static void *work(void *argument)
{
    worker_start start = *(worker_start *)argument;
    pens_pool *pool = start.pool;
    uint32_t seen = 0;
    int rounds = pool->idle_rounds;
    free(argument);
    for (;;) {
        uint32_t gate = next_job(pool, start.index, seen, rounds);
        if (gate & STOP)
            return NULL;
        seen = gate & NUMBER;
        rounds = pool->idle_rounds;
        if (sched_getcpu() == atomic_load_explicit(&pool->cpu, memory_order_relaxed))
            rounds = 0; /* it runs where the caller would: no help */
        else if (join(pool, gate, start.index)) {
            pool->task(pool->context, start.index);
            leave(pool);
        }
    }
}

/* A single small job is through before a worker is awake; many in a row are not. */
static int is_worth_waking(pens_pool *pool, int large)
{
    struct timespec t;
    if (!large) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
        pool->streak = now - pool->last < STREAK_NS ? pool->streak + 1 : 0;
        pool->last = now;
        if (pool->streak < STREAK)
            return 0;
    }
    pool->streak = 0;
    return 1;
}

static void open_job(pens_pool *pool, uint32_t gate, uint32_t bits, int large)
{
    atomic_store(&pool->gate, gate);
    bits &= atomic_load(&pool->asleep);
    if (bits != 0 && is_worth_waking(pool, large)) {
        atomic_fetch_and(&pool->asleep, ~bits);
        pens_wake(&pool->gate, bits);
    }
}

static void close_job(pens_pool *pool)
{
    uint32_t gate = atomic_fetch_and_explicit(&pool->gate, ~(uint32_t)OPEN, memory_order_acq_rel);
    for (int rounds = 0; (gate & WORKERS) != 0; rounds++) {
        if (rounds < JOIN_ROUNDS) {
            pens_relax();
        } else if (!(gate & WAITING)) {
            gate = atomic_fetch_or_explicit(&pool->gate, WAITING, memory_order_acq_rel) | WAITING;
            continue;
        } else {
            pens_sleep(&pool->gate, gate, CALLER_BIT);
        }
        gate = atomic_load_explicit(&pool->gate, memory_order_acquire);
    }
}

void pens_pool_run(pens_pool *pool, pens_task task, void *context, uint32_t count, int large)
{
    uint32_t number = (atomic_load_explicit(&pool->gate, memory_order_relaxed) & NUMBER) + JOB;
    pool->task = task, pool->context = context;
    atomic_store_explicit(&pool->count, count, memory_order_relaxed);
    atomic_store_explicit(&pool->cpu, sched_getcpu(), memory_order_relaxed);
    open_job(pool, number | OPEN, count <= WAKE_BITS ? (UINT32_C(1) << count) - 2 : ~CALLER_BIT, large);
    task(context, 0);
    close_job(pool);
}

void pens_pool_destroy(pens_pool *pool)
{
    if (pool == NULL)
        return;
    atomic_store(&pool->gate, STOP);
    pens_wake(&pool->gate, UINT32_MAX);
    for (uint32_t i = 1; i < pool->threads; i++)
        pthread_join(pool->handles[i], NULL);
    free(pool);
}

pens_pool *pens_pool_create(uint32_t threads)
{
    if (threads < 1 || threads > MAX_THREADS)
        return NULL;
    size_t bytes = sizeof(pens_pool) + threads * sizeof(pthread_t);
    pens_pool *pool = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (pool == NULL)
        return NULL;
    *pool = (pens_pool){.threads = 1, .idle_rounds = threads <= pens_usable_threads() ? IDLE_ROUNDS : 0};
    for (uint32_t i = 1; i < threads; i++) {
        worker_start *start = malloc(sizeof *start);
        if (start != NULL)
            *start = (worker_start){pool, i};
        if (start == NULL || pthread_create(&pool->handles[i], NULL, work, start) != 0) {
            free(start);
            pens_pool_destroy(pool); /* joins those that started: `threads` counts them */
            return NULL;
        }
        pool->threads = i + 1;
    }
    return pool;
}

/* The share of CPUs a cgroup (version 2, else 1) allows, rounded up; 0 when it sets no limit. */
static uint32_t cgroup_limit(void)
{
    long long quota = -1, period = 100000;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file != NULL) {
        if (fscanf(file, "%lld %lld", &quota, &period) != 2)
            quota = -1;
        fclose(file);
    } else if ((file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re")) != NULL) {
        if (fscanf(file, "%lld", &quota) != 1)
            quota = -1;
        fclose(file);
    }
    return quota > 0 && period > 0 ? (uint32_t)((quota + period - 1) / period) : 0;
}

uint32_t pens_usable_threads(void)
{
    cpu_set_t set;
    uint32_t count = sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    uint32_t limit = cgroup_limit();
    return limit != 0 && limit < count ? limit : count;
}
