"""Damaged request bodies for property tests."""

from hypothesis import strategies as st


def damaged(valid: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy for random bytes and for `valid` with bytes removed or inserted."""

    def cut(place: int, length: int, insert: bytes) -> bytes:
        return valid[:place] + insert + valid[place + length :]

    place = st.integers(0, len(valid))
    return st.binary(max_size=200) | st.builds(cut, place, st.integers(0, 40), st.binary(max_size=20))
