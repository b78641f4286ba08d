"""What happens to one of the four servers, and when. Times are seconds from the start of the load."""
from dataclasses import dataclass, field

SICK = 3  # the index of the server that misbehaves
ONSET = 6.0
# How long a killed server is gone: of different length, so that no proxy's timer is always the lucky one. After 9.5 s,
# nginx asks it again (fail_timeout, 10 s) just when it is back.
GONE = (3.0, 9.5, 6.0)


@dataclass(frozen=True)
class Event:
    at: tuple  # the rounds take them in turn
    name: str
    act: object  # called with the sick server


@dataclass(frozen=True)
class Scenario:
    title: str
    seconds: float
    # name: (from, to), seconds from the event that is named (None: the start of the load); to None: the end of the load
    windows: dict
    judged: str  # the window in which the percentiles of the goals are taken
    events: tuple = field(default=())


def _fault(title, order):
    return Scenario(title, 16.0, {"before": ("onset", -3, 0), "0-3 s": ("onset", 0, 3), "later": ("onset", 3, None),
                                  "since onset": ("onset", 0, None)}, "later",
                    (Event((ONSET,), "onset", lambda server: server.order(order)),))


SCENARIOS = {
    "calm": Scenario("calm", 12.0, {"all": (None, 3, None)}, "all"),
    "slow": _fault("one server becomes 10 times slower", "delay_factor=10"),
    "errors": _fault("one server answers 500 at once to 30 %", "fail_rate=0.3&fail_at_once=1"),
    "cold": Scenario("one server is killed, later back cold (10 times slower, evenly less so for 5 s)", 26.0,
                     {"before": ("onset", -3, 0), "gone": ("onset", 0, 3), "cold": ("back", 0, 6),
                      "later": ("back", 6, None), "since onset": ("onset", 0, None)}, "cold",
                     (Event((ONSET,), "onset", lambda server: server.kill()),
                      Event(tuple(ONSET + gap for gap in GONE), "back",
                            lambda server: server.start("--default", "cold_start_ms=5000&cold_start_factor=10")))),
    "hang": _fault("one server hangs: takes requests and never answers", "hang=head"),
}
