/* What is counted while a model runs: symbols whose values kernels find.
 *
 * Memory is laid out for the most there can be. A bind reads how many there are and computes what depends on it: the
 * units, bytes and pointers of the commands that follow. Everything is checked before it is used, as when sizes are
 * set. */
#include "session.h"

#include <string.h>

uint32_t pens_command_level(const pens_model *model, uint32_t number)
{
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + number);
    uint32_t level = pens_level(model, c->units);
    const plan_argument *a = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
    for (const plan_argument *end = a + PENS_ARGUMENTS(c); a < end; a++) {
        uint32_t offset = pens_level(model, a->offset), bytes = pens_level(model, a->bytes);
        level = offset > level ? offset : level;
        level = bytes > level ? bytes : level;
        uint32_t moves = pens_move_level(model, a);
        level = moves > level ? moves : level;
    }
    return level;
}

void pens_forget_counts(pens_session *session)
{
    const pens_model *model = session->model;
    session->known = 0;
    for (uint32_t i = 0; i < model->counts[TABLE_EXTENTS]; i++)
        if (model->levels[i] > 0)
            session->values[i] = -1;
    for (uint32_t i = pens_free_symbols(model); i < model->counts[TABLE_SYMBOLS]; i++)
        session->sizes[i] = -1;
    pens_describe_tensors(session);
}

/* A number found while running breaks what the model promises: not the sizes that the caller gave. */
static pens_status broken(pens_status status, pens_error *error)
{
    if (status == PENS_WRONG_SIZES && error != NULL)
        error->status = PENS_CHECK_FAILED;
    return status == PENS_WRONG_SIZES ? PENS_CHECK_FAILED : status;
}

/* The pointers of a step into the caller's memory. */
static void take_pointers(pens_session *session, const pens_step *s, const plan_command *c, const void *const *inputs,
                          void *const *outputs)
{
    const plan_argument *a = PENS_ROW(session->model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
    for (uint32_t i = 0; i < PENS_ARGUMENTS(c); i++, a++) {
        if (!pens_is_callers(session->model, a))
            continue;
        uintptr_t base = a->space == SPACE_INPUT ? (uintptr_t)inputs[a->index]
                                                 : (uintptr_t)pens_output_memory(session, a->index, outputs);
        s->buffers[i] = (void *)(base + pens_value(session, a->offset) + pens_shift(session, a));
    }
}

/* Everything that is known now that `session->known` symbols have been counted, and was not before. Of a command, which
 * may run before it is known how much it writes, that may be a part. */
static pens_status derive(pens_session *session, const void *const *inputs, void *const *outputs, pens_error *error)
{
    const pens_model *model = session->model;
    const int64_t *sizes = session->sizes;
    uint32_t level = session->known, symbol = pens_free_symbols(model) + level - 1;
    pens_status status = pens_check_equals(model, sizes, level, error);
    if (status == PENS_OK)
        status = pens_know_tensors(session, sizes, error);
    for (uint32_t i = 0; status == PENS_OK && i < model->variant->command_count; i++)
        if (session->levels[i] >= level)
            status = pens_know_command(session, i, sizes, error);
    if (status == PENS_OK)
        status = pens_check_sizes(model, sizes, session->values, session->levels, level, error);
    if (status != PENS_OK)
        return broken(status, error);
    for (uint32_t i = 0; i < model->counts[TABLE_SIZES]; i++)
        if (PENS_ROW(model, plan_size, TABLE_SIZES, i)->symbol == symbol)
            session->size_memory[i] = sizes[symbol];
    for (uint32_t i = 0; i < session->active->step_count; i++) {
        pens_step *s = &session->active->steps[i];
        if (session->levels[s->command] < level)
            continue;
        pens_prepare_step(session, s);
        take_pointers(session, s,
                      PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + s->command), inputs,
                      outputs);
    }
    return PENS_OK;
}

/* The next symbol is `count`. */
static pens_status learn(pens_session *session, int64_t count, const void *const *inputs, void *const *outputs,
                         pens_error *error)
{
    const pens_model *model = session->model;
    uint32_t symbol = pens_free_symbols(model) + session->known;
    const plan_symbol *s = PENS_ROW(model, plan_symbol, TABLE_SYMBOLS, symbol);
    int64_t most = (int64_t)pens_value(session, PENS_ROW(model, plan_counted, TABLE_COUNTED, session->known)->most);
    most = most < s->high ? most : s->high;
    if (count < s->low || count > most)
        return pens_fail(error, PENS_CHECK_FAILED, "The model needs %.200s to be %lld to %lld, and it is %lld.",
                         pens_symbol_name(model, symbol), (long long)s->low, (long long)most, (long long)count);
    session->sizes[symbol] = count;
    session->known++;
    pens_status status = derive(session, inputs, outputs, error);
    session->known -= status != PENS_OK; /* the run ends here, and its steps are as they were */
    return status;
}

pens_status pens_bind(pens_session *session, const pens_step *step, const void *const *inputs, void *const *outputs,
                      pens_error *error)
{
    const pens_model *model = session->model;
    uint32_t number = model->variant->first_command + step->command;
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, number);
    char given[200], text[24];
    int64_t count, expected;
    memcpy(&count, step->buffers[0], sizeof count);
    pens_status status = PENS_OK;
    if (step->binds > session->known)
        status = learn(session, count, inputs, outputs, error);
    if (status == PENS_OK)
        status = broken(pens_evaluate(model, c->units, session->sizes, &expected, error), error);
    if (status != PENS_OK || count == expected)
        return status;
    pens_describe_sizes(model, session->sizes, given, sizeof given);
    return pens_fail(error, PENS_CHECK_FAILED, "With %s the model needs %.100s elements, and there are %lld.", given,
                     pens_extent_text(model, c->units, text, sizeof text), (long long)count);
}
