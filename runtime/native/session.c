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
    uint32_t tasks;   /* how many ranges the units are cut into */
    uint32_t command; /* its number */
    uint32_t guard_count, guard_senses;
    void **guards; /* booleans that must be as the senses say, or else the step is left out */
} step;

/* What a run executes: all commands, or those that chosen outputs need. */
typedef struct {
    step *steps;
    patch *patches;
    uint32_t step_count, patch_count;
} program;

struct pens_session {
    pens_model *model;
    uint32_t threads;
    pens_pool *pool;
    pens_executor executor;
    void *host;
    uint8_t *arena;
    uint64_t arena_bytes;
    pens_kernel_context *contexts; /* one per task */
    void **buffers;
    program all, picked;
    const program *active; /* one of these */
    uint8_t **spare;       /* by output: what to write to where it is not chosen, but written */
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
    for (uint32_t i = 0; i < session->all.step_count; i++) {
        const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + i);
        step *s = &session->all.steps[i];
        s->command = i;
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
        uint32_t buffers = (uint32_t)c->read_count + c->write_count;
        s->guards = s->buffers + buffers;
        s->guard_count = c->guard_count;
        s->guard_senses = c->guard_senses;
        for (uint32_t a = 0; a < buffers + c->guard_count; a++, slot++) {
            const plan_argument *argument = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument + a);
            if (argument->space == SPACE_ARENA || argument->space == SPACE_WEIGHTS) {
                session->buffers[slot] = base_of(session, argument);
                continue;
            }
            uint32_t index = argument->index + (argument->space == SPACE_OUTPUT ? model->header->input_count : 0);
            session->all.patches[session->all.patch_count++] = (patch){slot, index, argument->offset};
        }
    }
}

static int allocate_program(program *p, uint32_t commands, uint64_t slots)
{
    p->steps = calloc(commands + 1u, sizeof *p->steps);
    p->patches = calloc(slots + 1, sizeof *p->patches);
    return p->steps != NULL && p->patches != NULL;
}

static void free_program(program *p)
{
    free(p->steps);
    free(p->patches);
}

static int allocate(pens_session *session)
{
    const pens_model *model = session->model;
    uint64_t scratch = round_up(model->variant->scratch_bytes), arena = round_up(model->variant->arena_bytes);
    uint64_t slots = 0;
    session->all.step_count = model->variant->command_count;
    session->active = &session->all;
    for (uint32_t i = 0; i < session->all.step_count; i++) {
        const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + i);
        slots += (uint64_t)c->read_count + c->write_count + c->guard_count;
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
    session->buffers = calloc(slots + 1, sizeof *session->buffers);
    session->contexts = calloc(session->threads, sizeof *session->contexts);
    session->spare = calloc(model->header->output_count + 1u, sizeof *session->spare);
    if (!session->buffers || !session->contexts || !session->spare ||
        !allocate_program(&session->all, session->all.step_count, slots))
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
    free_program(&session->all);
    free_program(&session->picked);
    for (uint32_t i = 0; session->spare != NULL && i < session->model->header->output_count; i++)
        free(session->spare[i]);
    free(session->spare);
    free(session->buffers);
    free(session->contexts);
    free(session);
}

uint32_t pens_session_threads(const pens_session *session)
{
    return session->threads;
}

/* Whether command `number` computes something for one of the outputs. */
static int needed(const pens_model *model, const uint32_t *outputs, uint32_t count, uint32_t number)
{
    uint64_t words = PENS_NEED_WORDS(model->variant);
    for (uint32_t i = 0; i < count; i++)
        if (PENS_ROW(model, plan_need, TABLE_NEEDS, outputs[i] * words + number / 64)->commands >> (number % 64) & 1)
            return 1;
    return 0;
}

static int contains(const uint32_t *outputs, uint32_t count, uint32_t index)
{
    for (uint32_t i = 0; i < count; i++)
        if (outputs[i] == index)
            return 1;
    return 0;
}

/* Memory for an output that commands write although it is not chosen; NULL if there is none. */
static uint8_t *spare_output(pens_session *session, uint32_t output)
{
    if (session->spare[output] == NULL) {
        uint64_t bytes = session->model->tensors[session->model->header->input_count + output].bytes;
        session->spare[output] = bytes < SIZE_MAX / 2 ? aligned_alloc(64, round_up(bytes + 1)) : NULL;
    }
    return session->spare[output];
}

