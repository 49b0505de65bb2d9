"""Who may do what in the admin: every address of it, for everybody who might.

A line for each model with what a superuser gets; nobody else gets anything. A model, an action or
a page that is new breaks `test_every_address_is_in_the_table`.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Permission
from django.db import connection as database
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Activity
from tests.factories import MembershipFactory, UserFactory
from tests.fallback.test_admin import ROWS

pytestmark = pytest.mark.django_db
WRITES = ("INSERT", "UPDATE", "DELETE")
PAGES = ("changelist", "add", "change", "delete", "history")

# What a superuser gets from GET: changelist, add, change, delete, history; then the addresses
# of a row's own actions, and the actions on a list's selected rows.
SHOWN_ONLY = "200 403 200 403"  # rows that state machines own
TABLE: dict[str, tuple[str, set[str], set[str]]] = {
    "accounts.user": (
        "200 200 200 403 302",
        {"issue_token", "deactivate", "reactivate", "password_change"},
        {"deactivate", "reactivate"},
    ),
    "accounts.organization": ("200 200 200 403 302", {"rotate_code"}, set()),
    "accounts.invite": (f"{SHOWN_ONLY} 302", {"revoke"}, {"revoke"}),
    "accounts.chain": (f"{SHOWN_ONLY} 302", set(), set()),
    "accounts.webhook": (
        "200 403 200 200 302",
        {"pause", "resume"},
        {"pause", "resume", "delete_rows"},
    ),
    "accounts.delivery": (f"{SHOWN_ONLY} 302", {"replay"}, {"replay"}),
    "accounts.membership": ("200 200 200 200 302", set(), {"delete_rows"}),
    "accounts.apitoken": (f"{SHOWN_ONLY} 302", {"revoke"}, {"revoke"}),
    "accounts.activity": (f"{SHOWN_ONLY} 302", set(), set()),
    "django_celery_beat.periodictask": (
        "200 200 200 403 302",
        set(),
        {"enable_tasks", "disable_tasks", "run_tasks"},
    ),
    "django_celery_beat.intervalschedule": ("200 200 200 403 302", set(), set()),
    "django_celery_beat.crontabschedule": ("200 200 200 403 302", set(), set()),
    "fallback.connection": (
        "200 200 200 200 302",
        {"test", "pause", "resume"},
        {"test", "pause", "resume", "delete_rows"},
    ),
    "fallback.pause": (f"{SHOWN_ONLY} 302", {"pause_everything", "resume"}, {"resume"}),
    "fallback.fallbackconfig": (
        "200 200 200 200 302",
        {"repair_all", "repair", "pause", "resume"},
        {"repair", "pause", "resume", "delete_rows"},
    ),
    "fallback.move": (f"{SHOWN_ONLY} 302", {"retry", "cancel"}, {"retry", "cancel"}),
    "fallback.movestep": (f"{SHOWN_ONLY} 302", set(), set()),
    "fallback.relocation": (f"{SHOWN_ONLY} 302", set(), set()),
    "fallback.sweep": (f"{SHOWN_ONLY} 302", {"dry_run", "sweep_now"}, set()),
}
# The site's own: the address by name, what a superuser gets, and everybody else.
SITE = {
    "index": (200, 302),
    "login": (302, 200),
    "logout": (405, 302),
    "password_change": (200, 302),
    "password_change_done": (200, 302),
    "autocomplete": (403, 302),  # without the names of a model and a field
    "jsi18n": (200, 302),
    "search": (200, 302),
}
# Patterns: an object's page on the site (there is none), and an app's list.
OTHERS = {"view_on_site", "app_list", None}


def outsiders() -> dict[str, Any]:
    """Everybody who is no superuser, however much Django would let them."""
    mighty = UserFactory.create(is_staff=True)
    mighty.user_permissions.set(Permission.objects.all())
    return {
        "anonymous": None,
        "viewer": MembershipFactory.create(role="viewer").user,
        "owner": MembershipFactory.create(role="owner").user,
        "staff": UserFactory.create(is_staff=True),
        "staff with every permission": mighty,
        "an owner who is staff": MembershipFactory.create(
            role="owner", user=UserFactory.create(is_staff=True)
        ).user,
    }


def signed_in(user: Any) -> Client:
    client = Client()
    if user:
        client.force_login(user)
    return client


def own_names(model: type[Model]) -> set[str]:
    """The names of a model's addresses without what they all begin with."""
    prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
    names = {pattern.name for pattern in admin.site._registry[model].get_urls()}
    return {str(name).removeprefix(prefix).removeprefix("auth_user_") for name in names if name}


def addresses(row: Model) -> Iterator[tuple[str, str]]:
    """Each address about `row`, by its own name."""
    model = type(row)
    for pattern in admin.site._registry[model].get_urls():
        if pattern.name:
            takes = "<" in str(pattern.pattern)
            args = [row.pk] if takes else []
            name = str(pattern.name)
            own = name.removeprefix(f"{model._meta.app_label}_{model._meta.model_name}_")
            yield own.removeprefix("auth_user_"), reverse(f"admin:{name}", args=args)


