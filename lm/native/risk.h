// Expected word errors over a lattice, and the words with few of them: Xu, Povey, Mangu and Zhu
// (2011), "Minimum Bayes Risk decoding and system combination based on a recursion for edit
// distance".
//
// The edit distance of a sequence to all paths at once takes, at each node, one alignment for all
// paths that come there. So the number found is never below the expected errors, and seldom above.
#pragma once

#include <cstdint>
#include <vector>

#include "lattice.h"

namespace w2v2 {

class Risk {
 public:
  // labels: [arcs], the word of each arc, -1 for none. scale: see `posteriors`.
  Risk(const Arcs& arcs, const int32_t* labels, uint32_t nodes, double scale);

  // The expected word errors of a sequence of words.
  double of(const std::vector<int32_t>& words);

  // Change words, insert and drop some, as long as that lowers the expected errors.
  std::vector<int32_t> lowered(std::vector<int32_t> words);

 private:
  double distance(const std::vector<int32_t>& slots);
  void across(size_t arc, const std::vector<int32_t>& slots, std::vector<double>& row,
              std::vector<char>* taken) const;
  std::vector<int32_t> likeliest(const std::vector<int32_t>& slots) const;

  const Arcs& arcs_;
  const int32_t* labels_;
  const uint32_t nodes_;
  std::vector<double> shares_;    // [arcs], of the paths that come to its end by it
  std::vector<double> distance_;  // [nodes, slots + 1], of what is before a node to the first slots
};

}  // namespace w2v2
