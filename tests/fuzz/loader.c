/* Damaged artifacts, loaded: `loader RUNS SEED FILE...`. Build it with the runtime's sources under ASan and UBSan.
 *
 * A run changes a few bytes of an artifact, most often in a plan, mends the checksums so that the damage reaches the
 * code behind them, loads the result from a block of just its size, and makes a session of it if the loader accepts it.
 * A model with symbols is given sizes, directly and as shapes, and one that counts is told numbers, as if kernels had
 * found them; what it then takes for its memory must be its memory.
 * Runs are made with memory of just the sizes that the session asks for. In place of every kernel stands one that reads
 * and writes both ends of all it is given: machine code is trusted, what the plan says of memory is not. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { END = 22, COMMENT = 16, ENTRY = 46, LARGEST_ARENA = 1 << 26, MOST_PLANS = 4 };

typedef struct { /* a member of the archive: plan.bin or plan-<n>.bin */
    uint64_t at, bytes, entry;
} member;

typedef struct {
    uint8_t *data;
    uint64_t bytes, directory;
    member plans[MOST_PLANS];
    uint32_t plan_count;
} artifact;

static uint64_t state;

static uint64_t next(void)
{ /* xorshift64*: Vigna 2016 */
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return state * 2685821657736338717u;
}

static uint64_t below(uint64_t count)
{
    return count ? next() % count : 0;
}

static uint32_t get(const uint8_t *p, int bytes)
{
    uint32_t value = 0;
    while (bytes-- > 0)
        value = value << 8 | p[bytes];
    return value;
}

static void put(uint8_t *p, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++, value >>= 8)
        p[i] = (uint8_t)value;
}

static artifact read_artifact(const char *path)
{
    artifact a = {0};
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        exit(2);
    a.bytes = (uint64_t)ftell(file);
    a.data = malloc(a.bytes);
    rewind(file);
    if (a.data == NULL || fread(a.data, 1, a.bytes, file) != a.bytes)
        exit(2);
    fclose(file);
    a.directory = get(a.data + a.bytes - END - COMMENT + 16, 4);
    for (uint64_t at = a.directory; get(a.data + at, 4) == 0x02014b50;) {
        uint32_t name = get(a.data + at + 28, 2);
        if (name >= 8 && memcmp(a.data + at + ENTRY, "plan", 4) == 0 && a.plan_count < MOST_PLANS) {
            uint64_t local = get(a.data + at + 42, 4);
            uint64_t begin = local + 30 + get(a.data + local + 26, 2) + get(a.data + local + 28, 2);
            a.plans[a.plan_count++] = (member){begin, get(a.data + at + 24, 4), at};
        }
        at += ENTRY + name + get(a.data + at + 30, 2) + get(a.data + at + 32, 2);
    }
    if (a.plan_count == 0)
        exit(2);
    return a;
}

static const uint64_t SPECIAL[] = {0, 1, 2, 7, 8, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000,
                                   0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF};

static void change(const artifact *a, uint8_t *data, uint64_t bytes)
{
    uint64_t begin = 0, span = bytes, kind = below(100);
    const member *plan = &a->plans[below(a->plan_count)];
    if (kind < 75)
        begin = plan->at, span = plan->bytes;
    else if (kind < 90)
        begin = a->directory, span = a->bytes - a->directory;
    if (begin + span > bytes)
        return;
    int width = 1 << below(4);
    uint64_t at = begin + below(span) / (uint64_t)width * (uint64_t)width;
    if (at + (uint64_t)width > bytes)
        return;
    switch (below(4)) {
    case 0:
        data[at] ^= (uint8_t)(1 << below(8));
        break;
    case 1:
        put(data + at, SPECIAL[below(sizeof SPECIAL / sizeof *SPECIAL)], width);
        break;
    case 2:
        put(data + at, next() >> below(64), width);
        break;
    default:
        memmove(data + at, data + begin + below(span - (uint64_t)width + 1), (size_t)width);
    }
}

