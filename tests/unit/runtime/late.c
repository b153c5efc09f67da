/* Threads that do not come: `late MODEL.pens...`, linked with the runtime's sources.
 *
 * A worker asks on which CPU it is before it joins a job. Here that question is answered by this file, which can hold
 * workers there: until they are released none takes part in any run. Runs then complete without them, with the bits of
 * one thread; so they do when workers come, and with more threads than there are CPUs. Also: a kernel's units, cut up for
 * any number of threads of which any one may do it all, each run once. */
#define _GNU_SOURCE
#include "internal.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST = 60, SYMBOLS = 8, UNITS = 5000 };

static _Atomic int held;
static _Atomic int stopped; /* workers that were held */
static pthread_t main_thread;
static uint8_t times_run[UNITS];
static int64_t smallest;

int sched_getcpu(void)
{
    if (pthread_equal(pthread_self(), main_thread))
        return -1;
    if (atomic_load(&held))
        atomic_fetch_add(&stopped, 1);
    while (atomic_load(&held))
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    return -2; /* never the caller's, so that workers join on a machine with one CPU, too */
}

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void *fresh(uint64_t bytes)
{
    void *data = calloc(1, bytes + 1);
    if (data == NULL)
        fail("no memory");
    return data;
}

static void **buffers(const pens_session *session, uint32_t count, pens_tensor (*describe)(const pens_session *, uint32_t))
{
    void **result = fresh((count + 1u) * sizeof *result);
    for (uint32_t i = 0; i < count; i++)
        result[i] = fresh(describe(session, i).bytes);
    return result;
}

static pens_session *open_session(pens_model *model, uint32_t threads)
{
    pens_error error;
    pens_session *session;
    int64_t sizes[SYMBOLS];
    for (int i = 0; i < SYMBOLS; i++)
        sizes[i] = LARGEST;
    if (pens_session_create(model, &(pens_session_options){.threads = threads}, &session, &error) != PENS_OK ||
        pens_session_set_sizes(session, sizes, &error) != PENS_OK)
        fail(error.message);
    return session;
}

static void run(pens_session *session, void **inputs, void **outputs)
{
    pens_error error;
    if (pens_run(session, (const void *const *)inputs, outputs, &error) != PENS_OK)
        fail(error.message);
}

static void compare(pens_session *session, pens_model *model, void **inputs, void **outputs, void **expected, int runs)
{
    for (int turn = 0; turn < runs; turn++) {
        for (uint32_t o = 0; o < pens_output_count(model); o++)
            memset(outputs[o], 0xFF, pens_session_output(session, o).bytes);
        run(session, inputs, outputs);
        for (uint32_t o = 0; o < pens_output_count(model); o++)
            if (memcmp(outputs[o], expected[o], pens_session_output(session, o).bytes) != 0)
                fail("a result differs");
    }
}

static void check_model(const char *path)
{
    pens_error error;
    pens_model *model;
    if (pens_load_file(path, NULL, &model, &error) != PENS_OK)
        fail(error.message);
    pens_session *alone = open_session(model, 1);
    void **inputs = buffers(alone, pens_input_count(model), pens_session_input);
    for (uint32_t i = 0; i < pens_input_count(model); i++)
        for (uint64_t at = 0; pens_session_input(alone, i).dtype == PENS_F32 && at < pens_session_input(alone, i).bytes / 4; at++)
            ((float *)inputs[i])[at] = (float)(at * 37 % 101) / 50 - 1;
    void **expected = buffers(alone, pens_output_count(model), pens_session_output);
    void **outputs = buffers(alone, pens_output_count(model), pens_session_output);
    run(alone, inputs, expected);
    pens_session_destroy(alone);
    const uint32_t many = 3 * (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    const uint32_t counts[] = {2, 3, 4, 5, many < 24 ? many : 24};
    for (uint32_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        pens_session *session = open_session(model, counts[i]);
        atomic_store(&held, 1);
        compare(session, model, inputs, outputs, expected, 20);
        atomic_store(&held, 0);
        compare(session, model, inputs, outputs, expected, 100);
        pens_session_destroy(session);
    }
    pens_unload(model);
}

static void count_units(const pens_kernel_context *context, void *const *unused, int64_t begin, int64_t end)
{
    (void)context, (void)unused;
    smallest = end - begin < smallest ? end - begin : smallest;
    for (int64_t unit = begin; unit < end; unit++)
        times_run[unit]++;
}

static void check_shares(void)
{
    const int64_t units[] = {2, 3, 7, 64, 97, 1000, UNITS}, grains[] = {1, 3, 100, INT64_C(1) << 40};
    pens_kernel_context *contexts = aligned_alloc(_Alignof(pens_kernel_context), 24 * sizeof *contexts);
    memset(contexts, 0, 24 * sizeof *contexts);
    uint64_t job = 0;
    for (uint32_t u = 0; u < sizeof units / sizeof *units; u++)
        for (uint32_t g = 0; g < sizeof grains / sizeof *grains; g++)
            for (uint32_t ranges = 1; ranges <= 24; ranges++)
                for (uint32_t first = 0; first < ranges; first += 5) {
                    pens_shares shares = pens_cut(units[u], grains[g], ranges);
                    memset(times_run, 0, sizeof times_run), smallest = INT64_MAX, job++;
                    for (uint32_t turn = 0; turn < (first & 1 ? ranges : 1); turn++)
                        pens_run_shares(&shares, contexts, ranges, (first + turn) % ranges, job, count_units, NULL);
                    for (int64_t unit = 0; unit < UNITS; unit++)
                        if (times_run[unit] != (unit < units[u]))
                            fail("a unit was not run once");
                    if (smallest < 1 || pens_range_begin(&shares, 0) != 0 || pens_range_begin(&shares, ranges) != units[u])
                        fail("a range is wrong");
                }
    free(contexts);
}

int main(int argc, char **argv)
{
    main_thread = pthread_self();
    check_shares();
    for (int i = 1; i < argc; i++)
        check_model(argv[i]);
    printf("%d workers were held\n", atomic_load(&stopped));
    return 0;
}
