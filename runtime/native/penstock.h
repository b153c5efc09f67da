/* penstock's native runtime: load a compiled model (.pens), run it, and nothing else.
 *
 * A model is loaded once, read-only, and shared by any number of sessions; a session owns the memory of one run at a
 * time and its threads. There are no globals. Every function that can fail returns a status and, when `error` is not
 * null, fills it with a sentence. Strings belong to the object they came from.
 *
 *     pens_error error;
 *     pens_model *model;
 *     if (pens_load_file("model.pens", NULL, &model, &error)) { puts(error.message); return 1; }
 *     pens_session *session;
 *     pens_session_create(model, &(pens_session_options){.threads = 2}, &session, &error);
 *     const void *inputs[] = {x};
 *     void *outputs[] = {y};
 *     pens_run(session, inputs, outputs, &error);
 */
#ifndef PENSTOCK_H
#define PENSTOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PENS_ABI_VERSION 2

/* Numbers of the codes PENS-R001 ... of penstock.runtime.errors; 0 is success. */
typedef enum {
    PENS_OK = 0,
    PENS_CANNOT_READ = 1,
    PENS_NOT_AN_ARTIFACT = 2,
    PENS_WRONG_VERSION = 3,
    PENS_DAMAGED = 4,
    PENS_DAMAGED_WEIGHTS = 5,
    PENS_NO_CODE_FOR_CPU = 6,
    PENS_ISA_UNAVAILABLE = 7,
    PENS_OUT_OF_MEMORY = 8,
    PENS_INVALID_ARGUMENT = 9,
    PENS_SESSION_BUSY = 10,
    PENS_WRONG_INPUTS = 11,
    PENS_EXECUTOR_FAILED = 13,
    PENS_NO_THREADS = 15,
    PENS_CHECK_FAILED = 17,
    PENS_NO_SIZES = 18,
    PENS_WRONG_SIZES = 19,
    PENS_FULL = 20
} pens_status;

/* From PENS_F8E4M3FN on one byte an element, narrower ones in its low bits. */
typedef enum {
    PENS_F16 = 1, PENS_BF16, PENS_F32, PENS_F64, PENS_I8, PENS_I16, PENS_I32, PENS_I64,
    PENS_UI8, PENS_UI16, PENS_UI32, PENS_UI64, PENS_I1,
    PENS_F8E4M3FN, PENS_F8E4M3FNUZ, PENS_F8E5M2, PENS_F8E5M2FNUZ, PENS_F8E8M0, PENS_F4E2M1,
    PENS_I4, PENS_UI4, PENS_I2, PENS_UI2
} pens_dtype;

typedef struct {
    pens_status status;
    char message[500];
} pens_error;

typedef struct pens_model pens_model;
typedef struct pens_session pens_session;

/* A number of bytes that depends on sizes which are not known yet. */
#define PENS_UNKNOWN UINT64_MAX

/* An input or output: row-major and dense. A symbolic extent is -1 in the shape of a model's tensor, and the bytes are
 * then PENS_UNKNOWN; a session that has sizes gives numbers. */
typedef struct {
    const char *name;
    pens_dtype dtype;
    uint32_t rank;
    const int64_t *shape;
    uint64_t bytes;
    const char *const *texts; /* per axis: a symbolic extent's text, such as "batch" or "past + 1"; else NULL */
} pens_tensor;

/* A size that is chosen at run time, within [low, high]. */
typedef struct {
    const char *name;
    int64_t low, high;
} pens_symbol;

/* How to load. A null pointer means all defaults. */
typedef struct {
    int verify_weights; /* also check the weights' checksum (reads all of them) */
    const char *isa;    /* exactly this level, such as "x86-64-v3"; NULL: PENSTOCK_ISA, else the best here */
} pens_load_options;

/* Runs task(context, 0) ... task(context, count - 1), each once, on any threads, and returns when all have finished. */
typedef void (*pens_task)(void *context, uint32_t index);
typedef void (*pens_executor)(void *host, pens_task task, void *context, uint32_t count);

typedef struct {
    uint32_t threads;       /* 0: as many as the process may use; with an executor: how many tasks to make */
    pens_executor executor; /* NULL: the session's own threads */
    void *host;             /* passed to the executor */
} pens_session_options;

/* What one command did in the last profiled run. Times in nanoseconds from the start of the run; equal ones: the command
 * was left out, since nothing that the run's inputs ask for reads its results. */
typedef struct {
    const char *source; /* source nodes */
    const char *kernel; /* kernel symbol; "" for a copy */
    uint64_t start_ns, end_ns, flops, bytes;
    uint32_t threads;
} pens_record;

pens_status pens_load_file(const char *path, const pens_load_options *options, pens_model **model, pens_error *error);
/* `data` is read during this call and until pens_unload; it must stay unchanged. */
pens_status pens_load_memory(const void *data, size_t bytes, const pens_load_options *options, pens_model **model,
                             pens_error *error);
/* All sessions of the model must be destroyed first. */
void pens_unload(pens_model *model);

