"""TLS towards clients: certificates by name, versions, resumption, client certificates, stapling, reloading, bad peers."""

from __future__ import annotations

import os
import shutil
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.origin import Origin
from lib.tls import Authority, Identity, TlsClient, context, plain_socket, s_client

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
NAMES = ("DNS:a.test", "DNS:localhost", "IP:127.0.0.1")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls_config(origin: Origin, *identities: Identity, server: dict | None = None, **tls: object) -> dict:
    config = simple_config(origin.url, server={"bind": None, **(server or {})})
    certificates = [identity.files for identity in identities]
    config["server"]["listener"] = [  # type: ignore[index]
        {"name": "secure", "bind": "127.0.0.1:0", "tls": {**tls, "certificates": certificates}}
    ]
    return config


def failures(dao: Dao, reason: str) -> float:
    return dao.metrics().value("dao_tls_handshake_failures_total", reason=reason)


def wait_failure(dao: Dao, reason: str, count: float = 1) -> None:
    deadline.wait_until(lambda: failures(dao, reason) >= count, f"a handshake to fail by {reason}")


def test_requests_pass_and_the_backend_hears_of_https(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    with TlsClient(dao.address, context(authority)) as client:
        assert client.socket.version() == "TLSv1.3"
        for _ in range(3):
            assert client.exchange(GET).status == 200
    request = origin.wait_requests(3)[0]
    assert request.values("x-forwarded-proto") == ["https"]
    assert "proto=https" in request.values("forwarded")[0]


def test_the_short_form_in_server(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    identity = authority.issue(*NAMES)
    dao = start_dao(
        simple_config(origin.url, server={"tls_cert": str(identity.cert), "tls_key": str(identity.key)})
    )
    with TlsClient(dao.address, context(authority)) as client:
        assert client.exchange(GET).status == 200


def test_large_bodies_pass_both_ways(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    body = os.urandom(3_000_000)
    origin.default = (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with TlsClient(dao.address, context(authority, version=version)) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body), body)
            assert client.response("POST", timeout=deadline.DEFAULT * 4).body == body
    assert [request.body == body for request in origin.wait_requests(2)] == [True, True]


def test_the_last_answer_ends_with_a_goodbye(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    with TlsClient(dao.address, context(authority)) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        assert client.response().status == 200
        client.expect_closed()  # Python raises SSLEOFError at an end without close_notify


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a.test", "DNS:a.test"),
        ("A.Test", "DNS:a.test"),
        ("b.test", "DNS:b.test"),
        ("x.wild.test", "DNS:*.wild.test"),
        ("exact.wild.test", "DNS:exact.wild.test"),
        ("y.x.wild.test", "DNS:a.test"),
        ("wild.test", "DNS:a.test"),
        ("unknown.test", "DNS:a.test"),
        (None, "DNS:a.test"),
    ],
)
def test_certificate_by_name(
    start_dao: Callable, origin: Origin, authority: Authority, asked: str | None, shown: str
) -> None:
    names = ("DNS:a.test", "DNS:b.test", "DNS:*.wild.test", "DNS:exact.wild.test")
    dao = start_dao(tls_config(origin, *(authority.issue(name) for name in names)))
    tls = context(authority)
    tls.check_hostname = False
    with TlsClient(dao.address, tls, name=asked) as client:
        assert client.certificate_names == {shown.split(":")[1]}


def test_rsa_and_ecdsa_for_one_name(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    ecdsa = authority.issue("DNS:a.test")
    rsa = authority.issue("DNS:a.test", rsa=True)
    dao = start_dao(tls_config(origin, ecdsa, rsa))
    for ciphers, identity in (("ECDHE-ECDSA-AES128-GCM-SHA256", ecdsa), ("ECDHE-RSA-AES128-GCM-SHA256", rsa)):
        tls = context(authority, version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)
        with TlsClient(dao.address, tls) as client:
            assert int(client.serial, 16) == int(identity.serial, 16)


@pytest.mark.parametrize(
    ("least", "most", "spoken"),
    [("1.2", "1.2", "TLSv1.2"), ("1.3", "1.3", "TLSv1.3"), ("1.2", "1.3", "TLSv1.3")],
)
def test_versions(
    start_dao: Callable, origin: Origin, authority: Authority, least: str, most: str, spoken: str
) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES), min_version=least, max_version=most))
    with TlsClient(dao.address, context(authority)) as client:
        assert client.socket.version() == spoken
    for version, allowed in ((ssl.TLSVersion.TLSv1_2, least == "1.2"), (ssl.TLSVersion.TLSv1_3, most == "1.3")):
        if allowed:
            TlsClient(dao.address, context(authority, version=version)).close()
        else:
            with pytest.raises(ssl.SSLError):
                TlsClient(dao.address, context(authority, version=version))


