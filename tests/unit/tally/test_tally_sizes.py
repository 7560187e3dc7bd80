"""DynamoDB's size rules."""

from tally.sizes import item_size, write_units


def test_sizes_are_those_of_the_published_rules() -> None:
    """Names and values in UTF-8, a byte for two digits and one more, lists with a byte for each element."""
    item = {"pk": {"S": "é"}, "n": {"N": "1234"}, "l": {"L": [{"S": "ab"}]}, "b": {"BOOL": True}}
    assert item_size(item) == (2 + 2) + (1 + 3) + (1 + 3 + 1 + 2) + (1 + 1)


def test_a_unit_is_a_kilobyte_begun_and_twice_that_in_a_transaction() -> None:
    """An item that is not there costs one too."""
    assert [write_units(size) for size in (0, 1, 1024, 1025)] == [1, 1, 1, 2]
    assert write_units(1025, transactional=True) == 4