static void mend_checksums(const artifact *a, uint8_t *data, uint64_t bytes)
{
    if (bytes != a->bytes)
        return;
    for (const member *plan = a->plans; plan < a->plans + a->plan_count; plan++)
        put(data + plan->entry + 16, pens_crc32(data + plan->at, plan->bytes), 4);
    uint64_t end = bytes - END - COMMENT;
    uint32_t start = get(data + end + 16, 4), length = get(data + end + 12, 4);
    if (start <= bytes && length <= bytes - start)
        put(data + bytes - 4, pens_crc32(data + start, length), 4);
}

static int64_t random_size(int64_t low, int64_t high)
{
    uint64_t span = (uint64_t)high - (uint64_t)low;
    switch (below(4)) {
    case 0:
        return low + (int64_t)below(span < 8 ? span + 1 : 8);
    case 1:
        return low + (int64_t)below(span < 5000 ? span + 1 : 5000);
    case 2:
        return high - (int64_t)below(span < 8 ? span + 1 : 8);
    default:
        return (int64_t)SPECIAL[below(sizeof SPECIAL / sizeof *SPECIAL)];
    }
}

/* Every argument of every command lies in the space it names. */
static int is_sound(const pens_session *session)
{
    const pens_model *model = session->model;
    uintptr_t first = (uintptr_t)session->arena, end = first + session->arena_bytes, weights = (uintptr_t)model->weights;
    const pens_program *active = session->active;
    if (active->step_count != pens_session_commands(session))
        return 0;
    for (uint32_t i = 0; i < active->step_count; i++) {
        const pens_step *s = &active->steps[i];
        const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + s->command);
        if (session->levels != NULL && session->levels[s->command] > session->known)
            continue; /* what it depends on has not been counted yet */
        if (s->units < 0 || s->tasks > session->threads)
            return 0;
        for (uint32_t a = 0; a < PENS_ARGUMENTS(c); a++) {
            const plan_argument *argument = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument + a);
            uintptr_t address = (uintptr_t)s->buffers[a], last = address + pens_value(session, argument->bytes);
            uintptr_t sizes = (uintptr_t)session->size_memory;
            if ((argument->space == SPACE_ARENA || argument->space == SPACE_BUFFER) && (address < first || last > end))
                return 0;
            if (argument->space == SPACE_OUTPUT && argument->index < pens_outputs(model) && active != &session->all && !session->chosen[argument->index]) {
                uintptr_t spare = (uintptr_t)session->spare[argument->index].memory;
                if (address < spare || last > spare + session->spare[argument->index].bytes)
                    return 0;
            }
            uintptr_t kept = (uintptr_t)session->kept;
            if ((argument->space == SPACE_INPUT || argument->space == SPACE_OUTPUT) && !pens_is_callers(model, argument) &&
                (address < kept || last > kept + session->kept_bytes))
                return 0;
            if (argument->space == SPACE_WEIGHTS && (address < weights || last > weights + model->header->weights_bytes))
                return 0;
            if (argument->space == SPACE_SIZES && (address < sizes || last > sizes + 8 * model->counts[TABLE_SIZES]))
                return 0;
        }
    }
    for (uint32_t i = 0; i < active->patch_count; i++) {
        uint32_t index = active->patches[i].index, inputs = model->header->input_count;
        uint64_t room = index < inputs ? session->tensors[index].bytes : pens_session_output_room(session, index - inputs);
        if (active->patches[i].offset > room)
            return 0;
    }
    for (uint32_t i = 0; i < session->threads; i++) {
        uintptr_t scratch = (uintptr_t)session->contexts[i].scratch;
        if (scratch < first || scratch + session->contexts[i].scratch_bytes > end)
            return 0;
    }
    return 1;
}

/* Choose one output, or all; 0 if that fails for want of memory. */
static int try_choosing(pens_session *session, uint32_t outputs)
{
    pens_error error;
    const uint32_t one = outputs > 0 ? below(outputs) : 0;
    if (outputs == 0 || below(4) == 0)
        return pens_session_select(session, NULL, 0, &error) == PENS_OK;
    (void)pens_session_reads(session, 0);
    return pens_session_select(session, &one, 1, &error) == PENS_OK;
}

