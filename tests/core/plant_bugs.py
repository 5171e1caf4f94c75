"""Plants bugs in a copy of the core, one at a time, and shows which of them the tests catch.

    python -m tests.core.plant_bugs

Prints a line for each bug and exits 1 if one survives that is not marked as equivalent.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

BUGS = [
    ("batches", "count = min(self._count, self._count_max)", "count = self._count"),
    ("batches", "(seen and size > self._bytes_max)", "False"),
    ("batches", "if fits < joining:", "if False:"),
    ("batches", "if now >= due_at:", "if now > due_at + 1e9:"),
    ("batches", "elif flush:", "elif False:"),
    ("batches", "max(self._stretches[0].added_at, opened_at) + self._window", "0.0"),
    ("batches", "max(self._stretches[0].added_at, opened_at)", "self._stretches[0].added_at"),
    ("batches", "stretch.start = end", "stretch.start = end - 1"),
    ("batches", "if joining < count:", "if False:"),
    ("lanes", "self._again.extendleft(reversed(renewed))", "self._again.extend(renewed)"),
    ("lanes", "self._again.extendleft(reversed(renewed))", "self._again.extendleft(renewed)"),
    ("lanes", "if self.unsaved > saved:", "if False:"),
    ("streams", "[lane for lane in self._lanes if lane.busy is None]", "self._lanes"),
    ("lanes", "self._again.appendleft(replace(rest, id=self._new_id()))", "pass"),
    ("lanes", "return expired, index", "return expired, len(batch.records)"),
    ("lanes", "if self._too_large(batch):", "if False:"),
    ("lanes", "self.unsaved = settlement", "pass"),
    ("lanes", "if whole else self.mark", "if count else self.mark"),
    ("lanes", "whole = count_whole(done.records[:count], following)", "whole = count"),
    ("lanes", "self.mark = done.records[whole - 1].sequence", "self.mark = done.records[-1].sequence"),
    ("lanes", "for batch in self._again if", "for batch in reversed(self._again) if"),
    ("lanes", "if self._again:\n            return self._first_again()", "if False:\n            return None"),
    ("lanes", "return min(self._again_at, self._expires_at(self._again[0]))", "return None"),
    ("lanes", "self._again_at = at", "self._again_at = 0.0"),
    ("lanes", "not self._again and not self._waiting", "not self._waiting"),
    ("lanes", "self._windows.open is not None:\n            return False", "False:\n            return False"),
    ("lanes", "self._windows.keep(state)", "pass"),
    ("lanes", "self.unsaved = settlement\n        self._windows.close()", "self._windows.close()"),
    ("lanes", "if self._windows.are_off:\n            self._windows = None", "pass"),
    ("lanes", "not self._final_is_next()", "True"),
    ("lanes", "flush=flush or windows.is_past(end)", "flush=flush"),
    ("lanes", "joins=lambda record: record.arrived_at < end,", "joins=None,"),
    ("lanes", "policy.batch_bytes_max - state_bytes", "policy.batch_bytes_max"),
    ("lanes", "self._again.appendleft(batch)", "pass"),
    ("lanes", "if limit is None or not batch.records:", "if limit is None:"),
    ("lanes", "places = (batch.ordinals[0] for batch in self._again if batch.ordinals)", "places = iter(())"),
    ("windows", "return self._lacks_room or self.are_off or len", "return self.are_off or len"),
    ("windows", "return self._lacks_room or self.are_off or len", "return self._lacks_room or len"),
    ("windows", "len(self.state) > self._state_bytes_max", "len(self.state) >= self._state_bytes_max"),
    ("windows", "len(self.state) > self._state_bytes_max", "False"),
    ("windows", "if is_quiet else", "if False else"),
    ("windows", "not the same as quiet.\"\"\"\n        self._quiet_since = None", "not the same as quiet.\"\"\""),
    ("windows", "if fact.records or self._quiet_since is None:", "if self._quiet_since is None:"),
    ("windows", "last = fact.records[-1].arrived_at if fact.records else BEGINNING", "last = BEGINNING"),
    ("windows", "reach - GRACE", "reach"),
    ("windows", "EVERYTHING if fact.shard_ended else max", "max"),
    ("windows", "(self._passed if head is None else head.arrived_at)", "self._passed"),
    ("windows", "counts_at = max(record.arrived_at, closed_to)", "counts_at = record.arrived_at"),
    ("windows", "TumblingWindow(max(start, closed_to), ", "TumblingWindow(start, "),
    ("windows", "state=EMPTY_STATE if goes_on else None", "state=None"),
    ("windows", "state=EMPTY_STATE if goes_on else None", "state=self.state if goes_on else None"),
    ("windows", "None if self.are_off else closed", "closed"),
    ("windows", "else closed\n        self._lacks_room = False", "else closed"),
    ("windows", "self.latest = self._current()", "pass"),
    ("windows", "early=self.cut_short", "early=False"),
    ("verdicts", "tried.invocations > limit", "tried.invocations >= limit"),
    ("verdicts", "tried.invocations > limit", "tried.invocations > limit + 1"),
    ("verdicts", "limit = policy.retries_max if batch.records else None", "limit = policy.retries_max"),
    ("verdicts", "return Verdict(first, (rest,), state=state)", "return Verdict(first, (rest,))"),
    ("verdicts", "return Verdict(len(batch.records), state=state)", "return Verdict(len(batch.records))"),
    ("verdicts", "invocations=batch.invocations + 1,", "invocations=batch.invocations,"),
    ("verdicts", "0 if anew else batch.invocations,", "batch.invocations,"),
    ("verdicts", "0 if anew else batch.invocations,", "0,"),
    ("verdicts", "first = min(failed)", "first = max(failed)"),
    ("verdicts", "if min(failed) > 0", "if True"),
    ("verdicts", "attempts=batch.attempts + 1, closed_by", "attempts=batch.attempts, invocations=batch.invocations + 1, closed_by"),
    ("verdicts", "half = len(batch.records) // 2", "half = 1"),
    ("verdicts", "return first_half, part(batch, half, len(batch.records), anew=True)",
     "return part(batch, half, len(batch.records), anew=True), first_half"),
    ("verdicts", "DiscardReason.RECORD_TOO_LARGE if batch.records else None", "None"),
    ("verdicts", "DiscardReason.RECORD_TOO_LARGE if batch.records else None", "DiscardReason.RECORD_TOO_LARGE"),
    ("streams", "if why is DiscardReason.RECORD_TOO_LARGE and lane.leaves_room():", "if False:"),
    ("lanes", "len(windows.state) <= len(EMPTY_STATE)", "len(windows.state) <= 0"),
    ("queues", "self._waiting.split(batch)", "pass"),
    ("queues", "self._waiting.split(batch)", "self._forget(batch.messages)"),
    ("queues", "            case TooLarge():  # alone: as it comes back, the queue's redrive policy counts it\n                self._forget(batch.messages)\n", ""),
    ("waiting", "if locked.isdisjoint(groups):", "if True:"),
    ("waiting", "            locked |= groups\n", ""),
    ("waiting", "for part in (messages[:half], messages[half:])", "for part in (messages[half:], messages[:half])"),
    ("waiting", "left = [message for message in half.items if message.group not in groups]", "left = list(half.items)"),
    ("waiting", "self._halves = []\n        return messages + self._behind.take_all()", "return messages + self._behind.take_all()"),
    ("waiting", "return behind + sum(len(half.items) for half in self._halves) if self._halves else behind", "return behind"),
    ("verdicts", "if policy.bisect and len", "if len"),
    ("watermarks", "self.sequence = settled[whole - 1].sequence", "self.sequence = following.sequence"),
    ("watermarks", "count += self.begun.settled", "pass"),
    ("watermarks", "start = self.begun.settled if", "start = 0 if"),
    ("watermarks", "if self.begun.sequence == records[0].sequence else 0", "if True else 0"),
    ("watermarks", "self.bytes -= size", "pass"),
    ("streams", "min(lows, default=self._watermark.next)", "max(lows, default=self._watermark.next)"),
    ("streams", "self._storing, self._position = self._settlements, position", "self._storing, self._position = self._settlements + 1, position"),
    ("streams", "if self._storing is not None or not (", "if not ("),
    ("streams", "if self._ahead and self._ahead.covers(record):", "if False:"),
    ("streams", "if first + at not in fact.filtered]", "]"),
    ("streams", "if first + at not in fact.filtered]", "if at not in fact.filtered]"),
    ("streams", "[ordinals[at] for at in kept]", "ordinals[: len(kept)]"),
    ("queues", "if fact.filtered:", "if False:"),
    ("queues", "yield from self._delete([fact.messages[index] for index in sorted(fact.filtered)])", "pass"),
    ("streams", "self._since, ahead, self._drained(), begun, window)", "self._since, (), self._drained(), begun, window)"),
    ("streams", "self._since, ahead, self._drained(), begun, window)", "self._since, ahead, False, begun, window)"),
    ("streams", "self._since, ahead, self._drained(), begun, window)", "self._since, ahead, self._drained(), None, window)"),
    ("streams", "self._since, ahead, self._drained(), begun, window)", "self._since, ahead, self._drained(), begun)"),
    ("streams", "and oldest is None and not is_open", "and oldest is None"),
    ("streams", "self._settlements += 1\n            lane.close_window", "lane.close_window"),
    ("streams", "if self._fetching or self._stopping or self._read_up_to == EVERYTHING:", "if self._fetching or self._read_up_to == EVERYTHING:"),
    ("streams", "if self._stopping:\n            return", "if False:\n            return"),
    ("streams", "self._fetch_at = fact.asked_at + self._policy.poll_interval", "self._fetch_at = now"),
    ("streams", "if fact.records or not self._caught_up:", "if False:"),
    ("streams", "self._fetch_at = now + self._wait(fact.retry_after, self._fetch_failures)", "self._fetch_at = now"),
    ("streams", "if self._fetching or self._storing is not None or self._in_flight:", "if self._fetching or self._in_flight:"),
    ("streams", "mark.next - mark.low < self._unsettled_max", "True"),
    ("streams", "mark.bytes < self._policy.unsettled_bytes_max", "True"),
    ("streams", "(not self._fetching and not self._has_room())", "False"),
    ("streams", "min(self._policy.fetch_max, room)", "self._policy.fetch_max"),
    ("routing", "record.sequence if (key := record.key) is None else key", "record.sequence"),
    ("routing", "sequence <= levels[lane_of(record, count)]", "sequence < levels[lane_of(record, count)]"),
    ("routing", "int(sequence) >= self._highest", "True"),
    ("routing", "marks = [max(pair, key=_level) for pair", "marks = [min(pair, key=_level) for pair"),
    ("routing", "if entry.count != count)", "if False)"),
    ("queues", "done = [m for index, m in enumerate(batch.messages) if index not in failed]", "done = list(batch.messages)"),
    ("queues", "if self._stop_by is None and not self.running.refusing:", "if self._stop_by is None:"),
    ("queues", "(0.0 if prompt else self.running.time_needed())", "0.0"),
    ("queues", "self._waiting.forget({message.group for message in messages})", "pass"),
    ("queues", "locked = self.running.groups() if self._policy.fifo else ()", "locked = ()"),
    ("queues", "yield from self._release(self._waiting.take_all())", "self._waiting.take_all()"),
    ("queues", "if len(self.running) >= self._limit.granted:", "if False:"),
    ("queues", "if self._pace is not None and now < self._pace.free_at:\n            return False", "if False:\n            return False"),
    ("queues", "self._pace.take(len(batch.messages), now)", "self._pace.take(1, now)"),
    ("queues", "if self._pace is not None and self._now < self._pace.free_at and self._waiting:", "if False:"),
    ("queues", "self._limit.failed()", "pass"),
    ("queues", "self._limit.succeeded()\n                yield", "yield"),
    ("queues", "self._limit.refused(beside=self.running.in_flight - 1)", "pass"),
    ("queues", "self.running.in_flight - 1)", "len(self.running))"),
    ("queues", "or self.running.unanswered", ""),
    ("queues", "self._limit.pass_time(now)", "pass"),
    ("running", "if again_at + self.time_needed() > batch.expires_at:", "if again_at > batch.expires_at:"),
    ("running", "return PROMPT if self._beats.working else self._policy.run_time_max", "return self._policy.run_time_max"),
    ("running", "return PROMPT if self._beats.working else self._policy.run_time_max", "return PROMPT"),
    ("running", "self._beats.rests(batch_id)", "pass"),
    ("running", "self._tried.add(batch_id)", "pass"),
    ("running", "refusal.again_at = now", "pass"),
    ("running", "if not refusal.patient:", "if True:"),
    ("running", "attempts=batch.attempts + 1", "attempts=batch.attempts"),
    ("running", "batch = self._batches[batch.id] = replace(batch, expires_at=fact.expires_at)", "pass"),
    ("running", "if batch.id not in self._refused:", "if True:"),
    ("running", "waits.append(extends_at)", "pass"),
    ("running", "self._beats.goes_on(self._batches[batch_id], now)", "pass"),
    ("heartbeats", "(batch.expires_at - now) / 2", "(batch.expires_at - now)"),
    ("heartbeats", "max(PAUSE_MIN, (batch.expires_at - now) / 2)", "(batch.expires_at - now) / 2"),
    ("heartbeats", "return math.ceil(min(beat.hidden_for, beat.hidden_since + HIDDEN_MAX - now))", "return math.ceil(beat.hidden_for)"),
    ("heartbeats", "if at < batch.expires_at < ends_at else None", "if at < batch.expires_at else None"),
    ("heartbeats", "self._beats.clear()", "pass"),
    ("heartbeats", "self.working = False", "pass"),
    ("heartbeats", "self._beats.pop(batch_id, None)", "pass"),
    ("heartbeats", "return beat is None or beat.at != at", "return beat is None"),
    ("paces", "max(self.free_at, now) + amount / self.rate", "now + amount / self.rate"),
    ("paces", "max(self.free_at, now) + amount / self.rate", "self.free_at + amount / self.rate"),
    ("paces", "if now < starts_at - AHEAD:", "if False:"),
    ("paces", "batches = 1 +", "batches = 100 +"),
    ("paces", "max(self.free_at, now) + pledged / self.rate", "max(self.free_at, now)"),
    ("paces", "return opens_at if now < opens_at <= self.free_at else None", "return None"),
    ("waiting", "or message.group in locked:", "or False:"),
    ("receiving", "pledged = self._asked + waiting", "pledged = waiting"),
    ("receiving", "pledged = self._asked + waiting", "pledged = self._asked"),
    ("receiving", "(self._limit.slots - running)", "self._limit.slots"),
    ("receiving", "min(self._wanted + 1, self._policy.receives_max) if count else 1", "1"),
    ("receiving", "min(self._wanted + 1, self._policy.receives_max) if count else 1", "self._wanted + 1 if count else 1"),
    ("receiving", " and now >= self._opens_at():", ":"),
    ("receiving", "self._polls.take(1, now)", "pass"),
    ("receiving", "self._bytes.take(size, now)", "pass"),
    ("receiving", "pollers * POLLER_BYTES_PER_SECOND", "100 * pollers * POLLER_BYTES_PER_SECOND"),
    ("receiving", "room if self._pace is None else min(room, self._pace.room(pledged, now))", "room"),
    ("receiving", "return self._pace.opens_at(self._asked + waiting, now)", "return None"),
    ("scaling", "self._become(self._exact + (1 if self._throttled else self._policy.concurrency_step))", "pass"),
    ("scaling", "(1 if self._throttled else self._policy.concurrency_step)", "self._policy.concurrency_step"),
    ("scaling", "self._exact = min(max(exact, low), float(self._max))", "self._exact = max(exact, low)"),
    ("scaling", "self._exact = min(max(exact, low), float(self._max))", "self._exact = min(exact, float(self._max))"),
    ("scaling", "self._become(self._exact - 0.5)", "self._become(self._exact - 1)"),
    ("scaling", "if self._policy.backs_off:", "if True:"),
    ("scaling", "self._owe(self._owed + SUCCESSES_OWED)", "pass"),
    ("scaling", "self._owed = min(successes, self._owed_max())", "self._owed = successes"),
    ("scaling", "if full and not self._owed and", "if full and"),
    ("scaling", "full = running >= self.slots and not refusing", "full = running >= self.slots"),
    ("scaling", "self._become(min(self._exact, beside))", "pass"),
    ("scaling", "min(2 * self._rounds, ROUNDS_OWED_MAX) if self._probing else 1", "1"),
    ("scaling", "min(2 * self._rounds, ROUNDS_OWED_MAX) if self._probing else 1", "2 * self._rounds"),
    ("scaling", "self._become(min(self._exact, max(taken, self._start)))", "pass"),
    ("scaling", "self._become(min(self._exact, max(taken, self._start)))", "self._become(max(taken, self._start))"),
    ("scaling", "self._quiet if is_quiet else self._start", "self._start"),
    ("scaling", "self._idle_periods = 0\n            self._become", "self._become"),
    ("scaling", "max(self.slots, min(self.granted, running + promised))", "self.slots"),
    ("scaling", "max(self.slots, min(self.granted, running + promised))", "max(self.slots, self.granted)"),
    ("scaling", "max(least, -(-self.slots // POLLER_CONCURRENCY))", "least"),
    ("shards", "parent in finished or parent not in names", "True"),
    ("shards", "parent in finished or parent not in names", "parent in finished"),
    ("shards", "if shard.id not in running", "if True"),
    ("shards", "and shard.id not in finished", "and True"),
    ("shards", "if shard not in names and shard not in running", "if shard not in running"),
    ("invocations", "now >= self._too_old_at(event)", "False"),
    ("invocations", "due_at is None or due_at >= self._too_old_at(event)", "due_at is None"),
    ("invocations", "tried.attempts > self._policy.retries_max", "tried.attempts >= self._policy.retries_max"),
    ("invocations", "tried.attempts > self._policy.retries_max", "tried.attempts > self._policy.retries_max + 1"),
    ("invocations", "now + ERROR_WAIT * tried.attempts", "now + ERROR_WAIT"),
    ("invocations", "tried = replace(event, attempts=event.attempts + 1, refusals=0)", "tried = replace(event, attempts=event.attempts + 1)"),
    ("invocations", "tried = replace(event, refusals=event.refusals + 1)", "tried = replace(event, attempts=event.attempts + 1, refusals=event.refusals + 1)"),
    ("invocations", "min(REFUSAL_WAIT_MIN * 2.0**doublings, REFUSAL_WAIT_MAX)", "REFUSAL_WAIT_MIN * 2.0**doublings"),
    ("invocations", "min(REFUSAL_WAIT_MIN * 2.0**doublings, REFUSAL_WAIT_MAX), asked or 0.0", "min(REFUSAL_WAIT_MIN * 2.0**doublings, REFUSAL_WAIT_MAX), 0.0"),
    ("invocations", "self._too_old_at(event) - LAST_TRY_BEFORE", "self._too_old_at(event)"),
    ("invocations", "return due_at if due_at >= now + REFUSAL_WAIT_MIN else None", "return due_at"),
    ("invocations", "self._loading, self._look_at = True, None", "self._loading = True"),
    ("invocations", "self._look_by(fact.next_due)", "pass"),
    ("invocations", "self._look_by(event.due_at)", "pass"),
    ("invocations", "min(self._look_at, due_at)", "max(self._look_at, due_at)"),
    ("invocations", "() if self._stopping else fact.events", "fact.events"),
    ("invocations", "if self._loading or self._stopping:", "if self._stopping:"),
    ("invocations", "if self._loading or self._stopping:", "if self._loading:"),
    ("invocations", "most - len(self._running)", "most"),
    ("invocations", "most + DELIVERIES_MAX - len(self._held)", "most"),
    ("invocations", "self._stopping and not self._held and not self._loading", "self._stopping and not self._loading"),
    ("invocations", "self._stopping and not self._held and not self._loading", "self._stopping and not self._held"),
    ("invocations", "if event.result is not None:\n            return DeliverEvent(event)", "if False:\n            return DeliverEvent(event)"),
    ("invocations", "policy.tells_success if success else policy.tells_failure", "policy.tells_failure"),
    ("invocations", "policy.tells_success if success else policy.tells_failure", "policy.tells_success"),
    ("invocations", "frozenset(self._held)", "frozenset()"),
    ("invocations", "self._policy = policy\n            case", "pass\n            case"),
    ("invocations", "return self._look_at if self._room() else None", "return self._look_at"),
]  # fmt: skip


def survives(tree: Path, module: str, right: str, wrong: str) -> bool:
    """Whether the tests of the core pass with this bug; asserts that it can be planted."""
    path = tree / "poller" / "core" / f"{module}.py"
    text = path.read_text()
    assert right in text, f"{module}: {right!r} is not in the code any more"
    path.write_text(text.replace(right, wrong, 1))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "tests/core"]
    command += ["--hypothesis-profile", "no_shrinking"]
    try:
        run = subprocess.run(command, cwd=tree, capture_output=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_text(text)
    return run.returncode == 0


def main() -> int:
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        shutil.copytree(ROOT / "poller", tree / "poller")
        shutil.copytree(ROOT / "tests" / "core", tree / "tests" / "core")
        shutil.copy(ROOT / "pyproject.toml", tree)
        assert survives(tree, "model", "", ""), "the tests fail without any bug"
        for module, right, wrong in BUGS:
            alive = survives(tree, module, right, wrong)
            survivors += alive
            line = f"{module}: {right!r} -> {wrong!r}".replace("\\n", " ")
            print("SURVIVED" if alive else "caught  ", line, flush=True)
    print(f"{len(BUGS) - survivors} of {len(BUGS)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
