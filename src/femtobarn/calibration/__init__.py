"""Calibration to data: how often a tagger passes jets in collisions, against what a simulation says."""
