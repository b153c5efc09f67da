/* Sizes: what a session of a model with symbols is given before it runs.
 *
 * New sizes are checked and everything that depends on them is computed before anything is changed: a session whose
 * sizes are refused, or do not fit in memory, goes on with those it had. */
#include "session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

int pens_allocate_sizes(pens_session *session)
{
    const pens_model *model = session->model;
    const uint32_t *counts = model->counts;
    session->tensors = model->tensors;
    session->known = counts[TABLE_COUNTED];
    session->ready = counts[TABLE_SYMBOLS] == 0;
    if (session->ready)
        return 1;
    session->levels = calloc(model->variant->command_count + 1u, sizeof *session->levels);
    session->sizes = calloc(counts[TABLE_SYMBOLS], sizeof *session->sizes);
    session->asked = calloc(counts[TABLE_SYMBOLS], sizeof *session->asked);
    session->values = calloc(counts[TABLE_EXTENTS] + 1u, sizeof *session->values);
    session->size_memory = calloc(counts[TABLE_SIZES] + 1u, sizeof *session->size_memory);
    session->own_tensors = calloc(counts[TABLE_TENSORS] + 1u, sizeof *session->own_tensors);
    session->shapes = calloc(counts[TABLE_DIMS] + 1u, sizeof *session->shapes);
    session->placements = calloc(counts[TABLE_BUFFERS] + 1u, sizeof *session->placements);
    session->order = calloc(counts[TABLE_BUFFERS] + 1u, sizeof *session->order);
    for (uint32_t i = pens_free_symbols(model); session->sizes && session->asked && i < counts[TABLE_SYMBOLS]; i++)
        session->sizes[i] = session->asked[i] = -1;
    for (uint32_t i = 0; session->levels && i < model->variant->command_count; i++)
        session->levels[i] = pens_command_level(model, i);
    return session->levels && session->sizes && session->asked && session->values && session->size_memory && session->own_tensors &&
           session->shapes && session->placements && session->order;
}

void pens_free_sizes(pens_session *session)
{
    free(session->sizes);
    free(session->asked);
    free(session->values);
    free(session->size_memory);
    free(session->own_tensors);
    free(session->shapes);
    free(session->placements);
    free(session->order);
    free(session->levels);
}

/* The value of a quantity under `sizes`, evaluated at most once, if all that it depends on has been counted. */
static pens_status know(pens_session *session, plan_quantity quantity, const int64_t *sizes, pens_error *error)
{
    if (quantity >= 0 || session->values[-1 - quantity] >= 0 || pens_level(session->model, quantity) > session->known)
        return PENS_OK;
    int64_t value;
    pens_status status = pens_evaluate(session->model, quantity, sizes, &value, error);
    if (status == PENS_OK)
        session->values[-1 - quantity] = value;
    return status;
}

pens_status pens_know_command(pens_session *session, uint32_t number, const int64_t *sizes, pens_error *error)
{
    const pens_model *model = session->model;
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + number);
    pens_status status = know(session, c->units, sizes, error);
    const plan_argument *a = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
    for (const plan_argument *end = a + PENS_ARGUMENTS(c); status == PENS_OK && a < end; a++) {
        status = know(session, a->offset, sizes, error);
        if (status == PENS_OK)
            status = know(session, a->bytes, sizes, error);
        uint32_t count;
        for (const plan_move *m = pens_moves(model, a, &count); status == PENS_OK && count > 0; m++, count--) {
            status = know(session, m->step, sizes, error);
            if (status == PENS_OK)
                status = know(session, m->turns, sizes, error);
        }
    }
    return status;
}

pens_status pens_know_tensors(pens_session *session, const int64_t *sizes, pens_error *error)
{
    const pens_model *model = session->model;
    pens_status status = PENS_OK;
    for (uint32_t i = 0; status == PENS_OK && i < model->counts[TABLE_DIMS]; i++)
        status = know(session, PENS_ROW(model, plan_dim, TABLE_DIMS, i)->extent, sizes, error);
    for (uint32_t i = 0; status == PENS_OK && i < model->counts[TABLE_TENSORS]; i++) {
        status = know(session, PENS_ROW(model, plan_tensor, TABLE_TENSORS, i)->bytes, sizes, error);
        if (status == PENS_OK)
            status = know(session, PENS_ROW(model, plan_tensor, TABLE_TENSORS, i)->room, sizes, error);
    }
    return status;
}

