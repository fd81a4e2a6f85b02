"""The product of two taggers' likelihoods."""

import awkward as ak
import numpy as np
import pytest

from femtobarn.data.sample import from_memory
from femtobarn.errors import InputError
from femtobarn.tagging.ip3d_sv1 import IP3DSV1

CLASSES = {"flavour_label": ["bjets", "cjets", "ujets"]}


def scored():
    """Three jets with the scores of both taggers, one of them an exact zero."""
    columns = {
        "ip3d_pb": [0.5, 0.2, 0.0], "ip3d_pc": [0.3, 0.2, 0.1], "ip3d_pu": [0.2, 0.6, 0.9],
        "sv1_pb": [0.6, 1 / 3, 0.5], "sv1_pc": [0.2, 1 / 3, 0.3], "sv1_pu": [0.2, 1 / 3, 0.2],
        "mcEventWeight": [1.0, 1.0, 1.0],
    }  # fmt: skip
    fields = {name: np.array(column, np.float32) for name, column in columns.items()}
    return ak.zip({**fields, "flavour_label": np.array([0, 1, 2], np.int8)}, depth_limit=1)


def test_log_likelihood_ratios_add():
    jets = scored()
    both = IP3DSV1().fit(from_memory(jets, CLASSES)).predict(jets)
    for other in "cu":
        ratio = np.log(both.ip3d_sv1_pb[:2] / both[f"ip3d_sv1_p{other}"][:2])
        parts = [np.log(jets[f"{t}_pb"][:2] / jets[f"{t}_p{other}"][:2]) for t in ("ip3d", "sv1")]
        np.testing.assert_allclose(ratio, sum(parts), rtol=1e-5, atol=1e-6)
    # The second jet has no vertex: SV1 says nothing, and IP3D is what it was.
    assert both.ip3d_sv1_pu[1] == pytest.approx(0.6, rel=1e-6)
    assert both.ip3d_sv1_pb[2] < 1e-20 and np.isfinite(both.ip3d_sv1_pb[2])


def test_missing_scores_are_named():
    jets = scored()
    with pytest.raises(InputError, match="sv1_pu"):
        IP3DSV1().fit(from_memory(jets[[name for name in jets.fields if name != "sv1_pu"]], CLASSES))
