"""`make bench`: Topwork against its rivals and against the machine's limits, in one table and `bench.json`.

Each row is measured in turn, ours and theirs, in one run; a figure is the median of the rounds. bench/README.md tells
what is compared with what.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd

from bench.heads import heads
from bench.images import render_folder
from bench.measure import Rival, Row, alternated, console, show, write_rows
from bench.ours import Ours, inspected
from bench.training import training
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.decisions.advisor import gather_evidence
from topwork.training.linear import fit_head, multinomial_logistic

NETWORKS = {"efficientnet_lite0": "default", "resnet50": "none"}
TIMM, LOOP, FASTAI, EMBETTER, CACHED = (
    "timm + DataLoader",
    "plain torch loop",
    "fastai get_preds",
    "embetter",
    "scikit-learn with memory",
)
FLOPS = {"resnet50": 2 * 4.089e9}
"""Of one image at 224 px, two a multiplication (torchvision's table says 4.09 GFLOPS, one a multiplication)."""


def main() -> None:
    """Measure all rows, or the groups that are named."""
    asked = _arguments()
    work = Path(mkdtemp(prefix="topwork-bench-"))
    logging.getLogger("topwork").setLevel(logging.WARNING)
    rows: list[Row] = []
    try:
        for group in asked.only or GROUPS:
            for row in GROUPS[group](asked, work):
                console.print(f"{row.what}: {row.ours:.4g} against {row.rival:.4g} {row.unit} ({row.against})")
                rows.append(row)
                write_rows(rows, asked.output)
    finally:
        shutil.rmtree(work)
    show(rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=GROUPS, help="groups of rows")
    parser.add_argument("--folder", type=Path, help="class folders of photographs to use instead of rendered ones")
    parser.add_argument("--images", type=int, default=384, help="images a pass")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=10_000, help="images of the warm, incremental and memory rows")
    parser.add_argument("--files", type=int, default=1_000_000, help="files of the manifest row")
    parser.add_argument("--size", type=int, default=224, help="side in pixels, of the training rows")
    parser.add_argument("--minutes", type=float, default=1.0, help="that our training rows may learn")
    parser.add_argument("--rivals", type=Path, default=Path(".venv-rivals/bin/python"), help="the rivals' interpreter")
    parser.add_argument("--output", type=Path, default=Path("data/08_reporting/bench.json"))
    return parser.parse_args()


