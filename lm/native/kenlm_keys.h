// The n-grams of KenLM's probing files, found again from their hashed keys.
//
// Such a file holds a 64-bit key for each n-gram, made of its words from the last to the first, and
// not the words. An n-gram of n words joins two of n - 1 that the file also holds: its words but
// the first (the suffix), and its words but the last (the context). Both share the words between.
// So all suffixes and contexts that share their middle are joined, and a pair whose key is in the
// table is an n-gram.
#pragma once

#include <cstdint>
#include <vector>

namespace w2v2 {

struct Joined {
  uint32_t suffix;
  uint32_t context;
  uint64_t slot;
};

// entries: [buckets], `stride` bytes apart, each beginning with a key. suffix_keys, first_words:
// of the suffixes and the contexts, those of one group after another; suffix_ends, context_ends:
// [groups], where each group ends. No more than 2^32 of either.
std::vector<Joined> join_keys(const char* entries, uint64_t stride, uint64_t buckets,
                              const uint64_t* suffix_keys, const uint64_t* suffix_ends,
                              const uint64_t* first_words, const uint64_t* context_ends,
                              uint64_t groups);

}  // namespace w2v2
