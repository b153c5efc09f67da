/* Runs as CPython calls them, without its headers: what runtime/calls.py makes builtin functions of.
 *
 * A run through ctypes costs some ten times what the interpreter takes to call a function. Here is that function, for the
 * common case alone: every input is exactly a numpy array of the type and shape that was prepared for, dense and aligned.
 * All else is answered with None before anything has happened, and session.py looks closely. CPython's functions, all of
 * its stable ABI, come from calls.py in a table, so nothing of CPython is linked; it has also checked that objects and
 * arrays look as they are declared here. Every function is called by a thread that holds the interpreter's lock. */
#include "penstock.h"

#include <stdatomic.h>
#include <sys/types.h>

typedef struct object {
    ssize_t references;
    struct object *type;
} object;

typedef struct {
    object head;
    void *data;
    int rank;
    int64_t *shape, *strides;
    object *base, *dtype;
    int flags;
} array;

enum { DENSE = 0x1, ALIGNED = 0x100, WRITEABLE = 0x400 }; /* flags of an array */

/* `Interpreter` of calls.py. */
typedef struct {
    void (*hold)(object *);                            /* Py_IncRef */
    void (*drop)(object *);                            /* Py_DecRef */
    object *(*number)(long);                           /* PyLong_FromLong */
    object *(*make_dict)(void);                        /* PyDict_New */
    ssize_t (*length)(object *);                       /* PyDict_Size */
    object *(*find)(object *, object *);               /* PyDict_GetItemWithError: not held */
    int (*put)(object *, object *, object *);          /* PyDict_SetItem: holds both */
    object *(*call)(object *, object *, object *);     /* PyObject_Call */
    void (*forget)(void);                              /* PyErr_Clear */
    void *(*leave)(void);                              /* PyEval_SaveThread */
    void (*enter)(void *);                             /* PyEval_RestoreThread */
    object *none, *yes, *no, *dict, *array;            /* None, True, False; types */
} interpreter;

/* Of a session: whether somebody uses it, and how often what its runs take has changed. `State` of calls.py. */
typedef struct {
    const interpreter *python;
    _Atomic uint32_t claimed;
    uint32_t changes;
} state;

/* An input or output. `Slot` of calls.py. */
typedef struct {
    object *name;
    array *bound;             /* the array to be used; NULL: looked up, or made */
    object *make, *arguments; /* of an output: what makes an array, and its arguments */
    object *dtype;
    const int64_t *shape;
    int64_t rank;
    uint64_t index; /* of its pointer */
} slot;

/* A run, prepared. `Prepared` of calls.py. */
typedef struct {
    state *state;
    pens_session *session;
    pens_error *error;
    slot *inputs, *outputs; /* those that the run reads and writes */
    array **held;           /* room for as many as there are inputs */
    void **in, **out;       /* room for the pointers of all there are in the model */
    object *results;        /* what a run on bound arrays returns; else NULL */
    uint32_t input_count, output_count;
    uint32_t changes; /* of the state, when this was prepared */
} prepared;

/* What a function works on: its `self` is an array of the bytes. */
static void *context(const object *self)
{
    return ((const array *)self)->data;
}

static object *held(const interpreter *python, object *it)
{
    python->hold(it);
    return it;
}

static int claim(state *s)
{
    return !atomic_exchange_explicit(&s->claimed, 1, memory_order_acquire);
}

static void release(state *s)
{
    atomic_store_explicit(&s->claimed, 0, memory_order_release);
}

static int fits(const array *a, const slot *s, int flags)
{
    if (a->dtype != s->dtype || a->rank != s->rank || (a->flags & flags) != flags)
        return 0;
    for (int64_t axis = 0; axis < s->rank; axis++)
        if (a->shape[axis] != s->shape[axis])
            return 0;
    return 1;
}

/* Hold the inputs and take their pointers; how many are held: fewer than there are if one is not as prepared for. */
static uint32_t take_inputs(const prepared *p, object *inputs)
{
    const interpreter *python = p->state->python;
    for (uint32_t i = 0; i < p->input_count; i++) {
        const slot *s = &p->inputs[i];
        array *a = s->bound != NULL ? s->bound : (array *)python->find(inputs, s->name);
        if (a == NULL || a->head.type != python->array || !fits(a, s, DENSE | ALIGNED))
            return i;
        python->hold(&a->head);
        p->held[i] = a;
        p->in[s->index] = a->data;
    }
    return p->input_count;
}

/* Arrays for the results, by name; NULL if one cannot be made, which an exception then says, or is not as prepared for. */
static object *take_outputs(const prepared *p)
{
    const interpreter *python = p->state->python;
    object *results = p->results != NULL ? held(python, p->results) : python->make_dict();
    for (uint32_t i = 0; results != NULL && i < p->output_count; i++) {
        const slot *s = &p->outputs[i];
        array *a = s->bound != NULL ? s->bound : (array *)python->call(s->make, s->arguments, NULL);
        int good = a != NULL && fits(a, s, DENSE | ALIGNED | WRITEABLE);
        if (good)
            p->out[s->index] = a->data;
        if (a != NULL && s->bound == NULL) {
            good = good && python->put(results, s->name, &a->head) == 0;
            python->drop(&a->head);
        }
        if (!good) {
            python->drop(results);
            return NULL;
        }
    }
    return results;
}

/* The results; None for what is not the common case; the status of a run that failed, whose caller then has the claim. */
static object *run(const prepared *p, object *inputs)
{
    const interpreter *python = p->state->python;
    if (!claim(p->state))
        return held(python, python->none);
    const int current = p->changes == p->state->changes;
    const uint32_t count = current ? take_inputs(p, inputs) : 0;
    object *results = current && count == p->input_count ? take_outputs(p) : NULL;
    pens_status status = PENS_OK;
    if (results != NULL) {
        void *thread = python->leave();
        status = pens_run(p->session, (const void *const *)p->in, p->out, p->error);
        python->enter(thread);
    } else {
        python->forget();
    }
    for (uint32_t i = 0; i < count; i++)
        python->drop(&p->held[i]->head);
    if (status != PENS_OK) {
        python->drop(results);
        return python->number(status);
    }
    release(p->state);
    return results != NULL ? results : held(python, python->none);
}

static object *run_on(object *self, object *inputs)
{
    const prepared *p = context(self);
    const interpreter *python = p->state->python;
    if (inputs->type != python->dict || python->length(inputs) != p->input_count)
        return held(python, python->none);
    return run(p, inputs);
}

static object *run_bound(object *self, object *nothing)
{
    (void)nothing;
    return run(context(self), NULL);
}

static object *acquire(object *self, object *nothing)
{
    (void)nothing;
    state *s = context(self);
    return held(s->python, claim(s) ? s->python->yes : s->python->no);
}

static object *give_back(object *self, object *nothing)
{
    (void)nothing;
    state *s = context(self);
    release(s);
    return held(s->python, s->python->none);
}

/* PyMethodDef. */
typedef struct {
    const char *name;
    object *(*function)(object *self, object *argument);
    int flags;
    const char *documentation;
} method;

enum { NO_ARGUMENTS = 4, ONE_ARGUMENT = 8 };

const method pens_python_run = {"run", run_on, ONE_ARGUMENT, "Run on a dictionary of arrays."};
const method pens_python_run_bound = {"run", run_bound, NO_ARGUMENTS, "Run on the arrays that are bound."};
const method pens_python_acquire = {"acquire", acquire, NO_ARGUMENTS, "Claim the session; False if it is claimed."};
const method pens_python_release = {"release", give_back, NO_ARGUMENTS, "Give the session back."};
