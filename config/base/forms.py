"""Forms of pages: what is wrong with a field is said at it, to screen readers, too."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

DJANGOS = forms.Field.default_error_messages["required"]
WORDS = {
    "min_value": "Enter %(limit_value)s or more.",
    "max_value": "Enter %(limit_value)s or less.",
    "max_length": "Use %(limit_value)d characters at most: these are %(show_value)d.",
    "invalid_choice": "“%(value)s” is not offered. Choose one that is.",
}


class Worded(forms.BaseForm):
    """A field that has no words of its own says what is missing, and what would be right."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            label = str(field.label or name.replace("_", " ")).lower()
            if field.error_messages.get("required") == DJANGOS:
                field.error_messages["required"] = f"Enter the {label}."
            field.error_messages |= WORDS

    def describe(self) -> None:
        """Tie each field to its help and its errors, and begin at the first that is wrong; once
        errors are known."""
        wrong = [name for name in self.fields if self.is_bound and name in self.errors]
        for name, field in self.fields.items():
            described = [f"id_{name}_helptext"] if field.help_text else []
            if name in wrong:
                field.widget.attrs["aria-invalid"] = "true"
                described.append(f"id_{name}_error")
            if described:
                field.widget.attrs["aria-describedby"] = " ".join(described)
            if wrong:
                field.widget.attrs["autofocus"] = name == wrong[0]


class PageForm(Worded, forms.Form):
    def blame(self, error: ValidationError, **instead: str) -> None:
        """Show a verb's error at the fields that it names; `instead`: at which other field."""
        for name, texts in error.message_dict.items():
            at = instead.get(name, name)
            self.add_error(at if at in self.fields else None, texts)
