"""Reading past the page cache."""

import os

from pannier.disk_rate import disk_rate


def test_a_file_is_read_or_it_is_said_that_it_cannot_be(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(4 << 20))
    rate = disk_rate(path)
    assert rate is None or rate > 0


def test_a_file_smaller_than_an_expert(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"a")
    assert disk_rate(path) is None


def test_no_time_to_read(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(4 << 20))
    assert disk_rate(path, most_s=-1.0) is None
