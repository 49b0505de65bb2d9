"""What every page of the admin shares: who acts, and questions before something is done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.paginator import InfinitePaginator

from accounts.forms import Answer, ReasonForm
from accounts.middleware import actor_of
from config.base.problems import Conflict
from config.base.secrets import Undecryptable

MOST_ROWS = 200  # that one action takes
UNDECRYPTABLE = "A stored secret cannot be decrypted: ENCRYPTION_KEYS lacks its key."


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

    @property
    def variant(self) -> str:
        """Of its button."""
        return "danger" if self.danger else "primary"


class Admin(ModelAdmin):
    """Lists are bounded, histories are our own activities, and nothing is deleted in bulk."""

    list_per_page = 50
    list_fullwidth = True
    list_max_show_all = 200
    list_disable_select_all = True
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    compressed_fields = True
    warn_unsaved_form = True
    has_history = True

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

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return super().render_change_form(
            request, context | {"show_history": self.has_history}, *args, **kwargs
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
                "heading": question.button if len(rows) == 1 else question.title,
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


def asking(
    description: str,
    question: Question,
    verb: Callable[..., Any],
    icon: str,
    variant: ActionVariant = ActionVariant.DEFAULT,
) -> Any:
    """An action on selected rows and on a row's page: it asks, then calls
    `verb(row, actor, **answer)` for each."""

    @action(description=description, icon=icon, variant=variant)
    def act(
        self: Admin, request: HttpRequest, queryset: Any = None, object_id: str | None = None
    ) -> HttpResponse | None:
        def do(row: Any, **answer: Any) -> None:
            verb(row, actor_of(request), **answer)

        return self.ask(request, question, do, queryset, object_id)

    return act


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
