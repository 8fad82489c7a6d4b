"""A configuration in an earlier form is refused with the key that it has now."""

import pytest
import yaml

from clustersae.experiment.moved import MOVED, check_form
from clustersae.runtime.errors import InputError


def nested(key, value):
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@pytest.mark.parametrize("key", [key for key in MOVED if "*" not in key])
def test_every_old_key_is_refused_with_the_new_one(key):
    with pytest.raises(InputError) as error:
        check_form(nested(key, 1))
    assert str(error.value).startswith(f"config: {key} is of an earlier form")
    assert MOVED[key] in str(error.value)


@pytest.mark.parametrize("key", [key for key in MOVED if "*" in key])
def test_every_old_key_of_a_model_is_refused_with_the_new_one(key):
    given = key.replace("*", "my.model")
    section = {"models": {"my.model": nested(key.split("*.", 1)[1], 1)}}
    with pytest.raises(InputError, match="earlier form") as error:
        check_form(section)
    assert str(error.value).startswith(f"config: {given} ")


def test_overrides_of_a_model_are_looked_at_as_well():
    with pytest.raises(InputError, match=r"models\.a\.sae\.tokens .* write sae\.training_tokens"):
        check_form({"models": {"a": {"sae": {"tokens": 3}}}})


def test_what_is_no_configuration_is_left_to_the_schema():
    for config in (None, [], {}, {"models": None}, {"sae": 3}, {5: {}}):
        check_form(config)


def test_no_new_key_is_an_old_one():
    sae = "sae: {training_tokens: 1, specialise: {shared_fraction: 0.5}}"
    for text in (sae, "arms: {auto: [], margins: {mean: 0.1}}"):
        check_form(yaml.safe_load(text))
