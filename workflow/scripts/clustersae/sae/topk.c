/* The k largest pre-activations of every token, exactly. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

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

/* Each latent belongs to one of several groups. The groups with the k largest maxima contain the k
   largest latents, and no latent below the k-th of these maxima is one of them: most are never
   looked at twice. What is not positive is inactive and comes out as value 0 of latent 0. */
static void topk_row(const float *pre, const float *bias, int64_t m, int64_t k, int64_t groups,
                     int32_t *index, float *value, float *best, float *found, int32_t *at,
                     int32_t *chosen) {
    memset(best, 0, groups * sizeof(float));
    for (int64_t base = 0; base < m; base += groups) {
        int64_t n = least(groups, m - base);
        for (int64_t j = 0; j < n; j++) {
            float x = pre[base + j] + bias[base + j];
            best[j] = x > best[j] ? x : best[j];
        }
    }
    /* at least k groups reach `low`, if so many are positive; fewer reach `high` or all but it */
    float low = 0, high = 0;
    for (int64_t j = 0; j < groups; j++) high = best[j] > high ? best[j] : high;
    for (int round = 0; round < 24; round++) {
        float middle = low + (high - low) * 0.5f;
        if (!(middle > low && middle < high)) break;
        int32_t count = 0;
        for (int64_t j = 0; j < groups; j++) count += best[j] >= middle;
        if (count < k) high = middle;
        else {
            low = middle;
            if (count <= k + k / 8) break;
        }
    }
    if (!(low > 0)) low = 1e-45f;

    int64_t n_chosen = 0, n = 0;
    for (int64_t j = 0; j < groups; j++) {
        chosen[n_chosen] = (int32_t)j;
        n_chosen += best[j] >= low;
    }
    for (int64_t g = 0; g < n_chosen; g++)
        for (int64_t i = chosen[g]; i < m; i += groups) {
            float x = pre[i] + bias[i];
            found[n] = x, at[n] = (int32_t)i;
            n += x >= low;
        }
    if (n > k) drop_smallest(found, at, n, k), n = k;
    memcpy(value, found, n * sizeof(float));
    memcpy(index, at, n * sizeof(int32_t));
    for (; n < k; n++) value[n] = 0, index[n] = 0;
}

/* The k largest of pre + bias for n tokens, pre [n, m]: indices and values [n, k]. */
void topk(const float *pre, const float *bias, int64_t n, int64_t m, int64_t k, int32_t *indices,
          float *values, int64_t threads) {
    int64_t groups = least((k < 8 ? 64 : k * 8 + 15) / 16 * 16, m);
#pragma omp parallel num_threads(threads)
    {
        float *best = malloc(groups * sizeof(float));
        float *found = malloc((m + 1) * sizeof(float));
        int32_t *at = malloc((m + 1) * sizeof(int32_t));
        int32_t *chosen = malloc((groups + 1) * sizeof(int32_t));
#pragma omp for schedule(static)
        for (int64_t r = 0; r < n; r++)
            topk_row(pre + r * m, bias, m, k, groups, indices + r * k, values + r * k, best, found,
                     at, chosen);
        free(best), free(found), free(at), free(chosen);
    }
}
