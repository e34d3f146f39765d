#include "lexicon_trie.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace w2v2 {
namespace {

// log(e^a + e^b). flashlight's look-ahead adds up the words of one node like this, but takes the
// maximum over the nodes below; below e^-39.14 the smaller summand no longer changes a double.
double added(double a, double b) {
  if (a < b) std::swap(a, b);
  return b - a < -39.14 ? a : a + std::log1p(std::exp(b - a));
}

// The sorted spellings that begin with the path to one node.
struct Span {
  uint64_t begin, end;
  uint32_t depth;
};

}  // namespace

LexiconTrie LexiconTrie::build(const int32_t* symbols, const uint64_t* ends, const int32_t* words,
                               const float* scores, uint64_t count, const float* bonuses) {
  const auto begin_of = [&](uint64_t i) { return i == 0 ? 0 : ends[i - 1]; };
  std::vector<uint64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](uint64_t a, uint64_t b) {
    return std::lexicographical_compare(symbols + begin_of(a), symbols + ends[a],
                                        symbols + begin_of(b), symbols + ends[b]);
  });
  const auto length_of = [&](uint64_t place) {
    return ends[order[place]] - begin_of(order[place]);
  };
  LexiconTrie trie;
  std::vector<Span> spans{{0, count, 0}};  // a queue: breadth first puts siblings side by side
  trie.symbols.push_back(-1);
  for (uint32_t node = 0; node < spans.size(); ++node) {
    const Span span = spans[node];
    uint64_t at = span.begin;
    trie.first_word.push_back(uint32_t(trie.words.size()));
    float best = -INFINITY, bonus = 0.0f;
    // Sorted, the spellings that end at this node come before those that go on.
    for (; at < span.end && length_of(at) == span.depth; ++at) {
      const uint64_t spelling = order[at];
      trie.words.push_back(words[spelling]);
      best = float(added(best, scores[spelling]));
      if (bonuses != nullptr) bonus = std::max(bonus, bonuses[words[spelling]]);
    }
    trie.best_score.push_back(best);
    if (bonuses != nullptr) trie.best_bonus.push_back(bonus);
    trie.first_child.push_back(uint32_t(spans.size()));
    while (at < span.end) {  // one child for each next symbol
      const auto symbol_of = [&](uint64_t place) {
        return symbols[begin_of(order[place]) + span.depth];
      };
      const int32_t symbol = symbol_of(at);
      uint64_t end = at + 1;
      while (end < span.end && symbol_of(end) == symbol) ++end;
      spans.push_back({at, end, span.depth + 1});
      trie.symbols.push_back(symbol);
      at = end;
    }
  }
  trie.first_child.push_back(uint32_t(spans.size()));
  trie.first_word.push_back(uint32_t(trie.words.size()));
  for (uint32_t node = trie.nodes(); node-- > 0;) {  // backwards: children before their parent
    for (uint32_t child = trie.first_child[node]; child < trie.first_child[node + 1]; ++child) {
      trie.best_score[node] = std::max(trie.best_score[node], trie.best_score[child]);
      if (bonuses != nullptr)
        trie.best_bonus[node] = std::max(trie.best_bonus[node], trie.best_bonus[child]);
    }
  }
  trie.best_score[0] = 0.0f;  // between two words nothing has been looked ahead to
  if (bonuses != nullptr) trie.best_bonus[0] = 0.0f;
  return trie;
}

}  // namespace w2v2
