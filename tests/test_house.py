"""The house: import directions, what an import costs, cards, public names."""

import ast
import dataclasses
import inspect
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

import limelight as ll
from limelight import errors
from limelight.card import METHODS, METRICS
from limelight.model.cost import predict

ROOT = Path(__file__).parents[1]


def fresh(code: str) -> str:
    """Run code in a new interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_directions() -> None:
    script = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


NAMES = "torch torchvision matplotlib scipy skimage sklearn pandas pyarrow timm transformers"
HEAVY = f"sorted(set('{NAMES}'.split()) & set(sys.modules))"


@pytest.mark.parametrize(
    "code",
    [
        "import limelight",
        "from limelight import cli; cli.main(['--help'])",
        "from limelight import cli; cli.main(['methods'])",
        "from limelight import cli; cli.main(['metrics'])",
        "import limelight.draw, limelight.data.images, limelight.data.synthetic",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    printed = fresh(f"import sys\ntry:\n    {code}\nexcept SystemExit as e:\n    assert not e.code\nprint({HEAVY})")
    assert printed.endswith("[]"), printed[-200:]


def test_public_names_are_complete() -> None:
    assert set(ll.__all__) == {*ll._HOME, "errors"}
    for name in ll.__all__:
        assert getattr(ll, name) is not None
        assert name in dir(ll)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ll.nonsense


def test_error_tree() -> None:
    for name in (
        *("UnknownMethod", "UnknownMetric", "UnknownModel", "UnknownLayer", "UnknownTarget"),
        *("InvalidImage", "UnsupportedModel", "MissingExtra", "CorruptStore"),
    ):
        assert issubclass(getattr(errors, name), errors.LimelightError)
        assert name in (errors.__doc__ or "")
    assert "pip install 'limelight[zoo]'" in str(errors.MissingExtra("timm", "zoo"))


def test_cards_read_from_source_are_the_real_ones() -> None:
    for name, shipped in METHODS._shipped.items():
        real, function = METHODS.load(name)
        assert real == shipped
        assert function.__module__ == shipped.module
        assert dataclasses.asdict(real)["options"] == dict(shipped.options)


def test_cards_are_complete() -> None:
    keys = set(re.findall(r"@\w+\{(\w+),", (ROOT / "references.bib").read_text()))
    for c in ll.methods().values():
        assert c.cites in keys, f"{c.name} cites {c.cites}, which is not in references.bib"
        assert c.summary.endswith(".")
        made_of = {"base", "optimiser"} & {*c.options, *(role for role in ("base", "optimiser") if getattr(c, role))}
        values = ll.method(c.name).own_options | {"channels": 8, "layers": 2, "H": 64, "W": 64}
        assert predict(c.cost, values).n_forward >= (0 if made_of else 1)  # the cost of others is on their cards
        _, function = METHODS.load(c.name)
        doc = function.__doc__ or ""
        assert "Returns:" in doc
        for parameter in (*c.needs, *c.options):
            assert f"    {parameter}: " in doc, f"{c.name} does not document {parameter}"


def code_lines(source: str) -> int:
    """Count the lines of a function's body that hold code: no blank ones, no comments, not the docstring."""
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    body = function.body[1 if ast.get_docstring(function) is not None else 0 :]
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in silent]
    lines = {line for t in tokens for line in range(t.start[0], t.end[0] + 1)}
    return len({line for line in lines if line >= body[0].lineno})


def test_code_lines_are_counted() -> None:
    source = '''@deco(
    "x")
def f(
    a, b):
    """Say.

    More.
    """
    # why
    c = (a +

         b)  # and
    return c
'''
    assert code_lines(source) == 3
    assert code_lines("def f(a):\n    return a\n") == 1


def test_every_method_is_short_enough_to_read_its_equation() -> None:
    long = {
        name: lines for name in ll.methods() if (lines := code_lines(inspect.getsource(METHODS.load(name)[1]))) > 25
    }
    assert not long


WORN_OUT = {
    *("found", "res", "ret", "retval", "tmp", "temp", "obj", "foo", "stuff", "dummy", "misc", "aux", "several"),
    *("evidence", "heat", "slope", "slopes", "judged", "measured", "fold", "folded", "tape", "taped", "taps", "fills"),
    *(
        "borrow",
        "borrowed",
        "loan",
        "admit",
        "seeing",
        "troubles",
        "told",
        "lead",
        "came",
        "entered",
        "broke",
        "broken",
    ),
    *("Supply", "Subject", "subject", "Kept", "Album", "Board", "Tally", "WAYS", "ENOUGH", "PATIENCE"),
}
"""Names that do not say what they hold, or for which the house has another word."""
PARTICIPLES = {"prepared", "resized", "grouped", "filled", "rendered", "tapped"}
"""What a function does is a verb."""
NAMED = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(WORN_OUT | PARTICIPLES)})( (=|:=|in)|[:,()\]])")
"""Where one of these may be given to something."""


