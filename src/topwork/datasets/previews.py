"""What kedro-viz shows of a dataset: it reads the return type of `preview` by its name.

kedro-datasets keeps these types in a private module, and its documentation tells to import them from there.
"""

from kedro_datasets._typing import ImagePreview, JSONPreview, TablePreview

__all__ = ["ImagePreview", "JSONPreview", "TablePreview"]
