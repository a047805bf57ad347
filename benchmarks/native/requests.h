/* SPDX-License-Identifier: Apache-2.0 */
/* What the clients ask, one request after the other, and what each must be answered. Made by traffic.py:
 *
 *     STATUS DIGITS LENGTH\n      DIGITS: bit n is set if the member with the digit n may answer
 *     LENGTH bytes                the request as it is sent; then the next one
 */
#ifndef BENCH_REQUESTS_H
#define BENCH_REQUESTS_H

#include "net.h"

typedef struct {
    const char *data; /* owned by requests_t */
    size_t length;
    unsigned digits;
    char status[4];
} request_t;

typedef struct {
    char *text;
    request_t *all;
    size_t count;
} requests_t;

static inline void requests_free(requests_t *r) {
    free(r->text);
    free(r->all);
    memset(r, 0, sizeof *r);
}

/* Reads the file; 0, or -1 if it is not as above. */
static inline int requests_read(requests_t *r, const char *path) {
    FILE *file = fopen(path, "re");
    if (!file || fseek(file, 0, SEEK_END))
        return -1;
    long size = ftell(file);
    rewind(file);
    r->text = malloc((size_t)size + 1);
    size_t have = fread(r->text, 1, (size_t)size, file);
    fclose(file);
    r->text[have] = 0;
    for (char *at = r->text, *end = r->text + have; at < end; r->count++) {
        request_t one;
        snprintf(one.status, sizeof one.status, "%03lu", strtoul(at, &at, 10) % 1000);
        one.digits = (unsigned)strtoul(at, &at, 10);
        one.length = strtoul(at, &at, 10);
        if (*at++ != '\n' || one.length > (size_t)(end - at))
            return -1;
        one.data = at;
        at += one.length;
        if (!(r->count & (r->count - 1))) /* room for twice as many at each power of two */
            r->all = realloc(r->all, (r->count ? 2 * r->count : 1) * sizeof *r->all);
        r->all[r->count] = one;
    }
    return r->count ? 0 : -1;
}

#endif
