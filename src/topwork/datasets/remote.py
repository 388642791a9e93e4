"""Folders of an object storage (`s3://bucket/folder`), each with a mirror on this machine.

A URL stands for a path in the mirror, so that all other code has files: it maps them into memory, and MLflow logs them.
The storage decides what exists. A file is fetched before it is read, if it is another one there (`at_hand`), and put
there before it appears in the mirror (`publish`). For every other path, these functions do what `pathlib` does.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from topwork.core.errors import InputError, MachineError, TopworkError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_NO_PLACE = {"http", "https", "models", "sqlite", "file", "local"}
"""Schemes of addresses that are no object storage."""
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
_OVERWRITES = {"az", "abfs", "abfss"}  # their `put_file` refuses to replace a file, unless it is asked to
_VERSIONS = ("ETag", "etag", "generation", "md5Hash")  # a new one with every write
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
_ALL = "storage"
"""Entry of `credentials.yml` for every storage that has none under its own scheme."""
_AT_ONCE = 8  # files fetched at a time
_PROBE = ".topwork-may-write"


class Mirror:
    """The mirror of all buckets of one storage; it can be sent to another process, with its credentials."""

    def __init__(self, protocol: str, root: Path, options: Mapping[str, Any]) -> None:
        self.protocol, self.root, self.options = protocol, root, dict(options)
        self._lock = threading.Lock()
        self._opened: tuple[int, Any] | None = None

    def __repr__(self) -> str:  # without the credentials
        return f"Mirror({self.protocol}://, {self.root})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Mirror, (self.protocol, self.root, self.options)

    @property
    def filesystem(self) -> Any:
        """Fsspec's file system, one for all threads of a process."""
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():  # a fork has no use for its parent's connections
                import fsspec

                options = {"use_listings_cache": False, **self.options}
                self._opened = os.getpid(), fsspec.filesystem(self.protocol, **options)
        return self._opened[1]

    def holds(self, path: Path) -> bool:
        """Whether the path lies in this mirror."""
        return path.is_relative_to(self.root)

    def url(self, path: Path) -> str:
        """The URL for which the path stands."""
        return f"{self.protocol}://{path.relative_to(self.root).as_posix()}"

    def info(self, path: Path) -> dict[str, Any]:
        """What the storage says of the file or folder.

        Raises:
            FileNotFoundError: it is not there.

        """
        with self._telling(path):
            try:
                return dict(self.filesystem.info(self.url(path)))
            except FileNotFoundError:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url(path)) from None

    def below(self, folder: Path, depth: int | None = None) -> dict[Path, dict[str, Any]]:
        """What the storage says of every file below the folder, by its path in the mirror."""
        return {Path(path): info for path, info in self.names_below(folder, depth).items()}

    def names_below(self, folder: Path, depth: int | None = None) -> dict[str, dict[str, Any]]:
        """The same by the path as text, since there may be millions."""
        with self._telling(folder):
            self.filesystem.invalidate_cache()
            try:
                found = self.filesystem.find(self.url(folder), maxdepth=depth, detail=True)
            except FileNotFoundError:
                return {}
        files = (each for each in found.values() if each["type"] == "file" and not each["name"].endswith("/"))
        return {f"{self.root}/{each['name'].lstrip('/')}": each for each in files}

    def fetch(self, path: Path, info: Mapping[str, Any] | None = None) -> None:
        """Make the mirror's file that of the storage, if it is another one.

        Raises:
            FileNotFoundError: there is none in the storage.

        """
        version = version_of(info or self.info(path))
        if self._version_here(path) == version:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_beside(path)
        try:
            with self._telling(path):
                self.filesystem.get_file(self.url(path), str(partial))
            self._note(partial, path, version)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def put(self, written: Path, path: Path) -> None:
        """Put a file in the storage; it appears there completely, at once."""
        more = {"overwrite": True} if self.protocol in _OVERWRITES else {}
        with self._telling(path):
            try:
                self.filesystem.put_file(str(written), self.url(path), **more)
            except FileNotFoundError as error:  # the bucket is meant, which has to exist
                raise MachineError(f"{self.url(path)}: there is no such bucket any more.") from error
        info = self.info(path)
        if info["size"] == written.stat().st_size:  # else somebody has replaced it meanwhile
            self._note(written, path, version_of(info))

    def remove(self, path: Path) -> None:
        """Remove a file, if it exists."""
        with self._telling(path), suppress(FileNotFoundError):
            self.filesystem.rm_file(self.url(path))
        path.unlink(missing_ok=True)
        _note_of(path).unlink(missing_ok=True)

    def read(self, url: str) -> bytes:
        """The bytes of an object, past the mirror."""
        with self._telling(url):
            return bytes(self.filesystem.cat_file(url))

    def write(self, path: Path, content: bytes) -> None:
        """Write an object, past the mirror."""
        with self._telling(path):
            self.filesystem.pipe_file(self.url(path), content)

    def _version_here(self, path: Path) -> str | None:
        """The version of the mirror's file; None if there is none, or if it is not the file that the note is about."""
        try:
            noted, status = json.loads(_note_of(path).read_text(encoding="utf-8")), path.stat()
        except (OSError, ValueError):
            return None
        return str(noted["version"]) if noted["file"] == [status.st_ino, status.st_mtime_ns] else None

    def _note(self, file: Path, path: Path, version: str) -> None:
        status, note = file.stat(), _note_of(path)
        partial = partial_beside(note)
        partial.write_text(json.dumps({"version": version, "file": [status.st_ino, status.st_mtime_ns]}))
        partial.replace(note)

    @contextmanager
    def _telling(self, place: Path | str) -> Iterator[None]:
        """A context that tells in one line what a storage says; each has error classes of its own."""
        try:
            yield
        except (FileNotFoundError, TopworkError):
            raise
        except Exception as error:
            url = place if isinstance(place, str) else self.url(place)
            raise _told(url, self.protocol, error) from error


