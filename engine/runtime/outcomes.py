"""The ways in which a flow can end other than well."""

from __future__ import annotations

from engine.core.names import DeviceId
from engine.core.plans import Plan, Refusal


class Broken(Exception):
    """A step failed."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing
        """Whether trying again may help."""


class NoRoom(Broken):
    """The device refused what the ledger had room for: somebody took memory that no reading has shown yet, or it can't run
    models at all."""

    def __init__(self, reason: str, device: DeviceId, size_bytes: int) -> None:
        super().__init__(reason)
        self.device = device
        self.size_bytes = size_bytes
        """What it refused."""


class Withdrawn(Exception):
    """The command was taken back, or overtaken by a request."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotAllowed(Exception):
    """There is no plan, and waiting longer is not the answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class PlanChanged(Exception):
    """The plan is not the one that was confirmed."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.effects)
        self.plan = plan
