"""Where sites stand: what needs somebody, how many batches are where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Need:
    """One thing that needs somebody at a site today."""

    site: str
    kind: str
    batch_id: str
    subject: str
    state: str
    what: str
    owner_role: str
    severity: str
    since: datetime | None
    age_h: float | None
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class SiteCounts:
    """How many batches of a site stand where; `outside`: with a result out of specification, whatever their end."""

    site: str
    in_process: int
    waiting: int
    blocked: int
    released: int
    failed: int
    outside: int
    signals: int | None
    vein_to_vein_d: float | None
    n_vein_to_vein: int


@dataclass(frozen=True)
class Week:
    """Batches that a site started in one week, `ago` weeks before the newest one, and how many of them failed."""

    site: str
    ago: int
    started: int
    failed: int


@dataclass(frozen=True)
class Moved:
    """One point that came or went between two snapshots, and why."""

    need: Need
    came: bool
    why: str


States = Mapping[tuple[str, str], str]
ENDED = ("infused", "terminated", "rejected")
# Why a point is gone while its batch goes on.
GONE = {
    "pending_result": "the result is there",
    "open_deviation": "the deviation was closed or told otherwise",
    "blocked": "what blocked it was mended or told otherwise",
    "out_of_specification": "the result was told otherwise",
    "finding": "it is no longer found",
}


def moved(
    before: Sequence[Need], now: Sequence[Need], states_before: States, states_now: States
) -> list[Moved]:
    """Points that are new in `now` or gone from it, the new ones first. States: where each batch stood, by its key."""

    def key(need: Need) -> tuple[str, str, str, str]:
        return need.site, need.kind, need.batch_id, need.subject

    had, has = {key(n) for n in before}, {key(n) for n in now}
    came = [n for n in now if key(n) not in had]
    went = [n for n in before if key(n) not in has]
    return [
        *(Moved(n, True, _came(n, states_before, states_now)) for n in came),
        *(Moved(n, False, _went(n, states_now)) for n in went),
    ]


def _came(need: Need, before: States, now: States) -> str:
    was, is_now = before.get((need.site, need.batch_id)), now.get((need.site, need.batch_id), need.state)
    if was is None:
        return "the batch is new"
    if was != is_now:
        return f"the batch was {_words(was)} and is {_words(is_now)}"
    return "time went by" if need.kind in ("late", "slow") else "a record came in that shows it"


def _went(need: Need, now: States) -> str:
    state = now.get((need.site, need.batch_id))
    if state is None:
        return "the batch is no longer told of"
    if state in ENDED or need.kind not in GONE:
        return f"the batch is {_words(state)} now"
    return GONE[need.kind]


def _words(state: str) -> str:
    return state.replace("_", " ")
