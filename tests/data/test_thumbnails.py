import base64

import cv2
import numpy as np

from cxrlt_cli.data.thumbnails import SIZE, STRENGTH, data_uri, heat_uri, overlaid, shrunk, thumbnail


def test_what_was_looked_at_is_orange_and_the_rest_is_grey() -> None:
    film = np.full((50, 80), 100, np.uint8)
    small = thumbnail(film)
    assert small.shape == (SIZE, SIZE)
    attention = np.zeros((4, 4))
    attention[0, 3] = 1
    seen = overlaid(small, attention)
    blue, _, red = seen[10, SIZE - 10].astype(int)
    assert red - blue > 80
    assert (np.ptp(seen[SIZE - 10, 10]) <= 3).all()
    assert (overlaid(small, np.full((4, 4), 0.25)) == 100).all()


def test_a_picture_stands_in_the_page_itself() -> None:
    film = np.tile(np.linspace(0, 255, SIZE).astype(np.uint8), (SIZE, 1))
    kind, data = data_uri(film).split(",")
    assert kind == "data:image/jpeg;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    assert np.abs(image.astype(int) - film).mean() < 3


def test_a_film_is_shrunk_in_its_shape_and_never_grown() -> None:
    assert shrunk(np.zeros((300, 600), np.uint8), 200).shape == (100, 200)
    assert shrunk(np.zeros((30, 60), np.uint8), 200).shape == (30, 60)
    assert shrunk(np.zeros((1, 5000), np.uint8), 200).shape == (1, 200)


def test_a_heat_map_to_lay_over_a_film_is_clear_where_nothing_was_looked_at() -> None:
    attention = np.zeros((4, 6), np.float32)
    attention[1, 2] = 0.5
    kind, data = heat_uri(attention).split(",")
    assert kind == "data:image/png;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.shape == (4, 6, 4)
    assert image[1, 2, 3] == round(255 * STRENGTH)
    assert (np.delete(image[..., 3].ravel(), 8) == 0).all()
