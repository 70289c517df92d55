"""Operations of the user's own."""

from typing import Any, cast

from limelight.errors import InvalidOption
from limelight.relevance.handlers.operands import moving_operands
from limelight.relevance.handlers.table import HANDLERS, ROUTES
from limelight.relevance.op import Kind
from limelight.relevance.recorder import Handler, Recorder, TorchFunction, name_of
from limelight.relevance.rule import Rule
from limelight.relevance.rules import COMMON


def record_own(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record a call under its own name, with all operands that depend on the image."""
    inputs, call, _ = moving_operands(recorder, func, args, kwargs)
    return recorder.record(cast(Kind, name_of(func)), func, inputs, call)


def register_operation(function: str | TorchFunction, rule: Rule, handler: Handler = record_own) -> None:
    """Give a function of PyTorch that has no rule one, in every table that lists none for it.

    Its name becomes a place for ``rules=``. What is registered holds for the process.

    Args:
        function: it, such as ``torch.nn.functional.glu``, or its name. Python code of your own is seen by what it
            calls; to be one operation it needs ``torch.overrides.wrap_torch_function``.
        rule: a rule (op, r) of your own, or one of ``limelight.rules``; the inputs are ``op.inputs``.
        handler: records its calls; by default with every operand that depends on the image.

    Raises:
        InvalidOption: the function has a rule, or hands each number on as it is.
    """
    name = function if isinstance(function, str) else name_of(function)
    if name in HANDLERS or name in ROUTES or name in COMMON:
        raise InvalidOption(
            f"{name} has a rule, or needs none; what another table does with it, rules= says, by the place that "
            "limelight explain --dry-run gives"
        )
    HANDLERS[name], COMMON[name] = handler, rule
