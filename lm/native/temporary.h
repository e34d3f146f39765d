// Temporary files of a job that sorts more than fits into memory.
//
// A file loses its name as soon as it is open, so the system frees its room when the job ends,
// however it ends.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace w2v2 {

struct DiskError : std::runtime_error {
  explicit DiskError(int error) : std::runtime_error(std::strerror(error)), number(error) {}
  int number;
};

struct Stopped : std::runtime_error {
  Stopped() : std::runtime_error("was stopped") {}
};

// What all parts of a job share.
struct Job {
  std::string folder;
  uint64_t disk = 0, most_disk = 0, runs = 0;
  std::atomic<bool> stopped{false};  // by another thread

  void check() const {
    if (stopped) throw Stopped();
  }
};

class TemporaryFile {
 public:
  explicit TemporaryFile(Job& job) : job_(job) {
    std::string name = job.folder + "/w2v2-XXXXXX";
    file_ = ::mkstemp(&name[0]);
    if (file_ < 0) throw DiskError(errno);
    ::unlink(name.c_str());
  }
  ~TemporaryFile() {
    ::close(file_);
    job_.disk -= size_;
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  uint64_t size() const { return size_; }

  void append(const void* data, size_t bytes) {
    job_.check();
    const char* at = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t done = ::pwrite(file_, at, std::min<size_t>(bytes, 1 << 26), off_t(size_));
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) throw DiskError(done < 0 ? errno : ENOSPC);
      at += done;
      bytes -= size_t(done);
      size_ += uint64_t(done);
      job_.disk += uint64_t(done);
    }
    job_.most_disk = std::max(job_.most_disk, job_.disk);
  }

  void read(uint64_t offset, void* data, size_t bytes) const {
    job_.check();
    char* at = static_cast<char*>(data);
    while (bytes > 0) {
      const ssize_t done = ::pread(file_, at, std::min<size_t>(bytes, 1 << 26), off_t(offset));
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) throw DiskError(done < 0 ? errno : EIO);
      at += done;
      offset += uint64_t(done);
      bytes -= size_t(done);
    }
  }

 private:
  Job& job_;
  int file_;
  uint64_t size_ = 0;
};

// Records of one size that are written one after the other and then read once in the same order.
class Tape {
 public:
  Tape(Job& job, size_t record) : record_(record), file_(job) {
    block_.resize(std::max<size_t>(kBlock / record, 1) * record);
  }

  void add(const void* data) {
    std::memcpy(&block_[filled_], data, record_);
    filled_ += record_;
    if (filled_ == block_.size()) flush();
  }

  void rewind() {
    flush();
    left_ = file_.size();
    at_ = 0;
  }

  // The next record, null after the last one; it stays where it is until the call after.
  const void* next() {
    if (at_ == filled_) {
      filled_ = size_t(std::min<uint64_t>(left_, block_.size()));
      if (filled_ == 0) return nullptr;
      file_.read(file_.size() - left_, block_.data(), filled_);
      left_ -= filled_;
      at_ = 0;
    }
    const void* found = &block_[at_];
    at_ += record_;
    return found;
  }

 private:
  static constexpr size_t kBlock = 1 << 17;

  void flush() {
    if (filled_ > 0) file_.append(block_.data(), filled_);
    filled_ = 0;
  }

  size_t record_, filled_ = 0, at_ = 0;
  uint64_t left_ = 0;
  std::vector<char> block_;
  TemporaryFile file_;
};

}  // namespace w2v2
