"""Thirty years of b-tagging on one sample: from impact parameters to transformers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from femtobarn.evaluate.result import Result
from femtobarn.learn.training import Training
from femtobarn.recipes.flavour import ONE_CYCLE, FlavourSettings, Study, Tagger
from femtobarn.recipes.run import Run, recipe
from femtobarn.simulation import SimulationSettings
from femtobarn.simulation.settings import PileupSettings
from femtobarn.tagging.dips import DIPS
from femtobarn.tagging.dl1 import DL1
from femtobarn.tagging.gn1 import GN1
from femtobarn.tagging.gn2 import GN2
from femtobarn.tagging.ip3d import IP3D
from femtobarn.tagging.ip3d_sv1 import IP3DSV1
from femtobarn.tagging.jetfitter import JetFitter
from femtobarn.tagging.mv2 import MV2
from femtobarn.tagging.rnnip import RNNIP
from femtobarn.tagging.sv1 import SV1

LOW = ("ip2d", "ip3d", "sv1", "jetfitter")
TAGGERS = {
    "ip2d": Tagger("IP2D", partial(IP3D, name="ip2d", z0_bins=1)),
    "ip3d": Tagger("IP3D", IP3D),
    "sv1": Tagger("SV1", SV1),
    "jetfitter": Tagger("JetFitter", JetFitter),
    "ip3d_sv1": Tagger("IP3D+SV1", IP3DSV1, ("ip3d", "sv1")),
    "mv2": Tagger("MV2", MV2, LOW),
    "dl1": Tagger("DL1", DL1, LOW),
    "rnnip": Tagger("RNNIP", RNNIP),
    "dl1r": Tagger("DL1r", partial(DL1, name="dl1r", taggers=("rnnip",)), (*LOW, "rnnip")),
    "dips": Tagger("DIPS", DIPS),
    "dl1d": Tagger("DL1d", partial(DL1, name="dl1d", taggers=("dips",)), (*LOW, "dips")),
    "gn1_no_aux": Tagger(
        "GN1, no auxiliary tasks", partial(GN1, name="gn1_no_aux", origin_weight=0.0, vertex_weight=0.0)
    ),
    "gn1_origin_only": Tagger("GN1, origins only", partial(GN1, name="gn1_origin_only", vertex_weight=0.0)),
    "gn1_vertex_only": Tagger("GN1, vertices only", partial(GN1, name="gn1_vertex_only", origin_weight=0.0)),
    "gn1": Tagger("GN1", GN1),
    "gn1lep": Tagger("GN1Lep", partial(GN1, name="gn1lep", leptons=True)),
    "gn2": Tagger("GN2", GN2),
}
METHODS = tuple(name for name in TAGGERS if name != "ip2d")
ONCE = ("mv2", "dl1", "rnnip", "gn1_no_aux", "gn1_origin_only", "gn1_vertex_only", "gn1lep", "gn2")
"""Trained with one seed."""
HIGH_LEVEL = ONE_CYCLE.with_(batch_size=1000, learning_rate=3e-3)
TRACKS = ONE_CYCLE.with_(learning_rate=2e-3)
GN2_CYCLE = ONE_CYCLE.with_(learning_rate=1e-3, initial_rate=1e-7, final_rate=1e-5, clip_norm=1.0)


def trainings(epochs: int, gn2: int) -> dict[str, Training]:
    """How each network is trained, when the graph networks take `epochs`: small ones are cheap."""
    return {
        "dl1": HIGH_LEVEL.with_(epochs=3 * epochs),
        "dl1r": HIGH_LEVEL.with_(epochs=3 * epochs),
        "dl1d": HIGH_LEVEL.with_(epochs=3 * epochs),
        "rnnip": TRACKS.with_(epochs=epochs),
        "dips": TRACKS.with_(epochs=2 * epochs),
        "gn2": GN2_CYCLE.with_(epochs=gn2),
    }


PUBLISHED = Path(__file__).with_suffix(".csv")
SCALES = {
    "smoke": FlavourSettings(
        events={"ttbar": 150, "zprime": 150},
        pileup=1.0,
        simulation=SimulationSettings(pileup=PileupSettings(train=60, valid=60, test=60)),
        methods=("ip3d", "ip3d_sv1", "mv2", "dl1r", "gn1"),
        training=ONE_CYCLE.with_(epochs=2, batch_size=100),
    ),
    "quick": FlavourSettings(
        events={"ttbar": 30_000, "zprime": 5_000},
        methods=tuple(name for name in METHODS if name != "gn2"),
        training=ONE_CYCLE.with_(epochs=6),
        trainings=trainings(6, 1),
    ),
    "standard": FlavourSettings(
        events={"ttbar": 135_000, "zprime": 93_000},
        mixture={"ttbar": 0.6, "zprime": 0.4},
        seeds=(1, 2, 3),
        single=ONCE,
        methods=METHODS,
        parallel=2,
        training=ONE_CYCLE.with_(epochs=4),
        trainings=trainings(4, 2),
    ),
    "full": FlavourSettings(
        events={"ttbar": 7_400_000, "zprime": 8_400_000},
        mixture={"ttbar": 0.6, "zprime": 0.4},
        seeds=(1, 2, 3),
        methods=METHODS,
        training=Training(epochs=100, batch_size=4000, learning_rate=1e-3),
    ),
}


@recipe(scales=SCALES)
def flavour_history(settings: FlavourSettings, run: Run) -> Result:
    """Every b-tagger from IP3D to GN2 on the same jets [ATL-PHYS-PUB-2022-027 and what it builds on]."""
    return Study(settings, run, TAGGERS, PUBLISHED, "Thirty years of b-tagging on one sample").result()
