// An MPI library, opened at run time. Open MPI, MPICH and the standard ABI have different handles and constants, so
// each has an adapter (docs/decisions/0031-mpi-handles.md). The same thread must make all calls, because the library is
// initialized with MPI_THREAD_FUNNELED.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace heddle {

// The sizes and offsets, in bytes, of the parts of a buffer, one part per rank. The vectors must exist until the
// operation has completed.
struct RankParts {
  std::vector<int> bytes, offsets;
};

class Mpi {
 public:
  // An operation that has begun. `active` is true until test() returns true. The library's handle is a pointer or an
  // int.
  struct Request {
    union {
      void* pointer;
      int number;
    };
    bool active = false;
  };

  // Opens the first of the libraries `names` that is a supported MPI library. If none is, throws UNSUPPORTED with the
  // reason for each name.
  static std::unique_ptr<Mpi> open(const std::vector<std::string>& names);
  virtual ~Mpi() = default;

  // Returns the library's own description, on one line.
  const std::string& version() const { return version_; }

  // Connects the ranks, and waits for all of them. Throws UNSUPPORTED if the library lacks MPI_THREAD_FUNNELED. This
  // and all other functions except abort() throw IO if the library returns an error.
  virtual void init() = 0;
  virtual int rank() = 0;
  virtual int size() = 0;
  // The following begin an operation. Its buffers must exist until test(request) has returned true.
  virtual void send(const void* data, int bytes, int to, int tag, Request& request) = 0;
  virtual void receive(void* data, int bytes, int from, int tag, Request& request) = 0;
  virtual void broadcast(void* data, int bytes, int root, Request& request) = 0;
  virtual void barrier(Request& request) = 0;
  // Sends part r of `from` to each rank r, and receives part r of `to` from rank r.
  virtual void all_to_all(
      const void* from, const RankParts& sent, void* to, const RankParts& received, Request& request) = 0;
  // Sends `bytes` of `from` to every rank, and receives part r of `to` from rank r.
  virtual void all_gather(const void* from, int bytes, void* to, const RankParts& received, Request& request) = 0;
  // Returns whether the operation has completed. Lets the library make progress.
  virtual bool test(Request& request) = 0;
  virtual void finalize() = 0;
  // Ends all ranks, including this process.
  virtual void abort(int code) = 0;

 protected:
  std::string version_;
};

}  // namespace heddle