/* Every extent that running depends on (not what profiles show). */
static pens_status know_all(pens_session *session, const int64_t *sizes, pens_error *error)
{
    const pens_model *model = session->model;
    memset(session->values, 0xFF, model->counts[TABLE_EXTENTS] * sizeof *session->values);
    session->known = 0;
    pens_status status = know(session, model->variant->scratch_bytes, sizes, error);
    if (status == PENS_OK)
        status = pens_know_tensors(session, sizes, error);
    for (uint32_t i = 0; status == PENS_OK && i < model->counts[TABLE_COUNTED]; i++)
        status = know(session, PENS_ROW(model, plan_counted, TABLE_COUNTED, i)->most, sizes, error);
    for (uint32_t i = 0; status == PENS_OK && i < model->counts[TABLE_BUFFERS]; i++)
        status = know(session, PENS_ROW(model, plan_buffer, TABLE_BUFFERS, i)->bytes, sizes, error);
    for (uint32_t i = 0; status == PENS_OK && i < model->variant->command_count; i++)
        status = pens_know_command(session, i, sizes, error);
    return status;
}

static pens_status too_large(const pens_session *session, const int64_t *sizes, pens_error *error)
{
    char given[200];
    pens_describe_sizes(session->model, sizes, given, sizeof given);
    return pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: what a run needs with %s does not fit.", given);
}

/* An offset for every buffer, and the size of it all. */
static int place_all(pens_session *session, uint64_t *arena)
{
    const pens_model *model = session->model;
    for (uint32_t i = 0; i < model->counts[TABLE_BUFFERS]; i++) {
        const plan_buffer *b = PENS_ROW(model, plan_buffer, TABLE_BUFFERS, i);
        uint64_t bytes = pens_value(session, b->bytes);
        session->placements[i] = (pens_placement){round_up(bytes ? bytes : 1), 0, b->first, b->last};
    }
    return pens_place(session->placements, session->order, model->counts[TABLE_BUFFERS], arena);
}

void pens_describe_tensors(pens_session *session)
{
    const pens_model *model = session->model;
    for (uint32_t i = 0; i < model->counts[TABLE_DIMS]; i++)
        session->shapes[i] = (int64_t)pens_value(session, PENS_ROW(model, plan_dim, TABLE_DIMS, i)->extent);
    for (uint32_t i = 0; i < model->counts[TABLE_TENSORS]; i++) {
        const plan_tensor *row = PENS_ROW(model, plan_tensor, TABLE_TENSORS, i);
        session->own_tensors[i] = model->tensors[i];
        session->own_tensors[i].shape = session->shapes + row->first_dim;
        session->own_tensors[i].bytes = pens_value(session, row->bytes); /* PENS_UNKNOWN: not counted yet */
    }
    session->tensors = session->own_tensors;
}

static pens_status in_range(const pens_model *model, const int64_t *sizes, pens_error *error)
{
    for (uint32_t i = 0; i < pens_free_symbols(model); i++) {
        const plan_symbol *s = PENS_ROW(model, plan_symbol, TABLE_SYMBOLS, i);
        if (sizes[i] < s->low || sizes[i] > s->high)
            return pens_fail(error, PENS_WRONG_SIZES, "The size %.200s is %lld to %lld, not %lld.",
                             pens_symbol_name(model, i), (long long)s->low, (long long)s->high, (long long)sizes[i]);
    }
    return PENS_OK;
}

/* What the model takes for granted about its sizes. */
pens_status pens_check_equals(const pens_model *model, const int64_t *sizes, uint32_t level, pens_error *error)
{
    char given[200], numbers[2][24];
    pens_status status = PENS_OK;
    for (uint32_t i = 0; status == PENS_OK && i < model->counts[TABLE_EQUALS]; i++) {
        const plan_equal *e = PENS_ROW(model, plan_equal, TABLE_EQUALS, i);
        uint32_t a = pens_level(model, e->left), b = pens_level(model, e->right);
        int64_t left, right;
        if ((a > b ? a : b) != level)
            continue;
        status = pens_evaluate(model, e->left, sizes, &left, error);
        if (status == PENS_OK)
            status = pens_evaluate(model, e->right, sizes, &right, error);
        if (status != PENS_OK || left == right)
            continue;
        pens_describe_sizes(model, sizes, given, sizeof given);
        return pens_fail(error, PENS_WRONG_SIZES, "With %s %.100s is %lld and %.100s is %lld; the model needs them equal.",
                         given, pens_extent_text(model, e->left, numbers[0], sizeof numbers[0]), (long long)left,
                         pens_extent_text(model, e->right, numbers[1], sizeof numbers[1]), (long long)right);
    }
    return status;
}

