"""Load language models and their tokenizers from a folder that was imported."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clustersae.models.description import ModelDescription, fingerprint
from clustersae.runtime.errors import InputError, first_line
from clustersae.runtime.memory import enough_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)


def load_model(
    model_dir: Path,
    description: ModelDescription,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> "PreTrainedModel":
    """The Hugging Face model in `model_dir`, in evaluation mode and without gradients.

    Its description says whether it is spread over several GPUs, and its number format.

    Args:
        dtype: another number format.

    Raises:
        InputError: the files are not those that were described, or cannot be loaded.
    """
    if fingerprint(Path(model_dir)) != description.fingerprint:
        raise InputError(
            f"The model in {model_dir} is not the one that its description.json describes."
            " Delete description.json and run again."
        )
    dtype = dtype or getattr(torch, description.dtype)
    spread = description.device_map if torch.device(device).type == "cuda" else None
    return load_pretrained(model_dir, description.trust_remote_code, device, dtype, spread)


def load_pretrained(
    model_dir: Path,
    trust_remote_code: bool = False,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    device_map: str | dict[str, Any] | None = None,
) -> "PreTrainedModel":
    """`load_model` for a model that has no description yet.

    Args:
        device_map: how transformers spreads the model over devices, in place of `device`.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    # It would recommend an attention mask for padding, which is not needed (see `models.residual`).
    set_verbosity_error()
    config = read_config(model_dir, trust_remote_code)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            model_dir,
            config=config,
            dtype=dtype,
            device_map=device_map,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
        )
    except Exception as error:  # what is wrong with a model shows anywhere, as any kind of error
        quantised = (
            " Its weights are quantised: use those that are not."
            if getattr(config, "quantization_config", None)
            else ""
        )
        raise InputError(
            f"transformers cannot load {model_dir} as a causal language model:"
            f" {first_line(error).rstrip('.')}.{quantised}"
        ) from error
    model, loading = loaded
    if loading["mismatched_keys"]:
        name, there, asked = min(loading["mismatched_keys"])
        raise InputError(
            f"model.safetensors in {model_dir} holds {name} of shape {[*there]}, but its"
            f" config.json asks for {[*asked]}. Use the config.json that belongs to the weights."
        )
    if loading["missing_keys"]:
        raise InputError(
            f"model.safetensors in {model_dir} lacks weights that its config.json asks for:"
            f" {', '.join(sorted(loading['missing_keys'])[:3])}. They would be random."
            " Use the checkpoint of a whole language model."
        )
    model = model.eval().requires_grad_(False)
    if device_map:
        return model
    name = str(dtype).removeprefix("torch.")
    smaller = "models.NAME.dtype: bfloat16, or " if dtype == torch.float32 else ""
    with enough_memory(
        f"the model in {model_dir}, {model.num_parameters():,} parameters in {name},",
        f"Write {smaller}models.NAME.device_map: auto, which spreads it over several GPUs and the"
        " CPU's memory; or free the GPU.",
    ):
        return model.to(device)


def read_config(model_dir: Path, trust_remote_code: bool = False) -> Any:
    """A model's configuration, without an attention that runs on some machines only.

    Flash attention and kernels of the Hub must be installed, and know neither CPUs nor float32.
    transformers then takes its own fused attention, or where the model has none the plain one; all
    of them compute the same.

    Raises:
        InputError: transformers cannot read it, or would have to run code of the model's own.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            model_dir, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # values of a wrong kind are found anywhere
        _check_code(model_dir, trust_remote_code, error)
        reason = " ".join(str(error).split())[:300]  # the first line names the key alone
        raise InputError(f"transformers cannot read {model_dir}/config.json: {reason}") from error
    named = config._attn_implementation
    if named not in (None, "eager", "sdpa"):
        logger.info("%s asks for the attention %s; taking that of torch", model_dir, named)
        config._attn_implementation = None
    return config


def _check_code(model_dir: Path, trusted: bool, error: Exception) -> None:
    """Raise InputError if what transformers says is that it would have to run a model's code."""
    if not trusted and "trust_remote_code" in str(error):
        raise InputError(
            f"{model_dir} holds a model that brings Python code of its own. Read that code; if you"
            " trust it, write models.NAME.trust_remote_code: true."
        ) from error


def load_tokenizer(model_dir: Path, trust_remote_code: bool = False):
    """The tokenizer beside a model.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            model_dir, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # as of the model
        _check_code(model_dir, trust_remote_code, error)
        raise InputError(
            f"transformers cannot load a tokenizer from {model_dir}: {first_line(error)}"
        ) from error
