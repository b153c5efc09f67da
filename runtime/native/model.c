/* Loading: map the file, check archive and plan, choose the code for this CPU and map it executable. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_VARIANTS = 64 };

static const char *isa_name(const pens_model *model, const plan_variant *variant)
{
    return (const char *)model->tables[TABLE_STRINGS].data + variant->isa_offset;
}

/* The best variant this CPU runs, or the one asked for. */
static pens_status choose_variant(pens_model *model, const char *wanted, pens_error *error)
{
    char offered[200] = "";
    int best = 0;
    for (uint32_t i = 0; i < model->counts[TABLE_VARIANTS]; i++) {
        const plan_variant *v = PENS_ROW(model, plan_variant, TABLE_VARIANTS, i);
        const char *isa = isa_name(model, v);
        size_t used = strlen(offered);
        snprintf(offered + used, sizeof offered - used, "%s%s", used ? ", " : "", isa);
        int rank = pens_isa_rank(isa, v->isa_bytes), runs = pens_cpu_runs(isa, v->isa_bytes);
        if (wanted != NULL && strcmp(isa, wanted) == 0) {
            if (!runs)
                return pens_fail(error, PENS_ISA_UNAVAILABLE,
                                 "The instruction set %s was asked for, but this CPU cannot run it.", wanted);
            model->variant = v;
            return PENS_OK;
        }
        if (wanted == NULL && runs && rank > best) {
            best = rank;
            model->variant = v;
        }
    }
    if (wanted != NULL)
        return pens_fail(error, PENS_ISA_UNAVAILABLE,
                         "The instruction set %s was asked for, but the artifact has code for %s.", wanted, offered);
    if (model->variant == NULL)
        return pens_fail(error, PENS_NO_CODE_FOR_CPU, "The artifact has code for %s, none of which this CPU can run.",
                         offered[0] ? offered : "no instruction set");
    return PENS_OK;
}

/* What the host asks for, or whoever runs it: PENSTOCK_ISA takes a CPU's fallback without touching the host. */
static const char *wanted_isa(const pens_load_options *options)
{
    const char *named = options != NULL && options->isa != NULL ? options->isa : getenv("PENSTOCK_ISA");
    return named != NULL && named[0] != '\0' ? named : NULL;
}

/* A variant's code, its checksum checked. */
static pens_status find_code(const pens_model *model, const plan_variant *variant, pens_member *member,
                             pens_error *error)
{
    char name[128];
    snprintf(name, sizeof name, "code/%s", isa_name(model, variant));
    pens_status status = pens_find_member(model, name, 1, member, error);
    if (status == PENS_OK && (member->span.bytes != variant->image_bytes || member->span.bytes == 0))
        return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: %s has an unexpected size.", name);
    return status;
}

/* The code this CPU does not take is checked too: a damaged file is to be found on any machine. */
static pens_status check_other_code(const pens_model *model, pens_error *error)
{
    pens_member member;
    pens_status status = PENS_OK;
    if (model->counts[TABLE_VARIANTS] > MAX_VARIANTS)
        return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: it has code for more than %d instruction sets.",
                         MAX_VARIANTS);
    for (uint32_t i = 0; status == PENS_OK && i < model->counts[TABLE_VARIANTS]; i++) {
        const plan_variant *variant = PENS_ROW(model, plan_variant, TABLE_VARIANTS, i);
        if (variant != model->variant)
            status = find_code(model, variant, &member, error);
    }
    return status;
}

