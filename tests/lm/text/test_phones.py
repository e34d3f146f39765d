"""The folding of TIMIT's phones against the table as published."""

import pytest

from lm.text.phones import PHONES, PhoneError, fold, phone_labels, phone_set

# Lee and Hon (1989), table 3 and section on scoring: the phones that are one with another.
SAME_IN_48 = (
    "ax ax-h", "er axr", "m em", "ng eng", "hh hv", "n nx", "uw ux",
    "cl pcl tcl kcl", "vcl bcl dcl gcl", "sil h# pau",
)  # fmt: skip
SAME_IN_39 = (
    "sil cl vcl epi h# pau pcl tcl kcl bcl dcl gcl",
    "l el", "n en nx", "sh zh", "aa ao", "ih ix", "ah ax ax-h",
    "er axr", "m em", "ng eng", "hh hv", "uw ux",
)  # fmt: skip


def test_sizes():
    assert len(PHONES) == len(set(PHONES)) == 61
    assert len({fold([phone], 48) for phone in PHONES} - {()}) == 48
    assert len({fold([phone], 39) for phone in PHONES} - {()}) == 39
    assert [len(phone_labels(size)) for size in (61, 48, 39)] == [62, 49, 40]


@pytest.mark.parametrize(("size", "groups"), [(48, SAME_IN_48), (39, SAME_IN_39)])
def test_who_is_one_with_whom(size, groups):
    joined = {phone: group.split()[0] for group in groups for phone in group.split()}
    for phone in PHONES:
        expected = () if phone == "q" else (joined.get(phone, phone),)
        assert fold([phone], size) == expected


def test_folding_in_two_steps_is_folding_at_once():
    for phone in PHONES:
        assert fold(fold([phone], 48), 39) == fold([phone], 39)
        assert fold([phone], 61) == (phone,)
    for size in (48, 39):
        assert fold(phone_labels(size)[1:], size) == phone_labels(size)[1:]


def test_a_sentence():
    spoken = "h# sh iy hv ae dcl d y er q ix n gcl h#".split()
    assert " ".join(fold(spoken, 48)) == "sil sh iy hh ae vcl d y er ix n vcl sil"
    assert " ".join(fold(spoken, 39)) == "sil sh iy hh ae sil d y er ih n sil sil"


def test_symbols_that_are_no_phones_are_named():
    with pytest.raises(PhoneError, match="'xx' is none of TIMIT's 39 phones"):
        fold(["aa", "xx"], 39)
    with pytest.raises(PhoneError, match="'cl' is none of TIMIT's 61"):
        fold(["cl"], 61)


def test_sets_are_known_by_their_symbols():
    assert [phone_set(phone_labels(size)) for size in (61, 48, 39)] == [61, 48, 39]
    assert phone_set(phone_labels(48)[1:]) == 48
    assert phone_set(["aa", "b"]) is None
