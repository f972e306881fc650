"""What TensorBoard reads is what the log says."""

import struct
from importlib.util import find_spec

import pytest
from conftest import need
from test_loop import DATA, SHORT, make

from minidiff.training import tensorboard
from minidiff.training.loop import train
from minidiff.training.step import Updates

OPTIONS = {"progress": False, "tensorboard": True}


@pytest.fixture
def library():
    need(find_spec("tensorboardX"), "tensorboardX is not installed")


def events(folder):
    """The scalars of all files, {tag: {step: value}}, as TensorBoard would.

    No step may come twice.
    """
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if event.session_log.status == 1:  # START: what follows counts
                found = [x for x in found if x[1] < event.step]
            for value in event.summary.value:
                found.append((value.tag, event.step, value.simple_value))
    tags = {}
    for tag, step, value in found:
        assert step not in tags.setdefault(tag, {}), (tag, step)
        tags[tag][step] = value
    return tags


def test_every_record_is_there(tmp_path, library):
    log = train(make(), DATA, SHORT, run_dir=tmp_path, **OPTIONS)
    read = events(tmp_path)
    for key, tag in (
        ("loss", "loss/train"),
        ("valid_loss", "loss/validation"),
        ("valid_accuracy", "accuracy/validation"),
        ("grad_norm", "training/gradient_norm"),
        ("lr", "training/learning_rate"),
    ):
        want = {r["step"]: r[key] for r in log if key in r}
        assert read[tag] == pytest.approx(want)


def test_after_resuming_no_step_counts_twice(tmp_path, library, monkeypatch):
    update, read = Updates.update, Updates.read

    def stop(self, data, step):
        if step == 5:
            raise KeyboardInterrupt
        update(self, data, step)

    def read_99(self):
        records, error = read(self)
        return [record | {"loss": 99.0} for record in records], error

    with monkeypatch.context() as patch:
        patch.setattr(Updates, "update", stop)
        patch.setattr(Updates, "read", read_99)
        with pytest.raises(KeyboardInterrupt):
            train(make(), DATA, SHORT, run_dir=tmp_path, **OPTIONS)
    train(make(), DATA, SHORT, run_dir=tmp_path, resume=True, **OPTIONS)
    losses = events(tmp_path)["loss/train"]
    # The checkpoint is of four steps; the fifth was logged, and is not kept.
    assert [losses[i] == 99 for i in range(6)] == [True] * 4 + [False] * 2


def test_it_needs_a_folder():
    with pytest.raises(ValueError, match="tensorboard: got True without run_"):
        train(make(), DATA, SHORT, **OPTIONS)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'minidiff\[tensorb"):
        train(make(), DATA, SHORT, run_dir=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()
