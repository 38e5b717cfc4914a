"""Evaluate a trained model: prediction, repetition, copying and similarity to human music."""
