"""RFC 7541: every representation of a field, and what a decoder must refuse."""

from __future__ import annotations

import pytest

from lib.h2frames import (
    COMPRESSION_ERROR,
    END_HEADERS,
    END_STREAM,
    HEADER_TABLE_SIZE,
    INCREMENTAL,
    NEVER,
    PLAIN,
    H2Client,
    block,
    continuation,
    headers,
    indexed,
    integer,
    literal,
    post,
    request,
    string,
    table_size,
)
from lib.h2wire import INCOMPLETE, NOTHING, H2Case, connection_error, parametrized, run, served
from lib.http1 import Request
from lib.wire import World, Worlds, new_marker

PATH = literal(4, b"/CASE")
BASE = indexed(2) + indexed(6) + PATH + literal(1, b"a.test")  # :method GET, :scheme http, :path, :authority
FORMS = {"plain": PLAIN, "incremental": INCREMENTAL, "never": NEVER}
BOTH = (False, True)


def has(**fields: str) -> object:
    """The origin must have received exactly these values."""

    def check(seen: Request) -> None:
        for name, value in fields.items():
            have = seen.values(name.replace("_", "-"))
            assert have == ([value] if value else []), f"{name}: {have}"

    return check


def bad(id: str, section: str, head: bytes, **more: object) -> H2Case:
    """A header block that cannot be decoded."""
    more = {"reaches": NOTHING, **more}
    return connection_error(id, f"RFC 7541 §{section}", COMPRESSION_ERROR, headers(1, head), **more)


# Bits of a Huffman code whose padding is wrong: "a" is 00011, so 00011 and three bits of padding.
A_PADDED_BY_ZERO = b"\x81\x18"
A_PADDED_MIXED = b"\x81\x1d"
A_PADDED_LONG = b"\x82\x1f\xff"
EOS = b"\x84\xff\xff\xff\xff"  # 30 ones and two of padding

