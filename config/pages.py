"""What every page shares: its headers, theme and time zone, and the frame around it."""

import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from accounts.models import Organization
from accounts.scope import PageRequest, choosable, may_somewhere
from config.base.actor import Actor
from fallback.outlook import next_sweep_at, waiting
from fallback.tasks import why_idle

STRICT = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "font", "connect")),
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
DOCS = STRICT.replace("img-src 'self'", "img-src 'self' data:")  # the icons in Swagger's styles
# Alpine in the admin evaluates and inlines; still same-origin.
LOOSE = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "form-action 'self'",
        "base-uri 'self'",
        "frame-ancestors 'none'",
    ]
)
# What no page of ours uses, of what a browser has.
NOT_USED = ("camera", "geolocation", "microphone", "payment", "usb", "browsing-topics")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": settings.X_FRAME_OPTIONS,
    "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{name}=()" for name in NOT_USED),
}
OTHER_POLICIES = ((re.compile(r"/admin/"), LOOSE), (re.compile(r"/api/(v1/)?docs/?\Z"), DOCS))
ZONE_COOKIE, THEME_COOKIE = "zone", "theme"
THEMES = {"light": "light", "dark": "dark", "system": "as the system"}


class PageMiddleware:
    """Sets the headers of every answer, and the reader's time zone for the time of a request.

    Outside of all that may answer by itself: files, redirects to HTTPS, refusals, errors.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(zone_of(request)):
            response = self.get_response(request)
        if request.headers.get("HX-Request") and _leads_to_sign_in(response):
            # A fragment must not be replaced by the page to sign in: the whole page goes there.
            where = redirect_to_login(_page_of(request)).url
            response = HttpResponse(status=401, headers={"HX-Redirect": where})
        response.headers.setdefault("Content-Security-Policy", policy_of(request.path))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        # All but files is somebody's own, and true for a moment only. A browser may show a page
        # that it has again ("back") once it has asked; what programs get is kept by nobody.
        page = response.headers.get("Content-Type", "").startswith("text/html")
        kept = "private, no-cache" if page else "private, no-store"
        response.headers.setdefault("Cache-Control", kept)
        return response


def policy_of(path: str) -> str:
    return next((policy for paths, policy in OTHER_POLICIES if paths.match(path)), STRICT)


def _leads_to_sign_in(response: HttpResponse) -> bool:
    return urlsplit(response.headers.get("Location", "")).path == reverse("sign-in")


def _page_of(request: HttpRequest) -> str:
    """The page that asks for a fragment."""
    try:
        found = urlsplit(request.headers.get("HX-Current-URL", "")).path
    except ValueError:
        found = ""
    return found if found.startswith("/") else reverse("overview")


def zone_of(request: HttpRequest) -> zoneinfo.ZoneInfo:
    """The reader's zone, which zone.js writes into a cookie; UTC without."""
    name = unquote(request.COOKIES.get(ZONE_COOKIE, ""))[:64]
    try:
        return zoneinfo.ZoneInfo(name or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return zoneinfo.ZoneInfo("UTC")


@dataclass(frozen=True)
class Link:
    """A line of the navigation. `names` are the URL names that belong to it."""

    label: str
    icon: str
    name: str
    names: tuple[str, ...] = ()
    verb: str = ""  # of the role table: who may do it nowhere does not see the link

    @property
    def url(self) -> str:
        return reverse(self.name)


NAVIGATION = (
    ("", (Link("Overview", "layout-grid", "overview"),)),
    (
        "Fallback",
        (
            Link("Moves", "split", "moves", ("move",)),
            Link(
                "Configs",
                "sliders-horizontal",
                "configs",
                ("config", "config-new", "config-edit", "config-fields"),
            ),
            Link("Sweeps", "radar", "sweeps", ("sweep",)),
            Link(
                "Connections",
                "plug",
                "connections",
                ("connection", "connection-new", "connection-edit", "connection-test"),
            ),
        ),
    ),
    (
        "Organization",
        (
            Link("Activity", "activity", "activity"),
            Link(
                "Organizations",
                "users",
                "organizations",
                ("organization", "organization-new", "member", "invite-revoke", "roles"),
            ),
            Link(
                "Webhooks",
                "webhook",
                "webhooks",
                (
                    *("webhook", "webhook-new", "webhook-edit", "webhook-rotate"),
                    *("delivery", "delivery-replay"),
                ),
                verb="webhook.read",
            ),
        ),
    ),
)


def frame(request: PageRequest) -> dict[str, Any]:
    """The template context of base.html; looked up only where it is used."""
    return {"frame": SimpleLazyObject(lambda: Frame(request))}


class Frame:
    def __init__(self, request: PageRequest) -> None:
        self.request = request
        match = request.resolver_match
        self.here = match.url_name if match else ""

    @property
    def theme(self) -> str:
        """'light', 'dark', or '' where the system decides: rendered, so that nothing flashes."""
        found = self.request.COOKIES.get(THEME_COOKIE, "")
        return found if found in ("light", "dark") else ""

    @property
    def themes(self) -> list[tuple[str, str, bool]]:
        now = self.theme or "system"
        return [(name, label, name == now) for name, label in THEMES.items()]

    @property
    def navigation(self) -> list[tuple[str, list[dict[str, Any]]]]:
        return [
            (
                heading,
                [
                    {
                        "link": link,
                        "here": self.here in (link.name, *link.names),
                        "waiting": self.needs_a_person if link.name == "moves" else 0,
                    }
                    for link in links
                    if not link.verb or may_somewhere(self.request.actor, link.verb)
                ],
            )
            for heading, links in NAVIGATION
        ]

    @property
    def needs_a_person(self) -> int:
        return waiting(self.request.reader)

    @property
    def section(self) -> str:
        """Where a choice of organization leads: the list that this page belongs to."""
        for _, links in NAVIGATION:
            for link in links:
                if self.here in (link.name, *link.names):
                    return link.url
        return reverse("overview")

    @property
    def organizations(self) -> list[tuple[Organization, str]]:
        """Those to choose among, with the reader's role in each."""
        actor: Actor = self.request.actor
        return [(o, actor.roles.get(o.pk, "superuser")) for o in choosable(self.request)]

    @property
    def may_sign_up(self) -> bool:
        """Whether anybody may, without an invite."""
        return bool(settings.SIGNUP == "open")

    @property
    def organization(self) -> Organization | None:
        return self.request.organization

    @property
    def idle(self) -> str:
        """Why nothing is moved by itself, or ''."""
        return why_idle()

    @property
    def next_sweep_at(self) -> datetime | None:
        return next_sweep_at()
