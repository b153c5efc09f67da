/* What a session keeps from run to run: tensors that a run appends rows to, in memory of the session's own.
 *
 * They are the last inputs and the last outputs of the plan, one memory each, with room for as many rows as the symbol
 * that counts them may be; callers do not see them. The session knows how many rows there are, which no input tells, and
 * a run that ends well makes it as many as the plan says. Rows beyond are never read, so going back is a number. */
#define _GNU_SOURCE
#include "session.h"

#include <stdlib.h>
#include <sys/mman.h>

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

pens_status pens_read_states(pens_model *model, pens_error *error)
{
    const plan_header *h = model->header;
    const plan_state *s = PENS_ROW(model, plan_state, TABLE_STATES, 0);
    if (model->counts[TABLE_STATES] == 0)
        return PENS_OK;
    int sound = model->counts[TABLE_STATES] == 1 && s->count > 0 && s->count <= h->input_count &&
                s->count <= h->output_count && s->symbol < pens_free_symbols(model) && model->counts[TABLE_SPECIALS] == 0 &&
                pens_is_quantity(model, s->grown) && pens_level(model, s->grown) == 0;
    sound = sound && PENS_ROW(model, plan_symbol, TABLE_SYMBOLS, s->symbol)->low == 0;
    for (uint32_t i = 0; sound && i < s->count; i++) {
        const plan_tensor *in = PENS_ROW(model, plan_tensor, TABLE_TENSORS, h->input_count - s->count + i);
        const plan_tensor *out = in + h->output_count;
        sound = in->bytes >= 0 && in->bytes <= INT64_MAX / 65536 && in->bytes == out->bytes && in->room == in->bytes &&
                out->room == in->bytes;
    }
    if (!sound)
        return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: what sessions keep is described wrongly.");
    model->kept = s->count;
    model->length = s->symbol;
    model->grown = s->grown;
    return PENS_OK;
}

static int64_t capacity(const pens_model *model)
{
    return PENS_ROW(model, plan_symbol, TABLE_SYMBOLS, model->length)->high;
}

uint32_t pens_length_symbol(const pens_model *model)
{
    return model->kept > 0 ? model->length : UINT32_MAX;
}

int pens_allocate_states(pens_session *session)
{
    const pens_model *model = session->model;
    if (model->kept == 0)
        return 1;
    session->kept_offsets = calloc(model->kept, sizeof *session->kept_offsets);
    if (session->kept_offsets == NULL)
        return 0;
    uint64_t end = 0;
    for (uint32_t i = 0; i < model->kept; i++) {
        session->kept_offsets[i] = end;
        end += round_up((uint64_t)PENS_ROW(model, plan_tensor, TABLE_TENSORS, pens_inputs(model) + i)->bytes);
        if (end > PENS_MOST_BYTES)
            return 0;
    }
    /* Not of huge pages: a session that keeps few rows takes few pages of each head's. */
    void *memory = mmap(NULL, end + 64, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return 0;
    session->kept = memory;
    session->kept_bytes = end + 64;
    return 1;
}

void pens_free_states(pens_session *session)
{
    if (session->kept != NULL)
        munmap(session->kept, session->kept_bytes);
    free(session->kept_offsets);
}

uint8_t *pens_kept(const pens_session *session, const plan_argument *argument)
{
    const pens_model *model = session->model;
    uint32_t callers = argument->space == SPACE_INPUT ? pens_inputs(model) : pens_outputs(model);
    return session->kept + session->kept_offsets[argument->index - callers];
}

pens_status pens_check_room(const pens_model *model, const int64_t *sizes, pens_error *error)
{
    int64_t grown;
    if (model->kept == 0)
        return PENS_OK;
    pens_status status = pens_evaluate(model, model->grown, sizes, &grown, error);
    if (status != PENS_OK || grown <= capacity(model))
        return status;
    return pens_fail(error, PENS_FULL, "The session keeps %lld rows of at most %lld and has no room for %lld more.",
                     (long long)sizes[model->length], (long long)capacity(model),
                     (long long)(grown - sizes[model->length]));
}

/* Does a quantity depend on how many rows there are? */
static int depends(const pens_model *model, plan_quantity quantity)
{
    if (quantity >= 0)
        return 0;
    const plan_extent *e = PENS_ROW(model, plan_extent, TABLE_EXTENTS, (uint32_t)(-1 - quantity));
    const plan_term *t = PENS_ROW(model, plan_term, TABLE_TERMS, e->first_term);
    for (const plan_term *end = t + e->term_count; t < end; t++)
        if (t->kind == TERM_SYMBOL && t->symbol == model->length)
            return 1;
    return 0;
}

/* The first input or output of the caller's whose size follows from the rows there are; NULL if none does. */
static const char *growing(const pens_model *model)
{
    uint32_t inputs = model->header->input_count;
    for (uint32_t i = 0; i < inputs + pens_outputs(model); i++) {
        const plan_tensor *row = PENS_ROW(model, plan_tensor, TABLE_TENSORS, i);
        int callers = i < pens_inputs(model) || i >= inputs;
        if (callers && (depends(model, row->bytes) || depends(model, row->room)))
            return model->tensors[i].name;
    }
    return NULL;
}

pens_status pens_advance(pens_session *session, pens_error *error)
{
    const pens_model *model = session->model;
    if (model->kept == 0 || session->sizes[model->length] == session->length)
        return PENS_OK;
    const char *name = growing(model);
    if (name != NULL)
        return pens_fail(error, PENS_NO_SIZES, "The size of %.200s follows from the rows that the session keeps, "
                         "which are others since the last run.", name);
    for (uint32_t i = 0; i < pens_free_symbols(model); i++)
        session->asked[i] = session->sizes[i];
    session->asked[model->length] = session->length;
    return pens_change_sizes(session, session->asked, error);
}

void pens_grow(pens_session *session)
{
    const pens_model *model = session->model;
    if (model->kept > 0)
        pens_evaluate(model, model->grown, session->sizes, &session->length, NULL); /* it has been: see pens_check_room */
}

int64_t pens_session_length(const pens_session *session)
{
    return session->length;
}

pens_status pens_session_reset(pens_session *session, int64_t length, pens_error *error)
{
    if (session == NULL || session->model->kept == 0)
        return pens_fail(error, PENS_INVALID_ARGUMENT, "A session is reset that keeps something from run to run.");
    if (atomic_flag_test_and_set_explicit(&session->busy, memory_order_acquire))
        return pens_fail(error, PENS_SESSION_BUSY, "The session is already running in another thread.");
    pens_status status = PENS_OK;
    if (length < 0 || length > session->length)
        status = pens_fail(error, PENS_INVALID_ARGUMENT, "A session that keeps %lld rows cannot go back to %lld.",
                           (long long)session->length, (long long)length);
    else
        session->length = length;
    atomic_flag_clear_explicit(&session->busy, memory_order_release);
    return status;
}
