"""Damaged bodies of requests, for tests by hypothesis."""

from hypothesis import strategies as st


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy for bytes of all kinds, and for `whole` with pieces cut out or inserted."""

    def cut(place: int, length: int, insert: bytes) -> bytes:
        return whole[:place] + insert + whole[place + length :]

    place = st.integers(0, len(whole))
    return st.binary(max_size=200) | st.builds(cut, place, st.integers(0, 40), st.binary(max_size=20))
