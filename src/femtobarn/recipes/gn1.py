"""From collisions to a b-tagger: GN1 against IP3D and against itself without auxiliary tasks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from femtobarn.evaluate.result import Result
from femtobarn.learn.training import Training
from femtobarn.recipes.flavour import ONE_CYCLE, FlavourSettings, Study, Tagger
from femtobarn.recipes.run import Run, recipe
from femtobarn.simulation import SimulationSettings
from femtobarn.simulation.settings import PileupSettings
from femtobarn.tagging.gn1 import GN1
from femtobarn.tagging.ip3d import IP3D

TAGGERS = {
    "ip3d": Tagger("IP3D", IP3D),
    "gn1_no_aux": Tagger(
        "GN1, no auxiliary tasks", partial(GN1, name="gn1_no_aux", origin_weight=0.0, vertex_weight=0.0)
    ),
    "gn1": Tagger("GN1", GN1),
}
PUBLISHED = Path(__file__).with_suffix(".csv")
SCALES = {
    "smoke": FlavourSettings(
        events={"ttbar": 150, "zprime": 150},
        pileup=1.0,
        simulation=SimulationSettings(pileup=PileupSettings(train=60, valid=60, test=60)),
        methods=("ip3d", "gn1"),
        training=ONE_CYCLE.with_(epochs=2, batch_size=100),
    ),
    "quick": FlavourSettings(
        events={"ttbar": 30_000, "zprime": 5_000},
        methods=("ip3d", "gn1"),
        training=ONE_CYCLE.with_(epochs=8),
    ),
    "standard": FlavourSettings(
        events={"ttbar": 205_000, "zprime": 35_000},
        seeds=(1, 2, 3),
        methods=("ip3d", "gn1_no_aux", "gn1"),
        parallel=2,
        training=ONE_CYCLE.with_(epochs=7),
    ),
    "full": FlavourSettings(
        events={"ttbar": 7_400_000, "zprime": 8_400_000},
        mixture={"ttbar": 0.6, "zprime": 0.4},
        seeds=(1, 2, 3),
        methods=("ip3d", "gn1_no_aux", "gn1"),
        training=Training(epochs=100, batch_size=4000, learning_rate=1e-3),
    ),
}


@recipe(scales=SCALES)
def gn1(settings: FlavourSettings, run: Run) -> Result:
    """Graph attention network on tracks, with track-origin and vertex tasks [ATL-PHYS-PUB-2022-027]."""
    return Study(settings, run, TAGGERS, PUBLISHED, "GN1 on simulated collisions").result()
