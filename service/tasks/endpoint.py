"""service.tasks.endpoint."""

DECODE_ON_LOOP = 100_000  # bytes of JSON that take a quarter of a millisecond; more goes to a thread, for fairness
