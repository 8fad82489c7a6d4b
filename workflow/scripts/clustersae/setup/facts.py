"""What a model, a text and a machine are like, found without loading the model."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from clustersae.corpora.text import dataset_documents, jsonl_documents, lines_of, text_pieces
from clustersae.corpora.tokenizer import read_tokenizer
from clustersae.cost.forecast import Shape
from clustersae.experiment.layers import MOST_LAYERS
from clustersae.experiment.shape import D_MODEL_KEYS, N_LAYERS_KEYS, positive, text_facts
from clustersae.experiment.sources import dataset_files, gguf_file
from clustersae.experiment.texts import AS_DATASET, check_repeats
from clustersae.models.residual import read_config
from clustersae.models.size import block_weights
from clustersae.runtime import machine
from clustersae.runtime.errors import InputError, first_line
from clustersae.runtime.files import GIVEN, parsed_json, read_object
from clustersae.runtime.machine import Machine

N_CTX_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len")
#: Of a text, read to see what it is like.
SAMPLE_CHARACTERS = 1 << 20
#: Of a subword tokenizer on English, where the model's own cannot be asked.
CHARACTERS_PER_TOKEN = 4.0
#: What texts for language models put between documents.
SEPARATORS = ("<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "</s>")
#: Of files that are rows, not running text.
_TABLES = (".json", ".csv", ".tsv")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ModelFacts:
    """A language model, as its config.json or the head of its GGUF file describes it.

    Attributes:
        key: of the configuration: path or repo.
        place: value of that key.
        n_ctx: longest sequence in tokens; None if it is not said.
        dtype: number format of the weights, as torch names it.
        tokenizer: its tokenizer.json, if there is one.
        n_block_weights: parameters of all blocks; None where transformers does not know the model.
    """

    key: str
    place: str
    n_layers: int
    d_model: int
    vocab_size: int
    n_ctx: int | None
    dtype: str
    tokenizer: Path | None = None
    n_block_weights: int | None = None

    def shape(self, n_ctx: int) -> Shape:
        """The model as it reads rows of `n_ctx` tokens.

        Blocks that are not known are taken for 12·d_model²: attention 4, MLP 8.
        """
        weights = self.n_block_weights or 12 * self.n_layers * self.d_model**2
        return Shape(self.n_layers, self.d_model, n_ctx, self.vocab_size, weights)


@dataclass(frozen=True)
class TextFacts:
    """A text and how it is read.

    Attributes:
        corpus: its keys of the section `corpus`.
        n_bytes: of all files; None for a dataset of the Hub.
        n_tokens: in all, estimated from a sample; None where n_bytes is.
        measured: the sample was read with the model's own tokenizer.
    """

    corpus: dict[str, Any]
    n_bytes: int | None
    n_tokens: int | None
    measured: bool


def look_at_machine(folder: Path) -> Machine:
    """This machine; the disk is that of `folder`."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return machine.look(folder, gpu)


def look_at_model(place: str) -> ModelFacts:
    """The model at `place`: a Hugging Face directory, a GGUF file, or a repository of the Hub.

    Raises:
        InputError: there is no such model, or it does not say how many layers it has.
    """
    local = Path(os.path.expanduser(place))  # without a home folder as it is, and not there
    if os.path.exists(local):
        packed = gguf_file(local)
        if packed:
            return _packed_facts(packed)
        return _facts("path", str(local), local / "config.json", local / "tokenizer.json")
    if not _REPOSITORY.fullmatch(place) or place.startswith("."):
        raise InputError(
            f"--model {place}: there is no such directory or GGUF file, and a repository of the"
            " Hugging Face Hub is written OWNER/NAME."
        )
    config = _from_hub(place, "config.json")
    assert config is not None, "an absent one is an error"
    return _facts("repo", place, config, _from_hub(place, "tokenizer.json", optional=True))


