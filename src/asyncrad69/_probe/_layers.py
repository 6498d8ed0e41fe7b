"""The layers, what was found of each, and whose an error is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from asyncrad69._errors import (
    AuthenticationError,
    ConnectionFailed,
    HTTPStatusRefused,
    MultipartError,
    Rad69Error,
    SoapFault,
    TLSError,
    TransferTimeout,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

LayerName: TypeAlias = Literal[
    "dns", "tcp", "tls", "http", "auth", "soap", "mtom", "addressing", "rad69", "repository", "instance"
]
#: From the ground up: none works without those before it.
LAYERS: Final[tuple[LayerName, ...]] = get_args(LayerName)

State: TypeAlias = Literal["works", "fails", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """
    One layer.

    Attributes:
        name: Which one.
        state: ``"unknown"`` where the question did not get so far, or cannot tell.
        says: What was found, without UIDs but those of the standards.
        hint: What to do about it; empty where there is nothing to do.
        error: Why it fails, where that is an error of ours.
    """

    name: LayerName
    state: State
    says: str
    hint: str = ""
    error: Rad69Error | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """
    What a probe found.

    Attributes:
        origin: The URL's scheme, host and port.
        layers: All of them, in the order of `LAYERS`.
    """

    origin: str
    layers: tuple[Layer, ...]

    @property
    def failure(self) -> Layer | None:
        """The first layer that fails; ``None`` where none does."""
        return next((layer for layer in self.layers if layer.state == "fails"), None)

    def __getitem__(self, name: LayerName) -> Layer:
        return self.layers[LAYERS.index(name)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "origin": self.origin,
            "works": self.failure is None,
            "failure": self.failure.name if self.failure else None,
            "layers": [_layer_dict(layer) for layer in self.layers],
        }

    def __str__(self) -> str:
        return "\n".join(line for layer in self.layers for line in _lines(layer))


def _layer_dict(layer: Layer) -> dict[str, Any]:
    error = {"error": type(layer.error).__name__} if layer.error else {}
    hint = {"hint": layer.hint} if layer.hint else {}
    return {"name": layer.name, "state": layer.state, "says": layer.says, **hint, **error}


def _lines(layer: Layer) -> Iterator[str]:
    yield f"{layer.name:<12}{layer.state:<9}{layer.says}"
    if layer.hint:
        yield f"{'':21}{layer.hint}"


class Findings:
    """The layers, as they become known."""

    def __init__(self) -> None:
        self._layers: dict[LayerName, Layer] = {}

    def works(self, name: LayerName, says: str, hint: str = "") -> None:
        """A layer does what it should."""
        self._layers[name] = Layer(name=name, state="works", says=says, hint=hint)

    def unknown(self, name: LayerName, says: str, hint: str = "") -> None:
        """Nothing can be said of a layer, and why."""
        self._layers[name] = Layer(name=name, state="unknown", says=says, hint=hint)

    def fails(self, name: LayerName, says: str, hint: str = "", error: Rad69Error | None = None) -> None:
        """A layer does not do what it should."""
        self._layers[name] = Layer(name=name, state="fails", says=says, hint=hint, error=error)

    def failed(self, error: Rad69Error) -> None:
        """An error ended the question: in the layer that it is about."""
        name: LayerName = "dns" if not self._layers else _layer_of(error)
        if name in {"tls", "http"} and "tcp" not in self._layers:
            self.works("tcp", "connected")
        self.fails(name, error.message, error.hint or _HINTS.get(name, ""), error)

    def all(self) -> tuple[Layer, ...]:
        """Every layer, those that were not reached included."""
        return tuple(self._layers.get(name) or Layer(name=name, state="unknown", says="not reached") for name in LAYERS)


# The first that fits, so the most specific first.
_LAYER_OF: Final[tuple[tuple[type[Rad69Error], LayerName], ...]] = (
    (TLSError, "tls"),
    (ConnectionFailed, "tcp"),
    (TransportError, "http"),
    (AuthenticationError, "auth"),
    (HTTPStatusRefused, "http"),
    (SoapFault, "rad69"),
    (MultipartError, "mtom"),
)

_HINTS: Final[dict[LayerName, str]] = {
    "tcp": "Check the host, the port, and the firewall.",
    "http": "Check the URL's path, and what its operator's log says.",
    "auth": "Ask the source's operator which credentials or assertion it wants.",
    "soap": "Check the URL's path: it is the RAD-69 endpoint itself.",
    "rad69": "It speaks SOAP, but refuses this: check the URL's path, and ask its operator what it expects.",
}


def _layer_of(error: Rad69Error) -> LayerName:
    if isinstance(error, TransferTimeout) and error.phase == "connect":
        return "tcp"
    if isinstance(error, SoapFault) and error.refuses_us:
        return "auth"
    return next((name for kind, name in _LAYER_OF if isinstance(error, kind)), "soap")
