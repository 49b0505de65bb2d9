"""The API's description of itself."""

import inspect
import re
from io import StringIO

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from jsonschema import Draft202012Validator

from config.base.api import Body, Shown, Strict

pytestmark = pytest.mark.django_db
LISTS = ["moves", "sweeps", "fallback-configs", "connections", "pauses", "activity"]


class TestDescription:
    def test_it_is_made_without_a_warning(self, db):
        out = StringIO()
        call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
        assert "openapi: 3.1" in out.getvalue()

    def test_it_is_served_to_anybody(self, db):
        answer = Client().get("/api/schema")
        found = answer.json()
        assert answer.headers["Content-Type"] == "application/json"
        assert found["openapi"].startswith("3.1")
        assert not [path for path in found["paths"] if path.endswith("/") or "/v1" in path]
        assert {"token", "session"} == set(found["components"]["securitySchemes"])
        assert Client().get("/api/schema?format=json").status_code == 200

    def test_names_are_those_of_the_wire(self, db):
        found = Client().get("/api/schema").json()
        names = [
            name
            for component, schema in found["components"]["schemas"].items()
            for name in schema.get("properties", ())
            if component != "TokenIssued"
        ]
        names += [
            parameter["name"]
            for path in found["paths"].values()
            for operation in path.values()
            for parameter in operation.get("parameters", ())
        ]
        assert [name for name in names if "_" in name] == []

    def test_no_pattern_takes_letters_for_those_of_ascii(self, db):
        assert "\\\\w" not in Client().get("/api/schema").content.decode().lower()

    def test_what_is_described_is_described_for_those_who_call(self, db):
        components = Client().get("/api/schema").json()["components"]["schemas"]
        told = {name: schema.get("description", "") for name, schema in components.items()}
        ours = [inspect.cleandoc(base.__doc__ or "") for base in (Body, Shown, Strict)]
        assert [name for name, text in told.items() if text in ours or "context" in text] == []
        bodies = {name for name in told if name.endswith("Request")}
        assert len(bodies) > 15
        assert [name for name in bodies - {"Request"} if not told[name]] == []

    def test_each_component_is_a_json_schema(self, db):
        found = Client().get("/api/schema").json()
        for component in found["components"]["schemas"].values():
            Draft202012Validator.check_schema(component)

    def test_swagger_works_offline(self, db):
        page = Client().get("/api/docs").content.decode()
        assert not re.search(r"(src|href)=.?(https?:)?//", page)
        assert 'data-schema="/api/schema"' in page
        files = re.findall(r'"/static/([^"]+)"', page)
        assert len(files) >= 4
        for name in files:
            assert finders.find(name)
