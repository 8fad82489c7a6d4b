"""Language models for tests: tiny random ones of three families, and a real one."""

import dataclasses
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models

from clustersae.corpora.tokens import TokenFile, Vocabulary
from clustersae.models.anatomy import describe
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.runtime.files import write_json

SHARED = Path(__file__).parents[2] / "shared" / "data"
STORIES = SHARED / "models" / "stories260k"
TEXT = SHARED / "text" / "tinystories.txt"

needs_stories = pytest.mark.skipif(
    not (STORIES.is_dir() and TEXT.is_file()), reason=f"needs {STORIES} and {TEXT}"
)

FAMILIES = ("gpt2", "gpt_neox", "llama")
VOCAB_SIZE, N_CTX, N_LAYERS, D_MODEL = 50, 24, 3, 16
#: Of these models' tokens.
BOS = 0


def save_tiny_model(family: str, folder: Path, **changes) -> Path:
    """Write a random model with weights large enough to make every block matter."""
    if family == "gpt2":
        config = transformers.GPT2Config(
            n_positions=N_CTX, n_embd=D_MODEL, n_layer=N_LAYERS, n_head=2, bos_token_id=0,
            eos_token_id=0, vocab_size=VOCAB_SIZE, **changes,
        )  # fmt: skip
    else:
        kind = {"gpt_neox": transformers.GPTNeoXConfig, "llama": transformers.LlamaConfig}[family]
        config = kind(
            max_position_embeddings=N_CTX, hidden_size=D_MODEL, num_hidden_layers=N_LAYERS,
            num_attention_heads=2, intermediate_size=32, bos_token_id=0, eos_token_id=0,
            vocab_size=VOCAB_SIZE, **changes,
        )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "emb" not in name:
                weight.mul_(8)
    model.save_pretrained(folder)
    save_tiny_tokenizer(folder)
    return folder


def tiny_stream(family: str, folder: Path, dtype: torch.dtype | None = None) -> ResidualStream:
    """A model of `save_tiny_model`, written to `folder` and opened."""
    description = describe(save_tiny_model(family, folder), "here")
    return ResidualStream(load_model(folder, description, dtype=dtype), description)


def save_tiny_tokenizer(folder: Path, n_words: int = VOCAB_SIZE) -> None:
    words = {f"w{index}": index for index in range(n_words)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w1"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="w0", unk_token="w1"
    ).save_pretrained(folder)


def write_description(
    model_dir: Path, output: Path, source: str, revision: str | None = None
) -> None:
    """What importing the model in `model_dir` would say of it, to `output`."""
    write_json(output, dataclasses.asdict(describe(model_dir, source, revision)))


def stories(n_rows: int, n_ctx: int = 512) -> torch.Tensor:
    """BOS and a story per row, int64 [n_rows, at most n_ctx], padded at the right with BOS."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(STORIES)
    texts = TEXT.read_text(encoding="utf-8").split("<|endoftext|>")
    rows = [
        torch.tensor([1, *tokenizer(text.strip(), add_special_tokens=False)["input_ids"]][:n_ctx])
        for text in texts[:n_rows]
    ]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1)


def padded_tokens() -> torch.Tensor:
    """Rows of several lengths, int64 [6, N_CTX], padded at the right with BOS."""
    ids = torch.randint(1, VOCAB_SIZE, (6, N_CTX), generator=torch.Generator().manual_seed(0))
    for row, length in enumerate([24, 5, 12, 20, 9, 16]):
        ids[row, length:] = BOS
    ids[:, 0] = BOS
    return ids


def token_file(tokens: torch.Tensor, vocab_size: int, bos_id: int) -> TokenFile:
    """A corpus in which BOS is padding too."""
    vocabulary = Vocabulary("test", vocab_size, bos_id, bos_id)
    return TokenFile(tokens.int(), vocabulary, "test", "0" * 64)
