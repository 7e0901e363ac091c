"""What an operator should know before the first client comes."""

from __future__ import annotations

from .http_settings import HttpSettings, is_local
from .logs import log
from .settings import ServerSettings


def warn(settings: ServerSettings, http: HttpSettings) -> None:
    """Say what is open to others."""
    for line in dangers(settings, http):
        log.warning("%s", line)


def dangers(settings: ServerSettings, http: HttpSettings) -> list[str]:
    """One sentence for each."""
    public = [host for host in http.hosts if not is_local(host)]
    if not public:
        return []
    where = ", ".join(public)
    found = []
    if not settings.api_keys:
        found.append(
            f"WARNING: anybody who reaches {where} can use this server: it asks for no key. "
            "Give one with --api-key, or listen on 127.0.0.1"
        )
    if settings.api_keys and not http.ssl_cert_file:
        found.append(
            f"WARNING: keys and prompts travel in the clear to {where}: give --ssl-cert-file and "
            "--ssl-key-file, or put a proxy with TLS before it"
        )
    return found
