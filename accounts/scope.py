"""Which organization's rows the pages show: all of the reader's, or the one that was chosen.

`?organization=SLUG` chooses, the session remembers, an empty value goes back to all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_POST, require_safe

from accounts import activity, roles
from accounts.models import Organization
from config.base.actor import Actor
from config.base.problems import Conflict

SESSION_KEY = "organization"
MOST_CHOICES = 200

if TYPE_CHECKING:

    class PageRequest(HttpRequest):
        """A request after the middleware of accounts."""

        actor: Actor  # who it is, with all that they may see
        reader: Actor  # the same, for lists: narrowed to the organization that was chosen
        organization: Organization | None  # that one
else:
    PageRequest = HttpRequest


class ScopeMiddleware:
    """`request.organization` and `request.reader`, looked up when a page first uses them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: PageRequest) -> HttpResponse:
        request.organization = SimpleLazyObject(lambda: chosen(request))  # type: ignore[assignment]
        request.reader = SimpleLazyObject(lambda: reader_of(request))  # type: ignore[assignment]
        return self.get_response(request)

    def process_exception(self, request: PageRequest, fault: Exception) -> None:
        """Here what the view has begun is rolled back, and it is known whether it was to read."""
        if isinstance(fault, Refused) and request.method not in ("GET", "HEAD"):
            activity.refused(request.actor, fault.verb, fault.organization_id, fault.subject)


def chosen(request: PageRequest) -> Organization | None:
    """The organization asked for, else the remembered one. Raises Http404 for an unknown one."""
    mine = Organization.objects.visible_to(request.actor)
    asked = request.GET.get("organization")
    if asked is None:
        remembered = request.session.get(SESSION_KEY)
        return mine.filter(slug=remembered).first() if remembered else None
    if not asked:
        request.session.pop(SESSION_KEY, None)
        return None
    found = mine.filter(slug=asked).first()
    if found is None:
        raise Http404
    if request.session.get(SESSION_KEY) != found.slug:
        request.session[SESSION_KEY] = found.slug
    return found


def reader_of(request: PageRequest) -> Actor:
    actor, organization = request.actor, request.organization
    if not organization:
        return actor
    role = actor.roles.get(organization.pk, roles.Role.OWNER)  # a superuser need not be a member
    return Actor(
        name=actor.name,
        user_id=actor.user_id,
        token_id=actor.token_id,
        roles={organization.pk: role},
        read_only=actor.read_only,
        request_id=actor.request_id,
        address=actor.address,
    )


def choosable(request: PageRequest) -> list[Organization]:
    """What the menu of organizations lists."""
    return list(Organization.objects.visible_to(request.actor).order_by("name")[:MOST_CHOICES])


class Refused(PermissionDenied):
    """`verb` was tried, by somebody whose role is too low for it. It leaves an Activity."""

    def __init__(
        self, verb: str, organization_id: UUID | None = None, subject: Model | None = None
    ) -> None:
        super().__init__()
        self.verb, self.organization_id, self.subject = verb, organization_id, subject


def must(actor: Actor, verb: str, organization_id: UUID, subject: Model | None = None) -> None:
    """Raises Refused, which the pages answer with 403."""
    if not roles.may(actor, verb, organization_id):
        raise Refused(verb, organization_id, subject)


def may_somewhere(actor: Actor, verb: str) -> bool:
    """Whether there is an organization in which `actor` may do `verb`."""
    if actor.sees_all:
        return not actor.read_only or roles.LEAST[verb] is roles.Role.VIEWER
    return any(roles.may(actor, verb, organization_id) for organization_id in actor.organizations)


def where_may(actor: Actor, verb: str) -> list[Organization]:
    """The organizations in which `actor` may do `verb`."""
    mine = Organization.objects.visible_to(actor).order_by("name")[:MOST_CHOICES]
    return [found for found in mine if roles.may(actor, verb, found.pk)]


def home_of(request: PageRequest, homes: list[Organization]) -> Organization | None:
    """Where a new row belongs: as the form says, else where the reader looks, else the only one."""
    if len(homes) == 1:
        return homes[0]
    chosen = request.organization.slug if request.organization else ""
    wanted = request.POST.get("organization", chosen)
    return next((home for home in homes if home.slug == wanted), None)


def reason_of(request: PageRequest) -> str:
    """What the form says of why, or ''."""
    return request.POST.get("reason", "").replace("\0", "").strip()[:500]


def needed_reason_of(request: PageRequest) -> str:
    """The same where others are affected, who will want to know. Raises Conflict without one."""
    if reason := reason_of(request):
        return reason
    raise Conflict("Give a reason: others will read it.", "ReasonMissing")


@contextmanager
def telling_outcome(request: PageRequest, success: str) -> Iterator[None]:
    """Afterwards the next page says `success`, or which state of things did not allow it."""
    try:
        yield
    except Conflict as conflict:
        messages.error(request, str(conflict))
    else:
        messages.success(request, success)


View = Callable[..., HttpResponse]


def signed_in(view: View) -> View:
    """A view for people who have signed in; others are sent to sign in, and come back."""
    return login_required(view)


def page(view: View) -> View:
    """A view that reads, for people who have signed in."""
    return signed_in(require_safe(view))


def deed(view: View) -> View:
    """A view that does something: POST, by people who have signed in."""

    @wraps(view)
    def guarded(request: PageRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(reverse("overview"))  # nobody signs in to a POST
        return view(request, *args, **kwargs)

    return require_POST(guarded)
