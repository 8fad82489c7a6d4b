/* One optimiser step of a TopK SAE on a CPU: all but the encoder product and AuxK.

   The products with k-sparse latents are gathers of rows that stay in cache, and one pass over the
   weights does what would otherwise be seven: gradient, its part along decoder rows, clipping, both
   moments, the update, the renormalisation. Each row, token or block of them is one thread's, and
   sums over blocks run in their order: the bits do not depend on the number of threads. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "step.h"

/* sum += Σ_j scale[j] rows[at[j]], four rows at a time. */
static void add_rows(float *restrict sum, const float *restrict rows, const int32_t *at,
                     const float *scale, int64_t n, int64_t d) {
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        const float *a = rows + at[j] * d, *b = rows + at[j + 1] * d;
        const float *c = rows + at[j + 2] * d, *e = rows + at[j + 3] * d;
        float s = scale[j], t = scale[j + 1], u = scale[j + 2], w = scale[j + 3];
        for (int64_t i = 0; i < d; i++) sum[i] += (s * a[i] + t * b[i]) + (u * c[i] + w * e[i]);
    }
    for (; j < n; j++) {
        const float *a = rows + at[j] * d;
        float s = scale[j];
        for (int64_t i = 0; i < d; i++) sum[i] += s * a[i];
    }
}

/* A bfloat16 copy of a row, its norm, and the norm of what rounding took. */
static void halve(const float *restrict x, int64_t d, uint16_t *restrict half, float *norm,
                  float *error) {
    float squares = 0, lost = 0;
    for (int64_t i = 0; i < d; i++) {
        half[i] = narrow(x[i]);
        float off = widen(half[i]) - x[i];
        squares += x[i] * x[i], lost += off * off;
    }
    /* upwards, by more than the sums are off */
    *norm = sqrtf(squares) * 1.0001f, *error = sqrtf(lost) * 1.0001f;
}

/* centred = x - b_dec */
void centre(const Step *s, const float *x) {
    int64_t d = s->d_model;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t r = 0; r < s->rows; r++) {
        float *row = s->centred + r * d;
        for (int64_t i = 0; i < d; i++) row[i] = x[r * d + i] - s->b_dec[i];
        if (s->half_centred)
            halve(row, d, s->half_centred + r * d, s->norm_centred + r, s->error_centred + r);
    }
}

/* Copies of W_enc after another hand has changed it. */
void halve_W_enc(const Step *s) {
    int64_t d = s->d_model;
    for (int64_t i = 0; i < s->d_sae; i++)
        halve(s->W_enc + i * d, d, s->half_W_enc + i * d, s->norm_W_enc + i, s->error_W_enc + i);
}

/* ---- the loss and its gradients ---- */

/* How often each latent is active, and where: `starts` ends as the row starts of a CSR matrix. */
static void transpose(const Step *s) {
    int64_t n = s->rows * s->k, *starts = s->starts;
    memset(starts, 0, (s->d_sae + 1) * sizeof(int64_t));
    for (int64_t e = 0; e < n; e++) starts[s->indices[e] + 1] += s->values[e] > 0;
    for (int64_t i = 0; i < s->d_sae; i++) starts[i + 1] += starts[i];
    for (int64_t e = 0; e < n; e++) {
        if (!(s->values[e] > 0)) continue;
        int64_t to = starts[s->indices[e]]++;
        s->tokens[to] = (int32_t)(e / s->k);
        s->by_latent[to] = s->values[e];
        s->grad_by_latent[to] = s->grad_values[e];
    }
    memmove(starts + 1, starts, s->d_sae * sizeof(int64_t));
    starts[0] = 0;
}

