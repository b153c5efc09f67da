/* Running: commands in order; each dispatch is cut into contiguous ranges of its parallel units.
 *
 * All that can be computed before a run is: a session holds, for every command, its kernel and an array of buffer
 * pointers, in which a run only fills in the inputs and outputs. */
#define _GNU_SOURCE
#include "internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef struct {
    uint32_t slot;  /* in `buffers` */
    uint32_t index; /* which input, or output + input_count */
    uint64_t offset;
} patch;

typedef struct {
    pens_kernel kernel; /* NULL: a check or a copy */
    void **buffers;
    int64_t units;
    uint64_t copy_bytes;
    const char *message; /* of a check; else NULL */
    uint32_t tasks; /* how many ranges the units are cut into */
} step;

struct pens_session {
    pens_model *model;
    uint32_t threads;
    pens_pool *pool;
    pens_executor executor;
    void *host;
    uint8_t *arena;
    uint64_t arena_bytes;
    pens_kernel_context *contexts; /* one per task */
    step *steps;
    uint32_t step_count;
    void **buffers;
    patch *patches;
    uint32_t patch_count;
    const step *current;
    _Atomic uint32_t done;
    atomic_flag busy;
};

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* How many ranges are worth it: at least `grain` units in each. */
static uint32_t task_count(const plan_command *command, uint32_t threads)
{
    int64_t most = command->units / command->grain;
    return most < 2 ? 1 : most < threads ? (uint32_t)most : threads;
}

static void *base_of(const pens_session *session, const plan_argument *argument)
{
    uintptr_t base = (uintptr_t)(argument->space == SPACE_ARENA ? session->arena : session->model->weights);
    return (void *)(base + argument->offset);
}

static void prepare_steps(pens_session *session)
{
    const pens_model *model = session->model;
    uint32_t slot = 0;
    for (uint32_t i = 0; i < session->step_count; i++) {
        const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + i);
        step *s = &session->steps[i];
        s->buffers = session->buffers + slot;
        s->units = c->units;
        s->tasks = task_count(c, session->threads);
        if (c->kind == COMMAND_DISPATCH) {
            const plan_kernel *k = PENS_ROW(model, plan_kernel, TABLE_KERNELS, model->variant->first_kernel + c->kernel);
            s->kernel = (pens_kernel)(uintptr_t)(model->image + k->entry);
        } else if (c->kind == COMMAND_CHECK) {
            s->message = (const char *)model->tables[TABLE_STRINGS].data + c->message_offset;
        } else {
            s->copy_bytes = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument)->bytes;
        }
        for (uint32_t a = 0; a < (uint32_t)c->read_count + c->write_count; a++, slot++) {
            const plan_argument *argument = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument + a);
            if (argument->space == SPACE_ARENA || argument->space == SPACE_WEIGHTS) {
                session->buffers[slot] = base_of(session, argument);
                continue;
            }
            uint32_t index = argument->index + (argument->space == SPACE_OUTPUT ? model->header->input_count : 0);
            session->patches[session->patch_count++] = (patch){slot, index, argument->offset};
        }
    }
}

static int allocate(pens_session *session)
{
    const pens_model *model = session->model;
    uint64_t scratch = round_up(model->variant->scratch_bytes), arena = round_up(model->variant->arena_bytes);
    uint64_t slots = 0;
    session->step_count = model->variant->command_count;
    for (uint32_t i = 0; i < session->step_count; i++) {
        const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + i);
        slots += (uint64_t)c->read_count + c->write_count;
    }
    if (__builtin_mul_overflow(scratch, (uint64_t)session->threads, &session->arena_bytes) ||
        __builtin_add_overflow(session->arena_bytes, arena + 64, &session->arena_bytes))
        return 0;
    session->arena = mmap(NULL, session->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (session->arena == MAP_FAILED) {
        session->arena = NULL;
        return 0;
    }
    madvise(session->arena, session->arena_bytes, MADV_HUGEPAGE);
    session->steps = calloc(session->step_count + 1u, sizeof *session->steps);
    session->buffers = calloc(slots + 1, sizeof *session->buffers);
    session->patches = calloc(slots + 1, sizeof *session->patches);
    session->contexts = calloc(session->threads, sizeof *session->contexts);
    if (!session->steps || !session->buffers || !session->patches || !session->contexts)
        return 0;
    for (uint32_t i = 0; i < session->threads; i++)
        session->contexts[i] = (pens_kernel_context){session->arena + arena + i * scratch, scratch, i};
    return 1;
}

pens_status pens_session_create(pens_model *model, const pens_session_options *options, pens_session **result,
                                pens_error *error)
{
    *result = NULL;
    if (model == NULL)
        return pens_fail(error, PENS_INVALID_ARGUMENT, "A session needs a model.");
    pens_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the session does not fit.");
    session->model = model;
    session->threads = options && options->threads ? options->threads : pens_usable_threads();
    session->executor = options ? options->executor : NULL;
    session->host = options ? options->host : NULL;
    atomic_flag_clear(&session->busy);
    if (session->threads > 1024) {
        pens_session_destroy(session);
        return pens_fail(error, PENS_INVALID_ARGUMENT, "A session has 1 to 1024 threads.");
    }
    if (!allocate(session)) {
        pens_session_destroy(session);
        return pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the session's %llu bytes do not fit.",
                         (unsigned long long)model->variant->arena_bytes);
    }
    prepare_steps(session);
    if (session->threads > 1 && session->executor == NULL) {
        session->pool = pens_pool_create(session->threads);
        if (session->pool == NULL) {
            uint32_t threads = session->threads;
            pens_session_destroy(session);
            return pens_fail(error, PENS_NO_THREADS, "Cannot start %u threads.", threads);
        }
    }
    *result = session;
    return PENS_OK;
}

