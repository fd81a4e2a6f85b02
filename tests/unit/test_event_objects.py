"""An event's objects as one list, and what networks on them know of pairs."""

import awkward as ak
import numpy as np
import pytest
import torch

from femtobarn.classification.event_graph import EventGraph
from femtobarn.classification.objects import Objects, object_inputs
from femtobarn.data.inputs import Collection, Inputs
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.errors import InputError
from femtobarn.physics.objects import event_objects


def events() -> ak.Array:
    electrons = ak.zip({"pt": [[40.0], []], "eta": [[1.0], []], "phi": [[3.0], []], "charge": [[-1], []]})
    jets = ak.zip(
        {
            "pt": [[90.0, 60.0], [30.0]],
            "eta": [[0.5, -1.5], [2.0]],
            "phi": [[-3.0, 1.0], [0.1]],
            "mass": [[9.0, 8.0], [5.0]],
            "btag": [[1, 0], [1]],
        }
    )
    return ak.zip({"met": [50.0, 20.0], "met_phi": [-2.0, 0.5], "electrons": electrons, "jets": jets},
                  depth_limit=1)  # fmt: skip


def test_objects_of_events_are_listed_kind_by_kind() -> None:
    objects = event_objects(events())
    assert objects.pt.to_list() == [[50, 40, 90, 60], [20, 30]]
    assert objects.is_met.to_list() == [[1, 0, 0, 0], [1, 0]]
    assert objects.is_electron.to_list() == [[0, 1, 0, 0], [0, 0]]
    assert objects.is_jet.to_list() == [[0, 0, 1, 1], [0, 1]]
    assert objects.charge.to_list() == [[0, -1, 0, 0], [0, 0]]
    assert objects.btag.to_list() == [[0, 0, 1, 0], [0, 1]]
    assert objects.mass.to_list() == [[0, 0, 9, 8], [0, 5]]
    np.testing.assert_allclose(ak.flatten(objects.phi), [0, 5 - 2 * np.pi, -1, 3, 0, -0.4], atol=1e-6)
    assert event_objects(events(), kinds=("jets",)).is_electron.to_list() == [[0, 0, 0], [0, 0]]


def test_pairs_know_masses_and_transverse_masses() -> None:
    objects = event_objects(events())
    inputs = object_inputs()
    names = [feature.name for feature in inputs.collection_features("objects")]
    values = np.stack([ak.to_numpy(ak.flatten(objects[name])) for name in names], -1)
    raw = Ragged(torch.from_numpy(values), torch.tensor([0, 4, 6]))
    network = Objects(inputs, None, "graph")
    i, j = torch.tensor([2, 0, 1]), torch.tensor([3, 1, 1])
    found = network.pairs(raw, i, j)
    jets = objects[0, 2:4]
    energy, pz = (ak.sum(jets.pt * part(jets.eta)) for part in (np.cosh, np.sinh))
    px, py = (ak.sum(jets.pt * part(jets.phi)) for part in (np.cos, np.sin))
    massless = energy**2 - px**2 - py**2 - pz**2
    transverse = 2 * 50 * 40 * (1 - np.cos(5 - 2 * np.pi))
    expected = [0.5 * np.log(x + 1) - 4 for x in (massless + 81 + 64, transverse, 0.0)]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(found[:, 2], [2.0, 0.0, 0.0], atol=1e-6)


def test_turning_an_event_round_the_beam_changes_nothing() -> None:
    turned = events()
    for kind in ("electrons", "jets"):
        turned = ak.with_field(turned, turned[kind].phi + 1.2, (kind, "phi"))
    turned = ak.with_field(turned, turned.met_phi + 1.2, "met_phi")
    np.testing.assert_allclose(*(ak.flatten(event_objects(x).phi) for x in (events(), turned)), atol=1e-5)


def test_what_pairs_need_is_asked_for() -> None:
    inputs = Inputs(
        collections={"objects": Collection(features=["pt", "eta"])}, labels=object_inputs().labels
    )
    with pytest.raises(InputError, match=r"'event_?graph' lack objects\.phi"):
        EventGraph().network(inputs)


def test_networks_see_the_mirrored_azimuth_in_training() -> None:
    network = Objects(object_inputs(), None, "graph")
    values = torch.ones(200, 12)
    batch = Batch(
        torch.ones(100, 1), {"objects": Ragged(values, torch.arange(0, 201, 2))}, {}, torch.ones(100)
    )
    network.train()
    sines = network(batch)[0][:, -1]
    assert set(np.sign(sines.numpy())) == {1.0, -1.0}
    network.eval()
    assert (network(batch)[0][:, -1] > 0).all()
