"""One attempt to deliver one message: over HTTP and signed, or as a notification. No rows here."""

import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests
import structlog
from standardwebhooks import Webhook as Signer
from urllib3.exceptions import HTTPError, NameResolutionError

from accounts import notifying
from config.base import outbound

log = structlog.get_logger(__name__)
CONNECT_SECONDS, READ_SECONDS = 5.0, 15.0
WHOLE_SECONDS = 20.0  # for all of it, however slowly the answer comes
LONGEST_WAIT = 86_400.0  # seconds: nothing is tried for longer than a day
LONGEST_ANSWER = 4096  # bytes that are read and kept
LOST_KEY = "A stored secret cannot be read with the keys of this installation: enter it again."


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent. Without `secrets` it is a notification."""

    url: str
    body: str
    message_id: str
    secrets: tuple[str, ...] = ()
    notification: bool = False


@dataclass(slots=True)
class Answer:
    """What came of it. `error` is a sentence, '' where it was delivered."""

    error: str = ""
    status: int | None = None
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # of the request, without the signature
    milliseconds: int = 0
    retry_after: float | None = None  # seconds that the receiver asks for
    sent: bool = True  # False: it was too late to begin

    @property
    def delivered(self) -> bool:
        return self.sent and not self.error

    @property
    def acknowledged(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        return self.status == 410


def send(letter: Letter, latest: float) -> Answer:
    """Try once; nothing goes out after `latest` (time.monotonic). Raises nothing."""
    answer, begun = Answer(), time.monotonic()
    try:
        with outbound.not_after(latest), outbound.within(WHOLE_SECONDS) as cutter:
            try:
                _send(letter, answer, latest)
            except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:
                if not answer.acknowledged:
                    answer.error = answer.error or _sentence(error, over=cutter.over)
    except outbound.TooLate:
        answer.sent = False
    except outbound.Refused as refused:
        answer.error = str(refused)
    except Exception as fault:  # one bad row must not stop the others
        log.exception("delivery_fault", error=type(fault).__name__)
        answer.error = "Switchyard failed. The log says why."
    answer.milliseconds = round((time.monotonic() - begun) * 1000)
    return answer


def _send(letter: Letter, answer: Answer, latest: float) -> None:
    if not letter.url or not (letter.notification or letter.secrets):
        answer.error = LOST_KEY
    elif letter.notification:
        if time.monotonic() > latest:
            raise outbound.TooLate
        told = notifying.notify(letter.url, letter.body)
        answer.status, answer.error = told.status, told.error
    else:
        _post(letter, answer)


def _post(letter: Letter, answer: Answer) -> None:
    now = datetime.now(tz=UTC)
    answer.headers = {
        "Content-Type": "application/json",
        "User-Agent": "Switchyard",
        "webhook-id": letter.message_id,
        "webhook-timestamp": str(int(now.timestamp())),
    }
    signatures = [
        Signer(secret).sign(letter.message_id, now, letter.body) for secret in letter.secrets
    ]
    hidden = {"webhook-signature": " ".join(signatures), "Accept-Encoding": "identity"}
    with requests.Session() as session:
        session.trust_env = False  # neither a proxy nor a password of this machine
        for scheme in ("http://", "https://"):
            session.mount(scheme, outbound.adapter())
        with session.post(
            letter.url,
            data=letter.body.encode(),
            headers=answer.headers | hidden,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            stream=True,
        ) as response:
            _judge(response, answer)
            raw = response.raw.read(LONGEST_ANSWER, decode_content=False)
            answer.text = raw.decode(errors="replace").replace("\0", "�")


def _judge(response: requests.Response, answer: Answer) -> None:
    answer.status = response.status_code
    if answer.acknowledged:
        return  # acknowledged, whatever becomes of the rest of the answer
    answer.error = f"It answered {answer.status}."
    if 300 <= answer.status < 400:
        answer.error = f"It answered {answer.status}: redirects are not followed."
    answer.retry_after = seconds_of(response.headers.get("Retry-After", ""))


def seconds_of(text: str) -> float | None:
    """What Retry-After asks for, a day at most: seconds, or a date. None for nonsense."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - datetime.now(tz=UTC)).total_seconds()), LONGEST_WAIT)


def _sentence(error: Exception, *, over: bool) -> str:
    if over:
        return f"No whole answer in {WHOLE_SECONDS:.0f} s."
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"No connection in {CONNECT_SECONDS:.0f} s."
    if isinstance(error, requests.exceptions.ReadTimeout):
        return f"No answer in {READ_SECONDS:.0f} s."
    if isinstance(error, requests.exceptions.SSLError):
        return "No connection: its certificate is not valid for this name."
    unknown = (socket.gaierror, UnicodeError)
    if isinstance(error, unknown) or _caused_by(error, NameResolutionError):
        return "No connection: the name cannot be resolved."
    if isinstance(error, requests.exceptions.ConnectionError):
        return "No connection, or it ended before there was an answer."
    return "The call failed before there was an answer."


def _caused_by(error: BaseException | None, kind: type[Exception]) -> bool:
    """Whether it is one, or comes from one; requests wraps what urllib3 has wrapped."""
    seen: list[BaseException] = []
    queue = [error]
    while queue:
        one = queue.pop()
        if one is None or one in seen:
            continue
        if isinstance(one, kind):
            return True
        seen.append(one)
        queue += [one.__cause__, one.__context__, getattr(one, "reason", None)]
        queue += [arg for arg in one.args if isinstance(arg, BaseException)]
    return False
