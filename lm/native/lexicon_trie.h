// A lexicon as a flat trie: the children of a node lie side by side, sorted by symbol.
#pragma once

#include <cstdint>
#include <vector>

namespace w2v2 {

struct LexiconTrie {
  std::vector<int32_t> symbols;       // [nodes], the symbol that leads to a node; -1 for the root, node 0
  std::vector<uint32_t> first_child;  // [nodes + 1]
  std::vector<float> best_score;      // [nodes], the best unigram score of a word at or below; 0 at the root
  std::vector<float> best_bonus;      // [nodes], the same of the words' bonuses, not below 0; empty without bonuses
  std::vector<uint32_t> first_word;   // [nodes + 1], into words
  std::vector<int32_t> words;
  uint32_t dropped = 0;  // words left out because their spelling already had kMostWords

  static constexpr uint32_t kMostWords = 6;  // flashlight's limit: words that share one spelling

  uint32_t nodes() const { return uint32_t(symbols.size()); }

  // symbols: spellings one after the other; ends, words, scores: [count] where each ends, whose it is, its unigram score.
  // bonuses: by word, or null.
  static LexiconTrie build(const int32_t* symbols, const uint64_t* ends, const int32_t* words, const float* scores,
                           uint64_t count, const float* bonuses);
};

}  // namespace w2v2
