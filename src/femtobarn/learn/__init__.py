"""Methods: what they are, the one loop that trains them, their files, their export."""

from femtobarn.learn.background_model import BackgroundModel
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.model_files import load
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training

__all__ = ["BackgroundModel", "Classifier", "Scorer", "Training", "load", "method"]
