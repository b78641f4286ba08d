// Several documents as one: what a file says together with what the files it includes say.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "dao/config/apply_schema.h"
#include "dao/config/document.h"
#include "dao/config/schema.h"

namespace dao::config {

// Tables become one table; arrays of tables, one array with the elements in the order of the documents. Errors: a key,
// or a table with a name of the operator's choice, in two documents; the error is where the later one stands. `files`:
// the names of the documents, by Position::file.
[[nodiscard]] Node merge_documents(const Table& schema, std::vector<Node> documents, std::span<const std::string> files,
                                   Findings& findings);

}  // namespace dao::config
