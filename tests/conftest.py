"""What all tests share: no network, few threads, and skips that are honest."""

import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

# The tools that build the course live beside its text, not in the package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "book"))

REQUIRE_ALL = os.environ.get("REQUIRE_ALL", "") not in ("", "0")


def need(condition: object, reason: str) -> None:
    """Skip the test with `reason` unless `condition` holds.

    With REQUIRE_ALL=1 it fails instead: where everything was installed for
    the tests, a missing tool must not pass as a skip.
    """
    if condition:
        return
    if REQUIRE_ALL:
        pytest.fail(f"REQUIRE_ALL is set, but: {reason}", pytrace=False)
    pytest.skip(reason)


class NetworkBlockedError(RuntimeError):
    """A test tried to leave this machine."""


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):  # a Unix socket
        return True
    if address[0] in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:  # a name: looking it up would use the network already
        return False


def _guarded(real: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        if not _is_local(address):
            raise NetworkBlockedError(f"tests use no network: {address!r}")
        return real(self, address)

    return connect


def pytest_configure(config: pytest.Config) -> None:
    """Block the network, choose the interpreter, keep workers to a thread."""
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["MINIDIFF_ANSWERS"] = ""  # nobody's kept answers
    try:
        import torch
    except ImportError:
        return
    if not torch.cuda.is_available():
        # Read where a kernel is defined, so set before anything imports one.
        os.environ["TRITON_INTERPRET"] = "1"
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


@pytest.fixture
def poisoned():
    """Make every new, unwritten tensor hold NaN."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)
