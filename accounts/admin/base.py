"""What every page of the admin shares: who acts, questions before what hurts, an Activity after."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.functions import Lower
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from structlog.contextvars import get_contextvars
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action
from unfold.paginator import InfinitePaginator

from accounts import activity
from accounts.forms import Answer, ReasonForm
from accounts.models import Organization, User
from config.base.actor import Actor
from config.base.problems import Conflict
from config.base.secrets import Undecryptable

MOST_ROWS = 200  # that one action takes
MOST_CHOICES = 500  # that a filter offers
UNDECRYPTABLE = "A stored secret cannot be decrypted: ENCRYPTION_KEYS lacks its key."


def actor_of(request: HttpRequest) -> Actor:
    """The person at the other end, as verbs and activities know them."""
    assert isinstance(request.user, User)
    request_id = str(get_contextvars().get("request_id", ""))
    return request.user.actor(request_id, request.META.get("REMOTE_ADDR") or "")


def pill(text: object, tone: str = "idle") -> SafeString:
    """A state as people see it. Tones: idle, active, good, warn, bad, person."""
    return mark_safe(render_to_string("admin/pill.html", {"text": text, "tone": tone}))


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> SafeString:
    """A table that becomes cards on a phone."""
    context = {"table": {"headers": headers, "rows": list(rows)}}
    return mark_safe(render_to_string("unfold/components/table.html", context))


def link_to(row: Model | None, text: object = None) -> str | SafeString:
    """`row` as a link to its page here, or '' without one."""
    if row is None:
        return ""
    meta = row._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=(quote(str(row.pk)),))
    return link(url, str(row) if text is None else text)


def link(url: str, text: object) -> SafeString:
    return mark_safe(render_to_string("admin/link.html", {"url": url, "text": text}))


@dataclass(frozen=True, slots=True)
class Question:
    """Asked before something is done. `done` tells of it afterwards: '3 moves DONE.'"""

    title: str
    sentence: str
    button: str
    done: str = ""
    way_out: str = "Back"
    form: type[Answer] = ReasonForm
    danger: bool = False


class Admin(ModelAdmin):
    """Lists are bounded, histories are our own activities, and nothing is deleted in bulk."""

    list_per_page = 50
    list_max_show_all = 200
    list_disable_select_all = True
    show_full_result_count = False
    compressed_fields = True
    warn_unsaved_form = True

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """What everybody did to it, not in the admin alone."""
        query = {"object_kind__exact": self.opts.model_name, "object_id__exact": object_id}
        return HttpResponseRedirect(
            f"{reverse('admin:accounts_activity_changelist')}?{urlencode(query)}"
        )

    # Which actions a row's page offers

    def offers(self, action: str, row: Any) -> bool:
        """Whether `action` makes sense for `row` now. The verb has the last word."""
        return True

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = super().get_actions_detail(request, object_id)
        row = self.get_object(request, unquote(str(object_id))) if actions else None
        prefix = f"{self.opts.app_label}_{self.opts.model_name}_"
        return [
            action
            for action in actions
            if row is not None and self.offers(action.action_name.removeprefix(prefix), row)
        ]

    # Asking

    def ask(
        self,
        request: HttpRequest,
        question: Question,
        do: Callable[..., Any],
        queryset: QuerySet[Any] | None = None,
        object_id: str | None = None,
    ) -> HttpResponse | None:
        """Ask, and once it is answered call `do(row, **answer)` for each row.

        For an action on selected rows (`queryset`), on a row's page (`object_id`), or, with
        neither, on a list as a whole: then `do(None, **answer)`.
        """
        if object_id is not None:
            row = self.get_object(request, unquote(object_id))
            if row is None:
                return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            return self._ask(request, question, do, [row], self.url_of("change", object_id))
        if queryset is None:
            return self._ask(request, question, do, [None], self.url_of("changelist"))
        rows = list(queryset[: MOST_ROWS + 1])
        if len(rows) > MOST_ROWS:
            text = f"Choose {MOST_ROWS} rows at most; nothing was done."
            self.message_user(request, text, messages.ERROR)
            return None
        return self._ask(request, question, do, rows, request.get_full_path())

    def url_of(self, page: str, *args: str) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}", args=args)

    def _ask(
        self,
        request: HttpRequest,
        question: Question,
        do: Callable[..., Any],
        rows: list[Any],
        back: str,
        onward: str = "",
    ) -> HttpResponse:
        """`back` is where the way out leads, `onward` where one comes once it is done."""
        answered = request.method == "POST" and "answered" in request.POST
        form = question.form(request.POST if answered else None, rows=rows)
        if answered and form.is_valid():
            done = self._do(request, question, do, rows, form)
            if done is not None:
                return HttpResponseRedirect(onward if onward and done else back)
        return self._question_page(request, question, form, rows, back)

    def _do(
        self,
        request: HttpRequest,
        question: Question,
        do: Callable[..., Any],
        rows: list[Any],
        form: Answer,
    ) -> int | None:
        """For how many rows it was done; None, for none, where the answer itself is refused."""
        done = 0
        names = [str(row) for row in rows]  # before anything happens to them
        for row in rows:
            try:
                do(row, **form.cleaned_data)
            except ValidationError as error:
                if not done:
                    blame(form, error)
                    return None
                self._refused(request, row, " ".join(error.messages))
            except Conflict as error:
                self._refused(request, row, str(error))
            except Undecryptable:
                self._refused(request, row, UNDECRYPTABLE)
            else:
                done += 1
        if done and question.done:
            kind = self.opts.verbose_name if done == 1 else self.opts.verbose_name_plural
            what = names[0] if len(rows) == 1 and rows[0] else f"{done} {kind}"
            self.message_user(request, f"{what}: {question.done}.", messages.SUCCESS)
        return done

    def _refused(self, request: HttpRequest, row: Any, text: str) -> None:
        self.message_user(request, f"{row}: {text}" if row else text, messages.ERROR)

    def _question_page(
        self, request: HttpRequest, question: Question, form: Answer, rows: list[Any], back: str
    ) -> HttpResponse:
        rows = [row for row in rows if row is not None]
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        return TemplateResponse(
            request,
            "admin/question.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": question.title,
                "question": question,
                "form": form,
                "rows": rows[:20],
                "more": max(0, len(rows) - 20),
                "selected": selected,
                "checkbox": ACTION_CHECKBOX_NAME,
                "action": request.POST.get("action", ""),
                "back": back,
            },
        )


class ReadOnly(Admin):
    """Rows that a state machine, or the audit trail, owns."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Masses(ReadOnly):
    """Tables that grow without end: never counted, ordered by an index or not at all."""

    paginator = InfinitePaginator
    sortable_by = ()


