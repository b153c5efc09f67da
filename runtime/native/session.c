/* Running: commands in order; each dispatch is cut into contiguous ranges of its parallel units.
 *
 * Own threads decide which chunks of the ranges they run while they run (share.c); a host's tasks are one range each.
 * All that can be computed before a run is: a session holds, for every command, its kernel and an array of buffer
 * pointers, in which a run only fills in the inputs and outputs. */
#define _GNU_SOURCE
#include "session.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Work of a kernel that is worth waking threads for, some 40 microseconds; units that take long by themselves do not show
 * in the first. */
enum { LARGE_GRAINS = 8, LARGE_FLOPS = 2000000 };

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* How many ranges are worth it: at least `grain` units in each. */
static uint32_t task_count(int64_t units, int64_t grain, uint32_t threads)
{
    int64_t most = units / grain;
    return most < 2 ? 1 : most < threads ? (uint32_t)most : threads;
}

const char *pens_source(const pens_model *model, uint32_t number)
{
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + number);
    return pens_text(model, c->source_offset, c->source_bytes);
}

void *pens_address(const pens_session *session, const plan_argument *argument)
{
    uintptr_t base = (uintptr_t)session->arena;
    if (argument->space == SPACE_WEIGHTS)
        base = (uintptr_t)session->model->weights;
    else if (argument->space == SPACE_SIZES)
        base = (uintptr_t)session->size_memory;
    else if (argument->space == SPACE_INPUT || argument->space == SPACE_OUTPUT)
        base = (uintptr_t)pens_kept(session, argument);
    else if (argument->space == SPACE_BUFFER)
        base += session->placements[argument->index].offset;
    return (void *)(base + pens_value(session, argument->offset) + pens_shift(session, argument));
}

void pens_prepare_step(pens_session *session, pens_step *s)
{
    const pens_model *model = session->model;
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + s->command);
    s->units = (int64_t)pens_value(session, c->units);
    s->tasks = task_count(s->units, c->grain, session->threads);
    s->team = c->team;
    s->large = s->tasks > 1 && (s->units / c->grain >= LARGE_GRAINS || pens_value(session, c->flops) >= LARGE_FLOPS);
    if (s->tasks > 1)
        s->shares = pens_cut(s->units, c->grain, s->tasks);
    if (c->kind == COMMAND_COPY)
        s->copy_bytes = pens_value(session, PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument)->bytes);
    for (uint32_t a = 0; a < PENS_ARGUMENTS(c); a++) {
        const plan_argument *argument = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument + a);
        if (!pens_is_callers(model, argument))
            s->buffers[a] = pens_address(session, argument);
    }
}

/* Everything about commands that can be known before a run; the arena is in place, `arena` bytes of values and then
 * `scratch` for each thread. */
void pens_prepare_steps(pens_session *session, uint64_t arena, uint64_t scratch)
{
    const pens_model *model = session->model;
    uint32_t slot = 0, bound = 0;
    session->all.patch_count = 0;
    for (uint32_t i = 0; i < session->threads; i++)
        session->contexts[i] = (pens_kernel_context){.scratch = session->arena + round_up(arena) + i * round_up(scratch),
                                                     .scratch_bytes = round_up(scratch),
                                                     .thread = i,
                                                     .shared = session->arena + round_up(arena),
                                                     .take = pens_take_unit,
                                                     .team = session->team};
    for (uint32_t i = 0; i < session->all.step_count; i++) {
        const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + i);
        pens_step *s = &session->all.steps[i];
        s->command = i;
        s->buffers = session->buffers + slot;
        if (c->kind == COMMAND_DISPATCH) {
            const plan_kernel *k = PENS_ROW(model, plan_kernel, TABLE_KERNELS, model->variant->first_kernel + c->kernel);
            s->kernel = (pens_kernel)(uintptr_t)(model->image + k->entry);
        } else if (c->kind == COMMAND_CHECK) {
            s->message = (const char *)model->tables[TABLE_STRINGS].data + c->message_offset;
        } else if (c->kind == COMMAND_BIND) {
            s->bind = 1;
            int tells = bound < model->counts[TABLE_COUNTED] &&
                        pens_told_symbol(model, c->units) == pens_free_symbols(model) + bound;
            s->binds = tells ? ++bound : 0;
        } else if (c->kind == COMMAND_LOOP || c->kind == COMMAND_NEXT) {
            pens_prepare_loop(session, s, c);
        }
        pens_prepare_step(session, s);
        s->guards = s->buffers + c->read_count + c->write_count;
        s->guard_count = c->guard_count;
        s->guard_senses = c->guard_senses;
        for (uint32_t a = 0; a < PENS_ARGUMENTS(c); a++, slot++) {
            const plan_argument *argument = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument + a);
            if (!pens_is_callers(model, argument))
                continue;
            uint32_t index = argument->index + (argument->space == SPACE_OUTPUT ? model->header->input_count : 0);
            int known = pens_level(model, argument->offset) == 0; /* else a bind fills in the pointer */
            session->all.patches[session->all.patch_count++] =
                (pens_patch){slot, index, known ? pens_value(session, argument->offset) : 0};
        }
    }
    for (uint32_t i = session->all.step_count; i-- > 1;) /* threads are awake when they are wanted if woken before */
        session->all.steps[i - 1].large |= session->all.steps[i].large;
    pens_pick(session);
}

