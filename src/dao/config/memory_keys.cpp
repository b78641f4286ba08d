#include "dao/config/memory_keys.h"

#include <string>
#include <string_view>
#include <utility>

#include "dao/config/draft.h"
#include "dao/config/match_values.h"
#include "dao/config/schema_rows.h"

namespace dao::config {
namespace {

void store_path(void* object, const Value& value, Objections& objections) {
  auto& memory = *static_cast<Memory*>(object);
  const std::string& text = value.texts.front().text;
  memory.off = text.empty() || text == "off";
  if (memory.off) return;
  if (auto path = parse_file_path(text)) {
    memory.path = *std::move(path);
  } else {
    objections.object(0, std::move(path.error()));
  }
}

}  // namespace

Table memory_table() {
  Table table{.name = "memory",
              .doc =
                  "Where DAO keeps the configurations that it applied and what it has learned (docs/memory.md). "
                  "These keys are read when DAO starts, but for `follow_files`."};
  table.enter = [](void* draft) -> void* { return &field_of<&Draft::config, &Config::memory>(draft); };

  Key path{.name = "path",
           .kind = Kind::text,
           .doc =
               "The database, a file that is for one DAO alone. Its directory is made if it is not there. It must be "
               "on a local file system. `off` or an empty text = in memory only: everything ends with the process. "
               "If the database cannot be used, DAO warns, and works in memory.",
           .absent =
               "`dao.db` in the directory that systemd gives (`StateDirectory=`), else in `/var/lib/dao` if that "
               "can be written or made, else in `$XDG_STATE_HOME/dao`, else in `~/.local/state/dao`",
           .form = R"(the path of a file, or "off")",
           .example = R"("/var/lib/dao/dao.db")",
           .store = store_path};

  table.keys = {
      path,
      integer<&Memory::flush_interval>(
          "flush_interval_ms", 1000, {10, 3'600'000}, "ms",
          "What was learned is written so often, if it has changed: a crash costs no more than that. "
          "Configurations are written at once."),
      integer<&Memory::snapshots>("snapshots", 100, {1, 10'000}, "",
                                  "So many of the configurations that were applied are kept, and the one that "
                                  "runs in any case."),
      boolean<&Memory::follow_files>("follow_files", true,
                                     "Load the configuration again when its file, or one that it includes, has "
                                     "changed (docs/reload.md). With `false` on SIGHUP only, or by the admin API.")};
  return table;
}

}  // namespace dao::config
