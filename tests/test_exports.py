"""The public names: sorted, documented, and guarded against the wrong multipart package."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types
from typing import TYPE_CHECKING

import pytest

import asyncrad69.jobs
import asyncrad69.testing
from asyncrad69 import Rad69Error, _errors, _multipart

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

CLASSES = [name for name in asyncrad69.__all__ if inspect.isclass(getattr(asyncrad69, name))]


def test_all_is_sorted_and_there() -> None:
    """Every name of __all__ exists, once, constants first, in the linter's order."""
    names = asyncrad69.__all__
    constants = [name for name in names if name.isupper()]
    classes = [name for name in names if name[0].isupper() and not name.isupper()]
    others = [name for name in names if not name[0].isupper()]
    assert names == [*sorted(constants), *sorted(classes), *sorted(others)]
    assert len(set(names)) == len(names)
    assert all(hasattr(asyncrad69, name) for name in names)


@pytest.mark.parametrize("name", CLASSES)
def test_public_classes_are_documented(name: str) -> None:
    """A public class and each of its public methods and properties says what it is for."""
    cls = getattr(asyncrad69, name)
    assert cls.__doc__
    # A dataclass without a docstring gets its signature for one.
    assert not cls.__doc__.startswith(f"{name}(")
    for member, value in vars(cls).items():
        if not member.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


@pytest.mark.parametrize("name", [name for name in asyncrad69.__all__ if name.startswith("references_")])
def test_public_functions_are_documented(name: str) -> None:
    """A public function says what it does."""
    assert inspect.getdoc(getattr(asyncrad69, name))


def test_every_error_is_public_and_in_the_tree() -> None:
    """No error that can be raised is private, and the module's picture has each but the leaves of RegistryError."""
    for name, cls in vars(_errors).items():
        if inspect.isclass(cls) and issubclass(cls, Rad69Error):
            assert name in asyncrad69.__all__
            if not issubclass(cls, _errors.RegistryError) and cls is not _errors.ExistingFileError:
                assert name in (_errors.__doc__ or "")


def test_the_client_is_imported_when_it_is_named() -> None:
    """Errors and references do without httpx and pydicom; the client brings all of a request's dependencies at once."""
    code = (
        "import sys, asyncrad69, asyncrad69.jobs, asyncrad69.testing\n"
        "heavy = {'anyio', 'httpx', 'multipart', 'pydicom'}\n"
        "print(*sorted(heavy & set(sys.modules)))\nasyncrad69.AsyncRad69\nprint(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\nanyio httpx multipart pydicom\n"


@pytest.mark.parametrize("package", [asyncrad69, asyncrad69.jobs, asyncrad69.testing], ids=lambda each: each.__name__)
def test_names_that_are_imported_later(package: ModuleType) -> None:
    """They are listed before they are imported, are found as one and the same thing, and no other name is."""
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is getattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'AsyncRad70'"):
        _ = package.AsyncRad70


@pytest.mark.parametrize(
    "use", ["from asyncrad69 import AsyncRad69", "import asyncrad69; asyncrad69.Rad69('http://h/')"]
)
def test_the_wrong_multipart_is_named(use: str, tmp_path: Path) -> None:
    """An old python-multipart in the way is an ImportError that says what to do."""
    (tmp_path / "multipart.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {use}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: 'multipart' is not the package asyncrad69 needs" in done.stderr
    assert "pip install --force-reinstall multipart" in done.stderr


def test_the_right_multipart_has_a_parser_to_push_to() -> None:
    """It is known by what we use of it."""
    _multipart._require_push_parser(types.SimpleNamespace(PushMultipartParser=object))
    with pytest.raises(ImportError, match="another of that name"):
        _multipart._require_push_parser(types.SimpleNamespace())
