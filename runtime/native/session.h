/* A session's state, shared by what runs (session.c), what chooses outputs (select.c) and what changes sizes (sizes.c,
 * place.c). */
#ifndef PENS_SESSION_H
#define PENS_SESSION_H

#include "internal.h"

#include <stdatomic.h>

#define PENS_MOST_BYTES (UINT64_MAX / 4)

typedef struct {
    uint32_t slot;  /* in `buffers` */
    uint32_t index; /* which input, or output + input_count */
    uint64_t offset;
} pens_patch;

typedef struct {
    pens_kernel kernel; /* NULL: a check or a copy */
    void **buffers;
    int64_t units;
    uint64_t copy_bytes;
    const char *message; /* of a check; else NULL */
    uint32_t tasks;      /* how many ranges the units are cut into */
    int team;            /* its kernel works in phases */
    int large;           /* it, or one that follows, is worth waking threads for */
    pens_shares shares;  /* of more than one task: the ranges */
    uint32_t command;    /* its number */
    uint32_t guard_count, guard_senses;
    void **guards; /* booleans that must be as the senses say, or else the step is left out */
    uint32_t binds;      /* of a bind: 1 + the number of the counted symbol that it tells, 0 if that is known already */
    int bind;            /* it is a bind */
    uint32_t loop;       /* COMMAND_LOOP or COMMAND_NEXT, else 0 */
    uint32_t jump;       /* of those: steps from one to the other */
    uint32_t first_moving, moving_count; /* of a loop: what moves with its rounds */
    int64_t trips;       /* of a loop that is running: rounds at most */
} pens_step;

/* An argument that moves with the rounds of a loop, once for each such loop. */
typedef struct {
    const plan_move *move;
    const plan_argument *place;
    uint32_t loop, command, argument; /* numbers of commands, and which argument of the second it is */
} pens_moving;

/* What a run executes: all commands, or those that chosen outputs need. */
typedef struct {
    pens_step *steps;
    pens_patch *patches;
    uint32_t step_count, patch_count;
} pens_program;

/* What an output is written to that is not chosen, but that a command writes which computes one that is. */
typedef struct {
    uint8_t *memory;
    uint64_t bytes;
} pens_spare;

/* A buffer in the arena: rounded up to whole cache lines, at least one, so that buffers alive together differ. */
typedef struct {
    uint64_t bytes, offset;
    uint32_t first, last;
} pens_placement;

struct pens_session {
    pens_model *model;
    uint32_t threads;
    pens_pool *pool;
    pens_executor executor;
    void *host;
    uint8_t *arena; /* intermediate values, then the scratch of every thread */
    uint64_t arena_bytes;
    pens_kernel_context *contexts; /* one per task */
    pens_team *team;               /* of the tasks of the kernel that runs */
    void **buffers;
    pens_program all, picked;
    const pens_program *active; /* one of these */
    uint64_t slot_count;        /* of `buffers`, and the most patches there can be */
    uint8_t *chosen;            /* by output; counts while `picked` is active */
    pens_spare *spare;          /* by output */
    const pens_step *current;
    uint64_t jobs;              /* kernels that more than one thread has been given */
    _Atomic uint32_t done;
    atomic_flag busy;
    const pens_tensor *tensors; /* under the current sizes; the model's own where it has no symbols */
    int ready;                  /* it has sizes, or needs none */
    uint32_t known;             /* how many symbols have been counted in this run */
    int64_t *turns;             /* by command that begins a loop: the number of the round */
    pens_moving *moving;        /* in order of loops */
    uint32_t moving_count;
    /* Of a model with symbols. */
    int64_t *sizes;         /* by symbol */
    int64_t *asked;         /* the sizes while they are read off the inputs */
    int64_t *values;        /* by extent: its value, or -1 where it has not been evaluated */
    int64_t *size_memory;   /* what kernels read: the space of sizes */
    pens_tensor *own_tensors;
    int64_t *shapes;
    pens_placement *placements;
    pens_placement **order;
    uint32_t *levels; /* by command: how many symbols must have been counted for all of it to be known */
    /* Of a model of which it keeps something from run to run. */
    uint8_t *kept;
    uint64_t kept_bytes;
    uint64_t *kept_offsets; /* by kept tensor */
    int64_t length;         /* rows there are */
    /* Of a model with plans for fixed sizes. */
    pens_session *runs;   /* the part for the current sizes: itself, or one of `parts` */
    pens_session **parts; /* by such a plan; NULL where it has not been used */
    int64_t *given;       /* by symbol: the current sizes, whichever part is for them */
    int is_given;
    int64_t *compared;    /* of a part: the sizes of all symbols it was last compared for */
    int is_compared;
};