def names_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every name that code gives to a variable, attribute, parameter, function or class, and its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.arg(arg=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name):
                yield f"{name}()", node.lineno
            case _:
                pass


def worn_out_names(source: str) -> list[tuple[str, int]]:
    """Return the names in a file that are not to be in it, and their lines."""
    banned = WORN_OUT | {f"{name}()" for name in WORN_OUT | PARTICIPLES}
    if not NAMED.search(source):  # reading all files takes long
        return []
    return [(name, line) for name, line in names_in(ast.parse(source)) if name.lstrip("_") in banned]


def test_names_in_code_are_read() -> None:
    source = (
        "class A:\n  def b(self, *c, d=1, **e):\n    self.f = [g for g in c]; (h := d); i: int\n    lambda j: k.l(m=1)"
    )
    assert {name for name, _ in names_in(ast.parse(source))} == {"A", "b()", "self", *"cdefghij"}


@pytest.mark.parametrize(
    "code",
    [
        *("found = 1", "found: int", "a, _found = 1, 2", "x.found = 1", "for found in x:\n    pass", "(found := 1)"),
        *("def f(found):\n    pass", "lambda found: 1", "def found():\n    pass", "class Kept:\n    pass"),
        *("[found for found in x]", "with x as found:\n    pass", "def _filled():\n    pass", "[a, *found] = x"),
    ],
)
def test_worn_out_names_are_seen(code: str) -> None:
    assert worn_out_names(code)


def test_worn_out_words_in_text_and_calls_are_no_names() -> None:
    assert not worn_out_names("# found = 1\n'found: 1'\nx.found(found=found)\nfilled = 1")


def test_names_say_what_they_hold_and_do() -> None:
    files = sorted((ROOT / "src").rglob("*.py"))
    assert len(files) > 300
    worn = {str(path.relative_to(ROOT)): worn_out_names(path.read_text(encoding="utf-8")) for path in files}
    assert not {path: names for path, names in worn.items() if names}


def test_cards_of_metrics_are_complete() -> None:
    keys = set(re.findall(r"@\w+\{(\w+),", (ROOT / "references.bib").read_text()))
    for c in ll.metrics().values():
        assert c.cites in keys, f"{c.name} cites {c.cites}, which is not in references.bib"
        assert c.summary.endswith(".")
        real, function = METRICS.load(c.name)
        assert real == c
        doc = function.__doc__ or ""
        for parameter in (*c.needs, *c.options):
            assert f"    {parameter}: " in doc, f"{c.name} does not document {parameter}"


def test_every_metric_of_the_published_list_is_there() -> None:
    published = (
        *("average-drop", "average-increase", "confidence-drop", "insertion", "deletion", "overall", "coherency"),
        *("complexity", "adcc", "proportion", "pointing-game", "positive-ratio", "grid-pg", "outside-inside-ratio"),
        *("segmentation-ap", "morf", "lerf", "morf-insertion", "sanity-cascading", "sanity-independent", "road"),
    )
    assert set(ll.metrics()) >= set(published)


def test_cost_formulas() -> None:
    cost = predict("(n + 1) F + n R_t", {"n": 4}, tail=0.25)
    assert (cost.n_forward, cost.n_backward_tail) == (5, 4)
    assert (cost.forwards, cost.backwards) == (5, 1)
    assert str(cost) == "5 F + 4 R_t"
    assert str(predict("2 * k F_t + R", {"k": 3})) == "6 F_t"


def test_unknown_names_and_options() -> None:
    cases = (
        (lambda: ll.method("gradcam"), errors.UnknownMethod, "did you mean grad-cam"),
        (lambda: ll.method("grad-cam", gamma=1), errors.InvalidOption, "grad-cam has no option 'gamma'"),
        (lambda: ll.method("layer-cam", gama=1), errors.InvalidOption, "did you mean gamma"),
        (lambda: ll.method("layer-cam", gamma=-1), errors.InvalidOption, "gamma = -1"),
        (lambda: ll.method("layer-cam", fuse="sum"), errors.InvalidOption, "'max' or 'mean'"),
        (lambda: ll.method("grad-cam", batch_size=0), errors.InvalidOption, "batch_size = 0"),
        (lambda: ll.explain("demo/resnet", "x.png", ll.method("cam"), seed=1), errors.InvalidOption, "has its options"),
    )
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


