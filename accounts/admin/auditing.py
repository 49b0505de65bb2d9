"""Rows that people edit here: saving and deleting leave an Activity."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action

from accounts import activity
from accounts.admin.base import Admin, Question
from accounts.middleware import actor_of
from accounts.models import Organization
from config.base.secrets import EncryptedTextField


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
        keys = [one.instance.pk for one in formset.initial_forms]
        before = formset.model._default_manager.in_bulk(keys)
        formset.save()
        for row in formset.new_objects:
            self.record(request, f"{kind}.created", row, told_of(row))
        for row, names in formset.changed_objects:
            was = told_of(before[row.pk], names) if row.pk in before else {}
            told = activity.changed(was, told_of(row, names))
            self.record(request, f"{kind}.changed", row, told)


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
    """The fields of a row that people fill in, or those that are named; no secrets."""
    return {
        field.name: plain(getattr(row, field.name))
        for field in row._meta.concrete_fields
        if field.editable
        and not (field.primary_key or isinstance(field, EncryptedTextField))
        and (names is None or field.name in names)
    }


def plain(value: Any) -> Any:
    """`value` as JSON may hold it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | float | list | dict):
        return value
    return str(value)
