"""What is set on a socket once it is connected."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import httpcore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SocketOption = httpcore.SOCKET_OPTION


def _keep_alive() -> Iterator[SocketOption]:
    yield (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # macOS has a name of its own for the first.
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            yield (socket.IPPROTO_TCP, getattr(socket, name), value)


#: A probe a minute. A source may say nothing for as long as it takes to fetch a tape: firewalls forget a connection
#: that is silent for some minutes, and nobody tells the client of a source that is gone.
KEEP_ALIVE: Final[tuple[SocketOption, ...]] = tuple(_keep_alive())


def check_socket_options(options: Iterable[SocketOption]) -> None:
    """
    Raises:
        ValueError: The operating system knows no such option, or not with this value.
    """
    with socket.socket() as trial:
        for option in options:
            try:
                if option[0] != socket.IPPROTO_IPV6:  # for a socket of the other kind
                    trial.setsockopt(*option)
            except (OSError, TypeError, IndexError):
                raise ValueError(
                    "socket_options are what socket.setsockopt takes, as in (SOL_SOCKET, SO_RCVBUF, 1 << 20); "
                    f"not {option!r}"
                ) from None
