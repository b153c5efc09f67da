/* Extents: programs that compute a size from the symbols of a model. Checked when a model is loaded, so that
 * evaluating them can only overflow, divide by less than one or give a negative size, and says so. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pens_status damaged(pens_error *error, const char *what)
{
    return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: %s.", what);
}

/* A program leaves one number, and never takes more from the stack than there is, or puts on more than fits. */
static int is_program(const pens_model *model, const plan_extent *e)
{
    uint32_t terms = model->counts[TABLE_TERMS], depth = 0;
    if (e->first_term > terms || e->term_count > terms - e->first_term || e->term_count > TERMS_MOST)
        return 0;
    for (uint32_t i = 0; i < e->term_count; i++) {
        const plan_term *t = PENS_ROW(model, plan_term, TABLE_TERMS, e->first_term + i);
        if (t->kind == TERM_CONSTANT || (t->kind == TERM_SYMBOL && t->symbol < model->counts[TABLE_SYMBOLS])) {
            if (++depth > TERMS_DEEPEST)
                return 0;
        } else if (t->kind < TERM_ADD || t->kind > TERM_MIN || depth-- < 2) {
            return 0;
        }
    }
    return depth == 1;
}

/* How many symbols must have been counted before the value of an extent is known. */
static uint32_t level_of(const pens_model *model, const plan_extent *e)
{
    uint32_t given = pens_free_symbols(model), level = 0;
    for (uint32_t i = 0; i < e->term_count; i++) {
        const plan_term *t = PENS_ROW(model, plan_term, TABLE_TERMS, e->first_term + i);
        if (t->kind == TERM_SYMBOL && t->symbol >= given && t->symbol - given + 1 > level)
            level = t->symbol - given + 1;
    }
    return level;
}

/* The extents are programs. What bounds a counted symbol is known from the start. */
static pens_status check_counted(pens_model *model, pens_error *error)
{
    if (model->counts[TABLE_COUNTED] > model->counts[TABLE_SYMBOLS])
        return damaged(error, "more symbols are counted than there are");
    model->levels = calloc(model->counts[TABLE_EXTENTS] + 1u, sizeof *model->levels);
    if (model->levels == NULL)
        return pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the model's description does not fit.");
    for (uint32_t i = 0; i < model->counts[TABLE_EXTENTS]; i++)
        model->levels[i] = level_of(model, PENS_ROW(model, plan_extent, TABLE_EXTENTS, i));
    for (uint32_t i = 0; i < model->counts[TABLE_COUNTED]; i++) {
        plan_quantity most = PENS_ROW(model, plan_counted, TABLE_COUNTED, i)->most;
        if (!pens_is_quantity(model, most) || pens_level(model, most) > 0)
            return damaged(error, "what is counted has no bound");
    }
    return PENS_OK;
}

pens_status pens_check_extents(pens_model *model, pens_error *error)
{
    for (uint32_t i = 0; i < model->counts[TABLE_SYMBOLS]; i++) {
        const plan_symbol *s = PENS_ROW(model, plan_symbol, TABLE_SYMBOLS, i);
        if (pens_text(model, s->name_offset, s->name_bytes) == NULL || s->low < 0 || s->low > s->high)
            return damaged(error, "a symbol is described wrongly");
    }
    for (uint32_t i = 0; i < model->counts[TABLE_EXTENTS]; i++) {
        const plan_extent *e = PENS_ROW(model, plan_extent, TABLE_EXTENTS, i);
        if (pens_text(model, e->text_offset, e->text_bytes) == NULL || !is_program(model, e))
            return damaged(error, "an extent is no program");
    }
    pens_status status = check_counted(model, error);
    if (status != PENS_OK)
        return status;
    for (uint32_t i = 0; i < model->counts[TABLE_SIZES]; i++)
        if (PENS_ROW(model, plan_size, TABLE_SIZES, i)->symbol >= model->counts[TABLE_SYMBOLS])
            return damaged(error, "a size is that of no symbol");
    if (model->counts[TABLE_SYMBOLS] == 0 && (model->counts[TABLE_EXTENTS] > 0 || model->counts[TABLE_BUFFERS] > 0))
        return damaged(error, "extents without symbols");
    for (uint32_t i = 0; i < model->counts[TABLE_BUFFERS]; i++) {
        const plan_buffer *b = PENS_ROW(model, plan_buffer, TABLE_BUFFERS, i);
        if (!pens_is_quantity(model, b->bytes) || pens_level(model, b->bytes) > 0 || b->first > b->last)
            return damaged(error, "a buffer is described wrongly");
    }
    for (uint32_t i = 0; i < model->counts[TABLE_EQUALS]; i++) {
        const plan_equal *e = PENS_ROW(model, plan_equal, TABLE_EQUALS, i);
        if (!pens_is_quantity(model, e->left) || !pens_is_quantity(model, e->right))
            return damaged(error, "equal extents are described wrongly");
    }
    return PENS_OK;
}

