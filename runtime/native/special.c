/* Plans for fixed sizes: a model may hold, beside the plan for all sizes, plans for some of them, which compute the same.
 *
 * Each is a plan.bin of its own, checked as the first one is, and shares with it the code and the weights. A session has a
 * part for each plan that it was given sizes for; whatever sizes it is given, one of its parts runs. What a plan says of
 * inputs and outputs is compared with the general plan before it runs: callers allocate by either. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PLANS = 64 };

static pens_status damaged(pens_error *error, uint32_t number, const char *what)
{
    return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: %s in plan-%u.bin.", what, number);
}

static const plan_fixed *fixed_of(const pens_model *model, uint32_t index, uint32_t *count)
{
    const plan_special *row = PENS_ROW(model, plan_special, TABLE_SPECIALS, index);
    *count = row->fixed_count;
    return PENS_ROW(model, plan_fixed, TABLE_FIXED, row->first_fixed);
}

/* Do names, types and ranks agree, and shapes as far as both are numbers? */
static int same_tensors(const pens_model *model, const pens_model *special)
{
    if (model->header->input_count != special->header->input_count ||
        model->header->output_count != special->header->output_count)
        return 0;
    for (uint32_t i = 0; i < model->counts[TABLE_TENSORS]; i++) {
        const pens_tensor *a = &model->tensors[i], *b = &special->tensors[i];
        if (strcmp(a->name, b->name) != 0 || a->dtype != b->dtype || a->rank != b->rank)
            return 0;
        for (uint32_t axis = 0; axis < a->rank; axis++)
            if (a->shape[axis] >= 0 && a->shape[axis] != b->shape[axis])
                return 0;
    }
    return 1;
}

/* Where each size that is left to give stands among those of the general plan. */
static int map_symbols(const pens_model *model, pens_model *special)
{
    uint32_t own = pens_free_symbols(special), all = pens_free_symbols(model);
    special->from = calloc(own + 1u, sizeof *special->from);
    if (special->from == NULL)
        return 0;
    for (uint32_t i = 0; i < own; i++) {
        uint32_t at = 0;
        while (at < all && strcmp(pens_symbol_name(special, i), pens_symbol_name(model, at)) != 0)
            at++;
        if (at == all)
            return 0;
        special->from[i] = at;
    }
    return 1;
}

/* The plan's variant for the instruction set that is used, in the same code. */
static int choose_variant(const pens_model *model, pens_model *special)
{
    for (uint32_t i = 0; i < special->counts[TABLE_VARIANTS]; i++) {
        const plan_variant *v = PENS_ROW(special, plan_variant, TABLE_VARIANTS, i);
        if (strcmp(pens_text(special, v->isa_offset, v->isa_bytes), pens_isa(model)) == 0 &&
            v->image_bytes == model->image_bytes)
            special->variant = v;
    }
    return special->variant != NULL;
}

static pens_status load_plan(const pens_model *model, uint32_t number, pens_model *special, pens_error *error)
{
    char name[32];
    pens_member member;
    snprintf(name, sizeof name, "plan-%u.bin", number);
    pens_status status = pens_find_member(model, name, 1, &member, error);
    if (status != PENS_OK)
        return status;
    if ((uintptr_t)member.span.data % 8 != 0)
        return damaged(error, number, "there is no alignment");
    special->fd = -1;
    special->plan = member.span;
    special->weights = model->weights;
    special->image = model->image;
    special->image_bytes = model->image_bytes;
    status = pens_read_plan(special, error);
    if (status != PENS_OK)
        return status;
    if (special->header->weights_bytes != model->header->weights_bytes || special->counts[TABLE_SPECIALS] > 0 ||
        special->kept > 0)
        return damaged(error, number, "there are other weights or further plans");
    if (!choose_variant(model, special))
        return damaged(error, number, "there is nothing for the code");
    status = pens_check_variant(special, special->variant, error);
    if (status != PENS_OK)
        return status;
    if (!same_tensors(model, special) || !map_symbols(model, special))
        return damaged(error, number, "there are other inputs, outputs or sizes");
    return PENS_OK;
}