def written(queries: CaptureQueriesContext) -> list[str]:
    """What was changed, but for the record of the refusal and the session's last use."""
    ours = ('"accounts_activity"', '"accounts_session"')
    texts = [query["sql"] for query in queries if query["sql"].startswith(WRITES)]
    return [text for text in texts if not any(name in text.partition("(")[0] for name in ours)]


def model_of(label: str) -> type[Model]:
    return next(model for model in ROWS if model._meta.label_lower == label)


def test_every_model_has_a_line():
    assert set(TABLE) == {model._meta.label_lower for model in admin.site._registry}
    assert {model._meta.label_lower for model in ROWS} == set(TABLE)


@pytest.mark.parametrize("label", TABLE)
def test_every_address_is_in_the_table(label):
    _, of_a_row, _ = TABLE[label]
    assert own_names(model_of(label)) - set(PAGES) == of_a_row


def test_every_address_of_the_site_is_in_the_table():
    names = {getattr(pattern, "name", None) for pattern in admin.site.urls[0]}
    assert names - OTHERS == set(SITE)


@pytest.mark.parametrize("label", TABLE)
def test_every_action_on_selected_rows_is_in_the_table(label, rf):
    request = rf.get("/")
    request.user = UserFactory.create(is_superuser=True, is_staff=True)
    assert set(admin.site._registry[model_of(label)].get_actions(request)) == TABLE[label][2]


@pytest.mark.parametrize("label", TABLE)
def test_what_a_superuser_gets(label):
    line, of_a_row, _ = TABLE[label]
    row = ROWS[model_of(label)](0)
    root = signed_in(UserFactory.create(is_superuser=True, is_staff=True))
    found = {name: root.get(address).status_code for name, address in addresses(row)}
    assert " ".join(str(found[page]) for page in PAGES) == line
    # A GET asks before anything is done.
    for name in of_a_row:
        assert found[name] == 200, name


@pytest.mark.parametrize("label", TABLE)
def test_nobody_else_gets_or_does_anything(label):
    row = ROWS[model_of(label)](0)
    before = set(Activity.objects.values_list("pk", flat=True))
    selected = {ACTION_CHECKBOX_NAME: [str(row.pk)], "answered": "1", "reason": "because"}
    for who, user in outsiders().items():
        client = signed_in(user)
        for name, address in addresses(row):
            for method in ("get", "post"):
                with CaptureQueriesContext(database) as queries:
                    answer = getattr(client, method)(address, {"reason": "x", "answered": "1"})
                assert answer.status_code == 302, (who, method, name)
                assert answer.headers["Location"].startswith("/admin/login/"), (who, name)
                assert not written(queries), (who, method, name)
        for action in TABLE[label][2]:
            address = reverse(f"admin:{label.replace('.', '_')}_changelist")
            answer = client.post(address, {"action": action, **selected})
            assert answer.status_code == 302, (who, action)
            assert answer.headers["Location"].startswith("/admin/login/"), (who, action)
    assert type(row)._default_manager.filter(pk=row.pk).exists()
    told = Activity.objects.exclude(pk__in=before)
    assert told.filter(refused=True).count() == told.count()


@pytest.mark.parametrize("name", SITE)
def test_the_sites_own_pages(name):
    mine, others = SITE[name]
    address = reverse(f"admin:{name}")
    root = signed_in(UserFactory.create(is_superuser=True, is_staff=True))
    assert root.get(address).status_code == mine
    for who, user in outsiders().items():
        before = transaction.savepoint()
        answer = signed_in(user).get(address)
        transaction.savepoint_rollback(before)
        assert answer.status_code == others, who


def test_no_app_list_and_no_unknown_address_tells_anything():
    for who, user in outsiders().items():
        for path in ("/admin/accounts/", "/admin/fallback/", "/admin/nope/", "/admin/r/1/1/"):
            answer = signed_in(user).get(path)
            assert answer.status_code == 302, (who, path)
            assert answer.headers["Location"].startswith("/admin/login/"), (who, path)


def test_a_superuser_who_was_deactivated_is_nobody():
    user = UserFactory.create(is_superuser=True, is_staff=True)
    client = signed_in(user)
    assert client.get("/admin/").status_code == 200
    user.is_active = False
    user.save(update_fields=["is_active"])
    for path in ("/admin/", "/admin/accounts/user/", "/admin/fallback/move/"):
        assert client.get(path).headers["Location"].startswith("/admin/login/")


def test_a_row_that_is_not_there_leads_back():
    root = signed_in(UserFactory.create(is_superuser=True, is_staff=True))
    for model in ROWS:
        kept = TABLE[model._meta.label_lower][0].split()[PAGES.index("delete")] == "403"
        for page, status in (("change", 302), ("history", 302), ("delete", 403 if kept else 302)):
            for key in ("6f1d2c3b-4a59-4e7f-8c6d-9b0a1f2e3d4c", "x", "99999999999999999999", "'"):
                name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
                answer = root.get(reverse(name, args=[key]))
                assert answer.status_code == status, (name, key)
