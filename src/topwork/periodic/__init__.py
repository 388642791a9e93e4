"""Periodic patterns: their unit cell, and how much each symmetry of a lattice maps the cell onto itself.

Nothing here is learnt, and nothing comes from the generator of the wallpaper patterns (`symmetry/`).
"""
