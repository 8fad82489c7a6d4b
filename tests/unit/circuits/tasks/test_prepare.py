import json

import pytest
from language_models import SHARED, STORIES, needs_stories

from clustersae.circuits.tasks.prepare import prepare
from clustersae.circuits.tasks.prompts import TaskPrompt
from clustersae.corpora.tokenizer import character_tokenizer, model_tokenizer, word_tokenizer
from clustersae.runtime.errors import InputError


def test_a_users_file_is_prepared_and_accounted_for(tmp_path):
    dog = TaskPrompt("The dog", "The dogs", " is", " are")
    cat = TaskPrompt("The cats", "The cat", " see", " sees")
    walrus = dog._replace(clean_prefix="The walrus")
    lines = [json.dumps(prompt._asdict()) for prompt in (dog, walrus, cat, dog)]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(lines))
    found = prepare(str(path), word_tokenizer(), 18, 10, 10)
    assert {pair.text for pair in (*found.train, *found.test)} == {dog, cat}
    assert found.row() == {
        **{"task": "mine", "n_tried": 4, "n_usable": 2, "n_train": 1, "n_test": 1},
        **{"lost_unknown_token": 1, "lost_answer_joins_prompt": 0, "lost_same_answer": 0},
        **{"lost_unequal_length": 0, "lost_same_prompt": 0, "lost_too_long": 0},
        "lost_duplicate": 1,
    }
    assert found.summary() == (
        "mine: 2 of 4 pairs are usable (1 for training, 1 for test)."
        " Lost: unknown_token 1, duplicate 1."
    )


def test_a_family_whose_pairs_run_out_gives_what_there_is():
    tokenizer = character_tokenizer("Themanwiobgrv sk")
    found = prepare("agreement_simple", tokenizer, 100, 5000, 5000)
    assert 4 <= found.n_usable < 100
    assert len(found.train) + len(found.test) == found.n_usable


def test_a_tokenizer_without_the_words_is_reported_not_refused():
    found = prepare("pronoun_gender", character_tokenizer("xyz"), 100, 10, 10)
    assert (found.n_usable, found.train, found.test) == (0, [], [])
    assert found.summary() == (
        "pronoun_gender: no words of equal token length, known to the tokenizer, fill it."
    )
    found = prepare("greater_than", word_tokenizer(), 100, 10, 10)  # "year" is no word of it
    assert found.n_usable == 0
    assert found.summary().endswith(f"Lost: unknown_token {found.n_tried}.")


def test_an_unknown_task_is_told_the_known_ones():
    with pytest.raises(
        InputError, match=r"no task agreement\. Name one of indirect_object, .*toy_"
    ):
        prepare("agreement", word_tokenizer(), 100, 10, 10)


@needs_stories
@pytest.mark.skipif(not (SHARED / "tasks").is_dir(), reason="needs the published prompt files")
@pytest.mark.parametrize(
    ("name", "n_tried", "n_usable", "loss"),
    [
        ("within_rc_test.json", 2400, 0, "same_answer"),
        ("simple_test.json", 120, 6, "same_answer"),
        ("ioi_llama.csv", 499, 117, "unequal_length"),
    ],
)
def test_few_published_pairs_suit_a_small_vocabulary(name, n_tried, n_usable, loss):
    found = prepare(SHARED / "tasks" / name, model_tokenizer(STORIES), 512, 100, 100)
    row = found.row()
    assert (row["task"], row["n_tried"]) == (name.partition(".")[0], n_tried)
    assert row["n_usable"] == n_usable
    assert row["n_usable"] + sum(found.lost.values()) == n_tried
    assert max(found.lost, key=found.lost.get) == loss
