import json

import pytest
from language_models import SHARED

from clustersae.circuits.tasks.prompts import TaskPrompt, read_prompts
from clustersae.runtime.errors import InputError

TASKS = SHARED / "tasks"
DOG = TaskPrompt("The dog", "The dogs", " is", " are")


def line(**changes) -> str:
    record = DOG._asdict() | changes
    return json.dumps(
        {key: record[key] for key in record if record[key] is not ...}, ensure_ascii=False
    )


def write(folder, text: str, name: str = "task.jsonl"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_json_lines_are_read_in_order_whatever_else_they_hold(tmp_path):
    bear = "Der\u2028Bär"  # a line separator, but not one of JSON Lines
    text = "\ufeff" + "\r\n\n".join([line(case="plural"), line(clean_prefix=bear)])
    assert read_prompts(write(tmp_path, text)) == [DOG, DOG._replace(clean_prefix=bear)]


def test_csv_with_the_same_columns_is_read(tmp_path):
    header = "patch_prefix,clean_prefix,note,clean_answer,patch_answer"
    row = 'The dogs,"The ""dog""\nsat",x, is, are'
    read = read_prompts(write(tmp_path, f"{header}\n{row}\n", "task.CSV"))
    assert read == [DOG._replace(clean_prefix='The "dog"\nsat')]


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (
            line(patch_answer=...),
            r"no patch_answer \(its keys: clean_prefix, patch_prefix, clean_an",
        ),
        (line(clean_prefix=3), "clean_prefix is 3, not text"),
        (line(clean_answer=None), "clean_answer is null, not text"),
        (line(patch_prefix=" "), "patch_prefix is empty"),
        ('{"clean_prefix": "The', r"not valid JSON \(Unterminated string starting at, column 18\)"),
        ("[1, 2]", "no JSON object with the keys clean_prefix"),
        ('{"clean": 3, "corrupted_hard": 4}', r"no clean_prefix \(its keys: clean, corrupted_hard"),
        ("{}", r"no clean_prefix \(its keys: none\)"),
    ],
)
def test_a_bad_line_is_named_with_number_and_key(tmp_path, bad, what):
    path = write(tmp_path, f"{line()}\n\n{bad}\n{line()}\n")
    with pytest.raises(InputError, match=rf"task\.jsonl, .*JSON object\):\n  line 3: {what}"):
        read_prompts(path)


COLUMNS = "clean_prefix,patch_prefix,clean_answer,patch_answer\n"


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("The dog, then,The dogs, is, are", "line 2: more values than columns: put quotation"),
        ("The dog,The dogs, is", "line 2: fewer values than columns"),
        ('"The dog,The dogs, is, are\nA cat,Cats, is, are', "is not valid CSV .* mark open"),
    ],
)
def test_a_row_with_a_comma_too_many_is_not_shifted(tmp_path, row, what):
    with pytest.raises(InputError, match=what):
        read_prompts(write(tmp_path, f"{COLUMNS}{row}\n", "task.csv"))


def test_prompts_are_read_in_the_encoding_that_a_byte_order_mark_names(tmp_path):
    path = write(tmp_path, "", "task.csv")
    path.write_text(f"{COLUMNS}Bär,Bären, is, are\n", encoding="utf-16")
    assert read_prompts(path) == [("Bär", "Bären", " is", " are")]


def test_every_bad_line_is_told_once_up_to_a_limit(tmp_path):
    with pytest.raises(InputError) as caught:
        read_prompts(write(tmp_path, f"{line()}\n" + "{}\n" * 12))
    lines = str(caught.value).splitlines()[1:]
    assert [one.split(":")[0].strip() for one in lines[:-1]] == [f"line {n}" for n in range(2, 12)]
    assert lines[-1].strip() == "and 2 more"


@pytest.mark.parametrize("name", ["task.jsonl", "task.csv"])
def test_a_file_without_prompts_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"holds no prompts\. Give one JSON object per line"):
        read_prompts(write(tmp_path, "\n", name))


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.jsonl does not exist"):
        read_prompts(tmp_path / "nowhere.jsonl")
    with pytest.raises(InputError, match="does not exist or is no file"):
        read_prompts(tmp_path)
    (tmp_path / "latin.jsonl").write_bytes(line().encode() + "\nBär".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.jsonl is not UTF-8 text \(byte \d+: .*iconv"):
        read_prompts(tmp_path / "latin.jsonl")
    with pytest.raises(InputError, match=r"task\.csv is not valid CSV .* quotation mark"):
        read_prompts(write(tmp_path, 'clean_prefix\n"' + "a" * 200_000, "task.csv"))


def test_greater_than_rows_get_answers_half_way_to_either_end(tmp_path):
    rows = "clean,corrupted,label\nfrom 1352 to 13,from 1301 to 13,52\na,b,02\na,b,98\n"
    read = read_prompts(write(tmp_path, rows, "task.csv"))
    assert read[0] == TaskPrompt("from 1352 to 13", "from 1301 to 13", "76", "27")
    assert [prompt[2:] for prompt in read[1:]] == [("51", "02"), ("99", "50")]
    with pytest.raises(InputError, match="line 2: label is '99', not a year from 02 to 98"):
        read_prompts(write(tmp_path, "clean,corrupted,label\na,b,99\n", "task.csv"))


def test_indirect_object_rows_are_answered_by_the_word_in_which_they_differ(tmp_path):
    header = ",clean,corrupted,corrupted_hard,correct_idx,incorrect_idx\n"
    row = '7,"Al and Bo sat, Bo gave it to","Al and Bo sat, Cy gave it to",{},1,2\n'
    text = header + row.format('"Al and Bo sat, Al gave it to"')
    assert read_prompts(write(tmp_path, text, "task.csv")) == [
        TaskPrompt("Al and Bo sat, Bo gave it to", "Al and Bo sat, Al gave it to", " Al", " Bo")
    ]
    with pytest.raises(InputError, match="line 2: clean and corrupted_hard do not differ in exact"):
        read_prompts(write(tmp_path, header + row.format('"Bo and Al sat, Bo gave"'), "task.csv"))


@pytest.mark.skipif(not TASKS.is_dir(), reason=f"needs {TASKS}")
@pytest.mark.parametrize(
    ("name", "n_prompts"),
    [
        ("simple_train.json", 480),
        ("nounpp_test.json", 480),
        ("within_rc_test.json", 2400),
        ("greater_than_data.csv", 1000),
        ("ioi_llama.csv", 499),
    ],
)
def test_published_files_are_read_as_they_are(name, n_prompts):
    prompts = read_prompts(TASKS / name)
    assert len(prompts) == n_prompts
    for prompt in prompts:
        assert prompt.clean_prefix != prompt.patch_prefix
        assert prompt.clean_answer != prompt.patch_answer
        if name == "ioi_llama.csv":  # the giver is named twice, the receiver once
            counts = [prompt.clean_prefix.count(answer) for answer in prompt[2:]]
            assert counts == [1, 2] or prompt.clean_answer[1:] in prompt.clean_prefix[:30]
