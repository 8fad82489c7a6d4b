"""Which tokens are read, what precedes them, how they look, and which SAEs belong together."""

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_shards import made_shard
from tiny_tokenizers import bytes_level, like_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from clustersae.activations.shards import open_shards
from clustersae.corpora.tokenizer import character_tokenizer, word_tokenizer
from clustersae.corpora.tokens import TokenFile, Vocabulary
from clustersae.latents.groups import Trained, groups_of
from clustersae.latents.sequences import NOTHING, read_text
from clustersae.latents.words import _BYTES, read_words
from clustersae.runtime.errors import InputError

N_ROWS, N_CTX, BOS = 10, 6, 0


@pytest.fixture
def file():
    """Rows of 5 tokens after BOS; row 3 is padded after 2, and row 4 has a second BOS inside."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(2, 9, (N_ROWS, N_CTX), generator=generator, dtype=torch.int32)
    tokens[:, 0] = BOS
    tokens[3, 3:] = 1
    tokens[4, 3] = BOS
    return TokenFile(tokens, Vocabulary("words", 9, BOS, 1), "source", "0" * 64)


@pytest.fixture
def shards(file, tmp_path):
    """Two shards of 6 and 4 rows; layer l holds (sequence, position, l)."""
    paths = []
    for shard, (start, stop) in enumerate([(0, 6), (6, N_ROWS)]):
        row, column = file.kept[start:stop].nonzero(as_tuple=True)
        row += start
        order = torch.randperm(len(row), generator=torch.Generator().manual_seed(shard))
        row, column = row[order], column[order]
        layers = [torch.stack([row, column, torch.full_like(row, layer)], 1) for layer in (0, 1)]
        columns = file.tokens[row, column], column.int(), row.int()
        path = tmp_path / f"{shard}.safetensors"
        layers = [layer.float() for layer in layers]
        paths.append(made_shard(path, layers, columns, split="test", shard=shard))
    return open_shards(paths)


def test_rows_come_in_reading_order_with_their_activations(file, shards):
    text = read_text(shards, file, 10**6, seed=0)
    row, column = file.kept.nonzero(as_tuple=True)
    assert text.sequence.tolist() == row.tolist()
    assert text.position.tolist() == column.tolist()
    assert text.token.tolist() == file.tokens[row, column].tolist()
    assert text.previous.tolist() == file.tokens[row, column - 1].tolist()
    assert (text.previous[text.position == 1] == BOS).all()
    for layer in (0, 1):
        x = torch.cat(list(text.blocks(layer)))
        expected = np.stack([text.sequence, text.position, np.full(len(text), layer)], 1)
        assert (x.numpy() == expected).all()


def test_every_third_token_is_spread_over_all_shards(file, shards):
    text = read_text(shards, file, 10**6, seed=0)
    thin = text.every(3)
    assert thin.position.tolist() == text.position[::3].tolist()
    x, all_x = (torch.cat(list(each.blocks(1))) for each in (thin, text))
    assert torch.equal(x, all_x[::3])


def test_whole_sequences_are_drawn_until_there_are_enough_tokens(file, shards):
    drawn = [read_text(shards, file, 12, seed) for seed in range(20)]
    sizes = file.kept.sum(1).numpy()
    for text in drawn:
        rows, counts = np.unique(text.sequence, return_counts=True)
        assert (counts == sizes[rows]).all()
        assert 12 <= len(text) < 12 + N_CTX
    # All sequences have their chance, and a seed gives the same ones again.
    assert set(np.concatenate([text.sequence for text in drawn])) == set(range(N_ROWS))
    again = read_text(shards, file, 12, seed=0)
    assert (again.sequence == drawn[0].sequence).all()
    more = read_text(shards, file, 30, seed=0)
    assert set(drawn[0].sequence) < set(more.sequence)


def test_without_bos_nothing_precedes_the_first_token(tmp_path):
    tokens = torch.tensor([[3, 4]], dtype=torch.int32)
    file = TokenFile(tokens, Vocabulary("words", 9, None, None), "source", "0" * 64)
    columns = tokens[0], torch.tensor([0, 1]).int(), torch.zeros(2).int()
    path = made_shard(tmp_path / "0.safetensors", [torch.zeros(2, 3)], columns, split="test")
    text = read_text(open_shards([path]), file, 2, seed=0)
    assert text.previous.tolist() == [NOTHING, 3]


def test_another_token_file_is_refused(file, shards):
    for tokens in (file.tokens.flip(0), file.tokens[:, :4], file.tokens[:6]):
        other = TokenFile(tokens, file.vocabulary, file.source, file.source_sha256)
        with pytest.raises(InputError, match=r"not made from this token file of the test split"):
            read_text(shards, other, 10**6, seed=0)


def strings(tokenizer, text, folder):
    """`text` token by token."""
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    words = read_words(path, np.array(tokenizer.encode(text, add_special_tokens=False).ids))
    return [words.strings[index] for index in words.kind]


def test_words_and_characters_are_themselves(tmp_path):
    loaded = word_tokenizer()
    assert strings(loaded.tokenizer, "the cat .", tmp_path) == ["the", "cat", "."]
    loaded = character_tokenizer("a bĠ\n")
    assert strings(loaded.tokenizer, "a bĠ\nx", tmp_path) == ["a", " ", "b", "Ġ", "\n", "<unk>"]


def byte_level():
    vocabulary = {"a": 0, "Ġa": 1, "Ã": 2, "©": 3, "Ċ": 4}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.model = models.BPE({**vocabulary, "Ġ": 5}, merges=[("Ġ", "a")])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentence_piece():
    vocabulary = {"<unk>": 0, "▁": 1, "a": 2, "▁a": 3, "<0x0A>": 4}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[("▁", "a")], unk_token="<unk>"))
    tokenizer.model.byte_fallback = True
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    return tokenizer


@pytest.mark.parametrize("tokenizer", [byte_level(), sentence_piece()])
def test_pieces_bring_the_space_before_them(tokenizer, tmp_path):
    assert strings(tokenizer, "aa a", tmp_path)[-2:] == ["a", " a"]
    assert "\n" in strings(tokenizer, "a\n", tmp_path)


def test_the_letters_of_bytes_are_those_of_the_tokenizer():
    assert set(_BYTES) == set(pre_tokenizers.ByteLevel.alphabet())
    decode = decoders.ByteLevel().decode
    ascii_letters = {letter: byte for letter, byte in _BYTES.items() if byte < 0x80}
    assert all(decode([letter]) == chr(byte) for letter, byte in ascii_letters.items())
    pairs = {bytes([0xC2 + byte // 64, 0x80 + byte % 64]): chr(0x80 + byte) for byte in range(128)}
    letters = {byte: letter for letter, byte in _BYTES.items()}
    for pair, character in pairs.items():
        assert decode(["".join(letters[byte] for byte in pair)]) == character


@pytest.mark.parametrize("tokenizer", [bytes_level([]), like_llama()])
def test_parts_of_characters_differ_and_say_which_they_are(tokenizer, tmp_path):
    found = strings(tokenizer, "é🚀", tmp_path)
    assert found[-6:] == [r"\xc3", r"\xa9", r"\xf0", r"\x9f", r"\x9a", r"\x80"]


def test_of_a_token_with_a_part_of_a_character_the_rest_is_itself(tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer = byte_level()
    whole, mark = "Ġ" + "Ã©" + "Ã", "ï¿½"  # " é" and the first byte of another; U+FFFD itself
    tokenizer.add_tokens([whole, mark])
    tokenizer.save(str(path))
    ids = np.array([tokenizer.token_to_id(each) for each in (whole, mark)])
    assert read_words(path, ids).strings == [r" é\xc3", "\ufffd"]


def test_ids_beyond_the_tokenizer_and_its_absence(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(InputError, match=r"tokenizer\.json does not exist"):
        read_words(path, np.array([1]))
    byte_level().save(str(path))
    assert read_words(path, np.array([700, 1, 700])).strings == [" a", "<700>"]


def trained(name, layers, seed=0):
    return Trained(Path(f"{name}/seed-{seed}"), "base", name, seed, tuple(layers))


def test_saes_of_one_root_are_a_group_and_others_are_their_own():
    saes = [trained("3@3-4", [3]), trained("0-1+5", [0, 1, 5]), trained("4@3-4", [4])]
    saes += [trained("2", [2]), trained("2", [2], seed=1)]
    groups = groups_of(saes)
    assert [(group.seed, group.name) for group in groups] == [
        (0, "0-1+5"), (0, "2"), (0, "@3-4"), (1, "2"),
    ]  # fmt: skip
    assert [sae.name for sae in groups[2].saes] == ["3@3-4", "4@3-4"]


def test_two_saes_of_one_layer_are_refused():
    with pytest.raises(InputError, match=r"0-1.* and .*1.* both serve layer 1"):
        groups_of([trained("0-1", [0, 1]), trained("1", [1])])
