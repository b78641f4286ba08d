// `daoctl top`: the figures of DAO again and again. On a terminal one screen that is redrawn, also when its size
// changes; elsewhere a line for each interval, until the reader goes away.
#pragma once

#include "client.h"
#include "dao/base/clock.h"

namespace dao {

struct TopOptions {
  Milliseconds interval{1000};
  std::uint64_t count = 0;  // 0: until a signal, `q`, or the reader's end
  bool json = false;        // a line of JSON for each interval, on terminals too
};

// The exit status.
int top_command(const AdminClient& client, const TopOptions& options);

}  // namespace dao
