"""A certificate's look at idle bits: none in sound partitions, each kind is found."""

from dataclasses import replace

import numpy as np
import pytest
from networks import workload
from pooled_network import pooled_case

import splinegeo as sg
from splinegeo._bit_checks import bit_figures, deciding_words
from splinegeo._bits import unpack
from splinegeo.certificate import certify


def with_bit(partition: sg.Partition, stage: int, face: int, bit: int) -> sg.Partition:
    words = partition.bits[stage].copy()
    words[face, bit >> 6] |= np.uint64(1) << np.uint64(bit & 63)
    return replace(partition, bits=(*partition.bits[:stage], words, *partition.bits[stage + 1 :]))


@pytest.mark.parametrize("name", ["S", "B", "leaky biased"])
def test_sound_partitions_have_none(name: str) -> None:
    assert bit_figures(workload(name).partition).idle_bits == 0


def test_bits_beyond_the_last_unit() -> None:
    partition = workload("B").partition
    assert partition.network.stages[1].n_units == 32
    damaged = with_bit(partition, 1, 5, 40)
    regions = np.flatnonzero(partition.ancestors[1] == 5)
    np.testing.assert_array_equal(bit_figures(damaged).regions, regions)
    problems = certify(damaged, 0).problems
    assert f"{len(regions)} regions have bits on which no unit's piece depends" in problems


def test_bits_of_carried_values_and_of_comparisons_without_a_winner() -> None:
    partition = pooled_case()[1]
    assert bit_figures(partition).idle_bits == 0
    network, region = partition.network, int(partition.areas.argmax())
    deciding = deciding_words(partition)
    (group,) = network.groups
    n_kinds = np.zeros(2, dtype=int)
    for stage in group:
        last, words = deciding[stage]
        face = int(partition.ancestors[stage][region])
        taken = unpack(words[[partition.ancestors[last][region]]], network.stages[stage].n_units)[0]
        for idle in np.flatnonzero(~taken):
            damaged = with_bit(partition, stage, face, int(idle))
            assert region in bit_figures(damaged).regions
            n_kinds[int(network.stages[stage].carried[idle])] += 1
    assert (n_kinds > 0).all()
    assert not damaged.certify(0).ok
