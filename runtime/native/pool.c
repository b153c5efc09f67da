/* A small pool for fork and join: workers spin for a bounded time between jobs, then sleep in the kernel (futex).
 *
 * One job runs at a time. A job is `count` tasks; thread i runs tasks i, i + threads, ...: which thread runs a task
 * never changes results, because tasks write disjoint memory. */
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
#include <unistd.h>

enum { SPIN_ROUNDS = 2000, MAX_THREADS = 1024 };

struct pens_pool {
    uint32_t threads; /* including the caller */
    pens_task task;
    void *context;
    uint32_t count;
    int stop;
    _Alignas(64) _Atomic uint32_t job;     /* raised to start a job */
    _Alignas(64) _Atomic uint32_t running; /* workers still busy with the job */
    _Atomic uint32_t sleepers;
    pthread_t handles[];
};

typedef struct {
    pens_pool *pool;
    uint32_t index;
} worker_start;

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void run_share(pens_pool *pool, uint32_t index)
{
    for (uint32_t task = index; task < pool->count; task += pool->threads)
        pool->task(pool->context, task);
}

static void *work(void *argument)
{
    worker_start start = *(worker_start *)argument;
    pens_pool *pool = start.pool;
    uint32_t seen = 0;
    free(argument);
    for (;;) {
        uint32_t rounds = 0;
        while (atomic_load_explicit(&pool->job, memory_order_acquire) == seen) {
            if (++rounds < SPIN_ROUNDS) {
                pens_relax();
                continue;
            }
            atomic_fetch_add(&pool->sleepers, 1);
            if (atomic_load(&pool->job) == seen)
                futex_wait(&pool->job, seen);
            atomic_fetch_sub(&pool->sleepers, 1);
        }
        seen++;
        if (pool->stop)
            return NULL;
        run_share(pool, start.index);
        if (atomic_fetch_sub_explicit(&pool->running, 1, memory_order_acq_rel) == 1)
            futex_wake(&pool->running, 1);
    }
}

static void start_job(pens_pool *pool)
{
    atomic_store(&pool->running, pool->threads - 1);
    atomic_fetch_add(&pool->job, 1);
    if (atomic_load(&pool->sleepers) != 0)
        futex_wake(&pool->job, INT_MAX);
}

void pens_pool_run(pens_pool *pool, pens_task task, void *context, uint32_t count)
{
    pool->task = task, pool->context = context, pool->count = count;
    start_job(pool);
    run_share(pool, 0);
    uint32_t left, rounds = 0;
    while ((left = atomic_load_explicit(&pool->running, memory_order_acquire)) != 0) {
        if (++rounds < SPIN_ROUNDS)
            pens_relax();
        else
            futex_wait(&pool->running, left);
    }
}

void pens_pool_destroy(pens_pool *pool)
{
    if (pool == NULL)
        return;
    pool->stop = 1;
    start_job(pool);
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
    *pool = (pens_pool){.threads = 1};
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
