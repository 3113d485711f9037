"""A run whose process was stopped in the middle of a write to an object store, and which a later attempt trained on."""

import secrets
from typing import Any

import pandas
import pytest

from gen.data.dataset import Dataset
from gen.engine.fit import fit
from gen.judge import Judge
from gen.record import checkpoint
from gen.record.record import Home
from gen.results import Lease, Storage
from gen.results.conditional import ChangedError, Conditional
from gen.tensors import comment_of
from tests.engine.test_fit import CPU, small


class StoppedError(BaseException):
    """Ends an attempt as if it were stopped."""


@pytest.mark.parametrize(
    ("name", "refused"), [("last.pt", ["begun", "went on"]), ("best-000002.pt", ["went on"]), ("metrics/", ["went on"])]
)
def test_a_late_write_does_not_set_a_run_back(
    name: str, refused: list[str], s3: str, digits: Dataset, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last state, the best weights, and rows of the second tick; it arrives when the later attempt has read the
    last state, and is not yet refused if that one writes the same anew, and once more when it went on."""
    place = f"s3://key:secret@bucket/{secrets.token_hex(4)}?endpoint_override={s3}&scheme=http"
    config = small("vae_mlp", **{"budget.epochs": 3, "budget.checkpoint_seconds": 0.0})
    late: list[tuple[Any, ...]] = []
    put_if, load_it, found, saved = Conditional.put_if, checkpoint.load, list[str](), 0

    def stops(self: Conditional, path: str, data: bytes, expected: Any) -> Any:
        nonlocal saved
        saved += path.endswith("last.pt") and expected is not None and not data.startswith(checkpoint.BLANK)
        if name in path and saved >= 1 + (name == "last.pt") and expected is not None and not late:
            late.append((self, path, data, expected))
            raise StoppedError
        return put_if(self, path, data, expected)

    def arrive(when: str) -> None:
        try:
            put_if(*late[0])
        except ChangedError:
            found.append(when)

    def load(*arguments: Any) -> Any:
        state = load_it(*arguments)
        if late and not found:
            arrive("begun")
        return state

    def train(lease: Lease) -> Any:
        return fit(config, digits, device=CPU, judge=judge, home=Home(lease.storage, "e", lease.attempt))

    first = Lease(Storage(place), "e").acquire()
    monkeypatch.setattr(Conditional, "put_if", stops)
    with pytest.raises(StoppedError):
        list(train(first))
    monkeypatch.setattr(checkpoint, "load", load)
    with Lease(Storage(place), "e").acquire(take_over=True) as second:
        ticks = train(second)
        assert next(ticks).tick == 2
        arrive("went on")
        assert found == refused
        assert [tick.tick for tick in ticks] == [3]
        rows = pandas.read_parquet(f"{place.partition('?')[0]}/e/metrics?{place.partition('?')[2]}")
        assert not rows.duplicated(["tick", "name"]).any()
        assert sorted(rows["tick"].unique()) == [1, 2, 3]
        run = rows["run"].iloc[0]
        path = f"{checkpoint.folder('e', run)}/last.pt"
        assert comment_of(second.storage.get(path) or b"") == second.attempt
        last = checkpoint.load(second.storage, path, CPU)
        assert last is not None
        assert last["progress"]["tick"] == 3
        assert checkpoint.load_best(second.storage, "e", run, CPU)["tick"] == last["progress"]["best_tick"]
    first.release()
