"""Tracks and jets made of exact helices from known points, smeared as the simulated tracker smears."""

from __future__ import annotations

import awkward as ak
import numpy as np

from femtobarn.physics.helix import Perigee, perigee
from femtobarn.physics.kinematics import cartesian, eta_of_theta
from femtobarn.physics.tracks import lifetime_sign_d0, lifetime_sign_z0
from femtobarn.physics.vertexing import MeasuredTracks

FIELD, CORRELATION, JET_ETA = 2.0, (-0.75, -0.65), 0.3
CLASSES = {"flavour_label": ["bjets", "cjets", "ujets", "taujets"]}


def smeared(rng, true, scale=1.0):
    """Perigees as measured, with errors `scale` times those of the simulated tracker; and its sigma of d0,
    z0 sin(theta), phi and theta."""
    p, sine = 1 / np.abs(true.q_over_p), np.sin(true.theta)
    sigma = (
        np.hypot(0.010, 0.080 / (p * sine**1.5)), np.hypot(0.055, 0.100 / (p * sine**1.5)),
        np.hypot(7e-5, 2.5e-3 / (p * sine)), np.hypot(7e-4, 2.0e-3 / (p * sine)) * sine**2,
    )  # fmt: skip
    g = rng.standard_normal((4, len(p)))
    for first, second, rho in ((0, 2, CORRELATION[0]), (1, 3, CORRELATION[1])):
        g[second] = rho * g[first] + np.sqrt(1 - rho**2) * g[second]
    error = scale * g * np.stack(sigma)
    z0, theta = true.z0 + error[1] / sine, true.theta + error[3]
    return Perigee(true.d0 + error[0], z0, true.phi + error[2], theta, true.q_over_p), sigma


def measured(rng, true, scale=1.0):
    """The same as a vertex fit takes them."""
    (d0, z0, phi, theta, q_over_p), sigma = smeared(rng, true, scale)
    return MeasuredTracks.of(d0, z0 * np.sin(theta), phi, theta, q_over_p, sigma, CORRELATION, FIELD)


def jets_of(rng, counts, momentum, point, charge, label, scale=1.0):
    """One record per jet, at azimuth 0 and eta 0.3, with what `tagging.jet_frame.vertexing_inputs` names.

    `counts` (B,) tracks, `momentum` and `point` (T, 3) of their origin, `charge` (T,), `label` (B,); `scale`
    multiplies the errors made, not those quoted.
    """
    true = perigee(tuple(point.T), tuple(momentum.T), charge, FIELD)
    (d0, z0, phi, theta, _), sigma = smeared(rng, true, scale)
    eta, sine = eta_of_theta(theta), np.sin(theta)
    z0_sine = z0 * sine
    columns = {
        "d0": d0, "z0SinTheta": z0_sine, "dphi": phi, "deta": eta - JET_ETA, "qOverP": true.q_over_p,
        "IP3D_signed_d0_significance": lifetime_sign_d0(d0, phi, 0.0) / np.hypot(sigma[0], 0.010),
        "IP3D_signed_z0_significance": lifetime_sign_z0(z0_sine, eta, JET_ETA) / np.hypot(sigma[1], 0.03 *
        sine), "d0Uncertainty": sigma[0], "z0SinThetaUncertainty": sigma[1], "phiUncertainty": sigma[2],
        "thetaUncertainty": sigma[3],
    }  # fmt: skip
    tracks = ak.zip({name: column.astype(np.float32) for name, column in columns.items()})
    fields = {
        "eta": np.full(len(counts), JET_ETA, np.float32),
        "flavour_label": np.asarray(label, np.int8),
        "mcEventWeight": np.ones(len(counts), np.float32),
        "tracks": ak.unflatten(tracks, counts),
    }
    return ak.zip(fields, depth_limit=1)


def prompt_and_decay(rng, jets, flights, tracks, label=0, prompt=4):
    """Jets with `prompt` tracks from the primary vertex, then `tracks[k]` from the distance `flights[k]` (mm)
    along the jet axis, for each k."""
    lengths = np.repeat([0.0, *flights], [prompt, *tracks])
    vertex = np.tile(np.repeat(np.arange(len(flights) + 1), [prompt, *tracks]), (jets, 1))
    axis = np.array([1 / np.cosh(JET_ETA), 0.0, np.tanh(JET_ETA)])
    point = np.tile(lengths[:, None] * axis, (jets, 1))
    n = len(point)
    # Away from the axis by 0.1 at least, lest tracks be parallel to it and to each other.
    angle, opening = rng.uniform(-np.pi, np.pi, n), rng.uniform(0.1, 0.35, n)
    momentum = np.stack(
        cartesian(rng.uniform(2, 8, n), JET_ETA + opening * np.sin(angle), opening * np.cos(angle)), axis=1
    )
    counts = np.full(jets, len(lengths))
    return jets_of(rng, counts, momentum, point, rng.choice([-1.0, 1.0], n), np.full(jets, label)), vertex


def two_body(rng, jets, mass, first, second, flight, pt=6.0):
    """Jets of one decay mass -> first + second at a distance `flight` (mm), flying along the jet axis."""
    axis = np.array([1 / np.cosh(JET_ETA), 0.0, np.tanh(JET_ETA)])
    p = pt * np.cosh(JET_ETA)
    star = np.sqrt((mass**2 - (first + second) ** 2) * (mass**2 - (first - second) ** 2)) / (2 * mass)
    cosine, angle = rng.uniform(-0.5, 0.5, jets), rng.uniform(-np.pi, np.pi, jets)
    sine = np.sqrt(1 - cosine**2)
    across, up = np.array([0.0, 1.0, 0.0]), np.cross(axis, [0.0, 1.0, 0.0])
    gamma, boost = np.hypot(p, mass) / mass, p / mass
    momenta = []
    for sign, m in ((1, first), (-1, second)):
        along = gamma * sign * star * cosine + boost * np.hypot(star, m)
        side = sign * star * sine
        momenta.append(along[:, None] * axis + (side * np.cos(angle))[:, None] * across
                       + (side * np.sin(angle))[:, None] * up)  # fmt: skip
    momentum = np.stack(momenta, axis=1).reshape(-1, 3)
    point = np.tile(flight * axis, (2 * jets, 1))
    return jets_of(
        rng, np.full(jets, 2), momentum, point, np.tile([1.0, -1.0], jets), np.full(jets, 2), scale=0.5
    )