class Audited(Admin):
    """Saving leaves an Activity, in the same transaction."""

    def record(
        self,
        request: HttpRequest,
        verb: str,
        row: Any,
        change: dict[str, Any] | None = None,
        reason: str = "",
    ) -> None:
        organization_id = row.pk if isinstance(row, Organization) else None
        organization_id = organization_id or getattr(row, "organization_id", None)
        activity.record(actor_of(request), verb, row, organization_id, change, reason)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Only what was changed is written: others may be writing the rest.

        A form's `unseen` holds what it sets beside its fields.
        """
        concrete = {field.name for field in self.opts.concrete_fields}
        names = [name for name in form.changed_data if name in concrete]
        unseen = getattr(form, "unseen", {})
        after = {name: plain(form.cleaned_data[name]) for name in names} | unseen
        if not change:
            obj.save(force_insert=True)
            told = activity.changed({}, after)
            self.record(request, f"{self.opts.model_name}.created", obj, told)
        elif after:
            obj.save(update_fields=concrete & {*after, "updated_at"})
            before = {name: plain(form.initial.get(name)) for name in names}
            told = activity.changed(before, after)
            self.record(request, f"{self.opts.model_name}.changed", obj, told)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        kind = formset.model._meta.model_name
        gone = [one.instance for one in formset.deleted_forms if one in formset.initial_forms]
        for row in gone:  # while they are there
            self.record(request, f"{kind}.deleted", row, told_of(row))
        formset.save()
        for row in formset.new_objects:
            self.record(request, f"{kind}.created", row, told_of(row))
        for row, names in formset.changed_objects:
            self.record(request, f"{kind}.changed", row, told_of(row, names))


class Deletable(Audited):
    """One at a time or selected ones, by `delete_row`, after a question."""

    deletion: Question
    actions = ["delete_rows"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        back, onward = self.url_of("change", object_id), self.url_of("changelist")
        return self._ask(request, self.deletion, self._delete(request), [row], back, onward)

    @action(description="Delete…", icon="delete")
    def delete_rows(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self.ask(request, self.deletion, self._delete(request), queryset)

    def _delete(self, request: HttpRequest) -> Callable[..., None]:
        return lambda row, reason: self.delete_row(request, row, reason)

    def delete_row(self, request: HttpRequest, row: Any, reason: str) -> None:
        """Raises Conflict where it cannot be."""
        with transaction.atomic():
            self.record(request, f"{self.opts.model_name}.deleted", row, told_of(row), reason)
            row.delete()


def told_of(row: Model, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The fields of a row that people fill in, or those that are named."""
    return {
        field.name: plain(getattr(row, field.name))
        for field in row._meta.concrete_fields
        if field.editable and not field.primary_key and (names is None or field.name in names)
    }


def plain(value: Any) -> Any:
    """`value` as JSON may hold it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | float | list | dict):
        return value
    return str(value)


def blame(form: forms.BaseForm, error: ValidationError) -> None:
    """Show an error at the fields that it names; where the form has no such field, above."""
    by_field = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: [error]}
    for name, errors in by_field.items():
        if name in form.fields:
            form.add_error(name, errors)
        else:
            prefix = "" if name == NON_FIELD_ERRORS else f"{name}: "
            texts = [text for one in errors for text in ValidationError(one).messages]
            form.add_error(None, [f"{prefix}{text}" for text in texts])


class OrganizationFilter(DropdownFilter):
    """By organization; a subclass names the `path` to it."""

    title = "organization"
    parameter_name = "organization"
    path = "organization_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        named = Organization.objects.order_by(Lower("name")).values_list("pk", "name")
        return [(str(pk), name) for pk, name in named[:MOST_CHOICES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return by_id(queryset, self.path, self.value())

    @classmethod
    def by(cls, path: str) -> type["OrganizationFilter"]:
        return type(cls.__name__, (cls,), {"path": path})


def by_id(queryset: QuerySet[Any], path: str, value: str | None) -> QuerySet[Any]:
    """What an address says may be anything: Django then drops the filter instead of failing."""
    if not value:
        return queryset
    try:
        return queryset.filter(**{path: UUID(value)})
    except ValueError as error:
        raise IncorrectLookupParameters(error) from error
