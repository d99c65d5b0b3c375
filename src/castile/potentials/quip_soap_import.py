"""The ``soap`` block of QUIP's XML as a term."""

import numpy as np

from castile.errors import InputError
from castile.formats.quip_strings import ParameterString
from castile.formats.quip_xml import QuipCoordinates
from castile.potentials.covariance import DOT_PRODUCT, ScalarKernel
from castile.potentials.quip_kernels import quip_kernel
from castile.potentials.quip_keys import SOAP_KEYS, refuse_unknown
from castile.potentials.quip_soap_engine import quip_density
from castile.potentials.quip_soap_features import from_quip
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.potentials.quip_soap_variant import QuipSoapVariant
from castile.potentials.quip_spectrum import SpectrumRule

_RANDOM = ("R_mix", "Z_mix", "sym_mix")


def soap_term(
    block: QuipCoordinates, version: int
) -> tuple[QuipSoapTerm | QuipSoapVariant, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return the term of a ``soap`` block and its weights.

    Parameters
    ----------
    block : QuipCoordinates
    version : int
        ``gap_version`` of the XML.

    Raises
    ------
    InputError
        For options that are not supported, by name.
    """
    string = block.descriptor
    _refuse(string)
    rule = SpectrumRule.of(string)
    n_features = block.sparse_points.shape[1]
    kernel = quip_kernel(block, n_features)
    weights = block.alpha * block.sparse_cutoff
    if kernel.form != DOT_PRODUCT or string.flag("average", False) or not rule.is_full:
        term = QuipSoapVariant.build(block.label, string, version, kernel, block.sparse_points)
        _check_dimensions(n_features, term.n_components)
        return term, weights
    return _plain(block, version, kernel), weights * block.delta**2


def _plain(block: QuipCoordinates, version: int, kernel: ScalarKernel) -> QuipSoapTerm:
    string = block.descriptor
    found = quip_density(string, version, string.flag("normalise", True, "normalize"))
    basis = found.engine.basis
    _check_dimensions(block.sparse_points.shape[1], found.engine.n_features + 1)
    return QuipSoapTerm(
        block.label,
        found.engine,
        found.species,
        found.centers,
        kernel.zeta,
        string.real("covariance_sigma0", 0.0),
        block.delta,
        from_quip(block.sparse_points, basis.n_max * len(found.species), basis.l_max),
    )


def _check_dimensions(found: int, expected: int) -> None:
    if found != expected:
        raise InputError(
            f"the sparse points have {found} dimensions; the options of the descriptor string (n_max, l_max, "
            f"species, ...) make {expected}"
        )


def _refuse(string: ParameterString) -> None:
    refused = [name for name in _RANDOM if string.flag(name, False)]
    if refused:
        raise InputError(
            f"the soap option {', '.join(refused)} is not supported: it mixes channels by random numbers of "
            "QUIP's own generator; fit again without it"
        )
    refuse_unknown(string, SOAP_KEYS)
