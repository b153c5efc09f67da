/* The threads of a kernel whose units are independent: who runs which, decided while it runs.
 *
 * Each thread has a contiguous range of the units, cut into chunks. It takes those of its own range from the beginning,
 * then what others have left, from the end of their ranges: a thread that comes late, or never, or to a slower core,
 * leaves its chunks to the others. Taking one is one atomic operation. */
#include "internal.h"

enum { MOST_CHUNKS = 16, COUNT_BITS = 8, COUNT_MASK = 255 }; /* chunks of a range; taken from one end of it */

pens_shares pens_cut(int64_t units, int64_t grain, uint32_t ranges)
{
    int64_t share = units / ranges, extra = units % ranges;
    int64_t longest = share + (extra != 0), chunk = longest / MOST_CHUNKS + (longest % MOST_CHUNKS != 0);
    return (pens_shares){units, share, extra, chunk > grain ? chunk : grain};
}

int64_t pens_range_begin(const pens_shares *shares, uint32_t range)
{
    return shares->share * range + (range < shares->extra ? range : shares->extra);
}

/* The number of a chunk that nobody has taken: the first one of the owner's, or else the last; -1 if there is none. What
 * was written for an earlier job says that none has been taken. Kernels read what others have written before the job, and
 * what they write is read after it, so the order of these operations says nothing about other memory. */
static int64_t take_chunk(pens_kernel_context *owner, uint64_t job, int64_t count, int last)
{
    uint64_t word = atomic_load_explicit(&owner->chunks, memory_order_relaxed);
    for (;;) {
        uint64_t counts = word >> 2 * COUNT_BITS == job ? word : 0;
        int64_t front = counts >> COUNT_BITS & COUNT_MASK, back = counts & COUNT_MASK;
        if (front + back >= count)
            return -1;
        uint64_t next = job << 2 * COUNT_BITS | (uint64_t)(front + !last) << COUNT_BITS | (uint64_t)(back + last);
        if (atomic_compare_exchange_weak_explicit(&owner->chunks, &word, next, memory_order_relaxed, memory_order_relaxed))
            return last ? count - 1 - back : front;
    }
}

void pens_run_shares(const pens_shares *shares, pens_kernel_context *contexts, uint32_t ranges, uint32_t index,
                     uint64_t job, pens_kernel kernel, void *const *buffers)
{
    for (uint32_t turn = 0, range = index; turn < ranges; turn++, range = range + 1 == ranges ? 0 : range + 1) {
        int64_t first = pens_range_begin(shares, range), end = pens_range_begin(shares, range + 1), number;
        int64_t count = (end - first) / shares->chunk + ((end - first) % shares->chunk != 0);
        while ((number = take_chunk(&contexts[range], job, count, turn != 0)) >= 0) {
            int64_t begin = first + number * shares->chunk;
            kernel(&contexts[index], buffers, begin, end - begin < shares->chunk ? end : begin + shares->chunk);
        }
    }
}
