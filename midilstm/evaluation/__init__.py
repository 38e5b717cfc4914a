"""The room of evaluation: how good, how new and how human the music is."""