uint8_t *pens_map(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

/* Room for `arena` bytes and `scratch` for each thread; 0 if there is none, and what was there is kept. What grows is
 * made larger than asked: sizes that go up step by step would else map memory anew in every step. */
int pens_reserve(pens_session *session, uint64_t arena, uint64_t scratch)
{
    uint64_t bytes;
    if (scratch > PENS_MOST_BYTES || arena > PENS_MOST_BYTES ||
        __builtin_mul_overflow(round_up(scratch), (uint64_t)session->threads, &bytes) || bytes > PENS_MOST_BYTES)
        return 0;
    bytes += round_up(arena) + 64;
    if (session->arena != NULL && bytes <= session->arena_bytes)
        return 1;
    uint64_t ample = session->arena_bytes + session->arena_bytes / 2;
    ample = ample > bytes ? ample : bytes;
    uint8_t *memory = pens_map(ample);
    if (memory == NULL && ample > bytes) {
        ample = bytes;
        memory = pens_map(ample);
    }
    if (memory == NULL)
        return 0;
    if (session->arena != NULL)
        munmap(session->arena, session->arena_bytes);
    session->arena = memory;
    session->arena_bytes = ample;
    return 1;
}

static int allocate(pens_session *session)
{
    const pens_model *model = session->model;
    uint64_t slots = 0;
    session->all.step_count = model->variant->command_count;
    session->active = &session->all;
    for (uint32_t i = 0; i < session->all.step_count; i++) {
        const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + i);
        slots += (uint64_t)c->read_count + c->write_count + c->guard_count;
    }
    session->buffers = calloc(slots + 1, sizeof *session->buffers);
    session->contexts = aligned_alloc(_Alignof(pens_kernel_context), session->threads * sizeof *session->contexts);
    session->team = aligned_alloc(_Alignof(pens_team), sizeof *session->team);
    if (!session->buffers || !session->contexts || !session->team || !pens_allocate_selection(session, slots) ||
        !pens_allocate_states(session) || !pens_allocate_sizes(session) || !pens_allocate_loops(session) ||
        !pens_allocate_parts(session))
        return 0;
    if (model->counts[TABLE_SYMBOLS] > 0)
        return 1;
    uint64_t arena = (uint64_t)model->variant->arena_bytes, scratch = (uint64_t)model->variant->scratch_bytes;
    if (!pens_reserve(session, arena, scratch))
        return 0;
    pens_prepare_steps(session, arena, scratch);
    return 1;
}

pens_status pens_new_session(pens_model *model, const pens_session_options *options, pens_session **result,
                             pens_error *error)
{
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
        return pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the session's %lld bytes do not fit.",
                         (long long)(model->variant->arena_bytes < 0 ? 0 : model->variant->arena_bytes));
    }
    pens_status status = pens_start_sizes(session, error);
    if (status != PENS_OK) {
        pens_session_destroy(session);
        return status;
    }
    *result = session;
    return PENS_OK;
}

