"""femtobarn: machine learning for high energy physics, from collisions to a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from femtobarn.data.sample import open_sample as open
    from femtobarn.learn.model_files import load

__all__ = ["__version__", "load", "open"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that `femtobarn --help` needs no torch."""
    if name == "open":
        from femtobarn.data.sample import open_sample

        return open_sample
    if name == "load":
        from femtobarn.learn.model_files import load

        return load
    raise AttributeError(f"module 'femtobarn' has no attribute '{name}'")
