# SPDX-License-Identifier: Apache-2.0
"""The certificate that the API shows, and its key."""

import os
from typing import TYPE_CHECKING

from fastlb.errors import ConfigError

if TYPE_CHECKING:
    import ssl


class Certificate:
    """Two PEM files, read when this is made and on `reload()`.

    certificate: the certificates between it and the root may follow it in the file. key: without a passphrase.
    Raises ConfigError for files that do not do.
    """

    def __init__(self, certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
        self._certificate = os.fspath(certificate)
        self._key = os.fspath(key)
        self.context = self._load()

    def reload(self) -> None:
        """Connections from now on get what is in the files now. Raises ConfigError; then nothing has changed."""
        self._load()  # into a context of its own first: what is wrong must not spoil the one in use
        self.context.load_cert_chain(self._certificate, self._key, _no_passphrase)

    def _load(self) -> "ssl.SSLContext":
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._certificate, self._key, _no_passphrase)
        except OSError as error:
            raise ConfigError(
                "tls",
                f"{self._certificate}, {self._key}",
                f"must be a certificate and its key, PEM, without a passphrase: {error.strerror or error}",
            ) from None
        return context


def _no_passphrase() -> str:
    # Asked for when the key has one; without this function OpenSSL would ask at the terminal.
    return ""
