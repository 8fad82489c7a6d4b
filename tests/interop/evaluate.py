"""Evaluate an export for SAELens with SAELens' own `evals`, or with SAEBench's core evaluation.

    python tests/interop/evaluate.py saelens|saebench MODEL EXPORT ROWS OUTPUT

MODEL is a Hugging Face directory, EXPORT the folder of an SAE at one layer, ROWS a safetensors file
with `tokens` [n_rows, n_ctx]; OUTPUT gets the tool's metrics as JSON. All rows are read, in two
batches. Runs in the tools' environment, which knows nothing of this project.
"""

import json
import sys
from pathlib import Path

from datasets import Dataset
from sae_lens import SAE
from sae_lens.training.activations_store import ActivationsStore
from safetensors.torch import load_file
from transformer_lens.model_bridge import TransformerBridge


def main(tool: str, model_dir: str, export: str, rows_file: str, output: str) -> None:
    rows = load_file(rows_file)["tokens"]
    sae = SAE.load_from_disk(export, device="cpu")
    model = TransformerBridge.boot_transformers(model_dir, device="cpu")
    n_batches, batch = 2, len(rows) // 2
    store = ActivationsStore.from_sae(
        model, sae, Dataset.from_dict({"tokens": rows.tolist()}), context_size=rows.shape[1]
    )
    settings = {
        **{"batch_size_prompts": batch, "n_eval_reconstruction_batches": n_batches},
        **{"n_eval_sparsity_variance_batches": n_batches, "compute_kl": True},
        **{"compute_ce_loss": True, "compute_sparsity_metrics": True},
        **{"compute_variance_metrics": True, "compute_featurewise_density_statistics": True},
    }
    if tool == "saelens":
        from sae_lens.evals import EvalConfig, run_evals
        from sae_lens.training.activation_scaler import ActivationScaler

        scalars, features = run_evals(sae, store, model, ActivationScaler(), EvalConfig(**settings))
    else:
        from sae_bench.evals.core.eval_config import CoreEvalConfig
        from sae_bench.evals.core.main import run_evals
        from sae_bench.sae_bench_utils.general_utils import load_and_format_sae

        load_and_format_sae("", sae, "cpu")
        tokenizer = model.tokenizer
        ignored = {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id}
        scalars, features = run_evals(
            sae,
            store,
            model,
            CoreEvalConfig(**settings, exclude_special_tokens_from_reconstruction=True),
            ignore_tokens=ignored,
        )
    found = {"scalars": scalars, "density": features["feature_density"]}
    Path(output).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
