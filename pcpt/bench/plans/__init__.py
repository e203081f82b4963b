"""The proofs there are; a new one is a file here and a line below."""

from collections.abc import Callable, Mapping

from pcpt.bench.plan import Plan
from pcpt.bench.plans.objects import objects_plan
from pcpt.bench.plans.rooms import rooms_plan
from pcpt.choices import did_you_mean

PLANS: Mapping[str, Callable[[], Plan]] = {
    "rooms": rooms_plan,
    "objects": objects_plan,
}


def get_plan(name: str) -> Plan:
    """The plan of that name; raises ``ValueError`` with the nearest names otherwise."""
    if name not in PLANS:
        raise ValueError(
            f"unknown plan {name!r}{did_you_mean(name, PLANS)} (known: {', '.join(PLANS)})"
        )
    return PLANS[name]()


def all_plans() -> list[Plan]:
    """Every plan, in the order of the page of results."""
    return [make() for make in PLANS.values()]
