"""The run whose language models are trained again here, in numbers.

A 6-layer character GPT (d_model 384, context 256) on one GPU; the settings are in the presets. Per
seed, for the seeds 1337, 1338 and so on; only shakespeare_char had more than one.
"""

#: What is measured of every training, in the order of tables.
METRICS = (
    "final_train_loss",  # of the last logged training batch, with dropout; nat per character
    "best_val_loss",  # the lowest of the periodic estimates; nat per character
    "total_train_time",  # wall seconds of the loop, evaluations and compilation included
    "avg_inference_tokens_per_second",  # batch 1, 500 characters from a blank, no KV cache
)

LOSSES = METRICS[:2]

#: Means over seeds; enwik8 and text8 had one.
MEANS = {
    "shakespeare_char": (0.8084, 1.4693, 301.4, 476.8),
    "enwik8": (0.9415, 1.0055, 2372.0, 481.1),
    "text8": (0.9940, 0.9802, 2351.5, 476.6),
}

PER_SEED = {
    "shakespeare_char": (
        (0.8239, 0.7903, 0.8109),
        (1.4680, 1.4784, 1.4616),
        (317.4, 293.5, 293.3),
        (467.2, 480.1, 483.0),
    )
}
