"""Configs with their destinations: saved by `save_config`, whole or not at all."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import ModelAdmin
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
)
from unfold.decorators import action, display

from accounts.admin.auditing import Deletable
from accounts.admin.base import UNDECRYPTABLE, Question
from accounts.admin.showing import DayFilter, OrganizationFilter, state, when
from accounts.forms import Answer, NeededReasonForm
from accounts.middleware import actor_of
from config.base import showing
from config.base.secrets import Undecryptable
from fallback import configuring
from fallback.admin.connections import ConnectionFilter, Pausable, paused, told
from fallback.forms import ConfigForm, ConnectionChoiceField, DestinationForm, DestinationFormSet
from fallback.models import Connection, Destination, FallbackConfig

DELETE = Question(
    title="Delete configs",
    sentence="Nothing new is moved by them. Open moves keep what they need and run on.",
    button="Delete config",
    done="deleted",
    way_out="Keep config",
    form=NeededReasonForm,
    danger=True,
)
REPAIR = Question(
    title="Repair configs",
    sentence="Looks up every FQN that is missing, at the remote.",
    button="Repair",
    form=Answer,
)


class SavedByVerb(ModelAdmin):
    """Saving calls a remote, so it happens outside of any transaction; the verb has its own.

    What the verb refuses is shown in the form that was sent, and nothing is saved.
    """

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        view = self._changeform_view  # type: ignore[attr-defined]
        try:
            return view(request, object_id, form_url, extra_context)
        except ValidationError as error:
            request.refusal = error.error_dict  # type: ignore[attr-defined]
        return view(request, object_id, form_url, extra_context)


class DestinationInline(TabularInline):
    model = Destination
    form = DestinationForm
    formset = DestinationFormSet
    fields = (
        "cluster_id",
        "workspace_id",
        "workspace_fqn",
        "enabled",
        "max_open_moves",
        "position",
    )
    extra = 0
    min_num = 1
    max_num = 20
    ordering_field = "position"
    hide_ordering_field = True
    verbose_name_plural = "destinations, the first that can take a run gets it"

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        formset.refusal = getattr(request, "refusal", {})
        return formset


class NeedsRepairFilter(DropdownFilter):
    title = "repair"
    parameter_name = "repair"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("needed", "needs repair")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return broken(queryset) if self.value() == "needed" else queryset


def broken(configs: QuerySet[FallbackConfig]) -> QuerySet[FallbackConfig]:
    missing = Destination.objects.filter(config=OuterRef("pk"), workspace_fqn="")
    return configs.filter(Exists(missing))


@admin.register(FallbackConfig)
class FallbackConfigAdmin(Pausable, Deletable, SavedByVerb):
    form = ConfigForm
    inlines = [DestinationInline]
    deletion = DELETE
    list_display = (
        "source",
        "there",
        "how",
        "policy",
        "after",
        "owner",
        when("created_at"),
    )
    list_filter = (
        OrganizationFilter.by("connection__organization_id"),
        ConnectionFilter,
        ("mode", ChoicesDropdownFilter),
        ("purge_mode", ChoicesDropdownFilter),
        NeedsRepairFilter,
        "enabled",
        ("created_at", DayFilter),
    )
    search_fields = (
        "source_workspace_name",
        "source_workspace_id",
        "source_job_name",
        "source_job_id",
    )
    ordering = ("-created_at", "-id")
    readonly_fields = ("how", "created_by_name", "created_at", "updated_at")
    actions = ["repair", "pause", "resume", "delete_rows"]
    actions_detail = ["repair", "pause", "resume"]
    actions_list = ["repair_all"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[FallbackConfig]:
        rows = (
            super()
            .get_queryset(request)
            .select_related("connection__organization", "connection__pause", "pause")
        )
        return rows.defer("connection__token").prefetch_related("destinations")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        source = ("connection", ("source_cluster_id", "source_workspace_id"), "source_job_id")
        policy = (
            ("stuck_threshold_minutes", "cooldown_minutes", "max_hops"),
            "statuses",
            ("mode", "purge_mode"),
            "enabled",
        )
        found = [("Source", {"fields": source}), ("What is done", {"fields": policy})]
        if obj:
            record = ("how", ("created_by_name", "created_at", "updated_at"))
            found.append(("Record", {"fields": record}))
        return found

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, *(["connection"] if obj else []))

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "connection":
            kwargs["form_class"] = ConnectionChoiceField
            kwargs["queryset"] = (
                Connection.objects.filter(organization__deleted_at__isnull=True)
                .defer("token")
                .select_related("organization")
                .order_by("organization__name", "name")
            )
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.refusal = getattr(request, "refusal", {})
        return form

    # Saving

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Nothing yet: a config is saved with its destinations."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        config, user = form.instance, request.user
        if not change:
            config.created_by, config.created_by_name = user, str(user)[:100]
        destinations = [one.instance for formset in formsets for one in formset.kept()]
        try:
            configuring.save_config(config, destinations, actor_of(request))
        except Undecryptable:
            raise ValidationError({"connection": UNDECRYPTABLE}) from None
        except IntegrityError:  # somebody else's was saved since we looked
            text = "There is a config for this source already."
            raise ValidationError({"source_workspace_id": text}) from None
        if any(not place.workspace_fqn for place in destinations):
            text = (
                "The control plane could not be asked, so destinations have no FQN yet: the "
                "config needs repair, and moves nothing until then."
            )
            self.message_user(request, text, messages.WARNING)

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        return super().construct_change_message(request, form, [], add)

    def delete_row(self, request: HttpRequest, row: Any, reason: str) -> None:
        configuring.delete_config(row, actor_of(request), reason)

    # Columns

    @display(description="source", ordering="source_workspace_name", header=True)
    def source(self, config: FallbackConfig) -> list[str]:
        job = config.source_job_name or config.source_job_id or "every job"
        return [config.source_workspace_name or config.source_workspace_id, job]

    @display(description="destinations")
    def there(self, config: FallbackConfig) -> str:
        places = [str(place) for place in config.destinations.all()]
        return ", ".join([*places[:3], "…"] if len(places) > 3 else places)

    @display(description="mode, purge mode", ordering="mode", header=True)
    def policy(self, config: FallbackConfig) -> list[str]:
        return [config.mode, config.purge_mode]

    @display(description="stuck after", ordering="stuck_threshold_minutes")
    def after(self, config: FallbackConfig) -> str:
        return showing.duration(timedelta(minutes=config.stuck_threshold_minutes))

    @display(description="organization, connection", header=True)
    def owner(self, config: FallbackConfig) -> list[object]:
        return [config.connection.organization, config.connection]

    @display(description="state")
    def how(self, config: FallbackConfig) -> str:
        if config.needs_repair:
            return state("config", "repair")
        if found := paused(config) or paused(config.connection):
            return told(found)
        return state("config", "enabled" if config.enabled else "disabled")

    # Actions

    def offers(self, action: str, row: Any) -> bool:
        return row.needs_repair if action == "repair" else super().offers(action, row)

    @action(description="Repair", icon="build")
    def repair(
        self, request: HttpRequest, queryset: Any = None, object_id: str | None = None
    ) -> HttpResponse | None:
        def do(config: FallbackConfig) -> None:
            self._repair(request, [config])

        return self.ask(request, REPAIR, do, queryset, object_id)

    @action(description="Repair all", icon="build")
    def repair_all(self, request: HttpRequest) -> HttpResponse | None:
        def do(_: None) -> None:
            self._repair(request, list(broken(self.get_queryset(request))))

        return self.ask(request, REPAIR, do)

    def _repair(self, request: HttpRequest, configs: list[FallbackConfig]) -> None:
        repaired, problems = configuring.repair(actor_of(request), configs)
        level = messages.SUCCESS if repaired else messages.INFO
        told = f"{showing.count(repaired, 'destination')} repaired."
        self.message_user(request, told, level)
        for problem in problems[:20]:
            self.message_user(request, problem, messages.ERROR)
