"""One frame of the beam search, as a fixed sequence of tensor operations of fixed shapes.

Nothing in it asks the device what the data are, and all that it keeps is written into the memory it
was given. So a GPU can record it once and replay it for each frame; `lm.search.batched.graph` does.

Where a shape would depend on the data there is room for the usual case instead. What finds no room
is noted in `lost`, and the search is done again with more.

Legend: B utterances, T frames, V symbols, K places for hypotheses, W columns of the trie, Y symbols
that end words, C candidates inside words, E at the ends of words, M = C + E, Q integer fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from lm.kernels.choice import for_search
from lm.search.batched.arcs import ArcTrie
from lm.search.batched.beam import (
    HISTORY,
    LAST,
    MIX,
    NODE,
    PARENT,
    STATE,
    WORD,
    Beam,
    best_distinct,
    extended,
    said_hashes,
)
from lm.search.batched.spread import spread
from lm.search.batched.states import BITS, WordStates
from lm.search.batched.trie import ROOT, Ends, Trie

INSIDE = 3  # candidates inside words that have room, for each hypothesis
LISTED = 32  # arcs, and ends of words, that have room for each hypothesis, where they are listed
ENDS = 2  # ends of words that have room, for each hypothesis, where many can end together


class Weights(NamedTuple):
    """Weights of each utterance, (B, 1) float64. That of silence is in the emissions."""

    language: Tensor
    """Above 0, so that what the trie closes stays closed."""
    word: Tensor
    unknown: Tensor
    """Minus infinity where unknown words are forbidden."""

    def first(self, count: int) -> Weights:
        """Those of the first `count` utterances."""
        return Weights(*(field[:count] for field in self))


@dataclass(frozen=True)
class Work:
    """Everything that a frame reads and writes, in memory that stays where it is."""

    emissions: Tensor
    """(T, B, V + W + Y) float64 log-probabilities of the symbols, then of those that lead deeper
    into words (`Trie.symbols`), then of those that end words (`Ends.symbols`)."""
    lengths: Tensor
    """(B, 1) int64 frames of each utterance."""
    frame: Tensor
    """(1,) int64 number of the frame that comes next."""
    weights: Weights
    beam: Beam
    trace: Tensor
    """(T, 3, B, K) int32: for each hypothesis after each frame the place of the hypothesis it grew
    from, the word that ended, -1 for none, and the symbol, doubled, and 1 for a blank."""
    lost: Tensor
    """(B, 1) bool, whether a candidate found no room that might have been kept."""

    def first(self, count: int) -> Work:
        """The same of the first `count` utterances, in the same memory."""
        return Work(
            self.emissions[:, :count],
            self.lengths[:count],
            self.frame,
            self.weights.first(count),
            self.beam.first(count),
            self.trace[:, :, :count],
            self.lost[:count],
        )


@dataclass(frozen=True)
class Room:
    """Sizes that a search works with."""

    width: int
    """K, places for hypotheses."""
    inside: int
    """C."""
    ends: int
    """E."""
    arcs: int
    """Arcs that lead deeper, where they are listed."""

    @classmethod
    def of(cls, width: int, columns: int, ends: Ends, times: int) -> Room:
        """Room for `width` hypotheses; times: how often more than the usual."""
        every = width * ends.kinds * ends.most
        usual = width * (1 if ends.most == ends.kinds == 1 else ENDS)
        if ends.listed is not None:
            usual = width * LISTED
        return cls(
            width,
            min(width * columns, INSIDE * width * times),
            min(every, usual * times),
            min(width * columns, LISTED * width * times),
        )


class _Candidates(NamedTuple):
    scores: Tensor
    """(B, M) float64, minus infinity for none."""
    fields: Tensor
    """(Q, B, M) int64: place of the hypothesis it grew from, word that ended, and a `Beam`'s."""


