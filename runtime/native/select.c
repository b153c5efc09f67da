/* Choosing outputs: a session then runs only the commands that these need.
 *
 * What is chosen is kept apart from what is prepared: commands are picked anew whenever they are prepared anew, because
 * the session was given other sizes. */
#include "session.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static void unmap(pens_spare *spare)
{
    if (spare->memory != NULL)
        munmap(spare->memory, spare->bytes);
}

static int allocate_program(pens_program *p, uint32_t commands, uint64_t slots)
{
    p->steps = calloc(commands + 1u, sizeof *p->steps);
    p->patches = calloc(slots + 1, sizeof *p->patches);
    return p->steps != NULL && p->patches != NULL;
}

static void free_program(pens_program *p)
{
    free(p->steps);
    free(p->patches);
    *p = (pens_program){0};
}

int pens_allocate_selection(pens_session *session, uint64_t slots)
{
    uint32_t outputs = session->model->header->output_count;
    session->slot_count = slots;
    session->chosen = calloc(outputs + 1u, sizeof *session->chosen);
    session->spare = calloc(outputs + 1u, sizeof *session->spare);
    return session->chosen != NULL && session->spare != NULL &&
           allocate_program(&session->all, session->all.step_count, slots);
}

void pens_free_selection(pens_session *session)
{
    free_program(&session->all);
    free_program(&session->picked);
    for (uint32_t i = 0; session->spare != NULL && i < session->model->header->output_count; i++)
        unmap(&session->spare[i]);
    free(session->spare);
    free(session->chosen);
}

static int picking(const pens_session *session)
{
    return session->active == &session->picked;
}

/* Whether a run executes command `number`: all are, or it computes something for one of the chosen outputs. A bind is
 * always: what follows may depend on the symbol. */
static int is_needed(const pens_session *session, uint32_t number)
{
    const pens_model *model = session->model;
    uint64_t words = PENS_NEED_WORDS(model->variant);
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + number);
    if (!picking(session) || c->kind == COMMAND_BIND)
        return 1;
    for (uint32_t i = 0; i < model->header->output_count; i++)
        if (session->chosen[i] &&
            PENS_ROW(model, plan_need, TABLE_NEEDS, i * words + number / 64)->commands >> (number % 64) & 1)
            return 1;
    return 0;
}

static const plan_command *command(const pens_session *session, uint32_t number)
{
    return PENS_ROW(session->model, plan_command, TABLE_COMMANDS, session->model->variant->first_command + number);
}

/* Make a spare output large enough; more than asked where it grows, as sizes may go up step by step. */
static int grow(pens_spare *spare, uint64_t bytes)
{
    if (spare->memory != NULL && bytes <= spare->bytes)
        return 1;
    uint64_t ample = spare->bytes + spare->bytes / 2;
    ample = round_up((ample > bytes ? ample : bytes) + 1);
    uint8_t *memory = bytes < PENS_MOST_BYTES ? pens_map(ample) : NULL;
    if (memory == NULL)
        return 0;
    unmap(spare);
    *spare = (pens_spare){memory, ample};
    return 1;
}

int pens_reserve_spare(pens_session *session)
{
    const pens_model *model = session->model;
    for (uint32_t i = 0; picking(session) && i < session->all.step_count; i++) {
        if (!is_needed(session, i))
            continue;
        const plan_command *c = command(session, i);
        const plan_argument *a = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
        for (const plan_argument *end = a + PENS_ARGUMENTS(c); a < end; a++) {
            if (a->space != SPACE_OUTPUT || session->chosen[a->index])
                continue;
            const plan_tensor *row = PENS_ROW(model, plan_tensor, TABLE_TENSORS, model->header->input_count + a->index);
            if (!grow(&session->spare[a->index], pens_value(session, row->room)))
                return 0;
        }
    }
    return 1;
}

void *pens_output_memory(const pens_session *session, uint32_t index, void *const *outputs)
{
    return picking(session) && !session->chosen[index] ? session->spare[index].memory : outputs[index];
}

uint64_t pens_spare_bytes(const pens_session *session)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < session->model->header->output_count; i++)
        bytes += session->spare[i].bytes;
    return bytes;
}