def test_tls_1_1_is_not_spoken(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    output = s_client(dao.address, "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0")
    assert "alert protocol version" in output
    wait_failure(dao, "tls_protocol")


def test_http_2_by_alpn(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    with TlsClient(dao.address, context(authority, alpn=["http/1.1", "h2"])) as client:
        assert client.socket.selected_alpn_protocol() == "h2"
        settings = bytes.fromhex("000000040000000000")
        # :method GET, :scheme https, :path /, and :authority as a literal (RFC 7541)
        fields = bytes([0x82, 0x87, 0x84, 0x41, 6]) + b"a.test"
        head = len(fields).to_bytes(3, "big") + bytes([1, 5, 0, 0, 0, 1]) + fields
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + head)
        request = origin.wait_requests(1)[0]
        assert request.values("x-forwarded-proto") == ["https"]
        assert request.values("host") == ["a.test"]


def test_http_1_1_by_alpn(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    with TlsClient(dao.address, context(authority, alpn=["http/1.1"])) as client:
        assert client.socket.selected_alpn_protocol() == "http/1.1"
        assert client.exchange(GET).status == 200
    with pytest.raises(ssl.SSLError):
        TlsClient(dao.address, context(authority, alpn=["ftp"]))
    wait_failure(dao, "tls_protocol")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_by_every_worker(
    start_dao: Callable, origin: Origin, authority: Authority, version: ssl.TLSVersion
) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES), server={"workers": 2}))
    tls = context(authority, version=version)
    with TlsClient(dao.address, tls) as client:
        assert client.exchange(GET).status == 200  # tickets of TLS 1.3 have come with it
        session = client.socket.session
        assert not client.socket.session_reused
    for _ in range(8):
        with TlsClient(dao.address, tls, session=session) as client:
            assert client.socket.session_reused
            assert client.exchange(GET).status == 200
    metrics = dao.metrics()
    assert metrics.value("dao_tls_handshakes_total", resumed="no") == 1
    assert metrics.value("dao_tls_handshakes_total", resumed="yes") == 8


def test_a_resumed_session_brings_the_ticket_for_the_next(
    start_dao: Callable, origin: Origin, authority: Authority
) -> None:
    """Clients of TLS 1.3 use a ticket once (RFC 8446 appendix C.4)."""
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    tls = context(authority, version=ssl.TLSVersion.TLSv1_3)
    session = None
    seen = set()
    for number in range(4):
        with TlsClient(dao.address, tls, session=session) as client:
            assert client.exchange(GET).status == 200
            assert client.socket.session_reused == (number > 0)
            session = client.socket.session
            seen.add(session.id)
    assert len(seen) == 4


def test_without_tickets_nothing_is_resumed(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES), session_tickets=False))
    tls = context(authority, version=ssl.TLSVersion.TLSv1_2)
    with TlsClient(dao.address, tls) as client:
        session = client.socket.session
    with TlsClient(dao.address, tls, session=session) as client:
        assert not client.socket.session_reused


