"""Who follows long work on a partition: it is told how far the work is, and may end it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Follower = Callable[[int, int], None]
"""Called with what is done and what there is to do, of faces or regions; may raise to end the work."""

_FOLLOWER: ContextVar[Follower | None] = ContextVar("follower", default=None)


@contextmanager
def followed_by(follower: Follower) -> Iterator[None]:
    """Have `follower` told, chunk by chunk, of this thread's work on all regions of a partition.

    An enumeration counts the faces of each stage anew, and tells of them from any of its threads. What the follower
    raises ends the work and is raised where that was asked for; nothing half done is kept.
    """
    token = _FOLLOWER.set(follower)
    try:
        yield
    finally:
        _FOLLOWER.reset(token)


def current_follower() -> Follower | None:
    """Who follows this thread's work."""
    return _FOLLOWER.get()


def tell(done: int, total: int) -> None:
    """Tell whoever follows this thread's work how far it is."""
    follower = _FOLLOWER.get()
    if follower is not None:
        follower(done, total)
