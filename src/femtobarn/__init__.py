"""femtobarn: machine learning for high energy physics, from collisions to a result."""

__version__ = "0.1.0"
