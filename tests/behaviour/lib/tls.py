"""Certificates made at test time by the `openssl` program, and clients that speak TLS."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lib import deadline
from lib.client import RawClient


def openssl(*arguments: object, data: bytes = b"") -> bytes:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], input=data, capture_output=True, timeout=deadline.DEFAULT * 4, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass
class Identity:
    """The files of a certificate and its key, in PEM."""

    cert: Path
    key: Path

    @property
    def files(self) -> dict[str, str]:
        return {"cert": str(self.cert), "key": str(self.key)}

    @property
    def serial(self) -> str:
        return openssl("x509", "-in", self.cert, "-noout", "-serial").decode().strip().split("=")[1]


class Authority:
    """A certificate authority of one test."""

    def __init__(self, directory: Path, name: str = "ca"):
        self.directory = directory
        self.cert = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"
        self._made = 0
        self._name = name
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-keyout", self.key, "-out", self.cert, "-subj", f"/CN={name}",
        )  # fmt: skip

    def issue(self, *names: str, rsa: bool = False, days: int = 1, subject: str = "/CN=a test") -> Identity:
        """A certificate for these names ("DNS:a.test", "IP:127.0.0.1"); `days` below 0: it has expired."""
        self._made += 1
        stem = self.directory / f"{self._name}-{self._made}"
        made = Identity(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        request = openssl("req", "-newkey", *kind, "-nodes", "-keyout", made.key, "-subj", subject)
        extensions = stem.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={','.join(names)}\n" if names else "\n")
        openssl(
            "x509", "-req", "-CA", self.cert, "-CAkey", self.key, "-days", days, "-extfile", extensions,
            "-set_serial", f"0x{abs(hash((str(stem), self._made))) or 1:x}", "-out", made.cert, data=request,
        )  # fmt: skip
        made.key.chmod(0o600)
        return made

    def crl(self, *revoked: Identity) -> Path:
        """A list of revoked certificates, valid for a day; each call writes the same file anew."""
        index = self.directory / f"{self._name}-revoked.txt"
        index.write_text(
            "".join(f"R\t491231235959Z\t200101000000Z\t{each.serial}\tunknown\t/CN=a test\n" for each in revoked)
        )
        settings = self.directory / f"{self._name}-revoked.cnf"
        settings.write_text(f"[ca]\ndefault_ca = this\n[this]\ndatabase = {index}\ndefault_md = sha256\n")
        made = self.directory / f"{self._name}.crl"
        fresh = made.with_suffix(".fresh")
        openssl("ca", "-config", settings, "-gencrl", "-crldays", 1, "-cert", self.cert, "-keyfile", self.key,
                "-out", fresh)  # fmt: skip
        fresh.rename(made)
        return made

    def ocsp(self, identity: Identity) -> Path:
        """A good OCSP response about the certificate, valid for a day."""
        serial = identity.serial
        index = self.directory / "index.txt"
        index.write_text(f"V\t491231235959Z\t\t{serial}\tunknown\t/CN=a test\n")
        request = self.directory / f"{serial}.req"
        response = self.directory / f"{serial}.der"
        openssl("ocsp", "-issuer", self.cert, "-cert", identity.cert, "-no_nonce", "-reqout", request)
        openssl(
            "ocsp", "-index", index, "-rsigner", self.cert, "-rkey", self.key, "-CA", self.cert,
            "-reqin", request, "-respout", response, "-ndays", "1",
        )  # fmt: skip
        return response


def context(
    authority: Authority | None,
    *,
    identity: Identity | None = None,
    version: ssl.TLSVersion | None = None,
    alpn: list[str] | None = None,
    ciphers: str | None = None,
) -> ssl.SSLContext:
    """What a client trusts and offers; without an authority it trusts everybody."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        made.load_verify_locations(authority.cert)
    if identity is not None:
        made.load_cert_chain(identity.cert, identity.key)
    if version is not None:
        made.minimum_version = made.maximum_version = version
    if alpn is not None:
        made.set_alpn_protocols(alpn)
    if ciphers is not None:
        made.set_ciphers(ciphers)
    return made


def handshake_seconds(identity: Identity) -> float:
    """What a full handshake costs a server with this certificate on this machine: the CPU time of its one expensive step."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(identity.cert, identity.key)
    asking = context(None)

    def step() -> float:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = asking.wrap_bio(to_client, to_server)
        server = served.wrap_bio(to_server, to_client, server_side=True)
        for end in (client, server):
            begun = time.thread_time()
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
        return time.thread_time() - begun

    return min(step() for _ in range(20))


class TlsClient(RawClient):
    """A RawClient inside TLS. The constructor does the handshake and raises what ssl raises."""

    socket: ssl.SSLSocket

    def __init__(
        self,
        address: tuple[str, int],
        tls: ssl.SSLContext,
        name: str | None = "a.test",
        session: ssl.SSLSession | None = None,
        timeout: float = deadline.DEFAULT,
    ):
        super().__init__(address, timeout)
        try:
            self.socket = tls.wrap_socket(self.socket, server_hostname=name, session=session)
        except BaseException:
            self.socket.close()
            raise

    @property
    def certificate_names(self) -> set[str]:
        return {value for kind, value in self.socket.getpeercert().get("subjectAltName", ())}

    @property
    def serial(self) -> str:
        return self.socket.getpeercert()["serialNumber"]


def s_client(address: tuple[str, int], *options: str, data: bytes = b"") -> str:
    """What `openssl s_client` says about a connection; `data` is sent, and its end ends the connection."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{address[0]}:{address[1]}", *options],
        input=data,
        capture_output=True,
        timeout=deadline.DEFAULT * 4,
        check=False,
    )
    return (done.stdout + done.stderr).decode("latin-1")


def shown_subject(output: str) -> str:
    found = re.search(r"^subject=(.*)$", output, re.MULTILINE)
    return found[1].strip() if found else ""


def plain_socket(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=deadline.DEFAULT)
