// The lexicon beam search of flashlight-text: same hypotheses, scores and pruning, in flat arrays.
//
// Two hypotheses are the same when they agree in (words so far, trie node, last symbol, whether
// the last frame was a blank); of those the better one is kept. The words so far are a node of a
// tree that grows as words end; each of its nodes holds the language model's state.
#pragma once

#include <cstdint>
#include <vector>

#include "automaton.h"
#include "lexicon_trie.h"

namespace w2v2 {

struct Options {
  double lm_weight, word_score, unk_score, sil_score, beam_threshold;
  int32_t beam, beam_tokens, nbest, silence, blank, unknown_word;
};

struct Found {
  double score, acoustic, lm;
  std::vector<int32_t> symbols;  // [T], the symbol of each frame
  std::vector<int32_t> words;    // [T], the word that ended on each frame, else -1
};

struct Engine {
  const Automaton* model;          // null: every word is as good as any other
  std::vector<uint32_t> lm_words;  // [words], the model's index of each word
  std::vector<float> bonuses;      // [words], added when a word is said; empty without bonuses
  LexiconTrie trie;
};

// (T, V) log-probabilities -> up to `nbest` hypotheses, best first. Where unknown words are
// forbidden they differ in their words; else some may only differ in the letters of unknown ones.
std::vector<Found> search(const Engine& engine, const Options& options, const float* emissions,
                          int32_t frames, int32_t symbols);

}  // namespace w2v2
