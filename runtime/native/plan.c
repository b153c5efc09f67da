/* plan.bin: every index, offset and length is checked here, so that running needs no checks: once when a model is
 * loaded, and what depends on sizes again whenever they change. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 64, MAX_GUARDS = 32 };

static pens_status damaged(pens_error *error, const char *what)
{
    return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: %s.", what);
}

const char *pens_text(const pens_model *model, uint32_t offset, uint32_t bytes)
{
    const pens_span *strings = &model->tables[TABLE_STRINGS];
    if (offset >= strings->bytes || bytes >= strings->bytes - offset || strings->data[(uint64_t)offset + bytes] != 0)
        return NULL;
    return (const char *)strings->data + offset;
}

static pens_status read_tables(pens_model *model, pens_error *error)
{
    static const uint32_t sizes[TABLE_COUNT] = PENS_RECORD_BYTES;
    const pens_span plan = model->plan;
    if (plan.bytes < sizeof(plan_header) || memcmp(plan.data, PENS_PLAN_MAGIC, 8) != 0)
        return damaged(error, "plan.bin is not a plan");
    model->header = (const plan_header *)plan.data;
    if (model->header->version != PENS_FORMAT_VERSION)
        return pens_fail(error, PENS_WRONG_VERSION, "The plan has format version %u and this runtime reads version %u.",
                         model->header->version, PENS_FORMAT_VERSION);
    if (model->header->table_count != TABLE_COUNT || model->header->plan_bytes != plan.bytes ||
        plan.bytes < sizeof(plan_header) + TABLE_COUNT * sizeof(plan_table))
        return damaged(error, "plan.bin's tables are broken");
    const plan_table *directory = (const plan_table *)(plan.data + sizeof(plan_header));
    for (int i = 0; i < TABLE_COUNT; i++) {
        const plan_table *t = &directory[i];
        uint64_t bytes = (uint64_t)t->count * sizes[i];
        if (t->record_bytes != sizes[i] || t->offset > plan.bytes || bytes > plan.bytes - t->offset || t->offset % 8)
            return damaged(error, "a table of plan.bin lies outside it");
        model->tables[i] = (pens_span){plan.data + t->offset, bytes};
        model->counts[i] = t->count;
    }
    return PENS_OK;
}

static const uint8_t element_bytes[] = {0, 2, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* A quantity's number; -1 if it is an extent and its value not known yet. */
static int64_t known(plan_quantity quantity, const int64_t *values)
{
    return quantity >= 0 ? quantity : values != NULL ? values[-1 - quantity] : -1;
}

/* The size of a tensor is that of its shape, as far as both are known. */
static int bytes_fit(const pens_model *model, const plan_tensor *row, const int64_t *values)
{
    int64_t bytes = element_bytes[row->dtype], whole = known(row->bytes, values);
    for (uint32_t d = 0; d < row->rank; d++) {
        int64_t extent = known(PENS_ROW(model, plan_dim, TABLE_DIMS, row->first_dim + d)->extent, values);
        if (extent < 0)
            return 1;
        if (__builtin_mul_overflow(bytes, extent, &bytes))
            return 0;
    }
    return whole < 0 || whole == bytes;
}

/* A tensor is no larger than the memory for it, as far as both are known. */
static int room_fits(const plan_tensor *row, const int64_t *values)
{
    int64_t bytes = known(row->bytes, values), room = known(row->room, values);
    return bytes < 0 || room < 0 || bytes <= room;
}

