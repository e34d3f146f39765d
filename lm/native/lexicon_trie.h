// A lexicon as a flat trie: the children of a node lie side by side, sorted by symbol.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace w2v2 {

struct LexiconTrie {
  std::vector<int32_t>
      symbols;  // [nodes], the symbol that leads to a node; -1 for the root, node 0
  std::vector<uint32_t> first_child;  // [nodes + 1]
  std::vector<float> best_score;      // [nodes], best unigram score at or below; 0 at the root
  std::vector<float> best_bonus;      // [nodes], best bonus at or below, at least 0; may be empty
  std::vector<uint32_t> first_word;   // [nodes + 1], into words
  std::vector<int32_t> words;         // words by node; any number of words may share a spelling

  uint32_t nodes() const { return uint32_t(symbols.size()); }

  // The node whose children hold `node`, which is not the root.
  uint32_t parent(uint32_t node) const {
    return uint32_t(std::upper_bound(first_child.begin(), first_child.end(), node) -
                    first_child.begin() - 1);
  }

  // symbols: all spellings, concatenated. For each of the `count` spellings: `ends` says where it
  // ends in `symbols`, `words` which word it spells, `scores` that word's unigram score.
  // bonuses: one for each word, or null.
  static LexiconTrie build(const int32_t* symbols, const uint64_t* ends, const int32_t* words,
                           const float* scores, uint64_t count, const float* bonuses);
};

}  // namespace w2v2
