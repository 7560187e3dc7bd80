"""Write units and requests a row, by kind, as the functions sent them to AWS over one file."""

from bench.line import Line
from bench.recording import Traffic

UNITS = {"sample": 0.12, "real shape": 0.08, "incompressible": 0.35}
"""The goals of write units a row, by the shape of the file."""


def lines(traffic: Traffic, rows: int, shape: str = "sample") -> list[Line]:
    """Return the lines of a file's requests.

    Lambda receives and deletes the messages; each message counts here as if that was done for it alone, so the requests
    are no fewer than on AWS, where ten outcomes come at once.
    """
    lambdas = 2 * traffic.messages
    requests = {kind: round(count / rows, 5) for kind, count in traffic.requests.most_common()}
    return [
        Line(
            name=f"write units a row, {shape}", value=traffic.writes.total() / rows, unit="", most=UNITS[shape],
            raw={"rows": rows, **{kind: round(count / rows, 4) for kind, count in traffic.writes.most_common()}},
        ),
        Line(
            name=f"all requests a row, {shape}", value=(traffic.requests.total() + lambdas) / rows, unit="",
            most=0.02 if shape == "sample" else None,
            raw={"sqs receive and delete": round(lambdas / rows, 5), **requests},
        ),
        Line(
            name=f"read units a row, {shape}", value=traffic.reads.total() / rows, unit="",
            raw={kind: round(count / rows, 4) for kind, count in traffic.reads.most_common()},
        ),
    ]  # fmt: skip
