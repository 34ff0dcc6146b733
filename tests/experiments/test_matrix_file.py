from __future__ import annotations

import datetime
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given, settings, strategies as st

from rcframe.errors import RequestError
from rcframe.experiments.matrix_file import MatrixFile, Row, parse_matrix, read_matrix_file


def read(text: str) -> MatrixFile:
    return parse_matrix(tomllib.loads(text), "title", "`m.toml`")


def names(text: str) -> list[str]:
    return [row.name for row in read(text).rows()]


def refused(text: str) -> str:
    with pytest.raises(RequestError) as raised:
        read(text)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# -- what is combined -------------------------------------------------------------------------------------------------


def test_every_combination_of_lists_is_a_row_the_last_axis_turning_fastest() -> None:
    matrix = read("""
        run.data = "glyphs"
        vary.teacher = ["plain", "nasty:omega=0.1"]
        vary.eval_size = [50, 100]
    """)
    assert list(matrix.rows()) == [
        Row(
            f"{teacher}, eval_size {size}",
            {"teacher": teacher, "eval_size": str(size)},
            {"data": "glyphs", "teacher": teacher, "eval_size": size},
        )
        for teacher in ("plain", "nasty:omega=0.1")
        for size in (50, 100)
    ]
    assert (matrix.title, matrix.seeds, matrix.most) == ("title", 1, 4)


def test_a_table_gives_values_names_of_their_own() -> None:
    (first, second) = read("""
        [vary.pruner]
        "before pruning" = "none"
        filters = ["filters:ratio=0.5", "filters:ratio=0.5"]
    """).rows()
    assert first == Row("before pruning", {"pruner": "before pruning"}, {"pruner": "none"})
    assert second == Row("filters", {"pruner": "filters"}, {"pruner": ["filters:ratio=0.5", "filters:ratio=0.5"]})


def test_a_name_that_is_no_setting_stands_for_several_settings() -> None:
    (small, large) = read("""
        [vary.size]
        small = { model = "mlp", "student.epochs" = 1, student = { name = "kd", alpha = 0.5 } }
        large.model = "convnet"
        large.teacher.epochs = 9
    """).rows()
    assert small.settings == {"model": "mlp", "student.epochs": 1, "student": {"name": "kd", "alpha": 0.5}}
    assert large.settings == {"model": "convnet", "teacher.epochs": 9}
    assert (small.name, small.labels) == ("small", {"size": "small"})


def test_a_table_for_a_part_is_the_part_and_not_several_settings() -> None:
    (row,) = read('vary.student.mine = { name = "kd", alpha = 0.5 }\nvary."student.taps".both = { a = 1 }').rows()
    assert row.settings == {"student": {"name": "kd", "alpha": 0.5}, "student.taps": {"a": 1}}


def test_axes_are_stronger_than_what_is_shared() -> None:
    (row,) = read("""
        run = { model = "mlp", eval_size = 1, data = "digits" }
        vary.set.one = { model = "lenet5" }
        vary.eval_size = [3]
    """).rows()
    assert row.settings == {"model": "lenet5", "eval_size": 3, "data": "digits"}


@pytest.mark.parametrize("dotted", ['"student.epochs" = [1, 2]', '[vary."student.epochs"]\n1 = 1\n2 = 2'])
def test_an_option_is_varied_by_its_quoted_name(dotted: str) -> None:
    rows = list(read(f"[vary]\n{dotted}").rows())
    assert [row.settings for row in rows] == [{"student.epochs": 1}, {"student.epochs": 2}]
    assert [row.name for row in rows] == ["epochs 1", "epochs 2"]
    assert [row.labels for row in rows] == [{"student.epochs": "1"}, {"student.epochs": "2"}]


@pytest.mark.parametrize("written", ["student.epochs = [1, 2]", "[vary.student]\nepochs = [1, 2]"])
def test_an_option_without_quotes_is_told_to_have_them(written: str) -> None:
    text = f"[vary]\n{written}"
    assert refused(text) == (
        "`student.epochs` in [vary] of `m.toml` names no student. To vary an option, put its name in quotes and give a "
        'list: "student.epochs" = [1, 2].'
    )


def test_an_option_with_one_value_and_without_quotes_is_told_to_have_them() -> None:
    assert 'give a list: "student.epochs" = [3].' in refused("vary.student.epochs = 3")
    assert 'give a list: "student.detach" = [true, false].' in refused("vary.student.detach = [true, false]")
    assert names("[vary.eval_size]\nfew = 50\nmany = 500") == ["few", "many"]


