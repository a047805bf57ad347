/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies in nanoseconds, counted in buckets of 1/128 of a power of two: a percentile is off by under 1 %. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <string.h>

enum { HISTOGRAM_BITS = 7, HISTOGRAM_BUCKETS = (64 - HISTOGRAM_BITS) << HISTOGRAM_BITS };

typedef struct {
    uint64_t count, max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
} histogram_t;

static inline unsigned histogram_index(uint64_t ns) {
    if (ns < (2u << HISTOGRAM_BITS))
        return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - HISTOGRAM_BITS;
    return (shift << HISTOGRAM_BITS) + (unsigned)(ns >> shift);
}

/* The lowest value that falls into a bucket: the inverse of histogram_index. */
static inline uint64_t histogram_floor(unsigned index) {
    if (index < (2u << HISTOGRAM_BITS))
        return index;
    unsigned shift = (index >> HISTOGRAM_BITS) - 1;
    return (uint64_t)(index - (shift << HISTOGRAM_BITS)) << shift;
}

static inline void histogram_add(histogram_t *h, uint64_t ns) {
    h->count++;
    if (ns > h->max)
        h->max = ns;
    h->buckets[histogram_index(ns)]++;
}

static inline uint64_t histogram_percentile(const histogram_t *h, double share) {
    uint64_t seen = 0, wanted = (uint64_t)(share * (double)h->count);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > wanted)
            return histogram_floor(i);
    }
    return h->max;
}

#endif