/* Reconstruct `x`, with gradients of the FVU ‖x̂ - x‖² / (rows d_model); returns the FVU. */
double reconstruct(const Step *s, const float *x) {
    int64_t d = s->d_model, k = s->k, blocks = (s->rows + s->block - 1) / s->block;
    double size = (double)s->rows * d, total = 0;
    float scale = (float)(2 / size);
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        double squares = 0;
        float *sums = s->grad_sums + block * d;
        memset(sums, 0, d * sizeof(float));
        for (int64_t r = block * s->block; r < least(s->rows, (block + 1) * s->block); r++) {
            float *g = s->grad + r * d, *grad_values = s->grad_values + r * k;
            const float *values = s->values + r * k;
            const int32_t *at = s->indices + r * k;
            int64_t n = 0;
            while (n < k && values[n] > 0) n++;
            for (int64_t i = 0; i < d; i++) g[i] = s->b_dec[i] - x[r * d + i];
            add_rows(g, s->W_dec, at, values, n, d);
            squares += dot(g, g, d);
            for (int64_t i = 0; i < d; i++) g[i] *= scale, sums[i] += g[i];
            for (int64_t j = 0; j < k; j++)
                grad_values[j] = j < n ? dot(g, s->W_dec + at[j] * d, d) : 0;
        }
        s->squares[block] = squares;
    }
    for (int64_t block = 0; block < blocks; block++) total += s->squares[block];
    transpose(s);
    return total / size;
}

static int has_gradient(const Step *s, int64_t i) {
    return s->starts[i] < s->starts[i + 1] || s->place[i] >= 0;
}

/* Gradients of latent i: of its row of W_dec, without the part along the row, which the
   renormalisation would undo; of its row of W_enc; of its bias, all but AuxK's part. */
static float latent_gradients(const Step *s, int64_t i, float *dec, float *enc) {
    int64_t d = s->d_model, from = s->starts[i], n = s->starts[i + 1] - from, place = s->place[i];
    const float *row = s->W_dec + i * d;
    memset(dec, 0, d * sizeof(float));
    memset(enc, 0, d * sizeof(float));
    add_rows(dec, s->grad, s->tokens + from, s->by_latent + from, n, d);
    add_rows(enc, s->centred, s->tokens + from, s->grad_by_latent + from, n, d);
    float bias = 0;
    for (int64_t e = from; e < from + n; e++) bias += s->grad_by_latent[e];
    if (place >= 0)
        for (int64_t j = 0; j < d; j++) {
            dec[j] += s->aux_W_dec[place * d + j];
            enc[j] += s->aux_W_enc[place * d + j];
        }
    float along = dot(dec, row, d);
    for (int64_t j = 0; j < d; j++) dec[j] -= along * row[j];
    return bias;
}

/* The norm of all gradients; the gradient of b_dec is left in the first row of `grad_sums`. */
static double gradient_norm(const Step *s, int64_t token_blocks) {
    int64_t d = s->d_model, blocks = (s->d_sae + s->block - 1) / s->block;
#pragma omp parallel num_threads(s->threads)
    {
        float *scratch = malloc(2 * d * sizeof(float));
#pragma omp for schedule(dynamic, 4)
        for (int64_t block = 0; block < blocks; block++) {
            double total = 0;
            float *sums = s->bias_sums + block * d;
            memset(sums, 0, d * sizeof(float));
            for (int64_t i = block * s->block; i < least(s->d_sae, (block + 1) * s->block); i++) {
                s->grad_b_enc[i] = 0;
                if (!has_gradient(s, i)) continue;
                float *dec = s->kept ? s->kept + 2 * i * d : scratch, *enc = dec + d;
                float bias = latent_gradients(s, i, dec, enc);
                for (int64_t j = 0; j < d; j++) sums[j] += bias * s->W_enc[i * d + j];
                if (s->place[i] >= 0) bias += s->aux_b_enc[s->place[i]];
                s->grad_b_enc[i] = bias;
                total += (double)dot(dec, dec, d) + dot(enc, enc, d) + (double)bias * bias;
            }
            s->norms[block] = total;
        }
        free(scratch);
    }
    /* b_dec is added to the reconstruction and subtracted from the input of the encoder */
    double total = 0;
    for (int64_t block = 1; block < token_blocks; block++)
        for (int64_t j = 0; j < d; j++) s->grad_sums[j] += s->grad_sums[block * d + j];
    for (int64_t block = 0; block < blocks; block++) {
        for (int64_t j = 0; j < d; j++) s->grad_sums[j] -= s->bias_sums[block * d + j];
        total += s->norms[block];
    }
    return sqrt(total + dot(s->grad_sums, s->grad_sums, d));
}

