import pytest

from clustersae.circuits.tasks.prepare import prepare
from clustersae.circuits.tasks.prompts import TaskPrompt
from clustersae.circuits.tasks.toy import TOY_TASKS, toy_prompts
from clustersae.corpora.tokenizer import word_tokenizer
from clustersae.corpora.toy_english import MAX_ROW_LENGTH
from clustersae.corpora.toy_tasks import Prompt
from clustersae.corpora.toy_tasks import prompts as questions


@pytest.mark.parametrize(
    ("task", "words", "answers", "wrong", "expected"),
    [
        (
            "toy_indirect_object",
            "When Mary and John went to the shop , John gave a drink to",
            ("Mary",),
            ("Tom", "John"),
            TaskPrompt(
                "When Mary and John went to the shop , John gave a drink to",
                "When Mary and John went to the shop , Mary gave a drink to",
                *(" Mary", " John"),
            ),
        ),
        (
            "toy_agreement",
            "Today the big dogs that see the cat",
            ("hear",),
            ("hears",),
            TaskPrompt(
                "Today the big dogs that see the cat",
                "Today the big dog that sees the cat",
                *(" hear", " hears"),
            ),
        ),
        (
            "toy_agreement",
            "The dog that the cats see",
            ("is",),
            ("are",),
            TaskPrompt("The dog that the cats see", "The dogs that the cats see", " is", " are"),
        ),
        (
            "toy_greater_than",
            "The war lasted from 17 03 to 17",
            ("98", "99"),
            ("03",),
            # Only one year is wrong, and right after the corrupted prompt; of the later ones any
            # is right: the choice is the chooser's.
            TaskPrompt(
                "The war lasted from 17 03 to 17", "The war lasted from 17 02 to 17", " 99", " 03"
            ),
        ),
    ],
)
def test_corruptions_by_hand(task, words, answers, wrong, expected):
    class Last:
        def one(self, options):
            return options[-1]

    question = Prompt(tuple(words.split()), answers, wrong)
    assert TOY_TASKS[task](question, Last()) == expected


@pytest.mark.parametrize("task", TOY_TASKS)
def test_pairs_ask_the_held_out_questions(task):
    asked = {" ".join(q.words): q for q in questions(task.removeprefix("toy_"), 100, seed=3)}
    pairs = toy_prompts(task, 100, seed=3)
    assert len(pairs) >= 95  # a war that begins in the earliest year has no corruption
    for pair in pairs:
        question = asked[pair.clean_prefix]
        assert pair.clean_answer.strip() in question.answers
        assert pair.patch_answer.strip() in question.wrong
    assert toy_prompts(task, 100, seed=3) == pairs
    assert toy_prompts(task, 100, seed=4) != pairs


@pytest.mark.parametrize("task", TOY_TASKS)
def test_every_pair_is_usable_by_a_model_of_toy_english(task):
    found = prepare(task, word_tokenizer(), MAX_ROW_LENGTH, 60, 40)
    assert found.n_usable == found.n_tried >= 95
    assert abs(len(found.test) - 40) <= 2
