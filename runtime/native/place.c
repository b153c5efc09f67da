/* Places the buffers of a model with symbols in the arena, as the compiler does for static ones: the largest first,
 * each at the lowest offset that is free while it lives (greedy by size: Pisarchyk and Lee 2020, "Efficient Memory
 * Management for Deep Neural Net Inference"). */
#include "session.h"

#include <stdlib.h>
#include <string.h>

static int larger_first(const void *a, const void *b)
{
    const pens_placement *x = *(pens_placement *const *)a, *y = *(pens_placement *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* The lowest offset at which `it` fits among those placed, which are in order of their offsets; 0 if there is none. */
static int lowest_offset(pens_placement *const *placed, uint32_t count, pens_placement *it)
{
    uint64_t offset = 0, end;
    for (uint32_t i = 0; i < count; i++) {
        const pens_placement *other = placed[i];
        if (other->first > it->last || it->first > other->last)
            continue;
        if (offset + it->bytes <= other->offset)
            break;
        end = other->offset + other->bytes;
        offset = end > offset ? end : offset;
    }
    it->offset = offset;
    return !__builtin_add_overflow(offset, it->bytes, &end) && end < PENS_MOST_BYTES;
}

int pens_place(pens_placement *buffers, pens_placement **order, uint32_t count, uint64_t *arena)
{
    *arena = 0;
    for (uint32_t i = 0; i < count; i++)
        order[i] = &buffers[i];
    qsort(order, count, sizeof *order, larger_first);
    /* What comes before i in `order` has been placed and is kept in order of offsets: the next one is inserted. */
    for (uint32_t i = 0; i < count; i++) {
        pens_placement *it = order[i];
        if (!lowest_offset(order, i, it))
            return 0;
        uint32_t at = i;
        while (at > 0 && order[at - 1]->offset > it->offset)
            at--;
        memmove(order + at + 1, order + at, (i - at) * sizeof *order);
        order[at] = it;
        *arena = it->offset + it->bytes > *arena ? it->offset + it->bytes : *arena;
    }
    return 1;
}
