"""The repository itself: what it promises to use, and what must not be in it."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.in"))
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))

# What this project was asked to stand on, and the name by which each is imported.
USED = {
    "django": "django",
    "djangorestframework": "rest_framework",
    "django-celery-beat": "django_celery_beat",
    "celery": "celery",
    "channels": "channels",
    "daphne": "daphne",
    "django-environ": "environ",
    "requests": "requests",
    "kubernetes": "kubernetes",
    "pytest-django": "pytest_django",
    "factory-boy": "factory",
}
# Not imported yet. This list only shrinks.
STILL_TO_COME = {"kubernetes"}

MOST_LINES = 400
# Longer than that, and why.
LONG: dict[str, str] = {}

TEXT = {"", ".css", ".example", ".html", ".in", ".js", ".lock", ".md", ".py", ".toml", ".yaml"}


def our_files() -> list[Path]:
    """What is committed, or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git repository")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def names_used() -> set[str]:
    """Top-level names that any of our modules imports, and what settings and fixtures name."""
    found = set()
    for path in our_files():
        if path.suffix != ".py" or path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
    # daphne serves the application, and pytest-django the tests; nobody imports them.
    if '"-m", "daphne"' in (ROOT / "config/management/commands/up.py").read_text():
        found.add("daphne")
    if "DJANGO_SETTINGS_MODULE" in (ROOT / "pyproject.toml").read_text():
        found.add("pytest_django")
    return found


def test_what_was_asked_for_is_used():
    used = names_used()
    missing = {package for package, name in USED.items() if name not in used}
    assert missing == STILL_TO_COME, "used now: take it out of STILL_TO_COME" * (
        missing < STILL_TO_COME
    )


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_each_requirement_carries_its_reason(path):
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "-r ")):
            assert re.fullmatch(r"\S+ +# \S.+", line), f"{path.name}: {line}"


def test_each_requirement_is_locked_by_hash():
    for path in REQUIREMENTS:
        lock = path.with_suffix(".lock").read_text()
        for line in path.read_text().splitlines():
            if line and not line.startswith(("#", "-r ")):
                name = re.split(r"[\[~=<>! ]", line)[0]
                assert re.search(rf"^{re.escape(name)}(\[[^]]*\])?==", lock, re.M), name
        pinned = re.findall(r"^[a-z0-9][^\s;]*==", lock, re.M)
        assert pinned
        for entry in re.split(r"(?m)^(?=[a-z0-9])", lock)[1:]:
            assert "--hash=sha256:" in entry, entry.splitlines()[0]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_index(path):
    assert not re.search(r"https?://|file:|--index|--find-links|--extra", path.read_text())


def test_no_file_names_a_developers_machine_or_a_private_index():
    somebodys = re.compile(
        r"/(?:home|Users)/[a-z][\w.-]*/|/root/|(?<![\w.$}/-])/work/|/opt/pypi|/simple/?\s*$"
        r"|(?:index|extra-index|find-links)[-_]?(?:url)?\s*=\s*\"?https?://"
    )
    for path in our_files():
        if path.suffix in TEXT and path != Path(__file__):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                assert not somebodys.search(line), f"{path.relative_to(ROOT)}:{number}: {line}"


def test_files_stay_short():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in our_files()
        if path.suffix in {".py", ".js", ".html"} and "migrations" not in path.parts
    }
    long = {name for name, lines in lengths.items() if lines > MOST_LINES}
    assert long == set(LONG)


def test_the_readme_opens_with_the_two_commands():
    opening = (ROOT / "README.md").read_text()[:1500]
    assert "make demo" in opening and "make test" in opening


def test_the_top_level_is_the_agreed_one():
    allowed = {"accounts", "config", "docs", "fallback", "scheduling", "static", "templates"}
    allowed |= {"tenants", "tests", "requirements", ".ci"}
    top = {path.relative_to(ROOT).parts[0] for path in our_files()}
    assert {name for name in top if (ROOT / name).is_dir()} <= allowed
