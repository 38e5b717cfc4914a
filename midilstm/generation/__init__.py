"""Draw new pieces from a trained network, in NumPy, without Keras."""
