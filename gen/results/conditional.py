"""Puts on an object store that happen only while a file is what its writer last saw there (If-Match, If-None-Match).

pyarrow has no such put, so these go through obstore, which finds the same store, with the same keys: those of the URI
or of the environment, or those that boto3 finds where it is installed (a profile's, an instance's), or else obstore
itself (an instance's).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Tag = dict[str, Any]
"""What a store calls the present content of a file, which another content is not called."""

LARGEST = 5 << 30  # bytes that a store takes in one request
TRIES = 20  # of a put that others overtake, at most
KEPT = 64  # tags of files that this process wrote last
GIVE_UP = timedelta(seconds=10)  # of retries
UPLOAD = timedelta(minutes=10)  # for one request, with its bytes


class ChangedError(Exception):
    """A file is not what it was expected to be; nothing was put."""


class Conditional:
    """An object store's folder, seen through its conditional puts. `place` is the URI, `region` that of the bucket,
    `root` bucket and prefix. ValueError, one line, where they cannot be had; OSError if the store does not answer."""

    def __init__(self, place: str, region: str, root: str) -> None:
        self.store = open_store(place, region, root)
        self._tags = dict[str, Tag]()

    def look(self, path: str) -> Tag | None:
        """The tag of a file; None if it is not there."""
        import obstore

        with translating():
            try:
                return tag_of(obstore.head(self.store, path))
            except FileNotFoundError:
                return None

    def get(self, path: str) -> tuple[bytes, Tag] | None:
        """The content of a file, and its tag; None if it is not there."""
        import obstore

        with translating():
            try:
                found = obstore.get(self.store, path)
                return bytes(found.bytes()), tag_of(found.meta)
            except FileNotFoundError:
                return None

    def tail(self, path: str, count: int) -> bytes | None:
        """The last bytes of a file, `count` of them or all; None if it is not there."""
        import obstore

        with translating():
            try:
                return bytes(obstore.get(self.store, path, options={"range": {"suffix": count}}).bytes())
            except FileNotFoundError:
                return None

    def put_if(self, path: str, data: bytes, expected: Tag | None) -> Tag:
        """Makes `data` the content of a file that has the tag `expected`, or that is not there (None); gives its new
        tag. ChangedError, and nothing is put, if it is otherwise."""
        import obstore

        with translating():
            return tag_of(obstore.put(self.store, path, data, mode="create" if expected is None else expected))  # type: ignore[arg-type]

    def put(self, path: str, data: bytes, blank: Callable[[], bytes] | None, check: Callable[[], None]) -> None:
        """Makes `data` the content of a file, unless that changes after `check`, which is called between a look at the
        file and the put. `blank` gives what to put first where there is no file, so that there is one to look at."""
        for _ in range(TRIES):
            tag = self._tags.pop(path, None) or self._reserve(path, blank)
            check()
            try:
                tag = self.put_if(path, data, tag)
            except ChangedError:  # by whoever has the lease now, as the next check tells; by the last put of an earlier
                continue  # attempt; or by our own one, whose answer was lost
            while len(self._tags) >= KEPT:
                self._tags.pop(next(iter(self._tags)))
            self._tags[path] = tag
            return
        raise OSError(f"{path} is written by another process of the same attempt")

    def _reserve(self, path: str, blank: Callable[[], bytes] | None) -> Tag | None:
        while blank is not None:
            with suppress(ChangedError):
                return self.put_if(path, blank(), None)
            tag = self.look(path)
            if tag is not None:
                return tag
        return self.look(path)

    def change(self, path: str, other: Callable[[bytes], bytes | None]) -> bool:
        """Puts `other(content)` in the place of a file's content, whatever that is by then: puts that others have under
        way fail from now on. False if there is no file, or no such content (None)."""
        for _ in range(TRIES):
            found = self.get(path)
            data = None if found is None else other(found[0])
            if found is None or data is None:
                return False
            with suppress(ChangedError):
                self.put_if(path, data, found[1])
                return True
        raise OSError(f"{path} changes all the time")

    def try_out(self, path: str, read: Callable[[str], bytes | None]) -> None:
        """ValueError, one line, unless the store keeps to conditions, and is the one in which `read` finds its files.
        `path` is of a file that nobody else uses, and that is gone then."""
        import obstore

        try:
            tag = self.put_if(path, b"one", None)
            if read(path) != b"one":
                raise ValueError("obstore finds another store under this URI than pyarrow does")
            for expected in (None, {**tag, "e_tag": f'"{"0" * 32}"'}):
                with suppress(ChangedError):
                    self.put_if(path, b"two", expected)
                    raise ValueError("it puts whatever the condition says")
            try:
                self.put_if(path, b"three", tag)
            except ChangedError:
                raise ValueError("it takes no condition on a file's tag") from None
        except OSError as error:
            raise ValueError((str(error).splitlines() or [type(error).__name__])[0]) from None
        finally:
            with suppress(OSError), translating():
                obstore.delete(self.store, path)


def tag_of(answer: Any) -> Tag:
    """The tag in an answer of the store's."""
    return {key: answer[key] for key in ("e_tag", "version") if answer[key] is not None}


@contextmanager
def translating() -> Iterator[None]:
    """Turns obstore's errors into ChangedError and OSError."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.PreconditionError, exceptions.AlreadyExistsError) as error:
        raise ChangedError(str(error)) from None
    except exceptions.BaseError as error:
        raise OSError(str(error).partition("\n")[0]) from None


def open_store(place: str, region: str, root: str) -> Any:
    """obstore's view of what pyarrow finds at a URI. ValueError where there is none."""
    if not place.lower().startswith("s3://"):
        raise ValueError(f"{place.partition('://')[0]}:// has none here")
    try:
        from obstore.store import S3Store
    except ImportError:
        raise ValueError("obstore is not installed") from None
    parts = urlsplit(place)
    asked, (bucket, _, prefix) = dict(parse_qsl(parts.query)), root.partition("/")
    config: dict[str, Any] = {"region": region}
    if address := asked.get("endpoint_override"):
        config["endpoint"] = address if "://" in address else f"{asked.get('scheme', 'https')}://{address}"
        config["aws_endpoint_url_s3"] = config["endpoint"]  # the environment may name another one
        config["virtual_hosted_style_request"] = asked.get("force_virtual_addressing") == "true"
    if parts.username:
        config |= {"access_key_id": unquote(parts.username), "secret_access_key": unquote(parts.password or "")}
    elif "AWS_ACCESS_KEY_ID" not in os.environ:
        with suppress(ImportError, ValueError):  # not installed, or without keys
            from obstore.auth.boto3 import Boto3CredentialProvider

            config["credential_provider"] = Boto3CredentialProvider()
    retry: Any = {"max_retries": 10, "retry_timeout": GIVE_UP}
    options: Any = {"allow_http": True, "timeout": UPLOAD}
    return S3Store(bucket, prefix=prefix or None, retry_config=retry, client_options=options, **config)
