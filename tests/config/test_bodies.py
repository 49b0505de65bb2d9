"""Bodies that nobody can use: refused by every endpoint and every page, and never a failure."""

import gzip

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client

from tests.addresses import PAGES
from tests.administering import as_superuser
from tests.calling import NOBODYS, RFC_9457, Caller
from tests.test_routes import TABLE, World

pytestmark = pytest.mark.django_db
MOST = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=xx"

# What is wrong with it: the content type, the body, and the answer.
BODIES: dict[str, tuple[str, bytes, int]] = {
    "larger than the limit": (JSON, b'{"a":"' + b"x" * (MOST + 1_000_000) + b'"}', 413),
    "one byte too large": (JSON, b'{"a":"' + b"x" * (MOST - 7) + b'"}', 413),
    "10,000 lists deep": (JSON, b"[" * 10_000 + b"]" * 10_000, 400),
    "10,000 objects deep": (JSON, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "101 levels deep": (JSON, b'{"a":' * 101 + b"1" + b"}" * 101, 400),
    "a list": (JSON, b"[]", 400),
    "a list of objects": (JSON, b"[{}]", 400),
    "a string": (JSON, b'"text"', 400),
    "null": (JSON, b"null", 400),
    "a number": (JSON, b"1", 400),
    "true": (JSON, b"true", 400),
    "cut short": (JSON, b'{"a": 1', 400),
    "two objects": (JSON, b"{}{}", 400),
    "not JSON": (JSON, b"a=1&b=2", 400),
    "Latin-1": (JSON, b'{"a": "\xe4"}', 400),
    "UTF-16": (JSON, '{"a": 1}'.encode("utf-16"), 400),
    "NUL, raw": (JSON, b'{"a": "\0"}', 400),
    "NUL, escaped": (JSON, b'{"a": "\\u0000"}', 400),
    "NUL in a name": (JSON, b'{"\\u0000": 1}', 400),
    "half a surrogate pair": (JSON, b'{"a": "\\ud800"}', 400),
    "half a pair in a name": (JSON, b'{"\\udfff": 1}', 400),
    "1e400": (JSON, b'{"a": 1e400}', 400),
    "-1e400, deep down": (JSON, b'{"a": [{"config": -1e400}]}', 400),
    "NaN": (JSON, b'{"a": NaN}', 400),
    "Infinity": (JSON, b'{"a": -Infinity}', 400),
    "one name twice": (JSON, b'{"a": 1, "a": 2}', 400),
    "one name twice, deep down": (JSON, b'{"config": {"x": 1, "x": 1}}', 400),
    "one field in both spellings": (JSON, b'{"aB": 1, "a_b": 1}', 400),
    "100,000 names": (JSON, b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}", 400),
    "100,000 values": (JSON, b'{"a":[' + b",".join([b"1"] * 100_000) + b"]}", 400),
    "5,000 digits": (JSON, b'{"a": 1' + b"0" * 5000 + b"}", 400),
    "2 to the 63rd": (JSON, b'{"a": 9223372036854775808}', 400),
    "gzip": (JSON, gzip.compress(b'{"a": 1}'), 400),
    "XML": ("text/xml", b"<a/>", 415),
    "no content type": ("", b"{}", 415),
    "nonsense for a content type": (";;=,", b"{}", 415),
    "plain text": ("text/plain", b"{}", 415),
    "several parts": (PARTS, b'--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\n1', 415),
    "JSON in UTF-16, and it says so": (f"{JSON}; charset=utf-16", b"{}", 415),
    "a charset that is a compression": (f"{JSON}; charset=zlib", b"{}", 415),
}
WRITING = [route for route in TABLE if not route.startswith("GET")]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("what", BODIES)
def test_each_endpoint_refuses(world, what):
    owner, (kind, body, expected) = world.callers["owner"], BODIES[what]
    # These take a third of a second each, and nothing of an endpoint's own has a part in them.
    routes = WRITING[::5] if what.startswith("100,000") else WRITING
    for route in routes:
        method, address = route.partition(" ")[0], world.address(route)
        answer = owner.client.generic(
            method, f"/api/{address}", body, content_type=kind, headers=owner.headers
        )
        assert answer.status_code == expected, (route, answer.content[:300])
        assert answer.headers["Content-Type"] == "application/problem+json", route
        assert answer.json().keys() - {"errors"} == RFC_9457, route
        assert len(answer.content) < 20_000, route


def test_each_endpoint_refuses_nonsense_around_the_body(world):
    owner = world.callers["owner"]
    for route in TABLE:
        method, address = route.partition(" ")[0], world.address(route)
        if "?" in address or route in ("GET .*", "GET docs", "GET schema"):
            continue
        for query in ("colour=red", "a%00=1", "x=%00", "%ff=%ff", "x=" + "y" * 5000):
            answer = owner.client.generic(method, f"/api/{address}?{query}", headers=owner.headers)
            assert answer.status_code == 400, (route, query)
            assert answer.headers["Content-Type"] == "application/problem+json", (route, query)


@pytest.mark.parametrize("length", ["abc", "-1", "1.5", "9" * 30, "٣"])
def test_a_length_that_is_none(world, length):
    owner = world.callers["owner"]
    for path in ("/api/pauses", "/pause/"):
        told = {"CONTENT_LENGTH": length.encode().decode("latin-1")}  # as WSGI has it
        answer = owner.client.generic("POST", path, b"{}", JSON, headers=owner.headers, **told)
        assert answer.status_code == 400


FORMS: dict[str, tuple[str, bytes, int]] = {
    "NUL": (FORM, b"reason=a%00b", 400),
    "NUL, raw": (FORM, b"reason=a\0b", 400),
    "NUL in a name": (FORM, b"rea%00son=a", 400),
    "NUL in a part": (
        PARTS,
        b'--xx\r\nContent-Disposition: form-data; name="reason"\r\n\r\na\0b\r\n--xx--\r\n',
        400,
    ),
    "Latin-1": (FORM, b"reason=%e4", 400),
    "Latin-1, raw": (FORM, b"reason=\xe4", 400),
    "Latin-1 in a part": (
        PARTS,
        b'--xx\r\nContent-Disposition: form-data; name="reason"\r\n\r\n\xe4\r\n--xx--\r\n',
        400,
    ),
    "larger than the limit": (FORM, b"reason=" + b"x" * (MOST + 1_000_000), 413),
    "a file larger than the limit": (
        PARTS,
        b'--xx\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        + b"x" * MOST
        + b"\r\n--xx--\r\n",
        413,
    ),
    "parts without a boundary": ("multipart/form-data", b"--xx", 400),
    "parts with a bad boundary": ("multipart/form-data; boundary=\xff", b"--xx", 400),
    "1,001 fields": (FORM, b"&".join(b"a%d=1" % n for n in range(1001)), 400),
    "in UTF-16, and it says so": (f"{FORM}; charset=utf-16", b"a=1", 415),
    "parts in what is a compression": (f"{PARTS}; charset=zlib", b"--xx--", 415),
}


# Not refused as a whole, but when somebody looks at what is in them.
READ_LATE = (
    "parts without a boundary",
    "parts with a bad boundary",
    "1,001 fields",
)


def test_the_list_of_pages_is_one():
    assert {"/", "/sign-in/", "/moves/", f"/moves/{NOBODYS}/retry/", "/admin/"} <= set(PAGES)
    assert len(PAGES) > 80


def test_each_page_refuses_each_form():
    """Before anything else is looked at: who it is, and a form's token."""
    client = Client(enforce_csrf_checks=True)
    for path in PAGES:
        for what, (kind, body, expected) in FORMS.items():
            if what not in READ_LATE:
                answer = client.generic("POST", path, body, kind)
                assert answer.status_code == expected, (path, what)


def test_no_page_breaks_over_a_form():
    """Without the check of a token views get to see it."""
    root = as_superuser(Client())
    forms = {what: FORMS[what][:2] for what in READ_LATE}
    forms["a field of a megabyte"] = (FORM, b"reason=" + b"x" * 1_000_000 + b"&name=y")
    forms["not a form"] = (JSON, b"{}")
    forms["odd names"] = (FORM, b"[]=1&__=%F0%9F%92%A9&organization=%27&pk=x&scope=a:b")
    for path in PAGES:
        for what, (kind, body) in forms.items():
            before = transaction.savepoint()
            answer = root.generic("POST", path, body, kind)
            transaction.savepoint_rollback(before)
            assert answer.status_code < 500, (path, what)


@pytest.mark.parametrize("what", READ_LATE)
def test_a_page_that_reads_a_form_refuses_it(db, what):
    kind, body, expected = FORMS[what]
    for path in ("/theme/", "/sign-in/", "/admin/login/"):
        assert Client().generic("POST", path, body, kind).status_code == expected, path


def test_no_page_breaks_over_an_address():
    root = as_superuser(Client())
    for path in PAGES:
        for query in ("search=%00", "organization=%00", "%00=1", "page=%ff&search=%ff", "_q=%00"):
            status = root.get(f"{path}?{query}").status_code
            assert status == 400 if "%00" in query else status < 500, (path, query)
    for path in ("/moves/%00/", "/%00", "/admin/accounts/user/%00/change/", "/static/%00"):
        assert root.get(path).status_code == 400, path


@pytest.mark.parametrize("cookie", ['sessionid="aaaaaaaa\\000"', "sessionid=" + "x" * 5000, "=;=;"])
def test_no_page_and_no_endpoint_breaks_over_a_cookie(cookie):
    for path, expected in (("/", 302), ("/api/moves", 401), ("/sign-in/", 200)):
        assert Client().get(path, headers={"Cookie": cookie}).status_code == expected


@pytest.mark.parametrize("url", ["http://[", "//x", "nonsense", "http://h:x/"])
def test_no_fragment_breaks_over_where_it_is_shown(url):
    headers = {"HX-Request": "true", "HX-Current-URL": url}
    answer = Client().get("/moves/rows/", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"].startswith("/sign-in/?next=/")


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (FORM, b"username=a%00b&password=x", 400),
        (FORM, b"username=" + b"x" * MOST, 413),
        (FORM, b"&".join(b"a%d=1" % n for n in range(1001)), 400),
        (FORM, b"nonsense", 400),
        (f"{FORM}; charset=latin-1", b"username=x&password=y", 415),
    ],
)
def test_the_form_that_the_api_takes(db, kind, body, status):
    answer = Client().post("/api/token", body, kind)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_who_is_nobody_learns_nothing_from_a_bad_body(world):
    for route in WRITING:
        if TABLE[route].startswith("401"):
            method, address = route.partition(" ")[0], world.address(route)
            answer = Caller().client.generic(method, f"/api/{address}", b"[", content_type=JSON)
            assert answer.status_code == 401, route


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59Z", "9000-01-01T00:00:00.001Z"])
def test_no_time_breaks_the_pages_of_who_is_east_of_utc(world, end):
    home, remote = world.organization.pk, str(world.remote.pk)
    for path, name, body in (
        (f"organizations/{home}/invites", "expiresAt", {}),
        ("tokens", "expiresAt", {"name": "Late"}),
        ("pauses", "until", {"connectionId": remote, "reason": "why"}),
    ):
        answer = world.callers["owner"].post(path, body | {name: end})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [name])
    last = {"expiresAt": "9000-01-01T00:00:00Z"}
    assert world.callers["owner"].post(f"organizations/{home}/invites", last).status_code == 201
    client = Client()
    client.force_login(world.owner)
    client.cookies["zone"] = "Pacific/Kiritimati"
    assert client.get(f"/organizations/{home}/").status_code == 200