def test_what_all_runs_share_takes_options_with_and_without_quotes() -> None:
    expected = {"seed": 0, "teacher.epochs": 3, "student": "kd", "student.alpha": 1, "teacher.lr": 0.5}
    quoted = 'vary.seed = [0]\n[run]\n"teacher.epochs" = 3\nstudent = "kd"\n"student.alpha" = 1\n"teacher.lr" = 0.5'
    table = 'vary.seed = [0]\n[run]\nstudent = "kd"\n"student.alpha" = 1\n[run.teacher]\nepochs = 3\nlr = 0.5'
    for text in (quoted, table):
        assert next(read(text).rows()).settings == expected
    assert next(read('vary.seed = [0]\nrun.data = { name = "glyphs", size = 8 }').rows()).settings["data"] == {
        "name": "glyphs",
        "size": 8,
    }


def test_seeds_may_be_varied_but_are_nothing_to_compare() -> None:
    rows = list(read('title = "T"\nvary.seed = [3, 5]\nvary.student = ["kd", "plain"]').rows())
    assert [(row.name, row.settings["seed"]) for row in rows] == [("kd", 3), ("plain", 3), ("kd", 5), ("plain", 5)]
    assert all(row.labels.keys() == {"student"} for row in rows)
    assert [row.name for row in read('title = "Seeds"\nvary.seed = [3, 5]').rows()] == ["Seeds", "Seeds"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("0.5", "temperature 0.5"),
        ("true", "temperature true"),
        ('"none"', "temperature none"),
        ('"8/255"', "temperature 8/255"),
        ('"warm"', "warm"),
        ('["kd", "plain"]', "kd then plain"),
        ('{ name = "kd", alpha = 0.5, taps = [1, 2], hard = false }', "kd:alpha=0.5,taps=1 then 2,hard=false"),
        ('{ name = "kd" }', "kd"),
    ],
)
def test_a_value_without_a_name_is_called_by_what_it_is(value: str, name: str) -> None:
    assert names(f'vary."student.temperature" = [{value}]') == [name]


def test_options_of_one_name_are_told_apart() -> None:
    assert names('vary."teacher.epochs" = [1]\nvary."student.epochs" = [2]\nvary."student.lr" = [3]') == [
        "teacher.epochs 1, student.epochs 2, lr 3"
    ]


# -- what is left out, and rows of their own --------------------------------------------------------------------------


def test_an_exclusion_leaves_out_what_has_all_of_its_labels() -> None:
    text = """
        vary.teacher = ["plain", "nasty"]
        vary.student = ["plain", "kd", "skeptical"]
        vary.eval_size = [50, 100]
        [[exclude]]
        teacher = "plain"
        student = ["skeptical", "kd"]
        [[exclude]]
        eval_size = 100
        teacher = "nasty"
    """
    kept = {(row.labels["teacher"], row.labels["student"], row.labels["eval_size"]) for row in read(text).rows()}
    everything = {(t, s, n) for t in ("plain", "nasty") for s in ("plain", "kd", "skeptical") for n in ("50", "100")}
    left_out = {(t, s, n) for t, s, n in everything if (t, n) == ("nasty", "100")}
    left_out |= {("plain", student, size) for student in ("skeptical", "kd") for size in ("50", "100")}
    assert kept == everything - left_out
    assert read(text).most == 12


def test_a_single_exclusion_or_row_may_be_a_table() -> None:
    assert names('vary.student = ["kd", "plain"]\nexclude = { student = "kd" }\nrow = { name = "own" }') == [
        "plain",
        "own",
    ]


def test_labels_seeds_and_phases_may_be_excluded() -> None:
    text = 'vary.seed = [1, 2]\n[vary.student]\na = "kd"\nb = "plain"\n[[exclude]]\nseed = 2\nstudent = "b"'
    assert [(row.name, row.settings["seed"]) for row in read(text).rows()] == [("a", 1), ("b", 1), ("a", 2)]
    assert names('vary.student = [["plain", "kd"], "kd"]\nexclude = { student = [["plain", "kd"]] }') == ["kd"]


