"""Every metric gives the number that is worked out by hand."""

import pytest

import limelight as ll
from measures.known_models import close, ones, tensor
from measures.rows import BY_HAND

pytestmark = pytest.mark.usefixtures("methods_for_tests")


def test_every_metric_has_a_number_worked_out_by_hand() -> None:
    assert set(BY_HAND) == set(ll.metrics())


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    case = BY_HAND[name]
    maps = tensor([case.maps])
    x = ones(*maps.shape[1:]) if case.image is None else case.image
    method = ll.method(case.method, **case.method_options)
    values = ll.metric(name, **case.options)(case.model(), x, 0, maps, method=method, truth=case.truth)
    assert values.shape == (1,)
    close(values, [case.expected], case.tolerance)
