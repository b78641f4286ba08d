// Where keys stand, for checks that go by the loaded configuration and know of no text.
#pragma once

#include "dao/config/load.h"
#include "dao/config/sources.h"

namespace dao::config {

// Fills in file, line, column and source_line of diagnostics that have no file but a key
// ("routes.rule[1].upstreams[0].url"), and sorts all of them by position. What is not in the text stands where the
// table around it does. Parses the texts anew.
void locate(Diagnostics& diagnostics, const Sources& sources);

}  // namespace dao::config
