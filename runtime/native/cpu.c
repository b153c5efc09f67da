/* Which instruction sets this CPU (and operating system) can run: the levels of the x86-64 psABI, 2023. */
#include "internal.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t enabled_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low | (uint64_t)high << 32;
}

/* 3 or 4 for x86-64-v3 and v4, 5 for v4 with AVX512_BF16; 2 for less. */
static int cpu_level(void)
{
    uint32_t a, b, c, d;
    enum { SSE3 = 1, SSSE3 = 1 << 9, FMA = 1 << 12, SSE41 = 1 << 19, SSE42 = 1 << 20, MOVBE = 1 << 22, POPCNT = 1 << 23,
           XSAVE = 1 << 26, OSXSAVE = 1 << 27, AVX = 1 << 28, F16C = 1 << 29 };
    const uint32_t wanted = SSE3 | SSSE3 | FMA | SSE41 | SSE42 | MOVBE | POPCNT | XSAVE | OSXSAVE | AVX | F16C;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & wanted) != wanted || (enabled_state() & 6) != 6)
        return 2;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 2;
    const uint32_t bmi_avx2 = 1u << 3 | 1u << 5 | 1u << 8;
    uint32_t extended_a, extended_b, extended_c, extended_d;
    if ((b & bmi_avx2) != bmi_avx2 || !__get_cpuid(0x80000001u, &extended_a, &extended_b, &extended_c, &extended_d) ||
        !(extended_c & 1u << 5))
        return 2;
    const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31; /* F, DQ, CD, BW, VL */
    if ((b & avx512) != avx512 || (enabled_state() & 0xE6) != 0xE6)
        return 3;
    const uint32_t subleaves = a, avx512_bf16 = 1u << 5;
    return subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx512_bf16) ? 5 : 4;
}
#endif

static int is(const char *isa, uint32_t bytes, const char *name)
{
    return bytes == strlen(name) && memcmp(isa, name, bytes) == 0;
}

int pens_isa_rank(const char *isa, uint32_t bytes)
{
    if (is(isa, bytes, "x86-64-v3"))
        return 3;
    if (is(isa, bytes, "x86-64-v4"))
        return 4;
    if (is(isa, bytes, "x86-64-v4-bf16"))
        return 5;
    return is(isa, bytes, "aarch64") ? 1 : 0;
}

int pens_cpu_runs(const char *isa, uint32_t bytes)
{
#if defined(__x86_64__)
    int rank = pens_isa_rank(isa, bytes);
    return rank >= 3 && rank <= cpu_level();
#elif defined(__aarch64__)
    return is(isa, bytes, "aarch64");
#else
    (void)isa, (void)bytes;
    return 0;
#endif
}