/* Is all that a step reads and writes in the arena? */
static int is_own(const pens_session *session, const pens_step *s)
{
    const pens_model *model = session->model;
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + s->command);
    const plan_argument *a = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
    for (uint32_t i = 0; i < PENS_ARGUMENTS(c); i++)
        if (a[i].space != SPACE_ARENA && a[i].space != SPACE_BUFFER)
            return 0;
    return session->levels == NULL || session->levels[s->command] <= session->known;
}

/* Turn every loop, without the commands in it: what moves stays where it may be. */
static int try_rounds(pens_session *session, const pens_model *model)
{
    pens_error error = {PENS_OK, ""};
    const void **from = calloc(pens_input_count(model) + 1u, sizeof *from);
    void **to = calloc(pens_output_count(model) + 1u, sizeof *to);
    int sound = 1;
    for (uint32_t i = 0; sound && session->arena_bytes < LARGEST_ARENA && i < session->active->step_count; i++) {
        const pens_step *s = &session->active->steps[i], *next = s + s->jump;
        if (s->loop != COMMAND_LOOP || !is_own(session, s) || !is_own(session, next))
            continue;
        int64_t trips = below(6);
        uint32_t at = i;
        memcpy(s->buffers[0], &trips, sizeof trips);
        *(uint8_t *)s->buffers[1] = 1;
        pens_status status = pens_loop(session, s, 0, &at, from, to, &error);
        while (status == PENS_OK && at == i && sound) {
            at = i + s->jump;
            *(uint8_t *)next->buffers[0] = below(8) > 0;
            status = pens_loop(session, next, 0, &at, from, to, &error);
            sound = is_sound(session);
        }
    }
    free(from);
    free(to);
    return sound;
}

enum { LARGEST_OUTPUT = 1 << 16 };

static const pens_session *running;
static int broken;

/* Stands for a kernel: reads and writes the first and last bytes of its arguments, under the sizes of the run. */
static void touch(const pens_kernel_context *context, void *const *buffers, int64_t begin, int64_t end)
{
    const pens_model *model = running->model;
    const pens_step *s = running->active->steps, *last = s + running->active->step_count;
    while (s < last && s->buffers != buffers)
        s++;
    if (s == last || begin < 0 || begin > end || end > s->units) {
        broken = 1;
        return;
    }
    if (context->scratch_bytes > 0)
        ((volatile uint8_t *)context->scratch)[0] = ((volatile uint8_t *)context->scratch)[context->scratch_bytes - 1] = 1;
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + s->command);
    for (uint32_t a = 0; a < PENS_ARGUMENTS(c); a++) {
        const plan_argument *argument = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument + a);
        if (model->counts[TABLE_COUNTED] > 0 && pens_level(model, argument->bytes) > running->known)
            continue; /* how much a kernel writes may be counted later */
        uint64_t bytes = pens_value(running, argument->bytes), count = below(40);
        volatile uint8_t *memory = buffers[a];
        if (bytes == 0)
            continue;
        if (a < c->read_count || a >= (uint32_t)c->read_count + c->write_count) {
            (void)(memory[0] + memory[bytes - 1]);
            continue;
        }
        broken |= argument->space == SPACE_INPUT || argument->space == SPACE_WEIGHTS || argument->space == SPACE_SIZES;
        memory[bytes - 1] = (uint8_t)below(2);
        if (bytes >= sizeof count)
            memcpy(buffers[a], &count, sizeof count);
    }
}

static void take_kernels(const pens_program *program)
{
    for (uint32_t i = 0; i < program->step_count; i++)
        if (program->steps[i].kernel != NULL)
            program->steps[i].kernel = touch;
}

