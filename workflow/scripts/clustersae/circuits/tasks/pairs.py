"""Pairs of prompts as tokens of one model, and why others cannot be used with it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile

from tokenizers import Tokenizer

from clustersae.circuits.tasks.prompts import TaskPrompt
from clustersae.corpora.tokenizer import LoadedTokenizer

PROMPTS_AT_ONCE = 1024  # handed to the tokenizer together; it encodes them in parallel
N_TEXTS = 6  # that are encoded for each prompt


class Loss(StrEnum):
    """Why a pair cannot be used; the first reason that holds, in this order."""

    UNKNOWN_TOKEN = "unknown_token"  # the tokenizer, or the model, has no token for some of it
    ANSWER_JOINS_PROMPT = "answer_joins_prompt"  # tokens run across the end of the prompt
    SAME_ANSWER = "same_answer"  # equal answers, or one that begins with the other
    UNEQUAL_LENGTH = "unequal_length"  # the two prompts have different numbers of tokens
    SAME_PROMPT = "same_prompt"  # the two prompts are the same tokens
    TOO_LONG = "too_long"  # longer than the model's context
    DUPLICATE = "duplicate"  # the same tokens as an earlier pair


@dataclass(frozen=True)
class TokenPair:
    """A usable pair: two prompts of equal length, and two different next tokens."""

    clean: tuple[int, ...]  # begins as the model's texts do, see LoadedTokenizer.start_id
    patch: tuple[int, ...]
    answer: int
    wrong: int
    text: TaskPrompt = field(compare=False)
    n_moved: int = field(default=0, compare=False)  # tokens of the answers that end the prompts

    @property
    def length(self) -> int:
        """Tokens of either prompt."""
        return len(self.clean)


class PairMaker:
    """Turns prompts into pairs of tokens, one batch after another, and counts what is lost.

    Prompts begin as documents of a corpus do, with BOS or an end of text in front, unless the
    tokenizer has neither. Answers are
    tokenised behind their prompt, as in running text: on its own a word may come out otherwise.
    The leading tokens that both answers share, such as the space of a character model, move to
    the end of the prompts.

    Args:
        n_ctx: the longest prompt, BOS included, that the model reads.
    """

    def __init__(self, loaded: LoadedTokenizer, n_ctx: int) -> None:
        self._tokenizer = loaded.tokenizer
        self._start = () if loaded.start_id is None else (loaded.start_id,)
        self._unknown = unknown_id(loaded.tokenizer)
        self._n_known = loaded.vocabulary.vocab_size
        self._n_ctx = n_ctx
        self._seen: set[TokenPair] = set()
        self.n_tried = 0
        self.lost: Counter[Loss] = Counter()

    def make(self, prompts: Sequence[TaskPrompt]) -> list[TokenPair]:
        """The usable ones among `prompts`, in order, without repeats of any that were made."""
        pairs = []
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            some = prompts[start : start + PROMPTS_AT_ONCE]
            texts = [text for prompt in some for text in _texts(prompt)]
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            ids = (tuple(encoding.ids) for encoding in encodings)
            for prompt, encoded in zip(some, zip(*[ids] * N_TEXTS)):
                pair = self._pair(prompt, *encoded)
                if isinstance(pair, Loss):
                    self.lost[pair] += 1
                else:
                    self._seen.add(pair)
                    pairs.append(pair)
        self.n_tried += len(prompts)
        return pairs

    def _pair(
        self, prompt: TaskPrompt, clean: tuple[int, ...], patch: tuple[int, ...], *joined
    ) -> TokenPair | Loss:
        """The pair of a prompt, from the tokens of its six texts (see `_texts`)."""
        if any(self._unknown in ids or max(ids, default=0) >= self._n_known for ids in joined):
            return Loss.UNKNOWN_TOKEN
        prefixes = (clean, clean, patch, patch)
        if any(ids[: len(prefix)] != prefix for ids, prefix in zip(joined, prefixes)):
            return Loss.ANSWER_JOINS_PROMPT
        answer, wrong, *after_patch = (ids[len(prefix) :] for ids, prefix in zip(joined, prefixes))
        if after_patch != [answer, wrong]:
            return Loss.ANSWER_JOINS_PROMPT
        same = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(answer, wrong)))
        if same == min(len(answer), len(wrong)):
            return Loss.SAME_ANSWER
        if len(clean) != len(patch):
            return Loss.UNEQUAL_LENGTH
        if clean == patch:
            return Loss.SAME_PROMPT
        clean, patch = (self._start + prefix + answer[:same] for prefix in (clean, patch))
        if len(clean) > self._n_ctx:
            return Loss.TOO_LONG
        pair = TokenPair(clean, patch, answer[same], wrong[same], prompt, same)
        return Loss.DUPLICATE if pair in self._seen else pair


def _texts(prompt: TaskPrompt) -> tuple[str, ...]:
    """Both prefixes, and each of them followed by each answer: N_TEXTS texts."""
    prefixes = (prompt.clean_prefix, prompt.patch_prefix)
    answers = (prompt.clean_answer, prompt.patch_answer)
    return *prefixes, *(prefix + answer for prefix in prefixes for answer in answers)


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """The token that stands for text the tokenizer has no token for, if it has such a one."""
    if hasattr(tokenizer.model, "unk_token"):
        name = tokenizer.model.unk_token
        return None if name is None else tokenizer.token_to_id(name)
    return json.loads(tokenizer.to_str())["model"].get("unk_id")  # Unigram
