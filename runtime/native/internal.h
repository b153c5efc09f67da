/* What the runtime's own files share. */
#ifndef PENS_INTERNAL_H
#define PENS_INTERNAL_H

#include "penstock.h"
#include "plan_format.h"

#include <stdatomic.h>
#include <stddef.h>

struct pens_kernel_context;

/* The threads that run one kernel together (team.c). */
typedef struct {
    uint32_t members;
    uint64_t units;
    struct pens_kernel_context *contexts;
    _Alignas(64) _Atomic uint64_t done; /* units of the phase that have been run */
    _Alignas(64) _Atomic uint32_t over; /* phases that are over */
    _Atomic uint32_t sleepers;          /* threads that sleep until a phase is over */
    _Atomic uint32_t arrived;           /* threads that have begun to run the kernel */
} pens_team;

/* What a kernel is given besides its buffers: scratch memory of the thread it runs on, 64-byte aligned; for a team kernel
 * also memory that its threads share, the first one's scratch, and `take`, which gives it a unit at a time to run and -1
 * when all units of the phase have been run by whichever thread. What follows is team.c's. */
typedef struct pens_kernel_context {
    _Alignas(64) void *scratch;
    uint64_t scratch_bytes;
    uint32_t thread;
    uint32_t phase;
    void *shared;
    int64_t (*take)(struct pens_kernel_context *context);
    pens_team *team;
    uint64_t unreported;   /* units taken in this phase that the team does not know to have been run */
    int64_t first, last;   /* its range of units */
    _Alignas(64) _Atomic uint64_t queue; /* of this range: the phase, and how many have been taken in it */
    _Atomic uint32_t arrived;            /* its thread has begun to run the team kernel */
    _Atomic uint64_t chunks;             /* of this range of a kernel without phases: which have been taken (share.c) */
} pens_kernel_context;
_Static_assert(offsetof(pens_kernel_context, shared) == 24, "kernels read it there");
_Static_assert(offsetof(pens_kernel_context, take) == 32, "kernels read it there");

typedef void (*pens_kernel)(const pens_kernel_context *context, void *const *buffers, int64_t begin, int64_t end);

/* A byte range of the artifact. */
typedef struct {
    const uint8_t *data;
    uint64_t bytes;
} pens_span;

/* One member of the artifact's zip. `offset` is that of its data in the file. */
typedef struct {
    pens_span span;
    uint64_t offset;
    uint32_t crc;
} pens_member;

struct pens_model {
    const uint8_t *file;
    uint64_t file_bytes;
    int mapped; /* `file` is our mapping */
    int fd;     /* for mapping code; -1 when loaded from memory */
    pens_span manifest, plan;
    const plan_header *header;
    pens_span tables[TABLE_COUNT];
    uint32_t counts[TABLE_COUNT];
    const plan_variant *variant;
    const uint8_t *weights;
    uint8_t *image; /* executable mapping of the variant's code */
    uint64_t image_bytes;
    pens_tensor *tensors; /* inputs, then outputs */
    int64_t *shapes;     /* -1: symbolic */
    const char **texts;  /* of symbolic extents, beside the shapes; else NULL */
    uint32_t *levels;    /* by extent: how many symbols must have been counted for its value to be known */
    uint32_t kept, length; /* how many of the last inputs and outputs sessions keep; the symbol that counts their rows */
    plan_quantity grown;   /* how many rows there are after a run */
    struct pens_model *specials; /* the plans for fixed sizes, whose file, code and weights are this model's */
    uint32_t *from;              /* of such a plan: which sizes of the general plan its own are */
};

/* Record `index` of a table; the loader has checked all indices. */
#define PENS_ROW(model, TYPE, table, index) ((const TYPE *)(model)->tables[table].data + (index))

/* How many arguments a command has: what it reads, what it writes, what guards it. */
#define PENS_ARGUMENTS(command) ((uint32_t)(command)->read_count + (command)->write_count + (command)->guard_count)

/* How many records of the table of needs an output of a variant has. */
#define PENS_NEED_WORDS(variant) (((variant)->command_count + UINT64_C(63)) / 64)