class _Storage:
    """What this process knows of storages: where mirrors lie, the credentials, and the mirrors in use."""

    def __init__(self) -> None:
        self.cache = default_cache()
        self.credentials: dict[str, dict[str, Any]] = {}
        self.mirrors: dict[Path, Mirror] = {}


def default_cache() -> Path:
    """The folder of the mirrors, unless `cache` names another one."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "topwork"


_storage = _Storage()


def set_up(cache: str | None, credentials: Mapping[str, Any]) -> None:
    """Set the folder of the mirrors, and the options of fsspec by scheme (`s3`, `gs`), or for all (`storage`)."""
    _storage.cache = Path(cache) if cache else default_cache()
    _storage.credentials = {name: dict(value) for name, value in credentials.items() if isinstance(value, Mapping)}


def cache_folder() -> Path:
    """The folder of the mirrors, and of the images that were read."""
    return _storage.cache


def is_url(text: object) -> bool:
    """Whether this is the URL of an object storage."""
    found = _URL.match(text) if isinstance(text, str) else None
    return found is not None and found[1].lower() not in _NO_PLACE


def place(text: str) -> Path:
    """The path for which a path or a URL stands.

    Raises:
        InputError: the URL names no bucket.

    """
    found = _URL.match(text) if is_url(text) else None
    if found is None:
        return Path(text)
    protocol, key = found[1].lower(), os.path.normpath(found[2]).lstrip("/")
    if key.startswith("."):
        raise InputError(f"{text}: names no bucket; expected {protocol}://BUCKET/FOLDER.")
    return _mirror_for(protocol).root / key


def mirror_of(path: Path) -> Mirror | None:
    """The mirror in which the path lies; None for an ordinary path."""
    return next((mirror for mirror in _storage.mirrors.values() if mirror.holds(path)), None)


def sent(of: Callable[..., Any], folder: Path, *more: Any) -> tuple[Any, ...]:
    """What `__reduce__` returns for `of(folder, *more)`, which has the same mirror where it arrives."""
    return _arrived, (mirror_of(folder), of, folder, *more)


def _arrived(mirror: Mirror | None, of: Callable[..., Any], *arguments: Any) -> Any:
    if mirror is not None:
        _storage.mirrors.setdefault(mirror.root, mirror)
    return of(*arguments)


def at_hand(path: Path) -> Path:
    """The path, whose file is now that of the storage.

    Raises:
        FileNotFoundError: there is none in the storage.

    """
    if mirror := mirror_of(path):
        mirror.fetch(path)
    return path


def publish(written: Path, path: Path) -> None:
    """Put the ``written`` file in the storage, if ``path`` stands for a URL."""
    if mirror := mirror_of(path):
        mirror.put(written, path)


def exists(path: Path) -> bool:
    """Whether there is a file or a folder."""
    if (mirror := mirror_of(path)) is None:
        return path.exists()
    try:
        return bool(mirror.info(path))
    except FileNotFoundError:
        return False


def remove(path: Path) -> None:
    """Remove a file, if it exists."""
    if mirror := mirror_of(path):
        mirror.remove(path)
    else:
        path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all below it, if it exists."""
    if mirror := mirror_of(folder):
        for path in mirror.below(folder):
            mirror.remove(path)
    if folder.exists():
        shutil.rmtree(folder)


def listed(folder: Path, pattern: str, *, fetched: bool = True) -> list[Path]:
    """The files of this pattern (as of `Path.glob`, without `**`), sorted; of a URL, all are fetched at once."""
    mirror = mirror_of(folder)
    if mirror is None:
        return sorted(folder.glob(pattern))
    depth = pattern.count("/") + 1
    files = mirror.below(folder, depth)
    found = {path: info for path, info in files.items() if _matches(path.relative_to(folder), pattern, depth)}
    if fetched:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch") as pool:
            list(pool.map(mirror.fetch, found.keys(), found.values()))
    return sorted(found)