/* Values and places under `sizes`, and the memory they need. */
static pens_status derive(pens_session *session, const int64_t *sizes, uint64_t *arena, pens_error *error)
{
    const pens_model *model = session->model;
    pens_status status = know_all(session, sizes, error);
    if (status == PENS_OK)
        status = pens_check_sizes(model, sizes, session->values, NULL, 0, error);
    if (status != PENS_OK)
        return status;
    if (!place_all(session, arena) || !pens_reserve_spare(session) ||
        !pens_reserve(session, *arena, pens_value(session, model->variant->scratch_bytes)))
        return too_large(session, sizes, error);
    return PENS_OK;
}

pens_status pens_change_sizes(pens_session *session, const int64_t *given, pens_error *error)
{
    const pens_model *model = session->model;
    const int64_t *sizes = session->asked; /* a number for every symbol: -1 for those that are counted */
    uint64_t bytes = pens_free_symbols(model) * sizeof *sizes, arena;
    if (session->ready && (bytes == 0 || memcmp(session->sizes, given, bytes) == 0))
        return PENS_OK;
    if (given != session->asked)
        memcpy(session->asked, given, bytes);
    pens_status status = in_range(model, sizes, error);
    if (status == PENS_OK)
        status = pens_check_room(model, sizes, error);
    if (status == PENS_OK)
        status = pens_check_equals(model, sizes, 0, error);
    if (status != PENS_OK)
        return status;
    status = derive(session, sizes, &arena, error);
    if (status != PENS_OK) {
        if (session->ready) { /* what was derived for the former sizes can be again, in the memory there is */
            derive(session, session->sizes, &arena, NULL);
            pens_pick(session);
        }
        return status;
    }
    if (bytes > 0)
        memcpy(session->sizes, sizes, bytes);
    for (uint32_t i = 0; i < model->counts[TABLE_SIZES]; i++)
        session->size_memory[i] = session->sizes[PENS_ROW(model, plan_size, TABLE_SIZES, i)->symbol];
    pens_describe_tensors(session);
    pens_prepare_steps(session, arena, pens_value(session, model->variant->scratch_bytes));
    session->ready = 1;
    return PENS_OK;
}

pens_status pens_start_sizes(pens_session *session, pens_error *error)
{
    const pens_model *model = session->model;
    if (session->ready || pens_free_symbols(model) > (model->kept > 0))
        return PENS_OK;
    if (model->kept > 0)
        session->asked[model->length] = session->length;
    return pens_change_sizes(session, session->asked, error);
}

/* Problems with inputs, joined to one sentence. */
typedef struct {
    char text[400];
    size_t used;
} problem_list;

__attribute__((format(printf, 2, 3))) static void add_problem(problem_list *problems, const char *format, ...)
{
    va_list arguments;
    size_t room = sizeof problems->text - problems->used;
    int joined = problems->used ? snprintf(problems->text + problems->used, room, "; ") : 0;
    if (room <= 2)
        return;
    va_start(arguments, format);
    int written = vsnprintf(problems->text + problems->used + joined, room - (size_t)joined, format, arguments);
    va_end(arguments);
    problems->used += (size_t)joined + (size_t)(written > 0 ? written : 0);
    if (problems->used >= sizeof problems->text)
        problems->used = sizeof problems->text - 1;
}

/* An extent of an input that is a symbol alone says what it is; the first one counts. */
static void read_symbol(pens_session *session, const pens_tensor *tensor, uint32_t axis, uint32_t index, int64_t found,
                        problem_list *problems)
{
    const plan_symbol *s = PENS_ROW(session->model, plan_symbol, TABLE_SYMBOLS, index);
    const char *name = pens_symbol_name(session->model, index);
    if (session->asked[index] >= 0) {
        if (session->asked[index] != found)
            add_problem(problems, "input %.60s has %lld along axis %u, where %.60s is %lld", tensor->name,
                        (long long)found, axis, name, (long long)session->asked[index]);
        return;
    }
    session->asked[index] = found;
    if (found < s->low || found > s->high)
        add_problem(problems, "input %.60s has %lld along axis %u, and %.60s is %lld to %lld", tensor->name,
                    (long long)found, axis, name, (long long)s->low, (long long)s->high);
}

static void read_symbols(pens_session *session, const int64_t *const *shapes, problem_list *problems)
{
    const pens_model *model = session->model;
    for (uint32_t i = 0; i < pens_free_symbols(model); i++)
        session->asked[i] = -1;
    if (model->kept > 0)
        session->asked[model->length] = session->length;
    for (uint32_t i = 0; i < pens_inputs(model); i++) {
        const plan_tensor *row = PENS_ROW(model, plan_tensor, TABLE_TENSORS, i);
        for (uint32_t axis = 0; shapes[i] != NULL && axis < row->rank; axis++) {
            uint32_t index = pens_told_symbol(model, PENS_ROW(model, plan_dim, TABLE_DIMS, row->first_dim + axis)->extent);
            if (index != UINT32_MAX)
                read_symbol(session, &model->tensors[i], axis, index, shapes[i][axis], problems);
        }
    }
}

