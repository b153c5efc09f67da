/* The threads of a team kernel: such a kernel does its work in phases, and in each phase every unit once.
 *
 * A thread takes the units of its own range first, in odd phases from the end, so that each phase begins with what the
 * one before has left in the thread's cache. Then it takes what threads that do not run have left, and never waits for
 * more than a unit that runs: a team makes progress with any number of its threads, one after the other if need be. */
#include "internal.h"

enum { KEEP_OFF_ROUNDS = 40, SPIN_ROUNDS = 400 }; /* before taking others' units; before sleeping */

static int64_t unit_at(const pens_kernel_context *owner, uint32_t phase, uint32_t number)
{
    return phase & 1 ? owner->last - 1 - number : owner->first + number;
}

/* A unit of a thread's range that nobody has taken in this phase; -1 if there is none. A queue that stands in an earlier
 * phase is full again: phases begin when all units of those before are done. */
static int64_t take_from(pens_kernel_context *owner, uint32_t phase)
{
    uint64_t word = atomic_load_explicit(&owner->queue, memory_order_relaxed);
    for (;;) {
        uint32_t its = (uint32_t)(word >> 32), taken = its < phase ? 0 : (uint32_t)word;
        if (its > phase || taken >= owner->last - owner->first)
            return -1;
        uint64_t next = (uint64_t)phase << 32 | (taken + 1);
        if (atomic_compare_exchange_weak_explicit(&owner->queue, &word, next, memory_order_relaxed, memory_order_relaxed))
            return unit_at(owner, phase, taken);
    }
}

static int some_are_absent(const pens_team *team)
{
    return atomic_load_explicit(&team->arrived, memory_order_relaxed) != team->members;
}

/* `absent`: only of those who have not begun. */
static int64_t take_from_others(pens_team *team, uint32_t phase, int absent)
{
    for (uint32_t i = 0; i < team->members; i++) {
        if (absent && atomic_load_explicit(&team->contexts[i].arrived, memory_order_relaxed))
            continue;
        int64_t unit = take_from(&team->contexts[i], phase);
        if (unit >= 0)
            return unit;
    }
    return -1;
}

/* What there is to take for the only thread of a team. */
static int64_t take_alone(pens_kernel_context *context)
{
    uint64_t taken = atomic_load_explicit(&context->queue, memory_order_relaxed);
    int over = taken == (uint64_t)(context->last - context->first);
    int64_t unit = over ? -1 : unit_at(context, context->phase, (uint32_t)taken);
    context->phase += (uint32_t)over;
    atomic_store_explicit(&context->queue, over ? 0 : taken + 1, memory_order_relaxed);
    return unit;
}

/* Tell the team of what this thread has run. */
static void report(pens_kernel_context *context, uint32_t phase)
{
    pens_team *team = context->team;
    uint64_t run = context->unreported;
    context->unreported = 0;
    if (run && atomic_fetch_add_explicit(&team->done, run, memory_order_acq_rel) + run == team->units) {
        atomic_store_explicit(&team->done, 0, memory_order_relaxed);
        atomic_store(&team->over, phase + 1);
        if (atomic_load(&team->sleepers) != 0)
            pens_wake(&team->over, UINT32_MAX);
    }
}

/* Until the phase is over, or a little less. */
static void sleep_until_over(pens_team *team, uint32_t phase)
{
    atomic_fetch_add(&team->sleepers, 1); /* before `over` is read: whoever changes it reads this after */
    uint32_t over = atomic_load(&team->over);
    if (over <= phase)
        pens_sleep(&team->over, over, UINT32_MAX);
    atomic_fetch_sub(&team->sleepers, 1);
}

int64_t pens_take_unit(pens_kernel_context *context)
{
    pens_team *team = context->team;
    const uint32_t phase = context->phase;
    if (team->members == 1)
        return take_alone(context);
    int64_t unit = take_from(context, phase);
    if (unit < 0)
        report(context, phase);
    for (uint32_t rounds = 0, left = 1; unit < 0; rounds++) {
        if (atomic_load_explicit(&team->over, memory_order_acquire) > phase) {
            context->phase++;
            break;
        }
        if (left && (rounds >= KEEP_OFF_ROUNDS || (rounds == 0 && some_are_absent(team)))) {
            unit = take_from_others(team, phase, rounds == 0);
            left = rounds == 0 || unit >= 0;
        } else if (rounds < SPIN_ROUNDS) {
            pens_relax();
        } else {
            sleep_until_over(team, phase);
        }
    }
    context->unreported += unit >= 0;
    return unit;
}

void pens_join_team(pens_kernel_context *context, pens_kernel kernel, void *const *buffers)
{
    atomic_store_explicit(&context->arrived, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&context->team->arrived, 1, memory_order_relaxed);
    kernel(context, buffers, context->first, context->last);
}

void pens_form_team(pens_kernel_context *contexts, uint32_t members, int64_t units)
{
    pens_team *team = contexts[0].team;
    int64_t share = members == 1 ? units : units / members, extra = units - share * members, begin = 0;
    team->members = members, team->units = (uint64_t)units, team->contexts = contexts;
    atomic_store_explicit(&team->done, 0, memory_order_relaxed);
    atomic_store_explicit(&team->over, 0, memory_order_relaxed);
    atomic_store_explicit(&team->sleepers, 0, memory_order_relaxed);
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < members; i++) {
        pens_kernel_context *c = &contexts[i];
        c->first = begin, c->last = begin += share + (i < extra);
        c->phase = 0, c->unreported = 0;
        atomic_store_explicit(&c->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&c->queue, 0, memory_order_relaxed);
    }
}