void pens_pick(pens_session *session)
{
    const pens_program *all = &session->all;
    pens_program *picked = &session->picked;
    uint32_t inputs = session->model->header->input_count, p = 0;
    if (!picking(session))
        return;
    picked->step_count = picked->patch_count = 0;
    for (uint32_t i = 0; i < all->step_count; i++) {
        const int last = i + 1 == all->step_count, chosen = is_needed(session, i);
        if (chosen)
            picked->steps[picked->step_count++] = all->steps[i];
        for (; p < all->patch_count && (last || session->buffers + all->patches[p].slot < all->steps[i + 1].buffers); p++) {
            const pens_patch *from = &all->patches[p];
            if (!chosen)
                continue;
            if (from->index < inputs || session->chosen[from->index - inputs])
                picked->patches[picked->patch_count++] = *from;
            else
                session->buffers[from->slot] = session->spare[from->index - inputs].memory + from->offset;
        }
    }
}

/* Choose outputs; 0 if there is no memory for those that are not. */
static int choose(pens_session *session, const uint32_t *outputs, uint32_t count)
{
    if (session->picked.steps == NULL &&
        !allocate_program(&session->picked, session->all.step_count, session->slot_count)) {
        free_program(&session->picked);
        return 0;
    }
    memset(session->chosen, 0, pens_outputs(session->model));
    memset(session->chosen + pens_outputs(session->model), 1, session->model->kept); /* what is kept always grows */
    for (uint32_t i = 0; i < count; i++)
        session->chosen[outputs[i]] = 1;
    session->active = &session->picked;
    if (!session->ready) /* picked when there are sizes */
        return 1;
    if (!pens_reserve_spare(session)) {
        session->active = &session->all;
        return 0;
    }
    pens_pick(session);
    return 1;
}

static pens_status select_outputs(pens_session *session, const uint32_t *outputs, uint32_t count, pens_error *error)
{
    pens_status status = PENS_OK;
    session->active = &session->all;
    for (uint32_t i = 0; outputs != NULL && i < count; i++)
        if (outputs[i] >= pens_outputs(session->model))
            status = pens_fail(error, PENS_INVALID_ARGUMENT, "There is no output %u: the model has %u.", outputs[i],
                               pens_outputs(session->model));
    if (status == PENS_OK && outputs != NULL && !choose(session, outputs, count))
        status = pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the outputs not chosen do not fit.");
    for (uint32_t i = 0; session->parts != NULL && i < session->model->counts[TABLE_SPECIALS]; i++)
        if (status == PENS_OK && session->parts[i] != NULL)
            status = select_outputs(session->parts[i], outputs, count, error);
    return status;
}

pens_status pens_session_select(pens_session *session, const uint32_t *outputs, uint32_t count, pens_error *error)
{
    if (session == NULL)
        return pens_fail(error, PENS_INVALID_ARGUMENT, "Choosing outputs needs a session.");
    if (atomic_flag_test_and_set_explicit(&session->busy, memory_order_acquire))
        return pens_fail(error, PENS_SESSION_BUSY, "The session is already running in another thread.");
    pens_status status = select_outputs(session, outputs, count, error);
    if (status != PENS_OK)
        select_outputs(session, NULL, 0, NULL);
    atomic_flag_clear_explicit(&session->busy, memory_order_release);
    return status;
}

int pens_session_reads(const pens_session *session, uint32_t index)
{
    session = session->runs;
    for (uint32_t i = 0; i < session->all.step_count; i++) {
        const plan_command *c = command(session, i);
        const plan_argument *a = PENS_ROW(session->model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
        for (const plan_argument *end = a + PENS_ARGUMENTS(c); a < end; a++)
            if (a->space == SPACE_INPUT && a->index == index && is_needed(session, i))
                return 1;
    }
    return 0;
}

uint32_t pens_session_commands(const pens_session *session)
{
    session = session->runs;
    uint32_t count = 0;
    for (uint32_t i = 0; i < session->all.step_count; i++)
        count += (uint32_t)is_needed(session, i);
    return count;
}