static pens_status read_tensors(pens_model *model, pens_error *error)
{
    uint32_t count = model->counts[TABLE_TENSORS], dims = model->counts[TABLE_DIMS];
    if ((uint64_t)model->header->input_count + model->header->output_count != count)
        return damaged(error, "inputs and outputs are miscounted");
    model->tensors = calloc(count + 1u, sizeof *model->tensors);
    model->shapes = calloc(dims + 1u, sizeof *model->shapes);
    model->texts = calloc(dims + 1u, sizeof *model->texts);
    if (model->tensors == NULL || model->shapes == NULL || model->texts == NULL)
        return pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the model's description does not fit.");
    for (uint32_t i = 0; i < dims; i++) {
        plan_quantity extent = PENS_ROW(model, plan_dim, TABLE_DIMS, i)->extent;
        if (!pens_is_quantity(model, extent))
            return damaged(error, "an extent is not described");
        model->shapes[i] = extent < 0 ? -1 : extent;
        if (extent < 0) {
            const plan_extent *e = PENS_ROW(model, plan_extent, TABLE_EXTENTS, (uint32_t)(-1 - extent));
            model->texts[i] = pens_text(model, e->text_offset, e->text_bytes);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        const plan_tensor *row = PENS_ROW(model, plan_tensor, TABLE_TENSORS, i);
        int counted = 0;
        const char *name = pens_text(model, row->name_offset, row->name_bytes);
        if (name == NULL || row->dtype == 0 || row->dtype > PENS_UI2 || row->rank > MAX_RANK ||
            row->first_dim > dims || row->rank > dims - row->first_dim)
            return damaged(error, "an input or output is described wrongly");
        if (!pens_is_quantity(model, row->bytes) || !pens_is_quantity(model, row->room) || !bytes_fit(model, row, NULL))
            return damaged(error, "an input or output has a size that its shape contradicts");
        for (uint32_t d = 0; d < row->rank; d++)
            counted |= pens_level(model, PENS_ROW(model, plan_dim, TABLE_DIMS, row->first_dim + d)->extent) > 0;
        counted |= pens_level(model, row->bytes) > 0;
        if (pens_level(model, row->room) > 0 || (counted && i < model->header->input_count) ||
            (row->bytes >= 0 && row->room >= 0 && row->room < row->bytes))
            return damaged(error, "memory for an input or output depends on what is counted");
        model->tensors[i] = (pens_tensor){name, (pens_dtype)row->dtype, row->rank, model->shapes + row->first_dim,
                                          row->bytes < 0 ? PENS_UNKNOWN : (uint64_t)row->bytes,
                                          model->texts + row->first_dim};
    }
    return PENS_OK;
}

pens_status pens_read_plan(pens_model *model, pens_error *error)
{
    pens_status status = read_tables(model, error);
    if (status == PENS_OK)
        status = pens_check_extents(model, error);
    if (status == PENS_OK)
        status = read_tensors(model, error);
    if (status == PENS_OK)
        status = pens_read_states(model, error);
    if (status != PENS_OK)
        return status;
    for (uint32_t i = 0; i < model->counts[TABLE_VARIANTS]; i++) {
        const plan_variant *v = PENS_ROW(model, plan_variant, TABLE_VARIANTS, i);
        if (pens_text(model, v->isa_offset, v->isa_bytes) == NULL)
            return damaged(error, "an instruction set has no name");
    }
    for (uint32_t i = 0; i < model->counts[TABLE_KERNELS]; i++) {
        const plan_kernel *k = PENS_ROW(model, plan_kernel, TABLE_KERNELS, i);
        if (pens_text(model, k->name_offset, k->name_bytes) == NULL)
            return damaged(error, "a kernel has no name");
    }
    return PENS_OK;
}

/* The size of the space an argument names: -1 if it is not known yet, -2 if there is no such space. */
static int64_t space_bytes(const pens_model *model, const plan_variant *variant, const plan_argument *a,
                           const int64_t *values)
{
    const plan_header *h = model->header;
    switch (a->space) {
    case SPACE_ARENA:
        if (model->counts[TABLE_SYMBOLS] > 0 || model->counts[TABLE_BUFFERS] > 0)
            return 0; /* memory is that of the buffers: see place_all */
        return variant->arena_bytes < 0 ? -2 : variant->arena_bytes;
    case SPACE_WEIGHTS:
        return h->weights_bytes > INT64_MAX ? -2 : (int64_t)h->weights_bytes;
    case SPACE_INPUT:
        if (a->index >= h->input_count)
            return -2;
        return known(PENS_ROW(model, plan_tensor, TABLE_TENSORS, a->index)->bytes, values);
    case SPACE_OUTPUT:
        if (a->index >= h->output_count)
            return -2;
        return known(PENS_ROW(model, plan_tensor, TABLE_TENSORS, h->input_count + a->index)->room, values);
    case SPACE_SIZES:
        return 8 * (int64_t)model->counts[TABLE_SIZES];
    case SPACE_BUFFER:
        if (a->index >= model->counts[TABLE_BUFFERS])
            return -2;
        return known(PENS_ROW(model, plan_buffer, TABLE_BUFFERS, a->index)->bytes, values);
    default:
        return -2;
    }
}

static int argument_fits(const pens_model *model, const plan_variant *variant, const plan_argument *a, int written,
                         uint32_t command, const int64_t *values)
{
    if (!pens_is_quantity(model, a->offset) || !pens_is_quantity(model, a->bytes))
        return 0;
    int64_t whole = space_bytes(model, variant, a, values), offset = known(a->offset, values);
    int64_t bytes = known(a->bytes, values);
    if (whole == -2 ||
        (written && (a->space == SPACE_WEIGHTS || a->space == SPACE_INPUT || a->space == SPACE_SIZES)))
        return 0;
    if (a->space == SPACE_BUFFER) {
        const plan_buffer *b = PENS_ROW(model, plan_buffer, TABLE_BUFFERS, a->index);
        if (command < b->first || command > b->last)
            return 0;
    }
    int64_t reach;
    if (!pens_reach(model, a, values, &reach))
        return 0;
    if (whole < 0)
        return 1;
    whole -= offset < 0 ? 0 : offset;
    return whole >= 0 && bytes <= whole && reach <= whole - (bytes < 0 ? 0 : bytes);
}

/* Is all of a command that is known under `values` (NULL: only numbers) in bounds? */
static int command_fits(const pens_model *model, const plan_variant *variant, uint32_t number, const int64_t *values)
{
    const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, variant->first_command + number);
    uint32_t arguments = (uint32_t)c->read_count + c->write_count;
    if (c->guard_count > MAX_GUARDS || c->team > (c->kind == COMMAND_DISPATCH))
        return 0;
    arguments += c->guard_count;
    if (c->device != 0 || c->first_argument > model->counts[TABLE_ARGUMENTS] ||
        arguments > model->counts[TABLE_ARGUMENTS] - c->first_argument || c->grain < 1 ||
        !pens_is_quantity(model, c->units) || !pens_is_quantity(model, c->flops) ||
        !pens_is_quantity(model, c->bytes) || pens_text(model, c->source_offset, c->source_bytes) == NULL ||
        pens_text(model, c->message_offset, c->message_bytes) == NULL)
        return 0;
    const plan_argument *from = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
    for (uint32_t i = 0; i < arguments; i++)
        if (!argument_fits(model, variant, &from[i],
                           i >= c->read_count && i < (uint32_t)c->read_count + c->write_count, number, values))
            return 0;
    for (uint32_t i = arguments - c->guard_count; i < arguments; i++)
        if (from[i].bytes != 1)
            return 0;
    if (c->kind == COMMAND_DISPATCH)
        return c->kernel < variant->kernel_count && c->write_count > 0;
    if (c->kind == COMMAND_LOOP)
        return c->read_count == 2 && c->write_count == 1 && from[0].bytes == 8 && from[1].bytes == 1 && from[2].bytes == 8;
    if (c->kind == COMMAND_NEXT)
        return c->read_count == 1 && c->write_count == 1 && c->guard_count == 0 && from[0].bytes == 1 && from[1].bytes == 8;
    if (c->read_count != 1)
        return 0;
    int64_t bytes = known(from->bytes, values);
    if (c->kind == COMMAND_CHECK)
        return c->write_count == 0 && (bytes < 0 || bytes == 1);
    if (c->kind == COMMAND_BIND)
        return c->write_count == 0 && c->guard_count == 0 && from->bytes == 8;
    if (c->kind != COMMAND_COPY || c->write_count != 1)
        return 0;
    int64_t written = known(from[1].bytes, values);
    return bytes < 0 || written < 0 || bytes == written;
}

