"""Return types of `preview`; from the name of the type, kedro-viz decides how to show a dataset.

kedro-datasets keeps these types in a private module, and its documentation says to import them from there.
"""

from kedro_datasets._typing import ImagePreview, JSONPreview, TablePreview

__all__ = ["ImagePreview", "JSONPreview", "TablePreview"]