/* ---- Adam (Kingma & Ba 2015), with PyTorch's order of operations ---- */

typedef struct {
    float clip, rate, root; /* rate / (1 - 0.9^t), 1 / √(1 - 0.999^t) */
} Rates;

static float adam(float *restrict w, const float *restrict g, float *restrict first,
                  float *restrict second, int64_t n, Rates by) {
    float squares = 0;
    for (int64_t j = 0; j < n; j++) {
        float x = by.clip * g[j];
        first[j] += (x - first[j]) * 0.1f;
        second[j] = second[j] * 0.999f + x * x * 0.001f;
        w[j] -= by.rate * first[j] / (sqrtf(second[j]) * by.root + 1e-8f);
        squares += w[j] * w[j];
    }
    return squares;
}

/* What Adam's step number `t` (from 1) takes its moments for. */
static Rates rates(float clip, double rate, int64_t t) {
    return (Rates){clip, (float)(rate / (1 - pow(0.9, t))), (float)(1 / sqrt(1 - pow(0.999, t)))};
}

/* Gradients, clipping to `max_norm`, and step number `t` (from 1) of Adam; decoder rows end with
   norm 1. Latents without a gradient stay as they are, and for the others Adam's clock is their own
   number of steps. Counts tokens since each latent was active. Returns the norm of the gradients. */
double update(const Step *s, double rate, double max_norm, int64_t t) {
    int64_t d = s->d_model, m = s->d_sae, blocks = (m + s->block - 1) / s->block;
    double norm = gradient_norm(s, (s->rows + s->block - 1) / s->block);
    double clip = max_norm / (norm + 1e-6);
    if (clip > 1) clip = 1; /* and NaN stays what it is */
    Rates of_all = rates((float)clip, rate, t);
#pragma omp parallel num_threads(s->threads)
    {
        float *scratch = malloc(2 * d * sizeof(float));
#pragma omp for schedule(dynamic, 4)
        for (int64_t block = 0; block < blocks; block++)
            for (int64_t i = block * s->block; i < least(m, (block + 1) * s->block); i++) {
                float *dec = scratch, *enc = scratch + d;
                s->silent_for[i] = s->starts[i] < s->starts[i + 1] ? 0 : s->silent_for[i] + s->rows;
                if (!has_gradient(s, i)) continue;
                if (s->kept) dec = s->kept + 2 * i * d, enc = dec + d;
                else latent_gradients(s, i, dec, enc);
                Rates by = rates((float)clip, rate, ++s->updates[i]);
                float *row = s->W_dec + i * d, *encoder = s->W_enc + i * d;
                float squares = adam(row, dec, s->m_W_dec + i * d, s->v_W_dec + i * d, d, by);
                float scale = 1 / fmaxf(sqrtf(squares), 1e-12f);
                for (int64_t j = 0; j < d; j++) row[j] *= scale;
                adam(encoder, enc, s->m_W_enc + i * d, s->v_W_enc + i * d, d, by);
                if (s->half_W_enc)
                    halve(encoder, d, s->half_W_enc + i * d, s->norm_W_enc + i,
                          s->error_W_enc + i);
                adam(s->b_enc + i, s->grad_b_enc + i, s->m_b_enc + i, s->v_b_enc + i, 1, by);
            }
        free(scratch);
    }
    adam(s->b_dec, s->grad_sums, s->m_b_dec, s->v_b_dec, d, of_all);
    return norm;
}