class _Now(NamedTuple):
    """What the hypotheses of a beam can do on a frame without going on in the lexicon."""

    symbol: Tensor
    """(B, K) int64 symbol of the last frame."""
    blank: Tensor
    """(B, K) bool, whether that was a blank."""
    lasting: Tensor
    """(B, K) int64 symbol that lasts: between words silence, whatever the last frame was."""
    lasts: Tensor
    """(B, K) float64 its log-probability, minus infinity where it cannot last."""


class _Grown(NamedTuple):
    """All that stays at a node or goes deeper into a word."""

    scores: Tensor
    """(B, P) float64."""
    read: Callable[[Tensor], Tensor]
    """(B, C) places among those -> their (Q, B, C) fields, as of `_Candidates`."""
    over: Tensor | None
    """(B, 1) bool, whether there were more; None where all have room."""


class _Inside(NamedTuple):
    """The best candidates that end no word."""

    candidates: _Candidates
    cut: Tensor | None
    """(B, 1) their least score, which those that were not taken do not exceed; None where all
    were."""
    over: Tensor | None
    """As of `_Grown`."""


class _WordEnds(NamedTuple):
    """Candidates that end a word."""

    candidates: _Candidates
    heard: Tensor
    """(B, E) float64 what the language model says of the word."""
    over: Tensor | None
    """(B, 1) bool, whether there were more; None where all have room."""