pens_status pens_session_create(pens_model *model, const pens_session_options *options, pens_session **result,
                                pens_error *error)
{
    *result = NULL;
    if (model == NULL)
        return pens_fail(error, PENS_INVALID_ARGUMENT, "A session needs a model.");
    pens_session *session;
    pens_status status = pens_new_session(model, options, &session, error);
    if (status != PENS_OK)
        return status;
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
    pens_free_parts(session);
    pens_pool_destroy(session->pool);
    if (session->arena != NULL)
        munmap(session->arena, session->arena_bytes);
    pens_free_selection(session);
    free(session->buffers);
    free(session->contexts);
    free(session->team);
    pens_free_states(session);
    pens_free_sizes(session);
    pens_free_loops(session);
    free(session);
}

uint32_t pens_session_threads(const pens_session *session)
{
    return session->threads;
}

uint64_t pens_session_memory(const pens_session *session)
{
    uint64_t bytes = session->arena_bytes + pens_spare_bytes(session) + session->kept_bytes;
    for (uint32_t i = 0; session->parts != NULL && i < session->model->counts[TABLE_SPECIALS]; i++)
        if (session->parts[i] != NULL)
            bytes += pens_session_memory(session->parts[i]);
    return bytes;
}

/* A task of the session's own threads: it runs what is left of the kernel. */
static void run_part(void *context, uint32_t index)
{
    pens_session *session = context;
    const pens_step *s = session->current;
    if (s->team)
        pens_join_team(&session->contexts[index], s->kernel, s->buffers);
    else
        pens_run_shares(&s->shares, session->contexts, s->tasks, index, session->jobs, s->kernel, s->buffers);
}

/* A task of the host's: it runs its range, or what a team gives it. */
static void run_range(void *context, uint32_t index)
{
    pens_session *session = context;
    const pens_step *s = session->current;
    if (s->team)
        pens_join_team(&session->contexts[index], s->kernel, s->buffers);
    else
        s->kernel(&session->contexts[index], s->buffers, pens_range_begin(&s->shares, index),
                  pens_range_begin(&s->shares, index + 1));
    atomic_fetch_add(&session->done, 1);
}