/* session.c */
/* A session without threads of its own. */
pens_status pens_new_session(pens_model *model, const pens_session_options *options, pens_session **result,
                             pens_error *error);
void pens_prepare_steps(pens_session *session, uint64_t arena, uint64_t scratch);
/* Memory of its own; NULL if there is none. It is given back with munmap. */
uint8_t *pens_map(uint64_t bytes);
/* What depends on sizes in one step: units, bytes, and pointers but for the caller's. */
void pens_prepare_step(pens_session *session, pens_step *step);
int pens_reserve(pens_session *session, uint64_t arena, uint64_t scratch);

/* Where an argument lies that is not the caller's. */
void *pens_address(const pens_session *session, const plan_argument *argument);
/* The nodes that a command comes from. */
const char *pens_source(const pens_model *model, uint32_t number);

/* loop.c: the step `s` at `at`, which begins a loop or ends a round; `at` becomes the step before the one to go on with.
 * `skip`: the loop is left out. */
int pens_allocate_loops(pens_session *session);
void pens_free_loops(pens_session *session);
void pens_prepare_loop(pens_session *session, pens_step *step, const plan_command *command);
/* How far from its offset an argument is in the current rounds. */
uint64_t pens_shift(const pens_session *session, const plan_argument *argument);
pens_status pens_loop(pens_session *session, const pens_step *s, int skip, uint32_t *at, const void *const *inputs,
                      void *const *outputs, pens_error *error);

/* select.c */
int pens_allocate_selection(pens_session *session, uint64_t slots);
void pens_free_selection(pens_session *session);
/* Memory for the outputs that are written though not chosen, under the current values; 0 if there is none. */
int pens_reserve_spare(pens_session *session);
uint64_t pens_spare_bytes(const pens_session *session);
/* Where a run writes an output: the caller's memory if it is chosen, else the session's. */
void *pens_output_memory(const pens_session *session, uint32_t index, void *const *outputs);
/* Put what the chosen outputs need of all prepared steps into `picked`, if they are not all of them. */
void pens_pick(pens_session *session);

/* sizes.c */
int pens_allocate_sizes(pens_session *session);
void pens_free_sizes(pens_session *session);
/* What a model without sizes to be given needs before its first run. */
pens_status pens_start_sizes(pens_session *session, pens_error *error);
pens_status pens_change_sizes(pens_session *session, const int64_t *given, pens_error *error);
/* The values of the extents of a command, or of inputs and outputs, that are known by now. */
pens_status pens_know_command(pens_session *session, uint32_t number, const int64_t *sizes, pens_error *error);
pens_status pens_know_tensors(pens_session *session, const int64_t *sizes, pens_error *error);
/* The equalities that can be checked once `level` symbols have been counted, and not before. */
pens_status pens_check_equals(const pens_model *model, const int64_t *sizes, uint32_t level, pens_error *error);
void pens_describe_tensors(pens_session *session);

/* counted.c: of models that count. How many symbols must have been counted for all of a command to be known; what comes
 * before a run; and what a bind does. */
uint32_t pens_command_level(const pens_model *model, uint32_t number);
void pens_forget_counts(pens_session *session);
pens_status pens_bind(pens_session *session, const pens_step *step, const void *const *inputs, void *const *outputs,
                      pens_error *error);

/* state.c: memory for what is kept; where an argument that is not the caller's lies in it; the sizes of a run that the
 * rows change which the last one has added; and what there is after a run. */
int pens_allocate_states(pens_session *session);
void pens_free_states(pens_session *session);
uint8_t *pens_kept(const pens_session *session, const plan_argument *argument);
pens_status pens_advance(pens_session *session, pens_error *error);
void pens_grow(pens_session *session);

/* special.c: sizes are given, checked to be in their ranges; the part for them runs from now on. */
int pens_allocate_parts(pens_session *session);
void pens_free_parts(pens_session *session);
pens_status pens_choose_part(pens_session *session, const int64_t *sizes, pens_error *error);

/* place.c: `bytes`, `first` and `last` of every buffer are given; 0 if they do not fit. `order` is room for as many
 * pointers. */
int pens_place(pens_placement *buffers, pens_placement **order, uint32_t count, uint64_t *arena);

/* The number a quantity is under the current sizes: known when they have been checked. */
static inline uint64_t pens_value(const pens_session *session, plan_quantity quantity)
{
    return (uint64_t)(quantity >= 0 ? quantity : session->values[-1 - quantity]);
}

#endif
