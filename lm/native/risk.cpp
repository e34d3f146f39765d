#include "risk.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

namespace w2v2 {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();
constexpr int32_t kNothing = -1;  // no word: an arc without one, a slot that holds none
constexpr int kMostRounds = 50;
constexpr double kSame = 1e-9;
// Of alignments with the same errors one that inserts a word is taken last.
constexpr double kReluctance = 1e-5;

enum Taken : char { kMatch = 1, kInsert = 2, kDelete = 3 };

double cost(int32_t said, int32_t slot) { return said == slot ? 0.0 : 1.0; }

double unmatched(int32_t said) { return said == kNothing ? 0.0 : 1.0 + kReluctance; }

// Words with an empty slot before each and after the last, where words can be inserted.
std::vector<int32_t> with_gaps(const std::vector<int32_t>& words) {
  std::vector<int32_t> slots{kNothing};
  for (const int32_t word : words) {
    if (word == kNothing) continue;
    slots.push_back(word);
    slots.push_back(kNothing);
  }
  return slots;
}

}  // namespace

Risk::Risk(const Arcs& arcs, const int32_t* labels, uint32_t nodes, double scale)
    : arcs_(arcs), labels_(labels), nodes_(nodes), shares_(arcs.count, 0.0) {
  std::vector<double> before(nodes, kMinusInfinity);
  before[0] = 0.0;
  const auto through = [&](size_t i) { return before[arcs.from[i]] + scale * arcs.scores[i]; };
  for (size_t begin = 0, end; begin < arcs.count; begin = end) {
    double best = kMinusInfinity, sum = 0.0;
    for (end = begin; end < arcs.count && arcs.to[end] == arcs.to[begin]; ++end)
      best = std::max(best, through(end));
    for (size_t i = begin; i < end; ++i) sum += std::exp(through(i) - best);
    before[arcs.to[begin]] = best + std::log(sum);
    for (size_t i = begin; i < end; ++i)
      shares_[i] = std::exp(through(i) - before[arcs.to[begin]]);
  }
}

double Risk::of(const std::vector<int32_t>& words) { return distance(words); }

// The distances of what may be said up to the end of an arc to the first slots; how each came about.
void Risk::across(size_t arc, const std::vector<int32_t>& slots, std::vector<double>& row,
                  std::vector<char>* taken) const {
  const double* from = &distance_[size_t(arcs_.from[arc]) * (slots.size() + 1)];
  const int32_t said = labels_[arc];
  row[0] = from[0] + unmatched(said);
  for (size_t q = 1; q <= slots.size(); ++q) {
    const double match = from[q - 1] + cost(said, slots[q - 1]);
    const double insert = from[q] + unmatched(said);
    const double drop = row[q - 1] + cost(kNothing, slots[q - 1]);
    row[q] = std::min({match, insert, drop});
    if (taken != nullptr)
      (*taken)[q] = row[q] == match ? kMatch : row[q] == insert ? kInsert : kDelete;
  }
}

double Risk::distance(const std::vector<int32_t>& slots) {
  const size_t width = slots.size() + 1;
  distance_.assign(size_t(nodes_) * width, 0.0);
  for (size_t q = 1; q < width; ++q)
    distance_[q] = distance_[q - 1] + cost(kNothing, slots[q - 1]);
  std::vector<double> row(width);
  for (size_t i = 0; i < arcs_.count; ++i) {
    across(i, slots, row, nullptr);
    double* into = &distance_[size_t(arcs_.to[i]) * width];
    for (size_t q = 0; q < width; ++q) into[q] += shares_[i] * row[q];
  }
  return distance_.back();
}

// What is said most often in each slot, by the alignments that `distance` found.
std::vector<int32_t> Risk::likeliest(const std::vector<int32_t>& slots) const {
  const size_t width = slots.size() + 1;
  std::vector<std::unordered_map<int32_t, double>> said(slots.size());
  std::vector<double> weight(size_t(nodes_) * width, 0.0);  // of each alignment that passes a place
  std::vector<double> row(width), passing(width);
  std::vector<char> taken(width);
  weight.back() = 1.0;
  for (size_t i = arcs_.count; i-- > 0;) {
    across(i, slots, row, &taken);
    const double* into = &weight[size_t(arcs_.to[i]) * width];
    double* from = &weight[size_t(arcs_.from[i]) * width];
    std::fill(passing.begin(), passing.end(), 0.0);
    for (size_t q = width - 1; q > 0; --q) {
      passing[q] += shares_[i] * into[q];
      if (passing[q] == 0.0) continue;
      if (taken[q] == kMatch) {
        from[q - 1] += passing[q];
        said[q - 1][labels_[i]] += passing[q];
      } else if (taken[q] == kInsert) {
        from[q] += passing[q];
      } else {
        passing[q - 1] += passing[q];
        said[q - 1][kNothing] += passing[q];
      }
    }
    from[0] += passing[0] + shares_[i] * into[0];
  }
  for (size_t q = width - 1; q > 0; --q) {
    said[q - 1][kNothing] += weight[q];
    weight[q - 1] += weight[q];
  }
  std::vector<int32_t> found;
  for (size_t q = 0; q < slots.size(); ++q) {
    int32_t best = slots[q];
    double held = said[q][best];  // before the loop: it may add to what that goes through
    for (const auto& [word, share] : said[q]) {
      if (share > held + kSame || (share > held - kSame && word < best && best != slots[q])) {
        best = word;
        held = share;
      }
    }
    found.push_back(best);
  }
  return found;
}

std::vector<int32_t> Risk::lowered(std::vector<int32_t> words) {
  double least = distance(with_gaps(words));
  for (int round = 0; round < kMostRounds; ++round) {
    std::vector<int32_t> next = likeliest(with_gaps(words));
    next.erase(std::remove(next.begin(), next.end(), kNothing), next.end());
    if (next == words) break;
    const double risk = distance(with_gaps(next));
    if (risk > least - kSame) break;
    least = risk;
    words = std::move(next);
  }
  return words;
}

}  // namespace w2v2
