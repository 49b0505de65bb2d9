"""Invites on the pages: making and revoking them, and rotating the join code."""

from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import joining
from accounts.models import Invite
from accounts.scope import (
    PageRequest,
    Refused,
    deed,
    must,
    needed_reason_of,
    signed_in,
    telling_outcome,
)
from accounts.views.organizations import one_of

SPANS = {"1": "1 day", "7": "7 days", "30": "30 days", "": "No end"}


@deed
def create(request: PageRequest, key: str) -> HttpResponse:
    found = one_of(request, key)
    must(request.actor, "invite.write", found.pk, found)
    days, uses = request.POST.get("days", ""), request.POST.get("uses", "").strip()
    until = timezone.now() + timedelta(days=int(days)) if days in SPANS and days else None
    try:
        most = int(uses) if uses and uses.isascii() and uses.isdigit() and len(uses) < 10 else None
        if uses and most is None:
            raise ValidationError({"most_uses": "Uses: give a whole number, or nothing."})
        role = request.POST.get("role", "")
        joining.invite(found, request.actor, role, until, most)
    except PermissionDenied:
        raise Refused("invite.write", found.pk, found) from None
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"Created the invite for a {role}. Copy its link below.")
    return redirect("organization", key=found.pk)


@deed
def rotate(request: PageRequest, key: str) -> HttpResponse:
    found = one_of(request, key)
    must(request.actor, "invite.write", found.pk, found)
    with telling_outcome(request, "There is a new join code. The one before works no more."):
        joining.rotate(found, request.actor, needed_reason_of(request))
    return redirect("organization", key=found.pk)


@signed_in
@require_http_methods(["GET", "POST"])
def revoke(request: PageRequest, pk: UUID) -> HttpResponse:
    """Asks first: a revoked invite never works again."""
    mine = Invite.objects.visible_to(request.actor).select_related("organization")
    found = mine.filter(pk=pk, organization__deleted_at__isnull=True, standing=False).first()
    if found is None:
        raise Http404
    home = found.organization
    must(request.actor, "invite.write", home.pk, found)
    if request.method == "GET":
        context = {"invite": found, "organization": home, "state": joining.state_of(found)}
        return render(request, "accounts/invite_revoke.html", context)
    with telling_outcome(request, f"Revoked the {found.role} invite."):
        joining.revoke(found, request.actor, needed_reason_of(request))
    return redirect("organization", key=home.pk)
