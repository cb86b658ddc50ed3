import io

import numpy as np
import pandas as pd
import pytest

from cxrlt_cli.scores import nearest
from cxrlt_cli.scores.nearest import Known
from cxrlt_cli.tables.embeddings import Embeddings


def known(features: np.ndarray, names: str = "t") -> Known:
    ids = np.array([f"{names}{row}" for row in range(len(features))], object)
    return Known(Embeddings(ids, features.astype(np.float32), "abc"))


@pytest.mark.parametrize("block", [1, 100, 2**24])
def test_the_nearest_are_those_of_a_naive_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK", block)
    rng = np.random.default_rng(0)
    among, mine = (rng.normal(size=(number, 16)).astype(np.float32) for number in (40, 7))
    found = known(among).nearest(np.array([f"m{row}" for row in range(7)], object), mine)
    for row in range(7):
        cosines = {
            f"t{other}": sum(float(a) * float(b) for a, b in zip(mine[row], among[other], strict=True))
            / np.linalg.norm(mine[row].astype(float))
            / np.linalg.norm(among[other].astype(float))
            for other in range(40)
        }
        best = sorted(cosines, key=lambda name: -cosines[name])[:5]
        assert list(found.films[row]) == best
        np.testing.assert_allclose(found.cosines[row], [cosines[name] for name in best], atol=1e-6)


def test_of_equals_the_first_comes_first_and_length_does_not_matter() -> None:
    one = np.array([3.0, 4.0])
    among = np.stack([[4.0, 3.0], one, 0.1 * one, [-3.0, -4.0], 7 * one, [0.0, 0.0], [4.0, -3.0]])
    found = known(among).nearest(np.array(["m"], object), one[None].astype(np.float32))
    assert found.films == (("t1", "t2", "t4", "t0", "t5"),)
    assert found.cosines == ((1.0, 1.0, 1.0, 0.96, 0.0),)


def test_a_film_is_not_its_own_neighbour() -> None:
    features = np.eye(3, dtype=np.float32) + 0.1
    films = known(features)
    found = films.nearest(np.array(["t1", "other"], object), features[[1, 1]])
    assert found.films == (("t0", "t2"), ("t1", "t0", "t2"))
    assert "t1" in films
    assert "other" not in films
    alone = known(features[:1]).nearest(np.array(["t0"], object), features[:1])
    assert alone.films == ((),)
    assert alone.to_csv("ImageID", header=True) == "ImageID,rank,neighbour,cosine\n"


def test_the_csv_has_a_row_for_each_neighbour() -> None:
    found = known(np.eye(2), "a,").nearest(np.array(['x,"1"'], object), np.array([[0.6, 0.8]], np.float32))
    text = found.to_csv("film", header=True)
    assert text == 'film,rank,neighbour,cosine\n"x,""1""",1,"a,1",0.800000\n"x,""1""",2,"a,0",0.600000\n'
    assert found.to_csv("film", header=False) == text.partition("\n")[2]
    assert pd.read_csv(io.StringIO(text))["neighbour"].tolist() == ["a,1", "a,0"]