uint32_t pens_lone_symbol(const pens_model *model, plan_quantity extent)
{
    if (extent >= 0)
        return UINT32_MAX;
    const plan_extent *e = PENS_ROW(model, plan_extent, TABLE_EXTENTS, (uint32_t)(-1 - extent));
    const plan_term *t = PENS_ROW(model, plan_term, TABLE_TERMS, e->first_term);
    return e->term_count == 1 && t->kind == TERM_SYMBOL ? t->symbol : UINT32_MAX;
}

/* Whether two terms push the same number or the same symbol. */
static int same_leaf(const plan_term *a, const plan_term *b)
{
    if (a->kind != b->kind)
        return 0;
    return a->kind == TERM_CONSTANT ? a->value == b->value : a->kind == TERM_SYMBOL && a->symbol == b->symbol;
}

uint32_t pens_told_symbol(const pens_model *model, plan_quantity extent)
{
    if (extent >= 0)
        return UINT32_MAX;
    const plan_extent *e = PENS_ROW(model, plan_extent, TABLE_EXTENTS, (uint32_t)(-1 - extent));
    const plan_term *t = PENS_ROW(model, plan_term, TABLE_TERMS, e->first_term);
    if (e->term_count != 5 || t[4].kind != TERM_MUL)
        return pens_lone_symbol(model, extent);
    /* m (h floordiv m), or (h floordiv m) m */
    const plan_term *divided = t[3].kind == TERM_FLOORDIV ? t + 1 : t, *times = divided == t ? t + 3 : t;
    if (divided[2].kind != TERM_FLOORDIV || divided[0].kind != TERM_SYMBOL || !same_leaf(divided + 1, times))
        return UINT32_MAX;
    return divided[0].symbol;
}

const char *pens_symbol_name(const pens_model *model, uint32_t index)
{
    const plan_symbol *s = PENS_ROW(model, plan_symbol, TABLE_SYMBOLS, index);
    return pens_text(model, s->name_offset, s->name_bytes);
}

/* Two numbers into one. 0 if the result does not fit, or for a division by less than one. */
static int combine(uint32_t kind, int64_t a, int64_t b, int64_t *result)
{
    switch (kind) {
    case TERM_ADD:
        return !__builtin_add_overflow(a, b, result);
    case TERM_MUL:
        return !__builtin_mul_overflow(a, b, result);
    case TERM_FLOORDIV:
        if (b < 1)
            return 0;
        *result = a / b - (a % b < 0);
        return 1;
    case TERM_MAX:
        *result = a > b ? a : b;
        return 1;
    default:
        *result = a < b ? a : b;
        return 1;
    }
}

/* 0 if a step of the program fails. */
static int evaluate(const pens_model *model, const plan_extent *e, const int64_t *sizes, int64_t *value)
{
    int64_t stack[TERMS_DEEPEST];
    uint32_t depth = 0;
    const plan_term *t = PENS_ROW(model, plan_term, TABLE_TERMS, e->first_term), *end = t + e->term_count;
    for (; t < end; t++) {
        if (t->kind == TERM_CONSTANT) {
            stack[depth++] = t->value;
        } else if (t->kind == TERM_SYMBOL) {
            stack[depth++] = sizes[t->symbol];
        } else {
            depth--;
            if (!combine(t->kind, stack[depth - 1], stack[depth], &stack[depth - 1]))
                return 0;
        }
    }
    *value = stack[0];
    return 1;
}

void pens_describe_sizes(const pens_model *model, const int64_t *sizes, char *text, size_t room)
{
    size_t used = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < model->counts[TABLE_SYMBOLS] && used < room; i++)
        if (sizes[i] >= 0)
            used += (size_t)snprintf(text + used, room - used, "%s%.60s = %lld", used ? ", " : "",
                                     pens_symbol_name(model, i), (long long)sizes[i]);
    if (used == 0)
        snprintf(text, room, "its inputs");
}

const char *pens_extent_text(const pens_model *model, plan_quantity quantity, char *number, size_t room)
{
    if (quantity < 0) {
        const plan_extent *e = PENS_ROW(model, plan_extent, TABLE_EXTENTS, (uint32_t)(-1 - quantity));
        return pens_text(model, e->text_offset, e->text_bytes);
    }
    snprintf(number, room, "%lld", (long long)quantity);
    return number;
}

pens_status pens_evaluate(const pens_model *model, plan_quantity quantity, const int64_t *sizes, int64_t *value,
                          pens_error *error)
{
    char given[200];
    if (quantity >= 0) {
        *value = quantity;
        return PENS_OK;
    }
    const plan_extent *e = PENS_ROW(model, plan_extent, TABLE_EXTENTS, (uint32_t)(-1 - quantity));
    int computed = evaluate(model, e, sizes, value);
    if (computed && *value >= 0)
        return PENS_OK;
    const char *text = pens_text(model, e->text_offset, e->text_bytes);
    pens_describe_sizes(model, sizes, given, sizeof given);
    if (!computed)
        return pens_fail(error, PENS_WRONG_SIZES, "With %s the extent %.120s is no number of 63 bits.", given, text);
    return pens_fail(error, PENS_WRONG_SIZES, "With %s the extent %.120s is %lld.", given, text, (long long)*value);
}