/* One run, on memory of the sizes that the session says; tensors that it says it does not need are not given. */
static int try_running(pens_session *session, const pens_model *model)
{
    pens_error error = {PENS_OK, ""};
    uint32_t inputs = pens_input_count(model), outputs = pens_output_count(model);
    void **memory = calloc(inputs + outputs + 1u, sizeof *memory);
    pens_record *records = below(4) ? NULL : calloc(pens_session_commands(session) + 1u, sizeof *records);
    int fits = session->arena_bytes < LARGEST_ARENA, sound = 1;
    for (uint32_t i = 0; i < inputs + outputs; i++) {
        uint64_t bytes = i < inputs ? pens_session_input(session, i).bytes : pens_session_output_room(session, i - inputs);
        int needed = i < inputs ? pens_session_reads(session, i)
                                : session->active == &session->all || session->chosen[i - inputs];
        fits &= bytes < LARGEST_OUTPUT;
        if (fits && needed)
            memory[i] = memset(malloc(bytes ? bytes : 1), (int)below(2), bytes);
    }
    for (uint32_t i = 0; i < session->active->step_count; i++)
        fits &= !session->active->steps[i].loop; /* how often is up to the memory: see try_rounds */
    if (fits) {
        running = session;
        broken = 0;
        take_kernels(&session->all);
        take_kernels(session->active);
        pens_status status = pens_run_profiled(session, (const void **)memory, memory + inputs, records, &error);
        sound = !broken && (status == PENS_OK || error.message[0] != 0);
    }
    for (uint32_t i = 0; i < inputs + outputs; i++)
        free(memory[i]);
    free(memory);
    free(records);
    return sound;
}

/* Go from bind to bind with numbers of all sorts, on memory of the size that the session says. */
static int try_counts(pens_session *session, const pens_model *model)
{
    pens_error error = {PENS_OK, ""};
    uint32_t inputs = pens_input_count(model), outputs = pens_output_count(model);
    if (pens_counted_count(model) == 0)
        return 1;
    const void **from = calloc(inputs + 1u, sizeof *from);
    void **to = calloc(outputs + 1u, sizeof *to);
    int sound = 1, fits = session->arena_bytes < LARGEST_ARENA;
    for (uint32_t i = 0; i < outputs; i++) {
        uint64_t room = pens_session_output_room(session, i);
        to[i] = malloc(room < LARGEST_OUTPUT ? room + 1 : 1);
        fits &= room < LARGEST_OUTPUT;
    }
    for (int round = 0; fits && sound && round < 3; round++) {
        pens_status status = PENS_OK;
        pens_forget_counts(session);
        for (uint32_t i = 0; i < session->active->patch_count; i++) {
            const pens_patch *p = &session->active->patches[i];
            if (p->index >= inputs)
                session->buffers[p->slot] = (uint8_t *)to[p->index - inputs] + p->offset;
        }
        for (uint32_t i = 0; sound && status == PENS_OK && i < session->active->step_count; i++) {
            if (!session->active->steps[i].bind)
                continue;
            int64_t count = random_size(0, below(4) ? 12 : INT64_MAX);
            memcpy(session->active->steps[i].buffers[0], &count, sizeof count);
            error.message[0] = 0;
            status = pens_bind(session, &session->active->steps[i], from, to, &error);
            sound = status == PENS_OK ? is_sound(session) : error.message[0] != 0;
        }
        if (status == PENS_OK)
            pens_describe_tensors(session);
        pens_forget_counts(session); /* what was prepared is of this choice of outputs */
    }
    for (uint32_t i = 0; i < outputs; i++)
        free(to[i]);
    free(from);
    free(to);
    return sound;
}

/* The part of a session that the sizes have chosen. */
static int try_part(pens_session *part)
{
    return part->ready && is_sound(part) && try_running(part, part->model) && try_counts(part, part->model) &&
           try_rounds(part, part->model);
}

