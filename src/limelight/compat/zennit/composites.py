"""Tables of rules under the names of zennit.composites."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from limelight.compat.common import absent_names, refuse_given
from limelight.rules import AlphaBeta, Box, Epsilon, Flat, Gamma, Proportional, Rule

__all__ = [
    "DeconvNet",
    "EpsilonAlpha2Beta1",
    "EpsilonAlpha2Beta1Flat",
    "EpsilonGammaBox",
    "EpsilonPlus",
    "EpsilonPlusFlat",
    "ExcitationBackprop",
    "GuidedBackprop",
]

OWN = "a table of one's own is limelight.method('lrp', rules={…}, overrides={…})"


class Composite:
    """A method that passes the output back, with its options.

    Attributes:
        method: its name.
        options: as ``limelight.method`` has them.
    """

    def __init__(self, method: str, options: Mapping[str, Any], refused: Mapping[str, Any]) -> None:
        refuse_given(type(self).__name__, OWN, **refused)
        self.method, self.options = method, dict(options)


class _Table(Composite):
    def __init__(self, rules: Mapping[str, Rule], stabilizer: float, refused: Mapping[str, Any]) -> None:
        shares = Proportional(stabilizer)
        table = {"rules": {"avg_pool": shares, "add": shares, **rules}, "composite": "epsilon-plus", "init": "one"}
        super().__init__("lrp", table, refused)


class EpsilonPlus(_Table):
    """z-plus in convolutions, epsilon in linear layers.

    Args:
        epsilon: of linear layers.
        stabilizer: of all else.
        layer_map: refused.
        zero_params: refused.
        canonizers: ignored; see ``limelight.compat.zennit.canonizers``.
    """

    _alpha_beta = 1, 0

    def __init__(
        self,
        epsilon: float = 1e-6,
        stabilizer: float = 1e-6,
        layer_map: Any = None,
        zero_params: Any = None,
        canonizers: Any = None,
    ) -> None:
        rules = {"conv": AlphaBeta(*self._alpha_beta, stabilizer), "linear": Epsilon(epsilon)}
        super().__init__(rules, stabilizer, {"layer_map": layer_map, "zero_params": zero_params})


class EpsilonAlpha2Beta1(EpsilonPlus):
    """alpha-beta(2, 1) in convolutions, epsilon in linear layers; arguments as those of ``EpsilonPlus``."""

    _alpha_beta = 2, 1


class EpsilonPlusFlat(_Table):
    """``EpsilonPlus`` with the flat rule at the pixels.

    Args:
        epsilon: of linear layers.
        stabilizer: of all else.
        layer_map: refused.
        first_map: refused.
        zero_params: refused.
        canonizers: ignored; see ``limelight.compat.zennit.canonizers``.
    """

    _alpha_beta = 1, 0

    def __init__(
        self,
        epsilon: float = 1e-6,
        stabilizer: float = 1e-6,
        layer_map: Any = None,
        first_map: Any = None,
        zero_params: Any = None,
        canonizers: Any = None,
    ) -> None:
        rules = {
            "first": Flat(stabilizer),
            "conv": AlphaBeta(*self._alpha_beta, stabilizer),
            "linear": Epsilon(epsilon),
        }
        refused = {"layer_map": layer_map, "first_map": first_map, "zero_params": zero_params}
        super().__init__(rules, stabilizer, refused)


class EpsilonAlpha2Beta1Flat(EpsilonPlusFlat):
    """``EpsilonAlpha2Beta1`` with the flat rule at the pixels; arguments as those of ``EpsilonPlusFlat``."""

    _alpha_beta = 2, 1


class EpsilonGammaBox(_Table):
    """The box rule at the pixels, gamma in convolutions, epsilon in linear layers.

    Args:
        low: lowest value of an input, a number or a tensor of its shape.
        high: highest.
        epsilon: of linear layers.
        gamma: of convolutions.
        stabilizer: of all else.
        layer_map: refused.
        first_map: refused.
        zero_params: refused.
        canonizers: ignored; see ``limelight.compat.zennit.canonizers``.
    """

    def __init__(
        self,
        low: float | Tensor,
        high: float | Tensor,
        epsilon: float = 1e-6,
        gamma: float = 0.25,
        stabilizer: float = 1e-6,
        layer_map: Any = None,
        first_map: Any = None,
        zero_params: Any = None,
        canonizers: Any = None,
    ) -> None:
        rules = {"first": Box((low, high), stabilizer), "conv": Gamma(gamma, stabilizer), "linear": Epsilon(epsilon)}
        refused = {"layer_map": layer_map, "first_map": first_map, "zero_params": zero_params}
        super().__init__(rules, stabilizer, refused)


class ExcitationBackprop(_Table):
    """z-plus in convolutions and linear layers.

    Args:
        stabilizer: of all rules.
        layer_map: refused.
        zero_params: refused.
        canonizers: ignored; see ``limelight.compat.zennit.canonizers``.
    """

    def __init__(
        self, stabilizer: float = 1e-6, layer_map: Any = None, zero_params: Any = None, canonizers: Any = None
    ) -> None:
        rules = {"affine": AlphaBeta(e=stabilizer)}
        super().__init__(rules, stabilizer, {"layer_map": layer_map, "zero_params": zero_params})


class GuidedBackprop(Composite):
    """``guided-backprop``.

    Args:
        layer_map: refused.
        canonizers: ignored.
    """

    def __init__(self, layer_map: Any = None, canonizers: Any = None) -> None:
        super().__init__("guided-backprop", {"reduce": "sum"}, {"layer_map": layer_map})


class DeconvNet(Composite):
    """``deconvnet``.

    Args:
        layer_map: refused.
        canonizers: ignored.
    """

    def __init__(self, layer_map: Any = None, canonizers: Any = None) -> None:
        super().__init__("deconvnet", {"reduce": "sum"}, {"layer_map": layer_map})


if not TYPE_CHECKING:
    __getattr__ = absent_names(
        __name__,
        "zennit.composites",
        {
            "BetaSmooth": "there is no such method",
            **dict.fromkeys(("LayerMapComposite", "MixedComposite", "NameLayerMapComposite", "NameMapComposite"), OWN),
            "SpecialFirstLayerMapComposite": OWN,
        },
    )
