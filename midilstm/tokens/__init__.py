"""The room of encodings: one MIDI file ⇄ a list of token strings. Knows no ids and no networks."""
