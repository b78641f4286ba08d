// Calendar time as text, always UTC. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "dao/base/clock.h"

namespace dao {

// `format` is strftime's ("%Y-%m-%dT%H:%M:%SZ"), with the English names of days and months: the program sets no locale.
// What does not fit 64 characters is empty.
[[nodiscard]] std::string utc_text(WallTime at, const char* format);

// The same without an allocation: how many characters were written, 0 if they and a final '\0' do not fit.
[[nodiscard]] std::size_t utc_text(WallTime at, const char* format, std::span<char> out);

}  // namespace dao
