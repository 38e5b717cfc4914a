"""Repetition within a piece: the match model that predicts it, its fit, and metrics."""
