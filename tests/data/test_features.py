import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.data import features
from cxrlt_cli.data.features import FeatureCache, stamps
from cxrlt_cli.errors import DataError
from tests.helpers import flipped

KEY = {"model": "abc", "views": ["identity"]}


def some(number: int, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    files = rng.integers(1, 10**9, (number, 2))
    return [f'film{i},\n"{seed}".png' for i in range(number)], files, rng.normal(size=(number, 8)).astype(np.float32)


def everything(cache: FeatureCache, ids: list[str]) -> np.ndarray:
    out = np.full((len(ids), 8), np.nan, np.float32)
    for rows, values in cache.read(ids, np.arange(len(ids))):
        out[rows] = values
    return out


def test_what_was_added_is_read_by_the_next_command(tmp_path: Path) -> None:
    ids, files, values = some(20)
    cache = FeatureCache(tmp_path, KEY)
    assert not cache.known(ids, files).any()
    kept = [cache.add(ids[i : i + 7], files[i : i + 7], values[i : i + 7]) for i in range(0, 14, 7)]
    cache.flush()
    cache.add(ids[14:], files[14:], values[14:])
    cache.flush()
    again = FeatureCache(tmp_path, KEY)
    assert again.known(ids, files).all()
    order = np.random.default_rng(1).permutation(20)
    read = everything(again, [ids[i] for i in order])
    np.testing.assert_array_equal(read, values[order].astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(np.concatenate(kept), values[:14].astype(np.float16))


def test_another_model_or_a_changed_film_is_not_found(tmp_path: Path) -> None:
    ids, files, values = some(3)
    cache = FeatureCache(tmp_path, KEY)
    cache.add(ids, files, values)
    cache.flush()
    assert not FeatureCache(tmp_path, {**KEY, "views": ["identity", "flip"]}).known(ids, files).any()
    changed = files.copy()
    changed[1, 1] += 1
    again = FeatureCache(tmp_path, KEY)
    assert again.known(ids, changed).tolist() == [True, False, True]
    again.add([ids[1]], changed[1:2], -values[1:2])
    again.flush()
    last = FeatureCache(tmp_path, KEY)
    assert last.known(ids, changed).all()
    np.testing.assert_allclose(everything(last, ids)[1], -values[1], rtol=1e-3)


def test_a_full_shard_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SHARD_FILMS", 10)
    ids, files, values = some(12)
    cache = FeatureCache(tmp_path, KEY)
    cache.add(ids[:6], files[:6], values[:6])
    assert not FeatureCache(tmp_path, KEY).known(ids, files).any()
    cache.add(ids[6:], files[6:], values[6:])
    assert FeatureCache(tmp_path, KEY).known(ids, files).all()


def test_two_commands_may_share_a_folder(tmp_path: Path) -> None:
    first, second = FeatureCache(tmp_path, KEY), FeatureCache(tmp_path, KEY)
    for cache, seed in ((first, 1), (second, 2)):
        cache.add(*some(4, seed))
        cache.flush()
    for seed in (1, 2):
        ids, files, _ = some(4, seed)
        assert FeatureCache(tmp_path, KEY).known(ids, files).all()


def test_every_flipped_bit_of_a_shard_is_noticed_and_what_is_whole_is_kept(tmp_path: Path) -> None:
    ids, files, values = some(12)
    cache = FeatureCache(tmp_path, KEY)
    cache.add(ids, files, values)
    cache.flush()
    (shard,) = tmp_path.glob("*/*.safetensors")
    data, kept = shard.read_bytes(), []
    for spoilt in [*flipped(data, 200), data[:-20], b""]:
        for other in shard.parent.glob("*.safetensors"):
            other.unlink()
        shard.write_bytes(spoilt)
        found = FeatureCache(tmp_path, KEY)
        assert len(found.told) == 1
        assert f"{shard.name} is damaged" in found.told[0]
        known = found.known(ids, files)
        kept.append(known.sum())
        for rows, read in found.read(ids, np.flatnonzero(known)):
            np.testing.assert_array_equal(read, values[rows].astype(np.float16))
        assert not shard.exists()
        assert FeatureCache(tmp_path, KEY).told == []
    assert set(kept) == {0, 11}, "but for damage to what says where they are"
    assert np.median(kept) == 11


def test_a_key_that_is_damaged_or_of_another_format_is_told(tmp_path: Path) -> None:
    FeatureCache(tmp_path, KEY)
    (key,) = tmp_path.glob("*/key.json")
    data = key.read_bytes()
    assert json.loads(data) == {"format": 2, **KEY}
    for spoilt in [*flipped(data, 200), data.replace(b'"format": 2', b'"format": 99'), b"[" * 100_000]:
        key.write_bytes(spoilt)
        with pytest.raises(DataError, match=r"key\.json is damaged, or of another format"):
            FeatureCache(tmp_path, KEY)


def test_features_of_0_1_0_are_encoded_again_and_told(tmp_path: Path) -> None:
    text = json.dumps(KEY, sort_keys=True, indent=2) + "\n"
    (tmp_path / hashlib.sha256(text.encode()).hexdigest()[:16]).mkdir()
    assert "of cxrlt 0.1.0" in FeatureCache(tmp_path, KEY).told[0]
    assert FeatureCache(tmp_path, KEY).told == [], "once"


def test_a_shard_that_goes_or_changes_while_it_is_used_is_told(tmp_path: Path) -> None:
    ids, files, values = some(3)
    cache = FeatureCache(tmp_path, KEY)
    cache.add(ids, files, values)
    cache.flush()
    found = FeatureCache(tmp_path, KEY)
    (shard,) = tmp_path.glob("*/*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match="was damaged while this command ran"):
        everything(found, ids)
    shard.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        everything(found, ids)


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    film = tmp_path / "film.png"
    film.write_bytes(b"1")
    before = stamps([film])
    film.write_bytes(b"12")
    assert (stamps([film]) != before).any()
    assert stamps([]).shape == (0, 2)
