"""Transport of least cost between sets of equal members, by shortest augmenting paths."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def transport_plan(cost, supply, demand, flow):
    """Fill ``flow`` (n, m) with the integer plan of least cost: row sums ``supply``, column sums ``demand``.

    From each row with something left, the cheapest path leads over columns that are full, and back over rows
    that fill them, to a column with room (Dijkstra on reduced costs, which the potentials keep at least 0;
    they are 0 where something flows). Both totals must be equal; ``supply`` and ``demand`` are used up.
    """
    n, m = cost.shape
    row_potential, column_potential = np.empty(n), np.zeros(m)
    for i in range(n):
        row_potential[i] = cost[i].min()
    distance, row_distance = np.empty(m), np.empty(n)
    previous_row = np.empty(m, dtype=np.int64)
    previous_column = np.empty(n, dtype=np.int64)
    settled, scanned = np.empty(m, dtype=np.bool_), np.empty(n, dtype=np.bool_)
    waiting = np.empty(n, dtype=np.int64)
    flow[:] = 0
    for start in range(n):
        while supply[start] > 0:
            distance[:] = np.inf
            settled[:] = False
            scanned[:] = False
            scanned[start], row_distance[start], previous_column[start] = True, 0.0, -1
            waiting[0] = start
            end = _cheapest_path(
                cost, demand, flow, row_potential, column_potential, distance, row_distance,
                previous_row, previous_column, settled, scanned, waiting,
            )  # fmt: skip
            for i in range(n):
                if scanned[i]:
                    row_potential[i] += distance[end] - row_distance[i]
            for j in range(m):
                if settled[j]:
                    column_potential[j] -= distance[end] - distance[j]
            amount = _augment(flow, end, previous_row, previous_column, min(supply[start], demand[end]))
            supply[start] -= amount
            demand[end] -= amount


@njit(nogil=True, cache=True, error_model="numpy")
def _cheapest_path(
    cost, demand, flow, row_potential, column_potential, distance, row_distance,
    previous_row, previous_column, settled, scanned, waiting,
):  # fmt: skip
    """Return the nearest column with room; ``previous_*`` lead back from it to the row ``waiting[0]``."""
    n, m = cost.shape
    n_waiting = 1
    while True:
        for w in range(n_waiting):
            i = waiting[w]
            base = row_distance[i] - row_potential[i]
            for j in range(m):
                reached = max(base + cost[i, j] - column_potential[j], row_distance[i])
                if not settled[j] and reached < distance[j]:
                    distance[j], previous_row[j] = reached, i
        end, shortest = -1, np.inf
        for j in range(m):
            if not settled[j] and distance[j] < shortest:
                end, shortest = j, distance[j]
        settled[end] = True
        if demand[end] > 0:
            return end
        n_waiting = 0
        for i in range(n):
            if flow[i, end] > 0 and not scanned[i]:
                scanned[i], row_distance[i], previous_column[i] = True, shortest, end
                waiting[n_waiting] = i
                n_waiting += 1


@njit(nogil=True, cache=True, error_model="numpy")
def _augment(flow, end, previous_row, previous_column, most):
    """Send as much as the path allows, at most ``most``, along it to column ``end``; return how much."""
    amount, j = most, end
    while previous_column[previous_row[j]] >= 0:
        i = previous_row[j]
        j = previous_column[i]
        amount = min(amount, flow[i, j])
    j = end
    while True:
        i = previous_row[j]
        flow[i, j] += amount
        if previous_column[i] < 0:
            return amount
        j = previous_column[i]
        flow[i, j] -= amount
