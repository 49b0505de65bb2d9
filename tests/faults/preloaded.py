"""What the nursery's processes are forked from: everything imported, nothing begun."""

import os
from importlib import import_module

import django
from django.core.checks import run_checks

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
run_checks()  # as each command does; it imports all that has an address
for name in ("sweep", "pause", "resume"):
    import_module(f"fallback.management.commands.{name}")
