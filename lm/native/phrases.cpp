#include "phrases.h"

#include <algorithm>

namespace w2v2 {
namespace {

constexpr uint32_t kNoNode = 0xFFFFFFFFu;

uint64_t key(uint32_t node, int32_t word) { return (uint64_t(node) << 32) | uint32_t(word); }

}  // namespace

Phrases Phrases::build(const int32_t* words, const uint64_t* ends, const float* bonuses,
                       uint64_t count) {
  Phrases made;
  made.reward_ = made.promise_ = {0.0f};
  std::vector<uint32_t> parents{0};
  std::vector<int32_t> leads{-1};  // the word that leads to a node
  std::vector<bool> has_children{false};
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t begin = i == 0 ? 0 : ends[i - 1], length = ends[i] - begin;
    uint32_t node = 0;
    for (uint64_t at = begin; at < ends[i]; ++at) {
      const auto fresh = uint32_t(parents.size());
      const auto found = made.children_.try_emplace(key(node, words[at]), fresh);
      if (found.second) {
        parents.push_back(node);
        leads.push_back(words[at]);
        has_children.push_back(false);
        made.reward_.push_back(0.0f);
        made.promise_.push_back(0.0f);
      }
      has_children[node] = true;
      node = found.first->second;
      const float part = bonuses[i] * float(at + 1 - begin) / float(length);
      if (at + 1 < ends[i]) made.promise_[node] = std::max(made.promise_[node], part);
      if (size_t(words[at]) >= made.said_.size()) made.said_.resize(size_t(words[at]) + 1);
      made.said_[size_t(words[at])] = true;
    }
    made.reward_[node] += bonuses[i];
  }
  // Nodes by depth: a node's suffix is shorter.
  std::vector<uint32_t> order, depth(parents.size(), 0);
  for (uint32_t node = 0; node < parents.size(); ++node) {
    if (node > 0) depth[node] = depth[parents[node]] + 1;  // a parent has a lower number
    order.push_back(node);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return depth[a] < depth[b]; });
  made.suffix_.assign(parents.size(), 0);
  made.goes_on_.assign(parents.size(), 0);
  for (const uint32_t node : order) {
    if (depth[node] > 1) {
      uint32_t from = made.suffix_[parents[node]], found;
      while ((found = made.child(from, leads[node])) == kNoNode && from != 0)
        from = made.suffix_[from];
      made.suffix_[node] = found == kNoNode ? 0 : found;
    }
    const uint32_t shorter = made.suffix_[node];
    if (node != 0) made.reward_[node] += made.reward_[shorter];
    made.goes_on_[node] = has_children[node] || node == 0 ? node : made.goes_on_[shorter];
  }
  for (uint32_t node = 0; node < parents.size(); ++node)
    made.most_ = std::max(made.most_, made.reward_[node] + made.promise_[made.goes_on_[node]]);
  return made;
}

uint32_t Phrases::child(uint32_t node, int32_t word) const {
  const auto found = children_.find(key(node, word));
  return found == children_.end() ? kNoNode : found->second;
}

Phrases::Step Phrases::after(uint32_t node, int32_t word) const {
  if (empty()) return {0, 0.0f};
  const float promised = promise_[node];
  uint32_t next = kNoNode;
  if (size_t(word) < said_.size() && said_[size_t(word)]) {
    while ((next = child(node, word)) == kNoNode && node != 0) node = suffix_[node];
  }
  if (next == kNoNode) return {0, -promised};
  const uint32_t stays = goes_on_[next];
  return {stays, reward_[next] + promise_[stays] - promised};
}

}  // namespace w2v2
