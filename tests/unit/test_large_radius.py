"""What a b-tagger is given to tell large-radius jets, and the discriminant made of its answers."""

import numpy as np

from femtobarn.tagging.gn2 import GN2
from femtobarn.tagging.large_radius import CLASSES, discriminant_hbb, large_radius


def test_discriminant_is_the_ratio_to_the_mixture_of_backgrounds() -> None:
    p = {"hbb": [0.5, 0.25], "hcc": [0.2, 0.25], "top": [0.1, 0.25], "qcd": [0.2, 0.25]}
    found = discriminant_hbb({name: np.array(values) for name, values in p.items()})
    np.testing.assert_allclose(found, [np.log(0.5 / (0.02 * 0.2 + 0.25 * 0.1 + 0.73 * 0.2)), 0.0], atol=1e-12)
    alone = discriminant_hbb({name: np.array(values) for name, values in p.items()}, f_hcc=0.0, f_top=1.0)
    np.testing.assert_allclose(alone, [np.log(5.0), 0.0], atol=1e-12)


def test_inputs_are_those_of_the_b_tagger_with_the_mass_and_without_event_weights() -> None:
    before = GN2().default_inputs()
    after = large_radius(before)
    assert [feature.name for feature in after.event_features] == [
        *(feature.name for feature in before.event_features),
        "mass",
    ]
    assert tuple(after.labels["jet"].classes) == CLASSES and after.weight is None
    assert after.collections["tracks"].max_length == 80
    assert after.collections["tracks"].features == before.collections["tracks"].features
