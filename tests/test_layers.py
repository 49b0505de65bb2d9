"""Who may import whom. The direction is the design's; here it is held."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A package may import from itself and from those with a lower number.
RANKS = {
    "config.base": 0,
    "accounts": 1,
    "scheduling": 2,
    "scheduling.flows": 3,
    "fallback": 4,
    "tenants": 4,
    "config": 5,
}
ENTRY_POINTS = {
    "admin",
    "api",
    "apps",
    "consumers",
    "forms",
    "management",
    "tasks",
    "urls",
    "views",
}
# Decisions and clients: they import no models, not even by way of another module.
PURE = {
    "accounts.roles",
    "fallback.match",
    "fallback.naming",
    "fallback.outcomes",
    "fallback.replies",
    "fallback.simulator",
    "fallback.truefoundry",
    "scheduling.flows.cron",
    "scheduling.flows.graph",
    "scheduling.kube",
    "scheduling.placement",
    "tenants.health",
    "tenants.helm",
}
# Within an app, from the top: each imports from its own level and those below.
LEVELS = ("entry point", "verb", "models", "live", "pure")


def modules() -> dict[str, ast.Module]:
    """Every module of ours but migrations, by its dotted name."""
    found = {}
    for top in sorted({name.partition(".")[0] for name in RANKS}):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "migrations" not in parts:
                name = ".".join(parts).removesuffix(".__init__")
                found[name] = ast.parse(path.read_text())
    return found


MODULES = modules()


def package_of(module: str) -> str:
    """The longest name in RANKS that `module` lies in."""
    return max((name for name in RANKS if within(module, name)), key=len)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def imports(module: str) -> Iterator[str]:
    """The modules of ours that `module` imports, also inside functions."""
    is_package = (ROOT / module.replace(".", "/") / "__init__.py").is_file()
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from filter(None, (known(alias.name) for alias in node.names))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: None if is_package else -1]
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield from filter(None, [known(f"{base}.{alias.name}") or known(base)])


def known(name: str) -> str:
    return name if name in MODULES else ""


def level_of(module: str) -> str:
    package = package_of(module)
    parts = module.removeprefix(package).strip(".").split(".")
    if any(within(module, pure) for pure in PURE):
        return "pure"
    if parts[0] in ENTRY_POINTS:
        return "entry point"
    return parts[0] if parts[0] in {"models", "live"} else "verb"


def reached(module: str) -> dict[str, str]:
    """Every module of ours that `module` loads, with the one that it comes by."""
    by = {module: ""}
    queue = [module]
    for current in queue:
        for target in imports(current):
            if target not in by:
                by[target] = current
                queue.append(target)
    return by


@pytest.mark.parametrize("module", MODULES)
def test_packages_import_downwards(module):
    home = package_of(module)
    for target in imports(module):
        other = package_of(target)
        allowed = other == home or RANKS[other] < RANKS[home]
        assert allowed, f"{module} imports {target}"


@pytest.mark.parametrize(
    "module", [name for name in MODULES if package_of(name) not in {"config", "config.base"}]
)
def test_within_an_app_imports_go_down(module):
    level = LEVELS.index(level_of(module))
    for target in imports(module):
        if package_of(target) == package_of(module) != target:
            below = LEVELS.index(level_of(target))
            assert level <= below, f"{module} ({LEVELS[level]}) imports {target} ({LEVELS[below]})"


@pytest.mark.parametrize("module", [name for name in MODULES if level_of(name) == "pure"])
def test_pure_modules_reach_no_models(module):
    for target, by in reached(module).items():
        assert level_of(target) != "models", f"{module} reaches {target} by way of {by}"


def test_the_reader_of_imports_sees_what_is_there():
    assert {"config.base.actor"} <= set(imports("accounts.models.people"))
    assert "fallback.simulator.world" in set(imports("fallback.simulator.arriving"))
    assert level_of("fallback.models.move") == "models"
    assert level_of("fallback.management.commands") == "entry point"
    assert level_of("fallback.sweep") == "verb"
