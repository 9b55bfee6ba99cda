#include "distributed/mpi.h"

#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "core/platform/library.h"

namespace heddle {
namespace {

constexpr int success = 0;                  // MPI_SUCCESS of every supported library
constexpr size_t most_version_text = 8192;  // maximum of MPICH and the standard ABI; Open MPI's is 256
constexpr size_t most_error_text = 512;     // longest text of an error in MPICH and the standard ABI

// The constants of an MPI library. H is the C type of its handles.
template <class H> struct Constants {
  using Handle = H;
  Handle world, byte, errors_return;  // MPI_COMM_WORLD, MPI_BYTE, MPI_ERRORS_RETURN
  int funneled;                       // MPI_THREAD_FUNNELED
};

void set_handle(Mpi::Request& request, void* handle) { request.pointer = handle; }
void set_handle(Mpi::Request& request, int handle) { request.number = handle; }
void get_handle(const Mpi::Request& request, void*& handle) { handle = request.pointer; }
void get_handle(const Mpi::Request& request, int& handle) { handle = request.number; }

// The adapter for libraries whose handles have type H.
template <class H> class MpiOf final : public Mpi {
 public:
  MpiOf(const Library& library, const Constants<H>& constants, std::string version) : is_(constants) {
    version_ = std::move(version);
    library.find("MPI_Init_thread", init_);
    library.find("MPI_Comm_rank", rank_);
    library.find("MPI_Comm_size", size_);
    library.find("MPI_Comm_set_errhandler", set_errhandler_);
    library.find("MPI_Error_string", error_string_);
    library.find("MPI_Isend", send_);
    library.find("MPI_Irecv", receive_);
    library.find("MPI_Ibcast", broadcast_);
    library.find("MPI_Ibarrier", barrier_);
    library.find("MPI_Ialltoallv", all_to_all_);
    library.find("MPI_Iallgatherv", all_gather_);
    library.find("MPI_Test", test_);
    library.find("MPI_Finalize", finalize_);
    library.find("MPI_Abort", abort_);
  }

  void init() override {
    int provided = 0;
    check(init_(nullptr, nullptr, is_.funneled, &provided), "MPI_Init_thread");
    if (provided < is_.funneled)
      throw Error("UNSUPPORTED", "mpi: expected a library with MPI_THREAD_FUNNELED, got " + version_);
    check(set_errhandler_(is_.world, is_.errors_return), "MPI_Comm_set_errhandler");
  }
  int rank() override { return number(rank_, "MPI_Comm_rank"); }
  int size() override { return number(size_, "MPI_Comm_size"); }

  void send(const void* data, int bytes, int to, int tag, Request& request) override {
    H handle{};
    begun(send_(data, bytes, is_.byte, to, tag, is_.world, &handle), "MPI_Isend", handle, request);
  }
  void receive(void* data, int bytes, int from, int tag, Request& request) override {
    H handle{};
    begun(receive_(data, bytes, is_.byte, from, tag, is_.world, &handle), "MPI_Irecv", handle, request);
  }
  void broadcast(void* data, int bytes, int root, Request& request) override {
    H handle{};
    begun(broadcast_(data, bytes, is_.byte, root, is_.world, &handle), "MPI_Ibcast", handle, request);
  }
  void barrier(Request& request) override {
    H handle{};
    begun(barrier_(is_.world, &handle), "MPI_Ibarrier", handle, request);
  }
  void all_to_all(
      const void* from, const RankParts& sent, void* to, const RankParts& received, Request& request) override {
    H handle{};
    begun(all_to_all_(from, sent.bytes.data(), sent.offsets.data(), is_.byte, to, received.bytes.data(),
              received.offsets.data(), is_.byte, is_.world, &handle),
        "MPI_Ialltoallv", handle, request);
  }
  void all_gather(const void* from, int bytes, void* to, const RankParts& received, Request& request) override {
    H handle{};
    begun(all_gather_(
              from, bytes, is_.byte, to, received.bytes.data(), received.offsets.data(), is_.byte, is_.world, &handle),
        "MPI_Iallgatherv", handle, request);
  }

  bool test(Request& request) override {
    if (!request.active) return true;
    alignas(16) unsigned char status[256];  // MPI_Status, which is smaller in every supported library
    int done = 0;
    H handle{};
    get_handle(request, handle);
    const int result = test_(&handle, &done, status);
    set_handle(request, handle);
    if (done || result != success) request.active = false;
    check(result, "MPI_Test");
    return done != 0;
  }

  void finalize() override { check(finalize_(), "MPI_Finalize"); }
  void abort(int code) override { abort_(is_.world, code); }

 private:
  void check(int result, const char* call) {
    if (result == success) return;
    char text[most_error_text + 1] = "";
    int length = 0;
    error_string_(result, text, &length);
    throw Error("IO", std::string("mpi: ") + call + ": " + text);
  }
  // Checks the result of a call that begins an operation, and stores its handle in `request`. `handle` is a reference:
  // the MPI call that returns `result` sets it, and arguments are evaluated in any order.
  void begun(int result, const char* call, const H& handle, Request& request) {
    check(result, call);
    set_handle(request, handle);
    request.active = true;
  }
  int number(int (*read)(H, int*), const char* call) {
    int value = 0;
    check(read(is_.world, &value), call);
    return value;
  }

  const Constants<H> is_;
  int (*init_)(int*, char***, int, int*);
  int (*rank_)(H, int*);
  int (*size_)(H, int*);
  int (*set_errhandler_)(H, H);
  int (*error_string_)(int, char*, int*);
  int (*send_)(const void*, int, H, int, int, H, H*);
  int (*receive_)(void*, int, H, int, int, H, H*);
  int (*broadcast_)(void*, int, H, int, H, H*);
  int (*barrier_)(H, H*);
  int (*all_to_all_)(const void*, const int*, const int*, H, void*, const int*, const int*, H, H, H*);
  int (*all_gather_)(const void*, int, H, void*, const int*, const int*, H, H, H*);
  int (*test_)(H*, int*, void*);
  int (*finalize_)();
  int (*abort_)(H, int);
};

// Returns the first line of the text, without control characters and without spaces and commas at its end.
std::string one_line(std::string text) {
  const size_t end = text.find_first_of("\r\n");
  text = text.substr(0, end);
  for (char& c : text)
    if (std::iscntrl(static_cast<unsigned char>(c))) c = ' ';
  const size_t last = text.find_last_not_of(" ,");
  return last == std::string::npos ? "" : text.substr(0, last + 1);
}

std::string version_of(const Library& library) {
  int (*read)(char*, int*);
  library.find("MPI_Get_library_version", read);  // may be called before MPI_Init
  std::vector<char> text(most_version_text + 1);
  int length = 0;
  return read(text.data(), &length) == success ? one_line(text.data()) : "";
}

std::unique_ptr<Mpi> adapt(const Library& library, const std::string& name) {
  const std::string version = version_of(library);
  // Handles of Open MPI are addresses of objects that the library exports.
  if (library.has("ompi_mpi_comm_world")) {
    Constants<void*> open_mpi{nullptr, nullptr, nullptr, 1};
    library.find_object("ompi_mpi_comm_world", open_mpi.world);
    library.find_object("ompi_mpi_byte", open_mpi.byte);
    library.find_object("ompi_mpi_errors_return", open_mpi.errors_return);
    return std::make_unique<MpiOf<void*>>(library, open_mpi, version);
  }
  // Libraries with the standard ABI (MPI 5.0) are named libmpi_abi. The handles are those of the standard.
  if (name.find("mpi_abi") != std::string::npos) {
    const auto handle = [](uintptr_t value) { return reinterpret_cast<void*>(value); };
    return std::make_unique<MpiOf<void*>>(
        library, Constants<void*>{handle(0x101), handle(0x247), handle(0x142), 1024}, version);
  }
  // MPICH and the other libraries of the MPICH ABI initiative share a file name and the constants of MPICH's mpi.h. The
  // version text names the library.
  for (const char* known : {"MPICH", "Intel", "MVAPICH", "CRAY", "ParaStation"})
    if (version.find(known) != std::string::npos)
      return std::make_unique<MpiOf<int>>(library, Constants<int>{0x44000000, 0x4c00010d, 0x54000001, 1}, version);
  throw Error("UNSUPPORTED", name + ": expected Open MPI, MPICH or the standard ABI, got " + version);
}

// Returns the message of an error about library `name` in the form "NAME: reason". The message may already begin with
// the name.
std::string reason(const std::string& name, const std::string& message) {
  const std::string got = name + ", got ", named = name + ": ";
  const std::string rest = message.compare(0, got.size(), got) == 0 ? message.substr(got.size()) : message;
  return rest.compare(0, named.size(), named) == 0 ? rest : named + rest;
}

}  // namespace

std::unique_ptr<Mpi> Mpi::open(const std::vector<std::string>& names) {
  std::string tried;
  for (const std::string& name : names) {
    try {
      return adapt(Library(name.c_str(), {name}), name);
    } catch (const Error& e) {
      tried += (tried.empty() ? "" : "; ") + reason(name, e.what());
    }
  }
  throw Error("UNSUPPORTED", "mpi: expected an MPI library (HEDDLE_MPI names one), got none; tried " + tried);
}

}  // namespace heddle
