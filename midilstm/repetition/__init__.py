"""The match model of repeats within a piece: its prediction, its fit, its metrics."""
