// The words of a search as a lattice: every way that the search kept, from word end to word end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lexicon_trie.h"

namespace w2v2 {

// One kept hypothesis of one step, for the walk back from the end.
struct Step {
  uint32_t parent;
  int32_t symbol, word;
};

// Another way into a kept hypothesis, and what it has less than the best way.
struct Detour {
  float score, acoustic, lm;
  uint32_t parent;
  int32_t word;
};

// The best way to a kept hypothesis: its scores, and where in the trie it stands.
struct Reached {
  double score, acoustic, lm;
  uint32_t node;
};

// An end of the sentence: where the last step left off, and the scores of the best way to it.
struct Ending {
  uint32_t place;
  double score, lm;
};

// All kept ways through the steps of a search. A place is a hypothesis kept after a step; the first
// places are beginnings, whose scores count. A place's parents stand before it.
struct Ways {
  std::vector<Step> trace;            // [places]
  std::vector<size_t> first_detour;   // [places + 1], into detours
  std::vector<Detour> detours;
  std::vector<Reached> reached;       // [places]
  std::vector<uint32_t> first_place;  // [steps + 1], the first beginning; that of each step
  std::vector<int32_t> times;         // [steps + 1], frames that have passed after each
  std::vector<Ending> ends;
};

// Scores are of the best path from one end of the arc to the other; `score` has all weights.
struct WordArc {
  uint32_t from, to;
  int32_t word;      // -1: none, from the last word to the end of the sentence
  uint32_t spelled;  // of the unknown word: the trie node that its symbols lead to; else 0
  double score, acoustic, lm;
};

// Nodes stand in the order of time: the first is the beginning, the last one the end. The others
// are word ends, apart by all that tells hypotheses apart.
struct WordLattice {
  std::vector<int32_t> times;  // [nodes], frames that have passed
  std::vector<WordArc> arcs;   // in the order of `to`
};

// Every sequence of words and of word ends whose best path is at most `beam` below the best one.
WordLattice word_lattice(const Ways& ways, const LexiconTrie& trie, int32_t unknown_word,
                         int32_t frames, double beam);

// Arcs as arrays, in the order of the nodes that they lead to.
struct Arcs {
  size_t count;
  const uint32_t* from;
  const uint32_t* to;
  const double* scores;
};

// The probability of each arc when a path's is proportional to exp(scale * score).
void posteriors(const Arcs& arcs, uint32_t nodes, double scale, double* found);

}  // namespace w2v2
