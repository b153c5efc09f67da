/* plan.bin: every index, offset and length is checked here, once, so that running needs no checks. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 64, MAX_GUARDS = 32 };

static pens_status damaged(pens_error *error, const char *what)
{
    return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: %s.", what);
}

/* A string of the string table, zero-terminated there; NULL if it is not. */
static const char *text(const pens_model *model, uint32_t offset, uint32_t bytes)
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

static pens_status read_tensors(pens_model *model, pens_error *error)
{
    uint32_t count = model->counts[TABLE_TENSORS], dims = model->counts[TABLE_DIMS];
    if ((uint64_t)model->header->input_count + model->header->output_count != count)
        return damaged(error, "inputs and outputs are miscounted");
    model->tensors = calloc(count + 1u, sizeof *model->tensors);
    model->shapes = calloc(dims + 1u, sizeof *model->shapes);
    if (model->tensors == NULL || model->shapes == NULL)
        return pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the model's description does not fit.");
    for (uint32_t i = 0; i < dims; i++) {
        const plan_dim *dim = PENS_ROW(model, plan_dim, TABLE_DIMS, i);
        if (dim->kind != DIM_STATIC || dim->value < 0)
            return damaged(error, "an extent is not a static size");
        model->shapes[i] = dim->value;
    }
    for (uint32_t i = 0; i < count; i++) {
        const plan_tensor *row = PENS_ROW(model, plan_tensor, TABLE_TENSORS, i);
        const char *name = text(model, row->name_offset, row->name_bytes);
        if (name == NULL || row->dtype == 0 || row->dtype > PENS_UI2 || row->rank > MAX_RANK ||
            row->first_dim > dims || row->rank > dims - row->first_dim)
            return damaged(error, "an input or output is described wrongly");
        uint64_t bytes = element_bytes[row->dtype];
        for (uint32_t d = 0; d < row->rank; d++)
            if (__builtin_mul_overflow(bytes, (uint64_t)model->shapes[row->first_dim + d], &bytes))
                return damaged(error, "an input or output is too large");
        if (bytes != row->bytes)
            return damaged(error, "an input or output has a size that its shape contradicts");
        model->tensors[i] = (pens_tensor){name, (pens_dtype)row->dtype, row->rank, model->shapes + row->first_dim, bytes};
    }
    return PENS_OK;
}

pens_status pens_read_plan(pens_model *model, pens_error *error)
{
    pens_status status = read_tables(model, error);
    if (status == PENS_OK)
        status = read_tensors(model, error);
    if (status != PENS_OK)
        return status;
    for (uint32_t i = 0; i < model->counts[TABLE_VARIANTS]; i++) {
        const plan_variant *v = PENS_ROW(model, plan_variant, TABLE_VARIANTS, i);
        if (text(model, v->isa_offset, v->isa_bytes) == NULL)
            return damaged(error, "an instruction set has no name");
    }
    for (uint32_t i = 0; i < model->counts[TABLE_KERNELS]; i++) {
        const plan_kernel *k = PENS_ROW(model, plan_kernel, TABLE_KERNELS, i);
        if (text(model, k->name_offset, k->name_bytes) == NULL)
            return damaged(error, "a kernel has no name");
    }
    return PENS_OK;
}

static int argument_fits(const pens_model *model, const plan_variant *variant, const plan_argument *a, int written)
{
    const plan_header *h = model->header;
    uint64_t bytes;
    switch (a->space) {
    case SPACE_ARENA:
        bytes = variant->arena_bytes;
        break;
    case SPACE_WEIGHTS:
        bytes = h->weights_bytes;
        break;
    case SPACE_INPUT:
        if (a->index >= h->input_count)
            return 0;
        bytes = model->tensors[a->index].bytes;
        break;
    case SPACE_OUTPUT:
        if (a->index >= h->output_count)
            return 0;
        bytes = model->tensors[h->input_count + a->index].bytes;
        break;
    default:
        return 0;
    }
    if (written && (a->space == SPACE_WEIGHTS || a->space == SPACE_INPUT))
        return 0;
    return a->offset <= bytes && a->bytes <= bytes - a->offset;
}

static int command_fits(const pens_model *model, const plan_variant *variant, const plan_command *c)
{
    uint32_t arguments = (uint32_t)c->read_count + c->write_count;
    if (c->guard_count > MAX_GUARDS)
        return 0;
    arguments += c->guard_count;
    if (c->device != 0 || c->first_argument > model->counts[TABLE_ARGUMENTS] ||
        arguments > model->counts[TABLE_ARGUMENTS] - c->first_argument || c->units < 0 || c->grain < 1 ||
        text(model, c->source_offset, c->source_bytes) == NULL ||
        text(model, c->message_offset, c->message_bytes) == NULL)
        return 0;
    for (uint32_t i = 0; i < arguments; i++)
        if (!argument_fits(model, variant, PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument + i),
                           i >= c->read_count && i < (uint32_t)c->read_count + c->write_count))
            return 0;
    for (uint32_t i = arguments - c->guard_count; i < arguments; i++)
        if (PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument + i)->bytes != 1)
            return 0;
    if (c->kind == COMMAND_DISPATCH)
        return c->kernel < variant->kernel_count && c->write_count > 0;
    if (c->read_count != 1)
        return 0;
    const plan_argument *from = PENS_ROW(model, plan_argument, TABLE_ARGUMENTS, c->first_argument);
    if (c->kind == COMMAND_CHECK)
        return c->write_count == 0 && from->bytes == 1;
    return c->kind == COMMAND_COPY && c->write_count == 1 && from[0].bytes == from[1].bytes;
}

pens_status pens_check_variant(const pens_model *model, const plan_variant *v, pens_error *error)
{
    uint32_t kernels = model->counts[TABLE_KERNELS], commands = model->counts[TABLE_COMMANDS];
    if (v->first_kernel > kernels || v->kernel_count > kernels - v->first_kernel || v->first_command > commands ||
        v->command_count > commands - v->first_command || v->arena_bytes > UINT64_MAX / 4 ||
        v->scratch_bytes > UINT64_MAX / 65536)
        return damaged(error, "a plan's tables are miscounted");
    if (model->counts[TABLE_NEEDS] != (uint64_t)model->header->output_count * PENS_NEED_WORDS(v))
        return damaged(error, "what its outputs need is miscounted");
    for (uint32_t i = 0; i < v->kernel_count; i++)
        if (PENS_ROW(model, plan_kernel, TABLE_KERNELS, v->first_kernel + i)->entry >= v->image_bytes)
            return damaged(error, "a kernel lies outside the code");
    for (uint32_t i = 0; i < v->command_count; i++)
        if (!command_fits(model, v, PENS_ROW(model, plan_command, TABLE_COMMANDS, v->first_command + i)))
            return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: command %u is out of bounds.", i);
    return PENS_OK;
}