def speed(asked: argparse.Namespace, work: Path) -> Iterator[Row]:
    """From a folder to features, against every rival; goals stand for timm with its loader."""
    for network, goal in (("efficientnet_lite0", 10.0), ("resnet50", 4.5)):
        ours = Ours(network, NETWORKS[network], work)
        share = 1 if network == "efficientnet_lite0" else 3  # slower networks on fewer images
        folder = _folder(asked, work, asked.images // share)
        for name in (TIMM, LOOP, FASTAI, EMBETTER):
            with Rival(asked.rivals, name, network, folder) as rival:
                measured = alternated(
                    partial(ours.folder_to_features, folder),
                    rival.images_per_second,
                    asked.rounds,
                )
            yield _row(
                f"folder to features, {network} ({ours.engine_name})",
                measured,
                name,
                goal=goal if name == TIMM else None,
            )


def limits(asked: argparse.Namespace, work: Path) -> Iterator[Row]:
    """The feature node against its engine on pixels in memory, the engine against the matrix peak, the disk."""
    for network, goal in (("efficientnet_lite0", 0.8), ("resnet50", 0.95)):
        ours = Ours(network, NETWORKS[network], work)
        count = 4 * asked.images if network == "efficientnet_lite0" else asked.images
        folder = _folder(asked, work, count)
        images = ImageFolderDataset(path=str(folder)).load()
        manifest = inspected(images)
        measured = alternated(
            partial(ours.manifest_to_features, images, manifest),
            partial(ours.engine_alone, count),
            asked.rounds,
        )
        yield _row(f"manifest to features, {network}", measured, f"{ours.engine_name} alone", goal=goal)
        if network in FLOPS:
            measured = alternated(partial(_operations, ours, asked.images), _matrix_peak, asked.rounds)
            yield _row(f"{network}, operations", measured, "bfloat16 matrix product", unit="GFLOP/s", goal=0.85)
    lite0 = Ours("efficientnet_lite0", "default", work)
    folder = _folder(asked, work, asked.images)
    size = sum(path.stat().st_size for path in folder.rglob("*.jpg")) / asked.images / 1e6
    measured = alternated(lambda: lite0.folder_to_features(folder) * size, lambda: _disk_read(work), asked.rounds)
    yield _row("folder to features, bytes read", measured, "sequential disk read", unit="MB/s")


def repeated(asked: argparse.Namespace, work: Path) -> Iterator[Row]:
    """A run again, and with one image in a hundred new, each in a process of its own."""
    ours = Ours("efficientnet_lite0", "default", work)  # chooses the engine, which no run below has to
    count = asked.many
    folder, manifest = render_folder(work / f"many-{count}", count), work / "manifest.parquet"
    store = work / "store"
    inspected(ImageFolderDataset(path=str(folder)).load()).to_parquet(manifest)

    def run() -> dict[str, float]:
        weights = NETWORKS["efficientnet_lite0"]
        return _fresh("features", "efficientnet_lite0", weights, folder, manifest, work, store)

    cold = run()
    warm = statistics.median(run()["seconds"] for _ in range(asked.rounds))
    what = f"feature nodes, {count:,} images"
    yield _seconds(f"{what}, again", warm, cold["seconds"], f"cold ({ours.engine_name})", 0.01)
    with Rival(asked.rivals, CACHED, "efficientnet_lite0", _folder(asked, work, asked.images)) as rival:
        first, images = rival.one_pass()
        again = statistics.median(rival.one_pass()[0] for _ in range(asked.rounds))
    ours_again, theirs_again = warm / cold["seconds"], again / first
    ratio = ours_again / theirs_again
    yield Row(f"again, share of the cold run ({images} images there)", ours_again, theirs_again, "", ratio, CACHED)
    times = []
    for number in range(asked.rounds):
        render_folder(folder, count // 100, first=count + number * count // 100)
        inspected(ImageFolderDataset(path=str(folder)).load()).to_parquet(manifest)
        times.append(run()["seconds"])
    yield _seconds(f"{what}, 1 % new", statistics.median(times), cold["seconds"], "cold", 0.02)


def memory(asked: argparse.Namespace, work: Path) -> Iterator[Row]:
    """Peak memory and time of the extraction against the number of images."""
    Ours("efficientnet_lite0", "default", work)
    peaks, counts = {}, (1000, asked.many, 10 * asked.many)
    for count in counts:
        folder, manifest = render_folder(work / "growing", count), work / f"manifest-{count}.parquet"
        inspected(ImageFolderDataset(path=str(folder)).load()).to_parquet(manifest)
        peaks[count] = _fresh(
            "extraction", "efficientnet_lite0", "default", folder, manifest, work, work / f"store-{count}"
        )
        console.print(f"{count:,} images: {peaks[count]}")
    smallest = peaks[counts[0]]
    for count in counts[1:]:
        ours, theirs = peaks[count]["peak_mb"], smallest["peak_mb"]
        goal = 1.1 if count == counts[-1] else None
        what = f"peak memory of extraction, {count:,} images"
        yield Row(what, ours, theirs, "MB", ours / theirs, f"{counts[0]:,} images", goal, at_most=True)


def manifest(asked: argparse.Namespace, work: Path) -> Iterator[Row]:
    """The manifest of many files of which none has changed."""
    folder, known = work / "files", work / "known.parquet"
    (image,) = render_folder(work / "one", 1).rglob("*.jpg")
    small = image.read_bytes()[:2000]
    for number in range(asked.files):
        path = folder / f"class-{number % 1000}" / f"{number}.jpg"
        if number < 1000:
            path.parent.mkdir(parents=True)
        path.write_bytes(small if number % 100 else image.read_bytes())
    listing = ImageFolderDataset(path=str(folder)).load().listing
    _as_if_inspected(listing).to_parquet(known)
    seconds = statistics.median(_fresh("refresh", folder, known)["seconds"] for _ in range(asked.rounds))
    walk = statistics.median(_walk(folder) for _ in range(asked.rounds))
    what = f"manifest of {asked.files:,} unchanged files"
    goal = 1.0 if asked.files >= 1_000_000 else None  # which is what the thirty seconds are for
    yield Row(what, seconds, 30.0, "s", seconds / 30, "the goal itself", goal, at_most=True)
    yield Row(what, seconds, walk, "s", seconds / walk, "listing and stat of the files alone")


def classes(asked: argparse.Namespace, work: Path) -> Iterator[Row]:
    """The evidence for the advice where there are many classes, against one fit of what it does not fit there."""
    probes = {weights: multinomial_logistic(weights, 300) for weights in ("none", "balanced")}
    for count in (1_000, 10_000):
        generator, truth = np.random.default_rng(0), np.repeat(np.arange(count), 5)
        noise = generator.normal(0, 2, (len(truth), 1280))
        vectors = (generator.normal(size=(count, 1280))[truth] + noise).astype(np.float32)
        folds, groups = np.tile(np.arange(5), count), np.arange(len(truth)).astype(str)
        start = time.perf_counter()
        gather_evidence(vectors, truth, folds, groups, np.full(len(truth), 224), probes, 0.1, 0)
        seconds, what = time.perf_counter() - start, f"evidence, {count:,} classes of 5 images"
        if count == 1_000:
            start = time.perf_counter()
            fit_head(probes["none"](0.1), vectors[None], truth, count)
            fit = time.perf_counter() - start
            yield Row(what, seconds, fit, "s", seconds / fit, "one fit of logistic regression", 1.0, at_most=True)
        else:
            yield Row(what, seconds, 600.0, "s", seconds / 600, "ten minutes", 1.0, at_most=True)


def overhead(asked: argparse.Namespace, work: Path) -> Iterator[Row]:
    """The default run on the digits, everything cached, against its nodes called by themselves and bare imports."""
    python, data, store = sys.executable, work / "digits", work / "digits-store"
    command = [
        "-m",
        "kedro",
        "run",
        "--env",
        "digits",
        "--params",
        f"data={data},store={store},strategies=logistic+svm",
    ]
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{work}/mlflow.db"}
    _wall(python, command, environment)
    times = []
    for _ in range(asked.rounds):
        run = _wall(python, command, environment)
        nodes = _fresh("library", "digits", data, store)["seconds"]
        bare = _wall(python, ["-c", "import kedro.framework.cli, kedro_mlflow, mlflow"], environment)
        times.append((run, nodes, bare, run - nodes - bare))
    run, nodes, bare, beyond = (statistics.median(each) for each in zip(*times, strict=True))
    console.print(f"whole run {run:.1f} s, its nodes {nodes:.1f} s, imports of kedro and kedro-mlflow {bare:.1f} s")
    what, itself = "Kedro and MLflow beyond their imports", "the goal itself"
    yield Row(what, beyond, 3.0, "s", beyond / 3, itself, 1.0, at_most=True)
    only = [*command[:-2], "--pipelines", "classifier", *command[-2:]]
    warm = statistics.median(_wall(python, only, environment) for _ in range(asked.rounds))
    what, imports = "kedro run --pipelines classifier, warm", "imports of kedro and kedro-mlflow"
    yield Row(what, warm, bare, "s", warm / bare, imports)


GROUPS = {
    "speed": speed,
    "limits": limits,
    "repeated": repeated,
    "memory": memory,
    "manifest": manifest,
    "classes": classes,
    "heads": heads,
    "overhead": overhead,
    "training": training,
}


def _folder(asked: argparse.Namespace, work: Path, count: int) -> Path:
    """So many images of the folder that was given, or rendered."""
    target = work / f"images-{count}"
    if asked.folder is None:
        return render_folder(target, count)
    files = sorted(path for path in asked.folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    for path in files[:: max(1, len(files) // count)][:count]:
        (target / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / path.parent.name / path.name)
    return target


def _row(
    what: str,
    measured: tuple[float, float, float, tuple[float, float]],
    against: str,
    unit: str = "images/s",
    goal: float | None = None,
) -> Row:
    ours, theirs, ratio, spread = measured
    return Row(what, ours, theirs, unit, ratio, against, goal, spread=spread)


def _seconds(what: str, ours: float, theirs: float, against: str, goal: float) -> Row:
    return Row(what, ours, theirs, "s", ours / theirs, against, goal, at_most=True)


def _fresh(*arguments: object) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.fresh", *map(str, arguments)]
    answer: dict[str, float] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    return answer


def _wall(python: str, command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run([python, *command], env=os.environ | environment, check=True, capture_output=True)
    return time.perf_counter() - start


def _operations(ours: Ours, images: int) -> float:
    """GFLOP/s of the engine on a ResNet-50."""
    return ours.engine_alone(images) * FLOPS["resnet50"] / 1e9


def _matrix_peak() -> float:
    """GFLOP/s of the largest of several square bfloat16 products."""
    import torch

    best = 0.0
    for size in (1024, 2048, 4096):
        first, second = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
        first @ second
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < 1:
            first @ second
            done += 1
        best = max(best, 2 * size**3 * done / (time.perf_counter() - start) / 1e9)
    return best


def _disk_read(work: Path) -> float:
    """MB/s of reading a large file that the system no longer holds in memory."""
    path, size = work / "large", 2**28
    if not path.exists():
        path.write_bytes(os.urandom(size))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        while os.read(descriptor, 2**22):
            pass
        return size / (time.perf_counter() - start) / 1e6
    finally:
        os.close(descriptor)


def _walk(folder: Path) -> float:
    start = time.perf_counter()
    for inner in os.scandir(folder):
        for entry in os.scandir(inner):
            os.stat(entry.path)
    return time.perf_counter() - start


def _as_if_inspected(listing: pd.DataFrame) -> pd.DataFrame:
    """Inspections of these files that say that each holds something else: what is timed does not open them."""
    from bench.ours import stamped

    table = stamped(listing)
    numbers = pd.Series(range(len(table)), index=table.index)
    found: dict[str, Any] = {"width": 500, "height": 375, "format": "JPEG", "mode": "RGB", "status": "ok", "reason": ""}
    return table.assign(sha256=numbers.map("{:064x}".format), **found)


if __name__ == "__main__":
    main()
