"""Files of tensors, tables and JSON; damage is detected when they are read.

Tensors (safetensors) carry the SHA-256 of the whole file in their header. Tables (Parquet) carry a checksum on every
page and a digest of the schema. A JSON object carries the SHA-256 of its other values; in a list, every object carries
one, also of its place in the list.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from topwork.core.digests import text_digest
from topwork.core.errors import DamagedError
from topwork.datasets.atomic import appearing_whole

_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')  # inside a JSON string the quotes would be escaped
_UNKNOWN_DIGEST = "0" * 64
_JSON_DIGEST = "sha256"  # key of the digest in a JSON object
_CHUNK = 1 << 20  # bytes read at a time
_LARGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself
_FILES = 1 << 22  # whose check is remembered, each in half a kilobyte: a fortieth of the index of a shard
_ATTRS, _FOOTER = b"PANDAS_ATTRS", b"topwork.footer"


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Write tensors, with ``facts`` (JSON) and the digest of the file in the header."""
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    with appearing_whole(path) as partial:
        save_file(contiguous, partial, metadata={"facts": json.dumps(facts), "sha256": _UNKNOWN_DIGEST})
        with partial.open("r+b") as file:
            place, _, digest = _digests(file)
            file.seek(place)
            file.write(digest)


def open_tensors(path: Path) -> tuple[Any, dict[str, Any]]:
    """The file mapped into memory, as `safetensors.safe_open` gives it, and the facts in its header.

    Raises:
        FileNotFoundError: there is no file.
        DamagedError: the file is not as it was written.

    """
    status = path.stat()
    _check_digest(str(path), status.st_size, status.st_mtime_ns, status.st_ino)
    try:
        file = safe_open(path, framework="numpy")
        return file, dict(json.loads(file.metadata()["facts"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """All tensors and the facts.

    Raises:
        FileNotFoundError: there is no file.
        DamagedError: the file is not as it was written.

    """
    file, facts = open_tensors(path)
    return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 - not a mapping


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table with its ``attrs`` as Parquet."""
    content = pa.Table.from_pandas(table, preserve_index=False)
    facts = {**content.schema.metadata, _ATTRS: json.dumps(table.attrs).encode()}
    facts[_FOOTER] = _footer_digest(content.schema, facts, content.num_rows)
    with appearing_whole(path) as partial:
        pq.write_table(content.replace_schema_metadata(facts), partial, write_page_checksum=True)


def read_table(path: Path) -> pd.DataFrame:
    """A table that `write_table` wrote.

    Raises:
        FileNotFoundError: there is no file.
        DamagedError: the file is not as it was written.

    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            content = file.read()
        facts = dict(content.schema.metadata or {})
        footer = facts.pop(_FOOTER, b"")
        if footer != _footer_digest(content.schema, facts, content.num_rows):
            raise DamagedError("its description is not what was written, or an earlier version wrote it")
        table: pd.DataFrame = content.to_pandas()
        table.attrs = json.loads(facts.get(_ATTRS, b"{}"))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedError(_first_line(error)) from error
    return table


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Write an object, or a list of objects, as JSON with digests.

    Raises:
        ValueError: a number is not finite, or an object has the key of the digest.
        TypeError: the content is neither an object nor a list of objects.

    """
    plain = json.loads(json.dumps(content, allow_nan=False))  # as it will be read: tuples become lists
    objects = plain if isinstance(plain, list) else [plain]
    if any(_JSON_DIGEST in item for item in objects if isinstance(item, dict)):
        raise ValueError(f"{path}: the key {_JSON_DIGEST} is kept for the digest.")
    for item, digest in zip(objects, _json_digests(plain), strict=True):
        item[_JSON_DIGEST] = digest
    with appearing_whole(path) as partial:
        partial.write_text(json.dumps(plain, indent=2, ensure_ascii=False), encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content that `write_json` wrote, without the digests.

    Raises:
        FileNotFoundError: there is no file.
        DamagedError: the file is not as it was written.

    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        written = [item.pop(_JSON_DIGEST) for item in (content if isinstance(content, list) else [content])]
        if written != _json_digests(content):
            raise DamagedError("its content does not match its SHA-256")
    except (KeyError, AttributeError, TypeError) as error:
        raise DamagedError("no SHA-256 in it, or an earlier version wrote it") from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(_first_line(error)) from error
    return content


def _json_digests(content: Any) -> list[str]:
    """The digest of an object, or of each object of a list; without the digests themselves."""
    if isinstance(content, dict):
        return [text_digest(json.dumps(content, sort_keys=True))]
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise TypeError("neither an object nor a list of objects")
    return [text_digest(json.dumps([place, len(content), item], sort_keys=True)) for place, item in enumerate(content)]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@lru_cache(maxsize=_FILES)
def _check_digest(path: str, _size: int, _mtime_ns: int, _inode: int) -> None:
    """Check the digest of the whole file; once per process, unless the file changes."""
    with Path(path).open("rb") as file:
        _, written, found = _digests(file)
    if written != found:
        raise DamagedError("its content does not match its SHA-256")


def _digests(file: BinaryIO) -> tuple[int, bytes, bytes]:
    """Position of the digest in the file, the digest written there, and the digest of the file without it."""
    length = int.from_bytes(file.read(8), "little")
    header = file.read(length) if length <= _LARGEST_HEADER else b""
    found = _DIGEST.search(header)
    if len(header) < length or found is None:
        raise DamagedError("no SHA-256 in its header")
    start, end = found.span(1)
    digest = hashlib.sha256(length.to_bytes(8, "little"))
    digest.update(header[:start] + _UNKNOWN_DIGEST.encode() + header[end:])
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return 8 + start, found[1], digest.hexdigest().encode()


def _footer_digest(schema: pa.Schema, facts: Mapping[bytes, bytes], rows: int) -> bytes:
    columns = [(field.name, str(field.type).replace("<item: ", "<element: "), field.nullable) for field in schema]
    content = [columns, sorted(facts.items()), rows]  # list items are `element` in Parquet, `item` in Arrow
    return hashlib.sha256(str(content).encode()).hexdigest().encode()