uint32_t pens_input_count(const pens_model *model);
uint32_t pens_output_count(const pens_model *model);
pens_tensor pens_input(const pens_model *model, uint32_t index);
pens_tensor pens_output(const pens_model *model, uint32_t index);
/* What the compiler wrote for people and tools: JSON, not zero-terminated. */
const char *pens_manifest(const pens_model *model, size_t *bytes);
const char *pens_isa(const pens_model *model);
/* Bytes: weights (shared), then what each session allocates: intermediate values, and scratch for each thread;
 * PENS_UNKNOWN where that depends on sizes. */
void pens_memory(const pens_model *model, uint64_t *weights, uint64_t *arena, uint64_t *scratch_per_thread);

pens_status pens_session_create(pens_model *model, const pens_session_options *options, pens_session **session,
                                pens_error *error);
void pens_session_destroy(pens_session *session);
uint32_t pens_session_threads(const pens_session *session);

/* Models that count: the extents of some results follow from the data. They are made of symbols that nobody gives, which
 * come after those that are given; -1 in the shape of a session's output until a run has counted them. Memory for an
 * output must have pens_session_output_room bytes; the result then stands at its beginning. */
uint32_t pens_counted_count(const pens_model *model);

/* Models with symbols. The sizes of a run are one number per symbol, in the order of their indices. A session of such
 * a model is given its sizes before it runs, and others whenever the shapes of its inputs change; equal ones cost
 * nothing. When they are refused (out of range, too large for memory) the session keeps those it had. */
uint32_t pens_symbol_count(const pens_model *model);
pens_symbol pens_symbol_info(const pens_model *model, uint32_t index);
pens_status pens_session_set_sizes(pens_session *session, const int64_t *sizes, pens_error *error);
/* The same from the shapes of the inputs (an array of extents per input, NULL for one that is not fed): a symbol that
 * stands alone in one is what is found there, every other extent must agree; a symbol that stands alone nowhere keeps
 * its size. */
pens_status pens_session_set_shapes(pens_session *session, const int64_t *const *shapes, pens_error *error);
/* Models with plans for fixed sizes as well: sessions run the plan for the sizes they are given. How many there are
 * beside the general one, and which a session runs: 0 the general one, else its number from 1. */
uint32_t pens_special_count(const pens_model *model);
uint32_t pens_session_special(const pens_session *session);
/* The current sizes; NULL before they are set, or without symbols. */
const int64_t *pens_session_sizes(const pens_session *session);
/* Inputs and outputs under the current sizes, until these change; outputs of a model that counts, as the last run has
 * left them. */
pens_tensor pens_session_input(const pens_session *session, uint32_t index);
pens_tensor pens_session_output(const pens_session *session, uint32_t index);
/* Bytes that the caller's memory for an output must have under the current sizes, whatever is counted. */
uint64_t pens_session_output_room(const pens_session *session, uint32_t index);
/* Bytes of memory that the session holds: intermediate values, the scratch of all threads, and outputs that are
 * computed though not chosen. */
uint64_t pens_session_memory(const pens_session *session);

/* Models of which a session keeps something from run to run, such as the keys and values of a decoder: tensors that are
 * neither inputs nor outputs, and that every run appends rows to. Which symbol says how many rows there are, and by its
 * range how many there can be; UINT32_MAX for other models. */
uint32_t pens_length_symbol(const pens_model *model);
/* How many there are: 0 at first, more after each run that ends well. The size that counts them is what it is, whatever
 * pens_session_set_sizes is given. Where no input or output grows with them, sizes need not be set again. */
int64_t pens_session_length(const pens_session *session);
/* Go back to so many rows; 0: begin anew. */
pens_status pens_session_reset(pens_session *session, int64_t length, pens_error *error);

/* Choose the outputs, by position, that runs compute from now on, whatever the sizes; NULL: all, as at first. Runs then
 * execute only the commands that these need, and read only the inputs and outputs these need: other pointers may be
 * null. Takes about a microsecond for a thousand commands. When it fails, all outputs are chosen. */
pens_status pens_session_select(pens_session *session, const uint32_t *outputs, uint32_t count, pens_error *error);
/* Not 0 if runs read input `index` to compute the chosen outputs. */
int pens_session_reads(const pens_session *session, uint32_t index);
/* How many commands a run executes to compute the chosen outputs. */
uint32_t pens_session_commands(const pens_session *session);

/* One run: a pointer per input and per output, each to the number of bytes that pens_session_input and
 * pens_session_output_room say (for a model that does not count, the bytes of pens_session_output). */
pens_status pens_run(pens_session *session, const void *const *inputs, void *const *outputs, pens_error *error);
/* The same, with a record per command in `records` (room for pens_session_commands). */
pens_status pens_run_profiled(pens_session *session, const void *const *inputs, void *const *outputs,
                              pens_record *records, pens_error *error);
uint32_t pens_command_count(const pens_model *model);

#ifdef __cplusplus
}
#endif
#endif
