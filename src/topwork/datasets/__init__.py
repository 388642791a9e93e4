"""The catalog's own datasets: they write all files of a run, and read nearly all.

Tables of images are read in `data/image_table.py`, weights of networks in `models/weights.py`.
"""