def _from_hub(repository: str, name: str, optional: bool = False) -> Path | None:
    """One file of a repository, by the Hub's cache.

    Honours HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, endpoint=os.environ.get("HF_ENDPOINT")))
    except EntryNotFoundError as error:
        # Of a file that could not be asked for, the Hub's library says the same.
        if optional and not isinstance(error, LocalEntryNotFoundError):
            return None
        reason: Exception = error
    except Exception as error:  # its HTTP library, and so its errors, change with its version
        reason = error
    raise InputError(
        f"--model {repository} is no folder here, and {name} could not be fetched from the"
        f" Hugging Face Hub ({first_line(reason)}). Check the name and the network, or download"
        " the model elsewhere, copy it here and give its folder."
    ) from reason


def _facts(key: str, place: str, config: Path, tokenizer: Path | None) -> ModelFacts:
    facts = read_object(config, GIVEN)
    if facts.get("is_encoder_decoder"):
        raise InputError(
            f"--model {place} is an encoder-decoder model. Use a decoder-only language model."
        )
    facts = text_facts(facts, config)

    def whole(keys: Sequence[str], most: float = math.inf) -> int:
        found = positive(facts, keys, config, most)
        if found is None:
            raise InputError(
                f"--model {place}: config.json has none of {', '.join(keys)}, so that it is no"
                " language model that this workflow knows."
            )
        return found

    return ModelFacts(
        key,
        place,
        n_layers=whole(N_LAYERS_KEYS, MOST_LAYERS),
        d_model=whole(D_MODEL_KEYS),
        vocab_size=whole(["vocab_size"]),
        n_ctx=next((facts[k] for k in N_CTX_KEYS if isinstance(facts.get(k), int)), None),
        # Older versions of transformers say torch_dtype.
        dtype=str(facts.get("dtype") or facts.get("torch_dtype") or "float32"),
        tokenizer=tokenizer if tokenizer and tokenizer.is_file() else None,
        n_block_weights=_block_weights(config),
    )


def _block_weights(config: Path) -> int | None:
    try:
        return block_weights(read_config(config.parent))
    except InputError:  # what is wrong with it is said when the model is imported
        return None


def _packed_facts(file: Path) -> ModelFacts:
    """Of a GGUF file, whose weights are mapped but not read."""
    import gguf

    try:
        reader = gguf.GGUFReader(file)
        fields = reader.fields
        name = fields["general.architecture"].contents()
        n_layers, d_model, n_ctx = (
            int(fields[f"{name}.{key}"].contents())
            for key in ("block_count", "embedding_length", "context_length")
        )
        vocabulary = len(fields["tokenizer.ggml.tokens"].data)
        if not 1 <= n_layers <= MOST_LAYERS or d_model < 1:
            raise ValueError(f"{n_layers} layers, d_model {d_model}")
        blocks = sum(int(x.n_elements) for x in reader.tensors if x.name.startswith("blk."))
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"--model {file} is not a complete GGUF file ({type(error).__name__}: {error})."
        ) from None
    return ModelFacts(
        key="path",
        place=str(file),
        n_layers=n_layers,
        d_model=d_model,
        vocab_size=vocabulary,
        n_ctx=n_ctx,
        dtype="float32",
        n_block_weights=blocks,
    )


def look_at_text(places: Sequence[str], model: ModelFacts, field: str | None = None) -> TextFacts:
    """Text files, JSON Lines files, or one dataset (a folder here, or a name of the Hub).

    Args:
        field: that holds the text, in JSON Lines and datasets; by default one is looked for.

    Raises:
        InputError: there is no such text, or it cannot be read.
    """
    paths = [Path(os.path.expanduser(place)) for place in places]
    if all(map(os.path.isfile, paths)):
        check_repeats("--text", paths)
        of_lines = [path for path in paths if _has_json_lines(path)]
        if len(of_lines) == len(paths):
            return _json_lines(paths, model, field)
        if of_lines:
            raise InputError(
                f"--text: {of_lines[0]} is JSON Lines, others are not. Give files of one kind."
            )
        return _text_files(paths, model)
    missing = [place for place, path in zip(places, paths) if not os.path.exists(path)]
    if len(places) > 1:
        what = f"{missing[0]} does not exist" if missing else "one of them is a folder"
        raise InputError(f"--text: {what}. Give files, or one dataset.")
    if missing and not _REPOSITORY.fullmatch(places[0]):
        raise InputError(
            f"--text {places[0]}: there is no such file, and a dataset of the Hugging Face Hub is"
            " written OWNER/NAME."
        )
    place, field = (places[0] if missing else str(paths[0])), field or "text"
    sample = _sample(dataset_documents(place, "train", field))
    corpus = {"source": "dataset", "dataset": place, "field": field}
    n_bytes = sum(file.stat().st_size for file in dataset_files(place)) if not missing else None
    return _with_tokens(corpus, n_bytes, sample, model)


def _text_files(paths: Sequence[Path], model: ModelFacts) -> TextFacts:
    for path in paths:
        if path.suffix.lower() in _TABLES:
            raise InputError(f"--text {path} is no running text: {AS_DATASET}.")
    # Every file is opened, so that one that is no text is found now.
    samples = [_sample(text_pieces(path)) for path in paths]
    found = [(sample.count(each), each) for sample in samples for each in SEPARATORS]
    count, separator = max(found, key=lambda each: each[0])
    corpus = {
        "source": "text",
        "files": [str(path) for path in paths],
        "separator": separator if count else None,
    }
    return _with_tokens(corpus, _size(paths), "".join(samples), model)


def _json_lines(paths: Sequence[Path], model: ModelFacts, field: str | None) -> TextFacts:
    field = field or _longest_field(paths[0])
    read = _sample(text_pieces(paths[0]))
    n_lines = max(1, read.count("\n"))
    sample = "".join(islice(jsonl_documents(paths, field), n_lines))
    # The rest of a line are names and other fields.
    share = min(1.0, len(sample) / len(read))
    corpus = {"source": "jsonl", "files": [str(path) for path in paths], "field": field}
    return _with_tokens(corpus, round(_size(paths) * share), sample, model)


def _has_json_lines(path: Path) -> bool:
    """By its name; one that ends in .json may be of lines or of one value."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        return bool(_first_record(iter([_sample(text_pieces(path))])))
    return suffix in (".jsonl", ".ndjson")


