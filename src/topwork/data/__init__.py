"""From a folder of images to a manifest, groups of the same thing, and splits."""
