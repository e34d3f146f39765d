"""What a call transcribes, where its transcripts go, and which of them are done already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from w2v2cli.data.audio import AudioError, Channel, Source, name_of, probe, recordings_by_place
from w2v2cli.errors import UsageError
from w2v2cli.processes import Ranks
from w2v2cli.recognition.sharing.merging import WorkPlan
from w2v2cli.recognition.sharing.ranks import seconds_of, split_by_length
from w2v2cli.recognition.writing.formats import Channels, Writing
from w2v2cli.recognition.writing.provenance import OutputFolder, Transcribable


@dataclass(frozen=True)
class Item:
    """A recording, or one channel of it, and the files that its transcript gets."""

    path: Source
    channel: int | None = None
    files: tuple[str, ...] = ()
    """Below the output folder, one for each format; none for the stream."""

    @property
    def recorded(self) -> Transcribable:
        """What is read."""
        return self.path if self.channel is None else Channel(self.path, self.channel)

    @property
    def name(self) -> str:
        """Its name in messages and on the stream."""
        return name_of(self.path) if self.channel is None else str(self.recorded)


class Planning:
    """What a call transcribes; kept in the record of the output folder where there is one."""

    def __init__(
        self, inputs: Sequence[str], ranks: Ranks, how: Writing, note: Callable[[str], None]
    ) -> None:
        self.inputs, self.ranks, self.how, self.note = inputs, ranks, how, note
        self.written: list[Item] = []
        """Recordings whose files were written."""
        self._outputs: list[OutputFolder] = []

    def made(self) -> WorkPlan:
        """All recordings with their files, divided by length.

        Those that are done already are in no rank's share. `items` reads the plan.
        """
        wanted, left = self.todo(recordings_by_place(self.inputs, self.note))
        if self.how.output_dir is None and "html" in self.how.forms and len(wanted) > 1:
            raise UsageError(
                f"--format html writes a page for each of {len(wanted)} recordings: name an "
                "--output-dir for them."
            )
        shares = [left]
        if self.ranks.several:
            seconds = seconds_of(wanted[index].path for index in left)
            divided = split_by_length(seconds, self.ranks.world)
            shares = [[left[at] for at in share] for share in divided]
        return WorkPlan([(str(i.path), i.channel, i.files) for i in wanted], shares)

    def todo(self, places: Mapping[Source, Path]) -> tuple[list[Item], list[int]]:
        """What is wanted of some recordings, and which of it is left to do, which is claimed.

        places: each recording's path below the folder in which it was found.
        """
        found = by_channel(places, self.how.channel)
        files: dict[Transcribable, tuple[str, ...]] = {recorded: () for recorded in found}
        if self.how.output_dir is not None:
            self._outputs = [OutputFolder(self.how.output_dir, form) for form in self.how.forms]
            named = [output.names(found) for output in self._outputs]
            files = {recorded: tuple(names[recorded] for names in named) for recorded in found}
        left = [
            place
            for place, recorded in enumerate(found)
            if not (self.how.skip_existing and self._is_done(recorded, files[recorded]))
        ]
        wanted = [Item(_path_of(r), getattr(r, "number", None), files[r]) for r in found]
        if self._outputs:
            self._claim({wanted[place].recorded: wanted[place].files for place in left})
        return wanted, left

    def _is_done(self, recorded: Transcribable, files: Sequence[str]) -> bool:
        pairs = zip(self._outputs, files, strict=True)
        return bool(files) and all(output.is_done(recorded, file) for output, file in pairs)

    def _claim(self, files: Mapping[Transcribable, Sequence[str]]) -> None:
        lines = [output.line() for output in self._outputs]
        for place, output in enumerate(self._outputs):
            lines.append(output.claim({r: names[place] for r, names in files.items()}))
        for line in dict.fromkeys(lines):
            if line is not None:
                self.note(line)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record at the end of the block, however it ends, what was written."""
        try:
            yield
        finally:
            for place, output in enumerate(self._outputs):
                if self.written:
                    output.finish({item.recorded: item.files[place] for item in self.written})


def items(plan: WorkPlan) -> list[Item]:
    """The items of a plan, which may have been made by another rank."""
    return [Item(Path(path), channel, tuple(files)) for path, channel, files in plan.items]


def by_channel(places: Mapping[Source, Path], channel: Channels) -> dict[Transcribable, Path]:
    """The channels that are wanted of some recordings, each with a path for its transcript's name.

    A recording that cannot be opened stays whole: reading it raises the error that says so.
    """
    found: dict[Transcribable, Path] = {}
    for source, place in places.items():
        if channel is None:
            found[source] = place
        elif channel != "split":
            found[Channel(source, channel)] = place
        else:
            try:
                count = probe(source).channels
            except AudioError:
                found[source] = place
                continue
            for number in range(1, count + 1):
                named = place.with_name(f"{place.stem}.channel{number}{place.suffix}")
                found[Channel(source, number)] = named
    return found


def _path_of(recorded: Transcribable) -> Path:
    return recorded.path if isinstance(recorded, Channel) else recorded
