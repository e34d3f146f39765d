// The lexicon beam search of flashlight-text: same scores and pruning, in flat arrays.
//
// Hypotheses that agree in (language model state, trie node, last symbol, whether the last frame
// was a blank) have one future: of those the better one is kept (`by_state`). flashlight-text, and
// this search without `by_state`, keep them apart by all words so far in place of the state.
// Where several results are asked for, `by_state` remembers the ways that lost: the ways that are
// left make a lattice, and the results are the best different sequences of words through it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "automaton.h"
#include "lattice.h"
#include "lexicon_trie.h"
#include "phrases.h"

namespace w2v2 {

struct Options {
  double lm_weight, word_score, unk_score, sil_score, beam_threshold;
  double lattice_beam;  // how far below the best path those of the lattice may be
  double skip_blank;    // frames whose blank has this log-probability or more are blank; > 0: none
  int32_t beam, beam_tokens, nbest, silence, blank, unknown_word;
  int32_t by_state;  // 1: hypotheses of one state are one; 0: those of the same words
  int32_t lattice;   // 1: return the lattice of the words as well
};

// What was said before the first frame. An entry is one way to have begun; flat arrays.
struct Context {
  const int32_t* words = nullptr;   // of all entries, concatenated: the engine's words
  const uint64_t* ends = nullptr;   // [entries], where the words of each end
  const double* scores = nullptr;   // [entries], what each has before the first frame
  int32_t entries = 0;              // 0: nothing was said
  int32_t goes_on = 0;              // 1: the sentence does not end with the last frame
  int32_t exits = 1;                // results, if that is more than `nbest`: of different states
};

struct Found {
  double score, acoustic, lm;       // of these frames alone
  int32_t entry;                    // the one that the best path began with
  std::vector<int32_t> symbols;  // [T], the symbol of each frame
  std::vector<int32_t> words;    // [T], the word that ended on each frame, else -1
};

// What was found in one utterance.
struct Result {
  std::vector<Found> found;
  WordLattice lattice;  // empty where none was asked for
};

struct Engine {
  const Automaton* model;          // null: every word is as good as any other
  std::vector<uint32_t> lm_words;  // [words], the model's index of each word
  const Automaton* second = nullptr;   // another model, whose score is added to that of `model`
  std::vector<uint32_t> second_words;  // [words], its index of each word
  double second_ratio = 0.0;           // its weight where that of `model` is 1
  std::vector<float> bonuses;      // [words], added when a word is said; empty without bonuses
  std::vector<float> floors;       // [words], least log10 p of each; empty where there is no floor
  Phrases phrases;                 // hot words too, where there are any; then no other bonuses
  LexiconTrie trie;
};

// (T, V) log-probabilities -> up to `nbest` hypotheses, best first. They differ in their words;
// without `by_state`, and with unknown words, some may only differ in the letters of those.
Result search(const Engine& engine, const Options& options, const float* emissions, int32_t frames,
              int32_t symbols, const Context& context);

// A search whose frames come bit by bit, by state and for one result. The frames that are not
// settled yet are pending.
class Stream {
 public:
  // The engine must outlive the stream.
  Stream(const Engine& engine, const Options& options, int32_t symbols);
  ~Stream();
  // Search (frames, V) further log-probabilities, and write the best path through all pending
  // frames. -> how many of the first ones are settled now: what comes later changes nothing about
  // them. All but the last `behind` are, if hypotheses that disagree must be dropped for it.
  int32_t advance(const float* emissions, int32_t frames, int32_t behind, int32_t* symbols,
                  int32_t* words);
  // Write the best path through the pending frames of a sentence that ends here, and settle them.
  // The next frames begin a sentence.
  void end_sentence(int32_t* symbols, int32_t* words);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace w2v2