void pens_session_destroy(pens_session *session)
{
    if (session == NULL)
        return;
    pens_pool_destroy(session->pool);
    if (session->arena != NULL)
        munmap(session->arena, session->arena_bytes);
    free(session->steps);
    free(session->buffers);
    free(session->patches);
    free(session->contexts);
    free(session);
}

uint32_t pens_session_threads(const pens_session *session)
{
    return session->threads;
}

static void run_range(void *context, uint32_t index)
{
    pens_session *session = context;
    const step *s = session->current;
    int64_t share = s->units / s->tasks, extra = s->units % s->tasks;
    int64_t begin = share * index + (index < extra ? index : extra);
    s->kernel(&session->contexts[index], s->buffers, begin, begin + share + (index < extra));
    if (session->executor != NULL)
        atomic_fetch_add(&session->done, 1);
}

static pens_status run_parallel(pens_session *session, const step *s, pens_error *error)
{
    session->current = s;
    if (session->executor == NULL) {
        pens_pool_run(session->pool, run_range, session, s->tasks);
        return PENS_OK;
    }
    atomic_store(&session->done, 0);
    session->executor(session->host, run_range, session, s->tasks);
    if (atomic_load(&session->done) != s->tasks)
        return pens_fail(error, PENS_EXECUTOR_FAILED,
                         "The host's executor returned before running every task it was given.");
    return PENS_OK;
}

static pens_status run_step(pens_session *session, const step *s, pens_error *error)
{
    if (s->message != NULL)
        return *(const uint8_t *)s->buffers[0] ? PENS_OK : pens_fail(error, PENS_CHECK_FAILED, "%s.", s->message);
    if (s->kernel == NULL) {
        memmove(s->buffers[1], s->buffers[0], s->copy_bytes);
        return PENS_OK;
    }
    if (s->tasks > 1)
        return run_parallel(session, s, error);
    s->kernel(&session->contexts[0], s->buffers, 0, s->units);
    return PENS_OK;
}

/* Fill in the pointers of this run. A tensor of no bytes may have a null pointer. */
static pens_status bind(pens_session *session, const void *const *inputs, void *const *outputs, pens_error *error)
{
    uint32_t input_count = session->model->header->input_count;
    for (uint32_t i = 0; i < session->patch_count; i++) {
        const patch *p = &session->patches[i];
        uintptr_t base = p->index < input_count ? (uintptr_t)inputs[p->index] : (uintptr_t)outputs[p->index - input_count];
        if (base == 0 && session->model->tensors[p->index].bytes != 0)
            return pens_fail(error, PENS_INVALID_ARGUMENT, "The pointer for %s is null.",
                             session->model->tensors[p->index].name);
        session->buffers[p->slot] = (void *)(base + p->offset);
    }
    return PENS_OK;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void describe(const pens_session *session, uint32_t i, pens_record *record)
{
    const pens_model *model = session->model;
    const char *strings = (const char *)model->tables[TABLE_STRINGS].data;
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + i);
    const plan_kernel *k = PENS_ROW(model, plan_kernel, TABLE_KERNELS, model->variant->first_kernel + c->kernel);
    *record = (pens_record){
        .source = strings + c->source_offset,
        .kernel = c->kind == COMMAND_DISPATCH ? strings + k->name_offset : "",
        .flops = c->flops,
        .bytes = c->bytes,
        .threads = session->steps[i].tasks,
    };
}

static pens_status run(pens_session *session, const void *const *inputs, void *const *outputs, pens_record *records,
                       pens_error *error)
{
    pens_status status = bind(session, inputs, outputs, error);
    uint64_t start = records != NULL ? now_ns() : 0;
    for (uint32_t i = 0; status == PENS_OK && i < session->step_count; i++) {
        if (records == NULL) {
            status = run_step(session, &session->steps[i], error);
            continue;
        }
        describe(session, i, &records[i]);
        records[i].start_ns = now_ns() - start;
        status = run_step(session, &session->steps[i], error);
        records[i].end_ns = now_ns() - start;
    }
    return status;
}

pens_status pens_run_profiled(pens_session *session, const void *const *inputs, void *const *outputs,
                              pens_record *records, pens_error *error)
{
    if (session == NULL)
        return pens_fail(error, PENS_INVALID_ARGUMENT, "A run needs a session.");
    if (atomic_flag_test_and_set_explicit(&session->busy, memory_order_acquire))
        return pens_fail(error, PENS_SESSION_BUSY, "The session is already running in another thread.");
    pens_status status = run(session, inputs, outputs, records, error);
    atomic_flag_clear_explicit(&session->busy, memory_order_release);
    return status;
}

pens_status pens_run(pens_session *session, const void *const *inputs, void *const *outputs, pens_error *error)
{
    return pens_run_profiled(session, inputs, outputs, NULL, error);
}
