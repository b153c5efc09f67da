/* Loops: a stretch of commands that runs once per round, on memory some of which moves with the rounds.
 *
 * Where an argument is in a round follows from its offset and its moves. All of them are in bounds for every round there
 * may be, which is checked when the model is loaded or its sizes are set; so running checks one number per round. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

static pens_status damaged(pens_error *error, const char *what)
{
    return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: %s.", what);
}

static const plan_command *command_at(const pens_model *model, const plan_variant *v, uint32_t number)
{
    return PENS_ROW(model, plan_command, TABLE_COMMANDS, v->first_command + number);
}

const plan_move *pens_moves(const pens_model *model, const plan_argument *argument, uint32_t *count)
{
    uint32_t low = 0, high = model->counts[TABLE_MOVES];
    const plan_move *rows = (const plan_move *)model->tables[TABLE_MOVES].data;
    *count = 0;
    if (high == 0)
        return NULL;
    const uint32_t number = (uint32_t)(argument - PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, 0)), most = high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rows[middle].argument < number)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + *count < most && rows[low + *count].argument == number)
        ++*count;
    return rows + low;
}

uint32_t pens_move_level(const pens_model *model, const plan_argument *argument)
{
    uint32_t count, level = 0;
    for (const plan_move *m = pens_moves(model, argument, &count); count > 0; m++, count--) {
        uint32_t step = pens_level(model, m->step), turns = pens_level(model, m->turns);
        level = step > level ? step : level;
        level = turns > level ? turns : level;
    }
    return level;
}

int pens_reach(const pens_model *model, const plan_argument *argument, const int64_t *values, int64_t *reach)
{
    uint32_t count;
    *reach = 0;
    for (const plan_move *m = pens_moves(model, argument, &count); count > 0; m++, count--) {
        int64_t step = m->step >= 0 ? m->step : values != NULL ? values[-1 - m->step] : -1;
        int64_t turns = m->turns >= 0 ? m->turns : values != NULL ? values[-1 - m->turns] : -1, bytes;
        if (step < 0 || turns < 1)
            continue; /* not known yet, or there is no round */
        if (__builtin_mul_overflow(step, turns - 1, &bytes) || __builtin_add_overflow(*reach, bytes, reach))
            return 0;
    }
    return 1;
}

/* Every move is described, in order of arguments. */
static int moves_are_sound(const pens_model *model)
{
    uint32_t before = 0;
    for (uint32_t i = 0; i < model->counts[TABLE_MOVES]; i++) {
        const plan_move *m = PENS_ROW(model, plan_move, TABLE_MOVES, i);
        if (m->argument < before || m->argument >= model->counts[TABLE_ARGUMENTS] || m->order > ORDER_NEXT ||
            !pens_is_quantity(model, m->step) || !pens_is_quantity(model, m->turns) ||
            (m->order >= ORDER_NOW && m->turns != 2))
            return 0;
        before = m->argument;
    }
    return 1;
}

/* What moves does so with loops of this variant. */
static int moves_with_loops(const pens_model *model, const plan_variant *v, const plan_command *c)
{
    const plan_argument *a = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
    for (const plan_argument *end = a + PENS_ARGUMENTS(c); a < end; a++) {
        uint32_t count;
        for (const plan_move *m = pens_moves(model, a, &count); count > 0; m++, count--)
            if (m->loop >= v->command_count || command_at(model, v, m->loop)->kind != COMMAND_LOOP)
                return 0;
    }
    return 1;
}

/* Every output needs all of the commands from `first` to `last`, or none of them. */
static int needed_together(const pens_model *model, const plan_variant *v, uint32_t first, uint32_t last)
{
    uint64_t words = PENS_NEED_WORDS(v);
    for (uint32_t output = 0; output < model->header->output_count; output++) {
        uint64_t found = 0;
        for (uint32_t i = first; i <= last; i++)
            found += PENS_ROW(model, plan_need, TABLE_NEEDS, output * words + i / 64)->commands >> (i % 64) & 1;
        if (found != 0 && found != (uint64_t)last - first + 1)
            return 0;
    }
    return 1;
}

pens_status pens_check_loops(const pens_model *model, const plan_variant *v, pens_error *error)
{
    uint32_t begun[LOOPS_DEEPEST], depth = 0;
    if (!moves_are_sound(model))
        return damaged(error, "what moves with the rounds of a loop is described wrongly");
    for (uint32_t i = 0; i < v->command_count; i++) {
        const plan_command *c = command_at(model, v, i);
        if (!moves_with_loops(model, v, c))
            return damaged(error, "memory moves with no loop");
        if (c->kind == COMMAND_BIND && depth > 0)
            return damaged(error, "a number is counted in a loop");
        if (c->kind == COMMAND_LOOP) {
            if (depth == LOOPS_DEEPEST || c->kernel <= i || c->kernel >= v->command_count ||
                command_at(model, v, c->kernel)->kind != COMMAND_NEXT || command_at(model, v, c->kernel)->kernel != i)
                return damaged(error, "a loop has no end");
            if (depth == 0 && !needed_together(model, v, i, c->kernel))
                return damaged(error, "an output needs a part of a loop");
            begun[depth++] = i;
        } else if (c->kind == COMMAND_NEXT && (depth == 0 || begun[--depth] != c->kernel)) {
            return damaged(error, "a loop ends that has not begun");
        }
    }
    return depth == 0 ? PENS_OK : damaged(error, "a loop does not end");
}

/* Running -------------------------------------------------------------------------------------------------------- */

static int by_loop(const void *a, const void *b)
{
    const pens_moving *x = a, *y = b;
    if (x->loop != y->loop)
        return x->loop < y->loop ? -1 : 1;
    return x->argument < y->argument ? -1 : x->argument > y->argument;
}

