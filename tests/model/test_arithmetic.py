"""The arithmetic of a pass is counted."""

from limelight.model.arithmetic import Arithmetic


def test_a_pass_is_counted_without_the_compiler() -> None:
    count = Arithmetic.__torch_dispatch__
    assert not hasattr(count, "__wrapped__")  # PyTorch's wrapper loads its compiler at the first call, for seconds
