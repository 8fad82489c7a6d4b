"""What the text shows of its tokens, by hand."""

import numpy as np
import pandas as pd
import torch
from tiny_tokenizers import bytes_level
from tokenizers import Tokenizer, decoders, models

from clustersae.corpora.tokens import TokenFile, Vocabulary
from clustersae.latents.sequences import Text
from clustersae.probing.labels import factor_labels, text_labels

PIECES = ["<s>", " The", " cat", "s", ".", ' "', "No", '"', " 12", ",", "\n", " Then", " it", "'s"]
PIECES += [" don'", "t", ".\n", " o'c", " x-"]


def text_of(rows):
    """Everything but the BOS of each row is analysed."""
    ids = torch.tensor([[PIECES.index(piece) for piece in row] for row in rows])
    file = TokenFile(ids.int(), Vocabulary("pieces", len(PIECES), 0, None), "source", "0" * 64)
    sequence, position = (ids != 0).nonzero(as_tuple=True)
    token = ids[sequence, position].numpy()
    return Text(token, token, sequence.numpy(), position.numpy(), [], []), file


def tokenizer_of(path, decoder=True):
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(PIECES)}, "<s>"))
    if decoder:
        tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(path))
    return path


ROWS = [
    ["<s>", " The", " cat", "s", ",", ' "', "No", ".", '"', " The", "\n"],
    ["<s>", '"', "No", " 12", " it", "'s", ".", " Then", " cat", " cat", "s"],
    ["<s>", " don'", "t", ".\n", " o'c", "s", " x-", "t", '"', '"', '"'],
]
EXPECTED = {
    "capitalised": [["<s>", " The", "No", " The"], ["No", " Then"], []],
    "number": [[], [" 12"], []],
    "punctuation": [[",", ' "', ".", '"'], ['"', "."], [".\n", '"', '"', '"']],
    "begins a word": [
        [" The", " cat", "No", " The"],
        ["No", " 12", " it", " Then", " cat", " cat"],
        [" don'", " o'c", " x-", "t"],
    ],
    "in quotation marks": [["No", ".", '"'], ROWS[1][2:], ['"']],
    "begins a sentence": [[" The", '"'], ['"', " Then"], [" don'", " o'c"]],
    "seen before in its row": [[" The"], [" cat"], ["t", '"', '"']],
    "late in a sentence": [[], [], []],
}


def test_labels_of_rows_by_hand(tmp_path):
    text, file = text_of(ROWS)
    found = text_labels(text, file, tokenizer_of(tmp_path / "tokenizer.json"))
    assert found.keys() == EXPECTED.keys()
    for name, rows in EXPECTED.items():
        for number, pieces in enumerate(rows):
            own = found[name][text.sequence == number]
            said = [PIECES[token] for token in text.token[text.sequence == number][own]]
            assert said == [piece for piece in pieces if piece != "<s>"], (name, number)


def test_the_tenth_token_after_a_sentence_is_late_in_the_next(tmp_path):
    text, file = text_of([["<s>", "."] + [" cat"] * 12])
    found = text_labels(text, file, tokenizer_of(tmp_path / "tokenizer.json"))
    assert text.position[found["late in a sentence"]].tolist() == [12, 13]
    assert text.position[found["begins a sentence"]].tolist() == [2]


def test_every_word_of_a_tokenizer_of_whole_words_begins_one(tmp_path):
    text, file = text_of([["<s>", "No", "No", "s", "."]])
    path = tokenizer_of(tmp_path / "tokenizer.json", decoder=False)
    assert text_labels(text, file, path)["begins a word"].tolist() == [True, True, True, False]


def test_the_bytes_of_a_character_are_no_number_and_no_letters(tmp_path):
    tokenizer = bytes_level([])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ids = torch.tensor([tokenizer.encode("a 1🚀é").ids])  # bytes: a, space, 1, four, two
    file = TokenFile(ids.int(), Vocabulary("bytes", 256, None, None), "source", "0" * 64)
    place = np.arange(9)
    text = Text(ids[0].numpy(), ids[0].numpy(), 0 * place, place, [], [])
    found = text_labels(text, file, tmp_path / "tokenizer.json")
    assert place[found["number"]].tolist() == [2]
    assert place[found["begins a word"]].tolist() == [0, 2]
    assert not found["punctuation"].any()


def test_vowel_signs_are_parts_of_words_and_other_scripts_have_full_stops(tmp_path):
    pieces = [" क", "ी", "म", "त", "।", " क"]  # price, a full stop, and a letter
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces[:5])}, " क"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    place = np.arange(6)
    ids = torch.tensor([[0, 1, 2, 3, 4, 0]])
    file = TokenFile(ids.int(), Vocabulary("pieces", 5, None, None), "source", "0" * 64)
    text = Text(ids[0].numpy(), ids[0].numpy(), 0 * place, place, [], [])
    found = text_labels(text, file, tmp_path / "tokenizer.json")
    assert place[found["begins a word"]].tolist() == [0, 5]
    assert place[found["punctuation"]].tolist() == [4]
    assert place[found["begins a sentence"]].tolist() == [0, 5]


def test_a_factor_is_asked_for_by_the_value_that_is_nearest_to_half():
    lines = [(split, row, 1, "colour", "rgb"[row % 3 if row < 3 else 1])
             for split in ("validation", "test") for row in range(6)]  # fmt: skip
    # Half of the rows have a size that the other text lacks, and all a shape that it lacks.
    sizes = {"validation": "vvvstt", "test": "sssttt"}
    lines += [
        (split, row, 1, "size", size) for split in sizes for row, size in enumerate(sizes[split])
    ]
    lines += [(split, row, 1, "shape", split) for split in sizes for row in range(6)]
    table = pd.DataFrame(lines, columns=["split", "row", "position", "factor", "value"])
    table = table.astype(dict.fromkeys(("split", "factor", "value"), "category"))
    text, _ = text_of([["<s>", " cat", " cat"]] * 6)
    found = factor_labels(table, {"validation": text, "test": text})
    assert [list(each) for each in found] == [["colour: g", "size: t"]] * 2
    assert (found[1]["colour: g"] == np.isin(text.sequence, (1, 3, 4, 5))).all()
