import pytest
from scipy.stats import norm

from cxrlt_cli.scores.sample_size import auroc_error, positives_for_width


def test_the_standard_error_is_that_of_the_paper() -> None:
    """Hanley & McNeil 1982, their example: area 0.893, 51 abnormal and 58 normal films, s.e. 0.032."""
    assert auroc_error(0.893, 51, 58) == pytest.approx(0.032, abs=6e-4)


@pytest.mark.parametrize(("auroc", "prevalence", "width"), [(0.8, 0.02, 0.1), (0.65, 0.3, 0.2), (0.95, 0.5, 0.05)])
def test_it_is_the_smallest_number_that_is_enough(auroc: float, prevalence: float, width: float) -> None:
    number = positives_for_width(auroc, prevalence, width)
    assert number is not None
    widths = [
        2 * norm.ppf(0.975) * auroc_error(auroc, n, n * (1 - prevalence) / prevalence) for n in (number - 1, number)
    ]
    assert widths[0] > width >= widths[1]


def test_where_there_is_none() -> None:
    assert positives_for_width(1.0, 0.1, 0.1) is None
    assert positives_for_width(0.8, 0.1, 1e-9) is None
    assert positives_for_width(0.8, 1.0, 0.2) is None, "a single negative says too little, however many positives"
