"""Return types of `preview`; kedro-viz decides by the name of the type how it shows a dataset.

kedro-datasets keeps these types in a private module, and its documentation tells to import them from there.
"""

from kedro_datasets._typing import ImagePreview, JSONPreview, TablePreview

__all__ = ["ImagePreview", "JSONPreview", "TablePreview"]
