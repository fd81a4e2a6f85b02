"""Zero-padded arrays of jets: JetNet (HDF5), and quark and gluon jets (NPZ)."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.hdf5 import open_hdf5
from femtobarn.data.public_jets import Particles
from femtobarn.data.reader import file_key
from femtobarn.data.schema import DType, Schema
from femtobarn.data.tables import arrays_of
from femtobarn.errors import InputError, require

__all__ = ["JetNet", "QuarkGluon", "is_jetnet", "is_quark_gluon"]

Array = NDArray[Any]
_FLOAT: DType = np.dtype(np.float32)
_LABEL: DType = np.dtype(np.int16)
_FLAGS = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")


def is_jetnet(file: h5py.File) -> bool:
    """Whether the file has the datasets of JetNet."""
    return all(isinstance(file.get(name), h5py.Dataset) for name in ("particle_features", "jet_features"))


class JetNet:
    """JetNet [2106.11535, Section 2; Zenodo 6975118]: `particle_features` (N, M, 4), `jet_features` (N, 4).

    Particles have etarel, phirel, ptrel and a mask, jets pt, eta, mass and the number of particles. From them
    follow four-momenta of massless particles, in GeV: pt = ptrel pt_jet, eta = etarel + eta_jet; the file
    does not know the azimuth of the jet, which is taken as 0. What a jet is stands only in the name of the
    file, `t.hdf5` or `t150.hdf5`; files of other names have no `jet_label`.
    """

    CLASSES = ("g", "q", "t", "w", "z")
    JET = ("jet_pt", "jet_eta", "jet_mass", "jet_nparticles")
    RELATIVE = ("etarel", "phirel", "ptrel")

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.name = str(path)
        self.attributes: dict[str, Any] = {}
        with open_hdf5(path) as file:
            particles, jets = file["particle_features"].shape, file["jet_features"].shape
        if len(particles) != 3 or particles[2] != 4:
            raise InputError(
                f"{path}: 'particle_features' is {particles}; JetNet has (jets, particles, 4) with etarel, "
                "phirel, ptrel and mask"
            )
        if len(jets) != 2 or jets[1] != 4:
            raise InputError(
                f"{path}: 'jet_features' is {jets}; JetNet has (jets, 4) with pt, eta, mass and "
                "number of particles"
            )
        if jets[0] != particles[0]:
            raise InputError(
                f"{path}: 'jet_features' has {jets[0]} jets where 'particle_features' has {particles[0]}; "
                "copy the file again"
            )
        self._length = particles[0]
        named = re.fullmatch(r"([gqtwz])(30|150)?", path.stem)
        self._class = None if named is None else self.CLASSES.index(named[1])
        label = {} if named is None else {"jet_label": _LABEL}
        self.schema = Schema(
            dict.fromkeys(self.JET, _FLOAT) | label, {}, {"jet_label": list(self.CLASSES)} if label else {}
        )
        self.particles = dict.fromkeys(("px", "py", "pz", "energy", *self.RELATIVE), _FLOAT)

    def __len__(self) -> int:
        return int(self._length)

    def key(self) -> str:
        """Text that changes when the file does."""
        return file_key(Path(self.name))

    def rows(self, start: int, stop: int, names: Sequence[str]) -> dict[str, Any]:
        """Columns of the jets."""
        if not names:
            return {}
        jets = self._stored("jet_features", start, stop)
        columns: dict[str, Any] = {name: jets[:, place].astype(_FLOAT) for place, name in enumerate(self.JET)}
        if self._class is not None:
            columns["jet_label"] = np.full(stop - start, self._class, _LABEL)
        return {name: columns[name] for name in names}

    def read_particles(self, start: int, stop: int, names: Sequence[str]) -> Particles:
        """The particles that the mask says are there."""
        jets = self._stored("jet_features", start, stop).astype(np.float64)
        stored = self._stored("particle_features", start, stop).astype(np.float64)
        if not np.isin(stored[..., 3], (0, 1)).all():
            row = start + int(np.argmax(~np.isin(stored[..., 3], (0, 1)).all(1)))
            raise InputError(
                f"{self.name}, row {row}: the mask, fourth of 'particle_features', must be 0 or 1; take the "
                "file as it was published, not normalised"
            )
        real = stored[..., 3] == 1
        counts = real.sum(1)
        etarel, phirel, ptrel = stored[real][:, :3].T
        pt = ptrel * np.repeat(jets[:, 0], counts)
        eta = etarel + np.repeat(jets[:, 1], counts)
        columns = {
            "px": pt * np.cos(phirel), "py": pt * np.sin(phirel), "pz": pt * np.sinh(eta),
            "energy": pt * np.cosh(eta), "etarel": etarel, "phirel": phirel, "ptrel": ptrel,
        }  # fmt: skip
        return counts, {name: columns[name].astype(_FLOAT) for name in names}

    def _stored(self, name: str, start: int, stop: int) -> Array:
        with open_hdf5(Path(self.name)) as file:
            values: Array = file[name][start:stop]
        return values


def is_quark_gluon(path: Path) -> bool:
    """Whether an NPZ file has arrays `X` of three dimensions and `y`; only headers are read."""
    try:
        with zipfile.ZipFile(path) as stored:
            if not {"X.npy", "y.npy"} <= set(stored.namelist()):
                return False
            with stored.open("X.npy") as member:
                version = np.lib.format.read_magic(member)
                header = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                return len(header(member)[0]) == 3
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return False


class QuarkGluon:
    """Quark and gluon jets [1810.05165; Zenodo 3164691]: `X` (N, M, 4), zero padded, and `y`.

    Particles have pt (GeV), rapidity, azimuth and PDG code, whose mass completes the four-momentum and whose
    charge and kind are known; `y` is 0 for gluons and 1 for quarks. Further arrays (N,) are numbers of the
    jets.
    """

    CLASSES = ("gluon", "quark")

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.name = str(path)
        self.attributes: dict[str, Any] = {}
        arrays = arrays_of(path)
        stored, label = arrays.pop("X"), arrays.pop("y")
        if stored.ndim != 3 or stored.shape[2] != 4:
            raise InputError(
                f"{path}: 'X' is {stored.shape}; the quark-gluon layout has (jets, particles, 4) with pt, "
                "rapidity, azimuth and PDG code"
            )
        if label.shape != stored.shape[:1] or not np.isin(label, (0, 1)).all():
            raise InputError(f"{path}: 'y' needs {len(stored)} numbers, 1 for quark and 0 for gluon jets")
        real = stored[..., 0] > 0
        self._columns = {
            name: values for name, values in arrays.items()
            if values.shape == label.shape and values.dtype.kind in "biuf"
        }  # fmt: skip
        self._columns["jet_label"] = label.astype(_LABEL)
        self._ends = np.concatenate([[0], np.cumsum(real.sum(1))]).astype(np.int64)
        self._flat = self._four_momenta(stored[real].astype(np.float64))
        self.schema = Schema(
            {name: values.dtype for name, values in self._columns.items()},
            {},
            {"jet_label": list(self.CLASSES)},
        )
        self.particles = {name: values.dtype for name, values in self._flat.items()}

    def _four_momenta(self, particles: Array) -> dict[str, Array]:
        pt, rapidity, phi, stored = particles.T
        codes, which = np.unique(np.rint(stored).astype(np.int64), return_inverse=True)
        known = require("particle", "simulation")
        try:
            species = [known.Particle.from_pdgid(int(code)) for code in codes]
        except (known.ParticleNotFound, known.InvalidParticle) as error:
            raise InputError(
                f"{self.name}: the fourth of 'X' must be a PDG code, and is not ({error}); mend it"
            ) from None
        mass = np.array([(one.mass or 0.0) / 1000 for one in species])[which]
        charge = np.array([one.charge for one in species], np.float64)
        code = np.abs(codes)
        lepton = (code >= 11) & (code <= 16)
        flags = (
            (charge != 0) & ~lepton,
            (charge == 0) & ~lepton & (code != 22),
            code == 22,
            code == 11,
            code == 13,
        )
        transverse = np.hypot(pt, mass)
        columns: dict[str, Array] = {
            "px": pt * np.cos(phi),
            "py": pt * np.sin(phi),
            "pz": transverse * np.sinh(rapidity),
            "energy": transverse * np.cosh(rapidity),
            "charge": charge[which],
        } | {name: flag[which] for name, flag in zip(_FLAGS, flags, strict=True)}
        columns = {name: values.astype(_FLOAT) for name, values in columns.items()}
        return columns | {"pdgId": codes[which].astype(np.int32)}

    def __len__(self) -> int:
        return len(self._ends) - 1

    def key(self) -> str:
        """Text that changes when the file does."""
        return file_key(Path(self.name))

    def rows(self, start: int, stop: int, names: Sequence[str]) -> dict[str, Any]:
        """Columns of the jets."""
        return {name: self._columns[name][start:stop] for name in names}

    def read_particles(self, start: int, stop: int, names: Sequence[str]) -> Particles:
        """The particles of the jets."""
        first, last = self._ends[start], self._ends[stop]
        return np.diff(self._ends[start : stop + 1]), {name: self._flat[name][first:last] for name in names}
