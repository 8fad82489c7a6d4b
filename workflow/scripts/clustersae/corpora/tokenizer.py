"""Tokenizers: those made here, and those that come with a model.

A tokenizer made here is a pair of files, tokenizer.json and tokenizer_config.json, which
transformers' AutoTokenizer loads once they lie beside a model. It adds no BOS on its own: whoever
builds a row puts BOS at its start.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from clustersae.corpora.special import SpecialTokens, special_tokens
from clustersae.corpora.text import Continued
from clustersae.corpora.tokens import Vocabulary
from clustersae.corpora.toy_lexicon import BOS, PAD, UNK, VOCABULARY
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import LARGEST_JSON, read_object, write_json, write_text

ENCODE_CHARACTERS = 1 << 22  # handed to the tokenizer at once; it encodes them in parallel


class LoadedTokenizer(NamedTuple):
    """A tokenizer and what its ids mean."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    adds_bos: bool = False  # the tokenizer itself puts BOS in front of a text

    @property
    def start_id(self) -> int | None:
        """What a model has seen before a document: BOS, or the end of another text.

        Models trained here have no end of text, and begin with BOS, though their tokenizers do not.
        """
        eos_id = self.vocabulary.eos_id
        return self.vocabulary.bos_id if self.adds_bos or eos_id is None else eos_id


def word_tokenizer() -> LoadedTokenizer:
    """The tokenizer of toy English: one token per word, punctuation mark and two-digit number.

    "the shop, in 1732" is read as "the shop , in 17 32".
    """
    ids = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Split(Regex(r"\d\d"), "isolated")]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (PAD, BOS, UNK)])
    special = tuple(ids[token] for token in (PAD, BOS, UNK))
    vocabulary = Vocabulary("toy-english words", len(ids), ids[BOS], ids[PAD], special_ids=special)
    return LoadedTokenizer(tokenizer, vocabulary)


def character_tokenizer(characters: Iterable[str], with_bos: bool = True) -> LoadedTokenizer:
    """One token per character; text comes back unchanged from decode(encode(text)).

    Characters outside `characters` become <unk>. There is no padding token: rows are full.
    Without BOS, ids are places in the ordered alphabet, and <unk> comes after them.
    """
    letters = sorted(set(characters))
    special = (BOS, UNK) if with_bos else (UNK,)
    names = [*special, *letters] if with_bos else [*letters, *special]
    ids = {name: index for index, name in enumerate(names)}
    # Byte-pair encoding without a single merge leaves characters, whatever they are.
    tokenizer = Tokenizer(models.BPE(ids, merges=[], unk_token=UNK))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    special_ids = tuple(ids[token] for token in special)
    vocabulary = Vocabulary("characters", len(ids), ids.get(BOS), None, special_ids=special_ids)
    return LoadedTokenizer(tokenizer, vocabulary)


def save_tokenizer(loaded: LoadedTokenizer, tokenizer_json: Path, tokenizer_config: Path) -> None:
    """Write the two files of a tokenizer made here."""
    write_text(tokenizer_json, loaded.tokenizer.to_str(pretty=True))
    ids = {"bos_token": loaded.vocabulary.bos_id, "pad_token": loaded.vocabulary.pad_id}
    names = {"bos_token": BOS, "pad_token": PAD}
    write_json(
        tokenizer_config,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{key: name for key, name in names.items() if ids[key] is not None},
            "unk_token": UNK,
            "clean_up_tokenization_spaces": False,
            "padding_side": "right",
        },
    )


def model_tokenizer(model_dir: Path) -> LoadedTokenizer:
    """The fast tokenizer of a Hugging Face model directory.

    What its special tokens are stands in description.json, once the model is imported; a
    directory without is asked as it would be then. It may know more tokens than the model embeds:
    whoever builds a text checks those that occur.

    Raises:
        InputError: the directory has no tokenizer.json.
    """
    path = model_dir / "tokenizer.json"
    if not path.is_file():
        raise InputError(
            f"{model_dir} has no tokenizer.json. Save one there with"
            " AutoTokenizer.from_pretrained(...).save_pretrained(...) (a fast tokenizer)."
        )
    tokenizer = read_tokenizer(path)
    description = model_dir / "description.json"
    if description.is_file():
        facts = read_object(description)
        special = SpecialTokens(**{name: facts[name] for name in SpecialTokens._fields})
        vocab_size = facts["vocab_size"]
    else:
        config = read_object(model_dir / "config.json")
        config = config.get("text_config") or config
        vocab_size = config["vocab_size"]
        settings = read_object(model_dir / "tokenizer_config.json")
        theirs = _as_transformers_reads(model_dir)
        special = special_tokens(theirs, tokenizer, settings, config, vocab_size)
    vocabulary = Vocabulary(
        str(model_dir),
        vocab_size,
        special.bos_id,
        special.pad_id,
        special.eos_id,
        tuple(special.special_ids),
    )
    return LoadedTokenizer(tokenizer, vocabulary, special.adds_bos)


def read_tokenizer(path: Path) -> Tokenizer:
    """What a tokenizer.json says, for texts of any length: it neither cuts nor fills up.

    Raises:
        InputError: it is none.
    """
    if path.stat().st_size > LARGEST_JSON:
        raise InputError(f"{path} is no tokenizer: it has over {LARGEST_JSON} bytes.")
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library knows no kinds of errors
        raise InputError(
            f"{path} is no tokenizer that this version of tokenizers can read ({error})."
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _as_transformers_reads(model_dir: Path) -> Any:
    from transformers import AutoTokenizer  # seconds to import; not wanted beside a description

    return AutoTokenizer.from_pretrained(model_dir, local_files_only=True, trust_remote_code=False)


def encode_documents(
    tokenizer: Tokenizer, documents: Iterable[str]
) -> Iterator[tuple[np.ndarray, bool]]:
    """Token ids, int32 [n], of one piece of text after another; no special tokens are added.

    With each, whether a document begins there: where it is no `Continued` of the piece before.
    """
    for batch in _batches(documents):
        encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        for piece, encoding in zip(batch, encodings):
            yield np.asarray(encoding.ids, dtype=np.int32), not isinstance(piece, Continued)
        del encodings, encoding  # a hundred bytes per token, before there are as many again


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    """Lists of documents of about ENCODE_CHARACTERS together, at least one each."""
    documents = iter(documents)
    for document in documents:
        batch, size = [document], len(document)
        while size < ENCODE_CHARACTERS and (more := list(islice(documents, 1))):
            batch += more
            size += len(more[0])
        yield batch