static pens_status run_parallel(pens_session *session, const pens_step *s, pens_error *error)
{
    session->current = s;
    session->jobs++;
    if (session->executor == NULL) {
        pens_pool_run(session->pool, run_part, session, s->tasks, s->large);
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
static int left_out(const pens_step *s)
{
    for (uint32_t i = 0; i < s->guard_count; i++)
        if ((*(const uint8_t *)s->guards[i] != 0) != (s->guard_senses >> i & 1))
            return 1;
    return 0;
}

static pens_status run_step(pens_session *session, const pens_step *s, pens_error *error)
{
    if (s->message != NULL)
        return *(const uint8_t *)s->buffers[0] ? PENS_OK : pens_fail(error, PENS_CHECK_FAILED, "%s.", s->message);
    if (s->kernel == NULL) {
        memmove(s->buffers[1], s->buffers[0], s->copy_bytes);
        return PENS_OK;
    }
    if (s->team)
        pens_form_team(session->contexts, s->tasks, s->units);
    if (s->tasks > 1)
        return run_parallel(session, s, error);
    s->kernel(&session->contexts[0], s->buffers, 0, s->units);
    return PENS_OK;
}

/* Fill in the pointers of this run. A tensor of no bytes may have a null pointer. */
static pens_status take_pointers(pens_session *session, const void *const *inputs, void *const *outputs, pens_error *error)
{
    uint32_t input_count = session->model->header->input_count;
    for (uint32_t i = 0; i < session->active->patch_count; i++) {
        const pens_patch *p = &session->active->patches[i];
        uintptr_t base = p->index < input_count ? (uintptr_t)inputs[p->index] : (uintptr_t)outputs[p->index - input_count];
        if (base == 0 && (p->index < input_count ? session->tensors[p->index].bytes
                                                 : pens_session_output_room(session, p->index - input_count)) != 0)
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

static void describe(const pens_session *session, const pens_step *s, pens_record *record)
{
    const pens_model *model = session->model;
    const char *strings = (const char *)model->tables[TABLE_STRINGS].data;
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + s->command);
    const plan_kernel *k = PENS_ROW(model, plan_kernel, TABLE_KERNELS, model->variant->first_kernel + c->kernel);
    int64_t flops, bytes; /* what is too large to tell is told as 0 */
    if (pens_evaluate(model, c->flops, session->sizes, &flops, NULL) != PENS_OK)
        flops = 0;
    if (pens_evaluate(model, c->bytes, session->sizes, &bytes, NULL) != PENS_OK)
        bytes = 0;
    *record = (pens_record){
        .source = strings + c->source_offset,
        .kernel = c->kind == COMMAND_DISPATCH ? strings + k->name_offset : "",
        .flops = (uint64_t)flops,
        .bytes = (uint64_t)bytes,
        .threads = s->tasks,
    };
}

/* One step: what it does, but for being left out. */
static pens_status take_step(pens_session *session, const pens_step *s, int skip, uint32_t *at,
                             const void *const *inputs, void *const *outputs, pens_error *error)
{
    if (s->loop)
        return pens_loop(session, s, skip, at, inputs, outputs, error);
    if (skip)
        return PENS_OK;
    return s->bind ? pens_bind(session, s, inputs, outputs, error) : run_step(session, s, error);
}

/* A step of a loop runs many times: its record begins when the first does, and ends later by the time of all. */
static void add_time(const pens_session *session, const pens_step *s, pens_record *record, uint64_t begun, uint64_t ended)
{
    if (record->source != NULL) {
        pens_record once;
        describe(session, s, &once);
        record->end_ns += ended - begun;
        record->flops += once.flops;
        record->bytes += once.bytes;
        return;
    }
    describe(session, s, record);
    record->start_ns = begun;
    record->end_ns = ended;
}

static pens_status run(pens_session *session, const void *const *inputs, void *const *outputs, pens_record *records,
                       pens_error *error)
{
    int counts = session->model->counts[TABLE_COUNTED] > 0;
    if (counts)
        pens_forget_counts(session);
    pens_status status = take_pointers(session, inputs, outputs, error);
    const pens_program *active = session->active;
    if (records != NULL)
        memset(records, 0, active->step_count * sizeof *records);
    uint64_t start = records != NULL ? now_ns() : 0;
    for (uint32_t i = 0; status == PENS_OK && i < active->step_count; i++) {
        const pens_step *s = &active->steps[i];
        const int skip = left_out(s);
        if (records == NULL) {
            status = take_step(session, s, skip, &i, inputs, outputs, error);
            continue;
        }
        const uint32_t number = i;
        uint64_t begun = now_ns() - start;
        status = take_step(session, s, skip, &i, inputs, outputs, error);
        add_time(session, s, &records[number], begun, skip ? begun : now_ns() - start);
    }
    for (uint32_t i = 0; records != NULL && i < active->step_count; i++)
        if (records[i].source == NULL) { /* of a loop without rounds */
            describe(session, &active->steps[i], &records[i]);
            records[i].flops = records[i].bytes = 0;
        }
    if (counts && status == PENS_OK)
        pens_describe_tensors(session);
    return status;
}

static pens_status without_sizes(const pens_session *session, pens_error *error)
{
    return pens_fail(error, PENS_NO_SIZES, "The session has no sizes yet: the model's inputs depend on %.200s.",
                     pens_symbol_name(session->model, 0));
}

pens_status pens_run_profiled(pens_session *session, const void *const *inputs, void *const *outputs,
                              pens_record *records, pens_error *error)
{
    if (session == NULL)
        return pens_fail(error, PENS_INVALID_ARGUMENT, "A run needs a session.");
    if (atomic_flag_test_and_set_explicit(&session->busy, memory_order_acquire))
        return pens_fail(error, PENS_SESSION_BUSY, "The session is already running in another thread.");
    pens_session *part = session->runs;
    pens_status status = part->ready ? pens_advance(part, error) : without_sizes(session, error);
    if (status == PENS_OK)
        status = run(part, inputs, outputs, records, error);
    if (status == PENS_OK)
        pens_grow(part);
    atomic_flag_clear_explicit(&session->busy, memory_order_release);
    return status;
}

pens_status pens_run(pens_session *session, const void *const *inputs, void *const *outputs, pens_error *error)
{
    return pens_run_profiled(session, inputs, outputs, NULL, error);
}