def test_ocsp_is_stapled(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    identity = authority.issue(*NAMES)
    config = tls_config(origin, identity)
    config["server"]["listener"][0]["tls"]["certificates"][0]["ocsp"] = str(authority.ocsp(identity))
    dao = start_dao(config)
    for version in ("-tls1_2", "-tls1_3"):
        output = s_client(dao.address, "-status", version)
        assert "OCSP Response Status: successful" in output
        assert "Cert Status: good" in output


def test_ocsp_about_another_certificate_is_refused(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    config = tls_config(origin, authority.issue(*NAMES))
    response = authority.ocsp(authority.issue("DNS:b.test"))
    config["server"]["listener"][0]["tls"]["certificates"][0]["ocsp"] = str(response)
    dao = start_dao(config, wait_ready=False)
    assert dao.wait_exit() == 1
    assert str(response) in dao.logs("cannot start")[0].fields["reason"]


# Client certificates ----------------------------------------------------------------------------------------------


def test_a_required_client_certificate(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    clients = Authority(authority.directory, "clients")
    dao = start_dao(
        tls_config(origin, authority.issue(*NAMES), client_auth="required", client_ca=str(clients.cert))
    )
    known = clients.issue(subject="/O=Test/CN=Alice, \u00e4 and co")
    with TlsClient(dao.address, context(authority, identity=known)) as client:
        answer = client.exchange(
            b"GET /known HTTP/1.1\r\nHost: a.test\r\nX-SSL-Client-Verify: NONE\r\nx-ssl-client-subject: CN=Root\r\n\r\n"
        )
        assert answer.status == 200
    request = origin.wait_requests(1)[0]
    assert request.values("x-ssl-client-verify") == ["SUCCESS"]
    subject = request.values("x-ssl-client-subject")
    assert len(subject) == 1 and subject[0].startswith("CN=Alice\\, ") and subject[0].endswith(",O=Test")
    assert subject[0].isascii()
    for identity in (None, authority.issue(subject="/CN=Mallory")):
        with pytest.raises((ssl.SSLError, ConnectionError)), TlsClient(
            dao.address, context(authority, identity=identity)
        ) as client:
            client.socket.sendall(GET)
            client.socket.recv(1)
    wait_failure(dao, "tls_certificate", 2)
    assert len(origin.requests) == 1


def test_a_revoked_client_certificate(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    """Refused from the moment that the list names it, with a session from before too; others come in."""
    clients = Authority(authority.directory, "clients")
    alice, bob = (clients.issue(subject=f"/CN={name}") for name in ("Alice", "Bob"))
    config = tls_config(
        origin,
        authority.issue(*NAMES),
        client_auth="required",
        client_ca=str(clients.cert),
        client_crl=str(clients.crl(bob)),
    )
    dao = start_dao(config)

    def refused(identity: Identity, version: ssl.TLSVersion, session: ssl.SSLSession | None = None) -> bool:
        try:
            with TlsClient(
                dao.address, context(authority, identity=identity, version=version), session=session
            ) as client:
                client.socket.sendall(GET)
                return not client.socket.recv(1)
        except (ssl.SSLError, ConnectionError):
            return True

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert refused(bob, version) and not refused(alice, version)
    tls = context(authority, identity=alice)
    with TlsClient(dao.address, tls) as client:
        assert client.exchange(GET).status == 200
        session = client.socket.session
    clients.crl(alice)
    dao.wait_log(lambda line: line.message == "certificate files read again")
    assert not refused(bob, ssl.TLSVersion.TLSv1_3)
    with pytest.raises((ssl.SSLError, ConnectionError)), TlsClient(dao.address, tls, session=session) as client:
        client.socket.sendall(GET)
        assert client.socket.recv(1) == b""
        raise ConnectionError


def test_a_list_of_revoked_certificates_that_is_none(
    start_dao: Callable, origin: Origin, authority: Authority
) -> None:
    config = tls_config(
        origin,
        authority.issue(*NAMES),
        client_auth="optional",
        client_ca=str(authority.cert),
        client_crl=str(authority.cert),
    )
    dao = start_dao(config, wait_ready=False)
    assert dao.wait_exit() == 1
    assert str(authority.cert) in dao.logs("cannot start")[0].fields["reason"]


def test_an_optional_client_certificate(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    clients = Authority(authority.directory, "clients")
    dao = start_dao(
        tls_config(origin, authority.issue(*NAMES), client_auth="optional", client_ca=str(clients.cert))
    )
    with TlsClient(dao.address, context(authority)) as client:
        assert client.exchange(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-SSL-Client-Verify: SUCCESS\r\n\r\n").status == 200
    assert origin.wait_requests(1)[0].values("x-ssl-client-verify") == ["NONE"]


def test_resumption_keeps_the_client_certificate(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    clients = Authority(authority.directory, "clients")
    dao = start_dao(
        tls_config(origin, authority.issue(*NAMES), client_auth="required", client_ca=str(clients.cert))
    )
    tls = context(authority, identity=clients.issue(subject="/CN=Alice"))
    with TlsClient(dao.address, tls) as client:
        assert client.exchange(GET).status == 200
        session = client.socket.session
    with TlsClient(dao.address, tls, session=session) as client:
        assert client.socket.session_reused
        assert client.exchange(GET).status == 200
    assert [r.values("x-ssl-client-subject") for r in origin.wait_requests(2)] == [["CN=Alice"], ["CN=Alice"]]


def test_another_host_than_the_one_let_in_for(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    clients = Authority(authority.directory, "clients")
    dao = start_dao(
        tls_config(origin, authority.issue(*NAMES), client_auth="optional", client_ca=str(clients.cert))
    )
    with TlsClient(dao.address, context(authority)) as client:
        assert client.exchange(b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").status == 421
    assert not origin.requests


def test_sessions_stay_with_their_listener(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    identity = authority.issue(*NAMES)
    config = tls_config(origin, identity)
    config["server"]["listener"].append(
        {
            "name": "strict",
            "bind": "127.0.0.1:0",
            "tls": {"client_auth": "required", "client_ca": str(authority.cert), "certificates": [identity.files]},
        }
    )
    dao = start_dao(config)
    easy, strict = dao.addresses
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        tls = context(authority, version=version)
        with TlsClient(easy, tls) as client:
            assert client.exchange(GET).status == 200
            session = client.socket.session
        with pytest.raises((ssl.SSLError, ConnectionError)), TlsClient(strict, tls, session=session) as client:
            client.socket.sendall(GET)
            client.socket.recv(1)
    assert len(origin.requests) == 2


# Files -------------------------------------------------------------------------------------------------------------


def test_a_key_of_another_certificate(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    one, other = authority.issue(*NAMES), authority.issue(*NAMES)
    dao = start_dao(tls_config(origin, Identity(one.cert, other.key)), wait_ready=False)
    assert dao.wait_exit() == 1
    reason = dao.logs("cannot start")[0].fields["reason"]
    assert str(one.cert) in reason and str(other.key) in reason


def test_an_open_key_is_warned_about(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    identity = authority.issue(*NAMES)
    identity.key.chmod(0o644)
    dao = start_dao(tls_config(origin, identity))
    assert dao.logs("every user may read a private key")[0].fields["key"] == str(identity.key)


def install(identity: Identity, at: Identity) -> None:
    for source, target in ((identity.key, at.key), (identity.cert, at.cert)):
        fresh = target.with_suffix(".new")
        shutil.copy(source, fresh)
        fresh.rename(target)


class Handshakes:
    """A client of each listener that connects again and again, each second time with the session from before."""

    def __init__(self, dao: Dao, authority: Authority):
        self.dao = dao
        self.authority = authority
        self.failed: list[BaseException] = []
        self.full = self.resumed = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(address, version), daemon=True)
            for address, version in zip(
                dao.addresses, (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), strict=True
            )
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, address: tuple[str, int], version: ssl.TLSVersion) -> None:
        tls = context(self.authority, version=version)
        session = None
        while not self._stop.is_set():
            try:
                with TlsClient(address, tls, session=session) as client:
                    assert client.exchange(GET).status == 200
                    reused = client.socket.session_reused
                    assert reused == (session is not None)
                    session = None if reused else client.socket.session
            except BaseException as error:  # noqa: BLE001
                self.failed.append(error)
                return
            with self._lock:
                self.full += not reused
                self.resumed += reused

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_changed_files_are_used_under_load(
    start_dao: Callable, origin: Origin, authority: Authority, tmp_path: Path
) -> None:
    """A hundred swaps, half of them by renaming files over the old ones, half by a symbolic link that is turned to
    another directory; not one handshake fails."""
    rounds = 50
    identities = [authority.issue(*NAMES) for _ in range(2)]
    serials = [int(identity.serial, 16) for identity in identities]
    used = authority.issue(*NAMES)
    for name, identity in zip(("a", "b"), identities, strict=True):
        (tmp_path / name).mkdir()
        shutil.copy(identity.cert, tmp_path / name / "tls.pem")
        shutil.copy(identity.key, tmp_path / name / "tls.key")
    live = tmp_path / "live"
    live.symlink_to("b")
    linked = Identity(live / "tls.pem", live / "tls.key")
    config = tls_config(origin, used, server={"workers": 2})
    config["server"]["listener"].append(
        {"name": "linked", "bind": "127.0.0.1:0", "tls": {"certificates": [linked.files]}}
    )
    dao = start_dao(config)
    asking = context(authority)
    load = Handshakes(dao, authority)
    try:
        for swap in range(rounds):
            install(identities[swap % 2], used)
            fresh = tmp_path / "fresh"
            fresh.symlink_to("ab"[swap % 2])
            fresh.rename(live)

            def shown(wanted: int = serials[swap % 2]) -> bool:
                for address in dao.addresses:
                    # A whole request: in TLS 1.3 a client may be done and gone while the server is still shaking hands.
                    with TlsClient(address, asking) as client:
                        assert client.exchange(GET).status == 200
                        if int(client.serial, 16) != wanted:
                            return False
                return True

            deadline.wait_until(shown, "the new certificates", deadline.DEFAULT * 2, poll=0.02)
            assert not load.failed
    finally:
        load.stop()
    assert not load.failed
    assert min(load.full, load.resumed) >= 2 * rounds
    assert len(dao.logs("certificate files read again")) >= 2 * rounds
    metrics = dao.metrics()
    assert metrics.total("dao_tls_handshake_failures_total") == 0
    assert metrics.value("dao_tls_handshakes_total", resumed="yes") == load.resumed
    assert not dao.logs("cannot use the changed certificate files; the old ones stay in use")


def test_a_bad_new_file_keeps_the_old(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    used = authority.issue(*NAMES)
    serial = int(used.serial, 16)
    dao = start_dao(tls_config(origin, used))
    good = used.cert.read_text()
    used.cert.write_text("not a certificate\n")
    dao.wait_log(lambda line: line.message.startswith("cannot use the changed certificate files"), "the refusal")
    with TlsClient(dao.address, context(authority)) as client:
        assert int(client.serial, 16) == serial
    used.cert.write_text(good)
    dao.wait_log(lambda line: line.message == "certificate files read again", "the recovery")


# Bad peers -----------------------------------------------------------------------------------------------------------


def test_http_without_tls_is_refused(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    with RawClient(dao.address) as client:
        client.send(GET)
        client.expect_ended()
    wait_failure(dao, "tls_protocol")
    assert not origin.requests


def test_silence_ends_at_the_header_timeout(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES), server={"header_timeout_ms": 200}))
    for begun in (b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
        with RawClient(dao.address) as client:
            client.send(begun)
            client.expect_ended()
    wait_failure(dao, "timeout_head", 3)


def test_clients_that_leave_within_the_handshake(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    hello = ssl.MemoryBIO()
    handshake = context(None).wrap_bio(ssl.MemoryBIO(), hello, server_hostname="a.test")
    with pytest.raises(ssl.SSLWantReadError):
        handshake.do_handshake()
    begun = hello.read()
    for cut in (1, 5, len(begun) // 2, len(begun)):
        with RawClient(dao.address) as client:
            client.send(begun[:cut])
            client.half_close()
            client.expect_ended()
        client = RawClient(dao.address)
        client.send(begun[:cut])
        client.reset()
    deadline.wait_until(lambda: failures(dao, "closed") + failures(dao, "reset") >= 8, "the handshakes to fail")
    with TlsClient(dao.address, context(authority)) as client:
        assert client.exchange(GET).status == 200


def test_a_client_that_does_not_trust_us(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    with pytest.raises(ssl.SSLCertVerificationError):
        TlsClient(dao.address, context(Authority(authority.directory, "other")))
    wait_failure(dao, "tls_alert")


def test_renegotiation_is_refused(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    output = s_client(dao.address, "-tls1_2", data=b"R\n")
    assert "no renegotiation" in output.lower() or "NO_RENEGOTIATION" in output


def test_many_silent_handshakes_leave_room(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    silent = [plain_socket(dao.address) for _ in range(200)]
    try:
        with TlsClient(dao.address, context(authority)) as client:
            assert client.exchange(GET).status == 200
    finally:
        for sock in silent:
            sock.close()


def test_a_drain_lets_a_request_finish(start_dao: Callable, origin: Origin, authority: Authority) -> None:
    release = threading.Event()
    origin.answer("/fast", lambda connection, request: release.wait(deadline.DEFAULT), b"HTTP/1.1 204 No Content\r\n\r\n")
    dao = start_dao(tls_config(origin, authority.issue(*NAMES)))
    with TlsClient(dao.address, context(authority)) as client:
        client.send(b"GET /fast HTTP/1.1\r\nHost: a.test\r\n\r\n")
        origin.wait(lambda: origin._requests, "the request")
        dao.process.terminate()
        dao.wait_log(lambda line: line.message == "draining", "draining")
        release.set()
        answer = client.response()
        assert answer.status == 204
        client.expect_closed()
    assert dao.wait_exit() == 0
