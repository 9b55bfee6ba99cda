#include "core/platform/windows/api.h"

#include "core/error.h"

namespace heddle {

std::wstring wide(const std::string& text) {
  if (text.empty()) return {};
  const int bytes = static_cast<int>(text.size());
  const int units = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text.data(), bytes, nullptr, 0);
  if (units <= 0) throw invalid_argument("text: expected UTF-8, got other bytes");
  std::wstring out(static_cast<size_t>(units), L'\0');
  MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text.data(), bytes, out.data(), units);
  return out;
}

std::string system_message(DWORD code) {
  wchar_t text[512];
  const DWORD flags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS;
  DWORD units = FormatMessageW(flags, nullptr, code, 0, text, 512, nullptr);
  while (units > 0 && (text[units - 1] == L'\n' || text[units - 1] == L'\r' || text[units - 1] == L'.')) --units;
  char utf8[2048];
  const int bytes = WideCharToMultiByte(CP_UTF8, 0, text, static_cast<int>(units), utf8, sizeof utf8, nullptr, nullptr);
  return bytes > 0 ? std::string(utf8, static_cast<size_t>(bytes)) : "error " + std::to_string(code);
}

}  // namespace heddle
