"""The room of collections: a folder of MIDI files → pieces, ids and batches."""
