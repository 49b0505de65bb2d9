"""Notifications: which addresses may be used, and messages to real servers.

Teams and mail go to whatever host the address names, so real servers stand there. Slack's and
Discord's hosts are apprise's own: their plugins are pointed at servers of ours.
"""

import contextlib
import ipaddress
import logging
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from accounts import notifying, posting, webhooks
from accounts.models import Delivery, Webhook
from accounts.posting import Letter
from config.base import outbound
from config.base.outbound import Refused
from tests.accounts.webhooking import ADA, deliver, make, seal

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
DISCORD = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"
TEAMS = "workflows://prod-1.logic.azure.com:443/643e69f83c8944/DdsadsaRTs"
WORKFLOW = "643e69f83c8944"


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            *(SLACK, f"{SLACK}/#general", f"{SLACK}?footer=no", DISCORD, TEAMS),
            *("mailto://ada:pw@gmail.com", "mailtos://ada:pw@example.org?smtp=mx.example.org"),
            "mailtos://example.org?smtp=mx.example.org&user=a&pass=b&from=a@b.org&to=c@d.org",
        ],
    )
    def test_mail_slack_teams_and_discord_are_taken(self, url):
        notifying.check(url)

    @pytest.mark.parametrize(
        ("url", "sentence"),
        [
            ("json://example.org", "must begin with one of"),
            ("xml://example.org", "must begin with one of"),
            ("form://example.org", "must begin with one of"),
            ("syslog://", "must begin with one of"),
            ("dbus://", "must begin with one of"),
            ("windows://", "must begin with one of"),
            ("file:///etc/passwd", "must begin with one of"),
            ("https://hooks.slack.com/services/T/B/X", "must begin with one of"),
            ("slack", "must begin with one of"),
            ("msteams://x", "make a workflow"),
            (f"{TEAMS}?template=/etc/passwd", "The option template is not for use here"),
            (f"{SLACK}?template=http://10.0.0.1/x", "The option template is not for use here"),
            ("mailto://a:b@gmail.com?pgp=yes&pgpkey=/etc/passwd", "The option pgp is not"),
            (f"{TEAMS}?verify=no", "The option verify is not for use here"),
            (f"{TEAMS}?redirect=yes", "The option redirect is not for use here"),
            (f"{SLACK}?:key=value", "The option :key is not for use here"),
            ("mailto://a:b@gmail.com?+X-Header=y", "The option +X-Header is not for use here"),
            # Where apprise sees an option, and urllib sees none.
            (f"{TEAMS}?id={WORKFLOW};template=/etc/passwd", "The option template is not for use"),
            (f"{TEAMS}#?template=/etc/passwd", "The option template is not for use here"),
            (f"{TEAMS}?%74emplate=/etc/passwd", "The option template is not for use here"),
            (f"{TEAMS}?id={WORKFLOW};verify=no", "The option verify is not for use here"),
            (f"{SLACK}, {DISCORD}", "spaces or control characters"),
            ("slack://", "Something is missing"),
            ("discord://1", "Something is missing"),
            ("mailto://nobody", "Something is missing"),
            ("workflows://[::1", "not a URL"),
        ],
    )
    def test_everything_else_is_refused_with_a_sentence(self, url, sentence):
        with pytest.raises(Refused, match=sentence.replace("+", r"\+")):
            notifying.check(url)

    @pytest.mark.parametrize(
        "url",
        [
            f"workflows://10.0.0.1/{WORKFLOW}/sig",
            f"workflows://[::1]/{WORKFLOW}/sig",
            "mailto://a:b@example.org?smtp=127.0.0.1",
        ],
    )
    def test_private_addresses_are_refused(self, settings, url):
        settings.OUTBOUND_ALLOW_PRIVATE = False
        with pytest.raises(Refused):
            notifying.check(url)

    def test_a_name_that_is_private_is_refused_when_it_is_used(self, settings):
        settings.OUTBOUND_ALLOW_PRIVATE = False
        url = f"workflows://localhost:9/{WORKFLOW}/sig"
        notifying.check(url)
        answer = send(url, "title\ntext")
        assert answer.error == "127.0.0.1 is not a public address." or "::1" in answer.error

    def test_a_name_that_is_public_when_checked_and_private_when_used(self, settings, monkeypatch):
        settings.OUTBOUND_ALLOW_PRIVATE = False
        answers = ["93.184.215.14", "127.0.0.1"]
        asked: list[str] = []

        def lookup(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
            asked.append(host)
            address = answers[min(len(asked), 2) - 1]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(outbound, "_lookup", lookup)
        answer = send(f"workflows://rebind.example:9/{WORKFLOW}/sig", "title\ntext")
        assert answer.error == "127.0.0.1 is not a public address."
        assert asked == ["rebind.example"] * 2

    def test_nothing_of_an_address_gets_into_the_log(self, capsys, monkeypatch):
        heard: list[str] = []
        handler = logging.Handler()
        monkeypatch.setattr(handler, "emit", lambda record: heard.append(record.getMessage()))
        logging.getLogger().addHandler(handler)
        for url in ("slack://secret-token/b", "mailto://secret-token"):
            with contextlib.suppress(Refused):
                notifying.check(url)
        logging.getLogger().removeHandler(handler)
        assert "secret-token" not in "".join([*heard, *capsys.readouterr()])


def send(url: str, text: str) -> Any:
    letter = Letter(url=url, body=text, message_id="m", notification=True)
    return posting.send(letter, latest=9e9)


# Teams: HTTPS to the host in the address


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of localhost, signed by itself; with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(tz=UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    plain = serialization.NoEncryption()
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(key.private_bytes(*pem) + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def teams(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with HTTPServer(host="127.0.0.1", port=0, ssl_context=context) as server:
        yield server


class TestTeams:
    def url(self, server: HTTPServer) -> str:
        return f"workflows://localhost:{server.port}/{WORKFLOW}/signature"

    def test_what_arrives(self, teams):
        said: list[str] = []

        def take(request: Request) -> Response:
            said.append(request.get_data(as_text=True))
            return Response(status=202)

        teams.expect_request(
            f"/workflows/{WORKFLOW}/triggers/manual/paths/invoke"
        ).respond_with_handler(take)
        answer = send(self.url(teams), "Could not move: nightly\nBy ada in Acme.")
        assert answer.delivered, answer
        assert "Could not move: nightly" in said[0] and "By ada in Acme" in said[0]

    def test_a_status_is_told(self, teams):
        teams.expect_request("").respond_with_data("no", status=500)
        answer = send(self.url(teams), "title\ntext")
        assert (answer.error, answer.status) == ("Teams answered 500.", 500)

    def test_redirects_are_not_followed(self, teams):
        there = f"https://localhost:{teams.port}/elsewhere"
        teams.expect_request(
            f"/workflows/{WORKFLOW}/triggers/manual/paths/invoke"
        ).respond_with_data("", status=307, headers={"Location": there})
        teams.expect_request("/elsewhere").respond_with_data("got it")
        assert not send(self.url(teams), "title\ntext").delivered
        assert [request.path for request, _ in teams.log if request.path == "/elsewhere"] == []

    def test_nobody_there(self):
        answer = send(f"workflows://localhost:9/{WORKFLOW}/signature", "title\ntext")
        assert answer.error == "Teams could not be reached, or refused it."

    def test_an_unknown_name(self):
        answer = send(f"workflows://nowhere.invalid/{WORKFLOW}/signature", "title\ntext")
        assert answer.error == "No connection: the name cannot be resolved."


# Slack and Discord: to their own hosts, for which a server of ours stands in


class TestChats:
    @pytest.fixture(
        params=[
            (SLACK, "slack", "webhook_url", "Slack"),
            (DISCORD, "discord", "notify_url", "Discord"),
        ],
        ids=["Slack", "Discord"],
    )
    def chat(self, request, httpserver, monkeypatch):
        url, module, attribute, name = request.param
        plugin = type(notifying._plugin(url))
        assert plugin.__module__.endswith(module)
        monkeypatch.setattr(plugin, attribute, httpserver.url_for("/chat"))
        return url, name

    def test_what_arrives(self, httpserver, chat):
        url, _ = chat
        said: list[str] = []

        def take(request: Request) -> Response:
            said.append(request.get_data(as_text=True))
            return Response("ok")

        httpserver.expect_request(re.compile("/chat/.*"), method="POST").respond_with_handler(take)
        answer = send(url, "Could not move: nightly\nBy ada in Acme.")
        assert answer.delivered, answer
        assert "Could not move: nightly" in said[0] and "By ada in Acme" in said[0]

    def test_a_refusal_is_told(self, httpserver, chat):
        url, name = chat
        httpserver.expect_request(re.compile("/chat/.*")).respond_with_data("no", status=404)
        answer = send(url, "title\ntext")
        assert (answer.error, answer.status) == (f"{name} answered 404.", 404)

    def test_their_hosts_are_checked_too(self, httpserver, chat, settings):
        settings.OUTBOUND_ALLOW_PRIVATE = False
        answer = send(chat[0], "title\ntext")
        assert "is not a public address" in answer.error
        assert httpserver.log == []


# Mail


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mail, and refuses it where `refuse` is set."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.refuse = False
        super().__init__(("127.0.0.1", 0), MailHandler)


class MailHandler(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline().decode():
            word = line[:4].upper().strip()
            if word == "DATA":
                self.say("354 go on")
                self.server.mails.append("".join(self.lines()))
                self.say("250 taken")
            elif word == "RCPT" and self.server.refuse:
                self.say("550 nobody of that name")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def lines(self) -> Iterator[str]:
        while (line := self.rfile.readline().decode()) != ".\r\n":
            yield line


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def mailto(server: MailServer) -> str:
    port = server.server_address[1]
    return f"mailto://example.org:{port}?smtp=127.0.0.1&mode=insecure&from=a@b.org&to=c@d.org"


class TestMail:
    def test_what_arrives(self, mail):
        answer = send(mailto(mail), "Could not move: nightly\nBy ada in Acme.\nReason: full")
        assert answer.delivered, answer
        (raw,) = mail.mails
        found = message_from_string(raw)
        assert found["Subject"] == "Could not move: nightly"
        assert found["To"] == "c@d.org"
        assert "By ada in Acme." in raw and "Reason: full" in raw

    def test_a_refusal_is_told(self, mail):
        mail.refuse = True
        answer = send(mailto(mail), "title\ntext")
        assert answer.error == "The mail server could not be reached, or refused it."


@pytest.mark.django_db
class TestDelivering:
    """By the rules of webhooks: the same events, pauses and failures."""

    def test_events_become_messages(self, organization, mail):
        make(organization, mailto(mail), ["move.*"], kind="notification")
        change = {"name": ["old", "new"], "token": "••• 1234"}
        seal(organization, "move.failed", "config.changed", change=change, reason="no room")
        (delivery,) = deliver()
        assert delivery.state == "delivered"
        assert delivery.body.split("\n") == [
            "Could not move: nightly",
            f"By ada in {organization}.",
            "Reason: no room",
            "name: old → new",
            "token: ••• 1234",
        ]
        assert "Could not move: nightly" in mail.mails[0]

    def test_failures_wait_and_count(self, organization, mail):
        mail.refuse = True
        webhook = make(organization, mailto(mail), kind="notification")
        seal(organization, "move.failed")
        (delivery,) = deliver()
        webhook.refresh_from_db()
        assert (delivery.state, delivery.attempts, webhook.failures_in_row) == ("pending", 1, 1)

    def test_a_test_message_and_no_secret(self, organization, mail):
        webhook = make(organization, mailto(mail), kind="notification")
        assert Webhook.objects.get().secret == ""
        webhooks.test(webhook, ADA)
        deliver()
        assert Delivery.objects.get().state == "delivered"
        assert "Test by ada" in mail.mails[0]

    def test_refused_attempts_say_so(self, organization, mail):
        make(organization, mailto(mail), ["refused.*"], kind="notification")
        seal(organization, "config.write", refused=True)
        (delivery,) = deliver()
        assert delivery.body.startswith("Was not allowed to change the config: nightly\n")
