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
            waiting[0], n_waiting = start, 1
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
                    break
                n_waiting = 0
                for i in range(n):
                    if flow[i, end] > 0 and not scanned[i]:
                        scanned[i], row_distance[i], previous_column[i] = True, shortest, end
                        waiting[n_waiting] = i
                        n_waiting += 1
            for i in range(n):
                if scanned[i]:
                    row_potential[i] += shortest - row_distance[i]
            for j in range(m):
                if settled[j]:
                    column_potential[j] -= shortest - distance[j]
            amount, j = min(supply[start], demand[end]), end
            while previous_column[previous_row[j]] >= 0:
                i = previous_row[j]
                j = previous_column[i]
                amount = min(amount, flow[i, j])
            j = end
            while True:
                i = previous_row[j]
                flow[i, j] += amount
                if previous_column[i] < 0:
                    break
                j = previous_column[i]
                flow[i, j] -= amount
            supply[start] -= amount
            demand[end] -= amount