@pytest.mark.parametrize(
    ("exclusion", "words"),
    [
        ('studnet = "kd"', "names `studnet`, which is not varied. Did you mean `student`? Varied: student, eval_size."),
        ('student = "dk"', "names the value `dk` of `student`. Did you mean `kd`? Its values: kd, plain."),
        ('student = ["kd", "plane"]', "names the value `plane` of `student`. Did you mean `plain`?"),
        ("eval_size = 51", "names the value `51` of `eval_size`. Did you mean `50`? Its values: 50."),
        ("", "An [[exclude]] in `m.toml` is empty: it would leave out everything."),
        ("student = []", "names no value of `student`, so it leaves out nothing."),
    ],
)
def test_an_exclusion_that_does_not_mean_what_is_there_is_refused(exclusion: str, words: str) -> None:
    text = f'vary.student = ["kd", "plain"]\nvary.eval_size = [50]\n[[exclude]]\n{exclusion}'
    assert words in refused(text)
    assert "Varied: none." in refused('row = [{ name = "own" }]\nexclude = { student = "kd" }')


def test_rows_of_their_own_come_last_and_change_what_is_shared() -> None:
    rows = list(
        read("""
        run = { student = "kd", pruner = "filters" }
        vary.eval_size = [9]
        [[row]]
        name = "unpruned"
        pruner = "none"
        "student.epochs" = 3
        [[row]]
        name = "as it is"
    """).rows()
    )
    assert [row.name for row in rows] == ["eval_size 9", "unpruned", "as it is"]
    assert rows[1] == Row("unpruned", {"row": "unpruned"}, {"student": "kd", "pruner": "none", "student.epochs": 3})
    assert rows[2].settings == {"student": "kd", "pruner": "filters"}


@pytest.mark.parametrize("name", ["", 'name = ""', 'name = " "', "name = 3"])
def test_a_row_of_its_own_needs_a_name(name: str) -> None:
    assert refused(f"[[row]]\n{name}") == "A [[row]] in `m.toml` has no `name`, by which its results are found."


# -- counting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ('vary.student = ["kd", "plain"]', 2),
        ('seeds = 5\nvary.student = ["kd", "plain"]\nvary.eval_size = [1, 2, 3]\nrow = { name = "own" }', 35),
        ('seeds = 4\nrow = [{ name = "own" }, { name = "other" }]', 8),
        ('vary.student = ["kd", "plain"]\nexclude = { student = "kd" }', 2),
    ],
)
def test_the_number_of_runs_is_known_before_they_are_built(text: str, most: int) -> None:
    assert read(text).most == most
    assert len(list(read(text).rows())) * read(text).seeds <= most


def test_a_thousand_million_runs_are_counted_at_once() -> None:
    vary = {name: list(range(1000)) for name in ("seed", "eval_size", "budget")}
    matrix = parse_matrix({"vary": vary, "seeds": 7}, "t", "here")
    assert matrix.most == 7 * 10**9
    assert next(matrix.rows()).settings == {"seed": 0, "eval_size": 0, "budget": 0}


# -- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "`m.toml` has no runs: say what to combine in [vary], or name runs of their own in [[row]]."),
        ('[run]\ndata = "digits"', "`m.toml` has no runs"),
        ("[vary]\n", "`m.toml` has no runs"),
        ("vary = {}\nrow = []", "`m.toml` has no runs"),
        ("vary.student = []", "`student` in [vary] of `m.toml` has no values, so the matrix is empty."),
        ("vary.student = {}", "`student` in [vary] of `m.toml` has no values, so the matrix is empty."),
        ('vary.student = ["kd", "plain", "kd"]', "`student` in [vary] of `m.toml` has the value `kd` twice."),
        ('vary.eval_size = [1, "1"]', "has the value `1` twice"),
        ('vary.student = "kd"', "`student` in [vary] of `m.toml` is 'kd': give a list of values, or a table of names."),
        ('vary."student.epochs" = 3', "`student.epochs` in [vary] of `m.toml` is 3: give a list"),
        ("vary = 3", "[vary] in `m.toml` must be a table: a list of values for each setting that is varied."),
        ("run = 3", "[run] in `m.toml` must be a table of settings."),
        ('exclude = "kd"\nvary.seed = [1]', "`exclude` in `m.toml` must be tables: write [[exclude]]"),
        ('row = ["kd"]', "`row` in `m.toml` must be tables: write [[row]]"),
        ("seeds = 0\nvary.seed = [1]", "`seeds` in `m.toml` is 0, but it must be a whole number of 1 or more."),
        ("seeds = true\nvary.seed = [1]", "`seeds` in `m.toml` is True, but"),
        ("seeds = 1.5\nvary.seed = [1]", "`seeds` in `m.toml` is 1.5, but"),
        ("seeds = [1, 2]\nvary.seed = [1]", "`seeds` in `m.toml` is [1, 2], but"),
        (
            "vari.seed = [1]",
            "`m.toml` has `vari`, which no matrix has. Did you mean `vary`? Known: title, seeds, run, ",
        ),
        ("run.seeds = 3\nvary.seed = [1]", "[run] in `m.toml` has `seeds`, which is one number for all runs"),
        ("vary.seeds = [3]", "[vary] in `m.toml` has `seeds`, which is one number for all runs"),
        ("vary.set.a = { seeds = 3 }", "`set.a` has `seeds`, which is one number for all runs"),
        ('row = { name = "a", seeds = 3 }', "[[row]] `a` in `m.toml` has `seeds`, which is one number for all runs"),
    ],
)
def test_what_is_no_matrix_is_a_sentence(text: str, words: str) -> None:
    assert words in refused(text)


