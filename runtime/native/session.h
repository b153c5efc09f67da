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
    uint32_t command;    /* its number */
    uint32_t guard_count, guard_senses;
    void **guards; /* booleans that must be as the senses say, or else the step is left out */
} pens_step;

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
    void **buffers;
    pens_program all, picked;
    const pens_program *active; /* one of these */
    uint64_t slot_count;        /* of `buffers`, and the most patches there can be */
    uint8_t *chosen;            /* by output; counts while `picked` is active */
    pens_spare *spare;          /* by output */
    const pens_step *current;
    _Atomic uint32_t done;
    atomic_flag busy;
    const pens_tensor *tensors; /* under the current sizes; the model's own where it has no symbols */
    int ready;                  /* it has sizes, or needs none */
    /* Of a model with symbols. */
    int64_t *sizes;         /* by symbol */
    int64_t *asked;         /* the sizes while they are read off the inputs */
    int64_t *values;        /* by extent: its value, or -1 where it has not been evaluated */
    int64_t *size_memory;   /* what kernels read: the space of sizes */
    pens_tensor *own_tensors;
    int64_t *shapes;
    pens_placement *placements;
    pens_placement **order;
};

/* session.c */
void pens_prepare_steps(pens_session *session, uint64_t arena, uint64_t scratch);
/* Memory of its own; NULL if there is none. It is given back with munmap. */
uint8_t *pens_map(uint64_t bytes);
int pens_reserve(pens_session *session, uint64_t arena, uint64_t scratch);

/* select.c */
int pens_allocate_selection(pens_session *session, uint64_t slots);
void pens_free_selection(pens_session *session);
/* Memory for the outputs that are written though not chosen, under the current values; 0 if there is none. */
int pens_reserve_spare(pens_session *session);
uint64_t pens_spare_bytes(const pens_session *session);
/* Put what the chosen outputs need of all prepared steps into `picked`, if they are not all of them. */
void pens_pick(pens_session *session);

/* sizes.c */
int pens_allocate_sizes(pens_session *session);
void pens_free_sizes(pens_session *session);

/* place.c: `bytes`, `first` and `last` of every buffer are given; 0 if they do not fit. `order` is room for as many
 * pointers. */
int pens_place(pens_placement *buffers, pens_placement **order, uint32_t count, uint64_t *arena);

/* The number a quantity is under the current sizes: known when they have been checked. */
static inline uint64_t pens_value(const pens_session *session, plan_quantity quantity)
{
    return (uint64_t)(quantity >= 0 ? quantity : session->values[-1 - quantity]);
}

#endif