/* Is what a command needs known once `bound` symbols have been counted? Only how much a kernel writes need not be: it
 * writes as much as has room. */
static int is_known(const pens_model *model, const plan_command *c, uint32_t bound)
{
    const plan_argument *a = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
    uint32_t given = pens_free_symbols(model) + bound;
    if (pens_level(model, c->units) > bound)
        return 0;
    for (uint32_t i = 0; i < PENS_ARGUMENTS(c); i++, a++) {
        int whole = i >= c->read_count && i < (uint32_t)c->read_count + c->write_count && c->kind == COMMAND_DISPATCH;
        if (pens_level(model, a->offset) > bound || pens_move_level(model, a) > bound ||
            (!whole && pens_level(model, a->bytes) > bound))
            return 0;
        if (a->space != SPACE_SIZES || bound == model->counts[TABLE_COUNTED])
            continue;
        if (a->offset < 0 || a->bytes < 0)
            return 0;
        for (int64_t slot = a->offset / 8; slot < (a->offset + a->bytes + 7) / 8; slot++)
            if (PENS_ROW(model, plan_size, TABLE_SIZES, slot)->symbol >= given)
                return 0;
    }
    return 1;
}

/* Has a command before `number` written what this argument reads? */
static int is_written(const pens_model *model, const plan_variant *v, uint32_t number, const plan_argument *read)
{
    for (uint32_t i = 0; i < number; i++) {
        const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, v->first_command + i);
        const plan_argument *a = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument) + c->read_count;
        for (const plan_argument *end = a + c->write_count; a < end; a++)
            if (a->space == read->space && a->index == read->index && a->offset == read->offset &&
                a->bytes == read->bytes)
                return 1;
    }
    return 0;
}

