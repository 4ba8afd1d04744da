"""Where the chunks of a run are worked: in this process, in a pool of processes, or on a Dask cluster.

All are :class:`concurrent.futures.Executor`, so a run does not know which one it has.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from protocols.errors import UnavailableError, UsageError

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
WORKERS_MAX = 256
AHEAD = 2  # chunks handed out per worker: memory stays bounded however many there are


class InProcess(Executor):
    """Works each call at once, where it is handed in."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Call ``fn`` now; the future is done when this returns."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def executor_of(workers: int, dask: str | None) -> Iterator[Executor]:
    """Give the executor for ``workers`` processes (1: this one), or the Dask cluster at the address ``dask``."""
    if dask is not None:
        with _dask(dask) as executor:
            yield executor
    elif workers == 1:
        yield InProcess()
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        client_of = import_module("distributed").Client
    except ImportError as error:
        raise UsageError("--dask: Dask is not installed; pip install 'congto[dask]', or use --workers") from error
    try:
        client: Any = client_of(address, timeout="10s")
    except OSError as error:
        raise UnavailableError(f"--dask {address}: no scheduler answers there ({error}); start one first") from error
    with client:
        yield client.get_executor(pure=False)


def in_order(executor: Executor, call: Callable[[T], R], items: Iterable[T], *, ahead: int) -> Iterator[R]:
    """Yield what ``call`` makes of each item, in order, with at most ``ahead`` handed out at a time."""
    waiting: list[Future[R]] = []
    try:
        for item in items:
            waiting.append(executor.submit(call, item))
            if len(waiting) >= ahead:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()
