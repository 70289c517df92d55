"""The look at the network before weights are fetched: one clear error, and soon, where it does not answer."""

import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from limelight.errors import WeightsUnavailable


def require_host(url: str, what: str, cache: str, patience: float = 3.0) -> None:
    """Return if the host of an address answers; else say once, and soon, what works without a network.

    Args:
        url: where the weights are.
        what: the model, as the message calls it.
        cache: where a copy of the weights would be found.
        patience: seconds to wait.

    Raises:
        WeightsUnavailable: the host cannot be reached.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    where = (parts.hostname or "", parts.port or 443)
    answered = threading.Event()

    def knock() -> None:
        try:
            socket.create_connection(where, timeout=patience).close()
            answered.set()
        except OSError:
            pass

    # In a thread, because looking up a name ignores the timeout of the connection.
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(patience)
    if not answered.is_set():
        raise WeightsUnavailable(say_offline(what, f"{where[0]} cannot be reached", cache))


def say_offline(what: str, problem: str, cache: str) -> str:
    """Word the one message about weights that are not here."""
    return (
        f"the weights of {what} are not on this machine and {problem}; without a network: "
        f"put them at {cache}, give weights=PATH to a file, or weights=None for random ones "
        "(demo/resnet and its siblings come with theirs)"
    )
