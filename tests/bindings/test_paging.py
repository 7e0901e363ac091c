"""Weights that memory has no room for, in figures."""

from dataclasses import replace

import pytest

from pannier.errors import ModelError
from pannier.memory import TensorRow
from pannier.paging import Paging, check_mapped, room_in
from pannier.planner.speed import Bandwidths

GIB = 1 << 30


def paging(room, experts=8, others=1, tables=1):
    return Paging((experts + others + tables) * GIB, room * GIB, experts * GIB, others * GIB, 1 / 8)


def row(n_bytes, buffer_type="CPU_Mapped", device="CPU"):
    return TensorRow("blk.0.ffn_up_exps.weight", device, buffer_type, device == "CPU", n_bytes)


def test_an_eighth_of_what_is_available_stays_free():
    assert room_in(8 * GIB) == 7 * GIB


def test_experts_get_what_the_other_weights_leave():
    assert paging(room=3).cached_share == 0.25
    assert paging(room=1).cached_share == 0
    assert paging(room=9).cached_share == 1


def test_a_token_reads_the_experts_that_are_not_there():
    # an eighth of the experts work for a token, 81 % of them are in a cache of a quarter
    assert paging(room=3).disk_bytes == pytest.approx(8 * GIB / 8 * (1 - 0.81))
    assert paging(room=9).disk_bytes == pytest.approx(0)


def test_what_all_tokens_read_is_read_again_where_it_has_no_room():
    assert paging(room=1, others=2).disk_bytes == pytest.approx(8 * GIB / 8 + 2 * GIB)
    assert paging(room=1, experts=0, others=2).disk_bytes == 2 * GIB


def test_time_is_the_processor_s_and_the_disk_s():
    rates = Bandwidths(cpu=2 * GIB, disk=GIB, gpu=8 * GIB)
    one = paging(room=3)
    assert one.seconds_per_token(rates) == pytest.approx((1 + 1) / 2 + 0.19)
    beside = replace(one, device_bytes=4 * GIB)
    assert beside.seconds_per_token(rates) == pytest.approx((1 + 1) / 2 + 0.19 + 0.5)


def test_the_text_has_the_figures():
    text = str(Paging(10 * GIB, 3 * GIB, 8 * GIB, GIB, 1 / 8, seconds=0.5))
    assert "10.0 GiB of weights" in text
    assert "7.0 GiB more" in text
    assert "204 MB for each token, about 2 tokens/s" in text


def test_weights_that_are_copied_need_the_room():
    check_mapped([row(5), row(100, device="GPU0", buffer_type="GPU0")], 1, "auto")
    check_mapped([row(5, "CPU")], 5, "none")
    with pytest.raises(ModelError, match="copied, pinned or locked they do not fit"):
        check_mapped([row(5, "CPU")], 4, "none")


def test_weights_that_are_locked_need_the_room():
    with pytest.raises(ModelError, match="they are read from the file"):
        check_mapped([row(5)], 4, "mmap+mlock")
    with pytest.raises(ModelError):
        check_mapped([row(5)], 4, "mmap", locked=[row(5).name])
    check_mapped([row(5)], 4, "mmap", locked=["another"])
