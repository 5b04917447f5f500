"""What one request may cost: every limit on it stands here.

The largest requests of W&B's clients (0.17 to 0.31) stay well below: posts of 10 MiB of rows (some
14 MiB, once their quotes are escaped), configurations of 10 MiB, which is W&B's own limit, queries
of 300 fields nested 15 deep, pages of 1,000 rows.
"""

HEAD_BYTES = 64 << 10  # request line and headers
HEAD_S = 10.0  # until they are whole
BODY_S = 30.0  # until the body is whole; of an upload, and of an answer: for its next part
PART_BYTES = 64 << 10  # of such a part: some 2 KiB per second
BODY_BYTES = 24 << 20  # of a post of rows, unpacked
QUERY_BODY_BYTES = 16 << 20  # of a GraphQL request
COMMAND_BYTES = 64 << 10  # of JSON from the administrator
SMALL_BYTES = 64 << 10  # of a body that stays in memory while it comes; larger ones lie on the disk
BODY_COST = 8  # bytes of memory for each of a large body: its text, values, what is stored
BODIES_BYTES = 192 << 20  # of memory for all large bodies that are worked on
ASIDE_BYTES = 2 << 30  # on the disk, of all large bodies that are not worked off
SMALL_BODIES_BYTES = 32 << 20  # of all small ones: they do not wait for large ones
FILE_BYTES = 64 << 30  # of an upload
QUERY_BYTES = 1 << 20
QUERY_TOKENS = 20_000
QUERY_FIELDS = 5_000  # with those of fragments, and those that are left out
QUERY_DEPTH = 40  # of fragments within fields within fragments
FILTER_TERMS = 500
FILTER_BYTES = 64 << 10  # of its JSON
COMPARISONS = 1_000_000  # of the values of a list with those of an `$in`
ORDERS = 8  # fields by which runs are sorted
PATTERN_LENGTH = 1_000  # characters of a `$regex`
PATTERN_BYTES = 8 << 20  # of memory for it
SAMPLES = 50  # specs of one `sampledHistory`
ANSWER_NODES = 400_000  # plain fields; some 10,000 runs
ANSWER_BYTES = 64 << 20
ANSWERS_BYTES = 96 << 20  # of all answers that are made
UNSENT_BYTES = 96 << 20  # of all that their clients have not read
CHANGE_NODES = 2_000  # of an answer to a mutation, which is made on the event loop
CHANGE_CPU_S = 0.5  # for such an answer, once the change is made
ANSWER_CPU_S = 2.0  # of a processor's time
ANSWER_S = 4.0  # from a query's last byte on, whatever else the server does
CHANGES = 1  # of a mutation: W&B's clients ask for one at a time
READ_BYTES = 128 << 20  # of lines that are looked through for an answer
PASSED_BYTES = 256 << 20  # of lines that are unpacked for it: takes some 1.5 s beside other work
SAMPLED_BYTES = READ_BYTES  # of them, for samples: beyond, they are moved together, or fewer
LIVE_BYTES = 4 << 20  # of the rows that `parquetHistory` gives, as objects
CHECKED_BYTES = 1 << 20  # of JSON: in a longer text the values are counted before they are made
JSON_VALUES = 400_000  # of such a text: each takes some 60 bytes and more
JSON_DEPTH = 200  # of a row, a configuration, a summary
JSON_DIGITS = 4_000  # of an integer: Python refuses to read longer ones
KEY_RATE = 200  # requests per second with one key that was made, in the long run
KEY_BURST = 1_000  # at once
KEY_BYTES = 64 << 20  # of its requests' bodies under way