def test_what_is_no_name() -> None:
    """What has no hash, as explanations haven't, or is no list, is refused as whatever else is neither."""
    picture = ("demo/resnet", "x.png")
    for given in (3, [None], [{"a": 1}], [["cam"]], b"cam", dict):
        calls = {
            "method": (ll.method, lambda m: ll.explain(*picture, m), lambda m: ll.evaluate(*picture, m)),
            "metric": (ll.metric, lambda m: ll.evaluate(*picture, "cam", m), lambda m: ll.choose(*picture, None, m)),
        }
        calls["method"] += (lambda m: ll.choose(*picture, m),)
        for kind, verbs in calls.items():
            for verb in verbs:
                with pytest.raises(errors.InvalidOption, match=kind):
                    verb(given)
    with pytest.raises(errors.InvalidOption, match="a method is given by its name"):
        ll.evaluate(*picture, {"mine": 3})
    with pytest.raises(errors.InvalidOption, match="a metric is given by its name"):
        ll.evaluate(*picture, "cam", {"mine": 3})


def test_profiles() -> None:
    m = ll.method("grad-cam++", profile="aop", eps=0.5)
    assert (m.options.variant, m.options.eps) == ("elementwise", 0.5)  # what the user gives goes first
    for c in ll.methods().values():
        for profile in c.profiles:
            assert ll.method(c.name, profile=profile).options.profile == profile
    with pytest.raises(errors.InvalidOption, match=r"no profile 'adc' \(it has: adcc, aop"):
        ll.method("grad-cam++", profile="adc")
    with pytest.raises(errors.InvalidOption, match="it has none"):
        ll.method("cam", profile="adcc")


def test_methods_are_immutable_and_readable() -> None:
    m = ll.method("layer-cam", gamma=3.0)
    assert repr(m) == "method('layer-cam', gamma=3.0)"
    assert m == ll.method("layer-cam", gamma=3)
    assert m != ll.method("layer-cam")
    with pytest.raises(dataclasses.FrozenInstanceError):
        m.card = None  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        m.options.gamma = 1.0


@pytest.mark.parametrize(("register", "kind"), [("register_method", METHODS), ("register_metric", METRICS)])
def test_what_there_is_not_is_refused_at_registration(register: str, kind: Any) -> None:
    def greedy(acts_of_tomorrow):  # type: ignore[no-untyped-def]
        return acts_of_tomorrow

    before = dict(kind.own)
    with pytest.raises(errors.InvalidOption, match=r"'greedy' asks for 'acts_of_tomorrow'.*there is: .*image"):
        getattr(ll, register)("greedy", family="test", cites="none", cost="1 F")(greedy)
    assert kind.own == before


def test_what_there_is_is_there() -> None:
    from limelight.engine.request import Request
    from limelight.scoring.map_batch import MapBatch

    for registry, provider in ((METHODS, Request), (METRICS, MapBatch)):
        assert registry.needs
        assert all(hasattr(provider, name) for name in registry.needs)
        assert {need for card in registry.cards().values() for need in card.needs} <= {*registry.needs}


def test_needs_that_the_engine_knows_by_name_are_there() -> None:
    from limelight.engine.request import GRADIENT_NEEDS, INPUT_GRADIENT_NEEDS, RECORDING_NEEDS
    from limelight.model.black_box import LOOK_INSIDE
    from limelight.model.boundary import NEEDS_GRADIENTS
    from limelight.scoring.map_batch import NEEDS_A_METHOD

    for known in (GRADIENT_NEEDS, INPUT_GRADIENT_NEEDS, RECORDING_NEEDS, LOOK_INSIDE, NEEDS_GRADIENTS):
        assert known <= {*METHODS.needs}
    assert {*METRICS.needs} >= NEEDS_A_METHOD


def test_no_circle_of_imports() -> None:
    grimp = pytest.importorskip("grimp", reason="needs the package import-linter")
    graph = grimp.build_graph("limelight", cache_dir=None)
    TopologicalSorter({m: graph.find_modules_directly_imported_by(m) for m in graph.modules}).prepare()