pens_status pens_fail(pens_error *error, pens_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* archive.c */
uint32_t pens_crc32(const uint8_t *data, uint64_t bytes);
pens_status pens_find_member(const pens_model *model, const char *name, int check, pens_member *member,
                             pens_error *error);
pens_status pens_check_archive(const pens_model *model, pens_error *error);

/* plan.c */
pens_status pens_read_plan(pens_model *model, pens_error *error);
pens_status pens_check_variant(const pens_model *model, const plan_variant *variant, pens_error *error);
/* The checks of the chosen variant that had to wait for `sizes`; `values` are those of the extents it uses, -1 for what
 * has not been counted yet. Only of commands of `level` or more, where `levels` gives them; else of all. */
pens_status pens_check_sizes(const pens_model *model, const int64_t *sizes, const int64_t *values,
                             const uint32_t *levels, uint32_t level, pens_error *error);
/* A string of the string table, zero-terminated there; NULL if it is not. */
const char *pens_text(const pens_model *model, uint32_t offset, uint32_t bytes);

static inline int pens_is_quantity(const pens_model *model, plan_quantity quantity)
{
    return quantity >= 0 || -1 - quantity < (int64_t)model->counts[TABLE_EXTENTS];
}

/* Symbols whose values are given; those that are counted follow. */
static inline uint32_t pens_free_symbols(const pens_model *model)
{
    return model->counts[TABLE_SYMBOLS] - model->counts[TABLE_COUNTED];
}

/* What callers see: the others are kept by sessions. */
static inline uint32_t pens_inputs(const pens_model *model)
{
    return model->header->input_count - model->kept;
}

static inline uint32_t pens_outputs(const pens_model *model)
{
    return model->header->output_count - model->kept;
}

/* Whether an argument is memory of the caller's. */
static inline int pens_is_callers(const pens_model *model, const plan_argument *argument)
{
    return (argument->space == SPACE_INPUT && argument->index < pens_inputs(model)) ||
           (argument->space == SPACE_OUTPUT && argument->index < pens_outputs(model));
}

/* How many symbols must have been counted for a quantity's value to be known. */
static inline uint32_t pens_level(const pens_model *model, plan_quantity quantity)
{
    return quantity >= 0 ? 0 : model->levels[-1 - quantity];
}

/* loop.c: the moves of an argument; how many symbols must have been counted for them to be known; how far beyond its
 * offset they take it, as far as is known (0 if that is no number); and the checks when a model is loaded. */
const plan_move *pens_moves(const pens_model *model, const plan_argument *argument, uint32_t *count);
uint32_t pens_move_level(const pens_model *model, const plan_argument *argument);
int pens_reach(const pens_model *model, const plan_argument *argument, const int64_t *values, int64_t *reach);
pens_status pens_check_loops(const pens_model *model, const plan_variant *variant, pens_error *error);

/* state.c: what sessions keep. */
pens_status pens_read_states(pens_model *model, pens_error *error);
/* Whether there is room for the rows that a run with `sizes` adds. */
pens_status pens_check_room(const pens_model *model, const int64_t *sizes, pens_error *error);

/* special.c: the plans for fixed sizes, when all else is loaded. */
pens_status pens_load_specials(pens_model *model, pens_error *error);

/* extents.c */
pens_status pens_check_extents(pens_model *model, pens_error *error);
const char *pens_symbol_name(const pens_model *model, uint32_t index);
/* The symbol that an extent is, and nothing else; UINT32_MAX if it is none. */
uint32_t pens_lone_symbol(const pens_model *model, plan_quantity extent);
/* The symbol whose size an extent says: the symbol itself, or a symbol h as m * (h floordiv m). */
uint32_t pens_told_symbol(const pens_model *model, plan_quantity extent);
/* The value, not negative, of a quantity under `sizes`. */
pens_status pens_evaluate(const pens_model *model, plan_quantity quantity, const int64_t *sizes, int64_t *value,
                          pens_error *error);
/* What people read for a quantity: its text, or the number written to `number`. */
const char *pens_extent_text(const pens_model *model, plan_quantity quantity, char *number, size_t room);
/* "batch = 2, seq = 7"; without those below 0, which have not been counted yet */
void pens_describe_sizes(const pens_model *model, const int64_t *sizes, char *text, size_t room);

/* cpu.c */
int pens_cpu_runs(const char *isa, uint32_t bytes);
int pens_isa_rank(const char *isa, uint32_t bytes);

/* pool.c */
typedef struct pens_pool pens_pool;
pens_pool *pens_pool_create(uint32_t threads);
void pens_pool_destroy(pens_pool *pool);
/* A job: task(context, 0) here and now, and task(context, i), i < count, on each thread that comes before that is through;
 * returns when those are through, too. So a task does not only its own share, but all that is left to do. For a job that
 * is not `large` threads that sleep are not woken, unless such jobs come one soon after the other. */
void pens_pool_run(pens_pool *pool, pens_task task, void *context, uint32_t count, int large);
uint32_t pens_usable_threads(void);
/* Sleep until woken, unless `word` is no longer `expected`; a wake reaches those whose `bits` it shares. */
void pens_sleep(_Atomic uint32_t *word, uint32_t expected, uint32_t bits);
void pens_wake(_Atomic uint32_t *word, uint32_t bits);

static inline void pens_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* team.c */
/* Cut the units of a kernel into a range for each of its threads, before any of them runs. */
void pens_form_team(pens_kernel_context *contexts, uint32_t members, int64_t units);
void pens_join_team(pens_kernel_context *context, pens_kernel kernel, void *const *buffers);
int64_t pens_take_unit(pens_kernel_context *context);

/* share.c */
/* The units of a kernel without phases, cut into a range for each thread, and each range into chunks. */
typedef struct {
    int64_t units, share, extra; /* `extra` ranges have share + 1 units, the others `share` */
    int64_t chunk;               /* units of a chunk, but for the last of a range */
} pens_shares;

pens_shares pens_cut(int64_t units, int64_t grain, uint32_t ranges);
int64_t pens_range_begin(const pens_shares *shares, uint32_t range);
/* Run chunks of all ranges until all have been taken: those of range `index` first. `job` differs from run to run. */
void pens_run_shares(const pens_shares *shares, pens_kernel_context *contexts, uint32_t ranges, uint32_t index,
                     uint64_t job, pens_kernel kernel, void *const *buffers);

#endif
