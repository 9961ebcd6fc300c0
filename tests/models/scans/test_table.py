"""Tests of tables of points as text: .xyz, .txt and .csv."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from refusals import assert_refused
from variants import FEW, SEEDS, some_points, some_text, sometimes, written

from benchmarks.fuzz.scans import POINTS, lines, ply
from models.scans.cloud import BadCloud, Degenerate, NotFinite, UnknownSuffix, Unreadable
from models.scans.files import read_scan

NAN, INF = POINTS.copy(), POINTS.copy()
NAN[5, 1], INF[7, 2] = np.nan, np.inf

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "ply called xyz": (".xyz", ply("ascii"), UnknownSuffix, "like a .ply file"),
    "blank": (".xyz", b" \n\t\r\n", Degenerate, "empty"),
    "only a comment": (".xyz", b"# nothing\n", Degenerate, "at least 4 points, got 0"),
    "one point": (".xyz", b"1 2 3\n", Degenerate, "at least 4 points, got 1"),
    "points all equal, far away": (".xyz", b"1000.1 7 7\n" * 50, Degenerate, "all equal"),
    "larger than a double": (".xyz", b"1e999 0 0\n" * 4, NotFinite, "infinity"),
    "table of two columns": (".xyz", b"1 2\n3 4\n5 6\n7 8\n", Unreadable, "3 to 64 numbers in a row, got 2"),
    "ragged table": (
        ".xyz",
        b"1 2 3\n4 5 6\n7 8\n9 1 2 3\n",
        Unreadable,
        "expected 3 numbers in every row, .* got 2 in row 2",
    ),
    "infinity": (".csv", lines(INF.tolist(), ",").encode(), NotFinite, "point 7"),
    "names without x y z": (".csv", b"a,b,c\n1,2,3\n", Unreadable, "expected x, y and z"),
    "decimal commas": (".csv", b"1,5 2,5 3,5\n", Unreadable, "one separator"),
    "decimal commas and semicolons": (".csv", b"1,5;2,5;3,5\n", Unreadable, "decimal points"),
    "a number left out": (".csv", b"1,2,3\n4,,6\n", Unreadable, "nothing at a ','"),
    "words": (".txt", b"1 2 3\n4 5 six\n", Unreadable, "expected numbers in a table"),
    "half words": (".txt", b"1 2 3\n4 5 6-6e\n", Unreadable, "6 words that are not all numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])


def table(header: str, mark: str, *, before: str = "", after: str = "", end: str = "") -> bytes:
    """Write a table of POINTS with a text before and after each row's coordinates."""
    rows = (f"{before}{mark.join(map(repr, row))}{after}{end}\n" for row in POINTS.tolist())
    return (header + "\n" + "".join(rows)).encode()