/* Put the commands that the outputs need, and the pointers they take from a run, into `picked`. */
static int pick(pens_session *session, const uint32_t *outputs, uint32_t count)
{
    const program *all = &session->all;
    program *picked = &session->picked;
    uint32_t inputs = session->model->header->input_count, p = 0;
    if (picked->steps == NULL && !allocate_program(picked, all->step_count, all->patch_count)) {
        free_program(picked);
        *picked = (program){0};
        return 0;
    }
    picked->step_count = picked->patch_count = 0;
    for (uint32_t i = 0; i < all->step_count; i++) {
        const int last = i + 1 == all->step_count, chosen = needed(session->model, outputs, count, i);
        if (chosen)
            picked->steps[picked->step_count++] = all->steps[i];
        for (; p < all->patch_count && (last || session->buffers + all->patches[p].slot < all->steps[i + 1].buffers); p++) {
            const patch *from = &all->patches[p];
            if (!chosen)
                continue;
            if (from->index < inputs || contains(outputs, count, from->index - inputs)) {
                picked->patches[picked->patch_count++] = *from;
                continue;
            }
            uint8_t *memory = spare_output(session, from->index - inputs);
            if (memory == NULL)
                return 0;
            session->buffers[from->slot] = memory + from->offset;
        }
    }
    return 1;
}

pens_status pens_session_select(pens_session *session, const uint32_t *outputs, uint32_t count, pens_error *error)
{
    if (session == NULL)
        return pens_fail(error, PENS_INVALID_ARGUMENT, "Choosing outputs needs a session.");
    if (atomic_flag_test_and_set_explicit(&session->busy, memory_order_acquire))
        return pens_fail(error, PENS_SESSION_BUSY, "The session is already running in another thread.");
    pens_status status = PENS_OK;
    session->active = &session->all;
    for (uint32_t i = 0; outputs != NULL && i < count; i++)
        if (outputs[i] >= session->model->header->output_count)
            status = pens_fail(error, PENS_INVALID_ARGUMENT, "There is no output %u: the model has %u.", outputs[i],
                               session->model->header->output_count);
    if (status == PENS_OK && outputs != NULL && !pick(session, outputs, count))
        status = pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the outputs not chosen do not fit.");
    else if (status == PENS_OK && outputs != NULL)
        session->active = &session->picked;
    atomic_flag_clear_explicit(&session->busy, memory_order_release);
    return status;
}

int pens_session_reads(const pens_session *session, uint32_t index)
{
    for (uint32_t i = 0; i < session->active->patch_count; i++)
        if (session->active->patches[i].index == index && index < session->model->header->input_count)
            return 1;
    return 0;
}

uint32_t pens_session_commands(const pens_session *session)
{
    return session->active->step_count;
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

/* Whether a boolean says that nobody will read what the step computes. */
static int left_out(const step *s)
{
    for (uint32_t i = 0; i < s->guard_count; i++)
        if ((*(const uint8_t *)s->guards[i] != 0) != (s->guard_senses >> i & 1))
            return 1;
    return 0;
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
    for (uint32_t i = 0; i < session->active->patch_count; i++) {
        const patch *p = &session->active->patches[i];
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

static void describe(const pens_session *session, const step *s, pens_record *record)
{
    const pens_model *model = session->model;
    const char *strings = (const char *)model->tables[TABLE_STRINGS].data;
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + s->command);
    const plan_kernel *k = PENS_ROW(model, plan_kernel, TABLE_KERNELS, model->variant->first_kernel + c->kernel);
    *record = (pens_record){
        .source = strings + c->source_offset,
        .kernel = c->kind == COMMAND_DISPATCH ? strings + k->name_offset : "",
        .flops = c->flops,
        .bytes = c->bytes,
        .threads = s->tasks,
    };
}

static pens_status run(pens_session *session, const void *const *inputs, void *const *outputs, pens_record *records,
                       pens_error *error)
{
    pens_status status = bind(session, inputs, outputs, error);
    uint64_t start = records != NULL ? now_ns() : 0;
    const program *active = session->active;
    for (uint32_t i = 0; status == PENS_OK && i < active->step_count; i++) {
        const int skip = left_out(&active->steps[i]);
        if (records == NULL) {
            if (!skip)
                status = run_step(session, &active->steps[i], error);
            continue;
        }
        describe(session, &active->steps[i], &records[i]);
        records[i].start_ns = records[i].end_ns = now_ns() - start;
        if (skip)
            continue;
        status = run_step(session, &active->steps[i], error);
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
