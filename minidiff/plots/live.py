"""Figure of a training that is drawn again while the training runs."""

import time
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minidiff.plots.style import is_live, literal


class LiveTraining:
    """Loss and learning rate of a training; call it with each record.

    In a reader's notebook the figure is drawn again every two seconds, under
    a bar with the steps done and the time left. In a script, in a build of
    the book and on the website a line is printed for each tenth of the steps
    instead, and the figure is shown once, at the end.

    Parameters
    ----------
    steps : int
        Steps of the training.
    name : str
        Name of the training in the bar's label.
    scale : float
        Factor from nats per token to ``unit``, such as bits per byte.
    unit : str
        Label of the loss.
    rate : bool
        Draw the learning rate beside the loss.
    every : float
        Seconds between two drawings.
    """

    def __init__(
        self,
        steps: int,
        name: str,
        *,
        scale: float = 1.0,
        unit: str = "nats per token",
        rate: bool = True,
        every: float = 2.0,
    ) -> None:
        if steps < 1:
            raise ValueError(f"steps: got {steps}, expected 1 or more")
        self.records: list[dict[str, Any]] = []
        self._steps, self._name = steps, name
        self._scale, self._unit, self._rate = scale, unit, rate
        self._live, self._every = is_live(), every
        self._handle: Any = None
        self._start = self._drawn = time.monotonic()

    def __call__(self, record: dict[str, Any]) -> None:
        """Take the record of the next step; draw or print if it is time."""
        self.records.append(record)
        done = len(self.records)
        last = done == self._steps
        if self._live:
            now = time.monotonic()
            if last or now - self._drawn >= self._every:
                self._drawn = now
                self._show_again()
            return
        if done * 10 // self._steps > (done - 1) * 10 // self._steps:
            loss = f"{self._scale * record['loss']:.2f} {self._unit}"
            print(f"{self._label()}; last batch {loss}", flush=True)
        if last:
            self.draw()
            plt.show()

    def draw(self) -> Figure:
        """Return a new figure of the records so far."""
        figure, axes = plt.subplot_mosaic(
            "bb;lr" if self._rate else "b;l",
            height_ratios=[1, 14],
            width_ratios=[2, 1] if self._rate else None,
            figsize=(7.2, 3.4) if self._rate else (5.0, 3.0),
        )
        done, axis = len(self.records), axes["b"]
        axis.barh([0], [done], color="C0")
        axis.set(yticks=[], xticks=[])
        axis.set_title(literal(self._label()), fontsize=10, loc="left")
        axis.grid(False)
        for side in ("right", "top"):
            axis.spines[side].set_visible(True)
        steps = [record["step"] + 1 for record in self.records]
        self._draw_loss(axes["l"], steps)
        if self._rate:
            rates = [record["lr"] for record in self.records]
            axes["r"].plot(steps, rates, color="C2", linestyle="-")
            axes["r"].set(xlabel="step", ylabel="learning rate")
            axes["r"].set_ylim(0, None)
        for axis in axes.values():
            axis.set_xlim(0, self._steps)
        return figure

    def _draw_loss(self, axis: Axes, steps: list[int]) -> None:
        losses = [self._scale * record["loss"] for record in self.records]
        axis.plot(steps, losses, color="C0", alpha=0.45, linewidth=0.8)
        held_out = [
            (record["step"] + 1, self._scale * record["valid_loss"])
            for record in self.records
            if "valid_loss" in record
        ]
        axis.plot([], [], "-", color="C0", alpha=0.45, label="each batch")
        if held_out:
            x, y = zip(*held_out, strict=True)
            axis.plot(x, y, "o-", color="C1", markersize=3, label="held out")
        axis.set(xlabel="step", ylabel=self._unit)
        axis.legend()

    def _label(self) -> str:
        done, seconds = len(self.records), time.monotonic() - self._start
        text = f"{self._name}: {done} of {self._steps} steps"
        if done == self._steps:
            return f"{text}, took {seconds:.0f} s"
        left = seconds / done * (self._steps - done)
        return f"{text}, about {left:.0f} s left"

    def _show_again(self) -> None:
        from IPython.display import display

        figure = self.draw()
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        plt.close(figure)  # otherwise the notebook would show it twice
