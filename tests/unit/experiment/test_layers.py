import pytest

from clustersae.experiment.layers import studied_layers
from clustersae.runtime.errors import InputError


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("all", (0, 1, 2, 3, 4)),
        ([3, 0], (0, 3)),
        ({"step": 2}, (0, 2, 4)),
        ({"first": 1, "last": 3}, (1, 2, 3)),
        ({"first": 1, "last": 4, "step": 2}, (1, 3)),
        ({}, (0, 1, 2, 3, 4)),
    ],
)
def test_a_list_or_a_range_with_its_last_layer_included(asked, expected):
    assert studied_layers(asked, 5) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([2, 5], "names layer 5, but the model has the layers 0 to 4"),
        ({"last": 7}, "names layer 7, but"),
        ({"first": 6}, r'activations\.layers: \{"first": 6\} names no layer'),
        ({"first": 3, "last": 2}, "names no layer"),
        ({"step": 0}, "step"),
    ],
)
def test_layers_that_are_not_there_are_refused(asked, message):
    with pytest.raises(InputError, match=message):
        studied_layers(asked, 5)