pens_status pens_load_specials(pens_model *model, pens_error *error)
{
    uint32_t count = model->counts[TABLE_SPECIALS], fixed = model->counts[TABLE_FIXED];
    if (count == 0)
        return PENS_OK;
    if (count > MOST_PLANS)
        return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: it has more than %d plans.", MOST_PLANS);
    model->specials = calloc(count, sizeof *model->specials);
    if (model->specials == NULL)
        return pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the model's description does not fit.");
    for (uint32_t i = 0; i < count; i++) {
        const plan_special *row = PENS_ROW(model, plan_special, TABLE_SPECIALS, i);
        if (row->fixed_count == 0 || row->first_fixed > fixed || row->fixed_count > fixed - row->first_fixed)
            return damaged(error, i + 1, "there are no sizes");
        const plan_fixed *f = PENS_ROW(model, plan_fixed, TABLE_FIXED, row->first_fixed);
        for (const plan_fixed *end = f + row->fixed_count; f < end; f++)
            if (f->symbol >= pens_free_symbols(model))
                return damaged(error, i + 1, "there is an unknown size");
        pens_status status = load_plan(model, i + 1, &model->specials[i], error);
        if (status != PENS_OK)
            return status;
        model->specials[i].file = model->file;
        model->specials[i].manifest = model->manifest;
    }
    return PENS_OK;
}

int pens_allocate_parts(pens_session *session)
{
    const pens_model *model = session->model;
    session->runs = session;
    if (model->counts[TABLE_SPECIALS] == 0 || model->specials == NULL)
        return 1;
    session->parts = calloc(model->counts[TABLE_SPECIALS], sizeof *session->parts);
    session->given = malloc(model->counts[TABLE_SYMBOLS] * sizeof *session->given);
    if (session->given != NULL)
        memset(session->given, 0xFF, model->counts[TABLE_SYMBOLS] * sizeof *session->given);
    return session->parts != NULL && session->given != NULL;
}

void pens_free_parts(pens_session *session)
{
    for (uint32_t i = 0; session->parts != NULL && i < session->model->counts[TABLE_SPECIALS]; i++) {
        if (session->parts[i] != NULL)
            session->parts[i]->pool = NULL; /* it is the session's */
        pens_session_destroy(session->parts[i]);
    }
    free(session->parts);
    free(session->given);
    free(session->compared);
}

/* The plan for these sizes: the first whose fixed ones they are; UINT32_MAX for the general plan. */
static uint32_t find(const pens_model *model, const int64_t *sizes)
{
    for (uint32_t i = 0; i < model->counts[TABLE_SPECIALS]; i++) {
        uint32_t count, equal = 0;
        const plan_fixed *f = fixed_of(model, i, &count);
        while (equal < count && sizes[f[equal].symbol] == f[equal].value)
            equal++;
        if (equal == count)
            return i;
    }
    return UINT32_MAX;
}

/* The part for a plan, made when it is first asked for, with the outputs chosen that the session has chosen. */
static pens_status make_part(pens_session *session, uint32_t index, pens_error *error)
{
    pens_session *part;
    const uint32_t outputs = session->model->header->output_count;
    const pens_session_options one = {.threads = session->threads, .executor = session->executor, .host = session->host};
    if (session->parts[index] != NULL)
        return PENS_OK;
    pens_status status = pens_new_session(&session->model->specials[index], &one, &part, error);
    if (status != PENS_OK)
        return status;
    part->pool = session->pool;
    part->compared = calloc(session->model->counts[TABLE_SYMBOLS], sizeof *part->compared);
    uint32_t *chosen = calloc(outputs + 1u, sizeof *chosen), count = 0;
    if (session->active == &session->picked)
        for (uint32_t i = 0; chosen != NULL && i < outputs; i++)
            if (session->chosen[i])
                chosen[count++] = i;
    if (part->compared == NULL || chosen == NULL)
        status = pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the session does not fit.");
    else if (session->active == &session->picked)
        status = pens_session_select(part, chosen, count, error);
    free(chosen);
    if (status == PENS_OK) {
        session->parts[index] = part;
        return PENS_OK;
    }
    part->pool = NULL;
    pens_session_destroy(part);
    return status;
}

