#include "kenlm_keys.h"

#include <algorithm>
#include <cstring>

namespace w2v2 {
namespace {

constexpr uint64_t kLast = 8978948897894561157ull;    // KenLM's factors: of the words that follow
constexpr uint64_t kFirst = 17894857484156487943ull;  // and of the word before them
constexpr int kFewestBits = 10, kMostBits = 31;

// The keys of one order as KenLM keeps them: open addressing, and 0 where no n-gram is. A bit map
// in front tells most keys that are not there without a look into the table.
class KeyTable {
 public:
  KeyTable(const char* entries, uint64_t stride, uint64_t buckets)
      : entries_(entries), stride_(stride), buckets_(buckets) {
    int bits = kFewestBits;
    while (bits < kMostBits && (uint64_t(1) << bits) < buckets * 64) ++bits;
    shift_ = 64 - bits;
    seen_.resize(size_t(1) << (bits - 6));
    for (uint64_t slot = 0; slot < buckets; ++slot)
      if (const uint64_t key = key_at(slot))
        seen_[(key >> shift_) >> 6] |= uint64_t(1) << ((key >> shift_) & 63);
  }

  bool may_hold(uint64_t key) const {
    const uint64_t bit = key >> shift_;
    return seen_[bit >> 6] >> (bit & 63) & 1;
  }

  // The slot of a key; `buckets` for one that is not there.
  uint64_t find(uint64_t key) const {
    uint64_t slot = key % buckets_;
    for (uint64_t left = buckets_; left > 0; --left) {
      const uint64_t found = key_at(slot);
      if (found == key) return slot;
      if (found == 0) break;
      slot = slot + 1 == buckets_ ? 0 : slot + 1;
    }
    return buckets_;
  }

 private:
  uint64_t key_at(uint64_t slot) const {
    uint64_t key;
    std::memcpy(&key, entries_ + slot * stride_, sizeof key);
    return key;
  }

  const char* entries_;
  uint64_t stride_, buckets_;
  int shift_;
  std::vector<uint64_t> seen_;
};

}  // namespace

std::vector<Joined> join_keys(const char* entries, uint64_t stride, uint64_t buckets,
                              const uint64_t* suffix_keys, const uint64_t* suffix_ends,
                              const uint64_t* first_words, const uint64_t* context_ends,
                              uint64_t groups) {
  std::vector<Joined> found;
  if (buckets == 0 || groups == 0) return found;
  const KeyTable table(entries, stride, buckets);
  std::vector<uint64_t> firsts(first_words, first_words + context_ends[groups - 1]);
  for (uint64_t& word : firsts) word = uint64_t(uint32_t(1 + word)) * kFirst;
  uint64_t suffix = 0, context_begin = 0;
  for (uint64_t group = 0; group < groups; ++group) {
    for (; suffix < suffix_ends[group]; ++suffix) {
      const uint64_t last = suffix_keys[suffix] * kLast;
      for (uint64_t context = context_begin; context < context_ends[group]; ++context) {
        const uint64_t key = last ^ firsts[context];
        if (!table.may_hold(key)) continue;
        const uint64_t slot = table.find(key);
        if (slot < buckets) found.push_back({uint32_t(suffix), uint32_t(context), slot});
      }
    }
    context_begin = context_ends[group];
  }
  return found;
}

}  // namespace w2v2