/* Every counted symbol is bound once, in order, from memory that has been written, before its value is needed. */
static pens_status check_counting(const pens_model *model, const plan_variant *v, pens_error *error)
{
    uint32_t bound = 0, counted = model->counts[TABLE_COUNTED];
    for (uint32_t i = 0; i < v->command_count; i++) {
        const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, v->first_command + i);
        if (c->kind == COMMAND_BIND) {
            bound += bound < counted && pens_told_symbol(model, c->units) == pens_free_symbols(model) + bound;
            if (!is_written(model, v, i, PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument)))
                return damaged(error, "a number is read that nothing has counted");
        }
        if (!is_known(model, c, bound))
            return pens_fail(error, PENS_DAMAGED,
                             "The artifact is damaged: command %u depends on what has not been counted yet.", i);
    }
    return bound == counted ? PENS_OK : damaged(error, "a symbol is never counted");
}

pens_status pens_check_variant(const pens_model *model, const plan_variant *v, pens_error *error)
{
    uint32_t kernels = model->counts[TABLE_KERNELS], commands = model->counts[TABLE_COMMANDS];
    int placed = model->counts[TABLE_BUFFERS] > 0;
    if (v->first_kernel > kernels || v->kernel_count > kernels - v->first_kernel || v->first_command > commands ||
        v->command_count > commands - v->first_command || !pens_is_quantity(model, v->arena_bytes) ||
        !pens_is_quantity(model, v->scratch_bytes) || (v->arena_bytes < 0 && !placed) ||
        pens_level(model, v->arena_bytes) > 0 || pens_level(model, v->scratch_bytes) > 0 ||
        v->arena_bytes > INT64_MAX / 2 || v->scratch_bytes > INT64_MAX / 65536)
        return damaged(error, "a plan's tables are miscounted");
    if (model->counts[TABLE_NEEDS] != (uint64_t)model->header->output_count * PENS_NEED_WORDS(v))
        return damaged(error, "what its outputs need is miscounted");
    for (uint32_t i = 0; i < v->kernel_count; i++)
        if (PENS_ROW(model, plan_kernel, TABLE_KERNELS, v->first_kernel + i)->entry >= v->image_bytes)
            return damaged(error, "a kernel lies outside the code");
    for (uint32_t i = 0; i < v->command_count; i++)
        if (!command_fits(model, v, i, NULL))
            return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: command %u is out of bounds.", i);
    pens_status status = pens_check_loops(model, v, error);
    return status == PENS_OK ? check_counting(model, v, error) : status;
}

pens_status pens_check_sizes(const pens_model *model, const int64_t *sizes, const int64_t *values,
                             const uint32_t *levels, uint32_t level, pens_error *error)
{
    char given[200];
    pens_describe_sizes(model, sizes, given, sizeof given);
    for (uint32_t i = 0; i < model->counts[TABLE_TENSORS]; i++)
        if (!bytes_fit(model, PENS_ROW(model, plan_tensor, TABLE_TENSORS, i), values) ||
            !room_fits(PENS_ROW(model, plan_tensor, TABLE_TENSORS, i), values))
            return pens_fail(error, PENS_WRONG_SIZES, "With %s the shape of %.200s is too large.", given,
                             model->tensors[i].name);
    for (uint32_t i = 0; i < model->variant->command_count; i++)
        if ((levels == NULL || levels[i] >= level) && !command_fits(model, model->variant, i, values)) {
            const plan_command *c = PENS_ROW(model, plan_command, TABLE_COMMANDS, model->variant->first_command + i);
            return pens_fail(error, PENS_WRONG_SIZES, "With %s the command %.200s leaves its memory.", given,
                             pens_text(model, c->source_offset, c->source_bytes));
        }
    return PENS_OK;
}
