"""General solvers for the same assignment problems, where they are installed: HiGHS (highspy) and CP-SAT (ortools)."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from math import inf
from typing import Any, Final

import numpy as np
from msgspec import Struct

from benchmarks.instances import Instance

_VALUE_UNITS_PER_S: Final = 1_000_000
"""CP-SAT takes whole numbers only."""


class Solution(Struct, frozen=True):
    """What a contender found, and what it proved that nobody can exceed."""

    value: float
    bound: float
    """Infinite when there was no time to prove one."""


def installed(package: str) -> bool:
    """Whether `package` can be imported."""
    return find_spec(package) is not None


def highs(problem: Instance, limit_s: float) -> Solution:
    """HiGHS on one thread: a binary for each item in each room, a row for each item and each room."""
    highspy = import_module("highspy")
    solver = highspy.Highs()
    solver.silent()
    solver.setOptionValue("time_limit", limit_s)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("mip_rel_gap", 1e-9)
    solver.passModel(_model(highspy, problem))
    solver.run()
    info = solver.getInfo()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    return Solution(info.objective_function_value if found else 0.0, info.mip_dual_bound or inf)


def cp_sat(problem: Instance, limit_s: float) -> Solution:
    """CP-SAT on one thread, with values in whole microseconds."""
    cp_model = import_module("ortools.sat.python.cp_model")
    model = cp_model.CpModel()
    used = [[model.new_bool_var("") for _ in problem.rooms] for _ in problem.items]
    for choices in used:
        model.add_at_most_one(choices)
    sizes_bytes = [item.size_bytes for item in problem.items]
    for number, room_bytes in enumerate(problem.rooms.values()):
        in_room = [choices[number] for choices in used]
        model.add(cp_model.LinearExpr.weighted_sum(in_room, sizes_bytes) <= room_bytes)
    values = [round(item.value * _VALUE_UNITS_PER_S) for item in problem.items for _ in problem.rooms]
    model.maximize(cp_model.LinearExpr.weighted_sum([one for choices in used for one in choices], values))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit_s
    solver.parameters.num_workers = 1
    found = solver.solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    value = solver.objective_value / _VALUE_UNITS_PER_S if found else 0.0
    return Solution(value, solver.best_objective_bound / _VALUE_UNITS_PER_S or inf)


def _model(highspy: Any, problem: Instance) -> Any:  # noqa: ANN401 (no types come with highspy)
    items, rooms = len(problem.items), len(problem.rooms)
    columns = np.arange(items * rooms)
    model = highspy.HighsLp()
    model.sense_ = highspy.ObjSense.kMaximize
    model.num_col_, model.num_row_ = items * rooms, items + rooms
    model.col_cost_ = np.repeat([item.value for item in problem.items], rooms)
    model.col_lower_, model.col_upper_ = np.zeros(items * rooms), np.ones(items * rooms)
    model.integrality_ = [highspy.HighsVarType.kInteger] * (items * rooms)
    model.row_lower_ = np.full(items + rooms, -highspy.kHighsInf)
    model.row_upper_ = np.concatenate([np.ones(items), np.array([*problem.rooms.values()]) / 1e6])
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = np.arange(0, 2 * items * rooms + 1, 2)
    model.a_matrix_.index_ = np.stack([columns // rooms, items + columns % rooms], axis=1).ravel()
    sizes_mb = np.repeat([item.size_bytes / 1e6 for item in problem.items], rooms)
    model.a_matrix_.value_ = np.stack([np.ones(items * rooms), sizes_mb], axis=1).ravel()
    return model
