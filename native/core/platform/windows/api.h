// Includes windows.h without its rarely used parts and its macros `min` and `max`.
#pragma once
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>

#include <string>

namespace heddle {

// Converts UTF-8 to the UTF-16 that Windows' functions take. Throws INVALID_ARGUMENT if the text is not UTF-8.
std::wstring wide(const std::string& text);
// Returns Windows' message for an error code, in UTF-8 and without a line end.
std::string system_message(DWORD code);

}  // namespace heddle