/* Map the code: straight from the file when it is page aligned there, else copied to fresh pages. */
static pens_status map_code(pens_model *model, pens_error *error)
{
    pens_member member;
    pens_status status = find_code(model, model->variant, &member, error);
    if (status != PENS_OK)
        return status;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    void *image = MAP_FAILED;
    if (model->fd >= 0 && member.offset % page == 0)
        image = mmap(NULL, member.span.bytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, model->fd, (off_t)member.offset);
    if (image == MAP_FAILED) {
        image = mmap(NULL, member.span.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (image == MAP_FAILED)
            return pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the model's code does not fit.");
        memcpy(image, member.span.data, member.span.bytes);
        if (mprotect(image, member.span.bytes, PROT_READ | PROT_EXEC) != 0) {
            munmap(image, member.span.bytes);
            return pens_fail(error, PENS_CANNOT_READ, "Cannot make the model's code executable: %s.", strerror(errno));
        }
    }
    model->image = image;
    model->image_bytes = member.span.bytes;
    return PENS_OK;
}

static pens_status open_model(pens_model *model, const pens_load_options *options, pens_error *error)
{
    pens_member member = {{NULL, 0}, 0, 0};
    pens_status status = pens_check_archive(model, error);
    if (status == PENS_OK)
        status = pens_find_member(model, "manifest.json", 1, &member, error);
    model->manifest = member.span;
    if (status == PENS_OK)
        status = pens_find_member(model, "plan.bin", 1, &member, error);
    if (status != PENS_OK)
        return status;
    if ((uintptr_t)member.span.data % 8 != 0)
        return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: plan.bin is not aligned.");
    model->plan = member.span;
    status = pens_read_plan(model, error);
    if (status == PENS_OK)
        status = pens_find_member(model, "weights.bin", options && options->verify_weights ? 2 : 0, &member, error);
    if (status != PENS_OK)
        return status;
    if (member.span.bytes != model->header->weights_bytes || (uintptr_t)member.span.data % 64 != 0)
        return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: weights.bin has an unexpected size or place.");
    model->weights = member.span.data;
    status = choose_variant(model, wanted_isa(options), error);
    if (status == PENS_OK)
        status = pens_check_variant(model, model->variant, error);
    if (status == PENS_OK)
        status = check_other_code(model, error);
    if (status == PENS_OK)
        status = map_code(model, error);
    return status == PENS_OK ? pens_load_specials(model, error) : status;
}

static pens_status finish_load(pens_model *model, const pens_load_options *options, pens_model **result,
                               pens_error *error)
{
    pens_status status = open_model(model, options, error);
    if (model->fd >= 0) {
        close(model->fd);
        model->fd = -1;
    }
    if (status != PENS_OK) {
        pens_unload(model);
        return status;
    }
    *result = model;
    return PENS_OK;
}

static pens_model *new_model(pens_error *error)
{
    pens_model *model = calloc(1, sizeof *model);
    if (model == NULL)
        pens_fail(error, PENS_OUT_OF_MEMORY, "Not enough memory: the model's description does not fit.");
    else
        model->fd = -1;
    return model;
}

pens_status pens_load_file(const char *path, const pens_load_options *options, pens_model **result, pens_error *error)
{
    struct stat information;
    *result = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return pens_fail(error, PENS_CANNOT_READ, "Cannot read %.300s: %s.", path, strerror(errno));
    if (fstat(fd, &information) != 0 || !S_ISREG(information.st_mode) || information.st_size == 0) {
        close(fd);
        return pens_fail(error, PENS_NOT_AN_ARTIFACT, "%.300s is not a penstock artifact.", path);
    }
    pens_model *model = new_model(error);
    if (model == NULL) {
        close(fd);
        return PENS_OUT_OF_MEMORY;
    }
    void *file = mmap(NULL, (size_t)information.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED) {
        close(fd);
        free(model);
        return pens_fail(error, PENS_CANNOT_READ, "Cannot read %.300s: %s.", path, strerror(errno));
    }
    model->file = file;
    model->file_bytes = (uint64_t)information.st_size;
    model->mapped = 1;
    model->fd = fd;
    return finish_load(model, options, result, error);
}

pens_status pens_load_memory(const void *data, size_t bytes, const pens_load_options *options, pens_model **result,
                             pens_error *error)
{
    *result = NULL;
    if (data == NULL || (uintptr_t)data % 64 != 0)
        return pens_fail(error, PENS_INVALID_ARGUMENT, "An artifact in memory must start at a multiple of 64 bytes.");
    pens_model *model = new_model(error);
    if (model == NULL)
        return PENS_OUT_OF_MEMORY;
    model->file = data;
    model->file_bytes = bytes;
    return finish_load(model, options, result, error);
}

/* What was allocated to describe a plan. */
static void free_description(pens_model *model)
{
    free(model->tensors);
    free(model->shapes);
    free(model->levels);
    free((void *)model->texts);
    free(model->from);
}

void pens_unload(pens_model *model)
{
    if (model == NULL)
        return;
    if (model->image != NULL)
        munmap(model->image, model->image_bytes);
    if (model->mapped)
        munmap((void *)(uintptr_t)model->file, model->file_bytes);
    for (uint32_t i = 0; model->specials != NULL && i < model->counts[TABLE_SPECIALS]; i++)
        free_description(&model->specials[i]);
    free(model->specials);
    free_description(model);
    free(model);
}

const char *pens_manifest(const pens_model *model, size_t *bytes)
{
    *bytes = model->manifest.bytes;
    return (const char *)model->manifest.data;
}

uint32_t pens_input_count(const pens_model *model)
{
    return pens_inputs(model);
}

uint32_t pens_output_count(const pens_model *model)
{
    return pens_outputs(model);
}

pens_tensor pens_input(const pens_model *model, uint32_t index)
{
    return index < pens_inputs(model) ? model->tensors[index] : (pens_tensor){0};
}

pens_tensor pens_output(const pens_model *model, uint32_t index)
{
    return index < pens_outputs(model) ? model->tensors[model->header->input_count + index] : (pens_tensor){0};
}

const char *pens_isa(const pens_model *model)
{
    return isa_name(model, model->variant);
}

uint32_t pens_command_count(const pens_model *model)
{
    return model->variant->command_count;
}

void pens_memory(const pens_model *model, uint64_t *weights, uint64_t *arena, uint64_t *scratch_per_thread)
{
    *weights = model->header->weights_bytes;
    int placed = model->counts[TABLE_BUFFERS] > 0;
    int64_t arena_bytes = model->variant->arena_bytes, scratch = model->variant->scratch_bytes;
    *arena = placed ? PENS_UNKNOWN : (uint64_t)arena_bytes;
    *scratch_per_thread = scratch < 0 ? PENS_UNKNOWN : (uint64_t)scratch;
}

uint32_t pens_symbol_count(const pens_model *model)
{
    return pens_free_symbols(model);
}

uint32_t pens_counted_count(const pens_model *model)
{
    return model->counts[TABLE_COUNTED];
}

pens_symbol pens_symbol_info(const pens_model *model, uint32_t index)
{
    if (index >= model->counts[TABLE_SYMBOLS])
        return (pens_symbol){0};
    const plan_symbol *s = PENS_ROW(model, plan_symbol, TABLE_SYMBOLS, index);
    return (pens_symbol){pens_symbol_name(model, index), s->low, s->high};
}
