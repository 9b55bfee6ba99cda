#include "core/platform/file.h"

#include <algorithm>

#include "core/error.h"
#include "core/platform/windows/api.h"

namespace heddle {
namespace {

HANDLE as_handle(intptr_t value) { return reinterpret_cast<HANDLE>(value); }

Error io_error(const std::string& path, const char* what, DWORD code) {
  const bool missing = code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND || code == ERROR_INVALID_NAME ||
                       code == ERROR_BAD_NETPATH;
  const bool memory = code == ERROR_NOT_ENOUGH_MEMORY || code == ERROR_OUTOFMEMORY || code == ERROR_COMMITMENT_LIMIT;
  return Error(missing  ? "NOT_FOUND"
               : memory ? "OUT_OF_MEMORY"
                        : "IO",
      path + ": " + what + ": " + system_message(code));
}

// Makes a path absolute in the form that may be longer than 260 characters.
std::wstring long_path(const std::string& path) {
  const std::wstring given = wide(path);
  const DWORD units = GetFullPathNameW(given.c_str(), 0, nullptr, nullptr);
  std::wstring full(units, L'\0');
  full.resize(GetFullPathNameW(given.c_str(), units, full.data(), nullptr));
  if (full.rfind(L"\\\\?\\", 0) == 0 || full.rfind(L"\\\\.\\", 0) == 0) return full;
  return full.rfind(L"\\\\", 0) == 0 ? L"\\\\?\\UNC" + full.substr(1) : L"\\\\?\\" + full;
}

intptr_t opened(const std::string& path) {
  // With these flags, other processes can replace and delete the open file, as on other systems.
  constexpr DWORD sharing = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
  // FILE_FLAG_BACKUP_SEMANTICS also opens folders, so that the error message can name them as such.
  HANDLE handle = CreateFileW(long_path(path).c_str(), GENERIC_READ, sharing, nullptr, OPEN_EXISTING,
      FILE_ATTRIBUTE_NORMAL | FILE_FLAG_BACKUP_SEMANTICS, nullptr);
  if (handle == INVALID_HANDLE_VALUE) throw io_error(path, "cannot be opened", GetLastError());
  return reinterpret_cast<intptr_t>(handle);
}

}  // namespace

File::File(const std::string& path) : path_(path), handle_{opened(path)} {
  BY_HANDLE_FILE_INFORMATION info;
  const bool disk = GetFileType(as_handle(handle_.value)) == FILE_TYPE_DISK;
  if (disk && !GetFileInformationByHandle(as_handle(handle_.value), &info))
    throw io_error(path, "cannot be examined", GetLastError());
  const bool folder = disk && (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY);
  if (folder || !disk)
    throw invalid_file(path + ": expected a regular file, got " + (folder ? "a folder" : "a device"));
}

File::Handle::~Handle() { CloseHandle(as_handle(value)); }

size_t File::size() const {
  LARGE_INTEGER bytes;
  if (!GetFileSizeEx(as_handle(handle_.value), &bytes)) throw io_error(path_, "cannot be examined", GetLastError());
  return static_cast<size_t>(bytes.QuadPart);
}

const uint8_t* File::map(size_t bytes) const {
  const auto wanted = static_cast<uint64_t>(bytes);
  HANDLE section = CreateFileMappingW(as_handle(handle_.value), nullptr, PAGE_READONLY,
      static_cast<DWORD>(wanted >> 32), static_cast<DWORD>(wanted), nullptr);
  if (!section) throw io_error(path_, "cannot be mapped into memory", GetLastError());
  void* mapped = MapViewOfFile(section, FILE_MAP_READ, 0, 0, bytes);
  const DWORD code = GetLastError();
  CloseHandle(section);  // the view keeps the section alive
  if (!mapped) throw io_error(path_, "cannot be mapped into memory", code);
  return static_cast<const uint8_t*>(mapped);
}

void File::unmap(const uint8_t* data, size_t) noexcept { UnmapViewOfFile(data); }

size_t File::read(size_t offset, void* to, size_t bytes) const {
  OVERLAPPED at{};
  at.Offset = static_cast<DWORD>(static_cast<uint64_t>(offset));
  at.OffsetHigh = static_cast<DWORD>(static_cast<uint64_t>(offset) >> 32);
  DWORD got = 0;
  const auto asked = static_cast<DWORD>(std::min(bytes, size_t{1} << 30));
  if (ReadFile(as_handle(handle_.value), to, asked, &got, &at)) return got;
  const DWORD code = GetLastError();
  if (code == ERROR_HANDLE_EOF) return 0;
  throw io_error(path_, "cannot be read", code);
}

}  // namespace heddle