CASES: list[H2Case] = [
    # Section 6.1, 6.2: representations
    served("indexed", "RFC 7541 §6.1", headers(1, BASE + indexed(16)), seen=has(accept_encoding="gzip, deflate")),
    served(
        "indexed-pseudo-headers", "RFC 7541 §6.1", headers(1, indexed(2) + indexed(6) + PATH + literal(1, b"a.test"))
    ),
    *(
        served(
            f"literal-{name}-{'indexed' if known else 'new'}-name{'-huffman' if huffman else ''}",
            "RFC 7541 §6.2",
            headers(1, BASE + literal(58 if known else b"user-agent", b"some/1.0", form, huffman, huffman)),
            seen=has(user_agent="some/1.0"),
        )
        for name, form in FORMS.items()
        for known in BOTH
        for huffman in BOTH
    ),
    served(
        "dynamic-table",
        "RFC 7541 §2.3.2",
        headers(1, BASE + literal(b"x-one", b"1", INCREMENTAL) + literal(b"x-two", b"2", INCREMENTAL) + indexed(62)),
        seen=lambda seen: (has(x_one="1")(seen), seen.values("x-two") == ["2", "2"]),
    ),
    served(
        "dynamic-table-name",
        "RFC 7541 §2.3.2",
        headers(1, BASE + literal(b"x-one", b"1", INCREMENTAL)),
        headers(3, BASE + literal(62, b"again")),
        streams=(1, 3),
    ),
    served(
        "dynamic-table-next-request",
        "RFC 7541 §2.2",
        headers(1, BASE + literal(b"x-one", b"1", INCREMENTAL)),
        headers(3, BASE + indexed(62)),
        streams=(1, 3),
        seen=has(x_one="1"),
    ),
    served(
        "dynamic-table-from-trailers",
        "RFC 7541 §2.2",
        headers(1, indexed(3) + indexed(6) + PATH + literal(1, b"a.test"), END_HEADERS),
        headers(1, literal(b"x-one", b"1", INCREMENTAL)),
        headers(3, BASE + indexed(62)),
        streams=(1, 3),
    ),
    served(
        "empty-value",
        "RFC 7541 §5.2",
        headers(1, BASE + literal(b"x-empty", b"")),
        seen=lambda seen: seen.values("x-empty") == [""],
    ),
    served("empty-value-huffman", "RFC 7541 §5.2", headers(1, BASE + literal(b"x-empty", b"", PLAIN, True, True))),
    served(
        "long-value-huffman",
        "RFC 7541 §5.2",
        headers(1, BASE + literal(b"x-long", b"~" * 300, PLAIN, True, True)),
        seen=has(x_long="~" * 300),
    ),
    served(
        "all-octets-huffman",
        "RFC 7541 §5.2",
        headers(1, BASE + literal(b"x", bytes(range(33, 127)) + bytes(range(128, 256)), PLAIN, False, True)),
        seen=has(x=(bytes(range(33, 127)) + bytes(range(128, 256))).decode("latin-1")),
    ),
    # Section 5.1: integers
    served(
        "integer-with-leading-zeros",
        "RFC 7541 §5.1",
        headers(1, BASE + b"\x00\x7f\x80\x00" + b"n" * 127 + string(b"v")),
    ),
    bad("integer-cut", "5.1", BASE + b"\xff\x80"),
    bad("integer-of-32-bits-and-more", "5.1", BASE + b"\xff\xff\xff\xff\xff\xff\x0f"),
    bad("integer-of-64-bits-and-more", "5.1", BASE + b"\xff" + b"\xff" * 12 + b"\x01"),
    bad("integer-that-wraps-to-2", "5.1", BASE[1:] + b"\xff" + b"\x83\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    bad("integer-endless", "5.1", BASE + b"\xff" + b"\x80" * 200),
    # Section 2.3.3: the index address space
    bad("index-0", "6.1", BASE + indexed(0)),
    bad("index-beyond-the-tables", "2.3.3", BASE + indexed(62)),
    bad("index-far-beyond", "2.3.3", BASE + indexed(70)),
    bad("index-huge", "2.3.3", BASE + indexed((1 << 31) - 1)),
    bad("index-beyond-after-insert", "2.3.3", BASE + literal(b"x", b"1", INCREMENTAL) + indexed(63)),
    bad("name-index-beyond", "2.3.3", BASE + literal(62, b"v")),
    bad("name-index-beyond-incremental", "2.3.3", BASE + literal(70, b"v", INCREMENTAL)),
    bad("name-index-beyond-never", "2.3.3", BASE + literal(70, b"v", NEVER)),
    bad("index-of-an-evicted-entry", "4.4", table_size(0) + BASE + literal(b"x", b"1", INCREMENTAL) + indexed(62)),
    bad(
        "index-evicted-by-a-large-entry",
        "4.4",
        BASE + literal(b"x", b"1", INCREMENTAL) + literal(b"y", b"v" * 4096, INCREMENTAL) + indexed(62),
    ),
    # Section 5.2: strings
    bad("name-longer-than-the-block", "5.2", BASE + b"\x00\x7f\xff\x01x"),
    bad("value-longer-than-the-block", "5.2", BASE + b"\x00\x01x\x05v"),
    bad("value-length-missing", "5.2", BASE + b"\x00\x01x"),
    bad("name-length-missing", "5.2", BASE + b"\x00"),
    bad("value-length-of-4-gb", "5.2", BASE + b"\x00\x01x" + integer((1 << 32) + 1)),
    bad("huffman-padded-by-zero", "5.2", BASE + b"\x00\x01x" + A_PADDED_BY_ZERO),
    bad("huffman-padded-mixed", "5.2", BASE + b"\x00\x01x" + A_PADDED_MIXED),
    bad("huffman-padded-longer-than-7-bits", "5.2", BASE + b"\x00\x01x" + A_PADDED_LONG),
    bad("huffman-padding-only", "5.2", BASE + b"\x00\x01x" + b"\x81\xff"),
    bad("huffman-eos", "5.2", BASE + b"\x00\x01x" + EOS),
    bad("huffman-name-padded-by-zero", "5.2", BASE + b"\x00" + A_PADDED_BY_ZERO + b"\x01v"),
    bad("huffman-name-eos", "5.2", BASE + b"\x00" + EOS + b"\x01v"),
    # Sections 4.2, 6.3: the size of the table
    served("table-size-update", "RFC 7541 §6.3", headers(1, table_size(0) + BASE)),
    served("table-size-updates-two", "RFC 7541 §4.2", headers(1, table_size(0) + table_size(4096) + BASE)),
    served("table-size-at-the-limit", "RFC 7541 §6.3", headers(1, table_size(4096) + BASE)),
    served(
        "table-size-0-and-inserts",
        "RFC 7541 §4.4",
        headers(1, table_size(0) + BASE + literal(b"x", b"1", INCREMENTAL)),
        seen=has(x="1"),
    ),
    served(
        "entry-larger-than-the-table",
        "RFC 7541 §4.4",
        headers(1, table_size(64) + BASE + literal(b"x", b"v" * 100, INCREMENTAL)),
        seen=has(x="v" * 100),
    ),
    bad("table-size-over-the-limit", "6.3", table_size(4097) + BASE, whole_only=True),
    bad("table-size-huge", "6.3", table_size((1 << 31) - 1) + BASE),
    bad("table-size-after-a-field", "4.2", indexed(2) + table_size(0) + BASE[1:]),
    bad("table-size-at-the-end", "4.2", BASE + table_size(0)),
    bad("table-size-of-the-second-over-the-limit", "6.3", table_size(0) + table_size(1 << 20) + BASE),
    # The same within CONTINUATION and in trailers
    connection_error(
        "bad-index-in-continuation",
        "RFC 7541 §2.3.3",
        COMPRESSION_ERROR,
        headers(1, BASE, END_STREAM) + continuation(1, indexed(70)),
        reaches=NOTHING,
    ),
    connection_error(
        "bad-index-in-trailers",
        "RFC 7541 §2.3.3",
        COMPRESSION_ERROR,
        post(),
        headers(1, indexed(70)),
        reaches=INCOMPLETE,
    ),
    served(
        "representation-cut-by-continuation",
        "RFC 9113 §4.3",
        headers(1, BASE + b"\x00\x03x-", END_STREAM) + continuation(1, b"y\x02", 0) + continuation(1, b"ab"),
        seen=has(x_y="ab"),
    ),
]

RUNS, IDS = parametrized(CASES)


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_hpack(case: H2Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)


def test_never_indexed_stays_so_for_the_next_hop(world: World) -> None:
    """RFC 7541 section 7.1.3: a value sent as never indexed arrives like any other (the next hop here is HTTP/1)."""
    marker = new_marker()
    with H2Client(world.dao.address) as client:
        head = request(path=f"/{marker}".encode()) + literal(b"authorization", b"secret", NEVER)
        client.send(headers(1, head))
        assert client.response(1).status == 200
    (seen,) = world.origins["a"].seen(marker)
    assert seen.values("authorization") == ["secret"]


@pytest.mark.parametrize("size", [0, 64, 4096, 65536])
def test_the_server_keeps_to_the_clients_table(world: World, size: int) -> None:
    """RFC 7541 section 4.2: the encoder stays within SETTINGS_HEADER_TABLE_SIZE, and says so when it is lowered."""
    fields = b"".join(b"X-Field-%d: a value of some length %d\r\n" % (n, n) for n in range(20))
    world.origins["a"].answer("/table", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + fields + b"\r\n")
    with H2Client(world.dao.address) as client:
        for number in (1, 3):
            assert client.get(number, "/table").values("x-field-7") == ["a value of some length 7"]
        client.send_settings({HEADER_TABLE_SIZE: size})
        client.wait(lambda: client.acked == 2, "the ACK")
        for number in (5, 7, 9):
            assert client.get(number, "/table").values("x-field-19") == ["a value of some length 19"]


def test_a_lower_table_and_a_higher_one_in_one_settings(world: World) -> None:
    """RFC 7541 section 4.2: the smallest size in between must be signalled too (the strict decoder here sees it)."""
    with H2Client(world.dao.address) as client:
        client.get(1, "/fence")
        client.send_settings({HEADER_TABLE_SIZE: 0})
        client.send_settings({HEADER_TABLE_SIZE: 4096})
        client.wait(lambda: client.acked == 3, "the ACKs")
        client.get(3, "/fence")
        client.fence()
