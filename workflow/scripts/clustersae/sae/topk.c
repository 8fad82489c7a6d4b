/* The k largest pre-activations of every token, exactly: from those in single precision, or from
   bfloat16 ones that tell which need be computed at all. */
#include <float.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "step.h"

static void swap(float *v, int32_t *index, int64_t a, int64_t b) {
    float value = v[a];
    int32_t at = index[a];
    v[a] = v[b], index[a] = index[b];
    v[b] = value, index[b] = at;
}

/* Move the k largest of n to the front. */
static void select_largest(float *v, int32_t *index, int64_t n, int64_t k) {
    for (int64_t low = 0, high = n - 1; low < high;) {
        float pivot = v[(low + high) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (v[i] > pivot) i++;
            while (v[j] < pivot) j--;
            if (i <= j) swap(v, index, i++, j--);
        }
        if (k - 1 <= j) high = j;
        else if (k - 1 >= i) low = i;
        else return;
    }
}

static void drop_smallest(float *v, int32_t *index, int64_t n, int64_t k) {
    if (n - k > 16) {
        select_largest(v, index, n, k);
        return;
    }
    for (; n > k; n--) {
        float smallest = v[0];
        for (int64_t i = 1; i < n; i++) smallest = v[i] < smallest ? v[i] : smallest;
        int64_t at = 0;
        while (v[at] != smallest) at++;
        swap(v, index, at, n - 1);
    }
}

/* What one thread needs for a row of m pre-activations. */
typedef struct {
    int64_t m, k, groups;
    float *row, *best, *found;
    int32_t *at, *chosen;
} Search;

static Search search_for(int64_t m, int64_t k) {
    int64_t groups = least((k < 8 ? 64 : k * 8 + 15) / 16 * 16, m);
    float *row = malloc((4 * m + 2 * groups + 4) * sizeof(float));
    Search s = {m, k, groups, row, row + m, row + m + groups, NULL, NULL};
    s.at = (int32_t *)(s.found + m + 1);
    s.chosen = s.at + m + 1;
    return s;
}

/* All latents that may be among the k largest if each of s.row is known to ± slack: their values
   in s.found, their places in s.at. Each latent belongs to one of several groups. The groups with
   the k largest maxima contain the k largest latents, and no latent below the k-th of these maxima
   is one of them: most are never looked at twice. What cannot be positive is left out. */
static int64_t candidates(Search s, float slack) {
    for (int64_t j = 0; j < s.groups; j++) s.best[j] = -FLT_MAX;
    for (int64_t base = 0; base < s.m; base += s.groups) {
        int64_t n = least(s.groups, s.m - base);
        for (int64_t j = 0; j < n; j++) {
            float x = s.row[base + j];
            s.best[j] = x > s.best[j] ? x : s.best[j];
        }
    }
    /* at least k groups reach `low`, if so many are positive; fewer reach `high` or all but it */
    float low = 0, high = 0;
    for (int64_t j = 0; j < s.groups; j++) high = s.best[j] > high ? s.best[j] : high;
    for (int round = 0; round < 24; round++) {
        float middle = low + (high - low) * 0.5f;
        if (!(middle > low && middle < high)) break;
        int32_t count = 0;
        for (int64_t j = 0; j < s.groups; j++) count += s.best[j] >= middle;
        if (count < s.k) high = middle;
        else {
            low = middle;
            if (count <= s.k + s.k / 8) break;
        }
    }
    /* the k-th largest is at least low - slack, and is known to be at least low - 2 slack */
    low = low > 0 || slack > 0 ? low - 2 * slack : FLT_TRUE_MIN;

    int64_t n_chosen = 0, n = 0;
    for (int64_t j = 0; j < s.groups; j++) {
        s.chosen[n_chosen] = (int32_t)j;
        n_chosen += s.best[j] >= low;
    }
    for (int64_t g = 0; g < n_chosen; g++)
        for (int64_t i = s.chosen[g]; i < s.m; i += s.groups) {
            float x = s.row[i];
            s.found[n] = x, s.at[n] = (int32_t)i;
            n += x >= low;
        }
    return n;
}

/* The k largest of n candidates; what is missing comes out as value 0 of latent 0. */
static void keep(Search s, int64_t n, int32_t *index, float *value) {
    if (n > s.k) drop_smallest(s.found, s.at, n, s.k), n = s.k;
    memcpy(value, s.found, n * sizeof(float));
    memcpy(index, s.at, n * sizeof(int32_t));
    for (; n < s.k; n++) value[n] = 0, index[n] = 0;
}

/* The k largest of pre + bias for n tokens, pre [n, m]: indices and values [n, k]. */
void topk(const float *pre, const float *bias, int64_t n, int64_t m, int64_t k, int32_t *indices,
          float *values, int64_t threads) {
#pragma omp parallel num_threads(threads)
    {
        Search s = search_for(m, k);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < n; r++) {
            for (int64_t j = 0; j < m; j++) s.row[j] = pre[r * m + j] + bias[j];
            keep(s, candidates(s, 0), indices + r * k, values + r * k);
        }
        free(s.row);
    }
}

/* The same latents from the product of bfloat16 copies, pre [n, m], for the rows from `first` on.
   With x̂ = x + δ, ŵ = w + ε the product x̂·ŵ is off by at most ‖δ‖ ‖w‖ + ‖x̂‖ ‖ε‖, and by the
   roundings of its sum and of the result. Whatever may be among the k largest within these bounds
   is computed in single precision, from the weights themselves. */
void topk_rescored(const Step *step, const uint16_t *pre, int64_t first, int64_t n) {
    int64_t m = step->d_sae, k = step->k, d = step->d_model;
    float w = 0, epsilon = 0;
    for (int64_t i = 0; i < m; i++) {
        w = step->norm_W_enc[i] > w ? step->norm_W_enc[i] : w;
        epsilon = step->error_W_enc[i] > epsilon ? step->error_W_enc[i] : epsilon;
    }
#pragma omp parallel num_threads(step->threads)
    {
        Search s = search_for(m, k);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < n; r++) {
            const float *x = step->centred + (first + r) * d;
            float norm = step->norm_centred[first + r], delta = step->error_centred[first + r];
            float high = 0;
            for (int64_t j = 0; j < m; j++) {
                float value = widen(pre[r * m + j]);
                high = value > high ? value : high;
                s.row[j] = value + step->b_enc[j];
            }
            float sum = d * FLT_EPSILON * (norm + delta) * (w + epsilon);
            float slack = delta * w + (norm + delta) * epsilon + sum + high / 256;
            int64_t found = candidates(s, slack), positive = 0;
            for (int64_t c = 0; c < found; c++) {
                int32_t i = s.at[c];
                s.found[positive] = dot(x, step->W_enc + i * d, d) + step->b_enc[i];
                s.at[positive] = i;
                positive += s.found[positive] > 0;
            }
            keep(s, positive, step->indices + (first + r) * k, step->values + (first + r) * k);
        }
        free(s.row);
    }
}