class FrameStep:
    """Grows the beams of many utterances by one frame."""

    def __init__(
        self,
        trie: Trie | ArcTrie,
        ends: Ends,
        states: WordStates,
        *,
        silence: int,
        threshold: float,
        by_state: bool,
        context: int | None,
        room: Room,
        most: int,
    ) -> None:
        """context: words by which histories are told apart, unless `by_state`; None: all.
        most: hypotheses to keep, at least the room's.
        """
        self.trie, self.ends, self.states = trie, ends, states
        self._silence, self._threshold, self._by_state = silence, threshold, by_state
        self._context = context
        self._histories = range(HISTORY, HISTORY + (0 if by_state else context or 1))
        self._room, self._most = room, most
        self._symbols = len(trie.column)  # V
        self._nodes = trie.nodes
        device = trie.child.device
        self._kernels = for_search(device)
        self._unknown = int(ends.words[-1])
        self._hashes = said_hashes(self._unknown + 1, device)
        self._places = torch.arange(max(room.width, room.ends, room.arcs), device=device)

    def memory(self, utterances: int, frames: int) -> Work:
        """Memory for so many utterances of so many frames."""
        device, width = self.trie.child.device, self._room.width
        columns = self._symbols + len(self.trie.symbols) + len(self.ends.symbols)

        def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        fields = HISTORY - LAST + len(self._histories)
        return Work(
            numbers(frames, utterances, columns),
            numbers(utterances, 1, dtype=torch.int64),
            numbers(1, dtype=torch.int64),
            Weights(*(numbers(utterances, 1) for _ in Weights._fields)),
            Beam(
                numbers(utterances, width),
                numbers(utterances, width),
                numbers(fields, utterances, width, dtype=torch.int64),
            ),
            numbers(frames, 3, utterances, width, dtype=torch.int32),
            numbers(utterances, 1, dtype=torch.bool),
        )

    def __call__(self, work: Work) -> None:
        """Search the next frame of all utterances; those that have ended stay as they are."""
        frame = work.emissions.index_select(0, work.frame)[0]
        inside = self._inside(work, frame)
        # log p is at most 0: an end that falls short without the language model stays short.
        best = inside.candidates.scores.amax(1, keepdim=True)
        ends = self._word_ends(work, frame, best - self._threshold)
        scores = torch.cat([inside.candidates.scores, ends.candidates.scores], 1)
        fields = torch.cat([inside.candidates.fields, ends.candidates.fields], 2)
        least = scores.amax(1, keepdim=True) - self._threshold
        scores = torch.where(scores >= least, scores, -torch.inf)
        distinct = best_distinct if self._kernels is None else self._kernels.best_distinct
        places, best_scores, count = distinct(scores, self._keys(fields), self._room.width)
        goes_on = work.lengths > work.frame
        over = inside.over, ends.over
        for lost in self._losses(inside.cut, over, least, best_scores[:, -1:], count):
            work.lost.logical_or_(lost & goes_on)
        chosen = fields.gather(2, places.expand(len(fields), -1, -1))
        heard = ends.heard.gather(1, (places - inside.candidates.scores.shape[1]).clamp_(min=0))
        self._keep(work, frame, chosen, best_scores, heard)
        work.frame.add_(1)

    def _inside(self, work: Work, frame: Tensor) -> _Inside:
        """The candidates that go deeper into a word or stay at their node."""
        if isinstance(self.trie, ArcTrie):
            grown = self._along_arcs(self.trie, work, frame, self._now(work, frame))
        elif self._kernels is not None:
            grown = self._in_kernels(self._kernels, self.trie, work, frame)
        else:
            grown = self._in_columns(self.trie, work, frame, self._now(work, frame))
        if self._room.inside < grown.scores.shape[1]:
            found, index = grown.scores.topk(self._room.inside, 1, sorted=False)
            cut = found.amin(1, keepdim=True)
        else:
            found, cut = grown.scores, None
            index = torch.arange(found.shape[1], device=found.device).expand_as(found)
        return _Inside(_Candidates(found, grown.read(index)), cut, grown.over)

    def _now(self, work: Work, frame: Tensor) -> _Now:
        last, root = work.beam.field(LAST), work.beam.field(NODE) == ROOT
        symbol, blank = last >> 1, (last & 1).bool()
        lasting = torch.where(root, self._silence, symbol)
        lasts = torch.where(root | ~blank, frame.gather(1, lasting), -torch.inf)
        return _Now(symbol, blank, lasting, lasts)

    def _fields(self, beam: Beam, parent: Tensor, last: Tensor, node: Tensor) -> Tensor:
        """(Q, B, C) fields of candidates that end no word, which grew from these hypotheses."""
        fields = [parent, torch.full_like(parent, -1), last, node]
        fields.append(beam.field(STATE).gather(1, parent))
        fields += [beam.field(name).gather(1, parent) for name in self._histories]
        return torch.stack(fields)

    def _in_kernels(self, kernels: ModuleType, trie: Trie, work: Work, frame: Tensor) -> _Grown:
        """What `_in_columns` finds, in two launches."""
        beam = work.beam
        scores = kernels.grown(
            frame,
            beam.plain,
            beam.field(LAST),
            beam.field(NODE),
            work.weights.language,
            trie.promise,
            trie.bonus,
            trie.column,
            self._silence,
        )

        def read(index: Tensor) -> Tensor:
            fields: Tensor = kernels.inside(
                index, beam.fields, trie.symbols, trie.child, self._silence
            )
            return fields

        return _Grown(scores, read, None)

    def _in_columns(self, trie: Trie, work: Work, frame: Tensor, now: _Now) -> _Grown:
        """What each column of the trie's tables leads to."""
        node, width = work.beam.field(NODE), len(trie.symbols)
        # (B, K, W) what each column's node promises, and the frame's own score
        scores = trie.promise[node] * work.weights.language[:, :, None]
        if trie.bonus is not None:
            scores += trie.bonus[node]
        scores += work.beam.plain[:, :, None]
        scores += frame[:, None, self._symbols : self._symbols + width]
        scores[:, :, trie.stay] += now.lasts
        # A symbol only follows itself after a blank; else it is the same symbol that lasts.
        again = torch.where(now.blank, width - 1, trie.column[now.symbol])
        scores.scatter_(2, again[:, :, None], -torch.inf)

        def read(index: Tensor) -> Tensor:
            parent, column = index // width, index % width
            lasting = now.lasting.gather(1, parent)
            symbol = torch.where(column == trie.stay, lasting, trie.symbols[column])
            place = node.gather(1, parent) * width + column
            blank = column == trie.stay + 1
            child = trie.child.flatten()[place].long()
            return self._fields(work.beam, parent, symbol * 2 + blank, child)

        return _Grown(scores.flatten(1), read, None)

    def _along_arcs(self, trie: ArcTrie, work: Work, frame: Tensor, now: _Now) -> _Grown:
        """What the arcs of the trie's lists lead to, then what stays."""
        node, plain, weight = work.beam.field(NODE), work.beam.plain, work.weights.language
        count = torch.where(plain > -torch.inf, trie.count[node], 0)
        arcs = spread(trie.first[node], count, self._places[: self._room.arcs])
        arc = torch.where(arcs.there, arcs.element, 0)
        symbol, child = trie.symbol[arc], trie.child[arc]
        promise, bonus = trie.own(child)
        scores = plain.gather(1, arcs.owner) + weight * promise
        scores += frame[:, self._symbols :].gather(1, symbol)
        here, own_bonus = trie.own(node)
        stays = plain + weight * here
        if bonus is not None and own_bonus is not None:
            scores += bonus
            stays += own_bonus
        # A symbol only follows itself after a blank; else it is the same symbol that lasts.
        again = (symbol == now.symbol.gather(1, arcs.owner)) & ~now.blank.gather(1, arcs.owner)
        scores = torch.where(arcs.there & ~again, scores, -torch.inf)
        blank = trie.symbols[trie.stay + 1].expand_as(now.symbol)
        lasts, pauses = stays + now.lasts, stays + frame.gather(1, blank)
        every = self._places[: node.shape[1]].expand_as(node)
        parents = torch.cat([arcs.owner, every, every], 1)
        lasting = torch.cat([symbol * 2, now.lasting * 2, blank * 2 + 1], 1)
        nodes = torch.cat([child, node, node], 1)

        def read(index: Tensor) -> Tensor:
            last, node = lasting.gather(1, index), nodes.gather(1, index)
            return self._fields(work.beam, parents.gather(1, index), last, node)

        return _Grown(torch.cat([scores, lasts, pauses], 1), read, arcs.over)

    def _word_ends(self, work: Work, frame: Tensor, least: Tensor) -> _WordEnds:
        """The candidates that end a word with their symbol, and may reach `least`, (B, 1)."""
        ends, beam, weights = self.ends, work.beam, work.weights
        kinds, node, state = ends.kinds, beam.field(NODE), beam.field(STATE)
        reach = torch.maximum(weights.word, weights.unknown) + self.states.highest
        # (B, K · Y) symbols after hypotheses
        first, count = ends.first[node].flatten(1), ends.count[node].flatten(1)
        if ends.listed is None:
            score = (beam.plain[:, :, None] + frame[:, None, -kinds:]).flatten(1)
            if ends.at_root:
                count = torch.where(self._lasts_at_root(beam, first), 0, count)
            count = torch.where(score + reach >= least, count, 0)
        if self._room.ends == first.shape[1] and ends.most == 1 and ends.listed is None:
            arc, over = self._places[: first.shape[1]].expand_as(first), None
            place, wanted = first.long(), count > 0
        else:
            if ends.listed is not None:
                count = torch.where(beam.plain > -torch.inf, count, 0)
            arc, place, wanted, over = spread(first, count, self._places[: self._room.ends])
            place = torch.where(wanted, place, 0)
        parent, word = arc // kinds, ends.words[place]
        if ends.listed is None:
            symbol = ends.symbols[arc % kinds]
            score = score.gather(1, arc)
        else:
            symbol = ends.listed[place]
            score = beam.plain.gather(1, parent) + frame[:, -len(ends.symbols) :].gather(1, symbol)
            last, root = beam.field(LAST).gather(1, parent), node.gather(1, parent) == ROOT
            again = root & (last >> 1 == symbol) & (word != self._unknown)
            wanted = wanted & ~again & (score + reach >= least)
        insertion = torch.where(word == self._unknown, weights.unknown, weights.word)
        score = torch.where(wanted, score + insertion, -torch.inf)
        self.states.expect(state, beam.plain > -torch.inf)
        heard = self.states.said(state.gather(1, parent), word, wanted)
        if heard.bonus is not None:
            score = score + heard.bonus
        fields = [parent, word, symbol * 2, torch.zeros_like(word), heard.after]
        fields += self._said(beam, parent, self._hashes[word])
        score = score + weights.language * heard.language
        return _WordEnds(_Candidates(score, torch.stack(fields)), heard.language, over)

    def _said(self, beam: Beam, parent: Tensor, hashes: Tensor) -> list[Tensor]:
        """The fields of histories with one more word, (B, E) each. hashes: (B, E) of the word."""
        if self._context is None:
            before = [beam.field(name).gather(1, parent) for name in self._histories]
        else:  # the last N words are those that were the last N - 1, and this one
            before = [beam.field(name).gather(1, parent) for name in self._histories[1:]]
            before.append(torch.zeros_like(hashes))
        return [extended(history, hashes) for history in before]

    def _lasts_at_root(self, beam: Beam, first: Tensor) -> Tensor:
        """(B, K · Y) whether a symbol would say a word of one symbol anew on each frame."""
        again = (beam.field(LAST) >> 1)[:, :, None] == self.ends.symbols
        again &= (beam.field(NODE) == ROOT)[:, :, None]
        return again.flatten(1) & (first < len(self.ends.words) - 1)  # not of an unknown word

    def _keys(self, fields: Tensor) -> Tensor:
        """(B, M) int64, equal for candidates that the future cannot tell apart.

        A number below 2^63 by state, a hash by words and with phrases. Inside a word the node
        implies the last symbol; at the root it does not, so root and symbol count as a node.
        """
        last, node = fields[LAST], fields[NODE]
        place = torch.where(node == ROOT, self._nodes + (last >> 1), node) * 2 + (last & 1)
        if self._by_state and not self.states.has_phrases:
            return (fields[STATE] << 32) | place
        if self._by_state:
            return fields[STATE] * MIX[0] + place * MIX[1]
        if self._context is not None and self.states.has_phrases:  # all words would imply theirs
            place = place + (fields[STATE] >> BITS) * MIX[1]
        return extended(place, fields[HISTORY])

    def _losses(
        self,
        cut: Tensor | None,
        over: tuple[Tensor | None, ...],
        least: Tensor,
        kept: Tensor,
        count: Tensor,
    ) -> Iterator[Tensor]:
        """Yield (B, 1) bools, whether a candidate that had no room might have been kept.

        cut, over: of `_Inside` and `_WordEnds`. least: (B, 1) score that is wanted. kept: (B, 1)
        the last of the beam's scores. count: (B, 1) how many candidates it was chosen from.
        """
        if cut is not None:
            yield (cut >= least) & (kept < cut)
        yield from (one for one in over if one is not None)
        if self._room.width < self._most:
            yield count > self._room.width

    def _keep(
        self, work: Work, frame: Tensor, chosen: Tensor, scores: Tensor, heard: Tensor
    ) -> None:
        """Write the chosen candidates over the beams of utterances that go on.

        chosen: (Q, B, K) their fields. heard: (B, K) float64, for those that end a word.
        """
        beam = work.beam
        parent, word, last = chosen[PARENT], chosen[WORD], chosen[LAST]
        # What ended a word looks ahead to nothing any more: its score is plain.
        plain = beam.plain.gather(1, parent) + frame.gather(1, last >> 1)
        plain = torch.where(word >= 0, scores, plain)
        plain = torch.where(scores > -torch.inf, plain, -torch.inf)
        said = beam.said.gather(1, parent) + torch.where(word >= 0, heard, 0.0)
        goes_on = work.lengths > work.frame
        torch.where(goes_on, plain, beam.plain, out=beam.plain)
        torch.where(goes_on, said, beam.said, out=beam.said)
        torch.where(goes_on, chosen[LAST:], beam.fields, out=beam.fields)
        work.trace.index_copy_(0, work.frame, chosen[: LAST + 1].int()[None])
