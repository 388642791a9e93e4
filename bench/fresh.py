"""What is measured in a process of its own, since imports and peak memory belong to it: `python -m bench.fresh WHAT …`.

Prints one line of JSON: seconds, and the peak of resident memory in MB.
"""

from __future__ import annotations

import inspect
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd


def extraction(backbone: str, weights: str, images: str, manifest: str, work: str, store: str) -> float:
    """The first feature node, which holds no more than a shard; the second returns all vectors."""
    return feature_nodes(backbone, weights, images, manifest, work, store, gather=False)


def feature_nodes(
    backbone: str, weights: str, images: str, manifest: str, work: str, store: str, gather: bool = True
) -> float:
    """Both feature nodes, imports of what they need included, those of the nodes themselves not."""
    from bench.ours import feature_settings, run_feature_nodes
    from topwork.datasets.image_folder import ImageFolderDataset

    settings = feature_settings(backbone, weights)
    loaded, table = ImageFolderDataset(path=images).load(), pd.read_parquet(manifest)
    return run_feature_nodes(loaded, table, settings, Path(work), Path(store), gather)


def refresh(images: str, known: str) -> float:
    """List the folder and renew its manifest, nothing having changed."""
    from bench.ours import inspected
    from topwork.datasets.image_folder import ImageFolderDataset

    start = time.perf_counter()
    inspected(ImageFolderDataset(path=images).load(), pd.read_parquet(known))
    return time.perf_counter() - start


def library(environment: str, data: str, store: str) -> float:
    """The nodes of the default run imported and called one after the other on the catalog's datasets.

    There are no session and no hooks.
    """
    from kedro.config import OmegaConfigLoader
    from kedro.framework.project import configure_project
    from kedro.io import DataCatalog

    configure_project("topwork")
    start = time.perf_counter()
    from topwork.pipeline_registry import register_pipelines

    given = {"data": data, "store": store}
    settings: dict[str, Any] = {
        "base_env": "base",
        "default_run_env": environment,
        "runtime_params": given,
        "merge_strategy": _SOFT,
    }
    conf = OmegaConfigLoader(conf_source="conf", env=environment, **settings)
    catalog = DataCatalog.from_config(conf["catalog"])
    catalog["parameters"] = conf["parameters"]
    for name, value in conf["parameters"].items():
        catalog[f"params:{name}"] = value
    nodes = [node for node in register_pipelines()["__default__"].nodes if node.namespace not in _LEARNING]
    for node in nodes:
        outputs = node.run({name: _typed(catalog[name].load(), name, node.func) for name in node.inputs})
        for name, value in outputs.items():
            for piece in value if inspect.isgenerator(value) else [value]:
                catalog[name].save(piece)
    return time.perf_counter() - start


_LEARNING = {"scratch", "finetune"}  # whose time is their own
_SOFT = {"parameters": "soft", "globals": "soft"}


def _typed(value: object, name: str, node: Callable[..., object]) -> object:
    """A block of parameters as the node's annotation has it."""
    if not name.startswith("params:"):
        return value
    from typing import get_type_hints

    from topwork.core import parameters

    blocks = [hint for hint in get_type_hints(node).values() if isinstance(hint, type)]
    fields = set(value)  # type: ignore[call-overload]
    return next(
        block(**value)  # type: ignore[arg-type]
        for block in blocks
        if issubclass(block, parameters.Block) and fields <= set(block.model_fields)
    )


def main() -> None:
    """Measure what the command line names."""
    measures: dict[str, Callable[..., float]] = {
        "features": feature_nodes,
        "extraction": extraction,
        "refresh": refresh,
        "library": library,
    }
    what = measures[sys.argv[1]]
    seconds = what(*sys.argv[2:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e3 if sys.platform == "linux" else 1e6)
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main()
