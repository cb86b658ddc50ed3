from cxrlt_cli.datasets.label_tree import CHILDREN, PARENTS, ancestors


def test_the_tree_is_the_published_one() -> None:
    """98 names have a parent, 11 of them two."""
    assert len(PARENTS) == 98
    assert sum(len(parents) == 2 for parents in PARENTS.values()) == 11
    assert max(map(len, PARENTS.values())) == 2


def test_ancestors_by_every_way_and_never_oneself() -> None:
    assert ancestors("callus rib fracture") == {"rib fracture", "fracture"}
    assert ancestors("calcified adenopathy") == {"adenopathy", "calcified densities", "hilar enlargement"}
    assert ancestors("fracture") == frozenset()
    assert all(name not in ancestors(name) for name in {*CHILDREN, *PARENTS})