TABLES = {
    "a name with a blank": table("Point ID,X,Y,Z", ",", before="7,"),
    "units in brackets": table("X (mm),Y (mm),Z (mm)", ","),
    "units in square brackets": table("x[m]; y[m]; z[m]", ";"),
    "units after a blank": table("x mm\ty mm\tz mm", "\t"),
    "ParaView's names": table('"Points:0","Points:1","Points:2","Scalars"', ",", after=",0.5"),
    "ParaView's other names": table("Scalars,Points_0,Points_1,Points_2", ",", before="0.5,"),
    "a prefix": table("Position.X,Position.Y,Position.Z", ","),
    "normals beside points": table("nx,ny,nz,x,y,z", ",", before="0,0,1,"),
    "a column of text": table("name,x,y,z", ",", before="left eye,"),
    "a column of quoted text": table("name,x,y,z,note", ",", before='"eye, left",', after=',"a ""b"""'),
    "text in a table with blanks": table("name x y z", " ", before="eye "),
    "empty columns of text": table("x,y,z,note,more", ",", after=",,"),
    "trailing commas": table("x,y,z,", ",", end=","),
    "trailing commas without names": table("", ",", end=","),
    "a count": table("24", " "),
    "a count, and colours": table("24", " ", after=" 12 255 0 0"),
    "a byte order mark and names": b"\xef\xbb\xbf" + table("x,y,z", ","),
    "UTF-16": table("x\ty\tz", "\t").decode().encode("utf-16"),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("suffix", [".csv", ".txt", ".pts", ".asc"])
def test_columns_are_found_by_their_names(name: str, suffix: str):
    scan = read_scan(TABLES[name], suffix)
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.triangles is None


COUNTING = lines([[i, *p] for i, p in enumerate(POINTS.tolist(), 1)]).encode()
AMBIGUOUS = {
    "more columns than names": (".csv", table("x,y,z", ",", after=",7"), Unreadable, "expected 3 columns"),
    "fewer columns than names": (".csv", table("id,x,y,z", ","), Unreadable, "expected 4 columns"),
    "a row of text with another column": (
        ".csv",
        table("name,x,y,z", ",", before="eye,") + b"left,eye,1,2,3\n",
        Unreadable,
        "expected 4 columns in every row .* got 5 in row 24",
    ),
    "one name twice": (".csv", table("x,x,y,z", ",", before="1,"), Unreadable, "got two"),
    "a number left out beside text": (
        ".csv",
        b"name,x,y,z\neye,1,,3\n",
        Unreadable,
        "expected a number for x, y and z",
    ),
    "text for a coordinate": (".csv", b"x,y,z\n1,2,three\n", Unreadable, "expected numbers"),
    "a first column that counts": (".xyz", COUNTING, Unreadable, "counts the rows from 1"),
    "names of some columns": (
        ".xyz",
        b"# id x y z\n" + table("", " ", before="7 ", after=" 0 0"),
        Unreadable,
        "each of the 6",
    ),
    "an empty column between tabs": (".txt", table("x\ty\tz", "\t", after="\t\t1"), Unreadable, "expected 3 columns"),
    "a count of other rows": (".pts", table("25", " "), Unreadable, "expected 25 rows, .* got 24"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_table_with_ambiguous_columns_is_refused(name: str):
    assert_refused(*AMBIGUOUS[name])


NAMINGS = (
    "{}", " {} ", '"{}"', "{} (mm)", "{}[m]", "{}_mm", "{} m", "Point {}", "Position.{}", "coord_{}", "{}_coord", "{} Coordinate (mm)",
    "p{}",
)  # fmt: skip
PARAVIEW = ("Points:{}", "Points_{}", '"Points:{}"')


def names_of(rng: Random, mark: str) -> list[str]:
    """Return names of x, y and z, as programs write them in a table with this separator."""
    paraview = rng.random() < 0.3
    namings = [naming for naming in (PARAVIEW if paraview else NAMINGS) if mark != " " or " " not in naming]
    naming, axes = rng.choice(namings), "012" if paraview else rng.choice(("xyz", "XYZ"))
    return [naming.format(axis) for axis in axes]


def table_of(rng: Random, points: np.ndarray) -> list[str]:
    """Return the lines of a table: named columns in any order, or x, y and z first; comments, a count, text, trailing separators."""
    mark, named = rng.choice((",", ";", "\t", " ", ", ")), rng.random() < 0.6
    text = named and mark in ",;" and rng.random() < 0.5  # a column of text
    axes = dict(zip(names_of(rng, mark.strip() or mark), points.T.tolist(), strict=True))
    chosen = rng.sample(list(axes), 3) if named else list(axes)
    cells = {name: [written(rng, x) for x in column] for name, column in axes.items()}
    for i in range(rng.randint(0, 4)):
        cells[f"other{i}"] = [rng.choice(("left eye", "", "a b") if text else ("0.5", "7", "1e-9")) for _ in points]
        chosen.insert(rng.randint(0, len(chosen)) if named else len(chosen), f"other{i}")
    tail = mark.strip() if mark in ",;" and rng.random() < 0.3 else ""
    rows = [mark.join(row) + tail for row in zip(*(cells[name] for name in chosen), strict=True)]
    start = sometimes(rng, "# a scan of 3 faces, made by hand in a room", "// of a face", "")
    return [*start, *([mark.join(chosen)] if named else sometimes(rng, str(len(rows)))), *rows]


@FEW
@given(SEEDS)
def test_every_way_to_write_a_table_gives_the_same_scan(seed: int):
    rng = Random(seed)
    points = some_points(rng)
    scan = read_scan(some_text(rng, table_of(rng, points)), rng.choice((".csv", ".xyz", ".txt", ".asc", ".pts")))
    np.testing.assert_array_equal(scan.points, points)


def test_the_names_of_a_table_may_be_a_comment():
    for names in ("# id x y z", "// id,x,y,z", "#ID X Y Z"):
        data = names.encode() + b"\n" + lines([[7, *p] for p in POINTS.tolist()]).encode()
        np.testing.assert_array_equal(read_scan(data, ".xyz").points, POINTS)


@pytest.mark.parametrize("comment", ["# a scan of x y z in m, made today by hand", "# x y z", "//X Y Z R G B"])
def test_a_comment_that_does_not_name_every_column_leaves_the_first_three(comment: str):
    data = (comment + "\n").encode() + lines([[*p, 1, 2, 3] for p in POINTS.tolist()]).encode()
    np.testing.assert_array_equal(read_scan(data, ".txt").points, POINTS)


def test_nan_as_windows_writes_it_is_a_missing_point():
    data = lines(POINTS.tolist()).encode() + b"-nan(ind) 1.#QNAN -1.#IND\n"
    scan = read_scan(data, ".xyz")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.kept is not None


def test_a_line_of_excel_before_the_names_is_passed_over():
    np.testing.assert_array_equal(read_scan(b"sep=;\r\n" + TABLES["units in square brackets"], ".csv").points, POINTS)
