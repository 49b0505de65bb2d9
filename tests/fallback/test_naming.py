import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback import naming

anything = st.text(max_size=80)


@given(anything, anything, anything)
def test_a_destination_name_is_always_a_valid_job_name(job: str, workspace: str, app: str) -> None:
    assert naming.JOB_NAME.match(naming.destination_name(job, workspace, app))


def test_jobs_whose_names_begin_alike_do_not_meet() -> None:
    first = naming.destination_name("nightly-report-for-the-whole-north", "w", "app-1")
    second = naming.destination_name("nightly-report-for-the-whole-south", "w", "app-2")
    assert first != second
    assert first[:20] == second[:20]


def test_the_same_job_name_in_two_workspaces_does_not_meet() -> None:
    assert naming.destination_name("etl", "w1", "a") != naming.destination_name("etl", "w2", "a")


def test_the_manifest_keeps_everything_but_four_fields() -> None:
    manifest = {
        "name": "etl",
        "type": "job",
        "workspace_fqn": "old",
        "trigger": {"type": "scheduled", "schedule": "0 3 * * *"},
        "trigger_on_deploy": True,
        "env": {"A": "1"},
        "resources": {"cpu": 1},
    }
    moved = naming.moved_manifest(manifest, "etl-1", "new")
    assert moved == {
        "name": "etl-1",
        "type": "job",
        "workspace_fqn": "new",
        "trigger": {"type": "manual"},
        "trigger_on_deploy": False,
        "env": {"A": "1"},
        "resources": {"cpu": 1},
    }
    assert manifest["name"] == "etl"
    assert naming.same_manifest(moved, moved | {"filled_in": True})
    assert not naming.same_manifest(moved, moved | {"resources": {"cpu": 2}})


@pytest.mark.parametrize(
    ("command", "run_input"),
    [
        ("", {}),
        ('{"a": 1}', {"params": {"a": 1}}),
        ("python main.py", {"command": "python main.py"}),
        ("[1, 2]", {"command": "[1, 2]"}),
        ("7", {"command": "7"}),
    ],
)
def test_a_command_becomes_the_input_that_triggers_its_like(command: str, run_input: dict) -> None:
    assert naming.trigger_input(command) == run_input


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_commands_that_trigger_the_same_have_one_form(params: dict) -> None:
    spaced = json.dumps(dict(reversed(params.items())), indent=2)
    assert naming.canonical_command(spaced) == naming.canonical_command(json.dumps(params))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ('{"rate": 1.0, "deep": [2.0]}', '{"deep":[2],"rate":1}'),
        ('{"id": 12345678901234567890}', '{"id": 12345678901234567000}'),
        ('{"far": 1e21}', '{"far": 1000000000000000000000}'),
        ('{"none": null, "deep": {"none": null}}', '{"deep": {}}'),
        ('{"twice": 1, "twice": 2}', '{"twice": 2}'),
        ('{"letter": "\\u00e9"}', '{"letter": "é"}'),
    ],
)
def test_a_remote_may_tell_parameters_its_own_way(command: str, told: str) -> None:
    assert naming.canonical_command(command) == naming.canonical_command(told)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 1.5}', '{"a": 1}'),
        ('{"a": [null]}', '{"a": []}'),
        ('{"a": ""}', "{}"),
        ('{"a": "é"}', '{"a": "e\\u0301"}'),
        ("1.0", "1"),
    ],
)
def test_what_differs_in_more_than_form_is_another_command(one: str, other: str) -> None:
    assert naming.canonical_command(one) != naming.canonical_command(other)


@pytest.mark.parametrize(
    ("url", "base", "remote"),
    [
        (
            "https://Tfy.Example.org",
            "https://Tfy.Example.org/api/svc",
            "https://tfy.example.org:443",
        ),
        ("HTTP://h:8080/x/", "http://h:8080/x", "http://h:8080"),
        ("https://h:443/api/svc", "https://h:443/api/svc", "https://h:443"),
    ],
)
def test_one_remote_however_it_is_written(url: str, base: str, remote: str) -> None:
    assert naming.base_url_of(url) == base
    assert naming.remote_of(url) == naming.remote_of(base) == remote


@pytest.mark.parametrize(
    ("spelled", "usual"),
    [
        ("tfy.example.org.", "tfy.example.org"),
        ("TFY.Bücher.example", "tfy.xn--bcher-kva.example"),
        ("127.1", "127.0.0.1"),
        ("0x7f.0.0.1", "127.0.0.1"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[2001:DB8:0:0::1]", "[2001:db8::1]"),
        ("a_b.example.org", "A_B.example.org"),
        (f"{'x' * 64}.example.org", f"{'X' * 64}.example.org"),  # longer than IDNA knows
    ],
)
def test_one_remote_however_its_host_is_spelled(spelled: str, usual: str) -> None:
    remote = naming.remote_of(f"https://{spelled}:8443/api/svc")
    assert remote != naming.remote_of("https://other.example.org:8443/api/svc")
    assert remote == naming.remote_of(f"https://{usual}:8443/api/svc")


SENT = {
    "manifest": {
        "name": "etl",
        "type": "job",
        "workspace_fqn": "cluster:workspace",
        "env": {"PASSWORD": 'a"quoted\\secret', "PIN": 4711, "CITY": "Zürich"},
        "image": {"image_uri": "registry.example.org/team/etl:7"},
    },
    "input": {"params": {"shard": "north-by-north-west"}},
}


@pytest.mark.parametrize(
    "words",
    [
        'near a"quoted\\secret',
        'near "a\\"quoted\\\\secret"',
        'cut short: a"quoted',
        "PIN is 4711",
        "no city Z\\u00fcrich",
        "no city Zürich",
        "no image registry.example",
        "shard by-north-west",
    ],
)
def test_words_that_repeat_what_was_sent_are_not_kept(words: str) -> None:
    assert naming.discreet(words, SENT) == naming.LEFT_OUT


@pytest.mark.parametrize(
    "words", ["", "type job is not known", "etl exists in cluster:workspace", "quota exceeded"]
)
def test_other_words_are_kept(words: str) -> None:
    assert naming.discreet(words, SENT) == words
    assert naming.discreet(words, {}) == words


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_what_json_cannot_carry_is_seen_before_anything_is_begun(number: str) -> None:
    assert not naming.can_be_sent(f'{{"rate": {number}}}')
    assert naming.can_be_sent(f"python train.py --rate {number}")
