"""One's own API tokens: what there is, a new one, and revoking."""

import uuid
from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import tokens
from accounts.listing import page_of
from accounts.models import NAME, ApiToken, Organization
from accounts.scope import PageRequest, deed, page, reason_of, signed_in, telling_outcome
from accounts.views.account import me
from config.base.forms import PageForm

STATES = {"": "All states", "usable": "Usable", "expired": "Expired", "revoked": "Revoked"}
ENDS = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "1 year", "": "Never"}


class TokenForm(PageForm):
    name = forms.CharField(
        max_length=100,
        validators=[NAME],
        help_text="What will use it, as in “nightly report”.",
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    days = forms.ChoiceField(
        label="Expires after", choices=list(ENDS.items()), required=False, initial="90"
    )
    organization_id = forms.ModelChoiceField(
        Organization.objects.none(),
        label="Organization",
        required=False,
        empty_label="All of mine",
        help_text="Bound to one, it sees nothing of the others.",
    )
    read_only = forms.BooleanField(label="It may only read", required=False)

    def __init__(self, *args: Any, mine: QuerySet[Organization], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice = self.fields["organization_id"]
        choice.queryset = mine  # type: ignore[attr-defined]


@page
def list_tokens(request: PageRequest) -> HttpResponse:
    mine = tokens.of(request.actor)
    chosen = {
        "search": request.GET.get("search", "").replace("\0", "").strip()[:100],
        "state": request.GET.get("state", ""),
    }
    found = mine.order_by("-created_at", "-id")
    if text := chosen["search"]:
        found = found.filter(Q(name__icontains=text) | Q(prefix__icontains=text))
    found = _in_state(found, chosen["state"])
    load = ApiToken.objects.select_related("organization").defer("digest")
    listed = page_of(request, found, load)
    context = {
        "page": listed,
        "states": {row.pk: state_of(row) for row in listed.rows},
        "chosen": chosen,
        "choices": STATES,
        "any": bool(listed.total) or mine.exists(),
    }
    return render(request, "accounts/tokens.html", context)


def _in_state(found: QuerySet[ApiToken], state: str) -> QuerySet[ApiToken]:
    now = timezone.now()
    if state == "revoked":
        return found.exclude(revoked_at=None)
    if state == "expired":
        return found.filter(revoked_at=None, expires_at__lte=now)
    if state == "usable":
        live = Q(expires_at=None) | Q(expires_at__gt=now)
        return found.filter(live, revoked_at=None)
    return found


def state_of(token: ApiToken) -> str:
    if token.revoked_at:
        return "revoked"
    expired = token.expires_at and token.expires_at <= timezone.now()
    return "expired" if expired else "usable"


@signed_in
@require_http_methods(["GET", "POST"])
def new_token(request: PageRequest) -> HttpResponse:
    """The answer to the form is the one page that ever shows the secret."""
    mine = Organization.objects.alive().filter(memberships__user=me(request)).order_by("name")
    form = TokenForm(request.POST or None, mine=mine)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        home, days = given["organization_id"], given["days"]
        try:
            token, secret = tokens.issue(
                request.actor,
                given["name"],
                organization_id=home.pk if home else None,
                read_only=given["read_only"],
                expires_at=timezone.now() + timedelta(days=int(days)) if days else None,
            )
        except ValidationError as error:
            form.blame(error)
        else:
            return _shown_once(request, token, secret)
    form.describe()
    context = {"form": form, "many": len(mine) > 1}
    status = 400 if form.is_bound else 200
    return render(request, "accounts/token_edit.html", context, status=status)


def _shown_once(request: PageRequest, token: ApiToken, secret: str) -> HttpResponse:
    address = request.build_absolute_uri(reverse("api:me"))
    context = {"token": token, "secret": secret, "address": address}
    answer = render(request, "accounts/token_created.html", context)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@page
def one_token(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    rows = tokens.of(request.actor).select_related("organization").defer("digest")
    token = get_object_or_404(rows, pk=pk)
    return render(request, "accounts/token.html", {"token": token, "state": state_of(token)})


@deed
def revoke_token(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    token = get_object_or_404(tokens.of(request.actor).select_related("user"), pk=pk)
    told = f"Revoked {token.name}. What used it is refused from now on."
    with telling_outcome(request, told):
        tokens.revoke(token, request.actor, reason_of(request))
    return redirect("tokens")
