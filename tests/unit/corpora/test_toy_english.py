from collections import Counter
from itertools import islice

import pytest

from clustersae.corpora import toy_english
from clustersae.corpora.toy_factors import factor_table, token_labels
from clustersae.corpora.toy_lexicon import BE, BE_PAST, GENDER, HAVE, VERBS, VOCABULARY
from clustersae.corpora.toy_tasks import prompts
from clustersae.runtime.errors import InputError

TASKS = ("indirect_object", "agreement", "greater_than")


@pytest.fixture(scope="module")
def training():
    return toy_english.take("train", 20_000, seed=0)


def of_family(sentences, family):
    found = [sentence for sentence in sentences if sentence.family.startswith(family)]
    assert len(found) > 500
    return found


def test_sentences_are_a_pure_function_of_split_and_seed(training):
    assert toy_english.take("train", 100, seed=0) == training[:100]
    assert toy_english.take("train", 100, seed=1) != training[:100]
    assert toy_english.take("test", 100, seed=0) != training[:100]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_held_out_sentence_is_a_training_sentence(training, split):
    seen = {tuple(sentence.words) for sentence in training}
    for seed in (0, 1):  # held out whatever the seed
        held_out = toy_english.take(split, 2000, seed)
        assert not any(tuple(sentence.words) in seen for sentence in held_out)


@pytest.mark.parametrize("task", TASKS)
def test_no_training_sentence_answers_a_held_out_prompt(training, task):
    beginnings = {
        tuple(sentence.words[:length])
        for sentence in training
        for length in range(1, len(sentence.words) + 1)
    }
    for prompt in prompts(task, 200, seed=5):
        for word in (*prompt.answers, *prompt.wrong):
            assert (*prompt.words, word) not in beginnings


def test_rows_fit_the_stated_length_and_vocabulary(training):
    assert max(len(sentence.words) for sentence in training) + 1 == toy_english.MAX_ROW_LENGTH
    used = {word for sentence in training for word in sentence.words}
    assert used <= set(VOCABULARY)
    unused = set(VOCABULARY) - used - {"<pad>", "<bos>", "<unk>"}
    assert unused <= {"00", "01", "02"}  # hardly or never a later year


def test_families_have_their_shares(training):
    counts = Counter(sentence.family.split("_")[0] for sentence in training)
    assert counts["indirect"] / len(training) == pytest.approx(0.30, abs=0.02)
    assert counts["agreement"] / len(training) == pytest.approx(0.25, abs=0.02)


def test_the_indirect_object_is_the_name_that_does_not_give(training):
    sentences = of_family(training, "indirect_object")
    for sentence in sentences:
        subject = sentence.value("subject")
        answer = sentence.words[sentence.prompt_length]
        assert {answer, subject} == {sentence.words[1], sentence.words[3]}
        assert sentence.words.count(subject) == 2
        assert sentence.prompt.count(answer) == 1
    orders = Counter(sentence.value("name_order") for sentence in sentences)
    assert orders["first_is_subject"] / len(sentences) == pytest.approx(0.5, abs=0.03)


def test_wars_end_after_they_began_and_in_the_same_century(training):
    for sentence in of_family(training, "greater_than"):
        century, first, _, century_again, last = sentence.words[4:9]
        assert century == century_again
        assert int(last) > int(first)


def test_verbs_agree_with_their_subject_and_not_with_the_noun_beside_them(training):
    pairs = [*(forms[:2] for forms in VERBS), BE, BE_PAST, HAVE]
    numbers = {form: n for pair in pairs for form, n in zip(pair, ("singular", "plural"))}
    attracted = 0
    for sentence in of_family(training, "agreement"):
        number = sentence.value("subject_number")
        assert numbers[sentence.words[sentence.prompt_length]] == number
        attracted += sentence.value("distractor_number") not in (None, number)
    assert attracted > 1000  # a third of all would be misled by the nearest noun


def test_pronouns_have_the_gender_of_the_name(training):
    for sentence in of_family(training, "pronoun"):
        pronoun = {"female": "she", "male": "he"}[GENDER[sentence.words[0]]]
        assert sentence.words[sentence.prompt_length] == pronoun


def test_lists_of_names_repeat(training):
    for sentence in of_family(training, "name_list"):
        names = [word for word in sentence.words if word in GENDER]
        assert names[: len(names) // 2] == names[len(names) // 2 :]
        assert sentence.prompt[-1] == names[0]  # from here on the list is certain
        assert sentence.prompt.count(names[0]) == 2


def test_factors_of_a_known_sentence():
    sentence = next(
        sentence
        for sentence in toy_english.sentences("train", 0, toy_english.pronoun)
        if sentence.words[0] == "Mary"
    )
    table = factor_table({"train": [sentence]})
    facts = {(row.position, row.factor, row.value) for row in table.itertuples()}
    assert {
        (0, "family", "pronoun"),
        (1, "subject", "Mary"),
        (1, "gender", "female"),
        (5, "place", sentence.words[4]),
        (6, "answer", "she"),
    } <= facts


@pytest.mark.parametrize("factor", ["family", "subject_number", "name_order", "answer"])
def test_token_labels_hold_from_where_the_factor_is_known(factor):
    n_rows, n_ctx = 300, 20
    sentences = {split: toy_english.take(split, 400, seed=2) for split in ("train", "test")}
    table = factor_table(sentences)
    codes, values = token_labels(table, "test", factor, n_rows, n_ctx)
    assert values == sorted(values)
    lines = {
        row.row: (row.position, row.value)
        for row in table.itertuples()
        if row.split == "test" and row.factor == factor
    }
    assert any(row < n_rows for row in lines)
    for row in range(n_rows):
        position, value = lines.get(row, (n_ctx, None))
        expected = [-1] * position + [values.index(value) if value else -1] * (n_ctx - position)
        assert codes[row].tolist() == expected


@pytest.mark.parametrize("task", TASKS)
def test_prompts_are_distinct_and_end_before_their_answer(task):
    found = prompts(task, 300, seed=0)
    assert len({prompt.words for prompt in found}) == 300
    for prompt in found:
        assert not set(prompt.answers) & set(prompt.wrong)
    assert prompts(task, 300, seed=0) == found
    assert prompts(task, 300, seed=1) != found


def test_greater_than_prompts_count_every_year_as_later_or_not():
    for prompt in prompts("greater_than", 50, seed=0):
        assert [int(year) for year in prompt.wrong + prompt.answers] == list(range(100))
        assert min(map(int, prompt.answers)) == int(prompt.words[5]) + 1


def test_asking_for_more_prompts_than_exist_says_so():
    with pytest.raises(InputError, match="greater_than prompts in its test split, not 500"):
        prompts("greater_than", 500, seed=0)


def test_a_single_kind_of_sentence_can_be_asked_for():
    stream = toy_english.sentences("test", 0, toy_english.gift)
    assert {sentence.family for sentence in islice(stream, 50)} == {"gift"}
