// Estimation of an n-gram model whose counts need not fit into memory.
//
// The n-grams of the highest order are counted (ngram_counts.h) and come back sorted by their words
// in reverse. In that order the n-grams of every lower order pass by as well, with their numbers of
// occurrences and of distinct words before them. Each order is then sorted by context, for the
// discounts of a context's words and the share that is left to the order below; and back, so that
// the probability of an n-gram without its first word is met just before it is needed.
#pragma once

#include "ngram_counts.h"

namespace w2v2 {

class Estimation {
 public:
  // memory: bytes that all of this may take.
  Estimation(int order, size_t memory, const char* folder);

  Job job;

  // Whole lines of UTF-8, each a sentence of words between spaces and tabs.
  void feed(const char* data, size_t size);
  // Only the most frequent words, or those of a text, are words of the model.
  void limit(size_t words);
  void allow(std::string_view words);
  // thresholds: [order], n-grams that occur so often or less are left out. seen: [order][4], how
  // many n-grams have a count of 1 to 4. kept: [order], how many are in the model.
  void count(const uint64_t* thresholds, uint64_t* seen, uint64_t* kept);
  // discounts: [order][4], of a count of 0, 1, 2, and more.
  void discount(const double* discounts);
  // The next piece of the sections of n-grams of an ARPA file; empty after the last.
  const std::string& text();

  uint64_t words() const { return words_; }
  uint64_t sentences() const { return sentences_; }
  size_t types() const { return numbers_.size(); }
  const std::string& vocabulary();

 private:
  bool allowed(uint32_t word) const { return allowed_.empty() || allowed_[word]; }
  size_t room() const;
  void sentence();
  void emit(int n, const uint32_t* reversed, uint64_t raw, uint64_t adjusted);
  void discount_order(int n, const double* discounts);
  void write_context(int n, const uint32_t* context, const std::vector<uint32_t>& last,
                     const std::vector<uint64_t>& counts, const double* discounts);
  void unigrams(const double* discounts);
  void write_unigrams();
  bool write_row();
  void write_line(const uint32_t* reversed, int n, double probability, double backoff);

  int order_;
  size_t memory_;
  WordNumbers numbers_;
  std::vector<uint64_t> raw_;  // [words], how often each occurs
  std::vector<bool> allowed_;
  std::unique_ptr<Counter> counter_;
  std::vector<uint32_t> tokens_, reversed_;
  uint64_t words_ = 0, sentences_ = 0;

  std::vector<uint64_t> thresholds_, seen_, kept_;
  std::vector<uint64_t> adjusted_;  // [words], of single words
  std::vector<float> probability_, backoff_;  // [words], of single words
  std::vector<std::unique_ptr<Rows>> orders_;  // [order + 1], rows of n-grams
  std::vector<std::unique_ptr<Tape>> shares_;  // [order + 1], of each context of n-grams
  std::unique_ptr<Tape> below_, above_;        // probabilities of the order below, and of this one
  const uint32_t* below_row_ = nullptr;
  const uint32_t* share_row_ = nullptr;
  int writing_ = 0;  // the order that is written
  std::string text_;
};

}  // namespace w2v2