def _first_record(pieces: Iterator[str]) -> dict[str, Any]:
    """The JSON object in the first line that is not blank; empty if there is none."""
    try:
        record = parsed_json(next((line for line in lines_of(pieces) if line.strip()), ""))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _longest_field(path: Path) -> str:
    """`text` if the first line has it, else its longest text."""
    record = _first_record(text_pieces(path))
    if "text" in record:
        return "text"
    texts = {key: value for key, value in record.items() if isinstance(value, str)}
    return max(texts, key=lambda key: len(texts[key]), default="text")


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _sample(pieces: Iterator[str]) -> str:
    read, length = [], 0
    for piece in pieces:
        read.append(piece)
        length += len(piece)
        if length >= SAMPLE_CHARACTERS:
            break
    return "".join(read)[:SAMPLE_CHARACTERS]


def _with_tokens(
    corpus: dict[str, Any], n_bytes: int | None, sample: str, model: ModelFacts
) -> TextFacts:
    if not sample:
        raise InputError(f"--text {corpus.get('dataset') or corpus['files'][0]} has no text.")
    per_token = CHARACTERS_PER_TOKEN
    if model.tokenizer:
        encoding = read_tokenizer(model.tokenizer).encode(sample, add_special_tokens=False)
        per_token = len(sample) / max(1, len(encoding.ids))
    n_characters = None if n_bytes is None else n_bytes * len(sample) / len(sample.encode())
    total = None if n_characters is None else round(n_characters / per_token)
    return TextFacts(corpus, n_bytes, total, measured=model.tokenizer is not None)
