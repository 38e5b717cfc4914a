"""Read a folder of MIDI files and turn it into a vocabulary, ids and training batches."""
