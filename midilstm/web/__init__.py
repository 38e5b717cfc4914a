"""Serve a page on this machine that draws pieces, plays them and writes bars of them again."""
