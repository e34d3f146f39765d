// The lexicon beam search of flashlight-text: the same hypotheses, scores and pruning, in flat arrays.
//
// A hypothesis is known by (words so far, trie node, last symbol, whether the last frame was a blank). Those that are the
// same are merged, by the better score or by adding probabilities. Words so far are nodes of a tree that grows as words
// end, each with its state of the language model.
#pragma once

#include <cstdint>
#include <vector>

#include "automaton.h"
#include "lexicon_trie.h"

namespace w2v2 {

struct Options {
  double lm_weight, word_score, unk_score, sil_score, beam_threshold;
  int32_t beam, beam_tokens, nbest, log_add, silence, blank, unknown_word;
};

struct Found {
  double score, acoustic, lm;
  std::vector<int32_t> symbols;  // [T], of each frame
  std::vector<int32_t> words;    // [T], the word that ended there, else -1
};

struct Engine {
  const Automaton* model;          // null: every word is as good as any other
  std::vector<uint32_t> lm_words;  // the model's number of each word
  std::vector<float> bonuses;      // of each word; empty: none
  LexiconTrie trie;
};

// (T, V) log-probabilities -> up to `nbest` hypotheses, best first. Where unknown words are forbidden they differ in words.
std::vector<Found> search(const Engine& engine, const Options& options, const float* emissions, int32_t frames,
                          int32_t symbols);

}  // namespace w2v2
