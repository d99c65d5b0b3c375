"""Kernels of the blocks of QUIP's XML."""

from castile.errors import InputError
from castile.formats.quip_xml import QuipCoordinates
from castile.potentials.covariance import (
    DOT_PRODUCT,
    PIECEWISE_POLYNOMIAL,
    SQUARED_EXPONENTIAL,
    ScalarKernel,
)

COVARIANCE_TYPES = {SQUARED_EXPONENTIAL: 1, DOT_PRODUCT: 2, PIECEWISE_POLYNOMIAL: 4}
"""Numbers of the kernels in the XML."""
_FORMS = {number: form for form, number in COVARIANCE_TYPES.items()}


def quip_kernel(block: QuipCoordinates, n_features: int) -> ScalarKernel:
    """Return the kernel of a block.

    Parameters
    ----------
    block : QuipCoordinates
    n_features : int
        That the descriptor has.

    Raises
    ------
    InputError
        For other kernels, permutations, and dimensions that do not fit.
    """
    form = _FORMS.get(block.covariance_type)
    if form is None:
        name = "bond_real_space" if block.covariance_type == 3 else f"number {block.covariance_type}"
        raise InputError(f"covariance_type {name} is not supported, only dot_product, ard_se and PP")
    if block.sparse_points.shape[1] != n_features:
        raise InputError(
            f"the sparse points have {block.sparse_points.shape[1]} dimensions; the descriptor has "
            f"{n_features}"
        )
    if form == DOT_PRODUCT:
        return ScalarKernel(form, block.delta, 0.0, (), block.zeta)
    if len(block.theta) != n_features:
        raise InputError(
            f"the block has {len(block.theta)} theta; the descriptor has {n_features} dimensions"
        )
    identity = tuple(range(n_features))
    if any(permutation != identity for permutation in block.permutations):
        raise InputError("permutations other than the identity are not supported")
    return ScalarKernel(form, block.delta, block.f0, tuple(block.theta.tolist()))
