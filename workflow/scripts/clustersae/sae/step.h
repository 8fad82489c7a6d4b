/* What the steps of a training have in common. */
#ifndef STEP_H
#define STEP_H
#include <stdint.h>
#include <string.h>

typedef struct {
    int64_t rows, d_model, d_sae, k, threads;
    /* tokens or latents over which sums are made in one go */
    int64_t block;
    /* the SAE, as it is in PyTorch: W_enc by latent, like W_dec, [d_sae, d_model] */
    float *W_dec, *W_enc, *b_enc, *b_dec;
    /* Adam's moments, and for each latent the number of steps in which it had a gradient */
    float *m_W_dec, *v_W_dec, *m_W_enc, *v_W_enc, *m_b_enc, *v_b_enc, *m_b_dec, *v_b_dec;
    int64_t *updates;
    int64_t *silent_for;
    /* the batch [rows, ...]: x - b_dec, latents, d loss / d x̂, d loss / d values */
    float *centred;
    int32_t *indices;
    float *values, *grad, *grad_values;
    /* bfloat16 copies of `centred` and W_enc, or NULL; norms of rows, and of what rounding took */
    uint16_t *half_centred, *half_W_enc;
    float *norm_centred, *error_centred, *norm_W_enc, *error_W_enc;
    /* active latents by latent, in the order of tokens */
    int64_t *starts;
    int32_t *tokens;
    float *by_latent, *grad_by_latent;
    /* sums of blocks */
    double *squares, *norms;
    float *grad_sums, *bias_sums, *grad_b_enc;
    /* gradients of both rows of each latent [d_sae, 2, d_model], or NULL: then they are made twice,
       which is cheaper where latents are active for few tokens of a batch */
    float *kept;
    /* gradients that AuxK adds: the place of each latent in them, or -1 */
    int32_t *place;
    float *aux_W_dec, *aux_W_enc, *aux_b_enc;
} Step;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline float dot(const float *restrict a, const float *restrict b, int64_t d) {
    float sum = 0;
    for (int64_t i = 0; i < d; i++) sum += a[i] * b[i];
    return sum;
}

static inline float widen(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* To the nearest bfloat16, ties to even. */
static inline uint16_t narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
#endif
