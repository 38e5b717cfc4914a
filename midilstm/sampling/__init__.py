"""The room of sampling: a trained network → new tokens, without Keras."""