def described(path: Path) -> str:
    """The path for people: of a URL, this and the copy on this machine."""
    mirror = mirror_of(path)
    return str(path) if mirror is None else f"{mirror.url(path)} (here: {path})"


def in_urls(text: str) -> str:
    """The text with URLs in place of the mirrors' paths."""
    for mirror in _storage.mirrors.values():
        text = text.replace(f"{mirror.root}{os.sep}", f"{mirror.protocol}://")
    return text


def check_place(parameter: str, url: str, *, writes: bool) -> None:
    """Check that a URL can be read, or written, before any work.

    Raises:
        InputError: there is no such bucket or folder, a package is missing, or the credentials do not allow it.
        MachineError: the storage does not answer.

    """
    try:
        path = place(url)
        mirror = _mirror_for(url.split(":", maxsplit=1)[0].lower())
        if writes:
            _check_writes(mirror, path)
        else:
            mirror.info(path)
    except FileNotFoundError:
        bucket = url.split("://")[1].split("/", maxsplit=1)[0]
        what = f"bucket {bucket!r}" if writes else "folder or table, or no such bucket"
        raise InputError(f"{parameter}={url}: there is no such {what}.") from None
    except (InputError, MachineError) as error:
        raise type(error)(f"{parameter}={str(error).replace(f'/{_PROBE}', '', 1)}") from error


def partial_beside(path: Path) -> Path:
    """A hidden path beside this one, for a file that is not complete yet."""
    return path.parent / f".{path.name[:100]}.{uuid.uuid4().hex}.partial"


def version_of(info: Mapping[str, Any]) -> str:
    """The version of an object: a new one with every write; a listing has the same as a single request."""
    name = next((name for name in (*_VERSIONS, *_TIMES) if info.get(name)), "")
    return f"{info['size']} {str(info.get(name, '')).strip(chr(34))}"


def written_at(info: Mapping[str, Any]) -> int:
    """When the object was written, in nanoseconds; 0 if the storage does not say."""
    told = next((info[name] for name in _TIMES if info.get(name)), 0)
    if isinstance(told, str):
        told = datetime.fromisoformat(told)
    return int(told.timestamp() if isinstance(told, datetime) else told) * 1_000_000_000


def _mirror_for(protocol: str) -> Mirror:
    """The mirror of a storage; the same bucket name on another server is another place."""
    options = _storage.credentials.get(protocol) or _storage.credentials.get(_ALL) or {}
    server = _server(options)
    digest = f"-{hashlib.sha256(server.encode()).hexdigest()[:8]}" if server else ""
    root = _storage.cache.absolute() / "mirrors" / f"{protocol}{digest}"
    known = _storage.mirrors.get(root)
    if known is None or known.options != options:
        known = _storage.mirrors[root] = Mirror(protocol, root, options)
    return known


def _server(options: Mapping[str, Any]) -> str:
    named = [options.get("endpoint_url"), (options.get("client_kwargs") or {}).get("endpoint_url")]
    named += [options.get("account_name"), os.environ.get("AWS_ENDPOINT_URL_S3"), os.environ.get("AWS_ENDPOINT_URL")]
    return str(next(filter(None, named), ""))


def _check_writes(mirror: Mirror, path: Path) -> None:
    probe = path / _PROBE
    mirror.write(probe, b"")
    mirror.remove(probe)


def _note_of(path: Path) -> Path:
    return path.parent / f".{path.name}.remote"


def _matches(relative: Path, pattern: str, depth: int) -> bool:
    return len(relative.parts) == depth and PurePosixPath(relative.as_posix()).match(pattern)


def _told(url: str, protocol: str, error: Exception) -> InputError | MachineError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, ImportError):
        extra = _EXTRAS.get(protocol)
        way_out = f"`pip install 'topwork[{extra}]'`" if extra else "install its package for fsspec"
        return InputError(f"{url}: a package for {protocol}:// is missing ({lines[0]}): {way_out}.")
    if isinstance(error, ValueError) and "rotocol not known" in lines[0]:
        return InputError(f"{url}: no storage of this kind is known; known are s3://, gs:// and az://.")
    if isinstance(error, PermissionError) or "redential" in f"{type(error).__name__} {lines[0]}":
        return InputError(
            f"{url}: refused, or no credentials found ({lines[0]}). Give them in conf/local/credentials.yml "
            "(`storage: {key: …, secret: …}`), or in the environment (such as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY)."
        )
    return MachineError(
        f"{url}: the storage does not answer as it should ({lines[0]}). What was finished is kept; when it works, "
        "the same command goes on."
    )
