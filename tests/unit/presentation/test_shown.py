"""Which arms are shown, by hand; and what arms are called."""

import pandas as pd
import pytest

from clustersae.experiment.arms import Arm
from clustersae.presentation import shown
from clustersae.presentation.arms import full_label, label, of_every_arm, spoken_of
from clustersae.presentation.specialised import start_key, start_of

#: Name, role, SAEs, training, loss, within the margins.
PER_LAYER = ("per-layer", "baseline", 6, 6, 0.0, True)
SHARED = [(f"complete-{k}", "main", k, k, 0.1, False) for k in (2, 4)]
SPECIAL = [
    ("per-layer@single (a)", "specialised", 6, 3, 0.02, False),
    ("per-layer@single (b)", "specialised", 6, 4, 0.01, False),
]


def table(*rows, chosen="per-layer", within=()):
    columns = ["arm", "role", "count", "matched_count", "excess_fvu_validation", "within_margins"]
    arms = pd.DataFrame([PER_LAYER, *rows], columns=columns).assign(n_layers=6, dominated=False)
    arms["within_margins"] |= arms["arm"].isin(within)
    # The test split says the opposite, and must not be asked.
    return arms.assign(chosen=arms["arm"] == chosen, fvu=0.3 - arms["excess_fvu_validation"])


def test_without_such_arms_none_is_shown():
    even = ("even-2", "control", 2, 2, 0.0, True)
    assert shown.shared(table(even, ("complete-6", "main", 6, 6, 0.0, True))) is None
    assert shown.specialised(table()) is None
    assert shown.chosen(table())["arm"] == "per-layer"
    assert spoken_of(table(), {"per-layer"}).empty


@pytest.mark.parametrize(
    ("chosen", "within", "found"),
    [
        ("complete-4", ("complete-2", "complete-4"), "complete-4"),
        ("per-layer", ("complete-2", "complete-4"), "complete-2"),
        ("per-layer", (), "complete-4"),  # nearest from below to what the chosen arm costs
        ("per-layer@single (a)", (), "complete-2"),
        ("per-layer@single (b)", (), "complete-4"),
    ],
)
def test_the_shared_arm_is_the_chosen_the_cheapest_good_one_or_that_of_the_cost(
    chosen, within, found
):
    arms = table(*SHARED[::-1], *SPECIAL, chosen=chosen, within=within)
    assert shown.shared(arms)["arm"] == found


def test_where_all_cost_more_the_smallest_shared_arm_is_shown():
    cheap = ("per-layer (tokens-1of6)", "equal-compute", 6, 1, 0.0, True)
    assert shown.shared(table(*SHARED, cheap, chosen=cheap[0]))["arm"] == "complete-2"


@pytest.mark.parametrize(
    ("chosen", "within", "found"),
    [("b", "ab", "b"), ("x", "ab", "a"), ("x", "b", "b"), ("x", "", "b")],
)
def test_the_specialised_arm_is_the_chosen_the_cheapest_good_one_or_the_best(chosen, within, found):
    names = {"a": SPECIAL[0][0], "b": SPECIAL[1][0]}
    inside = [names[each] for each in within]
    arms = table(*SHARED, *SPECIAL[::-1], chosen=names.get(chosen, "per-layer"), within=inside)
    assert shown.specialised(arms)["arm"] == names[found]


def test_texts_speak_of_measured_arms_the_best_first():
    arms = table(*SHARED, *SPECIAL, chosen="complete-2", within=["complete-2"])
    names = ["complete-2", "per-layer@single (b)"]
    assert list(spoken_of(arms, set(arms["arm"]))["arm"]) == names
    assert list(spoken_of(arms, {"per-layer", names[1]})["arm"]) == names[1:]


def named(partition, role, count=6, variant="base", method="complete", spent=3):
    arm = f"{partition} ({variant})" if variant != "base" else partition
    columns = {"arm": arm, "partition": partition, "role": role, "count": count, "method": method}
    return pd.Series(columns | {"variant": variant, "matched_count": spent, "n_layers": 6})


def test_arms_are_called_by_what_they_are():
    arms = {
        "per-layer, full": named("per-layer", "baseline"),
        "per-layer": named("per-layer", "equal-compute", variant="tokens-1of2"),
        "per-layer, narrower": named("per-layer", "equal-compute", variant="narrower-1of2"),
        "1 shared SAE": named("single", "main", 1),
        "3 shared SAEs, complete linkage": named("complete-3", "main", 3),
        "3 shared SAEs, evenly spaced": named("even-3", "control", 3, method="even"),
        "3 shared SAEs, random": named("random-3", "control", 3, method="random"),
        "3 shared SAEs, random (draw 2)": named("random-3.1", "control", 3, method="random"),
        "3 shared SAEs, complete linkage, equal exposure": named(
            "complete-3", "equal-exposure", 3, "equal-exposure"
        ),
        "fine-tuned from 3 SAEs": named("per-layer@complete-3", "specialised", variant="x@y"),
        "transferred forwards": named("forwards", "rival", method="transfer-forwards"),
        "1 multi-layer SAE": named("single", "rival", 1, "mlsae-1of2", "mlsae"),
        "1 crosscoder": named("single", "rival", 1, "crosscoder-1of2", "crosscoder"),
        "3 crosscoders": named("complete-3", "rival", 3, "crosscoder-1of2", "crosscoder"),
    }
    assert {text: label(arm) for text, arm in arms.items()} == {text: text for text in arms}
    assert full_label(arms["per-layer"]) == "per-layer at 50 %"
    assert full_label(arms["per-layer, full"]) == "full per-layer SAEs"


def test_starts_are_named_and_ordered_by_their_roots():
    names = [f"per-layer@{roots}" for roots in ("complete-12", "single", "complete-3")]
    ordered = sorted(names, key=start_key)
    assert [start_of(each) for each in ordered] == ["from 1 SAE", "from 3 SAEs", "from 12 SAEs"]


def test_arms_of_the_same_saes_have_the_same_rows():
    saes = (("base", "0"), ("base", "1-2"))
    names = (("complete-2", saes), ("even-2", saes), ("single", (("base", "0-2"),)))
    arms = [Arm(name, "base", name, 2, 2, "main", own) for name, own in names]
    columns = ["variant", "partition", "seed"]
    measured = [("base", "complete-2", 0), ("base", "complete-2", 1), ("base", "single", 0)]
    others = [("tokens-1of2", "complete-2", 0), ("tokens-1of2", "single", 0)]
    found = of_every_arm(pd.DataFrame(measured + others, columns=columns), arms)
    again = [("base", "even-2", 0), ("base", "even-2", 1)]
    assert list(found.itertuples(index=False, name=None)) == measured + others + again
    assert list(found.index) == list(range(7))
    assert list(of_every_arm(pd.DataFrame(columns=columns), arms)) == columns
