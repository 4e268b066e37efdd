"""What there is to say of found cascades beside the table and the figures, as short texts."""

from typing import TYPE_CHECKING, Any

import numpy as np

from src.cascades.imported import PARTS
from src.reporting import quantities
from src.reporting.hypervolume import gap_to, hypervolume

if TYPE_CHECKING:
    from src.methods.cascade_results import CascadeResults


def spelled(cascade: dict[str, Any]) -> str:
    """A cascade in words: its members, and up to which confidence an image goes on; "+" where each image does."""
    members = cascade["members"]
    if "gaps" in cascade:
        signs = [f"[gap < {gap:.3g}] >" for gap in cascade["gaps"]]
    else:
        signs = ["+" if t >= 1 else f"[<= {t:.3g}] >" for t in cascade["thresholds"]]
    return " ".join([members[0], *(f"{sign} {name}" for sign, name in zip(signs, members[1:], strict=True))])


def facts_of(results: "CascadeResults") -> dict[str, str]:
    """Texts by their names: who the networks of the table are, and how good the front is."""
    module = results.module
    facts = {"found": spelled(results.found.architecture)} if results.found else {}
    if results.on_test:
        rows = results.rows
        facts |= {
            name: f"candidate {c.id}, {spelled(c.architecture)}" for name, c in rows.items() if c != results.found
        }
        if results.single != results.base:
            facts[results.SINGLE] = module.members[results.single].name
    facts |= _quality(results)
    if results.found and module.candidate_config(results.found) is None:
        greedy = "gaps" in results.found.architecture
        facts["no architecture.yaml"] = "its members do not average" if greedy else "of a member only outputs are known"
    if results.on_test:
        facts["MACs in the table"] = "those counted on the test images"
    return facts


def _quality(results: "CascadeResults") -> dict[str, str]:
    """Hypervolumes, and the share that the front lacks of the exact one's where that is known."""
    module = results.module
    reference = module.reference(module.pool(PARTS[0]))
    front = np.array(results.points())
    facts = {"hypervolume, validation": f"{hypervolume(front, reference):.5f}"}
    if results.on_test:
        facts["hypervolume, test"] = f"{hypervolume(np.array(results.points_on_test()), reference):.5f}"
    facts["hypervolume up to"] = f"{reference[0]:g} % and {_amount(reference[1], module.cost)}"
    exact = np.array(module.exact) if module.exact else None
    if exact is not None and (exact < reference).all(1).any():  # else there is nothing to compare with
        lacks = max(0.0, gap_to(front, exact, reference).relative)  # costs of candidates are rounded
        facts["behind the exact front"] = f"{100 * lacks:.2f} % of its hypervolume"
    return facts


def _amount(cost: float, name: str) -> str:
    units = {"macs": " MACs", "params": " parameters"}
    return f"{cost:.3g} ms" if name == "latency" else f"{quantities.amount(cost)}{units[name]}"