static int try_sizes(pens_session *session, const pens_model *model)
{
    pens_error error = {PENS_OK, ""};
    uint32_t symbols = pens_symbol_count(model), inputs = pens_input_count(model);
    int64_t *sizes = calloc(symbols + 1u, sizeof *sizes), (*extents)[64] = calloc(inputs + 1u, sizeof *extents);
    const int64_t **shapes = calloc(inputs + 1u, sizeof *shapes);
    int sound = 1;
    for (int round = 0; sound && round < 6; round++) {
        for (uint32_t i = 0; i < symbols; i++)
            sizes[i] = random_size(pens_symbol_info(model, i).low, pens_symbol_info(model, i).high);
        for (uint32_t i = 0; i < inputs; i++) {
            pens_tensor tensor = round > 2 && pens_session_sizes(session) ? pens_session_input(session, i) : pens_input(model, i);
            for (uint32_t axis = 0; axis < tensor.rank; axis++)
                extents[i][axis] = tensor.shape[axis] < 0 || below(20) == 0 ? random_size(0, 40) : tensor.shape[axis];
            shapes[i] = extents[i];
        }
        if (below(2))
            sound = !try_choosing(session, pens_output_count(model)) || !session->runs->ready ||
                    is_sound(session->runs);
        if (pens_length_symbol(model) != UINT32_MAX && below(3) == 0)
            (void)pens_session_reset(session, (int64_t)below(6), &error);
        error.message[0] = 0;
        pens_status status = round % 2 ? pens_session_set_shapes(session, shapes, &error)
                                       : pens_session_set_sizes(session, sizes, &error);
        sound = sound && (status == PENS_OK ? try_part(session->runs) : error.message[0] != 0);
    }
    free(sizes);
    free(extents);
    free(shapes);
    return sound;
}

static int try_loading(const uint8_t *data, uint64_t bytes)
{
    pens_error error;
    pens_model *model;
    if (pens_load_memory(data, bytes, NULL, &model, &error) != PENS_OK)
        return error.message[0] == 0;
    uint64_t weights, arena, scratch, sum = 0;
    size_t manifest;
    pens_memory(model, &weights, &arena, &scratch);
    sum += pens_manifest(model, &manifest) != NULL;
    for (uint32_t i = 0; i < pens_input_count(model); i++)
        sum += strlen(pens_input(model, i).name) + (uint64_t)pens_input(model, i).rank;
    for (uint32_t i = 0; i < pens_output_count(model); i++)
        sum += strlen(pens_output(model, i).name) + (uint64_t)pens_output(model, i).bytes;
    pens_session *session = NULL;
    pens_session_options options = {.threads = 1};
    uint32_t outputs = pens_output_count(model);
    uint64_t largest = arena > scratch ? arena : scratch;
    for (uint32_t i = 0; i < outputs; i++)
        largest = pens_output(model, i).bytes > largest ? pens_output(model, i).bytes : largest;
    int symbolic = pens_symbol_count(model) > 0, sound = 1;
    if ((symbolic || largest < LARGEST_ARENA) && pens_session_create(model, &options, &session, &error) == PENS_OK) {
        sound = symbolic ? try_sizes(session, model) : is_sound(session) && try_running(session, model) && try_counts(session, model) &&
                    try_rounds(session, model);
        if (sound && !symbolic && try_choosing(session, outputs))
            sound = is_sound(session) && try_running(session, model) && try_counts(session, model) &&
                    try_rounds(session, model);
        pens_session_destroy(session);
    }
    pens_unload(model);
    return sum == UINT64_MAX || !sound;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    uint64_t runs = strtoull(argv[1], NULL, 10), accepted = 0;
    int count = argc - 3;
    artifact *corpus = calloc((size_t)count, sizeof *corpus);
    for (int i = 0; i < count; i++)
        corpus[i] = read_artifact(argv[3 + i]);
    for (uint64_t run = 0; run < runs; run++) {
        state = (strtoull(argv[2], NULL, 10) + run) * 0x9E3779B97F4A7C15u | 1;
        const artifact *a = &corpus[below((uint64_t)count)];
        uint64_t bytes = below(20) == 0 ? below(a->bytes + 1) : a->bytes;
        uint8_t *data = malloc(bytes ? bytes : 1);
        memcpy(data, a->data, bytes);
        for (uint64_t i = below(4) + 1; i > 0; i--)
            change(a, data, bytes);
        if (below(20) != 0)
            mend_checksums(a, data, bytes);
        if (try_loading(data, bytes) != 0) {
            fprintf(stderr, "run %llu was refused without a sentence, or accepted and unsound\n", (unsigned long long)run);
            return 1;
        }
        accepted++;
        free(data);
    }
    for (int i = 0; i < count; i++)
        free(corpus[i].data);
    free(corpus);
    printf("%llu runs\n", (unsigned long long)accepted);
    return 0;
}