/* The part's tensors under its sizes are those of the general plan under the same: as many bytes as callers expect. */
static pens_status compare(const pens_session *part, const pens_model *model, const int64_t *sizes, pens_error *error)
{
    for (uint32_t i = 0; i < model->counts[TABLE_TENSORS]; i++) {
        const plan_tensor *row = PENS_ROW(model, plan_tensor, TABLE_TENSORS, i);
        for (uint32_t axis = 0; axis < row->rank; axis++) {
            plan_quantity extent = PENS_ROW(model, plan_dim, TABLE_DIMS, row->first_dim + axis)->extent;
            int64_t expected;
            if (pens_level(model, extent) > 0) /* counted by a run: callers give the room that the part asks for */
                continue;
            pens_status status = pens_evaluate(model, extent, sizes, &expected, error);
            if (status != PENS_OK)
                return status;
            if (part->tensors[i].shape[axis] != expected)
                return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: the plan for these sizes has %.100s of "
                                 "another shape.", model->tensors[i].name);
        }
    }
    return PENS_OK;
}

static pens_status take_part(pens_session *session, uint32_t index, const int64_t *sizes, pens_error *error)
{
    const pens_model *model = session->model;
    const uint64_t bytes = pens_free_symbols(model) * sizeof *sizes;
    pens_status status = make_part(session, index, error);
    if (status != PENS_OK)
        return status;
    pens_session *part = session->parts[index];
    if (!part->is_compared || memcmp(part->compared, sizes, bytes) != 0) {
        for (uint32_t i = 0; i < pens_free_symbols(part->model); i++)
            part->asked[i] = sizes[part->model->from[i]];
        status = pens_check_equals(model, sizes, 0, error);
        if (status == PENS_OK)
            status = pens_change_sizes(part, part->asked, error);
        if (status != PENS_OK) /* the part has the sizes that it had */
            return status;
        part->is_compared = 0;
        status = compare(part, model, sizes, error);
        if (status != PENS_OK) {
            if (session->runs == part) /* whose sizes are others now */
                session->runs = session, session->is_given = 0;
            return status;
        }
        memcpy(part->compared, sizes, bytes);
        part->is_compared = 1;
    }
    session->runs = part;
    return PENS_OK;
}

pens_status pens_choose_part(pens_session *session, const int64_t *sizes, pens_error *error)
{
    const uint64_t bytes = pens_free_symbols(session->model) * sizeof *sizes;
    if (session->parts == NULL)
        return pens_change_sizes(session, sizes, error);
    if (session->is_given && memcmp(session->given, sizes, bytes) == 0)
        return PENS_OK;
    uint32_t index = find(session->model, sizes);
    pens_status status = index == UINT32_MAX ? pens_change_sizes(session, sizes, error)
                                             : take_part(session, index, sizes, error);
    if (status != PENS_OK)
        return status;
    if (index == UINT32_MAX)
        session->runs = session;
    memcpy(session->given, sizes, bytes);
    session->is_given = 1;
    return PENS_OK;
}

uint32_t pens_special_count(const pens_model *model)
{
    return model->counts[TABLE_SPECIALS];
}

uint32_t pens_session_special(const pens_session *session)
{
    for (uint32_t i = 0; session->parts != NULL && i < session->model->counts[TABLE_SPECIALS]; i++)
        if (session->runs == session->parts[i] && session->runs != session)
            return i + 1;
    return 0;
}
