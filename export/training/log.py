"""Progress on the terminal and scalars to TensorBoard; both only in the main process."""

from pathlib import Path
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter


class TrainingLog:
    """`with TrainingLog(folder, steps, start, enabled) as log: log.step(step, {"l1": 0.1})`."""

    def __init__(self, folder: Path, steps: int, start: int, *, enabled: bool) -> None:
        self.writer = SummaryWriter(str(folder)) if enabled else None
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            disable=not enabled,
        )
        self.task = self.progress.add_task("training", total=steps, completed=start, figures="")

    def step(self, step: int, figures: dict[str, float]) -> None:
        self.progress.update(
            self.task, completed=step, figures="  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        )
        if self.writer is not None:
            for name, value in figures.items():
                self.writer.add_scalar(name, value, step)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        if self.writer is not None:
            self.writer.close()
