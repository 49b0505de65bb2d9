"""Creating and editing a config, and the part of the form that the control plane feeds."""

import uuid
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.scope import PageRequest, Refused, deed, must, reason_of, signed_in, where_may
from config.base.problems import Conflict
from config.base.secrets import Undecryptable
from fallback import configuring
from fallback.models import Connection, FallbackConfig, Mode, PurgeMode
from fallback.views.config_form import (
    MODES,
    MOST_DESTINATIONS,
    PLAIN,
    SOURCE,
    ConfigForm,
    Draft,
    choices,
    connect,
)
from fallback.views.configs import LOST_KEY, one_of, pause_of_everything, state_of


def _connections(request: PageRequest) -> list[Connection]:
    """Those that the reader may write configs for."""
    homes = where_may(request.actor, "config.write")
    found = Connection.objects.filter(organization__in=homes).select_related("organization")
    return list(found.defer("token").order_by("name"))


def _chosen(request: PageRequest, known: list[Connection]) -> Connection | None:
    """The connection that the form names, or the only one. Raises Http404 for a foreign one."""
    wanted = request.POST.get("connection") or request.GET.get("connection") or ""
    if not wanted:
        return known[0] if len(known) == 1 else None
    for connection in known:
        if str(connection.pk) == wanted:
            return connection
    raise Http404


@signed_in
@require_http_methods(["GET", "POST"])
def create(request: PageRequest) -> HttpResponse:
    known = _connections(request)
    if not where_may(request.actor, "config.write"):
        raise Refused("config.write")
    connection = _chosen(request, known)
    config = FallbackConfig(
        mode=Mode.OBSERVE,  # the page's choice: look first
        created_by_id=request.actor.user_id,
        created_by_name=request.actor.name[:100],
    )
    if connection:
        config.connection = connection
    return _form(request, config, connection, known)


@signed_in
@require_http_methods(["GET", "POST"])
def edit(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    config = one_of(request, pk)
    must(request.actor, "config.write", config.organization_id, config)
    return _form(request, config, config.connection, [config.connection])


def _form(
    request: PageRequest,
    config: FallbackConfig,
    connection: Connection | None,
    known: list[Connection],
) -> HttpResponse:
    if request.method == "GET":
        form = ConfigForm(initial={name: getattr(config, name) for name in PLAIN})
        draft = Draft.of(config) if connection else Draft.sent(None, request.POST)
        draft.look(ask=False)
        return _shown(request, config, form, draft, known)
    form = ConfigForm(request.POST)
    draft = Draft.sent(connection, request.POST)
    verb = request.POST.get("verb", "save")
    if verb != "save":  # without script: the arrangement changes, and nothing is saved
        draft.rearrange(verb)
        draft.look(ask=True)
        form = ConfigForm(initial=_typed(request))
        return _shown(request, config, form, draft, known)
    if _save(request, config, form, draft):
        return redirect("config", pk=config.pk)
    draft.look(ask=True)  # now: what the page fetches later would replace the errors
    return _shown(request, config, form, draft, known, status=400)


def _typed(request: PageRequest) -> dict[str, Any]:
    typed: dict[str, Any] = {name: request.POST.get(name, "") for name in PLAIN}
    return typed | {"statuses": request.POST.getlist("statuses")}


def _save(request: PageRequest, config: FallbackConfig, form: ConfigForm, draft: Draft) -> bool:
    """Whether it is saved; otherwise the form and the draft say why not."""
    if draft.connection is None:
        draft.errors["connection"] = ["Choose a connection."]
    created = config._state.adding
    if not form.is_valid() or draft.connection is None:
        return False
    form.assign(config)
    try:
        reached = _put(config, draft, request, created)
    except ValidationError as error:
        _blame(form, draft, error)
        return False
    except (Conflict, Undecryptable) as error:
        draft.errors["connection"] = [LOST_KEY if isinstance(error, Undecryptable) else str(error)]
        return False
    if not reached:
        text = "Saved. The control plane did not answer, so the config may need repair."
        messages.warning(request, text)
    else:
        messages.success(request, f"{'Created' if created else 'Saved'} {config}.")
    return True


def _put(config: FallbackConfig, draft: Draft, request: PageRequest, created: bool) -> bool:
    """Ask the control plane what the ids mean and save; answers whether it could be asked.

    Raises ValidationError by field, and Conflict.
    """
    fqns = {} if created else dict(config.destinations.values_list("workspace_id", "workspace_fqn"))
    if config.source_workspace_id != draft.source["source_workspace_id"]:
        config.source_workspace_name = config.source_job_name = ""
    for name in SOURCE:
        setattr(config, name, draft.source[name])
    places = draft.destinations()
    looked = configuring.look_up_names(config, places, connect)
    if looked.errors:
        raise ValidationError(looked.errors)
    for place in places:
        place.workspace_fqn = place.workspace_fqn or fqns.get(place.workspace_id, "")
    reason = reason_of(request)
    configuring.save_config(config, places, request.actor, look_up=False, reason=reason)
    return looked.reached


def _blame(form: ConfigForm, draft: Draft, error: ValidationError) -> None:
    """Show each sentence at the field that it is about."""
    found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    for name, texts in found.items():
        if name in form.fields:
            form.add_error(name, texts)
        elif name in (*SOURCE, "connection"):
            draft.errors.setdefault(name, []).extend(texts)
        else:
            plain = [text.removeprefix("workspace_id: ") for text in texts]
            draft.errors.setdefault("destinations", []).extend(plain)


@deed
def fields(request: PageRequest) -> HttpResponse:
    """The source and the destinations with their choices, asked of the control plane."""
    known = _connections(request)
    draft = Draft.sent(_chosen(request, known), request.POST)
    draft.forget(request.headers.get("HX-Trigger", ""))
    draft.rearrange(request.POST.get("verb", ""))
    draft.look(ask=True)
    context = {"draft": draft, "connections": known, "most": MOST_DESTINATIONS, "asked": True}
    return render(request, "fallback/_config_places.html", context)


def _shown(
    request: PageRequest,
    config: FallbackConfig,
    form: ConfigForm,
    draft: Draft,
    known: list[Connection],
    status: int = 200,
) -> HttpResponse:
    new = config._state.adding
    value = {name: form[name].value() for name in PLAIN}
    context = {
        "part": "Fallback",
        "thing": "config",
        "things": "configs",
        "row": None if new else config,
        "state": "" if new else state_of(config, pause_of_everything()),
        "form": form,
        "value": value,
        "threshold": str(value["stuck_threshold_minutes"]),
        "draft": draft,
        "connections": known,
        "modes": choices(MODES),
        "purge_modes": choices(list(PurgeMode)),
        "most": MOST_DESTINATIONS,
        "problems": sum(map(len, draft.errors.values())) + sum(map(len, form.errors.values())),
    }
    return render(request, "fallback/config_edit.html", context, status=status)