int pens_allocate_loops(pens_session *session)
{
    const pens_model *model = session->model;
    session->turns = calloc(model->variant->command_count + 1u, sizeof *session->turns);
    session->moving = calloc(model->counts[TABLE_MOVES] + 1u, sizeof *session->moving);
    if (session->turns == NULL || session->moving == NULL)
        return 0;
    for (uint32_t i = 0; model->counts[TABLE_MOVES] > 0 && i < model->variant->command_count; i++) {
        const plan_command *c = command_at(model, model->variant, i);
        const plan_argument *a = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
        for (uint32_t n = 0; n < PENS_ARGUMENTS(c); n++) {
            uint32_t count;
            const plan_move *m = pens_moves(model, &a[n], &count);
            for (; count > 0; m++, count--) {
                if (session->moving_count == model->counts[TABLE_MOVES])
                    return 0; /* two commands share arguments: their slots would be more than there are moves */
                session->moving[session->moving_count++] = (pens_moving){m, &a[n], m->loop, i, n};
            }
        }
    }
    qsort(session->moving, session->moving_count, sizeof *session->moving, by_loop);
    return 1;
}

void pens_free_loops(pens_session *session)
{
    free(session->turns);
    free(session->moving);
}

void pens_prepare_loop(pens_session *session, pens_step *s, const plan_command *c)
{
    s->loop = c->kind;
    s->jump = c->kind == COMMAND_LOOP ? c->kernel - s->command : s->command - c->kernel;
    s->first_moving = s->moving_count = 0;
    session->turns[s->command] = 0;
    for (uint32_t i = 0; c->kind == COMMAND_LOOP && i < session->moving_count; i++) {
        if (session->moving[i].loop != s->command)
            continue;
        s->first_moving = s->moving_count == 0 ? i : s->first_moving;
        s->moving_count++;
    }
}

uint64_t pens_shift(const pens_session *session, const plan_argument *argument)
{
    uint32_t count;
    uint64_t shift = 0;
    for (const plan_move *m = pens_moves(session->model, argument, &count); count > 0; m++, count--) {
        int64_t turn = session->turns[m->loop], turns = (int64_t)pens_value(session, m->turns), part = turn & 1;
        if (m->order == ORDER_NEXT)
            part = 1 - part;
        else if (m->order != ORDER_NOW) /* after the last round, what it had */
            part = turns < 1 ? 0 : turn < turns ? turn : turns - 1;
        if (m->order == ORDER_BACKWARD && turns > 0)
            part = turns - 1 - part;
        shift += (uint64_t)part * pens_value(session, m->step);
    }
    return shift;
}

/* Let everything that moves with the loop be where it is in round `turn`. `runs`: there is such a round. */
static pens_status turn_to(pens_session *session, const pens_step *s, int64_t turn, int runs, const void *const *inputs,
                           void *const *outputs, pens_error *error)
{
    const pens_model *model = session->model;
    session->turns[s->command] = turn;
    for (uint32_t i = s->first_moving; i < s->first_moving + s->moving_count; i++) {
        const pens_moving *moving = &session->moving[i];
        const plan_move *m = moving->move;
        if (runs && m->order < ORDER_NOW && turn >= (int64_t)pens_value(session, m->turns))
            return pens_fail(error, PENS_CHECK_FAILED,
                             "The loop %.200s runs more than %lld times, which is as many rows as there are.",
                             pens_source(model, s->command), (long long)turn);
        const plan_argument *a = moving->place;
        uint64_t offset = pens_value(session, a->offset) + pens_shift(session, a);
        void **slot = &session->all.steps[moving->command].buffers[moving->argument];
        if (!pens_is_callers(model, a))
            *slot = pens_address(session, a);
        else if (a->space == SPACE_INPUT)
            *slot = (void *)((uintptr_t)inputs[a->index] + offset);
        else
            *slot = (void *)((uintptr_t)pens_output_memory(session, a->index, outputs) + offset);
    }
    return PENS_OK;
}

static pens_status begin(pens_session *session, const pens_step *s, int skip, uint32_t *at, const void *const *inputs,
                         void *const *outputs, pens_error *error)
{
    const int64_t none = 0;
    int64_t trips = 0;
    if (!skip) {
        memcpy(&trips, s->buffers[0], sizeof trips);
        trips = *(const uint8_t *)s->buffers[1] ? trips : 0;
        memcpy(s->buffers[2], &none, sizeof none);
        memcpy(s[s->jump].buffers[1], &none, sizeof none);
    }
    session->active->steps[*at].trips = trips;
    if (trips < 1)
        *at += s->jump;
    return turn_to(session, s, 0, trips > 0, inputs, outputs, error);
}

pens_status pens_loop(pens_session *session, const pens_step *s, int skip, uint32_t *at, const void *const *inputs,
                      void *const *outputs, pens_error *error)
{
    if (s->loop == COMMAND_LOOP)
        return begin(session, s, skip, at, inputs, outputs, error);
    const pens_step *first = s - s->jump;
    int64_t turn = session->turns[first->command] + 1;
    const int more = *(const uint8_t *)s->buffers[0] && turn < first->trips;
    memcpy(s->buffers[1], &turn, sizeof turn);
    if (more && turn >= first->units)
        return pens_fail(error, PENS_CHECK_FAILED, "The loop %.200s has run %lld times and would go on; that is the most.",
                         pens_source(session->model, first->command), (long long)turn);
    if (more) {
        memcpy(first->buffers[2], &turn, sizeof turn);
        *at -= s->jump;
    }
    return turn_to(session, first, turn, more, inputs, outputs, error);
}
