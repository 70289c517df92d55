"""The numbers that a paper published."""

import pytest

from limelight.errors import InvalidOption
from limelight.pages.benchmark.published import parse_published


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,method,value\na,b,1\n", "metric"),
        ("model,method,metric,value\na,b,c,much\n", "line 2: the value 'much'"),
        ("model,method,metric,value\na,b,c,1\n\na,b\n", "line 4: it has fewer cells"),
        ("value,model,method,metric\n1,a,b\n", "line 2: it has fewer cells"),
        ("model,method,metric,value\na,b,c,1,2\n", "line 2: it has more cells"),
    ],
)
def test_a_table_of_a_paper_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        parse_published(text)
