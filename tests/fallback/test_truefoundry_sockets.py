"""The client against servers whose answers break off or never end: raw sockets, plain and TLS."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fallback.truefoundry import TrueFoundry, Unavailable

HEAD = b"HTTP/1.1 200 OK\r\n"
ANSWER = HEAD + b'Content-Length: 12\r\n\r\n{"data": {}}'


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """What a server named localhost needs, and the certificate for its callers."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "cert.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context, pem


@pytest.fixture
def broken_tls(tls: tuple[ssl.SSLContext, Path]) -> Iterator[tuple[str, Path, list[bytes]]]:
    """A server that takes a request whole and answers with what is no TLS record."""
    context, pem = tls
    listening, taken = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        with suppress(OSError):
            while True:
                raw, _ = listening.accept()
                secure = context.wrap_socket(raw, server_side=True)
                taken.append(secure.recv(65536))
                descriptor = secure.detach()
                os.write(descriptor, b"\x17\x03\x03\x00\x20" + b"\0" * 32)
                os.close(descriptor)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://localhost:{listening.getsockname()[1]}/api/svc", pem, taken
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)


def test_a_broken_tls_answer_sends_no_write_again(
    broken_tls: tuple[str, Path, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pem, taken = broken_tls
    client = TrueFoundry(url, "t0ken", timeout=(1, 1))
    for http in (client._reads, client._writes):
        http.verify = str(pem)
    with pytest.raises(Unavailable) as caught:
        client.trigger("d", {"params": {"a": 1}}, "alias", "acme")
    assert caught.value.happened
    assert [one.partition(b" ")[0] for one in taken] == [b"POST"]
    client.close()


@pytest.mark.parametrize(
    "begins", [HEAD, HEAD + b"Content-Length: 99\r\n\r\n"], ids=["headers", "body"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_answer_that_drips_is_no_answer(
    tls: tuple[ssl.SSLContext, Path], scheme: str, begins: bytes
) -> None:
    """Each byte in time, and none the last; over a connection that has been used before."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        raw, _ = listening.accept()
        with suppress(OSError), raw:
            side = tls[0].wrap_socket(raw, server_side=True) if scheme == "https" else raw
            with side:
                side.recv(65536)
                side.sendall(ANSWER)
                side.recv(65536)
                side.sendall(begins)
                for _ in range(60):
                    time.sleep(0.1)
                    side.sendall(b"x")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = TrueFoundry(
        f"{scheme}://localhost:{listening.getsockname()[1]}", "t0ken", timeout=(0.3, 0.3)
    )
    client._writes.verify = str(tls[1])
    client.terminate("d", "r", "t")
    begun = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        client.terminate("d", "r", "t")
    assert time.monotonic() - begun < 2
    assert caught.value.happened
    client.close()
    listening.close()
    thread.join(5)
