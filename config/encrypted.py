"""Every encrypted value in the database, as it is stored. For rotation and the doctor."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models.functions import Cast

from config.base.secrets import EncryptedTextField

BATCH = 500


def encrypted_fields() -> Iterator[tuple[type[models.Model], str]]:
    """Each model, whatever its app, with the name of each of its encrypted fields."""
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, EncryptedTextField):
                yield model, field.name


def with_stored(model: type[models.Model], name: str) -> models.QuerySet[Any]:
    """The model's rows with the encrypted text of field `name` as `stored`."""
    return model._base_manager.annotate(stored=Cast(name, models.TextField()))


def stored_values(model: type[models.Model], name: str) -> Iterator[tuple[Any, str]]:
    """Primary key and encrypted text, in batches by primary key."""
    rows = with_stored(model, name).exclude(stored=None).exclude(stored="").order_by("pk")
    last = None
    while True:
        later = rows if last is None else rows.filter(pk__gt=last)
        batch = list(later.values_list("pk", "stored")[:BATCH])
        if not batch:
            return
        yield from batch
        last = batch[-1][0]


def replace_stored(model: type[models.Model], name: str, pk: Any, old: str, new: str) -> bool:
    """False where somebody else has changed the value in between: theirs stays."""
    # A Value of its own, or the field would encrypt what is encrypted already.
    value = models.Value(new, output_field=models.TextField())
    return bool(with_stored(model, name).filter(pk=pk, stored=old).update(**{name: value}))