/* What is no symbol alone must be what it computes to. */
static pens_status check_shapes(const pens_session *session, const int64_t *const *shapes, problem_list *problems,
                                pens_error *error)
{
    const pens_model *model = session->model;
    for (uint32_t i = 0; i < pens_inputs(model); i++) {
        const plan_tensor *row = PENS_ROW(model, plan_tensor, TABLE_TENSORS, i);
        for (uint32_t axis = 0; shapes[i] != NULL && axis < row->rank; axis++) {
            plan_quantity extent = PENS_ROW(model, plan_dim, TABLE_DIMS, row->first_dim + axis)->extent;
            const char *name = model->tensors[i].name, *text = model->tensors[i].texts[axis];
            int64_t expected;
            pens_status status = pens_evaluate(model, extent, session->asked, &expected, error);
            if (status != PENS_OK)
                return status;
            if (shapes[i][axis] != expected && pens_lone_symbol(model, extent) == UINT32_MAX)
                add_problem(problems, "input %.60s has %lld along axis %u and needs %.60s%s%lld", name,
                            (long long)shapes[i][axis], axis, text ? text : "", text ? " = " : "",
                            (long long)expected);
        }
    }
    return PENS_OK;
}

static pens_status change_shapes(pens_session *session, const int64_t *const *shapes, pens_error *error)
{
    const pens_model *model = session->model;
    problem_list problems = {{0}, 0};
    pens_status status = PENS_OK;
    const int64_t *current = pens_session_sizes(session);
    read_symbols(session, shapes, &problems);
    for (uint32_t i = 0; i < pens_free_symbols(model); i++) {
        if (session->asked[i] < 0 && current == NULL)
            return pens_fail(error, PENS_NO_SIZES,
                             "No input tells the size %.200s: none that is fed has it alone as an extent.",
                             pens_symbol_name(model, i));
        if (session->asked[i] < 0)
            session->asked[i] = current[i];
    }
    if (problems.used == 0)
        status = check_shapes(session, shapes, &problems, error);
    if (problems.used > 0) {
        problems.text[0] = 'I';
        return pens_fail(error, PENS_WRONG_INPUTS, "%s.", problems.text);
    }
    return status == PENS_OK ? pens_choose_part(session, session->asked, error) : status;
}

static pens_status locked(pens_session *session, const int64_t *sizes, const int64_t *const *shapes, pens_error *error)
{
    if (session == NULL || (sizes == NULL && shapes == NULL))
        return pens_fail(error, PENS_INVALID_ARGUMENT, "Sizes are set on a session.");
    if (atomic_flag_test_and_set_explicit(&session->busy, memory_order_acquire))
        return pens_fail(error, PENS_SESSION_BUSY, "The session is already running in another thread.");
    if (sizes != NULL && session->model->kept > 0) { /* which knows how many rows there are */
        memcpy(session->asked, sizes, pens_free_symbols(session->model) * sizeof *sizes);
        session->asked[session->model->length] = session->length;
        sizes = session->asked;
    }
    pens_status status = sizes != NULL ? pens_choose_part(session, sizes, error) : change_shapes(session, shapes, error);
    atomic_flag_clear_explicit(&session->busy, memory_order_release);
    return status;
}

pens_status pens_session_set_sizes(pens_session *session, const int64_t *sizes, pens_error *error)
{
    return locked(session, sizes, NULL, error);
}

pens_status pens_session_set_shapes(pens_session *session, const int64_t *const *shapes, pens_error *error)
{
    return locked(session, NULL, shapes, error);
}

const int64_t *pens_session_sizes(const pens_session *session)
{
    if (session->parts != NULL)
        return session->is_given ? session->given : NULL;
    return session->ready ? session->sizes : NULL;
}

uint64_t pens_session_output_room(const pens_session *session, uint32_t index)
{
    session = session->runs;
    const pens_model *model = session->model;
    if (index >= pens_outputs(model))
        return 0;
    plan_quantity room = PENS_ROW(model, plan_tensor, TABLE_TENSORS, model->header->input_count + index)->room;
    return room >= 0 ? (uint64_t)room : session->ready ? pens_value(session, room) : PENS_UNKNOWN;
}

pens_tensor pens_session_input(const pens_session *session, uint32_t index)
{
    return index < pens_inputs(session->model) ? session->runs->tensors[index] : (pens_tensor){0};
}

pens_tensor pens_session_output(const pens_session *session, uint32_t index)
{
    const plan_header *h = session->model->header;
    return index < pens_outputs(session->model) ? session->runs->tensors[h->input_count + index] : (pens_tensor){0};
}
