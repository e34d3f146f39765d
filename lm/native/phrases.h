// Phrases whose words are favoured: an automaton over words (Aho and Corasick, 1975).
//
// A node is the longest beginning of a phrase that the words so far end with; node 0 is none. A
// phrase's bonus counts when its last word is said. Before that a part of it is promised, so that a
// beam keeps the beginning; what was promised is taken back when the phrase does not go on. So the
// bonuses of any words add up to those of the phrases in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace w2v2 {

class Phrases {
 public:
  struct Step {
    uint32_t node;
    float bonus;
  };

  // words: of all phrases, concatenated; `ends` says where each of the `count` ends.
  static Phrases build(const int32_t* words, const uint64_t* ends, const float* bonuses,
                       uint64_t count);

  bool empty() const { return promise_.empty(); }
  // What saying `word` after `node` adds to the score, and where it leads.
  Step after(uint32_t node, int32_t word) const;
  // What the end of a sentence adds: the promise is taken back.
  float end(uint32_t node) const { return empty() ? 0.0f : -promise_[node]; }
  // No word adds more than this to the score.
  float most(int32_t word) const {
    return size_t(word) < said_.size() && said_[size_t(word)] ? most_ : 0.0f;
  }

 private:
  uint32_t child(uint32_t node, int32_t word) const;

  std::unordered_map<uint64_t, uint32_t> children_;
  std::vector<uint32_t> suffix_;  // [nodes], the longest proper suffix that is a node
  std::vector<uint32_t> goes_on_;  // [nodes], the first node with children along the suffixes
  std::vector<float> reward_;      // [nodes], of all phrases that end here
  std::vector<float> promise_;     // [nodes]
  std::vector<bool> said_;         // by word: whether a phrase has it
  float most_ = 0.0f;
};

}  // namespace w2v2
