"""Constructor arguments as parameters, in scikit-learn's manner without the time that its import takes."""

import inspect
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from sklearn.utils import Tags


class Parameters:
    """For a class whose ``__init__`` only stores its arguments: ``get_params``, ``set_params``, a short repr.

    ``sklearn.base.clone`` copies such an object, and scikit-learn's searches and cross-validations take it.
    """

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        arguments = inspect.signature(cls.__init__).parameters.values()
        return {argument.name: argument.default for argument in arguments if argument.name != "self"}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments by name."""
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self, **params: Any) -> Self:
        """Change arguments; they count from the next fit.

        Raises
        ------
        ValueError
            If there is no such argument.
        """
        for name, value in params.items():
            if name not in self._defaults():
                raise ValueError(f"{type(self).__name__} has no argument {name!r}")
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> "Tags":
        """Return what scikit-learn wants to know of an estimator: no ``y`` is needed, nothing is an array."""
        from sklearn.utils import InputTags, Tags, TargetTags  # only scikit-learn itself calls this

        inputs = InputTags(two_d_array=False, allow_nan=False)
        return Tags(estimator_type=None, target_tags=TargetTags(required=False), input_tags=inputs)

    def __repr__(self) -> str:
        """Return the call with the arguments that differ from the defaults."""
        defaults = self._defaults()
        changed = [
            f"{name}={value!r}" for name, value in self.get_params().items() if value is not defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(changed)})"
