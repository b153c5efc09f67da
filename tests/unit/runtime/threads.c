/* Threads and sessions, to be run under ThreadSanitizer: `threads THREADS RUNS model.pens...`.
 *
 * Every thread opens sessions on every model, some with a pool of their own, some with a host executor, and runs them in
 * an order of its own; each result is compared, bit for bit, with that of a session that ran alone. Kernels are machine
 * code that the sanitizer does not see: what it watches is the runtime around them. A model with symbols runs with all
 * sizes LARGEST, and before that with smaller ones, so that its session's memory is placed anew every time. */
#define _POSIX_C_SOURCE 200809L
#include "penstock.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS = 16, SYMBOLS = 8, LARGEST = 60 };

typedef struct {
    pens_model *model;
    void **inputs, **expected;
} item;

static item items[MODELS];
static int item_count, runs;

static void *fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void *fresh(uint64_t bytes)
{
    void *data = calloc(1, bytes + 1);
    return data != NULL ? data : fail("no memory");
}

/* Zeros: valid for every type, and biases make results that are not. */
static void **buffers(const pens_session *session, uint32_t count,
                      pens_tensor (*describe)(const pens_session *, uint32_t))
{
    void **result = fresh((count + 1u) * sizeof *result);
    for (uint32_t i = 0; i < count; i++)
        result[i] = fresh(describe(session, i).bytes);
    return result;
}

static void set_sizes(pens_session *session, int64_t size)
{
    pens_error error;
    int64_t sizes[SYMBOLS];
    for (int i = 0; i < SYMBOLS; i++)
        sizes[i] = size;
    if (pens_session_set_sizes(session, sizes, &error) != PENS_OK)
        fail(error.message);
}

static void in_order(void *host, pens_task task, void *context, uint32_t count)
{
    (void)host;
    for (uint32_t i = count; i-- > 0;)
        task(context, i);
}

static pens_session *open_session(pens_model *model, uint32_t threads, pens_executor executor)
{
    pens_error error;
    pens_session *session;
    pens_session_options options = {.threads = threads, .executor = executor};
    if (pens_session_create(model, &options, &session, &error) != PENS_OK)
        fail(error.message);
    set_sizes(session, LARGEST);
    return session;
}

static void run_once(const item *it, pens_session *session, void **outputs)
{
    pens_error error;
    if (pens_run(session, (const void *const *)it->inputs, outputs, &error) != PENS_OK)
        fail(error.message);
}

static void *work(void *argument)
{
    uint32_t index = (uint32_t)(uintptr_t)argument;
    pens_session *sessions[MODELS];
    void **outputs[MODELS];
    for (int i = 0; i < item_count; i++) {
        sessions[i] = open_session(items[i].model, 1 + index % 3, index % 4 == 3 ? in_order : NULL);
        outputs[i] = buffers(sessions[i], pens_output_count(items[i].model), pens_session_output);
    }
    for (int turn = 0; turn < runs; turn++) {
        int i = (int)((index + (uint32_t)turn) % (uint32_t)item_count);
        if (pens_symbol_count(items[i].model) > 0) {
            set_sizes(sessions[i], 1 + turn % LARGEST);
            run_once(&items[i], sessions[i], outputs[i]);
            set_sizes(sessions[i], LARGEST);
        }
        run_once(&items[i], sessions[i], outputs[i]);
        for (uint32_t o = 0; o < pens_output_count(items[i].model); o++) {
            uint64_t bytes = pens_session_output(sessions[i], o).bytes;
            if (memcmp(outputs[i][o], items[i].expected[o], bytes) != 0)
                fail("a result differs");
            memset(outputs[i][o], 0xFF, bytes);
        }
    }
    for (int i = 0; i < item_count; i++)
        pens_session_destroy(sessions[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[64];
    if (argc < 4 || argc - 3 > MODELS || atoi(argv[1]) > 64)
        return 2;
    int count = atoi(argv[1]);
    runs = atoi(argv[2]);
    for (item_count = 0; item_count < argc - 3; item_count++) {
        pens_error error;
        item *it = &items[item_count];
        if (pens_load_file(argv[3 + item_count], NULL, &it->model, &error) != PENS_OK)
            fail(error.message);
        pens_session *alone = open_session(it->model, 1, NULL);
        if (pens_symbol_count(it->model) > SYMBOLS)
            return 2;
        it->inputs = buffers(alone, pens_input_count(it->model), pens_session_input);
        it->expected = buffers(alone, pens_output_count(it->model), pens_session_output);
        run_once(it, alone, it->expected);
        pens_session_destroy(alone);
    }
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) != 0)
            fail("no thread");
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < item_count; i++)
        pens_unload(items[i].model);
    printf("%d threads, %d runs each\n", count, runs);
    return 0;
}