def test_an_empty_table_in_the_place_of_a_part_is_kept_to_be_refused_with_the_run() -> None:
    assert next(read("run.student = {}\nvary.seed = [0]").rows()).settings["student"] == {}


SCALARS = (
    st.integers()
    | st.floats()
    | st.booleans()
    | st.text(max_size=5)
    | st.sampled_from(["plain", "kd", "none", "kd:alpha=1"])
    | st.dates()
    | st.datetimes()
    | st.times()
)
KEYS = st.sampled_from(["student", "teacher", "seed", "name", "student.epochs", "set", "a", "", "."])
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(["title", "seeds", "run", "vary", "exclude", "row", "other"]), ANYTHING, max_size=4
)
LIKELY = st.fixed_dictionaries(
    {"vary": st.dictionaries(KEYS, st.lists(SCALARS, max_size=3) | st.dictionaries(KEYS, ANYTHING, max_size=3))},
    optional={
        "run": st.dictionaries(KEYS, ANYTHING, max_size=3),
        "exclude": st.lists(st.dictionaries(KEYS, ANYTHING, max_size=2), max_size=2),
        "row": st.lists(st.dictionaries(KEYS, ANYTHING, max_size=3), max_size=2),
    },
)


@settings(max_examples=300)
@given(DOCUMENTS | LIKELY)
@example({"vary": {"seed": [datetime.date(2020, 1, 1)]}, "exclude": {"seed": {"a": []}}})
def test_any_document_is_a_matrix_or_a_sentence(document: dict[str, object]) -> None:
    try:
        matrix = parse_matrix(document, "title", "here")
    except RequestError:
        return
    rows = list(matrix.rows())
    assert 0 <= len(rows) * matrix.seeds <= matrix.most
    assert all(row.name for row in rows)
    assert all(isinstance(label, str) for row in rows for label in row.labels.values())


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_called_by_its_name_unless_it_has_a_title(tmp_path: Path) -> None:
    file = tmp_path / "my matrix.toml"
    file.write_bytes(b"\xef\xbb\xbfvary.seed = [1]")
    assert read_matrix_file(file).title == "my matrix"
    file.write_text('title = "Mine"\nvary.seed = [1]')
    assert read_matrix_file(file).title == "Mine"


@pytest.mark.parametrize("content", [b"vary = ", b"vary.seed = [1]\nvary.seed = [2]", b"\xff\xfe\x00"])
def test_a_file_that_is_no_toml_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_bytes(content)
    with pytest.raises(RequestError, match=r"m\.toml` is not valid TOML: [^\"]*$"):
        read_matrix_file(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^Cannot read the matrix `.*gone\.toml`: No such file or directory\.$"):
        read_matrix_file(tmp_path / "gone.toml")
    with pytest.raises(RequestError, match=r"^Cannot read the matrix `.*`: Is a directory\.$"):
        read_matrix_file(tmp_path)


def test_an_option_without_quotes_that_makes_the_file_no_toml_is_pointed_out(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text('[vary.student]\nkd = "kd"\n[vary]\nstudent.temperature = [1, 4]\n', encoding="utf-8")
    with pytest.raises(RequestError, match=r'The name of an option stands in quotes: "student\.temperature" = '):
        read_matrix_file(file)


def test_two_axes_never_set_the_same() -> None:
    vary = {"eps": {"a": 0.2, "b": 0.3}, "x": {"p": {"eps": 0.5}, "q": {"seed": 3}}}
    with pytest.raises(RequestError, match=r"\[vary\] in The matrix sets `eps` twice: by `eps` and by `x`"):
        parse_matrix({"vary": vary}, "m", "The matrix")
